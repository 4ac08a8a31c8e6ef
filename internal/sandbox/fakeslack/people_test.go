package fakeslack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

// TestSign uses the worked example of Slack's documentation on verifying
// requests.
func TestSign(t *testing.T) {
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
		"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com" +
		"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	got := Sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", []byte(body))
	if want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestClick(t *testing.T) {
	w := newWorkspace(t, Options{})
	parent := w.post(slack.MsgOptionText("parent", false))
	ts := w.post(slack.MsgOptionText("open", false), question(), slack.MsgOptionTS(parent))
	ack, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix")
	if err != nil {
		t.Fatal(err)
	}
	if want := (&Confirm{Title: "Revert?", Text: "The rule goes.", Confirm: "Revert", Deny: "Cancel"}); !cmp.Equal(ack.Confirm, want) {
		t.Errorf("confirm %+v", ack.Confirm)
	}
	got := w.bot.interaction()
	if got.Type != slack.InteractionTypeBlockActions || got.User.ID != Alice || got.User.TeamID != TeamID || got.User.Name != "" || got.Team.ID != TeamID {
		t.Errorf("who: %+v %+v", got.User, got.Team)
	}
	if got.Channel.ID != ChannelSecurity || got.Message.Timestamp != ts || got.Message.ThreadTimestamp != parent || got.Container.MessageTs != ts {
		t.Errorf("where: %+v %+v", got.Channel, got.Container)
	}
	if len(got.ActionCallback.BlockActions) != 1 {
		t.Fatalf("actions %+v", got.ActionCallback)
	}
	a := got.ActionCallback.BlockActions[0]
	if a.ActionID != "fix" || a.BlockID != "open-1" || a.Value != "01INCIDENT" || a.Text.Text != "Revert Change" || a.Type != "button" || a.ActionTs == "" {
		t.Errorf("action %+v", a)
	}
	if got.TriggerID == "" || got.TriggerID != ack.Trigger || !strings.HasPrefix(got.ResponseURL, strings.TrimSuffix(w.APIURL(), "api/")+"response/") {
		t.Errorf("trigger %q, response url %q", got.TriggerID, got.ResponseURL)
	}
	var shape map[string]any
	if err := json.Unmarshal(ack.Payload, &shape); err != nil {
		t.Fatal(err)
	}
	if v, ok := shape["enterprise"]; !ok || v != nil {
		t.Error("enterprise is not null")
	}
	if action := shape["actions"].([]any)[0].(map[string]any); action["style"] != "danger" {
		t.Errorf("style %v", action["style"])
	}
}

func TestClickOverflow(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(question())
	for _, wanted := range []string{"runbook", "more=runbook"} {
		if _, err := w.Click(ctx(t), Bob, ChannelSecurity, ts, wanted); err != nil {
			t.Fatal(err)
		}
		a := w.bot.interaction().ActionCallback.BlockActions[0]
		if a.ActionID != "more" || a.Type != "overflow" || a.SelectedOption.Value != "runbook" || a.SelectedOption.Text.Text != "Runbook" {
			t.Errorf("action %+v", a)
		}
	}
	var missing *NoButtonError
	_, err := w.Click(ctx(t), Bob, ChannelSecurity, ts, "undo")
	if !errors.As(err, &missing) || !cmp.Equal(missing.Have, []string{"fix", "ignore", "more=evidence", "more=runbook"}) {
		t.Errorf("no such button: %v", err)
	}
}

func TestClickStale(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(question())
	captured, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, ts, slack.MsgOptionText("done", false), slack.MsgOptionBlocks(slack.NewDividerBlock())); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Click(ctx(t), Bob, ChannelSecurity, ts, "fix"); err == nil {
		t.Error("a button that is gone was clicked")
	}
	m, _ := w.Message(ChannelSecurity, ts)
	if _, err := w.ClickStale(ctx(t), Bob, m.At(0), "fix"); err != nil {
		t.Fatal(err)
	}
	got := w.bot.interaction()
	if a := got.ActionCallback.BlockActions[0]; got.User.ID != Bob || a.BlockID != "open-1" || got.Message.Timestamp != ts {
		t.Errorf("stale click %+v", a)
	}
	if _, err := w.SendInteraction(ctx(t), captured.Payload); err != nil {
		t.Fatal(err)
	}
	if got := w.bot.interaction(); got.User.ID != Alice || got.TriggerID != captured.Trigger {
		t.Errorf("replayed payload of %s", got.User.ID)
	}
}

func TestClickEphemeral(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts, err := w.client.PostEphemeral(ChannelSecurity, Alice, question())
	if err != nil {
		t.Fatal(err)
	}
	ack, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "ignore")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(ack.Payload, []byte(`"message":{`)) || !bytes.Contains(ack.Payload, []byte(`"is_ephemeral":true`)) {
		t.Errorf("payload %s", ack.Payload)
	}
	if _, err := w.Click(ctx(t), Bob, ChannelSecurity, ts, "ignore"); err == nil {
		t.Error("another person clicked an ephemeral")
	}
}

func TestAcknowledgement(t *testing.T) {
	w := newWorkspace(t, Options{AckTimeout: 30 * time.Millisecond})
	ts := w.post(question())
	w.bot.mu.Lock()
	w.bot.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	w.bot.mu.Unlock()
	ack, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix")
	if !errors.Is(err, ErrNoAck) || ack.Took < 30*time.Millisecond {
		t.Errorf("slow: %v after %v", err, ack.Took)
	}
	gone, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := w.Click(gone, Alice, ChannelSecurity, ts, "fix"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoAck) {
		t.Errorf("cancelled: %v", err)
	}
	w.bot.mu.Lock()
	w.bot.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you", http.StatusUnauthorized) }
	w.bot.mu.Unlock()
	ack, err = w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix")
	var status *AckError
	if !errors.As(err, &status) || status.Status != 401 || ack.Status != 401 {
		t.Errorf("status: %v", err)
	}
	w.SetTarget("")
	if _, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix"); err == nil {
		t.Error("a click without a bot")
	}
}

func TestStaleSignature(t *testing.T) {
	s := New(Options{SignNow: func() time.Time { return time.Now().Add(-time.Hour) }})
	refused := make(chan error, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := slack.NewSecretsVerifier(r.Header, s.Secret())
		refused <- err
	}))
	defer app.Close()
	s.SetTarget(app.URL)
	if _, err := s.OpenHome(ctx(t), Alice); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; !errors.Is(err, slack.ErrExpiredTimestamp) {
		t.Errorf("verifier says %v", err)
	}
}

func TestCommand(t *testing.T) {
	w := newWorkspace(t, Options{})
	w.bot.answersJSON(map[string]any{"response_type": "ephemeral", "text": "scanning"})
	reply, err := w.Command(ctx(t), Alice, ChannelSecurity, "/secbot", "scan s3 & sg")
	if err != nil {
		t.Fatal(err)
	}
	last := w.bot.last()
	r := httptest.NewRequest(http.MethodPost, last.path, stringReader(last.body))
	r.Header = last.header
	got, err := slack.SlashCommandParse(r)
	if err != nil {
		t.Fatal(err)
	}
	want := slack.SlashCommand{
		Token: "deprecated", TeamID: TeamID, TeamDomain: TeamDomain, ChannelID: ChannelSecurity, ChannelName: "security",
		UserID: Alice, UserName: "alice", Command: "/secbot", Text: "scan s3 & sg", APIAppID: AppID,
		TriggerID: reply.Trigger, ResponseURL: reply.ResponseURL,
	}
	if diff := cmp.Diff(want, got); diff != "" || last.path != "/slack/commands" {
		t.Errorf("%s: %s", last.path, diff)
	}
	if seen := w.Ephemerals(Alice); len(seen) != 1 || seen[0].Text != "scanning" || reply.Message.TS != seen[0].TS {
		t.Errorf("alice sees %+v", seen)
	}
}

func TestCommandAnswers(t *testing.T) {
	tests := []struct {
		name, contentType, body   string
		ephemeral, public, errors bool
	}{
		{"nothing", "text/plain", "", false, false, false},
		{"empty object", "application/json", "{}", false, false, false},
		{"plain text", "text/plain; charset=utf-8", "hello", true, false, false},
		{"json", "application/json; charset=utf-8", `{"text":"hello"}`, true, false, false},
		{"in the channel", "application/json", `{"text":"hello","response_type":"in_channel"}`, false, true, false},
		{"blocks", "application/json", `{"blocks":[{"type":"divider"}]}`, true, false, false},
		{"bad blocks", "application/json", `{"blocks":[{"type":"carrot"}]}`, false, false, true},
		{"broken json", "application/json", `{"text":`, false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkspace(t, Options{})
			w.bot.answers(tt.contentType, tt.body)
			_, err := w.Command(ctx(t), Alice, "#security", "/secbot", "help")
			if (err != nil) != tt.errors {
				t.Errorf("error %v", err)
			}
			if got := len(w.Ephemerals(Alice)) == 1; got != tt.ephemeral {
				t.Errorf("ephemerals %+v", w.Ephemerals(Alice))
			}
			if got := len(w.Messages(ChannelSecurity)) == 1; got != tt.public {
				t.Errorf("messages %+v", w.Messages(ChannelSecurity))
			}
		})
	}
}

// respond posts to a response URL as slack-go does.
func (w *workspace) respond(responseURL string, options ...slack.MsgOption) error {
	_, _, err := w.client.PostMessage("", append(options, slack.MsgOptionResponseURL(responseURL, slack.ResponseTypeEphemeral))...)
	return err
}

func TestResponseURL(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(slack.MsgOptionText("open", false), question())
	if _, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix"); err != nil {
		t.Fatal(err)
	}
	to := w.bot.interaction().ResponseURL
	if err := w.respond(to, slack.MsgOptionText("only you", false)); err != nil {
		t.Fatal(err)
	}
	if seen := w.Ephemerals(Alice); len(seen) != 1 || seen[0].Text != "only you" {
		t.Errorf("alice sees %+v", seen)
	}
	_, _, err := w.client.PostMessage("", slack.MsgOptionText("for all", false), slack.MsgOptionResponseURL(to, slack.ResponseTypeInChannel))
	if err != nil || len(w.Messages(ChannelSecurity)) != 2 {
		t.Errorf("in the channel: %v, %+v", err, w.Messages(ChannelSecurity))
	}
	if err := w.respond(to, slack.MsgOptionText("replaced", false), slack.MsgOptionReplaceOriginal(to)); err != nil {
		t.Fatal(err)
	}
	if m, _ := w.Message(ChannelSecurity, ts); m.Text != "replaced" || m.Blocks != nil || m.At(0).Text != "open" {
		t.Errorf("replaced: %+v", m)
	}
	if err := w.respond(to, slack.MsgOptionDeleteOriginal(to)); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Message(ChannelSecurity, ts); ok {
		t.Error("the original is still there")
	}
	if err := w.respond(to, slack.MsgOptionBlocks(slack.NewHeaderBlock(plain("")))); err == nil {
		t.Error("invalid blocks went through")
	}
	if err := w.respond(to, slack.MsgOptionText("a sixth", false)); err == nil {
		t.Error("a sixth use went through")
	}
	if calls := w.Calls(); calls[len(calls)-1].Error != "used_url" || calls[len(calls)-2].Error != "invalid_blocks" {
		t.Errorf("calls %+v", calls[len(calls)-2:])
	}
}

func TestResponseURLOfEphemeral(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts, err := w.client.PostEphemeral(ChannelSecurity, Alice, question())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "fix"); err != nil {
		t.Fatal(err)
	}
	to := w.bot.interaction().ResponseURL
	_, _, err = w.client.PostMessage("", slack.MsgOptionText("new", false), slack.MsgOptionReplaceOriginal(to), slack.MsgOptionResponseURL(to, slack.ResponseTypeInChannel))
	if err != nil {
		t.Fatal(err)
	}
	if seen := w.Ephemerals(Alice); len(seen) != 1 || seen[0].Text != "new" || len(w.Messages(ChannelSecurity)) != 0 {
		t.Errorf("an ephemeral left its place: %+v", seen)
	}
	if err := w.respond(to, slack.MsgOptionDeleteOriginal(to)); err != nil || len(w.Ephemerals(Alice)) != 0 {
		t.Errorf("delete: %v, %+v", err, w.Ephemerals(Alice))
	}
}

func TestResponseURLExpires(t *testing.T) {
	w := newWorkspace(t, Options{})
	reply, err := w.Command(ctx(t), Alice, ChannelSecurity, "/secbot", "scan")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.add(30 * time.Minute)
	if err := w.respond(reply.ResponseURL, slack.MsgOptionText("in time", false)); err != nil {
		t.Error(err)
	}
	w.clock.add(time.Second)
	if err := w.respond(reply.ResponseURL, slack.MsgOptionText("too late", false)); err == nil {
		t.Error("taken after 30 minutes")
	}
}

func TestHome(t *testing.T) {
	w := newWorkspace(t, Options{})
	if _, err := w.OpenHome(ctx(t), Alice); err != nil {
		t.Fatal(err)
	}
	var event struct {
		Type  string
		Event struct{ Type, User, Tab, Channel string }
	}
	if err := json.Unmarshal([]byte(w.bot.last().body), &event); err != nil {
		t.Fatal(err)
	}
	if event.Type != "event_callback" || event.Event.Type != "app_home_opened" || event.Event.User != Alice || event.Event.Tab != "home" {
		t.Errorf("event %+v", event)
	}
	undo := slack.NewButtonBlockElement("undo", "01X", plain("Undo Fix"))
	home := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewActionBlock("home-1", undo)}}}
	shown, err := w.client.PublishView(Alice, home, "")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := w.Home(Alice); !ok || v.ID != shown.ID || len(v.Buttons()) != 1 {
		t.Errorf("home %+v", v)
	}
	if _, err := w.client.PublishView(Alice, home, "another"); code(err) != "hash_conflict" {
		t.Errorf("another hash: %v", err)
	}
	if again, err := w.client.PublishView(Alice, home, shown.Hash); err != nil || again.ID != shown.ID || again.Hash == shown.Hash {
		t.Errorf("again: %v", err)
	}
	if _, err := w.ClickView(ctx(t), Alice, shown.ID, "undo"); err != nil {
		t.Fatal(err)
	}
	if got := w.bot.interaction(); got.View.ID != shown.ID || got.Container.Type != "view" || got.ActionCallback.BlockActions[0].Value != "01X" {
		t.Errorf("click %+v", got.Container)
	}
	if err := w.VerifyURL(ctx(t)); err == nil {
		t.Error("a challenge that did not come back")
	}
	w.bot.mu.Lock()
	w.bot.answer = func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(w.bot.last().body)) }
	w.bot.mu.Unlock()
	if err := w.VerifyURL(ctx(t)); err != nil {
		t.Error(err)
	}
	if _, err := w.SendEvent(ctx(t), map[string]any{"type": "app_mention"}, 2); err != nil || w.bot.last().header.Get("X-Slack-Retry-Num") != "2" {
		t.Errorf("retry: %v, %v", err, w.bot.last().header)
	}
}

func TestUnknownPeople(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(question())
	_, click := w.Click(ctx(t), "U0NOBODY", ChannelSecurity, ts, "fix")
	_, channel := w.Click(ctx(t), Alice, "C0NOWHERE", ts, "fix")
	_, message := w.Click(ctx(t), Alice, ChannelSecurity, "1.000000", "fix")
	_, command := w.Command(ctx(t), "U0NOBODY", ChannelSecurity, "/secbot", "")
	_, place := w.Command(ctx(t), Alice, "C0NOWHERE", "/secbot", "")
	_, home := w.OpenHome(ctx(t), "U0NOBODY")
	_, view := w.ClickView(ctx(t), Alice, "V0NONE", "fix")
	_, submit := w.SubmitView(ctx(t), Alice, "V0NONE", url.Values{})
	_, closed := w.CloseView(ctx(t), Alice, "V0NONE")
	for i, err := range []error{click, channel, message, command, place, home, view, submit, closed} {
		if err == nil {
			t.Errorf("case %d went through", i)
		}
	}
	if n := w.bot.count(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestDirectMessage(t *testing.T) {
	w := newWorkspace(t, Options{})
	channel, ts, err := w.client.PostMessage(Alice, question())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Click(ctx(t), Alice, channel, ts, "fix"); err != nil {
		t.Fatal(err)
	}
	if got := w.bot.interaction(); got.Channel.ID != channel || got.Channel.Name != "directmessage" {
		t.Errorf("channel %+v", got.Channel)
	}
	if _, err := w.Command(ctx(t), Alice, channel, "/secbot", "help"); err != nil {
		t.Fatal(err)
	}
	if body := w.bot.last().body; !strings.Contains(body, "channel_name=directmessage") {
		t.Errorf("command %s", body)
	}
	if _, err := w.client.PostEphemeral(channel, Bob, slack.MsgOptionText("x", false)); code(err) != "user_not_in_channel" {
		t.Errorf("bob in alice's direct message: %v", err)
	}
}
