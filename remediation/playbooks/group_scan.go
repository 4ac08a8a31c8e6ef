package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
)

// filterValues is how many values a request's filters may have in all ("List and
// filter your resources" in the EC2 User Guide).
const filterValues = 200

// rulesAtOnce is how many requests for rules a scan has under way, where no limiter
// bounds them.
const rulesAtOnce = 8

// Scan looks at the region's security groups: a call for each thousand of them,
// whose answer has all that is judged in a scan. The ids and tags of rules are only in
// a list of rules: a call for each thousand of those that are to be looked at closely
// or whole. What uses the groups that are wanted whole takes three calls more for each
// two hundred. EC2 promises no order of rules, so that they are asked for by the
// groups of the page at hand, while the next is fetched: no more than those two are
// held at once.
func (r *GroupReader) Scan(ctx context.Context, how remediation.Looking) iter.Seq2[remediation.Look, error] {
	return func(yield func(remediation.Look, error) bool) {
		enough := make(chan struct{})
		defer close(enough)
		sc := groupScan{r: r, how: how, yield: yield}
		for page := range r.pages(ctx, how, enough) {
			if page.err != nil {
				yield(remediation.Look{}, callError(page.err, remediation.Ref{Kind: remediation.KindSecurityGroup, ID: "all security groups"}, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups"))
				return
			}
			for _, l := range sc.page(ctx, page.groups) {
				l.ReadAt = page.readAt
				sc.give(l, nil)
			}
			if sc.over {
				return
			}
		}
	}
}

type groupPage struct {
	groups []types.SecurityGroup
	readAt time.Time // right before
	err    error     // of the last page, which has no groups then
}

// pages lists all groups, a page ahead of who takes them, until enough is closed.
func (r *GroupReader) pages(ctx context.Context, how remediation.Looking, enough <-chan struct{}) <-chan groupPage {
	given := make(chan groupPage)
	go func() {
		defer close(given)
		pages := ec2.NewDescribeSecurityGroupsPaginator(r.c.EC2, &ec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			next := groupPage{readAt: how.Now()}
			var out *ec2.DescribeSecurityGroupsOutput
			if out, next.err = pages.NextPage(ctx); next.err == nil {
				next.groups = out.SecurityGroups
			}
			select {
			case given <- next:
			case <-enough:
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
	return given
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
		sc.addLists(ctx, shown[i], direction(shown[i].Rules, remediation.Ingress))
		states[i] = shown[i]
	}
	var picked []bool
	if sc.how.Closely != nil && !sc.blind {
		picked = sc.how.Closely(ctx, states)
	}
	var looks []remediation.Look
	var closely []*GroupState
	whole := map[string]bool{}
	for i, s := range shown {
		if whole[s.Group.ID] = sc.how.Whole != nil && sc.how.Whole(s); whole[s.Group.ID] && !sc.blind {
			closely = append(closely, s)
			continue
		}
		switch {
		case picked == nil || !picked[i]:
			looks = append(looks, lookAt(s, false))
		case len(s.Rules) == 0:
			looks = append(looks, lookAt(s, true))
		default:
			closely = append(closely, s)
		}
	}
	read := sc.closer(ctx, closely)
	sc.complete(ctx, read, whole)
	looks = append(looks, read...)
	for i, l := range looks {
		looks[i].Passed = sc.how.Whole != nil && l.State != nil && !whole[l.Ref.ID]
	}
	return looks
}

func lookAt(s *GroupState, closely bool) remediation.Look {
	return remediation.Look{Ref: s.Group, Close: closely, State: func(context.Context) (remediation.State, error) { return s, nil }}
}

// batches splits groups so that one answer holds all rules of each batch, as far as
// the list of groups has shown them.
func batches(groups []*GroupState) [][]*GroupState {
	var all [][]*GroupState
	rules := 0
	for _, s := range groups {
		last := len(all) - 1
		if rules += len(s.Rules); last < 0 || rules > pageSize || len(all[last]) == filterValues {
			all, last, rules = append(all, nil), last+1, len(s.Rules)
		}
		all[last] = append(all[last], s)
	}
	return all
}

// closer reads the rules of some groups. Those of a group that are not the ones that
// the list of groups showed were changed in between, or while a page ended amid
// them: that group is to be read alone.
func (sc *groupScan) closer(ctx context.Context, groups []*GroupState) []remediation.Look {
	split := batches(groups)
	rules, errs := make([]map[string][]remediation.Rule, len(split)), make([]error, len(split))
	var reading errgroup.Group
	reading.SetLimit(rulesAtOnce)
	for i, some := range split {
		reading.Go(func() error {
			rules[i], errs[i] = sc.r.rulesOf(ctx, some)
			return nil
		})
	}
	_ = reading.Wait() // none returns an error
	var looks []remediation.Look
	for i, some := range split {
		if errs[i] != nil && !sc.blind {
			sc.blind = isDenied(errs[i])
			sc.give(remediation.Look{}, errs[i])
		}
		for _, s := range some {
			switch of := rules[i][s.Group.ID]; {
			case errs[i] != nil:
				looks = append(looks, lookAt(s, false))
			case !sameRules(s.Rules, of):
				looks = append(looks, remediation.Look{Ref: s.Group})
			default:
				read := *s
				read.Rules = append([]remediation.Rule{}, of...)
				looks = append(looks, lookAt(&read, true))
			}
		}
	}
	return looks
}

// complete gives those of the looks that are wanted whole, and that are close, what
// else Read gives.
func (sc *groupScan) complete(ctx context.Context, looks []remediation.Look, whole map[string]bool) {
	var at []int
	for i, l := range looks {
		if l.Close && whole[l.Ref.ID] {
			at = append(at, i)
		}
	}
	for some := range slices.Chunk(at, filterValues) {
		ids := make([]string, len(some))
		for n, i := range some {
			ids[n] = looks[i].Ref.ID
		}
		uses := usesOf(ctx, sc.r.c.EC2, remediation.Ref{Kind: remediation.KindSecurityGroup, Region: sc.r.c.Region}, ids)
		for n, i := range some {
			state, _ := looks[i].State(ctx) // it is there
			s := *state.(*GroupState)
			s.Use = uses[ids[n]]
			sc.addLists(ctx, &s, s.Rules)
			looks[i] = lookAt(&s, true)
			looks[i].Whole = true
		}
	}
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

// addLists gives a group the prefix lists that some of its rules name, each of which is
// read once.
func (sc *groupScan) addLists(ctx context.Context, s *GroupState, rules []remediation.Rule) {
	named := map[string]PrefixList{}
	for _, rule := range rules {
		if rule.PrefixList == "" {
			continue
		}
		sc.lists = prefixLists(ctx, sc.r.c.EC2, s.Group, []remediation.Rule{rule}, sc.lists)
		named[rule.PrefixList] = sc.lists[rule.PrefixList]
	}
	if len(named) > 0 {
		s.Lists = named
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
