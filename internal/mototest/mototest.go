// Package mototest starts moto, another stand-in for AWS, for tests that want a
// second opinion. It is a program of its own and needs Python.
package mototest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Start serves moto on a free loopback port for the time of the test. The
// program is $SECBOT_MOTO, else moto_server from PATH.
func Start(t *testing.T) string {
	t.Helper()
	program := os.Getenv("SECBOT_MOTO")
	if program == "" {
		program = "moto_server"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("moto is missing: %v. Install it with: pip install 'moto[server]', or name the program in SECBOT_MOTO", err)
	}
	host, port := freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-H", host, "-p", port) //nolint:gosec // whoever runs the tests names it
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start moto: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed at the end; before that, awaitMoto says so
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	url := "http://" + net.JoinHostPort(host, port)
	awaitMoto(t, url, ended)
	return url
}

func freePort(t *testing.T) (host, port string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err = net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return host, port
}

func awaitMoto(t *testing.T, url string, ended <-chan struct{}) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(t.Context(), url)
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatal("moto has ended: start it by hand to see why")
		case <-deadline:
			t.Fatalf("moto does not answer: %v", err)
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/moto-api/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
