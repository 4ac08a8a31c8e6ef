package fakeaws

import (
	"maps"
	"slices"
)

// configService covers AWS Config's rules, by which compliance events are
// understood.
func (a *AWS) configService() *service {
	ops := map[string]*operation{"DescribeConfigRules": {run: a.describeConfigRules}}
	return a.jsonService("config", "application/x-amz-json-1.1", ops)
}

// AddConfigRule says that there is a Config rule of this name for a managed
// rule, such as S3_BUCKET_PUBLIC_READ_PROHIBITED.
func (a *AWS) AddConfigRule(name, identifier string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules[name] = identifier
}

func (a *AWS) describeConfigRules(x *exchange) (*result, error) {
	in, err := decodeJSON[struct{ ConfigRuleNames []string }](x)
	if err != nil {
		return nil, err
	}
	names := in.ConfigRuleNames
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(a.rules))
	}
	type source struct{ Owner, SourceIdentifier string }
	type configRule struct {
		ConfigRuleName  string
		ConfigRuleState string
		Source          source
	}
	list := []configRule{}
	for _, name := range names {
		id, ok := a.rules[name]
		if !ok {
			return nil, bad("NoSuchConfigRuleException", "The ConfigRule '"+name+"' provided in the request is invalid. Please check the configRule name.")
		}
		list = append(list, configRule{name, "ACTIVE", source{"AWS", id}})
	}
	return &result{body: map[string]any{"ConfigRules": list}}, nil
}
