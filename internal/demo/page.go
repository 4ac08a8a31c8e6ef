package demo

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

//go:embed assets
var assets embed.FS

const (
	// maxStreams bounds how many pages may look at the same time.
	maxStreams = 64
	// settle is how long a page waits for further changes before it is told.
	settle = 30 * time.Millisecond
	// keepAlive is how often a stream without news says that it lives.
	keepAlive = 15 * time.Second
	// shownMessages bounds what a page is sent of a channel, the newest.
	shownMessages = 200
)

// Completion is one slash command, for the page's box.
type Completion struct {
	Name  string `json:"name"`
	Usage string `json:"usage"`
	Help  string `json:"help"`
}

// Page shows what stands in the two stand-ins, live, in a browser, and lets
// people click, type and break things. Whoever reaches it may be anybody, so it
// answers requests to loopback names alone.
type Page struct {
	world    *World
	commands []Completion
	ended    <-chan struct{}

	mu      sync.Mutex
	streams map[chan struct{}]bool
}

// NewPage makes the page of a world. Its streams end with ctx.
func NewPage(ctx context.Context, w *World, commands []Completion) *Page {
	p := &Page{world: w, commands: commands, ended: ctx.Done(), streams: map[chan struct{}]bool{}}
	w.Sandbox.OnChange(p.tell)
	return p
}

// Routes mounts the page at /, its parts below /demo and what people do below
// /sandbox.
func (p *Page) Routes(r chi.Router) {
	r.Use(loopbackOnly, guarded)
	parts, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the directory is embedded by the line above
	}
	r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, parts, "index.html") })
	r.Get("/demo/stream", p.stream)
	r.Get("/demo/file/{id}", p.file)
	r.Group(func(r chi.Router) {
		p.world.Sandbox.People(r)
		r.Post("/demo/break", p.breakIt)
		r.Post("/demo/pass", p.pass)
		r.Post("/demo/slow", p.slow)
	})
	r.Get("/demo/*", http.StripPrefix("/demo/", http.FileServerFS(parts)).ServeHTTP)
}

// loopbackOnly refuses requests by other names, which a foreign page could have
// had resolved to this machine.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "the demo's page is for this machine alone: open it by 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guarded lets the page load nothing from elsewhere and nobody frame it.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// breakIt opens a hole: {"what": a Breakage's id, "target": a group or bucket}.
func (p *Page) breakIt(w http.ResponseWriter, r *http.Request) {
	var in struct{ What, Target string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil {
		http.Error(w, "not a request: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.world.Break(r.Context(), in.What, in.Target); err != nil {
		http.Error(w, "AWS refuses: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, "{}")
}

// maxPass bounds how much time may pass at once.
const maxPass = 31 * 24

// pass lets time pass: {"hours": 2}.
func (p *Page) pass(w http.ResponseWriter, r *http.Request) {
	var in struct{ Hours int }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil || in.Hours < 1 || in.Hours > maxPass {
		http.Error(w, fmt.Sprintf("say how much time passes: {\"hours\": 1 to %d}", maxPass), http.StatusBadRequest)
		return
	}
	p.world.Clock.Pass(time.Duration(in.Hours) * time.Hour)
	p.tell()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, "{}")
}

// slow has AWS answer secbot slowly, or no longer: {"slow": true}.
func (p *Page) slow(w http.ResponseWriter, r *http.Request) {
	var in struct{ Slow *bool }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil || in.Slow == nil {
		http.Error(w, `say whether AWS is slow: {"slow": true}`, http.StatusBadRequest)
		return
	}
	p.world.Slow(*in.Slow)
	p.tell()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, "{}")
}

// file sends what was uploaded to Slack: pictures alone.
func (p *Page) file(w http.ResponseWriter, r *http.Request) {
	for _, f := range p.world.Sandbox.Slack.Files() {
		if f.ID == chi.URLParam(r, "id") && http.DetectContentType(f.Content) == "image/png" {
			http.ServeContent(w, r, "file.png", time.Time{}, bytes.NewReader(f.Content))
			return
		}
	}
	http.NotFound(w, r)
}

// stream sends the whole state as server-sent events, at once and after each
// change.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	news, leave, err := p.join()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for p.send(w) == nil && p.wait(r.Context(), w, news) {
	}
}

// join adds a stream; its channel is signalled after each change.
func (p *Page) join() (news chan struct{}, leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.streams) >= maxStreams {
		return nil, nil, errors.New("too many pages are open: close some")
	}
	news = make(chan struct{}, 1)
	p.streams[news] = true
	return news, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.streams, news)
	}, nil
}

// tell signals every stream. It never blocks.
func (p *Page) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for news := range p.streams {
		select {
		case news <- struct{}{}:
		default: // told already
		}
	}
}

// wait waits for news and for what comes right after it; false once the page is
// to end.
func (p *Page) wait(ctx context.Context, w http.ResponseWriter, news <-chan struct{}) bool {
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.ended:
			return false
		case <-alive.C:
			if write(w, []byte(": alive\n\n")) != nil {
				return false
			}
		case <-news:
			time.Sleep(settle)
			return true
		}
	}
}

func (p *Page) send(w http.ResponseWriter) error {
	state, err := json.Marshal(p.state())
	if err != nil {
		return fmt.Errorf("encode the page's state: %w", err)
	}
	return write(w, append(append([]byte("data: "), state...), "\n\n"...))
}

// write sends at once, and lets a slow reader have a while.
func write(w http.ResponseWriter, b []byte) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(2 * keepAlive)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write to a page: %w", err)
	}
	return rc.Flush()
}

// state is everything that the page shows.
type state struct {
	Channel    string                   `json:"channel"`
	Users      []person                 `json:"users"`
	Names      map[string]string        `json:"names"` // by the id of a user, group or channel
	Commands   []Completion             `json:"commands"`
	Messages   []messageView            `json:"messages"`
	Direct     map[string][]messageView `json:"direct"`     // by user: their direct message with secbot
	Now        time.Time                `json:"now"`        // by the demo's clock
	Ephemerals map[string][]messageView `json:"ephemerals"` // by user
	Views      map[string]viewView      `json:"views"`      // by user: the topmost modal
	Homes      map[string]viewView      `json:"homes"`      // by user: what was published to their home tab
	Groups     []fakeaws.GroupView      `json:"groups"`
	Buckets    []fakeaws.BucketView     `json:"buckets"`
	Breakages  []Breakage               `json:"breakages"`
	Slow       bool                     `json:"slow"` // AWS answers secbot slowly
}

type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

type messageView struct {
	Channel string          `json:"channel"`
	TS      string          `json:"ts"`
	Thread  string          `json:"thread,omitempty"`
	User    string          `json:"user"`
	To      string          `json:"to,omitempty"`
	Text    string          `json:"text"`
	Blocks  json.RawMessage `json:"blocks,omitempty"`
	Edited  bool            `json:"edited,omitempty"`
	Files   []fileView      `json:"files,omitempty"`
}

type fileView struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

type viewView struct {
	ID   string          `json:"id"`
	Hash string          `json:"hash"`
	View json.RawMessage `json:"view"`
}

// people are whom one can be on the page.
func people() []person {
	return []person{
		{fakeslack.Alice, "Alice Adams", "a responder"},
		{fakeslack.Bob, "Bob Brown", "a responder"},
		{fakeslack.Carol, "Carol Clark", "a responder"},
		{fakeslack.Mallory, "Mallory Moss", "who may not decide"},
		{fakeslack.Dana, "Dana Diaz", "the engineer"},
	}
}

func (p *Page) state() state {
	slack, cloud := p.world.Sandbox.Slack, p.world.Sandbox.AWS
	files := map[string]fileView{}
	for _, f := range slack.Files() {
		files[f.ID] = fileView{f.ID, f.Title}
	}
	s := state{
		Channel: fakeslack.ChannelSecurity, Users: people(), Commands: p.commands,
		Names:      map[string]string{fakeslack.GroupResponders: "responders", fakeslack.ChannelSecurity: "security", fakeslack.BotUser: "secbot"},
		Ephemerals: map[string][]messageView{}, Direct: map[string][]messageView{}, Views: map[string]viewView{}, Homes: map[string]viewView{}, Now: p.world.Clock.Now(),
		Groups: cloud.Groups(), Buckets: cloud.Buckets(), Breakages: Breakages(), Slow: p.world.slow.Load(),
		Messages: shown(slack.Messages(fakeslack.ChannelSecurity), files),
	}
	for _, u := range s.Users {
		s.Names[u.ID] = u.Name
		s.Ephemerals[u.ID] = shown(slack.Ephemerals(u.ID), nil)
		s.Direct[u.ID] = shown(slack.Messages(fakeslack.DirectID(u.ID)), files)
		if open := slack.Views(u.ID); len(open) > 0 {
			top := open[len(open)-1]
			s.Views[u.ID] = viewView{top.ID, top.Hash, top.JSON}
		}
		if home, ok := slack.Home(u.ID); ok {
			s.Homes[u.ID] = viewView{home.ID, home.Hash, home.JSON}
		}
	}
	return s
}

func shown(all []fakeslack.Message, files map[string]fileView) []messageView {
	all = all[max(0, len(all)-shownMessages):]
	list := make([]messageView, 0, len(all))
	for _, m := range all {
		v := messageView{Channel: m.Channel, TS: m.TS, Thread: m.ThreadTS, User: m.User, To: m.To, Text: m.Text, Blocks: m.Blocks, Edited: !m.Edited.IsZero()}
		for _, id := range m.Files {
			if f, ok := files[id]; ok {
				v.Files = append(v.Files, f)
			}
		}
		list = append(list, v)
	}
	return list
}
