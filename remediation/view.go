package remediation

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// view is what is read of the store before a signal is judged, all at the same time.
// What is counted in it is stored on condition that it is still so; what else it
// says is looked at again before anything is done.
type view struct {
	records map[string]*Record // nil: there is none of that key
	of      string             // the resource's id
	waiting []*Incident        // what waits for people about it, or is let be after an undo
}

// view reads what a signal's judgement needs.
func (e *Engine) view(ctx context.Context, sig Signal) (*view, error) {
	keys := []string{controlRecord, snapshotRecord(sig.Resource)}
	if sig.RequestID != "" {
		keys = append(keys, callRecord(sig.RequestID))
	}
	for _, g := range e.gates(Finding{Resource: sig.Resource}) {
		keys = append(keys, g.record)
	}
	v := &view{of: sig.Resource.ID, records: make(map[string]*Record, len(keys))}
	for _, key := range keys {
		v.records[key] = nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		found, err := e.o.Store.Records(ctx, keys...)
		for key, r := range found {
			v.records[key] = r
		}
		return err
	})
	g.Go(func() error { e.self(ctx); return nil }) // asked once a day, and needed right after
	if sig.Resource.ID != "" {
		g.Go(func() (err error) {
			v.waiting, err = e.waitingFor(ctx, sig.Resource)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read what is known of %s: %w", sig.Resource, err)
	}
	return v, nil
}

// waitingFor lists what waits for people about a resource, or is let be after an undo.
func (e *Engine) waitingFor(ctx context.Context, r Ref) ([]*Incident, error) {
	known, err := e.o.Store.Incidents(ctx, IncidentQuery{Resource: r.ID, Statuses: append(waiting(), StatusUndone), Limit: maxCounted})
	if err != nil {
		return nil, fmt.Errorf("read what waits about %s: %w", r, err)
	}
	return known, nil
}

// record gives a record of its own to change: from the view where that has looked for
// it, else from the store; ErrNotFound.
func (v *view) record(ctx context.Context, store Store, key string) (*Record, error) {
	if v != nil {
		if rec, looked := v.records[key]; looked && rec != nil {
			own := *rec
			return &own, nil
		} else if looked {
			return nil, fmt.Errorf("record %q: %w", key, ErrNotFound)
		}
	}
	return store.Record(ctx, key) //nolint:wrapcheck // whoever asks says what for
}

// onlyControl is the view without what a write may have changed.
func (v *view) onlyControl() *view {
	if v == nil {
		return nil
	}
	return &view{records: map[string]*Record{controlRecord: v.records[controlRecord]}}
}

// before is what must not be missed right before a part of a finding is opened.
type before struct {
	suppressed *Suppression // nil: nothing covers it
	last       *Incident    // which holds the key or held it last; nil: none ever did
}

// before reads it, and returns errOutdated where people have set something since the
// part was decided on.
func (e *Engine) before(ctx context.Context, f Finding, seen *view) (b before, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		b.suppressed, err = e.suppressed(ctx, f)
		return err
	})
	g.Go(func() (err error) {
		b.last, err = e.previous(ctx, f.Key())
		return err
	})
	if seen != nil {
		g.Go(func() error { return e.sameControl(ctx, seen.records[controlRecord]) })
	}
	err = g.Wait()
	return b, err
}

// sameControl returns errOutdated where the record of what people have set is not
// the one that was read.
func (e *Engine) sameControl(ctx context.Context, was *Record) error {
	is, err := e.o.Store.Record(ctx, controlRecord)
	switch {
	case errors.Is(err, ErrNotFound) && was == nil, err == nil && was != nil && is.Version == was.Version:
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("read whether secbot is paused: %w", err)
	}
	return errOutdated
}
