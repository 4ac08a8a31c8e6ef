package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// checkLife is how long a check's answer is kept, so that whoever asks often
// does not use up Slack's rate.
const checkLife = 20 * time.Second

// checked is the newest check's answer.
type checked struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Check says whether Slack can be reached with the token, and whether the
// channel of SECBOT_CHANNEL is there and the bot in it. The error says what to
// do. An answer is up to 20 s old.
func (n *Notifier) Check(ctx context.Context) error {
	n.check.mu.Lock()
	defer n.check.mu.Unlock()
	if !n.check.at.IsZero() && n.now().Sub(n.check.at) < checkLife {
		return n.check.err
	}
	err := n.look(ctx)
	if ctx.Err() == nil {
		n.check.at, n.check.err = n.now(), err
	}
	return err
}

func (n *Notifier) look(ctx context.Context) error {
	if _, err := n.Client.AuthTestContext(ctx); err != nil {
		return apiError("auth.test", err)
	}
	if n.Channel == "" {
		return errors.New("SECBOT_CHANNEL is not set: messages wait for a channel unless the rules of secbot.yaml name one")
	}
	id, err := n.channelID(ctx, n.Channel)
	if err == nil && id == "" {
		return fmt.Errorf("there is no channel %s that the bot can see: %s", n.Channel, hintFor("channel_not_found"))
	}
	if err == nil {
		_, err = n.Client.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: id, Limit: 1})
	}
	if err != nil && (isTemporary(err) || isMendable(err)) {
		return apiError("channel "+n.Channel, err)
	}
	return nil
}

// isMendable reports whether a refusal to read the channel is one that somebody
// should mend. Stand-ins that can't be asked count as ready.
func isMendable(err error) bool {
	switch errorCode(err) {
	case "channel_not_found", "not_in_channel", "is_archived", "missing_scope":
		return true
	}
	return false
}
