//go:build emulate

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/internal/demo"
)

// emulated is secbot as a process of its own, between the stand-in for AWS and
// emulate's Slack, which was written by others from Slack's documentation.
//
// What emulate 0.11.2 can't do: it has no people who click or type, so the tests
// send what Slack would. It looks for the token in the Authorization header
// alone, and slack-go sends it in the form, which Slack takes as well, so the
// relay copies it. It gives no response URLs, shows a modal's content only in the
// answer to views.open and an ephemeral message only on its page, knows no
// channel by "#name" and no user groups, gives a message's metadata whether asked
// for it or not, and looks neither at `oldest` nor at rates or Block Kit's limits.
type emulated struct {
	*script
	w       *demo.World
	program string
	env     []string

	emulate string // its base URL
	secbot  string
	secret  string
	token   string
	channel string
	people  map[string]string // ids by name

	mu      sync.Mutex
	refused []string                               // "METHOD CODE" of secbot's calls that emulate said no to
	modal   json.RawMessage                        // that views.open gave last
	after   func(method, text string) (crash bool) // asked after each call has had its effect
	cmd     *exec.Cmd
	ended   chan struct{}
	log     logBuffer
}

const emulateTestToken = "xoxp-test"

// startEmulated starts the stand-ins, and secbot with what the README says that
// its Slack app needs.
func startEmulated(t *testing.T, program string) *emulated {
	t.Helper()
	e := &emulated{token: "xoxb-emulate", secret: "emulate-signing-secret", people: map[string]string{}, program: program}
	e.script = startScript(t, "emulate.mjs", map[string]any{
		"token": e.token, "testToken": emulateTestToken, "scopes": documentedScopes(t), "people": []string{"alice", "mallory"}, "channel": "security",
	})
	e.emulate = e.listening()
	e.readIDs()

	sb, w := startSandbox(t)
	e.w = w
	sb.AWS.AddCaller("AKIASECBOT", granted())
	t.Cleanup(func() { nothingDenied(t, sb) })
	relay := httptest.NewServer(http.HandlerFunc(e.relay))
	t.Cleanup(relay.Close)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e.secbot = "http://" + addr
	e.env = append(os.Environ(), "AWS_ENDPOINT_URL="+sb.AWSURL, "AWS_REGION="+sb.AWS.Region(), "AWS_ACCESS_KEY_ID=AKIASECBOT", "AWS_SECRET_ACCESS_KEY=s",
		"SLACK_API_URL="+relay.URL+"/api/", "SLACK_BOT_TOKEN="+e.token, "SLACK_SIGNING_SECRET="+e.secret,
		"SECBOT_EVENTS_TOKEN=bearer", "SECBOT_CHANNEL="+e.channel, "SECBOT_RESPONDERS="+e.people["alice"],
		"SECBOT_STORE=bolt://"+filepath.Join(t.TempDir(), "secbot.db"), "SECBOT_ADDR="+addr, "SECBOT_CONFIG=")
	t.Cleanup(func() {
		e.kill()
		if t.Failed() {
			t.Logf("secbot's log:\n%s", e.log.String())
		}
	})
	e.start()
	sb.SetTarget(e.secbot)
	return e
}

// documentedScopes are those that the README has an installation give the app.
func documentedScopes(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "the bot scopes")
	list, _, _ := strings.Cut(rest, ";")
	scopes := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(list, -1)
	if len(scopes) == 0 {
		t.Fatal("the README lists no bot scopes")
	}
	var all []string
	for _, s := range scopes {
		all = append(all, s[1])
	}
	return all
}

func (e *emulated) readIDs() {
	e.t.Helper()
	var users struct{ Members []struct{ ID, Name string } }
	e.call("users.list", emulateTestToken, nil, &users)
	for _, u := range users.Members {
		e.people[u.Name] = u.ID
	}
	var channels struct{ Channels []struct{ ID, Name string } }
	e.call("conversations.list", emulateTestToken, nil, &channels)
	for _, c := range channels.Channels {
		if c.Name == "security" {
			e.channel = c.ID
		}
	}
	if e.channel == "" || e.people["alice"] == "" || e.people["mallory"] == "" {
		e.t.Fatalf("emulate knows %v and the channel %q", e.people, e.channel)
	}
}

// call is one of the test's own calls of emulate's Web API.
func (e *emulated) call(method, token string, form url.Values, v any) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, e.emulate+"/api/"+method, strings.NewReader(form.Encode()))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	_, raw := e.do(req)
	var answer struct {
		OK    bool
		Error string
	}
	if err := errors.Join(json.Unmarshal(raw, &answer), json.Unmarshal(raw, v)); err != nil || !answer.OK {
		e.t.Fatalf("%s: %s %v", method, raw, err)
	}
}

func (e *emulated) do(req *http.Request) (status int, body []byte) {
	e.t.Helper()
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// relay passes secbot's calls on to emulate, with the token where that looks for
// it. It is also where secbot crashes: when a call has had its effect, and its
// answer isn't there yet.
func (e *emulated) relay(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // secbot is gone
	}
	req, err := http.NewRequest(r.Method, e.emulate+r.URL.Path, bytes.NewReader(body)) // not with r's context: secbot's end must not undo it
	if err != nil {
		e.t.Error(err)
		return
	}
	req.Header = r.Header.Clone()
	form, err := url.ParseQuery(string(body))
	if err == nil && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+form.Get("token"))
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		e.t.Errorf("emulate does not answer %s: %v", method, err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Errorf("emulate's answer to %s: %v", method, err)
		return
	}
	if e.heard(method, form.Get("text"), answer) {
		e.kill()
		return
	}
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer) // or secbot is gone
}

func (e *emulated) heard(method, text string, raw []byte) (crash bool) {
	var answer struct {
		OK    bool
		Error string
		View  json.RawMessage
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		answer.Error = fmt.Sprintf("%.100q", raw)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !answer.OK {
		e.refused = append(e.refused, method+" "+answer.Error)
	}
	if answer.View != nil {
		e.modal = answer.View
	}
	return e.after != nil && e.after(method, text)
}

// start runs secbot, and waits until it says that AWS and Slack are as they
// should be.
func (e *emulated) start() {
	e.t.Helper()
	cmd, ended := exec.Command(e.program, "serve"), make(chan struct{})
	cmd.Env, cmd.Stderr, cmd.Dir = e.env, &e.log, e.t.TempDir()
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	e.mu.Lock()
	e.cmd, e.ended = cmd, ended
	e.mu.Unlock()
	e.eventually("secbot is ready", func() error {
		resp, err := http.Get(e.secbot + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s %w", resp.Status, raw, err)
		}
		return nil
	})
}

func (e *emulated) kill() {
	e.mu.Lock()
	cmd, ended := e.cmd, e.ended
	e.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // or it has ended by itself
		<-ended
	}
}

func (e *emulated) eventually(what string, check func() error) {
	e.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("in vain: %s: %v", what, err)
		}
	}
}
