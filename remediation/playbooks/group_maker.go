package playbooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

type groupMakerAPI interface {
	ruleEditorAPI
	CreateSecurityGroup(ctx context.Context, in *ec2.CreateSecurityGroupInput, opts ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error)
	DeleteSecurityGroup(ctx context.Context, in *ec2.DeleteSecurityGroupInput, opts ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error)
}

// errInUse says that a group can't be deleted since something uses it.
var errInUse = errors.New("the group is in use")

// groupMaker makes whole security groups and deletes them.
type groupMaker struct {
	ruleEditor
	api groupMakerAPI
}

func newGroupMaker(api groupMakerAPI) groupMaker { return groupMaker{ruleEditor{api}, api} }

// find looks for the group of a name in a VPC, whose names are unique; nil for
// none.
func (m groupMaker) find(ctx context.Context, want *GroupState) (*GroupState, error) {
	filters := []types.Filter{{Name: aws.String("group-name"), Values: []string{want.Name}}}
	if want.VPC != "" {
		filters = append(filters, types.Filter{Name: aws.String("vpc-id"), Values: []string{want.VPC}})
	}
	out, err := m.api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: filters}, ec2Region(want.Group))
	if err != nil {
		return nil, callError(err, want.Group, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups")
	}
	if len(out.SecurityGroups) == 0 {
		return nil, nil
	}
	ref := want.Group
	ref.ID = aws.ToString(out.SecurityGroups[0].GroupId)
	s, err := readGroup(ctx, m.api, ref)
	if errors.Is(err, remediation.ErrGone) {
		return nil, nil
	}
	return s, err
}

// make makes a group as it was, or finishes one that an earlier attempt has
// begun, and reads it back. It says how many changing calls that took. A
// *remediation.DriftError says that there is another group of that name.
func (m groupMaker) make(ctx context.Context, want *GroupState) (*GroupState, int, error) {
	calls := 0
	s, err := m.find(ctx, want)
	if err != nil {
		return nil, 0, err
	}
	if s == nil {
		if s, err = m.create(ctx, want); err != nil {
			return nil, 0, err
		}
		calls++
	}
	wanted := renamed(want.Rules, want.Group.ID, s.Group.ID)
	remediation.RecordResource(ctx, s.Group)
	if d := foreign(s, want, wanted); d != nil {
		return nil, calls, d
	}
	if calls > 0 {
		m.note(ctx, want, s.Group.ID)
	}
	n, err := m.fill(ctx, s, wanted)
	if err != nil {
		return nil, calls, err
	}
	if n > 0 {
		remediation.RecordNote(ctx, fmt.Sprintf("The group is back with the new id %s (it was %s): whatever named the old id has to be pointed to the new one.", s.Group.ID, want.Group.ID))
	}
	return s, calls + n, readBack(ctx, func() error { return m.is(ctx, s.Group, want) })
}

func (m groupMaker) create(ctx context.Context, want *GroupState) (*GroupState, error) {
	in := &ec2.CreateSecurityGroupInput{GroupName: &want.Name, Description: &want.Description, VpcId: optional(want.VPC)}
	if spec := tagSpecifications(want.Tags); spec != nil {
		spec[0].ResourceType = types.ResourceTypeSecurityGroup
		in.TagSpecifications = spec
	}
	out, err := m.api.CreateSecurityGroup(ctx, in, ec2Region(want.Group))
	if hasCode(err, "InvalidGroup.Duplicate") {
		return m.made(ctx, want, err)
	}
	if err != nil {
		return nil, callError(err, want.Group, "CreateSecurityGroup", "ec2:CreateSecurityGroup (with tags also ec2:CreateTags)")
	}
	ref := want.Group
	ref.ID = aws.ToString(out.GroupId)
	var s *GroupState
	err = readBack(ctx, func() error {
		s, err = readGroup(ctx, m.api, ref)
		if errors.Is(err, remediation.ErrGone) {
			return fmt.Errorf("the new group %s: %w", ref.ID, remediation.ErrNotVerified)
		}
		return err
	})
	return s, err
}

// made finds the group that is in the way of a new one, which may be the new one: the
// SDK makes a call again whose answer was lost. Whether it is, is for the caller.
func (m groupMaker) made(ctx context.Context, want *GroupState, refused error) (s *GroupState, err error) {
	err = readBack(ctx, func() error {
		if s, err = m.find(ctx, want); err != nil || s != nil {
			return err
		}
		return fmt.Errorf("the group that has the name %s: %w: %w", want.Name, remediation.ErrNotVerified, refused)
	})
	return s, err
}

// note says what the new group is without.
func (m groupMaker) note(ctx context.Context, want *GroupState, id string) {
	remediation.RecordNote(ctx, fmt.Sprintf("The group is back with the new id %s (it was %s): whatever named the old id has to be pointed to the new one.", id, want.Group.ID))
	if n := len(want.Tags) - len(ownTags(want.Tags)); n > 0 {
		remediation.RecordNote(ctx, fmt.Sprintf("%d tags that begin with aws: are left out, since only AWS may set them: whatever made the group, a CloudFormation stack perhaps, does not know the new one.", n))
	}
}

// renamed gives rules that name the group itself its new id.
func renamed(rules []remediation.Rule, from, to string) []remediation.Rule {
	out := slices.Clone(rules)
	for i := range out {
		if out[i].Group == from {
			out[i].Group = to
		}
	}
	return out
}

// foreign is a *remediation.DriftError where s is not a beginning of what is
// wanted: it has other words or tags, or rules beside the wanted ones and EC2's
// own egress to everywhere.
func foreign(s, want *GroupState, wanted []remediation.Rule) error {
	extra := slices.DeleteFunc(slices.Clone(s.Rules), func(r remediation.Rule) bool {
		w, ok := ruleByKey(wanted, r.Key())
		return ok && sameWords(w, r) || isDefaultEgress(r)
	})
	if s.Description == want.Description && maps.Equal(ownTags(s.Tags), ownTags(want.Tags)) && len(extra) == 0 {
		return nil
	}
	return drift(s.Group, groupLines(want), groupLines(s))
}

// isDefaultEgress reports whether a rule is as EC2 gives every new group of a
// VPC: all egress.
func isDefaultEgress(r remediation.Rule) bool {
	return r.Direction == remediation.Egress && r.Protocol == "-1" && (r.CIDR == "0.0.0.0/0" || r.CIDR == "::/0") && r.Description == ""
}

// fill adds the wanted rules that are missing and takes EC2's own egress away
// where it isn't wanted.
func (m groupMaker) fill(ctx context.Context, s *GroupState, wanted []remediation.Rule) (int, error) {
	calls := 0
	for _, d := range []remediation.Direction{remediation.Ingress, remediation.Egress} {
		var missing, surplus []remediation.Rule
		for _, w := range direction(wanted, d) {
			live, there := ruleByKey(s.Rules, w.Key())
			switch {
			case !there:
				missing = append(missing, w)
			case !sameWords(live, w):
				surplus, missing = append(surplus, live), append(missing, w) // EC2's own, where the old one had a description
			}
		}
		for _, r := range direction(s.Rules, d) {
			if _, ok := ruleByKey(wanted, r.Key()); !ok {
				surplus = append(surplus, r)
			}
		}
		if len(surplus) > 0 {
			if err := m.revokeLeft(ctx, s.Group, d, surplus); err != nil {
				return calls, err
			}
			calls++
		}
		if len(missing) > 0 {
			if _, err := m.restore(ctx, restore{ref: s.Group, direction: d, rules: missing}); err != nil {
				return calls, err
			}
			calls++
		}
	}
	return calls, nil
}

// is returns ErrNotVerified unless the group is as wanted, ids left aside.
func (m groupMaker) is(ctx context.Context, ref remediation.Ref, want *GroupState) error {
	s, err := readGroup(ctx, m.api, ref)
	if err != nil {
		return err
	}
	expected := *want
	expected.Rules = renamed(want.Rules, want.Group.ID, ref.ID)
	if !slices.Equal(groupLines(&expected), groupLines(s)) {
		difference := drift(ref, groupLines(&expected), groupLines(s)).Error() // not wrapped: it is no refusal
		return fmt.Errorf("%w: %s", remediation.ErrNotVerified, difference)
	}
	return nil
}

// groupLines shows a group in a diff, the same for the same group.
func groupLines(s *GroupState) []string {
	lines := []string{fmt.Sprintf("group %q (%s)", s.Name, s.Description)}
	if s.VPC != "" {
		lines = append(lines, "in "+s.VPC)
	}
	for _, k := range sortedKeys(ownTags(s.Tags)) {
		lines = append(lines, fmt.Sprintf("tag %s=%s", k, s.Tags[k]))
	}
	return append(lines, slices.Sorted(slices.Values(ruleLines(s.Rules)))...)
}

// remove deletes a group that is as planned and that nothing uses. It says
// whether there was one. errInUse names the users.
func (m groupMaker) remove(ctx context.Context, ref remediation.Ref, planned *GroupState) (bool, error) {
	s, err := readGroup(ctx, m.api, ref)
	if errors.Is(err, remediation.ErrGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.Equal(groupLines(planned), groupLines(s)) {
		return false, drift(ref, groupLines(planned), groupLines(s))
	}
	if use := groupUse(ctx, m.api, ref); use.any() {
		return false, fmt.Errorf("%w: %s", errInUse, cmp.Or(use.Unread, some(use.notes())))
	}
	_, err = m.api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &ref.ID}, ec2Region(ref))
	switch {
	case hasCode(err, "DependencyViolation"):
		return false, fmt.Errorf("%w: %w", errInUse, err)
	case hasCode(err, "InvalidGroup.NotFound"):
		return false, nil
	}
	return err == nil, callError(err, ref, "DeleteSecurityGroup", "ec2:DeleteSecurityGroup")
}

// isGone returns ErrNotVerified while there still is such a group.
func (m groupMaker) isGone(ctx context.Context, ref remediation.Ref) error {
	_, err := describeGroup(ctx, m.api, ref)
	switch {
	case errors.Is(err, remediation.ErrGone):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("security group %s is still there: %w", ref.ID, remediation.ErrNotVerified)
}
