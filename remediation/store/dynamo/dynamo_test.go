package dynamo_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

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

// newStore is a store on a table of its own, which pauses without waiting, with
// the pauses that it made.
func newStore(t *testing.T) (s *dynamo.Store, aws *faketable.AWS, pauses *[]time.Duration) {
	t.Helper()
	aws, pauses = faketable.Start(t), new([]time.Duration)
	s = dynamo.New(aws.Config(), dynamo.Options{Table: "secbot", Bucket: "rows", Sleep: func(ctx context.Context, d time.Duration) error {
		*pauses = append(*pauses, d)
		return ctx.Err()
	}})
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	aws.Calls()
	return s, aws, pauses
}

// count counts the calls of an operation.
func count(calls []faketable.Call, op string) (n int) {
	for _, c := range calls {
		if c.Op == op {
			n++
		}
	}
	return n
}

// TestCanceledTransactions: what DynamoDB cancels for want of room, or because
// two transactions met, is tried again with pauses; where that does not help it
// is an error and no conflict, since nothing is known to be stored.
func TestCanceledTransactions(t *testing.T) {
	for _, reason := range []string{"ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict"} {
		t.Run(reason, func(t *testing.T) {
			s, aws, pauses := newStore(t)
			left := 3
			aws.Fail = func(c faketable.Call) *faketable.Failure {
				if c.Op != "TransactWriteItems" || left == 0 {
					return nil
				}
				left--
				return &faketable.Failure{Code: "TransactionCanceledException", Reasons: []string{"None", reason}}
			}
			if err := s.Commit(t.Context(), remediation.Write{Jobs: []*remediation.Job{{ID: "j"}}}); err != nil || len(*pauses) != 3 {
				t.Errorf("%v after the pauses %v", err, *pauses)
			}
			if first := (*pauses)[0]; reason != "TransactionConflict" && first < 50*time.Millisecond {
				t.Errorf("a throttled write is tried again after %v", first)
			}
			left = 1000
			j := &remediation.Job{ID: "k"}
			err := s.Commit(t.Context(), remediation.Write{Jobs: []*remediation.Job{j}})
			if err == nil || errors.Is(err, remediation.ErrConflict) || j.Version != 0 {
				t.Errorf("nothing was stored, and Commit says %v, version %d", err, j.Version)
			}
		})
	}
}
