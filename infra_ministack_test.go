//go:build ministack

package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"secbot/internal/awsenv"
	"secbot/internal/ministacktest"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

const (
	ministackAccount = "123456789012"
	ministackRegion  = "eu-central-1"
)

// installation is secbot as `secbot deploy` brings it up: three functions of the real
// bootstrap, which ministack runs, with the permissions of the hub's roles and no
// others, and a workspace of the stand-in for Slack.
type installation struct {
	t       *testing.T
	cfg     aws.Config
	ec2     *ec2.Client
	slack   *fakeslack.Slack
	front   *ministacktest.Front
	program string
	zip     string
	dir     string   // where the program runs
	env     []string // the program's, beside PATH
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, zip: os.Getenv("SECBOT_ZIP"), dir: t.TempDir()}
	if _, err := os.Stat(i.zip); err != nil {
		t.Fatalf("SECBOT_ZIP must name the functions' zip for this machine, as `make lambda` builds it: %v", err)
	}
	i.program = filepath.Join(t.TempDir(), "secbot")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", i.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	i.startSlack()
	endpoint := ministacktest.Start(t, ministackRegion, "SLACK_API_URL="+i.slack.APIURL())
	i.front = ministacktest.NewFront(t, endpoint, ministackRegion)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": ministackRegion, "AWS_ACCESS_KEY_ID": ministackAccount, "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "",
		"SLACK_API_URL": i.slack.APIURL(), "HTTPS_PROXY": i.front.URL, "SSL_CERT_FILE": i.front.Cert,
	} {
		t.Setenv(name, value)
		i.env = append(i.env, name+"="+value)
	}
	var err error
	if i.cfg, _, err = awsenv.LoadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	// With time, and connections that are not kept: a call that is made once more since
	// its answer got lost finds that its group is there already.
	i.cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(time.Minute).WithTransportOptions(func(tr *http.Transport) { tr.DisableKeepAlives = true })
	i.ec2 = ec2.NewFromConfig(i.cfg)
	return i
}

// startSlack starts the workspace. People's clicks go to the function URL.
func (i *installation) startSlack() {
	i.t.Helper()
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) { return i.front.Client().Do(r) })}
	secret := sha256.Sum256([]byte("signing secret"))
	i.slack = fakeslack.New(fakeslack.Options{RateLimits: true, Client: client, SigningSecret: hex.EncodeToString(secret[:16])})
	srv := httptest.NewServer(i.slack)
	i.t.Cleanup(srv.Close)
	i.slack.SetURL(srv.URL)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// secbot runs the program, as a process of its own, to its end and gives what it
// printed.
func (i *installation) secbot(env []string, args ...string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), i.program, args...)
	cmd.Dir, cmd.Env = i.dir, append(append([]string{"PATH=" + os.Getenv("PATH")}, i.env...), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("secbot %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (i *installation) deploy(env []string, args ...string) string {
	i.t.Helper()
	return i.secbot(env, append([]string{"deploy", "--yes", "--zip", i.zip}, args...)...)
}

// allowSecret lets the functions read their secret. The hub's roles allow it on `!Ref
// Secret`, which is the secret's ARN, but on ministack 1.5.33 its name: what the roles
// have is put beside it with the ARN in the place of the name. It gives what takes this
// out again.
func (i *installation) allowSecret() (disallow func()) {
	i.t.Helper()
	client, ctx := iam.NewFromConfig(i.cfg), i.t.Context()
	secrets, err := secretsmanager.NewFromConfig(i.cfg).ListSecrets(ctx, &secretsmanager.ListSecretsInput{})
	if err != nil || len(secrets.SecretList) != 1 {
		i.t.Fatalf("the secret: %v %v", secrets, err)
	}
	name, arn := aws.ToString(secrets.SecretList[0].Name), aws.ToString(secrets.SecretList[0].ARN)
	roles := []string{"secbot-worker", "secbot-web"}
	for _, role := range roles {
		out, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String("secbot")})
		if err != nil {
			i.t.Fatal(err)
		}
		policy, err := url.QueryUnescape(aws.ToString(out.PolicyDocument))
		if err != nil || strings.Count(policy, `"`+name+`"`) != 1 {
			i.t.Fatalf("the policy of %s names the secret otherwise: this may be left out by now\n%s %v", role, policy, err)
		}
		if _, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("by-arn"),
			PolicyDocument: aws.String(strings.Replace(policy, `"`+name+`"`, `"`+arn+`"`, 1))}); err != nil {
			i.t.Fatal(err)
		}
	}
	return func() {
		for _, role := range roles {
			if _, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: aws.String("by-arn")}); err != nil {
				i.t.Fatal(err)
			}
		}
	}
}

// events calls EventBridge.
func (i *installation) events(action string, in, out any) {
	i.t.Helper()
	answer := call(i.t, i.cfg, "events", "AWSEvents."+action, in)
	if err := json.Unmarshal(answer, out); out != nil && err != nil {
		i.t.Fatalf("%s: %s %v", action, answer, err)
	}
}

// notAWS is the source of the events that the test puts on the bus. From nobody but
// AWS does PutEvents take "aws.ec2", on ministack as on AWS, and the hub's rules let
// nothing else through.
const notAWS = "test.ec2"

// hear lets an event of notAWS through where the hub's own rule lets one of "aws.ec2"
// through: by the rule as it is deployed, but for the source, which on its way to the
// rule's target becomes "aws.ec2". It gives what takes this out again.
func (i *installation) hear() (unhear func()) {
	i.t.Helper()
	resource, err := cloudformation.NewFromConfig(i.cfg).DescribeStackResource(i.t.Context(), &cloudformation.DescribeStackResourceInput{
		StackName: aws.String("secbot"), LogicalResourceId: aws.String("CallsEc2")})
	if err != nil {
		i.t.Fatal(err)
	}
	name := *resource.StackResourceDetail.PhysicalResourceId
	var rule struct{ EventPattern string }
	var targets struct{ Targets []map[string]any }
	i.events("DescribeRule", map[string]any{"Name": name}, &rule)
	i.events("ListTargetsByRule", map[string]any{"Rule": name}, &targets)
	if len(targets.Targets) != 1 || strings.Count(rule.EventPattern, `"aws."`) != 1 {
		i.t.Fatalf("the rule %s is %q, to %v", name, rule.EventPattern, targets)
	}
	targets.Targets[0]["InputTransformer"] = map[string]any{
		"InputPathsMap": map[string]string{"id": "$.id", "account": "$.account", "time": "$.time", "region": "$.region", "detail": "$.detail"},
		"InputTemplate": `{"version": "0", "id": <id>, "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "account": <account>, "time": <time>, "region": <region>, "resources": [], "detail": <detail>}`,
	}
	var out struct{ FailedEntryCount int }
	i.events("PutRule", map[string]any{"Name": "secbot-test", "EventPattern": strings.Replace(rule.EventPattern, `"aws."`, `"test."`, 1)}, &out)
	i.events("PutTargets", map[string]any{"Rule": "secbot-test", "Targets": targets.Targets}, &out)
	if out.FailedEntryCount != 0 {
		i.t.Fatal("PutTargets refuses the queue")
	}
	return func() {
		i.events("RemoveTargets", map[string]any{"Rule": "secbot-test", "Ids": []any{targets.Targets[0]["Id"]}}, &out)
		i.events("DeleteRule", map[string]any{"Name": "secbot-test"}, nil)
	}
}

// breach opens SSH of a new group to the world and puts on the account's own bus,
// twice as EventBridge may, what CloudTrail says of it. It gives the group and the
// rule.
func (i *installation) breach(name string) (group string, rule types.SecurityGroupRule) {
	i.t.Helper()
	ctx := i.t.Context()
	g, err := i.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("a test")})
	if err != nil {
		i.t.Fatal(err)
	}
	group = *g.GroupId
	if _, err := i.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String("for a moment")}},
	}}}); err != nil {
		i.t.Fatal(err)
	}
	rules := i.ingress(group)
	if len(rules) != 1 {
		i.t.Fatalf("the rules of %s are %v", group, rules)
	}
	detail, err := os.ReadFile("testdata/authorize-ingress.json")
	if err != nil {
		i.t.Fatal(err)
	}
	filled := strings.NewReplacer("ACCOUNT", ministackAccount, "REGION", ministackRegion, "GROUP_ID", group, "RULE_ID", aws.ToString(rules[0].SecurityGroupRuleId),
		"EVENT_TIME", time.Now().UTC().Format(time.RFC3339), "EVENT_ID", rand.Text(), "REQUEST_ID", rand.Text()).Replace(string(detail))
	entry := map[string]any{"Source": notAWS, "DetailType": "AWS API Call via CloudTrail", "Detail": filled}
	var out struct{ FailedEntryCount int }
	i.events("PutEvents", map[string]any{"Entries": []any{entry, entry}}, &out)
	if out.FailedEntryCount != 0 {
		i.t.Fatal("PutEvents refuses the event")
	}
	return group, rules[0]
}

// ingress are the rules of a group that let in.
func (i *installation) ingress(group string) (in []types.SecurityGroupRule) {
	i.t.Helper()
	out, err := i.ec2.DescribeSecurityGroupRules(i.t.Context(), &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{group}}}})
	if err != nil {
		i.t.Fatal(err)
	}
	for _, r := range out.SecurityGroupRules {
		if !aws.ToBool(r.IsEgress) {
			in = append(in, r)
		}
	}
	return in
}

// holds checks which rules of a group let in.
func (i *installation) holds(group string, want ...types.SecurityGroupRule) {
	i.t.Helper()
	same := func(a, b types.SecurityGroupRule) bool {
		a.SecurityGroupRuleId, b.SecurityGroupRuleId = nil, nil // a rule that is put back has an id of its own
		return reflect.DeepEqual(a, b)
	}
	if got := i.ingress(group); !slices.EqualFunc(got, want, same) {
		i.t.Errorf("%s has the rules %s, want %s", group, asJSON(got), asJSON(want))
	}
}

func asJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte(err.Error())
	}
	return raw
}

// told waits until the one message about a group says a text and has a button, and
// gives it.
func (i *installation) told(group, text, button string) (found fakeslack.Message) {
	i.t.Helper()
	i.eventually("a message about "+group+" with the button "+button+" says "+text, func() bool {
		n := 0
		for _, m := range i.slack.Messages(fakeslack.ChannelSecurity) {
			if m.ThreadTS == "" && strings.Contains(m.Text, group) {
				n, found = n+1, m
			}
		}
		if n > 1 {
			i.t.Fatalf("%d messages about %s, want one", n, group)
		}
		return n == 1 && strings.Contains(found.Text+string(found.Blocks), text) && (button == "" || has(found, button))
	})
	return found
}

func has(m fakeslack.Message, button string) bool {
	for _, b := range m.Buttons() {
		if b.ActionID == button {
			return true
		}
	}
	return false
}

func (i *installation) eventually(what string, check func() bool) {
	i.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !check() {
		if time.Now().After(deadline) {
			i.t.Fatalf("in vain: %s\n%s", what, i.said())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// said is all that stands in the channel.
func (i *installation) said() string {
	var b strings.Builder
	for _, m := range i.slack.Messages(fakeslack.ChannelSecurity) {
		fmt.Fprintf(&b, "%s in %q: %s\n%s\n", m.TS, m.ThreadTS, m.Text, m.Blocks)
	}
	return b.String()
}

// exported is the environment for commands at a shell that a deployment prints.
func exported(t *testing.T, out string) (env []string) {
	t.Helper()
	_, line, _ := strings.Cut(out, "  export ")
	line, _, _ = strings.Cut(line, "\n")
	for _, field := range strings.Fields(line) {
		env = append(env, strings.ReplaceAll(field, "'", ""))
	}
	if len(env) != 4 {
		t.Fatalf("no environment for a shell in\n%s", out)
	}
	return env
}

// idle waits until the functions have taken all that is in the queue, and checks that
// nothing was too much for them.
func (i *installation) idle(shell []string) {
	i.t.Helper()
	client, ctx := sqs.NewFromConfig(i.cfg), i.t.Context()
	queues, err := client.ListQueues(ctx, &sqs.ListQueuesInput{})
	if err != nil || len(queues.QueueUrls) != 2 {
		i.t.Fatalf("the queue and that of dead letters: %v %v", queues, err)
	}
	names := []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible}
	for _, queue := range queues.QueueUrls {
		dead := !slices.ContainsFunc(shell, func(v string) bool {
			return strings.HasPrefix(v, "SECBOT_QUEUE_URL=") && path.Base(v) == path.Base(queue)
		})
		i.eventually(queue+" is empty", func() bool {
			out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: names})
			if err != nil {
				i.t.Fatal(err)
			}
			empty := out.Attributes[string(names[0])] == "0" && out.Attributes[string(names[1])] == "0"
			if dead && !empty {
				i.t.Fatalf("among the dead letters are %v", out.Attributes)
			}
			return empty
		})
	}
}

// remembers checks, at a shell, the status of the incident of each group, and the
// audit log.
func (i *installation) remembers(shell []string, want map[string]remediation.Status) {
	i.t.Helper()
	got := map[string]remediation.Status{}
	dec := json.NewDecoder(strings.NewReader(i.secbot(shell, "incidents", "--json")))
	for dec.More() {
		var incident remediation.Incident
		if err := dec.Decode(&incident); err != nil {
			i.t.Fatal(err)
		}
		got[incident.Finding.Resource.ID] = incident.Status
	}
	if !maps.Equal(got, want) {
		i.t.Errorf("the incidents are %v, want %v", got, want)
	}
	i.secbot(shell, "audit", "verify")
}

// quiet checks that each function has run and none has failed or been denied a call, and that nobody wanted
// to reach anything but AWS and Slack.
func (i *installation) quiet() {
	i.t.Helper()
	for _, f := range []string{"events", "tick", "http"} {
		log := i.log(f)
		if !strings.Contains(log, "START RequestId") {
			i.t.Errorf("the function %s has not run:\n%s", f, log)
		}
		for _, bad := range []string{`"level":"ERROR"`, "not authorized", "AccessDenied", "Task timed out", "Runtime."} {
			if strings.Contains(log, bad) {
				i.t.Errorf("the function %s logs %s:\n%s", f, bad, log)
			}
		}
	}
	if hosts := i.front.Denied(); len(hosts) > 0 {
		i.t.Errorf("somebody wanted to reach %q", hosts)
	}
}

// log is what a function has written.
func (i *installation) log(function string) string {
	i.t.Helper()
	var out struct{ Events []struct{ Message string } }
	answer := call(i.t, i.cfg, "logs", "Logs_20140328.FilterLogEvents", map[string]any{"logGroupName": "/aws/lambda/secbot-" + function})
	if err := json.Unmarshal(answer, &out); err != nil {
		i.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range out.Events {
		b.WriteString(strings.TrimRight(e.Message, "\n") + "\n")
	}
	return b.String()
}

// gone checks that nothing has come to what there was before but what `secbot deploy
// --destroy` says that stays, and that the function is not reached any more.
func (i *installation) gone(said, at string, before map[string]string) {
	i.t.Helper()
	after := holdings(i.t, i.cfg)
	if kinds := differing(before, after); !slices.Equal(kinds, []string{"buckets", "keys", "tables"}) {
		i.t.Errorf("of these there are others than before: %q\n%q", kinds, after)
	}
	for kind, id := range map[string]string{"buckets": "<Name>([^<]+)</Name>", "keys": `"KeyId": ?"([^"]+)"`, "tables": `"TableNames": ?\["([^"]+)"\]`} {
		left := regexp.MustCompile(id).FindAllStringSubmatch(after[kind], -1)
		if len(left) != 1 || !strings.Contains(said, left[0][1]+"\n") {
			i.t.Errorf("of the %s there are %q; said was\n%s", kind, left, said)
		}
	}
	resp, err := i.front.Client().Get(at + "/healthz")
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		i.t.Errorf("the function still answers at %s", at)
	}
}

// TestInfraMinistack: `secbot deploy` brings the hub up. An event on the account's
// bus ends, through EventBridge's rule, the queue and the bootstrap in Lambda, in a
// message alone while the mode is observe, and in a revoked rule and a message once
// it is auto. A click on Undo at the function URL puts the rule back. Then all is
// taken out again.
func TestInfraMinistack(t *testing.T) {
	i := newInstallation(t)
	before := holdings(t, i.cfg)
	out := i.deploy([]string{"SECBOT_CHANNEL=" + fakeslack.ChannelSecurity, "SECBOT_RESPONDERS=" + fakeslack.Alice})
	at := regexp.MustCompile(`https://[a-z0-9]+\.lambda-url\.` + ministackRegion + `\.on\.aws`).FindString(out)
	if at == "" {
		t.Fatalf("it does not say where the function is reached:\n%s", out)
	}
	i.slack.SetTarget(at)
	if kinds := differing(before, holdings(t, i.cfg)); len(kinds) != len(before) {
		t.Errorf("it has made only %q", kinds)
	}
	disallow := i.allowSecret()
	out = i.deploy([]string{"SLACK_BOT_TOKEN=" + i.slack.Token(), "SLACK_SIGNING_SECRET=" + i.slack.Secret()})
	for _, want := range []string{"mode observe", "secbot is in #security", "the server takes it", "as functions do", "actions are allowed"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	shell := exported(t, out)
	unhear := i.hear()

	watched, rule := i.breach("watched")
	i.told(watched, "observe", "more")
	i.idle(shell)
	i.holds(watched, rule)

	i.deploy(nil, "--set", "Mode=auto")
	fixed, rule := i.breach("fixed")
	m := i.told(fixed, "Security group rule revoked", "undo")
	i.holds(fixed)

	if ack, err := i.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "undo"); err != nil || ack.Status != http.StatusOK {
		t.Fatalf("the click: %+v %v", ack, err)
	}
	i.told(fixed, "It is open again", "unignore")
	i.holds(fixed, rule)

	callREST(t, i.cfg, "lambda", http.MethodPost, "/2015-03-31/functions/secbot-tick/invocations", []byte("{}"), http.Header{})
	i.idle(shell)
	i.remembers(shell, map[string]remediation.Status{watched: remediation.StatusOpen, fixed: remediation.StatusUndone})
	i.quiet()
	unhear()
	disallow()
	i.gone(i.deploy(nil, "--destroy"), at, before)
}
