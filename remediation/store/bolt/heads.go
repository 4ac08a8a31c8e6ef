package bolt

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// Of a lane's unsent notices only the first, its head, stands in
// indexNoticesDue. A change of notices takes the heads of their lanes out,
// writes, and puts in the heads as they are then.

// touched lists the lanes whose notices a Write changes, each once.
func touched(list []change, before []stored) []string {
	var lanes []string
	seen := map[string]bool{"": true}
	for i := range list {
		for _, id := range []string{list[i].lane, before[i].lane} {
			if !seen[id] {
				seen[id] = true
				lanes = append(lanes, id)
			}
		}
	}
	return lanes
}

// leave takes the lanes' heads out of indexNoticesDue.
func leave(tx *bbolt.Tx, lanes []string) error {
	for _, id := range lanes {
		if e, ok := head(tx, id); ok {
			if err := tx.Bucket([]byte(e.bucket)).Delete(e.key); err != nil {
				return fmt.Errorf("delete from index %q: %w", e.bucket, err)
			}
		}
	}
	return nil
}

// enter puts the lanes' heads into indexNoticesDue.
func enter(tx *bbolt.Tx, lanes []string) error {
	for _, id := range lanes {
		if e, ok := head(tx, id); ok {
			if err := tx.Bucket([]byte(e.bucket)).Put(e.key, e.value); err != nil {
				return fmt.Errorf("add to index %q: %w", e.bucket, err)
			}
		}
	}
	return nil
}

// head gives the entry of indexNoticesDue for a lane's first unsent
// notice; false where all are sent.
func head(tx *bbolt.Tx, lane string) (entry, bool) {
	prefix := name(lane)
	k, v := tx.Bucket([]byte(indexUnsent)).Cursor().Seek(prefix)
	if !bytes.HasPrefix(k, prefix) || len(v) != 2*timeLen {
		return entry{}, false
	}
	id := k[len(prefix)+numberLen:]
	return entry{indexNoticesDue, join(v[:timeLen], id), bytes.Clone(v[timeLen:])}, true
}
