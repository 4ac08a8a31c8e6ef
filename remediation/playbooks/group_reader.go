package playbooks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/internal/sgrule"
	"secbot/remediation"
)

type groupReaderAPI interface {
	groupRulesAPI
	prefixListAPI
	DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput, opts ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error)
	DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput, opts ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
}

type groupRulesAPI interface {
	DescribeSecurityGroupRules(ctx context.Context, in *ec2.DescribeSecurityGroupRulesInput, opts ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupRulesOutput, error)
}

// groupReadActions are the IAM actions that GroupReader needs.
func groupReadActions() []string {
	return []string{"ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:DescribeNetworkInterfaces", "ec2:GetManagedPrefixListEntries"}
}

// groupHistoryActions are those that GroupReader needs to know a group as it
// was.
func groupHistoryActions() []string {
	return append(groupReadActions(), "config:GetResourceConfigHistory")
}

// pageSize is how many groups or rules are asked for at once, the most that EC2
// gives.
const pageSize = 1000

// GroupState is a security group with all its rules.
type GroupState struct {
	Group       remediation.Ref    `json:"group"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	VPC         string             `json:"vpc,omitempty"`
	Tags        map[string]string  `json:"tags,omitempty"`
	Rules       []remediation.Rule `json:"rules"` // normalised, with ids, descriptions and tags
	Use         Use                `json:"use"`
	// Lists are the prefix lists that the rules name.
	Lists map[string]PrefixList `json:"lists,omitempty"`
	// Peers are ids of groups that an event names by their names.
	Peers map[string]string `json:"peers,omitempty"`
	// Gone says that there is no such group (any more): only Group is filled in.
	Gone bool `json:"gone,omitempty"`
	// Earlier is what is known of the group before the change that is being
	// judged; nil where there was no need to know.
	Earlier *Earlier `json:"earlier,omitempty"`
}

// Ref is the group that was read.
func (s *GroupState) Ref() remediation.Ref { return s.Group }

// GroupReader reads EC2 security groups. It implements remediation.Reader.
type GroupReader struct{ c Clients }

// List yields the region's security groups.
func (r *GroupReader) List(ctx context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		pages := ec2.NewDescribeSecurityGroupsPaginator(r.c.EC2, &ec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(remediation.Ref{}, fmt.Errorf("DescribeSecurityGroups (ec2:DescribeSecurityGroups): %w", err))
				return
			}
			for _, g := range page.SecurityGroups {
				ref := remediation.Ref{Kind: remediation.KindSecurityGroup, Account: aws.ToString(g.OwnerId), Region: r.c.Region, ID: aws.ToString(g.GroupId)}
				if !yield(ref, nil) {
					return
				}
			}
		}
	}
}

// Read reads a group and its rules. An id that does not begin with sg- is the
// name of a group of the default VPC, as old calls give it. It returns a
// *GroupState, one that is Gone together with ErrGone where there is no such
// group; ErrOtherAccount where it
// belongs to another account than ref's.
func (r *GroupReader) Read(ctx context.Context, ref remediation.Ref) (remediation.State, error) {
	if ref.ID == "" {
		return nil, errors.New("a security group without id and name can't be read")
	}
	if ref.Region == "" {
		ref.Region = r.c.Region
	}
	if !strings.HasPrefix(ref.ID, "sg-") {
		g, err := describeGroup(ctx, r.c.EC2, ref)
		if errors.Is(err, remediation.ErrGone) {
			return &GroupState{Group: ref, Gone: true}, err
		}
		if err != nil {
			return nil, err
		}
		ref.ID = aws.ToString(g.GroupId)
	}
	var use Use
	var reading sync.WaitGroup
	reading.Go(func() { use = groupUse(ctx, r.c.EC2, ref) })
	s, err := readGroup(ctx, r.c.EC2, ref)
	reading.Wait()
	if errors.Is(err, remediation.ErrGone) {
		return &GroupState{Group: ref, Gone: true}, err
	}
	if err != nil {
		return nil, err
	}
	s.Use = use
	s.Lists = prefixLists(ctx, r.c.EC2, s.Group, s.Rules, nil)
	return s, nil
}

// readGroup reads a group and, at the same time, its rules.
func readGroup(ctx context.Context, api groupReaderAPI, ref remediation.Ref) (*GroupState, error) {
	var rules []remediation.Rule
	var rulesErr error
	var reading sync.WaitGroup
	reading.Go(func() { rules, rulesErr = groupRules(ctx, api, ref) })
	g, err := describeGroup(ctx, api, ref)
	reading.Wait()
	if err != nil {
		return nil, err
	}
	account := aws.ToString(g.OwnerId)
	if ref.Account != "" && account != "" && ref.Account != account {
		return nil, fmt.Errorf("security group %s is owned by account %s, not by %s: %w", ref.ID, account, ref.Account, remediation.ErrOtherAccount)
	}
	if rulesErr != nil {
		return nil, rulesErr
	}
	if account != "" {
		ref.Account = account
	}
	return &GroupState{
		Group: ref, Name: aws.ToString(g.GroupName), Description: aws.ToString(g.Description),
		VPC: aws.ToString(g.VpcId), Tags: tagMap(g.Tags), Rules: rules,
	}, nil
}

func describeGroup(ctx context.Context, api groupReaderAPI, ref remediation.Ref) (types.SecurityGroup, error) {
	in := &ec2.DescribeSecurityGroupsInput{}
	if strings.HasPrefix(ref.ID, "sg-") {
		in.GroupIds = []string{ref.ID}
	} else {
		in.GroupNames = []string{ref.ID} // EC2 looks in the default VPC
	}
	out, err := api.DescribeSecurityGroups(ctx, in, ec2Region(ref))
	if err != nil {
		return types.SecurityGroup{}, callError(err, ref, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups")
	}
	switch len(out.SecurityGroups) {
	case 0:
		return types.SecurityGroup{}, fmt.Errorf("security group %s: %w", ref.ID, remediation.ErrGone)
	case 1:
		return out.SecurityGroups[0], nil
	}
	return types.SecurityGroup{}, fmt.Errorf("%d security groups are called %q, and the event does not say which it means", len(out.SecurityGroups), ref.ID)
}

// ec2Region sends a call to the resource's region.
func ec2Region(ref remediation.Ref) func(*ec2.Options) {
	return func(o *ec2.Options) {
		if ref.Region != "" {
			o.Region = ref.Region
		}
	}
}

// groupRules lists all rules of a group, normalised; none where there is no
// such group.
func groupRules(ctx context.Context, api groupRulesAPI, ref remediation.Ref) ([]remediation.Rule, error) {
	rules := []remediation.Rule{}
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(api, &ec2.DescribeSecurityGroupRulesInput{
		Filters:    []types.Filter{{Name: aws.String("group-id"), Values: []string{ref.ID}}},
		MaxResults: aws.Int32(pageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, ec2Region(ref))
		if err != nil {
			return nil, callError(err, ref, "DescribeSecurityGroupRules", "ec2:DescribeSecurityGroupRules")
		}
		for _, r := range page.SecurityGroupRules {
			rules = append(rules, normalRule(r))
		}
	}
	return rules, nil
}

// normalRule brings a rule of EC2's into the form in which rules are compared.
func normalRule(in types.SecurityGroupRule) remediation.Rule {
	r := remediation.Rule{
		ID: aws.ToString(in.SecurityGroupRuleId), Direction: remediation.Ingress,
		Protocol:   sgrule.Protocol(aws.ToString(in.IpProtocol)),
		PrefixList: aws.ToString(in.PrefixListId), Description: aws.ToString(in.Description), Tags: tagMap(in.Tags),
	}
	if aws.ToBool(in.IsEgress) {
		r.Direction = remediation.Egress
	}
	r.FromPort, r.ToPort = sgrule.Ports(r.Protocol, in.FromPort, in.ToPort)
	for _, cidr := range []*string{in.CidrIpv4, in.CidrIpv6} {
		if s := aws.ToString(cidr); s != "" {
			r.CIDR = s
			if canonical, err := sgrule.CIDR(s); err == nil {
				r.CIDR = canonical
			}
		}
	}
	if g := in.ReferencedGroupInfo; g != nil {
		r.Group = aws.ToString(g.GroupId)
		if other := aws.ToString(g.UserId); other != aws.ToString(in.GroupOwnerId) {
			r.GroupOwner = other
		}
	}
	return r
}

func tagMap(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// ruleByID finds a rule by id.
func ruleByID(rules []remediation.Rule, id string) (remediation.Rule, bool) {
	i := slices.IndexFunc(rules, func(r remediation.Rule) bool { return r.ID == id })
	if i < 0 {
		return remediation.Rule{}, false
	}
	return rules[i], true
}

// ruleByKey finds a rule by its content.
func ruleByKey(rules []remediation.Rule, key string) (remediation.Rule, bool) {
	i := slices.IndexFunc(rules, func(r remediation.Rule) bool { return r.Key() == key })
	if i < 0 {
		return remediation.Rule{}, false
	}
	return rules[i], true
}
