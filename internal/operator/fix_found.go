package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"secbot/events"
	"secbot/remediation"
)

// Shown is a finding that a person was shown before they said that it be fixed.
type Shown struct {
	Key  string `json:"key"`            // as remediation.Finding.Key gives it
	Name string `json:"name,omitempty"` // what the answer calls it; MaxName is looked at
}

// MaxName is how much of a Shown's name counts, in bytes.
const MaxName = 160

// fixFound fixes what was shown and still is as it was, as one command.
func (d *Desk) fixFound(ctx context.Context, req Request, w io.Writer) error {
	if d.Bot == nil {
		return errNoCommands()
	}
	if n := len(req.Shown); n == 0 || n > remediation.MaxTargets {
		return fmt.Errorf("between 1 and %d findings can be fixed together, and these are %d; nothing was changed", remediation.MaxTargets, n)
	}
	if req.Command == "" {
		return errNoID()
	}
	if stored, err := remediation.Submitted(ctx, d.Store, req.Command); err != nil {
		return err
	} else if stored { // what it fixes is not as it was shown any more
		return d.answer(ctx, req, w)
	}
	run, err := remediation.ReadScan(ctx, d.Store, req.Scan)
	if errors.Is(err, remediation.ErrNotFound) || err == nil && run.Report == nil {
		return errors.New("the scan by which each finding gets an incident has not ended, so nothing was changed: ask again in a while")
	}
	if err != nil {
		return err
	}
	var keys []string
	for _, s := range req.Shown {
		keys = append(keys, s.Key)
	}
	targets, left, err := remediation.FoundTargets(ctx, d.Store, keys)
	if err != nil {
		return err
	}
	lines := leftLines(req.Shown, left)
	if len(targets) == 0 {
		return fmt.Errorf("nothing was changed, since none of these is as it was shown any more:\n%s", strings.Join(lines, "\n"))
	}
	cmd := remediation.Command{ID: req.Command, Verb: remediation.VerbFixAll, By: remediation.ShellUser(req.User), Scope: req.Scan,
		Targets: targets, Left: lines, ReplyTo: remediation.ReplyTo{Shell: true}}
	if err := d.Bot.Engine.Submit(ctx, cmd); err != nil {
		return err
	}
	err = d.answer(ctx, Request{Command: req.Command}, w)
	var pending *PendingError
	if errors.As(err, &pending) {
		pending.Doing = fmt.Sprintf("On it: revert %d.\n", len(targets))
	}
	return err
}

// leftLines names what is not fixed, in the order in which it was shown.
func leftLines(shown []Shown, left map[string]string) []string {
	var lines []string
	for _, s := range shown {
		if why, ok := left[s.Key]; ok {
			name := strings.ToValidUTF8(s.Name[:min(len(s.Name), MaxName)], "")
			lines = append(lines, events.Printable(name+": "+why))
		}
	}
	return lines
}
