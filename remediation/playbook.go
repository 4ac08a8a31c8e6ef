package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// State is one resource as it is now, read from AWS. It survives JSON and
// tells "nothing was set" from "set to nothing".
type State interface {
	// Ref is the resource that was read, its account and region filled in.
	Ref() Ref
}

// Reader lists and reads one kind of resource in one account and region.
// One read serves every playbook of that kind, in a scan as on an event.
type Reader interface {
	// List yields every resource of the kind, all pages. After an error
	// nothing more follows.
	List(ctx context.Context) iter.Seq2[Ref, error]
	// Read reads one resource. It returns ErrGone where there is none, with a
	// state that says so where its being gone can be judged, and
	// ErrOtherAccount where it belongs to another account than r.Account.
	Read(ctx context.Context, r Ref) (State, error)
}

// Scanner is a Reader that looks at all its resources with fewer calls than a
// Read of each takes.
type Scanner interface {
	Reader
	// Scan yields a look at every resource of the kind, all pages. An error tells
	// of what could not be listed or read; the rest follows where there is any.
	Scan(ctx context.Context, how Looking) iter.Seq2[Look, error]
}

// Looking says how a Scanner is to look.
type Looking struct {
	Now func() time.Time
	// Closely picks from some resources, by what a look shows of them, those of
	// which Remember needs more than judges do. nil: none.
	Closely func(ctx context.Context, shown []State) []bool
	// Whole picks a resource, by what a look shows of it, of which all is wanted
	// that Read gives. A Scanner that can't read many at once may leave them to Read.
	// nil: none.
	Whole func(shown State) bool
}

// Look is a resource as a scan sees it.
type Look struct {
	Ref Ref
	// State gives the resource with all that judges go by in a scan, so that they
	// find something in it if and only if they do in what Read gives. What else a
	// finding tells is missing: Read tells. With an error, the state has what could
	// be read all the same, or is nil; ErrGone where the resource is gone by now.
	// nil: only Read tells.
	State func(ctx context.Context) (State, error)
	// ReadAt is right before State was read; zero where calling it reads.
	ReadAt time.Time
	// Close says that the state has all that Remember keeps.
	Close bool
	// Whole says that the state has all that Read gives.
	Whole bool
	// Passed says that Looking.Whole was asked about the state, and did not pick it.
	Passed bool
}

// Historian is a Reader that keeps what its resources were, for changes whose
// events carry no old values.
type Historian interface {
	Reader
	// Recall gives live together with what the resource was before the change
	// that sig tells of: by kept, what Remember gave last (nil for nothing), or
	// by AWS's own records. Where neither knows, the state says why. live may be
	// the state of a resource that is gone.
	Recall(ctx context.Context, live State, sig Signal, kept json.RawMessage) State
	// Remember gives what to keep of a live state that was read at a time, and
	// of what was kept before. The same states give the same bytes.
	Remember(live State, kept json.RawMessage, at time.Time) (json.RawMessage, error)
	// Same reports whether a resource still is what Remember gave last, as far as a
	// look shows.
	Same(shown State, kept json.RawMessage) bool
}

// Playbook is one response to one kind of finding, bound to an account and region.
type Playbook interface {
	// Meta describes the playbook; it is the same at every call.
	Meta() Meta
	// Claim gives the findings that the event alone claims, without a look at
	// AWS: what an offline replay prints. It is pure. Findings are never acted
	// on from a claim; Judge decides on the live state.
	Claim(sig Signal) []Finding
	// Judge finds what is wrong with s. It is pure. sig is the event that
	// led here and is nil in a scan; with it, only what the event changed
	// is judged.
	Judge(s State, sig *Signal) []Finding
	// Plan says how to take f back: the steps, and s as the state before.
	// It is pure. It returns ErrNothingToDo where s has nothing of f left.
	Plan(s State, f Finding) (Plan, error)
	// Apply carries one step out. It is idempotent: an effect that is already
	// there is no error and gives an Outcome with Noop set. It returns
	// ErrDrifted, and changes nothing, unless the live state is the plan's.
	Apply(ctx context.Context, st Step) (Outcome, error)
	// Verify reads back and returns ErrNotVerified where the effect can't be
	// seen (yet).
	Verify(ctx context.Context, p Plan, o []Outcome) error
	// Undo puts back exactly what the outcomes changed, reads it back, and is
	// idempotent. It returns ErrDrifted, with a diff, and changes nothing,
	// where the state has moved since.
	Undo(ctx context.Context, p Plan, o []Outcome) error
}

// Announcer is a Playbook that can tell the calls of a step before it reads what
// there is to change, so that they are stored together with the plan.
type Announcer interface {
	// Announce gives the changing calls that Apply makes where the live state is the
	// plan's. It is pure. A call that turns out otherwise is stored by itself before
	// it is made.
	Announce(st Step) ([]Intent, error)
}

// Environment is one account and region with everything bound to it.
type Environment struct {
	Account   string
	Region    string
	Readers   map[Kind]Reader
	Playbooks []Playbook // in the registry's order
}

// Playbook finds a playbook by id; nil where there is none.
func (e *Environment) Playbook(id string) Playbook {
	for _, p := range e.Playbooks {
		if p.Meta().ID == id {
			return p
		}
	}
	return nil
}

// Provider gives the environment of an account and region. It does no network
// call; clients are kept. An empty account means the own one, an empty region
// the configured one.
type Provider interface {
	Environment(ctx context.Context, account, region string) (*Environment, error)
}

// Meta is a playbook's description of itself, from which the IAM policy, the
// documentation and Slack's texts are made.
type Meta struct {
	ID          string   `json:"id"`
	Title       string   `json:"title"`       // "Public S3 bucket ACL"
	Kind        Kind     `json:"kind"`        // what it judges
	Handles     []string `json:"handles"`     // the signal kinds after which it judges
	Labels      Labels   `json:"labels"`      // what Slack says
	Undoable    bool     `json:"undoable"`    //
	Permissions []string `json:"permissions"` // IAM actions that judge, apply, verify and undo need
}

// Labels are the words of a playbook's messages.
type Labels struct {
	Fixed   string `json:"fixed"`   // header once fixed: "Public bucket ACL closed"
	Ask     string `json:"ask"`     // header of the question: "Bucket made public by its ACL"
	Confirm string `json:"confirm"` // what Revert does: "This takes the public grants out of the bucket's ACL."
	Undo    string `json:"undo"`    // what Undo opens again: "The bucket will be public again."
	Did     string `json:"did"`     // what secbot did, in one word: "Closed", "Put back"
	Open    string `json:"open"`    // title of the list of changes while nothing was done: "Open now"
	Taken   string `json:"taken"`   // and once it was: "Taken away"
}

// Plan is the steps about to be taken, as a diff that a person can read, and
// the state before them.
type Plan struct {
	Playbook string          `json:"playbook"`
	Finding  Finding         `json:"finding"`
	Before   json.RawMessage `json:"before"` // the State as JSON
	Steps    []Step          `json:"steps"`
	Diff     []DiffLine      `json:"diff"`
}

// Step is one changing call.
type Step struct {
	Action   string          `json:"action"` // the IAM action: "ec2:RevokeSecurityGroupIngress"
	Resource Ref             `json:"resource"`
	Summary  string          `json:"summary"` // for people: "revoke sgr-1 (tcp 22 from 0.0.0.0/0)"
	Params   json.RawMessage `json:"params"`  // the playbook's own, with all that Apply compares
}

// DiffLine is one line of a plan's diff.
type DiffLine struct {
	Op   string `json:"op"` // "-" taken away, "+" added, " " stays
	Text string `json:"text"`
}

// Outcome is what a step did.
type Outcome struct {
	Step       int             `json:"step"`                  // its place in the plan
	RequestIDs []string        `json:"request_ids,omitempty"` // of the changing calls, in order
	Noop       bool            `json:"noop,omitempty"`        // the effect was already there
	Notes      []string        `json:"notes,omitempty"`       // what people should know of it, by RecordNote
	Made       []Ref           `json:"made,omitempty"`        // the resources that it has made, by RecordResource
	Data       json.RawMessage `json:"data,omitempty"`        // the playbook's own: new ids and what undo compares with
}

// Errors that decide what happens next.
var (
	// ErrGone says that the resource does not exist (any more).
	ErrGone = errors.New("the resource does not exist")
	// ErrOtherAccount says that the resource belongs to another account than
	// the event says, so that nothing may be done to it.
	ErrOtherAccount = errors.New("the resource belongs to another account than the event's")
	// ErrNothingToDo says that the live state is already safe.
	ErrNothingToDo = errors.New("the live state is already safe")
	// ErrDrifted says that the live state is not the one that was planned on.
	ErrDrifted = errors.New("the state has changed since")
	// ErrNotVerified says that a read-back does not show the effect.
	ErrNotVerified = errors.New("the change could not be seen when reading back")
)

// DriftError is an ErrDrifted that says what has moved.
type DriftError struct {
	Resource Ref
	Diff     []DiffLine // "-" what was expected, "+" what is there
}

// Error lists the differences on one line.
func (e *DriftError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Resource.ID, ErrDrifted)
	for _, d := range e.Diff {
		s += fmt.Sprintf("; %s %s", d.Op, d.Text)
	}
	return s
}

// Unwrap makes errors.Is(err, ErrDrifted) true.
func (e *DriftError) Unwrap() error { return ErrDrifted }
