package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/memory"
)

var statsNow = time.Date(2025, 4, 30, 15, 0, 0, 0, time.UTC)

// past is an incident of the given day (0 is today), with a history of one step
// a minute.
func past(id string, day int, severity remediation.Severity, steps ...remediation.Transition) *remediation.Incident {
	at := statsNow.AddDate(0, 0, -day).Add(-time.Hour)
	inc := &remediation.Incident{ID: id, Key: id, CreatedAt: at, UpdatedAt: at,
		Decision: remediation.Decision{Action: remediation.ActionAsk},
		Finding: remediation.Finding{Playbook: "toy", Event: "OpenDoor", Severity: severity, At: at.Add(-time.Minute),
			Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "1", ID: id}}}
	for i, s := range append([]remediation.Transition{{To: remediation.StatusOpen, By: remediation.ByItself}}, steps...) {
		s.From, s.At = inc.Status, at.Add(time.Duration(i)*time.Minute)
		inc.History, inc.Status = append(inc.History, s), s.To
	}
	return inc
}

func to(status remediation.Status, by string) remediation.Transition {
	return remediation.Transition{To: status, By: by}
}

const (
	toFixing = remediation.StatusFixing
	toFixed  = remediation.StatusFixed
	itself   = remediation.ByItself
)

func stored(t *testing.T, incs ...*remediation.Incident) remediation.Store {
	t.Helper()
	st := memory.New()
	for _, inc := range incs {
		if err := st.Commit(context.Background(), remediation.Write{Incident: inc}); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func read(t *testing.T, st remediation.IncidentLister, most int) remediation.Stats {
	t.Helper()
	s, err := remediation.ReadStats(context.Background(), st, statsNow, most)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStats(t *testing.T) {
	const high, low, critical = remediation.SeverityHigh, remediation.SeverityLow, remediation.SeverityCritical
	scanned := past("scanned", 1, high, to(toFixing, "U1"), to(toFixed, itself))
	scanned.Finding.Event = "scan"
	told := past("told", 1, low)
	told.Decision.Action = remediation.ActionNotify
	slow := past("slow", 1, high, to(toFixing, "U1"), to(toFixed, itself))
	slow.Finding.At = slow.Finding.At.Add(-time.Hour)
	other := past("other", 2, low, to(remediation.StatusExpired, itself))
	other.Finding.Playbook, other.Finding.Resource.Account = "another", "2"
	st := stored(t, scanned, told, slow, other,
		past("auto", 0, high, to(toFixing, itself), to(toFixed, itself)),
		past("undone", 0, high, to(toFixing, itself), to(toFixed, itself), to(remediation.StatusUndoing, "U1"), to(remediation.StatusUndone, itself)),
		past("ignored", 0, low, to(remediation.StatusIgnored, "U1")),
		past("allowed", 29, low, to(remediation.StatusAllowed, "U1"), to(toFixing, itself), to(toFixed, itself)),
		past("hurried", 29, low, to(remediation.StatusAllowed, "U1"), to(toFixing, "U1"), to(toFixed, itself)),
		past("resolved", 3, low, to(remediation.StatusResolved, itself)),
		past("failed", 3, low, to(toFixing, itself), to(remediation.StatusFailed, itself)),
		past("waits", 5, critical), past("waits too", 6, low), past("too old", 30, high, to(toFixing, itself), to(toFixed, itself)),
	)
	s := read(t, st, 100)
	if s.Found != 13 || s.More || len(s.Days) != remediation.StatsDays || !s.From.Equal(time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("found %d, more %v, %d days from %v", s.Found, s.More, len(s.Days), s.From)
	}
	if want := (map[remediation.Fate]int{remediation.FateAuto: 1, remediation.FateReverted: 3, remediation.FateUndone: 1, remediation.FateIgnored: 1,
		remediation.FateAllowed: 1, remediation.FateResolved: 1, remediation.FateExpired: 1, remediation.FateFailed: 1, remediation.FateWaiting: 2, remediation.FateTold: 1}); !reflect.DeepEqual(s.Fates, want) {
		t.Errorf("fates %v, want %v", s.Fates, want)
	}
	// auto 3 min, undone 3, allowed 4, hurried 4, slow 63.
	if want := (remediation.Mitigation{Count: 5, Median: 4 * time.Minute, P90: 63 * time.Minute}); s.Mitigated != want {
		t.Errorf("mitigated %+v, want %+v", s.Mitigated, want)
	}
	today, yesterday, first := s.Days[29], s.Days[28], s.Days[0]
	if want := (map[remediation.Severity]int{high: 2, low: 1}); !reflect.DeepEqual(today.Found, want) || today.All() != 3 || today.Mitigated.Median != 3*time.Minute {
		t.Errorf("today %+v", today)
	}
	if yesterday.All() != 3 || yesterday.Mitigated != (remediation.Mitigation{Count: 1, Median: 63 * time.Minute, P90: 63 * time.Minute}) {
		t.Errorf("yesterday %+v: what a scan has found has no time", yesterday)
	}
	if first.All() != 2 || s.Days[15].All() != 0 || s.Days[15].Mitigated.Count != 0 {
		t.Errorf("the first day %+v, one without anything %+v", first, s.Days[15])
	}
	last := s.Weeks[4]
	if len(s.Weeks) != 5 || !s.Weeks[0].Day.Equal(s.From) || !s.Weeks[1].Day.Equal(s.From.AddDate(0, 0, 2)) || s.Weeks[0].All() != 2 || last.All() != 11 ||
		last.Mitigated != (remediation.Mitigation{Count: 3, Median: 3 * time.Minute, P90: 63 * time.Minute}) {
		t.Errorf("weeks %+v", s.Weeks)
	}
	if want := []remediation.StatsCount{{Name: "toy", Count: 12}, {Name: "another", Count: 1}}; !slices.Equal(s.Playbooks, want) {
		t.Errorf("playbooks %v", s.Playbooks)
	}
	if want := []remediation.StatsCount{{Name: "1", Count: 12}, {Name: "2", Count: 1}}; !slices.Equal(s.Accounts, want) {
		t.Errorf("accounts %v", s.Accounts)
	}
	var waiting []string
	for _, w := range s.Waiting {
		waiting = append(waiting, w.Incident)
	}
	if !slices.Equal(waiting, []string{"waits", "waits too", "failed"}) || s.Waits != 3 || !s.Oldest.Equal(statsNow.AddDate(0, 0, -6).Add(-time.Hour)) {
		t.Errorf("%v wait, %d in all, since %v", waiting, s.Waits, s.Oldest)
	}
}

// TestStatsPages: however the incidents fall on pages, each is counted once, also
// where many were created at the same time; and it is told where there are more.
func TestStatsPages(t *testing.T) {
	var all []*remediation.Incident
	for i := range 650 {
		inc := past(fmt.Sprintf("i%03d", i), 2, remediation.SeverityLow, to(toFixing, itself), to(toFixed, itself))
		if i > 100 && i < 560 {
			inc.CreatedAt = inc.CreatedAt.Add(time.Minute) // more at once than a page holds
		}
		inc.CreatedAt = inc.CreatedAt.Add(time.Duration(i/50) * time.Hour / 100)
		if i > 100 && i < 560 {
			inc.CreatedAt = statsNow.Add(-time.Hour)
		}
		all = append(all, inc)
	}
	st := stored(t, all...)
	for most, want := range map[int]int{5000: 650, 650: 650, 649: 649, 200: 200, 1: 1} {
		s := read(t, st, most)
		if s.Found != want || s.More != (want < 650) || s.Mitigated.Count != want {
			t.Errorf("of %d at most: %d, more %v", most, s.Found, s.More)
		}
	}
}

// lister fails from the n-th page on.
type lister struct {
	remediation.IncidentLister
	pages int
	fail  func() error
}

func (l *lister) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if l.pages--; l.pages < 0 {
		return nil, l.fail()
	}
	return l.IncidentLister.Incidents(ctx, q)
}

// TestStatsInTime: what was read in time counts, and it is told that it is not all;
// a store that fails is an error.
func TestStatsInTime(t *testing.T) {
	var all []*remediation.Incident
	for i := range 450 {
		all = append(all, past(fmt.Sprintf("i%03d", i), i%20, remediation.SeverityLow))
	}
	st := stored(t, all...)
	broken := errors.New("the store is broken")
	ctx, cancel := context.WithCancel(context.Background())
	late := func() error { cancel(); return ctx.Err() }
	s, err := remediation.ReadStats(ctx, &lister{st, 2, late}, statsNow, 5000)
	if err != nil || !s.More || !s.MoreWait || s.Found < 300 || s.Found > 400 {
		t.Errorf("found %d, more %v, error %v", s.Found, s.More, err)
	}
	if _, err := remediation.ReadStats(ctx, &lister{st, 0, late}, statsNow, 5000); !errors.Is(err, context.Canceled) {
		t.Errorf("with nothing read: %v", err)
	}
	for pages := range 4 {
		if _, err := remediation.ReadStats(context.Background(), &lister{st, pages, func() error { return broken }}, statsNow, 5000); !errors.Is(err, broken) {
			t.Errorf("after %d pages: %v", pages, err)
		}
	}
}
