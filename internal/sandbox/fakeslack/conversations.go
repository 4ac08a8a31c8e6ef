package fakeslack

import (
	"encoding/base64"
	"slices"
	"strconv"
)

// readable is a channel that the bot may read: one it is in.
func (s *Slack) readable(a args) (*channel, error) {
	c, ok := s.channel(a["channel"])
	switch {
	case !ok || c.ID != a["channel"]:
		return nil, refuse("channel_not_found")
	case !c.Member:
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

// conversationsHistory gives a channel's messages without the replies in
// threads, the newest first.
func (s *Slack) conversationsHistory(a args) (object, error) {
	c, err := s.readable(a)
	if err != nil {
		return nil, err
	}
	var found []*Message
	for _, m := range c.messages {
		if m.ThreadTS == "" {
			found = append(found, m)
		}
	}
	slices.Reverse(found)
	return page(found, s.readableArgs(a), 100)
}

// conversationsReplies gives a message and the replies to it, the oldest
// first.
func (s *Slack) conversationsReplies(a args) (object, error) {
	c, err := s.readable(a)
	if err != nil {
		return nil, err
	}
	parent, ok := c.message(a["ts"])
	if !ok {
		return nil, refuse("thread_not_found")
	}
	ts := or(parent.ThreadTS, parent.TS)
	var found []*Message
	for _, m := range c.messages {
		if m.TS == ts || m.ThreadTS == ts {
			found = append(found, m)
		}
	}
	return page(found, s.readableArgs(a), 1000)
}

// page cuts out what oldest, latest, cursor and limit ask for. The cursor
// names the last message of the page before.
func page(all []*Message, a args, limit int) (object, error) {
	if a["limit"] != "" {
		n, err := strconv.Atoi(a["limit"])
		if err != nil || n < 1 || n > 1000 {
			return nil, refuse("invalid_limit")
		}
		limit = min(n, 999)
	}
	all, err := after(all, a["cursor"])
	if err != nil {
		return nil, err
	}
	within, err := window(a)
	if err != nil {
		return nil, err
	}
	found, next, metadata := []any{}, "", truthy(a["include_all_metadata"])
	last := ""
	for _, m := range all {
		if !within(m) {
			continue
		}
		if len(found) == limit {
			next = base64.StdEncoding.EncodeToString([]byte("next_ts:" + last))
			break
		}
		found, last = append(found, m.json(metadata)), m.TS
	}
	return object{"messages": found, "has_more": next != "", "response_metadata": object{"next_cursor": next}}, nil
}

// after drops the messages up to the one that the cursor names.
func after(all []*Message, cursor string) ([]*Message, error) {
	if cursor == "" {
		return all, nil
	}
	raw, err := base64.StdEncoding.DecodeString(cursor)
	if err != nil {
		return nil, refuse("invalid_cursor")
	}
	i := slices.IndexFunc(all, func(m *Message) bool { return "next_ts:"+m.TS == string(raw) })
	if i < 0 {
		return nil, refuse("invalid_cursor")
	}
	return all[i+1:], nil
}

// window says which messages lie between oldest and latest; the bounds
// themselves only if inclusive.
func window(a args) (func(*Message) bool, error) {
	oldest, latest, inclusive := int64(-1), int64(1<<62), truthy(a["inclusive"])
	if v := a["oldest"]; v != "" {
		if oldest = unstamp(v); oldest == 0 && v != "0" {
			return nil, refuse("invalid_ts_oldest")
		}
	}
	if v := a["latest"]; v != "" {
		if latest = unstamp(v); latest == 0 {
			return nil, refuse("invalid_ts_latest")
		}
	}
	return func(m *Message) bool {
		at := unstamp(m.TS)
		if at == oldest || at == latest {
			return inclusive
		}
		return oldest < at && at < latest
	}, nil
}

func (c *channel) json() object {
	return object{
		"id": c.ID, "name": c.Name, "is_channel": c.With == "", "is_group": false, "is_im": c.With != "", "user": c.With,
		"is_private": c.Private, "is_archived": c.Archived, "is_member": c.Member, "context_team_id": TeamID,
	}
}

func (s *Slack) conversationsInfo(a args) (object, error) {
	c, ok := s.channel(a["channel"])
	if !ok || c.ID != a["channel"] {
		return nil, refuse("channel_not_found")
	}
	return object{"channel": c.json()}, nil
}

// conversationsList gives all public channels on one page.
func (s *Slack) conversationsList(args) (object, error) {
	list := []any{}
	for _, c := range s.channels {
		if c.With == "" && (!c.Private || c.Member) {
			list = append(list, c.json())
		}
	}
	return object{"channels": list, "response_metadata": object{"next_cursor": ""}}, nil
}

func (s *Slack) conversationsJoin(a args) (object, error) {
	c, ok := s.channel(a["channel"])
	switch {
	case !ok || c.ID != a["channel"]:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.Private || c.With != "":
		return nil, refuse("method_not_supported_for_channel_type")
	}
	c.Member = true
	return object{"channel": c.json()}, nil
}

// conversationsOpen opens the direct message with one user.
func (s *Slack) conversationsOpen(a args) (object, error) {
	if _, ok := s.user(a["users"]); !ok {
		return nil, refuse("user_not_found")
	}
	return object{"channel": s.direct(a["users"]).json()}, nil
}
