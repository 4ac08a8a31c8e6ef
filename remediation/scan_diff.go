package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxLastScan bounds how many findings of a scan are kept to be compared with: a
// row of the store holds no more. Of more than that nothing is compared.
const maxLastScan = 1000

// maxGoneName bounds the name that is kept of each, in characters, for the same reason.
const maxGoneName = 60

// maxGone is how many of those that are closed a report names.
const maxGone = 10

// lastScan is the scan of a scope before the one under way, and what that has found
// of it.
type lastScan struct {
	rec  *Record
	was  scanFound    // what it found
	now  scanFound    // what the scan under way finds
	ever bool         // there was one
	read map[Ref]bool // resources that it found something on, and whether they were read since
}

// scanFound is what the record of a scope's last scan holds.
type scanFound struct {
	At      time.Time       `json:"at"`
	Found   map[string]Gone `json:"found"`             // by a digest of the finding's key
	Partial bool            `json:"partial,omitempty"` // not everything was read
	TooMany bool            `json:"too_many,omitempty"`
}

func lastScanRecord(scope string) string {
	if scope == "" {
		scope = "all"
	}
	return "scan/last/" + scope
}

// newLastScan is that of a scope that was never scanned.
func newLastScan() *lastScan {
	return &lastScan{read: map[Ref]bool{}, now: scanFound{Found: map[string]Gone{}}}
}

// lastScan reads what the last scan of a scope has found.
func (e *Engine) lastScan(ctx context.Context, scope string) (*lastScan, error) {
	l := newLastScan()
	rec, err := e.o.Store.Record(ctx, lastScanRecord(scope))
	if errors.Is(err, ErrNotFound) {
		l.rec = &Record{Key: lastScanRecord(scope)}
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the last scan has found: %w", err)
	}
	l.rec, l.ever = rec, true
	if err := json.Unmarshal(rec.Data, &l.was); err != nil {
		return nil, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	for _, g := range l.was.Found {
		l.read[g.Resource] = false
	}
	return l, nil
}

// saw is told of each resource that was looked at, one at a time.
func (l *lastScan) saw(r Ref) {
	if _, ok := l.read[r]; ok {
		l.read[r] = true
	}
}

// found is told of each finding that is open, and says whether the last scan has
// not found it; false where there was none.
func (l *lastScan) found(f Finding) bool {
	id := digest([]byte(f.Key()))[:16]
	if len(l.now.Found) == maxLastScan {
		l.now.TooMany = true
	} else {
		l.now.Found[id] = Gone{Playbook: f.Playbook, Resource: f.Resource, Name: firstRunes(f.Name, maxGoneName)}
	}
	_, before := l.was.Found[id]
	return l.ever && !l.was.TooMany && !before
}

// firstRunes are the first n characters of s.
func firstRunes(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n])
	}
	return s
}

// diff compares the scan with the one before; nil where there was none, or too much
// was found to compare.
func (l *lastScan) diff(r *ScanReport) *ScanDiff {
	if !l.ever || l.was.TooMany || l.now.TooMany {
		return nil
	}
	d := &ScanDiff{Since: l.was.At, Unsure: l.was.Partial}
	for id := range l.now.Found {
		if _, before := l.was.Found[id]; !before {
			d.New++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.was.Found)) {
		gone := l.was.Found[id]
		_, still := l.now.Found[id]
		switch {
		case still:
		case l.outOfSight(gone, r):
			d.Unread++
		default: // closed, or deleted
			if d.Closed++; len(d.Gone) < maxGone {
				d.Gone = append(d.Gone, gone)
			}
		}
	}
	return d
}

// outOfSight reports whether a scan can't tell what has become of something: it has
// not read everything, and not this.
func (l *lastScan) outOfSight(g Gone, r *ScanReport) bool {
	return !r.Complete() && !l.read[g.Resource]
}

// write gives the record of what the scan has found, for the next to compare with;
// none of one that was cancelled.
func (l *lastScan) write(r *ScanReport) ([]*Record, error) {
	if r.CancelledBy != "" {
		return nil, nil
	}
	l.now.At, l.now.Partial = r.Finished, !r.Complete()
	for id, gone := range l.was.Found {
		if !l.outOfSight(gone, r) {
			continue
		}
		if _, ok := l.now.Found[id]; !ok && len(l.now.Found) >= maxLastScan {
			l.now.TooMany = true
			break
		}
		l.now.Found[id] = gone // still open, as far as anybody knows
	}
	if l.now.TooMany {
		l.now.Found = nil
	}
	raw, err := json.Marshal(l.now)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", l.rec.Key, err)
	}
	l.rec.Data, l.rec.At = raw, r.Finished
	return []*Record{l.rec}, nil
}
