package remediation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// scanReads bounds how many resources a scan reads at once.
const scanReads = 8

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

// Scan reads every resource of the scope (s3, sg or all) in the configured
// regions and calls found for each finding and failed for everything that
// could not be read, one call at a time and in no order. It changes nothing,
// in AWS or in the store, and says how many resources it has read.
func (e *Engine) Scan(ctx context.Context, scope string, found func(Finding), failed func(error)) (int, error) {
	kinds, err := kindsOf(scope)
	if err != nil {
		return 0, err
	}
	return e.scan(ctx, kinds, &scanning{e: e, found: found, failed: failed})
}

func (e *Engine) scan(ctx context.Context, kinds []Kind, s *scanning) (int, error) {
	s.group.SetLimit(scanReads)
	for _, kind := range kinds {
		for _, region := range e.scanRegions(kind) {
			s.list(ctx, kind, region)
		}
	}
	_ = s.group.Wait() // reads report to failed, none returns an error
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
	e      *Engine
	group  errgroup.Group
	mu     sync.Mutex
	read   int
	found  func(Finding)
	failed func(error)
	// seen is told each state that was read; nil: nobody.
	seen func(ctx context.Context, live judged, readAt time.Time)
}

func (s *scanning) list(ctx context.Context, kind Kind, region string) {
	env, err := s.e.o.Provider.Environment(ctx, "", region)
	if err != nil {
		s.fail(fmt.Errorf("region %s: %w", region, err))
		return
	}
	reader := env.Readers[kind]
	if reader == nil {
		s.fail(fmt.Errorf("nothing here reads a %s", kind))
		return
	}
	for ref, err := range reader.List(ctx) {
		if err != nil {
			s.fail(fmt.Errorf("list %s in %s: %w", kind, env.Region, err))
			return
		}
		s.group.Go(func() error {
			if err := s.e.safely("the scan of "+ref.String(), func() error { s.judge(ctx, ref); return nil }); err != nil {
				s.fail(fmt.Errorf("%s: %w", ref, err))
			}
			return nil
		})
	}
}

func (s *scanning) judge(ctx context.Context, ref Ref) {
	readAt := s.e.now()
	env, state, err := s.e.read(ctx, ref)
	if errors.Is(err, ErrGone) {
		return // deleted since it was listed
	}
	if err != nil {
		s.fail(err)
		return
	}
	var found []Finding
	for _, pb := range env.Playbooks {
		if pb.Meta().Kind == ref.Kind {
			found = append(found, pb.Judge(state, nil)...)
		}
	}
	if s.seen != nil {
		s.seen(ctx, judged{env: env, state: state, readAt: readAt}, readAt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	for _, f := range found {
		f.Event, f.At = "scan", readAt
		s.found(f)
	}
}

func (s *scanning) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed(err)
}
