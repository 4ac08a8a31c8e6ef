package remediation

import (
	"context"
	"slices"
	"sync"
	"time"
)

// recorder collects the request ids of the changing calls made under one
// context.
type recorder struct {
	mu  sync.Mutex
	ids []string
}

type recorderKey struct{}

// withRecorder gives a context whose changing calls are recorded.
func withRecorder(ctx context.Context) (context.Context, *recorder) {
	r := &recorder{}
	return context.WithValue(ctx, recorderKey{}, r), r
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// RecordRequestID notes the request id of a call that was answered, so that
// the event the call causes is known as our own. AWS clients call it from a
// middleware, once for each attempt; without a recorder in ctx it does nothing.
func RecordRequestID(ctx context.Context, id string) {
	r, ok := ctx.Value(recorderKey{}).(*recorder)
	if !ok || id == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.ids, id) {
		r.ids = append(r.ids, id)
	}
}

// intentWindow is how long after an intent was stored a call of our own
// identity is taken for it: retries and clock differences included.
const intentWindow = 15 * time.Minute

// isOwn reports whether the signal tells of a call that secbot made for one of
// the given incidents: its request id stands in a ledger or, where the answer
// was lost, the caller is secbot and an intent for that resource had been
// stored shortly before. The identity alone proves nothing.
func isOwn(sig Signal, self Identity, incidents []*Incident) bool {
	for _, inc := range incidents {
		for _, c := range inc.Calls {
			if sig.RequestID != "" && slices.Contains(c.RequestIDs, sig.RequestID) {
				return true
			}
			if self.is(sig.Actor) && c.matches(sig) {
				return true
			}
		}
	}
	return false
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
// intent whose request ids are known caused those calls and no others.
func (c Call) matches(sig Signal) bool {
	since := sig.At.Sub(c.At)
	return len(c.RequestIDs) == 0 && c.Resource.ID == sig.Resource.ID &&
		since > -time.Minute && since < intentWindow
}
