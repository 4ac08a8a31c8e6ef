package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"secbot/remediation"
)

func testSweep(t *testing.T, s remediation.Store) {
	job := func(id string, done bool, updated int) *remediation.Job {
		j := newJob(id)
		j.Done, j.UpdatedAt = done, at(updated)
		return j
	}
	notice := func(id, incident string, sent bool, updated int) *remediation.Notice {
		n := newNotice(id, incident, 1)
		n.Sent, n.UpdatedAt = sent, at(updated)
		return n
	}
	suppression := func(id string, ended bool, until time.Time, updated int) *remediation.Suppression {
		x := newSuppression(id)
		x.Ended, x.Until, x.UpdatedAt = ended, until, at(updated)
		return x
	}
	settled := newIncident("settled", "k", remediation.StatusFixed)
	must(t, s, remediation.Write{
		Incident: settled,
		Message:  &remediation.MessageRef{Incident: "settled", Channel: "C1", TS: "1.2"},
		Audit:    []remediation.AuditEntry{newEntry("settled", 1)},
		Jobs:     []*remediation.Job{job("old", true, 1), job("open", false, 1), job("new", true, 5)},
		Notices: []*remediation.Notice{notice("old", "i", true, 1), notice("alone", "", true, 1), notice("open", "i", false, 1),
			notice("new", "i", true, 5)},
		Suppressions: []*remediation.Suppression{
			suppression("back", true, at(99), 1), suppression("back for good", true, time.Time{}, 1), suppression("back lately", true, at(1), 5),
			suppression("ran out", false, at(2), 1), suppression("runs out later", false, at(5), 1), suppression("ran out, changed lately", false, at(2), 5),
			suppression("for good", false, time.Time{}, 1),
		},
	})
	record := func(key string, until time.Time) *remediation.Record {
		return &remediation.Record{Key: key, Data: []byte(`{"a":1}`), At: at(1), Until: until}
	}
	must(t, s, remediation.Write{Records: []*remediation.Record{record("over", at(2)), record("lasting", time.Time{}), record("to come", at(9999))}})
	equal(t, "swept", get(s.Sweep(t.Context(), at(5)))(t), 7)
	equal(t, "swept again", get(s.Sweep(t.Context(), at(5)))(t), 0)
	if _, err := s.Job(t.Context(), "old"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("the finished job: %v", err)
	}
	for _, id := range []string{"open", "new"} {
		get(s.Job(t.Context(), id))(t)
	}
	equal(t, "due jobs", dueJobs(t, s, at(9), 9), []string{"open"})
	equal(t, "notices", ids(get(s.Notices(t.Context(), "i"))(t), noticeID), []string{"new", "open"})
	equal(t, "due notices", dueNotices(t, s, at(9), 9), []string{"open"})
	equal(t, "suppressions", ids(get(s.Suppressions(t.Context(), at(0)))(t), suppressionID), []string{"for good", "ran out, changed lately", "runs out later"})
	// Incidents, messages and the audit log stay.
	equal(t, "incident", get(s.Incident(t.Context(), "settled"))(t), settled)
	get(s.Message(t.Context(), "settled"))(t)
	if _, err := s.Record(t.Context(), "over"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("the outdated record: %v", err)
	}
	equal(t, "record", string(get(s.Record(t.Context(), "lasting"))(t).Data), `{"a":1}`)
	get(s.Record(t.Context(), "to come"))(t)
	equal(t, "audit", len(get(s.Audit(t.Context(), "settled"))(t)), 1)
	// What is gone can't be changed, and its id is free.
	gone := job("old", true, 1)
	gone.Version = 1
	mustConflict(t, s, remediation.Write{Jobs: []*remediation.Job{gone}})
	must(t, s, remediation.Write{Jobs: []*remediation.Job{newJob("old")}, Suppressions: []*remediation.Suppression{suppression("back", false, at(99), 1)}})
	// What is no longer settled is not swept.
	again := get(s.Job(t.Context(), "new"))(t)
	again.Done = false
	must(t, s, remediation.Write{Jobs: []*remediation.Job{again}})
	equal(t, "swept at the end", get(s.Sweep(t.Context(), at(1000)))(t), 5)
	equal(t, "due jobs at the end", dueJobs(t, s, at(9), 9), []string{"new", "old", "open"})
}

func testSweepMany(t *testing.T, s remediation.Store) {
	const many = 1300
	for from := 0; from < many; from += 100 {
		var w remediation.Write
		for n := range 100 {
			j := newJob(fmt.Sprint(from + n))
			j.Done = true
			w.Jobs = append(w.Jobs, j)
		}
		must(t, s, w)
	}
	// Where an answer gets lost on the network the row is gone and not counted.
	if n := get(s.Sweep(t.Context(), at(1)))(t); n > many || n < many-many/100 {
		t.Errorf("%d rows were swept, want %d", n, many)
	}
	for n := 0; n < many; n += 97 {
		notFound(t, s, fmt.Sprint(n))
	}
}
