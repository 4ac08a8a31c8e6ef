package remediation

import (
	"context"
	"fmt"
	"io"
	"time"

	"secbot/internal/metrics"
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
func (e *Engine) Gauges() metrics.Source { return gauges{e} }

type gauges struct{ e *Engine }

// WriteMetrics implements metrics.Source. Where the store can't be read there is
// store_up alone.
func (g gauges) WriteMetrics(w io.Writer) {
	up := metrics.NewGauge("secbot_store_up", "Whether the store could be read (1) or not (0).")
	b, err := g.e.Backlog(context.Background())
	if err != nil {
		g.e.o.Log.Warn("the backlog could not be read for the metrics", "error", err)
		up.Write(w, metrics.Sample{Value: 0})
		return
	}
	up.Write(w, metrics.Sample{Value: 1})
	for _, gauge := range []struct {
		name, help string
		value      float64
	}{
		{"secbot_job_late_seconds", "How long the most overdue job waits already.", b.JobLate.Seconds()},
		{"secbot_outbox_oldest_seconds", "The age of the oldest notice that waits, of the first thousand.", b.NoticeAge.Seconds()},
		{"secbot_outbox_waiting", "Incidents and destinations for which notices wait, at most a thousand.", float64(b.Notices)},
	} {
		metrics.NewGauge(gauge.name, gauge.help).Write(w, metrics.Sample{Value: gauge.value})
	}
	var silent []metrics.Sample
	for _, s := range Sources() {
		if d, heard := b.Silent[s]; heard {
			silent = append(silent, metrics.Sample{Value: d.Seconds(), Labels: []string{string(s)}})
		}
	}
	metrics.NewGauge("secbot_source_silent_seconds", "Since when nothing has come from a source that was ever heard.", "source").Write(w, silent...)
}
