package remediation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// checkpointEvery is how often the heads of the audit logs are written down.
	checkpointEvery = time.Hour
	// checkpointOverlap is how far before the last checkpoint a change is looked
	// for: other processes' clocks differ, and a write takes its time.
	checkpointOverlap = 5 * time.Minute
	// maxHeads bounds one checkpoint, a row of the store; where more logs have
	// grown there are several.
	maxHeads = 2000
	// maxGrown is more incidents than change in an hour.
	maxGrown = 1 << 20
)

// Checkpoint writes down where the audit logs of incidents stood. The chain of
// an incident's log shows a change within it; a log that was written anew as a
// whole, its incident included, shows only here. Checkpoints are a chain of
// their own, and the hash of each is logged, so that it stands outside of the
// store too.
type Checkpoint struct {
	Seq   int       `json:"seq"`   // from 1
	At    time.Time `json:"at"`    // before the logs were looked at
	Heads []Head    `json:"heads"` // of the logs that have grown since the last, by incident
	// From is where the next look begins, while more heads are to come of the look
	// that this checkpoint is of; nil once they are all written down: at At.
	From *time.Time `json:"from,omitempty"`
	Prev string     `json:"prev"` // empty for the first
	Hash string     `json:"hash"` // hex SHA-256 of all else
}

// Head is the last entry of an incident's audit log at a time.
type Head struct {
	Incident string `json:"incident"`
	Seq      int    `json:"seq"`
	Hash     string `json:"hash"`
}

// CheckpointError says that a checkpoint, or the log that it is about, is not
// what was written.
type CheckpointError struct {
	Seq      int
	Incident string // empty where it is the checkpoint itself
	What     AuditFault
}

// Error names the checkpoint.
func (e *CheckpointError) Error() string {
	if e.Incident == "" {
		return fmt.Sprintf("checkpoint %d is %s; the store was not written by secbot alone", e.Seq, e.What)
	}
	return fmt.Sprintf("the audit log of incident %s is not the one of checkpoint %d: it is %s", e.Incident, e.Seq, e.What)
}

func checkpointRecord(seq int) string { return fmt.Sprintf("checkpoint/%d", seq) }

// lastCheckpoint is the key of the record that has the newest one once more.
const lastCheckpoint = "checkpoint/last"

func (c Checkpoint) hash() (string, error) {
	c.Hash, c.At = "", c.At.UTC()
	raw, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// checkpoint writes the heads down that have moved since the last time.
func (e *Engine) checkpoint(ctx context.Context, h *held) error {
	rec, last, err := readCheckpoint(ctx, e.o.Store, lastCheckpoint)
	if errors.Is(err, ErrNotFound) {
		rec, last, err = &Record{Key: lastCheckpoint}, Checkpoint{}, nil
	}
	if err != nil {
		return err
	}
	at, from := e.now(), last.At
	if last.From != nil {
		from = *last.From
	}
	heads, err := e.heads(ctx, from, last.Heads)
	if err != nil {
		return err
	}
	for len(heads) > 0 {
		n := min(len(heads), maxHeads)
		next := Checkpoint{Seq: last.Seq + 1, At: at, Heads: heads[:n], Prev: last.Hash}
		if heads = heads[n:]; len(heads) > 0 {
			next.From = &from
		}
		if err := e.writeCheckpoint(ctx, h, rec, &next, len(heads) == 0); err != nil {
			return err
		}
		last = next
	}
	return nil
}

// writeCheckpoint stores one; last says that the job ends with it.
func (e *Engine) writeCheckpoint(ctx context.Context, h *held, rec *Record, next *Checkpoint, last bool) (err error) {
	if next.Hash, err = next.hash(); err != nil {
		return fmt.Errorf("hash checkpoint %d: %w", next.Seq, err)
	}
	if rec.Data, err = json.Marshal(next); err != nil {
		return fmt.Errorf("encode checkpoint %d: %w", next.Seq, err)
	}
	rec.At = next.At
	w := Write{Records: []*Record{rec, {Key: checkpointRecord(next.Seq), Data: slices.Clone(rec.Data), At: next.At}}}
	if err := h.commit(ctx, w, last); err != nil {
		return fmt.Errorf("store checkpoint %d: %w", next.Seq, err)
	}
	e.o.Log.Info("audit checkpoint", "seq", next.Seq, "logs", len(next.Heads), "hash", next.Hash)
	return nil
}

// heads are those of the logs that have grown since a time, secbot's own among
// them, without those that were written down just before.
func (e *Engine) heads(ctx context.Context, from time.Time, before []Head) ([]Head, error) {
	q := IncidentQuery{Limit: maxGrown}
	if !from.IsZero() {
		q.Updated = from.Add(-checkpointOverlap)
	}
	grown, err := e.o.Store.Incidents(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	own, err := readOwnLog(ctx, e.o.Store)
	if err != nil {
		return nil, err
	}
	if !own.rec.At.Before(q.Updated) {
		grown = append(grown, &own.inc)
	}
	known := make(map[Head]bool, len(before))
	for _, head := range before {
		known[head] = true
	}
	var heads []Head
	for _, inc := range grown {
		head := Head{Incident: inc.ID, Seq: inc.AuditSeq, Hash: inc.AuditHead}
		if inc.AuditSeq > 0 && !known[head] {
			heads = append(heads, head)
		}
	}
	slices.SortFunc(heads, func(a, b Head) int { return strings.Compare(a.Incident, b.Incident) })
	return heads, nil
}

func readCheckpoint(ctx context.Context, st Store, key string) (*Record, Checkpoint, error) {
	var c Checkpoint
	rec, err := st.Record(ctx, key)
	if err != nil {
		return nil, c, fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(rec.Data, &c); err != nil {
		return nil, c, fmt.Errorf("decode %s: %w", key, err)
	}
	return rec, c, nil
}

// VerifyCheckpoints checks all checkpoints of a store, and the audit logs against
// them, and says how many there are. It returns a *CheckpointError for the first
// that does not hold.
func VerifyCheckpoints(ctx context.Context, st Store) (int, error) {
	_, last, err := readCheckpoint(ctx, st, lastCheckpoint)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	prev := ""
	for seq := 1; seq <= last.Seq; seq++ {
		_, c, err := readCheckpoint(ctx, st, checkpointRecord(seq))
		if errors.Is(err, ErrNotFound) {
			return seq - 1, &CheckpointError{Seq: seq, What: AuditMissing}
		}
		if err != nil {
			return seq - 1, err
		}
		hash, err := c.hash()
		if err != nil || hash != c.Hash || c.Prev != prev || c.Seq != seq {
			return seq - 1, &CheckpointError{Seq: seq, What: AuditChanged}
		}
		if err := verifyHeads(ctx, st, c); err != nil {
			return seq - 1, err
		}
		prev = c.Hash
	}
	if prev != last.Hash {
		return last.Seq, &CheckpointError{Seq: last.Seq, What: AuditChanged}
	}
	return last.Seq, nil
}

func verifyHeads(ctx context.Context, st Store, c Checkpoint) error {
	for _, head := range c.Heads {
		log, err := st.Audit(ctx, head.Incident)
		if err != nil {
			return fmt.Errorf("read the audit log of %s: %w", head.Incident, err)
		}
		i := slices.IndexFunc(log, func(e AuditEntry) bool { return e.Seq == head.Seq })
		switch {
		case i < 0:
			return &CheckpointError{Seq: c.Seq, Incident: head.Incident, What: AuditMissing}
		case log[i].Hash != head.Hash:
			return &CheckpointError{Seq: c.Seq, Incident: head.Incident, What: AuditChanged}
		}
	}
	return nil
}
