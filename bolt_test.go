//go:build bolt

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/internal/sandbox/fakeslack"
)

// TestBoltSigns: secbot takes and refuses what Slack's own library does, and
// what it takes has its effect.
func TestBoltSigns(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	sb.SetTarget(s.url)
	if err := w.Authorize(t.Context(), 8443, "198.51.100.0/24", "partner"); err != nil {
		t.Fatal(err)
	}
	m := s.messageSays(sb, "Revert Change")
	button := m.Buttons()[0]
	requests := startScript(t, "bolt-requests.mjs", map[string]any{
		"url": s.url, "secret": sb.Slack.Secret(), "user": fakeslack.Alice,
		"click": map[string]string{"channel": m.Channel, "ts": m.TS, "block_id": button.BlockID, "value": button.Value},
	})
	statuses := map[int]int{}
	for {
		var sent struct {
			Name   string
			Status int
		}
		if !requests.next(&sent) {
			break
		}
		statuses[sent.Status]++
	}
	if requests.err != nil {
		t.Fatalf("%v: %s", requests.err, requests.noise)
	}
	if diff := cmp.Diff(map[int]int{http.StatusUnauthorized: 44, http.StatusOK: 4}, statuses); diff != "" {
		t.Errorf("secbot's answers (-want +got):\n%s", diff)
	}
	s.eventually(func() error { return rulesAre(t, w, "443 0.0.0.0/0 the shop") })
	s.messageSays(sb, "Undo Fix")
}

// boltApp is a bot made with Bolt, and the stand-in for Slack that it is
// installed in.
type boltApp struct {
	*script
	slack  *fakeslack.Slack
	url    string
	secret string
}

func startBoltApp(t *testing.T) *boltApp {
	t.Helper()
	sb, _ := startSandbox(t)
	a := &boltApp{slack: sb.Slack, secret: sb.Slack.Secret()}
	a.script = startScript(t, "bolt-app.mjs", map[string]string{"secret": a.secret, "token": sb.Slack.Token(), "api": sb.Slack.APIURL()})
	a.url = a.listening()
	sb.Slack.SetTarget(a.url)
	return a
}

// tells fails unless the app's handlers got exactly this next.
func (a *boltApp) tells(want ...map[string]string) {
	a.t.Helper()
	for _, w := range want {
		var got map[string]string
		if !a.next(&got) {
			a.t.Fatalf("the app has ended before %v", w)
		}
		if diff := cmp.Diff(w, got); diff != "" {
			a.t.Fatalf("the app's handler (-want +got):\n%s", diff)
		}
	}
}

// TestBoltVerifies: what the stand-in for Slack signs gets to the handlers of an
// app made with Bolt, and what that answers and calls is to the stand-in's taste.
func TestBoltVerifies(t *testing.T) {
	a := startBoltApp(t)
	ctx := t.Context()
	if err := a.slack.VerifyURL(ctx); err != nil {
		t.Error(err)
	}

	reply, err := a.slack.Command(ctx, fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "scan s3 & more")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message == nil || reply.Message.Text != "A moment." {
		t.Errorf("the command's answer: %+v", reply.Message)
	}
	a.tells(map[string]string{"command": "scan s3 & more", "by": fakeslack.Alice}, map[string]string{"said": "A question"})

	posted := a.slack.Messages(fakeslack.ChannelSecurity)
	if len(posted) != 1 {
		t.Fatalf("%d messages, want one", len(posted))
	}
	if _, err := a.slack.Click(ctx, fakeslack.Alice, fakeslack.ChannelSecurity, posted[0].TS, "fix"); err != nil {
		t.Fatal(err)
	}
	a.tells(map[string]string{"action": "v1", "block": "b1", "by": fakeslack.Alice}, map[string]string{"opened": "ignore"})
	if seen := a.slack.Ephemerals(fakeslack.Alice); len(seen) != 2 || seen[1].Text != "Noted." {
		t.Errorf("what the response URL was given: %+v", seen)
	}

	views := a.slack.Views(fakeslack.Alice)
	if len(views) != 1 {
		t.Fatalf("%d modals, want one", len(views))
	}
	sub, err := a.slack.SubmitView(ctx, fakeslack.Alice, views[0].ID, url.Values{"reason": {"no"}})
	if err != nil || sub.Errors["reason"] == "" || sub.View == nil {
		t.Errorf("a reason that the app refuses: %+v, %v", sub, err)
	}
	sub, err = a.slack.SubmitView(ctx, fakeslack.Alice, views[0].ID, url.Values{"reason": {"meant “so”"}})
	if err != nil || sub.View != nil {
		t.Errorf("a reason that it takes: %+v, %v", sub, err)
	}
	a.tells(map[string]string{"view": "no", "memory": "kept", "by": fakeslack.Alice}, map[string]string{"view": "meant “so”", "memory": "kept", "by": fakeslack.Alice})

	if _, err := a.slack.OpenHome(ctx, fakeslack.Alice); err != nil {
		t.Fatal(err)
	}
	a.tells(map[string]string{"home": fakeslack.Alice})
	if _, ok := a.slack.Home(fakeslack.Alice); !ok {
		t.Error("the app's home is not shown")
	}
}

// TestBoltRefuses: what is forged gets to no handler of Bolt's.
func TestBoltRefuses(t *testing.T) {
	a := startBoltApp(t)
	ctx := t.Context()
	forgers := map[string]*fakeslack.Slack{
		"another secret":  fakeslack.New(fakeslack.Options{Target: a.url, SigningSecret: "another"}),
		"six minutes old": fakeslack.New(fakeslack.Options{Target: a.url, SigningSecret: a.secret, SignNow: func() time.Time { return time.Now().Add(-6 * time.Minute) }}),
	}
	for name, forger := range forgers {
		_, err := forger.Command(ctx, fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", name)
		refusedByBolt(t, name+", a command", err)
		_, err = forger.SendInteraction(ctx, []byte(`{"type":"block_actions","user":{"id":"U0ALICE"},"actions":[{"type":"button","action_id":"fix","value":"v1"}]}`))
		refusedByBolt(t, name+", a click", err)
		refusedByBolt(t, name+", a challenge", forger.VerifyURL(ctx))
	}
	refusedByBolt(t, "another body", a.sendChanged())

	// What they sent would have been told before this.
	if _, err := a.slack.Command(ctx, fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "help"); err != nil {
		t.Fatal(err)
	}
	a.tells(map[string]string{"command": "help", "by": fakeslack.Alice})
}

// sendChanged posts a command whose body was changed after it was signed.
func (a *boltApp) sendChanged() error {
	body := url.Values{"command": {"/secbot"}, "text": {"undo 1"}, "user_id": {fakeslack.Alice}, "channel_id": {fakeslack.ChannelSecurity}, "team_id": {fakeslack.TeamID}}.Encode()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+"/slack/commands", strings.NewReader(strings.Replace(body, "undo+1", "undo+2", 1)))
	if err != nil {
		return err
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", now)
	req.Header.Set("X-Slack-Signature", fakeslack.Sign(a.secret, now, []byte(body)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the answer: %w", &fakeslack.AckError{Status: resp.StatusCode})
}

func refusedByBolt(t *testing.T, what string, err error) {
	t.Helper()
	var refused *fakeslack.AckError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("%s: %v, want a refusal with 401", what, err)
	}
}
