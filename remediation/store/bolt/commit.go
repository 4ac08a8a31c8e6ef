package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// change is one row of a Write, ready to be stored.
type change struct {
	bucket  string
	key     []byte
	want    int // the version that must be stored; 0: none
	data    []byte
	entries []entry
	owner   []byte                       // the finding key of an incident
	claim   []byte                       // the same, where the incident is active and claims it
	lane    string                       // of a notice
	home    string                       // the incident of a notice
	read    func([]byte) (stored, error) // decodes the row before
	counted func()                       // counts the pointer's version up
}

// stored is what matters of the row before a change.
type stored struct {
	version int
	entries []entry
	lane    string // of a notice
	home    string // the incident of a notice
	claim   []byte // the finding key that an active incident held
}

// changeOf prepares the storing of v. v itself stays as it is until counted is
// called.
func changeOf[T any](k kind[T], v *T) (change, error) {
	next := *v
	*k.version(&next)++
	data, err := rows.Encode(&next)
	if err != nil {
		return change{}, err
	}
	owner, claim := claimOf(v)
	return change{
		bucket:  k.bucket,
		owner:   owner,
		claim:   claim,
		key:     k.key(v),
		want:    *k.version(v),
		data:    data,
		entries: k.entries(&next),
		lane:    laneOf(v),
		home:    homeOf(v),
		read: func(raw []byte) (stored, error) {
			old, err := decode[T](k.bucket, k.key(v), raw)
			if err != nil {
				return stored{}, err
			}
			_, held := claimOf(old)
			return stored{*k.version(old), k.entries(old), laneOf(old), homeOf(old), held}, nil
		},
		counted: func() { *k.version(v)++ },
	}, nil
}

// laneOf is a notice's lane; empty for other rows.
func laneOf(v any) string {
	if n, ok := v.(*remediation.Notice); ok {
		return rows.Lane(n)
	}
	return ""
}

// homeOf is the incident with which a notice stays; empty for other rows.
func homeOf(v any) string {
	if n, ok := v.(*remediation.Notice); ok {
		return n.Incident
	}
	return ""
}

// claimOf is an incident's finding key, and the same again where it is active;
// nil for other rows.
func claimOf(v any) (owner, claim []byte) {
	i, ok := v.(*remediation.Incident)
	if !ok {
		return nil, nil
	}
	owner = []byte(i.Key)
	if i.Status.Active() {
		claim = owner
	}
	return owner, claim
}

// decode reads a row's JSON. The error names the row.
func decode[T any](bucket string, key, raw []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("row %q in bucket %q of the store is damaged: %w", key, bucket, err)
	}
	return v, nil
}

// add appends the change of a row to list.
func add[T any](list []change, k kind[T], v *T) ([]change, error) {
	c, err := changeOf(k, v)
	return append(list, c), err
}

// addAll appends the changes of several rows to list.
func addAll[T any](list []change, k kind[T], all []*T) ([]change, error) {
	for _, v := range all {
		var err error
		if list, err = add(list, k, v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// changes prepares everything in w.
func changes(w remediation.Write) (list []change, err error) {
	if w.Incident != nil {
		if list, err = add(list, incidentKind(), w.Incident); err != nil {
			return nil, err
		}
	}
	if list, err = addAll(list, jobKind(), w.Jobs); err != nil {
		return nil, err
	}
	if list, err = addAll(list, noticeKind(), w.Notices); err != nil {
		return nil, err
	}
	if w.Message != nil {
		if list, err = add(list, messageKind(), w.Message); err != nil {
			return nil, err
		}
	}
	if list, err = addAll(list, suppressionKind(), w.Suppressions); err != nil {
		return nil, err
	}
	if list, err = addAll(list, recordKind(), w.Records); err != nil {
		return nil, err
	}
	for i := range w.Audit {
		if list, err = add(list, auditKind(), &w.Audit[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Commit stores everything in w or nothing, and returns when it is on disk;
// remediation.ErrConflict. Where other Commits are under way, they share one
// write to disk.
func (s *Store) Commit(ctx context.Context, w remediation.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rows.Check(w); err != nil {
		return err
	}
	list, err := changes(w)
	if err != nil {
		return err
	}
	if err := s.store(list); err != nil {
		return err
	}
	for _, c := range list {
		c.counted()
	}
	return nil
}

// store writes by itself where nobody else does, and with the others where
// somebody does.
func (s *Store) store(list []change) error {
	defer s.writers.Add(-1)
	if s.writers.Add(1) == 1 {
		return s.db.Update(func(tx *bbolt.Tx) error { return apply(tx, list) })
	}
	// The function may be run more than once. A conflict is found before
	// anything is written, so it need not undo what the others do.
	var conflict error
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		conflict = nil
		err := apply(tx, list)
		if errors.Is(err, remediation.ErrConflict) {
			conflict, err = err, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return conflict
}

// apply checks every condition and then writes. Where it returns ErrConflict it
// has written nothing.
func apply(tx *bbolt.Tx, list []change) error {
	before := make([]stored, len(list))
	for i, c := range list {
		var err error
		if before[i], err = c.check(tx); err != nil {
			return err
		}
	}
	incidents := touched(list, before)
	if err := leave(tx, incidents); err != nil {
		return err
	}
	for i, c := range list {
		if err := tx.Bucket([]byte(c.bucket)).Put(c.key, c.data); err != nil {
			return fmt.Errorf("store row %q in bucket %q: %w", c.key, c.bucket, err)
		}
		if err := reindex(tx, before[i].entries, c.entries); err != nil {
			return err
		}
		if err := c.holdsLast(tx, before[i].claim); err != nil {
			return err
		}
	}
	return enter(tx, incidents)
}

// holdsLast notes that an active incident holds its key, which stays noted once it
// is settled; held is the key that it held before.
func (c change) holdsLast(tx *bbolt.Tx, held []byte) error {
	last := tx.Bucket([]byte(bucketLast))
	if held != nil && !bytes.Equal(held, c.owner) {
		if err := last.Delete(held); err != nil {
			return fmt.Errorf("delete from bucket %q: %w", bucketLast, err)
		}
	}
	if c.claim == nil {
		return nil
	}
	if err := last.Put(c.claim, c.key); err != nil {
		return fmt.Errorf("store in bucket %q: %w", bucketLast, err)
	}
	return nil
}

// check reads the row before and compares versions and claims.
func (c change) check(tx *bbolt.Tx) (stored, error) {
	if c.claim != nil {
		holder := tx.Bucket([]byte(indexActive)).Get(c.claim)
		if holder != nil && !bytes.Equal(holder, c.key) {
			return stored{}, remediation.ErrConflict
		}
	}
	raw := tx.Bucket([]byte(c.bucket)).Get(c.key)
	if (raw == nil) != (c.want == 0) {
		return stored{}, remediation.ErrConflict
	}
	if raw == nil {
		return stored{}, nil
	}
	old, err := c.read(raw)
	if err == nil && (old.version != c.want || old.home != c.home) {
		err = remediation.ErrConflict
	}
	return old, err
}

// reindex takes a row's old entries out of the indexes and puts the new ones in.
// Entries that stay as they are are not touched.
func reindex(tx *bbolt.Tx, old, now []entry) error {
	for _, e := range old {
		if contains(now, e, false) {
			continue
		}
		if err := tx.Bucket([]byte(e.bucket)).Delete(e.key); err != nil {
			return fmt.Errorf("delete from index %q: %w", e.bucket, err)
		}
	}
	for _, e := range now {
		if contains(old, e, true) {
			continue
		}
		if err := tx.Bucket([]byte(e.bucket)).Put(e.key, e.value); err != nil {
			return fmt.Errorf("add to index %q: %w", e.bucket, err)
		}
	}
	return nil
}

// contains reports whether list has the key of e and, if asked, its value.
func contains(list []entry, e entry, value bool) bool {
	for _, x := range list {
		if x.bucket == e.bucket && bytes.Equal(x.key, e.key) {
			return !value || bytes.Equal(x.value, e.value)
		}
	}
	return false
}
