// Package demo is secbot's tour: a small company on the stand-ins for AWS and
// Slack whose engineer opens holes and whose responders click.
package demo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/plainbody"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// The company's resources.
const (
	GroupName    = "web"
	SiteBucket   = "acme-site"
	UploadBucket = "acme-uploads"
	DataBucket   = "acme-data"
	VaultBucket  = "acme-payroll" // as buckets are made today: blocked
)

// The access key ids of the demo's people and of secbot. They open nothing.
const (
	EngineerKey = "AKIADANA000000000000"
	secbotKey   = "AKIASECBOT0000000000"
)

// World is the company: its AWS account as its engineer sees it, and its Slack.
type World struct {
	Sandbox *sandbox.Sandbox
	Store   remediation.Store // secbot's own, which is only read
	EC2     *ec2.Client
	S3      *s3.Client
	Group   string // the id of the group GroupName
	Clock   *Clock

	slow atomic.Bool // AWS is, for secbot
}

// AWSConfig is how secbot reaches the sandbox's AWS.
func AWSConfig(sb *sandbox.Sandbox) aws.Config { return configFor(sb, secbotKey) }

func configFor(sb *sandbox.Sandbox, key string) aws.Config {
	return aws.Config{
		Region:       sb.AWS.Region(),
		BaseEndpoint: aws.String(sb.AWSURL),
		Credentials:  credentials.NewStaticCredentialsProvider(key, "sandbox", ""),
		APIOptions:   []func(*middleware.Stack) error{plainbody.Use},
	}
}

// NewWorld builds the company. It must be called before the sandbox has a
// target: what happens here are no events for secbot.
func NewWorld(ctx context.Context, sb *sandbox.Sandbox, store remediation.Store, clock *Clock) (*World, error) {
	sb.AWS.AddCaller(EngineerKey, fakeaws.Caller{User: "dana"})
	sb.AWS.AddCaller(secbotKey, fakeaws.Caller{Role: "secbot", Session: "secbot"})
	cfg := configFor(sb, EngineerKey)
	w := &World{Sandbox: sb, Store: store, Clock: clock, EC2: ec2.NewFromConfig(cfg), S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
	if err := w.makeGroup(ctx); err != nil {
		return nil, fmt.Errorf("make the group %s: %w", GroupName, err)
	}
	for _, bucket := range []string{SiteBucket, UploadBucket, DataBucket} {
		if err := w.makeBucket(ctx, bucket); err != nil {
			return nil, fmt.Errorf("make the bucket %s: %w", bucket, err)
		}
	}
	if _, err := w.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(VaultBucket)}); err != nil {
		return nil, fmt.Errorf("make the bucket %s: %w", VaultBucket, err)
	}
	sb.AWS.Flush()
	return w, nil
}

func (w *World) makeGroup(ctx context.Context) error {
	out, err := w.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String(GroupName), Description: aws.String("The web servers")})
	if err != nil {
		return err
	}
	w.Group = aws.ToString(out.GroupId)
	return w.Authorize(ctx, 443, "0.0.0.0/0", "the shop")
}

// makeBucket makes a bucket as they were before April 2023: with ACLs, and
// without Block Public Access.
func (w *World) makeBucket(ctx context.Context, name string) error {
	_, err := w.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name), ObjectOwnership: s3types.ObjectOwnershipObjectWriter})
	if err != nil {
		return err
	}
	_, err = w.S3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(name)})
	return err
}

// Authorize opens one port of the group to a range of addresses, as the engineer.
func (w *World) Authorize(ctx context.Context, port int32, cidr, why string) error {
	return w.authorize(ctx, w.Group, tcp(port, cidr, why))
}

// Rules lists the group's ingress rules as "443 0.0.0.0/0 the shop".
func (w *World) Rules(ctx context.Context) ([]string, error) {
	out, err := w.EC2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{
		Filters: []ec2types.Filter{{Name: aws.String("group-id"), Values: []string{w.Group}}},
	})
	if err != nil {
		return nil, fmt.Errorf("list the rules of %s: %w", w.Group, err)
	}
	rules := []string{}
	for _, r := range out.SecurityGroupRules {
		if !aws.ToBool(r.IsEgress) {
			rules = append(rules, fmt.Sprintf("%d %s %s", aws.ToInt32(r.FromPort), aws.ToString(r.CidrIpv4), aws.ToString(r.Description)))
		}
	}
	return rules, nil
}

// Grants lists the grants of a bucket's ACL as "READ AllUsers".
func (w *World) Grants(ctx context.Context, bucket string) ([]string, error) {
	out, err := w.S3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String(bucket)})
	if err != nil {
		return nil, fmt.Errorf("read the ACL of %s: %w", bucket, err)
	}
	grants := []string{}
	for _, g := range out.Grants {
		who := aws.ToString(g.Grantee.URI)
		if who == "" {
			who = "owner"
		}
		grants = append(grants, string(g.Permission)+" "+who[lastSlash(who)+1:])
	}
	return grants, nil
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

// Policy reads a bucket's policy.
func (w *World) Policy(ctx context.Context, bucket string) (string, error) {
	out, err := w.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String(bucket)})
	if err != nil {
		return "", fmt.Errorf("read the policy of %s: %w", bucket, err)
	}
	return aws.ToString(out.Policy), nil
}

// patience is how long a step waits for what it expects.
const patience = 15 * time.Second

// errNotYet says what a step still waits for.
var errNotYet = errors.New("not yet")

// eventually calls check until it is content. An error that isn't errNotYet
// ends it at once.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check()
		if err == nil || !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v in vain: %w", patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
