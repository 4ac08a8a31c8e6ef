package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// look is what a reconciling scan looks at: one resource, the members, or everything
// of the own account.
type look struct {
	Resource *Ref `json:"resource,omitempty"`
	Members  bool `json:"members,omitempty"`
}

// blindOwn and blindMembers are the keys of the records that say whether the last
// reconciling scan could not read something.
const blindOwn, blindMembers = "reconcile/blind", "reconcile/blind/members"

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
	if l.Members {
		return e.reconcileMembers(ctx, h)
	}
	if err := e.toReconcileMembers(ctx, h); err != nil {
		return err
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
	blind, w, err := e.blindness(ctx, blindOwn, report.Unread > 0)
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

// toReconcileMembers has the members scanned as well, where secbot goes into any: in a
// job of their own, so that neither waits for what goes wrong with the other.
func (e *Engine) toReconcileMembers(ctx context.Context, h *held) error {
	if e.o.Self == nil {
		return nil
	}
	if self, err := e.o.Self(ctx); err == nil && self.MemberRole == "" {
		return nil
	}
	_, period, _ := strings.Cut(h.job.ID, "/")
	if err := e.enqueue(ctx, jobReconcile, period+"/members", "", look{Members: true}); err != nil {
		return fmt.Errorf("store that the members are to be scanned: %w", err)
	}
	return nil
}

// reconcileMembers begins a scan of the members, each account in a job of its own, of
// which people hear only what is new. Where nobody tells which accounts there are the
// log says so.
func (e *Engine) reconcileMembers(ctx context.Context, h *held) error {
	self, err := e.o.Self(ctx)
	if err != nil {
		return fmt.Errorf("whose members are to be scanned: %w", err)
	}
	scope := ScanScope{What: "all", Organisation: true}
	cmd := Command{ID: h.job.ID, By: ByItself, Scope: scope.String()}
	of, err := e.toGather(ctx, cmd, scope)
	var refused *RefusedError
	if errors.As(err, &refused) {
		e.o.Log.Error("the members are not scanned for what no event has told", "why", refused.Text)
		return nil
	}
	if err != nil || of == nil {
		return err
	}
	of.quietly(self.Account)
	if of.Accounts == 0 {
		return nil
	}
	show, err := e.beginShown(ctx, h, cmd, of)
	if isRefusal(err) {
		err = fmt.Errorf("%w: %w", errNotNow, err)
	}
	if err != nil {
		return err
	}
	return e.spread(ctx, show.run, scope.What)
}

// quietly leaves out the own account, which has a reconciling scan of its own, of
// a scan that has not begun.
func (g *Gathered) quietly(own string) {
	if g.Quiet {
		return
	}
	g.Quiet = true
	g.Waiting = slices.DeleteFunc(slices.Clone(g.Waiting), func(a string) bool { return a == own })
	g.Accounts, g.Sum.Accounts = len(g.Waiting), len(g.Waiting)
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

// blindness keeps under a key whether the last reconciling scan failed to read
// something, and says whether that is news.
func (e *Engine) blindness(ctx context.Context, key string, now bool) (news bool, w Write, err error) {
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
