package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKeepAndDrop(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report")
	if err := os.WriteFile(path, []byte("earlier"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		end  func(*File) error
		want string
	}{{(*File).Drop, "earlier"}, {(*File).Keep, "whole"}} {
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("whole"); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "earlier" {
			t.Errorf("before the end there is %q, %v", raw, err)
		}
		if err := tt.end(f); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != tt.want {
			t.Errorf("%q, %v; want %s", raw, err, tt.want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "no", "folder"), os.DevNull} {
		if f, err := Create(bad); err == nil {
			t.Errorf("%s is written to, by %s", bad, f.Name())
		}
	}
}
