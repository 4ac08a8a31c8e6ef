package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
			err = e.safely("the fix of incident "+t.Incident, func() error { refusals[i], err = e.fixOneOf(ctx, h, cmd, t); return err })
			if err != nil && ctx.Err() == nil && h.job.Attempts >= maxRunAttempts { // one must not keep what became of the others from being told
				refusals[i], err = Reply{Text: "Incident " + t.Incident + ": " + because(err)}, nil
			}
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

// clockSkew is how much the clocks of two processes may differ.
const clockSkew = 30 * time.Second

// decidedBy reports whether somebody has had the incident fixed, or asked for it,
// since a job was stored, by another process perhaps.
func (i *Incident) decidedBy(by string, job *Job) bool {
	since := job.CreatedAt.Add(-clockSkew)
	if i.Request != nil && i.Request.By == by && !i.Request.At.Before(since) {
		return true
	}
	return slices.ContainsFunc(i.History, func(t Transition) bool {
		return t.To == StatusFixing && t.By == by && !t.At.Before(since)
	})
}

// decided is what has become of one of several incidents, for the audit log.
type decided struct {
	Incident string `json:"incident"`
	Status   Status `json:"status,omitempty"`
	Refused  string `json:"refused,omitempty"`
}

// bulk counts what has become of the incidents of one command.
type bulk struct {
	all, fixed, closed, asked, under, refused, left int
	statuses                                        map[string]Status
	lines                                           []string // what did not work, and why
	people                                          []string // who is named in them
	approvers                                       []string // who may approve what waits for that
	each                                            []decided
}

// tellFixAll says what has become of each, to whoever asked and in the thread of
// the scan.
func (e *Engine) tellFixAll(ctx context.Context, h *held, cmd Command, refusals []Reply) error {
	b := bulk{all: len(cmd.Targets) + len(cmd.Left), left: len(cmd.Left), statuses: map[string]Status{}}
	whys := map[string]int{}
	for i, t := range cmd.Targets {
		inc, err := e.o.Store.Incident(ctx, t.Incident)
		if err != nil && !errors.Is(err, ErrNotFound) && refusals[i].Text == "" {
			return fmt.Errorf("read incident %s: %w", t.Incident, err)
		}
		if why := refusals[i].Text; why != "" {
			if whys[why]++; whys[why] == 1 {
				b.lines = append(b.lines, why)
				b.people = append(b.people, refusals[i].People...)
			}
			b.refused++
		}
		b.each = append(b.each, decided{Incident: t.Incident, Refused: refusals[i].Text})
		b.add(inc, refusals[i].Text != "")
	}
	for i, line := range b.lines {
		if n := whys[line]; n > 1 {
			b.lines[i] = fmt.Sprintf("%d times: %s", n, line)
		}
	}
	b.lines = append(b.lines, cmd.Left...)
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		if err := c.tellBulk(ctx, cmd, &b); err != nil {
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
	b.each[len(b.each)-1].Status = inc.Status
	b.statuses[inc.ID] = inc.Status
	switch {
	case refused:
	case inc.Status == StatusFixed:
		b.fixed++
	case inc.Status == StatusResolved:
		b.closed++
	case inc.Status == StatusFixing:
		b.under++
	case inc.Request != nil:
		b.asked++
		for _, a := range inc.Decision.Approvers {
			if !slices.Contains(b.approvers, a) {
				b.approvers = append(b.approvers, a)
			}
		}
	case inc.Status == StatusFailed:
		b.lines = append(b.lines, "Incident "+inc.ID+" did not work: "+inc.Error)
	default:
		b.lines = append(b.lines, "Incident "+inc.ID+" is "+string(inc.Status)+".")
	}
}

// text says how it went, the most important first.
func (b *bulk) text() string {
	parts := []string{fmt.Sprintf("Reverted %d of %d", b.fixed, b.all)}
	if b.closed > 0 {
		parts = append(parts, fmt.Sprintf("%d were closed already", b.closed))
	}
	if b.under > 0 {
		parts = append(parts, fmt.Sprintf("%d are under way", b.under))
	}
	if b.asked > 0 {
		parts = append(parts, fmt.Sprintf("%d wait for the approval of others", b.asked))
	}
	if b.refused > 0 {
		parts = append(parts, fmt.Sprintf("%d were refused", b.refused))
	}
	if b.left > 0 {
		parts = append(parts, fmt.Sprintf("%d are not as they were shown any more, and were left alone", b.left))
	}
	return strings.Join(parts, "; ") + "."
}

// failed reports whether it did not go as was asked: in Slack where nothing came of
// it, and at the shell, where scripts go by it, where something may still be open.
func (b *bulk) failed(to ReplyTo) bool {
	if to.Shell {
		return b.fixed+b.closed < b.all
	}
	return b.fixed+b.closed+b.asked+b.under == 0
}

// tellBulk adds the answer, and what the scan's message and its thread say.
func (c *change) tellBulk(ctx context.Context, cmd Command, b *bulk) error {
	c.reply(cmd, Reply{Text: b.text(), Lines: b.lines, People: b.people, Failed: b.failed(cmd.ReplyTo)})
	what := "asked to revert several at once"
	if b.refused == b.all {
		what = "refused to revert several at once"
	}
	if err := errors.Join(c.err, c.auditOwn(ctx, cmd.By, what, b.text(), b.each)); err != nil {
		return err
	}
	rec, run, err := readScan(ctx, c.e.o.Store.Record, cmd.Scope)
	if errors.Is(err, ErrNotFound) {
		return nil // forgotten meanwhile; each incident's own message tells
	}
	if err != nil || run.Report == nil {
		return err
	}
	run.Report.decided(b.statuses, c.now)
	run.NoticeSeq++
	note, err := c.e.notice(fmt.Sprintf("%s/%d", ScanMessage(run.ID), run.NoticeSeq), NotifySlack, OpThread,
		ThreadNote{Text: "Fix All by " + cmd.By + ": " + b.text(), People: append([]string{cmd.By}, b.approvers...)})
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
func (r *ScanReport) decided(statuses map[string]Status, now time.Time) {
	for i := range r.Groups {
		g := &r.Groups[i]
		for j, f := range g.Findings {
			if s, ok := statuses[f.Incident]; ok {
				g.Findings[j].Status, g.Findings[j].At = s, now
			}
		}
		for id, s := range statuses {
			if (s == StatusFixed || s == StatusResolved) && slices.Contains(g.Incidents, id) {
				g.Closed++
			}
		}
		g.Incidents = slices.DeleteFunc(g.Incidents, func(id string) bool {
			s, ok := statuses[id]
			return ok && s != StatusOpen && s != StatusFailed && s != StatusFixing
		})
	}
}
