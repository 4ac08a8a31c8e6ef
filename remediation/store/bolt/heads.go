package bolt

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// Of an incident's unsent notices only the first, its head, stands in
// indexNoticesDue. A change of notices takes the heads of their incidents out,
// writes, and puts in the heads as they are then.

// touched lists the incidents whose notices a Write changes, each once.
func touched(list []change, before []stored) []string {
	var incidents []string
	seen := map[string]bool{"": true}
	for i := range list {
		for _, id := range []string{list[i].incident, before[i].incident} {
			if !seen[id] {
				seen[id] = true
				incidents = append(incidents, id)
			}
		}
	}
	return incidents
}

// leave takes the incidents' heads out of indexNoticesDue.
func leave(tx *bbolt.Tx, incidents []string) error {
	for _, id := range incidents {
		if e, ok := head(tx, id); ok {
			if err := tx.Bucket([]byte(e.bucket)).Delete(e.key); err != nil {
				return fmt.Errorf("delete from index %q: %w", e.bucket, err)
			}
		}
	}
	return nil
}

// enter puts the incidents' heads into indexNoticesDue.
func enter(tx *bbolt.Tx, incidents []string) error {
	for _, id := range incidents {
		if e, ok := head(tx, id); ok {
			if err := tx.Bucket([]byte(e.bucket)).Put(e.key, e.value); err != nil {
				return fmt.Errorf("add to index %q: %w", e.bucket, err)
			}
		}
	}
	return nil
}

// head gives the entry of indexNoticesDue for an incident's first unsent
// notice; false where all are sent.
func head(tx *bbolt.Tx, incident string) (entry, bool) {
	prefix := name(incident)
	k, v := tx.Bucket([]byte(indexUnsent)).Cursor().Seek(prefix)
	if !bytes.HasPrefix(k, prefix) || len(v) != 2*timeLen {
		return entry{}, false
	}
	id := k[len(prefix)+numberLen:]
	return entry{indexNoticesDue, join(v[:timeLen], id), bytes.Clone(v[timeLen:])}, true
}
