package remediation_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"secbot/remediation"
)

// reports are the statistics that were sent.
func (l *lab) reports() (sent []remediation.StatsReport, notices []remediation.Notice) {
	l.t.Helper()
	l.slack.mu.Lock()
	defer l.slack.mu.Unlock()
	for _, n := range l.slack.got {
		if n.Op != remediation.OpStats {
			continue
		}
		var r remediation.StatsReport
		if err := json.Unmarshal(n.Payload, &r); err != nil {
			l.t.Error(err)
		}
		sent, notices = append(sent, r), append(notices, n)
	}
	return sent, notices
}

// TestWeeklyReport: once a week, on its day at nine, whatever the number of
// processes, with what there was until then.
func TestWeeklyReport(t *testing.T) {
	l := newLab(t) // begins on a Sunday at noon
	l.config.Report = "tuesday"
	l.engine = l.again()
	other := l.again()
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	want := []time.Time{time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC), time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)}
	for range 2 * 24 * 10 {
		for _, e := range []*remediation.Engine{other, l.engine} {
			if err := e.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.advance(30 * time.Minute)
	}
	reports, notices := l.reports()
	var at []time.Time
	for i, r := range reports {
		at = append(at, r.Stats.To)
		if r.Stats.Found != 1 || r.Stats.Waits != 1 || r.User != "" || notices[i].Channel != "C1" {
			t.Errorf("in %q for %q: %+v", notices[i].Channel, r.User, r.Stats)
		}
	}
	if !slices.EqualFunc(at, want, time.Time.Equal) {
		t.Errorf("reported at %v, want %v", at, want)
	}
}

// TestReportDays: each day is itself, and a change of the day lets no report
// come on the one before.
func TestReportDays(t *testing.T) {
	for i, day := range remediation.ReportDays()[1:] {
		l := newLab(t)
		l.config.Report = day
		l.engine = l.again()
		for range 8 * 24 {
			if err := l.engine.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.advance(time.Hour)
		}
		reports, _ := l.reports()
		if len(reports) == 0 || int(reports[0].Stats.To.Weekday()) != (i+1)%7 || reports[0].Stats.To.Hour() != 9 {
			t.Errorf("%s: %d reports, the first at %v", day, len(reports), reports[0].Stats.To)
		}
	}
	for _, now := range []remediation.ReportDay{remediation.ReportNever, "", "friday"} {
		l := newLab(t)
		l.config.Report = "monday"
		l.engine = l.again()
		l.hours(1)
		l.config.Report = now
		l.engine = l.again()
		l.hours(48)
		if reports, _ := l.reports(); len(reports) != 0 {
			t.Errorf("changed to %q: reported at %v", now, reports[0].Stats.To)
		}
	}
}

// TestStatsCommand: who asks gets them, once, and nobody else does.
func TestStatsCommand(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	cmd := remediation.Command{ID: "c1", Verb: remediation.VerbStats, By: "U9", ReplyTo: remediation.ReplyTo{User: "U9", NotBefore: l.clock().Add(time.Second)}}
	l.submit(cmd)
	l.submit(cmd)
	l.submit(remediation.Command{ID: "c2", Verb: remediation.VerbStats, By: "shell:root"})
	l.drain()
	l.advance(time.Second)
	l.drain()
	reports, notices := l.reports()
	if len(reports) != 1 || reports[0].User != "U9" || notices[0].Channel != "U9" || reports[0].Stats.Found != 1 {
		t.Fatalf("%d reports: %.200v", len(reports), reports)
	}
	if notices[0].UpdatedAt.Before(cmd.ReplyTo.NotBefore) {
		t.Error("sent before the command was acknowledged")
	}
}

// TestHomeNotices: who clicks in their home sees it published when the work begins
// and when it is done, and when they are refused; who clicks in a message does not.
func TestHomeNotices(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	homes := func() (states []string) {
		t.Helper()
		l.slack.mu.Lock()
		defer l.slack.mu.Unlock()
		for _, n := range l.slack.got {
			if n.Op == remediation.OpHome {
				var h remediation.HomeOf
				if err := json.Unmarshal(n.Payload, &h); err != nil || n.Incident != "" {
					t.Errorf("%+v, %v", n, err)
				}
				states = append(states, h.User)
			}
		}
		return states
	}
	click := func(by string, v remediation.Verb, home bool) {
		t.Helper()
		inc := l.incidents()[0]
		state := inc.State()
		l.submit(remediation.Command{ID: fmt.Sprint(by, v, state), Verb: v, Incident: inc.ID, State: &state, By: by, Reason: "x",
			ReplyTo: remediation.ReplyTo{User: by, Home: home}})
		l.drain()
	}
	for _, step := range []struct {
		by   string
		verb remediation.Verb
		home bool
		want int
	}{
		{"U9", remediation.VerbFix, true, 1}, {"U1", remediation.VerbFix, true, 3}, {"U1", remediation.VerbUndo, true, 5},
		{"U1", remediation.VerbUnignore, true, 6}, {"U1", remediation.VerbIgnore, true, 7}, {"U1", remediation.VerbUnignore, true, 8},
		{"U1", remediation.VerbAllow, false, 8}, {"U9", remediation.VerbFix, false, 8}, {"U1", remediation.VerbFix, false, 8},
	} {
		click(step.by, step.verb, step.home)
		if got := homes(); len(got) != step.want || got[len(got)-1] != step.by && step.home {
			t.Fatalf("after %s of %s: the homes of %v, want %d", step.verb, step.by, got, step.want)
		}
	}
	if got := l.slack.count(remediation.OpReply); got != 2 {
		t.Errorf("%d answers, want the two refusals", got)
	}
}
