package remediation

import (
	"context"
	"time"
)

// begun is a fix as it was stored a moment ago.
type begun struct {
	inc   *Incident
	calls []Call // of its first step, as they were announced with the plan
	at    time.Time
}

// foresee plans a fix on the state that it was decided on, so that the incident, the
// plan with the state before and the calls of its first step are stored in one
// write, and the hole is closed sooner. Where there is no plan the fix makes one, or
// says why not.
func (c *change) foresee(ctx context.Context, fix *held, live judged) error {
	fix.begun = &begun{inc: c.inc, at: c.now}
	if live.state == nil || c.now.Sub(live.readAt) > plannedWithin {
		return nil
	}
	pb := live.env.Playbook(c.inc.Finding.Playbook)
	if pb == nil {
		return nil
	}
	p, err := pb.Plan(live.state, c.inc.Finding)
	if err != nil || len(p.Steps) == 0 {
		return nil //nolint:nilerr // the fix meets it again
	}
	if err := c.planned(p); err != nil {
		return err
	}
	a, ok := pb.(Announcer)
	if !ok {
		return nil
	}
	intents, err := a.Announce(p.Steps[0])
	if err != nil {
		return err
	}
	for _, i := range intents {
		call := i.call()
		if err := c.intend(ctx, call); err != nil {
			return err
		}
		fix.begun.calls = append(fix.begun.calls, call)
	}
	return nil
}
