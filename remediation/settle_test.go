package remediation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

// TestClosedByHand: a question whose answer was given in AWS is over, once an
// event or a scan shows it; what comes later is asked about anew.
func TestClosedByHand(t *testing.T) {
	for name, see := range map[string]func(l *lab){
		"an event": func(l *lab) { l.accept(signal("by hand", "h")) },
		"a scan": func(l *lab) {
			l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.config.Rules = []remediation.PolicyRule{}
			l.doors.set("h", "front")
			l.start()
			l.accept(signal("e1", "h", "front"))
			l.one(remediation.StatusOpen)
			l.advance(2 * time.Minute)
			l.doors.set("h")
			see(l)
			inc := l.one(remediation.StatusResolved)
			if !strings.Contains(inc.Last().Reason, "without secbot") || l.slack.count(remediation.OpMessage) != 2 {
				t.Errorf("%q, told %v", inc.Last().Reason, l.slack.ops())
			}
			l.doors.set("h", "front")
			l.advance(time.Minute)
			l.accept(signal("e2", "h", "front"))
			l.settled()
			if all := l.incidents(); len(all) != 2 || all[0].Status != remediation.StatusOpen || all[0].Previous != inc.ID {
				t.Errorf("what came back is %+v", all[0])
			}
		})
	}
}

// TestTooSoonToSettle: right after the change AWS may show the state before it.
func TestTooSoonToSettle(t *testing.T) {
	l := newLab(t)
	l.config.Rules = []remediation.PolicyRule{}
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.one(remediation.StatusOpen)
	l.doors.set("h")
	l.advance(10 * time.Second)
	l.accept(signal("e2", "h"))
	l.one(remediation.StatusOpen)
	l.settled()
	// No other event comes, and yet it is not asked about for ever.
	l.advance(51 * time.Second)
	inc := l.one(remediation.StatusResolved)
	if !strings.Contains(inc.Last().Reason, "without secbot") {
		t.Errorf("%q", inc.Last().Reason)
	}
}

// TestSeemedClosed: what AWS showed too soon as closed, and is not, stays open.
func TestSeemedClosed(t *testing.T) {
	l := newLab(t)
	l.config.Rules = []remediation.PolicyRule{}
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.drain()
	l.doors.set("h")
	l.advance(10 * time.Second)
	l.accept(signal("e2", "h"))
	l.drain()
	l.doors.set("h", "front")
	before := l.doors.reads
	if inc := l.later(2 * time.Minute); inc.Status != remediation.StatusOpen || l.doors.reads == before {
		t.Errorf("it is %s after %d looks", inc.Status, l.doors.reads-before)
	}
}

// TestGoneAfterAnUndo: what an undo has put back and somebody then closes by hand is
// not let be any more, and its message says so.
func TestGoneAfterAnUndo(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": time.Second, "later": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			l, inc := asked(t, nil)
			l.say("c1", remediation.VerbFix, "U1", inc)
			l.say("c2", remediation.VerbUndo, "U1", inc)
			shown := l.slack.count(remediation.OpMessage)
			l.advance(wait)
			l.doors.set("h")
			l.accept(signal("by hand", "h"))
			l.drain()
			l.later(2 * time.Minute)
			if live, err := l.store.Suppressions(t.Context(), l.clock()); err != nil || len(live) != 0 {
				t.Errorf("%d are let be, %v", len(live), err)
			}
			if got := l.threadTexts(); !strings.Contains(got, "What the undo had put back is gone") || l.slack.count(remediation.OpMessage) != shown+1 {
				t.Errorf("shown %d times before and %d now, thread\n%s", shown, l.slack.count(remediation.OpMessage), got)
			}
			l.accept(signal("again by hand", "h"))
			l.drain()
			if got := l.threadTexts(); strings.Count(got, "is gone") != 1 {
				t.Errorf("told again:\n%s", got)
			}
			l.advance(time.Second)
			l.doors.set("h", "side")
			l.accept(signal("again", "h", "side"))
			l.drain()
			if all := l.incidents(); len(all) != 2 || all[0].Status != remediation.StatusOpen {
				t.Errorf("what comes after it is not asked about: %d incidents", len(all))
			}
		})
	}
}

// TestAskedAnew: a question that no longer tells what has come again gets a
// message of its own; a flood within the hour does not.
func TestAskedAnew(t *testing.T) {
	by := func(id, role string) remediation.Signal {
		sig := signal(id, "h", "front")
		sig.Actor.ARN = "arn:aws:iam::111122223333:role/" + role
		return sig
	}
	l := newLab(t)
	l.config.Rules = []remediation.PolicyRule{
		{Match: remediation.Match{Actors: []string{"*:role/terraform"}}, Then: remediation.ActionNotify},
		{Then: remediation.ActionAsk},
	}
	l.doors.set("h", "front")
	l.start()
	l.accept(by("e1", "terraform"))
	l.one(remediation.StatusOpen)
	l.accept(by("e2", "terraform"))
	l.one(remediation.StatusOpen) // once is told
	l.accept(by("e3", "dana"))
	l.settled()
	all := l.incidents()
	if len(all) != 2 || all[0].Decision.Action != remediation.ActionAsk || all[1].Status != remediation.StatusExpired || all[0].Previous != all[1].ID {
		t.Fatalf("a stronger decision: %d incidents, the newest %+v", len(all), all[0])
	}
	for i := range 20 {
		l.accept(by(fmt.Sprint("flood", i), "dana"))
	}
	l.settled()
	if n := len(l.incidents()); n != 2 {
		t.Errorf("%d incidents after a flood", n)
	}
	l.advance(25 * time.Hour)
	l.accept(by("late", "dana"))
	l.settled()
	if all := l.incidents(); len(all) != 3 || all[0].Status != remediation.StatusOpen || all[1].Status != remediation.StatusExpired {
		t.Errorf("a day later: %d incidents", len(all))
	}
}

// TestNotClaimed: what somebody else closed between plan and call is no fix of
// secbot's, and has no undo that would open it.
func TestNotClaimed(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.onApply = func() { l.doors.set("h") }
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.one(remediation.StatusResolved)
	for _, n := range l.slack.got {
		if strings.Contains(string(n.Payload), "What was changed") {
			t.Errorf("secbot made %d calls and says %s", len(l.doors.changes()), n.Payload)
		}
	}
}

// TestFreshEventIsLookedAtAgain: where the live state lacks what an event of a
// moment ago claims, one look is not enough.
func TestFreshEventIsLookedAtAgain(t *testing.T) {
	l := newLab(t)
	l.doors.set("h")
	sig := signal("e1", "h", "front")
	sig.At = l.clock()
	l.accept(sig)
	l.drain()
	if l.doors.reads != 1 || len(l.incidents()) != 0 {
		t.Fatalf("%d reads, %d incidents", l.doors.reads, len(l.incidents()))
	}
	l.doors.set("h", "front") // now it shows
	l.advance(time.Second)
	l.drain()
	l.one(remediation.StatusFixed)

	sig = signal("e2", "safe", "front")
	sig.At = l.clock()
	l.doors.set("safe")
	l.accept(sig)
	before := l.doors.reads
	for range 10 {
		l.drain()
		l.advance(5 * time.Second)
	}
	if n := l.doors.reads - before; n != 3 {
		t.Errorf("%d looks at what is safe, want 3", n)
	}
}

// TestCapCountsEverything: harmless changes of a resource do not push the
// automatic ones out of what the cap counts.
func TestCapCountsEverything(t *testing.T) {
	l := newLab(t)
	l.config.Breaker = remediation.Breaker{}
	l.start()
	n := 0
	again := func() {
		n++
		l.advance(time.Second)
		l.doors.set("h", "front")
		l.accept(signal(fmt.Sprint("f", n), "h", "front"))
		l.settled()
	}
	for range 3 {
		again()
	}
	for i := range 51 {
		name := fmt.Sprint("side", i)
		l.doors.set("h", name)
		l.accept(signal("s"+name, "h", name))
		l.settled()
	}
	again()
	if got := len(l.doors.changes()); got != 3 {
		t.Errorf("%d automatic changes of one resource within the hour", got)
	}
}

// TestScanOutOfTime: what a scan has found is told, also where the time was up
// before everything was read.
func TestScanOutOfTime(t *testing.T) {
	l := newLab(t)
	for i := range 30 {
		l.doors.set(fmt.Sprintf("h%02d", i), "front")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var reads atomic.Int32
	l.doors.onReading = func(ctx context.Context) error {
		if reads.Add(1) < 20 {
			return nil
		}
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > 95*time.Second {
			t.Errorf("%v are left for the reading of two minutes", left)
		}
		return context.DeadlineExceeded
	}
	l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
	if err := l.again(func(o *remediation.Options) { o.Now = time.Now }).Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(l.incidents()); n != 19 {
		t.Errorf("%d incidents of 19 open houses that were read", n)
	}
}

// TestReconcileGivenUp is told, and so is a command.
func TestReconcileGivenUp(t *testing.T) {
	l := newLab(t)
	l.config.Reconcile = 100 * time.Hour
	down := &downReads{Store: l.store}
	l.engine = l.again(func(o *remediation.Options) { o.Store = down })
	l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
	for range 80 {
		l.drain()
		l.advance(6 * time.Minute)
	}
	replies := l.slack.replies(t)
	if len(replies) != 1 || !replies[0].Failed || !strings.Contains(replies[0].Text, "gave up") {
		t.Errorf("who asked for the scan heard %+v", replies)
	}
	l.advance(100 * time.Hour)
	for range 80 {
		l.drain()
		l.advance(6 * time.Minute)
	}
	if got := l.alerts(); len(got) != 1 || !strings.Contains(got[0], "reconcile") {
		t.Errorf("told %q", got)
	}
}

// downReads fails the reading of waiting incidents, with which every scan begins.
type downReads struct{ remediation.Store }

func (s *downReads) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if q.Limit == 1000 {
		return nil, errors.New("the table is gone")
	}
	return s.Store.Incidents(ctx, q)
}

// slowList decides about an incident while the checkpoint reads the incidents.
type slowList struct {
	remediation.Store
	meanwhile func()
}

func (s *slowList) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	out, err := s.Store.Incidents(ctx, q)
	if f := s.meanwhile; q.Limit > 1000 && f != nil {
		s.meanwhile = nil
		f()
	}
	return out, err
}

// TestCheckpointMissesNothing: a log that grows while the heads are read stands
// in the next checkpoint.
func TestCheckpointMissesNothing(t *testing.T) {
	s := &slowList{}
	l := newLab(t, func(o *remediation.Options) { s.Store, o.Store = o.Store, s })
	l.config.Rules = []remediation.PolicyRule{}
	l.doors.set("h", "front")
	l.doors.set("g", "front")
	l.accept(signal("e1", "h", "front"), signal("e2", "g", "front"))
	l.drain()
	inc := l.incidents()[0]
	s.meanwhile = func() {
		l.advance(time.Second)
		other := l.again(func(o *remediation.Options) { o.Store = s.Store })
		if err := errors.Join(other.Submit(t.Context(), command("c", remediation.VerbIgnore, inc)), other.Drain(t.Context())); err != nil {
			t.Error(err)
		}
		l.advance(time.Second)
	}
	for range 5 {
		l.advance(time.Hour)
		l.drain()
	}
	now, err := s.Incident(t.Context(), inc.ID)
	if err != nil || now.Status != remediation.StatusIgnored {
		t.Fatalf("%+v %v", now, err)
	}
	for i := 1; ; i++ {
		rec, err := s.Record(t.Context(), fmt.Sprintf("checkpoint/%d", i))
		if err != nil {
			t.Fatal("the log's head is in no checkpoint, five hours later")
		}
		var c remediation.Checkpoint
		if err := json.Unmarshal(rec.Data, &c); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.Heads {
			if h.Incident == now.ID && h.Hash == now.AuditHead {
				return
			}
		}
	}
}
