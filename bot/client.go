package bot

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// apiTimeout bounds one call of Slack's API.
const apiTimeout = 15 * time.Second

// NewClient makes a client of Slack's API that gives up a call after 15 s and
// never repeats one by itself: the outbox does, since it knows what is out.
// An empty apiURL is Slack's own; any other is the base URL of the methods
// (SLACK_API_URL). calls counts its calls, unless nil.
func NewClient(token, apiURL string, calls *Calls) *slack.Client {
	return newClient(token, apiURL, calls)
}

func newClient(token, apiURL string, calls *Calls, more ...slack.Option) *slack.Client {
	client := &http.Client{Timeout: apiTimeout}
	if calls != nil {
		client.Transport = calls
	}
	options := []slack.Option{slack.OptionHTTPClient(client)}
	if apiURL != "" {
		// slack-go puts the method's name right after it.
		options = append(options, slack.OptionAPIURL(strings.TrimRight(apiURL, "/")+"/"))
	}
	return slack.New(token, append(options, more...)...)
}

// answerable reports whether answers may be posted to a response URL: Slack's
// own over https, or the host of the API that secbot was told to use. The URL
// comes in a signed request, so this only limits what a leaked signing secret
// could be used for.
func answerable(responseURL, apiURL string) bool {
	u, err := url.Parse(responseURL)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if u.Scheme == "https" && (host == "hooks.slack.com" || host == "hooks.slack-gov.com") {
		return true
	}
	api, err := url.Parse(apiURL)
	if err != nil || api.Hostname() == "" {
		return false
	}
	same := strings.EqualFold(host, api.Hostname()) || (isLoopback(host) && isLoopback(api.Hostname()))
	return same && (u.Scheme == "https" || (u.Scheme == "http" && isLoopback(host)))
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
