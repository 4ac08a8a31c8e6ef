//go:build bolt || emulate

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// script is a program of internal/node that tells the test lines of JSON.
type script struct {
	t     *testing.T
	name  string
	in    io.WriteCloser
	lines chan []byte
	noise *logBuffer
	err   error // how it ended; to be read once lines is closed
}

// startScript runs a script until the test's end. The scripts and their packages
// are in $SECBOT_NODE, where make has put them.
func startScript(t *testing.T, name string, args any) *script {
	t.Helper()
	path := filepath.Join(os.Getenv("SECBOT_NODE"), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make test-bolt` or `make test-emulate`, which install what this needs and set SECBOT_NODE", err)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "node", path, string(raw))
	s := &script{t: t, name: name, lines: make(chan []byte, 1000), noise: &logBuffer{}}
	cmd.Stderr, cmd.WaitDelay = s.noise, 5*time.Second
	in, err := cmd.StdinPipe() // it ends with it
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.lines <- []byte(sc.Text())
		}
		s.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = in.Close() // it may have ended by itself
		for range s.lines {
		}
		cancel()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, s.noise)
		}
	})
	return s
}

// next reads the next line into v, and reports whether there was one before the
// script's end.
func (s *script) next(v any) bool {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			return false
		}
		if err := json.Unmarshal(line, v); err != nil {
			s.t.Fatalf("%s says %q: %v", s.name, line, err)
		}
		return true
	case <-time.After(20 * time.Second):
		s.t.Fatalf("%s says nothing:\n%s", s.name, s.noise)
		return false
	}
}

// say gives the script a line.
func (s *script) say(line string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatalf("%s takes no more: %v", s.name, err)
	}
}

// listening waits until the script serves something, and gives its URL.
func (s *script) listening() string {
	s.t.Helper()
	var at struct{ Listening string }
	if !s.next(&at) || at.Listening == "" {
		s.t.Fatalf("%s does not listen:\n%s", s.name, s.noise)
	}
	return at.Listening
}
