package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Intent is a changing call that is about to be made, in the words in which its
// event will tell of it.
type Intent struct {
	Action   string // the event's kind, CloudTrail's eventName
	Resource Ref    // without an ID where the call makes it
	Change   Change
}

// call is the intent in the ledger.
func (i Intent) call() Call {
	params, _ := paramsOf(i.Action, i.Change)
	return Call{Action: i.Action, Resource: i.Resource, Params: params}
}

// Matches reports whether an event tells of this very call. The resource's id is
// left aside where the call makes it, so that the event alone knows it.
func (i Intent) Matches(sig Signal) bool {
	is, told := callOf(sig)
	return told && intentRecord(i.call()) == intentRecord(is)
}

// callOf is the call that an event tells of; false where it does not tell all.
func callOf(sig Signal) (Call, bool) {
	params, told := paramsOf(sig.Kind, sig.Change)
	call := Call{Action: sig.Kind, Resource: sig.Resource, Params: params}
	if sig.Resource.Kind == KindAccount { // events of S3 Control bear either name
		call.Action = strings.Replace(sig.Kind, "BucketPublic", "AccountPublic", 1)
	}
	if sig.Kind == "CreateSecurityGroup" {
		call.Resource.ID = "" // which nobody knew before the call
	}
	return call, told
}

// maxIntents bounds how many incidents an intent is remembered for.
const maxIntents = 10

// paramsOf is a digest of what a call asks for: the same for an intent and for
// the event of that call. It is false where an event does not tell.
//
// The events name a revoked rule by its id and an added one by its content; of a
// modified one they tell neither the direction nor the account of its peer.
func paramsOf(action string, c Change) (string, bool) {
	var asked []string
	for _, r := range c.Rules {
		switch {
		case strings.HasPrefix(action, "Revoke") && r.ID != "":
			asked = append(asked, "id "+r.ID)
		case strings.HasPrefix(action, "Modify"):
			r.Direction, r.GroupOwner = "", ""
			asked = append(asked, "rule "+r.ID+" "+r.Key())
		default:
			asked = append(asked, "rule "+r.Key())
		}
	}
	for _, id := range c.RuleIDs {
		asked = append(asked, "id "+id)
	}
	for _, g := range c.Grants {
		asked = append(asked, "grant "+g.Grantee+" "+g.Permission)
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	asked = append(asked, "name "+c.GroupName)
	if len(c.Policy) > 0 {
		asked = append(asked, "policy "+string(canonical(c.Policy)))
	}
	if c.Block != nil {
		asked = append(asked, fmt.Sprintf("block %+v", *c.Block))
	}
	return digest([]byte(strings.Join(asked, "\n"))), c.Unread == ""
}

// intentRecord is the key of the record of an intent: of the action, its
// parameters, and the resource or, where the call makes that, its place.
func intentRecord(c Call) string {
	where := []string{string(c.Resource.Kind), c.Resource.Account, c.Resource.ID}
	if c.Resource.ID == "" {
		where = append(where, c.Resource.Region)
	}
	return strings.Join(append([]string{"intent", c.Action, c.Params}, where...), "/")
}

// intends makes a recorder's announcement: it stores the call, of this incident
// and for its fix or its undo, before the call is made.
func (fx *fixing) intends(ctx context.Context) func(Call) error {
	return func(call Call) error {
		return fx.change(ctx, false, func(c *change) error { return c.intend(ctx, call) })
	}
}

// intend adds a call to the ledger. One that an earlier attempt has announced,
// and of which nobody heard, is the same again: its answer was lost.
func (c *change) intend(ctx context.Context, call Call) error {
	call.For, call.At = c.inc.Status, c.now
	res := c.inc.Finding.Resource
	call.Resource.Account, call.Resource.Region = res.Account, res.Region
	if i := slices.IndexFunc(c.inc.Calls, call.again); i >= 0 {
		c.inc.Calls[i].At, c.inc.Calls[i].Lost = c.now, c.inc.Calls[i].Lost+1
	} else {
		c.inc.Calls = append(c.inc.Calls, call)
	}
	return c.index(ctx, call)
}

// again reports whether an earlier call is this one, with an answer that nobody
// has.
func (c Call) again(earlier Call) bool {
	return earlier.For == c.For && earlier.same(c) && len(earlier.RequestIDs) == 0
}

// same reports whether two calls ask for the same.
func (c Call) same(other Call) bool {
	return c.Action == other.Action && c.Resource == other.Resource && c.Params == other.Params
}

// index keeps which incidents have an intent.
func (c *change) index(ctx context.Context, call Call) error {
	rec, err := c.intentOf(ctx, call)
	if errors.Is(err, ErrNotFound) {
		rec, err = &Record{Key: intentRecord(call)}, nil
	}
	if err != nil {
		return fmt.Errorf("read secbot's own intents: %w", err)
	}
	known := rec.incidents()
	if !slices.Contains(known, c.inc.ID) {
		known = append(known, c.inc.ID)
	}
	if rec.Data, err = json.Marshal(known[max(0, len(known)-maxIntents):]); err != nil {
		return fmt.Errorf("encode an intent: %w", err)
	}
	rec.At, rec.Until = c.now, c.now.Add(2*intentWindow)
	c.w.Records = append(c.w.Records, rec)
	return nil
}

// intentOf reads the record of a call. In the first attempt at a new incident it is
// taken to be missing, which the write proves.
func (c *change) intentOf(ctx context.Context, call Call) (*Record, error) {
	if c.seen != nil {
		return nil, ErrNotFound
	}
	return c.e.o.Store.Record(ctx, intentRecord(call)) //nolint:wrapcheck // index says what for
}

// incidents are those that an intent's record names.
func (r *Record) incidents() (ids []string) {
	if err := json.Unmarshal(r.data(), &ids); err != nil {
		return nil
	}
	return ids
}

// answered completes the calls that a recorder has announced. One that was never
// sent is no intent any more.
func (c *change) answered(ctx context.Context, rec *recorder) error {
	var calls []Call
	rec.on(func() { calls = slices.Clone(rec.calls) })
	res := c.inc.Finding.Resource
	for _, call := range calls {
		call.For = c.inc.Status
		call.Resource.Account, call.Resource.Region = res.Account, res.Region
		i := slices.IndexFunc(c.inc.Calls, call.again)
		if i < 0 {
			continue
		}
		is := &c.inc.Calls[i]
		is.RequestIDs, is.Lost = append(is.RequestIDs, call.RequestIDs...), is.Lost+call.Lost
		if len(is.RequestIDs)+is.Lost == 0 {
			c.inc.Calls = slices.Delete(c.inc.Calls, i, i+1)
		}
	}
	return c.ownCalls(ctx, rec)
}

// intended reports whether secbot was about to make the call of a signal and
// does not know what came of it.
func (e *Engine) intended(ctx context.Context, sig Signal) (bool, error) {
	call, told := callOf(sig)
	if !told {
		return false, nil
	}
	rec, err := e.o.Store.Record(ctx, intentRecord(call))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read secbot's own intents: %w", err)
	}
	for _, id := range rec.incidents() {
		inc, err := e.o.Store.Incident(ctx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, fmt.Errorf("read incident %s: %w", id, err)
		}
		if err == nil && slices.ContainsFunc(inc.Calls, func(c Call) bool { return intentRecord(c) == rec.Key && c.open(sig.At) }) {
			return true, nil
		}
	}
	return false, nil
}

// open reports whether an intent may have caused what happened at a time. One
// all of whose answers came has caused those calls and no others.
func (c Call) open(at time.Time) bool {
	if len(c.RequestIDs) > 0 && c.Lost == 0 {
		return false
	}
	since := at.Sub(c.At)
	return since > -time.Minute && since < intentWindow
}
