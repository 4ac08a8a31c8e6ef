// Package rows holds what every store does alike with its rows: the check
// before they are written, their JSON, and the conditions of the reads.
package rows

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"secbot/remediation"
)

const (
	maxName      = 1024 // bytes of an id, a key or another indexed name
	defaultLimit = 100
)

// ErrInvalid says that a Write holds a row that no store can keep. Storing it
// again gives the same error.
var ErrInvalid = errors.New("row can't be stored")

// Encode gives v as JSON. Raw JSON within v is compacted and otherwise left
// byte for byte: unlike json.Marshal it does not escape <, > and &.
func Encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %T is not JSON: %w", ErrInvalid, v, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// CheckKeys returns an ErrInvalid where more are asked for than Store.Records takes.
func CheckKeys(keys []string) error {
	if len(keys) > remediation.MaxRecords {
		return fmt.Errorf("%w: %d records are asked for at once, at most %d may be", ErrInvalid, len(keys), remediation.MaxRecords)
	}
	return nil
}

// Check returns an ErrInvalid where a row of w breaks the rules of
// Store.Commit that have nothing to do with what is stored.
func Check(w remediation.Write) error {
	c := checker{seen: map[string]bool{}}
	if i := w.Incident; i != nil {
		c.row("incident", i.ID)
		c.name("incident key", i.Key, i.Status.Active())
		c.name("playbook", i.Finding.Playbook, false)
		c.name("resource", i.Finding.Resource.ID, false)
		c.name("status", string(i.Status), false)
	}
	for _, j := range w.Jobs {
		if c.present("job", j != nil) {
			c.row("job", j.ID)
		}
	}
	for _, n := range w.Notices {
		if c.present("notice", n != nil) {
			c.row("notice", n.ID)
			c.name("incident of a notice", n.Incident, false)
		}
	}
	if w.Message != nil {
		c.row("message", w.Message.Incident)
	}
	for _, s := range w.Suppressions {
		if c.present("suppression", s != nil) {
			c.row("suppression", s.ID)
		}
	}
	for _, r := range w.Records {
		if c.present("record", r != nil) {
			c.row("record", r.Key)
		}
	}
	for _, e := range w.Audit {
		c.entry(e)
	}
	return c.err
}

// checker keeps the first error and the rows seen so far.
type checker struct {
	seen map[string]bool
	err  error
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
}

func (c *checker) present(what string, there bool) bool {
	if !there {
		c.fail("nil %s", what)
	}
	return there
}

func (c *checker) row(what, id string) {
	c.name(what+" id", id, true)
	c.once(what + " " + id)
}

func (c *checker) once(row string) {
	if c.seen[row] {
		c.fail("%s stands twice in one write", row)
	}
	c.seen[row] = true
}

func (c *checker) name(what, s string, needed bool) {
	switch {
	case needed && s == "":
		c.fail("empty %s", what)
	case len(s) > maxName:
		c.fail("%s is %d bytes long, %d are allowed", what, len(s), maxName)
	case !utf8.ValidString(s):
		c.fail("%s %q is not UTF-8", what, s)
	}
}

func (c *checker) entry(e remediation.AuditEntry) {
	c.name("incident of an audit entry", e.Incident, true)
	c.once(fmt.Sprintf("audit entry %d of %s", e.Seq, e.Incident))
	if e.Seq < 1 {
		c.fail("audit entry %d of incident %s: entries count from 1", e.Seq, e.Incident)
	}
}

// Limit is how many incidents a query gives at most.
func Limit(q remediation.IncidentQuery) int {
	if q.Limit <= 0 {
		return defaultLimit
	}
	return q.Limit
}

// Match reports whether an incident is among those that q asks for.
func Match(q remediation.IncidentQuery, i *remediation.Incident) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, i.Status)) &&
		(q.Playbook == "" || q.Playbook == i.Finding.Playbook) &&
		(q.Resource == "" || q.Resource == i.Finding.Resource.ID) &&
		(q.Key == "" || q.Key == i.Key) &&
		!i.CreatedAt.Before(q.Since) && (q.Until.IsZero() || !i.CreatedAt.After(q.Until)) && !i.UpdatedAt.Before(q.Updated)
}

// Ready reports whether something due at the given time and leased until
// another may be taken up at now.
func Ready(due, lease, now time.Time) bool { return !due.After(now) && !lease.After(now) }

// Live reports whether a suppression is in force at now.
func Live(s *remediation.Suppression, now time.Time) bool {
	return !s.Ended && (s.Until.IsZero() || s.Until.After(now))
}

// JobSettled says since when a job may be swept; false where it may not.
func JobSettled(j *remediation.Job) (time.Time, bool) { return j.UpdatedAt, j.Done }

// Lane names the queue in which a notice stands: its incident's, to its
// destination. Empty for a notice without an incident, which waits for no other.
func Lane(n *remediation.Notice) string {
	if n.Incident == "" {
		return ""
	}
	return n.Incident + "\x00" + n.To
}

// BySeq compares notices by Seq, then by id.
func BySeq(a, b *remediation.Notice) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
}

// ByDue compares notices by Due, then by id.
func ByDue(a, b *remediation.Notice) int {
	return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
}

// Heads gives of unsent notices the first of each lane, and those without one,
// by Due. It uses the memory of the list.
func Heads(unsent []*remediation.Notice) []*remediation.Notice {
	slices.SortFunc(unsent, BySeq)
	started := map[string]bool{}
	heads := slices.DeleteFunc(unsent, func(n *remediation.Notice) bool {
		lane := Lane(n)
		behind := lane != "" && started[lane]
		started[lane] = true
		return behind
	})
	slices.SortFunc(heads, ByDue)
	return heads
}

// NoticeSettled says since when a notice may be swept; false where it may not.
func NoticeSettled(n *remediation.Notice) (time.Time, bool) { return n.UpdatedAt, n.Sent }

// SuppressionSettled says since when, in the past or to come, a suppression
// may be swept; false for one that holds for good.
func SuppressionSettled(s *remediation.Suppression) (time.Time, bool) {
	if !s.Ended && s.Until.After(s.UpdatedAt) {
		return s.Until, true
	}
	return s.UpdatedAt, s.Ended || !s.Until.IsZero()
}

// RecordSettled says since when, in the past or to come, a record may be swept;
// false for one that is kept for good.
func RecordSettled(r *remediation.Record) (time.Time, bool) { return r.Until, !r.Until.IsZero() }
