package remediation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// wants is what an audit entry must hold: who, what and why, and parts of its data.
type wants struct {
	by, what, why string
	data          []string
}

func checkLog(t *testing.T, log []remediation.AuditEntry, want []wants) {
	t.Helper()
	for n := range max(len(log), len(want)) {
		if n >= len(log) || n >= len(want) {
			t.Errorf("%d entries, want %d", len(log), len(want))
			for _, e := range log[min(n, len(log)):] {
				t.Logf("more: %s %s %s %s", e.By, e.What, e.Why, e.Data)
			}
			return
		}
		e, w := log[n], want[n]
		if e.By != w.by || e.What != w.what || !strings.Contains(e.Why, w.why) {
			t.Errorf("entry %d is %s, %q, %q, want %s, %q, %q", n+1, e.By, e.What, e.Why, w.by, w.what, w.why)
		}
		for _, part := range w.data {
			if !strings.Contains(string(e.Data), part) {
				t.Errorf("entry %d, %q, does not hold %s: %s", n+1, e.What, part, e.Data)
			}
		}
	}
}

// TestAuditTellsALife: the audit log alone says what was found, on what, by whom it
// was opened, what the policy said and why, who decided, each call with its request
// ids, and how it was before and after.
func TestAuditTellsALife(t *testing.T) {
	l := newLab(t)
	l.config.Mode = remediation.ModeAsk
	l.doors.set("h", "front")
	denied := true
	l.doors.fail = func(call string) error {
		if denied && call == "shut front" {
			return &smithy.OperationError{ServiceID: "toy", OperationName: "Shut", Err: &smithy.GenericAPIError{Code: "AccessDenied", Fault: smithy.FaultClient}}
		}
		return nil
	}
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusOpen)
	step := 0
	says := func(status remediation.Status, cmd remediation.Command) {
		t.Helper()
		step++
		l.advance(2 * time.Second)
		cmd.ID, cmd.Incident = fmt.Sprint("c", step), inc.ID
		l.submit(cmd)
		l.one(status)
	}
	says(remediation.StatusOpen, remediation.Command{Verb: remediation.VerbFix, By: "U9"})
	until := l.clock().Add(2*time.Second + 48*time.Hour)
	says(remediation.StatusIgnored, remediation.Command{Verb: remediation.VerbIgnore, By: "U1", Reason: "known", For: 48 * time.Hour, Scope: "resource"})
	says(remediation.StatusOpen, remediation.Command{Verb: remediation.VerbUnignore, By: "U1", Reason: "not any more"})
	l.doors.set("h", "front", "side")
	again := signal("e2", "h", "front")
	again.Actor.ARN = "arn:aws:iam::111122223333:user/erin"
	l.accept(again)
	l.one(remediation.StatusOpen)
	says(remediation.StatusFailed, remediation.Command{Verb: remediation.VerbFix, By: "U1", Reason: "please"})
	l.doors.mu.Lock()
	denied = false
	l.doors.mu.Unlock()
	says(remediation.StatusFixed, remediation.Command{Verb: remediation.VerbRetry, By: "U1"})
	l.doors.set("h", "side", "strange")
	says(remediation.StatusFixed, remediation.Command{Verb: remediation.VerbUndo, By: "U1", Reason: "too strict"})
	l.doors.set("h", "side")
	says(remediation.StatusUndone, remediation.Command{Verb: remediation.VerbUndo, By: "U1", Reason: "too strict"})

	inc = l.one(remediation.StatusUndone)
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil {
		t.Fatal(err)
	}
	finding := []string{`"id":"h"`, `"account":"111122223333"`, `"group":"front"`, `"openness":"world"`, `"severity":"high"`}
	decided := []string{`"action":"ask"`, `"rule":"rule 1 \"the front door\""`, `"why":"mode ask`, `"approvers":["U1","S1"]`}
	plan := []string{`"before":{"Open":["front","side"]`, `"summary":"shut front"`, `"diff":[{"op":"-","text":"front"}]`}
	checkLog(t, log, []wants{
		{"secbot", "open", "the front door", slices.Concat(finding, decided, []string{"user/dana", `"event_id":"e1"`})},
		{"U1", "ignored", "known", []string{`"scope":"resource"`, `"until":"` + until.Format(time.RFC3339)}},
		{"U1", "open", "not any more", nil},
		{"secbot", "seen anew", "", slices.Concat(finding, []string{"user/erin", `"event_id":"e2"`})},
		{"U1", "fixing", "please", nil},
		{"secbot", "planned", "", plan},
		{"secbot", "tried: shut front", "AccessDenied", []string{`"request_ids":["req-front"]`}},
		{"secbot", "failed", "toy Shut", nil},
		{"U1", "fixing", "", nil},
		{"secbot", "planned", "", plan},
		{"secbot", "did: shut front", "", []string{`"request_ids":["req-front"]`}},
		{"secbot", "fixed", "read back", nil},
		{"U1", "undoing", "too strict", []string{`"until":"`}},
		{"secbot", "fixed", "strange", nil},
		{"U1", "undoing", "too strict", nil},
		{"secbot", "undone", "read back", []string{`"request_ids":["req-undo"]`, `"diff":[{"op":"+","text":"front"}]`}},
	})
	own, err := l.store.Audit(t.Context(), remediation.OwnLog)
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, own, []wants{{"U9", "refused to revert this change", "not one of the people", []string{inc.ID}}})
	if n, err := remediation.VerifyOwnLog(t.Context(), l.store); n != 1 || err != nil {
		t.Errorf("secbot's own log: %d entries, %v", n, err)
	}
	tampered(t, inc, log)
}

// tampered changes what an incident says, one thing at a time: none goes unseen.
func tampered(t *testing.T, inc *remediation.Incident, log []remediation.AuditEntry) {
	t.Helper()
	raw, err := json.Marshal(inc)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(i *remediation.Incident){
		"the resource":      func(i *remediation.Incident) { i.Finding.Resource.ID = "other" },
		"a rule":            func(i *remediation.Incident) { i.Finding.Rules[0].CIDR = "10.0.0.0/8" },
		"the actor":         func(i *remediation.Incident) { i.Finding.Actor.ARN = "arn:aws:iam::111122223333:user/frank" },
		"the decision":      func(i *remediation.Incident) { i.Decision.Action = remediation.ActionAuto },
		"who decided":       func(i *remediation.Incident) { i.History[1].By = "U2" },
		"why":               func(i *remediation.Incident) { i.History[1].Reason = "other" },
		"when":              func(i *remediation.Incident) { i.History[1].At = i.History[1].At.Add(time.Hour) },
		"who approved":      func(i *remediation.Incident) { i.History[1].Approved = []string{"U3"} },
		"a step less":       func(i *remediation.Incident) { i.History = i.History[:len(i.History)-1] },
		"a step in between": func(i *remediation.Incident) { i.History = slices.Delete(i.History, 1, 2) },
		"a step more":       func(i *remediation.Incident) { i.History = append(i.History, i.History[0]) },
	} {
		var other remediation.Incident
		if err := json.Unmarshal(raw, &other); err != nil {
			t.Fatal(err)
		}
		change(&other)
		var fault *remediation.AuditError
		if err := remediation.VerifyAudit(&other, log); !errors.As(err, &fault) || fault.What != remediation.AuditDiffers {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}

// TestLargeAuditData: no entry outgrows a row of DynamoDB.
func TestLargeAuditData(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.start()
	sig := signal("e1", "h", "side")
	sig.Actor.UserAgent = strings.Repeat("x", 500<<10)
	l.accept(sig)
	inc := l.one(remediation.StatusOpen)
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(log[0].Data) > 300<<10 || !strings.Contains(string(log[0].Data), `"sha256"`) {
		t.Errorf("%d bytes in the first entry", len(log[0].Data))
	}
	inc.Finding.Actor.UserAgent += "y"
	if err := remediation.VerifyAudit(inc, log); err == nil {
		t.Error("that what is too large for the log was changed goes unseen")
	}
}
