package remediation_test

import (
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// order says something that is about secbot as a whole.
func (l *lab) order(id string, v remediation.Verb, scope string) remediation.Reply {
	l.t.Helper()
	l.submit(remediation.Command{ID: id, Verb: v, By: "U1", Scope: scope, Reason: "a drill"})
	l.drain()
	return l.lastReply()
}

// TestPaused: nothing is fixed, neither by itself nor by a click, nor once an
// allowance is over; what was fixed can be undone; and all of it goes on afterwards.
func TestPaused(t *testing.T) {
	l := newLab(t)
	l.config.Rules = append(l.config.Rules, remediation.PolicyRule{Then: remediation.ActionAsk, Approvals: 0})
	l.doors.set("allowed", "side")
	l.accept(signal("e0", "allowed", "side"))
	l.drain()
	allowed := l.incidents()[0]
	l.say("c0", remediation.VerbAllow, "U1", allowed)
	l.advance(time.Minute)
	l.doors.set("before", "front")
	l.accept(signal("e1", "before", "front"))
	l.drain()
	fixed := l.incidents()[0]

	if r := l.order("p1", remediation.VerbPause, ""); r.Failed || !strings.Contains(r.Text, "Paused") {
		t.Fatalf("the answer is %+v", r)
	}
	if r := l.order("p2", remediation.VerbPause, ""); !r.Failed || !strings.Contains(r.Text, "already") {
		t.Errorf("paused twice: %+v", r)
	}
	changes := len(l.doors.changes())
	l.advance(time.Minute)
	l.doors.set("h", "front")
	l.accept(signal("e2", "h", "front"))
	l.drain()
	asked := l.incidents()[0]
	if asked.Status != remediation.StatusOpen || !strings.Contains(asked.Decision.Why, "secbot is paused") || !strings.Contains(asked.Decision.Why, "a drill") {
		t.Errorf("it is %s, since %s", asked.Status, asked.Decision.Why)
	}
	if asked.Decision.Paused != "U1" {
		t.Errorf("paused by %q", asked.Decision.Paused)
	}
	if got := l.say("c1", remediation.VerbFix, "U1", asked); got.Status != remediation.StatusOpen || !strings.Contains(l.lastReply().Text, "/secbot resume") {
		t.Errorf("a click fixes while it is paused: %s, %+v", got.Status, l.lastReply())
	}
	l.later(3 * time.Hour)
	if len(l.doors.changes()) != changes {
		t.Fatalf("changed while it is paused: %v", l.doors.changes()[changes:])
	}
	if got := l.say("c2", remediation.VerbUndo, "U1", fixed); got.Status != remediation.StatusUndone {
		t.Errorf("an undo while it is paused: %s (%s)", got.Status, got.Error)
	}

	if r := l.order("p3", remediation.VerbResume, ""); r.Failed {
		t.Fatalf("the answer is %+v", r)
	}
	l.later(10 * time.Minute)
	got, err := l.store.Incident(t.Context(), allowed.ID)
	if err != nil || got.Status != remediation.StatusFixed {
		t.Errorf("what was allowed is %s %v", got.Status, err)
	}
	if got := l.say("c3", remediation.VerbFix, "U1", asked); got.Status != remediation.StatusFixed {
		t.Errorf("after it was resumed: %s (%s)", got.Status, got.Error)
	}
	titles := ""
	for _, a := range payloads[remediation.Alert](t, l, remediation.OpAlert) {
		titles += a.Title + "|" + a.By + "|" + a.Text + "\n"
	}
	if !strings.Contains(titles, "Paused: secbot fixes nothing|U1|a drill. Findings are still told") || !strings.Contains(titles, "Resumed: secbot fixes again|U1") {
		t.Errorf("the channel was told\n%s", titles)
	}
	log, err := l.store.Audit(t.Context(), remediation.OwnLog)
	if err != nil || len(log) == 0 || log[0].What != "paused" || log[0].By != "U1" || log[0].Why != "a drill" {
		t.Errorf("the log says %+v %v", log, err)
	}
}

// TestModeFor: which of several modes holds.
func TestModeFor(t *testing.T) {
	modes := func(pairs ...string) map[string]remediation.Mode {
		m := map[string]remediation.Mode{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = remediation.Mode(pairs[i+1])
		}
		return m
	}
	for name, tt := range map[string]struct {
		modes map[string]remediation.Mode
		want  remediation.Mode
	}{
		"none":                  {nil, "ask"},
		"for all":               {modes("all", "auto"), "auto"},
		"for the account":       {modes("all", "observe", "111122223333", "auto"), "auto"},
		"for the playbook":      {modes("all", "auto", "toy", "observe"), "observe"},
		"for both":              {modes("toy", "auto", "111122223333", "observe"), "observe"},
		"for others":            {modes("other", "observe", "444455556666", "observe"), "ask"},
		"one that nobody knows": {modes("toy", "anarchy", "111122223333", "auto"), "anarchy"},
	} {
		if got := (remediation.Control{Modes: tt.modes}).ModeFor(remediation.ModeAsk, "toy", "111122223333"); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestModeIsSet for all, for one account, and taken back.
func TestModeIsSet(t *testing.T) {
	l := newLab(t)
	n := 0
	front := func() remediation.Status {
		n++
		h := strings.Repeat("h", n)
		l.advance(time.Minute)
		l.doors.set(h, "front")
		l.accept(signal("e"+h, h, "front"))
		l.drain()
		return l.incidents()[0].Status
	}
	for _, step := range []struct {
		scope string
		want  remediation.Status
	}{
		{"observe all", remediation.StatusOpen}, {"auto " + toyAccount, remediation.StatusFixed}, {"ask toy", remediation.StatusOpen},
		{"file toy", remediation.StatusFixed}, {"file " + toyAccount, remediation.StatusOpen}, {"file", remediation.StatusFixed},
	} {
		if r := l.order("m"+step.scope, remediation.VerbMode, step.scope); r.Failed {
			t.Fatalf("%s: %+v", step.scope, r)
		}
		if got := front(); got != step.want {
			t.Errorf("after %q it is %s, want %s", step.scope, got, step.want)
		}
	}
	if r := l.order("bad", remediation.VerbMode, "anarchy"); !r.Failed || !strings.Contains(r.Text, "no mode") {
		t.Errorf("a mode that there is not: %+v", r)
	}
}

// TestWhy tells what is open, what becomes of it and what is known of it, and
// changes nothing.
func TestWhy(t *testing.T) {
	l := newLab(t)
	l.doors.set("sg-h", "front", "side")
	r := l.order("w1", remediation.VerbWhy, "sg-h")
	all := strings.Join(r.Lines, "\n")
	if r.Failed || !strings.Contains(r.Text, "sg-h") || !strings.Contains(all, `the policy says auto (rule 1 "the front door")`) || !strings.Contains(all, "the policy says ask (no rule matched)") {
		t.Errorf("%+v", r)
	}
	l.order("p", remediation.VerbPause, "")
	if r := l.order("w2", remediation.VerbWhy, "sg-h"); !strings.Contains(strings.Join(r.Lines, "\n"), "secbot is paused") {
		t.Errorf("while it is paused: %+v", r)
	}
	if r := l.order("w3", remediation.VerbWhy, "sg-none"); !r.Failed || !strings.Contains(r.Text, "There is no sg-none here.") {
		t.Errorf("of nothing: %+v", r)
	}
	if len(l.doors.changes()) != 0 || len(l.incidents()) != 0 {
		t.Error("something was changed or opened")
	}
}

// TestWhyNamesWhatWaits: what a scan would not find, and people are asked about, is
// not passed over.
func TestWhyNamesWhatWaits(t *testing.T) {
	l := newLab(t)
	l.doors.set("sg-h", "side")
	l.accept(signal("e1", "sg-h", "side"))
	l.drain()
	inc := l.one(remediation.StatusOpen)
	l.doors.set("sg-h") // the scan's judge finds nothing, and nobody has told of it
	r := l.order("w", remediation.VerbWhy, "sg-h")
	if !strings.Contains(r.Text, "What waits for a decision") || len(r.Lines) != 1 || !strings.Contains(r.Lines[0], inc.ID+" is open") {
		t.Errorf("the answer is %+v", r)
	}
	l.say("i", remediation.VerbIgnore, "U1", inc)
	if r := l.order("w2", remediation.VerbWhy, "sg-h"); len(r.Lines) != 0 || !strings.Contains(r.Text, "nothing waits") {
		t.Errorf("once it is ignored: %+v", r)
	}
}
