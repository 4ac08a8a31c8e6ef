package fakeslack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Where the bot takes what people do.
const (
	pathInteractions = "/slack/interactions"
	pathCommands     = "/slack/commands"
	pathEvents       = "/slack/events"
)

const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
)

// ErrNoAck says that the bot did not answer in time: the person who clicked
// sees a warning, and Slack does not send again.
var ErrNoAck = errors.New("not acknowledged in time")

// AckError says that the bot answered with another status than 200.
type AckError struct {
	Status int
	Body   string // the beginning of it
}

// Error names the status and the beginning of the body.
func (e *AckError) Error() string {
	return fmt.Sprintf("acknowledged with status %d, not 200: %s", e.Status, e.Body)
}

// Ack is the bot's answer to what a person did.
type Ack struct {
	Status  int
	Header  http.Header
	Body    []byte
	Took    time.Duration
	Payload []byte   // the JSON that was sent, to be captured for SendInteraction; nil for a command
	Trigger string   // the trigger_id that was sent
	Confirm *Confirm // what the button asks before; the click itself takes it as confirmed
}

// Confirm is a button's question.
type Confirm struct {
	Title, Text, Confirm, Deny, Style string
}

// Sign gives the X-Slack-Signature of a body sent at a Unix time in seconds:
// "v0=" and the hex HMAC-SHA256 of "v0:timestamp:body".
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + timestamp + ":"))
	mac.Write(body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// send tells the bot something and waits for its answer, at most as long as Slack
// does: ErrNoAck.
func (s *Slack) send(ctx context.Context, path, contentType string, body []byte, header http.Header) (Ack, error) {
	if k := s.nextSocket(); k != nil {
		return s.sendSocket(ctx, k, path, body, header)
	}
	return s.sendHTTP(ctx, path, contentType, body, header)
}

// sendHTTP posts a signed request. Another status than 200 is an *AckError.
func (s *Slack) sendHTTP(ctx context.Context, path, contentType string, body []byte, header http.Header) (Ack, error) {
	s.mu.Lock()
	target := s.o.Target
	s.mu.Unlock()
	if target == "" {
		return Ack{}, errors.New("the sandbox has no bot to send to: set Options.Target, or have one connect by Socket Mode")
	}
	limited, cancel := context.WithTimeout(ctx, s.o.AckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPost, strings.TrimRight(target, "/")+path, bytes.NewReader(body))
	if err != nil {
		return Ack{}, fmt.Errorf("request to the bot: %w", err)
	}
	s.head(req, contentType, body, header)
	began := time.Now()
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return Ack{Took: time.Since(began)}, s.unanswered(ctx, limited, path, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	ack := Ack{Status: resp.StatusCode, Header: resp.Header, Body: answer, Took: time.Since(began)}
	switch {
	case err != nil:
		return ack, s.unanswered(ctx, limited, path, err)
	case resp.StatusCode != http.StatusOK:
		return ack, &AckError{Status: resp.StatusCode, Body: string(answer[:min(len(answer), 200)])}
	}
	return ack, nil
}

func (s *Slack) head(req *http.Request, contentType string, body []byte, header http.Header) {
	for name, values := range header {
		req.Header[name] = values
	}
	timestamp := strconv.FormatInt(s.o.SignNow().Unix(), 10)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	req.Header.Set("X-Slack-Request-Timestamp", timestamp)
	req.Header.Set("X-Slack-Signature", Sign(s.o.SigningSecret, timestamp, body))
}

// unanswered tells Slack's own timeout from the caller's.
func (s *Slack) unanswered(ctx, limited context.Context, path string, err error) error {
	if limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w: nothing came within %v", path, ErrNoAck, s.o.AckTimeout)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// SendInteraction sends any payload to the bot's interactions, freshly signed:
// one captured earlier (Ack.Payload), or one that Slack would not send.
func (s *Slack) SendInteraction(ctx context.Context, payload []byte) (Ack, error) {
	form := url.Values{"payload": {string(payload)}}
	ack, err := s.send(ctx, pathInteractions, typeForm, []byte(form.Encode()), nil)
	ack.Payload = payload
	return ack, err
}

func (s *Slack) interact(ctx context.Context, payload object) (Ack, error) {
	raw, err := encode(payload)
	if err != nil {
		return Ack{}, fmt.Errorf("interaction payload: %w", err)
	}
	ack, err := s.SendInteraction(ctx, raw)
	ack.Trigger = text(payload["trigger_id"])
	return ack, err
}

// about is what every interaction payload says. The caller holds the lock.
func (s *Slack) about(typ string, u User) object {
	o := object{
		"type": typ, "token": "deprecated", "api_app_id": AppID,
		"team": object{"id": TeamID, "domain": TeamDomain}, "enterprise": nil, "is_enterprise_install": false,
		"user": object{"id": u.ID, "username": u.Name, "team_id": u.Team},
	}
	if s.o.Enterprise != "" {
		o["enterprise"] = object{"id": s.o.Enterprise, "name": s.o.Enterprise}
	}
	return o
}

// SendEvent sends an event of the Events API, as
// {"type": "app_home_opened", "user": "U0ALICE", …}. A retry, numbered from 1,
// carries Slack's retry headers; 0 is the first delivery.
func (s *Slack) SendEvent(ctx context.Context, event map[string]any, retry int) (Ack, error) {
	s.mu.Lock()
	raw, err := s.envelope(event)
	s.unlock()
	if err != nil {
		return Ack{}, fmt.Errorf("event: %w", err)
	}
	return s.ResendEvent(ctx, raw, retry)
}

// envelope is an event as it is sent. The caller holds the lock.
func (s *Slack) envelope(event map[string]any) ([]byte, error) {
	now := s.o.Now()
	envelope := object{
		"token": "deprecated", "team_id": TeamID, "api_app_id": AppID, "type": "event_callback", "event": event,
		"event_id": "Ev" + s.shortID(), "event_time": now.Unix(), "is_ext_shared_channel": false,
		"authorizations": []any{object{"enterprise_id": nil, "team_id": TeamID, "user_id": BotUser, "is_bot": true, "is_enterprise_install": false}},
	}
	return json.Marshal(envelope)
}

// ResendEvent sends an event that was sent before (Ack.Payload) once more, as Slack
// does where it was not acknowledged.
func (s *Slack) ResendEvent(ctx context.Context, raw []byte, retry int) (Ack, error) {
	header := http.Header{}
	if retry > 0 {
		header.Set("X-Slack-Retry-Num", strconv.Itoa(retry))
		header.Set("X-Slack-Retry-Reason", "http_timeout")
	}
	ack, err := s.send(ctx, pathEvents, typeJSON, raw, header)
	ack.Payload = raw
	return ack, err
}

// Mention has a user say something to the bot in a channel, as "incidents open", or
// in the thread of one of its messages: an app_mention event.
func (s *Slack) Mention(ctx context.Context, user, channel, threadTS, text string) (Ack, error) {
	m, err := s.Say(user, channel, threadTS, "<@"+BotUser+"> "+text)
	if err != nil {
		return Ack{}, err
	}
	event := object{"type": "app_mention", "user": user, "text": m.Text, "ts": m.TS, "channel": m.Channel, "event_ts": m.TS, "team": TeamID}
	if m.ThreadTS != "" {
		event["thread_ts"] = m.ThreadTS
	}
	return s.SendEvent(ctx, event, 0)
}

// VerifyURL sends the challenge that Slack sends when an event URL is set up,
// and says whether the bot gave it back.
func (s *Slack) VerifyURL(ctx context.Context) error {
	challenge := s.o.NewID()
	raw, err := json.Marshal(object{"type": "url_verification", "token": "deprecated", "challenge": challenge})
	if err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	ack, err := s.sendHTTP(ctx, pathEvents, typeJSON, raw, nil)
	if err != nil {
		return err
	}
	if !bytes.Contains(ack.Body, []byte(challenge)) {
		return fmt.Errorf("the challenge did not come back but %.200q", ack.Body)
	}
	return nil
}

// OpenHome has a user open the bot's home tab: an app_home_opened event.
func (s *Slack) OpenHome(ctx context.Context, user string) (Ack, error) {
	s.mu.Lock()
	u, ok := s.user(user)
	if !ok {
		s.unlock()
		return Ack{}, noUser(user)
	}
	event := object{"type": "app_home_opened", "user": u.ID, "channel": s.direct(u.ID).ID, "tab": "home", "event_ts": s.nextTS()}
	var err error
	if home, ok := s.homes[u.ID]; ok {
		event["view"], err = home.payload(nil)
	}
	s.unlock()
	if err != nil {
		return Ack{}, fmt.Errorf("home of %s: %w", user, err)
	}
	return s.SendEvent(ctx, event, 0)
}

func noUser(id string) error { return fmt.Errorf("no user %q in the sandbox", id) }
