package remediation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// requestLife is how long a decision waits for its approvals.
const requestLife = 24 * time.Hour

// needsApproval reports whether a verb is one of those that wait for approvals
// where the policy wants some. Asking again does not.
func (v Verb) needsApproval() bool {
	switch v {
	case VerbFix, VerbRetry, VerbUndo, VerbIgnore, VerbAllow:
		return true
	}
	return false
}

// leavesOpen reports whether a verb lets stand, or puts back, what somebody has
// changed.
func (v Verb) leavesOpen() bool { return v == VerbIgnore || v == VerbAllow || v == VerbUndo }

// approvals is how many people must approve a decision about inc by the policy as
// it is now.
func (e *Engine) approvals(inc *Incident) int {
	most := 0
	for _, part := range e.o.Config.Decide(inc.Finding) {
		most = max(most, part.Decision.Approvals)
	}
	return most
}

// request keeps a decision until enough people have approved it.
func (c *change) request(cmd Command, needed int) error {
	if r := c.inc.Request; r != nil {
		return &RefusedError{Text: fmt.Sprintf("There is a request to %s already, which waits for approvals; nothing was changed. Approve it or decline it first.", r.Verb.words()),
			People: []string{r.By}}
	}
	c.inc.Requests++
	c.inc.Request = &Request{Verb: cmd.Verb, By: cmd.By, At: c.now, Reason: cmd.Reason, For: cmd.For, Scope: cmd.Scope, Needed: needed}
	if err := c.audit(cmd.By, "asked to "+cmd.Verb.words(), cmd.Reason, c.inc.Request); err != nil {
		return err
	}
	if err := c.later(jobForget, c.now.Add(requestLife), run{Round: c.inc.State()}); err != nil {
		return err
	}
	c.show()
	if cmd.Quiet { // the scan's thread calls them once
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(c.inc.Decision.Approvers), func(id string) bool { return id == cmd.By })
	c.mentionIn(append(others, cmd.By), fmt.Sprintf("%s asks to %s. It needs %s of others.", cmd.By, c.inc.Request.Words(), counted(needed, "approval")))
	c.answer(&cmd, fmt.Sprintf("Asked for. It is carried out once %s approved it.", counted(needed, "other person has", "other people have")), false)
	return nil
}

// approve adds an approval, and carries the request out with the last.
func (c *change) approve(ctx context.Context, cmd Command, needed int, person string) (*held, error) {
	r := c.inc.Request
	switch {
	case r == nil:
		return nil, &RefusedError{Text: "Nothing waits for an approval here, so nothing was changed."}
	case samePerson(cmd.By, r.By):
		return nil, &RefusedError{Text: "You asked for this yourself, so others have to approve it; nothing was changed."}
	case slices.ContainsFunc(r.Approved, func(a Approval) bool { return samePerson(a.By, cmd.By) }):
		return nil, &RefusedError{Text: "You have approved this already; others have to approve it too."}
	case person == cmd.By && r.Verb.leavesOpen():
		return nil, &RefusedError{Text: "It is your own change that would stay, so others have to approve that; nothing was changed."}
	}
	r.Approved = append(r.Approved, Approval{By: cmd.By, At: c.now})
	if err := c.audit(cmd.By, "approved to "+r.Verb.words(), "", r); err != nil {
		return nil, err
	}
	if missing := max(r.Needed, needed) - len(r.Approved); missing > 0 {
		r.Needed = max(r.Needed, needed)
		c.show()
		c.answer(&cmd, fmt.Sprintf("Approved. It needs %s more.", counted(missing, "approval")), false)
		return nil, nil
	}
	for _, a := range r.Approved {
		c.approved = append(c.approved, a.By)
	}
	c.inc.Request = nil // it is carried out, not lost
	carried := Command{ID: cmd.ID, Verb: r.Verb, Incident: cmd.Incident, State: cmd.State, By: r.By,
		Reason: r.Reason, For: r.For, Scope: r.Scope, ReplyTo: cmd.ReplyTo}
	if err := c.check(ctx, carried); err != nil {
		return nil, err
	}
	return c.carryOut(ctx, carried)
}

// decline drops a request; whoever asked may do so too.
func (c *change) decline(cmd Command) error {
	r := c.inc.Request
	if r == nil {
		return &RefusedError{Text: "Nothing waits for an approval here, so nothing was changed."}
	}
	if err := c.dropRequest(cmd.By, "declined to "+r.Verb.words(), cmd.Reason); err != nil {
		return err
	}
	c.mentionIn([]string{cmd.By, r.By}, "The request to "+r.Verb.words()+" was declined; nothing was changed.")
	c.answer(&cmd, "Declined; nothing was changed.", false)
	return nil
}

// loseRequest drops a request that something else has overtaken, and tells whoever
// asked.
func (c *change) loseRequest(why string) error {
	r := c.inc.Request
	c.inc.Request = nil
	c.inc.Requests++
	c.mentionIn([]string{r.By}, fmt.Sprintf("The request to %s, with %s of %d, is over: %s.", r.Words(), counted(len(r.Approved), "approval"), r.Needed, why))
	return c.audit(ByItself, "dropped the request to "+r.Verb.words(), why, r)
}

func (c *change) dropRequest(by, what, why string) error {
	c.inc.Request = nil
	c.inc.Requests++
	c.show()
	return c.audit(by, what, why, nil)
}

// forget drops a request that was not approved in time.
func (e *Engine) forget(ctx context.Context, h *held, r run) error {
	_, err := e.update(ctx, h, r.Incident, true, func(c *change) error {
		if c.inc.Request == nil || c.inc.State() != r.Round {
			return nil
		}
		verb := c.inc.Request.Verb.words()
		c.mentionIn([]string{c.inc.Request.By}, "The request to "+verb+" was not approved in time; nothing was changed.")
		return c.dropRequest(ByItself, "forgot the request to "+verb, "not approved in time")
	})
	return err
}

// stillMay returns nil where everybody who has brought a request about may still
// decide: the policy may have changed since.
func (e *Engine) stillMay(ctx context.Context, inc *Incident) error {
	if inc.Request == nil {
		return nil
	}
	people := []string{inc.Request.By}
	for _, a := range inc.Request.Approved {
		people = append(people, a.By)
	}
	for _, by := range people {
		if err := e.Authorise(ctx, by, inc); err != nil {
			return &RefusedError{Text: "Somebody who asked for this or has approved it may not decide it any more, so nothing was changed. Decline it, and ask anew.", Err: err}
		}
	}
	return nil
}

// Words says what is asked for, after "to": "ignore this for 7 days, and whatever
// else is found on this resource".
func (r Request) Words() string {
	s := r.Verb.words()
	switch {
	case r.Verb == VerbIgnore && r.For == 0:
		s += " for good"
	case r.Verb == VerbIgnore, r.Verb == VerbAllow && r.For > 0:
		s += " for " + spanWords(r.For)
	}
	switch Scope(r.Scope) {
	case ScopeResource:
		s += ", and whatever else is found on this resource"
	case ScopePlaybook:
		s += ", and all of this kind in this account"
	case ScopeAccount:
		s += ", and whatever else is found in this account"
	}
	return s
}

// spanWords gives a time in days, else hours, else minutes.
func spanWords(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}} {
		if d >= unit.of && d%unit.of == 0 {
			return counted(int(d/unit.of), unit.name)
		}
	}
	return counted(int(d.Minutes()), "minute")
}

// samePerson reports whether two names stand for one person. At the shell anybody
// is who they say, so that all of them count as one.
func samePerson(a, b string) bool { return a == b || isShell(a) && isShell(b) }

// words names what a verb does, after "to".
func (v Verb) words() string {
	switch v {
	case VerbFix:
		return "revert this change"
	case VerbRetry:
		return "try the fix again"
	case VerbUndo:
		return "undo the fix"
	case VerbIgnore:
		return "ignore this"
	case VerbAllow:
		return "allow this for a while"
	}
	return strings.ReplaceAll(string(v), "_", " ")
}

// counted gives "1 approval" or "2 approvals"; many is the plural where that is
// not an s more.
func counted(n int, one string, many ...string) string {
	if n == 1 {
		return "1 " + one
	}
	if len(many) > 0 {
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}
