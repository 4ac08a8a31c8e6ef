package playbooks_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// longAgo is the time of an event: what is seen to be gone later was there then.
func longAgo(sig remediation.Signal) remediation.Signal {
	sig.At = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return sig
}

// sorted gives a group with its rules in an order of their own, those left out
// that a test asks for.
func sorted(s remediation.State, without func(remediation.Rule) bool) any {
	g := *s.(*playbooks.GroupState)
	g.Lists = nil
	g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), without)
	slices.SortFunc(g.Rules, func(a, b remediation.Rule) int { return cmp.Compare(a.Key(), b.Key()) })
	return g
}

func among(rules []remediation.Rule) func(remediation.Rule) bool {
	return func(r remediation.Rule) bool {
		return slices.ContainsFunc(rules, func(x remediation.Rule) bool { return x.Key() == r.Key() })
	}
}

// changeBeside changes rules that no case is about.
func changeBeside(t *testing.T, w *world, ref remediation.Ref) {
	revoke(t, w, ref, find(t, w, ref, isCIDR(remediation.Ingress, "10.0.0.0/8", 22)))
	allow(t, w, ref, nil, ranges("tcp", 8443, "198.51.100.0/24", "new beside"))
}

// again authorises rules by hand as they were.
func again(t *testing.T, w *world, ref remediation.Ref, rules []remediation.Rule) {
	t.Helper()
	for _, r := range rules {
		p := types.IpPermission{IpProtocol: &r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort}
		var description *string
		if r.Description != "" {
			description = &r.Description
		}
		switch {
		case r.Group != "":
			p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &r.Group, Description: description}}
			if r.GroupOwner != "" {
				p.UserIdGroupPairs[0].UserId = &r.GroupOwner
			}
		case r.PrefixList != "":
			p.PrefixListIds = []types.PrefixListId{{PrefixListId: &r.PrefixList, Description: description}}
		case len(r.CIDR) > 2 && slices.Contains([]byte(r.CIDR), ':'):
			p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: &r.CIDR, Description: description}}
		default:
			p.IpRanges = []types.IpRange{{CidrIp: &r.CIDR, Description: description}}
		}
		if r.Direction == remediation.Egress {
			allowOut(t, w, ref, r.Tags, p)
			continue
		}
		allow(t, w, ref, r.Tags, p)
	}
}

// removedCase revokes rules that add makes; signal tells of it.
func removedCase(name string, add func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule,
	change func(rules []remediation.Rule) remediation.Change,
) contractCase {
	var removed []remediation.Rule
	var before remediation.State
	c := contractCase{
		name: name, playbook: "sg-rule-removed", beside: changeBeside,
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newGroup(t, w)
			made := add(t, w, ref)
			w.remember(t, ref)
			before = must(w.readers[ref.Kind].Read(w.ctx, ref))(t)
			removed = nil
			for _, r := range liveRules(t, w, ref) { // with descriptions and tags
				if among(made)(r) {
					removed = append(removed, r)
				}
			}
			for _, r := range removed {
				revoke(t, w, ref, r)
			}
			kind := "RevokeSecurityGroupIngress"
			if removed[0].Direction == remediation.Egress {
				kind = "RevokeSecurityGroupEgress"
			}
			sig := longAgo(eventSignal(w, ref, kind, "sg-rule-removed"))
			sig.Change = change(removed)
			sig.Change.Direction = removed[0].Direction
			return ref, sig
		},
		neighbours: func(s remediation.State) any { return sorted(s, among(removed)) },
		restored:   func() remediation.State { return before },
		settle:     func(t *testing.T, w *world, ref remediation.Ref) { again(t, w, ref, removed) },
		offend: func(t *testing.T, w *world, ref remediation.Ref) {
			other := removed[0]
			other.Description = "put back by hand"
			again(t, w, ref, []remediation.Rule{other})
		},
		move: func(t *testing.T, w *world, ref remediation.Ref) {
			modify(t, w, ref, find(t, w, ref, func(r remediation.Rule) bool { return r.CIDR != "" && among(removed)(r) }), 2222)
		},
	}
	return c
}

func removedCases() []contractCase {
	ssh := func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
		return allow(t, w, ref, map[string]string{"ticket": "OPS-7"}, ranges("tcp", 22, "192.0.2.0/24", "the office"))
	}
	several := func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
		p := ranges("tcp", 3306, "10.1.0.0/16", "blue")
		p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String("10.2.0.0/16")})
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String("2001:db8::/64"), Description: aws.String("six")}}
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &ref.ID, Description: aws.String("each other")}}
		return allow(t, w, ref, nil, p)
	}
	out := func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
		return allowOut(t, w, ref, nil, ranges("tcp", 587, "198.51.100.0/24", "mail"))
	}
	peers := func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
		made := allow(t, w, ref, nil, ranges("tcp", 22, "192.0.2.0/24", "the office"))
		return append(made, allow(t, w, ref, nil, peersOf(w, newList(t, w), "partners", "their gateway")...)...)
	}
	bare := func(rules []remediation.Rule) []remediation.Rule { // as an event names them
		rules = slices.Clone(rules)
		for i := range rules {
			rules[i].ID, rules[i].Description, rules[i].Tags = "", "", nil
		}
		return rules
	}
	return []contractCase{
		removedCase("rule removed, answered", ssh, func(rules []remediation.Rule) remediation.Change {
			answered := slices.Clone(rules)
			for i := range answered {
				answered[i].Tags = nil
			}
			return remediation.Change{Rules: answered, Answered: true}
		}),
		removedCase("rules of a list and a foreign group removed, answered", peers, func(rules []remediation.Rule) remediation.Change {
			answered := slices.Clone(rules)
			for i := range answered { // the answer has no account of the group
				answered[i].Tags, answered[i].GroupOwner = nil, ""
			}
			return remediation.Change{Rules: answered, Answered: true}
		}),
		removedCase("rules removed by content", several, func(rules []remediation.Rule) remediation.Change {
			return remediation.Change{Rules: bare(rules)}
		}),
		removedCase("egress rule removed by id", out, func(rules []remediation.Rule) remediation.Change {
			return remediation.Change{RuleIDs: []string{rules[0].ID}}
		}),
	}
}

// modifiedCase modifies a rule that add makes.
func modifiedCase(name string, add func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule,
	to func(ref remediation.Ref, port int32) types.SecurityGroupRuleRequest,
) contractCase {
	var id string
	var before remediation.State
	set := func(t *testing.T, w *world, ref remediation.Ref, to types.SecurityGroupRuleRequest) {
		t.Helper()
		must(w.ec2.ModifySecurityGroupRules(w.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &ref.ID,
			SecurityGroupRules: []types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: &id, SecurityGroupRule: &to}}}))(t)
	}
	isIt := func(r remediation.Rule) bool { return r.ID == id }
	return contractCase{
		name: name, playbook: "sg-rule-modified", beside: changeBeside,
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newGroup(t, w)
			id = add(t, w, ref)[0].ID
			w.remember(t, ref)
			before = must(w.readers[ref.Kind].Read(w.ctx, ref))(t)
			set(t, w, ref, to(ref, 22))
			asked := find(t, w, ref, isIt)
			asked.Direction, asked.Tags, asked.GroupOwner = "", nil, ""
			sig := longAgo(eventSignal(w, ref, "ModifySecurityGroupRules", "sg-rule-modified"))
			sig.Change.Rules = []remediation.Rule{asked}
			return ref, sig
		},
		neighbours: func(s remediation.State) any { return sorted(s, isIt) },
		restored:   func() remediation.State { return before },
		settle: func(t *testing.T, w *world, ref remediation.Ref) {
			g := before.(*playbooks.GroupState)
			was := g.Rules[slices.IndexFunc(g.Rules, isIt)]
			r := types.SecurityGroupRuleRequest{IpProtocol: &was.Protocol, FromPort: was.FromPort, ToPort: was.ToPort, Description: &was.Description}
			if was.Group != "" {
				r.ReferencedGroupId = &was.Group
			} else {
				r.CidrIpv4 = &was.CIDR
			}
			set(t, w, ref, r)
		},
		offend: func(t *testing.T, w *world, ref remediation.Ref) { set(t, w, ref, to(ref, 2222)) },
		move:   func(t *testing.T, w *world, ref remediation.Ref) { set(t, w, ref, to(ref, 2222)) },
	}
}

func modifiedCases() []contractCase {
	return []contractCase{
		modifiedCase("rule widened to the world", func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			return allow(t, w, ref, map[string]string{"ticket": "OPS-7"}, ranges("tcp", 8080, "192.0.2.7/32", "one office"))
		}, func(_ remediation.Ref, port int32) types.SecurityGroupRuleRequest {
			return types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, CidrIpv4: aws.String("0.0.0.0/0"), Description: aws.String("wider")}
		}),
		modifiedCase("egress rule to a group", func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			return allowOut(t, w, ref, nil, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(5432), ToPort: aws.Int32(5432),
				UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &ref.ID, Description: aws.String("the database")}}})
		}, func(ref remediation.Ref, port int32) types.SecurityGroupRuleRequest {
			return types.SecurityGroupRuleRequest{IpProtocol: aws.String("udp"), FromPort: &port, ToPort: &port, ReferencedGroupId: &ref.ID}
		}),
	}
}

// byName finds a group by its name, under whatever id; ref where there is none.
func byName(name *string) func(t *testing.T, w *world, ref remediation.Ref) remediation.Ref {
	return func(t *testing.T, w *world, ref remediation.Ref) remediation.Ref {
		t.Helper()
		named := ref
		named.ID = *name
		s, err := w.readers[ref.Kind].Read(w.ctx, named)
		if errors.Is(err, remediation.ErrGone) {
			return ref
		}
		return must(s, err)(t).Ref()
	}
}

// richGroup is a group with everything that must come back.
func richGroup(t *testing.T, w *world) remediation.Ref {
	t.Helper()
	ref := newGroup(t, w)
	must(w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{ref.ID}, Tags: []types.Tag{{Key: aws.String("env"), Value: aws.String("prod")}}}))(t)
	allow(t, w, ref, map[string]string{"ticket": "OPS-7"}, ranges("tcp", 8443, "192.0.2.0/24", "tagged"))
	allow(t, w, ref, nil, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(7000), ToPort: aws.Int32(7001),
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &ref.ID, Description: aws.String("each other")}}})
	allow(t, w, ref, nil, peersOf(w, newList(t, w), "partners", "their gateway")...)
	// The egress that EC2 gives every group is not wanted here.
	revoke(t, w, ref, find(t, w, ref, func(r remediation.Rule) bool { return r.Direction == remediation.Egress && r.Protocol == "-1" }))
	return ref
}

func deleteGroup(t *testing.T, w *world, ref remediation.Ref) {
	t.Helper()
	must(w.ec2.DeleteSecurityGroup(w.ctx, &ec2.DeleteSecurityGroupInput{GroupId: &ref.ID}))(t)
}

// impostor makes another group of the name.
func impostor(t *testing.T, w *world, of *playbooks.GroupState) {
	t.Helper()
	must(w.ec2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{GroupName: &of.Name, Description: aws.String("an impostor"), VpcId: &of.VPC}))(t)
}

// rebuild makes a group by hand as it was.
func rebuild(t *testing.T, w *world, was *playbooks.GroupState) {
	t.Helper()
	out := must(w.ec2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{GroupName: &was.Name, Description: &was.Description, VpcId: &was.VPC}))(t)
	ref := was.Group
	ref.ID = *out.GroupId
	for k, v := range was.Tags {
		must(w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{ref.ID}, Tags: []types.Tag{{Key: &k, Value: &v}}}))(t)
	}
	revoke(t, w, ref, find(t, w, ref, func(r remediation.Rule) bool { return r.Protocol == "-1" }))
	for _, r := range was.Rules {
		if r.Group == was.Group.ID {
			r.Group = ref.ID
		}
		again(t, w, ref, []remediation.Rule{r})
	}
}

func wholeGroupCases() []contractCase {
	var name string
	var was *playbooks.GroupState
	addRule := func(t *testing.T, w *world, ref remediation.Ref) {
		allow(t, w, byName(&name)(t, w, ref), nil, ranges("tcp", 9999, "203.0.113.0/24", "since"))
	}
	nothing := func(remediation.State) any { return nil }
	created := contractCase{
		name: "group created", playbook: "sg-created", locate: byName(&name), neighbours: nothing,
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := richGroup(t, w)
			was = must(w.readers[ref.Kind].Read(w.ctx, ref))(t).(*playbooks.GroupState)
			name = was.Name
			return ref, eventSignal(w, ref, "CreateSecurityGroup", "sg-created")
		},
		settle: deleteGroup,
		offend: addRule,
		move:   func(t *testing.T, w *world, _ remediation.Ref) { impostor(t, w, was) },
	}
	deleted := contractCase{
		name: "group deleted", playbook: "sg-deleted", locate: byName(&name), neighbours: nothing,
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := richGroup(t, w)
			w.remember(t, ref)
			was = must(w.readers[ref.Kind].Read(w.ctx, ref))(t).(*playbooks.GroupState)
			name = was.Name
			deleteGroup(t, w, ref)
			return ref, longAgo(eventSignal(w, ref, "DeleteSecurityGroup", "sg-deleted"))
		},
		restored: func() remediation.State { return was },
		settle:   func(t *testing.T, w *world, _ remediation.Ref) { rebuild(t, w, was) },
		offend:   func(t *testing.T, w *world, _ remediation.Ref) { impostor(t, w, was) },
		move:     addRule,
	}
	return []contractCase{created, deleted}
}

// accountCases share the one account, so that each sets its block anew.
func accountCases() []contractCase {
	put := func(t *testing.T, w *world, ref remediation.Ref, b *controltypes.PublicAccessBlockConfiguration) {
		t.Helper()
		if b == nil {
			must(w.clients.S3Control.DeletePublicAccessBlock(w.ctx, &s3control.DeletePublicAccessBlockInput{AccountId: &ref.ID}))(t)
			return
		}
		must(w.clients.S3Control.PutPublicAccessBlock(w.ctx, &s3control.PutPublicAccessBlockInput{AccountId: &ref.ID, PublicAccessBlockConfiguration: b}))(t)
	}
	flags := func(acls, ignore, policy, restrict bool) *controltypes.PublicAccessBlockConfiguration {
		return &controltypes.PublicAccessBlockConfiguration{BlockPublicAcls: &acls, IgnorePublicAcls: &ignore, BlockPublicPolicy: &policy, RestrictPublicBuckets: &restrict}
	}
	with := func(name, event string, to *controltypes.PublicAccessBlockConfiguration) contractCase {
		return contractCase{
			name: name, playbook: "s3-account-block-public-access", neighbours: func(remediation.State) any { return nil },
			setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
				ref := remediation.Ref{Kind: remediation.KindAccount, Account: w.account, Region: testRegion, ID: w.account}
				put(t, w, ref, flags(true, true, true, true))
				put(t, w, ref, to)
				t.Cleanup(func() {
					late := *w
					late.ctx = context.WithoutCancel(w.ctx) // the test's own has ended by then
					put(t, &late, ref, flags(false, false, false, false))
				})
				return ref, eventSignal(w, ref, event, "s3-account-block-public-access")
			},
			settle: func(t *testing.T, w *world, ref remediation.Ref) { put(t, w, ref, flags(true, true, true, true)) },
			offend: func(t *testing.T, w *world, ref remediation.Ref) { put(t, w, ref, flags(false, true, false, true)) },
			move:   func(t *testing.T, w *world, ref remediation.Ref) { put(t, w, ref, flags(false, true, false, true)) },
		}
	}
	return []contractCase{
		with("account block loosened", "PutAccountPublicAccessBlock", flags(true, false, true, false)),
		with("account block deleted", "DeleteAccountPublicAccessBlock", nil),
	}
}
