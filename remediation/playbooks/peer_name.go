package playbooks

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

// peerIDs looks the groups up that an old call's event names by their names alone,
// in the VPC of the group. What is not found, as another account's, is left out.
func peerIDs(ctx context.Context, api groupReaderAPI, s *GroupState, rules []remediation.Rule) map[string]string {
	ids := map[string]string{}
	for _, r := range rules {
		if _, known := ids[r.Group]; known || !namedPeer(r) || r.GroupOwner != "" {
			continue
		}
		filters := []types.Filter{{Name: aws.String("group-name"), Values: []string{r.Group}}}
		if s.VPC != "" {
			filters = append(filters, types.Filter{Name: aws.String("vpc-id"), Values: []string{s.VPC}})
		}
		out, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: filters}, ec2Region(s.Group))
		if err == nil && len(out.SecurityGroups) == 1 {
			ids[r.Group] = aws.ToString(out.SecurityGroups[0].GroupId)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return ids
}

// namedPeer reports whether a rule names another group by its name.
func namedPeer(r remediation.Rule) bool { return r.Group != "" && !strings.HasPrefix(r.Group, "sg-") }

// told are the rules of an event with the ids of the groups that they name.
func (s *GroupState) told(rules []remediation.Rule) []remediation.Rule {
	out := make([]remediation.Rule, len(rules))
	for i, r := range rules {
		if id, ok := s.Peers[r.Group]; ok && namedPeer(r) {
			r.Group = id
		}
		out[i] = r
	}
	return out
}

// perhaps gives the live rules that may be those that the event tells of a group
// which it names by a name that nobody could look up: those of the same ports.
func (s *GroupState) perhaps(rules []remediation.Rule) []remediation.Rule {
	var found []remediation.Rule
	for _, r := range s.told(rules) {
		if !namedPeer(r) || r.ID != "" {
			continue
		}
		for _, l := range s.Rules {
			if l.Group != "" && l.Direction == r.Direction && l.PortsText() == r.PortsText() {
				found = append(found, l)
			}
		}
	}
	return found
}
