package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// TestSlowClientsAreCut: a client that does not send what it has announced keeps
// its connection for as long as the limits say and no longer. The limits are
// shortened here; that each is set is checked first.
func TestSlowClientsAreCut(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	srv := limited(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}), log)
	for name, d := range map[string]*time.Duration{"header": &srv.ReadHeaderTimeout, "read": &srv.ReadTimeout, "write": &srv.WriteTimeout, "idle": &srv.IdleTimeout} {
		if *d <= 0 || *d > 2*time.Minute {
			t.Errorf("the %s timeout is %v", name, *d)
		}
		*d = 100 * time.Millisecond
	}
	if srv.MaxHeaderBytes <= 0 || srv.MaxHeaderBytes > 1<<20 {
		t.Errorf("headers of %d bytes are taken", srv.MaxHeaderBytes)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })
	for name, sent := range map[string]string{
		"an unfinished header": "POST /events HTTP/1.1\r\nHost: x\r\n",
		"an unfinished body":   "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"nothing":              "",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(bufio.NewReader(conn)); err != nil {
				t.Errorf("the connection stays: %v", err)
			}
		})
	}
	t.Run("headers without end", func(t *testing.T) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		written := 0
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		for written < 4<<20 {
			n, err := fmt.Fprintf(conn, "X-%d: %s\r\n", written, strings.Repeat("x", 4096))
			written += n
			if err != nil {
				return // it was cut
			}
		}
		t.Errorf("%d bytes of headers were taken", written)
	})
}

// TestServeEnds with its context, and lets what is under way end.
func TestServeEnds(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	begun, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-goOn
			w.WriteHeader(http.StatusNoContent)
		}), slog.New(slog.DiscardHandler))
	}()
	status := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			status <- 0
			return
		}
		_ = resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-begun
	cancel()
	close(goOn)
	if got := <-status; got != http.StatusNoContent {
		t.Errorf("the request under way got %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPanics: a handler or a check that panics ends in the log, as JSON, and in an
// answer.
func TestPanics(t *testing.T) {
	var log bytes.Buffer
	h := Handler(Options{
		Log: slog.New(slog.NewJSONHandler(&log, nil)),
		Mount: []func(chi.Router){func(r chi.Router) {
			r.Get("/x", func(http.ResponseWriter, *http.Request) { panic("a handler without a grip") })
		}},
		Checks: map[string]Check{"c": func(context.Context) error { panic("a check without an account") }},
	})
	for path, want := range map[string]int{"/x": http.StatusInternalServerError, "/readyz": http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for _, said := range []string{"without a grip", "without an account"} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("the log does not say %q", said)
		}
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}
