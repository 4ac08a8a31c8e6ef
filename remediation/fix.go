package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxReplans is how often a plan is made anew because the state had moved
	// between reading and changing.
	maxReplans = 2
	// maxCallAttempts is how often a changing call is tried; the SDK has tried
	// each several times before.
	maxCallAttempts = 4
	// maxReadBacks is how often the effect is looked for, since bucket
	// configuration is eventually consistent: about 25 s in all.
	maxReadBacks = 8
)

// errStore says that the store could not be read, or what was done not be written
// down. It ends a fix only after hours: the job comes again, and a step that is
// already done is found done.
var errStore = errors.New("the store fails")

// run is the payload of a fix or an undo.
type run struct {
	Incident string   `json:"incident"`
	Command  *Command `json:"command,omitempty"` // who waits for the result; nil for the policy's own
	Again    bool     `json:"again,omitempty"`   // an earlier fix has been carried out already
	Round    int      `json:"round,omitempty"`   // of a timer: the length of the history, or the state, that it is about
}

// fixing is a fix under way.
type fixing struct {
	e   *Engine
	h   *held
	r   run
	inc *Incident
	env *Environment
	pb  Playbook
	// fresh says that the fix was decided on and stored a moment ago.
	fresh     bool
	announced []Call // of the first step, stored already
	// made are the resources that an undo has made.
	made []Ref
}

// fix takes an incident that is being fixed to its end. It goes on where an
// earlier attempt has stopped.
func (e *Engine) fix(ctx context.Context, h *held, r run) error {
	fx, err := e.resume(ctx, h, r)
	if err != nil {
		return err
	}
	if fx.inc.Status != StatusFixing {
		return nil
	}
	if r.Again {
		if err := fx.reconsider(ctx); err != nil {
			return err
		}
	}
	if err := fx.stillMay(ctx); err != nil && !fx.done() {
		if !isRefusal(err) {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		return fx.fail(ctx, err)
	}
	for replans := 0; ; replans++ {
		if fx.inc.Plan == nil {
			if planned, err := fx.plan(ctx); err != nil || !planned {
				return err
			}
		}
		err := fx.apply(ctx)
		if errors.Is(err, ErrDrifted) && len(fx.inc.Outcomes) == 0 && replans < maxReplans {
			if err := fx.forgetPlan(ctx, err); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = fx.verify(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err() // to be resumed
		}
		if errors.Is(err, errStore) {
			return err // AWS did its part; to be resumed when the store is back
		}
		if err != nil {
			return fx.fail(ctx, err)
		}
		if fx.idle() {
			return fx.settle(ctx, "somebody else had closed it before secbot could")
		}
		return fx.succeed(ctx)
	}
}

// stillMay returns a *RefusedError where the configuration that secbot runs with
// now, after a restart perhaps, does not want the fix: in mode observe none, and of
// those that nobody has asked for only what the policy closes by itself.
func (fx *fixing) stillMay(ctx context.Context) error {
	if fx.fresh {
		return nil
	}
	if err := fx.e.mayChange(ctx, fx.inc.Finding, VerbFix); err != nil {
		return err
	}
	if fx.r.Command != nil || fx.inc.Decision.Action != ActionAuto {
		return nil
	}
	parts, err := fx.e.Decide(ctx, fx.inc.Finding)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if part.Decision.Action != ActionAuto {
			return &RefusedError{Text: "The policy has changed since this was begun, and does not have secbot close it by itself any more (" + part.Decision.Rule + "), so secbot has stopped. Retry does it all the same."}
		}
	}
	return nil
}

// done reports whether all that was planned has been done.
func (fx *fixing) done() bool {
	return fx.inc.Plan != nil && len(fx.inc.Outcomes) >= len(fx.inc.Plan.Steps)
}

// idle reports whether the fix has changed nothing, and no call whose answer got
// lost may have either.
func (fx *fixing) idle() bool {
	changed := func(o Outcome) bool { return !o.Noop }
	began := fx.inc.Last().At
	lost := func(c Call) bool {
		return c.For == StatusFixing && !c.At.Before(began) && (c.Lost > 0 || len(c.RequestIDs) == 0)
	}
	return !slices.ContainsFunc(fx.inc.Outcomes, changed) && !slices.ContainsFunc(fx.inc.Calls, lost)
}

// reconsider drops the plan of an earlier fix that was carried out and does not
// hold: what is there now has to be planned on. What the earlier one did stays
// in the audit log.
func (fx *fixing) reconsider(ctx context.Context) error {
	if !fx.done() {
		return nil
	}
	err := fx.pb.Verify(ctx, *fx.inc.Plan, fx.inc.Outcomes)
	if errors.Is(err, ErrNotVerified) || errors.Is(err, ErrGone) {
		return fx.forgetPlan(ctx, err)
	}
	return nil
}

// resume reads where a fix or undo stands.
func (e *Engine) resume(ctx context.Context, h *held, r run) (_ *fixing, err error) {
	fx := &fixing{e: e, h: h, r: r}
	if b := h.begun; b != nil {
		fx.inc, fx.announced, fx.fresh = b.inc, b.calls, e.now().Sub(b.at) <= plannedWithin
	} else if fx.inc, err = e.o.Store.Incident(ctx, r.Incident); err != nil {
		return nil, fmt.Errorf("%w: read incident %s: %w", errStore, r.Incident, err)
	}
	h.begun = nil
	inc := fx.inc
	res := inc.Finding.Resource
	env, err := e.o.Provider.Environment(ctx, res.Account, res.Region)
	if err != nil {
		return nil, fmt.Errorf("account %s, region %s: %w", res.Account, res.Region, err)
	}
	pb := env.Playbook(inc.Finding.Playbook)
	if pb == nil {
		return nil, fmt.Errorf("there is no playbook %q; a newer secbot has stored the incident", inc.Finding.Playbook)
	}
	fx.env, fx.pb = env, pb
	return fx, nil
}

// plan reads the live state and stores what will be done about it, with the
// state before, before anything is changed. Without a plan the fix is over: there was nothing to do, or it failed.
func (fx *fixing) plan(ctx context.Context) (bool, error) {
	state, err := fx.live(ctx)
	if err != nil && (state == nil || !errors.Is(err, ErrGone)) {
		return false, fx.notPlanned(ctx, err)
	}
	p, err := fx.pb.Plan(state, fx.inc.Finding)
	if errors.Is(err, ErrGone) {
		return false, fx.settle(ctx, "the resource does not exist any more")
	}
	if errors.Is(err, ErrNothingToDo) {
		return false, fx.settle(ctx, "the live state was already safe")
	}
	if err != nil {
		return false, fx.fail(ctx, err)
	}
	return true, fx.change(ctx, false, func(c *change) error { return c.planned(p) })
}

// planned adds the plan to the incident.
func (c *change) planned(p Plan) error {
	c.inc.Plan, c.inc.Outcomes = &p, nil
	data, err := p.logged()
	if err != nil {
		return err
	}
	return c.audit(ByItself, "planned", "", data)
}

// plannedWithin is how old the state may be that a fix was decided on and is
// planned on.
const plannedWithin = 5 * time.Second

// live is the state to plan on. What the fix was decided on just before is not read
// again, so that the hole is closed sooner: Apply compares the plan with what is
// there in any case, and where they differ the state is read anew.
func (fx *fixing) live(ctx context.Context) (State, error) {
	known := fx.h.live
	fx.h.live = nil
	if known != nil && known.state != nil && fx.e.now().Sub(known.readAt) <= plannedWithin {
		return known.state, nil
	}
	_, state, err := fx.e.read(ctx, fx.inc.Finding.Resource)
	return state, err
}

// notPlanned tries again later where that may help.
func (fx *fixing) notPlanned(ctx context.Context, err error) error {
	if errors.Is(err, ErrGone) {
		return fx.settle(ctx, "the resource does not exist any more")
	}
	if ctx.Err() != nil || (isTransient(err) && fx.h.job.Attempts < maxReadAttempts) {
		return err
	}
	return fx.fail(ctx, err)
}

func (fx *fixing) forgetPlan(ctx context.Context, cause error) error {
	return fx.change(ctx, false, func(c *change) error {
		c.inc.Plan, c.inc.Outcomes = nil, nil
		return c.audit(ByItself, "planned anew", cause.Error(), nil)
	})
}

// apply carries out the steps that have no outcome yet, each stored as it comes.
func (fx *fixing) apply(ctx context.Context) error {
	for i := len(fx.inc.Outcomes); i < len(fx.inc.Plan.Steps); i++ {
		rctx, rec := withRecorder(ctx, fx.inc.ID, fx.intends(ctx), fx.announced...)
		fx.announced = nil
		var out Outcome
		err := fx.e.persist(rctx, maxCallAttempts, isTransient, func() (err error) {
			out, err = fx.pb.Apply(rctx, fx.inc.Plan.Steps[i])
			return err
		})
		if err != nil {
			// What was called all the same causes events too.
			if stored := fx.change(ctx, false, func(c *change) error { return c.notApplied(ctx, i, rec, err) }); stored != nil {
				return stored
			}
			return fmt.Errorf("%s: %w", fx.inc.Plan.Steps[i].Summary, err)
		}
		out.Step, out.Notes, out.Made = i, rec.said(), rec.resources()
		out.RequestIDs, _ = rec.answers()
		if err := fx.change(ctx, false, func(c *change) error { return c.applied(ctx, out, rec) }); err != nil {
			return err
		}
	}
	return nil
}

// applied adds an outcome, and the request ids to the step's calls.
func (c *change) applied(ctx context.Context, out Outcome, rec *recorder) error {
	if c.inc.Status != StatusFixing || c.inc.Plan == nil || out.Step != len(c.inc.Outcomes) {
		return fmt.Errorf("incident %s has gone on without this worker: step %d is not its next", c.inc.ID, out.Step)
	}
	c.inc.Outcomes = append(c.inc.Outcomes, out)
	if err := c.answered(ctx, rec); err != nil {
		return err
	}
	return c.audit(ByItself, "did: "+c.inc.Plan.Steps[out.Step].Summary, "", out)
}

// notApplied adds the request ids of a step that went wrong to its call: what was
// called all the same may have had an effect.
func (c *change) notApplied(ctx context.Context, step int, rec *recorder, cause error) error {
	if err := c.answered(ctx, rec); err != nil {
		return err
	}
	if c.inc.Plan == nil || step >= len(c.inc.Plan.Steps) {
		return nil
	}
	data, err := rec.logged(nil)
	if err != nil {
		return err
	}
	return c.audit(ByItself, "tried: "+c.inc.Plan.Steps[step].Summary, cause.Error(), data)
}

// attempts counts the earlier attempts at this job, which died before they
// could tell of their calls.
func (fx *fixing) attempts() int { return fx.h.job.Attempts - 1 }

// verify reads back until the effect is seen or patience ends.
func (fx *fixing) verify(ctx context.Context) error {
	worthIt := func(err error) bool { return errors.Is(err, ErrNotVerified) || isTransient(err) }
	return fx.e.persist(ctx, maxReadBacks, worthIt, func() error {
		return fx.pb.Verify(ctx, *fx.inc.Plan, fx.inc.Outcomes)
	})
}

// persist calls f until it succeeds, fails for good, or was tried n times. The
// pauses grow from 200 ms to 8 s.
func (e *Engine) persist(ctx context.Context, n int, again func(error) bool, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == n || !again(err) {
			return err
		}
		if waitErr := e.o.Sleep(ctx, backoff(try, 200*time.Millisecond, 8*time.Second)); waitErr != nil {
			return errors.Join(err, waitErr)
		}
	}
}

func (fx *fixing) succeed(ctx context.Context) error {
	return fx.end(ctx, func(c *change) error {
		c.inc.Error = ""
		if err := c.move(StatusFixed, ByItself, "read back"); err != nil {
			return err
		}
		if err := c.startRun(); err != nil {
			return err
		}
		if c.inc.NoticeSeq > 0 || fx.r.Command == nil || !fx.r.Command.Quiet { // else the scan's message tells it
			c.show()
			c.thread(strings.Join(append(notesOf(c.inc.Outcomes), "What was changed:"), "\n"), c.inc.Plan.Diff...)
		}
		if c.inc.Decision.Action == ActionAuto && fx.r.Command == nil && c.e.o.Config.Notify.SNSTopicARN != "" {
			c.tell(NotifySNS, OpMitigated, nil)
		}
		c.answer(fx.r.Command, "Done: "+c.inc.Finding.Resource.ID+" is fixed, as read back from AWS.", false)
		return nil
	})
}

func notesOf(outcomes []Outcome) []string {
	var notes []string
	for _, o := range outcomes {
		notes = append(notes, o.Notes...)
	}
	return notes
}

func (fx *fixing) fail(ctx context.Context, cause error) error {
	return fx.end(ctx, func(c *change) error {
		c.inc.Error = explain(cause)
		if err := c.failedTo(c.inc.Error); err != nil {
			return err
		}
		c.show()
		c.answer(fx.r.Command, "It did not work: "+c.inc.Error, true)
		return nil
	})
}

// failedTo ends the status of a fix or undo as failed, which waits for people like a
// question does. What was allowed for a while and can't be closed nobody looks at:
// people are called.
func (c *change) failedTo(why string) error { return c.failedWith(why, moved{}) }

func (c *change) failedWith(why string, data moved) error {
	last := c.inc.Last()
	if err := c.moveWith(StatusFailed, ByItself, why, data); err != nil {
		return err
	}
	if last.From == StatusAllowed && last.By == ByItself {
		c.mentionIn(c.inc.Decision.Approvers, "The time that it was allowed for is over, and it could not be closed, so that it may still be open: "+why)
	}
	return c.ask()
}

// settle ends a fix that has nothing to do.
func (fx *fixing) settle(ctx context.Context, why string) error {
	return fx.end(ctx, func(c *change) error {
		c.inc.Error = ""
		if err := c.move(StatusResolved, ByItself, why); err != nil {
			return err
		}
		if c.inc.NoticeSeq > 0 {
			c.show() // of what nobody was told nobody needs to hear that it is over
		}
		c.answer(fx.r.Command, "Nothing was changed: "+why+".", false)
		return nil
	})
}

// answer tells the person who asked by a command; a click sees the message change.
func (c *change) answer(cmd *Command, text string, failed bool) {
	if cmd == nil {
		return
	}
	if cmd.State == nil {
		c.reply(*cmd, Reply{Text: text, Incident: c.inc.ID, Failed: failed})
		return
	}
	c.home(*cmd)
}

// end stores the last change together with the end of the job.
func (fx *fixing) end(ctx context.Context, f func(*change) error) error {
	// Whoever reads that it is over may change the resource the next moment; events
	// of secbot's own calls, which are skipped, remember nothing.
	for _, ref := range fx.changed() {
		fx.e.rememberNow(ctx, ref)
	}
	err := fx.change(ctx, true, f)
	if err == nil {
		fx.e.o.Metrics.ended(fx.inc, fx.r)
	}
	return err
}

// changed are the resources that may be otherwise now: the finding's, and those
// that were made, under new ids.
func (fx *fixing) changed() []Ref {
	refs := append([]Ref{fx.inc.Finding.Resource}, fx.made...)
	for _, o := range fx.inc.Outcomes {
		refs = append(refs, o.Made...)
	}
	return slices.Compact(refs)
}

func (fx *fixing) change(ctx context.Context, done bool, f func(*change) error) error {
	inc, err := fx.e.update(ctx, fx.h, fx.inc.ID, done, f)
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	fx.inc = inc
	return nil
}
