package fakeslack

import (
	"context"
	"fmt"
	"slices"
)

// Click has a user click a button of a message, an ephemeral of theirs too:
// the first one with the action id, or the option of a menu with that value or
// "ACTION_ID=VALUE". A question that the button asks is taken as confirmed and
// given back in Ack.Confirm. Where there is no such button the error is a
// *NoButtonError.
func (s *Slack) Click(ctx context.Context, user, channel, ts, actionID string) (Ack, error) {
	s.mu.Lock()
	m, err := s.sight(user, channel, ts)
	s.unlock()
	if err != nil {
		return Ack{}, err
	}
	return s.ClickStale(ctx, user, m, actionID)
}

// ClickStale is Click on a message as it was seen earlier: what Messages gave
// then, or Message.At of what it gives now.
func (s *Slack) ClickStale(ctx context.Context, user string, m Message, actionID string) (Ack, error) {
	b, err := findButton(m.Buttons(), actionID)
	if err != nil {
		return Ack{}, fmt.Errorf("message %s: %w", m.TS, err)
	}
	return s.Press(ctx, user, m, b)
}

// sight is a message as a user sees it. The caller holds the lock.
func (s *Slack) sight(user, channel, ts string) (Message, error) {
	c, ok := s.channel(channel)
	if !ok {
		return Message{}, fmt.Errorf("no channel %q in the sandbox", channel)
	}
	m, ok := s.seen(user, c, ts)
	if !ok {
		return Message{}, fmt.Errorf("%s sees no message %s in %s", user, ts, channel)
	}
	return m.clone(), nil
}

// Press is Click with one of Message.Buttons.
func (s *Slack) Press(ctx context.Context, user string, m Message, b Button) (Ack, error) {
	s.mu.Lock()
	payload, err := s.clickPayload(user, m, b)
	s.unlock()
	if err != nil {
		return Ack{}, err
	}
	ack, err := s.interact(ctx, payload)
	ack.Confirm = b.Confirm
	return ack, err
}

// clickPayload is a block_actions payload of a message. The caller holds the
// lock.
func (s *Slack) clickPayload(user string, m Message, b Button) (object, error) {
	u, ok := s.user(user)
	if !ok {
		return nil, noUser(user)
	}
	c, ok := s.channel(m.Channel)
	if !ok {
		return nil, fmt.Errorf("no channel %q in the sandbox", m.Channel)
	}
	p := s.about("block_actions", u)
	container := object{"type": "message", "message_ts": m.TS, "channel_id": c.ID, "is_ephemeral": m.Ephemeral()}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	if !m.Ephemeral() {
		p["message"] = m.json(true)
	}
	values, err := stateOf(m.Blocks, nil)
	if err != nil {
		return nil, err
	}
	p["container"], p["state"] = container, object{"values": values}
	p["channel"] = object{"id": c.ID, "name": or(c.Name, "directmessage")}
	p["trigger_id"] = s.newTrigger(u.ID, false)
	p["response_url"] = s.newResponseURL(c.ID, u.ID, m.TS)
	p["actions"] = []any{b.action(s.nextTS())}
	return p, nil
}

// ClickView has a user click a button of an open modal of theirs or of their
// home tab; see Click.
func (s *Slack) ClickView(ctx context.Context, user, viewID, actionID string) (Ack, error) {
	return s.ClickBlock(ctx, user, viewID, "", actionID)
}

// ClickBlock is ClickView for one of several buttons of that action: the one in the
// block with that id. An empty id is any block's.
func (s *Slack) ClickBlock(ctx context.Context, user, viewID, blockID, actionID string) (Ack, error) {
	s.mu.Lock()
	v, ok := s.viewOf(user, viewID)
	s.unlock()
	if !ok {
		return Ack{}, noView(user, viewID)
	}
	all := slices.DeleteFunc(v.Buttons(), func(b Button) bool { return blockID != "" && b.BlockID != blockID })
	b, err := findButton(all, actionID)
	if err != nil {
		return Ack{}, fmt.Errorf("view %s: %w", viewID, err)
	}
	return s.PressView(ctx, user, v, b)
}

// PressView is ClickView with one of View.Buttons.
func (s *Slack) PressView(ctx context.Context, user string, v View, b Button) (Ack, error) {
	s.mu.Lock()
	payload, err := s.viewClickPayload(user, v, b)
	s.unlock()
	if err != nil {
		return Ack{}, err
	}
	ack, err := s.interact(ctx, payload)
	ack.Confirm = b.Confirm
	return ack, err
}

func (s *Slack) viewClickPayload(user string, v View, b Button) (object, error) {
	u, ok := s.user(user)
	if !ok {
		return nil, noUser(user)
	}
	values, err := stateOf(v.Blocks, nil)
	if err != nil {
		return nil, err
	}
	p := s.about("block_actions", u)
	p["container"] = object{"type": "view", "view_id": v.ID}
	p["trigger_id"] = s.newTrigger(u.ID, v.Type == "modal")
	p["actions"] = []any{b.action(s.nextTS())}
	p["view"], err = v.payload(values)
	return p, err
}

// viewOf gives a user's open modal or home tab. The caller holds the lock.
func (s *Slack) viewOf(user, id string) (View, bool) {
	if v, ok := s.homes[user]; ok && v.ID == id {
		return *v, true
	}
	for _, v := range s.stacks[user] {
		if v.ID == id {
			return *v, true
		}
	}
	return View{}, false
}

func noView(user, id string) error { return fmt.Errorf("%s has no view %q open", user, id) }
