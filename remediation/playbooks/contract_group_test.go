package playbooks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// newGroup makes a security group with a rule in each direction that must stay.
func newGroup(t *testing.T, w *world) remediation.Ref {
	t.Helper()
	vpcs := must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{}))(t)
	name := unique(t, "web")
	out := must(w.ec2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{
		GroupName: &name, Description: aws.String("made by a test"), VpcId: vpcs.Vpcs[0].VpcId,
	}))(t)
	ref := remediation.Ref{Kind: remediation.KindSecurityGroup, Account: w.account, Region: testRegion, ID: *out.GroupId}
	allow(t, w, ref, nil, ranges("tcp", 22, "10.0.0.0/8", "the VPN"), ranges("tcp", 443, "0.0.0.0/0", "the web"))
	allowOut(t, w, ref, nil, ranges("udp", 53, "10.0.0.2/32", "resolver"))
	return ref
}

func ranges(protocol string, port int32, cidr, description string) types.IpPermission {
	return types.IpPermission{IpProtocol: &protocol, FromPort: &port, ToPort: &port,
		IpRanges: []types.IpRange{{CidrIp: &cidr, Description: &description}}}
}

func tagsOf(m map[string]string) []types.TagSpecification {
	if len(m) == 0 {
		return nil
	}
	spec := types.TagSpecification{ResourceType: types.ResourceTypeSecurityGroupRule}
	for k, v := range m {
		spec.Tags = append(spec.Tags, types.Tag{Key: &k, Value: &v})
	}
	return []types.TagSpecification{spec}
}

// allow adds ingress rules and gives them as the event would name them.
func allow(t *testing.T, w *world, ref remediation.Ref, tags map[string]string, perms ...types.IpPermission) []remediation.Rule {
	t.Helper()
	out := must(w.ec2.AuthorizeSecurityGroupIngress(w.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tagsOf(tags)}))(t)
	return named(t, w, ref, out.SecurityGroupRules)
}

func allowOut(t *testing.T, w *world, ref remediation.Ref, tags map[string]string, perms ...types.IpPermission) []remediation.Rule {
	t.Helper()
	out := must(w.ec2.AuthorizeSecurityGroupEgress(w.ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tagsOf(tags)}))(t)
	return named(t, w, ref, out.SecurityGroupRules)
}

// named gives rules with id and content, without description and tags.
func named(t *testing.T, w *world, ref remediation.Ref, made []types.SecurityGroupRule) []remediation.Rule {
	t.Helper()
	var ids []string
	for _, m := range made {
		ids = append(ids, *m.SecurityGroupRuleId)
	}
	var rules []remediation.Rule
	for _, r := range liveRules(t, w, ref) {
		if slices.Contains(ids, r.ID) {
			r.Description, r.Tags = "", nil
			rules = append(rules, r)
		}
	}
	return rules
}

func liveRules(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
	t.Helper()
	return must(w.readers[remediation.KindSecurityGroup].Read(w.ctx, ref))(t).(*playbooks.GroupState).Rules
}

// find gives the one live rule that a test asks for.
func find(t *testing.T, w *world, ref remediation.Ref, want func(remediation.Rule) bool) remediation.Rule {
	t.Helper()
	rules := liveRules(t, w, ref)
	i := slices.IndexFunc(rules, want)
	if i < 0 {
		t.Fatalf("no such rule among %v", rules)
	}
	return rules[i]
}

func isCIDR(d remediation.Direction, cidr string, port int32) func(remediation.Rule) bool {
	return func(r remediation.Rule) bool { return r.Direction == d && r.CIDR == cidr && r.IncludesPort(port) }
}

func revoke(t *testing.T, w *world, ref remediation.Ref, r remediation.Rule) {
	t.Helper()
	if r.Direction == remediation.Egress {
		must(w.ec2.RevokeSecurityGroupEgress(w.ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: &ref.ID, SecurityGroupRuleIds: []string{r.ID}}))(t)
		return
	}
	must(w.ec2.RevokeSecurityGroupIngress(w.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &ref.ID, SecurityGroupRuleIds: []string{r.ID}}))(t)
}

// modify gives a rule, which keeps its id, other ports.
func modify(t *testing.T, w *world, ref remediation.Ref, r remediation.Rule, port int32) {
	t.Helper()
	must(w.ec2.ModifySecurityGroupRules(w.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &ref.ID, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
		SecurityGroupRuleId: &r.ID,
		SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: &r.Protocol, FromPort: &port, ToPort: &port, CidrIpv4: &r.CIDR, Description: &r.Description},
	}}}))(t)
}

func groupSignal(w *world, ref remediation.Ref, rules []remediation.Rule) remediation.Signal {
	kind := "AuthorizeSecurityGroupIngress"
	if rules[0].Direction == remediation.Egress {
		kind = "AuthorizeSecurityGroupEgress"
	}
	sig := eventSignal(w, ref, kind, "sg-rule-added")
	sig.Change = remediation.Change{Direction: rules[0].Direction, Rules: rules}
	return sig
}

// groupCase is a case about rules that add makes; is finds the first of them.
func groupCase(name string, is func(remediation.Rule) bool, add func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule) contractCase {
	var added []remediation.Rule
	return contractCase{
		name: name, playbook: "sg-rule-added",
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newGroup(t, w)
			added = add(t, w, ref)
			return ref, groupSignal(w, ref, added)
		},
		neighbours: func(s remediation.State) any {
			g := *s.(*playbooks.GroupState)
			g.Lists = nil // of the rules that go
			g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r remediation.Rule) bool {
				return slices.ContainsFunc(added, func(a remediation.Rule) bool { return a.Key() == r.Key() })
			})
			slices.SortFunc(g.Rules, func(a, b remediation.Rule) int { return strings.Compare(a.Key(), b.Key()) })
			return g
		},
		beside: func(t *testing.T, w *world, ref remediation.Ref) {
			revoke(t, w, ref, find(t, w, ref, isCIDR(remediation.Ingress, "10.0.0.0/8", 22)))
			allow(t, w, ref, nil, ranges("tcp", 8443, "198.51.100.0/24", "new beside"))
		},
		offend: func(t *testing.T, w *world, ref remediation.Ref) { modify(t, w, ref, find(t, w, ref, is), 2222) },
		settle: func(t *testing.T, w *world, ref remediation.Ref) {
			for _, a := range added {
				revoke(t, w, ref, a)
			}
		},
		move: func(t *testing.T, w *world, ref remediation.Ref) {
			again := added[0]
			p := types.IpPermission{IpProtocol: &again.Protocol, FromPort: again.FromPort, ToPort: again.ToPort}
			p.IpRanges = []types.IpRange{{CidrIp: &again.CIDR, Description: aws.String("put back by hand")}}
			if again.Direction == remediation.Egress {
				allowOut(t, w, ref, nil, p)
				return
			}
			allow(t, w, ref, nil, p)
		},
	}
}

func groupCases() []contractCase {
	ssh := groupCase("ssh from the world", isCIDR(remediation.Ingress, "0.0.0.0/0", 22),
		func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			return allow(t, w, ref, map[string]string{"ticket": "OPS-7", "owner": "dana"}, ranges("tcp", 22, "0.0.0.0/0", "only for today"))
		})
	several := groupCase("several rules in one call", isCIDR(remediation.Ingress, "0.0.0.0/1", 3306),
		func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			p := ranges("tcp", 3306, "0.0.0.0/1", "lower half")
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String("128.0.0.0/1"), Description: aws.String("upper half")})
			p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}
			p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &ref.ID, Description: aws.String("each other")}}
			return allow(t, w, ref, nil, p)
		})
	out := groupCase("egress to the world", isCIDR(remediation.Egress, "0.0.0.0/0", 25),
		func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			return allowOut(t, w, ref, map[string]string{"ticket": "OPS-8"}, ranges("tcp", 25, "0.0.0.0/0", "mail"))
		})
	out.offend = func(t *testing.T, w *world, ref remediation.Ref) {
		modify(t, w, ref, find(t, w, ref, func(r remediation.Rule) bool { return r.Description == "mail" }), 2222)
	}
	return []contractCase{ssh, several, out, peersCase()}
}

// newList makes a prefix list that holds the world.
func newList(t *testing.T, w *world) string {
	t.Helper()
	out := must(w.ec2.CreateManagedPrefixList(w.ctx, &ec2.CreateManagedPrefixListInput{
		PrefixListName: aws.String(unique(t, "list")), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(5),
		Entries: []types.AddPrefixListEntry{{Cidr: aws.String("0.0.0.0/1")}, {Cidr: aws.String("128.0.0.0/1")}},
	}))(t)
	return *out.PrefixList.PrefixListId
}

// foreignGroup is a group of another account.
const foreignGroup, foreignAccount = "sg-0fedcba9876543210", "444455556666"

// peersOf are permissions for a prefix list and for another account's group, where
// the backend takes such.
func peersOf(w *world, list, listText, groupText string) []types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22)}
	q := p
	p.PrefixListIds = []types.PrefixListId{{PrefixListId: &list, Description: &listText}}
	q.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(foreignGroup), UserId: aws.String(foreignAccount), Description: &groupText}}
	if !w.enforces {
		return []types.IpPermission{p}
	}
	return []types.IpPermission{p, q}
}

// peersCase is about rules that name no addresses themselves.
func peersCase() contractCase {
	var list string
	isList := func(r remediation.Rule) bool { return r.PrefixList == list }
	c := groupCase("ssh from a prefix list and another account's group", isList,
		func(t *testing.T, w *world, ref remediation.Ref) []remediation.Rule {
			list = newList(t, w)
			return allow(t, w, ref, map[string]string{"ticket": "OPS-9"}, peersOf(w, list, "partners", "their gateway")...)
		})
	c.offend = func(t *testing.T, w *world, ref remediation.Ref) {
		r := find(t, w, ref, isList)
		must(w.ec2.ModifySecurityGroupRules(w.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &ref.ID, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
			SecurityGroupRuleId: &r.ID,
			SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: &r.Protocol, FromPort: aws.Int32(2222), ToPort: aws.Int32(2222), PrefixListId: &list, Description: &r.Description},
		}}}))(t)
	}
	c.move = func(t *testing.T, w *world, ref remediation.Ref) {
		allow(t, w, ref, nil, peersOf(w, list, "put back by hand", "their gateway")...)
	}
	return c
}
