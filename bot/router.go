// Package bot is Slack's side of secbot: it takes slash commands and clicks,
// renders incidents as Block Kit messages, and delivers notices. What people
// ask for is stored by the engine before Slack is answered; the result comes
// later by way of the outbox.
package bot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/slack-go/slack"

	"secbot/remediation"
)

const (
	// answerWithin bounds all work on a request: Slack shows an error after 3 s.
	answerWithin = 2500 * time.Millisecond
	// storeWithin bounds what the store is asked for a request, so that there
	// is time left to say that it failed.
	storeWithin = 1500 * time.Millisecond
)

// Engine is what the bot needs of the engine. All methods must respect the
// context's deadline.
type Engine interface {
	// Submit stores a command; its answer comes by way of its ReplyTo.
	Submit(ctx context.Context, cmd remediation.Command) error
	// Check returns nil where a command could be carried out as everything stands;
	// see remediation.Engine.Check.
	Check(ctx context.Context, cmd remediation.Command) error
	// Authorise returns nil where by may decide about inc.
	Authorise(ctx context.Context, by string, inc *remediation.Incident) error
	// Rights says what by may decide; see remediation.Engine.Rights.
	Rights(ctx context.Context, by string) []remediation.Right
}

// Store is what the bot reads.
type Store interface {
	Incident(ctx context.Context, id string) (*remediation.Incident, error)
	Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error)
	Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error)
	Last(ctx context.Context, key string) (*remediation.Incident, error)
	Record(ctx context.Context, key string) (*remediation.Record, error)
}

// Handler serves what Slack sends. Client, Engine and Store must be set.
type Handler struct {
	SigningSecret string // SLACK_SIGNING_SECRET; empty: every request is refused
	Client        *slack.Client
	APIURL        string // SLACK_API_URL; its host may also be answered at response URLs
	Engine        Engine
	Store         Store
	Names         Names
	Mode          remediation.Mode // the configuration's
	Homes         *Homes           // publishes home tabs; nil: nobody has one
	People        Outsiders        // who is no full member of the workspace; nil: everybody is one
	Log           *slog.Logger     // discarded where nil
	Now           func() time.Time // time.Now where nil

	heard  heard
	helped helped
}

// Routes mounts POST /slack/commands, /slack/interactions and /slack/events.
// Only requests that Slack has signed get beyond the signature check.
func (h *Handler) Routes(r chi.Router) {
	for path, serve := range map[string]http.HandlerFunc{
		pathCommands:     h.commands,
		pathInteractions: h.interactions,
		pathEvents:       h.events,
	} {
		r.With(h.deadline, limitBody, sslCheck, h.verify).Post(path, serve)
		r.Get(path, onlySSLCheck)
	}
}

// deadline bounds all work on a request.
func (h *Handler) deadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// submit stores a command within the time for the store.
func (h *Handler) submit(ctx context.Context, cmd remediation.Command) error {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	err := h.Engine.Submit(ctx, cmd)
	if err != nil {
		h.log().Error("a command could not be stored", "verb", cmd.Verb, "incident", cmd.Incident, "by", cmd.By, "error", err)
	}
	return err
}

// tell says something to one person, as well as that can be done in the
// request's time.
func (h *Handler) tell(ctx context.Context, to remediation.ReplyTo, m Message) {
	if err := (whisperer{h.Client, h.APIURL}).tell(ctx, to, m, 0); err != nil {
		h.log().Warn("a person could not be told", "user", to.User, "error", err)
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

// hashID makes a command's id of what is the same in every delivery.
func hashID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
