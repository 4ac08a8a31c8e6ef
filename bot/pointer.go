package bot

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// pointer posts a message that points to the incident's own, in another channel
// or to a person. Where that can't be reached the notice is given up, so that it
// holds back no other of the incident.
func (n *Notifier) pointer(ctx context.Context, notice remediation.Notice) error {
	var p remediation.Pointer
	if err := decode(notice, &p); err != nil {
		return err
	}
	inc, err := n.incident(ctx, notice.Incident)
	if err != nil {
		return err
	}
	to, err := n.channel(notice.Channel)
	if err == nil && isUser(to) {
		to, err = n.direct(ctx, to)
	}
	if err != nil {
		return unlessTemporary(err)
	}
	return unlessTemporary(n.once(ctx, notice, to, renderPointer(p, inc, n.Names, n.permalink(ctx, inc))))
}

// unlessTemporary gives up what will not get better by itself.
func unlessTemporary(err error) error {
	if err == nil || isTemporary(err) || errors.Is(err, remediation.ErrUndeliverable) {
		return err
	}
	return fmt.Errorf("%w: %w", remediation.ErrUndeliverable, err)
}

// permalink is the address of the incident's message; empty where there is none
// or Slack does not tell.
func (n *Notifier) permalink(ctx context.Context, inc *remediation.Incident) string {
	ref, err := n.Store.Message(ctx, inc.ID)
	if err != nil {
		return ""
	}
	link, err := permalink(ctx, n.Client, ref)
	if err != nil {
		n.log().Warn("Slack does not tell where a message is", "incident", inc.ID, "error", err)
	}
	return link
}

// permalink is the address of a message; empty where Slack gives none that can be
// opened.
func permalink(ctx context.Context, client *slack.Client, ref *remediation.MessageRef) (string, error) {
	link, err := client.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: ref.Channel, Ts: ref.TS})
	if err != nil {
		return "", apiError("chat.getPermalink", err)
	}
	if !isLink(link) {
		return "", nil
	}
	return link, nil
}

func isLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// direct opens, or finds, the direct message with a user.
func (n *Notifier) direct(ctx context.Context, user string) (string, error) {
	if known, ok := n.ids.Load(user); ok {
		id, _ := known.(string) // nothing else is stored
		return id, nil
	}
	c, _, _, err := n.Client.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{user}, ReturnIM: true})
	if err != nil {
		return "", apiError("conversations.open with "+user, err)
	}
	n.ids.Store(user, c.ID)
	return c.ID, nil
}

// renderPointer makes a message that points to an incident's.
func renderPointer(p remediation.Pointer, inc *remediation.Incident, names Names, link string) Message {
	text := withPeople(p.Text, p.People)
	where := "`/secbot show " + escaped(inc.ID, maxIDLength) + "`"
	if link != "" {
		where = "<" + slackEscaped(link) + "|Go to the message>"
	}
	return Message{Text: escaped(p.Title+". "+p.Text, 300), Blocks: compact([]slack.Block{
		slack.NewHeaderBlock(plain(p.Title, maxHeader)),
		section(text),
		section(findingLine(inc.Finding, names) + incidentPart(inc.ID)),
		slack.NewContextBlock("", mrkdwn(where)),
	})}
}
