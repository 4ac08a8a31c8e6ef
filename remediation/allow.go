package remediation

import (
	"context"
	"fmt"
	"time"
)

const (
	// AllowFor is how long a finding is allowed where nobody says otherwise.
	AllowFor = 2 * time.Hour
	// MaxAllow bounds it: what shall stay longer is to be ignored, with a reason.
	MaxAllow = 24 * time.Hour
)

// checkAllow refuses what can't be closed later, and too long a time.
func checkAllow(f Finding, span time.Duration) error {
	if f.Irreversible != "" {
		return &RefusedError{Text: "secbot can't take this back later, so it can't be allowed for a while: " + f.Irreversible + ". It can be ignored."}
	}
	if span < 0 || span > MaxAllow {
		return &RefusedError{Text: fmt.Sprintf("It can be allowed for %d hours at most; nothing was changed. What shall stay for longer can be ignored, with a reason.", int(MaxAllow.Hours()))}
	}
	return nil
}

// decideAllow leaves the finding for a while. Then it is closed, without anybody
// being asked again.
func (c *change) decideAllow(cmd Command) error {
	span := cmd.For
	if span == 0 {
		span = AllowFor
	}
	until := c.now.Add(span)
	if err := c.moveWith(StatusAllowed, cmd.By, cmd.Reason, moved{Until: &until}); err != nil {
		return err
	}
	c.inc.Until = until
	c.suppress(cmd, until)
	if err := c.later(jobClose, until, run{Round: len(c.inc.History)}); err != nil {
		return err
	}
	c.show()
	c.answer(&cmd, "Allowed until "+until.Format(stampFormat)+". Then secbot closes it by itself.", false)
	return nil
}

// closeAllowed begins the fix of what was allowed until now.
func (e *Engine) closeAllowed(ctx context.Context, h *held, r run) error {
	control, err := ReadControl(ctx, e.o.Store)
	if err != nil {
		return err
	}
	if control.Paused != nil {
		return fmt.Errorf("%w: %s", errNotNow, control.Paused.why())
	}
	var fix *held
	_, err = e.update(ctx, h, r.Incident, true, func(c *change) (err error) {
		fix = nil
		if c.inc.Status != StatusAllowed || len(c.inc.History) != r.Round {
			return nil
		}
		fix, err = c.startFix(ByItself, "the time that it was allowed for is over", run{})
		return err
	})
	if err == nil && fix != nil {
		e.work(ctx, fix)
	}
	return err
}
