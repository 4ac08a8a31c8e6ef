package remediation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// undo takes an incident that is being undone to its end.
func (e *Engine) undo(ctx context.Context, h *held, r run) error {
	un, err := e.resume(ctx, h, r)
	if err != nil {
		return err
	}
	if un.inc.Status != StatusUndoing {
		return nil
	}
	rctx, rec := withRecorder(ctx, un.inc.ID, un.intends(ctx))
	if err := e.mayChange(ctx, un.inc.Finding, VerbUndo); err != nil && un.notBegun(ctx) {
		if !isRefusal(err) {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		return un.notUndone(ctx, rec, err)
	}
	worthIt := func(err error) bool { return isTransient(err) || errors.Is(err, errStillFixed) }
	err = e.persist(rctx, maxCallAttempts, worthIt, func() error {
		if err := un.pb.Undo(rctx, *un.inc.Plan, un.inc.Outcomes); err != nil {
			return err
		}
		return un.reallyUndone(ctx, rec)
	})
	un.made = rec.resources()
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // to be resumed
	case errors.Is(err, errStore):
		return err // no call was made since; to be resumed when the store is back
	case err == nil:
		return un.undone(ctx, rec)
	}
	return un.notUndone(ctx, rec, err)
}

// notBegun reports whether nothing was undone yet: this is the first attempt, or
// the fix still holds. An undo that an earlier attempt has begun is ended.
func (un *fixing) notBegun(ctx context.Context) bool {
	if un.attempts() == 0 {
		return true
	}
	err := un.pb.Verify(ctx, *un.inc.Plan, un.inc.Outcomes)
	return !errors.Is(err, ErrNotVerified) && !errors.Is(err, ErrGone)
}

// errStillFixed says that an undo found nothing to do, and yet the fix holds.
var errStillFixed = errors.New("AWS showed the state before the fix, which was not so any more")

// looksAtNoUndo is how often it is looked whether an undo that made no call is
// one: right after a fix AWS may still show the state before it.
const looksAtNoUndo = 3

// reallyUndone looks whether an undo that made no call had nothing to do.
func (un *fixing) reallyUndone(ctx context.Context, rec *recorder) error {
	if ids, lost := rec.answers(); len(ids)+lost+un.attempts() > 0 {
		return nil
	}
	for look := range looksAtNoUndo {
		if err := un.e.o.Sleep(ctx, backoff(look+1, 200*time.Millisecond, time.Second)); err != nil {
			return err
		}
		if un.pb.Verify(ctx, *un.inc.Plan, un.inc.Outcomes) == nil {
			return errStillFixed
		}
	}
	return nil
}

func (un *fixing) undone(ctx context.Context, rec *recorder) error {
	return un.end(ctx, func(c *change) error {
		if err := c.answered(ctx, rec); err != nil {
			return err
		}
		c.inc.Error = ""
		data, err := rec.logged(inverse(c.inc.Plan.Diff))
		if err != nil {
			return err
		}
		if err := c.moveWith(StatusUndone, ByItself, "read back", moved{calls: data}); err != nil {
			return err
		}
		c.show()
		c.thread(strings.Join(append(rec.said(), "What was put back:"), "\n"), inverse(c.inc.Plan.Diff)...)
		c.answer(un.r.Command, "Done: "+c.inc.Finding.Resource.ID+" is as it was before the fix, as read back from AWS.", false)
		return nil
	})
}

// notUndone says why, and looks whether the fix still holds: then the incident
// is fixed as before, else a person is told that it is not.
func (un *fixing) notUndone(ctx context.Context, rec *recorder, cause error) error {
	refused := errors.Is(cause, ErrDrifted)
	begin, status := "The undo went wrong", StatusFixed
	if refused {
		begin = "The undo was refused"
	}
	text := begin + ", and the fix still holds: " + because(cause)
	err := un.e.persist(ctx, 2, isTransient, func() error { return un.pb.Verify(ctx, *un.inc.Plan, un.inc.Outcomes) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // to be resumed
	case errors.Is(err, ErrNotVerified), errors.Is(err, ErrGone):
		status = StatusFailed
		text = fmt.Sprintf("%s, and the fix does not hold any more: what it closed is open again, or was changed by somebody else (%v). Look at the resource; Retry closes what is open. %s", begin, err, explain(cause))
	case err != nil:
		status = StatusFailed
		text = fmt.Sprintf("%s, and the fix could not be seen any more (%v): look at the resource by hand. %s", begin, err, explain(cause))
	}
	return un.end(ctx, func(c *change) error {
		if err := c.answered(ctx, rec); err != nil {
			return err
		}
		c.inc.Error = text
		data, err := rec.logged(nil)
		if err != nil {
			return err
		}
		if status == StatusFailed {
			err = c.failedWith(text, moved{calls: data})
		} else {
			err = c.moveWith(status, ByItself, text, moved{calls: data})
		}
		if err != nil {
			return err
		}
		if status == StatusFailed {
			// A retry has to plan on what is there now.
			c.inc.Plan, c.inc.Outcomes = nil, nil
		}
		if refused || status == StatusFixed { // nothing was put back, so nothing is allowed
			if err := c.endSuppressions(ctx); err != nil {
				return err
			}
		}
		c.show()
		c.answer(un.r.Command, text, true)
		return nil
	})
}

// inverse turns a diff round.
func inverse(diff []DiffLine) []DiffLine {
	out := make([]DiffLine, len(diff))
	for i, d := range diff {
		switch d.Op {
		case "-":
			d.Op = "+"
		case "+":
			d.Op = "-"
		}
		out[i] = d
	}
	return out
}
