package events

import (
	"errors"
	"fmt"

	"secbot/internal/sgrule"
	"secbot/remediation"
)

const playbookRuleAdded = "sg-rule-added"

// authorizeRequest is the requestParameters of AuthorizeSecurityGroup*. The
// protocol, ports and CIDR outside of ipPermissions are those of the older form
// of the call, whose ipPermissions are {}.
type authorizeRequest struct {
	GroupID       text              `json:"groupId"`
	GroupName     text              `json:"groupName"`
	IPPermissions items[permission] `json:"ipPermissions"`
	legacyPermission
}

// ports are a protocol and its range of ports.
type ports struct {
	Protocol text `json:"ipProtocol"`
	FromPort port `json:"fromPort"`
	ToPort   port `json:"toPort"`
}

type legacyPermission struct {
	ports
	CIDR        text    `json:"cidrIp"`
	SourceGroup text    `json:"sourceSecurityGroupName"`
	SourceOwner account `json:"sourceSecurityGroupOwnerId"`
}

// permission is one IpPermission: every peer in it makes a rule of its own.
type permission struct {
	ports
	Groups      peers `json:"groups"`
	Ranges      peers `json:"ipRanges"`
	IPv6Ranges  peers `json:"ipv6Ranges"`
	PrefixLists peers `json:"prefixListIds"`
}

type peers = items[peer]

// peer is an IpRange, Ipv6Range, PrefixListId or UserIdGroupPair.
type peer struct {
	CIDR        text    `json:"cidrIp"`
	CIDRv6      text    `json:"cidrIpv6"`
	PrefixList  text    `json:"prefixListId"`
	GroupID     text    `json:"groupId"`
	GroupName   text    `json:"groupName"`
	UserID      account `json:"userId"`
	Description text    `json:"description"`
	id          string
	tags        map[string]string
}

// authorizeResponse is the responseElements, with the rules that were made and
// their ids; calls before 2021 have no rules there.
type authorizeResponse struct {
	Rules items[addedRule] `json:"securityGroupRuleSet"`
}

// addedRule is one SecurityGroupRule.
type addedRule struct {
	ID      text `json:"securityGroupRuleId"`
	GroupID text `json:"groupId"`
	ports
	CIDRv4      text `json:"cidrIpv4"`
	CIDRv6      text `json:"cidrIpv6"`
	PrefixList  text `json:"prefixListId"`
	Description text `json:"description"`
	Group       struct {
		GroupID text    `json:"groupId"`
		UserID  account `json:"userId"`
	} `json:"referencedGroupInfo"`
	BareGroup text       `json:"referencedGroupId"` // instead of the former, as revoked rules have it
	Tags      items[tag] `json:"tags"`
	TagSet    items[tag] `json:"tagSet"`
}

type tag struct {
	Key   text `json:"key"`
	Value text `json:"value"`
}

// decodeAuthorize decodes AuthorizeSecurityGroupIngress or -Egress. Every rule
// that was added is a signal, private ones too: the policy decides.
func decodeAuthorize(direction remediation.Direction) func(record, remediation.Signal) ([]remediation.Signal, string) {
	return func(r record, sig remediation.Signal) ([]remediation.Signal, string) {
		req := lenient[authorizeRequest](r.RequestParameters)
		res := lenient[authorizeResponse](r.ResponseElements)
		b := ruleBuilder{direction: direction, account: sig.Resource.Account, places: map[string]int{}}
		b.request(req)
		b.response(res)
		unread := ""
		switch {
		case b.err != nil:
			unread = "its rules can't be read: " + clip(b.err.Error(), 200)
		case len(b.rules) == 0:
			unread = "it names no rule"
		}
		group, name := groupOf(req, res)
		sig, why := groupSignal(sig, text(group), text(name), playbookRuleAdded)
		if why != "" {
			return nil, first(text(unread), text(why))
		}
		sig.Change.Direction, sig.Change.Rules, sig.Change.Unread = direction, b.rules, unread
		if len(b.rules) > 0 {
			unread = ""
		}
		return single(sig), unread
	}
}

// groupOf gives the group's id, or its name where only a default VPC's group
// name is known.
func groupOf(req authorizeRequest, res authorizeResponse) (id, name string) {
	id = string(req.GroupID)
	for _, r := range res.Rules {
		id = first(text(id), r.GroupID)
	}
	return id, string(req.GroupName)
}

// ruleBuilder makes rules of what an event says.
type ruleBuilder struct {
	direction remediation.Direction
	account   string
	rules     []remediation.Rule
	places    map[string]int // of each rule in rules, by its key
	err       error          // why the first rule that can't be read can't
}

// request adds the rules that the caller asked for.
func (b *ruleBuilder) request(req authorizeRequest) {
	for _, p := range req.IPPermissions {
		for _, list := range []peers{p.Ranges, p.IPv6Ranges, p.PrefixLists, p.Groups} {
			for _, other := range list {
				b.add(p.ports, other)
			}
		}
	}
	old := req.legacyPermission
	if old.CIDR != "" {
		b.add(old.ports, peer{CIDR: old.CIDR})
	}
	if old.SourceGroup != "" {
		b.add(old.ports, peer{GroupName: old.SourceGroup, UserID: old.SourceOwner})
	}
}

// response puts the rules that EC2 answered in the place of those that were
// asked for: they are what was made. What they don't repeat is kept.
func (b *ruleBuilder) response(res authorizeResponse) {
	if len(res.Rules) == 0 {
		return
	}
	asked := *b
	b.rules, b.places = nil, map[string]int{}
	for _, r := range res.Rules {
		b.add(r.ports, peer{
			CIDR: r.CIDRv4, CIDRv6: r.CIDRv6, PrefixList: r.PrefixList, GroupID: text(first(r.BareGroup, r.Group.GroupID)), UserID: r.Group.UserID,
			Description: r.Description, id: string(r.ID), tags: tags(append(r.Tags, r.TagSet...)),
		})
	}
	if len(b.rules) == 0 {
		b.rules = asked.rules
	}
	b.owners(asked.rules)
	for i := range b.rules {
		r := &b.rules[i]
		if at, ok := asked.places[r.Key()]; ok && r.Description == "" {
			r.Description = asked.rules[at].Description
		}
	}
}

// owners gives rules of an answer, which need not repeat the account of a peer
// group, that of the request.
func (b *ruleBuilder) owners(asked []remediation.Rule) {
	for i := range b.rules {
		r := &b.rules[i]
		if r.Group == "" || r.GroupOwner != "" {
			continue
		}
		for _, a := range asked {
			if a.Group == r.Group && a.PortsText() == r.PortsText() {
				r.GroupOwner = a.GroupOwner
			}
		}
	}
}

// add makes a rule and keeps it, once.
func (b *ruleBuilder) add(pp ports, p peer) {
	r, err := b.rule(pp)
	if err == nil {
		err = b.setPeer(&r, p)
	}
	if err != nil {
		if b.err == nil {
			b.err = err
		}
		return
	}
	r.ID, r.Description, r.Tags = p.id, string(p.Description), p.tags
	if _, twice := b.places[r.Key()]; !twice {
		b.places[r.Key()] = len(b.rules)
		b.rules = append(b.rules, r)
	}
}

// rule is a rule without its peer.
func (b *ruleBuilder) rule(p ports) (remediation.Rule, error) {
	if bad := first(p.FromPort.bad, p.ToPort.bad); bad != "" {
		return remediation.Rule{}, fmt.Errorf("%q is no port", bad)
	}
	if p.Protocol == "" {
		return remediation.Rule{}, errors.New("a rule names no protocol")
	}
	r := remediation.Rule{Direction: b.direction, Protocol: sgrule.Protocol(string(p.Protocol))}
	r.FromPort, r.ToPort = sgrule.Ports(r.Protocol, p.FromPort.v, p.ToPort.v)
	return r, nil
}

func (b *ruleBuilder) setPeer(r *remediation.Rule, p peer) (err error) {
	switch cidr := first(p.CIDR, p.CIDRv6); {
	case cidr != "":
		r.CIDR, err = sgrule.CIDR(cidr)
	case p.PrefixList != "":
		r.PrefixList = string(p.PrefixList)
	case first(p.GroupID, p.GroupName) != "":
		r.Group = first(p.GroupID, p.GroupName)
		if string(p.UserID) != b.account {
			r.GroupOwner = string(p.UserID)
		}
	default:
		err = fmt.Errorf("a rule for %s names neither a CIDR, a prefix list nor a group", r.PortsText())
	}
	return err
}

func tags(list []tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, t := range list {
		m[string(t.Key)] = string(t.Value)
	}
	return m
}
