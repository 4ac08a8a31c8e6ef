package fakeaws

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// configService covers AWS Config's rules, by which compliance events are
// understood, and its history of security groups.
func (a *AWS) configService() *service {
	ops := map[string]*operation{
		"DescribeConfigRules":      {run: a.describeConfigRules},
		"GetResourceConfigHistory": {run: a.configHistory},
	}
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

// configItem is one record of AWS Config's.
type configItem struct {
	at     time.Time
	region string
	json   string
}

// RecordGroups has AWS Config record every security group as it is, as its
// recorder does some minutes after a change.
func (a *AWS) RecordGroups() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recording = true
	for _, r := range a.regions {
		for _, g := range r.groups {
			raw, err := json.Marshal(r.groupRecord(g))
			if err != nil {
				panic(err) // strings and numbers always encode
			}
			a.history[g.id] = append(a.history[g.id], configItem{a.o.Now().UTC(), r.key.name, string(raw)})
		}
	}
}

// groupRecord is the configuration of AWS::EC2::SecurityGroup, as AWS Config has
// it.
func (r *region) groupRecord(g *group) map[string]any {
	tags := []map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(g.tags)) {
		tags = append(tags, map[string]string{"key": k, "value": g.tags[k]})
	}
	return map[string]any{
		"groupId": g.id, "groupName": g.name, "description": g.description, "vpcId": g.vpc, "ownerId": r.key.account, "tags": tags,
		"ipPermissions": recordedPermissions(g.rules, false), "ipPermissionsEgress": recordedPermissions(g.rules, true),
	}
}

func recordedPermissions(rules []*rule, egress bool) []map[string]any {
	list := []map[string]any{}
	for _, p := range permissions(rules, egress) {
		m := map[string]any{"ipProtocol": p.Protocol, "ipv4Ranges": []any{}, "ipv6Ranges": []any{}, "prefixListIds": []any{}, "userIdGroupPairs": []any{}, "ipRanges": []any{}}
		if p.From != nil {
			m["fromPort"], m["toPort"] = *p.From, *p.To
		}
		with := func(description string, peer map[string]any) map[string]any {
			if description != "" {
				peer["description"] = description
			}
			return peer
		}
		add := func(member string, peer any) { m[member] = append(m[member].([]any), peer) }
		for _, c := range p.Ranges.Items {
			add("ipv4Ranges", with(c.Description, map[string]any{"cidrIp": c.CIDR}))
			add("ipRanges", c.CIDR)
		}
		for _, c := range p.Ranges6.Items {
			add("ipv6Ranges", with(c.Description, map[string]any{"cidrIpv6": c.CIDR6}))
		}
		for _, l := range p.PrefixLists.Items {
			add("prefixListIds", with(l.Description, map[string]any{"prefixListId": l.ID}))
		}
		for _, o := range p.Groups.Items {
			add("userIdGroupPairs", with(o.Description, map[string]any{"groupId": o.Group, "userId": o.Account}))
		}
		list = append(list, m)
	}
	return list
}

// configHistory answers with the records of one resource, the newest first.
func (a *AWS) configHistory(x *exchange) (*result, error) {
	in, err := decodeJSON[struct {
		ResourceType string  `json:"resourceType"`
		ResourceID   string  `json:"resourceId"`
		LaterTime    float64 `json:"laterTime"`
	}](x)
	if err != nil {
		return nil, err
	}
	x.Resource = in.ResourceID
	type item struct {
		ResourceType                 string  `json:"resourceType"`
		ResourceID                   string  `json:"resourceId"`
		Region                       string  `json:"awsRegion"`
		Account                      string  `json:"accountId"`
		Status                       string  `json:"configurationItemStatus"`
		ConfigurationItemCaptureTime float64 `json:"configurationItemCaptureTime"`
		Configuration                string  `json:"configuration"`
	}
	if !a.recording {
		return nil, bad("NoAvailableConfigurationRecorderException", "There are no configuration recorders available to provide the role needed to describe your resources.")
	}
	list := []item{}
	for _, r := range slices.Backward(a.history[in.ResourceID]) {
		at := float64(r.at.UnixMilli()) / 1000
		if r.region == x.Region && (in.LaterTime == 0 || at <= in.LaterTime) {
			list = append(list, item{in.ResourceType, in.ResourceID, r.region, x.caller.Account, "OK", at, r.json})
		}
	}
	if len(a.history[in.ResourceID]) == 0 {
		return nil, bad("ResourceNotDiscoveredException", "Resource "+in.ResourceID+" of resourceType:"+in.ResourceType+" is unknown or has not been discovered.")
	}
	return &result{body: map[string]any{"configurationItems": list}}, nil
}
