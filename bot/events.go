package bot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// The events of the Events API that secbot heeds.
const (
	eventMention    = "app_mention"
	eventHomeOpened = "app_home_opened"
)

// Events are the names of the events that secbot's app subscribes to, sorted.
func Events() []string { return []string{eventHomeOpened, eventMention} }

// envelope is what every event of the Events API comes in.
type envelope struct {
	Type           string `json:"type"`
	Challenge      string `json:"challenge"`
	ID             string `json:"event_id"`
	Authorizations []struct {
		User string `json:"user_id"`
	} `json:"authorizations"`
	Event json.RawMessage `json:"event"`
}

// event is what secbot reads of the events that it heeds.
type event struct {
	Type    string `json:"type"`
	User    string `json:"user"`
	Bot     string `json:"bot_id"`
	Subtype string `json:"subtype"`
	Text    string `json:"text"`
	Channel string `json:"channel"`
	Thread  string `json:"thread_ts"`
	Tab     string `json:"tab"`
}

// heeded reads an event; nil where it isn't one that secbot heeds, or is one of an
// app or of nobody.
func (e envelope) heeded() *event {
	var ev event
	if json.Unmarshal(e.Event, &ev) != nil || !slices.Contains(Events(), ev.Type) {
		return nil
	}
	if ev.Bot != "" || ev.Subtype != "" || !isUser(ev.User) {
		return nil
	}
	return &ev
}

// events takes the Events API over HTTP.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	h.event(r.Context(), rawBody(r)).write(w)
}

// event takes one event. What secbot doesn't know is acknowledged, so that Slack
// does not send it again.
func (h *Handler) event(ctx context.Context, raw []byte) ack {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return notTaken(http.StatusBadRequest, "the body is not an event of Slack's Events API: "+err.Error())
	}
	if e.Type == "url_verification" {
		return takenWith(map[string]string{"challenge": e.Challenge})
	}
	switch ev := e.heeded(); {
	case ev == nil:
	case ev.Type == eventMention:
		return h.mentioned(ctx, e, ev)
	case ev.Tab == "home" && h.Homes != nil:
		return h.openedHome(ctx, ev.User)
	}
	h.log().Debug("an event of Slack's was ignored", "type", e.Type)
	return taken()
}

// openedHome shows somebody their home tab. That it fails is only logged: they see
// the last one, and open it again.
func (h *Handler) openedHome(ctx context.Context, user string) ack {
	if h.admit(ctx, user, false) != nil {
		return taken()
	}
	h.showHome(ctx, user)
	return taken()
}

// mentioned takes a command that was said to secbot: "@secbot incidents open" is
// the same as "/secbot incidents open". The answer is for whoever asks alone, since
// guests and people of other workspaces may be in the channel. Slack sends an event
// again that is acknowledged late; it is answered once.
func (h *Handler) mentioned(ctx context.Context, e envelope, said *event) ack {
	if h.heard.has(e.ID) {
		return taken()
	}
	m := h.asked(ctx, asked{once: e.ID, thread: said.Thread,
		SlashCommand: slack.SlashCommand{Text: mentionText(said.Text, e.bot()), UserID: said.User, ChannelID: said.Channel}})
	to := remediation.ReplyTo{Channel: said.Channel, Thread: said.Thread, User: said.User}
	if err := (whisperer{h.Client, h.APIURL}).tell(ctx, to, m, 0); err != nil {
		h.log().Warn("a person could not be told", "user", said.User, "error", err)
		if !errors.Is(err, remediation.ErrUndeliverable) {
			return notTaken(http.StatusInternalServerError, "the answer could not be given")
		}
	}
	h.heard.add(e.ID)
	return taken()
}

// bot is the bot's own user id; empty where the event does not tell.
func (e envelope) bot() string {
	if len(e.Authorizations) == 0 {
		return ""
	}
	return e.Authorizations[0].User
}

var (
	mentionPattern = regexp.MustCompile(`<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>`)
	linkPattern    = regexp.MustCompile(`<((?:https?|mailto):[^<>|]*)(?:\|[^<>]*)?>`)
)

// mentionText is what somebody says to bot: what follows its mention, as they have
// typed it. Where bot is not known it is the first who is mentioned.
func mentionText(text, bot string) string {
	for _, at := range mentionPattern.FindAllStringSubmatchIndex(text, -1) {
		if bot == "" || text[at[2]:at[3]] == bot {
			text = text[at[1]:]
			break
		}
	}
	text = linkPattern.ReplaceAllString(text, "$1")
	text = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
	return strings.TrimLeft(text, " \t\n\u00a0:,")
}

// maxHeard is how many events are remembered; Slack sends one again for five
// minutes.
const maxHeard = 1000

// heard remembers the newest events that were answered.
type heard struct {
	mu  sync.Mutex
	ids map[string]bool
	old []string // in their order
}

func (h *heard) has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return id != "" && h.ids[id]
}

func (h *heard) add(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids == nil {
		h.ids = map[string]bool{}
	}
	if id == "" || h.ids[id] {
		return
	}
	h.ids[id] = true
	if h.old = append(h.old, id); len(h.old) > maxHeard {
		delete(h.ids, h.old[0])
		h.old = h.old[1:]
	}
}
