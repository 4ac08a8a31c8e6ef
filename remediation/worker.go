package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	// leaseFor is how long a job or notice stays with whoever took it; it is
	// renewed at a third of that while the work goes on.
	leaseFor = 30 * time.Second
	// pollEvery bounds how late due work of another process is seen.
	pollEvery = time.Second
	// readGap is how often due jobs are read at most while there is a backlog.
	readGap = 100 * time.Millisecond
	// jobTimeout bounds one attempt at a job.
	jobTimeout = 10 * time.Minute
	// stopGrace is Options.Grace where that is 0.
	stopGrace = 20 * time.Second
	// jobsPerPlace bounds the jobs of one account and region that one process
	// works at at the same time, so that a flood from there neither holds up the
	// others nor runs into AWS's rate limits.
	jobsPerPlace = 4
	// lookAhead is how many times the free places are looked at in due jobs, to
	// find some of other places behind a flood.
	lookAhead = 8
	// maxLook bounds how many due jobs are looked at, where the first of them
	// are all of places that are full.
	maxLook = 1000
	// maxJobAttempts is when a job that always fails is given up, some hours
	// later.
	maxJobAttempts = 50
	// maxRunAttempts is the same for a fix or undo, some minutes later: people
	// wait for it, and the incident can't be decided otherwise meanwhile.
	maxRunAttempts = 10
)

// errNotNow says that a job has to wait for another to end.
var errNotNow = errors.New("not now")

// maxAttempts is when the job is given up that has failed of cause. Where the store
// fails that is not as soon: nobody could be told of it either.
func (j *Job) maxAttempts(cause error) int {
	if (j.Kind == jobFix || j.Kind == jobUndo) && !errors.Is(cause, errStore) {
		return maxRunAttempts
	}
	return maxJobAttempts
}

// Run works off jobs and notices until ctx ends, then waits a while for what
// is under way. What is left is taken up by the next Run.
func (e *Engine) Run(ctx context.Context) error {
	// Work under way outlives ctx for a while: a fix is better ended than cut.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(e.o.Grace, cut) })
	defer stop()

	var loops sync.WaitGroup
	loops.Go(func() { e.jobLoop(ctx, work) })
	loops.Go(func() { e.noticeLoop(ctx, work) })
	loops.Wait()
	return ctx.Err()
}

// loop calls take with the number of free places until ctx ends; take starts
// that many pieces of work at most and says how many. Each piece calls the
// given function when it ends.
func (e *Engine) loop(ctx context.Context, wakeup chan struct{}, take func(free int, ended func()) int) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var (
		running sync.WaitGroup
		places  = make(chan struct{}, e.o.Workers)
	)
	defer running.Wait()
	for ctx.Err() == nil {
		free := cap(places) - len(places)
		started := 0
		if free > 0 {
			started = take(free, func() { <-places; running.Done(); wake(wakeup) })
		}
		for range started {
			running.Add(1)
			places <- struct{}{}
		}
		if started > 0 && free > started {
			continue
		}
		select {
		case <-ctx.Done():
		case <-wakeup:
		case <-tick.C:
		}
	}
}

func (e *Engine) jobLoop(ctx, work context.Context) {
	horizon := e.firstLook()
	var (
		known  []*Job    // due, and not begun yet: of places that are full, or more than there was room for
		readAt time.Time // by the machine's own clock
		more   bool      // there were more than were read
	)
	e.handed.admit(true)
	defer func() { e.putBack(ctx, e.handed.admit(false)) }()
	e.loop(ctx, e.wakeJobs, func(free int, ended func()) int {
		now := e.now()
		e.schedule(ctx)
		handed := e.startHanded(work, free, now, ended)
		started, rest := e.startJobs(work, known, free-handed, now, ended)
		known, started = rest, started+handed
		// Reading them again at each event and each end of a job would cost more
		// than the jobs.
		usedUp, age := len(known) == 0 && more, time.Since(readAt)
		switch {
		case started == free:
			return started
		case len(known) > 0 && age < readGap:
			time.AfterFunc(readGap, func() { wake(e.wakeJobs) })
			return started
		case !e.fresh.Swap(false) && !usedUp && age < pollEvery:
			return started
		}
		readAt = time.Now()
		for look := free * lookAhead; ; look = min(look*lookAhead, maxLook) {
			jobs, err := e.o.Store.DueJobs(ctx, now.Add(horizon), look)
			if err != nil {
				e.logUnlessOver(ctx, "jobs could not be read from the store", err)
				return started
			}
			var n int
			n, known = e.startJobs(work, jobs, free-started, now, ended)
			started += n
			more = len(jobs) == look
			if started == free || !more || look == maxLook {
				horizon = 0
				return started
			}
		}
	})
}

// firstLook is how far ahead the first look into an exclusive store goes:
// leases that a dead process held end within that time.
func (e *Engine) firstLook() time.Duration {
	if e.o.Exclusive {
		return leaseFor
	}
	return 0
}

// startJobs starts at most free of the jobs, and of one place at most
// jobsPerPlace. It gives those that are still to be started.
func (e *Engine) startJobs(work context.Context, jobs []*Job, free int, now time.Time, ended func()) (started int, rest []*Job) {
	for i, job := range jobs {
		if started == free {
			return started, append(rest, jobs[i:]...)
		}
		if job.Due.After(now) {
			continue
		}
		if !e.places.enter(job.Place) {
			rest = append(rest, job)
			continue
		}
		h, err := e.hold(work, job)
		if err != nil {
			e.places.leave(job.Place)
			if !errors.Is(err, ErrConflict) {
				e.o.Log.Error("a job could not be leased", "job", job.ID, "error", err)
			}
			continue
		}
		started++
		e.begin(work, h, ended)
	}
	return started, rest
}

// begin works at a job that has entered its place.
func (e *Engine) begin(work context.Context, h *held, ended func()) {
	go func() {
		defer ended()
		defer e.places.leave(h.job.Place)
		e.work(work, h)
	}()
}

// places counts the jobs under way by account and region.
type places struct {
	mu   sync.Mutex
	busy map[string]int
}

// enter takes a place in an account and region; false where all are taken.
// Where the place is not known there is always room.
func (p *places) enter(place string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place != "" && p.busy[place] >= jobsPerPlace {
		return false
	}
	p.busy[place]++
	return true
}

func (p *places) leave(place string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[place]--; p.busy[place] <= 0 {
		delete(p.busy, place)
	}
}

// held is a job that this process has leased. All writes of the job's row go
// through commit, so that the renewal of the lease doesn't get in between.
type held struct {
	e    *Engine
	mu   sync.Mutex
	job  *Job
	lost context.CancelFunc // ends the work, once somebody else has the job
	// live is the state that a fix was decided on a moment ago, and that its first
	// plan is made on; nil: it is read.
	live *judged
	// begun is the fix's incident as it was stored with this job a moment ago; nil: it
	// is read.
	begun *begun
}

// hold leases a job; ErrConflict where somebody else was faster.
func (e *Engine) hold(ctx context.Context, job *Job) (*held, error) {
	now := e.now()
	job.LeaseUntil, job.UpdatedAt = now.Add(leaseFor), now
	job.Attempts++
	if err := e.put(ctx, Write{Jobs: []*Job{job}}); err != nil {
		return nil, err
	}
	return &held{e: e, job: job}, nil
}

// commit stores w; with done it ends the job in the same write. The job's row is
// part of every write, so that who has lost the job to another process, after
// having slept for too long, can store nothing any more: ErrConflict.
func (h *held) commit(ctx context.Context, w Write, done bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.job.Done {
		return h.e.store(ctx, w)
	}
	next := *h.job
	next.UpdatedAt = h.e.now()
	if done {
		next.Done, next.Error = true, ""
	}
	w.Jobs = append(slices.Clone(w.Jobs), &next)
	err := h.e.store(ctx, w)
	switch {
	case err == nil:
	case h.stored(ctx, next):
		// The answer got lost, and the repetition met what the first had stored.
		w.countUp()
		h.e.own.see(w, h.e.now())
		h.e.committed(w)
	case errors.Is(err, ErrConflict) && h.catchUp(ctx):
		next.Version, next.LeaseUntil = h.job.Version, h.job.LeaseUntil
		if err := h.e.store(ctx, w); err != nil {
			return err
		}
	default:
		return err
	}
	h.became(next)
	return nil
}

// catchUp takes over the row's version where it differs because the answer to an
// extension of the lease got lost; false where that is not so. An extension
// changes nothing else, and who has taken the job since has counted an attempt.
func (h *held) catchUp(ctx context.Context) bool {
	row, err := h.e.o.Store.Job(context.WithoutCancel(ctx), h.job.ID)
	if err != nil || row.Done || row.Version <= h.job.Version || row.Attempts != h.job.Attempts ||
		!row.UpdatedAt.Equal(h.job.UpdatedAt) || row.LeaseUntil.Equal(h.job.LeaseUntil) {
		return false
	}
	h.job.Version, h.job.LeaseUntil = row.Version, row.LeaseUntil
	return true
}

// became takes over what a write has changed of the job's row. All else of it is
// read without the lock.
func (h *held) became(next Job) {
	h.job.Version, h.job.UpdatedAt, h.job.LeaseUntil = next.Version, next.UpdatedAt, next.LeaseUntil
	h.job.Done, h.job.Error = next.Done, next.Error
}

// stored reports whether the job's row is the one that was to be written: no
// other holder's has the same number of attempts.
func (h *held) stored(ctx context.Context, next Job) bool {
	row, err := h.e.o.Store.Job(context.WithoutCancel(ctx), next.ID)
	return err == nil && row.Version == next.Version+1 && row.Attempts == next.Attempts && row.UpdatedAt.Equal(next.UpdatedAt) && row.Done == next.Done &&
		row.LeaseUntil.Equal(next.LeaseUntil)
}

// countUp does to the versions what Commit does on success.
func (w Write) countUp() {
	if w.Incident != nil {
		w.Incident.Version++
	}
	for _, j := range w.Jobs {
		j.Version++
	}
	for _, n := range w.Notices {
		n.Version++
	}
	if w.Message != nil {
		w.Message.Version++
	}
	for _, s := range w.Suppressions {
		s.Version++
	}
	for _, r := range w.Records {
		r.Version++
	}
}

// renew keeps the lease until ctx ends.
func (h *held) renew(ctx context.Context) {
	t := time.NewTicker(leaseFor / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			h.extend(ctx)
		}
	}
}

func (h *held) extend(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.job.Done {
		return
	}
	next := *h.job
	next.LeaseUntil = h.e.now().Add(leaseFor)
	err := h.e.store(ctx, Write{Jobs: []*Job{&next}})
	if errors.Is(err, ErrConflict) && h.catchUp(ctx) {
		next.Version = h.job.Version
		err = h.e.store(ctx, Write{Jobs: []*Job{&next}})
	}
	if errors.Is(err, ErrConflict) && h.lost != nil {
		h.e.o.Log.Error("a job was lost to another process, and the work at it ends here", "job", h.job.ID)
		h.lost()
		return
	}
	if err != nil {
		h.e.logUnlessOver(ctx, "a lease could not be renewed", err)
		return
	}
	h.became(next)
}

// newJobs has the loop read the due jobs again.
func (e *Engine) newJobs() {
	e.fresh.Store(true)
	wake(e.wakeJobs)
}

// put commits, and remembers what is due soon.
func (e *Engine) put(ctx context.Context, w Write) error {
	if err := e.o.Store.Commit(ctx, w); err != nil {
		return err
	}
	e.own.see(w, e.now())
	return nil
}

// store commits and wakes the loops that have new work by it.
func (e *Engine) store(ctx context.Context, w Write) error {
	if err := e.put(ctx, w); err != nil {
		return err
	}
	e.committed(w)
	return nil
}

// committed wakes the loops that have new work by a write, and logs what it says
// about its incident, with the id of the event behind it.
func (e *Engine) committed(w Write) {
	if len(w.Notices) > 0 {
		wake(e.wakeNotices)
	}
	if slices.ContainsFunc(w.Jobs, func(j *Job) bool { return !j.Done && j.LeaseUntil.IsZero() }) {
		e.newJobs()
	}
	for _, entry := range w.Audit {
		if entry.Incident == OwnLog {
			e.o.Log.Info("secbot "+entry.What, "by", entry.By, "why", entry.Why)
			continue
		}
		e.o.Log.Info("incident "+entry.What, "event", w.Incident.Finding.EventID, "incident", entry.Incident,
			"playbook", w.Incident.Finding.Playbook, "resource", w.Incident.Finding.Resource.String(), "by", entry.By, "why", entry.Why)
	}
}

// work runs one held job to its end or to its next attempt.
func (e *Engine) work(ctx context.Context, h *held) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	h.lost = cancel
	renewing, stop := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() { h.renew(renewing) })
	err := e.safely("job "+h.job.ID, func() error { return e.perform(ctx, h) })
	stop()
	renewal.Wait()
	if err == nil && !h.job.Done {
		err = h.commit(ctx, Write{}, true)
	}
	if err != nil && !h.job.Done {
		e.postpone(ctx, h, err)
	}
}

// safely calls f and turns a panic into an error, with its stack in the log: what
// goes wrong in one piece of work must not end the others, again and again.
func (e *Engine) safely(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e.o.Log.Error("a panic", "in", what, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return f()
}

// perform does a job's work.
func (e *Engine) perform(ctx context.Context, h *held) error {
	switch h.job.Kind {
	case jobSignal:
		return decoded(h.job, func(sig Signal) error { return e.judgeSignal(ctx, h, sig) })
	case jobCommand:
		return decoded(h.job, func(cmd Command) error { return e.execute(ctx, h, cmd) })
	case jobFix:
		return decoded(h.job, func(r run) error { return e.fix(ctx, h, r) })
	case jobExpire:
		return decoded(h.job, func(r run) error { return e.expire(ctx, h, r) })
	case jobRemind:
		return decoded(h.job, func(r run) error { return e.remind(ctx, h, r) })
	case jobEscalate:
		return decoded(h.job, func(r run) error { return e.escalate(ctx, h, r) })
	case jobLapse:
		return decoded(h.job, func(r run) error { return e.lapse(ctx, h, r) })
	case jobClose:
		return decoded(h.job, func(r run) error { return e.closeAllowed(ctx, h, r) })
	case jobSettle:
		return decoded(h.job, func(r run) error { return e.settle(ctx, h, r) })
	case jobForget:
		return decoded(h.job, func(r run) error { return e.forget(ctx, h, r) })
	case jobSweep:
		return e.sweep(ctx)
	case jobCheckpoint:
		return e.checkpoint(ctx, h)
	case jobListen:
		return e.listen(ctx)
	case jobReport:
		return e.report(ctx, h)
	case jobSnapshot:
		return e.snapshot(ctx, h)
	case jobRun:
		return decoded(h.job, func(r run) error { return e.run(ctx, h, r) })
	case jobAsked:
		return decoded(h.job, func(id askID) error { return e.remindAsk(ctx, h, id.ID) })
	case jobAskOver:
		return decoded(h.job, func(id askID) error { return e.endAsk(ctx, h, id.ID) })
	case jobAnswer:
		return decoded(h.job, func(id askID) error { return e.sendAnswer(ctx, h, id.ID) })
	case jobReconcile:
		return decoded(h.job, func(l look) error { return e.reconcile(ctx, h, l) })
	case jobAccount:
		return decoded(h.job, func(a accountScan) error { return e.scanAccount(ctx, h, a) })
	case jobUndo:
		return decoded(h.job, func(r run) error { return e.undo(ctx, h, r) })
	}
	return fmt.Errorf("job %s is of the unknown kind %q; a newer secbot has stored it", h.job.ID, h.job.Kind)
}

func decoded[T any](job *Job, f func(T) error) error {
	var v T
	if err := json.Unmarshal(job.Payload, &v); err != nil {
		return fmt.Errorf("decode job %s: %w", job.ID, err)
	}
	return f(v)
}

// postpone puts a job that failed back, to be tried later and later.
func (e *Engine) postpone(ctx context.Context, h *held, cause error) {
	if h.job.Attempts >= h.job.maxAttempts(cause) && !errors.Is(cause, errNotNow) {
		e.o.Log.Error("a job is given up", "job", h.job.ID, "error", cause)
		err := e.safely("giving up job "+h.job.ID, func() error { return e.giveUp(context.WithoutCancel(ctx), h, cause) })
		if err == nil {
			return
		}
		cause = errors.Join(cause, err)
	}
	if errors.Is(cause, errNotNow) {
		e.o.Log.Info("a job waits", "job", h.job.ID, "for", cause)
	} else {
		e.o.Log.Error("a job failed and will be tried again", "job", h.job.ID, "attempt", h.job.Attempts, "error", cause)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := *h.job
	now := e.now()
	next.Error, next.UpdatedAt, next.LeaseUntil = cause.Error(), now, time.Time{}
	next.Due = now.Add(backoff(next.Attempts, time.Second, 5*time.Minute))
	// Where even this fails the lease ends by itself and the job is taken up.
	if err := e.store(context.WithoutCancel(ctx), Write{Jobs: []*Job{&next}}); err != nil {
		e.o.Log.Error("a job could not be put back; its lease will end", "job", h.job.ID, "error", err)
	}
}

// backoff doubles from first with each attempt up to limit.
func backoff(attempt int, first, limit time.Duration) time.Duration {
	d := first
	for i := 1; i < attempt && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}

func (e *Engine) logUnlessOver(ctx context.Context, msg string, err error) {
	if ctx.Err() == nil {
		e.o.Log.Error(msg, "error", err)
	}
}

// giveUp ends a job that always fails, so that people hear of it: a fix or undo
// ends as failed, an event becomes a question.
func (e *Engine) giveUp(ctx context.Context, h *held, cause error) error {
	switch h.job.Kind {
	case jobFix, jobUndo:
		return decoded(h.job, func(r run) error { return e.failed(ctx, h, r, cause) })
	case jobSignal:
		return decoded(h.job, func(sig Signal) error {
			found, err := e.unread(ctx, sig, cause)
			if err != nil {
				return err
			}
			if err := e.openAll(ctx, h, judged{findings: found}, e.now()); err != nil {
				return err
			}
			return h.commit(ctx, Write{}, true)
		})
	case jobCommand:
		return decoded(h.job, func(cmd Command) error {
			reply, err := e.replyNotice(cmd, Reply{Text: "It did not work, and secbot gave up: " + because(cause), Failed: true})
			if err != nil {
				return err
			}
			if _, run, err := readScan(ctx, e.o.Store.Record, cmd.ID); err == nil && run.Report == nil {
				return e.endScan(ctx, h, run.givenUp(cause, e.now()), Write{Notices: reply}, true)
			}
			return h.commit(ctx, Write{Notices: reply}, true)
		})
	case jobAccount:
		return decoded(h.job, func(a accountScan) error { return e.gaveUpAccount(ctx, h, a, cause) })
	case jobClose, jobExpire:
		return decoded(h.job, func(r run) error { return e.neverGiveUp(ctx, h, r, cause) })
	}
	return e.giveUpOwn(ctx, h, cause)
}

// neverGiveUp says once that a timer does not come through after which something is
// closed, or asked about again. It goes on being tried: nobody else does that.
func (e *Engine) neverGiveUp(ctx context.Context, h *held, r run, cause error) error {
	c := &change{e: e, now: e.now()}
	title, what := "Not closed in time", "was allowed for a while, which is over, and is still open"
	if h.job.Kind == jobExpire {
		title, what = "Not asked about again in time", "was ignored for a while, which is over"
	}
	c.alert("late/"+h.job.ID, Alert{Title: title,
		Text: fmt.Sprintf("Incident %s %s. It was tried %d times and goes on being tried; look after it by hand meanwhile. The last reason: %s", r.Incident, what, h.job.Attempts, because(cause))})
	if c.err != nil {
		return c.err
	}
	if err := h.commit(ctx, c.w, false); err != nil && !errors.Is(err, ErrConflict) { // it was told before
		return err
	}
	return errors.New("it goes on being tried")
}

// giveUpOwn says that work of secbot's own, or the timer of a question, does not
// get done.
func (e *Engine) giveUpOwn(ctx context.Context, h *held, cause error) error {
	c := &change{e: e, now: e.now()}
	c.alert("gave-up/"+h.job.ID, Alert{Title: "secbot could not do its own work: " + h.job.Kind,
		Text: fmt.Sprintf("It was tried %d times. The last reason: %s", h.job.Attempts, because(cause))})
	if c.err != nil {
		return c.err
	}
	return h.commit(ctx, c.w, true)
}

// failed ends a fix or undo that could not be carried through.
func (e *Engine) failed(ctx context.Context, h *held, r run, cause error) error {
	over := false
	inc, err := e.update(ctx, h, r.Incident, true, func(c *change) error {
		if over = c.inc.Status != StatusFixing && c.inc.Status != StatusUndoing; over {
			return nil
		}
		c.inc.Error = "secbot could not carry it through, and gave up: " + explain(cause)
		if err := c.failedTo(c.inc.Error); err != nil {
			return err
		}
		c.show()
		c.answer(r.Command, "It did not work: "+c.inc.Error, true)
		return nil
	})
	if err == nil && !over {
		e.o.Metrics.ended(inc, r)
	}
	return err
}
