package fakeslack

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
)

// clock is a clock set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// workspace is a served Slack with slack-go's client on it.
type workspace struct {
	*Slack
	t      testing.TB
	clock  *clock
	client *slack.Client
	bot    *bot
}

// bot takes what people do, as a bot would: it verifies with slack-go and
// keeps the requests.
type bot struct {
	t      testing.TB
	secret string

	mu       sync.Mutex
	requests []received
	answer   http.HandlerFunc // after the check; nil answers 200
}

type received struct {
	path   string
	header http.Header
	body   string
}

func (b *bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	verifier, err := slack.NewSecretsVerifier(r.Header, b.secret)
	if err != nil {
		b.t.Errorf("headers: %v", err)
		return
	}
	if _, err := verifier.Write(body); err != nil {
		b.t.Error(err)
	}
	if err := verifier.Ensure(); err != nil {
		b.t.Errorf("signature: %v", err)
	}
	b.mu.Lock()
	b.requests = append(b.requests, received{r.URL.Path, r.Header, string(body)})
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

func (b *bot) last() received {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) == 0 {
		b.t.Fatal("the bot was sent nothing")
	}
	return b.requests[len(b.requests)-1]
}

func (b *bot) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests)
}

// answers sets what the bot says: a body of a type.
func (b *bot) answers(contentType, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func (b *bot) answersJSON(v any) {
	b.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	b.answers("application/json", string(raw))
}

// interaction parses the last request as slack-go does.
func (b *bot) interaction() slack.InteractionCallback {
	b.t.Helper()
	last := b.last()
	if last.path != "/slack/interactions" {
		b.t.Fatalf("sent to %s", last.path)
	}
	r := httptest.NewRequest(http.MethodPost, last.path, stringReader(last.body))
	r.Header = last.header
	callback, err := slack.InteractionCallbackParse(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return callback
}

func newWorkspace(t testing.TB, o Options) *workspace {
	t.Helper()
	c := &clock{now: time.Unix(1700000000, 0)}
	if o.Now == nil {
		o.Now = c.Now
	}
	s := New(o)
	b := &bot{t: t, secret: s.Secret()}
	api, app := httptest.NewServer(s), httptest.NewServer(b)
	t.Cleanup(api.Close)
	t.Cleanup(app.Close)
	s.SetURL(api.URL)
	s.SetTarget(app.URL)
	client := slack.New(s.Token(), slack.OptionAPIURL(s.APIURL()))
	return &workspace{Slack: s, t: t, clock: c, client: client, bot: b}
}

// post posts a message and gives its ts.
func (w *workspace) post(options ...slack.MsgOption) string {
	w.t.Helper()
	_, ts, err := w.client.PostMessage(ChannelSecurity, options...)
	if err != nil {
		w.t.Fatal(err)
	}
	return ts
}

// question is a message with a button that asks, one that does not and a menu.
func question() slack.MsgOption {
	fix := slack.NewButtonBlockElement("fix", "01INCIDENT", slack.NewTextBlockObject(slack.PlainTextType, "Revert Change", false, false))
	fix.Style = slack.StyleDanger
	fix.Confirm = slack.NewConfirmationBlockObject(plain("Revert?"), plain("The rule goes."), plain("Revert"), plain("Cancel"))
	ignore := slack.NewButtonBlockElement("ignore", "01INCIDENT", plain("Ignore…"))
	more := slack.NewOverflowBlockElement("more", slack.NewOptionBlockObject("evidence", plain("Evidence"), nil), slack.NewOptionBlockObject("runbook", plain("Runbook"), nil))
	return slack.MsgOptionBlocks(
		slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, "SSH is open to the world", false, false), nil, nil),
		slack.NewActionBlock("open-1", fix, ignore, more),
	)
}

func plain(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

func ctx(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return c
}

// code is Slack's error code in an error of slack-go.
func code(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
