package bolt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
	"secbot/remediation/store/storetest"
)

// openFast opens a new store that doesn't wait for the disk.
func openFast(t testing.TB) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "secbot.db"), Options{noSync: true})
}

func openAt(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func commit(t testing.TB, s remediation.Store, w remediation.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

// audited checks a store's indexes against its rows before it is closed.
type audited struct {
	*Store
	t testing.TB
}

func (a audited) Close() error {
	checkIndexes(a.t, a.Store)
	return a.Store.Close()
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) remediation.Store {
		a := audited{openFast(t), t}
		t.Cleanup(func() { checkIndexes(t, a.Store) })
		return a
	})
}

// checkIndexes says that the indexes hold what the rows make and nothing else.
// It does nothing where the store is closed.
func checkIndexes(t testing.TB, s *Store) {
	t.Helper()
	err := s.db.View(func(tx *bbolt.Tx) error {
		want, err := rebuilt(tx)
		if err != nil {
			return err
		}
		for _, index := range buckets()[9:] {
			err := tx.Bucket([]byte(index)).ForEach(func(k, v []byte) error {
				place := index + "\x00" + string(k)
				if value, ok := want[place]; !ok || !bytes.Equal(value, v) {
					return fmt.Errorf("index %q has %q → %q, want %q (%v)", index, k, v, value, ok)
				}
				delete(want, place)
				return nil
			})
			if err != nil {
				return err
			}
		}
		for place := range want {
			return fmt.Errorf("index lacks %q", place)
		}
		return nil
	})
	if err != nil && s.Ping(t.Context()) == nil {
		t.Error(err)
	}
}

// rebuilt makes all index entries from the rows.
func rebuilt(tx *bbolt.Tx) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := errors.Join(
		rebuild(tx, incidentKind(), all, nil),
		rebuild(tx, jobKind(), all, nil),
		rebuild(tx, suppressionKind(), all, nil),
		rebuild(tx, recordKind(), all, nil),
	)
	first := map[string]*remediation.Notice{}
	err = errors.Join(err, rebuild(tx, noticeKind(), all, func(n *remediation.Notice) {
		f := first[rows.Lane(n)]
		if n.Incident != "" && !n.Sent && (f == nil || cmp.Or(cmp.Compare(n.Seq, f.Seq), cmp.Compare(n.ID, f.ID)) < 0) {
			first[rows.Lane(n)] = n
		}
	}))
	for _, n := range first {
		all[indexNoticesDue+"\x00"+string(timeKey(n.Due))+n.ID] = timeKey(n.LeaseUntil)
	}
	return all, err
}

func rebuild[T any](tx *bbolt.Tx, k kind[T], all map[string][]byte, see func(*T)) error {
	return tx.Bucket([]byte(k.bucket)).ForEach(func(key, raw []byte) error {
		v, err := decode[T](k.bucket, key, raw)
		if err != nil {
			return err
		}
		for _, e := range k.entries(v) {
			all[e.bucket+"\x00"+string(e.key)] = e.value
		}
		if see != nil {
			see(v)
		}
		return nil
	})
}

func TestTimeKeysSort(t *testing.T) {
	times := []time.Time{
		{}, time.Unix(-1, 0), time.Unix(-1, 999999999), time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 0),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	sorted := slices.IsSortedFunc(times, func(a, b time.Time) int { return bytes.Compare(timeKey(a), timeKey(b)) })
	if !sorted {
		t.Error("keys of later times don't come later")
	}
	if got := len(timeKey(times[0])); got != timeLen {
		t.Errorf("a time takes %d bytes, want %d", got, timeLen)
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "secbot.db")
	openAt(t, path, Options{})
	for name, want := range map[string]fs.FileMode{path: 0o600, dir: 0o700 | fs.ModeDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(name), info.Mode(), want)
		}
	}
}

func TestOpenLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secbot.db")
	openAt(t, path, Options{})
	_, err := Open(path, Options{Timeout: time.Millisecond})
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
		want error // nil: any
	}{
		{"text", func(p string) error { return os.WriteFile(p, []byte("mode: auto\n"), 0o600) }, ErrForeign},
		{"a page of zeros", func(p string) error { return os.WriteFile(p, make([]byte, 1<<15), 0o600) }, ErrForeign},
		{"somebody else's bbolt file", func(p string) error {
			return edit(p, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err })
		}, ErrForeign},
		{"a newer schema", func(p string) error { return setSchema(p, "4") }, ErrSchema},
		{"a broken schema", func(p string) error { return setSchema(p, "new") }, ErrForeign},
		{"no schema", func(p string) error { return setSchema(p, "") }, ErrForeign},
		{"a bucket missing", func(p string) error {
			s, err := Open(p, Options{})
			if err != nil {
				return err
			}
			s.Close()
			return edit(p, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(indexUnsent)) })
		}, ErrForeign},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o700) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secbot.db")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first must not keep the lock
				s, err := Open(path, Options{})
				if err == nil {
					s.Close()
					t.Fatal("it was opened")
				}
				if tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
	if _, err := Open("", Options{}); err == nil {
		t.Error("an empty path was opened")
	}
}

// edit changes a bbolt file behind the store's back.
func edit(path string, f func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(f), db.Close())
}

func setSchema(path, to string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return edit(path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Put([]byte(schemaKey), []byte(to)) })
}

// TestUpgrade: a file of schema 1 is taken over with all that is in it, and with
// who held each key last.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Commit(t.Context(), remediation.Write{Jobs: []*remediation.Job{{ID: "j"}}}))
	for i, status := range []remediation.Status{remediation.StatusFixed, remediation.StatusResolved, remediation.StatusOpen, remediation.StatusFixed} {
		inc := &remediation.Incident{ID: fmt.Sprint("i", i), Key: fmt.Sprint("k", i/2), Status: status, CreatedAt: time.Unix(int64(i), 0)}
		must(s.Commit(t.Context(), remediation.Write{Incident: inc}))
	}
	must(s.Close())
	must(setSchema(path, "1"))
	must(edit(path, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte(bucketRecords)), tx.DeleteBucket([]byte(bucketLast)))
	}))
	s, err = Open(path, Options{})
	must(err)
	if _, err := s.Job(t.Context(), "j"); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{"k0": "i1", "k1": "i2"} {
		if last, err := s.Last(t.Context(), key); err != nil || last.ID != want {
			t.Errorf("last of %s: %v, %v; want %s", key, last, err, want)
		}
	}
	must(s.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{{Key: "r"}}}))
	must(s.Close())
}
