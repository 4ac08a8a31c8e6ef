package remediation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// TestWideIgnoreOfTheLesser: who may decide about what is low can't switch off, by
// an ignore that reaches far, what others decide about or what is closed by itself.
func TestWideIgnoreOfTheLesser(t *testing.T) {
	for _, scope := range []remediation.Scope{remediation.ScopeResource, remediation.ScopeAccount} {
		l, inc := asked(t, func(c *remediation.Config) {
			c.Rules = []remediation.PolicyRule{
				{Match: remediation.Match{Openness: []remediation.Openness{remediation.OpenWorld}}, Then: remediation.ActionAuto, Approvers: []string{"U7"}, Approvals: 2},
				{Then: remediation.ActionAsk, Approvers: []string{"U8"}},
			}
			c.Question = remediation.Question{}
		})
		l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbIgnore, Incident: inc.ID, By: "U8", Reason: "x", Scope: string(scope)})
		l.drain()
		l.doors.set("h", "side", "back", "front")
		l.accept(signal("e2", "h", "back"), signal("e3", "h", "front"))
		l.drain()
		if got := l.doors.get("h"); slices.Contains(got, "front") || !slices.Contains(got, "back") {
			t.Errorf("%s: open are %v", scope, got)
		}
		if n := len(l.incidents()); n != 2 {
			t.Errorf("%s: %d incidents, want the ignored and the closed one", scope, n)
		}
	}
}

// TestADisownedChangeStaysCritical, also where its event comes again, and whoever
// had a form open is to look again.
func TestADisownedChangeStaysCritical(t *testing.T) {
	l, inc := claimable(t)
	state := inc.State()
	inc = l.say("c1", remediation.VerbDisown, "U5", inc)
	if inc.State() == state {
		t.Error("a form that was opened before still counts")
	}
	l.accept(signal("e2", "h", "side"))
	l.drain()
	if inc = l.say("c2", remediation.VerbIgnore, "U1", inc); inc.Status != remediation.StatusOpen || inc.Finding.Severity != remediation.SeverityCritical ||
		inc.Finding.Rules[0].Severity != remediation.SeverityCritical || !slices.Equal(inc.Decision.Approvers, []string{"U7"}) {
		t.Errorf("it is %s, %s, decided by %v", inc.Status, inc.Finding.Severity, inc.Decision.Approvers)
	}
}

// TestDisownedWhileARequestWaits: the request ends, and whoever asked is told.
func TestDisownedWhileARequestWaits(t *testing.T) {
	l, inc := approvable(t)
	l.say("c1", remediation.VerbIgnore, "U1", inc)
	l.say("c2", remediation.VerbApprove, "U2", inc)
	if inc = l.say("c3", remediation.VerbDisown, "U4", inc); inc.Request != nil || !strings.Contains(l.threadTexts(), "with 1 approval of 2, is over: the change was disowned. U1") {
		t.Errorf("%+v\n%s", inc.Request, l.threadTexts())
	}
}

// TestAllowanceThatCannotBeClosed: people are called, and reminded.
func TestAllowanceThatCannotBeClosed(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) {
		c.Question = remediation.Question{Remind: time.Hour, Expire: 2 * time.Hour}
	})
	l.say("c1", remediation.VerbAllow, "U1", inc)
	l.doors.fail = func(call string) error {
		if strings.HasPrefix(call, "shut") {
			return &smithy.GenericAPIError{Code: "AccessDenied"}
		}
		return nil
	}
	inc = l.later(121 * time.Minute)
	if inc.Status != remediation.StatusFailed || !strings.Contains(l.threadTexts(), "could not be closed, so that it may still be open") {
		t.Fatalf("it is %s\n%s", inc.Status, l.threadTexts())
	}
	l.later(61 * time.Minute)
	if !strings.Contains(l.threadTexts(), "Reminder about h: nobody has decided") {
		t.Errorf("nobody is reminded:\n%s", l.threadTexts())
	}
	if inc = l.later(5 * time.Hour); inc.Status != remediation.StatusFailed {
		t.Errorf("what went wrong has ended by itself: %s", inc.Status)
	}
}

// TestARequestIsNotLost: not by the same event after an hour; and where something
// else ends it, whoever asked is told, and the log says so.
func TestARequestIsNotLost(t *testing.T) {
	l, inc := approvable(t)
	l.config.Rules[0].Question = remediation.QuestionRule{Remind: ptr(time.Hour), Expire: ptr(3 * time.Hour)}
	l.submit(command("x", remediation.VerbUnignore, inc)) // no more than a wrong word
	l.doors.set("h2", "side")
	l.accept(signal("e9", "h2", "side"))
	l.drain()
	inc = l.incidents()[0]
	l.say("c1", remediation.VerbFix, "U1", inc)
	l.say("c2", remediation.VerbApprove, "U2", inc)
	l.advance(61 * time.Minute)
	l.accept(signal("e10", "h2", "side"))
	l.drain()
	got, err := l.store.Incident(t.Context(), inc.ID)
	if err != nil || got.Request == nil || len(got.Request.Approved) != 1 {
		t.Fatalf("the same again has ended the request: %s %+v %v", got.Status, got.Request, err)
	}
	if !strings.Contains(l.threadTexts(), "U1 asks to revert this change, which waits for 1 more approval") {
		t.Errorf("the reminder says\n%s", l.threadTexts())
	}
	l.later(3 * time.Hour)
	got, err = l.store.Incident(t.Context(), inc.ID)
	if err != nil || got.Status != remediation.StatusExpired || !strings.Contains(l.threadTexts(), "is over: the incident is expired now. U1") {
		t.Errorf("it is %s %v\n%s", got.Status, err, l.threadTexts())
	}
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil || !slices.ContainsFunc(log, func(e remediation.AuditEntry) bool { return e.What == "dropped the request to revert this change" }) {
		t.Errorf("the log does not say it: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// TestApprovesWhatWasRead: whoever types an approval has read one request, and
// approves no other.
func TestApprovesWhatWasRead(t *testing.T) {
	l, inc := approvable(t)
	inc = l.say("c1", remediation.VerbFix, "U1", inc)
	seen := inc.Requests
	l.say("c2", remediation.VerbDecline, "U1", inc)
	l.say("c3", remediation.VerbIgnore, "U1", inc)
	l.submit(remediation.Command{ID: "c4", Verb: remediation.VerbApprove, Incident: inc.ID, By: "U2", Request: seen})
	l.drain()
	if inc = l.incidents()[0]; len(inc.Request.Approved) != 0 || !l.lastReply().Failed {
		t.Errorf("approved is %+v", inc.Request)
	}
}

// TestNobodyIsAskedToApproveTheImpossible: what can't be carried out is refused at
// once.
func TestNobodyIsAskedToApproveTheImpossible(t *testing.T) {
	for name, cmd := range map[string]remediation.Command{
		"too long":         {Verb: remediation.VerbAllow, For: 300 * time.Hour},
		"without a reason": {Verb: remediation.VerbIgnore},
		"no scope":         {Verb: remediation.VerbIgnore, Reason: "x", Scope: "everything"},
		"nothing to undo":  {Verb: remediation.VerbUndo},
	} {
		l, inc := approvable(t)
		cmd.ID, cmd.Incident, cmd.By = "c", inc.ID, "U1"
		l.submit(cmd)
		l.drain()
		if inc = l.incidents()[0]; inc.Request != nil || !l.lastReply().Failed {
			t.Errorf("%s: %+v", name, inc.Request)
		}
	}
	for name, change := range map[string]func(*lab){
		"in observe":   func(l *lab) { l.config.Mode = remediation.ModeObserve },
		"while paused": func(l *lab) { l.order("p", remediation.VerbPause, "") },
	} {
		l, inc := approvable(t)
		change(l)
		if inc = l.say("c", remediation.VerbFix, "U1", inc); inc.Request != nil || !l.lastReply().Failed {
			t.Errorf("%s: %+v", name, inc.Request)
		}
	}
}

// TestAllowUnderObserve promises nothing that can't happen.
func TestAllowUnderObserve(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) { c.Mode = remediation.ModeObserve })
	if inc = l.say("c", remediation.VerbAllow, "U1", inc); inc.Status != remediation.StatusOpen || !strings.Contains(l.lastReply().Text, "observe") {
		t.Errorf("it is %s: %s", inc.Status, l.lastReply().Text)
	}
}

// TestOldTimersChangeNothing: of an allowance that ended early, and of a request
// that was declined.
func TestOldTimersChangeNothing(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) { c.Question = remediation.Question{} })
	l.say("c1", remediation.VerbAllow, "U1", inc)
	l.say("c2", remediation.VerbFix, "U1", inc)
	inc = l.say("c3", remediation.VerbUndo, "U1", inc)
	l.say("c4", remediation.VerbUnignore, "U1", inc)
	again := l.incidents()[0]
	l.advance(time.Hour)
	l.say("c5", remediation.VerbAllow, "U1", again)
	l.later(61 * time.Minute) // when the first allowance would have ended
	got, err := l.store.Incident(t.Context(), again.ID)
	if err != nil || got.Status != remediation.StatusAllowed {
		t.Errorf("the second allowance is %s %v", got.Status, err)
	}

	l, inc = approvable(t)
	l.say("c1", remediation.VerbFix, "U1", inc)
	l.later(23 * time.Hour)
	l.say("c2", remediation.VerbDecline, "U1", inc)
	l.say("c3", remediation.VerbFix, "U2", inc)
	if inc = l.later(2 * time.Hour); inc.Request == nil {
		t.Error("the end of the first request has taken the second")
	}
	if inc = l.later(23 * time.Hour); inc.Request != nil || !strings.Contains(l.threadTexts(), "was not approved in time; nothing was changed. U2") {
		t.Errorf("%+v\n%s", inc.Request, l.threadTexts())
	}
}

// TestRetriesAndUndosNeedApprovals, and whose change it was can't approve the undo.
func TestRetriesAndUndosNeedApprovals(t *testing.T) {
	l, inc := approvable(t)
	l.doors.fail = func(call string) error {
		if strings.HasPrefix(call, "shut") {
			return &smithy.GenericAPIError{Code: "AccessDenied"}
		}
		return nil
	}
	l.say("c1", remediation.VerbFix, "U1", inc)
	l.say("c2", remediation.VerbApprove, "U2", inc)
	if inc = l.say("c3", remediation.VerbApprove, "U3", inc); inc.Status != remediation.StatusFailed {
		t.Fatalf("it is %s", inc.Status)
	}
	l.doors.fail = nil
	if inc = l.say("c4", remediation.VerbRetry, "U1", inc); inc.Status != remediation.StatusFailed || inc.Request == nil {
		t.Fatalf("a retry without approvals: %s", inc.Status)
	}
	l.say("c5", remediation.VerbApprove, "U2", inc)
	l.say("c6", remediation.VerbApprove, "U3", inc)
	l.say("c7", remediation.VerbUndo, "U1", inc)
	if inc = l.say("c8", remediation.VerbApprove, "U4", inc); inc.Request == nil || len(inc.Request.Approved) != 0 || !l.lastReply().Failed {
		t.Errorf("whose change it was approves that it comes back: %s %+v", inc.Status, inc.Request)
	}
}

// TestIrreversibleIsNotAllowed: what can't be taken back can't be closed later.
func TestIrreversibleIsNotAllowed(t *testing.T) {
	l, inc := asked(t, nil)
	inc.Finding.Irreversible = "nobody knows what was there"
	if err := l.store.Commit(t.Context(), remediation.Write{Incident: inc}); err != nil {
		t.Fatal(err)
	}
	if inc = l.say("c", remediation.VerbAllow, "U1", inc); inc.Status != remediation.StatusOpen || !strings.Contains(l.lastReply().Text, "can't be allowed") {
		t.Errorf("it is %s: %s", inc.Status, l.lastReply().Text)
	}
}

// TestEscalationsAreLogged, and reminders.
func TestEscalationsAreLogged(t *testing.T) {
	l, inc := asked(t, nil)
	l.later(61 * time.Minute)
	l.later(61 * time.Minute)
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"reminded", "escalated"} {
		if !slices.ContainsFunc(log, func(e remediation.AuditEntry) bool { return e.What == what && e.Why != "" }) {
			t.Errorf("the log has no %q", what)
		}
	}
}
