package remediation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// keepState is how long the last state of a resource is kept, so that one
	// that is gone is forgotten some day.
	keepState = 90 * 24 * time.Hour
	// renewState is how old what is kept may be before it is kept anew although
	// nothing has changed.
	renewState = 24 * time.Hour
)

// maxRemember is how often a snapshot is begun anew because another process
// has just kept one.
const maxRemember = 3

// snapshotRecord is the key of what is kept of a resource.
func snapshotRecord(r Ref) string {
	return strings.Join([]string{"snapshot", string(r.Kind), r.Account, r.Region, r.ID}, "/")
}

// recall completes a state with what the resource was before the signal's
// change, for kinds whose events don't say.
func (e *Engine) recall(ctx context.Context, live *judged, sig Signal) (State, error) {
	h, ok := live.env.Readers[live.state.Ref().Kind].(Historian)
	if !ok {
		return live.state, nil
	}
	kept, err := e.kept(ctx, live.seen, live.state.Ref())
	if err != nil {
		return nil, err
	}
	live.kept = kept
	return h.Recall(ctx, live.state, sig, kept.data()), nil
}

// kept reads a resource's snapshot; nil where there is none.
func (e *Engine) kept(ctx context.Context, seen *view, r Ref) (*Record, error) {
	rec, err := seen.record(ctx, e.o.Store, snapshotRecord(r))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was kept of %s: %w", r, err)
	}
	return rec, nil
}

func (r *Record) data() json.RawMessage {
	if r == nil {
		return nil
	}
	return r.Data
}

// rememberNow reads a resource and keeps what it is, after secbot has changed
// it. Where that fails the next event or scan makes up for it.
func (e *Engine) rememberNow(ctx context.Context, ref Ref) {
	env, err := e.o.Provider.Environment(ctx, ref.Account, ref.Region)
	if err != nil {
		return // it was there a moment ago
	}
	if _, ok := env.Readers[ref.Kind].(Historian); !ok {
		return
	}
	readAt := e.now()
	_, state, err := e.read(ctx, ref)
	if state == nil {
		e.o.Log.Warn("the state after the change was not kept", "resource", ref.String(), "error", err)
		return
	}
	e.remember(ctx, judged{env: env, state: state}, readAt)
}

// remember keeps a state, for the changes to come. It is not what an event
// waits for: where it fails the next one makes up for it.
func (e *Engine) remember(ctx context.Context, live judged, readAt time.Time) {
	if live.state == nil {
		return
	}
	h, ok := live.env.Readers[live.state.Ref().Kind].(Historian)
	if !ok {
		return
	}
	ref, kept := live.state.Ref(), live.kept
	for try := 1; ; try++ {
		var err error
		if kept == nil || try > 1 {
			if kept, err = e.kept(ctx, nil, ref); err != nil {
				e.logUnlessOver(ctx, "the state was not kept", err)
				return
			}
		}
		err = e.keep(ctx, h, live.state, kept, readAt)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrConflict) || try == maxRemember {
			e.logUnlessOver(ctx, "the state was not kept", err)
			return
		}
	}
}

// keep stores a snapshot unless a later one, or the same, is there.
func (e *Engine) keep(ctx context.Context, h Historian, state State, kept *Record, readAt time.Time) error {
	if kept != nil && kept.At.After(readAt) {
		return nil
	}
	data, err := h.Remember(state, kept.data(), readAt)
	if err != nil {
		return fmt.Errorf("keep the state of %s: %w", state.Ref(), err)
	}
	if kept != nil && bytes.Equal(data, kept.Data) && readAt.Sub(kept.At) < renewState {
		return nil
	}
	next := &Record{Key: snapshotRecord(state.Ref()), Data: data, At: readAt, Until: readAt.Add(keepState)}
	if kept != nil {
		next.Version = kept.Version
	}
	return e.o.Store.Commit(ctx, Write{Records: []*Record{next}})
}
