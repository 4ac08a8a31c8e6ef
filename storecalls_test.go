package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"secbot/internal/demo"
	"secbot/internal/faketable"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/store/dynamo"
	"secbot/remediation/store/memory"
)

// itemKey finds the keys of items in a request to DynamoDB.
var itemKey = regexp.MustCompile(`"pk":\{"S":"([A-Z]+)`)

// named is a request as "GetItem K", with what its items are, in the letters that
// package dynamo tells of.
func named(c faketable.Call) string {
	if c.Op == "Query" {
		partition, _, _ := strings.Cut(c.Partition, "#")
		return strings.Join(strings.Fields("Query "+c.Index+" "+partition), " ")
	}
	var kinds []string
	for _, m := range itemKey.FindAllStringSubmatch(c.Body, -1) {
		kinds = append(kinds, m[1])
	}
	slices.Sort(kinds)
	return c.Op + " " + strings.Join(slices.Compact(kinds), " ")
}

// untilMitigated counts the requests to a table from an event's arrival to the call
// that takes the hole away.
func untilMitigated(t *testing.T, event, mitigating string, open func(*caller) error) map[string]int {
	t.Helper()
	table := faketable.Start(t)
	st := dynamo.New(table.Config(), dynamo.Options{Table: "secbot"})
	if err := st.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newCallerOn(t, st)
	if err := open(c); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	c.sb.AWS.Fault(func(call fakeaws.Call) *fakeaws.Fault {
		if call.Action == mitigating && len(count) == 0 {
			for _, made := range table.Calls() {
				count[named(made)]++
			}
		}
		return nil
	})
	table.Calls()
	c.tell(event)
	if len(count) == 0 {
		t.Fatalf("there was no %s", mitigating)
	}
	return count
}

// TestStoreCallsOfAnEvent names each request to the table between an event's arrival
// and the call that takes the hole away. There were 54.
func TestStoreCallsOfAnEvent(t *testing.T) {
	want := map[string]int{
		// The event is stored, with the lease of whoever works at it, before it is
		// acknowledged.
		"TransactWriteItems J": 1,
		// At the same time, before the resource is read: whether the call was secbot's
		// own, what people have set, the state that was kept, the cap and the breakers;
		"BatchGetItem R": 1,
		// and what waits for people about the resource, which may be over.
		"Query ix2 RES": 1,
		// At the same time, before anything is decided: whether people have set something
		// since,
		"GetItem R": 1,
		// whether somebody has ignored it,
		"Query S": 1,
		// and which incident has the finding, or had it last.
		"GetItem K": 1,
		// The claim of the finding, the incident with its plan and the state before, the
		// job of the fix, what is counted, the call that is about to be made and the
		// audit log, in one conditional write: a finding is fixed once, and nothing is
		// changed before its plan is stored.
		"TransactWriteItems A I J K R": 1,
	}
	for name, tt := range map[string]struct {
		event, mitigating string
		open              func(*caller) error
	}{
		"a rule for the world": {"AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress", func(c *caller) error {
			return c.w.Authorize(t.Context(), 22, "0.0.0.0/0", "debugging")
		}},
		"a bucket's ACL": {"PutBucketAcl", "PutBucketAcl", func(c *caller) error {
			return c.w.Break(t.Context(), "acl-write", demo.UploadBucket)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(want, untilMitigated(t, tt.event, tt.mitigating, tt.open)); d != "" {
				t.Errorf("requests (- wanted, + made):\n%s", d)
			}
		})
	}
}

// writes is a store that counts what is stored.
type writes struct {
	remediation.Store
	n atomic.Int32
}

func (w *writes) Commit(ctx context.Context, what remediation.Write) error {
	w.n.Add(1)
	return w.Store.Commit(ctx, what)
}

// TestWritesOfAnEvent: each waits for the disk on bolt. Two are needed: the event's
// before it is acknowledged, and the plan's before the first changing call.
func TestWritesOfAnEvent(t *testing.T) {
	st := &writes{Store: memory.New()}
	c := newCallerOn(t, st)
	if err := c.w.Authorize(t.Context(), 22, "0.0.0.0/0", "debugging"); err != nil {
		t.Fatal(err)
	}
	var at atomic.Int32
	c.sb.AWS.Fault(func(call fakeaws.Call) *fakeaws.Fault {
		if call.Action == "RevokeSecurityGroupIngress" && at.Load() == 0 {
			at.Store(st.n.Load())
		}
		return nil
	})
	st.n.Store(0)
	c.tell("AuthorizeSecurityGroupIngress")
	if got := at.Load(); got != 2 {
		t.Errorf("%d writes before the revoke, want 2", got)
	}
}
