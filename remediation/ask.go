package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// AskStatus is how a state machine's question stands.
type AskStatus string

// The statuses of a question: waiting → sending → answered | over | failed,
// failed → sending.
const (
	AskWaiting  AskStatus = "waiting"
	AskSending  AskStatus = "sending"  // decided, and the state machine is being told
	AskAnswered AskStatus = "answered" // the state machine has taken the decision
	AskOver     AskStatus = "over"     // nobody waits for the answer any more
	AskFailed   AskStatus = "failed"   // the state machine could not be told; it can be decided again
)

// AskDecision is what was decided about a state machine's question.
type AskDecision string

// The decisions.
const (
	AskApproved AskDecision = "approved"
	AskDenied   AskDecision = "denied"
	AskExpired  AskDecision = "expired" // by nobody, in time
)

// The bounds of what a state machine may send.
const (
	maxAskTitle = 120  // characters
	maxAskText  = 2000 // characters
	maxToken    = 2048 // "SendTaskSuccess" of the Step Functions API reference
	maxARN      = 256  // "DescribeExecution" there, in characters
	// maxAskLife is how long an execution can last at most.
	maxAskLife = 365 * 24 * time.Hour
	// keepAsk is how long a question can be read after its end.
	keepAsk = 30 * 24 * time.Hour
	// maxAnswerAttempts is how often a state machine is told before people hear
	// that it can't be.
	maxAnswerAttempts = 8
)

// TaskRequest is a state machine's request for an approval, as its event tells it.
// All of it is hostile.
type TaskRequest struct {
	Token     TaskToken
	Execution string // the ARN of the execution that waits
	Account   string // whose event bus took the event; empty where it came by no bus
	Title     string
	Text      string
	Within    time.Duration // how long it waits; 0: it does not say
}

// Ask is a state machine's question to people: what the store keeps of it. The token
// with which it is answered is kept apart, and nowhere else.
type Ask struct {
	ID        string      `json:"id"`
	Machine   string      `json:"machine"`   // its name in the policy
	Execution string      `json:"execution"` // the ARN of the execution that waits
	Title     string      `json:"title"`
	Text      string      `json:"text,omitempty"`
	At        time.Time   `json:"at"`
	Until     time.Time   `json:"until"` // when it ends unanswered
	Channel   string      `json:"channel,omitempty"`
	Approvers []string    `json:"approvers,omitempty"` // who could decide when it was asked
	Status    AskStatus   `json:"status"`
	Decision  AskDecision `json:"decision,omitempty"`
	By        string      `json:"by,omitempty"`
	DecidedAt time.Time   `json:"decided_at,omitzero"`
	Error     string      `json:"error,omitempty"` // why it is over or failed, for people
	State     int         `json:"state"`           // counts its changes, so that a click on an outdated message is known
	NoticeSeq int         `json:"notice_seq"`
}

// askID is the payload of the jobs about a question.
type askID struct {
	ID string `json:"id"`
}

// AskMessage is what stands for the incident's id in the notices about a question,
// and in the reference to its message.
func AskMessage(id string) string { return "ask/" + id }

// AskMessageRecord is the key of the record that says where a question's message is, as
// a MessageRef.
func AskMessageRecord(id string) string { return "ask-message/" + id }

// KeepAskMessage is how long that is kept: as long as any question can be read.
const KeepAskMessage = maxAskLife + keepAsk

func askRecord(id string) string   { return "ask/" + id }
func tokenRecord(id string) string { return "ask-token/" + id }

// ReadAsk reads a state machine's question; ErrNotFound where nobody knows it (any
// more).
func ReadAsk(ctx context.Context, store interface {
	Record(ctx context.Context, key string) (*Record, error)
}, id string) (*Ask, error) {
	_, a, err := readAsk(ctx, store.Record, id)
	return a, err
}

func readAsk(ctx context.Context, record func(context.Context, string) (*Record, error), id string) (*Record, *Ask, error) {
	rec, err := record(ctx, askRecord(id))
	if err != nil {
		return nil, nil, fmt.Errorf("read the question %s: %w", id, err)
	}
	var a Ask
	if err := json.Unmarshal(rec.Data, &a); err != nil {
		return nil, nil, fmt.Errorf("decode the question %s: %w", id, err)
	}
	return rec, &a, nil
}

// check refuses a request that nobody could answer, or that comes from a state
// machine which may not ask. m is the one that asks.
func (r TaskRequest) check(c *Config) (m StateMachine, err error) {
	m, ok := c.machineOf(r.Execution)
	switch {
	case r.Token == "" || len(r.Token) > maxToken || !utf8.ValidString(string(r.Token)):
		return m, &RefusedError{Text: "it has no task token"}
	case r.Title == "":
		return m, &RefusedError{Text: "it has no title"}
	case !ok:
		return m, &RefusedError{Text: "the state machine of execution " + firstChars(r.Execution, 200) + " is not listed under state_machines of secbot.yaml"}
	case utf8.RuneCountInString(r.Execution) > maxARN:
		return m, &RefusedError{Text: "the ARN of its execution is longer than AWS makes any"}
	case r.Account != "" && !strings.Contains(m.ARN, ":"+r.Account+":"):
		return m, &RefusedError{Text: "it was sent by account " + firstChars(r.Account, 20) + ", which is not the state machine's"}
	}
	return m, nil
}

// AcceptTask stores a state machine's request for an approval and has it posted.
// When it returns nil it is safe; the same token is asked about once. A
// RefusedError says why it is not taken.
func (e *Engine) AcceptTask(ctx context.Context, r TaskRequest) error {
	m, err := r.check(e.o.Config)
	if err != nil {
		return err
	}
	a := e.newAsk(r, m)
	token, err := json.Marshal(string(r.Token))
	if err != nil {
		return fmt.Errorf("encode a task token: %w", err)
	}
	for try := 1; ; try++ {
		if _, err := e.o.Store.Record(ctx, askRecord(a.ID)); err == nil {
			return nil
		} else if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("read whether it was asked already: %w", err)
		}
		fresh := *a
		c := &change{e: e, now: fresh.At}
		if err := c.openAsk(ctx, &fresh, token); err != nil {
			return err
		}
		if err := e.store(ctx, c.w); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

// newAsk makes a question of a request. Its id tells nothing of the token.
func (e *Engine) newAsk(r TaskRequest, m StateMachine) *Ask {
	a := &Ask{ID: digest([]byte(r.Token))[:26], Machine: m.Name, Execution: r.Execution, Title: firstChars(r.Title, maxAskTitle), Text: firstChars(r.Text, maxAskText),
		At: e.now(), Channel: m.Channel, Approvers: e.o.Config.deciders(m), Status: AskWaiting}
	if a.Channel == "" {
		a.Channel = e.o.Config.Channel
	}
	life := maxAskLife
	for _, span := range []time.Duration{r.Within, e.o.Config.Question.Expire} {
		if span > 0 {
			life = min(life, span)
		}
	}
	a.Until = a.At.Add(life)
	return a
}

// deciders are the people who decide what a state machine asks.
func (c *Config) deciders(m StateMachine) []string {
	if len(m.Approvers) > 0 {
		return m.Approvers
	}
	return c.Responders
}

// openAsk stores a question with its token, its timers and its message.
func (c *change) openAsk(ctx context.Context, a *Ask, token json.RawMessage) error {
	c.w.Records = append(c.w.Records, &Record{Key: tokenRecord(a.ID), Data: token, At: c.now, Until: a.Until.Add(keepAsk)})
	jobs := []*Job{{ID: jobAskOver + "/" + a.ID, Kind: jobAskOver, Due: a.Until}}
	if remind := c.e.o.Config.Question.Remind; remind > 0 && a.At.Add(remind).Before(a.Until) {
		jobs = append(jobs, &Job{ID: jobAsked + "/" + a.ID, Kind: jobAsked, Due: a.At.Add(remind)})
	}
	for _, j := range jobs {
		if err := c.askJob(j, a); err != nil {
			return err
		}
	}
	if err := c.auditOwn(ctx, ByItself, "was asked by state machine "+a.Machine, a.Title, a.logged()); err != nil {
		return err
	}
	return c.keepAsk(&Record{Key: askRecord(a.ID)}, a)
}

func (c *change) askJob(j *Job, a *Ask) (err error) {
	j.CreatedAt, j.UpdatedAt = c.now, c.now
	if j.Payload, err = json.Marshal(askID{a.ID}); err != nil {
		return fmt.Errorf("encode a job of question %s: %w", a.ID, err)
	}
	c.w.Jobs = append(c.w.Jobs, j)
	return nil
}

// keepAsk adds the question as it stands to the write, and has its message brought up
// to date.
func (c *change) keepAsk(rec *Record, a *Ask) (err error) {
	if err := c.tellAsk(a, OpAsk, nil); err != nil {
		return err
	}
	if rec.Data, err = json.Marshal(a); err != nil {
		return fmt.Errorf("encode question %s: %w", a.ID, err)
	}
	rec.At, rec.Until = c.now, a.Until.Add(keepAsk)
	c.w.Records = append(c.w.Records, rec)
	return c.err
}

// tellAsk adds a notice about a question to the outbox.
func (c *change) tellAsk(a *Ask, op string, payload any) error {
	a.NoticeSeq++
	n, err := c.e.notice(fmt.Sprintf("%s/%d", AskMessage(a.ID), a.NoticeSeq), NotifySlack, op, payload)
	if err != nil {
		return err
	}
	n.Incident, n.Seq, n.Channel = AskMessage(a.ID), a.NoticeSeq, a.Channel
	c.w.Notices = append(c.w.Notices, n)
	return nil
}

// askLogged is what the audit log says of a question.
type askLogged struct {
	Ask       string      `json:"ask"`
	Machine   string      `json:"machine"`
	Execution string      `json:"execution"`
	Decision  AskDecision `json:"decision,omitempty"`
	Command   string      `json:"command,omitempty"`
}

func (a *Ask) logged() askLogged {
	return askLogged{Ask: a.ID, Machine: a.Machine, Execution: a.Execution, Decision: a.Decision}
}

// updateAsk has f change a question, and stores that, with done together with the
// end of h's job. An error of f is returned as it is and nothing is stored.
func (e *Engine) updateAsk(ctx context.Context, h *held, id string, done bool, f func(c *change, a *Ask) error) error {
	for try := 1; ; try++ {
		rec, a, err := readAsk(ctx, e.o.Store.Record, id)
		if err != nil {
			return err
		}
		c := &change{e: e, now: e.now()}
		a.State++
		if err := errors.Join(f(c, a), c.err); err != nil {
			return err
		}
		if err := c.keepAsk(rec, a); err != nil {
			return err
		}
		if err := h.commit(ctx, c.w, done); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

// remindAsk tells the people who may decide that nobody has yet.
func (e *Engine) remindAsk(ctx context.Context, h *held, id string) error {
	rec, a, err := readAsk(ctx, e.o.Store.Record, id)
	if err != nil || a.Status != AskWaiting {
		return ignoreGone(err)
	}
	c := &change{e: e, now: e.now()}
	if err := c.tellAsk(a, OpThread, ThreadNote{People: a.Approvers,
		Text: fmt.Sprintf("Reminder: nobody has decided since %s; the question ends %s, and then the state machine is told that nobody has.", a.At.Format(stampFormat), a.Until.Format(stampFormat))}); err != nil {
		return err
	}
	if err := c.keepAsk(rec, a); err != nil {
		return err
	}
	return h.commit(ctx, c.w, true)
}

// ignoreGone forgives that a question is swept already.
func ignoreGone(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
