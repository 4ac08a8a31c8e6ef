package remediation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// execute does what a person asked for, and answers them.
func (e *Engine) execute(ctx context.Context, h *held, cmd Command) error {
	switch cmd.Verb { // what is about no incident
	case VerbScan:
		return e.scanCommand(ctx, h, cmd)
	case VerbCancel:
		return e.cancelScan(ctx, h, cmd)
	case VerbFixAll:
		return e.fixAll(ctx, h, cmd)
	case VerbStats:
		return e.statsCommand(ctx, h, cmd)
	case VerbReset:
		return e.reset(ctx, h, cmd)
	case VerbTaskYes, VerbTaskNo:
		return e.decideAsk(ctx, h, cmd)
	case VerbPause, VerbResume, VerbMode:
		return e.setControl(ctx, h, cmd)
	case VerbWhy:
		return e.tellWhy(ctx, h, cmd)
	}
	fix, err := e.decide(ctx, h, cmd, true)
	if errors.Is(err, errUndone) {
		err = e.askAnew(ctx, h, cmd)
	}
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	if fix != nil {
		e.work(ctx, fix)
	}
	return nil
}

// Check returns nil where a command could be carried out as everything stands now;
// else the errors with which it would be refused. It changes nothing, and what it
// says may be otherwise by the time that the command is carried out.
func (e *Engine) Check(ctx context.Context, cmd Command) error {
	if cmd.Incident == "" {
		return e.authorise(ctx, cmd, nil)
	}
	inc, err := e.o.Store.Incident(ctx, cmd.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", cmd.Incident, err)
	}
	if err := e.authorise(ctx, cmd, inc); err != nil {
		return err
	}
	c := &change{e: e, inc: inc, now: e.now()}
	switch {
	case c.stale(cmd):
		return &StaleError{Incident: inc}
	case cmd.Verb == VerbApprove, cmd.Verb == VerbDecline, cmd.Verb == VerbClaim, cmd.Verb == VerbDisown:
		return nil
	}
	return c.check(ctx, cmd)
}

// stale reports whether somebody decides on what they see no more.
func (c *change) stale(cmd Command) bool {
	return cmd.State != nil && *cmd.State != c.inc.State() || cmd.Request > 0 && cmd.Request != c.inc.Requests
}

// decide changes the incident as the command says; with done, the command's job
// ends together with that. It returns the job of a fix or undo that is to begin.
func (e *Engine) decide(ctx context.Context, h *held, cmd Command, done bool) (*held, error) {
	inc, err := e.o.Store.Incident(ctx, cmd.Incident)
	if err != nil {
		return nil, err
	}
	if err := e.authorise(ctx, cmd, inc); err != nil {
		return nil, err
	}
	if cmd.Verb == VerbApprove {
		if err := e.stillMay(ctx, inc); err != nil {
			return nil, err
		}
	}
	person, err := e.personBehind(ctx, inc)
	if err != nil {
		return nil, err
	}
	var fix *held
	_, err = e.update(ctx, h, cmd.Incident, done, func(c *change) (err error) {
		if c.stale(cmd) {
			return &StaleError{Incident: c.inc}
		}
		if fix, err = c.decide(ctx, cmd, person); fix != nil {
			c.home(cmd) // what is under way
		}
		return err
	})
	return fix, err
}

// decide is one decision on an incident, without a look at who decides. person is
// the Slack user whose change it is; empty where nobody knows.
func (c *change) decide(ctx context.Context, cmd Command, person string) (*held, error) {
	needed := c.e.approvals(c.inc)
	switch cmd.Verb {
	case VerbApprove:
		return c.approve(ctx, cmd, needed, person)
	case VerbDecline:
		return nil, c.decline(cmd)
	case VerbClaim, VerbDisown:
		return nil, c.answerActor(cmd)
	}
	if err := c.check(ctx, cmd); err != nil {
		return nil, err
	}
	if needed > 0 && cmd.Verb.needsApproval() {
		return nil, c.request(cmd, needed)
	}
	return c.carryOut(ctx, cmd)
}

// check refuses what can't be carried out, before anybody is asked to approve it.
func (c *change) check(ctx context.Context, cmd Command) error {
	if cmd.Verb == VerbUnignore && c.inc.Status == StatusUndone {
		return nil
	}
	f := c.inc.Finding
	if cmd.Verb.changes() {
		if err := c.e.mayChange(ctx, f, cmd.Verb); err != nil {
			return err
		}
	}
	if err := c.inc.mayBecome(cmd.Verb); err != nil {
		return err
	}
	switch cmd.Verb {
	case VerbFix, VerbRetry:
		if f.Irreversible != "" {
			return &RefusedError{Text: "secbot can't take this back, so nothing was changed: " + f.Irreversible + "."}
		}
	case VerbUndo:
		if c.inc.Plan == nil || len(c.inc.Outcomes) == 0 {
			return &StatusError{Incident: c.inc.ID, Status: c.inc.Status, Wanted: StatusUndoing, Last: c.inc.Last()}
		}
	case VerbIgnore:
		if cmd.Reason == "" {
			return errNoReason()
		}
		_, err := parseScope(cmd.Scope)
		return err
	case VerbAllow:
		if err := checkAllow(f, cmd.For); err != nil {
			return err
		}
		// The time to close it may come while secbot is paused, and waits then.
		return c.e.mayChange(ctx, f, VerbUndo)
	}
	return nil
}

// carryOut does what was decided and checked.
func (c *change) carryOut(ctx context.Context, cmd Command) (*held, error) {
	c.inc.Error = ""
	switch cmd.Verb {
	case VerbFix, VerbRetry:
		return c.decideFix(ctx, cmd)
	case VerbUndo:
		return c.decideUndo(cmd)
	case VerbIgnore:
		return nil, c.decideIgnore(cmd)
	case VerbUnignore:
		return nil, c.decideUnignore(ctx, cmd)
	case VerbAllow:
		return nil, c.decideAllow(cmd)
	}
	return nil, &RefusedError{Text: fmt.Sprintf("secbot does not know the command %q; nothing was changed.", cmd.Verb)}
}

// decideFix claims the incident; the fix itself plans on the live state.
func (c *change) decideFix(ctx context.Context, cmd Command) (*held, error) {
	if c.inc.Status == StatusAllowed {
		if err := c.endSuppressions(ctx); err != nil {
			return nil, err
		}
	}
	return c.startFix(cmd.By, cmd.Reason, run{Command: &cmd, Again: len(c.inc.Outcomes) > 0})
}

// startFix begins a fix, and has the message say so unless that would be one of many.
func (c *change) startFix(by, why string, r run) (*held, error) {
	if len(c.inc.Outcomes) == 0 {
		c.inc.Plan = nil
	}
	fix, err := c.start(StatusFixing, by, why, r)
	if err != nil {
		return nil, err
	}
	if r.Command == nil || !r.Command.Quiet {
		c.show()
	}
	return fix, nil
}

// decideUndo leaves an allowance for what the undo puts back, since that is
// the violation again, before a call is made.
func (c *change) decideUndo(cmd Command) (*held, error) {
	until := c.now.Add(undoAllowance)
	undo, err := c.startWith(StatusUndoing, cmd.By, cmd.Reason, run{Command: &cmd}, moved{Until: &until})
	if err != nil {
		return nil, err
	}
	c.suppress(Command{By: cmd.By, Reason: "put back by an undo"}, until)
	c.show()
	return undo, nil
}

// decideIgnore keeps the finding from being told until a time, for a reason.
func (c *change) decideIgnore(cmd Command) error {
	var until time.Time
	text := "for good"
	if cmd.For > 0 {
		until = c.now.Add(cmd.For)
		text = "until " + until.Format(stampFormat)
	}
	scope, err := parseScope(cmd.Scope)
	if err != nil {
		return err
	}
	data := moved{Scope: scope}
	if !until.IsZero() {
		data.Until = &until
	}
	if err := c.moveWith(StatusIgnored, cmd.By, cmd.Reason, data); err != nil {
		return err
	}
	c.suppress(cmd, until)
	if !until.IsZero() {
		if err := c.expireAt(until); err != nil {
			return err
		}
	}
	c.show()
	c.answer(&cmd, "Ignored "+text+".", false)
	return nil
}

func errNoReason() error {
	return &RefusedError{Text: "An ignore needs a reason, so that others can follow it; nothing was changed."}
}

// errUndone says that what was put back is to be asked about anew, which takes
// an incident of its own.
var errUndone = errors.New("the fix was undone")

// askAnew ends the time for which what an undo has put back is let be, and opens a
// new incident of the same finding, which asks.
func (e *Engine) askAnew(ctx context.Context, h *held, cmd Command) error {
	old, err := e.o.Store.Incident(ctx, cmd.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", cmd.Incident, err)
	}
	active, err := e.o.Store.Active(ctx, old.Key)
	if err == nil {
		return &RefusedError{Text: "It is asked about already, in incident " + active.ID + ": /secbot show " + active.ID}
	}
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read the active incident: %w", err)
	}
	live := judged{readAt: e.now()}
	live.env, live.state, err = e.read(ctx, old.Finding.Resource)
	if live.state == nil && errors.Is(err, ErrGone) {
		return &RefusedError{Text: "The resource does not exist any more, so there is nothing to ask about."}
	}
	if live.state != nil {
		if pb := live.env.Playbook(old.Finding.Playbook); pb != nil {
			if _, err := pb.Plan(live.state, old.Finding); errors.Is(err, ErrNothingToDo) || errors.Is(err, ErrGone) {
				return &RefusedError{Text: "It is closed already, as the live state shows, so there is nothing to ask about."}
			}
		}
	}
	part := e.o.Config.Decide(old.Finding)[0]
	c := e.newIncident(old.Finding, part.Decision.AtMost(ActionAsk, "somebody asks about what an undo had put back"))
	c.inc.Finding.EventID = "again/" + cmd.ID
	c.inc.Previous = old.ID
	if err := c.endSuppressionsOf(ctx, old.ID); err != nil {
		return err
	}
	if err := c.move(StatusOpen, cmd.By, "asked about again, after the undo"); err != nil {
		return err
	}
	if err := c.ask(); err != nil {
		return err
	}
	c.show()
	if proposal := live.proposal(old.Finding); len(proposal) > 0 {
		c.thread("What Revert Change would do, as the live state is:", proposal...)
	}
	c.answer(&cmd, "It is asked about again, as incident "+c.inc.ID+".", false)
	if c.err != nil {
		return c.err
	}
	if err := h.commit(ctx, c.w, true); err != nil {
		return err
	}
	e.tellPrevious(ctx, h, c.inc)
	return nil
}

func (c *change) decideUnignore(ctx context.Context, cmd Command) error {
	if c.inc.Status == StatusUndone {
		return errUndone
	}
	if err := c.move(StatusOpen, cmd.By, cmd.Reason); err != nil {
		return err
	}
	if err := c.endSuppressions(ctx); err != nil {
		return err
	}
	if err := c.ask(); err != nil {
		return err
	}
	c.show()
	c.answer(&cmd, "It is open again and waits for a decision.", false)
	return nil
}

// refuse tells the person why nothing was changed. Errors that are no decision
// are returned, to try again.
func (e *Engine) refuse(ctx context.Context, h *held, cmd Command, cause error) error {
	reply, ok := refusalOf(cmd, cause)
	if h.job.Done || !ok {
		return cause
	}
	if later := e.laterThan(ctx, cause); later != "" {
		reply.Text += " What came after it is incident " + later + ": /secbot show " + later
	}
	e.o.Metrics.refusals.Inc()
	e.o.Log.Info("a command was refused", "verb", cmd.Verb, "incident", cmd.Incident, "by", cmd.By, "reason", cause)
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		c.reply(cmd, reply)
		err := c.auditOwn(ctx, cmd.By, "refused to "+cmd.Verb.words(), reply.Text, refused{Incident: cmd.Incident, Scope: cmd.Scope, Command: cmd.ID})
		if err := errors.Join(err, c.err); err != nil {
			return err
		}
		if err := h.commit(ctx, c.w, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

// refusalOf says in words why a command was not carried out; false for errors that
// are no decision.
func refusalOf(cmd Command, cause error) (Reply, bool) {
	var (
		denied *DeniedError
		stale  *StaleError
		status *StatusError
		scope  *ScopeError
		other  *RefusedError
		reply  = Reply{Text: cause.Error(), Failed: true}
	)
	switch {
	case errors.As(cause, &other):
		reply.Text, reply.People = other.Text, other.People
	case errors.As(cause, &scope):
	case errors.Is(cause, ErrNotFound):
		reply.Text = fmt.Sprintf("There is no incident %q, so nothing was changed. See what there is with /secbot incidents.", cmd.Incident)
	case errors.As(cause, &denied):
		reply.People = denied.Approvers
	case errors.As(cause, &stale):
		reply.Text = "That button is out of date, so nothing was changed: " + standing(stale.Incident) + stale.Incident.Status.wayOn(stale.Incident.ID)
		reply.People = []string{stale.Incident.Last().By}
	case errors.As(cause, &status):
		reply.Text = fmt.Sprintf("Nothing was changed: incident %s is already %s.%s", status.Incident, status.Status, status.Status.wayOn(status.Incident))
		reply.People = []string{status.Last.By}
	default:
		return reply, false
	}
	return reply, true
}

// refused is the data of the audit entry about a command that was refused.
type refused struct {
	Incident string `json:"incident,omitempty"`
	Scope    string `json:"scope,omitempty"`
	Command  string `json:"command"`
}

// wayOn says what can be done about an incident as it stands.
func (s Status) wayOn(id string) string {
	switch s {
	case StatusOpen:
		return " To decide: /secbot fix " + id + " or /secbot ignore " + id + " for 7d because …"
	case StatusFixed:
		return " To put back what the fix has changed, and let it be for a day: /secbot undo " + id
	case StatusFailed:
		return " To try again: /secbot fix " + id
	case StatusFixing, StatusUndoing:
		return " It ends by itself; look again in a while: /secbot show " + id
	case StatusIgnored:
		return " To have it asked about again: /secbot unignore " + id
	case StatusAllowed:
		return " To close it before its time: /secbot fix " + id
	case StatusUndone:
		return " To have it asked about again: /secbot unignore " + id
	case StatusResolved:
		return " Nothing is left to decide. What is open now: /secbot incidents open"
	case StatusExpired:
		return " What is still open a scan asks about anew: /secbot scan"
	}
	return ""
}

// laterThan is the incident that tells the same as one that is over and about which
// somebody wanted to decide; empty where there is none, or it can't be read.
func (e *Engine) laterThan(ctx context.Context, cause error) string {
	var status *StatusError
	if !errors.As(cause, &status) || status.Status.Active() {
		return ""
	}
	inc, err := e.o.Store.Incident(ctx, status.Incident)
	if err != nil {
		return ""
	}
	last, err := e.o.Store.Last(ctx, inc.Key)
	if err != nil || last.ID == inc.ID {
		return ""
	}
	return last.ID
}

// standing says in a sentence where an incident stands.
func standing(inc *Incident) string {
	last := inc.Last()
	s := fmt.Sprintf("incident %s is %s since %s", inc.ID, inc.Status, last.At.Format(stampFormat))
	if last.By != ByItself {
		s += ", decided by " + last.By
	}
	return s + "."
}
