package bolt

import (
	"bytes"
	"context"
	"slices"

	"go.etcd.io/bbolt"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// Incidents lists incidents, the newest first. It walks the narrowest index
// that fits the query, filters by the summaries in indexCreated, and reads only
// the rows that it returns.
func (s *Store) Incidents(ctx context.Context, q remediation.IncidentQuery) (list []*remediation.Incident, err error) {
	since := timeKey(q.Since)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		w := newWalk(tx, q)
		summaries := tx.Bucket([]byte(indexCreated))
		for place := w.next(); place != nil && len(list) < rows.Limit(q); place = w.next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if bytes.Compare(place[:timeLen], since) < 0 {
				return nil
			}
			if !decodeSummary(summaries.Get(place)).matches(q) {
				continue
			}
			inc, err := row[remediation.Incident](tx, bucketIncidents, place[timeLen:])
			if err != nil {
				return err
			}
			if !inc.UpdatedAt.Before(q.Updated) {
				list = append(list, inc)
			}
		}
		return nil
	})
	return list, err
}

// matches reports whether q asks for incidents of that summary; its times are not
// looked at.
func (s summary) matches(q remediation.IncidentQuery) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, remediation.Status(s.status))) &&
		(q.Playbook == "" || q.Playbook == s.playbook) &&
		(q.Resource == "" || q.Resource == s.resource) &&
		(q.Key == "" || q.Key == s.key)
}

// source says which index a query walks, and which names within it; no names
// are the whole index.
func source(q remediation.IncidentQuery) (index string, names []string) {
	switch {
	case q.Key != "":
		return indexKey, []string{q.Key}
	case q.Resource != "":
		return indexResource, []string{q.Resource}
	case len(q.Statuses) > 0:
		for _, s := range q.Statuses {
			names = append(names, string(s))
		}
		slices.Sort(names)
		return indexStatus, slices.Compact(names)
	case q.Playbook != "":
		return indexPlaybook, []string{q.Playbook}
	}
	return indexCreated, nil
}

// walk goes through parts of an index from the newest incident to the oldest,
// merging the parts.
type walk []*part

// part is a cursor within the keys of one prefix.
type part struct {
	cursor *bbolt.Cursor
	prefix []byte
	place  []byte // the key at the cursor without prefix: time, id; nil at the end
}

func newWalk(tx *bbolt.Tx, q remediation.IncidentQuery) walk {
	index, names := source(q)
	b := tx.Bucket([]byte(index))
	// No time, and no id after a time, begins like this.
	end := bytes.Repeat([]byte{0xff}, timeLen)
	if !q.Until.IsZero() {
		end = join(timeKey(q.Until), end)
	}
	if names == nil {
		return walk{newPart(b, nil, end)}
	}
	var w walk
	for _, s := range names {
		w = append(w, newPart(b, name(s), end))
	}
	return w
}

// newPart begins at the last key of the prefix that comes before its end.
func newPart(b *bbolt.Bucket, prefix, end []byte) *part {
	p := &part{cursor: b.Cursor(), prefix: prefix}
	beyond := join(prefix, end)
	k, _ := p.cursor.Seek(beyond)
	if k == nil {
		k, _ = p.cursor.Last()
	} else {
		k, _ = p.cursor.Prev()
	}
	p.at(k)
	return p
}

func (p *part) at(k []byte) {
	p.place = nil
	if rest, ok := bytes.CutPrefix(k, p.prefix); ok && len(rest) > timeLen {
		p.place = rest
	}
}

// next gives the newest place left, which is valid until the transaction ends;
// nil after the oldest.
func (w walk) next() []byte {
	var newest *part
	for _, p := range w {
		if p.place != nil && (newest == nil || bytes.Compare(p.place, newest.place) > 0) {
			newest = p
		}
	}
	if newest == nil {
		return nil
	}
	place := newest.place
	k, _ := newest.cursor.Prev()
	newest.at(k)
	return place
}
