package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// fixAllAtOnce is how many incidents of one command are fixed at the same time.
const fixAllAtOnce = jobsPerPlace

// fixAll reverts several changes that a scan has found, each as a click on its own
// message would: by the same people, with the same checks.
func (e *Engine) fixAll(ctx context.Context, h *held, cmd Command) error {
	if n := len(cmd.Targets); n == 0 || n > MaxTargets {
		return e.refuse(ctx, h, cmd, &RefusedError{Text: fmt.Sprintf("Between 1 and %d findings can be fixed together, and these are %d; nothing was changed.", MaxTargets, n)})
	}
	refusals := make([]Reply, len(cmd.Targets))
	var group errgroup.Group
	group.SetLimit(fixAllAtOnce)
	for i, t := range cmd.Targets {
		group.Go(func() (err error) {
			refusals[i], err = e.fixOneOf(ctx, h, cmd, t)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return e.tellFixAll(ctx, h, cmd, refusals)
}

// fixOneOf decides about one of several incidents, and fixes it. What it refuses is
// no error.
func (e *Engine) fixOneOf(ctx context.Context, h *held, cmd Command, t Target) (Reply, error) {
	one := Command{ID: cmd.ID + "/" + t.Incident, Verb: VerbFix, Incident: t.Incident, State: &t.State, By: cmd.By, Reason: cmd.Reason, Quiet: true}
	fix, err := e.decide(ctx, h, one, false)
	if err == nil {
		if fix != nil { // else others have to approve it
			e.work(ctx, fix)
		}
		return Reply{}, nil
	}
	var stale *StaleError
	if errors.As(err, &stale) {
		if stale.Incident.decidedBy(cmd.By, h.job) {
			return Reply{}, nil // before a crash
		}
		err = &RefusedError{Text: upperFirst(standing(stale.Incident)), People: []string{stale.Incident.Last().By}}
	}
	if reply, ok := refusalOf(one, err); ok {
		e.o.Metrics.refusals.Inc()
		return reply, nil
	}
	return Reply{}, err
}

// decidedBy reports whether somebody has had the incident fixed, or asked for it,
// since a job was stored.
func (i *Incident) decidedBy(by string, job *Job) bool {
	if i.Request != nil && i.Request.By == by && !i.Request.At.Before(job.CreatedAt) {
		return true
	}
	return slices.ContainsFunc(i.History, func(t Transition) bool {
		return t.To == StatusFixing && t.By == by && !t.At.Before(job.CreatedAt)
	})
}

// bulk counts what has become of the incidents of one command.
type bulk struct {
	all, fixed, asked, under, refused int
	statuses                          map[string]Status
	lines                             []string // what did not work, and why
	people                            []string
}

// tellFixAll says what has become of each, to whoever asked and in the thread of
// the scan.
func (e *Engine) tellFixAll(ctx context.Context, h *held, cmd Command, refusals []Reply) error {
	b := bulk{all: len(cmd.Targets), statuses: map[string]Status{}}
	whys := map[string]int{}
	for i, t := range cmd.Targets {
		inc, err := e.o.Store.Incident(ctx, t.Incident)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("read incident %s: %w", t.Incident, err)
		}
		if why := refusals[i].Text; why != "" {
			if whys[why]++; whys[why] == 1 {
				b.lines = append(b.lines, why)
				b.people = append(b.people, refusals[i].People...)
			}
			b.refused++
		}
		b.add(inc, refusals[i].Text != "")
	}
	for i, line := range b.lines {
		if n := whys[line]; n > 1 {
			b.lines[i] = fmt.Sprintf("%d times: %s", n, line)
		}
	}
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		if err := c.tellBulk(ctx, cmd, b); err != nil {
			return err
		}
		if err := h.commit(ctx, c.w, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

func (b *bulk) add(inc *Incident, refused bool) {
	if inc == nil {
		return
	}
	b.statuses[inc.ID] = inc.Status
	switch {
	case refused:
	case inc.Status == StatusFixed:
		b.fixed++
	case inc.Status == StatusFixing:
		b.under++
	case inc.Request != nil:
		b.asked++
	case inc.Status == StatusFailed:
		b.lines = append(b.lines, "Incident "+inc.ID+" did not work: "+inc.Error)
	default:
		b.lines = append(b.lines, "Incident "+inc.ID+" is "+string(inc.Status)+".")
	}
}

// text says how it went, the most important first.
func (b *bulk) text() string {
	parts := []string{fmt.Sprintf("Reverted %d of %d", b.fixed, b.all)}
	if b.under > 0 {
		parts = append(parts, fmt.Sprintf("%d are under way", b.under))
	}
	if b.asked > 0 {
		parts = append(parts, fmt.Sprintf("%d wait for the approval of others", b.asked))
	}
	if b.refused > 0 {
		parts = append(parts, fmt.Sprintf("%d were refused", b.refused))
	}
	return strings.Join(parts, "; ") + "."
}

// tellBulk adds the answer, and what the scan's message and its thread say.
func (c *change) tellBulk(ctx context.Context, cmd Command, b bulk) error {
	c.reply(cmd, Reply{Text: b.text(), Lines: b.lines, People: b.people, Failed: b.fixed+b.asked+b.under == 0})
	if err := errors.Join(c.err, c.auditOwn(ctx, cmd.By, "reverted several at once", b.text(), cmd.Targets)); err != nil {
		return err
	}
	rec, run, err := readScan(ctx, c.e.o.Store.Record, cmd.Scope)
	if errors.Is(err, ErrNotFound) {
		return nil // forgotten meanwhile; each incident's own message tells
	}
	if err != nil || run.Report == nil {
		return err
	}
	run.Report.decided(b.statuses)
	run.NoticeSeq++
	note, err := c.e.notice(fmt.Sprintf("%s/%d", ScanMessage(run.ID), run.NoticeSeq), NotifySlack, OpThread,
		ThreadNote{Text: "Fix All by " + cmd.By + ": " + b.text(), People: []string{cmd.By}})
	if err != nil {
		return err
	}
	note.Incident, note.Seq = ScanMessage(run.ID), run.NoticeSeq
	w, err := run.write(c.e, rec, true)
	if err != nil {
		return err
	}
	c.w.Notices = append(append(c.w.Notices, note), w.Notices...)
	c.w.Records = append(c.w.Records, w.Records...)
	return nil
}

// decided takes over what has become of incidents of the scan.
func (r *ScanReport) decided(statuses map[string]Status) {
	for i := range r.Groups {
		g := &r.Groups[i]
		for j, f := range g.Findings {
			if s, ok := statuses[f.Incident]; ok {
				g.Findings[j].Status = s
			}
		}
		g.Incidents = slices.DeleteFunc(g.Incidents, func(id string) bool {
			s, ok := statuses[id]
			return ok && s != StatusOpen && s != StatusFailed
		})
	}
}
