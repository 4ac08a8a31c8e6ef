package playbooks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
)

// maxUsers is how many instances and groups a message names.
const maxUsers = 10

// Use is what hangs on a security group.
type Use struct {
	Interfaces int      `json:"interfaces"`
	Public     int      `json:"public"`              // those with a public address
	Instances  []string `json:"instances,omitempty"` // ids, sorted
	Referring  []string `json:"referring,omitempty"` // ids of other groups with rules that name this one, sorted
	More       bool     `json:"more,omitempty"`      // there are more interfaces than were counted
	Unread     string   `json:"unread,omitempty"`    // why nobody knows; empty where it was read
}

// groupUse looks up to one page of network interfaces and of referring groups
// through. Where it only tells people how much is at stake, a group whose use
// can't be read is judged all the same.
func groupUse(ctx context.Context, api groupReaderAPI, ref remediation.Ref) Use {
	var use Use
	var referring [2][]string
	var reads errgroup.Group
	reads.Go(func() error { return use.interfaces(ctx, api, ref) })
	for i, filter := range []string{"ip-permission.group-id", "egress.ip-permission.group-id"} {
		reads.Go(func() (err error) {
			referring[i], err = referringGroups(ctx, api, ref, filter)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return Use{Unread: err.Error()}
	}
	use.Referring = sortedOnce(slices.Concat(referring[0], referring[1]))
	return use
}

func sortedOnce(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (u *Use) interfaces(ctx context.Context, api groupReaderAPI, ref remediation.Ref) error {
	out, err := api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{ref.ID}}}, MaxResults: aws.Int32(pageSize),
	}, ec2Region(ref))
	if err != nil {
		return callError(err, ref, "DescribeNetworkInterfaces", "ec2:DescribeNetworkInterfaces")
	}
	u.Interfaces, u.More = len(out.NetworkInterfaces), aws.ToString(out.NextToken) != ""
	for _, n := range out.NetworkInterfaces {
		if (n.Association != nil && aws.ToString(n.Association.PublicIp) != "") || len(n.Ipv6Addresses) > 0 {
			u.Public++
		}
		if n.Attachment != nil && aws.ToString(n.Attachment.InstanceId) != "" {
			u.Instances = append(u.Instances, *n.Attachment.InstanceId)
		}
	}
	u.Instances = sortedOnce(u.Instances)
	return nil
}

// referringGroups are the other groups with rules that name this one.
func referringGroups(ctx context.Context, api groupReaderAPI, ref remediation.Ref, filter string) ([]string, error) {
	out, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String(filter), Values: []string{ref.ID}}}, MaxResults: aws.Int32(pageSize),
	}, ec2Region(ref))
	if err != nil {
		return nil, callError(err, ref, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups")
	}
	var ids []string
	for _, g := range out.SecurityGroups {
		if id := aws.ToString(g.GroupId); id != ref.ID {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// any reports whether something uses the group, or nobody knows.
func (u Use) any() bool {
	return u.Interfaces > 0 || len(u.Referring) > 0 || u.Unread != ""
}

// notes say what uses the group.
func (u Use) notes() []string {
	if u.Unread != "" {
		return []string{"what uses the group is not known: " + u.Unread}
	}
	var notes []string
	switch {
	case u.Interfaces == 0:
		notes = append(notes, "no network interface uses the group")
	case u.More:
		notes = append(notes, fmt.Sprintf("more than %d network interfaces use the group", u.Interfaces))
	default:
		notes = append(notes, fmt.Sprintf("%d network interface(s) use the group, %d with a public address", u.Interfaces, u.Public))
	}
	if len(u.Instances) > 0 {
		notes = append(notes, "instances: "+some(u.Instances))
	}
	if len(u.Referring) > 0 {
		notes = append(notes, "rules of other groups name it: "+some(u.Referring))
	}
	return notes
}

// some names the first of a list.
func some(ids []string) string {
	if more := len(ids) - maxUsers; more > 0 {
		return strings.Join(ids[:maxUsers], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(ids, ", ")
}
