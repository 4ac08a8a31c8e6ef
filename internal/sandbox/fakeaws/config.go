package fakeaws

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// configService covers AWS Config's rules, by which compliance events are
// understood.
func (a *AWS) configService() *service {
	ops := map[string]*operation{"DescribeConfigRules": {run: a.describeConfigRules}}
	return &service{
		name: "config", source: "config.amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) {
			_, name, _ := strings.Cut(x.req.Header.Get("X-Amz-Target"), ".")
			return name, ops[name]
		},
		write: func(x *exchange, body any) { writeJSON(x, http.StatusOK, body) },
		fail: func(x *exchange, err *Error) {
			writeJSON(x, err.Status, map[string]string{"__type": err.Code, "message": err.Message})
		},
	}
}

func writeJSON(x *exchange, status int, v any) {
	x.w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	x.w.Header().Set("x-amzn-RequestId", x.RequestID)
	x.w.WriteHeader(status)
	_ = json.NewEncoder(x.w).Encode(v) // the client has gone: nobody to tell
}

// AddConfigRule says that there is a Config rule of this name for a managed
// rule, such as S3_BUCKET_PUBLIC_READ_PROHIBITED.
func (a *AWS) AddConfigRule(name, identifier string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules[name] = identifier
}

func (a *AWS) describeConfigRules(x *exchange) (*result, error) {
	var in struct{ ConfigRuleNames []string }
	if err := json.Unmarshal(x.body, &in); err != nil {
		return nil, bad("SerializationException", "The request is no JSON object")
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
