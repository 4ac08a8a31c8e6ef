package bolt

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// sweepAtOnce is how many rows one transaction of Sweep deletes, so that other
// writers don't wait for long.
const sweepAtOnce = 500

// Sweep deletes what has been settled since before the given time, some hundred
// rows in a transaction.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	total := 0
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n := 0
		err := s.db.Update(func(tx *bbolt.Tx) error {
			places := settledBefore(tx, before, sweepAtOnce)
			n = len(places)
			return remove(tx, places)
		})
		if err != nil {
			return total, fmt.Errorf("sweep: %w", err)
		}
		total += n
		if n < sweepAtOnce {
			return total, nil
		}
	}
}

// settledBefore lists at most n keys of indexSettled.
func settledBefore(tx *bbolt.Tx, before time.Time, n int) [][]byte {
	var places [][]byte
	limit := timeKey(before)
	c := tx.Bucket([]byte(indexSettled)).Cursor()
	for k, _ := c.First(); k != nil && len(places) < n && bytes.Compare(k[:timeLen], limit) < 0; k, _ = c.Next() {
		places = append(places, bytes.Clone(k))
	}
	return places
}

// remove deletes the rows at the given keys of indexSettled and all that the
// indexes hold of them. None of them is the head of an incident's notices.
func remove(tx *bbolt.Tx, places [][]byte) error {
	for _, place := range places {
		bucket, id := cutName(place[timeLen:])
		entries, err := entriesOf(tx, bucket, id)
		if err != nil {
			return err
		}
		if err := tx.Bucket([]byte(bucket)).Delete(id); err != nil {
			return fmt.Errorf("delete row %q in bucket %q: %w", id, bucket, err)
		}
		if err := reindex(tx, entries, nil); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf lists what the indexes hold of a row that Sweep deletes.
func entriesOf(tx *bbolt.Tx, bucket string, id []byte) ([]entry, error) {
	switch bucket {
	case bucketJobs:
		return storedEntries(tx, jobKind(), id)
	case bucketNotices:
		return storedEntries(tx, noticeKind(), id)
	case bucketSuppressions:
		return storedEntries(tx, suppressionKind(), id)
	case bucketRecords:
		return storedEntries(tx, recordKind(), id)
	}
	return nil, fmt.Errorf("index %q of the store names the bucket %q", indexSettled, bucket)
}

func storedEntries[T any](tx *bbolt.Tx, k kind[T], id []byte) ([]entry, error) {
	v, err := row[T](tx, k.bucket, id)
	if err != nil {
		return nil, err
	}
	return k.entries(v), nil
}
