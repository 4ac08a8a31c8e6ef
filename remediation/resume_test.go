package remediation_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// cut stops the engine while it makes a changing call, which has no effect, and
// gives the incident as the process has left it.
func (l *lab) cut(begin func()) *remediation.Incident {
	l.t.Helper()
	inCall := make(chan struct{})
	l.doors.onCall = func(ctx context.Context) { close(inCall); <-ctx.Done() }
	l.doors.fail = func(call string) error {
		if !strings.HasPrefix(call, "read") {
			return context.Canceled
		}
		return nil
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan error, 1)
	e := l.again(func(o *remediation.Options) { o.Grace = time.Millisecond })
	go func() { ended <- e.Run(ctx) }()
	begin()
	<-inCall
	cancel()
	<-ended
	l.doors.onCall, l.doors.fail = nil, nil
	l.advance(2 * time.Second)
	return l.incidents()[0]
}

// TestOtherPolicyAfterARestart: what secbot may do is what its configuration says
// now, also where it goes on with what it had begun.
func TestOtherPolicyAfterARestart(t *testing.T) {
	for name, change := range map[string]func(c *remediation.Config){
		"mode observe":                       func(c *remediation.Config) { c.Mode = remediation.ModeObserve },
		"mode ask":                           func(c *remediation.Config) { c.Mode = remediation.ModeAsk },
		"the rule asks now: no rule matched": func(c *remediation.Config) { c.Rules = []remediation.PolicyRule{} },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.doors.set("h", "front")
			if inc := l.cut(func() { l.accept(signal("e1", "h", "front")) }); inc.Status != remediation.StatusFixing {
				t.Fatalf("the incident is %s", inc.Status)
			}
			change(l.config)
			if err := l.again().Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			inc := l.one(remediation.StatusFailed)
			if n := len(l.doors.changes()); n != 0 {
				t.Errorf("%d changes", n)
			}
			if !strings.Contains(inc.Error, "observe") && !strings.Contains(inc.Error, "policy has changed") {
				t.Errorf("error %q", inc.Error)
			}
		})
	}
}

// TestObserveAfterARestart: an undo that has done nothing yet does nothing in mode
// observe, and one that has done a part is ended.
func TestObserveAfterARestart(t *testing.T) {
	for name, done := range map[string]bool{"nothing was undone": false, "it was undone, and nobody wrote that down": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.doors.set("h", "front")
			l.accept(signal("e1", "h", "front"))
			l.drain()
			inc := l.one(remediation.StatusFixed)
			if inc := l.cut(func() { l.submit(command("c", remediation.VerbUndo, inc)) }); inc.Status != remediation.StatusUndoing {
				t.Fatalf("the incident is %s", inc.Status)
			}
			want, open := remediation.StatusFixed, []string{}
			if done {
				want, open = remediation.StatusUndone, []string{"front"}
				l.doors.set("h", "front")
			}
			l.config.Mode = remediation.ModeObserve
			if err := l.again().Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			inc = l.one(want)
			if got := l.doors.get("h"); !slices.Equal(got, open) {
				t.Errorf("open are %v, want %v", got, open)
			}
			if !done && !strings.Contains(inc.Error, "mode observe") {
				t.Errorf("error %q", inc.Error)
			}
		})
	}
}
