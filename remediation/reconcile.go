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
