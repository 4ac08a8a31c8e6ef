package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// recorder collects what is known of the changing calls made under one context.
type recorder struct {
	incident  string
	announced func(Call) error // stores a call that is about to be made

	mu    sync.Mutex
	ids   []string
	lost  int // calls whose answer never came
	notes []string
	made  []Ref  // resources that the calls have made
	calls []Call // those that were announced, with what came of them
	at    int    // the place of the one under way; a step makes its calls one after the other
}

type recorderKey struct{}

// withRecorder gives a context whose changing calls are made for an incident,
// recorded, and stored by announced before they are made, but for those that are
// stored already.
func withRecorder(ctx context.Context, incident string, announced func(Call) error, stored ...Call) (context.Context, *recorder) {
	r := &recorder{incident: incident, announced: announced, calls: slices.Clone(stored)}
	return context.WithValue(ctx, recorderKey{}, r), r
}

// IncidentOf is the id of the incident for which calls under ctx change something;
// empty where there is none.
func IncidentOf(ctx context.Context) string {
	if r, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		return r.incident
	}
	return ""
}

// on has f look at or change the recorder of ctx, where there is one.
func (r *recorder) on(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// answers gives the request ids and how many calls have none.
func (r *recorder) answers() (ids []string, lost int) {
	r.on(func() { ids, lost = slices.Clone(r.ids), r.lost })
	return ids, lost
}

// resources are those that the calls have made.
func (r *recorder) resources() (made []Ref) {
	r.on(func() { made = slices.Clone(r.made) })
	return made
}

func (r *recorder) said() (notes []string) {
	r.on(func() { notes = slices.Clone(r.notes) })
	return notes
}

// RecordRequestID notes the request id of a call that was answered, so that
// the event the call causes is known as our own; an empty id notes that no
// answer came. AWS clients call it from a middleware, once for each attempt;
// without a recorder in ctx it does nothing.
func RecordRequestID(ctx context.Context, id string) {
	r, ok := ctx.Value(recorderKey{}).(*recorder)
	if !ok {
		return
	}
	r.on(func() {
		call := &Call{}
		if len(r.calls) > 0 {
			call = &r.calls[r.at]
		}
		switch {
		case id == "":
			r.lost++
			call.Lost++
		case !slices.Contains(r.ids, id):
			r.ids = append(r.ids, id)
			call.RequestIDs = append(call.RequestIDs, id)
		}
	})
}

// Announce stores that a changing call is about to be made, so that the event
// it causes is known as our own although its answer got lost. AWS clients call
// it from a middleware, once for each call and before its first attempt; after
// an error the call must not be made. Without a recorder in ctx it does nothing.
func Announce(ctx context.Context, i Intent) error {
	r, ok := ctx.Value(recorderKey{}).(*recorder)
	if !ok {
		return nil
	}
	call := i.call()
	again := false
	r.on(func() {
		if at := slices.IndexFunc(r.calls, call.same); at >= 0 {
			r.at, again = at, true
		}
	})
	if again {
		return nil // it is tried again, or was stored with the plan
	}
	if err := r.announced(call); err != nil {
		return fmt.Errorf("store that %s is about to be called: %w", i.Action, err)
	}
	r.on(func() { r.at, r.calls = len(r.calls), append(r.calls, call) })
	return nil
}

// RecordNote says something that people should know of the step or undo under
// way, such as a new id. Without a recorder in ctx it does nothing.
func RecordNote(ctx context.Context, note string) {
	r, ok := ctx.Value(recorderKey{}).(*recorder)
	if !ok {
		return
	}
	r.on(func() {
		if !slices.Contains(r.notes, note) {
			r.notes = append(r.notes, note)
		}
	})
}

// RecordResource says that the step or undo under way has made a resource, or
// found the one that an earlier attempt had made, so that its state is kept as
// that of every other. Without a recorder in ctx it does nothing.
func RecordResource(ctx context.Context, r Ref) {
	rec, ok := ctx.Value(recorderKey{}).(*recorder)
	if !ok {
		return
	}
	rec.on(func() { rec.made = append(rec.made, r) })
}

// intentWindow is how long after an intent was stored a call of our own
// identity is taken for it: retries and clock differences included.
const intentWindow = 15 * time.Minute

// callRecord is the key of the record of a call of our own.
func callRecord(requestID string) string { return "call/" + requestID }

// ownCalls keeps what the calls' events will name: their request ids.
func (c *change) ownCalls(ctx context.Context, rec *recorder) error {
	ids, _ := rec.answers()
	for _, id := range ids {
		if err := c.keepOnce(ctx, &Record{Key: callRecord(id), At: c.now, Until: c.now.Add(keepFor)}); err != nil {
			return err
		}
	}
	return nil
}

// keepOnce adds a record unless there is one of its key.
func (c *change) keepOnce(ctx context.Context, r *Record) error {
	if slices.ContainsFunc(c.w.Records, func(x *Record) bool { return x.Key == r.Key }) {
		return nil
	}
	_, err := c.e.o.Store.Record(ctx, r.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		c.w.Records = append(c.w.Records, r)
	case err != nil:
		return fmt.Errorf("read secbot's own calls: %w", err)
	}
	return nil
}

// author is who made a change, as far as secbot is concerned.
type author int

const (
	others  author = iota
	ours           // secbot made the call
	ourRole        // secbot's role made it, and secbot knows nothing of it
)

// authorOf says who made the call that a signal tells of. It is ours where its
// request id stands in the ledger or, where an answer was lost, where the caller
// is secbot's identity and that very call had been stored as an intent shortly
// before. The identity alone proves nothing.
func (e *Engine) authorOf(ctx context.Context, seen *view, sig Signal) (author, error) {
	if known, err := e.called(ctx, seen, sig); err != nil || known {
		return ours, err
	}
	self := e.self(ctx)
	if !self.is(sig.Actor) {
		return others, nil
	}
	if meant, err := e.intended(ctx, sig); err != nil || meant {
		return ours, err
	}
	if self.RoleARN == "" && sig.Actor.Account == self.Account {
		return others, nil // a person's own credentials, which people use too
	}
	// An intent that was just completed matches no more: its request id is in the
	// ledger since then.
	if known, err := e.called(ctx, nil, sig); err != nil || known {
		return ours, err
	}
	return ourRole, nil
}

// called reports whether the ledger has the request id of a signal's call.
func (e *Engine) called(ctx context.Context, seen *view, sig Signal) (bool, error) {
	if sig.RequestID == "" {
		return false, nil
	}
	_, err := seen.record(ctx, e.o.Store, callRecord(sig.RequestID))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, fmt.Errorf("read secbot's own calls: %w", err)
	}
	return err == nil, nil
}

// self is who secbot is. Without it only known request ids tell; that is the
// surer way anyway.
func (e *Engine) self(ctx context.Context) Identity {
	if e.o.Self == nil {
		return Identity{}
	}
	id, err := e.o.Self(ctx)
	if err != nil {
		e.o.Log.Warn("secbot's own identity is unknown", "error", Explain(err))
	}
	return id
}

// is reports whether the actor is this identity, by the exact ARN of its role
// (or, without a role, of itself) in the same account, or of the role that it takes
// in the actor's. Session names and user agents are the caller's to choose and count
// for nothing.
func (id Identity) is(a Actor) bool {
	if id.ARN == "" || a.Account == "" {
		return false
	}
	if a.Account != id.Account {
		role := arn.ARN{Partition: id.Partition(), Service: "iam", AccountID: a.Account, Resource: "role/" + id.MemberRole}
		return id.MemberRole != "" && a.IssuerARN == role.String()
	}
	if id.RoleARN != "" {
		return a.IssuerARN == id.RoleARN
	}
	return a.ARN == id.ARN
}

// OwnRolePlaybook is what findings of calls by secbot's own role, which secbot
// did not make, bear as their playbook. No playbook answers them.
const OwnRolePlaybook = "own-role-call"

// OwnRoleMeta describes those findings, for messages.
func OwnRoleMeta() Meta {
	return Meta{
		ID: OwnRolePlaybook, Title: "Call with secbot's own role",
		Labels: Labels{Ask: "Somebody used secbot's own role"},
	}
}

// ownRole is the finding of such a call. It is told whatever the policy says:
// who has the role's credentials could have changed what the policy sees.
func (e *Engine) ownRole(sig Signal) Part {
	f := Finding{
		Playbook: OwnRolePlaybook, Resource: sig.Resource, Name: sig.Change.GroupName, Severity: SeverityCritical,
		Actor: sig.Actor, Event: sig.Kind, EventID: sig.EventID + "/own-role", At: sig.At,
		Irreversible: "what somebody does with secbot's own credentials can't be judged by secbot",
		Notes: []string{
			sig.Kind + " was called with secbot's own role, but secbot did not call it: its request id is unknown, and no such call was planned.",
			"Its credentials may be stolen: revoke the role's sessions (IAM, the role, Revoke sessions), find out who may assume the role, then look at CloudTrail for what else was done.",
		},
	}
	return Part{Finding: f, Decision: Decision{Action: ActionNotify, Rule: "secbot's own safety", Channel: e.o.Config.Channel, Approvers: e.o.Config.Responders}}
}
