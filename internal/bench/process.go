package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lambdaTags are those of the Makefile's target lambda.
const lambdaTags = "lambda.norpc,lambda"

// small are the compiler's flags of that target.
func small() []string { return []string{"-gcflags=all=-l", "-gcflags=std=", "-gcflags=secbot/...="} }

// allCommands are those of the Dockerfile.
const allCommands = "lambda.norpc"

// build builds secbot for this machine, as Lambda runs it or with all its commands.
func (b *bench) build(ctx context.Context, tags string) (string, error) {
	return b.buildFor(ctx, runtime.GOARCH, tags)
}

// buildFor builds secbot for a processor, each only once.
func (b *bench) buildFor(ctx context.Context, arch, tags string) (string, error) {
	key := arch + " " + tags
	if path := b.built[key]; path != "" {
		return path, nil
	}
	path := filepath.Join(b.dir, fmt.Sprintf("secbot%d", len(b.built)))
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w -buildid="}
	if tags == lambdaTags {
		args = append(args, "-ldflags", "-s -w -buildid= -funcalign=16")
		args = append(args, small()...)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", path, ".")...) //nolint:gosec // a file of its own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build secbot: %w\n%s", err, out)
	}
	b.built[key] = path
	return path, nil
}

// process is one that the bench has started.
type process struct {
	cmd    *exec.Cmd
	out    bytes.Buffer // to be read once it has ended
	errOut bytes.Buffer
	began  time.Time
	ended  chan struct{}
	took   time.Duration // until its end
	err    error
	most   atomic.Int64 // the most memory that it was seen to have, in bytes
}

// start starts a program with the environment and more in a directory of its own.
func (b *bench) start(ctx context.Context, env []string, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{})} //nolint:gosec // whoever runs the bench names it
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env, p.cmd.WaitDelay = &p.out, &p.errOut, append(os.Environ(), env...), 5*time.Second
	var err error
	if p.cmd.Dir, err = os.MkdirTemp(b.dir, "process-"); err != nil {
		return nil, fmt.Errorf("make a directory for %s: %w", program, err)
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go p.watch()
	return p, nil
}

// lookEvery is how often the memory of a process is looked at. The system keeps
// its most, so only what grew right before the end is missed.
const lookEvery = 5 * time.Millisecond

func (p *process) watch() {
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			p.peak()
			select {
			case <-p.ended:
				return
			case <-time.After(lookEvery):
			}
		}
	})
	p.err = p.cmd.Wait()
	p.took = time.Since(p.began)
	close(p.ended)
	waiting.Wait()
}

// peak is the most memory that the process has had so far, in bytes, as Linux
// tells it. What wait gives is no use: it begins with the memory of the parent.
func (p *process) peak() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return p.most.Load() // it has ended
	}
	for line := range strings.Lines(string(raw)) {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		if kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64); err == nil {
			p.most.Store(max(p.most.Load(), kib<<10))
		}
	}
	return p.most.Load()
}

// stop ends the process at once, and gives the most memory that it had.
func (p *process) stop() int64 {
	most := p.peak()
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
	return most
}

// once runs a program to its end.
func (b *bench) once(ctx context.Context, env []string, program string, args ...string) (*process, error) {
	p, err := b.start(ctx, env, program, args...)
	if err != nil {
		return nil, err
	}
	<-p.ended
	if p.err != nil {
		return p, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), p.err, tail(p.errOut.Bytes()))
	}
	return p, nil
}

// tail is the end of what a program has printed.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// freeAddr is a loopback address on which nobody listens.
func freeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// startPatience is how long a program may take until it answers.
const startPatience = 30 * time.Second

// answers waits until a URL answers anything.
func (p *process) answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("ask %s: %w", url, err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended: %w\n%s", p.cmd.Path, p.err, tail(p.errOut.Bytes()))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer at %s: %w", p.cmd.Path, url, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
