package playbooks_test

import (
	"net/http/httptest"
	"testing"

	"secbot/internal/sandbox/fakeaws"
)

// TestContract runs the contract suite against the sandbox's AWS.
func TestContract(t *testing.T) {
	a := fakeaws.New(fakeaws.Options{Region: testRegion})
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	b := backend{url: srv.URL, account: a.Account(), enforces: true}
	t.Run("readers", func(t *testing.T) { runReaders(t, b) })
	runContract(t, b)
}
