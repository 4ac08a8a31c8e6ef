package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// actor shows whoever is said to have made a change the question whether it was
// them, in a direct message, or what they have answered. Who can't be found is not
// asked.
func (n *Notifier) actor(ctx context.Context, notice remediation.Notice) error {
	var q remediation.ActorQuestion
	if err := decode(notice, &q); err != nil {
		return err
	}
	inc, err := n.incident(ctx, notice.Incident)
	if err != nil {
		return err
	}
	rec, at, err := n.askedAt(ctx, inc.ID)
	if err != nil {
		return err
	}
	m := renderActor(view{inc: inc, meta: n.Names.meta(inc.Finding.Playbook), names: n.Names, bare: true, past: true})
	if at.TS != "" {
		return unlessTemporary(n.update(ctx, &remediation.MessageRef{Incident: inc.ID, Channel: at.Channel, TS: at.TS}, m))
	}
	user, err := n.person(ctx, q)
	if err != nil || user == "" {
		return unlessTemporary(err)
	}
	at = remediation.ActorMessage{User: user}
	if at.Channel, err = n.direct(ctx, user); err != nil {
		return unlessTemporary(err)
	}
	what := mark{inc.ID, remediation.OpActor}
	if notice.Attempts > 1 {
		found, err := n.inHistory(ctx, at.Channel, notice, what)
		if err != nil {
			return err
		}
		at.TS = found.ts
	}
	if at.TS == "" {
		posted, err := n.post(ctx, at.Channel, "", what, m)
		if err != nil {
			return unlessTemporary(err)
		}
		at.Channel, at.TS = posted.channel, posted.ts
	}
	if rec.Data, err = json.Marshal(at); err != nil {
		return fmt.Errorf("encode %s: %w", rec.Key, err)
	}
	rec.At = n.now()
	if err := n.Store.Commit(ctx, remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
		return fmt.Errorf("remember who was asked about incident %s: %w", inc.ID, err)
	}
	return nil
}

// askedAt reads who was asked already, and where.
func (n *Notifier) askedAt(ctx context.Context, incident string) (*remediation.Record, remediation.ActorMessage, error) {
	var at remediation.ActorMessage
	rec, err := n.Store.Record(ctx, remediation.ActorRecord(incident))
	if errors.Is(err, remediation.ErrNotFound) {
		return &remediation.Record{Key: remediation.ActorRecord(incident)}, at, nil
	}
	if err != nil {
		return nil, at, fmt.Errorf("read who was asked about incident %s: %w", incident, err)
	}
	if err := json.Unmarshal(rec.Data, &at); err != nil {
		return nil, at, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	return rec, at, nil
}

// person is the Slack user who is to be asked; empty where Slack knows nobody of
// that address.
func (n *Notifier) person(ctx context.Context, q remediation.ActorQuestion) (string, error) {
	if q.User != "" {
		return q.User, nil
	}
	u, err := n.Client.GetUserByEmailContext(ctx, q.Email)
	if errorCode(err) == "users_not_found" {
		n.log().Debug("Slack knows nobody of an actor's address")
		return "", nil
	}
	if err != nil {
		return "", apiError("users.lookupByEmail", err)
	}
	if u.Deleted || u.IsBot || u.IsRestricted || u.IsUltraRestricted || u.IsStranger || !isUser(u.ID) {
		return "", nil
	}
	return u.ID, nil
}

// renderActor makes the direct message.
func renderActor(v view) Message {
	p := painter{view: v, f: v.inc.Finding, d: details()[1]}
	title, said := "Was this you?", "secbot asks, since AWS says that your access was used. Nothing depends on a yes but that others can read the reason."
	if a := v.inc.Answer; a != nil {
		title = "You said that it was not you"
		said = "The responders were told. Change your password and your access keys, and talk to them."
		if a.Yes {
			title, said = "You said that it was you", "Reason: "+escaped(a.Reason, p.d.text)
		}
	}
	blocks := []slack.Block{
		slack.NewHeaderBlock(plain(title, maxHeader)),
		section(p.happened(), withPeople(v.inc.Stands(), nil)),
		section(said),
		slack.NewSectionBlock(nil, p.fields(), nil),
		section(p.changes("*The change:*")),
	}
	if v.inc.Answer == nil {
		yes := p.button(remediation.VerbClaim, "Yes, It Was Me…")
		no := p.button(remediation.VerbDisown, "No, It Was Not").
			WithConfirm(confirm("It was not you?", "The responders are told at once that somebody else may be using your access.", "Tell Them"))
		blocks = append(blocks, slack.NewActionBlock(actorBlockID(v.inc), yes, no))
	}
	return Message{Text: title + " " + escaped(strings.ReplaceAll(p.happened(), "`", ""), 300),
		Blocks: append(compact(blocks), slack.NewContextBlock("", mrkdwn("incident "+code(v.inc.ID, maxIDLength))))}
}

// actorBlockID marks the buttons of the direct message. They are good until they
// are answered, whatever becomes of the incident.
func actorBlockID(inc *remediation.Incident) string { return "actor:" + inc.ID }

// The ids of the form that asks for the reason.
const claimCallback = "claim"

// claimModal asks why the change was made.
func claimModal(inc *remediation.Incident, names Names, memory modalMemory) (slack.ModalViewRequest, error) {
	raw, err := json.Marshal(memory)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	p := painter{view: view{inc: inc, meta: names.meta(inc.Finding.Playbook), names: names}, f: inc.Finding, d: details()[1]}
	reason := slack.NewPlainTextInputBlockElement(plain("What is it for, and for how long?", 150), reasonInput)
	reason.MaxLength, reason.Multiline = maxReason, true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: claimCallback, PrivateMetadata: string(raw),
		Title: plain("It was you", 24), Submit: plain("Send", 24), Close: plain("Cancel", 24),
		Blocks: slack.Blocks{BlockSet: compact([]slack.Block{
			section(p.happened(), p.list("", p.changeTexts())),
			slack.NewInputBlock(reasonInput, plain("Reason", 100), plain("The responders read it under the message about your change.", 200), reason),
		})},
	}, nil
}

// openClaim opens that form. Whether the person is the one who was asked is found
// out once it is sent.
func (h *Handler) openClaim(ctx context.Context, c click) {
	reading, cancel := context.WithTimeout(ctx, storeWithin/2)
	inc, err := h.Store.Incident(reading, c.incident)
	cancel()
	if err != nil {
		h.tell(ctx, c.reply, h.notRead(c.incident, err))
		return
	}
	view, err := claimModal(inc, h.Names, modalMemory{Incident: inc.ID, Channel: c.reply.Channel, ResponseURL: c.reply.ResponseURL})
	h.open(ctx, c, view, err, words("Slack did not open the form. Try again."))
}

// claimed takes the filled-in form.
func (h *Handler) claimed(ctx context.Context, ic *slack.InteractionCallback, memory modalMemory, reply remediation.ReplyTo) ack {
	reason := cut(clean(input(ic, reasonInput).Value), maxReason)
	faults := map[string]string{}
	if reason == "" {
		faults[reasonInput] = "A reason is needed, so that others can follow it."
	}
	return h.submitForm(ctx, remediation.Command{
		ID:   hashID(string(ic.Type), ic.User.ID, ic.View.ID, memory.Incident),
		Verb: remediation.VerbClaim, Incident: memory.Incident, By: ic.User.ID, Reason: reason, ReplyTo: reply,
	}, faults)
}
