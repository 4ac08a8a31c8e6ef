package remediation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// drainReserve is how much of its time Drain leaves for what it has begun.
	drainReserve = 15 * time.Second
	// drainMargin is how long before its end work is cut off, so that it can be
	// put back: what is killed waits until its lease ends.
	drainMargin = 3 * time.Second
	// drainPatience is how long Drain waits in all for what is due soon: a state
	// that AWS does not show yet, a call that was throttled, a channel's turn.
	drainPatience = 10 * time.Second
	// indexLag is how far apart two looks into the store are of which both must
	// find nothing: what another process has stored may not be in its indexes yet.
	indexLag = 200 * time.Millisecond
	// maxOwn bounds how many rows are remembered; the others are found all the
	// same, a moment later.
	maxOwn = 1000
)

// Drain works off what is due now or in a few seconds, and what comes of it, and
// returns once there is no more of that. It is Run for processes that live for
// one invocation. It begins nothing more once ctx has ended or its deadline is
// nearer than a fresh piece of work may take, and shortly before the deadline it
// cuts off what is under way. What is left stays in the store for whoever comes
// next. The error says that the store could not be read.
func (e *Engine) Drain(ctx context.Context) error {
	work, end := ctx, func() {}
	if deadline, ok := ctx.Deadline(); ok {
		work, end = context.WithDeadline(ctx, deadline.Add(-drainMargin))
	}
	defer end()
	defer func() { e.putBack(ctx, e.handed.admit(false)); e.handed.admit(e.o.Inline) }()
	if left, ok := e.timeFor(ctx, 0); !ok {
		e.o.Log.Error("no time is left to begin any work: give the function a timeout of a minute or more", "left", left.Round(time.Millisecond))
		return nil
	}
	empty, patience := 0, drainPatience
	for {
		started, err := e.round(work)
		switch {
		case work.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		pause := time.Duration(0)
		if started > 0 {
			empty = 0
		} else if wait, ok := e.own.next(e.now()); ok && wait <= patience {
			empty, pause, patience = 0, wait, patience-wait
		} else if empty++; empty < 2 {
			pause = indexLag
		} else {
			return nil
		}
		if _, ok := e.timeFor(ctx, pause); !ok || e.o.Sleep(work, pause) != nil {
			return nil
		}
	}
}

// timeFor reports whether something may be begun after a pause, and how much
// time is left.
func (e *Engine) timeFor(ctx context.Context, pause time.Duration) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, true
	}
	left := deadline.Sub(e.now())
	return left, left-pause >= drainReserve
}

// round works off one lot of due jobs and, beside it, of due notices. What this
// process has just accepted comes first, before any look at the store.
func (e *Engine) round(ctx context.Context) (int, error) {
	now := e.now()
	if started := e.handedRound(ctx, now); started > 0 {
		return started, nil
	}
	e.schedule(ctx)
	jobs, err := e.dueJobs(ctx, now, e.o.Workers*lookAhead)
	if err != nil {
		return 0, fmt.Errorf("read due jobs: %w", err)
	}
	notices, err := e.dueNotices(ctx, now, e.o.Workers)
	if err != nil {
		return 0, fmt.Errorf("read due notices: %w", err)
	}
	ended := make(chan struct{}, len(jobs)+len(notices))
	started, _ := e.startJobs(ctx, jobs, e.o.Workers, now, func() { ended <- struct{}{} })
	started += e.startNotices(ctx, notices, now, func() { ended <- struct{}{} })
	for range started {
		<-ended
	}
	return started, nil
}

// handedRound works off what was handed over.
func (e *Engine) handedRound(ctx context.Context, now time.Time) int {
	ended := make(chan struct{}, e.o.Workers)
	started := e.startHanded(ctx, e.o.Workers, now, func() { ended <- struct{}{} })
	for range started {
		<-ended
	}
	return started
}

// dueJobs are the jobs of this process that are due, as the store has them, and
// then those that the store lists.
func (e *Engine) dueJobs(ctx context.Context, now time.Time, n int) ([]*Job, error) {
	var due []*Job
	for _, id := range e.own.dueJobs(now, n) {
		job, err := e.o.Store.Job(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			e.own.forget(id)
			continue
		case err != nil:
			return nil, err
		}
		if e.own.see(Write{Jobs: []*Job{job}}, now); !job.Done && !job.Due.After(now) && !job.LeaseUntil.After(now) {
			due = append(due, job)
		}
	}
	listed, err := e.o.Store.DueJobs(ctx, now, n)
	if err != nil {
		return nil, err
	}
	for _, job := range listed {
		if !slices.ContainsFunc(due, func(j *Job) bool { return j.ID == job.ID }) {
			due = append(due, job)
		}
	}
	return due, nil
}

// dueNotices is the same for notices, of which the first of each incident and
// destination alone may go out.
func (e *Engine) dueNotices(ctx context.Context, now time.Time, n int) ([]*Notice, error) {
	alone, incidents := e.own.dueNotices(now, n)
	due := alone
	for _, incident := range incidents {
		all, err := e.o.Store.Notices(ctx, incident)
		if err != nil {
			return nil, err
		}
		e.own.forgetOf(incident)
		e.own.see(Write{Notices: all}, now)
		begun := map[string]bool{}
		for _, x := range all {
			if x.Sent || begun[x.To] {
				continue
			}
			if begun[x.To] = true; !x.Due.After(now) && !x.LeaseUntil.After(now) {
				due = append(due, x)
			}
		}
	}
	listed, err := e.o.Store.DueNotices(ctx, now, n)
	if err != nil {
		return nil, err
	}
	for _, x := range listed {
		if !slices.ContainsFunc(due, func(y *Notice) bool { return x.ID == y.ID }) {
			due = append(due, x)
		}
	}
	return due, nil
}

// own are the jobs and notices that this process has stored and that are due
// soon. An index of a shared store may not show them yet.
type own struct {
	mu      sync.Mutex
	jobs    map[string]time.Time // by id: when they are due
	notices map[string]Notice    // by id: as they were stored
}

// ownSoon is how far ahead what this process has stored is remembered.
const ownSoon = drainPatience

// see remembers what of a Write that was stored is due soon, and forgets what is
// not, or is done or leased.
func (o *own) see(w Write, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	soon := now.Add(ownSoon)
	for _, j := range w.Jobs {
		if j.Done || j.LeaseUntil.After(now) || j.Due.After(soon) {
			delete(o.jobs, j.ID)
		} else if o.room(now) {
			o.jobs[j.ID] = j.Due
		}
	}
	for _, n := range w.Notices {
		if n.Sent || n.LeaseUntil.After(now) || n.Due.After(soon) {
			delete(o.notices, n.ID)
		} else if o.room(now) {
			o.notices[n.ID] = *n
		}
	}
}

// room makes room, where there is none, by forgetting what an index has shown
// for long.
func (o *own) room(now time.Time) bool {
	if len(o.jobs)+len(o.notices) >= maxOwn {
		maps.DeleteFunc(o.jobs, func(_ string, due time.Time) bool { return due.Before(now.Add(-ownSoon)) })
		maps.DeleteFunc(o.notices, func(_ string, n Notice) bool { return n.Due.Before(now.Add(-ownSoon)) })
	}
	return len(o.jobs)+len(o.notices) < maxOwn
}

func (o *own) forget(job string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.jobs, job)
}

func (o *own) forgetOf(incident string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.notices, func(_ string, n Notice) bool { return n.Incident == incident })
}

// notice is one that this process has stored and that was not sent yet; nil where
// it is not remembered.
func (o *own) notice(id string) *Notice {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, ok := o.notices[id]; ok {
		return &n
	}
	return nil
}

// dueJobs are the ids of the first n that are due.
func (o *own) dueJobs(now time.Time, n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids []string
	for id, due := range o.jobs {
		if !due.After(now) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return o.jobs[a].Compare(o.jobs[b]) })
	return ids[:min(n, len(ids))]
}

// dueNotices are the first n that are due: those of no incident, and the incidents
// of the others. Those of no incident it forgets: whoever leases one by its
// version sees whether it is still as it was.
func (o *own) dueNotices(now time.Time, n int) (alone []*Notice, incidents []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	due := slices.SortedFunc(maps.Values(o.notices), func(a, b Notice) int { return a.Due.Compare(b.Due) })
	for _, x := range due {
		if x.Due.After(now) || len(alone)+len(incidents) == n {
			break
		}
		if x.Incident == "" {
			delete(o.notices, x.ID)
			alone = append(alone, &x)
		} else if !slices.Contains(incidents, x.Incident) {
			incidents = append(incidents, x.Incident)
		}
	}
	return alone, incidents
}

// next says how long it takes until another is due; false where none is.
func (o *own) next(now time.Time) (wait time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := func(due time.Time) {
		if d := due.Sub(now); d > 0 && (!ok || d < wait) {
			wait, ok = d, true
		}
	}
	for _, due := range o.jobs {
		at(due)
	}
	for _, n := range o.notices {
		at(n.Due)
	}
	return wait, ok
}
