package remediation_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

// away is a store whose incidents can't be read for a time.
type away struct {
	remediation.Store
	gone atomic.Bool
}

func (a *away) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	if a.gone.Load() {
		return nil, errors.New("the table is gone")
	}
	return a.Store.Incident(ctx, id)
}

// TestTimersAreNotDropped: that something could not be closed or asked about again in
// time is told once, and it is done as soon as it can be; that a reminder could not
// be sent is told.
func TestTimersAreNotDropped(t *testing.T) {
	for name, c := range map[string]struct {
		cmd   remediation.Command
		told  string
		after remediation.Status
	}{
		"close":  {remediation.Command{ID: "c", Verb: remediation.VerbAllow, By: "U1", For: time.Hour}, "Not closed in time", remediation.StatusFixed},
		"expire": {remediation.Command{ID: "c", Verb: remediation.VerbIgnore, By: "U1", For: time.Hour, Reason: "x"}, "Not asked about again", remediation.StatusOpen},
		"remind": {remediation.Command{}, "own work: remind", remediation.StatusOpen},
	} {
		t.Run(name, func(t *testing.T) {
			st := &away{}
			l := newLab(t, func(o *remediation.Options) {
				st.Store, o.Store = o.Store, st
				o.Config.Heartbeat = 0
				if c.cmd.Verb == "" {
					o.Config.Question.Remind = time.Hour
				}
			})
			l.doors.set("h", "side")
			l.accept(signal("e1", "h", "side"))
			l.drain()
			if inc := l.incidents()[0]; c.cmd.Verb != "" {
				c.cmd.Incident = inc.ID
				l.submit(c.cmd)
				l.drain()
			}
			st.gone.Store(true)
			l.advance(time.Hour)
			for range 80 { // seven hours: fifty attempts, and some
				l.drain()
				l.advance(6 * time.Minute)
			}
			st.gone.Store(false)
			for range 3 {
				l.drain()
				l.advance(6 * time.Minute)
			}
			if got := l.incidents()[0]; got.Status != c.after {
				t.Errorf("the incident is %s", got.Status)
			}
			if got := l.alerts(); len(got) != 1 || !strings.Contains(got[0], c.told) {
				t.Errorf("told %q", got)
			}
		})
	}
}

// TestCounters: what is tried again counts once, and what is given up counts too.
func TestCounters(t *testing.T) {
	metrics := remediation.NewMetrics()
	flaky := &failingStore{}
	l := newLab(t, func(o *remediation.Options) { flaky.Store, o.Store, o.Metrics = o.Store, flaky, metrics })
	l.doors.set("h", "front")
	l.doors.onCall = func(context.Context) { panic("a door without hinges") }
	l.accept(signal("e1", "h", "front"))
	opens := &shy{Store: flaky.Store, times: 3}
	flaky.Store = opens
	for range 60 {
		l.drain()
		l.advance(time.Minute)
	}
	l.one(remediation.StatusFailed)
	if opens.times != 0 {
		t.Errorf("%d writes were to be refused yet", opens.times)
	}
	var text strings.Builder
	metrics.WriteMetrics(&text)
	for _, name := range []string{"secbot_findings_total", "secbot_outcomes_total"} {
		got := regexp.MustCompile(`(?m)^`+name+`\{.*\} (\S+)$`).FindAllStringSubmatch(text.String(), -1)
		if len(got) != 1 || got[0][1] != "1" {
			t.Errorf("one finding and one fix that was given up are counted as\n%s", text.String())
		}
	}
}

// shy is a store that does not take new incidents some times.
type shy struct {
	remediation.Store
	times int
}

func (r *shy) Commit(ctx context.Context, w remediation.Write) error {
	if w.Incident != nil && w.Incident.Version == 0 && r.times > 0 {
		r.times--
		return errors.New("the table is gone")
	}
	return r.Store.Commit(ctx, w)
}
