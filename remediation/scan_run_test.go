package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// run reads how a scan stands.
func (l *lab) run(id string) remediation.ScanRun {
	l.t.Helper()
	run, err := remediation.ReadScan(l.t.Context(), l.store, id)
	if errors.Is(err, remediation.ErrNotFound) {
		return remediation.ScanRun{}
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return *run
}

func scanBy(id, by string) remediation.Command {
	return remediation.Command{ID: id, Verb: remediation.VerbScan, By: by, Scope: "sg", ReplyTo: remediation.ReplyTo{User: by}}
}

// halfway starts a scan of ten houses, of which all but three wait at the gate.
func halfway(t *testing.T) (l *lab, gate chan struct{}) {
	l = newLab(t, func(o *remediation.Options) { o.ScanLook = 5 * time.Millisecond })
	for i := range 10 {
		l.doors.set(fmt.Sprint("h", i), "front")
	}
	gate = make(chan struct{})
	var reads atomic.Int64
	l.doors.onReading = func(ctx context.Context) error {
		if reads.Add(1) <= 3 {
			return nil
		}
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.start()
	l.submit(scanBy("s", "U9"))
	l.until("the scan has begun", func() bool { return l.run("s").ID != "" })
	return l, gate
}

// TestScanShowsHowFarItIs, at most every three seconds, and with one notice at a
// time on its way.
func TestScanShowsHowFarItIs(t *testing.T) {
	l, gate := halfway(t)
	if run := l.run("s"); run.Read != 0 {
		t.Errorf("before three seconds are over it shows %+v", run)
	}
	l.advance(remediation.ScanEvery)
	l.until("it shows what was read", func() bool { run := l.run("s"); return run.Read == 3 && run.Found == 3 })
	l.until("the message was told", func() bool { return l.slack.scans()[remediation.ScanMessage("s")] == 2 })
	for range 3 { // nothing is read meanwhile
		l.advance(remediation.ScanEvery)
		time.Sleep(20 * time.Millisecond)
	}
	if n := l.slack.scans()[remediation.ScanMessage("s")]; n != 2 {
		t.Errorf("%d notices, though nothing has changed", n)
	}
	close(gate)
	l.settled()
	report := l.scanned("s")
	if report.Open != 10 || report.Read != 10 || !report.Complete() || len(report.Groups) != 1 || len(report.Groups[0].Incidents) != 10 {
		t.Errorf("in the end it says %+v", report)
	}
}

// TestScanProgressDoesNotPileUp: where Slack takes nothing, no more than one notice
// waits, whatever the time.
func TestScanProgressDoesNotPileUp(t *testing.T) {
	l, gate := halfway(t)
	l.slack.mu.Lock()
	l.slack.fail = func(remediation.Notice) error { return errors.New("Slack is down") }
	l.slack.mu.Unlock()
	for range 20 {
		l.advance(remediation.ScanEvery)
		time.Sleep(10 * time.Millisecond)
	}
	all, err := l.store.Notices(t.Context(), remediation.ScanMessage("s"))
	if err != nil || len(all) > 2 {
		t.Errorf("%d notices (%v)", len(all), err)
	}
	close(gate)
	l.until("it has ended", func() bool { return l.run("s").Report != nil })
}

// TestScanIsCancelled: what was found until then is told, and that it is not all.
func TestScanIsCancelled(t *testing.T) {
	l, gate := halfway(t)
	l.until("three were read", func() bool { l.advance(remediation.ScanEvery); return l.run("s").Read == 3 })
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbCancel, By: "U8", Scope: "s", ReplyTo: remediation.ReplyTo{User: "U8"}})
	l.until("the scan has ended", func() bool { return l.run("s").Report != nil })
	close(gate)
	l.settled()
	report := l.scanned("s")
	if report.CancelledBy != "U8" || report.Complete() || report.Unread != 0 || report.Open != 3 {
		t.Errorf("it says %+v", report)
	}
	if n := len(l.incidents()); n != report.Open {
		t.Errorf("%d incidents, and %d open in the report", n, report.Open)
	}
	l.submit(remediation.Command{ID: "c2", Verb: remediation.VerbCancel, By: "U8", Scope: "s", ReplyTo: remediation.ReplyTo{User: "U8"}})
	l.settled()
	if r := l.lastReply(); !r.Failed || !strings.Contains(r.Text, "ended already") {
		t.Errorf("a second time: %+v", r)
	}
	l.submit(remediation.Command{ID: "c3", Verb: remediation.VerbCancel, By: "U8", Scope: "nowhere", ReplyTo: remediation.ReplyTo{User: "U8"}})
	l.settled()
	if r := l.lastReply(); !r.Failed || !strings.Contains(r.Text, "does not know that scan") {
		t.Errorf("one that nobody knows: %+v", r)
	}
}

// TestScanDiffers: a scan tells what is new and what is closed since the last of its
// scope, and does not take for closed what it could not read.
func TestScanDiffers(t *testing.T) {
	l := newLab(t)
	l.start()
	scan := func(id string) *remediation.ScanReport {
		l.advance(2 * time.Minute)
		l.submit(scanBy(id, "U9"))
		l.settled()
		return l.scanned(id)
	}
	for _, h := range []string{"a", "b", "c"} {
		l.doors.set(h, "front")
	}
	if d := scan("1").Diff; d != nil {
		t.Errorf("the first differs from nothing: %+v", d)
	}
	l.doors.set("a")
	l.doors.set("d", "front")
	r := scan("2")
	if d := r.Diff; d == nil || d.New != 1 || d.Closed != 1 || d.Unread != 0 || len(d.Gone) != 1 || d.Gone[0].Resource.ID != "a" || d.Unsure {
		t.Errorf("the second: %+v", d)
	}
	fresh := 0
	for _, f := range r.Groups[0].Findings {
		if f.New {
			fresh++
			if f.Finding.Resource.ID != "d" {
				t.Errorf("%s is called new", f.Finding.Resource.ID)
			}
		}
	}
	if fresh != 1 {
		t.Errorf("%d are called new", fresh)
	}
	l.doors.fail = func(call string) error {
		if strings.HasSuffix(call, " b") {
			return &smithy.GenericAPIError{Code: "AccessDenied"}
		}
		return nil
	}
	r = scan("3")
	if d := r.Diff; r.Unread != 1 || d == nil || d.New != 0 || d.Closed != 0 || d.Unread != 1 {
		t.Errorf("the third, which could not read b: %+v %+v", r, d)
	}
	l.doors.fail = nil
	if d := scan("4").Diff; d == nil || d.New != 0 || d.Closed != 0 || !d.Unsure {
		t.Errorf("the fourth: b was open all the time: %+v", d)
	}
	l.submit(remediation.Command{ID: "s3", Verb: remediation.VerbScan, By: "U9", Scope: "s3"})
	l.settled()
	if d := l.scanned("s3").Diff; d != nil {
		t.Errorf("another scope is compared: %+v", d)
	}
}

// bulk is a scan that has found n houses open, and what is to be fixed of it.
func bulk(t *testing.T, n int, change ...func(*remediation.Options)) (*lab, []remediation.Target) {
	l := newLab(t, change...)
	for i := range n {
		l.doors.set(fmt.Sprintf("h%02d", i), "front")
	}
	l.start()
	l.submit(scanBy("s", "U9"))
	l.settled()
	var targets []remediation.Target
	for _, inc := range l.incidents() {
		targets = append(targets, remediation.Target{Incident: inc.ID, State: inc.State()})
	}
	return l, targets
}

func (l *lab) fixAll(id, by string, targets []remediation.Target) remediation.Reply {
	l.t.Helper()
	l.submit(remediation.Command{ID: id, Verb: remediation.VerbFixAll, By: by, Scope: "s", Targets: targets, ReplyTo: remediation.ReplyTo{User: by}})
	l.settled()
	return l.lastReply()
}

// TestFixAll: what is ticked is fixed, once, and the message and its thread say so.
func TestFixAll(t *testing.T) {
	l, targets := bulk(t, 15)
	if r := l.fixAll("f", "U1", targets[3:]); r.Failed || !strings.HasPrefix(r.Text, "Reverted 12 of 12.") {
		t.Errorf("the answer is %+v", r)
	}
	if got := l.statuses(); got[remediation.StatusFixed] != 12 || got[remediation.StatusOpen] != 3 {
		t.Errorf("statuses: %v", got)
	}
	if n := len(l.doors.changes()); n != 12 {
		t.Errorf("%d changes", n)
	}
	group := l.scanned("s").Groups[0]
	if len(group.Incidents) != 3 || group.Closed != 12 || !slices.ContainsFunc(group.Findings, func(f remediation.ScanFinding) bool { return f.Status == remediation.StatusFixed }) {
		t.Errorf("the scan's message says %+v", group)
	}
	if !strings.Contains(l.threadTexts(), "Fix All by U1: Reverted 12 of 12.") {
		t.Errorf("the thread says %s", l.threadTexts())
	}
	// The same form once more: all of them have moved on.
	l.advance(time.Minute)
	if r := l.fixAll("f2", "U1", targets[3:]); !r.Failed || !strings.HasPrefix(r.Text, "Reverted 0 of 12; 12 were refused.") || len(r.Lines) != 12 {
		t.Errorf("the second answer is %+v", r)
	}
	if n := len(l.doors.changes()); n != 12 {
		t.Errorf("%d changes after the second", n)
	}
	if _, err := remediation.VerifyOwnLog(t.Context(), l.store); err != nil {
		t.Error(err)
	}
}

// TestFixAllRefuses: by the same rules as one fix.
func TestFixAllRefuses(t *testing.T) {
	l, targets := bulk(t, 3)
	if r := l.fixAll("stranger", "U7", targets); !r.Failed || !strings.HasPrefix(r.Text, "Reverted 0 of 3; 3 were refused.") || len(r.Lines) != 1 || !strings.HasPrefix(r.Lines[0], "3 times: You are not") {
		t.Errorf("a stranger is told %+v", r)
	}
	l.order("p", remediation.VerbPause, "")
	l.settled()
	if r := l.fixAll("paused", "U1", targets); !r.Failed || !strings.Contains(strings.Join(r.Lines, " "), "is paused") {
		t.Errorf("while paused: %+v", r)
	}
	l.order("r", remediation.VerbResume, "")
	l.settled()
	for name, wrong := range map[string][]remediation.Target{"none": nil, "too many": slices.Repeat(targets, 40), "unknown": {{Incident: "nobody"}}} {
		if r := l.fixAll("wrong "+name, "U1", wrong); !r.Failed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes", n)
	}
}

// TestFixAllAsksForApprovals where one fix would.
func TestFixAllAsksForApprovals(t *testing.T) {
	l, targets := bulk(t, 2, func(o *remediation.Options) { o.Config.Rules[0].Approvals = 1 })
	if r := l.fixAll("f", "U1", targets); r.Failed || !strings.HasPrefix(r.Text, "Reverted 0 of 2; 2 wait for the approval of others.") {
		t.Errorf("the answer is %+v", r)
	}
	for _, inc := range l.incidents() {
		if inc.Request == nil || inc.Request.By != "U1" {
			t.Errorf("incident %s has the request %+v", inc.ID, inc.Request)
		}
	}
}

// TestFixAllGoesOnAfterACrash: what was begun before is not called refused.
func TestFixAllGoesOnAfterACrash(t *testing.T) {
	var calls atomic.Int64
	var over atomic.Bool
	blocked := make(chan struct{})
	onCall := func(ctx context.Context) {
		if calls.Add(1) > 2 && !over.Load() {
			select {
			case <-ctx.Done():
			case <-blocked:
			}
		}
	}
	l, targets := bulk(t, 6, func(o *remediation.Options) { o.Provider.(*door).onCall = onCall })
	l.submit(remediation.Command{ID: "f", Verb: remediation.VerbFixAll, By: "U1", Scope: "s", Targets: targets, ReplyTo: remediation.ReplyTo{User: "U1"}})
	l.until("two are fixed", func() bool { return l.statuses()[remediation.StatusFixed] == 2 })
	l.advance(2 * time.Minute) // the leases of the first end
	over.Store(true)
	second := l.again()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = second.Run(ctx) }()
	l.until("all are fixed", func() bool { return l.statuses()[remediation.StatusFixed] == 6 })
	close(blocked)
	l.until("the answer", func() bool {
		return slices.ContainsFunc(l.slack.replies(t), func(r remediation.Reply) bool { return strings.HasPrefix(r.Text, "Reverted ") })
	})
	cancel()
	<-ended
	for _, r := range l.slack.replies(t) {
		if strings.Contains(r.Text, "refused") {
			t.Errorf("the answer is %+v", r)
		}
	}
}
