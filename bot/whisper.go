package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

const (
	// responseLife is how long a response URL lives: 30 minutes, less a margin.
	responseLife = 29 * time.Minute
	// responseTimeout bounds one use of a response URL.
	responseTimeout = 10 * time.Second
)

// whisperer tells one person something that only they see.
type whisperer struct {
	client *slack.Client
	apiURL string
}

// tell uses the response URL while that may still live, else, or where it
// fails, an ephemeral message in the channel or, without one, a direct message. Its error joins what both ways
// said, and is a remediation.ErrUndeliverable where neither can ever work.
func (w whisperer) tell(ctx context.Context, to remediation.ReplyTo, m Message, age time.Duration) error {
	var errs []error
	if to.ResponseURL != "" && age < responseLife {
		err := w.respond(ctx, to.ResponseURL, m)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	err := w.ephemeral(ctx, to, m)
	if err == nil {
		return nil
	}
	errs = append(errs, err)
	if !slices.ContainsFunc(errs, func(err error) bool { return !isFinal(err) }) {
		errs = append(errs, remediation.ErrUndeliverable)
	}
	return errors.Join(errs...)
}

var (
	errNobody  = errors.New("there is no user and channel to answer in")
	errForeign = errors.New("the response URL is not one of Slack's and not on the host of SLACK_API_URL")
)

// statusError is a response URL's refusal.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the response URL answered %d", int(e)) }

// isFinal reports whether trying the same again is useless.
func isFinal(err error) bool {
	var status statusError
	switch {
	case errors.Is(err, errNobody), errors.Is(err, errForeign):
		return true
	case errors.As(err, &status):
		return status >= 400 && status < 500 && status != http.StatusTooManyRequests
	}
	switch errorCode(err) {
	case "user_not_in_channel", "user_not_found", "channel_not_found", "not_in_channel", "is_archived", "no_permission", "cannot_dm_bot":
		return true
	}
	return false
}

func (w whisperer) ephemeral(ctx context.Context, to remediation.ReplyTo, m Message) error {
	switch {
	case to.User == "":
		return errNobody
	case to.Channel == "": // in a direct message nothing is ephemeral
		return w.direct(ctx, to.User, m)
	}
	options := m.options()
	if to.Thread != "" {
		options = append(options, slack.MsgOptionTS(to.Thread))
	}
	_, err := w.client.PostEphemeralContext(ctx, to.Channel, to.User, options...)
	return apiError("chat.postEphemeral", err)
}

// direct tells somebody in a direct message, which stays.
func (w whisperer) direct(ctx context.Context, user string, m Message) error {
	c, _, _, err := w.client.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{user}, ReturnIM: true})
	if err != nil {
		return apiError("conversations.open with "+user, err)
	}
	_, _, err = w.client.PostMessageContext(ctx, c.ID, m.options()...)
	return sendError("chat.postMessage to "+user, err)
}

// options are the message as slack-go takes it. The blocks are always given,
// also where there are none, or chat.update would leave the old ones.
func (m Message) options() []slack.MsgOption {
	return []slack.MsgOption{slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...)}
}

// respond posts to a response URL. The URL is a secret and stands in no error.
func (w whisperer) respond(ctx context.Context, responseURL string, m Message) error {
	if !answerable(responseURL, w.apiURL) {
		return errForeign
	}
	raw, err := json.Marshal(ephemeralAnswer(m))
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, responseTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, responseURL, bytes.NewReader(raw))
	if err != nil {
		return errForeign
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := noRedirects().Do(req) //nolint:gosec // answerable has looked at the host
	if err != nil {
		return fmt.Errorf("the response URL could not be reached: %w", withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	return nil
}

// withoutURL takes the URL out of an error of net/http.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

func noRedirects() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is the JSON that slash commands and response URLs take.
type answer struct {
	ResponseType    string        `json:"response_type"`
	ReplaceOriginal bool          `json:"replace_original"`
	Text            string        `json:"text"`
	Blocks          []slack.Block `json:"blocks,omitempty"`
}

func ephemeralAnswer(m Message) answer {
	return answer{ResponseType: slack.ResponseTypeEphemeral, Text: m.Text, Blocks: m.Blocks}
}

// words is a message of one paragraph of our own words. What comes from
// outside must be escaped in it.
func words(format string, args ...any) Message {
	text := cutLines(fmt.Sprintf(format, args...))
	return Message{Text: text, Blocks: compact([]slack.Block{section(text)})}
}
