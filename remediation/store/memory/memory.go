// Package memory is a remediation.Store that forgets everything when the
// process ends: for tests and for trying things out.
package memory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// ErrClosed says that the store was closed before the call.
var ErrClosed = errors.New("memory store is closed")

// Store keeps rows in maps. Its reads look at every row, so it suits
// thousands of rows rather than millions. Use New to make one.
type Store struct {
	mu           sync.RWMutex
	closed       bool
	incidents    map[string]*remediation.Incident
	active       map[string]string // the id of the active incident of a key
	last         map[string]string // the id of the incident that was active last under a key
	jobs         map[string]*remediation.Job
	notices      map[string]*remediation.Notice
	messages     map[string]*remediation.MessageRef
	suppressions map[string]*remediation.Suppression
	records      map[string]*remediation.Record
	audit        map[string]map[int]remediation.AuditEntry
}

var _ remediation.Store = (*Store)(nil)

// New makes an empty store.
func New() *Store {
	return &Store{
		incidents:    map[string]*remediation.Incident{},
		active:       map[string]string{},
		last:         map[string]string{},
		jobs:         map[string]*remediation.Job{},
		notices:      map[string]*remediation.Notice{},
		messages:     map[string]*remediation.MessageRef{},
		suppressions: map[string]*remediation.Suppression{},
		records:      map[string]*remediation.Record{},
		audit:        map[string]map[int]remediation.AuditEntry{},
	}
}

// begin locks for reading; the caller unlocks where it returns nil.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return ErrClosed
	}
	return nil
}

// Incident reads one incident by id; remediation.ErrNotFound.
func (s *Store) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return one(s.incidents, "incident", id)
}

// Active reads the active incident of a finding key; remediation.ErrNotFound.
func (s *Store) Active(ctx context.Context, key string) (*remediation.Incident, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	id, ok := s.active[key]
	if !ok {
		return nil, fmt.Errorf("active incident of key %q: %w", key, remediation.ErrNotFound)
	}
	return one(s.incidents, "incident", id)
}

// Last reads the incident that was active last under a finding key;
// remediation.ErrNotFound.
func (s *Store) Last(ctx context.Context, key string) (*remediation.Incident, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	id, ok := s.last[key]
	if !ok {
		return nil, fmt.Errorf("last incident of key %q: %w", key, remediation.ErrNotFound)
	}
	return one(s.incidents, "incident", id)
}

// Incidents lists incidents, the newest first.
func (s *Store) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	found := filter(s.incidents, func(i *remediation.Incident) bool { return rows.Match(q, i) })
	slices.SortFunc(found, func(a, b *remediation.Incident) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	return firstCopies(found, rows.Limit(q))
}

// Job reads one job by id; remediation.ErrNotFound.
func (s *Store) Job(ctx context.Context, id string) (*remediation.Job, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return one(s.jobs, "job", id)
}

// DueJobs lists unfinished jobs that may be taken up at now.
func (s *Store) DueJobs(ctx context.Context, now time.Time, n int) ([]*remediation.Job, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	due := filter(s.jobs, func(j *remediation.Job) bool { return !j.Done && rows.Ready(j.Due, j.LeaseUntil, now) })
	slices.SortFunc(due, func(a, b *remediation.Job) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	return firstCopies(due, n)
}

// DueNotices lists the first unsent notice of each lane, and unsent
// notices without one, that may be sent at now.
func (s *Store) DueNotices(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	due := slices.DeleteFunc(s.heads(), func(n *remediation.Notice) bool { return !rows.Ready(n.Due, n.LeaseUntil, now) })
	return firstCopies(due, n)
}

// Waiting lists the first unsent notice of each lane, and unsent notices without
// one.
func (s *Store) Waiting(ctx context.Context, n int) ([]*remediation.Notice, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return firstCopies(s.heads(), n)
}

// heads are the first unsent notices of all lanes by Due. The caller holds the
// lock.
func (s *Store) heads() []*remediation.Notice {
	return rows.Heads(filter(s.notices, func(n *remediation.Notice) bool { return !n.Sent }))
}

// Notices lists an incident's notices by Seq.
func (s *Store) Notices(ctx context.Context, incident string) ([]*remediation.Notice, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	if incident == "" {
		return nil, nil
	}
	found := filter(s.notices, func(n *remediation.Notice) bool { return n.Incident == incident })
	slices.SortFunc(found, rows.BySeq)
	return firstCopies(found, len(found))
}

// Message reads the reference to an incident's Slack message;
// remediation.ErrNotFound.
func (s *Store) Message(ctx context.Context, incident string) (*remediation.MessageRef, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return one(s.messages, "message of incident", incident)
}

// Record reads one record by its key; remediation.ErrNotFound.
func (s *Store) Record(ctx context.Context, key string) (*remediation.Record, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return one(s.records, "record", key)
}

// Records reads those of some keys that there are.
func (s *Store) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	if err := rows.CheckKeys(keys); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	found := map[string]*remediation.Record{}
	for _, key := range keys {
		if _, ok := s.records[key]; !ok {
			continue
		}
		r, err := one(s.records, "record", key)
		if err != nil {
			return nil, err
		}
		found[key] = r
	}
	return found, nil
}

// Suppressions lists those in force at now.
func (s *Store) Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	live := filter(s.suppressions, func(x *remediation.Suppression) bool { return rows.Live(x, now) })
	slices.SortFunc(live, func(a, b *remediation.Suppression) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return firstCopies(live, len(live))
}

// Audit lists an incident's audit entries by Seq.
func (s *Store) Audit(ctx context.Context, incident string) ([]remediation.AuditEntry, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	entries := s.audit[incident]
	list := make([]remediation.AuditEntry, 0, len(entries))
	for _, seq := range slices.Sorted(maps.Keys(entries)) {
		e := entries[seq]
		e.Data = slices.Clone(e.Data)
		list = append(list, e)
	}
	return list, nil
}

// Ping returns ErrClosed once the store is closed.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.mu.RUnlock()
	return nil
}

// Close makes every other method return ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// one copies the row of the given id.
func one[T any](table map[string]*T, what, id string) (*T, error) {
	v, ok := table[id]
	if !ok {
		return nil, fmt.Errorf("%s %q: %w", what, id, remediation.ErrNotFound)
	}
	return clone(v)
}

func filter[T any](table map[string]*T, keep func(*T) bool) []*T {
	var found []*T
	for _, v := range table {
		if keep(v) {
			found = append(found, v)
		}
	}
	return found
}

func firstCopies[T any](list []*T, n int) ([]*T, error) {
	list = list[:min(len(list), max(n, 0))]
	copies := make([]*T, 0, len(list))
	for _, v := range list {
		c, err := clone(v)
		if err != nil {
			return nil, err
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// clone copies by way of JSON, so that rows come back as other stores give them.
func clone[T any](v *T) (*T, error) {
	raw, err := rows.Encode(v)
	if err != nil {
		return nil, err
	}
	c := new(T)
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("copy %T: %w", v, err)
	}
	return c, nil
}
