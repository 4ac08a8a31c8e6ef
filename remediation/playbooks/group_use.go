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

// groupUse looks up what uses a group. Where it only tells people how much is at
// stake, a group whose use can't be read is judged all the same.
func groupUse(ctx context.Context, api groupReaderAPI, ref remediation.Ref) Use {
	return usesOf(ctx, api, ref, []string{ref.ID})[ref.ID]
}

// usesOf looks up what uses some groups of of's region, two hundred of them at most,
// through the first page of network interfaces, and of referring groups, that has any for
// a single group, and all of them for several.
func usesOf(ctx context.Context, api groupReaderAPI, of remediation.Ref, ids []string) map[string]Use {
	if len(ids) > 1 {
		of.ID = fmt.Sprintf("%d security groups", len(ids))
	}
	uses := make(map[string]*Use, len(ids))
	for _, id := range ids {
		uses[id] = &Use{}
	}
	var in, out map[string][]string
	var reads errgroup.Group
	reads.Go(func() error { return addInterfaces(ctx, api, of, ids, uses) })
	reads.Go(func() (err error) {
		in, err = referringGroups(ctx, api, of, ids, "ip-permission.group-id")
		return err
	})
	reads.Go(func() (err error) {
		out, err = referringGroups(ctx, api, of, ids, "egress.ip-permission.group-id")
		return err
	})
	err := reads.Wait()
	found := make(map[string]Use, len(ids))
	for id, use := range uses {
		use.Referring, use.Instances = sortedOnce(slices.Concat(in[id], out[id])), sortedOnce(use.Instances)
		if found[id] = *use; err != nil {
			found[id] = Use{Unread: err.Error()}
		}
	}
	return found
}

func sortedOnce(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// addInterfaces counts a thousand interfaces of each group at most.
func addInterfaces(ctx context.Context, api groupReaderAPI, of remediation.Ref, ids []string, uses map[string]*Use) error {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(api, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: ids}}, MaxResults: aws.Int32(pageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, ec2Region(of))
		if err != nil {
			return callError(err, of, "DescribeNetworkInterfaces", "ec2:DescribeNetworkInterfaces")
		}
		for _, n := range page.NetworkInterfaces {
			for _, g := range n.Groups {
				if use := uses[aws.ToString(g.GroupId)]; use != nil {
					use.add(n)
				}
			}
		}
		// EC2 does not promise that there is anything on a page before the last.
		if one := uses[ids[0]]; len(ids) == 1 && one.Interfaces > 0 {
			one.More = pages.HasMorePages()
			return nil
		}
	}
	return nil
}

// add counts an interface.
func (u *Use) add(n types.NetworkInterface) {
	if u.Interfaces == pageSize {
		u.More = true
		return
	}
	u.Interfaces++
	if (n.Association != nil && aws.ToString(n.Association.PublicIp) != "") || len(n.Ipv6Addresses) > 0 {
		u.Public++
	}
	if n.Attachment != nil && aws.ToString(n.Attachment.InstanceId) != "" {
		u.Instances = append(u.Instances, *n.Attachment.InstanceId)
	}
}

// referringGroups are the other groups with rules that name these, by the id that
// they name.
func referringGroups(ctx context.Context, api groupReaderAPI, of remediation.Ref, ids []string, filter string) (map[string][]string, error) {
	named := map[string][]string{}
	pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String(filter), Values: ids}}, MaxResults: aws.Int32(pageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, ec2Region(of))
		if err != nil {
			return nil, callError(err, of, "DescribeSecurityGroups", "ec2:DescribeSecurityGroups")
		}
		for _, g := range page.SecurityGroups {
			permissions := g.IpPermissions
			if strings.HasPrefix(filter, "egress.") {
				permissions = g.IpPermissionsEgress
			}
			for _, p := range permissions {
				for _, peer := range p.UserIdGroupPairs {
					if id := aws.ToString(peer.GroupId); id != aws.ToString(g.GroupId) && slices.Contains(ids, id) {
						named[id] = append(named[id], aws.ToString(g.GroupId))
					}
				}
			}
		}
		if len(ids) == 1 && len(named) > 0 {
			break
		}
	}
	return named, nil
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
