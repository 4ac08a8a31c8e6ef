package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// step is one scene: what people do, and what must be true of it in AWS and in
// Slack afterwards.
type step struct {
	title string
	play  func(*tour, context.Context) error
}

// tour plays the steps in order on one world.
type tour struct {
	*World
	out      io.Writer
	now      func() time.Time
	incident string // of the step before
}

// Tour plays every step, prints what it does and what it has checked, and
// returns an error that names the step which failed.
func Tour(ctx context.Context, w *World, out io.Writer) error {
	t := &tour{World: w, out: out, now: time.Now}
	for i, s := range steps() {
		fmt.Fprintf(out, "\n%d. %s\n", i+1, s.title)
		begun := t.now()
		if err := s.play(t, ctx); err != nil {
			fmt.Fprintf(out, "   ✗ %v\n", err)
			return fmt.Errorf("step %d (%s): %w", i+1, s.title, err)
		}
		fmt.Fprintf(out, "     %d ms\n", t.now().Sub(begun).Milliseconds())
	}
	fmt.Fprintf(out, "\nAll %d steps ended as they should.\n", len(steps()))
	return nil
}

func steps() []step {
	return []step{
		{"Dana opens SSH to the world: closed by itself", (*tour).sshOpened},
		{"The same event comes three times more: nothing happens twice", (*tour).repeated},
		{"Alice clicks Undo Fix: the rule is back with its description", (*tour).undone},
		{"Dana lets a partner's range in: secbot asks", (*tour).partnerAsked},
		{"Mallory, who may not decide, clicks Revert Change: refused", (*tour).strangerRefused},
		{"Bob clicks Revert Change: only the partner's rule goes", (*tour).partnerReverted},
		{"The partner is let in once more: Alice allows it for two hours, and then it is closed by itself", (*tour).allowedForAWhile},
		{"Dana turns the shop's rule into RDP for the world: asked, and put back as it was, from what secbot has kept", (*tour).ruleWidened},
		{"Dana makes a bucket writable for everybody by its ACL: closed by itself", (*tour).bucketWritable},
		{"Dana makes a bucket readable by its ACL: asked, and ignored with a reason", (*tour).bucketIgnored},
		{"Dana makes a bucket public by its policy: asked, and reverted by a click", (*tour).bucketPolicy},
		{"Dana takes the payroll bucket's block away: Alice asks to revert it, Bob and Carol approve", (*tour).twoApprovals},
		{"Dana, asked whether that was her, says no: the responders are told", (*tour).disowned},
		{"Alice types /secbot incidents, and a wrong word", (*tour).commands},
		{"A forgotten project is open to the world, of which no event told: Alice scans, Bob has all of it reverted", (*tour).scanned},
		{"Alice pauses secbot: what it would have closed by itself it asks about, until she resumes", (*tour).paused},
		{"Dana deletes the group: asked, and created again with all its rules", (*tour).groupDeleted},
		{"The audit log holds together", (*tour).audit},
	}
}
