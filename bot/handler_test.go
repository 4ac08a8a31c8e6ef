package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// raw sends a request of one's own making and gives status and body.
func (r *rig) raw(method, path, body string, header map[string]string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.server.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func signed(secret, body string, when time.Time) map[string]string {
	ts := strconv.FormatInt(when.Unix(), 10)
	return map[string]string{"X-Slack-Request-Timestamp": ts, "X-Slack-Signature": fakeslack.Sign(secret, ts, []byte(body))}
}

func TestOnlySignedRequestsGetThrough(t *testing.T) {
	r := newRig(t)
	const body = "command=%2Fsecbot&text=scan&user_id=U0ALICE&trigger_id=1"
	now := time.Now()
	good := signed(r.slack.Secret(), body, now)
	other := map[string]string{"X-Slack-Request-Timestamp": good["X-Slack-Request-Timestamp"], "X-Slack-Signature": "v0=zz"}
	for name, c := range map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
		says               string
	}{
		"signed":             {"POST", "/slack/commands", body, good, 200, "On it"},
		"unsigned":           {"POST", "/slack/commands", body, nil, 401, "not signed"},
		"other secret":       {"POST", "/slack/commands", body, signed("x", body, now), 401, "SLACK_SIGNING_SECRET"},
		"changed body":       {"POST", "/slack/commands", body + "0", good, 401, "SLACK_SIGNING_SECRET"},
		"malformed":          {"POST", "/slack/interactions", body, other, 401, "SLACK_SIGNING_SECRET"},
		"too old":            {"POST", "/slack/commands", body, signed(r.slack.Secret(), body, now.Add(-6*time.Minute)), 401, "five minutes"},
		"from the future":    {"POST", "/slack/events", "{}", signed(r.slack.Secret(), "{}", now.Add(6*time.Minute)), 401, "five minutes"},
		"ssl_check":          {"POST", "/slack/commands", "ssl_check=1&token=x", nil, 200, ""},
		"ssl_check as GET":   {"GET", "/slack/commands?ssl_check=1", "", nil, 200, ""},
		"ssl_check=0":        {"POST", "/slack/commands", "ssl_check=0", nil, 401, ""},
		"ssl_check within":   {"POST", "/slack/commands", "text=ssl_check%3D1ssl_check=1", nil, 401, ""},
		"GET":                {"GET", "/slack/commands", "", good, 405, ""},
		"PUT":                {"PUT", "/slack/interactions", body, good, 405, ""},
		"too large":          {"POST", "/slack/commands", strings.Repeat("x", maxBody+1), good, 413, "1 MiB"},
		"no payload":         {"POST", "/slack/interactions", body, good, 400, "payload"},
		"no user":            {"POST", "/slack/commands", "text=scan", signed(r.slack.Secret(), "text=scan", now), 400, "slash command"},
		"an event not JSON":  {"POST", "/slack/events", "x", signed(r.slack.Secret(), "x", now), 400, "Events API"},
		"payload not JSON":   {"POST", "/slack/interactions", "payload=x", signed(r.slack.Secret(), "payload=x", now), 400, "payload"},
		"payload of nothing": {"POST", "/slack/interactions", `payload={"type":"block_actions"}`, signed(r.slack.Secret(), `payload={"type":"block_actions"}`, now), 400, "no action"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := r.raw(c.method, c.path, c.body, c.header)
			if status != c.status || !strings.Contains(answer, c.says) {
				t.Errorf("%d %q, want %d and %q", status, answer, c.status, c.says)
			}
		})
	}
	if got := len(r.engine.commands()); got != 1 {
		t.Errorf("%d commands were submitted, want the signed one alone", got)
	}
}

func TestWithoutSecretEverythingIsRefused(t *testing.T) {
	r := newRig(t)
	r.handler.SigningSecret = ""
	status, answer := r.raw("POST", "/slack/commands", "text=scan", signed("", "text=scan", time.Now()))
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, "SLACK_SIGNING_SECRET") {
		t.Errorf("%d %q", status, answer)
	}
	if status, _ := r.raw("POST", "/slack/commands", "ssl_check=1", nil); status != http.StatusOK {
		t.Errorf("ssl_check: %d", status)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	if err := r.slack.VerifyURL(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.slack.OpenHome(t.Context(), fakeslack.Alice); err != nil {
		t.Error(err)
	}
}

func TestClickIsStoredBeforeItIsAnswered(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	first, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.slack.SendInteraction(t.Context(), first.Payload); err != nil {
		t.Fatal(err)
	}
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); err != nil {
		t.Fatal(err)
	}
	got := r.engine.commands()
	if len(got) != 3 || got[0].ID != got[1].ID || got[0].ID == got[2].ID {
		t.Fatalf("the ids must be equal for a repeated delivery alone: %+v", got)
	}
	state := 1
	want := remediation.Command{ID: got[0].ID, Verb: remediation.VerbFix, Incident: incidentID, State: &state, By: fakeslack.Alice,
		ReplyTo: remediation.ReplyTo{ResponseURL: got[0].ReplyTo.ResponseURL, Channel: m.Channel, User: fakeslack.Alice}}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if got[0].ReplyTo.ResponseURL == "" {
		t.Error("the response URL is missing")
	}
}

func TestEveryButtonIsSubmitted(t *testing.T) {
	for name, verb := range map[string]remediation.Verb{"fixed-auto": "undo", "failed": "retry", "ignored": "unignore"} {
		r := newRig(t)
		v := states()[name]()
		m := r.shown(v.inc)
		if _, err := r.slack.Click(t.Context(), fakeslack.Bob, m.Channel, m.TS, string(verb)); err != nil {
			t.Fatal(err)
		}
		got := r.engine.commands()
		if len(got) != 1 || got[0].Verb != verb || *got[0].State != v.inc.State() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestClickThatCannotBeStored(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.engine.err = errors.New("disk full")
	_, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
	if !isStatus(err, http.StatusInternalServerError) {
		t.Errorf("acknowledged: %v", err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "nothing was changed") {
		t.Errorf("told %q", got)
	}
}

// TestSlowStore: the answer leaves in time though the store hangs.
func TestSlowStore(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.engine.block = make(chan struct{})
	defer close(r.engine.block)
	_, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix") // gives up after Slack's 3 s
	if !isStatus(err, http.StatusInternalServerError) {
		t.Errorf("want a 500 in time, got %v", err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "nothing was changed") {
		t.Errorf("told %q", got)
	}
}

// tampered changes a captured click.
func tampered(t *testing.T, payload []byte, change func(map[string]any)) []byte {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	change(p)
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func action(p map[string]any) map[string]any { return p["actions"].([]any)[0].(map[string]any) }

func TestClicksThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		says   string
	}{
		"unknown button":   {func(p map[string]any) { action(p)["action_id"] = "<!channel>" }, "does not know the button `&lt;!channel&gt;`"},
		"no incident":      {func(p map[string]any) { action(p)["value"] = "" }, "names no incident"},
		"hostile incident": {func(p map[string]any) { action(p)["value"] = "<!here> x" }, "names no incident"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			m := r.shown(incident(opened()))
			ack, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
			if err != nil {
				t.Fatal(err)
			}
			before := len(r.engine.commands())
			if _, err := r.slack.SendInteraction(t.Context(), tampered(t, ack.Payload, c.change)); err != nil {
				t.Fatal(err)
			}
			if got := r.whisper(fakeslack.Alice); !strings.Contains(got, c.says) {
				t.Errorf("told %q, want %q", got, c.says)
			}
			if after := len(r.engine.commands()); after != before {
				t.Error("it was submitted all the same")
			}
		})
	}
}

func TestOtherBlocksStateIsUnknown(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	ack, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.slack.SendInteraction(t.Context(), tampered(t, ack.Payload, func(p map[string]any) { action(p)["block_id"] = "inc:other:s1" })); err != nil {
		t.Fatal(err)
	}
	if got := r.engine.commands(); len(got) != 2 || got[1].State != nil {
		t.Errorf("%+v", got)
	}
}

func TestOtherInteractionsAreAcknowledged(t *testing.T) {
	r := newRig(t)
	for _, payload := range []string{`{"type":"block_suggestion"}`, `{"type":"view_closed","user":{"id":"U0ALICE"}}`, `{"type":"shortcut"}`} {
		if _, err := r.slack.SendInteraction(t.Context(), []byte(payload)); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
	if _, err := r.slack.SendInteraction(t.Context(), []byte(`{"type":"view_submission","user":{"id":"U0ALICE"},"view":{"callback_id":"other"}}`)); err != nil {
		t.Error(err)
	}
	told := r.slack.Messages(fakeslack.DirectID(fakeslack.Alice)) // a form belongs to no channel
	if len(told) != 1 || !strings.Contains(told[0].Text, "does not know that form") {
		t.Errorf("told %+v", told)
	}
}

// ignoreForm clicks Ignore… and gives the modal.
func ignoreForm(t *testing.T, r *rig) fakeslack.View {
	t.Helper()
	m := r.shown(incident(opened()))
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "ignore"); err != nil {
		t.Fatal(err)
	}
	views := r.slack.Views(fakeslack.Alice)
	if len(views) != 1 {
		t.Fatalf("%d modals are open", len(views))
	}
	return views[0]
}

func TestIgnoreModal(t *testing.T) {
	for value, d := range map[string]time.Duration{"1h": time.Hour, "24h": day, "7d": 7 * day, "30d": 30 * day, "forever": 0} {
		r := newRig(t)
		v := ignoreForm(t, r)
		sub, err := r.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"duration": {value}, "reason": {" it is\nmeant so "}})
		if err != nil || sub.View != nil {
			t.Fatalf("%s: %+v %v", value, sub, err)
		}
		got := r.engine.commands()
		if len(got) != 1 || got[0].Verb != remediation.VerbIgnore || got[0].For != d || got[0].Reason != "it is meant so" ||
			got[0].Incident != incidentID || got[0].By != fakeslack.Alice || *got[0].State != 1 || got[0].ReplyTo.ResponseURL == "" {
			t.Errorf("%s: %+v", value, got)
		}
	}
}

func TestIgnoreModalFaultsStandBesideTheInput(t *testing.T) {
	r := newRig(t)
	v := ignoreForm(t, r)
	sub, err := r.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"reason": {" \n "}})
	if err != nil || sub.Errors["reason"] == "" || sub.View == nil {
		t.Errorf("a blank reason: %+v %v", sub, err)
	}
	r.engine.err = errors.New("disk full")
	sub, err = r.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"reason": {"meant so"}})
	if err != nil || !strings.Contains(sub.Errors["reason"], "nothing was changed") || sub.View == nil {
		t.Errorf("not stored: %+v %v", sub, err)
	}
	r.engine.err = nil
	if sub, err = r.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"reason": {"meant so"}}); err != nil || sub.View != nil {
		t.Errorf("again: %+v %v", sub, err)
	}
	if len(r.engine.commands()) != 1 {
		t.Errorf("%+v", r.engine.commands())
	}
}

func TestNoModalForWhomItIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*rig, *remediation.Incident)
		says    string
	}{
		"stranger": {func(r *rig, _ *remediation.Incident) {
			r.engine.denied = &remediation.DeniedError{By: fakeslack.Mallory, Approvers: []string{"S0RESPOND"}}
		}, "You are not one of the people"},
		"nobody can tell": {func(r *rig, _ *remediation.Incident) {
			r.engine.denied = &remediation.RefusedError{Text: "secbot could not ask Slack"}
		}, "could not ask Slack"},
		"another error": {func(r *rig, _ *remediation.Incident) { r.engine.denied = context.DeadlineExceeded }, "could not find out"},
		"outdated": {func(r *rig, inc *remediation.Incident) {
			inc.History = append(inc.History, step(remediation.StatusIgnored, fakeslack.Bob, "x"))
			inc.Status = remediation.StatusIgnored
			r.save(inc)
		}, "out of date"},
		"Slack fails": {func(r *rig, _ *remediation.Incident) {
			r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
				if c.Method == "views.open" {
					return &fakeslack.Fault{Error: "expired_trigger_id"}
				}
				return nil
			})
		}, "/secbot ignore " + incidentID + " for 7d because"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			inc := incident(opened())
			m := r.shown(inc)
			c.prepare(r, inc)
			if _, err := r.slack.Click(t.Context(), fakeslack.Mallory, m.Channel, m.TS, "ignore"); err != nil {
				t.Fatal(err)
			}
			if got := r.whisper(fakeslack.Mallory); !strings.Contains(got, c.says) {
				t.Errorf("told %q, want %q", got, c.says)
			}
			if len(r.slack.Views(fakeslack.Mallory)) > 0 || len(r.engine.commands()) > 0 {
				t.Error("a modal was opened or a command submitted")
			}
		})
	}
}

// TestModalIsOpenedInTimeOrNot: Slack's API hangs, and the click is answered
// all the same.
func TestModalWhileSlackHangs(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method == "views.open" {
			return &fakeslack.Fault{Delay: time.Hour}
		}
		return nil
	})
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "ignore"); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "/secbot ignore") {
		t.Errorf("told %q", got)
	}
}

func TestClickOnUnknownIncident(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	ack, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "ignore")
	if err != nil {
		t.Fatal(err)
	}
	payload := tampered(t, ack.Payload, func(p map[string]any) { action(p)["value"] = "01JQ0000000000000000000000" })
	if _, err := r.slack.SendInteraction(t.Context(), payload); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "There is no incident") {
		t.Errorf("told %q", got)
	}
}

// typed types a command and gives the ephemeral answer's JSON.
func (r *rig) typed(text string) string {
	r.t.Helper()
	form := url.Values{"command": {"/secbot"}, "text": {text}, "user_id": {fakeslack.Alice}, "channel_id": {fakeslack.ChannelSecurity},
		"trigger_id": {"1.2." + text}, "response_url": {"http://127.0.0.1:1/x"}, "team_id": {fakeslack.TeamID}}
	body := form.Encode()
	status, answer := r.raw("POST", "/slack/commands", body, signed(r.slack.Secret(), body, time.Now()))
	if status != http.StatusOK {
		r.t.Fatalf("%q: %d %s", text, status, answer)
	}
	var a struct {
		ResponseType string          `json:"response_type"`
		Text         string          `json:"text"`
		Blocks       json.RawMessage `json:"blocks"`
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil || a.ResponseType != "ephemeral" {
		r.t.Fatalf("%q: %v: %s", text, err, answer)
	}
	checkMessage(r.t, []byte(answer))
	return unescaped(r.t, a.Blocks)
}

// unescaped writes JSON without \u003c and the like, to be searched.
func unescaped(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return string(encoded(t, v))
}

func TestCommandsAnswer(t *testing.T) {
	r := newRig(t)
	twin := incident(opened())
	twin.ID, twin.Key = "01JQ8Z5N6X7W9V4T3R00000000", "other"
	r.save(incident(opened()), twin)
	for text, says := range map[string]string{
		"":                                "/secbot ignore ID [resource|playbook|account] for 7d because",
		"help":                            "/secbot scan [s3|sg|all]",
		"incidents":                       "2P1M0K8H",
		"incidents fixed":                 "No incidents.",
		"show " + incidentID:              "*History*",
		"show 2p1m0k8h":                   "*History*",
		"show 01JQ8Z":                     "may be any of",
		"show 01JQ0000000000000000000000": "There is no incident",
		"fix ZZZZZZZZ":                    "There is no incident",
		"shwo x":                          `Did you mean \"show\"?`,
		"<!channel>":                      "&lt;!channel&gt;",
		"scan":                            "On it",
		"fix 2P1M0K8H":                    "On it: revert the change of `web` (`sg-0abc`) (incident `" + incidentID + "`)",
		"undo " + incidentID:              "On it: undo the fix of `web`",
		"unignore " + incidentID:          "On it: take back the ignore",
		"allow 2P1M0K8H for 3h because of a vendor": "On it: allow `web` (`sg-0abc`) (incident `" + incidentID + "`) for 3 hours",
		"allow 2P1M0K8H for 3d":                     "24 hours at most",
		"allow":                                     "takes the id",
		"approve 2P1M0K8H":                          "On it: approve what was asked for",
		"decline 2P1M0K8H":                          "On it: decline what was asked for",
		"/secbot incidents fixed":                   "No incidents.",
		"ignore 2P1M0K8H for 7d because <!here>":    "On it: ignore `web` (`sg-0abc`) (incident `" + incidentID + "`) for 1 week, because &lt;!here&gt;",
	} {
		if got := r.typed(text); !strings.Contains(got, says) {
			t.Errorf("%q: %s, want %q", text, got, says)
		}
	}
	verbs := map[remediation.Verb]remediation.Command{}
	for _, c := range r.engine.commands() {
		verbs[c.Verb] = c
	}
	if len(r.engine.commands()) != 8 || len(verbs) != 8 {
		t.Fatalf("submitted: %+v", r.engine.commands())
	}
	got := verbs[remediation.VerbIgnore]
	want := remediation.Command{ID: got.ID, Verb: remediation.VerbIgnore, Incident: incidentID, By: fakeslack.Alice, Reason: "<!here>", For: 7 * day,
		ReplyTo: remediation.ReplyTo{ResponseURL: "http://127.0.0.1:1/x", Channel: fakeslack.ChannelSecurity, User: fakeslack.Alice, NotBefore: got.ReplyTo.NotBefore}}
	if got.ReplyTo.NotBefore.IsZero() {
		t.Error("the answer may overtake the acknowledgement")
	}
	if got := verbs[remediation.VerbAllow]; got.For != 3*time.Hour || got.Reason != "of a vendor" {
		t.Errorf("allow: %+v", got)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ignore (-want +got):\n%s", diff)
	}
}

// TestOnItOnlyWhereItMayBe: what will be refused is stored, and nobody is told before
// that it is done.
func TestOnItOnlyWhereItMayBe(t *testing.T) {
	r := newRig(t)
	r.save(incident(opened()))
	r.engine.denied = &remediation.DeniedError{By: fakeslack.Alice, Approvers: []string{"S0RESPOND"}}
	for _, text := range []string{"fix " + incidentID, "pause", "undo " + incidentID} {
		if got := r.typed(text); strings.Contains(got, "On it") || !strings.Contains(got, "which may not be possible") {
			t.Errorf("%s: %s", text, got)
		}
	}
	if n := len(r.engine.commands()); n != 3 {
		t.Errorf("%d of them were stored, of which the log would tell", n)
	}
}

func TestCommandThatCannotBeStored(t *testing.T) {
	r := newRig(t)
	r.engine.err = errors.New("disk full")
	if got := r.typed("scan"); !strings.Contains(got, "nothing was changed") {
		t.Errorf("%s", got)
	}
}

func TestStoreCannotBeRead(t *testing.T) {
	r := newRig(t)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"incidents", "show " + incidentID, "fix " + incidentID} {
		if got := r.typed(text); !strings.Contains(got, "could not read its store") {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestSecretsStayOut: response URLs and the signing secret are in no log.
func TestSecretsStayOut(t *testing.T) {
	r := newRig(t)
	var log bytes.Buffer
	r.handler.Log = newLog(&log)
	m := r.shown(incident(opened()))
	r.engine.err = errors.New("disk full")
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault { return &fakeslack.Fault{Drop: true} })
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); !isStatus(err, http.StatusInternalServerError) {
		t.Fatal(err)
	}
	if log.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	for _, secret := range []string{r.slack.Secret(), r.slack.Token(), "/response/"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is logged: %s", secret, log.String())
		}
	}
}

// TestReplayedRequestIsOneCommand: who records a signed request and sends it again
// within Slack's five minutes brings nothing new about: the command has the same
// id, and the engine stores an id once.
func TestReplayedRequestIsOneCommand(t *testing.T) {
	r := newRig(t)
	inc := incident(opened())
	r.save(inc)
	click := url.Values{"payload": {`{"type":"block_actions","user":{"id":"U0ALICE","team_id":"T0ACME"},"team":{"id":"T0ACME"},"trigger_id":"1.2",` +
		`"container":{"channel_id":"C0SECURITY","message_ts":"1.1"},"actions":[{"type":"button","action_id":"fix","block_id":"x","value":"` + inc.ID + `","action_ts":"17.1"}]}`}}.Encode()
	for path, body := range map[string]string{
		"/slack/commands":     "command=%2Fsecbot&text=scan&user_id=U0ALICE&team_id=T0ACME&trigger_id=1",
		"/slack/interactions": click,
	} {
		before := len(r.engine.commands())
		header := signed(r.slack.Secret(), body, time.Now())
		for range 2 {
			if status, answer := r.raw("POST", path, body, header); status != http.StatusOK {
				t.Fatalf("%s: %d %s", path, status, answer)
			}
		}
		got := r.engine.commands()[before:]
		if len(got) != 2 || got[0].ID != got[1].ID {
			t.Errorf("%s: two deliveries are the commands %+v", path, got)
		}
	}
}
