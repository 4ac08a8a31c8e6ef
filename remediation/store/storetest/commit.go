package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

func testEmpty(t *testing.T, s remediation.Store) {
	ctx := t.Context()
	notFound(t, s, "x")
	if _, err := s.Active(ctx, "x"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Active: %v", err)
	}
	equal(t, "incidents", len(get(s.Incidents(ctx, remediation.IncidentQuery{}))(t)), 0)
	equal(t, "jobs", len(get(s.DueJobs(ctx, base(), 10))(t)), 0)
	equal(t, "due notices", len(get(s.DueNotices(ctx, base(), 10))(t)), 0)
	equal(t, "notices", len(get(s.Notices(ctx, "x"))(t)), 0)
	equal(t, "suppressions", len(get(s.Suppressions(ctx, base()))(t)), 0)
	equal(t, "audit", len(get(s.Audit(ctx, "x"))(t)), 0)
	equal(t, "swept", get(s.Sweep(ctx, base()))(t), 0)
	if err := s.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

// notFound says that there is no incident, job and message of that id.
func notFound(t testing.TB, s remediation.Store, id string) {
	t.Helper()
	if _, err := s.Incident(t.Context(), id); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Incident: got %v, want ErrNotFound", err)
	}
	if _, err := s.Job(t.Context(), id); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Job: got %v, want ErrNotFound", err)
	}
	if _, err := s.Message(t.Context(), id); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Message: got %v, want ErrNotFound", err)
	}
}

// readBack reads the rows of full().
func readBack(t testing.TB, s remediation.Store) remediation.Write {
	t.Helper()
	ctx := t.Context()
	return remediation.Write{
		Incident:     get(s.Incident(ctx, "01FULL"))(t),
		Jobs:         []*remediation.Job{get(s.Job(ctx, "signal/1"))(t)},
		Notices:      get(s.Notices(ctx, "01FULL"))(t),
		Message:      get(s.Message(ctx, "01FULL"))(t),
		Suppressions: get(s.Suppressions(ctx, base()))(t),
		Audit:        get(s.Audit(ctx, "01FULL"))(t),
	}
}

func testRoundTrip(t *testing.T, s remediation.Store) {
	w := full()
	must(t, s, w)
	equal(t, "version", []int{w.Incident.Version, w.Jobs[0].Version, w.Notices[0].Version, w.Message.Version, w.Suppressions[0].Version},
		[]int{1, 1, 1, 1, 1})
	equal(t, "rows", readBack(t, s), w)
	equal(t, "active", get(s.Active(t.Context(), w.Incident.Key))(t), w.Incident)
	w.Audit = nil
	must(t, s, w)
	got := readBack(t, s)
	w.Audit = full().Audit
	equal(t, "rows after an update", got, w)
}

func testIsolation(t *testing.T, s remediation.Store) {
	w := full()
	must(t, s, w)
	spoil(w)
	got := readBack(t, s)
	spoil(got)
	want := full()
	want.Incident.Version, want.Jobs[0].Version, want.Notices[0].Version, want.Message.Version, want.Suppressions[0].Version = 1, 1, 1, 1, 1
	equal(t, "rows after the callers' copies were changed", readBack(t, s), want)
}

// spoil changes what the rows of w point to.
func spoil(w remediation.Write) {
	w.Incident.Finding.Rules[0].Tags["a"] = "spoilt"
	*w.Incident.Finding.Rules[0].FromPort = 1
	w.Incident.Plan.Before[2] = 'X'
	w.Incident.Calls[0].RequestIDs[0] = "spoilt"
	w.Jobs[0].Payload[2] = 'X'
	w.Jobs[0].Error = "spoilt"
	w.Notices[0].Payload[2] = 'X'
	w.Message.TS = "spoilt"
	w.Suppressions[0].Resource.ID = "spoilt"
	w.Suppressions[0].Rules[0] = "spoilt"
	w.Audit[0].Data[1] = '9'
}

func testRawJSON(t *testing.T, s remediation.Store) {
	job := newJob("j")
	job.Payload = json.RawMessage("{ \"b\" : \"<&> \u2028 \\u003c\",\n\t\"a\": 1.50, \"a\": 12345678901234567890 }")
	must(t, s, remediation.Write{Jobs: []*remediation.Job{job}})
	got := get(s.Job(t.Context(), "j"))(t)
	equal(t, "payload", string(got.Payload), "{\"b\":\"<&> \u2028 \\u003c\",\"a\":1.50,\"a\":12345678901234567890}")
}

func testTimes(t *testing.T, s remediation.Store) {
	for name, when := range map[string]time.Time{
		"nanoseconds": time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC),
		"zero":        {},
		"early":       time.Date(1900, 1, 1, 0, 0, 0, 1, time.UTC),
		"late":        time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"monotonic":   time.Now().UTC(),
	} {
		job := newJob(name)
		job.Due, job.CreatedAt = when, when
		must(t, s, remediation.Write{Jobs: []*remediation.Job{job}})
		got := get(s.Job(t.Context(), name))(t)
		if want := when.Round(0); got.CreatedAt != want {
			t.Errorf("%s: got %#v, want %#v", name, got.CreatedAt, want)
		}
	}
	zone := newJob("zone")
	zone.CreatedAt = base().In(time.FixedZone("", 5*3600+1800))
	must(t, s, remediation.Write{Jobs: []*remediation.Job{zone}})
	if got := get(s.Job(t.Context(), "zone"))(t); !got.CreatedAt.Equal(base()) {
		t.Errorf("another zone: got %v, want the instant %v", got.CreatedAt, base())
	}
}

// versionedRows gives one row of each kind that has a version, with the place
// of that version.
func versionedRows() map[string]func() (remediation.Write, *int) {
	return map[string]func() (remediation.Write, *int){
		"incident": func() (remediation.Write, *int) {
			i := newIncident("i", "k", remediation.StatusOpen)
			return remediation.Write{Incident: i}, &i.Version
		},
		"job": func() (remediation.Write, *int) {
			j := newJob("j")
			return remediation.Write{Jobs: []*remediation.Job{j}}, &j.Version
		},
		"notice": func() (remediation.Write, *int) {
			n := newNotice("n", "i", 1)
			return remediation.Write{Notices: []*remediation.Notice{n}}, &n.Version
		},
		"message": func() (remediation.Write, *int) {
			m := &remediation.MessageRef{Incident: "i", Channel: "C1", TS: "1.2"}
			return remediation.Write{Message: m}, &m.Version
		},
		"suppression": func() (remediation.Write, *int) {
			x := newSuppression("s")
			return remediation.Write{Suppressions: []*remediation.Suppression{x}}, &x.Version
		},
	}
}

func testVersions(t *testing.T, s remediation.Store) {
	for kind, row := range versionedRows() {
		// Each step tries a version; want is the version afterwards.
		for _, step := range []struct{ version, want int }{
			{1, 1}, {-1, -1}, // nothing is stored yet
			{0, 1}, {0, 0}, {2, 2}, {-1, -1}, // only 1 fits now
			{1, 2}, {1, 1}, {3, 3}, {2, 3},
		} {
			w, version := row()
			*version = step.version
			err := s.Commit(t.Context(), w)
			if conflict := step.version == step.want; conflict != errors.Is(err, remediation.ErrConflict) || !conflict && err != nil {
				t.Fatalf("%s at version %d: error %v", kind, step.version, err)
			}
			if *version != step.want {
				t.Fatalf("%s: version %d became %d, want %d", kind, step.version, *version, step.want)
			}
		}
	}
}

func testAuditOnce(t *testing.T, s remediation.Store) {
	must(t, s, remediation.Write{Audit: []remediation.AuditEntry{newEntry("i", 2), newEntry("i", 1), newEntry("j", 1)}})
	again := newEntry("i", 1)
	again.By = "U0MALLORY"
	mustConflict(t, s, remediation.Write{Audit: []remediation.AuditEntry{newEntry("i", 3), again}})
	equal(t, "audit", get(s.Audit(t.Context(), "i"))(t), []remediation.AuditEntry{newEntry("i", 1), newEntry("i", 2)})
	must(t, s, remediation.Write{Audit: []remediation.AuditEntry{newEntry("i", 300)}})
	all := get(s.Audit(t.Context(), "i"))(t)
	equal(t, "last", all[2].Seq, 300)
}

// testAtomic stores a Write of which one row conflicts, each kind in turn.
func testAtomic(t *testing.T, s remediation.Store) {
	must(t, s, full())
	for name, breakIt := range map[string]func(w *remediation.Write){
		"incident":    func(w *remediation.Write) { w.Incident.ID = "01FULL" },
		"key":         func(w *remediation.Write) { w.Incident.Key = full().Incident.Key },
		"job":         func(w *remediation.Write) { w.Jobs = append(w.Jobs, newJob("signal/1")) },
		"notice":      func(w *remediation.Write) { w.Notices = append(w.Notices, newNotice("n/1", "01FULL", 3)) },
		"message":     func(w *remediation.Write) { w.Message.Incident = "01FULL" },
		"suppression": func(w *remediation.Write) { w.Suppressions = append(w.Suppressions, newSuppression("s/1")) },
		"audit":       func(w *remediation.Write) { w.Audit = append(w.Audit, newEntry("01FULL", 1)) },
		"stale":       func(w *remediation.Write) { j := newJob("signal/1"); j.Version = 2; w.Jobs = append(w.Jobs, j) },
	} {
		w := remediation.Write{
			Incident:     newIncident("new", "new", remediation.StatusOpen),
			Jobs:         []*remediation.Job{newJob("new")},
			Notices:      []*remediation.Notice{newNotice("new", "new", 1)},
			Message:      &remediation.MessageRef{Incident: "new", Channel: "C1", TS: "1.2"},
			Suppressions: []*remediation.Suppression{newSuppression("new")},
			Audit:        []remediation.AuditEntry{newEntry("new", 1)},
		}
		breakIt(&w)
		if err := s.Commit(t.Context(), w); !errors.Is(err, remediation.ErrConflict) {
			t.Fatalf("%s: got %v, want ErrConflict", name, err)
		}
		equal(t, name+": versions", []int{w.Incident.Version, w.Jobs[0].Version, w.Notices[0].Version, w.Message.Version, w.Suppressions[0].Version},
			[]int{0, 0, 0, 0, 0})
		nothingNew(t, s)
	}
}

// nothingNew says that no row "new" was stored and full() is as it was.
func nothingNew(t testing.TB, s remediation.Store) {
	t.Helper()
	notFound(t, s, "new")
	if _, err := s.Active(t.Context(), "new"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Active: %v", err)
	}
	equal(t, "notices", len(get(s.Notices(t.Context(), "new"))(t)), 0)
	equal(t, "due notices", ids(get(s.DueNotices(t.Context(), at(99), 9))(t), noticeID), []string{"n/1"})
	equal(t, "due jobs", ids(get(s.DueJobs(t.Context(), at(99), 9))(t), jobID), []string{"signal/1"})
	equal(t, "audit", len(get(s.Audit(t.Context(), "new"))(t)), 0)
	equal(t, "incidents", len(get(s.Incidents(t.Context(), remediation.IncidentQuery{}))(t)), 1)
	want := full()
	want.Incident.Version, want.Jobs[0].Version, want.Notices[0].Version, want.Message.Version, want.Suppressions[0].Version = 1, 1, 1, 1, 1
	equal(t, "other rows", readBack(t, s), want)
}

func testInvalid(t *testing.T, s remediation.Store) {
	long := strings.Repeat("x", 1025)
	incident := func(change func(*remediation.Incident)) remediation.Write {
		i := newIncident("new", "k", remediation.StatusOpen)
		change(i)
		return remediation.Write{Incident: i}
	}
	job := newJob("new")
	broken := newJob("broken")
	broken.Payload = json.RawMessage(`{`)
	late := newJob("late")
	late.Due = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, w := range map[string]remediation.Write{
		"no incident id":         incident(func(i *remediation.Incident) { i.ID = "" }),
		"long incident id":       incident(func(i *remediation.Incident) { i.ID = long }),
		"no key":                 incident(func(i *remediation.Incident) { i.Key = "" }),
		"long key":               incident(func(i *remediation.Incident) { i.Key = long }),
		"long playbook":          incident(func(i *remediation.Incident) { i.Finding.Playbook = long }),
		"long resource":          incident(func(i *remediation.Incident) { i.Finding.Resource.ID = long }),
		"no job id":              {Jobs: []*remediation.Job{newJob("")}},
		"long job id":            {Jobs: []*remediation.Job{newJob(long)}},
		"job id not UTF-8":       {Jobs: []*remediation.Job{newJob("\xff")}},
		"nil job":                {Jobs: []*remediation.Job{nil}},
		"job twice":              {Jobs: []*remediation.Job{job, job}},
		"no notice id":           {Notices: []*remediation.Notice{newNotice("", "new", 1)}},
		"notice twice":           {Notices: []*remediation.Notice{newNotice("new", "new", 1), newNotice("new", "new", 2)}},
		"long notice incident":   {Notices: []*remediation.Notice{newNotice("new", long, 1)}},
		"nil notice":             {Notices: []*remediation.Notice{nil}},
		"no message incident":    {Message: &remediation.MessageRef{}},
		"no suppression id":      {Suppressions: []*remediation.Suppression{newSuppression("")}},
		"nil suppression":        {Suppressions: []*remediation.Suppression{nil}},
		"suppression twice":      {Suppressions: []*remediation.Suppression{newSuppression("new"), newSuppression("new")}},
		"no audit incident":      {Audit: []remediation.AuditEntry{newEntry("", 1)}},
		"audit entry 0":          {Audit: []remediation.AuditEntry{newEntry("new", 0)}},
		"audit entry twice":      {Audit: []remediation.AuditEntry{newEntry("new", 1), newEntry("new", 1)}},
		"raw JSON that isn't":    {Jobs: []*remediation.Job{job, broken}},
		"a time JSON can't hold": {Jobs: []*remediation.Job{job, late}},
	} {
		if err := s.Commit(t.Context(), w); err == nil || errors.Is(err, remediation.ErrConflict) {
			t.Errorf("%s: got %v, want an error that is no ErrConflict", name, err)
		}
		notFound(t, s, "new")
	}
	equal(t, "version", job.Version, 0)
}

func testOddIDs(t *testing.T, s remediation.Store) {
	for _, id := range []string{strings.Repeat("x", 1024), "a/b", "a\x00b", "a", "\x00", "ä #?", `"`, "<&>"} {
		inc := newIncident(id, id, remediation.StatusOpen)
		inc.Finding.Resource.ID = id
		must(t, s, remediation.Write{Incident: inc, Jobs: []*remediation.Job{newJob(id)}, Notices: []*remediation.Notice{newNotice(id, id, 1)},
			Suppressions: []*remediation.Suppression{newSuppression(id)}, Audit: []remediation.AuditEntry{newEntry(id, 1)}})
	}
	for _, id := range []string{"a", "a\x00b", "\x00", strings.Repeat("x", 1024)} {
		equal(t, "incident", get(s.Active(t.Context(), id))(t).ID, id)
		equal(t, "query", ids(get(s.Incidents(t.Context(), remediation.IncidentQuery{Resource: id}))(t), incidentID), []string{id})
		equal(t, "notices", ids(get(s.Notices(t.Context(), id))(t), noticeID), []string{id})
		equal(t, "audit", get(s.Audit(t.Context(), id))(t), []remediation.AuditEntry{newEntry(id, 1)})
	}
	equal(t, "due jobs", len(get(s.DueJobs(t.Context(), base(), 99))(t)), 8)
	equal(t, "due notices", len(get(s.DueNotices(t.Context(), base(), 99))(t)), 8)
	equal(t, "suppressions", len(get(s.Suppressions(t.Context(), base()))(t)), 8)
}

func testEmptyWrite(t *testing.T, s remediation.Store) {
	must(t, s, remediation.Write{})
	must(t, s, remediation.Write{})
}

func testContext(t *testing.T, s remediation.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	job := newJob("j")
	if err := s.Commit(ctx, remediation.Write{Jobs: []*remediation.Job{job}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	equal(t, "version", job.Version, 0)
	notFound(t, s, "j")
	if _, err := s.Job(ctx, "j"); !errors.Is(err, context.Canceled) {
		t.Errorf("Job: %v", err)
	}
	if _, err := s.Sweep(ctx, base()); !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep: %v", err)
	}
}

func testClose(t *testing.T, s remediation.Store) {
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping of a closed store")
	}
	if err := s.Commit(t.Context(), full()); err == nil || errors.Is(err, remediation.ErrConflict) {
		t.Errorf("Commit to a closed store: %v", err)
	}
	if _, err := s.Incident(t.Context(), "x"); err == nil || errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Incident of a closed store: %v", err)
	}
	if _, err := s.Sweep(t.Context(), base()); err == nil {
		t.Error("Sweep of a closed store")
	}
}
