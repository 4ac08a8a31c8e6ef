package bot

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// fuzzMentions are what Slack would make of text that nobody has escaped.
var fuzzMentions = regexp.MustCompile(`<!(channel|here|everyone)|<!subteam\^SFUZZ|<@UFUZZ|<https?://evil`)

// FuzzSlack: whatever Slack's signature is on, or seems to be, an answer comes,
// nothing panics, and what comes in goes out as text alone. What is not signed
// gets nowhere.
func FuzzSlack(f *testing.F) {
	form := func(values ...string) string {
		v := url.Values{}
		for i := 0; i < len(values); i += 2 {
			v.Set(values[i], values[i+1])
		}
		return v.Encode()
	}
	slash := func(text string) string {
		return form("command", "/secbot", "text", text, "user_id", "U0ALICE", "team_id", "T0ACME", "channel_id", "C0SECURITY", "trigger_id", "1.2", "response_url", "http://127.0.0.1:1/x")
	}
	for _, text := range []string{"", "help", "scan s3", "incidents open", "show " + incidentID, "ignore " + incidentID + " for 7d because <!channel> *x*",
		"fix <https://evil|x>", "<@UFUZZ> `", "undo \x00", strings.Repeat("a ", 2000), "reset 111122223333"} {
		f.Add(uint8(0), slash(text))
	}
	for _, payload := range []string{
		`{"type":"block_actions","user":{"id":"U0ALICE"},"team":{"id":"T0ACME"},"trigger_id":"1.2","actions":[{"action_id":"fix","block_id":"x:1","value":"` + incidentID + `","action_ts":"1"}],"container":{"channel_id":"C0SECURITY","message_ts":"1.1"}}`,
		`{"type":"view_submission","user":{"id":"U0ALICE"},"view":{"callback_id":"ignore","private_metadata":"{}","state":{"values":{}}}}`,
		`{"type":"block_actions","user":{"id":"U0ALICE"},"team":{"id":"T0ACME"},"trigger_id":"1.2","actions":[{"action_id":"more","block_id":"x:1","selected_option":{"value":"evidence:` + incidentID + `"},"action_ts":"1"}],"container":{"channel_id":"C0SECURITY","message_ts":"1.1"}}`,
		`{"type":"shortcut"}`, `[]`, `{"type":"block_actions","actions":[null]}`,
	} {
		f.Add(uint8(1), form("payload", payload))
	}
	f.Add(uint8(2), `{"type":"url_verification","challenge":"<!channel>"}`)
	f.Add(uint8(2), `{"type":"event_callback","event":{"type":"app_mention"}}`)
	r := newRig(f)
	r.save(incident(opened()))
	paths := []string{"/slack/commands", "/slack/interactions", "/slack/events"}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		path := paths[int(which)%len(paths)]
		r.t = t
		before := len(r.engine.commands())
		if status, _ := r.raw(http.MethodPost, path, body, signed("guessed", body, time.Now())); status == http.StatusOK && !strings.Contains(body, "ssl_check") {
			t.Fatalf("what is not signed is answered with %d", status)
		}
		if n := len(r.engine.commands()); n != before {
			t.Fatal("what is not signed has an effect")
		}
		status, answer := r.raw(http.MethodPost, path, body, signed(r.slack.Secret(), body, time.Now()))
		if status >= 500 {
			t.Fatalf("%d %s", status, answer)
		}
		if len(answer) > 64<<10 {
			t.Fatalf("the answer has %d bytes", len(answer))
		}
		if status == http.StatusOK && strings.HasPrefix(answer, "{") && !json.Valid([]byte(answer)) {
			t.Fatalf("no JSON: %s", answer)
		}
		if path != "/slack/events" && fuzzMentions.MatchString(withoutJSONEscapes(answer)) {
			t.Fatalf("a mention or link of the input goes out: %s", answer)
		}
		for _, cmd := range r.engine.commands()[before:] {
			checkCommand(t, cmd)
		}
	})
}

// withoutJSONEscapes undoes JSON's own escapes of < and >.
func withoutJSONEscapes(s string) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(s)
}

func checkCommand(t *testing.T, cmd remediation.Command) {
	t.Helper()
	if cmd.ID == "" || cmd.By == "" || cmd.Verb == "" {
		t.Fatalf("a command without id, person or verb: %+v", cmd)
	}
	if len(cmd.Reason) > 4000 || len(cmd.Incident) > 200 || len(cmd.Scope) > 200 {
		t.Fatalf("a command without bound: %+v", cmd)
	}
}
