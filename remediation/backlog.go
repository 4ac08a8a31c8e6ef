package remediation

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxBacklog bounds how many waiting rows are looked through.
	maxBacklog = 1000
	// maxLateJobs is among how many of the jobs due the earliest the latest is
	// looked for: commands stand before older work.
	maxLateJobs = 50
	// backlogTimeout bounds a look at them.
	backlogTimeout = 2 * time.Second
	// backlogFor is how long an answer is good: whoever asks more often does not
	// load the store.
	backlogFor = 5 * time.Second
	// lateJob and oldNotice are when something is wrong with the work or the
	// outbox, and not only much to do.
	lateJob   = 5 * time.Minute
	oldNotice = 10 * time.Minute
)

// Backlog is what waits, and which sources are silent.
type Backlog struct {
	JobLate   time.Duration            // how long the most overdue job waits already
	NoticeAge time.Duration            // the age of the oldest notice that waits, of the first thousand
	Notices   int                      // incidents and destinations for which notices wait, at most a thousand
	Reason    string                   // why the oldest was not delivered at the last attempt; empty where it was not tried
	Silent    map[Source]time.Duration // since when nothing has come from the sources that were ever heard
}

// Backlog reads what waits. An answer is kept for a few seconds.
func (e *Engine) Backlog(ctx context.Context) (Backlog, error) {
	e.lookingBack.Lock()
	defer e.lookingBack.Unlock()
	if at := e.lookedBack; !at.IsZero() && e.now().Sub(at) < backlogFor {
		return e.lastBacklog, nil
	}
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	b, err := e.backlog(ctx)
	if err == nil {
		e.lastBacklog, e.lookedBack = b, e.now()
	}
	return b, err
}

func (e *Engine) backlog(ctx context.Context) (Backlog, error) {
	now := e.now()
	b := Backlog{Silent: map[Source]time.Duration{}}
	jobs, err := e.o.Store.DueJobs(ctx, now, maxLateJobs)
	if err != nil {
		return b, fmt.Errorf("read due jobs: %w", err)
	}
	for _, j := range jobs {
		since := j.Due
		if j.CreatedAt.After(since) { // commands are due an hour before they come
			since = j.CreatedAt
		}
		b.JobLate = max(b.JobLate, now.Sub(since))
	}
	// Those that are put off and those that are being sent are waiting too.
	notices, err := e.o.Store.Waiting(ctx, maxBacklog)
	if err != nil {
		return b, fmt.Errorf("read the notices that wait: %w", err)
	}
	b.Notices = len(notices)
	for _, n := range notices {
		if age := now.Sub(n.CreatedAt); age > b.NoticeAge {
			b.NoticeAge, b.Reason = age, n.Error
		}
	}
	for _, s := range Sources() {
		rec, _, err := e.silence(ctx, s)
		if err != nil {
			return b, err
		}
		if rec.Version > 0 {
			b.Silent[s] = now.Sub(rec.At)
		}
	}
	return b, nil
}

// Ready says why the work or the outbox does not get on; nil where it does.
func (e *Engine) Ready(ctx context.Context) error {
	b, err := e.Backlog(ctx)
	switch {
	case err != nil:
		return err
	case b.JobLate > lateJob:
		return fmt.Errorf("work waits for %v already: look into the log for what fails, or give secbot more processes", b.JobLate.Round(time.Second))
	case b.NoticeAge > oldNotice:
		return fmt.Errorf("a message waits for %v already: %s", b.NoticeAge.Round(time.Second), b.Reason)
	}
	return nil
}

// Gauges gives what Backlog tells to Prometheus.
func (e *Engine) Gauges() prometheus.Collector {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("secbot_"+name, help, labels, nil)
	}
	return &gauges{e: e,
		up:     gauge("store_up", "Whether the store could be read (1) or not (0)."),
		late:   gauge("job_late_seconds", "How long the most overdue job waits already."),
		age:    gauge("outbox_oldest_seconds", "The age of the oldest notice that waits, of the first thousand."),
		count:  gauge("outbox_waiting", "Incidents and destinations for which notices wait, at most a thousand."),
		silent: gauge("source_silent_seconds", "Since when nothing has come from a source that was ever heard.", "source"),
	}
}

type gauges struct {
	e                            *Engine
	up, late, age, count, silent *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.up, g.late, g.age, g.count, g.silent} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Where the store can't be read there
// is store_up alone.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	b, err := g.e.Backlog(context.Background())
	if err != nil {
		g.e.o.Log.Warn("the backlog could not be read for the metrics", "error", err)
		set(g.up, 0)
		return
	}
	set(g.up, 1)
	set(g.late, b.JobLate.Seconds())
	set(g.age, b.NoticeAge.Seconds())
	set(g.count, float64(b.Notices))
	for s, d := range b.Silent {
		set(g.silent, d.Seconds(), string(s))
	}
}
