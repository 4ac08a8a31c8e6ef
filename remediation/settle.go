package remediation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settleAfter is how long nothing must have happened to an incident before a
// safe live state ends it: what AWS shows right after a change may be the state
// before it.
const settleAfter = time.Minute

// maxUnsettled bounds how many waiting incidents a scan looks for.
const maxUnsettled = 1000

// waiting are the statuses in which an incident waits for people, or for the end
// of a time that they have set.
func waiting() []Status { return []Status{StatusOpen, StatusFailed, StatusAllowed} }

// settleSafe ends what waits for people about a resource and is over, since
// somebody else has closed it. Who decided by hand, beside Slack, is not asked
// for ever, and what comes back later is asked about anew.
func (e *Engine) settleSafe(ctx context.Context, h *held, live judged, why string) error {
	if live.state == nil {
		return nil
	}
	known, err := e.knownWaiting(ctx, live)
	if err != nil {
		return err
	}
	for _, inc := range known {
		if err := e.settleOne(ctx, h, live, inc, why); err != nil {
			return err
		}
	}
	return nil
}

// knownWaiting is what waits for people about a resource, as it was read before the
// resource was: what came since is too young to be settled.
func (e *Engine) knownWaiting(ctx context.Context, live judged) ([]*Incident, error) {
	if r := live.state.Ref(); live.seen == nil || live.seen.of != r.ID {
		return e.waitingFor(ctx, r)
	}
	return live.seen.waiting, nil
}

func (e *Engine) settleOne(ctx context.Context, h *held, live judged, inc *Incident, why string) error {
	if inc.Finding.Resource != live.state.Ref() || !live.safe(inc) {
		return nil
	}
	_, err := e.update(ctx, h, inc.ID, false, func(c *change) error {
		if c.inc.Version != inc.Version {
			return nil // something has happened to it since the state was read
		}
		c.inc.Error = ""
		// Whoever opens it again is not the one who was allowed to.
		if err := c.endSuppressions(ctx); err != nil {
			return err
		}
		if err := c.move(StatusResolved, ByItself, "it was closed without secbot, as the live state shows "+why); err != nil {
			return err
		}
		if c.inc.NoticeSeq > 0 {
			c.show()
		}
		return nil
	})
	return err
}

// safe reports whether nothing is left to do about an incident. What the state
// was read too soon after is never safe.
func (l judged) safe(inc *Incident) bool {
	pb := l.env.Playbook(inc.Finding.Playbook)
	if pb == nil || l.readAt.Sub(inc.UpdatedAt) < settleAfter {
		return false
	}
	_, err := pb.Plan(l.state, inc.Finding)
	return errors.Is(err, ErrNothingToDo) || errors.Is(err, ErrGone)
}

// unsettled are the incidents that wait for people, by resource.
func (e *Engine) unsettled(ctx context.Context) (map[Ref][]*Incident, error) {
	known, err := e.o.Store.Incidents(ctx, IncidentQuery{Statuses: waiting(), Limit: maxUnsettled})
	if err != nil {
		return nil, fmt.Errorf("read what waits for people: %w", err)
	}
	by := map[Ref][]*Incident{}
	for _, inc := range known {
		by[inc.Finding.Resource] = append(by[inc.Finding.Resource], inc)
	}
	return by, nil
}
