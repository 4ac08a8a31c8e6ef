package bolt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// Incident reads one incident by id; remediation.ErrNotFound.
func (s *Store) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	return get[remediation.Incident](ctx, s, bucketIncidents, "incident", id)
}

// Active reads the active incident of a finding key; remediation.ErrNotFound.
func (s *Store) Active(ctx context.Context, key string) (inc *remediation.Incident, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		id := tx.Bucket([]byte(indexActive)).Get([]byte(key))
		if id == nil {
			return fmt.Errorf("active incident of key %q: %w", key, remediation.ErrNotFound)
		}
		inc, err = row[remediation.Incident](tx, bucketIncidents, id)
		return err
	})
	return inc, err
}

// Last reads the incident that was active last under a finding key;
// remediation.ErrNotFound.
func (s *Store) Last(ctx context.Context, key string) (inc *remediation.Incident, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		id := tx.Bucket([]byte(bucketLast)).Get([]byte(key))
		if id == nil {
			return fmt.Errorf("last incident of key %q: %w", key, remediation.ErrNotFound)
		}
		inc, err = row[remediation.Incident](tx, bucketIncidents, id)
		return err
	})
	return inc, err
}

// Job reads one job by id; remediation.ErrNotFound.
func (s *Store) Job(ctx context.Context, id string) (*remediation.Job, error) {
	return get[remediation.Job](ctx, s, bucketJobs, "job", id)
}

// Message reads the reference to an incident's Slack message;
// remediation.ErrNotFound.
func (s *Store) Message(ctx context.Context, incident string) (*remediation.MessageRef, error) {
	return get[remediation.MessageRef](ctx, s, bucketMessages, "message of incident", incident)
}

// Record reads one record by its key; remediation.ErrNotFound.
func (s *Store) Record(ctx context.Context, key string) (*remediation.Record, error) {
	return get[remediation.Record](ctx, s, bucketRecords, "record", key)
}

// Records reads those of some keys that there are, in one transaction.
func (s *Store) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	if err := rows.CheckKeys(keys); err != nil {
		return nil, err
	}
	found := map[string]*remediation.Record{}
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		for _, key := range keys {
			if tx.Bucket([]byte(bucketRecords)).Get([]byte(key)) == nil {
				continue
			}
			r, err := row[remediation.Record](tx, bucketRecords, []byte(key))
			if err != nil {
				return err
			}
			found[key] = r
		}
		return nil
	})
	return found, err
}

// DueJobs lists unfinished jobs that may be taken up at now. It passes over
// those that are due and leased, and reads no other.
func (s *Store) DueJobs(ctx context.Context, now time.Time, n int) ([]*remediation.Job, error) {
	return due[remediation.Job](ctx, s, indexJobsDue, bucketJobs, now, n)
}

// DueNotices lists the first unsent notice of each lane, and unsent notices
// without one, that may be sent at now. It passes over those that are due and
// leased, and reads no other.
func (s *Store) DueNotices(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	return due[remediation.Notice](ctx, s, indexNoticesDue, bucketNotices, now, n)
}

// Waiting lists the first unsent notice of each lane, and unsent notices without
// one.
func (s *Store) Waiting(ctx context.Context, n int) (list []*remediation.Notice, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(indexNoticesDue)).Cursor()
		for k, _ := c.First(); k != nil && len(list) < n; k, _ = c.Next() {
			v, err := row[remediation.Notice](tx, bucketNotices, k[timeLen:])
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, err
}

// due reads at most n rows that an index of Due, id → LeaseUntil has as ready.
func due[T any](ctx context.Context, s *Store, index, bucket string, now time.Time, n int) (list []*T, err error) {
	until := timeKey(now)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(index)).Cursor()
		for k, lease := c.First(); k != nil && len(list) < n; k, lease = c.Next() {
			if bytes.Compare(k[:timeLen], until) > 0 {
				return nil
			}
			if bytes.Compare(lease, until) > 0 {
				continue
			}
			v, err := row[T](tx, bucket, k[timeLen:])
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, err
}

// Notices lists an incident's notices by Seq.
func (s *Store) Notices(ctx context.Context, incident string) (list []*remediation.Notice, err error) {
	prefix := name(incident)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return each(tx, indexNotices, prefix, func(k, _ []byte) error {
			n, err := row[remediation.Notice](tx, bucketNotices, k[len(prefix)+numberLen:])
			list = append(list, n)
			return err
		})
	})
	return list, err
}

// Suppressions lists those in force at now.
func (s *Store) Suppressions(ctx context.Context, now time.Time) (list []*remediation.Suppression, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(indexSuppressionsLive)).Cursor()
		for k, _ := c.Seek(timeKey(now.Add(1))); k != nil; k, _ = c.Next() {
			x, err := row[remediation.Suppression](tx, bucketSuppressions, k[timeLen:])
			if err != nil {
				return err
			}
			list = append(list, x)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b *remediation.Suppression) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// Audit lists an incident's audit entries by Seq.
func (s *Store) Audit(ctx context.Context, incident string) (list []remediation.AuditEntry, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return each(tx, bucketAudit, name(incident), func(k, raw []byte) error {
			e, err := decode[remediation.AuditEntry](bucketAudit, k, raw)
			if err == nil {
				list = append(list, *e)
			}
			return err
		})
	})
	return list, err
}

// each calls f for every key with the prefix, in order, until f fails.
func each(tx *bbolt.Tx, bucket string, prefix []byte, f func(k, v []byte) error) error {
	c := tx.Bucket([]byte(bucket)).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix) && k != nil; k, v = c.Next() {
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}

// get reads one row by its id.
func get[T any](ctx context.Context, s *Store, bucket, what, id string) (v *T, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		raw := tx.Bucket([]byte(bucket)).Get([]byte(id))
		if raw == nil {
			return fmt.Errorf("%s %q: %w", what, id, remediation.ErrNotFound)
		}
		v, err = decode[T](bucket, []byte(id), raw)
		return err
	})
	return v, err
}

// row reads the row that an index points to.
func row[T any](tx *bbolt.Tx, bucket string, id []byte) (*T, error) {
	raw := tx.Bucket([]byte(bucket)).Get(id)
	if raw == nil {
		return nil, fmt.Errorf("row %q of bucket %q stands in an index of the store and is missing", id, bucket)
	}
	return decode[T](bucket, id, raw)
}
