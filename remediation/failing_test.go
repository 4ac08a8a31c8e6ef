package remediation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

var errDisk = errors.New("the disk does not answer")

// failingStore fails some of the writes and some of the reads.
type failingStore struct {
	remediation.Store
	mu            sync.Mutex
	dice          *rand.Rand
	writes, reads int // one in so many fails; 0: none
}

func (s *failingStore) fails(oneIn int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if oneIn > 0 && s.dice.IntN(oneIn) == 0 {
		return errDisk
	}
	return nil
}

func (s *failingStore) Commit(ctx context.Context, w remediation.Write) error {
	if err := s.fails(s.writes); err != nil {
		return err
	}
	return s.Store.Commit(ctx, w)
}

func failing[T any](s *failingStore, read func() (T, error)) (T, error) {
	if err := s.fails(s.reads); err != nil {
		var none T
		return none, err
	}
	return read()
}

func (s *failingStore) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	return failing(s, func() (*remediation.Incident, error) { return s.Store.Incident(ctx, id) })
}

func (s *failingStore) Active(ctx context.Context, key string) (*remediation.Incident, error) {
	return failing(s, func() (*remediation.Incident, error) { return s.Store.Active(ctx, key) })
}

func (s *failingStore) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	return failing(s, func() ([]*remediation.Incident, error) { return s.Store.Incidents(ctx, q) })
}

func (s *failingStore) Job(ctx context.Context, id string) (*remediation.Job, error) {
	return failing(s, func() (*remediation.Job, error) { return s.Store.Job(ctx, id) })
}

func (s *failingStore) DueJobs(ctx context.Context, now time.Time, n int) ([]*remediation.Job, error) {
	return failing(s, func() ([]*remediation.Job, error) { return s.Store.DueJobs(ctx, now, n) })
}

func (s *failingStore) DueNotices(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	return failing(s, func() ([]*remediation.Notice, error) { return s.Store.DueNotices(ctx, now, n) })
}

func (s *failingStore) Message(ctx context.Context, incident string) (*remediation.MessageRef, error) {
	return failing(s, func() (*remediation.MessageRef, error) { return s.Store.Message(ctx, incident) })
}

func (s *failingStore) Record(ctx context.Context, key string) (*remediation.Record, error) {
	return failing(s, func() (*remediation.Record, error) { return s.Store.Record(ctx, key) })
}

func (s *failingStore) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	return failing(s, func() (map[string]*remediation.Record, error) { return s.Store.Records(ctx, keys...) })
}

func (s *failingStore) Last(ctx context.Context, key string) (*remediation.Incident, error) {
	return failing(s, func() (*remediation.Incident, error) { return s.Store.Last(ctx, key) })
}

func (s *failingStore) Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error) {
	return failing(s, func() ([]*remediation.Suppression, error) { return s.Store.Suppressions(ctx, now) })
}

// TestStoreFailures: wherever the store fails, in writing or in reading, a fix ends
// fixed and told, with one change of the resource; and what an ignore, a circuit
// breaker or the cap keeps from being fixed is not fixed because they can't be read.
func TestStoreFailures(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { storeFails(t, seed) })
		for name := range heldBack() {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) { storeFailsBehind(t, seed, name) })
		}
	}
}

// unluckyStore takes an incident only as failed, as long as it is bad: the worst that
// chance can do to a fix.
type unluckyStore struct {
	remediation.Store
	bad atomic.Bool
}

func (s *unluckyStore) Commit(ctx context.Context, w remediation.Write) error {
	if s.bad.Load() && w.Incident != nil && w.Incident.Status != remediation.StatusFailed {
		return errDisk
	}
	return s.Store.Commit(ctx, w)
}

// TestStoreBadForHalfAnHour: a fix that can't be written down is not given up as soon
// as one that AWS refuses, but ends when the store is well again.
func TestStoreBadForHalfAnHour(t *testing.T) {
	store := &unluckyStore{}
	l := newLab(t, func(o *remediation.Options) { store.Store = o.Store; o.Store = store })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.doors.fail = func(call string) error {
		if strings.HasPrefix(call, "shut") {
			store.bad.Store(true)
		}
		return nil
	}
	for range 30 {
		l.advance(time.Minute)
		if err := l.engine.Drain(t.Context()); err != nil && !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
	if inc := l.incidents()[0]; inc.Status != remediation.StatusFixing {
		t.Fatalf("it is %s while nothing can be stored", inc.Status)
	}
	l.doors.fail = nil
	store.bad.Store(false)
	l.advance(10 * time.Minute)
	l.drain()
	l.one(remediation.StatusFixed)
	if got := l.doors.changes(); !slices.Equal(got, []string{"shut front"}) {
		t.Errorf("the calls were %v", got)
	}
}

// failingLab is a lab whose store fails, with an event stored.
func failingLab(t *testing.T, seed uint64, writes, reads int) *lab {
	flaky := &failingStore{dice: rand.New(rand.NewPCG(1, seed))}
	l := newLab(t, func(o *remediation.Options) { flaky.Store = o.Store; o.Store = flaky })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	flaky.writes, flaky.reads = writes, reads
	return l
}

func (l *lab) muddleThrough() {
	l.t.Helper()
	for range 120 {
		l.advance(time.Minute) // past any lease
		if err := l.engine.Drain(l.t.Context()); err != nil && !errors.Is(err, errDisk) {
			l.t.Fatal(err)
		}
	}
}

func storeFails(t *testing.T, seed uint64) {
	l := failingLab(t, seed, 4, 12)
	l.muddleThrough()
	l.one(remediation.StatusFixed)
	// What could not be noted as sent is sent again; Slack's notifier knows its own.
	if got := slices.Compact(l.slack.ops()); !slices.Equal(got, []string{remediation.OpMessage, remediation.OpThread}) {
		t.Errorf("told %v", got)
	}
	if got := l.doors.changes(); !slices.Equal(got, []string{"shut front"}) {
		t.Errorf("the calls were %v", got)
	}
}

// heldBack is what keeps the fix of the front door back, and how many incidents
// there are then.
func heldBack() map[string]int { return map[string]int{"ignored": 0, "breaker": 1, "cap": 1} }

func storeFailsBehind(t *testing.T, seed uint64, name string) {
	l := failingLab(t, seed, 4, 3)
	now := l.clock()
	var w remediation.Write
	record := func(key string, data any) {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		w.Records = append(w.Records, &remediation.Record{Key: key, Data: raw, At: now})
	}
	switch name {
	case "ignored":
		house := ref("h")
		w.Suppressions = []*remediation.Suppression{{ID: "s", Playbook: "toy", Resource: &house, Scope: remediation.ScopeResource, By: "U1", CreatedAt: now, UpdatedAt: now}}
	case "breaker":
		record("breaker/"+toyAccount, map[string]any{"tripped": now})
	case "cap":
		house := l.capOf("h")
		later := now.Add(59 * time.Minute)
		record(house, map[string]any{"starts": []time.Time{later, later, later}})
	}
	if err := l.store.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	for range 45 {
		l.advance(time.Minute)
		if err := l.engine.Drain(t.Context()); err != nil && !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
	if got := l.doors.changes(); len(got) > 0 {
		t.Errorf("the calls were %v", got)
	}
	all := l.incidents()
	if len(all) > heldBack()[name] {
		t.Errorf("incidents: %+v", all)
	}
	for _, inc := range all {
		if inc.Status != remediation.StatusOpen || !strings.Contains(inc.Decision.Why, "secbot has") {
			t.Errorf("the incident is %s: %+v", inc.Status, inc.Decision)
		}
	}
}

// capOf is the key of the record that counts the fixes of a house.
func (l *lab) capOf(house string) string {
	l.t.Helper()
	var key string
	seen := &watching{Store: l.store, record: func(k string) {
		if strings.HasPrefix(k, "cap/") {
			key = k
		}
	}}
	other := newLab(l.t, func(o *remediation.Options) { o.Store = seen })
	seen.Store = other.store
	other.doors.set(house, "front")
	other.accept(signal("x", house, "front"))
	other.drain()
	if key == "" {
		l.t.Fatal("no cap is read")
	}
	return key
}

// watching is a store that tells which records are read.
type watching struct {
	remediation.Store
	record func(key string)
}

func (w *watching) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	for _, key := range keys {
		w.record(key)
	}
	return w.Store.Records(ctx, keys...)
}

func (w *watching) Record(ctx context.Context, key string) (*remediation.Record, error) {
	w.record(key)
	return w.Store.Record(ctx, key)
}

// TestUnclearWaits: a notice that may be out is not sent again before it can be seen
// whether it is.
func TestUnclearWaits(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	var tries []time.Time
	l.slack.fail = func(remediation.Notice) error {
		if tries = append(tries, l.clock()); len(tries) > 1 {
			return nil
		}
		return &remediation.UnclearError{After: 30 * time.Second, Err: errors.New("timeout")}
	}
	l.accept(signal("e1", "h", "side"))
	for range 40 {
		l.drain()
		l.advance(time.Second)
	}
	if len(tries) < 2 || tries[1].Sub(tries[0]) != 30*time.Second {
		t.Errorf("tried at %v", tries)
	}
}
