package remediation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// TestCheckpointOfAStorm: every log that has grown is in a checkpoint, however many
// they are and however old their incidents.
func TestCheckpointOfAStorm(t *testing.T) {
	const many = 4500
	l := newLab(t)
	grow := func(name string, created time.Time, n int) {
		t.Helper()
		for i := range n {
			id := fmt.Sprint(name, i)
			inc := &remediation.Incident{ID: id, Key: id, Status: remediation.StatusFixed, CreatedAt: created, UpdatedAt: l.clock(), AuditSeq: 1, AuditHead: "hash of " + id}
			entry := remediation.AuditEntry{Incident: id, Seq: 1, Hash: inc.AuditHead}
			if err := l.store.Commit(t.Context(), remediation.Write{Incident: inc, Audit: []remediation.AuditEntry{entry}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	heads := func() int {
		t.Helper()
		seen := map[string]bool{}
		n, err := remediation.VerifyCheckpoints(t.Context(), l.store)
		if err != nil {
			t.Fatal(err)
		}
		for seq := 1; seq <= n; seq++ {
			rec, err := l.store.Record(t.Context(), fmt.Sprintf("checkpoint/%d", seq))
			if err != nil {
				t.Fatal(err)
			}
			var c remediation.Checkpoint
			if err := json.Unmarshal(rec.Data, &c); err != nil {
				t.Fatal(err)
			}
			if len(c.Heads) > 2000 {
				t.Errorf("checkpoint %d has %d heads: it may not fit into a row", seq, len(c.Heads))
			}
			for _, h := range c.Heads {
				seen[h.Incident] = true
			}
		}
		return len(seen)
	}
	drain := func() {
		t.Helper()
		if err := l.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	drain()
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbReset, By: "U9"}) // refused: secbot's own log grows
	drain()
	grow("storm", l.clock(), many)
	l.advance(2 * time.Hour)
	drain()
	if n := heads(); n != many+1 {
		t.Fatalf("%d logs are in checkpoints, want %d", n, many+1)
	}
	grow("old", l.clock().AddDate(-1, 0, 0), 1) // opened a year ago, and undone today
	l.advance(2 * time.Hour)
	drain()
	drain()
	if n := heads(); n != many+2 {
		t.Errorf("%d logs are in checkpoints, want %d", n, many+2)
	}
}

// TestCheckpointCutOff: a look of which only a part was written down is taken up
// again from where it had begun.
func TestCheckpointCutOff(t *testing.T) {
	l := newLab(t)
	cut := &cutting{Store: l.store}
	e := l.again(func(o *remediation.Options) { o.Store = cut })
	drain := func(e *remediation.Engine) {
		t.Helper()
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	drain(e)
	for i := range 2500 {
		id := fmt.Sprint("i", i)
		w := remediation.Write{Incident: &remediation.Incident{ID: id, Status: remediation.StatusFixed, CreatedAt: l.clock(), UpdatedAt: l.clock(), AuditSeq: 1, AuditHead: id},
			Audit: []remediation.AuditEntry{{Incident: id, Seq: 1, Hash: id}}}
		if err := l.store.Commit(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	l.advance(2 * time.Hour)
	drain(e) // the first part is stored, the second is not
	l.advance(2 * time.Hour)
	drain(l.again())
	n, err := remediation.VerifyCheckpoints(t.Context(), l.store)
	if err != nil {
		t.Fatal(err)
	}
	logs := map[string]bool{}
	for seq := 1; seq <= n; seq++ {
		rec, err := l.store.Record(t.Context(), fmt.Sprintf("checkpoint/%d", seq))
		if err != nil {
			t.Fatal(err)
		}
		var c remediation.Checkpoint
		if err := json.Unmarshal(rec.Data, &c); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.Heads {
			logs[h.Incident] = true
		}
	}
	if len(logs) != 2500 || !cut.cut {
		t.Errorf("%d logs are in %d checkpoints, want 2500", len(logs), n)
	}
}

// cutting is a store that takes no second checkpoint.
type cutting struct {
	remediation.Store
	cut bool
}

func (c *cutting) Commit(ctx context.Context, w remediation.Write) error {
	for _, r := range w.Records {
		if r.Key == "checkpoint/2" {
			c.cut = true
			return errors.New("the store is gone")
		}
	}
	return c.Store.Commit(ctx, w)
}
