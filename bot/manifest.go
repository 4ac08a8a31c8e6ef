package bot

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/slack-go/slack"
)

// The ways below secbot's address.
const (
	pathCommands     = "/slack/commands"
	pathInteractions = "/slack/interactions"
	pathEvents       = "/slack/events"
)

// Manifest describes secbot's Slack app, as Slack makes one from it. base is where
// secbot is served, https://HOST with or without a path; it is not needed with
// socket, which has the app use Socket Mode.
func Manifest(base string, socket bool) (*slack.Manifest, error) {
	address := func(string) string { return "" } // Slack sends nothing anywhere
	if !socket {
		u, err := publicURL(base)
		if err != nil {
			return nil, err
		}
		address = func(path string) string { return u + path }
	}
	return &slack.Manifest{
		Metadata: slack.ManifestMetadata{MajorVersion: 1, MinorVersion: 1},
		Display: slack.Display{
			Name:            "secbot",
			Description:     "Closes holes in AWS accounts, or asks whether to.",
			BackgroundColor: "#1d3557",
		},
		Features: slack.Features{
			AppHome: slack.AppHome{HomeTabEnabled: true, MessagesTabEnabled: true, MessagesTabReadOnlyEnabled: true},
			BotUser: slack.BotUser{DisplayName: "secbot", AlwaysOnline: true},
			SlashCommands: []slack.ManifestSlashCommand{{
				Command: "/secbot", Url: address(pathCommands), UsageHint: usageHint(),
				Description: "See what secbot has found, and decide about it",
			}},
		},
		OAuthConfig: slack.OAuthConfig{Scopes: slack.OAuthScopes{Bot: ScopeNames()}},
		Settings: slack.Settings{
			EventSubscriptions: &slack.EventSubscriptions{RequestUrl: address(pathEvents), BotEvents: Events()},
			Interactivity:      &slack.Interactivity{IsEnabled: true, RequestUrl: address(pathInteractions)},
			SocketModeEnabled:  socket,
		},
	}, nil
}

// usageHint is what Slack shows of /secbot while somebody types: the commands.
func usageHint() string {
	var names []string
	for _, c := range Commands() {
		names = append(names, c.Name)
	}
	return "[" + strings.Join(names, " | ") + "]"
}

// publicURL checks where Slack is to send requests.
func publicURL(base string) (string, error) {
	if base == "" {
		return "", errors.New("where will Slack find secbot? Say --url https://HOST, or --socket where it has no public address")
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is no address that Slack sends requests to: it must be https://HOST", cut(base, 200))
	}
	return strings.TrimRight(u.String(), "/"), nil
}
