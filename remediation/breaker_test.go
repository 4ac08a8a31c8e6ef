package remediation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// flood has secbot see n opened front doors, each of a house of its own.
func (l *lab) flood(prefix string, n int, change func(*remediation.Signal)) {
	var sigs []remediation.Signal
	for i := range n {
		house := fmt.Sprint(prefix, i)
		l.doors.set(house, "front")
		sig := signal("e-"+house, house, "front")
		if change != nil {
			change(&sig)
		}
		sigs = append(sigs, sig)
	}
	l.accept(sigs...)
	l.settledSoon()
}

// settledSoon is settled for work that waits for other work.
func (l *lab) settledSoon() {
	l.t.Helper()
	l.until("all is through", func() bool {
		l.advance(10 * time.Millisecond)
		if len(l.jobs(l.clock().Add(30*time.Minute))) > 0 {
			return false
		}
		// What is leased is under way; a digest waits for its minute's end.
		notices, err := l.store.DueNotices(l.t.Context(), l.clock().Add(31*time.Second), 1000)
		return err == nil && !slices.ContainsFunc(notices, func(n *remediation.Notice) bool { return n.Op != remediation.OpDigest })
	})
}

func (l *lab) statuses() map[remediation.Status]int {
	count := map[remediation.Status]int{}
	for _, inc := range l.incidents() {
		count[inc.Status]++
	}
	return count
}

// TestBreaker: beyond so many automatic fixes secbot asks, tells so once, and
// goes on asking until a responder resets it.
func TestBreaker(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Config.Heartbeat = 0 })
	l.config.Breaker = remediation.Breaker{Fixes: 5, Overall: 8, Window: 10 * time.Minute}
	l.start()
	l.flood("a", 12, nil)
	if got := l.statuses(); got[remediation.StatusFixed] != 5 || got[remediation.StatusOpen] != 7 {
		t.Fatalf("of 12 in one account: %v", got)
	}
	for _, inc := range l.incidents() {
		if inc.Status == remediation.StatusOpen && (inc.Decision.Action != remediation.ActionAsk || !strings.Contains(inc.Decision.Why, "/secbot reset")) {
			t.Errorf("an open incident: %+v", inc.Decision)
		}
	}
	if n := l.slack.count(remediation.OpAlert); n != 1 {
		t.Errorf("%d alerts", n)
	}
	l.advance(time.Hour)
	l.flood("b", 1, nil)
	if got := l.statuses()[remediation.StatusFixed]; got != 5 {
		t.Errorf("an hour later, without a reset, %d are fixed", got)
	}

	l.submit(remediation.Command{ID: "r0", Verb: remediation.VerbReset, By: "U9"})
	l.settled()
	l.flood("c", 1, nil)
	if got := l.statuses()[remediation.StatusFixed]; got != 5 {
		t.Errorf("after a stranger's reset %d are fixed", got)
	}
	l.advance(31 * 24 * time.Hour) // which circuit breakers are open is known without recent incidents
	l.submit(remediation.Command{ID: "r1", Verb: remediation.VerbReset, By: "U1", Reason: "it was a drill"})
	l.settled()
	l.flood("d", 1, nil)
	if got := l.statuses()[remediation.StatusFixed]; got != 6 {
		t.Errorf("after the reset %d are fixed", got)
	}
	replies := l.slack.replies(t)
	if len(replies) != 2 || !replies[0].Failed || replies[1].Text != "1 circuit breaker(s) reset." {
		t.Errorf("replies %+v", replies)
	}
	if n := l.slack.count(remediation.OpAlert); n != 2 {
		t.Errorf("%d alerts, want that it was opened and that it was reset", n)
	}
	own, err := l.store.Audit(t.Context(), remediation.OwnLog)
	if err != nil {
		t.Fatal(err)
	}
	place := "the circuit breaker for account " + toyAccount
	checkLog(t, own, []wants{
		{"secbot", "opened " + place, "5 automatic fixes within 10 minutes", nil},
		{"U9", "refused to reset", "not one of the people", nil},
		{"U1", "reset " + place, "it was a drill", nil},
	})
	if n, err := remediation.VerifyOwnLog(t.Context(), l.store); n != 3 || err != nil {
		t.Errorf("secbot's own log: %d entries, %v", n, err)
	}
}

// TestBreakerOverall: many accounts with little each are a flood too.
func TestBreakerOverall(t *testing.T) {
	l := newLab(t)
	l.config.Breaker = remediation.Breaker{Fixes: 5, Overall: 8, Window: 10 * time.Minute}
	l.start()
	n := 0
	l.flood("a", 20, func(sig *remediation.Signal) {
		n++
		sig.Resource.Account = fmt.Sprintf("%012d", n%10)
	})
	if got := l.statuses(); got[remediation.StatusFixed] != 8 || got[remediation.StatusOpen] != 12 {
		t.Errorf("of 20 in ten accounts: %v", got)
	}
	l.submit(remediation.Command{ID: "r", Verb: remediation.VerbReset, By: "U1", Scope: "all accounts"})
	l.settled()
	l.flood("b", 1, nil)
	if got := l.statuses()[remediation.StatusFixed]; got != 9 {
		t.Errorf("after the reset of its button %d are fixed", got)
	}
}

// TestBreakerForgets what is out of the window, and is off where nobody wants it.
func TestBreakerForgets(t *testing.T) {
	l := newLab(t)
	l.config.Breaker = remediation.Breaker{Fixes: 5, Window: 10 * time.Minute}
	l.start()
	for i := range 4 {
		l.flood(fmt.Sprint("a", i, "-"), 4, nil)
		l.advance(11 * time.Minute)
	}
	if got := l.statuses()[remediation.StatusFixed]; got != 16 {
		t.Errorf("of 4 each 11 minutes %d are fixed", got)
	}
	l.config.Breaker = remediation.Breaker{}
	l.flood("b", 20, nil)
	if got := l.statuses()[remediation.StatusFixed]; got != 36 {
		t.Errorf("without a breaker %d are fixed", got)
	}
}

// TestLoopWithoutIdentity: where secbot does not know its own changes, the cap
// on the changes of one resource ends the loop after three.
func TestLoopWithoutIdentity(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	n := 0
	l.doors.onCall = func(context.Context) { n++ }
	l.start()
	for i := range 10 {
		// Whoever it is, it is opened again after each change.
		l.doors.set("h", "front")
		l.advance(time.Minute)
		sig := signal(fmt.Sprint("e", i), "h", "front")
		sig.Actor = ownActor()
		l.accept(sig)
		l.settledSoon()
	}
	if n != 3 {
		t.Errorf("%d changes of one resource, want 3", n)
	}
	last := l.incidents()[0]
	if last.Status != remediation.StatusOpen || !strings.Contains(last.Decision.Why, "within the hour") {
		t.Errorf("in the end %s: %q", last.Status, last.Decision.Why)
	}
}

// TestDuplicatesInAnyOrder: each event ten times, shuffled, beside clicks of
// five people: one fix, one message, one winner, and the others are told.
func TestDuplicatesInAnyOrder(t *testing.T) {
	l := newLab(t)
	l.config.Responders = []string{"U1", "U2", "U3", "U4", "U5"}
	l.doors.set("h", "side")
	l.start()
	l.accept(signal("e0", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	state := inc.State()
	var all []func()
	for i := range 5 {
		for range 10 {
			all = append(all, func() { l.accept(signal(fmt.Sprint("e", i), "h", "side")) })
		}
		all = append(all, func() {
			l.submit(remediation.Command{ID: fmt.Sprint("c", i), Verb: remediation.VerbFix, Incident: inc.ID, State: &state, By: fmt.Sprint("U", i+1)})
		})
	}
	shuffle(all)
	done := make(chan struct{})
	for _, f := range all {
		go func() { f(); done <- struct{}{} }()
	}
	for range all {
		<-done
	}
	l.settledSoon()
	if got := l.doors.changes(); !slices.Equal(got, []string{"shut side"}) {
		t.Errorf("the calls were %v", got)
	}
	list := l.incidents()
	if len(list) != 1 || list[0].Status != remediation.StatusFixed {
		t.Errorf("%d incidents, the last is %s", len(list), list[0].Status)
	}
	messages, sent := map[string]bool{}, map[string]bool{}
	for _, n := range l.slack.sent() {
		if sent[n.ID] {
			t.Errorf("the notice %s was sent twice", n.ID)
		}
		if sent[n.ID] = true; n.Op == remediation.OpMessage {
			messages[n.Incident] = true
		}
	}
	if len(messages) != 1 {
		t.Errorf("%d messages, want one", len(messages))
	}
	if told := l.slack.replies(t); len(told) != 4 {
		t.Errorf("%d of the five were told that somebody was faster, want four: %+v", len(told), told)
	}
}

// TestBreakerCountsFixesOnly: what another breaker has kept back is not counted,
// and not told as done.
func TestBreakerCountsFixesOnly(t *testing.T) {
	l := newLab(t)
	l.config.Breaker = remediation.Breaker{Fixes: 5, Overall: 2, Window: 10 * time.Minute}
	l.start()
	l.flood("a", 12, nil)
	if n := l.statuses()[remediation.StatusFixed]; n != 2 {
		t.Errorf("%d were fixed", n)
	}
	if got := l.alerts(); len(got) != 1 || !strings.Contains(got[0], "all accounts") {
		t.Errorf("told %q", got)
	}
}
