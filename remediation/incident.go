package remediation

import (
	"fmt"
	"slices"
	"time"
)

// Status is where an incident stands.
type Status string

// The statuses. Allowed is for a while and then closed by itself; resolved
// means that the live state is already safe.
const (
	StatusOpen     Status = "open"
	StatusFixing   Status = "fixing"
	StatusFixed    Status = "fixed"
	StatusFailed   Status = "failed"
	StatusUndoing  Status = "undoing"
	StatusUndone   Status = "undone"
	StatusIgnored  Status = "ignored"
	StatusAllowed  Status = "allowed"
	StatusResolved Status = "resolved"
	StatusExpired  Status = "expired"
)

// transitions is the one table of what may follow what.
var transitions = map[Status][]Status{
	StatusOpen:    {StatusFixing, StatusIgnored, StatusAllowed, StatusResolved, StatusExpired},
	StatusFixing:  {StatusFixed, StatusFailed, StatusResolved},
	StatusFailed:  {StatusFixing, StatusIgnored, StatusResolved},
	StatusFixed:   {StatusUndoing},
	StatusUndoing: {StatusUndone, StatusFixed, StatusFailed},
	StatusIgnored: {StatusOpen},
	StatusAllowed: {StatusFixing, StatusResolved},
}

// Statuses lists every status.
func Statuses() []Status {
	return []Status{StatusOpen, StatusFixing, StatusFixed, StatusFailed, StatusUndoing, StatusUndone,
		StatusIgnored, StatusAllowed, StatusResolved, StatusExpired}
}

// CanBecome reports whether an incident may go from s to next.
func (s Status) CanBecome(next Status) bool { return slices.Contains(transitions[s], next) }

// Active reports whether an incident of status s keeps another with the same
// finding key from being opened. A fixed one does not: the hole has come back.
func (s Status) Active() bool {
	switch s {
	case StatusOpen, StatusFixing, StatusFailed, StatusUndoing, StatusIgnored, StatusAllowed:
		return true
	}
	return false
}

// Action is what the policy decides for a finding.
type Action string

// The actions, the strongest first.
const (
	ActionAuto   Action = "auto"   // fix it and tell
	ActionAsk    Action = "ask"    // ask the responders
	ActionNotify Action = "notify" // tell only
	ActionIgnore Action = "ignore" // neither tell nor act
)

// Decision is what the policy said of a finding, and why.
type Decision struct {
	Action    Action   `json:"action"`
	Rule      string   `json:"rule"` // which rule decided, for people: `rule 2 "admin ports"`
	Channel   string   `json:"channel,omitempty"`
	Approvers []string `json:"approvers,omitempty"` // Slack user (U…, W…) and user group (S…) ids
	Approvals int      `json:"approvals,omitempty"` // how many of them must approve what one of them asks for
	Question  Question `json:"question,omitzero"`
	// StateMachine is the name of the state machine that is started once a fix is
	// read back; empty for none. With Respond it is started at once, since nothing
	// else can act.
	StateMachine string `json:"state_machine,omitempty"`
	Respond      bool   `json:"respond,omitempty"`
	Why          string `json:"why,omitempty"` // what lowered the action: the mode, a doubt, the cap
	// Paused is who has paused secbot, where that is what lowered the action: they are
	// named in Why by their Slack id or as "shell:NAME".
	Paused string `json:"paused,omitempty"`
}

// Transition is one change of an incident's status, kept as its history.
type Transition struct {
	From     Status    `json:"from,omitempty"`
	To       Status    `json:"to"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`                 // a Slack user id, a shell user as "shell:NAME", or "secbot"
	Reason   string    `json:"reason,omitempty"`   // why: the policy's rule, a person's words, an error
	Approved []string  `json:"approved,omitempty"` // who approved it, where approvals were needed
}

// Incident is a finding on its way: what the store keeps.
type Incident struct {
	ID        string       `json:"id"` // a ULID
	Version   int          `json:"version"`
	Key       string       `json:"key"` // the finding's
	Status    Status       `json:"status"`
	Finding   Finding      `json:"finding"`
	Decision  Decision     `json:"decision"`
	Plan      *Plan        `json:"plan,omitempty"`
	Outcomes  []Outcome    `json:"outcomes,omitempty"`
	History   []Transition `json:"history"`
	Error     string       `json:"error,omitempty"`    // why it failed, with a hint what to do
	Previous  string       `json:"previous,omitempty"` // id of an earlier, settled incident of the same key
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
	Repeats   int          `json:"repeats,omitempty"`  // how often the finding came again while active
	Calls     []Call       `json:"calls,omitempty"`    // the ledger of changing calls: the intent first, then its request ids
	NoticeSeq int          `json:"notice_seq"`         // the last notice's number
	AuditSeq  int          `json:"audit_seq"`          // the last audit entry's number
	AuditHead string       `json:"audit_head"`         // and its hash
	Request   *Request     `json:"request,omitempty"`  // a decision that waits for approvals; nil for none
	Requests  int          `json:"requests,omitempty"` // how often one was made, or went without being carried out
	Until     time.Time    `json:"until,omitzero"`     // open: when the question ends; allowed: when it is closed; zero: never
	Answer    *ActorAnswer `json:"answer,omitempty"`   // of whoever is said to have made the change
	// Asked is who was to be asked whether the change was theirs; nil for nobody.
	Asked *ActorQuestion `json:"asked,omitempty"`
	Run   *MachineRun    `json:"run,omitempty"` // of the state machine that the policy names; nil for none
}

// Request is a decision that one person has asked for and that others have to
// approve before it is carried out.
type Request struct {
	Verb     Verb          `json:"verb"`
	By       string        `json:"by"`
	At       time.Time     `json:"at"`
	Reason   string        `json:"reason,omitempty"`
	For      time.Duration `json:"for,omitempty"`
	Scope    string        `json:"scope,omitempty"`
	Needed   int           `json:"needed"` // approvals, of others than By
	Approved []Approval    `json:"approved,omitempty"`
}

// Approval is one person's consent.
type Approval struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// ActorAnswer is what somebody says to "Was this you?".
type ActorAnswer struct {
	By     string    `json:"by"` // a Slack user id
	Yes    bool      `json:"yes"`
	Reason string    `json:"reason,omitempty"` // of a yes
	At     time.Time `json:"at"`
}

// Call is one changing call that was made or is about to be made. It is stored
// without request ids before the call and completed after it, so that the
// event which the call itself causes is known as our own.
type Call struct {
	For        Status    `json:"for"`              // StatusFixing or StatusUndoing
	Action     string    `json:"action"`           // as its event names it: RevokeSecurityGroupIngress
	Resource   Ref       `json:"resource"`         // without an ID where the call makes it
	Params     string    `json:"params,omitempty"` // a digest of what it asks for
	At         time.Time `json:"at"`
	RequestIDs []string  `json:"request_ids,omitempty"`
	Lost       int       `json:"lost,omitempty"` // calls whose answer never came
}

// State counts the changes of status, and the requests between them. A message's
// block ids carry it, so that a click on an outdated message is known.
func (i *Incident) State() int { return len(i.History) + i.Requests }

// Last is the newest transition; the zero Transition before the first.
func (i *Incident) Last() Transition {
	if len(i.History) == 0 {
		return Transition{}
	}
	return i.History[len(i.History)-1]
}

// move changes the status and writes history. It returns a *StatusError where
// the table forbids it.
func (i *Incident) move(to Status, at time.Time, by, reason string) error {
	if i.Status != "" && !i.Status.CanBecome(to) {
		return &StatusError{Incident: i.ID, Status: i.Status, Wanted: to, Last: i.Last()}
	}
	i.History = append(i.History, Transition{From: i.Status, To: to, At: at, By: by, Reason: reason})
	i.Status, i.UpdatedAt = to, at
	// What was asked for was asked of the status before.
	i.Request, i.Until = nil, time.Time{}
	return nil
}

// mayBecome returns a *StatusError where a verb does not fit the status.
func (i *Incident) mayBecome(v Verb) error {
	to, ok := map[Verb]Status{VerbFix: StatusFixing, VerbRetry: StatusFixing, VerbUndo: StatusUndoing, VerbIgnore: StatusIgnored,
		VerbAllow: StatusAllowed, VerbUnignore: StatusOpen}[v]
	if ok && !i.Status.CanBecome(to) {
		return &StatusError{Incident: i.ID, Status: i.Status, Wanted: to, Last: i.Last()}
	}
	return nil
}

// StatusError says that an incident can't become what was asked for.
type StatusError struct {
	Incident string
	Status   Status
	Wanted   Status
	Last     Transition
}

// Error says where the incident stands.
func (e *StatusError) Error() string {
	return fmt.Sprintf("incident %s is %s, so it can't become %s", e.Incident, e.Status, e.Wanted)
}
