package remediation_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

// sleepy are doors whose first reader falls asleep with what it has read.
type sleepy struct {
	*door
	slept        atomic.Bool
	asleep, wake chan struct{}
}

func newSleepy(d *door) *sleepy {
	return &sleepy{door: d, asleep: make(chan struct{}), wake: make(chan struct{})}
}

func (s *sleepy) Read(ctx context.Context, r remediation.Ref) (remediation.State, error) {
	state, err := s.door.Read(ctx, r)
	if s.slept.CompareAndSwap(false, true) {
		close(s.asleep)
		<-s.wake
	}
	return state, err
}

func (s *sleepy) Environment(ctx context.Context, account, region string) (*remediation.Environment, error) {
	env, err := s.door.Environment(ctx, account, region)
	env.Readers[remediation.KindSecurityGroup] = s
	return env, err
}

// countedStore is a store that counts what is stored once it is told to.
type countedStore struct {
	remediation.Store
	counting atomic.Bool
	stored   atomic.Int32
}

func (c *countedStore) Commit(ctx context.Context, w remediation.Write) error {
	err := c.Store.Commit(ctx, w)
	if err == nil && c.counting.Load() {
		c.stored.Add(1)
	}
	return err
}

// asleepOver runs a worker that falls asleep with the state of a house with its
// front door open, has meanwhile happen, and wakes it; it says how much it stored
// then.
func (l *lab) asleepOver(meanwhile func()) int {
	l.t.Helper()
	s, st := newSleepy(l.doors), &countedStore{Store: l.store}
	worker := l.again(func(o *remediation.Options) { o.Provider, o.Store = s, st })
	ended := make(chan error)
	go func() { ended <- worker.Drain(context.Background()) }()
	<-s.asleep
	meanwhile()
	st.counting.Store(true)
	close(s.wake)
	if err := <-ended; err != nil {
		l.t.Error(err)
	}
	return int(st.stored.Load())
}

// TestLostLease: a worker that has slept for longer than its lease stores nothing any
// more of what it had seen or done: another has ended its work.
func TestLostLease(t *testing.T) {
	t.Run("in judging", func(t *testing.T) {
		l := newLab(t)
		l.doors.set("h", "front")
		l.accept(signal("e1", "h", "front"))
		n := l.asleepOver(func() {
			l.advance(31 * time.Second)
			l.doors.set("h") // somebody has shut it, and the other worker finds it safe
			l.drain()
		})
		if all := l.incidents(); len(all) != 0 || n != 0 {
			t.Errorf("who woke has stored %d times; incidents: %+v", n, all)
		}
	})
	t.Run("in a fix", func(t *testing.T) {
		l := newLab(t)
		l.doors.set("h", "front")
		sleeping, wake := make(chan struct{}), make(chan struct{})
		var slept atomic.Bool
		l.doors.onApply = func() {
			if slept.CompareAndSwap(false, true) {
				close(sleeping)
				<-wake
			}
		}
		l.accept(signal("e1", "h", "front"))
		st := &countedStore{Store: l.store}
		worker := l.again(func(o *remediation.Options) { o.Store = st })
		ended := make(chan error)
		go func() { ended <- worker.Drain(context.Background()) }()
		<-sleeping
		l.advance(31 * time.Second)
		l.drain()
		before := l.incidents()[0]
		st.counting.Store(true)
		close(wake)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		inc := l.incidents()[0]
		if n := st.stored.Load(); inc.Status != remediation.StatusFixed || len(inc.Outcomes) != 1 || inc.Version != before.Version || n != 0 {
			t.Errorf("%s with %d outcomes; who woke has stored %d times", inc.Status, len(inc.Outcomes), n)
		}
		if got := l.doors.changes(); !slices.Equal(got, []string{"shut front"}) {
			t.Errorf("the calls were %v", got)
		}
	})
}

// TestOutdatedState: who has read a state before another event of the same change was
// settled judges anew, and does not open the finding again that is over.
func TestOutdatedState(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.asleepOver(func() {
		l.advance(time.Second)
		l.accept(signal("e2", "h", "front"))
		l.drain()
		if all := l.incidents(); len(all) != 1 || all[0].Status != remediation.StatusFixed {
			t.Errorf("incidents: %+v", all)
		}
	})
	if inc := l.one(remediation.StatusFixed); inc.Finding.EventID != "e2" {
		t.Errorf("the incident is of %s", inc.Finding.EventID)
	}
}
