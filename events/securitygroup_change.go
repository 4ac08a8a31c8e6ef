package events

import (
	"cmp"
	"errors"
	"slices"

	"secbot/remediation"
)

const (
	playbookRuleRemoved  = "sg-rule-removed"
	playbookRuleModified = "sg-rule-modified"
	playbookGroupCreated = "sg-created"
	playbookGroupDeleted = "sg-deleted"
)

// revokeRequest is the requestParameters of RevokeSecurityGroup*: rules by
// content, by id, or both.
type revokeRequest struct {
	authorizeRequest
	RuleIDs items[ruleID] `json:"securityGroupRuleIds"`
	RuleID  items[ruleID] `json:"securityGroupRuleId"`
}

// ruleID is a rule's id, bare or as the one member of an object.
type ruleID string

// UnmarshalJSON never fails.
func (r *ruleID) UnmarshalJSON(raw []byte) error {
	*r = ruleID(first(lenient[struct {
		ID text `json:"securityGroupRuleId"`
	}](raw).ID, lenient[text](raw)))
	return nil
}

// ruleIDs are those of all the lists.
func ruleIDs(lists ...items[ruleID]) []string {
	var ids []string
	for _, list := range lists {
		for _, id := range list {
			if id != "" {
				ids = append(ids, string(id))
			}
		}
	}
	return ids
}

// revokeResponse is the responseElements. Calls of 2023 name no rules there;
// where the member is there, it holds what was really revoked, since in a
// default VPC the call succeeds although nothing matches.
type revokeResponse struct {
	Revoked *items[addedRule] `json:"revokedSecurityGroupRuleSet"`
}

// decodeRevoke decodes RevokeSecurityGroupIngress or -Egress.
func decodeRevoke(direction remediation.Direction) func(record, remediation.Signal) ([]remediation.Signal, string) {
	return func(r record, sig remediation.Signal) ([]remediation.Signal, string) {
		req := lenient[revokeRequest](r.RequestParameters)
		res := lenient[revokeResponse](r.ResponseElements)
		b := ruleBuilder{direction: direction, account: sig.Resource.Account, places: map[string]int{}}
		b.request(req.authorizeRequest)
		answered := res.Revoked != nil
		if answered {
			b.revoked(*res.Revoked)
		} else {
			sig.Change.RuleIDs = ruleIDs(req.RuleIDs, req.RuleID)
		}
		group := string(req.GroupID)
		if answered {
			for _, one := range *res.Revoked {
				group = first(text(group), one.GroupID)
			}
		}
		switch {
		case answered && len(b.rules) == 0:
			return nil, "nothing was revoked: no rule matched"
		case len(b.rules)+len(sig.Change.RuleIDs) == 0 && b.err != nil:
			return nil, "its rules can't be read: " + clip(b.err.Error(), 200)
		case len(b.rules)+len(sig.Change.RuleIDs) == 0:
			return nil, "it names no rule"
		}
		sig, why := groupSignal(sig, text(group), req.GroupName, playbookRuleRemoved)
		if why != "" {
			return nil, why
		}
		sig.Change.Direction, sig.Change.Rules, sig.Change.Answered = direction, b.rules, answered
		return single(sig), ""
	}
}

// revoked takes the rules that EC2 answered, which are those that went.
func (b *ruleBuilder) revoked(list []addedRule) {
	asked := *b
	b.rules, b.places = nil, map[string]int{}
	for _, r := range list {
		b.add(r.ports, peer{
			CIDR: r.CIDRv4, CIDRv6: r.CIDRv6, PrefixList: r.PrefixList, GroupID: text(first(r.BareGroup, r.Group.GroupID)), UserID: r.Group.UserID,
			Description: r.Description, id: string(r.ID),
		})
	}
	b.owners(asked.rules)
}

// groupSignal is the base of a signal about a security group; the reason says
// why there is none.
func groupSignal(sig remediation.Signal, id, name text, playbook string) (remediation.Signal, string) {
	if id == "" && name == "" {
		return sig, "it names no security group"
	}
	if why := first(unlikelyID(string(id)), unlikelyID(string(name))); why != "" {
		return sig, "its security group's name " + why
	}
	sig.Resource.Kind, sig.Resource.ID = remediation.KindSecurityGroup, string(id)
	sig.Playbooks = []string{playbook}
	sig.Change.GroupName = string(name)
	return sig, ""
}

// modifyRequest is the requestParameters of ModifySecurityGroupRules, in Pascal
// case: one rule is an object, several are a list. There are no old values. That
// the members are wrapped so has been seen; every other way in which CloudTrail
// writes such calls is taken too, in either case.
type modifyRequest struct {
	modifyParams
	Request modifyParams `json:"ModifySecurityGroupRulesRequest"`
}

type modifyParams struct {
	GroupID text        `json:"GroupId"`
	Rules   modifyItems `json:"SecurityGroupRule"`
	List    modifyItems `json:"SecurityGroupRules"`
}

type modifyItem struct {
	ID   text         `json:"SecurityGroupRuleId"`
	Rule modifiedRule `json:"SecurityGroupRule"`
}

// modifyItems is one rule, a list of them, or a list as EC2's other calls have it.
type modifyItems []modifyItem

// UnmarshalJSON never fails.
func (l *modifyItems) UnmarshalJSON(raw []byte) error {
	if list, ok := lenient[object](raw)["items"]; ok {
		raw = list
	}
	*l = oneOrMany[modifyItem](raw)
	return nil
}

type modifiedRule struct {
	Protocol    text `json:"IpProtocol"`
	FromPort    port `json:"FromPort"`
	ToPort      port `json:"ToPort"`
	CIDRv4      text `json:"CidrIpv4"`
	CIDRv6      text `json:"CidrIpv6"`
	PrefixList  text `json:"PrefixListId"`
	Group       text `json:"ReferencedGroupId"`
	Description text `json:"Description"`
}

// decodeModify decodes ModifySecurityGroupRules. The rules' direction is not in
// the event, the live rules have it. Where a rule can't be read there is a signal
// all the same: the live state tells.
func decodeModify(r record, sig remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[modifyRequest](r.RequestParameters)
	b := ruleBuilder{account: sig.Resource.Account, places: map[string]int{}}
	var rules []remediation.Rule
	for _, m := range slices.Concat(req.Request.Rules, req.Request.List, req.Rules, req.List) {
		b.rules, b.places = nil, map[string]int{}
		p := m.Rule
		b.add(ports{Protocol: p.Protocol, FromPort: p.FromPort, ToPort: p.ToPort},
			peer{CIDR: p.CIDRv4, CIDRv6: p.CIDRv6, PrefixList: p.PrefixList, GroupID: p.Group, Description: p.Description, id: string(m.ID)})
		if m.ID == "" {
			b.err = cmp.Or(b.err, errors.New("a rule has no id"))
			continue
		}
		rules = append(rules, b.rules...)
	}
	unread := ""
	switch {
	case b.err != nil:
		unread = "its rules can't be read: " + clip(b.err.Error(), 200)
	case len(rules) == 0:
		unread = "it names no rule"
	}
	sig, why := groupSignal(sig, text(first(req.Request.GroupID, req.GroupID)), "", playbookRuleModified)
	if why != "" {
		return nil, first(text(unread), text(why))
	}
	sig.Change.Rules, sig.Change.Unread = rules, unread
	if len(rules) > 0 {
		unread = ""
	}
	return single(sig), unread
}

// groupRequest is the requestParameters of CreateSecurityGroup and
// DeleteSecurityGroup, groupResponse the responseElements.
type groupRequest struct {
	GroupID   text `json:"groupId"`
	GroupName text `json:"groupName"`
}

type groupResponse struct {
	GroupID text `json:"groupId"`
}

// decodeGroup decodes CreateSecurityGroup and DeleteSecurityGroup. Old deletes
// in a default VPC may have a name only.
func decodeGroup(playbook string) func(record, remediation.Signal) ([]remediation.Signal, string) {
	return func(r record, sig remediation.Signal) ([]remediation.Signal, string) {
		req := lenient[groupRequest](r.RequestParameters)
		id := text(first(req.GroupID, lenient[groupResponse](r.ResponseElements).GroupID))
		sig, why := groupSignal(sig, id, req.GroupName, playbook)
		if why != "" {
			return nil, why
		}
		return single(sig), ""
	}
}
