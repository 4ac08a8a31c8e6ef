package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

const (
	memberAccount  = "222233334444"
	refuserAccount = "333344445555"
	externalID     = "a-long-external-id"
)

// organisation is the sandbox with a member, an account that lets secbot not in, and
// an engineer in each.
type organisation struct {
	t      *testing.T
	sb     *sandbox.Sandbox
	w      *demo.World
	store  *memory.Store
	engine *remediation.Engine
}

func memberRole(account string) string { return "arn:aws:iam::" + account + ":role/secbot-member" }

func newOrganisation(t *testing.T) *organisation {
	t.Helper()
	o := &organisation{t: t, store: memory.New()}
	o.sb, o.w = startSandbox(t)
	o.sb.AWS.AddRole(memberRole(memberAccount), fakeaws.Trust{ExternalID: externalID, SourceIdentity: "secbot"})
	o.sb.AWS.AddRole(memberRole(refuserAccount), fakeaws.Trust{})
	for _, account := range []string{memberAccount, refuserAccount} {
		o.sb.AWS.AddCaller("AKIA"+account, fakeaws.Caller{Account: account, User: "erin"})
	}
	env := awsenv.New(demo.AWSConfig(o.sb), awsenv.Member{ExternalID: externalID})
	policy := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.Alice})
	policy.Reconcile, policy.Heartbeat, policy.Report = 0, 0, remediation.ReportNever
	clock := &demo.Clock{}
	o.engine = remediation.New(remediation.Options{Store: o.store, Provider: env, Config: policy, Enrich: env.Enrich, Self: env.Identity, Now: clock.Now,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Log: slog.New(slog.DiscardHandler)})
	return o
}

// ec2 is EC2 as who has an access key sees it.
func (o *organisation) ec2(key string) *ec2.Client {
	cfg := demo.AWSConfig(o.sb)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key, "sandbox", "")
	return ec2.NewFromConfig(cfg)
}

// breach opens SSH of a new group of an account to the world.
func (o *organisation) breach(account string) (group string) {
	o.t.Helper()
	client := o.ec2("AKIA" + account)
	made, err := client.CreateSecurityGroup(o.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("a test")})
	if err != nil {
		o.t.Fatal(err)
	}
	o.tell("CreateSecurityGroup")
	if _, err := client.AuthorizeSecurityGroupIngress(o.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: ssh()}); err != nil {
		o.t.Fatal(err)
	}
	return *made.GroupId
}

func ssh() []ec2types.IpPermission {
	return []ec2types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
}

// tell has the newest event of a call worked off.
func (o *organisation) tell(event string) {
	o.t.Helper()
	o.sb.AWS.Flush()
	results, err := events.Decode(o.sb.LastEvent(event))
	if err != nil {
		o.t.Fatal(err)
	}
	if err := errors.Join(o.engine.Accept(o.t.Context(), events.Signals(results)), o.engine.Drain(o.t.Context())); err != nil {
		o.t.Fatal(err)
	}
}

// of are the incidents of a group for one playbook.
func (o *organisation) of(group, playbook string) []*remediation.Incident {
	o.t.Helper()
	all, err := o.store.Incidents(o.t.Context(), remediation.IncidentQuery{Resource: group, Playbook: playbook})
	if err != nil {
		o.t.Fatal(err)
	}
	return all
}

func (o *organisation) open(account, group string) bool {
	o.t.Helper()
	out, err := o.ec2("AKIA"+account).DescribeSecurityGroups(o.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		o.t.Fatal(err)
	}
	return len(out.SecurityGroups[0].IpPermissions) > 0
}

// TestMemberIsMitigated: an event of a member's account is judged on its own state and
// fixed there, by a session that names the incident; and the event of that fix, which
// comes from the member too, is known as secbot's own.
func TestMemberIsMitigated(t *testing.T) {
	o := newOrganisation(t)
	group := o.breach(memberAccount)
	o.tell("AuthorizeSecurityGroupIngress")
	inc := o.of(group, "sg-rule-added")
	if o.open(memberAccount, group) || len(inc) != 1 || inc[0].Status != remediation.StatusFixed || inc[0].Finding.Resource.Account != memberAccount {
		t.Fatalf("incidents %+v", inc)
	}
	var by string
	for _, c := range o.sb.AWS.Calls() {
		if c.Action == "RevokeSecurityGroupIngress" {
			by = c.Caller
		}
	}
	if want := "arn:aws:sts::" + memberAccount + ":assumed-role/secbot-member/secbot-" + inc[0].ID; by != want {
		t.Errorf("the rule was revoked by %s, want %s", by, want)
	}
	o.tell("RevokeSecurityGroupIngress")
	for _, playbook := range []string{"sg-rule-removed", remediation.OwnRolePlaybook} {
		if inc := o.of(group, playbook); len(inc) != 0 {
			t.Errorf("secbot's own change became %+v", inc[0])
		}
	}
}

// TestThiefInAMember: a call with the role in a member's account that secbot did not
// make is an alarm.
func TestThiefInAMember(t *testing.T) {
	o := newOrganisation(t)
	group := o.breach(memberAccount)
	o.sb.AWS.AddCaller("AKIATHIEF", fakeaws.Caller{Account: memberAccount, Role: "secbot-member", Session: "secbot"})
	if _, err := o.ec2("AKIATHIEF").RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: ssh()}); err != nil {
		t.Fatal(err)
	}
	o.tell("RevokeSecurityGroupIngress")
	if n := len(o.of(group, remediation.OwnRolePlaybook)); n != 1 {
		t.Errorf("%d alarms, want one", n)
	}
}

// TestRefusingAccountAsks: where secbot is not let in, people are asked, and told what
// to do; nothing is taken for fixed, and once it is let in the same is fixed.
func TestRefusingAccountAsks(t *testing.T) {
	o := newOrganisation(t)
	group := o.breach(refuserAccount)
	o.tell("AuthorizeSecurityGroupIngress")
	inc := o.of(group, "sg-rule-added")
	if len(inc) != 1 || inc[0].Status != remediation.StatusOpen {
		t.Fatalf("incidents %+v", inc)
	}
	for _, want := range []string{refuserAccount, "secbot deploy --member", "SECBOT_EXTERNAL_ID"} {
		if doubt := inc[0].Finding.Doubt; !strings.Contains(doubt, want) {
			t.Errorf("the doubt is %q, without %s", doubt, want)
		}
	}
	if !o.open(refuserAccount, group) {
		t.Error("a group was closed that secbot can't see")
	}
	o.sb.AWS.AddRole(memberRole(refuserAccount), fakeaws.Trust{ExternalID: externalID})
	if o.breachAgain(refuserAccount, group) {
		t.Errorf("once secbot is let in it closes nothing")
	}
}

// breachAgain opens another port, and says whether that stays open.
func (o *organisation) breachAgain(account, group string) bool {
	o.t.Helper()
	more := ssh()
	more[0].FromPort, more[0].ToPort = aws.Int32(3389), aws.Int32(3389)
	if _, err := o.ec2("AKIA"+account).AuthorizeSecurityGroupIngress(o.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: more}); err != nil {
		o.t.Fatal(err)
	}
	o.tell("AuthorizeSecurityGroupIngress")
	out, err := o.ec2("AKIA"+account).DescribeSecurityGroups(o.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		o.t.Fatal(err)
	}
	for _, p := range out.SecurityGroups[0].IpPermissions {
		if aws.ToInt32(p.FromPort) == 3389 {
			return true
		}
	}
	return false
}

// TestScanOfAnOrganisation by the terminal: what is open in each account, and which
// of them lets secbot not in.
func TestScanOfAnOrganisation(t *testing.T) {
	sb, _, _ := scanSandbox(t)
	sb.AWS.AddRole(memberRole(memberAccount), fakeaws.Trust{ExternalID: externalID, SourceIdentity: "secbot"})
	sb.AWS.AddRole(memberRole(refuserAccount), fakeaws.Trust{})
	o := &organisation{t: t, sb: sb}
	sb.AWS.AddCaller("AKIA"+memberAccount, fakeaws.Caller{Account: memberAccount, User: "erin"})
	client := o.ec2("AKIA" + memberAccount)
	made, err := client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("a test")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: ssh()}); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{sb.AWS.Account(), memberAccount, refuserAccount} {
		sb.AWS.AddAccount(account, "ACTIVE")
	}
	status, out, errOut := shell(t, "", "scan", "sg", "--org", "--json")
	if status != 1 || !strings.Contains(errOut, "SECBOT_EXTERNAL_ID") || out != "" {
		t.Errorf("without an external id: %d, %q, %q", status, out, errOut)
	}
	t.Setenv("SECBOT_EXTERNAL_ID", externalID)
	for _, args := range [][]string{{"--org"}, {"org"}, {"--accounts", memberAccount + "," + refuserAccount}, {"--accounts", memberAccount, "--accounts", refuserAccount}} {
		status, out, errOut = shell(t, "", append([]string{"scan", "all", "--json"}, args...)...)
		if found := lines(t, out); status != 1 || len(found) == 0 || !strings.Contains(out, memberAccount) || !strings.Contains(out, *made.GroupId) {
			t.Errorf("%v: status %d, %s", args, status, out)
		}
		if n := strings.Count(errOut, "account "+refuserAccount); n != 1 || !strings.Contains(errOut, "secbot deploy --member") {
			t.Errorf("%v: the refusing account is named %d times in %s", args, n, errOut)
		}
	}
	status, out, errOut = shell(t, "", "scan", "sg", "--accounts", memberAccount, "--diff")
	if status != 0 || !strings.Contains(out, *made.GroupId) || !strings.Contains(out, memberAccount+" us-east-1") {
		t.Errorf("of the member alone: %d, %s, %s", status, out, errOut)
	}
	for _, args := range [][]string{{"--org", "--accounts", memberAccount}, {"--accounts", "12"}} {
		if status, _, errOut := shell(t, "", append([]string{"scan"}, args...)...); status != 2 || errOut == "" {
			t.Errorf("%v: status %d, %s", args, status, errOut)
		}
	}
}

// TestLambdaScansAnOrganisation: the function that begins the scan sends a message for
// each account, of which each invocation scans those that it is given; the last tells.
func TestLambdaScansAnOrganisation(t *testing.T) {
	sb, _ := startSandbox(t)
	sb.AWS.AddRole(memberRole(memberAccount), fakeaws.Trust{ExternalID: externalID, SourceIdentity: "secbot"})
	sb.AWS.AddRole(memberRole(refuserAccount), fakeaws.Trust{})
	for _, account := range []string{sb.AWS.Account(), memberAccount, refuserAccount} {
		sb.AWS.AddAccount(account, "ACTIVE")
	}
	t.Setenv("SECBOT_EXTERNAL_ID", externalID)
	onLambda(t, sb)
	web, tick, worker := newRuntime(t), newRuntime(t), newRuntime(t)
	web.start(os.Getenv("BOOTSTRAP"), "http")
	tick.start(os.Getenv("BOOTSTRAP"), "tick")
	worker.start(os.Getenv("BOOTSTRAP"), "events")
	if status, body := streamed(t, web.invoke(signed(t, sb, "scan sg org"))); status != 200 || !strings.Contains(body, "On it") {
		t.Fatalf("the command: %d %s", status, body)
	}
	time.Sleep(indexLag) // until the table shows it to other processes
	tick.invoke(map[string]any{})
	var messages []any
	for i, body := range sb.AWS.Queued("secbot") {
		if strings.Contains(body, "secbot account scan") {
			messages = append(messages, sqsRecord(fmt.Sprint(i), body), sqsRecord(fmt.Sprint("again-", i), body))
		}
	}
	if len(messages) != 6 {
		t.Fatalf("the queue holds %q", sb.AWS.Queued("secbot"))
	}
	last := func() string {
		m := top(sb)
		if len(m) == 0 {
			return ""
		}
		return m[0].Text
	}
	worker.invoke(map[string]any{"Records": messages[:2]})
	if text := last(); !strings.HasPrefix(text, "Scan under way") {
		t.Errorf("after one account it says %q", text)
	}
	if a := worker.invoke(map[string]any{"Records": messages[2:]}); strings.Contains(string(a.body), "itemIdentifier") {
		t.Errorf("the answer is %s", a.body)
	}
	if text := last(); !strings.HasPrefix(text, "Scan finished") || !strings.Contains(text, "in 3 accounts") || !strings.Contains(text, "1 not readable") {
		t.Errorf("in the end it says %q", text)
	}
}
