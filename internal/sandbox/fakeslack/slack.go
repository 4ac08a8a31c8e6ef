// Package fakeslack is a Slack workspace in memory: the Web API that a bot
// calls, and the people who click, type and submit. It keeps to Slack's
// limits, lifetimes and error codes, refuses what Block Kit refuses, and signs
// what it sends, so that a bot runs against it unchanged.
//
// New gives an http.Handler that serves /api/METHOD, response URLs and upload
// URLs. The methods named after what people do (Click, SubmitView, Command,
// OpenHome and so on) send to the bot: through its websocket while it has one open
// (Socket Mode), else signed requests to Options.Target. And
// those named after what they show (Messages, Views, Calls and so on) give
// copies of the workspace's state. All of it may be used concurrently.
package fakeslack

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The ids of the default workspace.
const (
	TeamID     = "T0SANDBOX"
	TeamDomain = "sandbox"
	AppID      = "A0SECBOT"
	BotID      = "B0SECBOT"
	BotUser    = "U0SECBOT"

	ChannelSecurity = "C0SECBOT" // #security, the bot is a member
	ChannelRandom   = "C0RANDOM" // #random, the bot is not

	Alice   = "U0ALICE"   // a responder
	Bob     = "U0BOB"     // a responder
	Carol   = "U0CAROL"   // a responder
	Mallory = "U0MALLORY" // nobody who may decide
	Dana    = "U0DANA"    // an engineer
	Guest   = "U0GUEST"   // a restricted user
	Stray   = "U0STRAY"   // of another team, here through Slack Connect

	GroupResponders = "S0RESPOND" // Alice, Bob and Carol
)

// Slack's own times and limits.
const (
	ackTimeout     = 3 * time.Second  // until the user sees an error
	triggerLife    = 3 * time.Second  // of a trigger_id
	responseLife   = 30 * time.Minute // of a response URL
	responseUses   = 5
	maxRequest     = 1 << 20 // bytes of a request that is read
	maxStack       = 3       // modals on top of each other
	maxFile        = 1 << 20 // bytes of an uploaded file
	maxVersions    = 50      // of a message, the oldest go
	maxCalls       = 2000    // kept, the oldest go
	maxMessages    = 5000    // kept for a channel, the oldest go
	maxEphemerals  = 1000    // kept, the oldest go
	maxFiles       = 100     // kept, the oldest go
	maxOutstanding = 10000   // triggers and response URLs kept, the oldest go
)

// Options say what the workspace is like. The zero value is a workspace with
// the default people and channels that sends nothing, since there is no
// Target.
type Options struct {
	Target        string // the bot's base URL, as http://127.0.0.1:8080
	URL           string // this server's own base URL, for response URLs; SetURL sets it later
	SigningSecret string // "sandbox-signing-secret" by default
	BotToken      string // "xoxb-sandbox" by default
	AppToken      string // of Socket Mode; "xapp-sandbox" by default
	Enterprise    string // the id of the enterprise that the workspace belongs to; empty: none

	// Scopes are what the bot token has; nil: all. Methods that need another answer
	// missing_scope.
	Scopes []string

	Now        func() time.Time // message ids, triggers, response URLs, rate limits; time.Now by default
	SignNow    func() time.Time // the timestamp of signatures; time.Now by default, which slack-go compares with
	NewID      func() string    // unguessable ids of triggers, response and upload URLs; crypto/rand.Text by default
	AckTimeout time.Duration    // how long people wait for an answer; Slack's 3 s by default
	Client     *http.Client     // that sends to Target; by default one that follows no redirects

	RateLimits bool // answer 429 above Slack's rates

	Users    []User    // DefaultUsers by default
	Groups   []Group   // DefaultGroups by default
	Channels []Channel // DefaultChannels by default
}

func (o Options) withDefaults() Options {
	if o.SigningSecret == "" {
		o.SigningSecret = "sandbox-signing-secret"
	}
	if o.BotToken == "" {
		o.BotToken = "xoxb-sandbox"
	}
	if o.AppToken == "" {
		o.AppToken = "xapp-sandbox"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SignNow == nil {
		o.SignNow = time.Now
	}
	if o.NewID == nil {
		o.NewID = rand.Text
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = ackTimeout
	}
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return o.withDefaultPeople()
}

func (o Options) withDefaultPeople() Options {
	if o.Users == nil {
		o.Users = DefaultUsers()
	}
	if o.Groups == nil {
		o.Groups = DefaultGroups()
	}
	if o.Channels == nil {
		o.Channels = DefaultChannels()
	}
	return o
}

// Slack is the workspace.
type Slack struct {
	o Options

	mu         sync.Mutex
	users      []User
	groups     []Group
	channels   []*channel
	ephemerals []*Message
	stacks     map[string][]*View // by user: the modals, the topmost last
	homes      map[string]*View   // by user
	triggers   *kept[trigger]
	responses  *kept[responseURL]
	files      []*File
	uploads    *kept[File] // by the upload URL's secret
	tickets    *kept[bool] // of websockets
	sockets    []*socket
	calls      []Call
	fault      func(Call) *Fault
	limits     map[string]*rate.Limiter
	lastStamp  int64 // microseconds, of the newest ts
	serial     int   // of ids that need not be unguessable
	subs       map[int]func(Change)
	changes    []Change // to be told when the lock is given back
}

// channel is a channel with what was said in it, the oldest first.
type channel struct {
	Channel
	messages []*Message
}

// New makes a workspace.
func New(o Options) *Slack {
	s := &Slack{
		o:      o.withDefaults(),
		stacks: map[string][]*View{}, homes: map[string]*View{},
		triggers: newKept[trigger](maxOutstanding), responses: newKept[responseURL](maxOutstanding), uploads: newKept[File](maxFiles), tickets: newKept[bool](maxOutstanding),
		limits: map[string]*rate.Limiter{}, subs: map[int]func(Change){},
	}
	s.users = append(s.users, s.o.Users...)
	s.groups = append(s.groups, s.o.Groups...)
	for _, c := range s.o.Channels {
		s.channels = append(s.channels, &channel{Channel: c})
	}
	return s
}

// SetURL says where this handler is served: the base URL of response URLs.
func (s *Slack) SetURL(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.URL = strings.TrimRight(base, "/")
}

// SetTarget says where the bot is served.
func (s *Slack) SetTarget(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Target = base
}

// APIURL is the base URL of the Web API, for slack-go's OptionAPIURL and
// SLACK_API_URL.
func (s *Slack) APIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.URL + "/api/"
}

// Token is the bot's token and Secret its signing secret.
func (s *Slack) Token() string { return s.o.BotToken }

// AppToken is the token that opens websockets.
func (s *Slack) AppToken() string { return s.o.AppToken }

// Secret is what the requests to the bot are signed with.
func (s *Slack) Secret() string { return s.o.SigningSecret }

// ServeHTTP serves the Web API under /api/, and the websockets, response and upload
// URLs that it has given out.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ticket, ok := strings.CutPrefix(r.URL.Path, "/socket/"); ok {
		s.serveSocket(w, r, ticket)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if name, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		s.serveMethod(w, r, name)
		return
	}
	if secret, ok := strings.CutPrefix(r.URL.Path, "/response/"); ok {
		s.serveResponse(w, r, secret)
		return
	}
	if secret, ok := strings.CutPrefix(r.URL.Path, "/upload/"); ok {
		s.serveUpload(w, r, secret)
		return
	}
	http.NotFound(w, r)
}
