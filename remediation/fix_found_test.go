package remediation_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// keysOf are the keys that a scan finds, shown to a person.
func (l *lab) keysOf() (keys []string) {
	l.t.Helper()
	for _, inc := range l.incidents() {
		keys = append(keys, inc.Key)
	}
	return keys
}

// TestFoundTargets: only what still waits for a decision, as it was shown.
func TestFoundTargets(t *testing.T) {
	l, _ := bulk(t, 5)
	all, keys := l.incidents(), l.keysOf()
	l.submit(remediation.Command{ID: "i", Verb: remediation.VerbIgnore, Incident: all[0].ID, By: "U1", Reason: "it is meant"})
	l.submit(remediation.Command{ID: "a", Verb: remediation.VerbAllow, Incident: all[1].ID, By: "U1", For: time.Hour})
	l.submit(remediation.Command{ID: "f", Verb: remediation.VerbFix, Incident: all[2].ID, By: "U1"})
	l.settled()
	l.doors.set("h99", "front")
	l.submit(scanBy("later", "U9"))
	l.settled()
	targets, left, err := remediation.FoundTargets(t.Context(), l.store, append(keys, "of nothing"))
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 2 || targets[0].Incident != all[3].ID || targets[1].Incident != all[4].ID || targets[0].State != all[3].State() {
		t.Errorf("targets: %+v", targets)
	}
	for key, want := range map[string]string{keys[0]: "is ignored since", keys[1]: "is allowed since", keys[2]: "it was closed", "of nothing": "it was closed"} {
		if !strings.Contains(left[key], want) {
			t.Errorf("%s is left since %q, want %q", key, left[key], want)
		}
	}
	if len(left) != 4 {
		t.Errorf("left: %v", left)
	}
}

// TestFoundTargetsWaitForApproval: what somebody has asked for is left to the others.
func TestFoundTargetsWaitForApproval(t *testing.T) {
	l, targets := bulk(t, 1, func(o *remediation.Options) { o.Config.Rules[0].Approvals = 1 })
	l.fixAll("f", "U1", targets)
	targets, left, err := remediation.FoundTargets(t.Context(), l.store, l.keysOf())
	if err != nil || len(targets) != 0 || !strings.Contains(left[l.keysOf()[0]], "waits for the approval of what U1 has asked for") {
		t.Errorf("%+v %v %v", targets, left, err)
	}
}

// TestFoundTargetsOfSeveralRules: an incident about two rules is fixed where both were
// shown, and never where one was.
func TestFoundTargetsOfSeveralRules(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side", "back")
	l.accept(signal("e1", "h", "side", "back"))
	l.start()
	inc := l.one(remediation.StatusOpen)
	if len(inc.Finding.Rules) != 2 {
		t.Fatalf("the incident is about %+v", inc.Finding.Rules)
	}
	var each []string
	for _, r := range inc.Finding.Rules {
		each = append(each, remediation.Finding{Playbook: inc.Finding.Playbook, Resource: inc.Finding.Resource, Rules: []remediation.Rule{r}}.Key())
	}
	targets, left, err := remediation.FoundTargets(t.Context(), l.store, each)
	if err != nil || len(targets) != 1 || targets[0].Incident != inc.ID || len(left) != 0 {
		t.Errorf("both: %+v %v %v", targets, left, err)
	}
	targets, left, err = remediation.FoundTargets(t.Context(), l.store, each[:1])
	if err != nil || len(targets) != 0 || len(left) != 1 {
		t.Errorf("one: %+v %v %v", targets, left, err)
	}
}

// TestFixAllAtTheShell fails where something may still be open, and tells what was
// left beside; what somebody else has closed is no failure.
func TestFixAllAtTheShell(t *testing.T) {
	l, targets := bulk(t, 3, withShell)
	l.doors.set("h00")
	l.doors.set("h01")
	say := func(id string, targets []remediation.Target, left ...string) remediation.Reply {
		t.Helper()
		cmd := shellCommand(id, remediation.VerbFixAll, "")
		cmd.Targets, cmd.Left = targets, left
		l.submit(cmd)
		l.settled()
		r, err := remediation.ShellReply(t.Context(), l.store, id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	shut, open := []remediation.Target{}, []remediation.Target{}
	for _, target := range targets {
		inc, err := l.store.Incident(t.Context(), target.Incident)
		if err != nil {
			t.Fatal(err)
		}
		if inc.Finding.Resource.ID == "h02" {
			open = append(open, target)
		} else {
			shut = append(shut, target)
		}
	}
	if r := say("safe", shut[:1]); r.Failed || r.Text != "Reverted 0 of 1; 1 were closed already." {
		t.Errorf("closed by others: %+v", r)
	}
	if r := say("left", shut[1:], "h9: gone"); !r.Failed || len(r.Lines) != 1 || r.Lines[0] != "h9: gone" {
		t.Errorf("something is left: %+v", r)
	}
	if r := say("fixed", open); r.Failed || r.Text != "Reverted 1 of 1." {
		t.Errorf("fixed: %+v", r)
	}
}

// TestProposal reads and plans, says why there is no plan, and changes nothing.
func TestProposal(t *testing.T) {
	l, _ := bulk(t, 1)
	f := l.incidents()[0].Finding
	if diff, err := l.engine.Proposal(t.Context(), f); err != nil || len(diff) == 0 {
		t.Errorf("%v %v", diff, err)
	}
	other, never := f, f
	other.Playbook, never.Irreversible = "none", "it is deleted for good"
	if _, err := l.engine.Proposal(t.Context(), other); err == nil || !strings.Contains(err.Error(), "no playbook none") {
		t.Errorf("an unknown playbook: %v", err)
	}
	var refused *remediation.RefusedError
	if _, err := l.engine.Proposal(t.Context(), never); !errors.As(err, &refused) || !strings.Contains(err.Error(), "it is deleted for good") {
		t.Errorf("what can't be taken back: %v", err)
	}
	l.doors.set("h00")
	if _, err := l.engine.Proposal(t.Context(), f); !errors.Is(err, remediation.ErrNothingToDo) {
		t.Errorf("what is closed: %v", err)
	}
	f.Resource.ID = "gone"
	if _, err := l.engine.Proposal(t.Context(), f); !errors.Is(err, remediation.ErrGone) {
		t.Errorf("what is gone: %v", err)
	}
	l.doors.fail = func(string) error { return io.ErrUnexpectedEOF }
	if _, err := l.engine.Proposal(t.Context(), f); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("what can't be read: %v", err)
	}
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes", n)
	}
}
