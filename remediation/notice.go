package remediation

import (
	"context"
	"fmt"
	"time"
)

// Where notices go.
const (
	NotifySlack = "slack"
	NotifySNS   = "sns"
	// NotifyShell keeps answers for whoever waits at a shell; see ShellNotifier.
	NotifyShell = "shell"
)

// What notices say: Notice.Op.
const (
	// OpMessage shows the incident's message as the incident stands when the
	// notice is sent: posted the first time, updated in place afterwards.
	OpMessage = "message"
	// OpThread adds a reply to the thread of the incident's message; the
	// payload is a ThreadNote.
	OpThread = "thread"
	// OpReply answers one person who clicked or typed a command, seen by that
	// person only; the payload is a Reply.
	OpReply = "reply"
	// OpScan shows a scan's message as the scan stands when the notice is sent: how
	// far it is, or what it has found. The notice's Incident is the ScanMessage.
	OpScan = "scan"
	// OpAlert posts a message about secbot itself; the payload is an Alert.
	OpAlert = "alert"
	// OpDigest posts what stands for the messages of many incidents; the payload
	// is a Digest.
	OpDigest = "digest"
	// OpPointer posts, in the notice's channel or to the user there, a message that
	// points to the incident's own; the payload is a Pointer.
	OpPointer = "pointer"
	// OpActor shows whoever is said to have made the change, in a direct message,
	// the question whether it was them, as the incident stands; the payload is an
	// ActorQuestion.
	OpActor = "actor"
	// OpHome publishes a person's home tab anew, as everything stands when the
	// notice is sent; the payload is a HomeOf.
	OpHome = "home"
	// OpStats posts statistics with their picture, to a person or in the notice's
	// channel; the payload is a StatsReport.
	OpStats = "stats"
	// OpAsk shows what a state machine asks as it stands when the notice is sent. The
	// notice's Incident is the AskMessage.
	OpAsk = "ask"
	// OpMitigated publishes an automatic fix to SNS.
	OpMitigated = "auto-mitigated"
)

// ThreadNote is the payload of OpThread. Text is plain; whoever renders it
// escapes it.
type ThreadNote struct {
	Text   string     `json:"text"`
	Diff   []DiffLine `json:"diff,omitempty"`
	People []string   `json:"people,omitempty"` // Slack ids of channels, users and groups that are to be told
}

// Pointer is the payload of OpPointer. Its texts are plain.
type Pointer struct {
	Title  string   `json:"title"`
	Text   string   `json:"text"`
	People []string `json:"people,omitempty"` // Slack ids of users and groups that are to be told
}

// Alert is the payload of OpAlert. Its texts are plain.
type Alert struct {
	Title   string   `json:"title"`
	Text    string   `json:"text"`
	By      string   `json:"by,omitempty"`      // who brought it about; empty: secbot
	Breaker string   `json:"breaker,omitempty"` // the circuit breaker that can be reset; empty: none
	People  []string `json:"people,omitempty"`  // Slack ids of users and groups that are to be told
}

// HomeOf is the payload of OpHome.
type HomeOf struct {
	User string `json:"user"`
}

// StatsReport is the payload of OpStats.
type StatsReport struct {
	Stats Stats  `json:"stats"`
	User  string `json:"user,omitempty"` // who gets it, in a direct message; empty: the notice's channel does
}

// ReplyTo says where the answer to a click or command goes. A response URL
// lives for 30 minutes and five uses; without one, or after that, an
// ephemeral message goes to User in Channel, into the Thread where one is named, or,
// without a Channel, a direct message to User.
type ReplyTo struct {
	ResponseURL string `json:"response_url,omitempty"`
	Channel     string `json:"channel,omitempty"`
	Thread      string `json:"thread,omitempty"`
	User        string `json:"user,omitempty"`
	// Home says that the user clicked in their home tab, which is to be published
	// anew once the command was carried out.
	Home bool `json:"home,omitempty"`
	// Shell says that somebody waits at a shell: the answer is kept in the store, where
	// ShellReply reads it. Nothing else of a ReplyTo counts then.
	Shell bool `json:"shell,omitempty"`
	// NotBefore is when the answer may come at the earliest, so that it does not
	// overtake the acknowledgement; zero: at once.
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Reply is the payload of OpReply.
type Reply struct {
	ReplyTo
	Text         string   `json:"text"`                     // plain
	Lines        []string `json:"lines,omitempty"`          // a list below it, plain
	People       []string `json:"people,omitempty"`         // Slack user and user group ids named in the text, to be shown as mentions
	NamedInLines []string `json:"named_in_lines,omitempty"` // the same of the list
	Incident     string   `json:"incident,omitempty"`       // what it is about
	Failed       bool     `json:"failed,omitempty"`         // refused or gone wrong
}

// Notifier delivers notices to one destination.
type Notifier interface {
	// Notify delivers n. It may be called again for a notice that is already
	// out when the process died before that was stored: n.Attempts is then
	// above 1, and the notifier looks for what is there before it sends
	// again. It returns a RetryError where the other side asked for a pause,
	// an UnclearError where it may still do what it did not answer to,
	// ErrUndeliverable where trying again is useless; every other error is
	// tried again, later and later.
	Notify(ctx context.Context, n Notice) error
}

// ErrUndeliverable says that a notice can never be delivered: it is given up
// and the reason kept.
var ErrUndeliverable = fmt.Errorf("undeliverable")

// RetryError asks for a pause before the next attempt.
type RetryError struct {
	After time.Duration
	Err   error
}

// Error gives the cause and the pause.
func (e *RetryError) Error() string { return fmt.Sprintf("retry in %v: %v", e.After, e.Err) }

// Unwrap gives the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// UnclearError says that nobody knows whether a notice is out: no answer came, and
// what was asked for may still be done. It is not tried again before After, when
// what has come of it can be seen.
type UnclearError struct {
	After time.Duration
	Err   error
}

// Error gives the cause.
func (e *UnclearError) Error() string { return "no answer: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *UnclearError) Unwrap() error { return e.Err }

// ScanReport is what a scan found, for people.
type ScanReport struct {
	ID          string      `json:"id"`
	By          string      `json:"by"`
	Scope       string      `json:"scope"`              // as ParseScanScope takes it
	Accounts    int         `json:"accounts,omitempty"` // that were to be scanned; 0: the own one alone
	Refused     []string    `json:"refused,omitempty"`  // of those, some that did not let secbot in
	Started     time.Time   `json:"started"`
	Finished    time.Time   `json:"finished"`
	CancelledBy string      `json:"cancelled_by,omitempty"` // who has ended it early; empty: nobody
	Read        int         `json:"read"`                   // resources that were read
	Open        int         `json:"open"`                   // what is open and waits
	Groups      []ScanGroup `json:"groups"`                 // what is open and waits, by playbook, the worst first
	LetBe       int         `json:"let_be,omitempty"`       // what is open and is let be, by people's decisions
	Left        []LeftAlone `json:"left,omitempty"`         // some of that
	Ignored     int         `json:"ignored,omitempty"`      // what is open and the policy ignores
	Unread      int         `json:"unread"`                 // what could not be read
	Failures    []string    `json:"failures"`               // some of that, and why
	New         int         `json:"new,omitempty"`          // how many had no active incident before
	Posted      int         `json:"posted,omitempty"`       // how many got a message of their own
	Diff        *ScanDiff   `json:"diff,omitempty"`         // nil: there was no scan of the same scope before
}

// Complete reports whether the scan has read everything.
func (r *ScanReport) Complete() bool { return r.Unread == 0 && r.CancelledBy == "" }

// ScanGroup is what a scan has found for one playbook.
type ScanGroup struct {
	Playbook  string        `json:"playbook"`
	Severity  Severity      `json:"severity"` // the worst
	Open      int           `json:"open"`
	Closed    int           `json:"closed,omitempty"` // of those, from the scan's message
	Findings  []ScanFinding `json:"findings"`         // some of them, the worst first
	Incidents []string      `json:"incidents"`        // that can be fixed together, MaxTargets at most
}

// ScanDiff is what differs from the scan before.
type ScanDiff struct {
	Since  time.Time `json:"since"`            // when that one ended
	New    int       `json:"new"`              // open now, and not then
	Closed int       `json:"closed"`           // open then, and not now
	Unread int       `json:"unread"`           // open then, and not seen now, since it could not be read
	Gone   []Gone    `json:"gone,omitempty"`   // some of those that are closed
	Unsure bool      `json:"unsure,omitempty"` // the one before has not read everything, so what is new may only have been out of sight
}

// Gone is what an earlier scan has found and a later one has not.
type Gone struct {
	Playbook string `json:"playbook"`
	Resource Ref    `json:"resource"`
	Name     string `json:"name,omitempty"` // what people call the resource, maxGoneName characters at most
}

// LeftAlone is a finding of a scan that a decision lets be.
type LeftAlone struct {
	Finding  Finding   `json:"finding"`
	Incident string    `json:"incident,omitempty"` // whose decision it is
	By       string    `json:"by"`
	Until    time.Time `json:"until"` // zero: for good
}

// ScanFinding is one finding of a scan with the incident that tracks it.
type ScanFinding struct {
	Finding  Finding `json:"finding"`
	Incident string  `json:"incident,omitempty"`
	New      bool    `json:"new,omitempty"` // the scan before has not found it
	// Status is the incident's at At, where somebody has decided about it from the
	// scan's message.
	Status Status    `json:"status,omitempty"`
	At     time.Time `json:"at,omitzero"`
}
