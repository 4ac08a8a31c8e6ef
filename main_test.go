package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
)

// shell runs one command to its end.
func shell(t *testing.T, stdin string, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &o, &e)
	return status, o.String(), e.String()
}

func TestDemoScript(t *testing.T) {
	status, out, errOut := shell(t, "", "demo", "--script")
	if status != 0 || !strings.Contains(out, "All 18 steps ended as they should.") {
		t.Errorf("status %d\n%s\n%s", status, out, errOut)
	}
}

func TestShellCommands(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SECBOT_STORE", "bolt://"+filepath.Join(dir, "none.db"))
	t.Chdir(dir)
	t.Setenv("SECBOT_CONFIG", "")
	t.Setenv("SECBOT_ADDR", "127.0.0.1:1")
	wrong := filepath.Join(dir, "wrong.yaml")
	write(t, wrong, "mode: auto\nrules:\n  - name: a\n    when: {ports: [22]}\n    then: ask\n")
	torn := filepath.Join(dir, "torn.json")
	write(t, torn, `{"detail":`)
	for name, c := range map[string]struct {
		args   []string
		stdin  string
		status int
		out    []string // each is in standard output
		errOut []string // each is in standard error
	}{
		"nothing":            {out: []string{"serve", "replay", "demo"}},
		"version":            {args: []string{"version"}, out: []string{"secbot "}},
		"unknown":            {args: []string{"sreve"}, status: 2, errOut: []string{"sreve", "serve"}},
		"unknown in a group": {args: []string{"config", "chekc"}, status: 2, errOut: []string{`"check"`}},
		"wrong scope":        {args: []string{"scan", "moon"}, status: 2, errOut: []string{"moon"}},
		"wrong level":        {args: []string{"version", "--log-level", "loud"}, status: 2, errOut: []string{"loud", "warn"}},
		"unknown flag":       {args: []string{"demo", "--skript"}, status: 2, errOut: []string{`"script"`}},
		"manifest":           {args: []string{"manifest", "--url", "https://secbot.example.com"}, out: []string{"url: https://secbot.example.com/slack/commands", "- app_mention", "- chat:write"}},
		"manifest in JSON":   {args: []string{"manifest", "--socket", "--json"}, out: []string{`"socket_mode_enabled": true`, `"home_tab_enabled": true`}},
		"manifest of where":  {args: []string{"manifest"}, status: 1, errOut: []string{"--url https://HOST", "--socket"}},
		"iam-policy":         {args: []string{"iam-policy"}, out: []string{`"2012-10-17"`, "ec2:RevokeSecurityGroupIngress", "s3:PutBucketAcl"}},
		"default policy":     {args: []string{"config", "check"}, out: []string{"Mode: auto", "built-in", "SSH open to the world           auto", "HTTPS open to the world         ask"}},
		"wrong policy":       {args: []string{"config", "check", wrong}, status: 1, errOut: []string{"wrong.yaml:4", "when", "match"}},
		"no policy there":    {args: []string{"config", "check", "nobody.yaml"}, status: 1, errOut: []string{"nobody.yaml", "SECBOT_CONFIG"}},
		"no server":          {args: []string{"health"}, status: 1, errOut: []string{"does not answer"}},
		"no store":           {args: []string{"incidents"}, status: 1, errOut: []string{"SECBOT_STORE"}},
		"replay":             {args: []string{"replay", "--json", "-"}, stdin: `{"detail-type":"x","source":"y","detail":{}}`, out: []string{`"skipped":`}},
		"replay of a torn file": {
			args: []string{"replay", "--json", torn}, status: 1,
			out: []string{`"error":`}, errOut: []string{"secbot:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errOut := shell(t, c.stdin, c.args...)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range c.out {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in %s", want, out)
				}
			}
			for _, want := range c.errOut {
				if !strings.Contains(errOut, want) {
					t.Errorf("%q is missing in %s", want, errOut)
				}
			}
		})
	}
}

func TestPlaybooksAreListedAsJSON(t *testing.T) {
	status, out, _ := shell(t, "", "playbooks", "--json")
	var ids []string
	for line := range strings.Lines(out) {
		var p struct{ ID string }
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	want := []string{"s3-public-acl", "s3-public-policy", "s3-block-public-access", "sg-rule-added"}
	for _, id := range want {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is missing in %v (status %d)", id, ids, status)
		}
	}
}

// TestWhereHealthAsks: where the server listens, also where that is not 127.0.0.1.
func TestWhereHealthAsks(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", "127.0.0.2:8080": "127.0.0.2:8080", "10.1.2.3:80": "10.1.2.3:80", "localhost:80": "localhost:80",
		"[::1]:8080": "[::1]:8080", "0.0.0.0:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "[::]:8080": "[::1]:8080", "8080": "",
	} {
		if got, err := reachable(addr); got != want || (err != nil) != (want == "") {
			t.Errorf("SECBOT_ADDR=%s: %q, %v; want %q", addr, got, err, want)
		}
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.3:0")
	if err != nil {
		t.Skip("only Linux has all of 127.0.0.0/8: ", err)
	}
	defer srv.Close()
	_ = srv.Listener.Close() // the one that it was made with
	srv.Listener = l
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	srv.Start()
	t.Setenv("SECBOT_ADDR", l.Addr().String())
	if status, _, errOut := shell(t, "", "health"); status != 0 {
		t.Errorf("health: %d %s", status, errOut)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// instance is `secbot serve` as anybody runs it: by its environment alone.
type instance struct {
	t    *testing.T
	url  string
	end  context.CancelFunc
	done chan int
	log  *logBuffer
}

// logBuffer is read while the server writes to it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startServer(t *testing.T) *instance {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECBOT_ADDR", addr)
	s := &instance{t: t, url: "http://" + addr, done: make(chan int, 1), log: &logBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	go func() { s.done <- run(ctx, []string{"serve"}, strings.NewReader(""), io.Discard, s.log) }()
	t.Cleanup(s.stop)
	t.Setenv("SECBOT_CONFIG", "")
	s.eventually(func() error { _, err := s.get("/healthz"); return err })
	return s
}

// stop ends the server as SIGTERM does. Twice is once.
func (s *instance) stop() {
	s.end()
	if status, open := <-s.done; open {
		close(s.done)
		if status != 0 {
			s.t.Errorf("serve ends with %d:\n%s", status, s.log)
		}
	}
}

func (s *instance) get(path string) (int, error) {
	resp, err := http.Get(s.url + path)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (s *instance) post(event []byte, token string) int {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+"/events", bytes.NewReader(event))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func (s *instance) eventually(check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.stop()
			s.t.Fatalf("%v\nsecbot's log:\n%s", err, s.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestServeWithoutAnything: it starts, and says what is missing.
func TestServeWithoutAnything(t *testing.T) {
	for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SECBOT_EVENTS_TOKEN", "SECBOT_CHANNEL", "SECBOT_RESPONDERS", "SLACK_API_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SECBOT_QUEUE_URL", "SECBOT_SNS_TOPICS", "SLACK_APP_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Chdir(t.TempDir())
	t.Setenv("SECBOT_STORE", "memory://")
	s := startServer(t)
	if status := s.post([]byte(`{}`), ""); status != http.StatusServiceUnavailable && status != http.StatusUnauthorized {
		t.Errorf("an event without any token set: %d", status)
	}
	resp, err := http.Get(s.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: %s", resp.Status)
	}
	for _, want := range []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SECBOT_EVENTS_TOKEN", "SECBOT_CHANNEL", "SECBOT_RESPONDERS", "AWS_REGION"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is missing in %s", want, body)
		}
		if n := strings.Count(s.log.String(), want+" is not set"); n != 1 {
			t.Errorf("that %s is missing is logged %d times", want, n)
		}
	}
	const nobody = "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID"
	if !strings.Contains(string(body), nobody) {
		t.Errorf("that there are no credentials is not said in %s", body)
	}
	status, _, errOut := shell(t, "", "scan")
	if status != 1 || !strings.Contains(errOut, "nothing could be read") || !strings.Contains(errOut, nobody) || strings.Contains(errOut, "IMDS") {
		t.Errorf("scan: status %d, %s", status, errOut)
	}
	event := `{"detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":{"eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl","eventID":"e","eventTime":"2026-01-01T00:00:00Z","awsRegion":"us-east-1","recipientAccountId":"111122223333","requestParameters":{"bucketName":"b","x-amz-acl":"public-read"}}}`
	if _, out, errOut := shell(t, event, "replay", "--live", "-"); !strings.Contains(out+errOut, nobody) || strings.Contains(out+errOut, "IMDS") {
		t.Errorf("replay --live: %s %s", out, errOut)
	}
}

// TestReadyWithAQueue: events that come by a queue need no token, and a queue that
// can't be read is told.
func TestReadyWithAQueue(t *testing.T) {
	sb, _ := startSandbox(t)
	onEmulators(t, sb)
	t.Setenv("SECBOT_EVENTS_TOKEN", "")
	t.Setenv("SECBOT_QUEUE_URL", sb.AWSURL+"/111122223333/gone")
	s := startServer(t)
	s.eventually(func() error {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if strings.Contains(string(body), "SECBOT_EVENTS_TOKEN") {
			t.Errorf("a token is missed though there is a queue: %s", body)
		}
		if !strings.Contains(string(body), "queue: ") {
			return fmt.Errorf("readyz says nothing of the queue: %s", body)
		}
		return nil
	})
}

// onEmulators sets the environment that an installation on the stand-ins has, whose
// permissions must be enough.
func onEmulators(t *testing.T, sb *sandbox.Sandbox) {
	t.Helper()
	onStandIns(t, sb)
	t.Cleanup(func() { nothingDenied(t, sb) })
}

// onStandIns sets the environment that an installation on the stand-ins has.
func onStandIns(t *testing.T, sb *sandbox.Sandbox) {
	t.Helper()
	t.Chdir(t.TempDir()) // there is no secbot.yaml
	sb.AWS.AddCaller("AKIASECBOT", granted())
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": sb.AWSURL, "AWS_REGION": sb.AWS.Region(), "AWS_ACCESS_KEY_ID": "AKIASECBOT", "AWS_SECRET_ACCESS_KEY": "s",
		"SLACK_API_URL": sb.Slack.APIURL(), "SLACK_BOT_TOKEN": sb.Slack.Token(), "SLACK_SIGNING_SECRET": sb.Slack.Secret(),
		"SECBOT_EVENTS_TOKEN": "bearer", "SECBOT_CHANNEL": fakeslack.ChannelSecurity, "SECBOT_RESPONDERS": fakeslack.Alice,
		"SECBOT_STORE": "bolt://" + filepath.Join(t.TempDir(), "secbot.db"),
	} {
		t.Setenv(name, value)
	}
}

// startSandbox serves the stand-ins, and a company on them.
func startSandbox(t *testing.T) (*sandbox.Sandbox, *demo.World) {
	t.Helper()
	sb, err := sandbox.Start(t.Context(), sandbox.Options{EventsToken: "bearer"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := demo.NewWorld(t.Context(), sb, nil, &demo.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	return sb, w
}

// TestFixesArePublishedToSNS: an automatic fix is, one that a person asked for
// is not.
func TestFixesArePublishedToSNS(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	topic, err := sns.NewFromConfig(demo.AWSConfig(sb)).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("secbot")})
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	s.stop()
	write(t, "secbot.yaml", "notify:\n  sns_topic_arn: "+*topic.TopicArn+"\n")
	s = startServer(t)
	sb.SetTarget(s.url)
	if err := w.Authorize(t.Context(), 3389, "0.0.0.0/0", "rdp"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		if n := len(sb.AWS.Published()); n != 1 {
			return fmt.Errorf("%d messages were published, want 1", n)
		}
		return nil
	})
	p := sb.AWS.Published()[0]
	if p.Topic != *topic.TopicArn || p.Subject != "Auto-mitigation successful" || !strings.HasPrefix(p.Message, "AUTO-MITIGATED:") {
		t.Errorf("published: %+v", p)
	}
	for _, want := range []string{w.Group, "Ingress", "user/dana", "3389", "0.0.0.0/0"} {
		if !strings.Contains(p.Message, want) {
			t.Errorf("%q is missing in %s", want, p.Message)
		}
	}
	if err := w.Authorize(t.Context(), 8443, "198.51.100.0/24", "partner"); err != nil {
		t.Fatal(err)
	}
	m := s.messageSays(sb, "Revert Change")
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error { return rulesAre(t, w, "443 0.0.0.0/0 the shop") })
	s.stop()
	if n := len(sb.AWS.Published()); n != 1 {
		t.Errorf("%d messages were published, want the first alone", n)
	}
}

// TestServeOnEmulators is the main line as an installation has it: SSH opened
// to the world is closed, one message says so, secbot is started again, and a
// signed click brings the rule back with its description.
func TestServeOnEmulators(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	s.eventually(func() error {
		if status, err := s.get("/readyz"); err != nil || status != http.StatusOK {
			return fmt.Errorf("readyz: %d %w", status, err)
		}
		return nil
	})
	if status, _, errOut := shell(t, "", "health"); status != 0 {
		t.Errorf("the health check of containers: %d %s", status, errOut)
	}
	if err := w.Authorize(t.Context(), 22, "0.0.0.0/0", "for a minute"); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	event := sb.LastEvent("AuthorizeSecurityGroupIngress")
	if status := s.post(event, "wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", status)
	}
	if status := s.post(event, "bearer"); status/100 != 2 {
		t.Fatalf("the event: %d", status)
	}
	s.eventually(func() error { return rulesAre(t, w, "443 0.0.0.0/0 the shop") })
	message := s.messageSays(sb, "Undo Fix")
	if n := len(top(sb)); n != 1 {
		t.Errorf("%d messages, want one", n)
	}
	if !strings.Contains(message.Text, w.Group) {
		t.Errorf("the message does not name the group: %s", message.Text)
	}
	s.stop()

	s = startServer(t)
	sb.SetTarget(s.url)
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Alice, message.Channel, message.TS, "undo"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error { return rulesAre(t, w, "22 0.0.0.0/0 for a minute", "443 0.0.0.0/0 the shop") })
	s.eventually(func() error {
		if m := top(sb); len(m) != 1 || !strings.HasPrefix(m[0].Text, "Undone") {
			return fmt.Errorf("%d messages, the last is %q", len(m), m[len(m)-1].Text)
		}
		return nil
	})
	for args, want := range map[string]string{"incidents": "undone", "audit verify": "1 incident"} {
		if status, out, errOut := shell(t, "", strings.Fields(args)...); status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s, asked of the server: %d %s %s", args, status, out, errOut)
		}
	}
}

// top are the messages that stand in no thread.
func top(sb *sandbox.Sandbox) []fakeslack.Message {
	return slices.DeleteFunc(sb.Slack.Messages(fakeslack.ChannelSecurity), func(m fakeslack.Message) bool { return m.ThreadTS != "" })
}

// messageSays waits until the newest message has this button first.
func (s *instance) messageSays(sb *sandbox.Sandbox, button string) fakeslack.Message {
	s.t.Helper()
	var found fakeslack.Message
	s.eventually(func() error {
		all := top(sb)
		if len(all) == 0 {
			return errors.New("there is no message")
		}
		found = all[len(all)-1]
		if b := found.Buttons(); len(b) == 0 || b[0].Text != button {
			return fmt.Errorf("%d messages, the last is %q without %s", len(all), found.Text, button)
		}
		return nil
	})
	return found
}

func rulesAre(t *testing.T, w *demo.World, want ...string) error {
	t.Helper()
	got, err := w.Rules(t.Context())
	if err != nil {
		return err
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("rules: %q, want %q", got, want)
	}
	return nil
}

// TestScanFindsWhatWasOpenBefore runs the shell's scan against the stand-in.
func TestScanFindsWhatWasOpenBefore(t *testing.T) {
	_, w, _ := scanSandbox(t)
	_, err := w.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String(w.Group), IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, out, errOut := shell(t, "", "scan", "--json", "sg")
	if status != 0 {
		t.Fatalf("scan: %d %s", status, errOut)
	}
	found := 0
	for line := range strings.Lines(out) {
		var f struct {
			Playbook, Resource string
			Rules              []struct{ Protocol, CIDR string }
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Rules {
			if f.Resource == w.Group && f.Playbook == "sg-rule-added" && r.CIDR == "::/0" && r.Protocol == "-1" {
				found++
			}
		}
	}
	if found != 1 {
		t.Errorf("the open rule is found %d times: %s", found, out)
	}
}

// missing is what /readyz answers.
func (s *instance) missing() string {
	resp, err := http.Get(s.url + "/readyz")
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprint(string(body), errors.Join(err, resp.Body.Close()))
}
