package remediation_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"secbot/remediation"
)

// alerts are the titles of what was told about secbot itself.
func (l *lab) alerts() (titles []string) {
	l.t.Helper()
	l.slack.mu.Lock()
	defer l.slack.mu.Unlock()
	for _, n := range l.slack.got {
		if n.Op != remediation.OpAlert {
			continue
		}
		var a remediation.Alert
		if err := json.Unmarshal(n.Payload, &a); err != nil {
			l.t.Error(err)
		}
		titles = append(titles, a.Title)
	}
	return titles
}

// hours lets time pass, with secbot at work each half hour.
func (l *lab) hours(n int) {
	l.t.Helper()
	for range 2 * n {
		if err := l.engine.Drain(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
		l.advance(30 * time.Minute)
	}
}

// TestHeartbeat: a source that falls silent is told of once, and again when it
// comes back. One that was never heard is not missed.
func TestHeartbeat(t *testing.T) {
	l := newLab(t)
	l.config.Heartbeat = 24 * time.Hour
	l.engine = l.again()
	l.engine.Heard(t.Context(), remediation.SourceCloudTrail)
	l.hours(20)
	l.engine.Heard(t.Context(), remediation.SourceCloudTrail)
	l.hours(20)
	if got := l.alerts(); len(got) != 0 {
		t.Fatalf("told %q, though it was heard 20 hours ago", got)
	}
	l.hours(30)
	if got := l.alerts(); !slices.Equal(got, []string{"No events from CloudTrail"}) {
		t.Fatalf("told %q", got)
	}
	b, err := l.engine.Backlog(t.Context())
	if d := b.Silent[remediation.SourceCloudTrail]; err != nil || d != 50*time.Hour || len(b.Silent) != 1 {
		t.Errorf("silent for %v (%v), %v", d, err, b.Silent)
	}
	l.engine.Heard(t.Context(), remediation.SourceCloudTrail)
	l.engine.Heard(t.Context(), remediation.SourceCloudTrail)
	l.hours(2)
	if got := l.alerts(); !slices.Equal(got, []string{"No events from CloudTrail", "Events come again: CloudTrail"}) {
		t.Errorf("told %q", got)
	}
}

// TestNothingEverHeard: an EventBridge rule that was never right shows too.
func TestNothingEverHeard(t *testing.T) {
	l := newLab(t)
	l.config.Heartbeat = 24 * time.Hour
	l.engine = l.again()
	l.hours(60)
	if got := l.alerts(); !slices.Equal(got, []string{"No events from any source"}) {
		t.Errorf("told %q", got)
	}
}

// TestReady: work that does not get on and messages that do not go out are no
// readiness.
func TestReady(t *testing.T) {
	l := newLab(t)
	if err := l.engine.Ready(t.Context()); err != nil {
		t.Fatalf("at rest: %v", err)
	}
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.advance(10 * time.Minute)
	b, err := l.engine.Backlog(t.Context())
	if err != nil || b.JobLate != 10*time.Minute {
		t.Errorf("an event that waits: %+v, %v", b, err)
	}
	if err := l.engine.Ready(t.Context()); err == nil {
		t.Error("ready, with an event that nobody takes up")
	}
	// That somebody clicks makes it no better.
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbFix, Incident: "x", By: "U1"})
	l.advance(10 * time.Second)
	b, err = l.engine.Backlog(t.Context())
	if err != nil || b.JobLate != 10*time.Minute+10*time.Second {
		t.Errorf("an event that waits, and a click: %+v, %v", b, err)
	}
	l.slack.fail = func(remediation.Notice) error { return fmt.Errorf("no channel") }
	l.drain()
	l.advance(11 * time.Minute)
	l.drain()
	l.advance(time.Minute)
	b, err = l.engine.Backlog(t.Context())
	if err != nil || b.NoticeAge != 12*time.Minute || b.Notices != 2 || b.Reason != "no channel" {
		t.Errorf("a message that does not get out: %+v, %v", b, err)
	}
	if err := l.engine.Ready(t.Context()); err == nil {
		t.Error("ready, with a message that does not go out")
	}
}

func (l *lab) drain() {
	l.t.Helper()
	if err := l.engine.Drain(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}
