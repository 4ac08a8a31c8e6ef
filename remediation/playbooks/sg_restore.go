package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

// restore is a set of rules to be authorised again.
type restore struct {
	ref       remediation.Ref
	direction remediation.Direction
	rules     []remediation.Rule
}

// restore authorises rules and reads them back. The tags of a call go to all
// its rules, so that each set of tags takes a call of its own.
func (p ruleAdded) restore(ctx context.Context, m restore) error {
	for _, batch := range byTags(m.rules) {
		err := p.authorise(ctx, m.ref, m.direction, batch)
		if hasCode(err, "InvalidPermission.Duplicate") {
			// Somebody was faster: the read-back tells whether it is the same.
			err = nil
		}
		if hasCode(err, "RulesPerSecurityGroupLimitExceeded") {
			return fmt.Errorf("the group is full; take another rule out, then undo again: %w", err)
		}
		if err != nil {
			return err
		}
	}
	return readBack(ctx, func() error {
		missing, err := p.missing(ctx, m.ref, m.rules)
		if err != nil || len(missing) == 0 {
			return err
		}
		return fmt.Errorf("security group %s lacks %v: %w", m.ref.ID, ruleLines(missing), remediation.ErrNotVerified)
	})
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

func (p ruleAdded) authorise(ctx context.Context, ref remediation.Ref, d remediation.Direction, rules []remediation.Rule) error {
	perms := make([]types.IpPermission, len(rules))
	for i, r := range rules {
		perms[i] = permission(r)
	}
	tags := tagSpecifications(rules[0].Tags)
	if d == remediation.Egress {
		_, err := p.api.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
			GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tags,
		}, ec2Region(ref))
		return callError(err, ref, "AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupEgress (with tags also ec2:CreateTags)")
	}
	_, err := p.api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &ref.ID, IpPermissions: perms, TagSpecifications: tags,
	}, ec2Region(ref))
	return callError(err, ref, "AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupIngress (with tags also ec2:CreateTags)")
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
	for _, k := range sortedKeys(tags) {
		v := tags[k]
		spec.Tags = append(spec.Tags, types.Tag{Key: &k, Value: &v})
	}
	if len(spec.Tags) == 0 {
		return nil
	}
	return []types.TagSpecification{spec}
}
