package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

type ruleEditorAPI interface {
	groupReaderAPI
	RevokeSecurityGroupIngress(ctx context.Context, in *ec2.RevokeSecurityGroupIngressInput, opts ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupIngressOutput, error)
	RevokeSecurityGroupEgress(ctx context.Context, in *ec2.RevokeSecurityGroupEgressInput, opts ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupEgressOutput, error)
	AuthorizeSecurityGroupIngress(ctx context.Context, in *ec2.AuthorizeSecurityGroupIngressInput, opts ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error)
	AuthorizeSecurityGroupEgress(ctx context.Context, in *ec2.AuthorizeSecurityGroupEgressInput, opts ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupEgressOutput, error)
}

// ruleEditor adds and takes away rules of security groups.
type ruleEditor struct{ api ruleEditorAPI }

// ruleParams are a step's parameters, and its Outcome.Data: the rules of one
// direction, with ids, descriptions and tags, that are to be or were revoked.
type ruleParams struct {
	Direction remediation.Direction `json:"direction"`
	Rules     []remediation.Rule    `json:"rules"`
}

// present gives the live rules that are among those that were added: of the same
// id, whatever somebody has made of them since, or of the same content where no
// id is known.
func present(live, added []remediation.Rule) []remediation.Rule {
	var found []remediation.Rule
	for _, r := range live {
		if slices.ContainsFunc(added, func(a remediation.Rule) bool { return a.ID == r.ID || a.ID == "" && a.Key() == r.Key() }) {
			found = append(found, r)
		}
	}
	return found
}

// ownTags are the tags that anybody may set: those that begin with aws: are AWS's
// own ("Tag your Amazon EC2 resources" in the EC2 User Guide).
func ownTags(tags map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range tags {
		if !strings.HasPrefix(strings.ToLower(k), "aws:") {
			own[k] = v
		}
	}
	return own
}

func minus(rules, without []remediation.Rule) []remediation.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r remediation.Rule) bool {
		_, out := ruleByID(without, r.ID)
		return out
	})
}

// ruleLines shows rules in a diff.
func ruleLines(rules []remediation.Rule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = ruleLine(r)
	}
	return lines
}

func ruleLine(r remediation.Rule) string {
	line := fmt.Sprintf("%s %s", r.Direction, r)
	if r.Description != "" {
		line += fmt.Sprintf(" %q", r.Description)
	}
	tags := ownTags(r.Tags)
	for _, k := range sortedKeys(tags) {
		line += fmt.Sprintf(" [%s=%s]", k, tags[k])
	}
	return line
}

// sameWords reports whether two rules of the same content have the same
// description and tags.
func sameWords(a, b remediation.Rule) bool {
	return a.Description == b.Description && maps.Equal(ownTags(a.Tags), ownTags(b.Tags))
}

// unchanged lists the planned rules that are still in the group, and returns a
// *remediation.DriftError where one of them was changed.
func (p ruleEditor) unchanged(ctx context.Context, ref remediation.Ref, planned []remediation.Rule) ([]remediation.Rule, error) {
	rules, err := groupRules(ctx, p.api, ref)
	if err != nil {
		return nil, err
	}
	live, expected, found := changedSince(rules, planned)
	if len(expected) > 0 {
		return nil, drift(ref, expected, found)
	}
	return live, nil
}

// changedSince gives those of the planned rules that are there by their ids, and
// the lines of those that are otherwise than planned, as expected and as found.
func changedSince(rules, planned []remediation.Rule) (live []remediation.Rule, expected, found []string) {
	for _, want := range planned {
		r, ok := ruleByID(rules, want.ID)
		if !ok {
			continue
		}
		if r.Key() != want.Key() || !sameWords(r, want) {
			expected, found = append(expected, ruleLine(want)), append(found, ruleLine(r))
		}
		live = append(live, r)
	}
	return live, expected, found
}

func (p ruleEditor) revoke(ctx context.Context, ref remediation.Ref, d remediation.Direction, rules []remediation.Rule) error {
	if d == remediation.Egress {
		_, err := p.api.RevokeSecurityGroupEgress(ctx, revokeEgress(ref, rules), ec2Region(ref))
		return callError(err, ref, "RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress")
	}
	_, err := p.api.RevokeSecurityGroupIngress(ctx, revokeIngress(ref, rules), ec2Region(ref))
	return callError(err, ref, "RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress")
}

func revokeIngress(ref remediation.Ref, rules []remediation.Rule) *ec2.RevokeSecurityGroupIngressInput {
	return &ec2.RevokeSecurityGroupIngressInput{GroupId: &ref.ID, SecurityGroupRuleIds: ruleIDs(rules)}
}

func revokeEgress(ref remediation.Ref, rules []remediation.Rule) *ec2.RevokeSecurityGroupEgressInput {
	return &ec2.RevokeSecurityGroupEgressInput{GroupId: &ref.ID, SecurityGroupRuleIds: ruleIDs(rules)}
}

func ruleIDs(rules []remediation.Rule) []string {
	ids := make([]string, len(rules))
	for i, r := range rules {
		ids[i] = r.ID
	}
	return ids
}

// noSuchRule reports whether EC2 refused to revoke rules since one of them is not
// there. It revokes none of the others then. The rules may be gone because the SDK
// makes a call again whose answer was lost.
func noSuchRule(err error) bool {
	return hasCode(err, "InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound")
}

// revokeLeft revokes those of the rules that are there.
func (p ruleEditor) revokeLeft(ctx context.Context, ref remediation.Ref, d remediation.Direction, rules []remediation.Rule) error {
	refused := p.revoke(ctx, ref, d, rules)
	if !noSuchRule(refused) {
		return refused
	}
	live, err := groupRules(ctx, p.api, ref)
	if err != nil {
		return errors.Join(refused, err)
	}
	left := slices.DeleteFunc(slices.Clone(rules), func(r remediation.Rule) bool {
		_, there := ruleByID(live, r.ID)
		return !there
	})
	if len(left) == 0 {
		return nil
	}
	return p.revoke(ctx, ref, d, left)
}

// missing lists the rules that the group lacks.
func (p ruleEditor) missing(ctx context.Context, ref remediation.Ref, rules []remediation.Rule) ([]remediation.Rule, error) {
	st, err := readGroup(ctx, p.api, ref)
	if err != nil {
		return nil, err
	}
	var missing []remediation.Rule
	var expected, found []string
	for _, r := range rules {
		live, there := ruleByKey(st.Rules, r.Key())
		switch {
		case !there:
			missing = append(missing, r)
		case !sameWords(live, r):
			expected, found = append(expected, ruleLine(r)), append(found, ruleLine(live))
		}
	}
	if len(expected) > 0 {
		return nil, drift(ref, expected, found)
	}
	return missing, nil
}

// restore is a set of rules to be authorised again.
type restore struct {
	ref       remediation.Ref
	direction remediation.Direction
	rules     []remediation.Rule
}

// restore authorises rules and reads them back. The tags of a call go to all
// its rules, so that each set of tags takes a call of its own. It gives the rules
// that EC2 answered that it has made.
func (p ruleEditor) restore(ctx context.Context, m restore) ([]remediation.Rule, error) {
	var made []remediation.Rule
	for _, batch := range byTags(m.rules) {
		answered, err := p.authorise(ctx, m.ref, m.direction, batch)
		made = append(made, answered...)
		if hasCode(err, "InvalidPermission.Duplicate") {
			// Somebody was faster: the read-back tells whether it is the same.
			err = nil
		}
		if hasCode(err, "RulesPerSecurityGroupLimitExceeded") {
			return made, fmt.Errorf("the group is full; take another rule out, then undo again: %w", err)
		}
		if err != nil {
			return made, err
		}
	}
	var drifted error
	err := readBack(ctx, func() error {
		missing, err := p.missing(ctx, m.ref, m.rules)
		if drifted = nil; errors.Is(err, remediation.ErrDrifted) {
			drifted = err
			return fmt.Errorf("%w: %s", remediation.ErrNotVerified, err.Error()) // tags may be seen later than their rule
		}
		if err != nil || len(missing) == 0 {
			return err
		}
		return fmt.Errorf("security group %s lacks %v: %w", m.ref.ID, ruleLines(missing), remediation.ErrNotVerified)
	})
	return made, cmp.Or(drifted, err)
}

// byTags splits rules into those of equal tags.
func byTags(rules []remediation.Rule) [][]remediation.Rule {
	tags := func(r remediation.Rule) string {
		b, err := json.Marshal(r.Tags) // members sorted
		if err != nil {
			return r.ID // can't be: strings always encode
		}
		return string(b)
	}
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b remediation.Rule) int { return cmp.Compare(tags(a), tags(b)) })
	var batches [][]remediation.Rule
	for i, r := range sorted {
		if i == 0 || tags(r) != tags(sorted[i-1]) {
			batches = append(batches, nil)
		}
		batches[len(batches)-1] = append(batches[len(batches)-1], r)
	}
	return batches
}

func (p ruleEditor) authorise(ctx context.Context, ref remediation.Ref, d remediation.Direction, rules []remediation.Rule) ([]remediation.Rule, error) {
	perms := make([]types.IpPermission, len(rules))
	for i, r := range rules {
		perms[i] = permission(r)
	}
	tags := tagSpecifications(rules[0].Tags)
	var made []types.SecurityGroupRule
	var err error
	call := "AuthorizeSecurityGroupIngress"
	if d == remediation.Egress {
		call = "AuthorizeSecurityGroupEgress"
		var out *ec2.AuthorizeSecurityGroupEgressOutput
		out, err = p.api.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
			GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tags,
		}, ec2Region(ref))
		if out != nil {
			made = out.SecurityGroupRules
		}
	} else {
		var out *ec2.AuthorizeSecurityGroupIngressOutput
		out, err = p.api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tags,
		}, ec2Region(ref))
		if out != nil {
			made = out.SecurityGroupRules
		}
	}
	answered := make([]remediation.Rule, len(made))
	for i, r := range made {
		answered[i] = normalRule(r)
	}
	return answered, callError(err, ref, call, "ec2:"+call+" (with tags also ec2:CreateTags)")
}

// permission is one rule as EC2 takes it.
func permission(r remediation.Rule) types.IpPermission {
	p := types.IpPermission{IpProtocol: &r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort}
	description := optional(r.Description)
	switch {
	case r.PrefixList != "":
		p.PrefixListIds = []types.PrefixListId{{PrefixListId: &r.PrefixList, Description: description}}
	case r.Group != "":
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &r.Group, UserId: optional(r.GroupOwner), Description: description}}
	case isIPv6(r.CIDR):
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: &r.CIDR, Description: description}}
	default:
		p.IpRanges = []types.IpRange{{CidrIp: &r.CIDR, Description: description}}
	}
	return p
}

// tagSpecifications are the tags of a call's rules; nil for none.
func tagSpecifications(tags map[string]string) []types.TagSpecification {
	spec := types.TagSpecification{ResourceType: types.ResourceTypeSecurityGroupRule}
	tags = ownTags(tags)
	for _, k := range sortedKeys(tags) {
		v := tags[k]
		spec.Tags = append(spec.Tags, types.Tag{Key: &k, Value: &v})
	}
	if len(spec.Tags) == 0 {
		return nil
	}
	return []types.TagSpecification{spec}
}
