package memory

import (
	"context"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// change is one row of a Write: what it takes to store it, and what follows.
type change struct {
	err error  // why the row can't be copied
	ok  bool   // whether its version is the stored one
	put func() // stores the copy and counts the pointer's version up
}

// versioned prepares the change of a row whose Version is found by version.
func versioned[T any](table map[string]*T, id string, v *T, version func(*T) *int) change {
	next, err := clone(v)
	if err != nil {
		return change{err: err}
	}
	have := 0
	if stored, ok := table[id]; ok {
		have = *version(stored)
	}
	*version(next)++
	return change{ok: have == *version(v), put: func() {
		table[id] = next
		*version(v)++
	}}
}

// Commit stores everything in w or nothing; remediation.ErrConflict.
func (s *Store) Commit(ctx context.Context, w remediation.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rows.Check(w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	changes := s.changes(w)
	for _, c := range changes {
		if c.err != nil {
			return c.err
		}
	}
	for _, c := range changes {
		if !c.ok {
			return remediation.ErrConflict
		}
	}
	for _, c := range changes {
		c.put()
	}
	return nil
}

func (s *Store) changes(w remediation.Write) []change {
	var all []change
	if w.Incident != nil {
		all = append(all, s.incidentChange(w.Incident))
	}
	for _, j := range w.Jobs {
		all = append(all, versioned(s.jobs, j.ID, j, func(j *remediation.Job) *int { return &j.Version }))
	}
	for _, n := range w.Notices {
		c := versioned(s.notices, n.ID, n, func(n *remediation.Notice) *int { return &n.Version })
		if old := s.notices[n.ID]; old != nil && old.Incident != n.Incident {
			c.ok = false
		}
		all = append(all, c)
	}
	if m := w.Message; m != nil {
		all = append(all, versioned(s.messages, m.Incident, m, func(m *remediation.MessageRef) *int { return &m.Version }))
	}
	for _, x := range w.Suppressions {
		all = append(all, versioned(s.suppressions, x.ID, x, func(x *remediation.Suppression) *int { return &x.Version }))
	}
	for _, r := range w.Records {
		all = append(all, versioned(s.records, r.Key, r, func(r *remediation.Record) *int { return &r.Version }))
	}
	for _, e := range w.Audit {
		all = append(all, s.auditChange(e))
	}
	return all
}

// incidentChange also moves the claim of the incident's key.
func (s *Store) incidentChange(i *remediation.Incident) change {
	c := versioned(s.incidents, i.ID, i, func(i *remediation.Incident) *int { return &i.Version })
	if c.err != nil {
		return c
	}
	if holder, held := s.active[i.Key]; held && holder != i.ID && i.Status.Active() {
		c.ok = false
	}
	putRow, old := c.put, s.incidents[i.ID]
	c.put = func() {
		if old != nil && s.active[old.Key] == old.ID {
			delete(s.active, old.Key)
			if old.Key != i.Key {
				delete(s.last, old.Key)
			}
		}
		if i.Status.Active() {
			s.active[i.Key], s.last[i.Key] = i.ID, i.ID
		}
		putRow()
	}
	return c
}

func (s *Store) auditChange(e remediation.AuditEntry) change {
	next, err := clone(&e)
	if err != nil {
		return change{err: err}
	}
	_, exists := s.audit[e.Incident][e.Seq]
	return change{ok: !exists, put: func() {
		if s.audit[e.Incident] == nil {
			s.audit[e.Incident] = map[int]remediation.AuditEntry{}
		}
		s.audit[e.Incident][e.Seq] = *next
	}}
}

// Sweep deletes what has been settled since before the given time.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	n := sweep(s.jobs, before, rows.JobSettled)
	n += sweep(s.notices, before, rows.NoticeSettled)
	n += sweep(s.suppressions, before, rows.SuppressionSettled)
	n += sweep(s.records, before, rows.RecordSettled)
	return n, nil
}

func sweep[T any](table map[string]*T, before time.Time, settled func(*T) (time.Time, bool)) int {
	n := 0
	for id, v := range table {
		if since, ok := settled(v); ok && since.Before(before) {
			delete(table, id)
			n++
		}
	}
	return n
}
