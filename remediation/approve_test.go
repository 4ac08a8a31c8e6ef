package remediation_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/remediation"
)

// approvable is a question whose decisions two others have to approve.
func approvable(t *testing.T) (*lab, *remediation.Incident) {
	return asked(t, func(c *remediation.Config) {
		c.Question = remediation.Question{}
		c.Rules = []remediation.PolicyRule{{Then: remediation.ActionAsk, Approvers: []string{"U1", "U2", "U3", "U4"}, Approvals: 2}}
		c.People = []remediation.Person{{Actor: "*:user/dana", User: "U4"}}
	})
}

func (l *lab) say(id string, v remediation.Verb, by string, inc *remediation.Incident) *remediation.Incident {
	l.t.Helper()
	l.submit(remediation.Command{ID: id, Verb: v, Incident: inc.ID, By: by, Reason: "because"})
	l.drain()
	got, err := l.store.Incident(l.t.Context(), inc.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

func (l *lab) lastReply() remediation.Reply {
	all := l.slack.replies(l.t)
	if len(all) == 0 {
		return remediation.Reply{}
	}
	return all[len(all)-1]
}

// TestTwoApprovals: it is done once two others have agreed, and not before.
func TestTwoApprovals(t *testing.T) {
	l, inc := approvable(t)
	state := inc.State()
	inc = l.say("c1", remediation.VerbFix, "U1", inc)
	if inc.Status != remediation.StatusOpen || inc.Request == nil || inc.Request.By != "U1" || inc.State() == state {
		t.Fatalf("after the request it is %s with %+v in state %d", inc.Status, inc.Request, inc.State())
	}
	inc = l.say("c2", remediation.VerbApprove, "U1", inc)
	if r := l.lastReply(); !r.Failed || !strings.Contains(r.Text, "others have to approve") || len(inc.Request.Approved) != 0 {
		t.Errorf("the requester approves: %+v", r)
	}
	inc = l.say("c3", remediation.VerbApprove, "U2", inc)
	inc = l.say("c4", remediation.VerbApprove, "U2", inc)
	if inc.Status != remediation.StatusOpen || len(inc.Request.Approved) != 1 || len(l.doors.changes()) != 0 {
		t.Fatalf("after one of two it is %s, changes %v", inc.Status, l.doors.changes())
	}
	inc = l.say("c5", remediation.VerbApprove, "U9", inc)
	if !l.lastReply().Failed || inc.Status != remediation.StatusOpen {
		t.Error("a stranger approves")
	}
	inc = l.say("c6", remediation.VerbApprove, "U3", inc)
	if inc.Status != remediation.StatusFixed || len(l.doors.changes()) != 1 || inc.Request != nil {
		t.Fatalf("after both it is %s, changes %v", inc.Status, l.doors.changes())
	}
	i := slices.IndexFunc(inc.History, func(tr remediation.Transition) bool { return tr.To == remediation.StatusFixing })
	if tr := inc.History[i]; tr.By != "U1" || !slices.Equal(tr.Approved, []string{"U2", "U3"}) || tr.Reason != "because" {
		t.Errorf("the history says %+v", tr)
	}
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil {
		t.Fatal(err)
	}
	var whats []string
	for _, e := range log {
		whats = append(whats, e.By+" "+e.What)
	}
	for _, want := range []string{"U1 asked to revert this change", "U2 approved to revert this change", "U3 approved to revert this change"} {
		if !slices.Contains(whats, want) {
			t.Errorf("the audit log has no %q: %v", want, whats)
		}
	}
	if err := remediation.VerifyAudit(inc, log); err != nil {
		t.Error(err)
	}
}

// TestApprovalsOfTheAuthor: whose change it is may not approve that it stays, but
// may approve that it goes.
func TestApprovalsOfTheAuthor(t *testing.T) {
	for verb, may := range map[remediation.Verb]bool{remediation.VerbFix: true, remediation.VerbIgnore: false, remediation.VerbAllow: false} {
		l, inc := approvable(t)
		l.say("c1", verb, "U1", inc)
		inc = l.say("c2", remediation.VerbApprove, "U4", inc)
		if got := len(inc.Request.Approved) == 1; got != may {
			t.Errorf("%s approved by whose change it is: %v, want %v (%s)", verb, got, may, l.lastReply().Text)
		}
	}
}

// TestApprovalsOfTheShell: at the shell people are who they say they are, so that
// all of them are one.
func TestApprovalsOfTheShell(t *testing.T) {
	l, inc := approvable(t)
	l.say("c1", remediation.VerbFix, "shell:a", inc)
	inc = l.say("c2", remediation.VerbApprove, "shell:b", inc)
	if len(inc.Request.Approved) != 0 || !l.lastReply().Failed {
		t.Errorf("two names of one shell: %+v", inc.Request)
	}
}

// TestRequestsEnd: declined, forgotten, overtaken, or of people who may not decide
// any more.
func TestRequestsEnd(t *testing.T) {
	t.Run("declined", func(t *testing.T) {
		l, inc := approvable(t)
		inc = l.say("c1", remediation.VerbIgnore, "U1", inc)
		state := inc.State()
		inc = l.say("c2", remediation.VerbDecline, "U2", inc)
		if inc.Request != nil || inc.Status != remediation.StatusOpen || inc.State() == state {
			t.Errorf("it is %s with %+v", inc.Status, inc.Request)
		}
		l.say("c3", remediation.VerbApprove, "U3", inc)
		if r := l.lastReply(); !r.Failed || !strings.Contains(r.Text, "Nothing waits") {
			t.Errorf("approving what was declined: %+v", r)
		}
	})
	t.Run("forgotten", func(t *testing.T) {
		l, inc := approvable(t)
		l.say("c1", remediation.VerbFix, "U1", inc)
		if inc = l.later(25 * time.Hour); inc.Request != nil || inc.Status != remediation.StatusOpen || !strings.Contains(l.threadTexts(), "not approved in time") {
			t.Errorf("it is %s with %+v", inc.Status, inc.Request)
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		l, inc := approvable(t)
		l.say("c1", remediation.VerbFix, "U1", inc)
		inc = l.say("c2", remediation.VerbIgnore, "U2", inc)
		if r := l.lastReply(); inc.Request.Verb != remediation.VerbFix || !r.Failed || !strings.Contains(r.Text, "already") {
			t.Errorf("a second request: %+v, %+v", inc.Request, r)
		}
	})
	t.Run("of somebody who may not any more", func(t *testing.T) {
		l, inc := approvable(t)
		l.say("c1", remediation.VerbFix, "U1", inc)
		l.say("c2", remediation.VerbApprove, "U2", inc)
		l.config.Rules[0].Approvers = []string{"U1", "U3", "U4"}
		inc = l.say("c3", remediation.VerbApprove, "U3", inc)
		if inc.Status != remediation.StatusOpen || len(l.doors.changes()) != 0 || !l.lastReply().Failed {
			t.Errorf("it is %s, changes %v", inc.Status, l.doors.changes())
		}
	})
	t.Run("for what does not fit", func(t *testing.T) {
		l, inc := approvable(t)
		inc = l.say("c1", remediation.VerbUndo, "U1", inc)
		if inc.Request != nil || !l.lastReply().Failed {
			t.Errorf("an undo of what was not fixed waits for approvals: %+v", inc.Request)
		}
	})
	t.Run("more are wanted by now", func(t *testing.T) {
		l, inc := approvable(t)
		l.say("c1", remediation.VerbFix, "U1", inc)
		l.say("c2", remediation.VerbApprove, "U2", inc)
		l.config.Rules[0].Approvals = 3
		if inc = l.say("c3", remediation.VerbApprove, "U3", inc); inc.Status != remediation.StatusOpen || inc.Request.Needed != 3 {
			t.Errorf("it is %s with %+v", inc.Status, inc.Request)
		}
	})
}

// TestApprovalsAtOnce: of many approvals at the same time each counts once, and it
// is done once.
func TestApprovalsAtOnce(t *testing.T) {
	l, inc := approvable(t)
	l.start()
	l.submit(remediation.Command{ID: "c0", Verb: remediation.VerbFix, Incident: inc.ID, By: "U1"})
	l.settled()
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			l.submit(remediation.Command{ID: fmt.Sprint("a", i), Verb: remediation.VerbApprove, Incident: inc.ID, By: fmt.Sprint("U", 2+i%3)})
		})
	}
	all.Wait()
	l.settled()
	inc = l.one(remediation.StatusFixed)
	if len(l.doors.changes()) != 1 {
		t.Errorf("changes %v", l.doors.changes())
	}
	i := slices.IndexFunc(inc.History, func(tr remediation.Transition) bool { return tr.To == remediation.StatusFixing })
	if got := inc.History[i].Approved; len(got) != 2 || got[0] == got[1] {
		t.Errorf("approved by %v", got)
	}
}

// TestAnUndoNeedsApprovalsToo, and so does whatever leaves something open.
func TestAnUndoNeedsApprovalsToo(t *testing.T) {
	l, inc := approvable(t)
	l.say("c1", remediation.VerbFix, "U1", inc)
	l.say("c2", remediation.VerbApprove, "U2", inc)
	l.say("c3", remediation.VerbApprove, "U3", inc)
	inc = l.say("c4", remediation.VerbUndo, "U1", inc)
	if inc.Status != remediation.StatusFixed || inc.Request == nil {
		t.Fatalf("it is %s", inc.Status)
	}
	l.say("c5", remediation.VerbApprove, "U2", inc)
	if inc = l.say("c6", remediation.VerbApprove, "U3", inc); inc.Status != remediation.StatusUndone {
		t.Errorf("it is %s", inc.Status)
	}
}
