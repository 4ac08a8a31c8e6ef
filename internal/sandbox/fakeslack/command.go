package fakeslack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
)

// Reply is the bot's immediate answer to a slash command.
type Reply struct {
	Ack
	Message     *Message // what was shown: an ephemeral, or a message in the channel; nil for an empty answer
	ResponseURL string   // for later answers
}

// Command has a user type a slash command in a channel, as "/secbot" and
// "scan s3". The answer is shown to the user, or in the channel where it says
// so; one that Slack would refuse is an error.
func (s *Slack) Command(ctx context.Context, user, channel, command, text string) (Reply, error) {
	s.mu.Lock()
	form, err := s.commandForm(user, channel, command, text)
	s.unlock()
	if err != nil {
		return Reply{}, err
	}
	ack, err := s.send(ctx, pathCommands, typeForm, []byte(form.Encode()), nil)
	ack.Trigger = form.Get("trigger_id")
	r := Reply{Ack: ack, ResponseURL: form.Get("response_url")}
	if err != nil {
		return r, err
	}
	s.mu.Lock()
	defer s.unlock()
	if r.Message, err = s.showReply(user, form.Get("channel_id"), ack); err != nil {
		return r, fmt.Errorf("answer to %s: %w", command, explain(err))
	}
	return r, nil
}

func (s *Slack) commandForm(user, channel, command, text string) (url.Values, error) {
	u, ok := s.user(user)
	if !ok {
		return nil, noUser(user)
	}
	c, ok := s.channel(channel)
	if !ok {
		return nil, fmt.Errorf("no channel %q in the sandbox", channel)
	}
	return url.Values{
		"token": {"deprecated"}, "team_id": {u.Team}, "team_domain": {TeamDomain}, "api_app_id": {AppID},
		"channel_id": {c.ID}, "channel_name": {or(c.Name, "directmessage")}, "user_id": {u.ID}, "user_name": {u.Name},
		"command": {command}, "text": {text}, "is_enterprise_install": {"false"},
		"trigger_id": {s.newTrigger(u.ID, false)}, "response_url": {s.newResponseURL(c.ID, u.ID, "")},
	}, nil
}

// showReply shows an answer: JSON with text or blocks, or plain text.
func (s *Slack) showReply(user, channel string, ack Ack) (*Message, error) {
	body := bytes.TrimSpace(ack.Body)
	if len(body) == 0 {
		return nil, nil
	}
	a := args{"text": string(body)}
	kind, _, _ := mime.ParseMediaType(ack.Header.Get("Content-Type"))
	if kind == typeJSON {
		a = args{}
		if err := readJSONArgs(bytes.NewReader(body), a); err != nil {
			return nil, err
		}
		if json.Valid(body) && a["text"] == "" && a["blocks"] == "" && a["attachments"] == "" {
			return nil, nil // as {} or {"response_type": "in_channel"} alone
		}
	}
	said, err := s.read(a)
	if err != nil {
		return nil, err
	}
	m := Message{Channel: channel, User: BotUser, Version: said.Version}
	if a["response_type"] != "in_channel" {
		m.To = user
		shown := s.show(m).clone()
		return &shown, nil
	}
	c, ok := s.channel(channel)
	if !ok {
		return nil, refuse("channel_not_found")
	}
	shown := s.post(c, m).clone()
	return &shown, nil
}
