package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// caller is an engine on the sandbox whose calls of AWS are counted.
type caller struct {
	t      *testing.T
	sb     *sandbox.Sandbox
	w      *demo.World
	clock  *demo.Clock
	engine *remediation.Engine
	from   int
}

func newCaller(t *testing.T) *caller { return newCallerOn(t, memory.New()) }

func newCallerOn(t *testing.T, st remediation.Store) *caller {
	t.Helper()
	c := &caller{t: t, clock: &demo.Clock{}}
	c.sb, c.w = startSandbox(t)
	env := awsenv.New(demo.AWSConfig(c.sb), awsenv.Member{})
	policy := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.Alice})
	policy.Reconcile, policy.Heartbeat, policy.Report = 0, 0, remediation.ReportNever
	c.engine = remediation.New(remediation.Options{Store: st, Inline: true, Provider: env, Config: policy, Enrich: env.Enrich, Self: env.Identity, Now: c.clock.Now,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Log: slog.New(slog.DiscardHandler)})
	if err := c.engine.Drain(t.Context()); err != nil { // what comes by itself at the start
		t.Fatal(err)
	}
	if _, err := env.Identity(t.Context()); err != nil { // STS is asked once a day
		t.Fatal(err)
	}
	return c
}

// begin counts anew.
func (c *caller) begin() { c.from = len(c.sb.AWS.Calls()) }

// counted are secbot's own calls since begin, as "ec2 DescribeSecurityGroups", up
// to the first changing one and it included.
func (c *caller) counted() map[string]int {
	count := map[string]int{}
	for _, call := range c.sb.AWS.Calls()[c.from:] {
		if !strings.Contains(call.Caller, "assumed-role/secbot") {
			continue
		}
		count[call.Service+" "+call.Action]++
		if !strings.HasPrefix(call.Action, "Get") && !strings.HasPrefix(call.Action, "Describe") && !strings.HasPrefix(call.Action, "List") {
			break
		}
	}
	return count
}

// tell has the newest event of a call worked off.
func (c *caller) tell(event string) {
	c.t.Helper()
	c.accept(event)
	if err := c.engine.Drain(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// accept has the newest event of a call stored.
func (c *caller) accept(event string) {
	c.t.Helper()
	c.sb.AWS.Flush()
	results, err := events.Decode(c.sb.LastEvent(event))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.engine.Accept(c.t.Context(), events.Signals(results)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) check(want map[string]int) {
	c.t.Helper()
	if d := cmp.Diff(want, c.counted()); d != "" {
		c.t.Errorf("calls (- wanted, + made):\n%s", d)
	}
}

// TestCallsOfAnEvent counts what AWS is asked between an event's arrival and the
// call that takes the hole away, that one included. Reading once more to plan, it
// were 12 for the rule and 18 for the ACL.
func TestCallsOfAnEvent(t *testing.T) {
	t.Run("a rule for the world", func(t *testing.T) {
		c := newCaller(t)
		if err := c.w.Authorize(t.Context(), 22, "0.0.0.0/0", "debugging"); err != nil {
			t.Fatal(err)
		}
		c.begin()
		c.tell("AuthorizeSecurityGroupIngress")
		c.check(map[string]int{
			// At the same time, to judge and to plan:
			"ec2 DescribeSecurityGroups": 1 + // whose it is, its name and tags, by which the policy decides
				2, // who names it, in or out: what people are told of its use
			"ec2 DescribeNetworkInterfaces": 1, // the same
			"ec2 DescribeSecurityGroupRules": 1 + // whether the rule is there, and what it makes with those beside it
				1, // right before the revoke: the rule is still the planned one
			"ec2 RevokeSecurityGroupIngress": 1,
		})
	})
	t.Run("a bucket's ACL", func(t *testing.T) {
		c := newCaller(t)
		if err := c.w.Break(t.Context(), "acl-write", demo.UploadBucket); err != nil {
			t.Fatal(err)
		}
		c.begin()
		c.tell("PutBucketAcl")
		c.check(map[string]int{
			// At the same time, to judge and to plan:
			"s3 GetBucketOwnershipControls":  1, // whether ACLs count
			"s3 GetPublicAccessBlock":        1, // whether the bucket ignores public ones
			"s3control GetPublicAccessBlock": 1, // whether the account does
			"s3 GetBucketPolicy":             1, // whether an open question about the policy is over
			"s3 GetBucketPolicyStatus":       1, // the same: the state is judged and planned on whole
			"s3 GetBucketWebsite":            1, // whether it may be meant for everybody, so that people are asked
			"s3 GetBucketTagging":            1, // the same, and by tags the policy decides
			"s3 GetBucketAcl": 1 + // the grants
				1, // right before the put: those beside the public ones stay as they are then
			"s3 PutBucketAcl": 1,
		})
	})
}

// TestCallsOfAScan: a hundred groups and twenty buckets beside those of the sandbox, of which one group is open.
func TestCallsOfAScan(t *testing.T) {
	c := newCaller(t)
	for i := range 100 {
		_, err := c.w.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("g", i)), Description: aws.String("d")})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		_, err := c.w.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(fmt.Sprintf("bucket-%d", i)), ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.begin()
	read, err := c.engine.Scan(t.Context(), "all", func(remediation.Finding) {}, func(err error) { t.Error(err) })
	if err != nil || read == 0 {
		t.Fatal(read, err)
	}
	// One of the groups is open, three of the buckets block nothing. A read of each of
	// the 128 resources took 711 calls.
	c.check(map[string]int{
		"ec2 DescribeSecurityGroups":     1 + 2,                                 // the page; who names the open group, in or out
		"ec2 DescribeSecurityGroupRules": 1, "ec2 DescribeNetworkInterfaces": 1, // of the open group, and of all others that were
		"s3 ListBuckets": 1, "s3 GetPublicAccessBlock": 24,
		"s3 GetBucketOwnershipControls": 3, "s3 GetBucketAcl": 3, "s3 GetBucketPolicy": 3,
		"s3control GetPublicAccessBlock": 2, // the account by itself, and for its buckets
		"sts GetCallerIdentity":          1, // whose buckets they are, asked once
	})
}

// TestCallsOfScansToCome: the rules of groups are read, with their ids, where a group
// was not seen yet or is not what was kept of it, and once a day.
func TestCallsOfScansToCome(t *testing.T) {
	c := newCaller(t)
	world := ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}
	if _, err := c.w.EC2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &c.w.Group, IpPermissions: []ec2types.IpPermission{world}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	scan := func(what string, rules int) {
		t.Helper()
		n++
		c.begin()
		cmd := remediation.Command{ID: fmt.Sprint("scan-", n), Verb: remediation.VerbScan, By: fakeslack.Alice, Scope: "sg"}
		if err := errors.Join(c.engine.Submit(t.Context(), cmd), c.engine.Drain(t.Context())); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"ec2 DescribeSecurityGroups": 1}
		if rules > 0 {
			want["ec2 DescribeSecurityGroupRules"] = rules
		}
		if d := cmp.Diff(want, c.counted()); d != "" {
			t.Errorf("%s: calls (- wanted, + made):\n%s", what, d)
		}
	}
	scan("another group than was kept", 1)
	scan("all is as it was kept", 0)
	if err := c.w.Authorize(t.Context(), 8443, "198.51.100.0/24", "a partner"); err != nil {
		t.Fatal(err)
	}
	scan("a rule that no event has told of", 1)
	scan("all is as it was kept", 0)
	c.clock.Pass(25 * time.Hour)
	scan("what was kept is a day old", 1)
	scan("all is as it was kept", 0)
}
