//go:build !lambda

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"secbot/internal/operator"
	"secbot/internal/report"
	"secbot/remediation"
)

// planReads bounds how many resources are read at once for their plans.
const planReads = 8

// maxAnswer is how much of an answer at the terminal is read, in bytes.
const maxAnswer = 1 << 10

// errNothingChanged ends a fix that nobody has confirmed.
var errNothingChanged = errors.New("nothing was changed")

// checkFix refuses what --fix does not go with, and where nobody could be asked. The
// error is about a wrong command line.
func (p *process) checkFix(o scanOptions, format report.Format) error {
	switch {
	case !o.fix && o.yes:
		return errors.New("--yes answers the question of --fix: say --fix too")
	case !o.fix:
		return nil
	case format != report.Table || o.output != "":
		return errors.New("--fix shows the table and asks on the terminal: leave the other format and --output out, and write the report with a scan of its own")
	case !o.yes && !asksAt(p.in):
		return errors.New("--fix asks before it changes anything, and there is no terminal to ask on: look at the table first, then say --yes")
	}
	return nil
}

// asksAt reports whether a person can be asked there.
func asksAt(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// fix shows what Revert would do about each open finding, asks, and has the running
// server, or else this process, do it. What was not shown is not fixed.
func (s *scanning) fix(ctx context.Context) error {
	open := s.report.Open()
	if len(open) == 0 {
		return nil
	}
	if s.policy.Mode == remediation.ModeObserve {
		return errors.New("the mode is observe, in which secbot changes nothing: set `mode: ask` in secbot.yaml")
	}
	plans := s.plans(ctx, open)
	if ctx.Err() != nil {
		return fmt.Errorf("stopped: %w", errNothingChanged)
	}
	if err := s.report.WritePlans(s.p.out, plans, s.p.tableOptions(&output{})); err != nil {
		return err
	}
	shown, without := shownOf(plans)
	var gap error
	if without > 0 {
		gap = fmt.Errorf("for %d there is no plan, as told above", without)
	}
	if len(shown) == 0 {
		return gap
	}
	if err := s.confirm(ctx, len(shown)); err != nil {
		return err
	}
	return joined(gap, s.p.fixFound(ctx, s.o.scope.String(), shown))
}

// plans reads what Revert would do about each row.
func (s *scanning) plans(ctx context.Context, rows []report.Row) []report.Plan {
	plans := make([]report.Plan, len(rows))
	var group errgroup.Group
	group.SetLimit(planReads)
	for i, row := range rows {
		group.Go(func() error {
			diff, err := s.engine.Proposal(ctx, row.Finding)
			plans[i] = report.Plan{Row: row, Diff: diff, Err: plainly(err)}
			return nil
		})
	}
	_ = group.Wait() // each plan has its own error
	return plans
}

// shownOf are the findings with a plan, each once, and how many have none.
func shownOf(plans []report.Plan) (shown []operator.Shown, without int) {
	for _, p := range plans {
		key := p.Row.Finding.Key()
		switch {
		case p.Err != nil:
			without++
		case !slices.ContainsFunc(shown, func(s operator.Shown) bool { return s.Key == key }):
			name := p.Name()
			shown = append(shown, operator.Shown{Key: key, Name: strings.ToValidUTF8(name[:min(len(name), operator.MaxName)], "")})
		}
	}
	return shown, without
}

// confirm asks on the terminal, unless --yes has answered before. Everything but yes
// is a no.
func (s *scanning) confirm(ctx context.Context, n int) error {
	if s.o.yes {
		return nil
	}
	fmt.Fprintf(s.p.out, "Revert these %d? Type yes: ", n)
	answer := make(chan string, 1)
	go func() { // a read can't be cut short; the process ends soon
		line, _ := bufio.NewReader(io.LimitReader(s.p.in, maxAnswer)).ReadString('\n') // the end of the input is a no
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("stopped: %w", errNothingChanged)
	case line := <-answer:
		if strings.TrimSpace(line) != "yes" {
			return fmt.Errorf("that was no yes: %w", errNothingChanged)
		}
		return nil
	}
}

// fixFound has each finding get an incident by a scan, and then those fixed that were
// shown, so many at once as one command may be about.
func (p *process) fixFound(ctx context.Context, scope string, shown []operator.Shown) error {
	scan := rand.Text()
	// A scan that could not read everything is an error too: what comes of it shows.
	scanErr := p.ask(ctx, operator.Request{Name: "say", Words: words("scan", strings.Fields(scope)), User: p.user(), Command: scan})
	if scanErr != nil && !isAnswer(scanErr) {
		return scanErr
	}
	return joined(scanErr, inTurn(shown, func(some []operator.Shown) error {
		return p.ask(ctx, operator.Request{Name: "fix found", User: p.user(), Scan: scan, Shown: some})
	}))
}

// isAnswer reports whether an error is what a command was answered with.
func isAnswer(err error) bool {
	var said *operator.SaidError
	var refused *remediation.RefusedError
	return errors.As(err, &said) || errors.As(err, &refused)
}

// inTurn fixes what was shown, so much at once as one command may be about. What one
// command could not do keeps none of the others.
func inTurn(shown []operator.Shown, fix func([]operator.Shown) error) error {
	var errs []error
	for some := range slices.Chunk(shown, remediation.MaxTargets) {
		errs = append(errs, fix(some))
	}
	return joined(errs...)
}

// joined is errors.Join that leaves a single error as it is.
func joined(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
