package coverage

import (
	"context"
	"errors"
	"iter"
	"testing"

	"secbot/remediation"
)

const account = "111122223333"

var errDenied = errors.New("denied")

// region is a region with groups, some of which can't be read, and whose list may
// break off.
type region struct {
	groups, denied, gone []string
	broken               bool
}

func (r region) List(context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		for _, id := range append(append(r.groups, r.denied...), r.gone...) {
			if !yield(group("eu-west-1", id), nil) {
				return
			}
		}
		if r.broken {
			yield(remediation.Ref{}, errDenied)
		}
	}
}

func (r region) Read(_ context.Context, ref remediation.Ref) (remediation.State, error) {
	for _, id := range r.denied {
		if id == ref.ID {
			return nil, errDenied
		}
	}
	for _, id := range r.gone {
		if id == ref.ID {
			return nil, remediation.ErrGone
		}
	}
	return nil, nil
}

func (r region) Environment(context.Context, string, string) (*remediation.Environment, error) {
	return &remediation.Environment{Region: "eu-west-1", Readers: map[remediation.Kind]remediation.Reader{remediation.KindSecurityGroup: r}}, nil
}

func group(region, id string) remediation.Ref {
	return remediation.Ref{Kind: remediation.KindSecurityGroup, Account: account, Region: region, ID: id}
}

// TestKnows: what was read, and what is in no list that is whole.
func TestKnows(t *testing.T) {
	r := region{groups: []string{"sg-1"}, denied: []string{"sg-2"}, gone: []string{"sg-3"}}
	for name, tt := range map[string]struct {
		broken bool
		ref    remediation.Ref
		want   bool
	}{
		"read":                     {false, group("eu-west-1", "sg-1"), true},
		"denied":                   {false, group("eu-west-1", "sg-2"), false},
		"gone since it was listed": {false, group("eu-west-1", "sg-3"), true},
		"not listed":               {false, group("eu-west-1", "sg-4"), true},
		"another region":           {false, group("eu-west-2", "sg-4"), false},
		"another account":          {false, remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "444455556666", Region: "eu-west-1", ID: "sg-4"}, false},
		"another kind":             {false, remediation.Ref{Kind: remediation.KindBucket, Account: account, ID: "b"}, false},
		"read, of a broken list":   {true, group("eu-west-1", "sg-1"), true},
		"not in a broken list":     {true, group("eu-west-1", "sg-4"), false},
	} {
		t.Run(name, func(t *testing.T) {
			r.broken = tt.broken
			last := Counts{}
			w := &Watch{Provider: r, Changed: func(c Counts) { last = c }}
			e := remediation.New(remediation.Options{Provider: w, Config: remediation.DefaultConfig()})
			failed := 0
			if _, err := e.Scan(t.Context(), "sg", func(remediation.Finding) {}, func(err error) {
				failed++
				if of := (*Error)(nil); !errors.As(err, &of) || of.What == "" || !errors.Is(err, errDenied) {
					t.Errorf("%v does not say what it is about", err)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if got := w.Knows(account, tt.ref); got != tt.want {
				t.Errorf("known: %v, want %v", got, tt.want)
			}
			if last != w.Counts() || last.Denied != failed || last.Done != 3 || last.Listed != 3 || last.Lists != 1 {
				t.Errorf("%+v, %d failed", last, failed)
			}
		})
	}
}
