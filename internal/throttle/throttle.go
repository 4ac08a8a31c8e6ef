// Package throttle bounds how many calls of AWS are under way at once where the work
// can wait, as that of a scan, and finds out by itself how many AWS stands.
//
// It is no use of the SDK's adaptive retry mode: that one slows down all calls of
// a client, and scans share their clients with the calls that close a hole, which
// must not wait behind a scan that was throttled. It bounds a rate, too, which does
// not follow how long AWS takes for a call, and its documentation calls it
// experimental. What repeats a throttled call is the SDK's standard retryer in both.
package throttle

import (
	"context"
	"slices"
	"sync"
)

// Key names a quota: AWS throttles by account, region and service.
type Key struct {
	Account, Region, Service string
}

const (
	// first is how many calls are made at once before anything is known.
	first = 8
	// most is how many there are at most. EC2 has a bucket of 100 describing calls,
	// to which 20 a second come, for an account in a region ("Request throttling for the
	// Amazon EC2 API"): so many at once spend it in a moment where AWS answers fast, and
	// what is throttled then finds the bound. S3 stands thousands of requests a second
	// ("Best practices design patterns: optimizing Amazon S3 performance"), but does not
	// say how many about buckets: at 20 ms each these are 1,600 a second, about what
	// two processors can make.
	most = 32
)

// Limiter bounds the calls under way of each key: a throttled call halves the
// bound, and each round of calls without one doubles it until AWS has throttled one,
// and raises it by one from then on. The zero value is ready, and it is safe for
// concurrent use.
type Limiter struct {
	mu    sync.Mutex
	lanes map[Key]*lane
}

type lane struct {
	bound   float64
	busy    int
	waiting []chan struct{} // the first to come first
	cuts    int             // how often the bound was halved
}

// Enter waits for a place, and returns ctx's error where it ends before there is
// one. The caller must call leave once, and say whether AWS throttled the call.
func (l *Limiter) Enter(ctx context.Context, k Key) (leave func(throttled bool), err error) {
	l.mu.Lock()
	if l.lanes == nil {
		l.lanes = map[Key]*lane{}
	}
	ln := l.lanes[k]
	if ln == nil {
		ln = &lane{bound: first}
		l.lanes[k] = ln
	}
	turn := make(chan struct{})
	ln.waiting = append(ln.waiting, turn)
	ln.admit()
	l.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(ln.waiting, turn); i >= 0 {
			ln.waiting = slices.Delete(ln.waiting, i, i+1)
		} else { // it had its turn at the same moment
			ln.busy--
			ln.admit()
		}
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := ln.cuts
	return func(throttled bool) { l.leave(ln, begun, throttled) }, nil
}

func (l *Limiter) leave(ln *lane, begun int, throttled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln.busy--
	switch {
	case !throttled && ln.cuts == 0:
		ln.bound = min(ln.bound+1, most)
	case !throttled:
		ln.bound = min(ln.bound+1/ln.bound, most)
	case begun == ln.cuts:
		// Those that were under way as well say the same once more.
		ln.bound, ln.cuts = max(ln.bound/2, 1), ln.cuts+1
	}
	ln.admit()
}

func (ln *lane) admit() {
	for len(ln.waiting) > 0 && ln.busy < int(ln.bound) {
		close(ln.waiting[0])
		ln.waiting = ln.waiting[1:]
		ln.busy++
	}
}

// Bound is how many calls of a key may be under way now.
func (l *Limiter) Bound(k Key) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln := l.lanes[k]; ln != nil {
		return int(ln.bound)
	}
	return first
}

type limiterKey struct{}

// With gives a context whose calls of AWS wait for their places.
func With(ctx context.Context, l *Limiter) context.Context {
	return context.WithValue(ctx, limiterKey{}, l)
}

// Of is the limiter of a context; nil where its calls don't wait.
func Of(ctx context.Context) *Limiter {
	l, _ := ctx.Value(limiterKey{}).(*Limiter)
	return l
}
