package throttle

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestBound: a round of calls that were not throttled doubles the bound as long as
// none was, and raises it by one afterwards; a throttled round halves it once; other
// keys don't feel it.
func TestBound(t *testing.T) {
	var l Limiter
	busy, quiet := Key{"1", "eu-west-1", "EC2"}, Key{"1", "us-east-1", "EC2"}
	round := func(throttled bool) (n int) {
		var all []func(bool)
		for n = l.Bound(busy); len(all) < n; {
			leave, err := l.Enter(t.Context(), busy)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, leave)
		}
		for _, leave := range all {
			leave(throttled)
		}
		return n
	}
	for i, step := range []struct {
		throttled bool
		want      int
	}{{false, 16}, {false, 32}, {false, 32}, {true, 16}, {true, 8}, {true, 4}, {true, 2}, {true, 1}, {true, 1}, {false, 2}, {false, 2}, {false, 3}, {false, 4}, {true, 2}} {
		round(step.throttled)
		if got := l.Bound(busy); got != step.want {
			t.Errorf("after round %d the bound is %d, want %d", i, got, step.want)
		}
	}
	for range 200 {
		round(false)
	}
	if got := l.Bound(busy); got != most {
		t.Errorf("the bound has grown to %d, want %d", got, most)
	}
	if got := l.Bound(quiet); got != first {
		t.Errorf("another region's bound is %d, want %d", got, first)
	}
}

// TestNeverMoreThanTheBound, whoever waits, gives up or is throttled; and nobody
// who waits is forgotten.
func TestNeverMoreThanTheBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		calls := rapid.SliceOfN(rapid.SampledFrom([]string{"works", "is throttled", "gives up"}), 1, 60).Draw(r, "calls")
		synctest.Test(t, func(t *testing.T) {
			var l Limiter
			var k Key
			under, worked := 0, 0
			release := make(chan struct{})
			for _, call := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					defer cancel()
					leave, err := l.Enter(ctx, k)
					if err != nil {
						if !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
						return
					}
					l.mu.Lock()
					if under++; under > l.lanes[k].busy {
						t.Errorf("%d are under way, and %d are counted", under, l.lanes[k].busy)
					}
					l.mu.Unlock()
					<-release
					l.mu.Lock()
					under, worked = under-1, worked+1
					l.mu.Unlock()
					leave(call == "is throttled")
				}()
				synctest.Wait()
				if call == "gives up" {
					cancel()
				}
			}
			synctest.Wait()
			if under > first {
				t.Errorf("%d are under way at once", under)
			}
			close(release)
			synctest.Wait()
			if ln := l.lanes[k]; ln.busy != 0 || len(ln.waiting) != 0 {
				t.Errorf("%d are busy and %d wait, %d of %d have worked", ln.busy, len(ln.waiting), worked, len(calls))
			}
		})
	})
}
