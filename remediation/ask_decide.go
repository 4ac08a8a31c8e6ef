package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// errDecided says that a question needs no decision any more.
var errDecided = errors.New("it is decided already")

// decideAsk stores what a person has decided of a state machine's question, and then
// sends it.
func (e *Engine) decideAsk(ctx context.Context, h *held, cmd Command) error {
	_, a, err := readAsk(ctx, e.o.Store.Record, cmd.Scope)
	if errors.Is(err, ErrNotFound) {
		err = &RefusedError{Text: "Nobody knows that question any more, so nothing was decided.", Err: err}
	} else if err == nil {
		err = e.mayAnswer(ctx, cmd.By, a)
	}
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	decision := AskApproved
	if cmd.Verb == VerbTaskNo {
		decision = AskDenied
	}
	var send *held
	err = e.updateAsk(ctx, h, a.ID, true, func(c *change, a *Ask) (err error) {
		if !a.undecided() || cmd.State != nil && *cmd.State != a.State-1 {
			return &RefusedError{Text: "That button is out of date, so nothing was decided: " + a.standing() + ".", People: []string{a.By}}
		}
		send, err = c.answerAsk(ctx, a, decision, cmd)
		if cmd.State == nil {
			c.reply(cmd, Reply{Text: upperFirst(string(decision)) + "; the state machine is told."})
		}
		return err
	})
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	e.work(ctx, send)
	return nil
}

// mayAnswer returns nil where by may decide what the state machine asks by the policy
// as it is now; else the errors of Authorise.
func (e *Engine) mayAnswer(ctx context.Context, by string, a *Ask) error {
	m, ok := e.o.Config.machineOf(a.Execution)
	if !ok {
		return &RefusedError{Text: "secbot.yaml does not list this state machine any more, so nothing was decided."}
	}
	return e.mayAs(ctx, by, e.o.Config.deciders(m))
}

// undecided reports whether a question takes a decision.
func (a *Ask) undecided() bool { return a.Status == AskWaiting || a.Status == AskFailed }

// standing says where a question stands.
func (a *Ask) standing() string {
	if a.By == "" {
		return "the question waits for a decision"
	}
	return fmt.Sprintf("it was %s by %s at %s", a.Decision, a.By, a.DecidedAt.Format(stampFormat))
}

// answerAsk decides a question and adds the job that tells the state machine, leased,
// since this process begins with it right after the change is stored.
func (c *change) answerAsk(ctx context.Context, a *Ask, decision AskDecision, cmd Command) (*held, error) {
	a.Status, a.Decision, a.By, a.DecidedAt, a.Error = AskSending, decision, cmd.By, c.now, ""
	data := a.logged()
	data.Command = cmd.ID
	if err := c.auditOwn(ctx, cmd.By, string(decision)+" what state machine "+a.Machine+" asks", a.Title, data); err != nil {
		return nil, err
	}
	j := &Job{ID: fmt.Sprintf("%s/%s/%d", jobAnswer, a.ID, a.State), Kind: jobAnswer, Due: c.now, LeaseUntil: c.now.Add(leaseFor), Attempts: 1}
	if err := c.askJob(j, a); err != nil {
		return nil, err
	}
	return &held{e: c.e, job: j}, nil
}

// endAsk ends a question that nobody has answered: the state machine is told that it
// was not approved.
func (e *Engine) endAsk(ctx context.Context, h *held, id string) error {
	var send *held
	err := e.updateAsk(ctx, h, id, true, func(c *change, a *Ask) (err error) {
		if !a.undecided() {
			return errDecided
		}
		send, err = c.answerAsk(ctx, a, AskExpired, Command{By: ByItself})
		return err
	})
	if errors.Is(err, errDecided) || errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		e.work(ctx, send)
	}
	return err
}

// taskOutput is what an approved task gives its state machine.
type taskOutput struct {
	Decision AskDecision `json:"decision"`
	By       string      `json:"by"` // a Slack user id, or "shell:NAME"
	At       time.Time   `json:"at"`
}

// sendAnswer tells the state machine what was decided. It goes on where an earlier
// attempt has stopped; Step Functions takes one answer.
func (e *Engine) sendAnswer(ctx context.Context, h *held, id string) error {
	_, a, err := readAsk(ctx, e.o.Store.Record, id)
	if err != nil || a.Status != AskSending {
		return ignoreGone(err)
	}
	err = e.answerTask(ctx, a)
	if err != nil && !errors.Is(err, ErrTaskOver) && isTransient(err) && h.job.Attempts < maxAnswerAttempts {
		return err
	}
	return e.updateAsk(ctx, h, id, true, func(c *change, a *Ask) error {
		what := "told state machine " + a.Machine + ": " + string(a.Decision)
		switch {
		case err == nil:
			a.Status = AskAnswered
		case errors.Is(err, ErrTaskOver) && h.job.Attempts > 1:
			// AWS does not tell the one from the other.
			a.Status, a.Error = AskOver, "an earlier attempt to tell it got no answer, and the task does not wait any more: either it has taken the decision then, or it was over"
		case errors.Is(err, ErrTaskOver):
			a.Status, a.Error = AskOver, "the task does not wait any more: it has timed out, its execution has ended, or it has an answer already ("+Explain(err)+")"
		case isTransient(err):
			a.Status, a.Error = AskFailed, "whether it has taken that is not known: "+Explain(err)
		default:
			a.Status, a.Error = AskFailed, Explain(err)
		}
		a.Error = firstChars(a.Error, maxRunError)
		if err != nil {
			what = "could not tell state machine " + a.Machine + ": " + string(a.Decision)
		}
		if a.Status != AskFailed {
			if err := c.forgetToken(ctx, a); err != nil {
				return err
			}
		}
		return c.auditOwn(ctx, ByItself, what, a.Error, a.logged())
	})
}

// answerTask sends the decision.
func (e *Engine) answerTask(ctx context.Context, a *Ask) error {
	if e.o.Machines == nil {
		return errors.New("secbot.yaml lists no state machines any more")
	}
	rec, err := e.o.Store.Record(ctx, tokenRecord(a.ID))
	if err != nil {
		return fmt.Errorf("read the task token of question %s: %w", a.ID, err)
	}
	var token TaskToken
	if err := json.Unmarshal(rec.Data, &token); err != nil {
		return fmt.Errorf("the task token of question %s can't be read", a.ID) // its error would quote it
	}
	return hideToken(e.tellTask(ctx, a, token), token)
}

// tellTask tells Step Functions what was decided.
func (e *Engine) tellTask(ctx context.Context, a *Ask, token TaskToken) error {
	switch a.Decision {
	case AskApproved:
		output, err := json.Marshal(taskOutput{a.Decision, a.By, a.DecidedAt})
		if err != nil {
			return fmt.Errorf("encode the decision: %w", err)
		}
		return e.o.Machines.Succeed(ctx, a.Execution, token, output)
	case AskExpired:
		return e.o.Machines.Fail(ctx, a.Execution, token, "Expired", "Nobody has decided in time.")
	}
	return e.o.Machines.Fail(ctx, a.Execution, token, "Denied", fmt.Sprintf("Denied by %s at %s.", a.By, a.DecidedAt.Format(time.RFC3339)))
}

// tokenlessError is an error without the token that it may quote: AWS does so where a
// value is not as it wants it.
type tokenlessError struct {
	err   error
	token TaskToken
}

func hideToken(err error, token TaskToken) error {
	if err == nil {
		return nil
	}
	return &tokenlessError{err, token}
}

// Error gives the text, with a placeholder for the token.
func (e *tokenlessError) Error() string {
	return strings.ReplaceAll(e.err.Error(), string(e.token), e.token.String())
}

// Unwrap gives the cause.
func (e *tokenlessError) Unwrap() error { return e.err }

// forgetToken takes the token of a question that is over out of the store.
func (c *change) forgetToken(ctx context.Context, a *Ask) error {
	rec, err := c.e.o.Store.Record(ctx, tokenRecord(a.ID))
	if err != nil {
		return fmt.Errorf("read the task token of question %s: %w", a.ID, err)
	}
	rec.Data, rec.At, rec.Until = nil, c.now, c.now
	c.w.Records = append(c.w.Records, rec)
	return nil
}
