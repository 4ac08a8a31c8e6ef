package main

import "testing"

func TestOwnersOfSymbols(t *testing.T) {
	for symbol, want := range map[string]string{
		"secbot/remediation.(*Engine).Run": "secbot",
		"main.main":                        "secbot",
		"github.com/aws/smithy-go/middleware.(*Stack).Add":    "the AWS SDK",
		"cel.dev/cel-go/common/types.init":                    "CEL, the policy's expressions",
		"type:.eq.github.com/slack-go/slack.Message":          "github.com/slack-go/slack",
		"github.com/go-analyze/charts/chartdraw.(*Chart).Box": "github.com/go-analyze/charts",
		"go.etcd.io/bbolt.(*DB).Begin":                        "go.etcd.io/bbolt",
		"net/http.(*conn).serve":                              "Go's runtime and standard library",
		"runtime.mallocgc":                                    "Go's runtime and standard library",
		"vendor/golang.org/x/net/idna.init":                   "Go's runtime and standard library",
	} {
		if got := owner(symbol); got != want {
			t.Errorf("%s is of %q, want %q", symbol, got, want)
		}
	}
}

func TestInitTimes(t *testing.T) {
	got := initTimes([]byte("init runtime @0.1 ms, 0.5 ms clock, 1 bytes, 1 allocs\nsecbot dev\ninit x/y @1 ms, 0 ms clock, 0 bytes, 0 allocs\n"))
	if len(got) != 2 || got["runtime"] != 500_000 {
		t.Errorf("read %v", got)
	}
}
