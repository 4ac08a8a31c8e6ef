//go:build moto

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"secbot/internal/awsenv"
	"secbot/internal/mototest"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/dynamo"
)

// cluster is an installation of several workers: EC2, SQS and DynamoDB of moto,
// and the stand-in for Slack.
type cluster struct {
	t     *testing.T
	aws   aws.Config // of a person
	slack *fakeslack.Slack
	store *dynamo.Store
	ec2   *ec2.Client
	sqs   *sqs.Client
	queue string
	logs  []string // the workers'
}

// newCluster is one whose workers have the permissions that secbot asks for, and no
// others.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, func(endpoint string) (person, bot mototest.Key) {
		person = mototest.AddUser(t, endpoint, "person", "*")
		// What `secbot iam-policy` prints. AWS wants for a transaction the actions of
		// its parts, moto that of the call.
		bot = mototest.AddUser(t, endpoint, "secbot", append((&settings{Store: "dynamodb://secbot", QueueURL: "there is one"}).actions(), "dynamodb:TransactWriteItems")...)
		mototest.Enforce(t, endpoint)
		return person, bot
	})
}

func startCluster(t *testing.T, users func(endpoint string) (person, bot mototest.Key)) *cluster {
	t.Helper()
	sb, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
	})
	endpoint := mototest.Start(t)
	person, bot := users(endpoint)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_DYNAMODB": mototest.Serial(t, endpoint), "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": person.ID, "AWS_SECRET_ACCESS_KEY": person.Secret,
		"SLACK_API_URL": sb.Slack.APIURL(), "SLACK_BOT_TOKEN": sb.Slack.Token(), "SLACK_SIGNING_SECRET": sb.Slack.Secret(),
		"SECBOT_CHANNEL": fakeslack.ChannelSecurity, "SECBOT_STORE": "dynamodb://secbot", "SECBOT_CONFIG": "",
	} {
		t.Setenv(name, value)
	}
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, aws: cfg, slack: sb.Slack, store: dynamo.New(cfg, dynamo.Options{Table: "secbot"}), ec2: ec2.NewFromConfig(cfg), sqs: sqs.NewFromConfig(cfg)}
	if err := c.store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := c.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("secbot")})
	if err != nil {
		t.Fatal(err)
	}
	c.queue = *out.QueueUrl
	t.Setenv("SECBOT_QUEUE_URL", c.queue)
	t.Setenv("AWS_ACCESS_KEY_ID", bot.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bot.Secret)
	return c
}

// worker runs `secbot serve` as a process of its own and gives what kills it.
func (c *cluster) worker(program string) (kill func()) {
	c.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		c.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(c.t.TempDir(), "log"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.logs = append(c.logs, log.Name())
	cmd := exec.CommandContext(context.Background(), program, "serve")
	cmd.Env, cmd.Stderr, cmd.Dir = append(os.Environ(), "SECBOT_ADDR="+addr), log, c.t.TempDir()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	var dead atomic.Bool
	kill = func() {
		if dead.Swap(true) {
			return
		}
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()
	}
	c.t.Cleanup(func() {
		kill()
		if c.t.Failed() {
			raw, _ := os.ReadFile(log.Name()) // for a person who looks
			c.t.Logf("a worker's log:\n%s", raw)
		}
	})
	return kill
}

// breach opens SSH of a new group to the world, tells the queue as CloudTrail
// does, and gives the group.
func (c *cluster) breach(n int) string {
	c.t.Helper()
	ctx := c.t.Context()
	g, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("web-", n)), Description: aws.String("a test")})
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	event := fmt.Sprintf(`{"version":"0","id":"e%[1]d","detail-type":"AWS API Call via CloudTrail","source":"aws.ec2","account":"123456789012",
"time":"2026-03-04T05:06:07Z","region":"us-east-1","detail":{"eventVersion":"1.09","eventID":"id-%[1]d","eventSource":"ec2.amazonaws.com",
"eventName":"AuthorizeSecurityGroupIngress","awsRegion":"us-east-1","eventTime":"2026-03-04T05:06:07Z","recipientAccountId":"123456789012",
"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/dana","accountId":"123456789012"},
"requestParameters":{"groupId":%[2]q,"ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]}}]}},
"responseElements":{"_return":true,"securityGroupRuleSet":{"items":[{"groupId":%[2]q,"securityGroupRuleId":%[3]q,"isEgress":false,"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIpv4":"0.0.0.0/0"}]}}}}`,
		n, *g.GroupId, *made.SecurityGroupRules[0].SecurityGroupRuleId)
	if !json.Valid([]byte(event)) {
		c.t.Fatalf("the event is no JSON: %s", event)
	}
	for range 2 { // EventBridge delivers at least once
		if _, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.queue, MessageBody: &event}); err != nil {
			c.t.Fatal(err)
		}
	}
	return *g.GroupId
}

func (c *cluster) open(group string) bool {
	c.t.Helper()
	out, err := c.ec2.DescribeSecurityGroups(c.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		c.t.Fatal(err)
	}
	return len(out.SecurityGroups[0].IpPermissions) > 0
}

func (c *cluster) eventually(what string, check func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !check() {
		if time.Now().After(deadline) {
			c.t.Fatalf("in vain: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// posted are the messages of the channel that say that a group's rule is gone.
func (c *cluster) posted(group string) (n int) {
	for _, m := range c.slack.Messages(fakeslack.ChannelSecurity) {
		if b := m.Buttons(); m.ThreadTS == "" && strings.Contains(m.Text, group) && len(b) > 0 && b[0].ActionID == "undo" {
			n++
		}
	}
	return n
}

// nothingDenied checks that no worker was denied a call.
func (c *cluster) nothingDenied() {
	c.t.Helper()
	for _, name := range c.logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, "AccessDenied") || strings.Contains(line, "UnauthorizedOperation") || strings.Contains(line, "not authorized") {
				c.t.Errorf("a call was denied: %s", line)
			}
		}
	}
}

// TestTwoWorkersMoto: events in SQS, fixes in EC2, state in DynamoDB, messages
// in Slack; two workers, one of which is killed while it works. They have the
// permissions that secbot asks for, and no others.
func TestTwoWorkersMoto(t *testing.T) {
	program := bootstrap(t)
	c := newCluster(t)
	kill := c.worker(program)
	c.worker(program)
	var groups []string
	for n := range 8 {
		groups = append(groups, c.breach(n))
	}
	c.eventually("the first fix", func() bool { return !c.open(groups[0]) || !c.open(groups[1]) })
	kill()
	for n := range 4 {
		groups = append(groups, c.breach(100+n))
	}
	for _, g := range groups {
		c.eventually(g+" is closed and told of", func() bool { return !c.open(g) && c.posted(g) > 0 })
	}
	c.eventually("every incident is fixed", func() bool {
		fixed, err := c.store.Incidents(t.Context(), remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusFixed}})
		if err != nil {
			t.Fatal(err)
		}
		return len(fixed) == len(groups)
	})
	all, err := c.store.Incidents(t.Context(), remediation.IncidentQuery{})
	if err != nil || len(all) != len(groups) {
		t.Errorf("%d incidents for %d breaches, %v", len(all), len(groups), err)
	}
	for _, inc := range all {
		log, err := c.store.Audit(t.Context(), inc.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := remediation.VerifyAudit(inc, log); err != nil {
			t.Errorf("the audit log of %s: %v", inc.ID, err)
		}
	}
	for _, g := range groups {
		if n := c.posted(g); n != 1 {
			t.Errorf("%d messages about %s, want one", n, g)
		}
	}
	for _, args := range [][]string{{"incidents", "fixed"}, {"audit", "verify"}} {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil || args[0] == "incidents" && strings.Count(string(out), "\n") != len(groups)+1 {
			t.Errorf("secbot %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	c.nothingDenied()
}
