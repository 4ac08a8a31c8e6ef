// Package bolt is a remediation.Store in one file, on go.etcd.io/bbolt. One
// process at a time can have it open. What is stored is on disk, synced, when
// Commit returns, and a crash in the middle of a Commit leaves the state before
// it.
//
// Rows are JSON under their ids. Beside them stand indexes, so that no read
// looks at more rows than it returns (see index.go).
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"secbot/remediation"
)

const (
	// schema is the version of the buckets and keys that this code writes.
	schema = 3
	// schemaKey is where the file says its own, in bucketMeta, as a decimal.
	schemaKey = "schema"

	defaultTimeout = time.Second
	// batchDelay bounds how long a Commit waits for others to share one
	// write to disk with.
	batchDelay = time.Millisecond
)

// Errors of Open.
var (
	// ErrLocked says that another process has the file open.
	ErrLocked = errors.New("another secbot has it open; stop that one, or have it do the work")
	// ErrSchema says that the file was written by a newer secbot.
	ErrSchema = errors.New("written by a newer secbot; use that version or a later one")
	// ErrDamaged says that parts of the file are missing or overwritten.
	ErrDamaged = errors.New("damaged; put back a copy of it, or move the file away to begin anew")
	// ErrForeign says that the file is not a store of secbot's.
	ErrForeign = errors.New("not a secbot store; name another path, or move the file away to begin anew")
)

// Options are how a file is opened.
type Options struct {
	// Timeout is how long to wait for another process to let go of the
	// file; a second where 0.
	Timeout time.Duration

	noSync bool // for tests: leave writing to disk to the system
}

// Store keeps rows in a bbolt file. Use Open to make one.
type Store struct {
	db      *bbolt.DB
	writers atomic.Int32 // Commits under way
}

var _ remediation.Store = (*Store)(nil)

// Open opens the store in the file at path and makes it, readable by its owner
// alone, where there is none, with the directories above. It returns ErrLocked
// where another process keeps the file longer than o.Timeout, ErrSchema where
// a newer secbot has written it, ErrDamaged where its end is missing or bbolt
// can't make sense of it, and ErrForeign where it is something else.
func Open(path string, o Options) (*Store, error) {
	if path == "" {
		return nil, errors.New("open store: the path is empty")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	db, err := openFile(path, o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return &Store{db: db}, nil
}

// openFile opens and prepares the file. bbolt panics on pages that make no
// sense, and reading beyond the end of a file that was cut off is a fault; both
// become ErrDamaged, and the file then stays open until the process ends.
func openFile(path string, o Options) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w (%v)", ErrDamaged, p)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      o.Timeout,
		FreelistType: bbolt.FreelistMapType,
		NoSync:       o.noSync,
	})
	if err != nil {
		return nil, explain(err)
	}
	db.MaxBatchDelay = batchDelay
	if err = db.View(checkSize); err == nil {
		err = db.Update(prepare)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkSize returns ErrDamaged where the file is shorter than the pages in use.
func checkSize(tx *bbolt.Tx) error {
	info, err := os.Stat(tx.DB().Path())
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("%w (%d bytes of %d are left)", ErrDamaged, info.Size(), tx.Size())
	}
	return nil
}

// explain puts bbolt's errors into the terms of Open's.
func explain(err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w (%w)", ErrForeign, err)
	}
	return err
}

// prepare checks the schema and makes the buckets of a new file.
func prepare(tx *bbolt.Tx) error {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return ErrForeign
		}
		return create(tx)
	}
	raw := string(meta.Get([]byte(schemaKey)))
	version, err := strconv.Atoi(raw)
	switch {
	case err != nil || version < 1:
		return fmt.Errorf("%w: schema %q in bucket %q", ErrForeign, raw, bucketMeta)
	case version > schema:
		return fmt.Errorf("%w: its schema is %d, this one knows %d", ErrSchema, version, schema)
	}
	if version < schema {
		if err := upgrade(tx); err != nil {
			return err
		}
	}
	for _, name := range buckets() {
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("%w: there is no bucket %q", ErrForeign, name)
		}
	}
	return nil
}

// upgrade brings a file of schema 1, which knew no records, or 2, which did not
// know who held a key last, to this one.
func upgrade(tx *bbolt.Tx) error {
	for _, name := range []string{bucketRecords, bucketLast} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return fmt.Errorf("create bucket %q: %w", name, err)
		}
	}
	if err := findLast(tx); err != nil {
		return err
	}
	return writeSchema(tx)
}

// findLast fills bucketLast: of each key the active incident, else the newest.
func findLast(tx *bbolt.Tx) error {
	created, active, last := tx.Bucket([]byte(indexCreated)), tx.Bucket([]byte(indexActive)), tx.Bucket([]byte(bucketLast))
	if created == nil || active == nil {
		return nil // prepare says what is missing
	}
	err := created.ForEach(func(k, summary []byte) error {
		key := []byte(decodeSummary(summary).key)
		if len(key) == 0 || len(k) < timeLen {
			return nil
		}
		return last.Put(key, k[timeLen:])
	})
	if err == nil {
		err = active.ForEach(last.Put)
	}
	if err != nil {
		return fmt.Errorf("fill bucket %q: %w", bucketLast, err)
	}
	return nil
}

func writeSchema(tx *bbolt.Tx) error {
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(schemaKey), []byte(strconv.Itoa(schema)))
}

func create(tx *bbolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return fmt.Errorf("create bucket %q: %w", name, err)
		}
	}
	return writeSchema(tx)
}

// Ping says whether the file is open.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(*bbolt.Tx) error { return nil })
}

// Close waits for reads and writes under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// view reads within one consistent state of the file.
func (s *Store) view(ctx context.Context, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(f)
}
