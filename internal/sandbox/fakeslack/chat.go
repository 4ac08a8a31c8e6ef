package fakeslack

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"secbot/internal/blockkit"
)

func (s *Slack) chatPostMessage(a args) (object, error) {
	c, err := s.speakable(a["channel"])
	if err != nil {
		return nil, err
	}
	said, err := s.read(a)
	if err != nil {
		return nil, err
	}
	thread, err := c.thread(a["thread_ts"])
	if err != nil {
		return nil, err
	}
	m := s.post(c, Message{ThreadTS: thread, User: BotUser, Version: said.Version})
	return object{"channel": c.ID, "ts": m.TS, "message": m.json(true)}, nil
}

// thread gives the ts of the parent for a reply to a message or to one of its
// replies.
func (c *channel) thread(ts string) (string, error) {
	if ts == "" {
		return "", nil
	}
	m, ok := c.message(ts)
	if !ok {
		return "", refuse("thread_not_found")
	}
	return or(m.ThreadTS, m.TS), nil
}

func (c *channel) message(ts string) (*Message, bool) {
	for _, m := range c.messages {
		if m.TS == ts {
			return m, true
		}
	}
	return nil, false
}

// post adds a message to a channel.
func (s *Slack) post(c *channel, m Message) *Message {
	m.Channel, m.TS = c.ID, s.nextTS()
	if parent, ok := c.message(m.ThreadTS); ok {
		parent.ReplyCount++
	}
	c.messages = bounded(append(c.messages, &m), maxMessages)
	s.changed(Change{Kind: ChangeMessage, Channel: c.ID, TS: m.TS})
	return &m
}

// show adds an ephemeral.
func (s *Slack) show(m Message) *Message {
	m.TS = s.nextTS()
	s.ephemerals = bounded(append(s.ephemerals, &m), maxEphemerals)
	s.changed(Change{Kind: ChangeEphemeral, Channel: m.Channel, TS: m.TS, User: m.To})
	return &m
}

func (s *Slack) chatPostEphemeral(a args) (object, error) {
	c, err := s.speakable(a["channel"])
	if err != nil {
		return nil, err
	}
	u, ok := s.user(a["user"])
	if !ok || c.With != "" && c.With != u.ID {
		return nil, refuse("user_not_in_channel")
	}
	said, err := s.read(a)
	if err != nil {
		return nil, err
	}
	thread, err := c.thread(a["thread_ts"])
	if err != nil {
		return nil, err
	}
	said.Metadata = nil
	m := s.show(Message{Channel: c.ID, ThreadTS: thread, User: BotUser, To: u.ID, Version: said.Version})
	return object{"message_ts": m.TS}, nil
}

func (s *Slack) chatUpdate(a args) (object, error) {
	c, m, err := s.own(a, "cant_update_message")
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(a["text"]) > blockkit.MaxUpdateText {
		return nil, refuse("msg_too_long")
	}
	said, err := s.read(a)
	if err != nil {
		return nil, err
	}
	s.edit(m, said)
	return object{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": m.json(true)}, nil
}

// edit changes a message. Blocks, attachments and metadata that were not given
// stay as they are; empty ones go.
func (s *Slack) edit(m *Message, said content) {
	v := said.Version
	if !said.given.text {
		v.Text = m.Text
	}
	if !said.given.blocks {
		v.Blocks = m.Blocks
	}
	if !said.given.attachments {
		v.Attachments = m.Attachments
	}
	if !said.given.metadata {
		v.Metadata = m.Metadata
	}
	v.Edited = s.o.Now()
	m.edit(v)
	kind := ChangeMessage
	if m.Ephemeral() {
		kind = ChangeEphemeral
	}
	s.changed(Change{Kind: kind, Channel: m.Channel, TS: m.TS, User: m.To})
}

// own finds a message that the bot wrote and may change. Unlike posting, this
// takes a channel's id only.
func (s *Slack) own(a args, denied string) (*channel, *Message, error) {
	c, ok := s.channel(a["channel"])
	if !ok || c.ID != a["channel"] {
		return nil, nil, refuse("channel_not_found")
	}
	m, ok := c.message(a["ts"])
	switch {
	case !ok:
		return nil, nil, refuse("message_not_found")
	case m.User != BotUser:
		return nil, nil, refuse(denied)
	}
	return c, m, nil
}

func (s *Slack) chatDelete(a args) (object, error) {
	c, m, err := s.own(a, "cant_delete_message")
	if err != nil {
		return nil, err
	}
	s.drop(c, m)
	return object{"channel": c.ID, "ts": m.TS}, nil
}

func (s *Slack) drop(c *channel, m *Message) {
	c.messages = slices.DeleteFunc(c.messages, func(have *Message) bool { return have == m })
	if parent, ok := c.message(m.ThreadTS); ok {
		parent.ReplyCount--
	}
	s.changed(Change{Kind: ChangeMessage, Channel: c.ID, TS: m.TS})
}

func (s *Slack) hide(m *Message) {
	s.ephemerals = slices.DeleteFunc(s.ephemerals, func(have *Message) bool { return have == m })
	s.changed(Change{Kind: ChangeEphemeral, Channel: m.Channel, TS: m.TS, User: m.To})
}

func (s *Slack) chatGetPermalink(a args) (object, error) {
	c, ok := s.channel(a["channel"])
	if !ok {
		return nil, refuse("channel_not_found")
	}
	m, ok := c.message(a["message_ts"])
	if !ok {
		return nil, refuse("message_not_found")
	}
	link := fmt.Sprintf("%sarchives/%s/p%s", s.workspaceURL(), c.ID, strings.ReplaceAll(m.TS, ".", ""))
	if m.ThreadTS != "" {
		link += fmt.Sprintf("?thread_ts=%s&cid=%s", m.ThreadTS, c.ID)
	}
	return object{"channel": c.ID, "permalink": link}, nil
}

// Say has a person write into a channel, or into a thread of it.
func (s *Slack) Say(user, channel, threadTS, text string) (Message, error) {
	s.mu.Lock()
	defer s.unlock()
	c, ok := s.channel(channel)
	if !ok {
		return Message{}, fmt.Errorf("no channel %q in the sandbox", channel)
	}
	thread, err := c.thread(threadTS)
	if err != nil {
		return Message{}, fmt.Errorf("reply to %s in %s: %w", threadTS, channel, err)
	}
	return s.post(c, Message{ThreadTS: thread, User: user, Version: Version{Text: text}}).clone(), nil
}
