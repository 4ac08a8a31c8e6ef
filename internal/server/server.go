// Package server is secbot's HTTP side: the routes of events and Slack, and
// what a person or a load balancer asks about secbot itself.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sort"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"secbot/internal/metrics"
)

// Check looks whether one thing that secbot needs is there. Its error says
// what to do.
type Check func(context.Context) error

// Options are what the routes are made of.
type Options struct {
	Mount   []func(chi.Router) // the routes of events and Slack
	Checks  map[string]Check   // what /readyz asks, by name
	Metrics []metrics.Source
	// Public says that anybody can reach the routes: /readyz and /metrics, which
	// tell what goes on inside, are then not served.
	Public bool
	Log    *slog.Logger
}

// Handler gives secbot's routes.
func Handler(o Options) http.Handler {
	r := chi.NewRouter()
	r.Use(recoverer(o.Log))
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	if !o.Public {
		r.Get("/readyz", ready(o.Checks, o.Log))
		r.Method(http.MethodGet, "/metrics", metrics.Handler(o.Metrics...))
	}
	for _, mount := range o.Mount {
		mount(r)
	}
	return r
}

// readyTimeout bounds all checks together.
const readyTimeout = 5 * time.Second

// ready runs the checks at once and answers 200, or 503 with what is missing.
func ready(checks map[string]Check, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		missing := failing(ctx, checks, log)
		if len(missing) > 0 {
			answer(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "missing": missing})
			return
		}
		answer(w, http.StatusOK, map[string]any{"status": "ready"})
	}
}

func failing(ctx context.Context, checks map[string]Check, log *slog.Logger) []string {
	var (
		mu      sync.Mutex
		missing []string
		running sync.WaitGroup
	)
	for name, check := range checks {
		running.Go(func() {
			if err := safely(ctx, name, check, log); err != nil {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, name+": "+err.Error())
			}
		})
	}
	running.Wait()
	sort.Strings(missing)
	return missing
}

// safely turns a panic of a check into an error.
func safely(ctx context.Context, name string, check Check, log *slog.Logger) (err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("a panic", "in", "check "+name, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return check(ctx)
}

// recoverer answers 500 to a request whose handler panics, and writes why to the
// log, as everything else.
func recoverer(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				switch p := recover(); p {
				case nil:
				case http.ErrAbortHandler:
					panic(p) // the server cuts the connection, as it was asked to
				default:
					log.Error("a panic", "in", r.Method+" "+r.URL.Path, "panic", p, "stack", string(debug.Stack()))
					w.WriteHeader(http.StatusInternalServerError)
				}
			}()
			next.ServeHTTP(w, r)
		})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client has gone when this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}

// shutdownGrace is how long running requests may take to end. It is longer than
// the 5 s for which http.Server waits for the first request of a connection.
const shutdownGrace = 8 * time.Second

// Serve serves h on l until ctx ends, then lets requests under way end for a
// few seconds.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := limited(h, log)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			err = errors.Join(fmt.Errorf("requests were cut off after %v: %w", shutdownGrace, err), srv.Close())
		}
		stopped <- err
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return <-stopped
}

// limited bounds the time and the size of everything that a client may send.
func limited(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
