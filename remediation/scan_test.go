package remediation_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// glazed are doors that a scan sees through the window: looks show what shows says.
type glazed struct {
	*door
	shows func(house string) []string
}

func (g glazed) Environment(ctx context.Context, account, region string) (*remediation.Environment, error) {
	env, err := g.door.Environment(ctx, account, region)
	env.Readers[remediation.KindSecurityGroup] = g
	return env, err
}

func (g glazed) Scan(ctx context.Context, _ remediation.Looking) iter.Seq2[remediation.Look, error] {
	return func(yield func(remediation.Look, error) bool) {
		for r, err := range g.List(ctx) {
			look := remediation.Look{Ref: r, State: func(context.Context) (remediation.State, error) { return house{r, g.shows(r.ID)}, nil }}
			if !yield(look, err) || !yield(remediation.Look{}, errors.New("a street is closed")) {
				return
			}
		}
	}
}

func newGlazedLab(t *testing.T, shows func(house string) []string) *lab {
	return newLab(t, func(o *remediation.Options) { o.Provider = glazed{o.Provider.(*door), shows} })
}

// TestLooksAreConfirmed: only what a look shows to be open is read, what is read
// counts, and what can't be listed does not end the scan.
func TestLooksAreConfirmed(t *testing.T) {
	l := newGlazedLab(t, func(house string) []string {
		return map[string][]string{"open": {"front"}, "a moment ago": {"front"}}[house]
	})
	for id, open := range map[string][]string{"open": {"front", "back"}, "a moment ago": nil, "shut": nil} {
		l.doors.set(id, open...)
	}
	var found, read []string
	l.doors.onRead = func(r remediation.Ref) { l.mu.Lock(); read = append(read, r.ID); l.mu.Unlock() }
	failures := 0
	n, err := l.engine.Scan(t.Context(), "sg", func(f remediation.Finding) {
		for _, r := range f.Rules {
			found = append(found, f.Resource.ID+" "+r.Group)
		}
	}, func(error) { failures++ })
	slices.Sort(read)
	if !slices.Equal(found, []string{"open front", "open back"}) || !slices.Equal(read, []string{"a moment ago", "open"}) || n != 3 || failures != 3 || err != nil {
		t.Errorf("found %q, read %q, %d looked at, %d failures, error %v", found, read, n, failures, err)
	}
}

// TestLookThatCantBeConfirmed is told, and so is why.
func TestLookThatCantBeConfirmed(t *testing.T) {
	l := newGlazedLab(t, func(string) []string { return []string{"front"} })
	l.doors.set("h", "front")
	l.doors.fail = func(string) error { return errors.New("the key is lost") }
	var doubts []string
	failures := 0
	if _, err := l.engine.Scan(t.Context(), "sg", func(f remediation.Finding) { doubts = append(doubts, f.Doubt) }, func(err error) { failures++ }); err != nil {
		t.Fatal(err)
	}
	if len(doubts) != 1 || !strings.Contains(doubts[0], "the key is lost") || failures != 2 {
		t.Errorf("doubts %q, %d failures", doubts, failures)
	}
}

// TestScanReadsWhatPeopleWaitFor: a question is over only by what was read, however
// little a look shows.
func TestScanReadsWhatPeopleWaitFor(t *testing.T) {
	l := newGlazedLab(t, func(string) []string { return nil })
	l.config.Rules = []remediation.PolicyRule{}
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.one(remediation.StatusOpen)
	l.advance(2 * time.Minute)
	scan := func(id string) {
		l.submit(remediation.Command{ID: id, Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
		l.settled()
	}
	scan("s1")
	l.one(remediation.StatusOpen)
	l.doors.set("h")
	scan("s2")
	l.one(remediation.StatusResolved)
}

// slow is a store in which what is read to decide takes a while.
type slow struct {
	remediation.Store
	l *lab
	d time.Duration
}

func (s slow) Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error) {
	s.l.advance(s.d)
	return s.Store.Suppressions(ctx, now)
}

// TestPlannedOnWhatWasJudged: between the event and the call that closes the hole
// the resource is read once, unless so much time has gone by that it is old.
func TestPlannedOnWhatWasJudged(t *testing.T) {
	for took, want := range map[time.Duration]int{0: 1, 6 * time.Second: 2} {
		l := newLab(t)
		l.engine = l.again(func(o *remediation.Options) { o.Store = slow{o.Store, l, took} })
		l.doors.set("h", "front")
		reads := 0
		l.doors.onCall = func(context.Context) { reads = l.doors.reads }
		l.start()
		l.accept(signal("e1", "h", "front"))
		l.one(remediation.StatusFixed)
		if reads != want {
			t.Errorf("where the store takes %v it is read %d times, want %d", took, reads, want)
		}
	}
}
