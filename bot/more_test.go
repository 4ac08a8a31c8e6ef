package bot

import (
	"strings"
	"testing"
	"time"

	"secbot/docs"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

func TestMoreOpensWhatIsChosen(t *testing.T) {
	for choice, want := range map[string]string{"more=runbook:" + incidentID: "a rule was added to a security group", "more=evidence:" + incidentID: "arn:aws:iam::111122223333:user/dana"} {
		r := newRig(t)
		m := r.shown(incident(opened()))
		if _, err := r.slack.Click(t.Context(), fakeslack.Mallory, m.Channel, m.TS, choice); err != nil {
			t.Fatal(err)
		}
		views := r.slack.Views(fakeslack.Mallory)
		if len(views) != 1 || !strings.Contains(string(views[0].Blocks), want) {
			t.Errorf("%s: %+v", choice, views)
		}
		if len(r.engine.commands()) > 0 || len(r.slack.Ephemerals(fakeslack.Mallory)) > 0 {
			t.Errorf("%s: reading does more than show", choice)
		}
	}
}

// TestMoreOfAnOldMessage: what there is to read is so of the incident as it is
// now, from any message of it.
func TestMoreOfAnOldMessage(t *testing.T) {
	r := newRig(t)
	inc := incident(opened())
	m := r.shown(inc)
	inc.History, inc.Status = append(inc.History, step(remediation.StatusIgnored, fakeslack.Bob, "the newest reason")), remediation.StatusIgnored
	r.save(inc)
	if _, err := r.slack.ClickStale(t.Context(), fakeslack.Alice, m, "evidence:"+incidentID); err != nil {
		t.Fatal(err)
	}
	if views := r.slack.Views(fakeslack.Alice); len(views) != 1 || !strings.Contains(string(views[0].Blocks), "the newest reason") {
		t.Errorf("%+v", views)
	}
}

func TestMoreThatCannotBeShown(t *testing.T) {
	chosen := func(value string) func(map[string]any) {
		return func(p map[string]any) { action(p)["selected_option"].(map[string]any)["value"] = value }
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		says   string
	}{
		"unknown choice":   {chosen("<!channel>:" + incidentID), "does not know the choice `&lt;!channel&gt;`"},
		"choice alone":     {chosen("runbook"), "names no incident"},
		"nothing chosen":   {func(p map[string]any) { delete(action(p), "selected_option") }, "does not know the choice –"},
		"hostile incident": {chosen("evidence:<!here> x"), "names no incident"},
		"unknown incident": {chosen("evidence:01JQ0000000000000000000000"), "There is no incident"},
		"trigger is used":  {func(map[string]any) {}, "Choose it again, or read `docs/runbooks/sg-rule-added.md`"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			m := r.shown(incident(opened()))
			ack, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "runbook:"+incidentID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.slack.SendInteraction(t.Context(), tampered(t, ack.Payload, c.change)); err != nil {
				t.Fatal(err)
			}
			if got := r.whisper(fakeslack.Alice); !strings.Contains(got, c.says) {
				t.Errorf("told %q, want %q", got, c.says)
			}
			if n := len(r.slack.Views(fakeslack.Alice)); n != 1 {
				t.Errorf("%d modals are open, want the first alone", n)
			}
		})
	}
}

// TestMoreWhileSlackHangs: the click is answered in time, and the person is told
// what to do.
func TestMoreWhileSlackHangs(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method == "views.open" {
			return &fakeslack.Fault{Delay: time.Hour}
		}
		return nil
	})
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "evidence:"+incidentID); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "/secbot show "+incidentID) {
		t.Errorf("told %q", got)
	}
}

// TestMoreOfAnUnknownPlaybook: there is no menu, and a click all the same is
// answered.
func TestMoreOfAnUnknownPlaybook(t *testing.T) {
	inc := incident(opened())
	inc.Finding.Playbook = "of-a-newer-secbot"
	r := newRig(t)
	m := r.shown(inc)
	for _, b := range m.Buttons() {
		if b.ActionID == actionMore {
			t.Error("there is a menu")
		}
	}
	b := fakeslack.Button{BlockID: blockID(inc), ActionID: actionMore, Type: "overflow"}
	ack, err := r.slack.Press(t.Context(), fakeslack.Alice, m, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.slack.SendInteraction(t.Context(), tampered(t, ack.Payload, func(p map[string]any) {
		action(p)["selected_option"] = map[string]any{"value": "runbook:" + incidentID}
	})); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "no runbook of the playbook `of-a-newer-secbot`") {
		t.Errorf("told %q", got)
	}
}

func TestBareViewsHaveNoMenu(t *testing.T) {
	for _, m := range []Message{renderShow(view1(incident(opened()))), renderIncident(view{inc: incident(opened()), bare: true})} {
		if strings.Contains(string(encoded(t, m)), "overflow") {
			t.Error("there is a menu")
		}
	}
}

// TestEveryPlaybookHasItsMenu: each that a message can be about.
func TestEveryPlaybookHasItsMenu(t *testing.T) {
	for _, id := range docs.Runbooks() {
		if m := renderIncident(of(id, opened())); !strings.Contains(string(encoded(t, m)), `"runbook:`+incidentID+`"`) {
			t.Errorf("%s has no menu", id)
		}
	}
}
