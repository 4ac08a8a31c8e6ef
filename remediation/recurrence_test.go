package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

func command(id string, v remediation.Verb, inc *remediation.Incident) remediation.Command {
	return remediation.Command{ID: id, Verb: v, Incident: inc.ID, By: "U1", Reason: "x"}
}

// TestAnOpenQuestionHoldsNothingUp: what the policy closes by itself is closed,
// also where a scan, a cap that is over or a failure has left a question open.
func TestAnOpenQuestionHoldsNothingUp(t *testing.T) {
	t.Run("of a scan", func(t *testing.T) {
		l := newLab(t)
		l.doors.set("h", "front")
		l.start()
		l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
		l.one(remediation.StatusOpen)
		l.advance(14 * 24 * time.Hour)
		l.accept(signal("e1", "h", "front"))
		inc := l.one(remediation.StatusFixed)
		if got := l.doors.get("h"); len(got) != 0 || inc.Decision.Action != remediation.ActionAuto || inc.Finding.EventID != "e1" {
			t.Errorf("open are %v, decision %+v, finding of %s", got, inc.Decision, inc.Finding.EventID)
		}
	})
	t.Run("of a failure", func(t *testing.T) {
		l := newLab(t)
		l.doors.set("h", "front")
		l.doors.fail = func(call string) error {
			if strings.HasPrefix(call, "shut") {
				return &smithy.GenericAPIError{Code: "AccessDenied"}
			}
			return nil
		}
		stop := l.start()
		l.accept(signal("e1", "h", "front"))
		l.one(remediation.StatusFailed)
		stop()
		l.doors.fail = nil
		l.start()
		l.accept(signal("e2", "h", "front"))
		l.one(remediation.StatusFixed)
	})
	t.Run("but not endlessly", func(t *testing.T) {
		l := newLab(t)
		l.doors.set("h", "front")
		l.start()
		for i := range 6 {
			l.advance(time.Minute)
			l.doors.set("h", "front")
			l.accept(signal(fmt.Sprint("e", i), "h", "front"))
			l.settled()
		}
		if n := len(l.doors.changes()); n != 3 {
			t.Errorf("%d changes within the hour, want 3", n)
		}
		l.advance(2 * time.Hour)
		l.accept(signal("later", "h", "front"))
		l.settled()
		if n := len(l.doors.changes()); n != 4 {
			t.Errorf("%d changes once the hour is over, want 4", n)
		}
	})
}

// hooked is a store that is told of each Write before it is made.
type hooked struct {
	remediation.Store
	before func(remediation.Write)
}

func (s *hooked) Commit(ctx context.Context, w remediation.Write) error {
	s.before(w)
	return s.Store.Commit(ctx, w)
}

// TestReopenedWhileItIsFixed: an event that comes while its incident is being
// fixed is judged again once that has ended.
func TestReopenedWhileItIsFixed(t *testing.T) {
	var l *lab
	done := false
	st := &hooked{before: func(w remediation.Write) {
		if done || w.Incident == nil || w.Incident.Status != remediation.StatusFixed {
			return
		}
		done = true
		l.doors.set("h", "front") // after the read-back
		l.accept(signal("second", "h", "front"))
		l.until("the second event is looked at", func() bool {
			j, err := l.store.Job(t.Context(), "signal/second")
			return err == nil && j.Error != ""
		})
	}}
	l = newLab(t, func(o *remediation.Options) { st.Store, o.Store = o.Store, st })
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("first", "h", "front"))
	l.until("both are fixed", func() bool {
		l.advance(time.Second)
		all := l.incidents()
		return len(all) == 2 && all[0].Status == remediation.StatusFixed && all[1].Status == remediation.StatusFixed
	})
	if got := l.doors.get("h"); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

// TestRetryPlansOnWhatIsThere: a fix that was carried out and did not hold is
// planned anew.
func TestRetryPlansOnWhatIsThere(t *testing.T) {
	l := newLab(t)
	l.config.Rules = nil // ask
	l.doors.set("h", "side")
	l.doors.blind = true
	stop := l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	l.submit(command("c1", remediation.VerbFix, inc))
	l.one(remediation.StatusFailed) // it could not be seen when reading back
	stop()
	l.doors.blind = false
	l.doors.set("h", "side")
	l.start()
	l.submit(command("c2", remediation.VerbRetry, inc))
	l.one(remediation.StatusFixed)
	if got := l.doors.get("h"); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

// TestGivenUpIsTold: a fix that can't be carried through ends as failed, and
// can be decided again; an event that can't be judged becomes a question.
func TestGivenUpIsTold(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.onApply = func() { panic("a bug") }
	l.accept(signal("e1", "h", "front"))
	for range 20 {
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.advance(6 * time.Minute)
	}
	inc := l.incidents()[0]
	if inc.Status != remediation.StatusFailed || !strings.Contains(inc.Error, "gave up") || !slices.Contains(l.slack.ops(), remediation.OpMessage) {
		t.Errorf("status %s, error %q, Slack was told %v", inc.Status, inc.Error, l.slack.ops())
	}
	l.doors.onApply = nil
	l.submit(command("c", remediation.VerbRetry, inc))
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inc := l.incidents()[0]; inc.Status != remediation.StatusFixed {
		t.Errorf("after the retry it is %s: %s", inc.Status, inc.Error)
	}

	l.doors.onRead = func(remediation.Ref) { panic("another") }
	l.accept(signal("e2", "g", "front"))
	for range 60 {
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.advance(6 * time.Minute)
	}
	inc = l.incidents()[0]
	if inc.Finding.Resource.ID != "g" || inc.Status != remediation.StatusOpen || !strings.Contains(inc.Finding.Doubt, "could not be read") {
		t.Errorf("of the event that could not be judged: %s %+v", inc.Status, inc.Finding)
	}
}

// TestOtherAccountsAreAsked: AWS says of another account's resource that there
// is none, which must not end an event.
func TestOtherAccountsAreAsked(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Self = ownIdentity })
	l.start()
	sig := signal("e1", "h", "front")
	sig.Resource.Account = "444455556666"
	l.accept(sig)
	inc := l.one(remediation.StatusOpen)
	if !strings.Contains(inc.Finding.Doubt, "444455556666") || !strings.Contains(inc.Finding.Doubt, toyAccount) {
		t.Errorf("the doubt is %q", inc.Finding.Doubt)
	}
}

// TestThePolicyOfTodayDecidesWhoMay: who has been taken out may no more.
func TestThePolicyOfTodayDecidesWhoMay(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	l.config.Responders = []string{"U7"}
	var denied *remediation.DeniedError
	if err := l.engine.Authorise(t.Context(), "U1", inc); !errors.As(err, &denied) || !slices.Equal(denied.Approvers, []string{"U7"}) {
		t.Errorf("who was taken out: %v", err)
	}
	if err := l.engine.Authorise(t.Context(), "U7", inc); err != nil {
		t.Errorf("who was put in: %v", err)
	}
}

// TestObserveChangesNothing, not even by a click.
func TestObserveChangesNothing(t *testing.T) {
	l := newLab(t)
	l.config.Mode = remediation.ModeObserve
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusOpen)
	for _, v := range []remediation.Verb{remediation.VerbFix, remediation.VerbRetry, remediation.VerbUndo} {
		l.submit(command("c-"+string(v), v, inc))
	}
	l.settled()
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes", n)
	}
	for _, r := range l.slack.replies(t) {
		if !r.Failed || !strings.Contains(r.Text, "mode observe") {
			t.Errorf("reply %+v", r)
		}
	}
}

// TestOneScanAtATime: a second is refused while the first runs, and not after.
func TestOneScanAtATime(t *testing.T) {
	l := newLab(t)
	l.doors.set("h")
	reading, read := make(chan struct{}), make(chan struct{})
	once := true
	l.doors.onRead = func(remediation.Ref) {
		if once {
			once = false
			close(reading)
			<-read
		}
	}
	l.start()
	scan := func(id string) remediation.Command {
		return remediation.Command{ID: id, Verb: remediation.VerbScan, By: "U9", Scope: "sg"}
	}
	l.submit(scan("a"))
	<-reading
	l.submit(scan("b"))
	l.until("the second is refused", func() bool {
		all := l.slack.replies(t)
		return len(all) == 1 && strings.Contains(all[0].Text, "running already")
	})
	close(read)
	l.settled()
	l.submit(scan("c"))
	l.settled()
	if n := len(l.slack.replies(t)); n != 3 {
		t.Errorf("%d replies", n)
	}
	if n := len(l.slack.scans()); n != 2 {
		t.Errorf("%d scans were carried out, want the first and the third", n)
	}
}

// TestFloodsDelayNoClick: 200 events of one account that does not answer.
func TestFloodsDelayNoClick(t *testing.T) {
	l := newLab(t)
	l.doors.set("x", "side")
	stop := l.start()
	l.accept(signal("ask", "x", "side"))
	inc := l.one(remediation.StatusOpen)
	stop()
	gate := make(chan struct{})
	l.doors.onRead = func(r remediation.Ref) {
		if strings.HasPrefix(r.ID, "flood") {
			<-gate
		}
	}
	var flood []remediation.Signal
	for i := range 200 {
		flood = append(flood, signal(fmt.Sprint("e", i), fmt.Sprint("flood", i), "front"))
	}
	l.accept(flood...)
	l.advance(time.Second)
	other := signal("other", "x2", "front")
	other.Resource.Account = "444455556666"
	l.doors.set("x2", "front")
	l.accept(other)
	l.submit(command("c", remediation.VerbIgnore, inc))
	l.start()
	l.until("the click is done, and the other account's event", func() bool {
		got, err := l.store.Incident(t.Context(), inc.ID)
		return err == nil && got.Status == remediation.StatusIgnored && len(l.doors.get("x2")) == 0
	})
	close(gate)
	l.settled()
}

// TestScansKnowWhatEventsHaveOpened: a rule that an event told of together with
// another is not asked about twice.
func TestScansKnowWhatEventsHaveOpened(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side", "back")
	l.start()
	l.accept(signal("e1", "h", "side", "back"))
	l.one(remediation.StatusOpen)
	l.doors.set("h", "side") // the toy's scan finds what is there: one of the two
	l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
	l.settled()
	l.one(remediation.StatusOpen)
}

// TestBlindReconcilingIsTold, once.
func TestBlindReconcilingIsTold(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Config.Reconcile = time.Hour })
	l.doors.set("h")
	l.doors.fail = func(string) error { return &smithy.GenericAPIError{Code: "AccessDenied"} }
	for i, want := range []int{0, 1, 1, 1} {
		if i == 3 {
			l.doors.fail = nil
		}
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := l.slack.count(remediation.OpScan); n != want {
			t.Errorf("after %d hours %d summaries, want %d", i, n, want)
		}
		l.advance(time.Hour)
	}
}

// forgetful stores a Write, now and then, and says that it met another.
type forgetful struct {
	remediation.Store
	n int
}

func (s *forgetful) Commit(ctx context.Context, w remediation.Write) error {
	if err := s.Store.Commit(ctx, w); err != nil || w.Incident == nil {
		return err
	}
	if s.n++; s.n%2 == 1 {
		return nil
	}
	// As after an error, every version is as it was.
	w.Incident.Version--
	for _, j := range w.Jobs {
		j.Version--
	}
	for _, n := range w.Notices {
		n.Version--
	}
	for _, r := range w.Records {
		r.Version--
	}
	return remediation.ErrConflict
}

// TestLostAnswersOfTheStore: a write that was stored, and whose repetition by
// the SDK met itself, is no conflict: nothing is done or written down twice.
func TestLostAnswersOfTheStore(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Store = &forgetful{Store: o.Store} })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	inc := l.one(remediation.StatusFixed)
	log, err := l.store.Audit(t.Context(), inc.ID)
	if err != nil || len(inc.Outcomes) != 1 || remediation.VerifyAudit(inc, log) != nil {
		t.Errorf("%d outcomes, %v, %v", len(inc.Outcomes), err, remediation.VerifyAudit(inc, log))
	}
}

// unended is a store that fails to end the job of an event once.
type unended struct {
	remediation.Store
	failed bool
}

func (s *unended) Commit(ctx context.Context, w remediation.Write) error {
	for _, j := range w.Jobs {
		if strings.HasPrefix(j.ID, "signal/") && j.Done && !s.failed {
			s.failed = true
			return errors.New("the disk was full")
		}
	}
	return s.Store.Commit(ctx, w)
}

// TestAnEventIsOneIncident, also where it is taken up again after its incident
// was fixed: what is open then has an event of its own.
func TestAnEventIsOneIncident(t *testing.T) {
	s := &unended{}
	l := newLab(t, func(o *remediation.Options) { s.Store, o.Store = o.Store, s })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.drain()
	l.doors.set("h", "front")
	l.advance(time.Minute)
	l.drain()
	if !s.failed {
		t.Fatal("the event's job ended at once")
	}
	l.one(remediation.StatusFixed)
	l.accept(signal("e2", "h", "front"))
	l.drain()
	if n := len(l.incidents()); n != 2 {
		t.Errorf("%d incidents after another event, want 2", n)
	}
}

// staleLists is a store whose lists of incidents stay as they once were.
type staleLists struct {
	remediation.Store
	old    []*remediation.Incident // nil: they are as they should be
	judged func()                  // called once, after a state was read and before an incident is opened
}

func (s *staleLists) Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error) {
	if f := s.judged; f != nil {
		s.judged = nil
		f()
	}
	return s.Store.Suppressions(ctx, now)
}

func (s *staleLists) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if s.old != nil && q.Resource == "" {
		return s.old, nil
	}
	return s.Store.Incidents(ctx, q)
}

// TestClosedIsNotAskedAgain: while one process judges a state another closes the
// hole and settles its incident. That is seen though lists still show it open.
func TestClosedIsNotAskedAgain(t *testing.T) {
	l := newLab(t)
	stale := &staleLists{Store: l.store}
	two := l.again(func(o *remediation.Options) { o.Store = stale })
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	inc := l.one(remediation.StatusOpen)
	if err := two.Accept(t.Context(), []remediation.Signal{signal("e2", "h", "side")}); err != nil {
		t.Fatal(err)
	}
	l.advance(time.Second)
	stale.judged = func() {
		l.advance(time.Second)
		l.submit(command("c1", remediation.VerbFix, inc))
		l.drain()
		stale.old = []*remediation.Incident{inc}
	}
	if err := two.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.doors.get("h"); stale.old == nil || len(got) != 0 {
		t.Fatalf("the door was not closed in between: %v", got)
	}
	l.one(remediation.StatusFixed)
}
