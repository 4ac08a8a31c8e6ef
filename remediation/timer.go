package remediation

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
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
	return c.later(jobExpire, until, run{})
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
	if err := c.ask(); err != nil {
		return err
	}
	c.show()
	c.thread("The ignore has run out: this waits for a decision again.")
	return nil
}

// schedule is work that comes again and again by itself.
type schedule struct {
	kind  string
	every time.Duration
	shift time.Duration // how much after the beginning of a period of UTC its own begins
	last  atomic.Int64  // the last period whose job is stored, in seconds since 1970
}

// Scheduled reports whether the job comes by itself each period, so that there
// always is one to come.
func (j *Job) Scheduled() bool {
	return j.Kind == jobSweep || j.Kind == jobCheckpoint || j.Kind == jobReconcile || j.Kind == jobListen || j.Kind == jobReport
}

func schedules(c *Config) []*schedule {
	all := []*schedule{{kind: jobSweep, every: sweepEvery}, {kind: jobCheckpoint, every: checkpointEvery}}
	if c.Reconcile > 0 {
		all = append(all, &schedule{kind: jobReconcile, every: c.Reconcile})
	}
	if c.Heartbeat > 0 {
		all = append(all, &schedule{kind: jobListen, every: listenEvery})
	}
	if at, ok := c.Report.within(); ok {
		all = append(all, &schedule{kind: jobReport, every: reportEvery, shift: at})
	}
	return all
}

// schedule adds the job at the end of each current period, once whatever the
// number of processes: its id is the period's, and one that is there is not
// added again.
func (e *Engine) schedule(ctx context.Context) {
	for _, s := range e.schedules {
		period := e.now().Add(-s.shift).Truncate(s.every).Add(s.shift)
		if s.last.Swap(period.Unix()) == period.Unix() {
			continue
		}
		due := period.Add(s.every)
		err := e.enqueueAt(ctx, due, s.kind, due.Format(time.RFC3339), "", struct{}{})
		if err == nil && s.kind == jobSweep {
			// The first state of each resource is needed before its first change.
			err = e.enqueue(ctx, jobSnapshot, "first", "", struct{}{})
		}
		if err != nil {
			s.last.Store(0)
			e.logUnlessOver(ctx, "a scheduled job could not be stored", err)
		}
	}
}

// snapshot reads all resources whose events carry no old values, and keeps what
// they are. A scan does so too; this comes once, at the very beginning.
func (e *Engine) snapshot(ctx context.Context, h *held) error {
	env, err := e.o.Provider.Environment(ctx, "", "")
	if err != nil {
		return fmt.Errorf("no playbooks: %w", err)
	}
	if _, ok := env.Readers[KindSecurityGroup].(Historian); !ok {
		return nil
	}
	failures := 0
	read, err := e.scan(ctx, []Kind{KindSecurityGroup}, &scanning{e: e, seen: e.remember, found: func(Finding) {},
		failed: func(err error) { failures++; e.o.Log.Warn("a state was not kept", "error", Explain(err)) }})
	if err != nil {
		return err
	}
	if failures > 0 && h.job.Attempts < maxReadAttempts {
		return fmt.Errorf("%s could not be read and kept: what is not known from before can't be put back once it is removed", counted(failures, "list or resource", "lists or resources"))
	}
	e.o.Log.Info("the states before all changes are kept", "read", read, "failures", failures)
	return nil
}

func (e *Engine) sweep(ctx context.Context) error {
	n, err := e.o.Store.Sweep(ctx, e.now().Add(-keepFor))
	if err != nil {
		return fmt.Errorf("sweep the store: %w", err)
	}
	e.o.Log.Info("the store is swept", "rows", n)
	return nil
}
