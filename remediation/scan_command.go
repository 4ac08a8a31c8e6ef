package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxScanMessages is how many findings of a scan get a message of their own;
	// the others are listed in its summary.
	maxScanMessages = 10
	// maxScanFailures and maxScanLeft are how many of what could not be read, and of
	// what is let be, a report names.
	maxScanFailures, maxScanLeft = 20, 20
)

// scanCommand scans for a person: it opens incidents, none of which is fixed
// without a click, and shows how far it is and what it has found.
func (e *Engine) scanCommand(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	scope, err := ParseScanScope(cmd.Scope)
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	if scope.several() {
		return e.scanAccounts(ctx, h, cmd, scope)
	}
	show, err := e.beginShown(ctx, h, cmd, nil)
	if errors.Is(err, errNotNow) {
		return err
	}
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	last, err := e.lastScan(ctx, cmd.Scope)
	if err != nil {
		return err
	}
	report, err := e.scanAndOpen(ctx, h, scanOf{ID: cmd.ID, By: cmd.By, Scope: scope.What, posts: maxScanMessages, last: last, show: show}, e.scan)
	if err != nil {
		return err
	}
	found, err := last.write(report)
	if err != nil {
		return err
	}
	reply, err := e.replyNotice(cmd, Reply{Text: report.answer(), Failed: !report.Complete()})
	if err != nil {
		return err
	}
	return e.endScan(ctx, h, report, Write{Notices: reply, Records: found}, true)
}

// scanRecord is the key of the record of the scan under way.
const scanRecord = "scan/running"

// beginShown begins a scan that shows how far it is, or goes on with one after a
// crash. of is what a scan of several accounts begins with, else nil.
func (e *Engine) beginShown(ctx context.Context, h *held, cmd Command, of *Gathered) (*scanShow, error) {
	s := &scanShow{e: e, h: h}
	var err error
	if s.rec, s.run, err = readScan(ctx, e.o.Store.Record, cmd.ID); err == nil {
		err := e.beginScan(ctx, h, cmd.ID, Write{})
		if isRefusal(err) { // people see it under way: it waits until the other has ended
			err = fmt.Errorf("%w: %w", errNotNow, err)
		}
		return s, err
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	s.rec = &Record{Key: scanRunRecord(cmd.ID)}
	s.run = &ScanRun{ID: cmd.ID, By: cmd.By, Scope: cmd.Scope, Started: e.now(), At: e.now(), Gathered: of}
	w, err := s.run.write(e, s.rec, of == nil || !of.Quiet)
	if err != nil {
		return nil, err
	}
	return s, e.beginScan(ctx, h, cmd.ID, w)
}

// beginScan lets one scan run at a time: whoever may type may start one, and a
// dozen at once would use up what AWS and Slack allow in a minute. What w holds is
// stored with it.
func (e *Engine) beginScan(ctx context.Context, h *held, id string, w Write) error {
	rec, err := e.o.Store.Record(ctx, scanRecord)
	switch {
	case errors.Is(err, ErrNotFound):
		rec = &Record{Key: scanRecord}
	case err != nil:
		return fmt.Errorf("read which scan is running: %w", err)
	case string(rec.Data) == strconv.Quote(id): // it goes on after a crash
	case rec.Until.After(e.now()):
		return &RefusedError{Text: "A scan is running already, so no other was begun. Its summary will be posted here."}
	}
	rec.Data, rec.At, rec.Until = []byte(strconv.Quote(id)), e.now(), e.now().Add(jobTimeout)
	w.Records = append(w.Records, rec)
	err = h.commit(ctx, w, false)
	if errors.Is(err, ErrConflict) {
		return &RefusedError{Text: "Another scan has just begun, so this one was not. Its summary will be posted here."}
	}
	return err
}

// endScan stores what a scan has found, frees the place of the scan under way, and
// ends the job. With tell, the scan's message shows it.
func (e *Engine) endScan(ctx context.Context, h *held, report *ScanReport, w Write, tell bool) error {
	for try := 1; ; try++ {
		rec, run, err := readScan(ctx, e.o.Store.Record, report.ID)
		if errors.Is(err, ErrNotFound) { // nobody was shown how far it is
			rec, run, err = &Record{Key: scanRunRecord(report.ID)}, &ScanRun{ID: report.ID, By: report.By, Scope: report.Scope, Started: report.Started}, nil
		}
		if err != nil {
			return err
		}
		run.Report, run.Gathered, run.At = report, nil, report.Finished
		run.Read, run.Found, run.Failed = report.Read, report.Open+report.LetBe+report.Ignored, report.Unread
		end, err := run.write(e, rec, tell)
		if err != nil {
			return err
		}
		end.Notices = append(end.Notices, w.Notices...)
		end.Records = append(append(end.Records, w.Records...), e.endedScan(ctx, report.ID)...)
		if err := h.commit(ctx, end, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

// endedScan frees the place of the scan under way; none where it can't be read:
// it is free again after a while.
func (e *Engine) endedScan(ctx context.Context, id string) []*Record {
	rec, err := e.o.Store.Record(ctx, scanRecord)
	if err != nil {
		e.o.Log.Warn("the end of a scan was not kept", "error", err)
		return nil
	}
	if string(rec.Data) != strconv.Quote(id) {
		return nil // another has taken it
	}
	rec.Until = e.now()
	return []*Record{rec}
}

// scanOf is what a scan is for.
type scanOf struct {
	ID, By, Scope string
	account       string    // one of several; empty: the own one alone
	posts         int       // how many findings get a message of their own
	last          *lastScan // what it is compared with
	show          *scanShow // nil: nobody is shown how far it is
}

// reads is a way to read resources for a scan: all, or a certain one.
type reads func(context.Context, []Kind, *scanning) (int, error)

// scanAndOpen scans and opens an incident for everything that is not known yet.
func (e *Engine) scanAndOpen(ctx context.Context, h *held, of scanOf, scan reads) (*ScanReport, error) {
	report := &ScanReport{ID: of.ID, By: of.By, Scope: of.Scope, Started: e.now(), Groups: []ScanGroup{}, Failures: []string{}}
	if of.show != nil {
		report.Started = of.show.run.Started // before a crash perhaps
	}
	findings, err := e.scanInto(ctx, h, of, scan, report)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(findings, worstFirst)
	for _, f := range findings {
		f.EventID = "scan/" + of.ID
		if err := e.openScanned(ctx, h, f, report, of); err != nil {
			return nil, err
		}
	}
	if report.CancelledBy != "" {
		if err := e.addOpened(ctx, report, of.account); err != nil {
			return nil, err
		}
	}
	report.Finished = e.now()
	report.Diff = of.last.diff(report)
	return report, nil
}

// scanInto reads, and tells the report what was read and what could not be. What
// waits for people and is over is settled on the way.
func (e *Engine) scanInto(ctx context.Context, h *held, of scanOf, scan reads, report *ScanReport) (findings []Finding, err error) {
	kinds, err := kindsOf(of.Scope)
	if err != nil {
		return nil, err
	}
	waiting, err := e.unsettled(ctx)
	if err != nil {
		return nil, err
	}
	reading, cancel := inTime(ctx, e.now())
	defer cancel()
	show := of.show
	if show == nil {
		show = &scanShow{run: &ScanRun{}}
	}
	s := &scanning{e: e, account: of.account,
		found: func(f Finding) { findings = append(findings, f); show.found.Add(1) },
		failed: func(err error) {
			show.failed.Add(1)
			report.unread(Explain(err))
			var refused *AccountError
			if errors.As(err, &refused) {
				report.Refused = append(report.Refused, refused.Account)
			}
		},
		done: func(ref Ref) {
			show.read.Add(1)
			of.last.saw(ref)
		},
		whole: func(r Ref) bool { return len(waiting[r]) > 0 },
	}
	s.seen = func(ctx context.Context, live judged, readAt time.Time) {
		e.remember(ctx, live, readAt)
		for _, inc := range waiting[live.state.Ref()] {
			if err := e.settleOne(ctx, h, live, inc, "in a scan"); err != nil {
				s.unread(ctx, err)
			}
		}
	}
	if of.show != nil {
		show.cancel = cancel
		if err := show.look(ctx); err != nil {
			return nil, err
		}
		defer show.watch(ctx)()
	}
	report.Read, err = scan(reading, kinds, s)
	return findings, report.ended(ctx, err, show.cancelled())
}

// ended tells how the reading ended; an error where that is no end of a scan's.
func (r *ScanReport) ended(ctx context.Context, err error, cancelledBy string) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		r.CancelledBy = cancelledBy
		r.unread(fmt.Sprintf("the time was up after %d resources: scan less at once (regions in secbot.yaml, /secbot scan s3 or sg), or give secbot more time", r.Read))
		return nil
	case errors.Is(err, context.Canceled) && cancelledBy != "":
		r.CancelledBy = cancelledBy
		return nil
	}
	return err // where nil, a cancellation came too late: everything was read
}

// addOpened adds what a scan that was cancelled has opened before a crash, in one
// account where it is one of several.
func (e *Engine) addOpened(ctx context.Context, r *ScanReport, account string) error {
	known, err := e.o.Store.Incidents(ctx, IncidentQuery{Statuses: []Status{StatusOpen}, Since: r.Started.Add(-clockSkew), Limit: maxCounted})
	if err != nil {
		return fmt.Errorf("read what the scan has opened: %w", err)
	}
	for _, inc := range known {
		if inc.Finding.EventID == "scan/"+r.ID && !r.has(inc.ID) && (account == "" || inc.Finding.Resource.Account == account) {
			r.New++
			r.add(ScanFinding{Finding: inc.Finding, Incident: inc.ID})
		}
	}
	return nil
}

// has reports whether an incident is in the report.
func (r *ScanReport) has(incident string) bool {
	return slices.ContainsFunc(r.Groups, func(g ScanGroup) bool { return slices.Contains(g.Incidents, incident) })
}

// unread adds what could not be read.
func (r *ScanReport) unread(why string) {
	if r.Unread++; len(r.Failures) < maxScanFailures {
		r.Failures = append(r.Failures, why)
	}
}

// listed is a finding with what a list tells of it: a report is one row of the store.
func (f Finding) listed() Finding {
	f.Was, f.Tags, f.Notes, f.Rest, f.Earlier = nil, nil, nil, nil, nil
	return f
}

// add puts a finding into the group of its playbook. Findings come the worst first.
func (r *ScanReport) add(f ScanFinding) {
	r.Open++
	f.Finding = f.Finding.listed()
	i := slices.IndexFunc(r.Groups, func(g ScanGroup) bool { return g.Playbook == f.Finding.Playbook })
	if i < 0 {
		i, r.Groups = len(r.Groups), append(r.Groups, ScanGroup{Playbook: f.Finding.Playbook, Severity: f.Finding.Severity})
	}
	g := &r.Groups[i]
	g.Open++
	if len(g.Findings) < maxScanMessages {
		g.Findings = append(g.Findings, f)
	}
	if len(g.Incidents) < MaxTargets && !slices.Contains(g.Incidents, f.Incident) {
		g.Incidents = append(g.Incidents, f.Incident)
	}
}

// answer tells whoever has asked for the scan how it went, the most important first.
func (r *ScanReport) answer() string {
	text := fmt.Sprintf("%d open", r.Open)
	if n := r.LetBe + r.Ignored; n > 0 {
		text += fmt.Sprintf(", and %d more that are let be, by an ignore, an undo or the policy", n)
	}
	where := ""
	if r.Accounts > 0 {
		where = " of " + counted(r.Accounts, "account")
	}
	text += fmt.Sprintf(": the scan has read %s%s in %s", counted(r.Read, "resource"), where, r.Finished.Sub(r.Started).Round(100*time.Millisecond))
	if r.CancelledBy != "" {
		text += ", and was cancelled, so this is not everything"
	}
	if len(r.Refused) > 0 {
		text += "; these accounts did not let secbot in: " + strings.Join(r.Refused, ", ")
	}
	if r.Unread > 0 {
		text += fmt.Sprintf("; %d could not be read, so this is not everything", r.Unread)
	}
	return text + "."
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
func (e *Engine) openScanned(ctx context.Context, h *held, f Finding, report *ScanReport, of scanOf) error {
	last := of.last
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
			last.found(part.Finding)
			report.Ignored++
			continue
		case s != nil:
			last.found(part.Finding)
			if report.LetBe++; len(report.Left) < maxScanLeft {
				report.Left = append(report.Left, LeftAlone{Finding: part.Finding.listed(), Incident: s.Incident, By: s.By, Until: s.Until})
			}
			continue
		}
		id, isNew, err := e.openAsked(ctx, h, part, report.Posted < of.posts)
		if err != nil {
			return err
		}
		if isNew {
			report.New++
			report.Posted = min(report.New, of.posts)
		}
		if id != "" {
			report.add(ScanFinding{Finding: part.Finding, Incident: id, New: last.found(part.Finding)})
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
