package remediation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/oklog/ulid/v2"

	"secbot/internal/throttle"
)

// Identity is who secbot itself is in AWS.
type Identity struct {
	Account string
	ARN     string // the caller's, as STS tells it
	RoleARN string // the role behind it, where there is one
	// MemberRole is the name of the role that it takes in other accounts; empty: it
	// goes into none.
	MemberRole string
}

// Partition is the part of AWS that it is in: aws, aws-cn or aws-us-gov.
func (id Identity) Partition() string {
	if a, err := arn.Parse(id.ARN); err == nil {
		return a.Partition
	}
	return "aws"
}

// Options are what an Engine needs. Store, Provider and Config must be set.
type Options struct {
	Store     Store
	Provider  Provider
	Config    *Config
	Notifiers map[string]Notifier // by NotifySlack, NotifySNS, NotifyShell
	Directory Directory           // nil: user groups have no members
	// Enrich completes a signal that only AWS can complete (ConfigRule), right
	// before it is judged; a signal without Playbooks afterwards is skipped.
	// nil: such signals are judged on what the live state shows.
	Enrich func(ctx context.Context, sig *Signal) error
	// Accounts lists the accounts of the organisation; nil where nobody can.
	Accounts func(ctx context.Context) ([]string, error)
	// Spread tells other processes of jobs that each of them shall begin, one by one,
	// by handing each id to Engine.Begin, once or several times; nil: there are none,
	// and this one does all.
	Spread func(ctx context.Context, jobs []string) error
	// Self tells who secbot is in AWS; nil where nobody knows.
	Self func(ctx context.Context) (Identity, error)
	// Machines reaches the state machines that Config lists; nil: there are none.
	Machines Machines
	Now      func() time.Time // time.Now where nil
	NewID    func() string    // ULIDs where nil
	// Sleep waits, and returns early with ctx's error; a timer where nil.
	Sleep func(ctx context.Context, d time.Duration) error
	Log   *slog.Logger // discarded where nil
	// Metrics counts what happens; nil counts nothing.
	Metrics *Metrics
	// Workers bounds how many jobs, and how many notices, are worked at once;
	// 16 where 0.
	Workers int
	// Grace is how long Run waits for work under way once it shall end; 20 s
	// where 0.
	Grace time.Duration
	// Burst is how many messages a channel gets at once before they are held to
	// one a second; 20 where 0.
	Burst int
	// ScanLook is how often a scan looks whether it was cancelled; 1 s where 0.
	ScanLook time.Duration
	// Exclusive says that no other process uses the store, so that leases
	// found at the start are those of a process that has died.
	Exclusive bool
	// Inline says that this process calls Drain after each Accept, so that what it
	// accepts is leased as it is stored.
	Inline bool
}

// Engine takes signals and commands in, decides by the policy, runs the
// playbooks, and keeps the store and the outbox.
type Engine struct {
	o           Options
	wakeJobs    chan struct{}
	wakeNotices chan struct{}
	places      places
	schedules   []*schedule
	pacing      sync.Mutex
	counting    sync.Mutex
	hearing     sync.Mutex
	heardAt     map[Source]time.Time // when it was last stored that a source is heard
	lookingBack sync.Mutex
	lastBacklog Backlog
	lookedBack  time.Time
	own         own
	handed      handed
	fresh       atomic.Bool      // there are jobs that the loop has not read yet
	scans       throttle.Limiter // of the calls of scans
}

// New makes an engine. Nothing runs until Run is called.
func New(o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = func() string { return ulid.Make().String() }
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Grace == 0 {
		o.Grace = stopGrace
	}
	if o.Burst == 0 {
		o.Burst = paceBurst
	}
	if o.ScanLook == 0 {
		o.ScanLook = scanLook
	}
	return &Engine{o: o, wakeJobs: make(chan struct{}, 1), wakeNotices: make(chan struct{}, 1),
		places: places{busy: map[string]int{}}, handed: handed{open: o.Inline}, own: own{jobs: map[string]time.Time{}, notices: map[string]Notice{}}, heardAt: map[Source]time.Time{}, schedules: schedules(o.Config)}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (e *Engine) now() time.Time { return e.o.Now().UTC() }

// The kinds of jobs.
const (
	jobSignal  = "signal"
	jobCommand = "command"
	jobFix     = "fix"
	jobUndo    = "undo"
	jobExpire  = "expire" // an ignore has run out
	// The timers of a question: jobRemind and jobEscalate tell that nobody has
	// decided, jobLapse ends it.
	jobRemind   = "remind"
	jobEscalate = "escalate"
	jobLapse    = "lapse"
	// jobClose closes what was allowed for a while.
	jobClose = "close"
	// jobSettle looks again at what seemed to be closed without secbot.
	jobSettle = "settle"
	// jobForget drops a request that was not approved.
	jobForget = "forget"
	jobSweep  = "sweep" // once a day
	// jobReconcile scans for what no event has told.
	jobReconcile = "reconcile"
	// jobCheckpoint writes the heads of the audit logs down.
	jobCheckpoint = "checkpoint"
	// jobListen looks for sources from which nothing comes any more.
	jobListen = "listen"
	// jobReport posts the statistics of the week.
	jobReport = "report"
	// jobSnapshot keeps the first state of what has no old values in events.
	jobSnapshot = "snapshot"
	// jobAccount scans one account of several.
	jobAccount = "scan-account"
	// jobRun starts a state machine for an incident and waits for its end.
	jobRun = "run"
	// What a state machine asks: jobAsked tells that nobody has decided,
	// jobAskOver ends it, jobAnswer sends the decision.
	jobAsked   = "asked"
	jobAskOver = "ask-over"
	jobAnswer  = "answer"
)

// Accept stores signals to be judged. When it returns nil they are safe, and
// the event may be acknowledged; whether they were new makes no difference.
func (e *Engine) Accept(ctx context.Context, sigs []Signal) error {
	for _, sig := range sigs {
		if err := e.enqueue(ctx, jobSignal, sig.EventID, sig.Resource.place(), sig); err != nil {
			return fmt.Errorf("store event %s: %w", sig.EventID, err)
		}
		e.o.Metrics.signals.Inc(sig.Kind)
		e.o.Log.Info("event accepted", "event", sig.EventID, "kind", sig.Kind, "resource", sig.Resource.String())
	}
	return nil
}

// Submit stores a command. When it returns nil the command is safe and its
// answer will come by way of cmd.ReplyTo. A command with the ID of an earlier
// one is the same and is stored once.
func (e *Engine) Submit(ctx context.Context, cmd Command) error {
	// People wait for it, and there are few: it comes before a flood of events.
	if err := e.enqueueAt(ctx, e.now().Add(-commandLead), jobCommand, cmd.ID, "", cmd); err != nil {
		return fmt.Errorf("store command: %w", err)
	}
	return nil
}

// commandLead is how much earlier than events commands are due.
const commandLead = time.Hour

// maxEventID is how long an id from outside may be to be kept as it is.
const maxEventID = 200

// enqueue stores a job unless one of the same kind and id is there.
func (e *Engine) enqueue(ctx context.Context, kind, id, place string, payload any) error {
	return e.enqueueAt(ctx, e.now(), kind, id, place, payload)
}

// enqueueAt is enqueue for a job that shall begin at a time.
func (e *Engine) enqueueAt(ctx context.Context, due time.Time, kind, id, place string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode the %s: %w", kind, err)
	}
	if id == "" {
		id = digest(raw)
	}
	now := e.now()
	job := &Job{ID: jobID(kind, id), Kind: kind, Place: place, Payload: raw, Due: due, CreatedAt: now, UpdatedAt: now}
	if kind == jobSignal && e.handed.reserve(e.o.Workers) {
		return e.handOver(ctx, job)
	}
	if _, err := e.keepJob(ctx, job); err != nil {
		return err
	}
	e.newJobs()
	return nil
}

// handOver stores a job leased, for the worker of this process.
func (e *Engine) handOver(ctx context.Context, job *Job) error {
	job.LeaseUntil, job.Attempts = job.UpdatedAt.Add(leaseFor), 1
	row, err := e.keepJob(ctx, job)
	if err != nil || row.Done || row.Attempts != 1 || !row.UpdatedAt.Equal(job.UpdatedAt) || !row.LeaseUntil.Equal(job.LeaseUntil) {
		e.handed.give(nil)
		e.newJobs() // an earlier delivery's may be due
		return err
	}
	h := &held{e: e, job: row}
	if !e.handed.give(h) {
		e.putBack(ctx, []*held{h})
	}
	wake(e.wakeJobs)
	return nil
}

// keepJob stores a job unless one of its id is there, and gives the row that is.
func (e *Engine) keepJob(ctx context.Context, job *Job) (*Job, error) {
	err := e.put(ctx, Write{Jobs: []*Job{job}})
	if errors.Is(err, ErrConflict) {
		// Whoever asked is told that it is safe: only the row itself proves that.
		if job, err = e.o.Store.Job(ctx, job.ID); err != nil {
			return nil, fmt.Errorf("it was not stored, since it met another write: %w", err)
		}
		e.own.see(Write{Jobs: []*Job{job}}, e.now())
	}
	return job, err
}

// jobID is the id of a job's row, by what its kind of work knows it by.
func jobID(kind, id string) string {
	if len(id) > maxEventID || !utf8.ValidString(id) {
		id = digest([]byte(id))
	}
	return kind + "/" + id
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// wake tells a loop to look now; it never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
