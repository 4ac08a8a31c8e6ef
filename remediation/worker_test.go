package remediation_test

import (
	"context"
	"fmt"
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
