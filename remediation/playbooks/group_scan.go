package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

// filterValues is how many values a request's filters may have in all ("List and
// filter your resources" in the EC2 User Guide).
const filterValues = 200

// Scan looks at the region's security groups: a call for each thousand of them,
// whose answer has all that is judged in a scan, and one for each thousand rules
// of those that are to be looked at closely, since only that has the rules' ids
// and tags. EC2 promises no order of rules, so that they are asked for by the
// groups of the page at hand: no more than those are held at once.
func (r *GroupReader) Scan(ctx context.Context, how remediation.Looking) iter.Seq2[remediation.Look, error] {
	return func(yield func(remediation.Look, error) bool) {
		sc := groupScan{r: r, how: how, yield: yield}
		pages := ec2.NewDescribeSecurityGroupsPaginator(r.c.EC2, &ec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() && !sc.over {
			readAt := how.Now()
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(remediation.Look{}, callError(err, remediation.Ref{Kind: remediation.KindSecurityGroup, ID: "all security groups"}, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups"))
				return
			}
			for _, l := range sc.page(ctx, page.SecurityGroups) {
				l.ReadAt = readAt
				sc.give(l, nil)
			}
		}
	}
}

// groupScan is a scan under way.
type groupScan struct {
	r     *GroupReader
	how   remediation.Looking
	yield func(remediation.Look, error) bool
	over  bool // nobody wants more
	// blind says that the rules can't be read, so that no group is looked at closely.
	blind bool
	lists map[string]PrefixList // that were read for any group
}

func (sc *groupScan) give(l remediation.Look, err error) {
	if !sc.over {
		sc.over = !sc.yield(l, err)
	}
}

// page gives the looks of a page of groups.
func (sc *groupScan) page(ctx context.Context, groups []types.SecurityGroup) []remediation.Look {
	shown := make([]*GroupState, len(groups))
	states := make([]remediation.State, len(groups))
	for i, g := range groups {
		shown[i] = shownGroup(g, sc.r.c.Region)
		sc.addLists(ctx, shown[i])
		states[i] = shown[i]
	}
	var picked []bool
	if sc.how.Closely != nil && !sc.blind {
		picked = sc.how.Closely(ctx, states)
	}
	var looks []remediation.Look
	var closely []*GroupState
	for i, s := range shown {
		switch {
		case picked == nil || !picked[i]:
			looks = append(looks, lookAt(s, false))
		case len(s.Rules) == 0:
			looks = append(looks, lookAt(s, true))
		default:
			closely = append(closely, s)
		}
	}
	for some := range slices.Chunk(closely, filterValues) {
		looks = append(looks, sc.closer(ctx, some)...)
	}
	return looks
}

func lookAt(s *GroupState, closely bool) remediation.Look {
	return remediation.Look{Ref: s.Group, Close: closely, State: func(context.Context) (remediation.State, error) { return s, nil }}
}

// closer reads the rules of some groups. Those of a group that are not the ones that
// the list of groups showed were changed in between, or while a page ended amid
// them: that group is to be read alone.
func (sc *groupScan) closer(ctx context.Context, groups []*GroupState) []remediation.Look {
	var rules map[string][]remediation.Rule
	if !sc.blind {
		var err error
		if rules, err = sc.r.rulesOf(ctx, groups); err != nil {
			sc.blind = isDenied(err)
			sc.give(remediation.Look{}, err)
		}
	}
	var looks []remediation.Look
	for _, s := range groups {
		switch of := rules[s.Group.ID]; {
		case rules == nil:
			looks = append(looks, lookAt(s, false))
		case !sameRules(s.Rules, of):
			looks = append(looks, remediation.Look{Ref: s.Group})
		default:
			whole := *s
			whole.Rules = of
			looks = append(looks, lookAt(&whole, true))
		}
	}
	return looks
}

// rulesOf lists the rules of some groups, by group.
func (r *GroupReader) rulesOf(ctx context.Context, groups []*GroupState) (map[string][]remediation.Rule, error) {
	ids := make([]string, len(groups))
	for i, s := range groups {
		ids[i] = s.Group.ID
	}
	rules := map[string][]remediation.Rule{}
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(r.c.EC2, &ec2.DescribeSecurityGroupRulesInput{
		Filters:    []types.Filter{{Name: aws.String("group-id"), Values: ids}},
		MaxResults: aws.Int32(pageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			of := remediation.Ref{Kind: remediation.KindSecurityGroup, ID: fmt.Sprintf("%d security groups", len(groups))}
			return nil, callError(err, of, "DescribeSecurityGroupRules", "ec2:DescribeSecurityGroupRules")
		}
		for _, one := range page.SecurityGroupRules {
			id := aws.ToString(one.GroupId)
			rules[id] = append(rules[id], normalRule(one))
		}
	}
	return rules, nil
}

// addLists gives a group the prefix lists by which it may be open, each of which is
// read once.
func (sc *groupScan) addLists(ctx context.Context, s *GroupState) {
	for _, rule := range direction(s.Rules, remediation.Ingress) {
		if rule.PrefixList == "" {
			continue
		}
		sc.lists = prefixLists(ctx, sc.r.c.EC2, s.Group, []remediation.Rule{rule}, sc.lists)
		if s.Lists == nil {
			s.Lists = map[string]PrefixList{}
		}
		s.Lists[rule.PrefixList] = sc.lists[rule.PrefixList]
	}
}

// shownGroup is a group as the list of groups shows it, its rules without ids and
// tags.
func shownGroup(g types.SecurityGroup, region string) *GroupState {
	s := &GroupState{
		Group: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: aws.ToString(g.OwnerId), Region: region, ID: aws.ToString(g.GroupId)},
		Name:  aws.ToString(g.GroupName), Description: aws.ToString(g.Description), VPC: aws.ToString(g.VpcId), Tags: tagMap(g.Tags),
		Rules: []remediation.Rule{},
	}
	for _, p := range g.IpPermissions {
		s.Rules = append(s.Rules, shownRules(g, p, false)...)
	}
	for _, p := range g.IpPermissionsEgress {
		s.Rules = append(s.Rules, shownRules(g, p, true)...)
	}
	return s
}

// shownRules are the rules that EC2 shows as one permission.
func shownRules(g types.SecurityGroup, p types.IpPermission, egress bool) []remediation.Rule {
	var rules []remediation.Rule
	add := func(peer types.SecurityGroupRule) {
		peer.IpProtocol, peer.FromPort, peer.ToPort, peer.IsEgress, peer.GroupOwnerId = p.IpProtocol, p.FromPort, p.ToPort, &egress, g.OwnerId
		rules = append(rules, normalRule(peer))
	}
	for _, r := range p.IpRanges {
		add(types.SecurityGroupRule{CidrIpv4: r.CidrIp, Description: r.Description})
	}
	for _, r := range p.Ipv6Ranges {
		add(types.SecurityGroupRule{CidrIpv6: r.CidrIpv6, Description: r.Description})
	}
	for _, l := range p.PrefixListIds {
		add(types.SecurityGroupRule{PrefixListId: l.PrefixListId, Description: l.Description})
	}
	for _, o := range p.UserIdGroupPairs {
		add(types.SecurityGroupRule{ReferencedGroupInfo: &types.ReferencedSecurityGroup{GroupId: o.GroupId, UserId: o.UserId}, Description: o.Description})
	}
	return rules
}

// sameRules reports whether two lists hold the same rules, whatever their ids, tags
// and order.
func sameRules(a, b []remediation.Rule) bool {
	texts := func(rules []remediation.Rule) []string {
		list := make([]string, len(rules))
		for i, r := range rules {
			list[i] = r.Key() + "|" + r.Description
		}
		slices.Sort(list)
		return list
	}
	return slices.Equal(texts(a), texts(b))
}

// Same reports whether a group is as the snapshot has it, but for what a look does
// not show: the ids and tags of its rules.
func (r *GroupReader) Same(shown remediation.State, kept json.RawMessage) bool {
	s, ok := shown.(*GroupState)
	if !ok {
		return false
	}
	snap, err := decodeSnapshot(kept)
	if err != nil || snap == nil {
		return false
	}
	was := &snap.Group
	return s.Group == was.Group && s.Name == was.Name && s.Description == was.Description && s.VPC == was.VPC &&
		maps.Equal(s.Tags, was.Tags) && sameRules(s.Rules, was.Rules)
}
