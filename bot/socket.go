//go:build !lambda

package bot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"golang.org/x/time/rate"

	"secbot/remediation"
)

const (
	// socketPause is how long Slack is left alone after a connection was refused,
	// and the longest that is waited between two tries.
	socketPause = 30 * time.Second
	// socketGrace is how long a connection may be gone before Check minds: Slack asks
	// for a new one every few hours.
	socketGrace = 10 * time.Second
	// socketAtOnce bounds how much is worked on at the same time.
	socketAtOnce = 64
	// socketFlush is how long the last acknowledgements have to leave at the end.
	socketFlush = 200 * time.Millisecond
	// maxEnvelope is the size of an acknowledgement that Slack still reads, in bytes;
	// it drops larger ones without a word from 20 KiB on.
	maxEnvelope = 19 << 10
)

// Socket takes from Slack what the Handler serves over HTTP, through a websocket that
// it opens itself (Socket Mode): so secbot needs no public address. Slack signs
// nothing there; whoever has the app's token is Slack. Token and Handler must be set.
type Socket struct {
	Token   string // SLACK_APP_TOKEN
	APIURL  string // SLACK_API_URL
	Handler *Handler
	Calls   *Calls           // counts its calls, unless nil
	Now     func() time.Time // time.Now where nil
	Pause   time.Duration    // after a connection was refused; 30 s where 0

	mu    sync.Mutex
	open  bool
	since time.Time // when that has changed
	fault error     // why no connection can be made
}

// Run keeps a connection until ctx ends, and returns after all that was taken is
// worked off. It makes a new one whenever Slack asks for it or it is lost.
func (s *Socket) Run(ctx context.Context) error {
	for {
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.is(false, err)
		s.log().Error("Slack can't be reached by Socket Mode; trying again", "in", s.pause(), "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.pause()):
		}
	}
}

// Check says why there is no connection; nil where there is one. The error says
// what to do.
func (s *Socket) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open, !s.since.IsZero() && s.fault == nil && s.now().Sub(s.since) < socketGrace:
		return nil
	case s.fault != nil:
		return fmt.Errorf("no connection by Socket Mode: %w", socketError(s.fault))
	}
	return errors.New("no connection by Socket Mode yet")
}

// socketError adds what to do about it.
func socketError(err error) error {
	switch code := errorCode(err); {
	case code == "missing_scope":
		return fmt.Errorf("%w; give the app-level token the scope connections:write (the Slack app's Basic Information, App-Level Tokens)", err)
	case code != "" && code != "internal_error" && code != "ratelimited":
		return fmt.Errorf("%w; set SLACK_APP_TOKEN to an app-level token (xapp-…) of the Slack app, and turn Socket Mode on in its settings", err)
	}
	return err
}

// errRestless says that connections end as soon as they are made.
var errRestless = errors.New("Slack ends each connection at once: is Socket Mode turned on in the app's settings, and does no other program use up its connections?") //nolint:staticcheck // a name begins it

// connect opens connections, one after the other, until that is refused or ctx ends.
func (s *Socket) connect(ctx context.Context) error {
	client := socketmode.New(newClient("", s.APIURL, s.Calls, slack.OptionAppLevelToken(s.Token)), socketmode.OptionReadLimit(maxBody))
	// The connection outlives ctx until what it has brought is acknowledged.
	running, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(running) }()
	t := &taker{Socket: s, client: client, slots: make(chan struct{}, socketAtOnce), often: rate.NewLimiter(rate.Every(socketPause/3), 5)}
	defer t.working.Wait()
	for {
		select {
		case <-ctx.Done():
			t.working.Wait()
			time.Sleep(socketFlush)
			hangUp()
			return <-ended
		case err := <-ended:
			return err
		case e := <-client.Events:
			if err := t.event(running, e); err != nil {
				hangUp()
				return cmp.Or(err, <-ended)
			}
		}
	}
}

// taker takes what comes by one client's connections.
type taker struct {
	*Socket
	client  *socketmode.Client
	slots   chan struct{}
	working sync.WaitGroup
	often   *rate.Limiter // of connections
}

// event takes a message of slack-go's client; an error ends the client.
func (t *taker) event(ctx context.Context, e socketmode.Event) error {
	switch e.Type {
	case socketmode.EventTypeConnecting:
		t.is(false, nil)
	case socketmode.EventTypeConnected:
		if !t.often.Allow() {
			return errRestless
		}
	case socketmode.EventTypeHello:
		t.is(true, nil)
		t.log().Info("connected to Slack by Socket Mode")
	case socketmode.EventTypeConnectionError:
		if failed, ok := e.Data.(*slack.ConnectionErrorEvent); ok {
			return t.failed(failed)
		}
	case socketmode.EventTypeErrorWriteFailed:
		t.log().Warn("an acknowledgement did not reach Slack, which may show an error for what was done")
	case socketmode.EventTypeErrorBadMessage:
		// slack-go does not know every event; what matters here is the envelope.
		var req socketmode.Request
		if bad, ok := e.Data.(*socketmode.ErrorBadMessage); ok && json.Unmarshal(bad.Message, &req) == nil {
			t.take(ctx, &req)
		}
	case socketmode.EventTypeEventsAPI, socketmode.EventTypeInteractive, socketmode.EventTypeSlashCommand:
		t.take(ctx, e.Request)
	}
	return nil
}

// failed notes that a connection was not made. slack-go waits ever longer between
// two tries, minutes in the end; that is too long for people who wait for a button.
func (t *taker) failed(e *slack.ConnectionErrorEvent) error {
	t.is(false, e.ErrorObj)
	t.log().Warn("no connection to Slack by Socket Mode", "attempt", e.Attempt, "again_in", e.Backoff, "error", e.ErrorObj)
	var limited *slack.RateLimitedError
	if e.Backoff > t.pause() && !errors.As(e.ErrorObj, &limited) {
		return e.ErrorObj
	}
	return nil
}

// take works on one envelope beside others. It waits while very much is worked on.
func (t *taker) take(ctx context.Context, req *socketmode.Request) {
	if req == nil || req.EnvelopeID == "" {
		return
	}
	t.slots <- struct{}{}
	t.working.Go(func() {
		defer func() { <-t.slots }()
		a := t.serve(ctx, req)
		if a.status != http.StatusOK {
			// Slack shows an error, or sends an event again.
			t.log().Warn("not acknowledged", "type", req.Type, "why", a.problem)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		if err := t.acknowledge(ctx, req, a); err != nil {
			t.log().Warn("an acknowledgement could not be sent", "type", req.Type, "error", err)
		}
	})
}

// serve has the handler work on an envelope, within the time of a request.
func (t *taker) serve(ctx context.Context, req *socketmode.Request) (a ack) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			t.log().Error("a panic", "in", "Socket Mode "+req.Type, "panic", p, "stack", string(debug.Stack()))
			a = notTaken(http.StatusInternalServerError, "internal error")
		}
	}()
	switch req.Type {
	case socketmode.RequestTypeSlashCommands:
		var cmd slack.SlashCommand
		if err := json.Unmarshal(req.Payload, &cmd); err != nil {
			return notTaken(http.StatusBadRequest, "no slash command: "+err.Error())
		}
		return t.Handler.command(ctx, cmd, req.EnvelopeID)
	case socketmode.RequestTypeInteractive:
		var ic slack.InteractionCallback
		if err := json.Unmarshal(req.Payload, &ic); err != nil {
			return notTaken(http.StatusBadRequest, "no interaction: "+err.Error())
		}
		return t.Handler.interaction(ctx, &ic)
	case socketmode.RequestTypeEventsAPI:
		return t.Handler.event(ctx, req.Payload)
	}
	t.log().Debug("an envelope of Slack's was ignored", "type", req.Type)
	return taken()
}

// acknowledge sends the envelope back, with the answer where Slack takes one. One
// that is too large goes to the response URL.
func (t *taker) acknowledge(ctx context.Context, req *socketmode.Request, a ack) error {
	if !req.AcceptsResponsePayload || a.body == nil {
		return t.client.AckCtx(ctx, req.EnvelopeID, nil)
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		return err
	}
	if len(raw) < maxEnvelope {
		return t.client.AckCtx(ctx, req.EnvelopeID, json.RawMessage(raw))
	}
	if err := t.client.AckCtx(ctx, req.EnvelopeID, nil); err != nil {
		return err
	}
	said, isMessage := a.body.(answer)
	var to remediation.ReplyTo
	var cmd slack.SlashCommand
	if json.Unmarshal(req.Payload, &cmd) == nil {
		to = remediation.ReplyTo{ResponseURL: cmd.ResponseURL, Channel: cmd.ChannelID, User: cmd.UserID}
	}
	if !isMessage {
		return fmt.Errorf("the answer is too large for Slack: %d bytes", len(raw))
	}
	t.Handler.tell(ctx, to, Message{Text: said.Text, Blocks: said.Blocks})
	return nil
}

func (s *Socket) is(open bool, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != open || s.since.IsZero() && open {
		s.open, s.since = open, s.now()
	}
	if open || fault != nil {
		s.fault = fault
	}
}

func (s *Socket) pause() time.Duration {
	if s.Pause > 0 {
		return s.Pause
	}
	return socketPause
}

func (s *Socket) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Socket) log() *slog.Logger { return s.Handler.log() }
