package remediation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

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
	if err := e.beginScan(ctx, h, h.job.ID, Write{}); errors.As(err, &running) {
		return fmt.Errorf("%w: %w", errNotNow, running)
	} else if err != nil {
		return err
	}
	last, err := e.lastScan(ctx, "all")
	if err != nil {
		return err
	}
	report, err := e.scanAndOpen(ctx, h, scanOf{ID: h.job.ID, By: ByItself, Scope: "all", posts: maxScanMessages, last: last}, e.scan)
	if err != nil {
		return err
	}
	for _, why := range report.Failures {
		e.o.Log.Error("the reconciling scan could not read everything", "why", why)
	}
	e.o.Log.Info("reconciled", "read", report.Read, "open", report.Open, "new", report.New, "failures", report.Unread)
	blind, w, err := e.blindness(ctx, report.Unread > 0)
	if err != nil {
		return err
	}
	found, err := last.write(report)
	if err != nil {
		return err
	}
	w.Records = append(w.Records, found...)
	return e.endScan(ctx, h, report, w, report.New > 0 || blind)
}

// reconcileOne looks at one resource, of which an ignore has hidden what else was found.
func (e *Engine) reconcileOne(ctx context.Context, h *held, ref Ref) error {
	report, err := e.scanAndOpen(ctx, h, scanOf{ID: h.job.ID, By: ByItself, Scope: "all", posts: maxScanMessages, last: newLastScan()}, func(ctx context.Context, _ []Kind, s *scanning) (int, error) {
		s.judge(ctx, ref)
		return s.read, ctx.Err()
	})
	if err != nil {
		return err
	}
	if report.Unread > 0 {
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
