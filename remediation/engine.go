package remediation

import (
	"context"
	"log/slog"
	"time"
)

// Identity is who secbot itself is in AWS.
type Identity struct {
	Account string
	ARN     string // the caller's, as STS tells it
	RoleARN string // the role behind it, where there is one
}

// Options are what an Engine needs. Store, Provider and Config must be set.
type Options struct {
	Store     Store
	Provider  Provider
	Config    *Config
	Notifiers map[string]Notifier // by NotifySlack, NotifySNS
	Directory Directory           // nil: user groups have no members
	// Enrich completes a signal that only AWS can complete (ConfigRule), right
	// before it is judged. nil: such signals are skipped.
	Enrich func(ctx context.Context, sig *Signal) error
	// Self tells who secbot is in AWS; nil where nobody knows.
	Self  func(ctx context.Context) (Identity, error)
	Now   func() time.Time // time.Now where nil
	NewID func() string    // ULIDs where nil
	Log   *slog.Logger     // discarded where nil
	// Workers bounds how many jobs run at once; 16 where 0.
	Workers int
}

// Engine takes signals and commands in, decides by the policy, runs the
// playbooks, and keeps the store and the outbox.
type Engine struct {
	o Options
}

// New makes an engine. Nothing runs until Run is called.
func New(o Options) *Engine { return &Engine{o: o} }

// Accept stores signals to be judged. When it returns nil they are safe, and
// the event may be acknowledged; whether they were new makes no difference.
func (e *Engine) Accept(ctx context.Context, sigs []Signal) error { return nil }

// Submit stores a command. When it returns nil the command is safe and its
// answer will come by way of cmd.ReplyTo. A command with the ID of an earlier
// one is the same and is stored once.
func (e *Engine) Submit(ctx context.Context, cmd Command) error { return nil }

// Authorise returns nil where by may decide about inc, a DeniedError where
// not, and any other error where nobody can tell (then the answer is no).
// It is the one place that knows who may.
func (e *Engine) Authorise(ctx context.Context, by string, inc *Incident) error { return nil }

// Run works off jobs and notices until ctx ends, then waits for what is under
// way.
func (e *Engine) Run(ctx context.Context) error { return nil }
