package remediation_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

type partlyDown struct {
	remediation.Store
	down atomic.Bool
	bad  atomic.Value
}

func (s *partlyDown) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if s.down.Load() && len(q.Statuses) > 0 {
		return nil, errDisk
	}
	return s.Store.Incidents(ctx, q)
}

func (s *partlyDown) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	if b, _ := s.bad.Load().(string); b == id {
		return nil, errDisk
	}
	return s.Store.Incident(ctx, id)
}

func scanLab(t *testing.T, change ...func(*remediation.Options)) (*lab, *partlyDown) {
	var st *partlyDown
	l := newLab(t, append(change, func(o *remediation.Options) {
		st = &partlyDown{Store: o.Store}
		o.Store = st
		o.ScanLook = 5 * time.Millisecond
	})...)
	return l, st
}

// TestScanPlaceLost: a scan that goes on after a crash, while another has its place,
// waits for that one's end, and is told then.
func TestScanPlaceLost(t *testing.T) {
	l, st := scanLab(t)
	st.down.Store(true)
	l.doors.set("h", "front")
	l.submit(scanBy("s", "U9"))
	l.drain()
	rec, err := l.store.Record(t.Context(), "scan/running")
	if err != nil {
		t.Fatal(err)
	}
	rec.Data, rec.Until = []byte(`"another"`), l.clock().Add(time.Hour)
	if err := l.store.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	st.down.Store(false)
	for range 3 {
		l.advance(6 * time.Minute)
		l.drain()
	}
	if run := l.run("s"); run.Report != nil || l.replied() != "" {
		t.Errorf("while another runs: %+v, and %q", run, l.replied())
	}
	l.advance(time.Hour)
	l.drain()
	if r := l.scanned("s"); r.Open != 1 {
		t.Errorf("afterwards: %+v", r)
	}
}

func (l *lab) replied() string {
	var all string
	for _, r := range l.slack.replies(l.t) {
		all += r.Text + "\n"
	}
	return all
}

// TestScanGivenUp: the message of a scan that never gets through says so.
func TestScanGivenUp(t *testing.T) {
	l, st := scanLab(t)
	st.down.Store(true)
	l.doors.set("h", "front")
	l.submit(scanBy("s", "U9"))
	for range 60 {
		l.drain()
		l.advance(5 * time.Minute)
	}
	if run := l.run("s"); run.Report == nil {
		t.Errorf("given up, and yet under way: %+v", run)
	}
}

// TestOneScanAtATimeAfterACrash: one that goes on after its place has run out has it
// anew.
func TestOneScanAtATimeAfterACrash(t *testing.T) {
	l, st := scanLab(t)
	st.down.Store(true)
	l.doors.set("h", "front")
	l.submit(scanBy("s", "U9"))
	l.drain()
	l.advance(11 * time.Minute)
	st.down.Store(false)
	gate := make(chan struct{})
	var in atomic.Int64
	l.doors.onReading = func(ctx context.Context) error {
		in.Add(1)
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.start()
	l.until("s reads", func() bool { return in.Load() > 0 })
	l.submit(scanBy("b", "U8"))
	l.until("the second is refused", func() bool { return strings.Contains(l.replied(), "running already") })
	if in.Load() > 1 {
		t.Error("two scans read at once")
	}
	close(gate)
	l.settled()
}

// TestIgnoredIsNotClosed: what the policy has come to ignore is open all the same.
func TestIgnoredIsNotClosed(t *testing.T) {
	l, _ := scanLab(t)
	l.doors.set("h", "front")
	l.start()
	l.submit(scanBy("1", "U9"))
	l.settled()
	l.config.Rules[0].Then = remediation.ActionIgnore
	l.advance(2 * time.Minute)
	l.submit(scanBy("2", "U9"))
	l.settled()
	r := l.scanned("2")
	if r.Diff != nil && r.Diff.Closed > 0 {
		t.Errorf("it is open, and called closed: %+v", r.Diff)
	}
}

// TestFixAllOneBadRow: one incident that can't be read keeps nobody from hearing of
// the others.
func TestFixAllOneBadRow(t *testing.T) {
	l, st := scanLab(t)
	for _, h := range []string{"a", "b", "c"} {
		l.doors.set(h, "front")
	}
	l.submit(scanBy("s", "U9"))
	l.drain()
	var targets []remediation.Target
	for _, inc := range l.incidents() {
		targets = append(targets, remediation.Target{Incident: inc.ID, State: inc.State()})
	}
	st.bad.Store(targets[1].Incident)
	l.submit(remediation.Command{ID: "f", Verb: remediation.VerbFixAll, By: "U1", Scope: "s", Targets: targets})
	for range 60 {
		l.drain()
		l.advance(5 * time.Minute)
	}
	if !strings.Contains(l.replied(), "Reverted 2 of 3; 1 were refused.") || len(l.doors.changes()) != 2 {
		t.Errorf("%d were reverted, and the person is told %q", len(l.doors.changes()), l.replied())
	}
}

// TestFixAllOfClosed: what somebody else has closed is no failure.
func TestFixAllOfClosed(t *testing.T) {
	l, targets := bulk(t, 2)
	l.doors.set("h00")
	l.doors.set("h01")
	if r := l.fixAll("f", "U1", targets); r.Failed {
		t.Errorf("all are closed already: %+v", r)
	}
}

// TestFixAllOfAStrangerIsLogged as refused.
func TestFixAllOfAStrangerIsLogged(t *testing.T) {
	l, targets := bulk(t, 2)
	l.fixAll("f", "U7", targets)
	log, err := l.store.Audit(t.Context(), remediation.OwnLog)
	if err != nil {
		t.Fatal(err)
	}
	if last := log[len(log)-1]; last.By != "U7" || last.What != "refused to revert several at once" || !strings.Contains(string(last.Data), "You are not one") {
		t.Errorf("the last entry is %+v", last)
	}
}

// TestCancelledAfterOpening: what a scan has opened before it died is told, where
// it was cancelled since.
func TestCancelledAfterOpening(t *testing.T) {
	l, _ := scanLab(t)
	for _, h := range []string{"a", "b", "c", "d"} {
		l.doors.set(h, "front")
	}
	var n atomic.Int64
	l.doors.onReading = func(ctx context.Context) error { return ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopping := &dieAfter{Store: l.options.Store}
	stopping.before = func(w remediation.Write) error {
		if w.Incident != nil {
			if n.Add(1) > 2 {
				cancel()
				return errors.New("dead")
			}
		}
		if n.Load() > 2 {
			return errors.New("dead")
		}
		return nil
	}
	first := l.again(func(o *remediation.Options) { o.Store = stopping; o.Grace = time.Millisecond })
	l.submit(scanBy("s", "U9"))
	_ = first.Run(ctx)
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbCancel, By: "U8", Scope: "s"})
	l.drain()
	l.advance(2 * time.Minute)
	l.start()
	l.until("over", func() bool { return l.run("s").Report != nil })
	r := l.scanned("s")
	if len(l.incidents()) != r.Open {
		t.Errorf("the scan has opened %d incidents and tells of %d", len(l.incidents()), r.Open)
	}
}

type dieAfter struct {
	remediation.Store
	before func(remediation.Write) error
}

func (s *dieAfter) Commit(ctx context.Context, w remediation.Write) error {
	if err := s.before(w); err != nil {
		return err
	}
	return s.Store.Commit(ctx, w)
}

type panickingPeople struct{}

func (panickingPeople) Member(context.Context, string, string) (bool, error) { panic("boom") }

// TestFixAllPanics: a panic in one of them does not end the process.
func TestFixAllPanics(t *testing.T) {
	l, targets := bulk(t, 2, func(o *remediation.Options) { o.Directory = panickingPeople{} })
	l.submit(remediation.Command{ID: "f", Verb: remediation.VerbFixAll, By: "U7", Scope: "s", Targets: targets})
	l.until("it is tried again", func() bool {
		job, err := l.store.Job(t.Context(), "command/f")
		return err == nil && strings.Contains(job.Error, "internal error: boom")
	})
}

// TestFixAllIsQuiet: what nobody was told of is told by the scan's message alone.
func TestFixAllIsQuiet(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Config.Digest = 5 })
	for i := range 60 {
		l.doors.set("h"+string(rune('A'+i)), "front")
	}
	l.start()
	l.submit(scanBy("s", "U9"))
	l.until("scanned", func() bool { return l.run("s").Report != nil })
	for range 10 { // the digest comes
		l.advance(10 * time.Second)
		time.Sleep(10 * time.Millisecond)
	}
	l.settled()
	var targets []remediation.Target
	for _, inc := range l.incidents() {
		targets = append(targets, remediation.Target{Incident: inc.ID, State: inc.State()})
	}
	before := l.slack.count(remediation.OpMessage) + l.slack.count(remediation.OpThread)
	l.submit(remediation.Command{ID: "f", Verb: remediation.VerbFixAll, By: "U1", Scope: "s", Targets: targets})
	l.until("fixed", func() bool { return l.statuses()[remediation.StatusFixed] == 60 })
	l.settled()
	if n := l.slack.count(remediation.OpMessage) + l.slack.count(remediation.OpThread) - before; n > 30 {
		t.Errorf("%d messages for %d fixes", n, len(targets))
	}
}
