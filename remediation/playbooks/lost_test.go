package playbooks_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"secbot/internal/sandbox/fakeaws"
)

// TestLostAnswers: each changing call takes effect, its answer is lost, and the SDK
// makes it again, to which AWS answers that it was done already. Fix and undo end as
// they do otherwise.
func TestLostAnswers(t *testing.T) {
	for i, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c := allCases()[i] // what a case keeps is its own
			a := fakeaws.New(fakeaws.Options{Region: testRegion})
			srv := httptest.NewServer(a)
			t.Cleanup(srv.Close)
			w := newWorld(t, backend{url: srv.URL, account: a.Account(), enforces: true})
			j := judge(t, w, c)
			lost := loseAnswers(a)
			done := j.apply()
			j.verify(done)
			if c.restored != nil {
				j.same("the fix does not give what was there before the change", c.restored())
			}
			j.undo(done)
			j.same("undo does not give the state before", j.before)
			if lost() == 0 {
				t.Error("no answer was lost")
			}
		})
	}
}

// loseAnswers loses every other answer to each changing call, the first to begin with,
// and counts them.
func loseAnswers(a *fakeaws.AWS) (lost func() int) {
	var mu sync.Mutex
	asked, n := map[string]int{}, 0
	a.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if strings.HasPrefix(c.Action, "Get") || strings.HasPrefix(c.Action, "List") || strings.HasPrefix(c.Action, "Describe") {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		call := c.Action + " " + c.Resource
		if asked[call]++; asked[call]%2 == 0 {
			return nil
		}
		n++
		return &fakeaws.Fault{Drop: true, After: true}
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}
