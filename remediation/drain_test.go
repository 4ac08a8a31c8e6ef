package remediation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"secbot/remediation"
)

// lagging is a store as several processes share it: its lists show a row some time
// after it was written, as they did before until then. Rows themselves are read
// as they are.
type lagging struct {
	remediation.Store
	lag time.Duration

	mu      sync.Mutex
	written map[string]time.Time
}

func (s *lagging) Commit(ctx context.Context, w remediation.Write) error {
	err := s.Store.Commit(ctx, w)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range w.Jobs {
		s.written[j.ID] = time.Now()
	}
	for _, n := range w.Notices {
		s.written[n.ID] = time.Now()
	}
	return err
}

func (s *lagging) shown(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.written[id]) >= s.lag
}

func (s *lagging) DueJobs(ctx context.Context, now time.Time, n int) ([]*remediation.Job, error) {
	jobs, err := s.Store.DueJobs(ctx, now, n)
	return slices.DeleteFunc(jobs, func(j *remediation.Job) bool { return !s.shown(j.ID) }), err
}

func (s *lagging) DueNotices(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	notices, err := s.Store.DueNotices(ctx, now, n)
	return slices.DeleteFunc(notices, func(x *remediation.Notice) bool { return !s.shown(x.ID) }), err
}

// inTime runs a test with a clock of its own, on which nothing takes time but
// waiting. The engine waits by it.
func inTime(t *testing.T, lag time.Duration, test func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newLab(t, func(o *remediation.Options) {
			o.Store = &lagging{Store: o.Store, lag: lag, written: map[string]time.Time{}}
			o.Now, o.Sleep = time.Now, nil
		}))
	})
}

// invoke is one invocation of a function that may take so long; it gives how
// long it took.
func (l *lab) invoke(e *remediation.Engine, most time.Duration) time.Duration {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), most)
	defer cancel()
	began := time.Now()
	if err := e.Drain(ctx); err != nil {
		l.t.Fatal(err)
	}
	return time.Since(began)
}

// is checks the only incident and what Slack was told.
func (l *lab) is(status remediation.Status, told ...string) {
	l.t.Helper()
	all := l.incidents()
	if len(all) != 1 || all[0].Status != status || !slices.Equal(l.slack.ops(), told) {
		l.t.Errorf("incidents %v, told %v; want one that is %s, and %v", all, l.slack.ops(), status, told)
	}
}

// TestInvocationDoesWhatItStored, though lists show nothing of it for longer than
// the invocation takes: the fix, its messages in their order, and the answer to a
// person.
func TestInvocationDoesWhatItStored(t *testing.T) {
	inTime(t, time.Hour, func(t *testing.T, l *lab) {
		l.doors.set("h", "front")
		l.accept(signal("e1", "h", "front"))
		took := l.invoke(l.engine, time.Minute)
		l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
		if took > time.Second {
			t.Errorf("it took %v", took)
		}
		inc := l.incidents()[0]
		l.submit(command("c1", remediation.VerbUndo, inc))
		l.invoke(l.engine, time.Minute)
		if got := l.slack.replies(t); len(got) != 1 || got[0].Failed {
			t.Errorf("answers: %v", got)
		}
		if l.incidents()[0].Status != remediation.StatusUndone {
			t.Errorf("the incident is %s", l.incidents()[0].Status)
		}
		l.accept(signal("e1", "h", "front")) // delivered again, and long done
		l.invoke(l.engine, time.Minute)
		if n := len(l.incidents()); n != 1 {
			t.Errorf("%d incidents", n)
		}
	})
}

// TestInvocationTakesUpWhatIsDelivered again: an earlier one stored it and died.
func TestInvocationTakesUpWhatIsDelivered(t *testing.T) {
	inTime(t, time.Hour, func(t *testing.T, l *lab) {
		l.doors.set("h", "front")
		l.accept(signal("e1", "h", "front"))
		two := l.again()
		if err := two.Accept(t.Context(), []remediation.Signal{signal("e1", "h", "front")}); err != nil {
			t.Fatal(err)
		}
		l.invoke(two, time.Minute)
		l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
	})
}

// TestInvocationLooksTwice: what another process has stored a moment ago is seen
// at the second look.
func TestInvocationLooksTwice(t *testing.T) {
	inTime(t, 150*time.Millisecond, func(t *testing.T, l *lab) {
		l.doors.set("h", "front")
		l.accept(signal("e1", "h", "front"))
		l.invoke(l.again(), time.Minute)
		l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
	})
}

// TestInvocationWaits for a state that AWS does not show yet.
func TestInvocationWaits(t *testing.T) {
	inTime(t, 100*time.Millisecond, func(t *testing.T, l *lab) {
		l.doors.set("h")
		changed := time.Now()
		l.doors.onRead = func(remediation.Ref) {
			if time.Since(changed) > 2*time.Second {
				l.doors.set("h", "front")
				l.doors.onRead = nil
			}
		}
		sig := signal("e1", "h", "front")
		sig.At = changed
		l.accept(sig)
		l.invoke(l.engine, time.Minute)
		l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
	})
}

// TestInvocationHasPatience, and not without end: what fails again and again is
// left to the next, and a function whose time is nearly over does not wait.
func TestInvocationHasPatience(t *testing.T) {
	for most, atMost := range map[time.Duration]time.Duration{5 * time.Minute: 15 * time.Second, 20 * time.Second: 6 * time.Second} {
		inTime(t, 0, func(t *testing.T, l *lab) {
			l.doors.set("h", "front")
			l.slack.fail = func(remediation.Notice) error { return errors.New("Slack is down") }
			l.accept(signal("e1", "h", "front"))
			took := l.invoke(l.engine, most)
			if took < time.Second || took > atMost {
				t.Errorf("it took %v of %v, want some seconds and at most %v", took, most, atMost)
			}
			l.is(remediation.StatusFixed)
			l.slack.fail = nil
			time.Sleep(time.Minute)
			l.invoke(l.again(), time.Minute)
			l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
		})
	}
}

// TestInvocationHandsBack what does not end in time, before it is killed: the next
// one takes it up at once.
func TestInvocationHandsBack(t *testing.T) {
	inTime(t, 0, func(t *testing.T, l *lab) {
		l.doors.set("h", "front")
		l.doors.onCall = func(ctx context.Context) { <-ctx.Done() }
		l.doors.fail = func(call string) error {
			if !strings.HasPrefix(call, "read") {
				return context.Canceled // the call was cut
			}
			return nil
		}
		l.accept(signal("e1", "h", "front"))
		if took := l.invoke(l.engine, time.Minute); took > 58*time.Second {
			t.Errorf("it took %v of a minute", took)
		}
		if all := l.incidents(); len(all) != 1 || all[0].Status != remediation.StatusFixing {
			t.Fatalf("incidents: %v", all)
		}
		l.doors.onCall, l.doors.fail = nil, nil
		time.Sleep(4 * time.Second) // far less than a lease
		l.invoke(l.again(), time.Minute)
		l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread)
	})
}

// TestInvocationWithoutTime says so.
func TestInvocationWithoutTime(t *testing.T) {
	inTime(t, 0, func(t *testing.T, l *lab) {
		var log bytes.Buffer
		short := l.again(func(o *remediation.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		l.doors.set("h", "front")
		l.accept(signal("e1", "h", "front"))
		l.invoke(short, 10*time.Second)
		if n := len(l.doors.changes()); n != 0 || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "timeout of a minute") {
			t.Errorf("%d changes; the log:\n%s", n, log.String())
		}
	})
}

// TestFloodOfStored: what does not fit into the memory of an invocation is done
// all the same.
func TestFloodOfStored(t *testing.T) {
	inTime(t, 100*time.Millisecond, func(t *testing.T, l *lab) {
		var flood []remediation.Signal
		for i := range 1500 {
			flood = append(flood, signal(fmt.Sprint("e", i), "h", "front"))
		}
		l.doors.set("h")
		l.accept(flood...)
		l.invoke(l.engine, time.Hour)
		if left := l.jobs(time.Now().Add(time.Hour)); len(left) != 0 {
			t.Errorf("%d are left", len(left))
		}
	})
}

// lostExtension is a store that stores the first extension of each lease, or all
// of them, and says that it failed.
type lostExtension struct {
	remediation.Store
	all bool

	mu   sync.Mutex
	lost map[string]int // by job
}

func (s *lostExtension) Commit(ctx context.Context, w remediation.Write) error {
	extension := len(w.Jobs) == 1 && w.Incident == nil && !w.Jobs[0].Done && w.Jobs[0].Version > 0
	if extension {
		row, err := s.Job(ctx, w.Jobs[0].ID)
		if err != nil {
			return err
		}
		extension = !row.LeaseUntil.IsZero() && w.Jobs[0].LeaseUntil.After(row.LeaseUntil)
	}
	if err := s.Store.Commit(ctx, w); err != nil || !extension {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost[w.Jobs[0].ID] > 0 && !s.all {
		return nil
	}
	s.lost[w.Jobs[0].ID]++
	w.Jobs[0].Version--
	return errors.New("connection reset")
}

// TestLostExtension: who has a job goes on though the answer to an extension of
// its lease got lost, at the next extension as at the end of the work.
func TestLostExtension(t *testing.T) {
	for name, tt := range map[string]struct {
		takes time.Duration
		all   bool
	}{"at the next": {25 * time.Second, false}, "at the end": {15 * time.Second, false}, "all of them": {45 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *lostExtension
				var log bytes.Buffer
				l := newLab(t, func(o *remediation.Options) {
					s = &lostExtension{Store: o.Store, all: tt.all, lost: map[string]int{}}
					o.Store, o.Now, o.Sleep = s, time.Now, nil
					o.Log = slog.New(slog.NewTextHandler(&log, nil))
				})
				l.doors.set("h", "front")
				l.doors.onCall = func(ctx context.Context) {
					select {
					case <-ctx.Done():
					case <-time.After(tt.takes):
					}
				}
				l.accept(signal("e1", "h", "front"))
				l.invoke(l.engine, 5*time.Minute)
				if l.is(remediation.StatusFixed, remediation.OpMessage, remediation.OpThread); len(s.lost) != 2 {
					t.Errorf("lost were the extensions %v, want some of both jobs", s.lost)
				}
				if strings.Contains(log.String(), "lost to another") || strings.Contains(log.String(), "a job failed") {
					t.Errorf("the log:\n%s", log.String())
				}
			})
		})
	}
}
