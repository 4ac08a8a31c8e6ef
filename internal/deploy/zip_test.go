package deploy_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"secbot/internal/deploy"
)

func zipped(t *testing.T, program, config []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := deploy.Zip(&b, program, config); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestZipIsTheSameEachTime: it depends on nothing but what goes in, and Lambda may
// run what is in it.
func TestZipIsTheSameEachTime(t *testing.T) {
	raw := zipped(t, []byte("program"), []byte("mode: ask\n"))
	if !bytes.Equal(raw, zipped(t, []byte("program"), []byte("mode: ask\n"))) {
		t.Error("the same content gives another zip")
	}
	if bytes.Equal(raw, zipped(t, []byte("program"), []byte("mode: auto\n"))) {
		t.Error("another policy gives the same zip")
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil || len(z.File) != 2 {
		t.Fatalf("%v", err)
	}
	for name, mode := range map[string]os.FileMode{"bootstrap": 0o755, "secbot.yaml": 0o644} {
		f, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// TestProgramOfZip: what make lambda has built may be handed in as it is, or as a
// zip.
func TestProgramOfZip(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content []byte
		want    string
		err     error
	}{
		"bootstrap": {[]byte("program"), "program", nil},
		"a.zip":     {zipped(t, []byte("program"), nil), "program", nil},
		"empty.zip": {emptyZip(t), "", deploy.ErrNoBootstrap},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := deploy.Program(path); string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func emptyZip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := zip.NewWriter(&b).Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestArchitecture asks about programs that the toolchain has really built.
func TestArchitecture(t *testing.T) {
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for system, want := range map[string]string{"linux/arm64": "arm64", "linux/amd64": "x86_64", "darwin/arm64": ""} {
		goos, goarch := filepath.Split(system)
		out := filepath.Join(t.TempDir(), "program")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+filepath.Clean(goos), "GOARCH="+goarch)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := deploy.Architecture(raw); got != want || (want == "") != errors.Is(err, deploy.ErrNoBootstrap) {
			t.Errorf("%s: %q %v", system, got, err)
		}
	}
	self, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := deploy.Architecture(self); err == nil {
		t.Errorf("what is linked dynamically is taken for %s", got)
	}
}
