//go:build emulate

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEmulate runs each flow on an emulate of its own.
func TestEmulate(t *testing.T) {
	program := built(t)
	for name, flow := range map[string]func(*testing.T, *emulated){"decision": decisionFlow, "modal": modalFlow, "adoption": adoptionFlow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flow(t, startEmulated(t, program))
		})
	}
}

// decisionFlow: a question, a stranger's click, the decision, in place and in the
// thread.
func decisionFlow(t *testing.T, e *emulated) {
	asked := e.question(8443)
	if asked.User != "U0SECBOT" || asked.Edited != nil || asked.Metadata.Type != "secbot_incident" || asked.Metadata.Payload["incident"] != asked.button("fix").Value {
		t.Errorf("the message: %+v", asked)
	}

	e.click("mallory", asked, "fix", "1.2.3")
	e.whispered("mallory", "may decide", 1)
	if diff := cmp.Diff([]posted{asked}, e.history()); diff != "" {
		t.Errorf("a stranger's click changes the channel (-before +after):\n%s", diff)
	}

	e.click("alice", asked, "fix", "1.2.4")
	fixed := e.newest("undo")
	if n := len(e.history()); n != 1 || fixed.TS != asked.TS || fixed.Edited == nil || fixed.button("fix") != nil {
		t.Errorf("%d messages; first %+v\nand then %+v", n, asked, fixed)
	}
	e.eventually("the rule is gone", func() error { return rulesAre(t, e.w, shopRule) })
	reply := e.told(asked.TS, changed)
	if reply.ThreadTS != asked.TS || !strings.Contains(string(reply.Blocks), "8443") {
		t.Errorf("the reply: %+v", reply)
	}
	e.refusals()
}

const shopRule = "443 0.0.0.0/0 the shop"

// modalFlow: the modal opens within its trigger's three seconds and once,
// otherwise the person is told what to type; what is filled in counts.
func modalFlow(t *testing.T, e *emulated) {
	asked := e.question(8443)
	old := e.trigger("alice")
	e.later(4)
	e.click("alice", asked, "ignore", old)
	e.whispered("alice", "Slack did not open the form", 1)

	trigger := e.trigger("alice")
	e.click("alice", asked, "ignore", trigger)
	if shown := e.page("views", "Modals"); strings.Count(shown, "alice") != 1 || !strings.Contains(shown, e.w.Group) {
		t.Errorf("the modals: %s", shown)
	}
	e.click("alice", asked, "ignore", trigger)
	e.whispered("alice", "Slack did not open the form", 2)
	e.click("mallory", asked, "ignore", e.trigger("mallory"))
	e.whispered("mallory", "may decide", 1)
	if shown := e.page("views", "Modals"); strings.Contains(shown, "mallory") {
		t.Errorf("a stranger's modal: %s", shown)
	}

	e.submit("", `"reason"`)
	e.submit("meant so", "")
	ignored := e.newest("unignore")
	if n := len(e.history()); n != 1 || ignored.TS != asked.TS || !strings.Contains(string(ignored.Blocks), "meant so") {
		t.Errorf("%d messages, the newest %+v", n, ignored)
	}
	e.refusals("views.open expired_trigger_id", "views.open exchanged_trigger_id")
}

// submit has Alice give a reason in the modal that was opened, leave everything
// else as it is, and submit it; secbot's answer must hold want, and be empty for an
// empty one. The modal stays open, since nobody closes it in emulate.
func (e *emulated) submit(reason, want string) {
	e.t.Helper()
	e.mu.Lock()
	raw := e.modal
	e.mu.Unlock()
	var view map[string]any
	if err := json.Unmarshal(raw, &view); err != nil {
		e.t.Fatalf("the modal %s: %v", raw, err)
	}
	view["state"] = map[string]any{"values": filledIn(view["blocks"], reason)}
	p := e.by("view_submission", "alice", "1.2.5")
	p["view"] = view
	if answer := e.interact(p); want == "" && answer != "" || !strings.Contains(answer, want) {
		e.t.Errorf("the reason %q is answered with %q, want %q", reason, answer, want)
	}
}

// filledIn is what a modal's inputs hold, by block and action: a reason, and what
// they have held from the start.
func filledIn(blocks any, reason string) map[string]any {
	values := map[string]any{}
	all, _ := blocks.([]any)
	for _, b := range all {
		block, _ := b.(map[string]any)
		element, ok := block["element"].(map[string]any)
		if !ok {
			continue
		}
		id, action := fmt.Sprint(block["block_id"]), fmt.Sprint(element["action_id"])
		state := map[string]any{"type": element["type"], "selected_option": element["initial_option"], "value": element["initial_value"]}
		if id == "reason" {
			state["value"] = reason
		}
		values[id] = map[string]any{action: state}
	}
	return values
}

// adoptionFlow: secbot is killed when a message is out and not yet
// remembered. Started again it finds the message in the history, by its metadata,
// and the reply in the thread, and posts neither twice.
func adoptionFlow(t *testing.T, e *emulated) {
	e.crashAfter("", func() {
		if err := e.w.Authorize(t.Context(), 8443, "198.51.100.0/24", "partner"); err != nil {
			t.Fatal(err)
		}
	})
	before := e.history()
	if len(before) != 1 {
		t.Fatalf("%d messages after the crash, want one", len(before))
	}
	e.start()
	e.eventually("the message is adopted", func() error { return e.logged("is adopted") })

	e.crashAfter(changed, func() { e.click("alice", before[0], "fix", "1.2.3") })
	reply := e.told(before[0].TS, changed)
	e.start()
	fixed := e.newest("undo")
	if fixed.TS != before[0].TS {
		t.Errorf("the message was %+v\nand is %+v", before[0], fixed)
	}
	e.click("alice", fixed, "undo", "1.2.4")
	// What comes after the reply is told when nothing is left to be repeated.
	e.eventually("the undo is told", func() error {
		if m := e.history(); !strings.HasPrefix(m[0].Text, "Undone") {
			return fmt.Errorf("the message is %q", m[0].Text)
		}
		return nil
	})
	if n := len(e.history()); n != 1 {
		t.Errorf("%d messages, want one", n)
	}
	if again := e.told(before[0].TS, changed); again.TS != reply.TS {
		t.Errorf("the reply was %+v\nand is %+v", reply, again)
	}
	e.refusals()
}

// crashAfter does something and waits until secbot was killed after it has posted
// the next message that says text.
func (e *emulated) crashAfter(text string, do func()) {
	e.t.Helper()
	e.mu.Lock()
	ended, done := e.ended, false
	e.after = func(method, said string) bool {
		if done || method != "chat.postMessage" || !strings.Contains(said, text) {
			return false
		}
		done = true
		return true
	}
	e.mu.Unlock()
	do()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		e.t.Fatalf("secbot does not post %q", text)
	}
}

func (e *emulated) logged(text string) error {
	if !strings.Contains(e.log.String(), text) {
		return fmt.Errorf("%q is not in the log", text)
	}
	return nil
}
