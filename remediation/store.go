package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Store errors.
var (
	// ErrConflict says that a row is not at the version that was read: somebody
	// else was faster. Nothing of the Write was stored.
	ErrConflict = errors.New("changed by somebody else in between")
	// ErrNotFound says that there is no such row.
	ErrNotFound = errors.New("not found")
)

// Store keeps incidents, jobs, notices, suppressions and the audit log. All
// methods may be called from several goroutines and, where the backend is
// shared, several processes.
//
// Rows are kept as JSON, so what is given and what is returned share no memory.
// Times come back to the nanosecond, and UTC as UTC; raw JSON comes back
// compacted and otherwise byte for byte. A list in which nothing fits is empty
// and no error.
type Store interface {
	// Commit stores everything in w or nothing. Every row is conditional on
	// its Version: 0 means that it must not exist yet, n that n is stored.
	// On success each row given by pointer has its Version counted up by one.
	// An incident whose status is active claims its Key: ErrConflict where
	// another active incident holds it; a status that isn't active sets the
	// key free. An audit entry must not exist yet. It returns ErrConflict
	// where any condition fails.
	//
	// A notice stays with its Incident: a Write that would move it is an
	// ErrConflict. No two notices may have the same id.
	//
	// A row that can't be kept is another error: an empty id (or empty Key of
	// an active incident), an id, key, playbook or resource id over 1024 bytes
	// or not UTF-8, an audit entry below Seq 1, the same row twice in one
	// Write, or what JSON can't hold.
	// After any error every Version is as it was. After one other than
	// ErrConflict it may be unknown whether w was stored, where an answer got
	// lost on the network: read before trying again.
	Commit(ctx context.Context, w Write) error

	// Incident reads one incident by id; ErrNotFound.
	Incident(ctx context.Context, id string) (*Incident, error)
	// Active reads the active incident of a finding key; ErrNotFound.
	Active(ctx context.Context, key string) (*Incident, error)
	// Last reads the incident that holds a finding key or, where none is active,
	// that held it last; ErrNotFound where none ever did. One whose Key changes
	// leaves none behind. What was committed before is seen, whoever did, as
	// with every read of one row.
	Last(ctx context.Context, key string) (*Incident, error)
	// Incidents lists incidents, the newest first: by CreatedAt, then id, both
	// descending. Where the backend is shared the list may be as of a moment
	// ago: what must not be missed is read by Active and Last.
	Incidents(ctx context.Context, q IncidentQuery) ([]*Incident, error)
	// Job reads one job by id, finished ones too; ErrNotFound.
	Job(ctx context.Context, id string) (*Job, error)
	// DueJobs lists unfinished jobs whose Due and LeaseUntil are not after
	// now, the earliest Due first, then by id, at most n.
	DueJobs(ctx context.Context, now time.Time, n int) ([]*Job, error)
	// Waiting lists, for each incident and destination (or, for a notice
	// without an incident, each notice by itself), the first unsent notice by
	// Seq, whenever it is due and whoever has it leased; the earliest Due first,
	// then by id, at most n. It is for looking, not for taking: where the
	// backend is shared it may be as of a moment ago, and where there are more
	// than some thousand of them it may not see all.
	Waiting(ctx context.Context, n int) ([]*Notice, error)
	// DueNotices lists, for each incident and destination (or, for a notice
	// without an incident, each notice by itself), the first unsent notice by
	// Seq, where its Due and LeaseUntil are not after now; the earliest Due
	// first, then by id, at most n. A first notice that is leased or not yet
	// due holds back all others of its incident to the same destination, and
	// none to another: an SNS topic that is gone must not silence Slack.
	DueNotices(ctx context.Context, now time.Time, n int) ([]*Notice, error)
	// Notices lists an incident's notices by Seq, sent ones too. What was
	// committed before is there, whoever did.
	Notices(ctx context.Context, incident string) ([]*Notice, error)
	// Message reads the reference to an incident's Slack message; ErrNotFound.
	Message(ctx context.Context, incident string) (*MessageRef, error)
	// Record reads one record by its key, an outdated one too; ErrNotFound.
	Record(ctx context.Context, key string) (*Record, error)
	// Records reads those of some keys that there are, by key, each as Record does. At
	// most MaxRecords are asked for at once.
	Records(ctx context.Context, keys ...string) (map[string]*Record, error)
	// Suppressions lists those that were not taken back (Ended) and whose Until
	// is zero or after now, by CreatedAt, then id.
	Suppressions(ctx context.Context, now time.Time) ([]*Suppression, error)
	// Audit lists an incident's audit entries by Seq.
	Audit(ctx context.Context, incident string) ([]AuditEntry, error)
	// Sweep deletes finished jobs, sent notices and suppressions that were
	// taken back, all where they were last changed before the given time,
	// suppressions whose Until and last change are both before it, and records
	// whose Until is before it. It says how
	// many rows went, and may leave some for the next time; with an error, some
	// may have gone. The id of a deleted
	// row is free again.
	Sweep(ctx context.Context, before time.Time) (int, error)
	// Ping says whether the store can be reached.
	Ping(ctx context.Context) error
	// Close lets go of files and connections; every other method then fails.
	// Closing twice is no error.
	Close() error
}

// MaxRecords is how many keys Store.Records takes.
const MaxRecords = 100

// Write is one conditional, atomic change of the store.
type Write struct {
	Incident     *Incident
	Jobs         []*Job
	Notices      []*Notice
	Message      *MessageRef
	Suppressions []*Suppression
	Records      []*Record
	Audit        []AuditEntry
}

// IncidentQuery selects incidents. Zero members select everything.
type IncidentQuery struct {
	Statuses []Status
	Playbook string
	Resource string    // the plain id
	Key      string    // the finding's
	Since    time.Time // created at or after
	Until    time.Time // created at or before
	Updated  time.Time // last changed at or after
	Limit    int       // 0 or less means 100
}

// Job is work that was promised: an accepted event, click or command, a fix
// that is under way, a timer. It is leased while somebody works at it, so that
// a crash hands it to the next.
type Job struct {
	ID         string          `json:"id"`
	Version    int             `json:"version"`
	Kind       string          `json:"kind"`
	Place      string          `json:"place,omitempty"` // account and region of what it is about; empty where that is not known
	Payload    json.RawMessage `json:"payload,omitempty"`
	Due        time.Time       `json:"due"`
	LeaseUntil time.Time       `json:"lease_until"`
	Attempts   int             `json:"attempts"` // leases taken so far
	Done       bool            `json:"done"`
	Error      string          `json:"error,omitempty"` // the last attempt's
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
}

// Notice is one message on its way out, a row of the outbox.
type Notice struct {
	ID         string          `json:"id"`
	Version    int             `json:"version"`
	Incident   string          `json:"incident,omitempty"` // empty for notices about no incident
	Event      string          `json:"event,omitempty"`    // id of the event behind it, for the log
	Seq        int             `json:"seq"`                // order within the incident
	To         string          `json:"to"`                 // which Notifier: NotifySlack, NotifySNS or NotifyShell
	Op         string          `json:"op"`                 // what to send; the Notifier's own vocabulary
	Channel    string          `json:"channel,omitempty"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	Due        time.Time       `json:"due"`
	LeaseUntil time.Time       `json:"lease_until"`
	Attempts   int             `json:"attempts"` // leases taken so far to send it: above 1 it may already be out
	Turn       time.Time       `json:"turn"`     // when its channel takes it; zero: it was not asked yet
	Sent       bool            `json:"sent"`
	Error      string          `json:"error,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
}

// MessageRef says where an incident's Slack message is.
type MessageRef struct {
	Incident string `json:"incident"`
	Version  int    `json:"version"`
	Channel  string `json:"channel"`
	TS       string `json:"ts"`
}

// Record is what secbot knows under a key, of no incident: the last state of a
// security group, a call of its own.
type Record struct {
	Key     string          `json:"key"`
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data,omitempty"`
	At      time.Time       `json:"at"`    // when that was so
	Until   time.Time       `json:"until"` // when it is of no use any more; zero: never
}

// Suppression keeps findings from being acted on and told: an Ignore, or the
// allow record that an undo leaves so that it isn't taken back at once.
type Suppression struct {
	ID       string   `json:"id"`
	Version  int      `json:"version"`
	Incident string   `json:"incident,omitempty"` // which decision made it
	Key      string   `json:"key,omitempty"`      // the finding's, for exactly this change
	Playbook string   `json:"playbook,omitempty"`
	Resource *Ref     `json:"resource,omitempty"`
	Rules    []string `json:"rules,omitempty"` // rules' keys and flags that are off: all of a finding must be among them
	Scope    Scope    `json:"scope,omitempty"` // how far it reaches; empty is ScopeFinding
	// Approvers and Approvals are the policy's of the finding that it was decided
	// on: a wide one covers only what the same people may decide.
	Approvers []string  `json:"approvers,omitempty"`
	Approvals int       `json:"approvals,omitempty"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
	Until     time.Time `json:"until"` // zero: for good
	Ended     bool      `json:"ended"` // taken back before Until
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// AuditEntry is one line of an incident's audit log. Hash covers everything
// else and the hash of the entry before, so that a changed, missing or
// reordered entry shows.
type AuditEntry struct {
	Incident string          `json:"incident"`
	Seq      int             `json:"seq"` // from 1
	At       time.Time       `json:"at"`
	By       string          `json:"by"`
	What     string          `json:"what"`
	Why      string          `json:"why,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Prev     string          `json:"prev"` // empty for the first
	Hash     string          `json:"hash"` // hex SHA-256
}
