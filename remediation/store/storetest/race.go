package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"secbot/remediation"
)

const racers = 50

// race runs f in many goroutines at once and says how many succeeded; the
// others must have met ErrConflict.
func race(t *testing.T, f func(n int) error) int {
	t.Helper()
	var (
		start sync.WaitGroup
		ended sync.WaitGroup
		won   atomic.Int32
	)
	start.Add(1)
	for n := range racers {
		ended.Go(func() {
			start.Wait()
			switch err := f(n); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, remediation.ErrConflict):
				t.Errorf("racer %d: %v", n, err)
			}
		})
	}
	start.Done()
	ended.Wait()
	return int(won.Load())
}

func testRaceForKey(t *testing.T, s remediation.Store) {
	for round := range 5 {
		key := fmt.Sprint("k", round)
		won := race(t, func(n int) error {
			i := newIncident(fmt.Sprint(round, "/", n), key, remediation.StatusOpen)
			err := s.Commit(t.Context(), remediation.Write{Incident: i, Notices: []*remediation.Notice{newNotice(i.ID, i.ID, 1)}})
			if (err == nil) != (i.Version == 1) {
				t.Errorf("version %d after %v", i.Version, err)
			}
			return err
		})
		equal(t, "winners", won, 1)
		equal(t, "incidents", len(list(t, s, remediation.IncidentQuery{Key: key})), 1)
		equal(t, "notices", len(dueNotices(t, s, base(), 1000)), round+1)
	}
}

func testRaceForVersion(t *testing.T, s remediation.Store) {
	must(t, s, remediation.Write{Incident: newIncident("i", "k", remediation.StatusOpen)})
	for round := range 5 {
		read := make([]*remediation.Incident, racers)
		for n := range read {
			read[n] = get(s.Incident(t.Context(), "i"))(t)
			read[n].Repeats++
		}
		won := race(t, func(n int) error {
			return s.Commit(t.Context(), remediation.Write{Incident: read[n], Audit: []remediation.AuditEntry{newEntry("i", round+1)}})
		})
		equal(t, "winners", won, 1)
		got := get(s.Incident(t.Context(), "i"))(t)
		equal(t, "version", got.Version, round+2)
		equal(t, "repeats", got.Repeats, round+1)
		equal(t, "audit", len(get(s.Audit(t.Context(), "i"))(t)), round+1)
	}
}

// testRaceMixed lets some writes conflict among many that don't: those must all
// be stored.
func testRaceMixed(t *testing.T, s remediation.Store) {
	must(t, s, remediation.Write{Jobs: []*remediation.Job{newJob("taken")}})
	won := race(t, func(n int) error {
		w := remediation.Write{Jobs: []*remediation.Job{newJob(fmt.Sprint("j", n))}, Audit: []remediation.AuditEntry{newEntry("i", n+1)}}
		if n%5 == 0 {
			w.Jobs = append(w.Jobs, newJob("taken"))
		}
		err := s.Commit(t.Context(), w)
		if _, read := s.Job(t.Context(), w.Jobs[0].ID); (read == nil) != (err == nil) {
			t.Errorf("job %d: stored %v, read %v", n, err, read)
		}
		return err
	})
	equal(t, "winners", won, racers-racers/5)
	equal(t, "jobs", len(dueJobs(t, s, base(), 1000)), won+1)
	equal(t, "audit", len(get(s.Audit(t.Context(), "i"))(t)), won)
}
