package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"secbot/bot"
	"secbot/remediation"
)

// Slack looks at the Slack app. Client must be set.
type Slack struct {
	Client   *slack.Client
	Token    string // SLACK_BOT_TOKEN
	AppToken string // SLACK_APP_TOKEN; empty: not used
	APIURL   string
	Policy   *remediation.Config // nil where it can't be read
	People   bot.Outsiders
}

const mendToken = "set SLACK_BOT_TOKEN to the Bot User OAuth Token (xoxb-…) of the installed Slack app: OAuth & Permissions in its settings" //nolint:gosec // a sentence, no credential

// Check looks at tokens, scopes, channels and people. What depends on a token that
// is no good is left out.
func (s *Slack) Check(ctx context.Context) []Result {
	who, err := s.Client.AuthTestContext(ctx)
	switch {
	case s.Token == "":
		found := append([]Result{fault("bot token", "SLACK_BOT_TOKEN is not set", mendToken)}, s.appToken(ctx)...)
		return append(found, s.unnamed()...)
	case err != nil && code(err) == "":
		return []Result{fault("bot token", "Slack could not be asked: "+plain(err), "let this machine reach https://slack.com, through HTTPS_PROXY where it must")}
	case err != nil:
		found := append([]Result{fault("bot token", "Slack refuses it: "+plain(err), mendToken)}, s.appToken(ctx)...)
		return append(found, s.unnamed()...)
	}
	found := []Result{good("bot token", "%s in %s (%s)", who.User, who.Team, place(who))}
	found = append(found, scopes(who.Header)...)
	found = append(found, s.appToken(ctx)...)
	if s.Policy == nil {
		return append(found, skipped("channels", "the configuration can't be read"), skipped("people", "the configuration can't be read"))
	}
	return slices.Concat(found, s.channels(ctx), s.people(ctx))
}

// unnamed is what is to be said of channels and people without a token to look at them.
func (s *Slack) unnamed() []Result {
	if s.Policy == nil {
		return nil
	}
	found := slices.Concat(s.noChannel(), s.noResponders())
	if s.Policy.Channel != "" {
		found = append(found, skipped("channels", "messages go to "+s.Policy.Channel+"; without a token nobody can look at it"))
	}
	if len(s.Policy.Responders) > 0 {
		found = append(found, skipped("responders", strings.Join(s.Policy.Responders, ", ")+" may decide; without a token nobody can look at them"))
	}
	return found
}

// noChannel is the fault that no channel is named; none where one is.
func (s *Slack) noChannel() []Result {
	if s.Policy.Channel != "" {
		return nil
	}
	return []Result{fault("channels", "SECBOT_CHANNEL is not set, nor a channel in secbot.yaml", "set SECBOT_CHANNEL to the id of the channel where messages go")}
}

// noResponders is the fault that nobody may decide; none where somebody may.
func (s *Slack) noResponders() []Result {
	if len(s.Policy.Responders) > 0 {
		return nil
	}
	return []Result{fault("responders", "SECBOT_RESPONDERS is not set, nor responders in secbot.yaml: nobody may decide", "set SECBOT_RESPONDERS to the ids of users and user groups")}
}

func place(who *slack.AuthTestResponse) string {
	if who.EnterpriseID != "" {
		return who.TeamID + " of the enterprise " + who.EnterpriseID
	}
	return who.TeamID
}

// scopes holds those of the token against those that the code uses.
func scopes(header http.Header) []Result {
	granted := strings.FieldsFunc(header.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	if len(granted) == 0 {
		return []Result{unknown("scopes", "Slack does not tell which the token has", "")}
	}
	var found []Result
	for _, scope := range bot.Scopes() {
		if !slices.Contains(granted, scope.Name) {
			found = append(found, fault("scopes", fmt.Sprintf("%s is missing: %s", scope.Name, scope.For),
				fmt.Sprintf("give the Slack app the bot scope %s (OAuth & Permissions, or `secbot manifest`) and install it again", scope.Name)))
		}
	}
	var more []string
	for _, scope := range granted {
		if !slices.Contains(bot.ScopeNames(), scope) {
			more = append(more, scope)
		}
	}
	switch {
	case len(found) > 0:
		return found
	case len(more) > 0:
		return []Result{good("scopes", "all are there; secbot does not need %s", strings.Join(more, ", "))}
	}
	return []Result{good("scopes", "all %d are there", len(bot.Scopes()))}
}

// appToken asks for the address of a connection, and does not use it.
func (s *Slack) appToken(ctx context.Context) []Result {
	const what = "app token"
	mend := "set SLACK_APP_TOKEN to an app-level token (xapp-…) with the scope " + bot.AppScope + " (Basic Information, App-Level Tokens), and turn Socket Mode on in the app's settings"
	if s.AppToken == "" {
		return []Result{skipped(what, "SLACK_APP_TOKEN is not set: no Socket Mode")}
	}
	if !strings.HasPrefix(s.AppToken, "xapp-") {
		return []Result{fault(what, "SLACK_APP_TOKEN does not begin with xapp-", mend)}
	}
	options := []slack.Option{slack.OptionAppLevelToken(s.AppToken), slack.OptionHTTPClient(&http.Client{Timeout: checkWithin})}
	if s.APIURL != "" {
		options = append(options, slack.OptionAPIURL(strings.TrimRight(s.APIURL, "/")+"/"))
	}
	if _, _, err := slack.New("", options...).StartSocketModeContext(ctx); err != nil {
		return []Result{fault(what, "Slack opens no connection: "+plain(err), mend)}
	}
	return []Result{good(what, "Slack opens connections")}
}

// channels are those that the policy names, in a rule too.
func (s *Slack) channels(ctx context.Context) []Result {
	named := map[string]bool{s.Policy.Channel: true}
	for _, q := range s.questions() {
		for _, to := range q {
			named[to] = true
		}
	}
	for _, r := range s.Policy.Rules {
		named[r.Channel] = true
	}
	found := s.noChannel()
	for _, channel := range slices.Sorted(maps.Keys(named)) {
		if channel != "" && !isUser(channel) && !strings.HasPrefix(channel, "S") {
			found = append(found, s.channel(ctx, channel))
		}
	}
	return found
}

// questions are whom questions that nobody answers are taken to.
func (s *Slack) questions() [][]string {
	all := [][]string{s.Policy.Question.To}
	for _, r := range s.Policy.Rules {
		all = append(all, r.Question.To)
	}
	return all
}

func (s *Slack) channel(ctx context.Context, channel string) Result {
	what := "channel " + channel
	c, err := s.find(ctx, channel)
	switch {
	case code(err) == "channel_not_found", err == nil && c == nil:
		return fault(what, "there is none that secbot can see", "write it as it is, or by its id; into a private one invite secbot first: /invite @secbot")
	case code(err) == "missing_scope":
		return unknown(what, "it could not be looked at: "+plain(err), "give the Slack app the scopes that are missing")
	case err != nil:
		return unknown(what, "it could not be looked at: "+plain(err), "")
	case c.IsArchived:
		return fault(what, "it is archived", "name another one in SECBOT_CHANNEL or secbot.yaml")
	case !c.IsMember:
		return fault(what, "secbot is not in it", "say /invite @secbot in #"+c.Name)
	}
	return good(what, "secbot is in #%s", c.Name)
}

// find looks a channel up, by name too; nil where there is none of that name.
func (s *Slack) find(ctx context.Context, channel string) (*slack.Channel, error) {
	name, isName := strings.CutPrefix(channel, "#")
	if !isName {
		return s.Client.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
	}
	params := slack.GetConversationsParameters{Limit: 1000, Types: []string{"public_channel", "private_channel"}}
	for {
		page, cursor, err := s.Client.GetConversationsContext(ctx, &params)
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			if c.Name == name {
				return &c, nil
			}
		}
		if params.Cursor = cursor; cursor == "" {
			return nil, nil
		}
	}
}

// people are those who may decide, and those who are told.
func (s *Slack) people(ctx context.Context) []Result {
	named := map[string]bool{}
	lists := append(s.questions(), s.Policy.Responders)
	for _, r := range s.Policy.Rules {
		lists = append(lists, r.Approvers)
	}
	for _, p := range s.Policy.People {
		lists = append(lists, []string{p.User})
	}
	for _, ids := range lists {
		for _, id := range ids {
			named[id] = true
		}
	}
	found := s.noResponders()
	for _, id := range slices.Sorted(maps.Keys(named)) {
		switch {
		case isUser(id):
			found = append(found, s.user(ctx, id))
		case strings.HasPrefix(id, "S"):
			found = append(found, s.group(ctx, id))
		}
	}
	return found
}

func (s *Slack) user(ctx context.Context, id string) Result {
	what := "user " + id
	why, err := s.People.Outsider(ctx, id)
	switch {
	case code(err) == "user_not_found", code(err) == "user_not_visible":
		return fault(what, "there is none", "take it out of SECBOT_RESPONDERS or secbot.yaml, or write it as in the profile: Copy member ID")
	case err != nil:
		return unknown(what, "it could not be looked at: "+plain(err), "")
	case why != "":
		return fault(what, "secbot will not heed them: "+why, "name full members of the workspace")
	}
	return good(what, "is a member")
}

func (s *Slack) group(ctx context.Context, id string) Result {
	what := "user group " + id
	members, err := s.Client.GetUserGroupMembersContext(ctx, id)
	switch {
	case code(err) == "no_such_subteam", code(err) == "subteam_not_found":
		return fault(what, "there is none", "take it out of SECBOT_RESPONDERS or secbot.yaml; its id begins with S and stands in its address")
	case err != nil:
		return unknown(what, "it could not be looked at: "+plain(err), "")
	case len(members) == 0:
		return fault(what, "nobody is in it", "add the people who may decide")
	}
	return good(what, "%d members", len(members))
}

func isUser(id string) bool { return strings.HasPrefix(id, "U") || strings.HasPrefix(id, "W") }

// code is Slack's code of an error; empty where Slack gave none.
func code(err error) string {
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) {
		return refused.Err
	}
	return ""
}

// plain is an error on one line.
func plain(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
