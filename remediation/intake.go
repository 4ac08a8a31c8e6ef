package remediation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"
)

const (
	// maxFixesPerHour caps the automatic changes of one resource, so that two
	// automata can't undo each other's work for ever.
	maxFixesPerHour = 3
	// maxCounted bounds how many incidents of a resource are looked through.
	maxCounted = 50
	// maxLooks is how often a resource is looked at, seconds apart, that is not
	// as a fresh event says: AWS may still show the state before the change.
	maxLooks = 3
	// freshFor is how long after the change that may be.
	freshFor = 30 * time.Second
	// askAnewAfter is when a question that nobody has answered is asked anew as
	// its finding comes again: its message is far up in the channel by then.
	askAnewAfter = time.Hour
	// maxRejudged is how often a resource is read again because another event
	// of the same change was settled since it was read.
	maxRejudged = 3
	// maxReadAttempts is how often a resource that can't be read is tried
	// before people are asked.
	maxReadAttempts = 4
)

// errOutdated says that an incident of the same finding was settled after the
// state was read, so that the finding may be over, or that people have set something
// since.
var errOutdated = errors.New("what it was judged on was read before the last decision about it")

// judgeSignal looks at the resource that a signal points to and opens an
// incident for each finding.
func (e *Engine) judgeSignal(ctx context.Context, h *held, sig Signal) error {
	log := e.o.Log.With("event", sig.EventID, "kind", sig.Kind, "resource", sig.Resource.String())
	if sig.ConfigRule != "" && e.reachable(ctx, sig.Resource) == nil {
		ours, err := e.enrich(ctx, h, &sig)
		if err != nil {
			return err
		}
		if !ours {
			log.Info("skipped: not one of the Config rules that secbot answers", "rule", sig.ConfigRule)
			return nil
		}
	}
	seen, err := e.view(ctx, sig)
	if err != nil {
		return err
	}
	by, err := e.authorOf(ctx, seen, sig)
	if err != nil {
		return err
	}
	switch by {
	case ours:
		log.Info("skipped: secbot's own change")
		return nil
	case ourRole:
		log.Error("a call with secbot's own role that secbot did not make")
		sig.OwnRole = true
		if _, err := e.open(ctx, h, e.ownRole(sig), judged{}, e.now()); err != nil {
			return err
		}
	}
	for rejudged := 0; ; rejudged++ {
		readAt := e.now()
		if rejudged > 0 {
			if seen, err = e.view(ctx, sig); err != nil {
				return err
			}
		}
		live, err := e.findingsOf(ctx, h, seen, sig)
		if err != nil {
			return err
		}
		if err := e.settleSafe(ctx, h, live, fmt.Sprintf("since %s by %s", sig.Kind, sig.Actor)); err != nil {
			return err
		}
		if err := e.lookAgain(h, live, sig); err != nil {
			return err
		}
		err = e.openAll(ctx, h, live, readAt)
		if !errors.Is(err, errOutdated) || rejudged == maxRejudged {
			return err
		}
	}
}

// lookAgain puts a job off where a fresh event claims what the live state does not
// show. Whatever it is that undoes the change, or hides it, gets a few seconds.
func (e *Engine) lookAgain(h *held, live judged, sig Signal) error {
	if len(live.findings) > 0 || live.state == nil || h.job.Attempts >= maxLooks || e.now().Sub(sig.At) > freshFor {
		return nil
	}
	for _, pb := range live.env.Playbooks {
		if slices.Contains(sig.Playbooks, pb.Meta().ID) && len(pb.Claim(sig)) > 0 {
			return fmt.Errorf("%w: the live state does not show yet what %s claims", errNotNow, sig.Kind)
		}
	}
	return nil
}

// judged is a resource as it is now, with what is wrong about it.
type judged struct {
	env      *Environment
	state    State // nil where it could not be read
	seen     *view // what was read of the store before; nil: nothing
	kept     *Record
	findings []Finding
	readAt   time.Time
}

// findingsOf judges the live state; what can't be read becomes a question.
func (e *Engine) findingsOf(ctx context.Context, h *held, seen *view, sig Signal) (judged, error) {
	log := e.o.Log.With("event", sig.EventID, "kind", sig.Kind, "resource", sig.Resource.String())
	live, err := judged{}, e.reachable(ctx, sig.Resource)
	if err == nil {
		live, err = e.judgeLive(ctx, seen, sig)
	}
	switch {
	case errors.Is(err, ErrGone), errors.Is(err, ErrOtherAccount):
		log.Warn("nothing done", "reason", err)
		live.findings = nil
		return live, nil
	case err != nil && isTransient(err) && h.job.Attempts < maxReadAttempts:
		return judged{}, err
	case err != nil:
		// The event must not be lost because nobody can read the resource.
		log.Error("the live state could not be judged; asking", "error", err)
		found, unknown := e.unread(ctx, sig, err)
		if unknown != nil {
			return judged{}, unknown
		}
		return judged{seen: seen, findings: found}, nil
	}
	if len(live.findings) == 0 {
		log.Info("nothing to do: the live state is safe")
	}
	return live, nil
}

// reachable says why a resource can't be looked at: AWS answers for another
// account's as if there were none.
func (e *Engine) reachable(ctx context.Context, r Ref) error {
	self := e.self(ctx)
	if self.Account == "" || r.Account == "" || r.Account == self.Account || self.MemberRole != "" {
		return nil
	}
	return fmt.Errorf("it is in account %s, and secbot's credentials are for account %s alone: make it a member (docs/deploy.md) and set SECBOT_EXTERNAL_ID, send it only that account's events, or run a secbot there", r.Account, self.Account)
}

// enrich completes a signal of a Config rule and reports whether the rule is
// one of ours. Where AWS Config can't be asked the bucket is judged all the
// same: what is found is true whatever rule had pointed there.
func (e *Engine) enrich(ctx context.Context, h *held, sig *Signal) (bool, error) {
	if e.o.Enrich == nil {
		return true, nil
	}
	err := e.o.Enrich(ctx, sig)
	if err != nil && isTransient(err) && h.job.Attempts < maxReadAttempts {
		return false, fmt.Errorf("ask AWS Config about rule %s: %w", sig.ConfigRule, err)
	}
	if err != nil {
		e.o.Log.Warn("AWS Config could not be asked about a rule", "rule", sig.ConfigRule, "error", err)
		return true, nil
	}
	return len(sig.Playbooks) > 0, nil
}

// judgeLive reads the resource and has every playbook of its kind judge it.
func (e *Engine) judgeLive(ctx context.Context, seen *view, sig Signal) (judged, error) {
	ref := sig.Resource
	if ref.ID == "" {
		ref.ID = sig.Change.GroupName
	}
	readAt := e.now()
	env, state, err := e.read(ctx, ref)
	if err != nil && (state == nil || !errors.Is(err, ErrGone)) {
		return judged{}, err
	}
	live := judged{env: env, state: state, seen: seen, readAt: readAt}
	state, recallErr := e.recall(ctx, &live, sig)
	if recallErr != nil {
		return judged{}, recallErr
	}
	for _, pb := range env.Playbooks {
		if pb.Meta().Kind == ref.Kind {
			live.findings = append(live.findings, pb.Judge(state, &sig)...)
		}
	}
	if err != nil && len(live.findings) == 0 {
		return live, err // it is gone, and nobody minds
	}
	return live, nil
}

// Preview judges the live state of a signal's resource and tells what the
// policy would do. It reads from AWS, and changes and stores nothing.
// ErrGone and ErrOtherAccount say that there is nothing to judge.
func (e *Engine) Preview(ctx context.Context, sig Signal) ([]Part, error) {
	if sig.ConfigRule != "" && e.o.Enrich != nil {
		if err := e.o.Enrich(ctx, &sig); err != nil {
			return nil, fmt.Errorf("ask AWS Config about rule %s: %w", sig.ConfigRule, err)
		}
		if len(sig.Playbooks) == 0 {
			return nil, nil
		}
	}
	live, err := e.judgeLive(ctx, nil, sig)
	if err != nil {
		return nil, err
	}
	var parts []Part
	for _, f := range live.findings {
		decided, err := e.Decide(ctx, f)
		if err != nil {
			return nil, err
		}
		parts = append(parts, decided...)
	}
	return parts, nil
}

// read reads one resource in its own account and region. With ErrGone there may
// be a state that says so.
func (e *Engine) read(ctx context.Context, ref Ref) (*Environment, State, error) {
	return e.readIn(ctx, ref.Account, ref)
}

// readIn is read in the environment of an account.
func (e *Engine) readIn(ctx context.Context, account string, ref Ref) (*Environment, State, error) {
	env, err := e.o.Provider.Environment(ctx, account, ref.Region)
	if err != nil {
		return nil, nil, fmt.Errorf("account %s, region %s: %w", ref.Account, ref.Region, err)
	}
	reader := env.Readers[ref.Kind]
	if reader == nil {
		return nil, nil, fmt.Errorf("nothing here reads a %s", ref.Kind)
	}
	state, err := reader.Read(ctx, ref)
	if err != nil {
		return env, state, fmt.Errorf("read %s: %w", ref, err)
	}
	return env, state, nil
}

// openAll decides about each finding, opens what the policy wants and then
// fixes what is to be fixed. Repeated after a crash, all that was opened
// before is found by its key.
func (e *Engine) openAll(ctx context.Context, h *held, live judged, readAt time.Time) error {
	var fixes []*held
	var errs []error
	for _, f := range live.findings {
		parts, err := e.decideOn(ctx, f, live.seen)
		if err != nil {
			errs = append(errs, err)
		}
		for _, part := range parts {
			fix, err := e.open(ctx, h, part, live, readAt)
			live.seen = live.seen.onlyControl() // the counts have gone on
			if err != nil {
				errs = append(errs, err)
			}
			if fix != nil {
				fix.live = &live
				fixes = append(fixes, fix)
			}
		}
	}
	var running sync.WaitGroup
	for _, fix := range fixes {
		running.Go(func() { e.work(ctx, fix) })
	}
	running.Wait()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if len(fixes) == 0 { // else each fix has kept what it left
		e.remember(ctx, live, readAt)
	}
	return nil
}

// decideOn is Decide by what was read before, where it was.
func (e *Engine) decideOn(ctx context.Context, f Finding, seen *view) ([]Part, error) {
	if seen == nil {
		return e.Decide(ctx, f)
	}
	control, err := seen.records[controlRecord].control()
	if err != nil {
		return nil, err
	}
	return e.decideUnder(control, f), nil
}

// open makes an incident of one finding, unless it is to be ignored, is
// suppressed, or has an active incident. It returns the job of the fix where
// there shall be one, already leased.
func (e *Engine) open(ctx context.Context, h *held, part Part, live judged, readAt time.Time) (*held, error) {
	f, d := part.Finding, part.Decision
	if d.Action == ActionIgnore {
		e.o.Metrics.found(part)
		e.o.Log.Info("ignored by the policy", "finding", f.Playbook, "resource", f.Resource.String(), "rule", d.Rule)
		return nil, nil
	}
	known, err := e.before(ctx, f, live.seen)
	if err != nil {
		return nil, err
	}
	if s := known.suppressed; s != nil {
		e.o.Metrics.found(part)
		e.o.Log.Info("suppressed", "finding", f.Playbook, "resource", f.Resource.String(), "by", s.By, "until", s.Until)
		return nil, nil
	}
	for try := 1; ; try++ {
		if try > 1 {
			live.seen = nil
			if known.last, err = e.previous(ctx, f.Key()); err != nil {
				return nil, err
			}
		}
		var fix *held
		if last := known.last; last != nil && last.Status.Active() {
			var over bool
			fix, over, err = e.seenAgain(ctx, h, last, Part{Finding: f, Decision: d}, live)
			if err == nil && over {
				continue
			}
		} else {
			fix, err = e.create(ctx, h, Part{Finding: f, Decision: d}, last, live, readAt)
		}
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return fix, err
		}
	}
}

// seenAgain is for a finding that came again while an incident of it is active.
// What the policy closes by itself now is closed, also where an earlier event, a
// scan or a failure has left the question open. A fix or undo under way is
// waited for: whether it undoes this change too is seen afterwards. An event
// that is delivered again is no recurrence. over says that the question was
// ended, and is to be asked anew.
func (e *Engine) seenAgain(ctx context.Context, h *held, active *Incident, part Part, live judged) (fix *held, over bool, err error) {
	if part.Finding.EventID == active.Finding.EventID {
		return nil, false, nil
	}
	_, err = e.update(ctx, h, active.ID, false, func(c *change) (err error) {
		fix, over = nil, false
		if c.inc.Status == StatusFixing || c.inc.Status == StatusUndoing {
			return fmt.Errorf("%w: incident %s is %s", errNotNow, c.inc.ID, c.inc.Status)
		}
		if !c.inc.Status.Active() {
			return ErrConflict // it ended in between: a new one is to be opened
		}
		d, err := c.brake(ctx, part.Finding, part.Decision)
		if err != nil {
			return err
		}
		if over = c.outgrown(part.Finding, d); over {
			return c.askAnew()
		}
		c.inc.Repeats++
		c.inc.Finding = part.Finding // the rules have other ids by now, perhaps
		c.raise()
		switch {
		case d.Action == ActionAuto:
			fix, err = c.fixAgain(ctx, d, live)
			return err
		case c.inc.Status == StatusIgnored:
			// No suppression covers it any more, or it would not have come here.
			return c.reopen()
		}
		// Powers of two: a flood must not flood the thread.
		if bits.OnesCount(uint(c.inc.Repeats)) == 1 || part.Finding.Playbook == OwnRolePlaybook {
			c.thread(fmt.Sprintf("Seen again (%d times since %s), last by %s.", c.inc.Repeats,
				c.inc.CreatedAt.Format(stampFormat), part.Finding.Actor))
		}
		return nil
	})
	if err == nil && !over {
		e.o.Metrics.found(part)
	}
	return fix, over, err
}

// outgrown reports whether an open question no longer tells what has come again:
// the policy wants more than it did, the change is from another state before, or
// the message is an hour old.
func (c *change) outgrown(is Finding, d Decision) bool {
	if c.inc.Status != StatusOpen || d.Action == ActionAuto {
		return false
	}
	was := c.inc.Finding
	return d.Action.rank() < c.inc.Decision.Action.rank() || !slices.EqualFunc(was.Was, is.Was, func(a, b Rule) bool { return a.Key() == b.Key() }) ||
		!bytes.Equal(was.Earlier, is.Earlier) || c.inc.Request == nil && c.now.Sub(c.inc.CreatedAt) > askAnewAfter
}

// askAnew ends a question, so that the next round opens another with a message
// of its own, which names the earlier one.
func (c *change) askAnew() error {
	if err := c.move(StatusExpired, ByItself, "nobody decided before the same came again; it is asked about anew"); err != nil {
		return err
	}
	c.show()
	return nil
}

// fixAgain begins the fix that the policy wants now.
func (c *change) fixAgain(ctx context.Context, d Decision, live judged) (*held, error) {
	if c.inc.Status == StatusIgnored {
		if err := c.move(StatusOpen, ByItself, "the ignore has run out"); err != nil {
			return nil, err
		}
	}
	c.inc.Decision, c.inc.Error = d, ""
	c.inc.Plan, c.inc.Outcomes = nil, nil
	fix, err := c.start(StatusFixing, ByItself, d.Rule, run{})
	if err != nil {
		return nil, err
	}
	if c.inc.NoticeSeq > 0 {
		c.show()
	}
	return fix, c.foresee(ctx, fix, live)
}

// proposal is the diff of what a revert would do now; none where that can't be told.
func (l judged) proposal(f Finding) []DiffLine {
	if l.env == nil || l.state == nil {
		return nil
	}
	diff, _ := l.plan(f) // the fix itself will say why there is none
	return diff
}

func (l judged) plan(f Finding) ([]DiffLine, error) {
	pb := l.env.Playbook(f.Playbook)
	if pb == nil {
		return nil, fmt.Errorf("there is no playbook %s", f.Playbook)
	}
	p, err := pb.Plan(l.state, f)
	return p.Diff, err
}

// create opens an incident and, where the policy says so, the job of its fix.
// ErrConflict says that somebody else has just opened one.
func (e *Engine) create(ctx context.Context, h *held, wanted Part, previous *Incident, live judged, readAt time.Time) (*held, error) {
	f, d := wanted.Finding, wanted.Decision
	c := e.newIncident(f, d)
	c.seen = live.seen
	d, err := c.brake(ctx, f, d)
	if err != nil {
		return nil, err
	}
	if d, err = c.respond(ctx, f, d); err != nil {
		return nil, err
	}
	c.inc.Decision = d
	if previous != nil {
		if f.EventID != "" && previous.Finding.EventID == f.EventID {
			return nil, nil // the same event, taken up again after a crash
		}
		// That nobody decided has changed nothing.
		if previous.Status != StatusExpired && !previous.UpdatedAt.Before(readAt) {
			return nil, errOutdated
		}
		c.inc.Previous = previous.ID
	}
	if err := c.move(StatusOpen, ByItself, d.Rule); err != nil {
		return nil, err
	}
	var fix *held
	if d.Action == ActionAuto {
		if fix, err = c.start(StatusFixing, ByItself, d.Rule, run{}); err != nil {
			return nil, err
		}
		if err := c.foresee(ctx, fix, live); err != nil {
			return nil, err
		}
	} else {
		if err := c.ask(); err != nil {
			return nil, err
		}
		c.show()
		if proposal := live.proposal(f); len(proposal) > 0 && d.Action == ActionAsk {
			c.thread("What Revert Change would do, as the live state is:", proposal...)
		}
		if d.Respond {
			if err := c.startRun(); err != nil {
				return nil, err
			}
		}
	}
	if err := c.askActor(ctx); err != nil {
		return nil, err
	}
	if c.err != nil {
		return nil, c.err
	}
	if err := h.commit(ctx, c.w, false); err != nil {
		return nil, err
	}
	e.o.Metrics.found(wanted)
	e.tellPrevious(ctx, h, c.inc)
	return fix, nil
}

// previous is the last settled incident of a finding; nil for none.
func (e *Engine) previous(ctx context.Context, key string) (*Incident, error) {
	// No list: one that is a moment old would ask again about what was just closed.
	last, err := e.o.Store.Last(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the earlier incident: %w", err)
	}
	return last, nil
}

// tellPrevious says in the earlier incident's thread that the finding is back.
// It is a courtesy: where it fails the new incident stands all the same.
func (e *Engine) tellPrevious(ctx context.Context, h *held, inc *Incident) {
	if inc.Previous == "" {
		return
	}
	_, err := e.update(ctx, h, inc.Previous, false, func(c *change) error {
		what := "It is back"
		if inc.History[0].By != ByItself {
			what = "It is asked about anew"
		}
		c.thread(what + ": see incident " + inc.ID + ".")
		if c.inc.Status == StatusUndone {
			c.show() // it is not let be any more
		}
		return nil
	})
	if err != nil {
		e.o.Log.Warn("the earlier incident's thread was not told", "incident", inc.Previous, "error", err)
	}
}
