// Package coverage keeps what a scan has listed and read, so that what was not
// looked at is not taken for closed.
package coverage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"

	"secbot/remediation"
)

// Counts is how far a scan has come.
type Counts struct {
	Lists  int // that have ended, whole or not
	Listed int // resources
	Done   int // resources that were read, or tried to
	Denied int // lists and resources that could not be read
}

// Watch is a remediation.Provider whose readers tell it what they list and
// read. It is safe for concurrent use.
type Watch struct {
	// Provider is watched.
	Provider remediation.Provider
	// Changed is told the counts after each list and read, one call at a time;
	// nil: nobody is.
	Changed func(Counts)

	mu     sync.Mutex
	counts Counts
	whole  map[place]bool // lists that came to their end
	listed map[place]bool // resources that were listed, and not read yet or not at all
	read   map[place]bool // resources that somebody tried to read; true: they were read, or are gone
}

// place is a resource, or a list where it has no id. Buckets and accounts are
// listed for all regions at once.
type place struct {
	kind                remediation.Kind
	account, region, id string
}

func placeOf(r remediation.Ref) place {
	if r.Kind != remediation.KindSecurityGroup {
		r.Region = ""
	}
	return place{r.Kind, r.Account, r.Region, r.ID}
}

// Environment gives the provider's own with readers that are watched.
func (w *Watch) Environment(ctx context.Context, account, region string) (*remediation.Environment, error) {
	env, err := w.Provider.Environment(ctx, account, region)
	if err != nil {
		return nil, err
	}
	watched := *env
	watched.Readers = maps.Clone(env.Readers)
	for kind, r := range watched.Readers {
		watched.Readers[kind] = &reader{w: w, r: r, region: env.Region, list: placeOf(remediation.Ref{Kind: kind, Account: account, Region: env.Region})}
	}
	return &watched, nil
}

// Counts is how far the scan has come.
func (w *Watch) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Knows reports whether the scan can tell how a resource is: it was read, or it is
// in none of the lists that should have it. Lists for which nobody has named an
// account are of account.
func (w *Watch) Knows(account string, r remediation.Ref) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := placeOf(r)
	if w.read[at] {
		return true
	}
	list := at
	list.id = ""
	whole := w.whole[list]
	if list.account = ""; r.Account == account {
		whole = whole || w.whole[list]
	}
	return whole && !w.listed[at]
}

func (w *Watch) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.whole == nil {
		w.whole, w.listed, w.read = map[place]bool{}, map[place]bool{}, map[place]bool{}
	}
	f()
	if w.Changed != nil {
		w.Changed(w.counts)
	}
}

// reader is a reader that is watched.
type reader struct {
	w      *Watch
	r      remediation.Reader
	region string
	list   place
}

// Error says which resource, or list of resources, could not be read.
type Error struct {
	What string
	Err  error
}

// Error begins with what it is about.
func (e *Error) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap is the reader's own error.
func (e *Error) Unwrap() error { return e.Err }

// List lists without being watched: a scan asks for Scan.
func (r *reader) List(ctx context.Context) iter.Seq2[remediation.Ref, error] { return r.r.List(ctx) }

// Scan looks as the reader does, or, where it has no Scan, lists what is to be read,
// and has the watch note what was listed and read. Its errors are *Error.
func (r *reader) Scan(ctx context.Context, how remediation.Looking) iter.Seq2[remediation.Look, error] {
	return func(yield func(remediation.Look, error) bool) {
		whole := false
		defer func() {
			r.w.change(func() {
				r.w.counts.Lists++
				r.w.whole[r.list] = whole
			})
		}()
		broken := false
		for look, err := range remediation.Looks(ctx, r.r, how) {
			if err != nil {
				broken = true
				r.w.change(func() { r.w.counts.Denied++ })
				err = &Error{What: fmt.Sprintf("the list of %s in %s", r.list.kind, r.region), Err: err}
			} else {
				look = r.watched(look)
			}
			if !yield(look, err) {
				return
			}
		}
		whole = !broken
	}
}

// watched is a look that notes what comes of it.
func (r *reader) watched(look remediation.Look) remediation.Look {
	r.w.change(func() {
		r.w.counts.Listed++
		r.w.listed[placeOf(look.Ref)] = true
	})
	if state := look.State; state != nil {
		look.State = func(ctx context.Context) (remediation.State, error) {
			s, err := state(ctx)
			return s, r.note(look.Ref, err)
		}
	}
	return look
}

// Read reads, and has the watch note whether that was possible. Its errors are
// *Error, but for ErrGone.
func (r *reader) Read(ctx context.Context, ref remediation.Ref) (remediation.State, error) {
	state, err := r.r.Read(ctx, ref)
	return state, r.note(ref, err)
}

// note keeps how an attempt to read a resource ended: the last one counts, since
// what a look shows in part may be read whole afterwards.
func (r *reader) note(ref remediation.Ref, err error) error {
	denied := err != nil && !errors.Is(err, remediation.ErrGone)
	r.w.change(func() {
		at := placeOf(ref)
		if was, tried := r.w.read[at]; !tried {
			r.w.counts.Done++
		} else if !was {
			r.w.counts.Denied--
		}
		if r.w.read[at] = !denied; denied {
			r.w.counts.Denied++
		}
	})
	if denied {
		return &Error{What: ref.String(), Err: err}
	}
	return err
}
