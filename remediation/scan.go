package remediation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"secbot/internal/throttle"
)

// scanReads bounds how many resources of one kind and region are looked at, or asked
// the store for, at once. How many calls are made at once is for the limiter, which
// lets no more than these be made.
const scanReads = 32

// ScopeError says that a scan's scope is unknown.
type ScopeError struct{ Scope string }

// Error names the scopes.
func (e *ScopeError) Error() string {
	return fmt.Sprintf("a scan can't look at %q: say s3, sg or all", e.Scope)
}

// kindsOf gives the kinds of resources of a scope: s3, sg, all or "".
func kindsOf(scope string) ([]Kind, error) {
	switch scope {
	case "s3":
		return []Kind{KindAccount, KindBucket}, nil
	case "sg":
		return []Kind{KindSecurityGroup}, nil
	case "", "all":
		return []Kind{KindAccount, KindBucket, KindSecurityGroup}, nil
	}
	return nil, &ScopeError{Scope: scope}
}

// Scan looks at every resource of the scope (s3, sg or all) in the configured
// regions and calls found for each finding and failed for everything that
// could not be read, one call at a time and in no order, as they come. It changes
// nothing, in AWS or in the store, and says how many resources it has looked at.
// It holds no more than two pages of resources of each region at a time. Where ctx
// ends it returns ctx's error, and what it has found is told.
func (e *Engine) Scan(ctx context.Context, scope string, found func(Finding), failed func(error)) (int, error) {
	return e.ScanAccount(ctx, "", scope, found, failed)
}

// ScanAccount is Scan for one account; the own one where it is empty. One that does
// not let secbot in is told once, as an error in which there is an *AccountError.
func (e *Engine) ScanAccount(ctx context.Context, account, scope string, found func(Finding), failed func(error)) (int, error) {
	kinds, err := kindsOf(scope)
	if err != nil {
		return 0, err
	}
	return e.scan(ctx, kinds, &scanning{e: e, account: account, found: found, failed: failed})
}

// scan begins from the start where it is begun again after a crash: what it has
// found is known by its key then, and what it has kept need not be read again.
func (e *Engine) scan(ctx context.Context, kinds []Kind, s *scanning) (int, error) {
	ctx = throttle.With(ctx, &e.scans)
	var lists sync.WaitGroup
	for _, kind := range kinds {
		for _, region := range e.scanRegions(kind) {
			lists.Go(func() {
				err := e.safely(fmt.Sprintf("the list of %s in %s", kind, region), func() error { s.list(ctx, kind, region); return nil })
				if err != nil {
					s.fail(fmt.Errorf("list %s in %s: %w", kind, region, err))
				}
			})
		}
	}
	lists.Wait()
	return s.read, ctx.Err()
}

// scanRegions are the regions to list. One list gives the buckets of all, and an
// account has one block.
func (e *Engine) scanRegions(kind Kind) []string {
	if kind != KindSecurityGroup || len(e.o.Config.Regions) == 0 {
		return []string{""}
	}
	return e.o.Config.Regions
}

type scanning struct {
	e       *Engine
	account string // empty: the own one
	mu      sync.Mutex
	read    int
	refused bool // the account does not let secbot in, which was told
	found   func(Finding)
	failed  func(error)
	// seen is told each state of which there is all that Remember keeps; nil: nobody.
	seen func(ctx context.Context, live judged, readAt time.Time)
	// done is told each resource that was looked at, one at a time; nil: nobody.
	done func(Ref)
	// whole says which resources are to be read whole, whatever a look shows; nil: none.
	whole func(Ref) bool
}

// list looks at all resources of a kind and region. Those of each region in which
// they are have places of their own, so that one region that is slow does not hold
// up the others for long.
func (s *scanning) list(ctx context.Context, kind Kind, region string) {
	env, err := s.e.o.Provider.Environment(ctx, s.account, region)
	if err != nil {
		s.fail(fmt.Errorf("region %s: %w", region, err))
		return
	}
	reader := env.Readers[kind]
	if reader == nil {
		s.fail(fmt.Errorf("nothing here reads a %s", kind))
		return
	}
	places := map[string]*errgroup.Group{}
	for look, err := range Looks(ctx, reader, Looking{Now: s.e.now, Closely: s.closely(reader), Whole: s.wanted(env)}) {
		if err != nil {
			s.unread(ctx, fmt.Errorf("list %s in %s: %w", kind, env.Region, err))
			continue
		}
		if places[look.Ref.Region] == nil {
			places[look.Ref.Region] = &errgroup.Group{}
			places[look.Ref.Region].SetLimit(scanReads)
		}
		places[look.Ref.Region].Go(func() error {
			if err := s.e.safely("the scan of "+look.Ref.String(), func() error { s.look(ctx, env, look); return nil }); err != nil {
				s.fail(fmt.Errorf("%s: %w", look.Ref, err))
			}
			return nil
		})
	}
	for _, group := range places {
		_ = group.Wait() // reads report to failed, none returns an error
	}
}

// Looks are the looks of a Scanner, and of every other Reader those that show
// nothing, one for each resource that it lists.
func Looks(ctx context.Context, r Reader, how Looking) iter.Seq2[Look, error] {
	if scanner, ok := r.(Scanner); ok {
		return scanner.Scan(ctx, how)
	}
	return func(yield func(Look, error) bool) {
		for ref, err := range r.List(ctx) {
			if !yield(Look{Ref: ref}, err) {
				return
			}
		}
	}
}

// closely picks the resources that are to be kept anew: what a look shows is not
// what was kept of them, or that is a day old, since a look shows neither the ids
// nor the tags of rules. nil where nobody keeps them.
func (s *scanning) closely(r Reader) func(context.Context, []State) []bool {
	h, ok := r.(Historian)
	if !ok || s.seen == nil {
		return nil
	}
	return func(ctx context.Context, shown []State) []bool {
		picked := make([]bool, len(shown))
		var asking errgroup.Group
		asking.SetLimit(scanReads)
		for i, state := range shown {
			asking.Go(func() error {
				picked[i] = s.e.outdated(ctx, h, state)
				return nil
			})
		}
		_ = asking.Wait() // none returns an error
		return picked
	}
}

// outdated reports whether what is kept of a resource has to be kept anew; it has
// where nobody can tell.
func (e *Engine) outdated(ctx context.Context, h Historian, shown State) bool {
	kept, err := e.kept(ctx, nil, shown.Ref())
	return err != nil || kept == nil || e.now().Sub(kept.At) >= renewState || !h.Same(shown, kept.Data)
}

// wanted picks what is to be read whole: what is to be whatever a look shows, and in
// what something is found.
func (s *scanning) wanted(env *Environment) func(State) bool {
	return func(shown State) bool {
		return (s.whole != nil && s.whole(shown.Ref())) || len(env.judge(shown)) > 0
	}
}

// look judges what a look shows. Where it is safe that is all; else the resource is
// read whole, by the Scanner with others or by itself, and that is what is found.
func (s *scanning) look(ctx context.Context, env *Environment, l Look) {
	if l.State == nil || (!l.Whole && s.whole != nil && s.whole(l.Ref)) {
		s.confirm(ctx, env.Account, l.Ref, nil, time.Time{})
		return
	}
	readAt := l.ReadAt
	if readAt.IsZero() {
		readAt = s.e.now()
	}
	state, err := l.State(ctx)
	if errors.Is(err, ErrGone) {
		return // deleted since it was listed
	}
	if l.Whole && err == nil {
		s.keep(ctx, env, state, readAt)
		s.tell(l.Ref, env.judge(state), readAt)
		return
	}
	if state != nil && !l.Passed {
		if found := env.judge(state); len(found) > 0 {
			s.confirm(ctx, env.Account, l.Ref, found, readAt)
			return
		}
	}
	if err != nil {
		s.unread(ctx, err)
		return
	}
	if l.Close {
		s.keep(ctx, env, state, readAt)
	}
	s.tell(l.Ref, nil, readAt)
}

// keep hands a state on to be kept, where somebody keeps them.
func (s *scanning) keep(ctx context.Context, env *Environment, state State, readAt time.Time) {
	if s.seen != nil {
		s.seen(ctx, judged{env: env, state: state, readAt: readAt}, readAt)
	}
}

// judge reads a resource whole and judges it.
func (s *scanning) judge(ctx context.Context, ref Ref) {
	s.confirm(ctx, ref.Account, ref, nil, time.Time{})
}

// confirm is judge for a resource in which a look has shown something. Where it
// can't be read whole that is told all the same. The account is named as it was for
// the look, so that its calls are bounded together with those of looks.
func (s *scanning) confirm(ctx context.Context, account string, ref Ref, shown []Finding, shownAt time.Time) {
	readAt := s.e.now()
	env, state, err := s.e.readIn(ctx, account, ref)
	if errors.Is(err, ErrGone) {
		return // deleted since it was listed
	}
	if err != nil {
		s.unread(ctx, err)
		if len(shown) > 0 && ctx.Err() == nil {
			s.tell(ref, doubted(shown, err), shownAt)
		}
		return
	}
	s.keep(ctx, env, state, readAt)
	s.tell(ref, env.judge(state), readAt)
}

// doubted are findings of a resource that could not be read whole.
func doubted(found []Finding, why error) []Finding {
	for i, f := range found {
		text := "the resource could not be read whole: " + explain(why)
		if f.Doubt != "" {
			text = f.Doubt + "; " + text
		}
		found[i].Doubt = text
	}
	return found
}

// judge has every playbook of the state's kind judge it without a signal.
func (e *Environment) judge(state State) []Finding {
	var found []Finding
	for _, pb := range e.Playbooks {
		if pb.Meta().Kind == state.Ref().Kind {
			found = append(found, pb.Judge(state, nil)...)
		}
	}
	return found
}

// tell counts a resource and hands on what was found in it.
func (s *scanning) tell(ref Ref, found []Finding, readAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	if s.done != nil {
		s.done(ref)
	}
	for _, f := range found {
		f.Event, f.At = "scan", readAt
		s.found(f)
	}
}

// unread tells what could not be read, unless that is because the scan has ended,
// which its own error tells.
func (s *scanning) unread(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.fail(err)
	}
}

func (s *scanning) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var account *AccountError
	if errors.As(err, &account) {
		if s.refused {
			return // each list says the same
		}
		s.refused = true
	}
	s.failed(err)
}
