package storetest

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"secbot/remediation"
)

// model is the contract in the plainest terms: rows in maps, every question
// answered by looking at all of them.
type model struct {
	incidents    map[string]remediation.Incident
	last         map[string]string // by key
	jobs         map[string]remediation.Job
	notices      map[string]remediation.Notice
	messages     map[string]remediation.MessageRef
	records      map[string]remediation.Record
	suppressions map[string]remediation.Suppression
	audit        map[string]map[int]remediation.AuditEntry
}

func newModel() *model {
	return &model{
		incidents:    map[string]remediation.Incident{},
		last:         map[string]string{},
		jobs:         map[string]remediation.Job{},
		notices:      map[string]remediation.Notice{},
		messages:     map[string]remediation.MessageRef{},
		records:      map[string]remediation.Record{},
		suppressions: map[string]remediation.Suppression{},
		audit:        map[string]map[int]remediation.AuditEntry{},
	}
}

// accepts reports whether every condition of w holds.
func (m *model) accepts(w remediation.Write) bool {
	fine := true
	if i := w.Incident; i != nil {
		fine = m.incidents[i.ID].Version == i.Version
		for _, other := range m.incidents {
			if i.Status.Active() && other.Status.Active() && other.Key == i.Key && other.ID != i.ID {
				fine = false
			}
		}
	}
	for _, j := range w.Jobs {
		fine = fine && m.jobs[j.ID].Version == j.Version
	}
	for _, n := range w.Notices {
		fine = fine && m.notices[n.ID].Version == n.Version
	}
	if r := w.Message; r != nil {
		fine = fine && m.messages[r.Incident].Version == r.Version
	}
	for _, s := range w.Suppressions {
		fine = fine && m.suppressions[s.ID].Version == s.Version
	}
	for _, x := range w.Records {
		fine = fine && m.records[x.Key].Version == x.Version
	}
	for _, e := range w.Audit {
		_, there := m.audit[e.Incident][e.Seq]
		fine = fine && !there
	}
	return fine
}

// take keeps the rows of a Write that was stored, versions counted up. The rows
// of this test point to nothing, so that copying the structs is enough.
func (m *model) take(w remediation.Write) {
	if w.Incident != nil {
		if old := m.incidents[w.Incident.ID]; old.Status.Active() && old.Key != w.Incident.Key {
			delete(m.last, old.Key)
		}
		if w.Incident.Status.Active() {
			m.last[w.Incident.Key] = w.Incident.ID
		}
		m.incidents[w.Incident.ID] = *w.Incident
	}
	for _, j := range w.Jobs {
		m.jobs[j.ID] = *j
	}
	for _, n := range w.Notices {
		m.notices[n.ID] = *n
	}
	if w.Message != nil {
		m.messages[w.Message.Incident] = *w.Message
	}
	for _, s := range w.Suppressions {
		m.suppressions[s.ID] = *s
	}
	for _, x := range w.Records {
		m.records[x.Key] = *x
	}
	for _, e := range w.Audit {
		if m.audit[e.Incident] == nil {
			m.audit[e.Incident] = map[int]remediation.AuditEntry{}
		}
		m.audit[e.Incident][e.Seq] = e
	}
}

func (m *model) list(q remediation.IncidentQuery) []remediation.Incident {
	var found []remediation.Incident
	for _, i := range m.incidents {
		if (q.Statuses == nil || slices.Contains(q.Statuses, i.Status)) && (q.Key == "" || q.Key == i.Key) &&
			(q.Playbook == "" || q.Playbook == i.Finding.Playbook) && (q.Resource == "" || q.Resource == i.Finding.Resource.ID) &&
			!i.CreatedAt.Before(q.Since) && (q.Until.IsZero() || !i.CreatedAt.After(q.Until)) && !i.UpdatedAt.Before(q.Updated) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b remediation.Incident) int {
		return -cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return found[:min(len(found), q.Limit)]
}

func (m *model) dueJobs(now time.Time, n int) []remediation.Job {
	var due []remediation.Job
	for _, j := range m.jobs {
		if !j.Done && !j.Due.After(now) && !j.LeaseUntil.After(now) {
			due = append(due, j)
		}
	}
	slices.SortFunc(due, func(a, b remediation.Job) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	return due[:min(len(due), n)]
}

func (m *model) dueNotices(now time.Time, n int) []remediation.Notice {
	due := slices.DeleteFunc(m.waiting(), func(x remediation.Notice) bool { return x.Due.After(now) || x.LeaseUntil.After(now) })
	return due[:min(len(due), n)]
}

func (m *model) waiting() []remediation.Notice {
	var due []remediation.Notice
	for _, x := range m.notices {
		first := true
		for _, y := range m.notices {
			if x.Incident != "" && y.Incident == x.Incident && y.To == x.To && !y.Sent && before(y, x) < 0 {
				first = false
			}
		}
		if first && !x.Sent {
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b remediation.Notice) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	return due
}

func before(a, b remediation.Notice) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
}

func (m *model) noticesOf(incident string) []remediation.Notice {
	var found []remediation.Notice
	for _, n := range m.notices {
		if n.Incident == incident {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, before)
	return found
}

func (m *model) live(now time.Time) []remediation.Suppression {
	var found []remediation.Suppression
	for _, s := range m.suppressions {
		if !s.Ended && (s.Until.IsZero() || s.Until.After(now)) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b remediation.Suppression) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return found
}

func (m *model) sweep(before time.Time) int {
	rows := len(m.jobs) + len(m.notices) + len(m.suppressions) + len(m.records)
	maps.DeleteFunc(m.jobs, func(_ string, j remediation.Job) bool { return j.Done && j.UpdatedAt.Before(before) })
	maps.DeleteFunc(m.notices, func(_ string, n remediation.Notice) bool { return n.Sent && n.UpdatedAt.Before(before) })
	maps.DeleteFunc(m.suppressions, func(_ string, s remediation.Suppression) bool {
		over := s.Ended || !s.Until.IsZero() && s.Until.Before(before)
		return over && s.UpdatedAt.Before(before)
	})
	maps.DeleteFunc(m.records, func(_ string, r remediation.Record) bool { return !r.Until.IsZero() && r.Until.Before(before) })
	return rows - len(m.jobs) - len(m.notices) - len(m.suppressions) - len(m.records)
}

// testModel makes random Writes, sweeps and reads and compares each with what
// the model says.
func testModel(t *testing.T, open func(t *testing.T) remediation.Store) {
	rapid.Check(t, func(r *rapid.T) {
		s, m := open(t), newModel()
		defer func() {
			if err := s.Close(); err != nil {
				r.Error(err)
			}
		}()
		r.Repeat(map[string]func(*rapid.T){
			"commit": func(r *rapid.T) { commitBoth(r, s, m) },
			"again":  func(r *rapid.T) { commitBoth(r, s, m) }, // more of them than of sweeps
			"sweep": func(r *rapid.T) {
				before := minute(r, "before")
				equal(r, "swept", get(s.Sweep(t.Context(), before))(r), m.sweep(before))
			},
			"": func(r *rapid.T) { compare(r, s, m) },
		})
	})
}

// commitBoth draws a Write and gives it to the store and the model.
func commitBoth(r *rapid.T, s remediation.Store, m *model) {
	w, versions := drawWrite(r, m)
	want := m.accepts(w)
	var old []int
	for _, v := range versions {
		old = append(old, *v)
	}
	err := s.Commit(r.Context(), w)
	switch {
	case want && err != nil, !want && !errors.Is(err, remediation.ErrConflict):
		r.Fatalf("commit of a Write that should be stored (%v): %v", want, err)
	case want:
		m.take(w)
	}
	for n, v := range versions {
		if counted := *v - old[n]; (counted == 1) != want || (counted == 0) == want {
			r.Fatalf("version %d became %d, stored: %v", old[n], *v, want)
		}
	}
}

// compare asks both everything.
func compare(r *rapid.T, s remediation.Store, m *model) {
	ctx, now, n := r.Context(), minute(r, "now"), rapid.IntRange(0, 5).Draw(r, "n")
	q := drawQuery(r)
	equalList(r, "incidents", get(s.Incidents(ctx, q))(r), m.list(q))
	equalList(r, "due jobs", get(s.DueJobs(ctx, now, n))(r), m.dueJobs(now, n))
	equalList(r, "due notices", get(s.DueNotices(ctx, now, n))(r), m.dueNotices(now, n))
	equalList(r, "waiting notices", get(s.Waiting(ctx, 9))(r), m.waiting())
	equalList(r, "suppressions", get(s.Suppressions(ctx, now))(r), m.live(now))
	id := oneOf(r, "id", "a", "b", "c")
	equalList(r, "notices", get(s.Notices(ctx, id))(r), m.noticesOf(id))
	seqs := []int{}
	for _, e := range get(s.Audit(ctx, id))(r) {
		seqs = append(seqs, e.Seq)
	}
	equal(r, "audit", append([]int{}, slices.Sorted(maps.Keys(m.audit[id]))...), seqs)
	compareOne(r, s.Incident, m.incidents, id)
	compareOne(r, s.Job, m.jobs, id)
	compareOne(r, s.Message, m.messages, id)
	compareOne(r, s.Record, m.records, id)
	key := oneOf(r, "key", "k1", "k2")
	active := map[string]remediation.Incident{}
	for _, i := range m.incidents {
		if i.Status.Active() {
			active[i.Key] = i
		}
	}
	compareOne(r, s.Active, active, key)
	last := map[string]remediation.Incident{}
	for key, id := range m.last {
		last[key] = m.incidents[id]
	}
	compareOne(r, s.Last, last, key)
}
