package fakeslack

import (
	"slices"
	"strings"
	"time"
)

// User is a person or the bot.
type User struct {
	ID         string
	Name       string // the handle, as "alice"
	RealName   string
	Email      string
	TZ         string // an IANA name, as "Europe/Berlin"
	Team       string // TeamID unless they are of another workspace
	Enterprise string // the id of the enterprise that they belong to; empty: none
	Restricted bool   // a guest
	Bot        bool
	Deleted    bool // deactivated
}

// Group is a user group.
type Group struct {
	ID, Handle, Name string
	Users            []string // ids
}

// Channel is a channel or a direct message.
type Channel struct {
	ID       string
	Name     string // without #; empty for a direct message
	With     string // whom a direct message is with
	Member   bool   // whether the bot is in it
	Private  bool
	Archived bool
}

// DefaultUsers are three responders, a stranger, an engineer, a guest, a user of
// another team, and the bot.
func DefaultUsers() []User {
	user := func(id, name, real, tz string) User {
		return User{ID: id, Name: name, RealName: real, Email: name + "@example.com", TZ: tz, Team: TeamID}
	}
	guest := user(Guest, "guest", "Gus Guest", "Europe/London")
	guest.Restricted = true
	stray := user(Stray, "stray", "Sam Stray", "America/New_York")
	stray.Team, stray.Email = "T0ELSEWHERE", "stray@example.net"
	bot := user(BotUser, "secbot", "secbot", "UTC")
	bot.Bot, bot.Email = true, ""
	return []User{
		user(Alice, "alice", "Alice Adams", "Europe/Berlin"),
		user(Bob, "bob", "Bob Brown", "America/New_York"),
		user(Carol, "carol", "Carol Clark", "Asia/Tokyo"),
		user(Mallory, "mallory", "Mallory Moss", "Europe/Paris"),
		user(Dana, "dana", "Dana Diaz", "America/Los_Angeles"),
		guest, stray, bot,
	}
}

// DefaultGroups is the responders' group.
func DefaultGroups() []Group {
	return []Group{{ID: GroupResponders, Handle: "responders", Name: "Security responders", Users: []string{Alice, Bob, Carol}}}
}

// DefaultChannels are #security, where the bot is, and #random, where not.
func DefaultChannels() []Channel {
	return []Channel{{ID: ChannelSecurity, Name: "security", Member: true}, {ID: ChannelRandom, Name: "random"}}
}

// user finds a user by id.
func (s *Slack) user(id string) (User, bool) {
	for _, u := range s.users {
		if u.ID == id {
			return u, true
		}
	}
	return User{}, false
}

// channel finds a channel by id, or by name with or without #.
func (s *Slack) channel(ref string) (*channel, bool) {
	for _, c := range s.channels {
		if c.ID == ref || c.Name != "" && c.Name == strings.TrimPrefix(ref, "#") {
			return c, true
		}
	}
	return nil, false
}

// DirectID is the id of the bot's direct message with a user.
func DirectID(user string) string { return "D" + strings.TrimPrefix(user, "U") }

// direct finds or opens the bot's direct message with a user.
func (s *Slack) direct(user string) *channel {
	for _, c := range s.channels {
		if c.With == user {
			return c
		}
	}
	c := &channel{Channel: Channel{ID: DirectID(user), With: user, Member: true}}
	s.channels = append(s.channels, c)
	return c
}

// speakable is the channel that the bot may write to: a channel's id or name,
// or a user's id for a direct message.
func (s *Slack) speakable(ref string) (*channel, error) {
	if _, ok := s.user(ref); ok {
		return s.direct(ref), nil
	}
	c, ok := s.channel(ref)
	switch {
	case !ok:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case !c.Member:
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

func (s *Slack) usersInfo(a args) (object, error) {
	u, ok := s.user(a["user"])
	if !ok {
		return nil, refuse("user_not_found")
	}
	return object{"user": s.describe(u)}, nil
}

func (s *Slack) usersLookupByEmail(a args) (object, error) {
	for _, u := range s.users {
		if u.Email != "" && strings.EqualFold(u.Email, a["email"]) {
			return object{"user": s.describe(u)}, nil
		}
	}
	return nil, refuse("users_not_found")
}

func (s *Slack) describe(u User) object {
	now := s.o.Now()
	_, offset := now.In(u.location()).Zone()
	o := object{
		"id": u.ID, "team_id": u.Team, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"tz": u.TZ, "tz_label": u.TZ, "tz_offset": offset, "is_bot": u.Bot, "is_app_user": false, "is_stranger": s.isStranger(u),
		"is_admin": false, "is_owner": false, "is_restricted": u.Restricted, "is_ultra_restricted": false, "updated": 0,
		"profile": object{
			"real_name": u.RealName, "display_name": u.Name, "email": u.Email, "team": u.Team,
			"real_name_normalized": u.RealName, "display_name_normalized": u.Name,
		},
	}
	if u.Enterprise != "" {
		o["enterprise_user"] = object{"id": u.ID, "enterprise_id": u.Enterprise, "enterprise_name": u.Enterprise,
			"is_admin": false, "is_owner": false, "teams": []any{u.Team}}
	}
	return o
}

// isStranger: within an enterprise all are known to each other.
func (s *Slack) isStranger(u User) bool {
	return u.Team != TeamID && (s.o.Enterprise == "" || u.Enterprise != s.o.Enterprise)
}

func (u User) location() *time.Location {
	if loc, err := time.LoadLocation(u.TZ); err == nil {
		return loc
	}
	return time.UTC // the zone database is missing: the offset is of no weight
}

func (s *Slack) usergroupsList(a args) (object, error) {
	groups := []any{}
	for _, g := range s.groups {
		o := object{"id": g.ID, "team_id": TeamID, "is_usergroup": true, "name": g.Name, "handle": g.Handle, "user_count": len(g.Users)}
		if truthy(a["include_users"]) {
			o["users"] = slices.Clone(g.Users)
		}
		groups = append(groups, o)
	}
	return object{"usergroups": groups}, nil
}

func (s *Slack) usergroupsUsersList(a args) (object, error) {
	for _, g := range s.groups {
		if g.ID == a["usergroup"] {
			return object{"users": slices.Clone(g.Users)}, nil
		}
	}
	return nil, refuse("no_such_subteam")
}

// SetUser adds a user, or replaces the one with this id.
func (s *Slack) SetUser(u User) {
	s.mu.Lock()
	defer s.unlock()
	s.users = append(slices.DeleteFunc(s.users, func(have User) bool { return have.ID == u.ID }), u)
}

// SetGroup adds a user group, or replaces the one with this id.
func (s *Slack) SetGroup(g Group) {
	s.mu.Lock()
	defer s.unlock()
	s.groups = append(slices.DeleteFunc(s.groups, func(have Group) bool { return have.ID == g.ID }), g)
}

// SetChannel adds a channel, or replaces the one with this id and keeps its
// messages.
func (s *Slack) SetChannel(c Channel) {
	s.mu.Lock()
	defer s.unlock()
	for _, have := range s.channels {
		if have.ID == c.ID {
			have.Channel = c
			return
		}
	}
	s.channels = append(s.channels, &channel{Channel: c})
}

// Users lists everybody, the bot too.
func (s *Slack) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.users)
}

// Channels lists the channels and direct messages.
func (s *Slack) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Channel, 0, len(s.channels))
	for _, c := range s.channels {
		all = append(all, c.Channel)
	}
	return all
}
