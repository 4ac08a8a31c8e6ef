package fakeaws

import (
	"context"
	"net/http"
	"time"
)

// Call is one API call as it was received.
type Call struct {
	Service   string // ec2, s3, s3control, sns, sts, config
	Action    string // the API's name: PutBucketAcl, PutPublicAccessBlock
	Resource  string // the bucket or group, where the request names one
	Region    string // of the credential scope
	Caller    string // the caller's ARN; empty for anonymous
	RequestID string
	ErrorCode string // as AWS answered it; empty on success
}

// Fault is a mishap that befalls a call.
type Fault struct {
	Status  int    // HTTP; 400 where Code is set and Status is 0
	Code    string // AWS's error code; empty: no error
	Message string
	Delay   time.Duration // waited first; cut short where the client goes away
	Drop    bool          // the connection is closed without an answer
	// Stale has a read answer from before the last change of the security groups
	// and buckets that it is about, as AWS may for a while. Changing calls don't
	// heed it, nor do reads of what has never changed.
	Stale bool
	// After lets the call take effect first: the mishap befalls the answer
	// alone.
	After bool
}

// Fault sets the hook that is asked before each call whether something goes
// wrong; nil from it, or a nil hook, means no. The hook is called from the
// request's goroutine without a lock held, so it must be safe for concurrent
// use.
func (a *AWS) Fault(hook func(Call) *Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = hook
}

// faultFor never returns nil.
func (a *AWS) faultFor(c Call) *Fault {
	a.mu.Lock()
	hook := a.fault
	a.mu.Unlock()
	if hook != nil {
		if f := hook(c); f != nil {
			return f
		}
	}
	return &Fault{}
}

// before waits, and reports whether the connection is to be closed at once.
func (f *Fault) before(ctx context.Context) bool {
	if f.After {
		return false
	}
	f.wait(ctx)
	return f.Drop
}

// after is before for the answer.
func (f *Fault) after(ctx context.Context) bool {
	if !f.After {
		return false
	}
	f.wait(ctx)
	return f.Drop
}

func (f *Fault) wait(ctx context.Context) {
	if f.Delay <= 0 {
		return
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// failure is the error that the call answers with; nil for none.
func (f *Fault) failure() *Error {
	if f.Code == "" {
		return nil
	}
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	return failure(status, f.Code, f.Message)
}

// instead is the error that replaces the call itself; nil for none.
func (f *Fault) instead() *Error {
	if f.After {
		return nil
	}
	return f.failure()
}

// record must be called with the lock held.
func (a *AWS) record(c Call) {
	if len(a.calls) >= maxCalls {
		a.calls = append(a.calls[:0], a.calls[len(a.calls)/2:]...)
	}
	a.calls = append(a.calls, c)
}

// Calls lists the calls so far, the oldest first. Of very many only the last
// some thousands are kept. Calls that a Fault dropped before they took effect
// are not among them.
func (a *AWS) Calls() []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Call(nil), a.calls...)
}
