package doctor

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Server looks at the secrets with which others reach secbot, and at a server that
// runs.
type Server struct {
	URL           string // where it runs; empty: it is not asked
	SigningSecret string
	EventsToken   string
	QueueURL      string
	Topics        []string
	Socket        bool // Socket Mode is used, where nothing is signed
	StandIn       bool // Slack is a stand-in, whose secrets look as they like
	Now           func() time.Time
	Client        *http.Client
}

const mendSecret = "set SLACK_SIGNING_SECRET to the Signing Secret of the Slack app: Basic Information, App Credentials" //nolint:gosec // a sentence, no credential

// Check looks at the secrets by themselves, then tries them on the server.
func (s *Server) Check(ctx context.Context) []Result {
	found := []Result{s.secret(), s.events()}
	if s.URL == "" {
		return append(found, skipped("server", "neither --url nor SECBOT_URL says where it runs, so it was not asked"))
	}
	if s.SigningSecret != "" {
		found = append(found, s.signed(ctx))
	}
	if s.EventsToken != "" {
		found = append(found, s.authorised(ctx))
	}
	return append(found, s.ready(ctx)...)
}

func (s *Server) secret() Result {
	const what = "signing secret"
	switch {
	case s.SigningSecret == "" && s.Socket:
		return skipped(what, "Socket Mode needs none")
	case s.SigningSecret == "":
		return fault(what, "SLACK_SIGNING_SECRET is not set", mendSecret+"; or use Socket Mode")
	case strings.HasPrefix(s.SigningSecret, "xox") || strings.HasPrefix(s.SigningSecret, "xapp"):
		return fault(what, "SLACK_SIGNING_SECRET is a token", mendSecret)
	case !s.StandIn && !isSecret(s.SigningSecret):
		return fault(what, "SLACK_SIGNING_SECRET is none of Slack's, which have 32 hexadecimal digits", mendSecret)
	}
	return good(what, "it looks like one")
}

func isSecret(secret string) bool {
	raw, err := hex.DecodeString(secret)
	return err == nil && len(raw) == 16
}

func (s *Server) events() Result {
	var ways []string
	if s.EventsToken != "" {
		ways = append(ways, "POST /events (SECBOT_EVENTS_TOKEN)")
	}
	if s.QueueURL != "" {
		ways = append(ways, "the queue (SECBOT_QUEUE_URL)")
	}
	for _, topic := range s.Topics {
		if !strings.HasPrefix(topic, "arn:") || strings.Count(topic, ":") != 5 || !strings.Contains(topic, ":sns:") {
			return fault("events", fmt.Sprintf("SECBOT_SNS_TOPICS: %q is no topic's ARN", topic), "write arn:aws:sns:REGION:ACCOUNT:NAME, separated by commas")
		}
	}
	if len(s.Topics) > 0 {
		ways = append(ways, fmt.Sprintf("%d topics (SECBOT_SNS_TOPICS)", len(s.Topics)))
	}
	if len(ways) == 0 {
		return fault("events", "none can come: SECBOT_EVENTS_TOKEN, SECBOT_QUEUE_URL and SECBOT_SNS_TOPICS are not set", "set one of them, and send EventBridge's events there")
	}
	return good("events", "they may come by %s", strings.Join(ways, ", "))
}

// signed sends what Slack sends when an address is set up, which has no effect.
func (s *Server) signed(ctx context.Context) Result {
	const what = "signed request"
	const challenge = "secbot-doctor"
	body := []byte(`{"type":"url_verification","challenge":"` + challenge + `"}`)
	stamp := strconv.FormatInt(s.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.SigningSecret))
	mac.Write([]byte("v0:" + stamp + ":"))
	mac.Write(body)
	status, answer, err := s.ask(ctx, http.MethodPost, "/slack/events", body, map[string]string{
		"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": "v0=" + hex.EncodeToString(mac.Sum(nil))})
	switch {
	case err != nil:
		return s.unreachable(what, err)
	case status == http.StatusOK && bytes.Contains(answer, []byte(challenge)):
		return good(what, "the server takes it")
	case status == http.StatusUnauthorized && bytes.Contains(answer, []byte("five minutes")):
		return fault(what, "the server's clock and this one are over five minutes apart", "set them")
	case status == http.StatusUnauthorized:
		return fault(what, "the server refuses it: its SLACK_SIGNING_SECRET is another one than here", "give both the Slack app's Signing Secret")
	case status == http.StatusServiceUnavailable:
		return fault(what, "the server has no SLACK_SIGNING_SECRET", mendSecret+", where the server runs")
	}
	return fault(what, fmt.Sprintf("the server answers %d: %s", status, clip(answer)), "let "+s.URL+" be secbot's own address")
}

// authorised sends an event that is none.
func (s *Server) authorised(ctx context.Context) Result {
	const what = "events token"
	status, answer, err := s.ask(ctx, http.MethodPost, "/events", []byte(`{}`), map[string]string{"Authorization": "Bearer " + s.EventsToken})
	switch {
	case err != nil:
		return s.unreachable(what, err)
	case status == http.StatusUnauthorized:
		return fault(what, "the server refuses it: its SECBOT_EVENTS_TOKEN is another one than here", "give both, and EventBridge's connection, the same")
	case status == http.StatusServiceUnavailable:
		return fault(what, "the server has no SECBOT_EVENTS_TOKEN", "set it where the server runs")
	case status == http.StatusOK || status == http.StatusBadRequest:
		return good(what, "the server takes it")
	}
	return fault(what, fmt.Sprintf("the server answers %d: %s", status, clip(answer)), "let "+s.URL+" be secbot's own address")
}

// ready asks the server itself what it lacks.
func (s *Server) ready(ctx context.Context) []Result {
	const what = "server"
	status, raw, err := s.ask(ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return []Result{s.unreachable(what, err)}
	}
	var answer struct {
		Missing []string `json:"missing"`
	}
	switch {
	case status == http.StatusOK:
		return []Result{good(what, "it is ready")}
	case status == http.StatusNotFound:
		return []Result{skipped(what, "it tells nobody what it lacks, as functions do; their alarms and logs tell")}
	case json.Unmarshal(raw, &answer) != nil || len(answer.Missing) == 0:
		return []Result{unknown(what, fmt.Sprintf("/readyz answers %d", status), "")}
	}
	var found []Result
	for _, m := range answer.Missing {
		found = append(found, fault(what, "it says of itself: "+m, "mend it where the server runs"))
	}
	return found
}

func (s *Server) unreachable(what string, err error) Result {
	return fault(what, "the server can't be reached: "+plain(err), "start it, or say with --url where it runs")
}

func (s *Server) ask(ctx context.Context, method, path string, body []byte, header map[string]string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(s.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := s.Client.Do(req) //nolint:gosec // the address is the operator's own
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, answer, err
}

func clip(answer []byte) string {
	return strings.Join(strings.Fields(string(answer[:min(len(answer), 200)])), " ")
}
