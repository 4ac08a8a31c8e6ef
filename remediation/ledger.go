package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// recorder collects what is known of the changing calls made under one context.
type recorder struct {
	mu    sync.Mutex
	ids   []string
	lost  int // calls whose answer never came
	notes []string
	made  []Ref // resources that the calls have made
}

type recorderKey struct{}

// withRecorder gives a context whose changing calls are recorded.
func withRecorder(ctx context.Context) (context.Context, *recorder) {
	r := &recorder{}
	return context.WithValue(ctx, recorderKey{}, r), r
}

// on has f look at or change the recorder of ctx, where there is one.
func (r *recorder) on(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// calls gives the request ids and how many calls have none.
func (r *recorder) calls() (ids []string, lost int) {
	r.on(func() { ids, lost = slices.Clone(r.ids), r.lost })
	return ids, lost
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
		switch {
		case id == "":
			r.lost++
		case !slices.Contains(r.ids, id):
			r.ids = append(r.ids, id)
		}
	})
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
// found the one that an earlier attempt had made, so that the events of these
// calls, which name its id, are known as our own. Without a recorder in ctx it
// does nothing.
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

// maxRunning bounds how many incidents under way are looked through for an
// intent.
const maxRunning = 100

// callRecord is the key of the record of a call of our own.
func callRecord(requestID string) string { return "call/" + requestID }

// madeRecord is the key of the record of a resource that secbot has made.
func madeRecord(r Ref) string {
	return strings.Join([]string{"made", string(r.Kind), r.Account, r.Region, r.ID}, "/")
}

// ownCalls keeps what the calls' events will name: their request ids, and the
// resources that they have made.
func (c *change) ownCalls(ctx context.Context, rec *recorder) error {
	ids, _ := rec.calls()
	for _, id := range ids {
		if err := c.keepOnce(ctx, &Record{Key: callRecord(id), At: c.now, Until: c.now.Add(keepFor)}); err != nil {
			return err
		}
	}
	var made []Ref
	rec.on(func() { made = slices.Clone(rec.made) })
	for _, r := range made {
		if err := c.keepOnce(ctx, &Record{Key: madeRecord(r), At: c.now, Until: c.now.Add(intentWindow)}); err != nil {
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
// is secbot's identity and an intent for that resource had been stored shortly
// before. The identity alone proves nothing.
func (e *Engine) authorOf(ctx context.Context, sig Signal) (author, error) {
	if known, err := e.called(ctx, sig); err != nil || known {
		return ours, err
	}
	self := e.self(ctx)
	if !self.is(sig.Actor) {
		return others, nil
	}
	made, err := e.o.Store.Record(ctx, madeRecord(sig.Resource))
	switch {
	case err == nil && sig.At.Before(made.Until):
		return ours, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return others, fmt.Errorf("read what secbot has made: %w", err)
	}
	for _, q := range []IncidentQuery{
		{Resource: sig.Resource.ID, Limit: maxRunning},
		{Statuses: []Status{StatusFixing, StatusUndoing}, Limit: maxRunning},
	} {
		if q.Resource == "" && q.Statuses == nil {
			continue // an event that names a group by its name
		}
		found, err := e.o.Store.Incidents(ctx, q)
		if err != nil {
			return others, fmt.Errorf("read incidents: %w", err)
		}
		if slices.ContainsFunc(found, func(i *Incident) bool { return i.intended(sig, q.Statuses != nil) }) {
			return ours, nil
		}
	}
	if self.RoleARN == "" {
		return others, nil // a person's own credentials, which people use too
	}
	// An intent that was just completed matches no more: its request id is in the
	// ledger since then.
	if known, err := e.called(ctx, sig); err != nil || known {
		return ours, err
	}
	return ourRole, nil
}

// called reports whether the ledger has the request id of a signal's call.
func (e *Engine) called(ctx context.Context, sig Signal) (bool, error) {
	if sig.RequestID == "" {
		return false, nil
	}
	_, err := e.o.Store.Record(ctx, callRecord(sig.RequestID))
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
		e.o.Log.Warn("secbot's own identity is unknown", "error", err)
	}
	return id
}

// intended reports whether a call of the incident's may have caused the signal.
// While a fix is under way, whose calls may make resources of ids that nobody
// knows yet, any resource of the kind in that account and region will do.
func (i *Incident) intended(sig Signal, anyResource bool) bool {
	return slices.ContainsFunc(i.Calls, func(c Call) bool { return c.matches(sig, anyResource) })
}

// is reports whether the actor is this identity, by the exact ARN of its role
// (or, without a role, of itself) in the same account. Session names and user
// agents are the caller's to choose and count for nothing.
func (id Identity) is(a Actor) bool {
	if id.ARN == "" || a.Account != id.Account {
		return false
	}
	if id.RoleARN != "" {
		return a.IssuerARN == id.RoleARN
	}
	return a.ARN == id.ARN
}

// matches reports whether the call's intent may have caused the signal. An
// intent all of whose answers came caused those calls and no others.
func (c Call) matches(sig Signal, anyResource bool) bool {
	if len(c.RequestIDs) > 0 && c.Lost == 0 {
		return false
	}
	since := sig.At.Sub(c.At)
	return since > -time.Minute && since < intentWindow && c.Resource.Kind == sig.Resource.Kind &&
		(c.Resource.ID == sig.Resource.ID || anyResource && c.Resource.place() == sig.Resource.place())
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
