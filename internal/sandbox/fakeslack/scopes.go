package fakeslack

import (
	"maps"
	"slices"
	"strings"
)

// scopes are what the methods need, as Slack's reference of each says. Those that
// read channels need the one of the channel's kind, which "*" stands for.
func scopes() map[string]string {
	return map[string]string{
		"apps.connections.open":        "connections:write",
		"chat.delete":                  "chat:write",
		"chat.postEphemeral":           "chat:write",
		"chat.postMessage":             "chat:write",
		"chat.update":                  "chat:write",
		"conversations.history":        "*:history",
		"conversations.info":           "*:read",
		"conversations.join":           "channels:join",
		"conversations.list":           "channels:read",
		"conversations.open":           "im:write",
		"conversations.replies":        "*:history",
		"files.completeUploadExternal": "files:write",
		"files.getUploadURLExternal":   "files:write",
		"usergroups.list":              "usergroups:read",
		"usergroups.users.list":        "usergroups:read",
		"users.info":                   "users:read",
		"users.lookupByEmail":          "users:read.email",
	}
}

// needed is the scope that a call needs; empty for none.
func (s *Slack) needed(method string, a args) string {
	scope := scopes()[method]
	kind := "channels"
	if c, ok := s.channel(a["channel"]); ok {
		switch {
		case c.With != "":
			kind = "im"
		case c.Private:
			kind = "groups"
		}
	}
	return strings.Replace(scope, "*", kind, 1)
}

// missing is the scope that a call needs and the bot token has not.
func (s *Slack) missing(method string, a args) string {
	if scope := s.needed(method, a); scope != "connections:write" && !s.has(scope) {
		return scope
	}
	return ""
}

func (s *Slack) has(scope string) bool {
	return scope == "" || s.o.Scopes == nil || slices.Contains(s.o.Scopes, scope)
}

// scopesOf is the header X-OAuth-Scopes of an answer to a token.
func (s *Slack) scopesOf(token string) string {
	switch {
	case token == s.o.AppToken:
		return "connections:write"
	case token != s.o.BotToken:
		return ""
	case s.o.Scopes != nil:
		return strings.Join(s.o.Scopes, ",")
	}
	all := []string{"app_mentions:read", "commands", "groups:history", "groups:read", "im:history", "im:read", "metadata.message:read"}
	for scope := range maps.Values(scopes()) {
		if scope != "connections:write" {
			all = append(all, strings.Replace(scope, "*", "channels", 1))
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// SetScopes says what the bot token has from now on; nil: all.
func (s *Slack) SetScopes(granted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Scopes = granted
}

func (a answer) with(scopes string) answer {
	a.scopes = scopes
	return a
}

// readableArgs are a call's arguments without what the token may not read.
func (s *Slack) readableArgs(a args) args {
	if s.has("metadata.message:read") {
		return a
	}
	a = maps.Clone(a)
	delete(a, "include_all_metadata")
	return a
}
