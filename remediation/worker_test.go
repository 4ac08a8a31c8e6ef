package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/remediation"
)

// TestOnePlaceDoesNotHoldUpTheOthers: of a flood from one account four are
// worked at at once, and what comes from another account meanwhile is not left
// waiting.
func TestOnePlaceDoesNotHoldUpTheOthers(t *testing.T) {
	l := newLab(t)
	gate := make(chan struct{})
	var mu sync.Mutex
	busy, most := 0, 0
	other := make(chan struct{}, 1)
	l.doors.onRead = func(r remediation.Ref) {
		if r.Account != "111122223333" {
			other <- struct{}{}
			return
		}
		mu.Lock()
		busy++
		most = max(most, busy)
		mu.Unlock()
		<-gate
		mu.Lock()
		busy--
		mu.Unlock()
	}
	var flood []remediation.Signal
	for i := range 40 {
		house := fmt.Sprint("h", i)
		l.doors.set(house, "front")
		flood = append(flood, signal(fmt.Sprint("e", i), house, "front"))
	}
	l.accept(flood...)
	elsewhere := signal("other", "elsewhere", "front")
	elsewhere.Resource.Account = "444455556666"
	l.accept(elsewhere)
	l.start()
	select {
	case <-other:
	case <-time.After(20 * time.Second):
		t.Error("what another account needs waits behind the flood")
	}
	l.until("four at once", func() bool { mu.Lock(); defer mu.Unlock(); return busy == 4 })
	close(gate)
	l.settled()
	mu.Lock()
	defer mu.Unlock()
	if most != 4 {
		t.Errorf("%d jobs of one account ran at once, want four", most)
	}
}

// TestDrain: an invocation does what is due and what comes of it, and ends; one
// whose time is nearly over begins nothing.
func TestDrain(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	short, cancel := context.WithDeadline(t.Context(), l.clock().Add(10*time.Second))
	defer cancel()
	if err := l.engine.Drain(short); err != nil {
		t.Fatal(err)
	}
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes with no time left", n)
	}
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.one(remediation.StatusFixed)
	if got := l.slack.ops(); len(got) == 0 || got[0] != remediation.OpMessage {
		t.Errorf("when Drain returns Slack was told %v", got)
	}
}

// TestIgnoreRunsOut: once its time is over an ignored incident asks again by
// itself, and one that was ignored anew in between does not.
func TestIgnoreRunsOut(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	state := inc.State()
	l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbIgnore, Incident: inc.ID, State: &state, By: "U1", Reason: "for now", For: time.Hour})
	l.one(remediation.StatusIgnored)
	l.advance(20 * time.Minute)
	l.accept(signal("e2", "h", "side"))
	l.settled()
	l.one(remediation.StatusIgnored)
	l.advance(41 * time.Minute)
	inc = l.one(remediation.StatusOpen)
	if last := inc.Last(); last.By != remediation.ByItself || last.Reason != "the ignore has run out" {
		t.Errorf("reopened by %q because %q", last.By, last.Reason)
	}
}

// TestWhatComesAgainAfterAnIgnoreIsAsked even where the timer has not fired.
func TestWhatComesAgainAfterAnIgnoreIsAsked(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	drain := func() {
		t.Helper()
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	drain()
	inc := l.one(remediation.StatusOpen)
	l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbIgnore, Incident: inc.ID, By: "U1", Reason: "for now", For: time.Hour})
	drain()
	l.one(remediation.StatusIgnored)
	timers := l.jobs(l.clock().Add(2 * time.Hour))
	if len(timers) != 1 {
		t.Fatalf("timers: %v", timers)
	}
	timers[0].Done = true // lost
	if err := l.store.Commit(t.Context(), remediation.Write{Jobs: timers}); err != nil {
		t.Fatal(err)
	}
	l.advance(61 * time.Minute)
	l.accept(signal("e2", "h", "side"))
	drain()
	l.one(remediation.StatusOpen)
}

// TestSweepDaily: what is long settled goes by itself.
func TestSweepDaily(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	for range 2 {
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.advance(32 * 24 * time.Hour)
	}
	if _, err := l.store.Job(t.Context(), "signal/e1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("the job of 32 days ago: %v", err)
	}
	if _, err := l.store.Incident(t.Context(), l.incidents()[0].ID); err != nil {
		t.Errorf("the incident: %v", err)
	}
}

// TestReconcile: what no event has told is found by itself, once a period
// whatever the number of processes, and told only while it is new.
func TestReconcile(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Config.Reconcile = 6 * time.Hour })
	twin := remediation.New(remediation.Options{Store: l.store, Provider: l.doors, Config: l.config, Now: l.clock,
		Notifiers: map[string]remediation.Notifier{remediation.NotifySlack: l.slack}})
	drain := func() {
		t.Helper()
		for _, e := range []*remediation.Engine{twin, l.engine} {
			if err := e.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	drain()
	l.doors.set("h", "front")
	drain()
	if n := len(l.incidents()); n != 0 {
		t.Fatalf("%d incidents before the period is over", n)
	}
	summaries := func() (n int) {
		for _, op := range l.slack.ops() {
			if op == remediation.OpScan {
				n++
			}
		}
		return n
	}
	for range 3 {
		l.advance(6 * time.Hour)
		drain()
		all := l.incidents()
		if len(all) != 1 || all[0].Status != remediation.StatusOpen {
			t.Fatalf("incidents: %v", all)
		}
		inc := all[0]
		if !strings.HasPrefix(inc.Finding.EventID, "scan/reconcile/") || inc.Decision.Action != remediation.ActionAsk {
			t.Errorf("event %s, decision %+v", inc.Finding.EventID, inc.Decision)
		}
	}
	if n := summaries(); n != 1 {
		t.Errorf("%d summaries, want the first one's alone", n)
	}
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes without a click", n)
	}
}

// TestStopFinishes: what is under way when secbot shall end is ended first.
func TestStopFinishes(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	inCall, goOn := make(chan struct{}), make(chan struct{})
	l.doors.onCall = func(context.Context) { close(inCall); <-goOn }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.engine.Run(ctx) }()
	l.accept(signal("e1", "h", "front"))
	<-inCall
	cancel()
	close(goOn)
	<-ended
	if inc := l.incidents()[0]; inc.Status != remediation.StatusFixed {
		t.Errorf("the incident is %s after a graceful stop", inc.Status)
	}
}

// TestStopHandsBack: what does not end in time is free for the next process at
// once, and is taken up where it stood.
func TestStopHandsBack(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Grace = time.Millisecond })
	l.doors.set("h", "front")
	inCall := make(chan struct{})
	l.doors.onCall = func(ctx context.Context) { close(inCall); <-ctx.Done() }
	l.doors.fail = func(call string) error {
		if !strings.HasPrefix(call, "read") {
			return context.Canceled // the call was cut
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.engine.Run(ctx) }()
	l.accept(signal("e1", "h", "front"))
	<-inCall
	cancel()
	<-ended
	if inc := l.incidents()[0]; inc.Status != remediation.StatusFixing {
		t.Fatalf("the incident is %s", inc.Status)
	}
	l.doors.onCall, l.doors.fail = nil, nil
	l.advance(2 * time.Second) // the pause after a first failure, far less than a lease
	if err := l.again().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inc := l.incidents()[0]; inc.Status != remediation.StatusFixed {
		t.Errorf("the incident is %s, though another process works", inc.Status)
	}
}
