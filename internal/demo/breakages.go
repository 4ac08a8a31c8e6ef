package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/internal/sandbox/fakeaws"
)

// Breakage is a way to open a hole, which a playbook knows how to close.
type Breakage struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"` // of its target: group, bucket or account
	Label string `json:"label"`

	do func(w *World, ctx context.Context, target string) error
}

// ErrNoBreakage says that there is no such way to break something.
var ErrNoBreakage = errors.New("there is no such way to break it")

// Breakages lists every way that the company's engineer can break something.
func Breakages() []Breakage {
	return []Breakage{
		{"forgotten", "account", "Bring in a forgotten project", (*World).bringIn},
		{"ssh", "group", "Open SSH to the world", func(w *World, ctx context.Context, group string) error {
			return w.authorize(ctx, group, tcp(22, "0.0.0.0/0", "just for a minute"))
		}},
		{"all6", "group", "Open everything to the world, by IPv6", func(w *World, ctx context.Context, group string) error {
			return w.authorize(ctx, group, ec2types.IpPermission{
				IpProtocol: aws.String("-1"), Ipv6Ranges: []ec2types.Ipv6Range{{CidrIpv6: aws.String("::/0"), Description: aws.String("debugging")}},
			})
		}},
		{"partner", "group", "Let a partner in on 8443", func(w *World, ctx context.Context, group string) error {
			return w.authorize(ctx, group, tcp(8443, "198.51.100.0/24", "our partner"))
		}},
		{"storm", "group", "Let forty partners in at once", (*World).storm},
		{"out", "group", "Let the database port out to the world", (*World).letOut},
		{"widen", "group", "Widen the oldest rule to RDP", (*World).widen},
		{"drop", "group", "Revoke the oldest rule, by its id", (*World).drop},
		{"delete", "group", "Delete the group", func(w *World, ctx context.Context, group string) error {
			_, err := w.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &group})
			return err
		}},
		{"create", "group", "Create another group", func(w *World, ctx context.Context, _ string) error {
			name := "debug-" + rand.Text()[:4]
			_, err := w.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("For debugging")})
			return err
		}},
		{"acl-read", "bucket", "Readable for everybody, by ACL", cannedACL(s3types.BucketCannedACLPublicRead)},
		{"acl-write", "bucket", "Writable for everybody, by ACL", cannedACL(s3types.BucketCannedACLPublicReadWrite)},
		{"policy", "bucket", "Public by a policy", (*World).publish},
		{"unblock", "bucket", "Take Block Public Access away", func(w *World, ctx context.Context, bucket string) error {
			_, err := w.S3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &bucket})
			return err
		}},
	}
}

// A forgotten project has so many groups, each with one rule of that description.
const (
	forgotten = 4
	batchRule = "for the batch jobs"
)

// bringIn makes groups that are open to the world, of which no event ever told: only
// a scan finds them.
func (w *World) bringIn(ctx context.Context, _ string) error {
	return w.Sandbox.Unheard(func() error {
		project := "batch-" + rand.Text()[:4]
		for i := range forgotten {
			name := fmt.Sprintf("%s-%d", project, i+1)
			out, err := w.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("Nobody remembers")})
			if err != nil {
				return err
			}
			if err := w.authorize(ctx, aws.ToString(out.GroupId), tcp(22, "0.0.0.0/0", batchRule)); err != nil {
				return err
			}
		}
		return nil
	})
}

// slowness is how long each call of secbot's takes while AWS is slow.
const slowness = 2 * time.Second

// Slow has each of secbot's calls to AWS take a while, or no longer.
func (w *World) Slow(slow bool) {
	w.slow.Store(slow)
	w.Sandbox.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if !slow || !strings.Contains(c.Caller, ":assumed-role/secbot/") {
			return nil
		}
		return &fakeaws.Fault{Delay: slowness}
	})
}

// Break opens a hole as the company's engineer. It returns ErrNoBreakage for an
// unknown id, else AWS's own refusal.
func (w *World) Break(ctx context.Context, id, target string) error {
	for _, b := range Breakages() {
		if b.ID == id {
			return b.do(w, ctx, target)
		}
	}
	return fmt.Errorf("%w: %q", ErrNoBreakage, id)
}

func tcp(port int32, cidr, why string) ec2types.IpPermission {
	return ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(port), ToPort: aws.Int32(port),
		IpRanges: []ec2types.IpRange{{CidrIp: aws.String(cidr), Description: aws.String(why)}},
	}
}

func (w *World) authorize(ctx context.Context, group string, p ec2types.IpPermission) error {
	_, err := w.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{p}})
	return err
}

// storm makes forty calls, each of which is a question of its own.
func (w *World) storm(ctx context.Context, group string) error {
	for i := range int32(40) {
		if err := w.authorize(ctx, group, tcp(9000+i, fmt.Sprintf("198.51.100.%d/32", i), "a partner")); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) letOut(ctx context.Context, group string) error {
	_, err := w.EC2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
		GroupId: &group, IpPermissions: []ec2types.IpPermission{tcp(5432, "0.0.0.0/0", "their database")},
	})
	return err
}

func cannedACL(acl s3types.BucketCannedACL) func(*World, context.Context, string) error {
	return func(w *World, ctx context.Context, bucket string) error {
		_, err := w.S3.PutBucketAcl(ctx, &s3.PutBucketAclInput{Bucket: &bucket, ACL: acl})
		return err
	}
}

// publish puts a policy with a statement for everybody beside one that must
// stay.
func (w *World) publish(ctx context.Context, bucket string) error {
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+tlsOnly+`,`+everybody+`]}`, bucket)
	_, err := w.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	return err
}

// tlsOnly and everybody are the statements of the policy; %[1]s is the bucket.
const (
	tlsOnly   = `{"Sid":"TLSOnly","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::%[1]s/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
	everybody = `{"Sid":"Everybody","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%[1]s/*"}`
)

// ingress gives the first ingress rule of a group.
func (w *World) ingress(ctx context.Context, group string) (ec2types.SecurityGroupRule, error) {
	out, err := w.EC2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{
		Filters: []ec2types.Filter{{Name: aws.String("group-id"), Values: []string{group}}},
	})
	if err != nil {
		return ec2types.SecurityGroupRule{}, err
	}
	for _, r := range out.SecurityGroupRules {
		if !aws.ToBool(r.IsEgress) {
			return r, nil
		}
	}
	return ec2types.SecurityGroupRule{}, fmt.Errorf("group %s has no ingress rule", group)
}

// widen gives a rule another port. The event of it does not say which it had.
func (w *World) widen(ctx context.Context, group string) error {
	r, err := w.ingress(ctx, group)
	if err != nil {
		return err
	}
	to := &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(3389), ToPort: aws.Int32(3389), CidrIpv4: r.CidrIpv4, CidrIpv6: r.CidrIpv6}
	if r.CidrIpv4 != nil {
		to.CidrIpv4 = aws.String("0.0.0.0/0")
	}
	_, err = w.EC2.ModifySecurityGroupRules(ctx, &ec2.ModifySecurityGroupRulesInput{
		GroupId: &group, SecurityGroupRules: []ec2types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: r.SecurityGroupRuleId, SecurityGroupRule: to}},
	})
	return err
}

// drop revokes a rule. The event of it does not say what it was.
func (w *World) drop(ctx context.Context, group string) error {
	r, err := w.ingress(ctx, group)
	if err != nil {
		return err
	}
	_, err = w.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, SecurityGroupRuleIds: []string{aws.ToString(r.SecurityGroupRuleId)}})
	return err
}
