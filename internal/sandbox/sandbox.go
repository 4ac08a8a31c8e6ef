// Package sandbox serves stand-ins for AWS and Slack on loopback, and delivers
// the events of the one to secbot as EventBridge would.
package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

// Options say where the stand-ins are served and where secbot is.
type Options struct {
	AWSAddr     string   // 127.0.0.1:0 where empty
	SlackAddr   string   // 127.0.0.1:0 where empty
	Target      string   // secbot's base URL; SetTarget sets it later
	EventsToken string   // what secbot's POST /events wants
	Scopes      []string // of the Slack app's bot token; nil: all
	Log         *slog.Logger
	Now         func() time.Time // time.Now where nil
}

// Sandbox is a pair of stand-ins that are being served.
type Sandbox struct {
	AWS      *fakeaws.AWS
	Slack    *fakeslack.Slack
	AWSURL   string
	SlackURL string

	o       Options
	events  chan []byte
	running sync.WaitGroup
	stop    context.CancelFunc

	deaf atomic.Bool // see Unheard

	mu     sync.Mutex
	seen   func() // see OnChange
	target string
	errs   []error
	last   map[string][]byte // the latest event of each name
}

// maxPending bounds the events that wait for secbot; above it they are lost,
// as EventBridge's are, and logged.
const maxPending = 10_000

// Start serves both stand-ins until Close.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sandbox{o: o, target: o.Target, events: make(chan []byte, maxPending), last: map[string][]byte{}}
	awsListener, err := listen(ctx, o.AWSAddr)
	if err != nil {
		return nil, err
	}
	slackListener, err := listen(ctx, o.SlackAddr)
	if err != nil {
		return nil, errors.Join(err, awsListener.Close())
	}
	s.AWSURL, s.SlackURL = "http://"+awsListener.Addr().String(), "http://"+slackListener.Addr().String()
	s.AWS = fakeaws.New(fakeaws.Options{Emit: s.emit, Log: o.Log, Now: o.Now})
	s.Slack = fakeslack.New(fakeslack.Options{Target: o.Target, URL: s.SlackURL, Scopes: o.Scopes, Now: o.Now})
	s.Slack.Subscribe(func(fakeslack.Change) { s.changed() })
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.serve(ctx, awsListener, s.AWS)
	s.serve(ctx, slackListener, s.slackAndPeople())
	s.running.Go(func() { s.deliverAll(ctx) })
	return s, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve a stand-in on %s: %w", addr, err)
	}
	return l, nil
}

// closeWithin is how long calls under way may take once the stand-ins end. A server
// would wait for seconds for connections that were opened and never used, as the
// AWS SDK leaves some.
const closeWithin = 300 * time.Millisecond

func (s *Sandbox) serve(ctx context.Context, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn)}
	s.running.Go(func() {
		ended := make(chan error, 1)
		context.AfterFunc(ctx, func() {
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
			defer cancel()
			err := srv.Shutdown(grace)
			if errors.Is(err, context.DeadlineExceeded) {
				err = srv.Close()
			}
			ended <- err
		})
		err := srv.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			err = <-ended
		}
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.errs = append(s.errs, fmt.Errorf("serve a stand-in on %s: %w", l.Addr(), err))
		}
	})
}

// SetTarget says where secbot is.
func (s *Sandbox) SetTarget(url string) {
	s.mu.Lock()
	s.target = url
	s.mu.Unlock()
	s.Slack.SetTarget(url)
}

// Close ends the stand-ins and returns what went wrong while they were served.
func (s *Sandbox) Close() error {
	s.Slack.DropSockets() // servers do not know of them any more
	s.stop()
	s.running.Wait()
	return errors.Join(s.errs...)
}

// OnChange has f called after each change in AWS or in Slack, from the goroutine
// that made it: f must not block. A later call replaces f.
func (s *Sandbox) OnChange(f func()) {
	s.mu.Lock()
	s.seen = f
	s.mu.Unlock()
}

func (s *Sandbox) changed() {
	s.mu.Lock()
	f := s.seen
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// LastEvent is the latest event of a name, as it was delivered; nil where there
// was none.
func (s *Sandbox) LastEvent(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[name]
}

// Unheard has f change AWS while nobody hears of it, as where a trail was off.
func (s *Sandbox) Unheard(f func() error) error {
	s.AWS.Flush()
	s.deaf.Store(true)
	defer s.deaf.Store(false)
	err := f()
	s.AWS.Flush()
	return err
}

// emit queues an event.
func (s *Sandbox) emit(event []byte) {
	s.changed()
	var e struct {
		Detail struct{ EventName string }
	}
	if err := json.Unmarshal(event, &e); err != nil {
		s.o.Log.Error("the stand-in for AWS made an event that is no JSON", "error", err)
	}
	s.mu.Lock()
	s.last[e.Detail.EventName] = event
	target := s.target
	s.mu.Unlock()
	if target == "" || s.deaf.Load() {
		return // nobody listens yet, and what happened before is no news later
	}
	select {
	case s.events <- event:
	default:
		s.o.Log.Error("too many events wait for secbot; one is lost")
	}
}

func (s *Sandbox) deliverAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-s.events:
			s.deliver(ctx, event)
		}
	}
}

// deliver posts one event, and again for a while as EventBridge does.
func (s *Sandbox) deliver(ctx context.Context, event []byte) {
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err := s.Post(ctx, event)
		if err == nil || ctx.Err() != nil {
			return
		}
		if pause > 10*time.Second {
			s.o.Log.Error("an event could not be delivered", "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Post delivers an event once, as an EventBridge API destination does.
func (s *Sandbox) Post(ctx context.Context, event []byte) error {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	if target == "" {
		return errors.New("nobody listens: the sandbox has no target")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+"/events", bytes.NewReader(event))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.o.EventsToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("deliver an event: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read the answer to an event: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("secbot answers %s to an event: %s", resp.Status, answer)
	}
	return nil
}
