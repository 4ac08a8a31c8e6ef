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

// ask begins the time of a question, or of what went wrong and waits for people as
// well: its reminder, its escalation and its end are jobs with a due time, which whichever process finds them due takes. A finding
// that is only told asks nothing.
func (c *change) ask() error {
	if c.inc.Decision.Action == ActionNotify {
		return nil
	}
	q := c.inc.Decision.Question
	if c.inc.Status != StatusOpen {
		q.Expire = 0 // what went wrong waits until somebody has looked
	}
	for _, t := range []struct {
		kind  string
		after time.Duration
	}{{jobRemind, q.Remind}, {jobEscalate, q.Escalate}, {jobLapse, q.Expire}} {
		if t.after <= 0 {
			continue
		}
		if err := c.later(t.kind, c.now.Add(t.after), run{Round: len(c.inc.History)}); err != nil {
			return err
		}
	}
	if q.Expire > 0 {
		c.inc.Until = c.now.Add(q.Expire)
	}
	return nil
}

// stampFormat is how times stand in texts for people, who may see them in a zone of
// their own.
const stampFormat = "2006-01-02 15:04 UTC"

// later adds a timer about the incident.
func (c *change) later(kind string, due time.Time, r run) error {
	j, err := c.job(kind, r)
	if err != nil {
		return err
	}
	j.Due = due
	c.w.Jobs = append(c.w.Jobs, j)
	return nil
}

// remind tells the people who may decide that nobody has yet.
func (e *Engine) remind(ctx context.Context, h *held, r run) error {
	only, err := e.onlyDigested(ctx, r.Incident)
	if err != nil || only {
		return err // a digest has told of it, which a message for each would undo
	}
	return e.unanswered(ctx, h, r, func(c *change, standing string) error {
		if r := c.inc.Request; r != nil {
			missing := counted(r.Needed-len(r.Approved), "more approval")
			people, err := c.reminding(ctx, append(slices.Clone(c.inc.Decision.Approvers), r.By))
			if err != nil {
				return err
			}
			c.mentionIn(people, fmt.Sprintf("Reminder about %s: %s asks to %s, which waits for %s. %s%s", c.inc.Finding.named(), r.By, r.Words(), missing, upperFirst(standing), c.ending()))
		} else {
			people, err := c.reminding(ctx, c.inc.Decision.Approvers)
			if err != nil {
				return err
			}
			c.mentionIn(people, fmt.Sprintf("Reminder about %s: nobody has decided since %s. %s%s",
				c.inc.Finding.named(), c.inc.Last().At.Format(stampFormat), upperFirst(standing), c.ending()))
		}
		return c.audit(ByItself, "reminded", strings.Join(c.inc.Decision.Approvers, ", "), nil)
	})
}

const (
	// maxReminders is how many reminders of a channel call the same people by themselves
	// within remindersEvery: more at once nobody reads.
	maxReminders   = 3
	remindersEvery = time.Minute
)

// reminding are the people whom a reminder calls: nobody where that would be one of
// many at once, for which they get one message in the channel instead.
func (c *change) reminding(ctx context.Context, people []string) ([]string, error) {
	channel := cmp.Or(c.inc.Decision.Channel, c.e.o.Config.Channel)
	from := c.now.Truncate(remindersEvery)
	key := fmt.Sprintf("reminders/%s/%s/%d", channel, digest([]byte(strings.Join(people, ","))), from.Unix())
	rec, err := c.e.o.Store.Record(ctx, key)
	if errors.Is(err, ErrNotFound) {
		rec, err = &Record{Key: key}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how many reminders they got: %w", err)
	}
	count := 0
	if len(rec.Data) > 0 {
		if err := json.Unmarshal(rec.Data, &count); err != nil {
			return nil, fmt.Errorf("decode %s: %w", key, err)
		}
	}
	count++
	rec.Data, rec.At, rec.Until = fmt.Append(nil, count), c.now, from.Add(time.Hour)
	c.w.Records = append(c.w.Records, rec)
	if count <= maxReminders {
		return people, nil
	}
	if count == maxReminders+1 {
		c.alert(key, Alert{Title: "Many questions wait for a decision", People: people,
			Text: fmt.Sprintf("More than %d reminders were due at once; each stands in the thread of its message, and no more call anybody now. All that wait: /secbot incidents open failed", maxReminders)})
		c.w.Notices[len(c.w.Notices)-1].Channel = channel
	}
	return nil, nil
}

// onlyDigested reports whether an incident has no message of its own, since a digest
// tells of it.
func (e *Engine) onlyDigested(ctx context.Context, incident string) (bool, error) {
	_, err := e.o.Store.Message(ctx, incident)
	if err == nil {
		return false, nil
	}
	if errors.Is(err, ErrNotFound) {
		_, err = e.o.Store.Record(ctx, digestedRecord(incident))
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether incident %s has a message: %w", incident, err)
	}
	return true, nil
}

// ending says when the question ends, where it does.
func (c *change) ending() string {
	if c.inc.Until.IsZero() {
		return "."
	}
	return fmt.Sprintf("; the question ends %s, and then nothing is changed.", c.inc.Until.Format(stampFormat))
}

// escalate tells those of whom the policy says that they shall hear of questions
// that nobody answers.
func (e *Engine) escalate(ctx context.Context, h *held, r run) error {
	return e.unanswered(ctx, h, r, func(c *change, standing string) error {
		to := c.inc.Decision.Question.To
		for _, target := range to {
			c.point(target, Pointer{Title: "Nobody has decided yet",
				Text: fmt.Sprintf("This has waited for a decision since %s. %s.", c.inc.Last().At.Format(stampFormat), upperFirst(standing))})
		}
		c.mentionIn(to, "Nobody has decided about "+c.inc.Finding.named()+", so that others are told now.")
		return c.audit(ByItself, "escalated", strings.Join(to, ", "), nil)
	})
}

// lapse ends a question that nobody has answered. Nothing is changed: that nobody
// is there is no reason to act, and the next scan asks anew.
func (e *Engine) lapse(ctx context.Context, h *held, r run) error {
	return e.unanswered(ctx, h, r, func(c *change, standing string) error {
		if c.inc.Status != StatusOpen {
			return nil
		}
		if err := c.move(StatusExpired, ByItself, "nobody decided in time; nothing was changed, and "+standing); err != nil {
			return err
		}
		c.show()
		return nil
	})
}

// unanswered has f tell of a question, unless it is over or the live state shows
// that it need not be answered any more; together with that the timer's job ends.
// standing says how the resource is.
func (e *Engine) unanswered(ctx context.Context, h *held, r run, f func(c *change, standing string) error) error {
	inc, err := e.o.Store.Incident(ctx, r.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", r.Incident, err)
	}
	if len(inc.History) != r.Round {
		return nil // somebody has decided
	}
	standing, err := e.standing(ctx, h, inc)
	if err != nil {
		return err
	}
	_, err = e.update(ctx, h, r.Incident, true, func(c *change) error {
		if len(c.inc.History) != r.Round {
			return nil
		}
		return f(c, standing)
	})
	return err
}

// standing looks at the resource of an incident that waits for people, ends the
// incident where it is safe, and says in words how it is.
func (e *Engine) standing(ctx context.Context, h *held, inc *Incident) (string, error) {
	live := judged{readAt: e.now()}
	var err error
	live.env, live.state, err = e.read(ctx, inc.Finding.Resource)
	switch {
	case live.state != nil: // also of a resource that is gone
	case err != nil && isTransient(err) && h.job.Attempts < maxReadAttempts:
		return "", err
	case errors.Is(err, ErrGone):
		return "the resource does not exist any more", nil
	default:
		return "whether it is still so could not be read: " + Explain(err), nil
	}
	if err := e.settleOne(ctx, h, live, inc, "at the time of its reminder"); err != nil {
		return "", err
	}
	pb := live.env.Playbook(inc.Finding.Playbook)
	if pb == nil {
		return "whether it is still so nobody can tell", nil
	}
	if _, err := pb.Plan(live.state, inc.Finding); errors.Is(err, ErrNothingToDo) || errors.Is(err, ErrGone) {
		return "it seems to be over by now", nil
	}
	return "it is still as it was found", nil
}

// upperFirst gives s with its first letter in upper case.
func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
