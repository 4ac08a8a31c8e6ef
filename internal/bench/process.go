package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// build builds secbot as a release is built, once for each list of tags.
func (b *bench) build(ctx context.Context, tags string) (string, error) {
	if path := b.built[tags]; path != "" {
		return path, nil
	}
	path := filepath.Join(b.dir, "secbot-"+strings.ReplaceAll(tags, ",", "-"))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w -buildid=", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build secbot: %w\n%s", err, out)
	}
	b.built[tags] = path
	return path, nil
}

// lambdaTags are those of the Makefile's target lambda.
const lambdaTags = "lambda.norpc"

// ran is a process that has ended.
type ran struct {
	took   time.Duration
	peak   int64 // the most memory that it had, in bytes
	out    []byte
	errOut []byte
}

// once runs a command to its end, with its environment alone.
func once(ctx context.Context, env []string, program string, args ...string) (ran, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errOut, env
	began := time.Now()
	err := cmd.Run()
	r := ran{took: time.Since(began), peak: peak(cmd), out: out.Bytes(), errOut: errOut.Bytes()}
	if err != nil {
		return r, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, r.errOut)
	}
	return r, nil
}

// peak is the most memory that an ended process had, in bytes. Linux counts it in
// KiB; elsewhere it may be off.
func peak(cmd *exec.Cmd) int64 {
	if cmd.ProcessState == nil {
		return 0
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}
