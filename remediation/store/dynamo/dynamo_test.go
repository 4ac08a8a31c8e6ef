package dynamo_test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"

	"secbot/internal/faketable"
	"secbot/remediation"
	"secbot/remediation/store/dynamo"
	"secbot/remediation/store/storetest"
)

// TestContract is the contract on a stand-in of our own; TestContractMoto asks
// another.
func TestContract(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil { // each of them is some hundred requests
			t.Fatal(err)
		}
	}
	aws := faketable.Start(t)
	var tables atomic.Int32
	storetest.Run(t, func(t *testing.T) remediation.Store {
		s := dynamo.New(aws.Config(), dynamo.Options{Table: fmt.Sprint("secbot-", tables.Add(1))})
		if err := s.CreateTable(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
}
