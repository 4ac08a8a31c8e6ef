package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-chi/chi/v5"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// granted is what secbot's role has in these tests: what `secbot iam-policy`
// prints and nothing else, so that a call that no playbook declares fails.
func granted() fakeaws.Caller {
	s := settings{QueueURL: "there is one", Store: "memory://", ExternalID: os.Getenv("SECBOT_EXTERNAL_ID")}
	return fakeaws.Caller{Role: "secbot", Allowed: s.actions()}
}

// nothingDenied checks that no call of secbot's was refused for want of a
// permission, however silently secbot has gone on without it.
func nothingDenied(t *testing.T, sb *sandbox.Sandbox) {
	t.Helper()
	for _, c := range sb.AWS.Calls() {
		if c.Action == "AssumeRole" && c.ErrorCode == "AccessDenied" {
			continue // by the role's own trust policy
		}
		if strings.Contains(c.Caller, "assumed-role/secbot") && slices.Contains([]string{"AccessDenied", "UnauthorizedOperation", "AccessDeniedException", "AuthorizationError"}, c.ErrorCode) {
			t.Errorf("secbot calls %s %s, which `secbot iam-policy` does not allow", c.Service, c.Action)
		}
	}
}

// endless is a body without an end; it counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	if e.read > 64<<20 {
		return 0, errors.New("64 MiB were read")
	}
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

// TestEveryRoute: none takes a body beyond its bound, and what is neither signed
// nor has the token is refused and changes nothing, on each route that there is.
func TestEveryRoute(t *testing.T) {
	open := []string{"GET /healthz", "GET /readyz", "GET /metrics"}
	t.Chdir(t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s := &settings{SigningSecret: "secret", EventsToken: "bearer", SNSTopics: []string{"arn:aws:sns:us-east-1:111122223333:t"}, Store: "memory://"}
	st := &counting{Store: memory.New()}
	a := wire(s, aws.Config{Region: "us-east-1"}, remediation.DefaultConfig(), st, slog.New(slog.DiscardHandler), time.Now)
	seen := 0
	err := chi.Walk(a.handler.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		seen++
		name := method + " " + path
		body := &endless{}
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, body))
		if body.read > 2<<20 {
			t.Errorf("%s reads %d MiB of a body without end", name, body.read>>20)
		}
		if w.Code == http.StatusOK && !slices.Contains(open, name) || w.Code >= 500 && name != "GET /readyz" {
			t.Errorf("%s answers %d to an endless body", name, w.Code)
		}
		for _, text := range []string{"", "{}", "command=/secbot&text=scan&user_id=U0ALICE", `{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:us-east-1:111122223333:t","SubscribeURL":"http://127.0.0.1:1/"}`} {
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(text)))
			if !slices.Contains(open, name) && (w.Code < 400 || w.Code >= 500) {
				t.Errorf("%s answers %d to %q from anybody", name, w.Code, text)
			}
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Fatalf("%d routes, %v", seen, err)
	}
	if st.commits > 0 {
		t.Errorf("%d writes came of it", st.commits)
	}
}

// TestMappingPermissions: an event source mapping reads the queue with the role of
// its function ("Using Lambda with Amazon SQS" in the AWS Lambda Developer Guide).
func TestMappingPermissions(t *testing.T) {
	s := settings{QueueURL: "there is one", Store: "dynamodb://secbot"}
	for _, action := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} {
		if !slices.Contains(s.actions(), action) {
			t.Errorf("the policy lacks %s", action)
		}
	}
}

// counting counts the writes.
type counting struct {
	remediation.Store
	commits int
}

// TestSecretsStayInside: a whole life, with all that can go wrong, is written
// down at the level debug; no secret is in any of it.
func TestSecretsStayInside(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	secrets := map[string]string{
		"the Slack token": sb.Slack.Token(), "the signing secret": sb.Slack.Secret(),
		"the events token": "events-" + rand.Text(), "the AWS secret key": "aws-" + rand.Text(), "the AWS session token": "session-" + rand.Text(),
	}
	t.Setenv("SECBOT_EVENTS_TOKEN", secrets["the events token"])
	t.Setenv("AWS_SECRET_ACCESS_KEY", secrets["the AWS secret key"])
	t.Setenv("AWS_SESSION_TOKEN", secrets["the AWS session token"])
	t.Setenv("SECBOT_LOG_LEVEL", "debug")
	s := startServer(t)
	sb.Slack.SetTarget(s.url)
	event := func(name string) {
		sb.AWS.Flush()
		s.post(sb.LastEvent(name), secrets["the events token"])
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Authorize(t.Context(), 22, "0.0.0.0/0", "ssh"))
	event("AuthorizeSecurityGroupIngress")
	m := s.messageSays(sb, "Undo Fix")
	_, err := sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "undo")
	must(err)
	s.eventually(func() error { return rulesAre(t, w, "22 0.0.0.0/0 ssh", "443 0.0.0.0/0 the shop") })
	// A question that is answered in a form, by the command, by whoever may not.
	must(w.Break(t.Context(), "acl-read", demo.DataBucket))
	event("PutBucketAcl")
	m = s.messageSays(sb, "Revert Change")
	_, err = sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "ignore")
	must(err)
	views := sb.Slack.Views(fakeslack.Alice)
	_, err = sb.Slack.SubmitView(t.Context(), fakeslack.Alice, views[len(views)-1].ID, url.Values{"reason": {"for now"}})
	must(err)
	for who, text := range map[string]string{fakeslack.Alice: "incidents", fakeslack.Bob: "reset", fakeslack.Guest: "scan s3", fakeslack.Mallory: "help"} {
		_, err := sb.Slack.Command(t.Context(), who, fakeslack.ChannelSecurity, "/secbot", text)
		must(err)
	}
	s.eventually(func() error {
		if !strings.Contains(s.log.String(), "Guests can't use secbot") {
			return errors.New("the guest was not refused yet")
		}
		return nil
	})
	// Now everything fails: AWS, Slack, and what people send.
	sb.AWS.Fault(func(fakeaws.Call) *fakeaws.Fault { return &fakeaws.Fault{Drop: true} })
	sb.Slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method == "chat.postMessage" {
			return &fakeslack.Fault{Error: "invalid_auth"}
		}
		return &fakeslack.Fault{Drop: true}
	})
	s.post([]byte(`{"detail-type":"x"`), secrets["the events token"])
	s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "wrong-"+secrets["the events token"])
	_, err = sb.Slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "scan sg")
	must(err)
	s.eventually(func() error {
		if !strings.Contains(s.log.String(), "tried again") {
			return errors.New("nothing has failed yet")
		}
		return nil
	})
	written := map[string]string{}
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		resp, err := http.Get(s.url + path)
		must(err)
		raw, err := io.ReadAll(resp.Body)
		must(errors.Join(err, resp.Body.Close()))
		written["GET "+path] = string(raw)
	}
	for _, args := range []string{"incidents --json", "audit export", "config check", "iam-policy"} {
		_, out, errOut := shell(t, "", strings.Fields(args)...)
		written["secbot "+args] = out + errOut
	}
	s.stop()
	written["the log"] = s.log.String()
	for _, path := range []string{strings.TrimPrefix(os.Getenv("SECBOT_STORE"), "bolt://")} {
		raw, err := os.ReadFile(filepath.Clean(path))
		must(err)
		written["the store"] = string(raw)
	}
	for i, call := range sb.Slack.Calls() {
		written[fmt.Sprintf("Slack call %d", i)] = fmt.Sprint(call.Args)
	}
	// A response URL lets everybody write into the channel for half an hour.
	if strings.Contains(written["the log"], "/response/") || strings.Contains(written["the log"], "response_url") {
		t.Error("a response URL is in the log")
	}
	if len(written["the log"]) < 2000 {
		t.Errorf("the log says next to nothing: %s", written["the log"])
	}
	for where, text := range written {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
}

func (c *counting) Commit(ctx context.Context, w remediation.Write) error {
	c.commits++
	return c.Store.Commit(ctx, w)
}
