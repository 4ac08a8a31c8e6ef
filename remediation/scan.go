package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// scanReads bounds how many resources a scan reads at once.
	scanReads = 8
	// maxScanMessages is how many findings of a scan get a message of their
	// own; the others are listed in its summary.
	maxScanMessages = 10
)

// ScopeError says that a scan's scope is unknown.
type ScopeError struct{ Scope string }

// Error names the scopes.
func (e *ScopeError) Error() string {
	return fmt.Sprintf("a scan can't look at %q: say s3, sg or all", e.Scope)
}

// kindsOf gives the kinds of resources of a scope: s3, sg, all or "".
func kindsOf(scope string) ([]Kind, error) {
	switch scope {
	case "s3":
		return []Kind{KindAccount, KindBucket}, nil
	case "sg":
		return []Kind{KindSecurityGroup}, nil
	case "", "all":
		return []Kind{KindAccount, KindBucket, KindSecurityGroup}, nil
	}
	return nil, &ScopeError{Scope: scope}
}

// Scan reads every resource of the scope (s3, sg or all) in the configured
// regions and calls found for each finding and failed for everything that
// could not be read, one call at a time and in no order. It changes nothing,
// in AWS or in the store, and says how many resources it has read.
func (e *Engine) Scan(ctx context.Context, scope string, found func(Finding), failed func(error)) (int, error) {
	kinds, err := kindsOf(scope)
	if err != nil {
		return 0, err
	}
	return e.scan(ctx, kinds, &scanning{e: e, found: found, failed: failed})
}

func (e *Engine) scan(ctx context.Context, kinds []Kind, s *scanning) (int, error) {
	s.group.SetLimit(scanReads)
	for _, kind := range kinds {
		for _, region := range e.scanRegions(kind) {
			s.list(ctx, kind, region)
		}
	}
	_ = s.group.Wait() // reads report to failed, none returns an error
	return s.read, ctx.Err()
}

// scanRegions are the regions to list. One list gives the buckets of all, and an
// account has one block.
func (e *Engine) scanRegions(kind Kind) []string {
	if kind != KindSecurityGroup || len(e.o.Config.Regions) == 0 {
		return []string{""}
	}
	return e.o.Config.Regions
}

type scanning struct {
	e      *Engine
	group  errgroup.Group
	mu     sync.Mutex
	read   int
	found  func(Finding)
	failed func(error)
	// seen is told each state that was read; nil: nobody.
	seen func(ctx context.Context, live judged, readAt time.Time)
}

func (s *scanning) list(ctx context.Context, kind Kind, region string) {
	env, err := s.e.o.Provider.Environment(ctx, "", region)
	if err != nil {
		s.fail(fmt.Errorf("region %s: %w", region, err))
		return
	}
	reader := env.Readers[kind]
	if reader == nil {
		s.fail(fmt.Errorf("nothing here reads a %s", kind))
		return
	}
	for ref, err := range reader.List(ctx) {
		if err != nil {
			s.fail(fmt.Errorf("list %s in %s: %w", kind, env.Region, err))
			return
		}
		s.group.Go(func() error {
			if err := s.e.safely("the scan of "+ref.String(), func() error { s.judge(ctx, ref); return nil }); err != nil {
				s.fail(fmt.Errorf("%s: %w", ref, err))
			}
			return nil
		})
	}
}

func (s *scanning) judge(ctx context.Context, ref Ref) {
	readAt := s.e.now()
	env, state, err := s.e.read(ctx, ref)
	if errors.Is(err, ErrGone) {
		return // deleted since it was listed
	}
	if err != nil {
		s.fail(err)
		return
	}
	var found []Finding
	for _, pb := range env.Playbooks {
		if pb.Meta().Kind == ref.Kind {
			found = append(found, pb.Judge(state, nil)...)
		}
	}
	if s.seen != nil {
		s.seen(ctx, judged{env: env, state: state, readAt: readAt}, readAt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	for _, f := range found {
		f.Event, f.At = "scan", readAt
		s.found(f)
	}
}

func (s *scanning) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed(err)
}

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

// look is what a reconciling scan looks at: one resource, or everything.
type look struct {
	Resource *Ref `json:"resource,omitempty"`
}

// reconcile scans for what no event has told, since delivery by EventBridge is
// best effort (docs.aws.amazon.com/eventbridge, "Event delivery level"). What
// it finds waits for a person, as in every scan; only where there is something
// new is there a summary.
func (e *Engine) reconcile(ctx context.Context, h *held, l look) error {
	if l.Resource != nil {
		return e.reconcileOne(ctx, h, *l.Resource)
	}
	if every := e.o.Config.Reconcile; every > 0 && e.now().Sub(h.job.Due) >= every {
		e.o.Log.Warn("a reconciling scan is left out: the next is due already", "job", h.job.ID)
		return nil
	}
	var running *RefusedError
	if err := e.beginScan(ctx, h, h.job.ID); errors.As(err, &running) {
		return fmt.Errorf("%w: %w", errNotNow, running)
	} else if err != nil {
		return err
	}
	report, err := e.scanAndOpen(ctx, h, h.job.ID, ByItself, "all", e.scan)
	if err != nil {
		return err
	}
	for _, why := range report.Failures {
		e.o.Log.Error("the reconciling scan could not read everything", "why", why)
	}
	e.o.Log.Info("reconciled", "read", report.Read, "open", len(report.Findings), "new", report.New, "failures", len(report.Failures))
	blind, w, err := e.blindness(ctx, len(report.Failures) > 0)
	if err != nil {
		return err
	}
	if report.New > 0 || blind {
		summary, err := e.notice("scan/"+report.ID, NotifySlack, OpScan, *report)
		if err != nil {
			return err
		}
		w.Notices = append(w.Notices, summary)
	}
	w.Records = append(w.Records, e.endedScan(ctx)...)
	return h.commit(ctx, w, true)
}

// reconcileOne looks at one resource, of which an ignore has hidden what else was found.
func (e *Engine) reconcileOne(ctx context.Context, h *held, ref Ref) error {
	report, err := e.scanAndOpen(ctx, h, h.job.ID, ByItself, "all", func(ctx context.Context, _ []Kind, s *scanning) (int, error) {
		s.judge(ctx, ref)
		return s.read, ctx.Err()
	})
	if err != nil {
		return err
	}
	if len(report.Failures) > 0 {
		return fmt.Errorf("look at %s after an ignore has ended: %s", ref, strings.Join(report.Failures, "; "))
	}
	return nil
}

// blindness keeps whether the last reconciling scan failed to read something,
// and says whether that is news.
func (e *Engine) blindness(ctx context.Context, now bool) (news bool, w Write, err error) {
	const key = "reconcile/blind"
	rec, err := e.o.Store.Record(ctx, key)
	was := err == nil
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return false, w, fmt.Errorf("read how the last scan went: %w", err)
	case !was && now:
		rec = &Record{Key: key}
	case was && !rec.At.IsZero() == now, !was:
		return false, w, nil
	}
	rec.At = time.Time{}
	if now {
		rec.At = e.now()
	}
	w.Records = []*Record{rec}
	return now, w, nil
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
