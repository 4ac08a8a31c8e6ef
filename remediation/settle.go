package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// settleSafe ends what waits for people about a resource, or is let be after an
// undo, and is over, since somebody else has closed it. Who decided by hand, beside
// Slack, is not asked for ever, and what comes back later is asked about anew. What
// seems to be over, and may only seem so right after the change, is looked at again.
func (e *Engine) settleSafe(ctx context.Context, h *held, live judged, why string) error {
	if live.state == nil {
		return nil
	}
	known, err := e.knownWaiting(ctx, live)
	if err != nil {
		return err
	}
	for _, inc := range known {
		if inc.Status == StatusUndone && live.readAt.Sub(inc.UpdatedAt) > undoAllowance {
			continue // it is not let be any more
		}
		if err := errors.Join(e.settleOne(ctx, h, live, inc, why), e.lookLater(ctx, live, inc)); err != nil {
			return err
		}
	}
	return nil
}

// lookLater has an incident looked at again that seems to be over too soon to tell.
func (e *Engine) lookLater(ctx context.Context, live judged, inc *Incident) error {
	if inc.Finding.Resource != live.state.Ref() || live.settled(inc) || !live.over(inc) {
		return nil
	}
	due := inc.UpdatedAt.Add(settleAfter)
	return e.enqueueAt(ctx, due, jobSettle, fmt.Sprintf("%s/%d", inc.ID, due.Unix()), inc.Finding.Resource.place(), run{Incident: inc.ID})
}

// settle ends an incident that seemed to be over and still does.
func (e *Engine) settle(ctx context.Context, h *held, r run) error {
	inc, err := e.o.Store.Incident(ctx, r.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", r.Incident, err)
	}
	live := judged{readAt: e.now()}
	live.env, live.state, err = e.read(ctx, inc.Finding.Resource)
	if live.state == nil {
		return err
	}
	if err := e.settleOne(ctx, h, live, inc, "a minute after it was first seen"); err != nil {
		return err
	}
	return e.lookLater(ctx, live, inc)
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
	if inc.Finding.Resource != live.state.Ref() || !live.settled(inc) || !live.over(inc) {
		return nil
	}
	if inc.Status == StatusUndone {
		return e.settleUndone(ctx, h, inc, why)
	}
	if !slices.Contains(waiting(), inc.Status) {
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

// settleUndone ends the time for which what an undo has put back is let be: it is
// there no more, and whoever opens it again is not the one who was allowed to.
func (e *Engine) settleUndone(ctx context.Context, h *held, inc *Incident, why string) error {
	_, err := e.update(ctx, h, inc.ID, false, func(c *change) error {
		if c.inc.Version != inc.Version {
			return nil
		}
		if err := c.endSuppressions(ctx); err != nil || len(c.w.Suppressions) == 0 {
			return err // nothing is let be
		}
		if err := c.audit(ByItself, "let be no more", "it was closed without secbot, as the live state shows "+why, nil); err != nil {
			return err
		}
		c.thread("What the undo had put back is gone, as the live state shows " + why + ". If it comes again, it is told.")
		c.show()
		return nil
	})
	return err
}

// settled reports whether the state was read long enough after what last happened
// to an incident.
func (l judged) settled(inc *Incident) bool { return l.readAt.Sub(inc.UpdatedAt) >= settleAfter }

// over reports whether nothing is left to do about an incident.
func (l judged) over(inc *Incident) bool {
	pb := l.env.Playbook(inc.Finding.Playbook)
	if pb == nil {
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
