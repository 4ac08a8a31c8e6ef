package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

const (
	// eventType marks secbot's messages in their metadata.
	eventType = "secbot_incident"
	// historyPages and historyPage bound how far back a message is looked for.
	historyPages = 10
	historyPage  = 200
	// historyMargin is how much before a notice its message may have been
	// posted: clocks differ.
	historyMargin = 10 * time.Minute
	// channelPages bounds the search for a channel's id.
	channelPages = 20
)

// mark is what tells a message of secbot's from all others.
type mark struct{ incident, operation string }

func (m mark) metadata() slack.SlackMetadata {
	return slack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{"incident": m.incident, "operation": m.operation}}
}

func (m mark) is(on slack.Message) bool {
	p := on.Metadata.EventPayload
	return on.Metadata.EventType == eventType && p["incident"] == m.incident && p["operation"] == m.operation
}

// inHistory looks for a message that an earlier attempt has posted; no TS means
// that there is none.
func (n *Notifier) inHistory(ctx context.Context, channel string, notice remediation.Notice, what mark) (place, error) {
	return n.search(ctx, channel, notice, what.is)
}

// search is inHistory for a message that is known by something else.
func (n *Notifier) search(ctx context.Context, channel string, notice remediation.Notice, is func(slack.Message) bool) (place, error) {
	id, err := n.channelID(ctx, channel)
	if err != nil || id == "" {
		return place{}, n.unlessBlind(err)
	}
	params := slack.GetConversationHistoryParameters{
		ChannelID: id, Limit: historyPage, IncludeAllMetadata: true, Inclusive: true,
		Oldest: fmt.Sprintf("%d.000000", notice.CreatedAt.Add(-historyMargin).Unix()),
	}
	for range historyPages {
		page, err := n.Client.GetConversationHistoryContext(ctx, &params)
		if err != nil {
			return place{}, n.unlessBlind(apiError("conversations.history of "+channel, err))
		}
		for _, m := range page.Messages {
			if is(m) {
				return place{id, m.Timestamp}, nil
			}
		}
		if params.Cursor = page.ResponseMetaData.NextCursor; params.Cursor == "" {
			return place{}, nil
		}
	}
	n.log().Warn("a message was not found in the newest part of the history", "channel", channel, "notice", notice.ID)
	return place{}, nil
}

// inThread reports whether an earlier attempt has posted a reply.
func (n *Notifier) inThread(ctx context.Context, ref *remediation.MessageRef, what mark) (bool, error) {
	params := slack.GetConversationRepliesParameters{ChannelID: ref.Channel, Timestamp: ref.TS, Limit: historyPage, IncludeAllMetadata: true}
	for range historyPages {
		replies, _, cursor, err := n.Client.GetConversationRepliesContext(ctx, &params)
		if err != nil {
			return false, n.unlessBlind(apiError("conversations.replies in "+ref.Channel, err))
		}
		for _, m := range replies {
			if what.is(m) {
				return true, nil
			}
		}
		if params.Cursor = cursor; cursor == "" {
			return false, nil
		}
	}
	return false, nil
}

// unlessBlind forgives an error that means that secbot may not look at all:
// then a message too many is better than none. Where looking may work later
// the error stays.
func (n *Notifier) unlessBlind(err error) error {
	if err == nil || isTemporary(err) {
		return err
	}
	n.log().Warn("Slack's history could not be looked through, so a message may come twice", "error", err)
	return nil
}

// channelID finds the id behind a channel's name, which history needs; an id
// stays as it is. It is empty where there is no such channel.
func (n *Notifier) channelID(ctx context.Context, channel string) (string, error) {
	name, isName := strings.CutPrefix(channel, "#")
	if !isName {
		return channel, nil
	}
	if known, ok := n.ids.Load(name); ok {
		id, _ := known.(string) // nothing else is stored
		return id, nil
	}
	params := slack.GetConversationsParameters{Limit: 1000, ExcludeArchived: true, Types: []string{"public_channel", "private_channel"}}
	for range channelPages {
		channels, cursor, err := n.Client.GetConversationsContext(ctx, &params)
		if err != nil {
			return "", apiError("conversations.list", err)
		}
		for _, c := range channels {
			if c.Name == name {
				n.ids.Store(name, c.ID)
				return c.ID, nil
			}
		}
		if params.Cursor = cursor; cursor == "" {
			return "", nil
		}
	}
	n.log().Warn("a channel's name was not found among the first 20,000; name it by its id", "channel", channel)
	return "", nil
}
