package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ByItself is who decides where no person does: Transition.By, AuditEntry.By.
const ByItself = "secbot"

// change is an incident being changed, with everything that is stored together
// with it.
type change struct {
	e    *Engine
	inc  *Incident
	now  time.Time
	w    Write
	err  error   // the first that a step without a result of its own met
	own  *ownLog // secbot's own audit log, where the change writes to it
	seen *view   // what was read of the store before; nil: nothing
	// approved is who has approved the decision that is carried out.
	approved []string
}

// newIncident begins the change that creates an incident.
func (e *Engine) newIncident(f Finding, d Decision) *change {
	now := e.now()
	inc := &Incident{ID: e.o.NewID(), Key: f.Key(), Finding: f, Decision: d, CreatedAt: now, UpdatedAt: now}
	return &change{e: e, inc: inc, now: now, w: Write{Incident: inc}}
}

// move changes the status, with its audit entry.
func (c *change) move(to Status, by, reason string) error { return c.moveWith(to, by, reason, moved{}) }

// moveWith is move with what else the audit entry holds.
func (c *change) moveWith(to Status, by, reason string, data moved) (err error) {
	first := c.inc.Status == ""
	if c.inc.Request != nil {
		if err := c.loseRequest("the incident is " + string(to) + " now"); err != nil {
			return err
		}
	}
	if err := c.inc.move(to, c.now, by, reason); err != nil {
		return err
	}
	c.inc.History[len(c.inc.History)-1].Approved, data.Approved = c.approved, c.approved
	if first {
		if data.known, err = c.inc.known(); err != nil {
			return err
		}
	}
	return c.audit(by, string(to), reason, data)
}

// auditKnown adds an entry where the finding or the decision is not the one from
// before the change.
func (c *change) auditKnown(before known) error {
	is, err := c.inc.known()
	if err != nil || is.equal(before) {
		return err
	}
	return c.audit(ByItself, "seen anew", "", moved{known: is})
}

// audit adds an entry to the incident's log.
func (c *change) audit(by, what, why string, data any) error {
	entry, err := c.inc.appendAudit(c.now, by, what, why, data)
	if err != nil {
		return fmt.Errorf("audit log of incident %s: %w", c.inc.ID, err)
	}
	c.w.Audit = append(c.w.Audit, entry)
	return nil
}

// tell adds a notice about the incident to the outbox.
func (c *change) tell(to, op string, payload any) {
	c.inc.NoticeSeq++
	n, err := c.e.notice(fmt.Sprintf("%s/%d", c.inc.ID, c.inc.NoticeSeq), to, op, payload)
	c.err = errors.Join(c.err, err)
	n.Incident, n.Seq, n.Channel = c.inc.ID, c.inc.NoticeSeq, c.inc.Decision.Channel
	n.Event = c.inc.Finding.EventID
	c.w.Notices = append(c.w.Notices, n)
}

// show has the incident's message brought up to date, and with it, once something is
// settled, what stands in the direct message to whoever was asked about the change.
func (c *change) show() {
	c.tell(NotifySlack, OpMessage, nil)
	if c.inc.Asked != nil && len(c.inc.History) > 1 && c.inc.Status != StatusFixing && c.inc.Status != StatusUndoing {
		c.tellActor(*c.inc.Asked)
	}
}

// thread adds a reply under the incident's message.
func (c *change) thread(text string, diff ...DiffLine) {
	c.tell(NotifySlack, OpThread, ThreadNote{Text: text, Diff: diff})
}

// mentionIn adds a reply that calls people, by their Slack ids.
func (c *change) mentionIn(people []string, text string) {
	c.tell(NotifySlack, OpThread, ThreadNote{Text: text, People: people})
}

// point tells a channel or a user of the incident.
func (c *change) point(to string, p Pointer) {
	c.tell(NotifySlack, OpPointer, p)
	c.w.Notices[len(c.w.Notices)-1].Channel = to
}

// reply answers the person behind a command, where there is a way.
func (c *change) reply(cmd Command, r Reply) {
	n, err := c.e.replyNotice(cmd, r)
	c.err = errors.Join(c.err, err)
	c.w.Notices = append(c.w.Notices, n...)
}

// start moves the incident to fixing or undoing and adds the job that does it.
// The job is stored leased, since this process begins with it right after the
// change is stored.
func (c *change) start(to Status, by, reason string, r run) (*held, error) {
	return c.startWith(to, by, reason, r, moved{})
}

// startWith is start with what else the audit entry holds.
func (c *change) startWith(to Status, by, reason string, r run, data moved) (*held, error) {
	if err := c.moveWith(to, by, reason, data); err != nil {
		return nil, err
	}
	kind := jobFix
	if to == StatusUndoing {
		kind = jobUndo
	}
	j, err := c.job(kind, r)
	if err != nil {
		return nil, err
	}
	j.LeaseUntil, j.Attempts = c.now.Add(leaseFor), 1
	c.w.Jobs = append(c.w.Jobs, j)
	return &held{e: c.e, job: j}, nil
}

// job makes a job about the incident as it stands, due now.
func (c *change) job(kind string, r run) (*Job, error) {
	r.Incident = c.inc.ID
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", kind, err)
	}
	return &Job{ID: fmt.Sprintf("%s/%s/%d", kind, c.inc.ID, c.inc.State()), Kind: kind, Place: c.inc.Finding.Resource.place(), Payload: payload,
		Due: c.now, CreatedAt: c.now, UpdatedAt: c.now}, nil
}

// notice makes an outbox row that is due now.
func (e *Engine) notice(id, to, op string, payload any) (*Notice, error) {
	now := e.now()
	n := &Notice{ID: id, To: to, Op: op, Due: now, CreatedAt: now, UpdatedAt: now}
	if payload == nil {
		return n, nil
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return n, fmt.Errorf("encode the notice %s: %w", id, err)
	}
	n.Payload = raw
	return n, nil
}

// replyNotice makes the answer to a command; none where nobody waits for one.
func (e *Engine) replyNotice(cmd Command, r Reply) ([]*Notice, error) {
	if cmd.ReplyTo == (ReplyTo{}) {
		return nil, nil
	}
	home, err := e.homeNotice(cmd, "answer")
	if err != nil {
		return nil, err
	}
	r.ReplyTo = cmd.ReplyTo
	if r.Incident == "" {
		r.Incident = cmd.Incident
	}
	n, err := e.notice(replyID(cmd), NotifySlack, OpReply, r)
	if cmd.ReplyTo.Shell {
		n.To = NotifyShell
	}
	if cmd.ReplyTo.NotBefore.After(n.Due) {
		n.Due = cmd.ReplyTo.NotBefore
	}
	return append(home, n), err
}

func replyID(cmd Command) string { return "reply/" + cmd.ID }

// homeNotice has the home of whoever clicked there published anew; none where the
// command came from elsewhere. A command may have several, one for each step.
func (e *Engine) homeNotice(cmd Command, step string) ([]*Notice, error) {
	if !cmd.ReplyTo.Home {
		return nil, nil
	}
	n, err := e.notice("home/"+cmd.ID+"/"+step, NotifySlack, OpHome, HomeOf{User: cmd.ReplyTo.User})
	return []*Notice{n}, err
}

// home has that home published with what the change makes of the incident.
func (c *change) home(cmd Command) {
	n, err := c.e.homeNotice(cmd, fmt.Sprint(c.inc.State()))
	c.err = errors.Join(c.err, err)
	c.w.Notices = append(c.w.Notices, n...)
}

// maxConflicts bounds how often a change is begun anew because somebody else
// was faster.
const maxConflicts = 10

// update reads an incident, has f change it, and stores the change, with done
// together with the end of h's job. Where somebody else changes the incident in
// between, f is called again on what they left. An error of f is returned as it
// is and nothing is stored.
func (e *Engine) update(ctx context.Context, h *held, id string, done bool, f func(*change) error) (*Incident, error) {
	for try := 1; ; try++ {
		inc, err := e.o.Store.Incident(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read incident %s: %w", id, err)
		}
		c := &change{e: e, inc: inc, now: e.now(), w: Write{Incident: inc}}
		c.inc.UpdatedAt = c.now
		before, err := inc.known()
		if err != nil {
			return inc, err
		}
		if err := errors.Join(f(c), c.err); err != nil {
			return inc, err
		}
		if err := c.auditKnown(before); err != nil {
			return inc, err
		}
		err = h.commit(ctx, c.w, done)
		if err == nil {
			return inc, nil
		}
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return inc, fmt.Errorf("store incident %s: %w", id, err)
		}
	}
}
