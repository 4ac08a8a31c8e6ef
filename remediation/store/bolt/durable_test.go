package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"secbot/remediation"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

// step is a Write of every kind of row, the n-th of its kind.
func step(n int) remediation.Write {
	id := fmt.Sprintf("%06d", n)
	return remediation.Write{
		Incident:     &remediation.Incident{ID: id, Key: id, Status: remediation.StatusOpen, CreatedAt: day(1)},
		Jobs:         []*remediation.Job{{ID: id, Due: day(1)}},
		Notices:      []*remediation.Notice{{ID: id, Incident: id, Seq: 1, Due: day(1)}},
		Message:      &remediation.MessageRef{Incident: id, Channel: "C1", TS: "1.2"},
		Suppressions: []*remediation.Suppression{{ID: id, CreatedAt: day(1)}},
		Audit:        []remediation.AuditEntry{{Incident: id, Seq: 1, At: day(1)}},
	}
}

// everything reads all that step may have stored.
func everything(t *testing.T, s *Store, n int) remediation.Write {
	t.Helper()
	ctx, id := t.Context(), fmt.Sprintf("%06d", n)
	var w remediation.Write
	var err [6]error
	w.Incident, err[0] = s.Incident(ctx, id)
	w.Message, err[1] = s.Message(ctx, id)
	w.Notices, err[2] = s.Notices(ctx, id)
	w.Audit, err[3] = s.Audit(ctx, id)
	job, jobErr := s.Job(ctx, id)
	if err[4] = jobErr; job != nil {
		w.Jobs = append(w.Jobs, job)
	}
	all, err5 := s.Suppressions(ctx, day(1))
	err[5] = err5
	for _, x := range all {
		if x.ID == id {
			w.Suppressions = append(w.Suppressions, x)
		}
	}
	for _, err := range err {
		if err != nil && !errors.Is(err, remediation.ErrNotFound) {
			t.Fatal(err)
		}
	}
	return w
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secbot.db")
	s := openAt(t, path, Options{})
	var want []remediation.Write
	for n := range 3 {
		w := step(n)
		commit(t, s, w)
		want = append(want, w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, Options{})
	for n, w := range want {
		if diff := cmp.Diff(w, everything(t, s, n)); diff != "" {
			t.Errorf("rows %d after opening again:\n%s", n, diff)
		}
	}
	checkIndexes(t, s)
	want[0].Audit = nil
	commit(t, s, want[0])
	if want[0].Incident.Version != 2 {
		t.Errorf("version %d, want 2", want[0].Incident.Version)
	}
	if err := s.Commit(t.Context(), step(1)); !errors.Is(err, remediation.ErrConflict) {
		t.Errorf("rows that exist: got %v, want ErrConflict", err)
	}
}

// writerEnv names the file for the process that TestKilled starts and kills.
const writerEnv = "SECBOT_TEST_WRITER"

// TestKilled kills a process that writes without end. Whatever it has reported
// as stored must be there, and nothing may be there by halves.
func TestKilled(t *testing.T) {
	if path := os.Getenv(writerEnv); path != "" {
		writeWithoutEnd(t, path)
	}
	path := filepath.Join(t.TempDir(), "secbot.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), writerEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reported := map[int]bool{}
	for lines := bufio.NewScanner(out); len(reported) < 100 && lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			break
		}
		reported[n] = true
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
	if len(reported) < 100 {
		t.Fatalf("the writer reported only %d writes", len(reported))
	}
	s := openAt(t, path, Options{})
	checkIndexes(t, s)
	if err := s.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for n := range 4 * len(reported) {
		got := everything(t, s, n)
		whole := cmp.Equal(got, stored1(step(n)))
		if !whole && (reported[n] || !cmp.Equal(got, remediation.Write{})) {
			t.Errorf("write %d, reported %v, is there as %+v", n, reported[n], got)
		}
	}
}

// stored1 is w with every version 1.
func stored1(w remediation.Write) remediation.Write {
	w.Incident.Version, w.Jobs[0].Version, w.Notices[0].Version, w.Message.Version, w.Suppressions[0].Version = 1, 1, 1, 1, 1
	return w
}

// writeWithoutEnd commits from four goroutines and prints each number that was
// stored.
func writeWithoutEnd(t *testing.T, path string) {
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(chan int)
	for range 4 {
		go func() {
			for n := range numbers {
				if err := s.Commit(t.Context(), step(n)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(n)
			}
		}()
	}
	for n := 0; ; n++ {
		numbers <- n
	}
}

// TestDamagedRows breaks one row after the other behind the store's back.
func TestDamagedRows(t *testing.T) {
	ctx := t.Context()
	tests := []struct {
		bucket string
		key    string
		uses   map[string]func(*Store) error
	}{
		{bucketIncidents, "000000", map[string]func(*Store) error{
			"Incident":  func(s *Store) error { _, err := s.Incident(ctx, "000000"); return err },
			"Active":    func(s *Store) error { _, err := s.Active(ctx, "000000"); return err },
			"Incidents": func(s *Store) error { _, err := s.Incidents(ctx, remediation.IncidentQuery{}); return err },
			"Commit": func(s *Store) error {
				i := step(0).Incident
				i.Version = 1
				return s.Commit(ctx, remediation.Write{Incident: i})
			},
		}},
		{bucketJobs, "000000", map[string]func(*Store) error{
			"Job":     func(s *Store) error { _, err := s.Job(ctx, "000000"); return err },
			"DueJobs": func(s *Store) error { _, err := s.DueJobs(ctx, day(2), 9); return err },
		}},
		{bucketNotices, "000000", map[string]func(*Store) error{
			"Notices":    func(s *Store) error { _, err := s.Notices(ctx, "000000"); return err },
			"DueNotices": func(s *Store) error { _, err := s.DueNotices(ctx, day(2), 9); return err },
		}},
		{bucketMessages, "000000", map[string]func(*Store) error{
			"Message": func(s *Store) error { _, err := s.Message(ctx, "000000"); return err },
		}},
		{bucketSuppressions, "000000", map[string]func(*Store) error{
			"Suppressions": func(s *Store) error { _, err := s.Suppressions(ctx, day(2)); return err },
		}},
		{bucketAudit, string(join(name("000000"), number(1))), map[string]func(*Store) error{
			"Audit": func(s *Store) error { _, err := s.Audit(ctx, "000000"); return err },
		}},
	}
	for _, tt := range tests {
		for method, use := range tt.uses {
			t.Run(method, func(t *testing.T) {
				s := openFast(t)
				commit(t, s, step(0))
				if err := s.db.Update(func(tx *bbolt.Tx) error {
					return tx.Bucket([]byte(tt.bucket)).Put([]byte(tt.key), []byte(`{"version":`))
				}); err != nil {
					t.Fatal(err)
				}
				err := use(s)
				if err == nil || !strings.Contains(err.Error(), strconv.Quote(tt.bucket)) || !strings.Contains(err.Error(), "000000") {
					t.Errorf("error %v does not name bucket %q and key", err, tt.bucket)
				}
			})
		}
	}
}

// TestCutOff opens files whose end is missing.
func TestCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secbot.db")
	s := openAt(t, path, Options{noSync: true})
	for n := range 50 {
		commit(t, s, step(n))
	}
	var used int64
	if err := s.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	for _, size := range []int64{1, 100, page, page + 100, 2 * page, 3 * page, 4 * page, used / 2, used - page, used - 1} {
		path := filepath.Join(t.TempDir(), "secbot.db")
		if err := os.WriteFile(path, raw[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{})
		if err == nil {
			s.Close()
			t.Errorf("%d of %d bytes were opened", size, used)
		}
		if size >= 2*page && !errors.Is(err, ErrDamaged) {
			t.Errorf("%d of %d bytes: got %v, want ErrDamaged", size, used, err)
		}
	}
}

// TestDanglingIndex takes rows away that an index points to.
func TestDanglingIndex(t *testing.T) {
	s := openFast(t)
	w := step(0)
	w.Jobs[0].Done = true
	commit(t, s, w)
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket([]byte(bucketIncidents)).Delete([]byte("000000")), tx.Bucket([]byte(bucketJobs)).Delete([]byte("000000")))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Active(t.Context(), "000000"); err == nil || errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("Active: %v", err)
	}
	if _, err := s.Sweep(t.Context(), day(30)); err == nil || !strings.Contains(err.Error(), bucketJobs) {
		t.Errorf("Sweep: %v", err)
	}
}

// TestFailedWrite has a Commit fail after some of its rows were written: its
// transaction must leave nothing.
func TestFailedWrite(t *testing.T) {
	s := openFast(t)
	commit(t, s, step(0))
	list, err := changes(step(1))
	if err != nil {
		t.Fatal(err)
	}
	list[len(list)-1].key = make([]byte, bbolt.MaxKeySize+1)
	if err := s.store(list); err == nil || errors.Is(err, remediation.ErrConflict) {
		t.Fatalf("got %v, want bbolt's error", err)
	}
	s.writers.Add(1) // now as one of several
	if err := s.store(list); err == nil || errors.Is(err, remediation.ErrConflict) {
		t.Fatalf("got %v, want bbolt's error", err)
	}
	s.writers.Add(-1)
	if diff := cmp.Diff(remediation.Write{}, everything(t, s, 1)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
	checkIndexes(t, s)
}
