package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// MessageStore is what the Notifier reads and writes of the store.
type MessageStore interface {
	Incident(ctx context.Context, id string) (*remediation.Incident, error)
	Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error)
	Message(ctx context.Context, incident string) (*remediation.MessageRef, error)
	Last(ctx context.Context, key string) (*remediation.Incident, error)
	Record(ctx context.Context, key string) (*remediation.Record, error)
	Commit(ctx context.Context, w remediation.Write) error
}

// Notifier delivers notices to Slack. It implements remediation.Notifier.
// Client and Store must be set; it must not be copied once used.
type Notifier struct {
	Client  *slack.Client
	Store   MessageStore
	Names   Names
	Channel string           // where messages go unless the incident's decision says otherwise
	APIURL  string           // SLACK_API_URL
	Homes   *Homes           // publishes home tabs; nil: they are left as they are
	Log     *slog.Logger     // discarded where nil
	Now     func() time.Time // time.Now where nil

	check checked
	ids   sync.Map // of channels, by name
}

// Notify delivers n: OpMessage, OpThread, OpReply, OpScan, OpAsk, OpAlert, OpDigest,
// OpPointer, OpActor, OpStats or OpHome. A repeated attempt
// looks in Slack's history for what an earlier one has left there and adopts
// it, by the incident and the operation in the messages' metadata. Its errors
// are those of remediation.Notifier; whatever a person can mend is tried again
// and says how.
func (n *Notifier) Notify(ctx context.Context, notice remediation.Notice) error {
	switch notice.Op {
	case remediation.OpMessage:
		return n.message(ctx, notice)
	case remediation.OpThread:
		return n.thread(ctx, notice)
	case remediation.OpReply:
		return n.reply(ctx, notice)
	case remediation.OpScan:
		return n.scan(ctx, notice)
	case remediation.OpAsk:
		return n.ask(ctx, notice)
	case remediation.OpAlert:
		return n.alert(ctx, notice)
	case remediation.OpDigest:
		return n.digest(ctx, notice)
	case remediation.OpPointer:
		return n.pointer(ctx, notice)
	case remediation.OpActor:
		return n.actor(ctx, notice)
	case remediation.OpStats:
		return n.stats(ctx, notice)
	case remediation.OpHome:
		return n.home(ctx, notice)
	}
	return fmt.Errorf("%w: this secbot does not know the notice %q", remediation.ErrUndeliverable, notice.Op)
}

func (n *Notifier) log() *slog.Logger {
	if n.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return n.Log
}

func (n *Notifier) now() time.Time {
	if n.Now == nil {
		return time.Now()
	}
	return n.Now()
}

// message shows the incident as it stands now.
func (n *Notifier) message(ctx context.Context, notice remediation.Notice) error {
	inc, err := n.incident(ctx, notice.Incident)
	if err != nil {
		return err
	}
	ref, err := n.reference(ctx, notice, inc.Decision.Channel)
	if err != nil {
		return err
	}
	v, err := viewOf(ctx, n.Store, n.Names, inc, n.now())
	if err != nil {
		return err
	}
	if v.later != nil {
		v.link = n.permalink(ctx, v.later)
	}
	return n.show(ctx, ref, renderIncident(v))
}

// show brings a message up to date, or posts it where it is not there yet, or gone.
func (n *Notifier) show(ctx context.Context, ref *remediation.MessageRef, m Message) error {
	if ref.TS != "" {
		err := n.update(ctx, ref, m)
		if !isLost(err) {
			return err
		}
		n.log().Warn("a message is gone and is posted again", "incident", ref.Incident, "error", err)
	}
	return n.first(ctx, ref, m)
}

func (n *Notifier) incident(ctx context.Context, id string) (*remediation.Incident, error) {
	inc, err := n.Store.Incident(ctx, id)
	if errors.Is(err, remediation.ErrNotFound) {
		return nil, fmt.Errorf("%w: there is no incident %q", remediation.ErrUndeliverable, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	return inc, nil
}

// reference is where the message of the notice's incident is; without a TS where
// it is still to be posted, in the named channel.
func (n *Notifier) reference(ctx context.Context, notice remediation.Notice, named string) (*remediation.MessageRef, error) {
	id := notice.Incident
	ref, err := n.known(ctx, id)
	if err == nil {
		return ref, nil
	}
	if !errors.Is(err, remediation.ErrNotFound) {
		return nil, fmt.Errorf("read where the message of incident %s is: %w", id, err)
	}
	channel, err := n.channel(named, notice.Channel)
	if err != nil {
		return nil, err
	}
	ref = &remediation.MessageRef{Incident: id, Channel: channel}
	if notice.Attempts <= 1 {
		return ref, nil
	}
	found, err := n.inHistory(ctx, channel, notice, mark{id, remediation.OpMessage})
	if err != nil || found.ts == "" {
		return ref, err
	}
	n.log().Info("a message that was already out is adopted", "incident", id, "channel", found.channel, "ts", found.ts)
	ref.Channel, ref.TS = found.channel, found.ts
	return ref, n.remember(ctx, ref)
}

// channel is the first that is named.
func (n *Notifier) channel(candidates ...string) (string, error) {
	for _, c := range append(candidates, n.Channel) {
		if c != "" {
			return c, nil
		}
	}
	return "", errors.New("no channel is named: set SECBOT_CHANNEL, or `channel` in secbot.yaml, and invite the bot there")
}

// first posts the incident's message and remembers where it is.
func (n *Notifier) first(ctx context.Context, ref *remediation.MessageRef, m Message) error {
	at, err := n.post(ctx, ref.Channel, "", mark{ref.Incident, remediation.OpMessage}, m)
	if err != nil {
		return err
	}
	ref.Channel, ref.TS = at.channel, at.ts
	return n.remember(ctx, ref)
}

func (n *Notifier) remember(ctx context.Context, ref *remediation.MessageRef) error {
	w := remediation.Write{Message: ref}
	if key, keep := recordOf(ref.Incident); key != "" {
		raw, err := json.Marshal(ref)
		if err != nil {
			return fmt.Errorf("encode where the message of %s is: %w", ref.Incident, err)
		}
		now := n.now()
		w = remediation.Write{Records: []*remediation.Record{{Key: key, Version: ref.Version, Data: raw, At: now, Until: now.Add(keep)}}}
	}
	if err := n.Store.Commit(ctx, w); err != nil {
		return fmt.Errorf("remember where the message of %s is: %w", ref.Incident, err)
	}
	return nil
}

// place is where a message is.
type place struct{ channel, ts string }

// post sends a new message. Where Slack refuses the blocks, the text goes out
// alone: an ugly notice is better than none.
func (n *Notifier) post(ctx context.Context, channel, thread string, what mark, m Message) (place, error) {
	options := append(m.options(), slack.MsgOptionMetadata(what.metadata()),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	if thread != "" {
		options = append(options, slack.MsgOptionTS(thread))
	}
	at, ts, err := n.Client.PostMessageContext(ctx, channel, options...)
	if isRejected(err) && len(m.Blocks) > 0 {
		n.log().Error("Slack refuses the blocks of a message, which goes out as text alone", "incident", what.incident, "error", explained(err))
		return n.post(ctx, channel, thread, what, Message{Text: m.Text})
	}
	if err != nil {
		return place{}, sendError("chat.postMessage to "+channel, err)
	}
	if at == "" {
		at = channel
	}
	return place{at, ts}, nil
}

func (n *Notifier) update(ctx context.Context, ref *remediation.MessageRef, m Message) error {
	_, _, _, err := n.Client.UpdateMessageContext(ctx, ref.Channel, ref.TS, m.options()...)
	if isRejected(err) && len(m.Blocks) > 0 {
		n.log().Error("Slack refuses the blocks of a message, which goes out as text alone", "incident", ref.Incident, "error", explained(err))
		return n.update(ctx, ref, Message{Text: m.Text})
	}
	return sendError("chat.update in "+ref.Channel, err)
}

// thread replies under the incident's message.
func (n *Notifier) thread(ctx context.Context, notice remediation.Notice) error {
	var note remediation.ThreadNote
	if err := decode(notice, &note); err != nil {
		return err
	}
	ref, err := n.threadOf(ctx, notice)
	if err != nil {
		return err
	}
	what := mark{notice.Incident, notice.ID}
	if notice.Attempts > 1 {
		found, err := n.inThread(ctx, ref, what)
		if err != nil || found {
			return err
		}
	}
	_, err = n.post(ctx, ref.Channel, ref.TS, what, renderThread(note))
	return err
}

// threadOf is the incident's message. An incident that was never told (a
// scan's eleventh finding) gets its message now, since notices go out in order
// and no other will come before; a settled one is left alone.
func (n *Notifier) threadOf(ctx context.Context, notice remediation.Notice) (*remediation.MessageRef, error) {
	ref, err := n.known(ctx, notice.Incident)
	if !errors.Is(err, remediation.ErrNotFound) {
		return ref, err
	}
	inc, err := n.incident(ctx, notice.Incident)
	if err != nil {
		return nil, err
	}
	if !inc.Status.Active() {
		return nil, fmt.Errorf("%w: incident %s is settled and has no message to reply to", remediation.ErrUndeliverable, inc.ID)
	}
	if err := n.message(ctx, notice); err != nil {
		return nil, err
	}
	return n.Store.Message(ctx, notice.Incident)
}

// reply answers one person.
func (n *Notifier) reply(ctx context.Context, notice remediation.Notice) error {
	var r remediation.Reply
	if err := decode(notice, &r); err != nil {
		return err
	}
	if r.ResponseURL == "" && r.Channel == "" && r.User != "" { // a click in a home, which is in no channel
		to, err := n.direct(ctx, r.User)
		if err != nil {
			return unlessTemporary(err)
		}
		return unlessTemporary(n.once(ctx, notice, to, renderReply(r)))
	}
	return whisperer{n.Client, n.APIURL}.tell(ctx, r.ReplyTo, renderReply(r), n.now().Sub(notice.CreatedAt))
}

// scan shows a scan as it stands now.
func (n *Notifier) scan(ctx context.Context, notice remediation.Notice) error {
	id, _ := scanOf(notice.Incident)
	run, err := remediation.ReadScan(ctx, n.Store, id)
	if errors.Is(err, remediation.ErrNotFound) {
		return fmt.Errorf("%w: %w", remediation.ErrUndeliverable, err)
	}
	if err != nil {
		return err
	}
	ref, err := n.reference(ctx, notice, "")
	if err != nil {
		return err
	}
	return n.show(ctx, ref, renderScanRun(run, n.Names))
}

// scanOf is the scan that a message is about; false where it is an incident's.
func scanOf(incident string) (string, bool) {
	return strings.CutPrefix(incident, remediation.ScanMessage(""))
}

// recordOf is the record that says where the message of a scan or of a state machine's
// question is, and how long it is kept; "" for an incident's, which is kept for ever.
func recordOf(incident string) (key string, keep time.Duration) {
	if scan, ok := scanOf(incident); ok {
		return remediation.ScanMessageRecord(scan), remediation.KeepScan
	}
	if ask, ok := strings.CutPrefix(incident, remediation.AskMessage("")); ok {
		return remediation.AskMessageRecord(ask), remediation.KeepAskMessage
	}
	return "", 0
}

// known reads where a message is; remediation.ErrNotFound.
func (n *Notifier) known(ctx context.Context, id string) (*remediation.MessageRef, error) {
	key, _ := recordOf(id)
	if key == "" {
		return n.Store.Message(ctx, id)
	}
	rec, err := n.Store.Record(ctx, key)
	if err != nil {
		return nil, err
	}
	ref := &remediation.MessageRef{}
	if err := json.Unmarshal(rec.Data, ref); err != nil {
		return nil, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	ref.Version = rec.Version
	return ref, nil
}

// alert posts a message about secbot itself.
func (n *Notifier) alert(ctx context.Context, notice remediation.Notice) error {
	var a remediation.Alert
	if err := decode(notice, &a); err != nil {
		return err
	}
	return n.once(ctx, notice, "", renderAlert(a))
}

// digest posts what stands for many incidents' messages.
func (n *Notifier) digest(ctx context.Context, notice remediation.Notice) error {
	var d remediation.Digest
	if err := decode(notice, &d); err != nil {
		return err
	}
	return n.once(ctx, notice, "", renderDigest(d, n.Names))
}

// once posts a message about no incident, unless an earlier attempt has.
func (n *Notifier) once(ctx context.Context, notice remediation.Notice, named string, m Message) error {
	channel, err := n.channel(named, notice.Channel)
	if err != nil {
		return err
	}
	what := mark{"", notice.ID}
	if notice.Attempts > 1 {
		found, err := n.inHistory(ctx, channel, notice, what)
		if err != nil || found.ts != "" {
			return err
		}
	}
	_, err = n.post(ctx, channel, "", what, m)
	return err
}

func decode(notice remediation.Notice, v any) error {
	if err := json.Unmarshal(notice.Payload, v); err != nil {
		return fmt.Errorf("%w: notice %s: %w", remediation.ErrUndeliverable, notice.ID, err)
	}
	return nil
}
