// Package ministacktest starts ministack, a stand-in for AWS that runs Lambda
// functions, for tests of secbot as it is deployed. It is a program of its own and
// needs Python.
package ministacktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Start serves ministack, with IAM enforced, on a free loopback port for the time of
// the test, and gives its base URL. The program is $SECBOT_MINISTACK, else ministack
// from PATH. Functions have env beside what is configured for them, and nothing of
// the test's own environment.
func Start(t *testing.T, region string, env ...string) string {
	t.Helper()
	program := os.Getenv("SECBOT_MINISTACK")
	if program == "" {
		program = "ministack"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("ministack is missing: %v. Install it with: pip install ministack, or name the program in SECBOT_MINISTACK", err)
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, url := t.TempDir(), "http://127.0.0.1:"+port
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), path) //nolint:gosec // whoever runs the tests names it
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"BIND_HOST=127.0.0.1", "GATEWAY_PORT=" + port, "MINISTACK_REGION=" + region, "AWS_ENDPOINT_URL=" + url,
		"AUTH=true", "IOT_MTLS_ENABLED=0", "SFTP_ENABLED=0",
	}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with the functions' processes, to end them together
	if err := cmd.Start(); err != nil {
		t.Fatalf("start ministack: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed at the end; before that, await says so
	}()
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("end ministack: %v", err)
		}
		<-ended
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			raw, _ := os.ReadFile(log.Name()) // for a person who looks
			t.Logf("ministack's log:\n%s", raw)
		}
	})
	await(t, url+"/_ministack/ready", ended)
	return url
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func await(t *testing.T, url string, ended <-chan struct{}) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(t.Context(), url)
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatal("ministack has ended")
		case <-deadline:
			t.Fatalf("ministack does not answer: %v", err)
		case <-tick.C:
		}
	}
}

func ready(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}
