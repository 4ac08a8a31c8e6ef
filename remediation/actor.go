package remediation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxActorAsked is how many times an hour one person is asked whether a change
	// was theirs: more nobody reads.
	maxActorAsked = 10
	actorWindow   = time.Hour
)

// ActorQuestion is the payload of OpActor: who is asked, by their Slack id or by
// the e-mail address under which Slack knows them.
type ActorQuestion struct {
	User  string `json:"user,omitempty"`
	Email string `json:"email,omitempty"`
}

// ActorMessage is the data of the record under ActorRecord: who was asked, and
// where the direct message is.
type ActorMessage struct {
	User    string `json:"user"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

// ActorRecord is the key of the record that says who was asked whether they had
// made the change of an incident.
func ActorRecord(incident string) string { return "actor/" + incident }

// actorAsked is the data of the record that counts how often somebody was asked.
type actorAsked struct {
	From  time.Time `json:"from"`
	Count int       `json:"count"`
}

// emailName knows names of IAM users and of sessions that are e-mail addresses,
// as IAM Identity Center gives them.
var emailName = compiled(`^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// email is the address in the last part of the actor's ARN; empty where there is
// none. Whoever starts a session chooses its name, so that this says whom to ask,
// and nothing about who it was.
func (a Actor) email() string {
	name := a.ARN[strings.LastIndexByte(a.ARN, '/')+1:]
	if len(name) > 254 || !emailName().MatchString(name) {
		return ""
	}
	return name
}

// askActor has whoever is said to have made the change asked about it, where
// Slack knows them.
func (c *change) askActor(ctx context.Context) error {
	f := c.inc.Finding
	who := ActorQuestion{User: c.e.o.Config.Person(f.Actor)}
	if who.User == "" {
		who.Email = f.Actor.email()
	}
	if who == (ActorQuestion{}) || f.Playbook == OwnRolePlaybook {
		return nil
	}
	rec, asked, err := c.e.actorAsked(ctx, cmp.Or(who.User, strings.ToLower(who.Email)), c.now)
	if err != nil || asked.Count >= maxActorAsked {
		return err
	}
	asked.Count++
	if rec.Data, err = json.Marshal(asked); err != nil {
		return fmt.Errorf("encode %s: %w", rec.Key, err)
	}
	rec.At, rec.Until = c.now, asked.From.Add(actorWindow)
	c.w.Records = append(c.w.Records, rec)
	c.inc.Asked = &who
	c.tellActor(who)
	return nil
}

// tellActor has the direct message shown as the incident stands.
func (c *change) tellActor(who ActorQuestion) {
	c.tell(NotifySlack, OpActor, who)
	// Not the incident's channel: its pace is its own.
	c.w.Notices[len(c.w.Notices)-1].Channel = cmp.Or(who.User, who.Email)
}

// actorAsked reads how often somebody was asked lately.
func (e *Engine) actorAsked(ctx context.Context, who string, now time.Time) (*Record, actorAsked, error) {
	key := "actor-asked/" + digest([]byte(who))
	fresh := actorAsked{From: now}
	rec, err := e.o.Store.Record(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: key}, fresh, nil
	}
	if err != nil {
		return nil, fresh, fmt.Errorf("read how often somebody was asked: %w", err)
	}
	var asked actorAsked
	if err := json.Unmarshal(rec.Data, &asked); err != nil {
		return nil, fresh, fmt.Errorf("decode %s: %w", key, err)
	}
	if now.Sub(asked.From) >= actorWindow {
		return rec, fresh, nil
	}
	return rec, asked, nil
}

// personBehind is the Slack user of whom AWS says that they made the change; empty
// where nobody knows.
func (e *Engine) personBehind(ctx context.Context, inc *Incident) (string, error) {
	rec, err := e.o.Store.Record(ctx, ActorRecord(inc.ID))
	if errors.Is(err, ErrNotFound) {
		return e.o.Config.Person(inc.Finding.Actor), nil
	}
	if err != nil {
		return "", fmt.Errorf("read who was asked about incident %s: %w", inc.ID, err)
	}
	var m ActorMessage
	if err := json.Unmarshal(rec.Data, &m); err != nil {
		return "", fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	return m.User, nil
}

// wasAsked returns nil where by is the one who was asked about the change.
func (e *Engine) wasAsked(ctx context.Context, by string, inc *Incident) error {
	person, err := e.personBehind(ctx, inc)
	if err != nil {
		return err
	}
	if person == "" || person != by {
		return &RefusedError{Text: "Only the person who was asked can answer this, so nothing was changed."}
	}
	return nil
}

// answerActor keeps what the person said: a yes is for people to read and changes
// nothing, a no means that somebody else has their access.
func (c *change) answerActor(cmd Command) error {
	if a := c.inc.Answer; a != nil {
		return &RefusedError{Text: "You have answered this already. Tell the responders if it was wrong."}
	}
	yes := cmd.Verb == VerbClaim
	if yes && cmd.Reason == "" {
		return &RefusedError{Text: "A reason is needed, so that others can follow it."}
	}
	c.inc.Answer = &ActorAnswer{By: cmd.By, Yes: yes, Reason: cmd.Reason, At: c.now}
	if !yes {
		if err := c.disowned(cmd.By); err != nil {
			return err
		}
	}
	what := map[bool]string{true: "said that it was them", false: "said that it was not them"}[yes]
	if err := c.audit(cmd.By, what, cmd.Reason, nil); err != nil {
		return err
	}
	if yes {
		c.mentionIn([]string{cmd.By}, cmd.By+", whom AWS names for this change, says that it was them: "+cmd.Reason)
	}
	c.tell(NotifySlack, OpMessage, nil)
	c.tellActor(ActorQuestion{User: cmd.By})
	return nil
}

// disowned raises the severity to the highest, and tells those who decide about
// such findings.
func (c *change) disowned(by string) error {
	// Whoever has a form or a confirmation open is to look again.
	if c.inc.Request != nil {
		if err := c.loseRequest("the change was disowned"); err != nil {
			return err
		}
	} else {
		c.inc.Requests++
	}
	f := &c.inc.Finding
	d := c.raise()
	text := "The person behind " + f.Actor.String() + " says that this change of " + f.named() + " was not theirs. Somebody else may have their access: look at what else it was used for, and take it away. " + c.inc.Stands()
	c.mentionIn(append([]string{by}, d.Approvers...), text)
	c.point(d.Channel, Pointer{Title: "It was not the person whose access was used", Text: text, People: d.Approvers})
	return nil
}

// Stands says in a sentence what has become of the change that an incident is about.
func (i *Incident) Stands() string {
	switch i.Status {
	case StatusOpen:
		if i.Decision.Action == ActionNotify {
			return "secbot has changed nothing, so that the change still stands as far as it knows; nobody is asked about it."
		}
		return "The change still stands, as far as secbot knows: it waits for a decision."
	case StatusFixing:
		return "secbot is reverting the change right now."
	case StatusFixed:
		return "secbot has reverted the change already, and read that back from AWS."
	case StatusFailed:
		return "secbot could not revert the change; it may still stand, and waits for a decision."
	case StatusUndoing, StatusUndone:
		return "secbot had reverted the change, and was told to take that back, so that it may stand again."
	case StatusIgnored:
		return "The change is ignored by a decision, so that it still stands as far as secbot knows."
	case StatusAllowed:
		return "The change is allowed until " + i.Until.Format(stampFormat) + "; then secbot reverts it."
	case StatusResolved:
		return "The change does not stand any more, as the live state has shown."
	}
	return "Nobody has decided about the change in time, so that it may still stand."
}

// raise makes the finding critical, also for the policy, which may name others for
// what is critical. It does nothing unless somebody has disowned the change.
func (c *change) raise() Decision {
	if c.inc.Answer == nil || c.inc.Answer.Yes {
		return c.inc.Decision
	}
	f := &c.inc.Finding
	f.Severity = SeverityCritical
	f.Rules = slices.Clone(f.Rules)
	for i := range f.Rules {
		f.Rules[i].Severity = SeverityCritical
	}
	d := c.e.o.Config.Decide(*f)[0].Decision
	c.inc.Decision.Approvers, c.inc.Decision.Approvals = d.Approvers, d.Approvals
	return d
}
