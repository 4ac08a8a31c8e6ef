package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// RunStatus is how the run of a state machine stands, as far as secbot knows.
type RunStatus string

// The statuses of a run. All but the first two are its end.
const (
	RunStarting  RunStatus = "starting"  // promised; whether it was started is not known yet
	RunRunning   RunStatus = "running"   //
	RunSucceeded RunStatus = "succeeded" //
	RunFailed    RunStatus = "failed"    // in AWS: failed, timed out or aborted
	RunRefused   RunStatus = "refused"   // it was not started
	RunLate      RunStatus = "late"      // it had not ended in time, and is not waited for any more
)

// MachineRun is a state machine that was started for an incident.
type MachineRun struct {
	Machine   string          `json:"machine"` // the name in the policy
	ARN       string          `json:"arn"`     // the state machine's
	Name      string          `json:"name"`    // the execution's; AWS takes each once
	Execution string          `json:"execution,omitempty"`
	Input     json.RawMessage `json:"input"`
	Status    RunStatus       `json:"status"`
	Deadline  time.Time       `json:"deadline"` // until when it is waited for
	StartedAt time.Time       `json:"started_at,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Error     string          `json:"error,omitempty"` // why it failed or was not started, for people
}

// Over reports whether the run is not waited for any more.
func (r *MachineRun) Over() bool { return r.Status != RunStarting && r.Status != RunRunning }

// runInput is what a state machine gets: names of things, and no secret.
type runInput struct {
	Incident string `json:"incident"`
	Finding  string `json:"finding"`  // the playbook that has found it
	Resource string `json:"resource"` // the plain id
	Kind     Kind   `json:"kind"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	Severity string `json:"severity"`
	Fixed    bool   `json:"fixed"` // whether secbot has closed it and read that back
}

const (
	// runPrefix begins the names of executions that secbot starts.
	runPrefix = "secbot-"
	// maxRunError bounds what is kept of an execution's error, in characters.
	maxRunError = 500
)

// startRun promises the run of the state machine that the policy names for the
// incident, if it names one. It begins with the change's being stored.
func (c *change) startRun() error {
	m, ok := c.e.o.Config.Machine(c.inc.Decision.StateMachine)
	if !ok {
		return nil
	}
	f := c.inc.Finding
	input, err := json.Marshal(runInput{Incident: c.inc.ID, Finding: f.Playbook, Resource: f.Resource.ID, Kind: f.Resource.Kind, Account: f.Resource.Account,
		Region: f.Resource.Region, Severity: string(f.Severity), Fixed: c.inc.Status == StatusFixed})
	if err != nil {
		return fmt.Errorf("encode the input of state machine %s: %w", m.Name, err)
	}
	// The name is the same however often it is tried.
	c.inc.Run = &MachineRun{Machine: m.Name, ARN: m.ARN, Name: fmt.Sprintf("%s%s-%d", runPrefix, c.inc.ID, c.inc.State()), Input: input,
		Status: RunStarting, Deadline: c.now.Add(m.Timeout)}
	if err := c.audit(ByItself, "is to start state machine "+m.Name, c.inc.Decision.Rule, c.inc.Run); err != nil {
		return err
	}
	return c.later(jobRun, c.now, run{})
}

// respond keeps a run back that would be the response to a finding where the cap on
// automatic changes does.
func (c *change) respond(ctx context.Context, f Finding, d Decision) (Decision, error) {
	if !d.Respond {
		return d, nil
	}
	as := d
	as.Action = ActionAuto
	as, err := c.brake(ctx, f, as)
	if err == nil && as.Action != ActionAuto {
		d.Respond, d.Why = false, as.Why
	}
	return d, err
}

// run starts the state machine of an incident, or looks how it stands. While it
// runs the job comes again, later and later.
func (e *Engine) run(ctx context.Context, h *held, r run) error {
	inc, err := e.o.Store.Incident(ctx, r.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", r.Incident, err)
	}
	switch {
	case inc.Run == nil || inc.Run.Over():
		return nil
	case inc.Run.Execution == "":
		return e.startExecution(ctx, h, inc)
	}
	return e.watchExecution(ctx, h, inc)
}

// startExecution starts it, unless the policy or people do not want it any more.
func (e *Engine) startExecution(ctx context.Context, h *held, inc *Incident) error {
	m := inc.Run
	if is, ok := e.o.Config.Machine(m.Machine); !ok || is.ARN != m.ARN || e.o.Machines == nil {
		return e.endRun(ctx, h, inc.ID, RunRefused, time.Time{}, "the policy does not list it any more")
	}
	if inc.Status != StatusFixed && (inc.Status != StatusOpen || !inc.Decision.Respond) {
		return e.endRun(ctx, h, inc.ID, RunRefused, time.Time{}, "the incident is "+string(inc.Status)+" by now")
	}
	late := e.now().After(m.Deadline)
	if err := e.mayChange(ctx, inc.Finding, VerbFix); isRefusal(err) && late {
		return e.endRun(ctx, h, inc.ID, RunRefused, time.Time{}, err.Error())
	} else if err != nil {
		return fmt.Errorf("%w: %w", errNotNow, err)
	}
	if wanted, err := e.stillResponds(ctx, inc); err != nil {
		return fmt.Errorf("%w: %w", errNotNow, err)
	} else if !wanted {
		return e.endRun(ctx, h, inc.ID, RunRefused, time.Time{}, "the policy or the mode has changed since, and does not start it by itself any more")
	}
	execution, err := e.o.Machines.Start(ctx, m.ARN, m.Name, m.Input)
	if err != nil && isTransient(err) && !late {
		return fmt.Errorf("%w: start state machine %s: %w", errNotNow, m.Machine, err)
	}
	if err != nil {
		return e.endRun(ctx, h, inc.ID, RunRefused, time.Time{}, Explain(err))
	}
	if execution != ExecutionARN(m.ARN, m.Name) {
		return e.endRun(ctx, h, inc.ID, RunLate, time.Time{}, "it was started as an express one, and how those end nobody can see; make it a standard one")
	}
	_, err = e.update(ctx, h, inc.ID, false, func(c *change) error {
		m := c.inc.Run
		if m == nil || m.Execution != "" {
			return nil
		}
		m.Execution, m.Status, m.StartedAt = execution, RunRunning, c.now
		c.show()
		return c.audit(ByItself, "started state machine "+m.Machine, "", m)
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: state machine %s runs", errNotNow, m.Machine)
}

// stillResponds reports whether the policy and the mode as they are now start the state
// machine of an open incident by themselves; one that follows a fix is the fix's.
func (e *Engine) stillResponds(ctx context.Context, inc *Incident) (bool, error) {
	if inc.Status != StatusOpen {
		return true, nil
	}
	parts, err := e.Decide(ctx, inc.Finding)
	return slices.ContainsFunc(parts, func(p Part) bool { return p.Decision.Respond && p.Decision.StateMachine == inc.Run.Machine }), err
}

// watchExecution looks how it stands. What can't be read is looked at again until
// the time for it is over.
func (e *Engine) watchExecution(ctx context.Context, h *held, inc *Incident) error {
	m := inc.Run
	late := e.now().After(m.Deadline)
	if e.o.Machines == nil {
		return e.endRun(ctx, h, inc.ID, RunLate, time.Time{}, "the policy does not list it any more")
	}
	x, err := e.o.Machines.Describe(ctx, m.Execution)
	switch {
	case err != nil && late:
		return e.endRun(ctx, h, inc.ID, RunLate, time.Time{}, "how it stands could not be read: "+Explain(err))
	case err != nil:
		return fmt.Errorf("%w: look at state machine %s: %w", errNotNow, m.Machine, err)
	}
	switch x.Status {
	case ExecutionSucceeded:
		return e.endRun(ctx, h, inc.ID, RunSucceeded, x.EndedAt, "")
	case ExecutionFailed, ExecutionTimedOut, ExecutionAborted:
		why := strings.ToLower(strings.ReplaceAll(string(x.Status), "_", " "))
		return e.endRun(ctx, h, inc.ID, RunFailed, x.EndedAt, joinText(": ", why, x.Error, x.Cause))
	}
	if late {
		return e.endRun(ctx, h, inc.ID, RunLate, time.Time{}, "it had not ended by "+m.Deadline.Format(stampFormat)+", and goes on")
	}
	return fmt.Errorf("%w: state machine %s runs", errNotNow, m.Machine)
}

// endRun stores how a run has ended. What it has done to the resource only a look at
// that tells, so that one is taken where nothing else has closed it.
func (e *Engine) endRun(ctx context.Context, h *held, incident string, to RunStatus, at time.Time, why string) error {
	_, err := e.update(ctx, h, incident, true, func(c *change) error {
		m := c.inc.Run
		if m == nil || m.Over() {
			return nil
		}
		if m.Status, m.EndedAt, m.Error = to, at, firstChars(why, maxRunError); at.IsZero() {
			m.EndedAt = c.now
		}
		c.show()
		if to != RunSucceeded {
			c.mentionIn(c.inc.Decision.Approvers, fmt.Sprintf("State machine %s %s: %s", m.Machine, to.words(), m.Error))
		}
		if c.inc.Status == StatusOpen {
			if err := c.lookLater(); err != nil {
				return err
			}
		}
		return c.audit(ByItself, fmt.Sprintf("state machine %s %s", m.Machine, to.words()), m.Error, m)
	})
	return err
}

// lookLater has the resource looked at once a safe state may end the incident.
func (c *change) lookLater() error {
	raw, err := json.Marshal(look{Resource: &c.inc.Finding.Resource})
	if err != nil {
		return fmt.Errorf("encode the look: %w", err)
	}
	due := c.now.Add(settleAfter + time.Second)
	c.w.Jobs = append(c.w.Jobs, &Job{ID: fmt.Sprintf("%s/run/%s", jobReconcile, c.inc.Run.Name), Kind: jobReconcile, Place: c.inc.Finding.Resource.place(),
		Payload: raw, Due: due, CreatedAt: c.now, UpdatedAt: c.now})
	return nil
}

// words say what became of a run, after its name.
func (s RunStatus) words() string {
	switch s {
	case RunRefused:
		return "was not started"
	case RunLate:
		return "is not waited for any more"
	}
	return string(s)
}

// firstChars cuts what is longer than n characters.
func firstChars(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// RunEvent says that an execution's status has changed. It is a hint to look.
type RunEvent struct {
	EventID   string
	Execution string // the ARN
}

// AcceptRun has an execution looked at that secbot has started. When it returns nil
// that is stored. A RefusedError says why there is nothing to look at.
func (e *Engine) AcceptRun(ctx context.Context, ev RunEvent) error {
	name := ev.Execution[strings.LastIndexByte(ev.Execution, ':')+1:]
	id, ours := strings.CutPrefix(name, runPrefix)
	if i := strings.LastIndexByte(id, '-'); ours && i > 0 {
		id = id[:i]
	} else {
		return &RefusedError{Text: "secbot has not started that execution"}
	}
	inc, err := e.o.Store.Incident(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read incident %s: %w", id, err)
	}
	if err != nil || inc.Run == nil || ExecutionARN(inc.Run.ARN, inc.Run.Name) != ev.Execution {
		return &RefusedError{Text: "secbot has not started that execution"}
	}
	return e.enqueue(ctx, jobRun, "event/"+ev.EventID, "", run{Incident: id})
}
