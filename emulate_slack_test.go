//go:build emulate

package main

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/internal/sandbox/fakeslack"
)

// posted is a message as conversations.history gives it.
type posted struct {
	TS       string
	ThreadTS string `json:"thread_ts"`
	User     string
	Text     string
	Blocks   json.RawMessage
	Edited   *struct{ User string }
	Metadata struct {
		Type    string            `json:"event_type"`
		Payload map[string]string `json:"event_payload"`
	}
}

func (p posted) button(action string) *fakeslack.Button {
	for _, b := range (fakeslack.Message{Version: fakeslack.Version{Blocks: p.Blocks}}).Buttons() {
		if b.ActionID == action {
			return &b
		}
	}
	return nil
}

// history are the channel's messages, the newest first, without threads.
func (e *emulated) history() []posted {
	e.t.Helper()
	var page struct{ Messages []posted }
	e.call("conversations.history", emulateTestToken, url.Values{"channel": {e.channel}}, &page)
	return page.Messages
}

// thread are the replies to a message.
func (e *emulated) thread(ts string) []posted {
	e.t.Helper()
	var page struct{ Messages []posted }
	e.call("conversations.replies", emulateTestToken, url.Values{"channel": {e.channel}, "ts": {ts}}, &page)
	return slices.DeleteFunc(page.Messages, func(p posted) bool { return p.TS == ts })
}

// told waits for a reply that says something. Each reply must be there once.
func (e *emulated) told(ts, text string) posted {
	e.t.Helper()
	var found posted
	e.eventually("a reply that says "+text, func() error {
		replies, operations := e.thread(ts), map[string]bool{}
		for _, r := range replies {
			if operations[r.Metadata.Payload["operation"]] {
				e.t.Fatalf("a reply is there twice: %+v", r)
			}
			operations[r.Metadata.Payload["operation"]] = true
		}
		i := slices.IndexFunc(replies, func(r posted) bool { return strings.Contains(r.Text, text) })
		if i < 0 {
			return fmt.Errorf("%d replies", len(replies))
		}
		found = replies[i]
		return nil
	})
	return found
}

// changed begins the reply that shows what a fix has done.
const changed = "What was changed:"

// newest waits until the newest message has a button.
func (e *emulated) newest(action string) posted {
	e.t.Helper()
	var found posted
	e.eventually("a message with the button "+action, func() error {
		all := e.history()
		if len(all) == 0 || all[0].button(action) == nil {
			return fmt.Errorf("%d messages: %+v", len(all), all)
		}
		found = all[0]
		return nil
	})
	return found
}

// page gives a part of emulate's page as text.
func (e *emulated) page(tab, heading string) string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.emulate+"/?"+url.Values{"tab": {tab}, "channel": {e.channel}}.Encode(), http.NoBody)
	if err != nil {
		e.t.Fatal(err)
	}
	_, raw := e.do(req)
	_, rest, ok := strings.Cut(string(raw), "<h2>"+heading+"</h2>")
	if !ok {
		e.t.Fatalf("emulate's page has no %s", heading)
	}
	section, _, _ := strings.Cut(rest, "</section>")
	return html.UnescapeString(section)
}

// interact sends secbot what Slack sends when somebody clicks or submits.
func (e *emulated) interact(payload map[string]any) (answer string) {
	e.t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		e.t.Fatal(err)
	}
	body := url.Values{"payload": {string(raw)}}.Encode()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, e.secbot+"/slack/interactions", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", now)
	req.Header.Set("X-Slack-Signature", fakeslack.Sign(e.secret, now, []byte(body)))
	status, said := e.do(req)
	if status != http.StatusOK {
		e.t.Fatalf("secbot answers %d %s", status, said)
	}
	return string(said)
}

func (e *emulated) by(kind, person, trigger string) map[string]any {
	return map[string]any{
		"type": kind, "api_app_id": "A0SECBOT", "team": map[string]string{"id": "T000000001", "domain": "sandbox"},
		"user": map[string]string{"id": e.people[person], "username": person, "team_id": "T000000001"}, "trigger_id": trigger,
	}
}

// click has a person click a button of a message.
func (e *emulated) click(person string, m posted, action, trigger string) {
	e.t.Helper()
	b := m.button(action)
	if b == nil {
		e.t.Fatalf("%q has no button %s", m.Text, action)
	}
	p := e.by("block_actions", person, trigger)
	p["container"] = map[string]any{"type": "message", "message_ts": m.TS, "channel_id": e.channel, "is_ephemeral": false}
	p["channel"] = map[string]string{"id": e.channel, "name": "security"}
	p["actions"] = []any{map[string]string{"type": "button", "action_id": action, "block_id": b.BlockID, "value": b.Value,
		"action_ts": fmt.Sprintf("%d.000001", time.Now().UnixNano())}}
	e.interact(p)
}

// trigger is one that emulate takes for three seconds.
func (e *emulated) trigger(person string) string {
	e.t.Helper()
	var made struct {
		ID string `json:"trigger_id"`
	}
	e.call("views.generateTriggerId", e.token, url.Values{"user_id": {e.people[person]}}, &made)
	return made.ID
}

// later puts emulate's clock forward.
func (e *emulated) later(seconds int) {
	e.t.Helper()
	e.say(strconv.Itoa(seconds))
	var now struct{ Ahead int }
	if !e.next(&now) || now.Ahead < seconds {
		e.t.Fatalf("emulate's clock is %d s ahead", now.Ahead)
	}
}

// refusals are secbot's calls that emulate has said no to, in order.
func (e *emulated) refusals(want ...string) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if diff := cmp.Diff(want, e.refused); diff != "" {
		e.t.Errorf("what emulate refused (-want +got):\n%s", diff)
	}
}

func (e *emulated) question(port int32) posted {
	e.t.Helper()
	if err := e.w.Authorize(e.t.Context(), port, "198.51.100.0/24", "partner"); err != nil {
		e.t.Fatal(err)
	}
	return e.newest("fix")
}

// whispered waits until emulate's page shows an ephemeral message.
func (e *emulated) whispered(to, text string, times int) {
	e.t.Helper()
	e.eventually("an ephemeral message to "+to, func() error {
		seen := 0
		for _, row := range strings.Split(e.page("messages", "Ephemeral"), "<tr>") {
			if strings.Contains(row, to) && strings.Contains(row, text) {
				seen++
			}
		}
		if seen != times {
			return fmt.Errorf("%d, want %d: %s", seen, times, e.page("messages", "Ephemeral"))
		}
		return nil
	})
}
