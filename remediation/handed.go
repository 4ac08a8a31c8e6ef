package remediation

import (
	"context"
	"errors"
	"sync"
	"time"
)

// handed are the jobs of events that this process has leased in the write that stored
// them, and that it has not begun yet: what comes in is worked at without another
// write, or a look for what is due.
type handed struct {
	mu       sync.Mutex
	open     bool // somebody takes them
	reserved int  // places of jobs that are being stored
	waiting  []*held
}

// admit has jobs taken, or no longer; it gives those that nobody takes any more.
func (q *handed) admit(open bool) (left []*held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = open
	if !open {
		left, q.waiting = q.waiting, nil
	}
	return left
}

// reserve takes one of n places for a job that is about to be stored; false where
// nobody would take it soon.
func (q *handed) reserve(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open || q.reserved+len(q.waiting) >= n {
		return false
	}
	q.reserved++
	return true
}

// give fills a reserved place, or frees it where h is nil; false where nobody takes
// jobs any more.
func (q *handed) give(h *held) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reserved--
	if h != nil && q.open {
		q.waiting = append(q.waiting, h)
	}
	return q.open
}

// take gives all, of which the rest comes back.
func (q *handed) take() []*held {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	return all
}

func (q *handed) back(rest []*held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(rest, q.waiting...)
}

// startHanded is startJobs for what was handed over.
func (e *Engine) startHanded(work context.Context, free int, now time.Time, ended func()) (started int) {
	var rest []*held
	for _, h := range e.handed.take() {
		if started == free || !e.places.enter(h.job.Place) {
			rest = append(rest, h)
			continue
		}
		if !e.stillHeld(work, h, now) {
			e.places.leave(h.job.Place)
			continue
		}
		started++
		e.begin(work, h, ended)
	}
	e.handed.back(rest)
	return started
}

// stillHeld leases a job anew whose turn came late; false where somebody else has it.
func (e *Engine) stillHeld(ctx context.Context, h *held, now time.Time) bool {
	if h.job.LeaseUntil.Sub(now) >= leaseFor*2/3 {
		return true
	}
	_, err := e.hold(ctx, h.job)
	if err != nil && !errors.Is(err, ErrConflict) {
		e.o.Log.Error("a job could not be leased again", "job", h.job.ID, "error", err)
	}
	return err == nil
}

// putBack frees the leases of what was handed over and is not begun here any more.
func (e *Engine) putBack(ctx context.Context, left []*held) {
	for _, h := range left {
		h.job.LeaseUntil = time.Time{}
		if err := e.put(context.WithoutCancel(ctx), Write{Jobs: []*Job{h.job}}); err != nil && !errors.Is(err, ErrConflict) {
			e.o.Log.Error("a job could not be put back; its lease will end", "job", h.job.ID, "error", err)
		}
	}
}
