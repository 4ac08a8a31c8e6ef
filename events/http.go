package events

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"secbot/remediation"
)

// readTimeout is how long a sender may take for the body of its request.
const readTimeout = 10 * time.Second

// Handler takes events over HTTP: POST /events, EventBridge JSON with a bearer
// token, and POST /events/sns, messages that SNS has signed. The zero value
// refuses everything. It may be used by several goroutines; its fields must not
// change once it serves.
type Handler struct {
	// Accept stores signals. An event is acknowledged only after it has
	// returned nil.
	Accept func(ctx context.Context, sigs []remediation.Signal) error
	// Heard is told which sources the events came from, those too that are
	// skipped; not called where nil.
	Heard func(ctx context.Context, sources ...remediation.Source)
	// Begin is told the job of each AccountScan that comes by way of a queue, which is
	// acknowledged only after it has returned nil; nil: such a message is no event.
	Begin func(ctx context.Context, job string) error
	// Machines takes what state machines send; nil: none of it is taken.
	Machines Machines
	// Token is the bearer token of POST /events. Empty refuses every request.
	Token string
	// Topics are the ARNs of the SNS topics whose messages are taken.
	Topics []string
	// Client fetches SNS's certificates and confirms subscriptions; one with
	// short timeouts where nil. Redirects are never followed.
	Client *http.Client
	// Roots verify SNS's certificates; the system's where nil.
	Roots *x509.CertPool
	Log   *slog.Logger     // discarded where nil
	Now   func() time.Time // time.Now where nil

	certs certCache
}

// Routes mounts POST /events and POST /events/sns.
func (h *Handler) Routes(r chi.Router) {
	r.Post("/events", h.serveEvents)
	r.Post("/events/sns", h.serveSNS)
}

// httpError is an answer other than 200, with a sentence that says what to do.
type httpError struct {
	status int
	text   string
}

// Error gives the sentence.
func (e *httpError) Error() string { return e.text }

// reply is the answer to a request that was taken.
type reply struct {
	Accepted int       `json:"accepted"` // signals, and what state machines sent, stored
	Skipped  []skipped `json:"skipped"`  // events without signals
}

type skipped struct {
	Kind string `json:"kind,omitempty"`
	Why  string `json:"why"`
}

func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	answer, err := h.takeEvents(w, r)
	h.respond(w, r, answer, err)
}

func (h *Handler) takeEvents(w http.ResponseWriter, r *http.Request) (reply, error) {
	if err := h.authorise(r); err != nil {
		return reply{}, err
	}
	raw, err := readBody(w, r)
	if err != nil {
		return reply{}, err
	}
	results, err := Decode(raw)
	switch {
	case errors.Is(err, ErrTooLarge):
		return reply{}, &httpError{http.StatusRequestEntityTooLarge, err.Error()}
	case err != nil:
		return reply{}, &httpError{http.StatusBadRequest, err.Error()}
	}
	return h.take(r.Context(), results)
}

// authorise compares the bearer token in constant time.
func (h *Handler) authorise(r *http.Request) error {
	if h.Token == "" {
		return &httpError{http.StatusServiceUnavailable, "no events are taken: SECBOT_EVENTS_TOKEN must be set on the server"}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(h.Token))
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	if !same || !strings.EqualFold(scheme, "Bearer") {
		return &httpError{http.StatusUnauthorized, "the bearer token is missing or wrong: send Authorization: Bearer with the value of SECBOT_EVENTS_TOKEN"}
	}
	return nil
}

// readBody reads a body of at most MaxSize within readTimeout.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	// Writers without deadlines are those of tests.
	if err := control.SetReadDeadline(time.Now().Add(readTimeout)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxSize))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &httpError{http.StatusRequestEntityTooLarge, "the body is over 1 MiB: send one event at a time"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &httpError{http.StatusRequestTimeout, "the body took too long to arrive: send it again"}
	case err != nil:
		return nil, &httpError{http.StatusBadRequest, "the body could not be read: send it again"}
	}
	return raw, nil
}

// take has the signals of decoded events stored.
func (h *Handler) take(ctx context.Context, results []Result) (reply, error) {
	defer h.listen(ctx, results) // the events are what matters
	return h.accept(ctx, results)
}

// accept is take without a word of who was heard.
func (h *Handler) accept(ctx context.Context, results []Result) (reply, error) {
	answer := reply{Skipped: []skipped{}}
	for _, r := range results {
		if len(r.Signals) > 0 {
			continue
		}
		taken, why, err := h.takeMachine(ctx, r)
		if err != nil {
			h.log().Error("what a state machine sent could not be stored; the sender is asked to try again", "kind", clip(r.Kind, maxID), "error", err)
			return reply{}, &httpError{http.StatusServiceUnavailable, "the event could not be stored: send it again"}
		}
		if taken {
			answer.Accepted++
			continue
		}
		answer.Skipped = append(answer.Skipped, skipped{Kind: clip(r.Kind, maxID), Why: why})
		h.log().Info("event skipped", "kind", clip(r.Kind, maxID), "why", why)
	}
	sigs := Signals(results)
	if len(sigs) == 0 {
		return answer, nil
	}
	if err := h.Accept(ctx, sigs); err != nil {
		h.log().Error("events could not be stored; the sender is asked to try again", "events", len(sigs), "error", err)
		return reply{}, &httpError{http.StatusServiceUnavailable, "the event could not be stored: send it again"}
	}
	answer.Accepted += len(sigs)
	return answer, nil
}

// listen tells which sources are heard.
func (h *Handler) listen(ctx context.Context, results []Result) {
	if h.Heard == nil {
		return
	}
	for _, s := range remediation.Sources() {
		if slices.ContainsFunc(results, func(r Result) bool { return r.Source == s }) {
			h.Heard(ctx, s)
		}
	}
}

// respond answers with JSON: the reply, or {"error"}.
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, answer reply, err error) {
	status, body := http.StatusOK, any(answer)
	if err != nil {
		refused := &httpError{http.StatusInternalServerError, "the request failed: send it again"}
		errors.As(err, &refused)
		status, body = refused.status, map[string]string{"error": refused.text}
		h.log().Warn("events refused", "path", r.URL.Path, "status", status, "reason", err)
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="secbot"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		h.log().Debug("the answer could not be written", "error", err)
	}
}

func (h *Handler) log() *slog.Logger {
	if h.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Log
}

func (h *Handler) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}
