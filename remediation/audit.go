package remediation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AuditFault says what is wrong with an entry of an audit log.
type AuditFault string

// The faults of an audit log.
const (
	AuditChanged   AuditFault = "changed"      // its content, or what it says came before it, is not what was written
	AuditMissing   AuditFault = "missing"      // the entry of this number is gone from the middle
	AuditReordered AuditFault = "out of order" // it stands in another's place, or twice
	AuditCutOff    AuditFault = "cut off"      // the log ends before this entry, which the incident counts
	AuditExtra     AuditFault = "extra"        // the incident does not count this entry
	AuditDiffers   AuditFault = "contradicted" // the incident says something else of its finding, decision or history
)

// AuditError says that an incident's audit log is not the one that was
// written, and at which entry that shows first.
type AuditError struct {
	Incident string
	Seq      int // the entry's number, from 1
	What     AuditFault
}

// Error names the incident and the entry.
func (e *AuditError) Error() string {
	return fmt.Sprintf("audit log of incident %s: entry %d is %s; the log was not written by secbot alone", e.Incident, e.Seq, e.What)
}

// VerifyAudit checks an incident's audit entries, as Store.Audit lists them,
// against each other and against the number and the hash that the incident
// keeps, and the incident's finding, decision and history against them. It
// returns an *AuditError for the first entry that was changed, is missing, stands
// in another's place, was cut off, was added or is contradicted by the incident.
//
// A log that goes on being written must be read between two reads of the
// incident that give the same AuditSeq, or it may seem cut off or too long.
func VerifyAudit(inc *Incident, entries []AuditEntry) error {
	prev := ""
	for n, entry := range entries {
		if fault := checkEntry(inc.ID, entries, n, prev); fault != "" {
			return &AuditError{Incident: inc.ID, Seq: n + 1, What: fault}
		}
		prev = entry.Hash
	}
	switch last := len(entries); {
	case last < inc.AuditSeq:
		return &AuditError{Incident: inc.ID, Seq: last + 1, What: AuditCutOff}
	case last > inc.AuditSeq:
		return &AuditError{Incident: inc.ID, Seq: inc.AuditSeq + 1, What: AuditExtra}
	case prev != inc.AuditHead:
		return &AuditError{Incident: inc.ID, Seq: last, What: AuditChanged}
	}
	seq, err := checkIncident(inc, entries)
	if err != nil {
		return err
	}
	if seq > 0 {
		return &AuditError{Incident: inc.ID, Seq: seq, What: AuditDiffers}
	}
	return nil
}

// checkEntry says what is wrong with the entry at index n; "" where nothing is.
func checkEntry(incident string, entries []AuditEntry, n int, prev string) AuditFault {
	entry, want := entries[n], n+1
	if entry.Seq != want {
		elsewhere := slices.ContainsFunc(entries, func(e AuditEntry) bool { return e.Seq == want })
		if elsewhere || entry.Seq < want {
			return AuditReordered
		}
		return AuditMissing
	}
	hash, err := entry.hash()
	if err != nil || hash != entry.Hash || entry.Prev != prev || entry.Incident != incident {
		return AuditChanged
	}
	return ""
}

// appendAudit makes the next entry of the incident's audit log and counts it
// in i. data is kept as JSON; nil is no data. The entry must be stored in the
// same Write as i.
func (i *Incident) appendAudit(at time.Time, by, what, why string, data any) (AuditEntry, error) {
	raw, err := loggedUpTo(maxAuditData, data)
	if err != nil {
		return AuditEntry{}, fmt.Errorf("audit entry %q of incident %s: %w", what, i.ID, err)
	}
	e := AuditEntry{
		Incident: i.ID,
		Seq:      i.AuditSeq + 1,
		At:       at.UTC().Round(0),
		By:       validText(by),
		What:     validText(what),
		Why:      validText(why),
		Data:     raw,
		Prev:     i.AuditHead,
	}
	if e.Hash, err = e.hash(); err != nil {
		return AuditEntry{}, fmt.Errorf("audit entry %q of incident %s: %w", what, i.ID, err)
	}
	i.AuditSeq, i.AuditHead = e.Seq, e.Hash
	return e, nil
}

// hash is the hex SHA-256 of the entry's compact JSON with an empty Hash:
// members in the order of the struct, as encoding/json writes them. Stores
// that keep an entry as JSON don't change it.
func (e AuditEntry) hash() (string, error) {
	e.Hash = ""
	e.At = e.At.UTC()
	raw, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// auditData gives v as compact JSON with sorted keys, so that it reads back
// as the very same bytes.
func auditData(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil || plain == nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// validText replaces what is not UTF-8: JSON would, and the hash of what is
// read back would differ.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
