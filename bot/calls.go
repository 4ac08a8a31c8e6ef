package bot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"secbot/internal/metrics"
)

// maxAnswer bounds one answer of Slack's; its largest pages are far smaller.
const maxAnswer = 16 << 20

// maxMethod is longer than the name of each method.
const maxMethod = 60

var errAnswerTooLarge = errors.New("the answer is over 16 MiB")

// Calls counts calls of Slack's API by method and result: ok, ratelimited,
// refused (Slack said no), server (5xx) or unreachable. It is an
// http.RoundTripper and a metrics.Source.
type Calls struct {
	*metrics.Counter
}

// NewCalls makes a counter that has counted nothing.
func NewCalls() *Calls {
	return &Calls{metrics.NewCounter("secbot_slack_calls_total", "Calls of Slack's API by result.", "method", "result")}
}

// methodOf is the method of a call; "upload" for a file's bytes, whose URL is a secret of
// that one file and no label.
func methodOf(u *url.URL) string {
	method := path.Base(u.Path)
	odd := func(r rune) bool { return r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if len(method) > maxMethod || !strings.Contains(method, ".") || strings.ContainsFunc(method, odd) {
		return "upload"
	}
	return method
}

// RoundTrip makes one call and counts it.
func (c *Calls) RoundTrip(r *http.Request) (*http.Response, error) {
	method := methodOf(r.URL)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.Inc(method, "unreachable")
		return resp, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && len(raw) > maxAnswer {
		err = errAnswerTooLarge
	}
	if err != nil {
		c.Inc(method, "unreachable")
		return nil, fmt.Errorf("read Slack's answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	c.Inc(method, slackResult(resp.StatusCode, raw))
	return resp, nil
}

func slackResult(status int, raw []byte) string {
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	switch {
	case status == http.StatusTooManyRequests:
		return "ratelimited"
	case status >= 500:
		return "server"
	case status >= 400, json.Unmarshal(raw, &answer) == nil && answer.OK != nil && !*answer.OK:
		if answer.Error == "ratelimited" {
			return "ratelimited"
		}
		return "refused"
	}
	return "ok"
}
