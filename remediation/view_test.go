package remediation_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/remediation"
)

// meanwhile is a store in which something happens right after what is known of a
// resource was read, once.
type meanwhile struct {
	remediation.Store
	once sync.Once
	do   func()
}

func (m *meanwhile) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	found, err := m.Store.Records(ctx, keys...)
	m.once.Do(m.do)
	return found, err
}

// meanwhileLab has something stored between the first look and the decision.
func meanwhileLab(t *testing.T, w func(l *lab) remediation.Write) *lab {
	t.Helper()
	m := &meanwhile{}
	l := newLab(t, func(o *remediation.Options) { m.Store, o.Store = o.Store, m })
	m.do = func() {
		if err := m.Commit(t.Context(), w(l)); err != nil {
			t.Error(err)
		}
	}
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.drain()
	return l
}

// TestPausedMeanwhile: a pause that comes after the event was looked into, and
// before it is decided, holds.
func TestPausedMeanwhile(t *testing.T) {
	l := meanwhileLab(t, func(l *lab) remediation.Write {
		return remediation.Write{Records: []*remediation.Record{{Key: "control", At: l.clock(), Data: []byte(`{"paused":{"by":"U1","at":"2026-01-01T00:00:00Z"}}`)}}}
	})
	if inc := l.one(remediation.StatusOpen); !strings.Contains(inc.Decision.Why, "secbot is paused") {
		t.Errorf("it asks since %q", inc.Decision.Why)
	}
	if got := l.doors.changes(); len(got) > 0 {
		t.Errorf("changed while it is paused: %v", got)
	}
}

// TestTrippedMeanwhile: so does a breaker that has opened; its count was read before,
// and the write finds that it has gone on.
func TestTrippedMeanwhile(t *testing.T) {
	l := meanwhileLab(t, func(l *lab) remediation.Write {
		return remediation.Write{Records: []*remediation.Record{{Key: "breaker/" + toyAccount, At: l.clock(), Data: []byte(`{"tripped":"2026-01-01T00:00:00Z"}`)}}}
	})
	l.one(remediation.StatusOpen)
	if got := l.doors.changes(); len(got) > 0 {
		t.Errorf("changed behind an open breaker: %v", got)
	}
}

// TestHandedOver: what is accepted is leased in the write that stores it, is put back
// where there is no time for it, and is then due for everybody.
func TestHandedOver(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Inline = true })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	job, err := l.store.Job(t.Context(), "signal/e1")
	if err != nil || job.Version != 1 || job.LeaseUntil.IsZero() || job.Attempts != 1 {
		t.Fatalf("%+v, %v: it is not leased in the write that stores it", job, err)
	}
	short, cancel := context.WithDeadline(t.Context(), l.clock().Add(time.Second))
	defer cancel()
	if err := l.engine.Drain(short); err != nil {
		t.Fatal(err)
	}
	due, err := l.store.DueJobs(t.Context(), l.clock(), 10)
	if err != nil || len(due) != 1 || due[0].ID != "signal/e1" {
		t.Errorf("after an invocation without time for it %d jobs are due, %v", len(due), err)
	}
	l.drain()
	l.one(remediation.StatusFixed)
}
