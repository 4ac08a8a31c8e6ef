package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// maxScanMessages is how many findings of a scan get a message of their own; the
// others are listed in its summary.
const maxScanMessages = 10

// scanCommand scans for a person: it opens incidents, none of which is fixed
// without a click, and posts a summary.
func (e *Engine) scanCommand(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	if err := e.beginScan(ctx, h, cmd.ID); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	report, err := e.scanAndOpen(ctx, h, cmd.ID, cmd.By, cmd.Scope, e.scan)
	var scope *ScopeError
	if errors.As(err, &scope) {
		return e.refuse(ctx, h, cmd, err)
	}
	if err != nil {
		return err
	}
	return e.tellScan(ctx, h, cmd, report)
}

// scanRecord is the key of the record of the scan under way.
const scanRecord = "scan/running"

// beginScan lets one scan run at a time: whoever may type may start one, and a
// dozen at once would use up what AWS and Slack allow in a minute.
func (e *Engine) beginScan(ctx context.Context, h *held, id string) error {
	rec, err := e.o.Store.Record(ctx, scanRecord)
	switch {
	case errors.Is(err, ErrNotFound):
		rec = &Record{Key: scanRecord}
	case err != nil:
		return fmt.Errorf("read which scan is running: %w", err)
	case string(rec.Data) == strconv.Quote(id):
		return nil // it goes on after a crash
	case rec.Until.After(e.now()):
		return &RefusedError{Text: "A scan is running already, so no other was begun. Its summary will be posted here."}
	}
	rec.Data, rec.At, rec.Until = []byte(strconv.Quote(id)), e.now(), e.now().Add(jobTimeout)
	err = h.commit(ctx, Write{Records: []*Record{rec}}, false)
	if errors.Is(err, ErrConflict) {
		return &RefusedError{Text: "Another scan has just begun, so this one was not. Its summary will be posted here."}
	}
	return err
}

// endedScan frees the place of the scan under way; none where it can't be read:
// it is free again after a while.
func (e *Engine) endedScan(ctx context.Context) []*Record {
	rec, err := e.o.Store.Record(ctx, scanRecord)
	if err != nil {
		e.o.Log.Warn("the end of a scan was not kept", "error", err)
		return nil
	}
	rec.Until = e.now()
	return []*Record{rec}
}

// scanAndOpen scans and opens an incident for everything that is not known yet.
func (e *Engine) scanAndOpen(ctx context.Context, h *held, id, by, scope string, scan func(context.Context, []Kind, *scanning) (int, error)) (*ScanReport, error) {
	report := &ScanReport{ID: id, By: by, Scope: scope, Started: e.now(), Findings: []ScanFinding{}, Failures: []string{}}
	var findings []Finding
	kinds, err := kindsOf(scope)
	if err != nil {
		return nil, err
	}
	waiting, err := e.unsettled(ctx)
	if err != nil {
		return nil, err
	}
	s := &scanning{e: e,
		found:  func(f Finding) { findings = append(findings, f) },
		failed: func(err error) { report.Failures = append(report.Failures, Explain(err)) },
	}
	s.seen = func(ctx context.Context, live judged, readAt time.Time) {
		e.remember(ctx, live, readAt)
		for _, inc := range waiting[live.state.Ref()] {
			if err := e.settleOne(ctx, h, live, inc, "in a scan"); err != nil {
				s.fail(err)
			}
		}
	}
	reading, cancel := inTime(ctx, e.now())
	defer cancel()
	report.Read, err = scan(reading, kinds, s)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		report.Failures = append(report.Failures, fmt.Sprintf("the time was up after %d resources: scan less at once (regions in secbot.yaml, /secbot scan s3 or sg), or give secbot more time", report.Read))
		err = nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(findings, worstFirst)
	for _, f := range findings {
		f.EventID = "scan/" + id
		if err := e.openScanned(ctx, h, f, report); err != nil {
			return nil, err
		}
	}
	report.Finished = e.now()
	return report, nil
}

// inTime leaves a part of the time for what has to be done after the reading, so
// that what a scan has found is told even where it can't read everything.
func inTime(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(deadline.Sub(now)/4, time.Minute)))
}

func worstFirst(a, b Finding) int { return b.Severity.Rank() - a.Severity.Rank() }

// openScanned opens an incident that asks, unless the finding is suppressed or
// known, and adds it to the report.
func (e *Engine) openScanned(ctx context.Context, h *held, f Finding, report *ScanReport) error {
	parts, err := e.Decide(ctx, f)
	if err != nil {
		return err
	}
	for _, part := range parts {
		s, err := e.suppressed(ctx, part.Finding)
		if err != nil {
			return err
		}
		switch {
		case part.Decision.Action == ActionIgnore:
			report.Ignored++
			continue
		case s != nil:
			report.Left = append(report.Left, LeftAlone{Finding: part.Finding, Incident: s.Incident, By: s.By, Until: s.Until})
			continue
		}
		id, isNew, err := e.openAsked(ctx, h, part, report.Posted < maxScanMessages)
		if err != nil {
			return err
		}
		if isNew {
			report.New++
			report.Posted = min(report.New, maxScanMessages)
		}
		if id != "" {
			report.Findings = append(report.Findings, ScanFinding{Finding: part.Finding, Incident: id})
		}
	}
	return nil
}

// openAsked opens an incident that asks; the id is that of the active one
// where there is one already, and empty where one was settled since the state
// was read. It is new where this scan has opened it, before a crash perhaps.
func (e *Engine) openAsked(ctx context.Context, h *held, part Part, message bool) (string, bool, error) {
	for try := 1; ; try++ {
		active, err := e.covering(ctx, part.Finding)
		if err != nil {
			return "", false, err
		}
		if active != nil {
			return active.ID, active.Finding.EventID == part.Finding.EventID, nil
		}
		id, err := e.createAsked(ctx, h, part, message)
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return id, id != "" && err == nil, err
		}
	}
}

// covering finds the active incident of a finding, or one of the same playbook
// and resource that has all its rules: an event may have told of several at
// once. nil for none.
func (e *Engine) covering(ctx context.Context, f Finding) (*Incident, error) {
	active, err := e.o.Store.Active(ctx, f.Key())
	if err == nil {
		return active, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("read the active incident: %w", err)
	}
	if len(f.Rules) == 0 {
		return nil, nil
	}
	known, err := e.o.Store.Incidents(ctx, IncidentQuery{Resource: f.Resource.ID, Playbook: f.Playbook, Limit: maxCounted})
	if err != nil {
		return nil, fmt.Errorf("read incidents of %s: %w", f.Resource.ID, err)
	}
	for _, inc := range known {
		if inc.Status.Active() && inc.Finding.Resource == f.Resource && inc.Finding.hasRules(f.Rules) {
			return inc, nil
		}
	}
	return nil, nil
}

// createAsked opens an incident that asks; none where the finding was settled
// after its state was read.
func (e *Engine) createAsked(ctx context.Context, h *held, part Part, message bool) (string, error) {
	previous, err := e.previous(ctx, part.Finding.Key())
	if err != nil {
		return "", err
	}
	if previous != nil && !previous.UpdatedAt.Before(part.Finding.At) {
		return "", nil
	}
	c := e.newIncident(part.Finding, part.Decision.AtMost(ActionAsk, "found by a scan: what has been open for a while is not closed without a person"))
	if previous != nil {
		c.inc.Previous = previous.ID
	}
	if err := c.move(StatusOpen, ByItself, part.Decision.Rule); err != nil {
		return "", err
	}
	if message { // else nobody is asked yet
		if err := c.ask(); err != nil {
			return "", err
		}
		c.show()
	}
	if c.err != nil {
		return "", c.err
	}
	return c.inc.ID, h.commit(ctx, c.w, false)
}

// tellScan posts the summary and answers who asked.
func (e *Engine) tellScan(ctx context.Context, h *held, cmd Command, report *ScanReport) error {
	text := fmt.Sprintf("The scan has read %d resources in %s and found %d that are open", report.Read,
		report.Finished.Sub(report.Started).Round(100*time.Millisecond), len(report.Findings))
	if n := len(report.Left) + report.Ignored; n > 0 {
		text += fmt.Sprintf("; %d more are open and are let be, by an ignore, an undo or the policy", n)
	}
	if n := len(report.Failures); n > 0 {
		text += fmt.Sprintf("; %d could not be read, so this is not everything", n)
	}
	summary, err := e.notice("scan/"+cmd.ID, NotifySlack, OpScan, *report)
	if err != nil {
		return err
	}
	reply, err := e.replyNotice(cmd, Reply{Text: text + ".", Failed: len(report.Failures) > 0})
	if err != nil {
		return err
	}
	return h.commit(ctx, Write{Notices: append(reply, summary), Records: e.endedScan(ctx)}, true)
}
