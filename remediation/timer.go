package remediation

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// keepFor is how long finished jobs, sent notices and ended suppressions are
	// kept. An event that comes again after it is a new one.
	keepFor = 30 * 24 * time.Hour
	// sweepEvery is how often they are swept.
	sweepEvery = 24 * time.Hour
)

// expireAt adds the timer that reopens an ignored incident. It is a job like any
// other: whichever process finds it due takes it.
func (c *change) expireAt(until time.Time) error {
	j, err := c.job(jobExpire, run{})
	if err != nil {
		return err
	}
	j.Due = until
	c.w.Jobs = append(c.w.Jobs, j)
	return nil
}

// expire reopens an incident whose ignore has run out. One that has been ignored
// for longer since, or is no longer ignored, is left alone.
func (e *Engine) expire(ctx context.Context, h *held, r run) error {
	live, err := e.o.Store.Suppressions(ctx, e.now())
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	if slices.ContainsFunc(live, func(s *Suppression) bool { return s.Incident == r.Incident }) {
		return nil
	}
	_, err = e.update(ctx, h, r.Incident, true, func(c *change) error {
		if c.inc.Status != StatusIgnored {
			return nil
		}
		return c.reopen()
	})
	return err
}

// reopen asks again about an ignored incident.
func (c *change) reopen() error {
	if err := c.move(StatusOpen, ByItself, "the ignore has run out"); err != nil {
		return err
	}
	c.show()
	c.thread("The ignore has run out: this waits for a decision again.")
	return nil
}

// sweepDaily adds the job that sweeps the store, once a day whatever the number
// of processes: its id is the day's, and one that is there is not added again.
func (e *Engine) sweepDaily(ctx context.Context) {
	day := e.now().Truncate(sweepEvery)
	if e.swept.Swap(day.Unix()) == day.Unix() {
		return
	}
	if err := e.enqueue(ctx, jobSweep, day.Format(time.DateOnly), "", struct{}{}); err != nil {
		e.swept.Store(0)
		e.logUnlessOver(ctx, "the daily sweep could not be stored", err)
	}
}

func (e *Engine) sweep(ctx context.Context) error {
	n, err := e.o.Store.Sweep(ctx, e.now().Add(-keepFor))
	if err != nil {
		return fmt.Errorf("sweep the store: %w", err)
	}
	e.o.Log.Info("the store is swept", "rows", n)
	return nil
}
