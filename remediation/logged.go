package remediation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	// maxLogged bounds one value in an audit entry, in bytes: what is larger is
	// kept as its hash. A row of DynamoDB has 400 KB at most.
	maxLogged = 64 << 10
	// maxAuditData bounds all of an entry's data.
	maxAuditData = 4 * maxLogged
)

// large stands in the audit log for a value that is too large for it.
type large struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // hex, of its JSON with sorted keys
}

// logged is v as an audit entry keeps it: as JSON with sorted keys, or as its hash
// where that is too large.
func logged(v any) (json.RawMessage, error) { return loggedUpTo(maxLogged, v) }

func loggedUpTo(most int, v any) (json.RawMessage, error) {
	raw, err := auditData(v)
	if err != nil || len(raw) <= most {
		return raw, err
	}
	return json.Marshal(large{SHA256: digest(raw), Bytes: len(raw)})
}

// known is the data of audit entries that say what an incident is about and what
// the policy says to it: the first, and each that replaces it.
type known struct {
	Finding  json.RawMessage `json:"finding,omitempty"`
	Decision json.RawMessage `json:"decision,omitempty"`
	Previous string          `json:"previous,omitempty"`
}

func (i *Incident) known() (k known, err error) {
	if k.Finding, err = logged(i.Finding); err != nil {
		return k, fmt.Errorf("encode the finding of incident %s: %w", i.ID, err)
	}
	if k.Decision, err = logged(i.Decision); err != nil {
		return k, fmt.Errorf("encode the decision of incident %s: %w", i.ID, err)
	}
	k.Previous = i.Previous
	return k, nil
}

func (k known) equal(other known) bool {
	return bytes.Equal(k.Finding, other.Finding) && bytes.Equal(k.Decision, other.Decision)
}

// moved is the data of audit entries that are changes of status.
type moved struct {
	known
	Approved []string   `json:"approved_by,omitempty"`
	Until    *time.Time `json:"until,omitempty"` // of an ignore, of what is allowed or put back; nil: for good
	Scope    Scope      `json:"scope,omitempty"`
	*calls
}

// calls is the data of entries about changing calls.
type calls struct {
	RequestIDs []string        `json:"request_ids,omitempty"`
	Lost       int             `json:"lost,omitempty"` // calls whose answer never came
	Diff       json.RawMessage `json:"diff,omitempty"` // what they changed
	Notes      []string        `json:"notes,omitempty"`
}

func (r *recorder) logged(diff []DiffLine) (*calls, error) {
	ids, lost := r.answers()
	c := &calls{RequestIDs: ids, Lost: lost, Notes: r.said()}
	if len(diff) == 0 {
		return c, nil
	}
	raw, err := logged(diff)
	if err != nil {
		return nil, fmt.Errorf("encode a diff: %w", err)
	}
	c.Diff = raw
	return c, nil
}

// planned is the data of the entry about a plan.
type planned struct {
	Steps  json.RawMessage `json:"steps"`
	Before json.RawMessage `json:"before"` // the resource before the first changing call
	Diff   json.RawMessage `json:"diff"`
}

func (p Plan) logged() (l planned, err error) {
	for _, v := range []struct {
		dst *json.RawMessage
		src any
	}{{&l.Steps, p.Steps}, {&l.Before, p.Before}, {&l.Diff, p.Diff}} {
		if *v.dst, err = logged(v.src); err != nil {
			return l, fmt.Errorf("encode the plan: %w", err)
		}
	}
	return l, nil
}

// checkIncident says which entry the incident contradicts, from 1, or 0: what its
// finding and decision are, and how it came to where it is. Logs from before these
// were kept say nothing of them.
func checkIncident(inc *Incident, entries []AuditEntry) (int, error) {
	var last known
	saidAt, history := 0, inc.History
	for n, entry := range entries {
		var data struct {
			known
			Approved []string `json:"approved_by"`
		}
		if len(entry.Data) > 0 && entry.Data[0] == '{' {
			if err := json.Unmarshal(entry.Data, &data); err != nil {
				return 0, fmt.Errorf("decode entry %d of incident %s: %w", entry.Seq, inc.ID, err)
			}
		}
		if data.Finding != nil {
			last, saidAt = data.known, n+1
		}
		if !slices.Contains(Statuses(), Status(entry.What)) {
			continue
		}
		if len(history) == 0 || !history[0].tells(entry, data.Approved) {
			return n + 1, nil
		}
		history = history[1:]
	}
	if len(history) > 0 {
		return len(entries), nil
	}
	is, err := inc.known()
	if err != nil {
		return 0, err
	}
	if saidAt > 0 && !is.equal(last) {
		return saidAt, nil
	}
	return 0, nil
}

// tells reports whether an audit entry is about the transition.
func (t Transition) tells(e AuditEntry, approved []string) bool {
	return e.What == string(t.To) && e.By == validText(t.By) && e.Why == validText(t.Reason) && e.At.Equal(t.At) && slices.Equal(approved, t.Approved)
}
