package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// TestBySocket runs tests of what comes over HTTP once more, by Socket Mode: both
// ways lead to the same code, and nothing may depend on which it was.
func TestBySocket(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"clicks":             TestClickIsStoredBeforeItIsAnswered,
		"buttons":            TestEveryButtonIsSubmitted,
		"clicks of no sense": TestClicksThatMakeNoSense,
		"another state":      TestOtherBlocksStateIsUnknown,
		"other interactions": TestOtherInteractionsAreAcknowledged,
		"modal":              TestIgnoreModal,
		"modal with faults":  TestIgnoreModalFaultsStandBesideTheInput,
		"no modal":           TestNoModalForWhomItIsNot,
		"modal hangs":        TestModalWhileSlackHangs,
		"unknown incident":   TestClickOnUnknownIncident,
		"menu":               TestMoreOpensWhatIsChosen,
		"menu of no sense":   TestMoreThatCannotBeShown,
		"events":             TestEvents,
		"mentions":           TestMentions,
		"mentions once":      TestMentionIsAnsweredOnce,
		"home":               TestHome,
		"who is admitted":    TestWhoIsAdmitted,
		"undo":               TestAutoFixUndone,
		"revert":             TestAskedThenReverted,
		"ignore":             TestIgnoredAndTakenBack,
		"commands":           TestCommandsReachTheEngine,
		"actor":              TestTheActorSaysYes,
	} {
		t.Run(strings.ReplaceAll(bySocket, "_", " ")+"/"+name, test)
	}
}

// TestNothingIsSignedBySocket: the signing secret is not needed.
func TestNothingIsSignedBySocket(t *testing.T) {
	r := newRig(t)
	r.handler.SigningSecret = ""
	r.slack.SetTarget("")
	r.connect()
	reply, err := r.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "incidents")
	if err != nil || reply.Message == nil || !strings.Contains(reply.Message.Text, "No incidents") {
		t.Errorf("%+v %v", reply.Message, err)
	}
}

// TestNotStoredIsNotAcknowledged: Slack shows an error, as over HTTP, and the person
// is told.
func TestNotStoredIsNotAcknowledged(t *testing.T) {
	r := newRig(t, func(o *fakeslack.Options) { o.AckTimeout = 300 * time.Millisecond })
	r.connect()
	m := r.shown(incident(opened()))
	r.engine.err = errors.New("disk full")
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); !errors.Is(err, fakeslack.ErrNoAck) {
		t.Errorf("acknowledged: %v", err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "nothing was changed") {
		t.Errorf("told %q", got)
	}
}

// TestSocketAcknowledgesAfterStoring: not before, and one slow command holds up no
// other.
func TestSocketAcknowledgesAfterStoring(t *testing.T) {
	r := newRig(t)
	r.connect()
	m := r.shown(incident(opened()))
	r.engine.block = make(chan struct{})
	clicked := make(chan error, 1)
	go func() {
		_, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
		clicked <- err
	}()
	if _, err := r.slack.Command(t.Context(), fakeslack.Bob, fakeslack.ChannelSecurity, "/secbot", "incidents"); err != nil {
		t.Errorf("held up: %v", err)
	}
	select {
	case err := <-clicked:
		t.Errorf("acknowledged before it was stored: %v", err)
	default:
	}
	close(r.engine.block)
	if err := <-clicked; err != nil || len(r.engine.commands()) != 1 {
		t.Errorf("%v, %+v", err, r.engine.commands())
	}
}

// TestSocketConnectsAnew: whenever Slack asks for it, and when the connection is
// lost without a word.
func TestSocketConnectsAnew(t *testing.T) {
	r := newRig(t)
	s := r.connect()
	for name, end := range map[string]func() error{
		"warning":           func() error { return r.slack.Disconnect("warning") },
		"refresh requested": func() error { return r.slack.Disconnect("refresh_requested") },
		"dropped":           func() error { r.slack.DropSockets(); return nil },
	} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("%s: a new connection is no news: %v", name, err)
		}
		r.sockets(1)
		if _, err := r.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "incidents"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCommandWhileSlackRefreshes: what is worked on while Slack asks for a new
// connection is stored once, and its answer comes all the same.
func TestCommandWhileSlackRefreshes(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	l.connect()
	engine := l.handler.Engine
	slow := &slowEngine{Engine: engine, entered: make(chan struct{}), free: make(chan struct{})}
	l.handler.Engine = slow
	clicked := make(chan error, 1)
	go func() {
		_, err := l.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
		clicked <- err
	}()
	<-slow.entered
	if err := l.slack.Disconnect("refresh_requested"); err != nil {
		t.Fatal(err)
	}
	l.sockets(1)
	close(slow.free)
	<-clicked // Slack may or may not have heard of it
	l.shows("Reverted* at the request of <@" + fakeslack.Alice + ">")
}

// slowEngine stores a command when it is told to.
type slowEngine struct {
	Engine
	entered, free chan struct{}
	once          sync.Once
}

func (e *slowEngine) Submit(ctx context.Context, cmd remediation.Command) error {
	e.once.Do(func() { close(e.entered) })
	<-e.free
	return e.Engine.Submit(ctx, cmd)
}

// TestSocketRefused: the check says what is wrong, and all is well once it is mended.
func TestSocketRefused(t *testing.T) {
	for name, c := range map[string]struct{ code, says string }{
		"wrong token":      {"invalid_auth", "SLACK_APP_TOKEN"},
		"the bot's token":  {"not_allowed_token_type", "xapp-"},
		"no scope":         {"missing_scope", "connections:write"},
		"Slack is broken":  {"internal_error", "internal_error"},
		"Slack is at work": {"ratelimited", "ratelimited"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var log bytes.Buffer
			r.handler.Log = newLog(&syncWriter{w: &log})
			refuse := func(call fakeslack.Call) *fakeslack.Fault {
				if call.Method == "apps.connections.open" {
					return &fakeslack.Fault{Error: c.code, Status: http.StatusOK}
				}
				return nil
			}
			r.slack.Fault(refuse)
			s := &Socket{Token: "xapp-not-to-be-told", APIURL: r.slack.APIURL(), Handler: r.handler, Pause: 10 * time.Millisecond}
			if err := s.Check(t.Context()); err == nil {
				t.Error("connected before it was run")
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			eventually(t, "the fault", func() bool {
				err := s.Check(t.Context())
				return err != nil && strings.Contains(err.Error(), c.says)
			})
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if strings.Contains(log.String(), "not-to-be-told") {
				t.Errorf("the token is logged: %s", log.String())
			}
			r.slack.Fault(nil)
			r.connect()
		})
	}
}

type syncWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// TestSocketThatSlackEndsAtOnce: where connections last no time Slack is not called
// without end.
func TestSocketThatSlackEndsAtOnce(t *testing.T) {
	r := newRig(t)
	stop := r.slack.Subscribe(func(c fakeslack.Change) {
		if c.Kind == fakeslack.ChangeSocket && r.slack.Sockets() > 0 {
			go func() { _ = r.slack.Disconnect("link_disabled") }()
		}
	})
	s := &Socket{Token: r.slack.AppToken(), APIURL: r.slack.APIURL(), Handler: r.handler, Pause: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	eventually(t, "the fault", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "is Socket Mode turned on")
	})
	stop()
	cancel()
	<-done
	opened := 0
	for _, c := range r.slack.Calls() {
		if c.Method == "apps.connections.open" {
			opened++
		}
	}
	if opened > 10 {
		t.Errorf("%d connections were asked for", opened)
	}
}

// TestSocketEndsWell: what was taken before the end is stored and acknowledged.
func TestSocketEndsWell(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.engine.block = make(chan struct{})
	s := &Socket{Token: r.slack.AppToken(), APIURL: r.slack.APIURL(), Handler: r.handler}
	slow := &slowEngine{Engine: r.engine, entered: make(chan struct{}), free: r.engine.block}
	r.handler.Engine = slow
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.sockets(1)
	clicked := make(chan error, 1)
	go func() {
		_, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix")
		clicked <- err
	}()
	<-slow.entered
	cancel()
	close(slow.free)
	if err := <-clicked; err != nil {
		t.Errorf("not acknowledged: %v", err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) || len(r.engine.commands()) != 1 {
		t.Errorf("%v %+v", err, r.engine.commands())
	}
	r.sockets(0)
}

// TestAnswerTooLargeForSocket: Slack drops acknowledgements from 20 KiB on without a
// word, so a large answer goes to the response URL.
func TestAnswerTooLargeForSocket(t *testing.T) {
	r := newRig(t)
	reply, err := r.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "help")
	if err != nil {
		t.Fatal(err)
	}
	before := len(r.slack.Ephemerals(fakeslack.Alice))
	payload, err := json.Marshal(slack.SlashCommand{UserID: fakeslack.Alice, ChannelID: fakeslack.ChannelSecurity, ResponseURL: reply.ResponseURL})
	if err != nil {
		t.Fatal(err)
	}
	m := Message{Text: "large"}
	for range 10 {
		m.Blocks = append(m.Blocks, section(strings.Repeat("🔥", 1000)))
	}
	taker := &taker{Socket: &Socket{Handler: r.handler}, client: socketmode.New(slack.New(""))}
	req := &socketmode.Request{EnvelopeID: "e", AcceptsResponsePayload: true, Payload: payload}
	if err := taker.acknowledge(t.Context(), req, takenWith(ephemeralAnswer(m))); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); len(r.slack.Ephemerals(fakeslack.Alice)) != before+1 || !strings.HasPrefix(got, "large") {
		t.Errorf("told %.100q", got)
	}
}

// TestUnknownEnvelopes: what this version does not know is acknowledged and breaks
// nothing.
func TestUnknownEnvelopes(t *testing.T) {
	r := newRig(t)
	r.connect()
	for _, event := range []map[string]any{
		{"type": "a_new_event_of_2030", "user": map[string]any{"id": 7}},
		{"type": "a_new_event_of_2030"},
		{"type": "app_mention", "user": map[string]any{"id": 7}},
		{"type": []string{"a list"}},
		nil,
	} {
		if _, err := r.slack.SendEvent(t.Context(), event, 0); err != nil {
			t.Errorf("%v: %v", event, err)
		}
	}
	if _, err := r.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "help"); err != nil {
		t.Error(err)
	}
}
