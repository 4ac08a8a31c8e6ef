package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// OwnLog is the name under which the audit log of what is about no incident is
// kept: circuit breakers that open and are reset, and commands that were refused.
const OwnLog = "secbot"

// ownLogRecord is the key of the record that counts its entries.
const ownLogRecord = "audit/" + OwnLog

// ownHead is the data of that record.
type ownHead struct {
	Seq  int    `json:"seq"`
	Hash string `json:"hash"`
}

// ownLog is secbot's own log, as an incident that has nothing else.
type ownLog struct {
	rec *Record
	inc Incident
}

func readOwnLog(ctx context.Context, st Store) (*ownLog, error) {
	l := &ownLog{rec: &Record{Key: ownLogRecord}, inc: Incident{ID: OwnLog}}
	rec, err := st.Record(ctx, ownLogRecord)
	if errors.Is(err, ErrNotFound) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secbot's own audit log: %w", err)
	}
	var head ownHead
	if err := json.Unmarshal(rec.Data, &head); err != nil {
		return nil, fmt.Errorf("decode %s: %w", ownLogRecord, err)
	}
	l.rec, l.inc.AuditSeq, l.inc.AuditHead = rec, head.Seq, head.Hash
	return l, nil
}

// auditOwn adds an entry to secbot's own log. Whoever is faster with another
// makes the write end with ErrConflict.
func (c *change) auditOwn(ctx context.Context, by, what, why string, data any) error {
	if c.own == nil {
		own, err := readOwnLog(ctx, c.e.o.Store)
		if err != nil {
			return err
		}
		c.own = own
		c.w.Records = append(c.w.Records, own.rec)
	}
	entry, err := c.own.inc.appendAudit(c.now, by, what, why, data)
	if err != nil {
		return err
	}
	c.own.rec.At = c.now
	if c.own.rec.Data, err = json.Marshal(ownHead{Seq: entry.Seq, Hash: entry.Hash}); err != nil {
		return fmt.Errorf("encode %s: %w", ownLogRecord, err)
	}
	c.w.Audit = append(c.w.Audit, entry)
	return nil
}

// VerifyOwnLog checks secbot's own log and says how many entries it has. It
// returns an *AuditError for the first that does not hold.
func VerifyOwnLog(ctx context.Context, st Store) (int, error) {
	for {
		before, err := readOwnLog(ctx, st)
		if err != nil {
			return 0, err
		}
		entries, err := st.Audit(ctx, OwnLog)
		if err != nil {
			return 0, fmt.Errorf("read secbot's own audit log: %w", err)
		}
		after, err := readOwnLog(ctx, st)
		if err != nil {
			return 0, err
		}
		if before.inc.AuditSeq == after.inc.AuditSeq {
			return len(entries), VerifyAudit(&after.inc, entries)
		}
	}
}
