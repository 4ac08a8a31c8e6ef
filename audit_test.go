package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// TestAuditVerifyNamesTheDamage: whoever changes, removes or swaps entries in the
// file of an installation is found by `secbot audit verify`, which names the entry
// and fails.
func TestAuditVerifyNamesTheDamage(t *testing.T) {
	sb, w := startSandbox(t)
	onStandIns(t, sb)
	s := startServer(t)
	if err := w.Authorize(t.Context(), 22, "0.0.0.0/0", "for a minute"); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	if status := s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "bearer"); status/100 != 2 {
		t.Fatalf("the event: %d", status)
	}
	s.messageSays(sb, "Undo Fix")
	s.stop()
	file := strings.TrimPrefix(os.Getenv("SECBOT_STORE"), "bolt://")
	if status, out, errOut := shell(t, "", "audit", "verify"); status != 0 || !strings.Contains(out, "1 incidents") {
		t.Fatalf("the untouched log: %d %s %s", status, out, errOut)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		damage func(log *bbolt.Bucket, keys [][]byte) error
		named  string
	}{
		"changed": {func(log *bbolt.Bucket, keys [][]byte) error {
			return log.Put(keys[1], bytes.Replace(log.Get(keys[1]), []byte(`"by":"`), []byte(`"by":"not `), 1))
		}, "entry 2"},
		"missing": {func(log *bbolt.Bucket, keys [][]byte) error { return log.Delete(keys[1]) }, "entry 2"},
		"cut off": {func(log *bbolt.Bucket, keys [][]byte) error { return log.Delete(keys[len(keys)-1]) }, "entry"},
		"reordered": {func(log *bbolt.Bucket, keys [][]byte) error {
			second, third := bytes.Clone(log.Get(keys[1])), bytes.Clone(log.Get(keys[2]))
			if err := log.Put(keys[1], third); err != nil {
				return err
			}
			return log.Put(keys[2], second)
		}, "entry 2"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "secbot.db")
			if err := os.WriteFile(copied, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			damage(t, copied, c.damage)
			t.Setenv("SECBOT_STORE", "bolt://"+copied)
			status, out, errOut := shell(t, "", "audit", "verify")
			if status == 0 || !strings.Contains(out, c.named) || !strings.Contains(errOut, "does not hold together") {
				t.Errorf("status %d\n%s\n%s", status, out, errOut)
			}
		})
	}
}

// damage changes the audit log in a store's file.
func damage(t *testing.T, file string, f func(log *bbolt.Bucket, keys [][]byte) error) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		log := tx.Bucket([]byte("audit"))
		var keys [][]byte
		if err := log.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil }); err != nil {
			return err
		}
		return f(log, keys)
	})
	if closed := db.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
}
