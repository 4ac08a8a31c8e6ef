package remediation_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// TestCheckpoints: a log that was written anew as a whole, its incident too,
// shows against the checkpoints, and so does a checkpoint that was changed.
func TestCheckpoints(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	for range 3 { // an hourly job each, of which only the first has news
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.advance(time.Hour)
	}
	l.doors.set("g", "front")
	l.accept(signal("e2", "g", "front"))
	for range 2 {
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.advance(time.Hour)
	}
	if n, err := remediation.VerifyCheckpoints(t.Context(), l.store); n < 2 || n > 3 || err != nil {
		t.Fatalf("%d checkpoints, %v", n, err)
	}
	for name, c := range map[string]struct {
		store remediation.Store
		want  remediation.CheckpointError
	}{
		"another log": {&forged{Store: l.store, audit: func(log []remediation.AuditEntry) []remediation.AuditEntry {
			for i := range log {
				log[i].Hash = strings.Repeat("0", len(log[i].Hash))
			}
			return log
		}}, remediation.CheckpointError{Seq: 1, What: remediation.AuditChanged}},
		"no log":             {&forged{Store: l.store, audit: func([]remediation.AuditEntry) []remediation.AuditEntry { return nil }}, remediation.CheckpointError{Seq: 1, What: remediation.AuditMissing}},
		"another checkpoint": {&forged{Store: l.store, record: "checkpoint/1"}, remediation.CheckpointError{Seq: 1, What: remediation.AuditChanged}},
		"the last changed":   {&forged{Store: l.store, record: "checkpoint/2"}, remediation.CheckpointError{Seq: 2, What: remediation.AuditChanged}},
		"one is gone":        {&forged{Store: l.store, gone: "checkpoint/1"}, remediation.CheckpointError{Seq: 1, What: remediation.AuditMissing}},
	} {
		var got *remediation.CheckpointError
		if _, err := remediation.VerifyCheckpoints(t.Context(), c.store); !errors.As(err, &got) || got.Seq != c.want.Seq || got.What != c.want.What {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// forged is a store that somebody has changed.
type forged struct {
	remediation.Store
	audit        func([]remediation.AuditEntry) []remediation.AuditEntry
	record, gone string
}

func (f *forged) Audit(ctx context.Context, incident string) ([]remediation.AuditEntry, error) {
	log, err := f.Store.Audit(ctx, incident)
	if f.audit != nil {
		log = f.audit(log)
	}
	return log, err
}

func (f *forged) Record(ctx context.Context, key string) (*remediation.Record, error) {
	if key == f.gone {
		return nil, remediation.ErrNotFound
	}
	rec, err := f.Store.Record(ctx, key)
	if key == f.record {
		rec.Data = []byte(strings.Replace(string(rec.Data), `"at":"2026`, `"at":"2025`, 1))
	}
	return rec, err
}
