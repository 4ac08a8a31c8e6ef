package dynamo_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
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
		if err := f.Value.Set("6"); err != nil { // each of them is some thousand requests
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

// commit stores w.
func commit(t *testing.T, s *dynamo.Store, w remediation.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func notice(incident string, seq int) *remediation.Notice {
	return &remediation.Notice{ID: fmt.Sprint(incident, "/", seq), Incident: incident, Seq: seq, To: remediation.NotifySlack}
}

// freeze has the indexes stay as they are.
func freeze(aws *faketable.AWS) {
	aws.Lock()
	defer aws.Unlock()
	aws.Frozen = time.Now()
}

// TestOrderWithLateIndexes: what an index does not show yet goes first all the
// same, and an incident's notices are all there.
func TestOrderWithLateIndexes(t *testing.T) {
	s, aws, _ := newStore(t)
	commit(t, s, remediation.Write{Notices: []*remediation.Notice{notice("i", 2)}})
	freeze(aws)
	commit(t, s, remediation.Write{Notices: []*remediation.Notice{notice("i", 1)}})
	due, err := s.DueNotices(t.Context(), time.Now(), 9)
	if err != nil || len(due) != 0 {
		t.Errorf("due are %d notices, %v, though the first of them is not seen yet", len(due), err)
	}
	all, err := s.Notices(t.Context(), "i")
	if err != nil || len(all) != 2 || all[0].Seq != 1 {
		t.Errorf("of the incident there are %v, %v", all, err)
	}
}

// TestWaitingInAStorm: what waits is seen at once, however many wait.
func TestWaitingInAStorm(t *testing.T) {
	s, aws, _ := newStore(t)
	for from := 0; from < 300; from += 100 {
		var w remediation.Write
		for i := range 100 {
			w.Notices = append(w.Notices, notice(fmt.Sprint("i", from+i), 1))
		}
		commit(t, s, w)
	}
	aws.Calls()
	waiting, err := s.Waiting(t.Context(), 250)
	if calls := len(aws.Calls()); err != nil || len(waiting) != 250 || calls > 10 {
		t.Errorf("%d wait, %v, after %d calls", len(waiting), err, calls)
	}
}

// TestDueBehindMany: in an outage many messages wait for their next attempt, and
// others behind them; what may go out is found with few requests.
func TestDueBehindMany(t *testing.T) {
	s, aws, _ := newStore(t)
	now := time.Now().UTC().Truncate(time.Second)
	for from := 0; from < 200; from += 50 {
		var w remediation.Write
		for i := range 50 {
			lane := fmt.Sprint("i", from+i)
			first, second := notice(lane, 1), notice(lane, 2)
			first.Due, second.Due = now.Add(time.Minute), now.Add(-time.Hour)
			w.Notices = append(w.Notices, first, second)
		}
		commit(t, s, w)
	}
	ready := notice("ready", 1)
	ready.Due = now
	commit(t, s, remediation.Write{Notices: []*remediation.Notice{ready}})
	aws.Calls()
	due, err := s.DueNotices(t.Context(), now, 4)
	if calls := len(aws.Calls()); err != nil || len(due) != 1 || due[0].ID != ready.ID || calls > 30 {
		t.Errorf("due are %d notices, %v, after %d calls", len(due), err, calls)
	}
	due, err = s.DueNotices(t.Context(), now.Add(time.Minute), 4)
	if calls := len(aws.Calls()); err != nil || len(due) != 4 || calls > 30 {
		t.Errorf("a minute later due are %d notices, %v, after %d calls", len(due), err, calls)
	}
}

func incident(n int, status remediation.Status) *remediation.Incident {
	return &remediation.Incident{ID: fmt.Sprintf("%05d", n), Key: fmt.Sprint("k", n), Status: status, CreatedAt: time.Unix(int64(n), 0)}
}

// TestListsAmongManySettled: what is open is found without a look at what was ever
// settled, and what is rare among that with few requests.
func TestListsAmongManySettled(t *testing.T) {
	s, aws, _ := newStore(t)
	const many = 400
	for n := range many {
		status := remediation.StatusFixed
		switch n {
		case 3, 170:
			status = remediation.StatusOpen
		case 5, 190:
			status = remediation.StatusUndone
		case 7:
			status = remediation.StatusFailed
		}
		commit(t, s, remediation.Write{Incident: incident(n, status)})
	}
	for _, tt := range []struct {
		q     remediation.IncidentQuery
		want  []string
		calls int
	}{
		{remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusOpen}, Limit: 16}, []string{"00170", "00003"}, 4},
		{remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusOpen, remediation.StatusFailed}, Limit: 2}, []string{"00170", "00007"}, 8},
		{remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusUndone}, Limit: 16}, []string{"00190", "00005"}, 5},
		{remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusFixed, remediation.StatusOpen}, Limit: 2}, []string{"00399", "00398"}, 5},
		{remediation.IncidentQuery{Limit: 2, Since: time.Unix(300, 0)}, []string{"00399", "00398"}, 5},
	} {
		aws.Calls()
		found, err := s.Incidents(t.Context(), tt.q)
		var got []string
		for _, i := range found {
			got = append(got, i.ID)
		}
		calls := aws.Calls()
		if err != nil || !slices.Equal(got, tt.want) || len(calls) > tt.calls+3 { // a busy machine may cost the SDK another attempt
			t.Errorf("%+v: %v, %v, %d calls", tt.q, got, err, len(calls))
		}
	}
}

// TestUnprocessedKeys: what a batch leaves out is asked for again; where nothing
// comes at all any more it is an error.
func TestUnprocessedKeys(t *testing.T) {
	s, aws, pauses := newStore(t)
	for n := range 30 {
		commit(t, s, remediation.Write{Incident: incident(n, remediation.StatusFixed)})
	}
	aws.BatchMost = 7
	found, err := s.Incidents(t.Context(), remediation.IncidentQuery{})
	if err != nil || len(found) != 30 || found[0].ID != "00029" || found[29].ID != "00000" {
		t.Errorf("%d incidents, %v", len(found), err)
	}
	aws.BatchMost = -1
	if found, err := s.Incidents(t.Context(), remediation.IncidentQuery{}); err == nil || len(*pauses) == 0 {
		t.Errorf("%d incidents of a throttled table, after %d pauses", len(found), len(*pauses))
	}
}

// TestPages: no more is read of what is due than may be taken.
func TestPages(t *testing.T) {
	s, aws, _ := newStore(t)
	if _, err := s.DueJobs(t.Context(), time.Now(), 16); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DueNotices(t.Context(), time.Now(), 4); err != nil {
		t.Fatal(err)
	}
	for _, c := range aws.Calls() {
		want := 32
		if strings.HasPrefix(c.Partition, "UNSENT") {
			want = 8
		}
		if c.Limit != want {
			t.Errorf("a page of %s has up to %d rows, want %d", c.Partition, c.Limit, want)
		}
	}
}

// doneJobs stores so many finished jobs.
func doneJobs(t *testing.T, s *dynamo.Store, many int) {
	t.Helper()
	for from := 0; from < many; from += 100 {
		var w remediation.Write
		for n := range min(100, many-from) {
			w.Jobs = append(w.Jobs, &remediation.Job{ID: fmt.Sprint(from + n), Done: true})
		}
		commit(t, s, w)
	}
}

// TestSweepIsBounded, and passes over what somebody is just writing.
func TestSweepIsBounded(t *testing.T) {
	s, aws, _ := newStore(t)
	doneJobs(t, s, 2100)
	met := false
	aws.Fail = func(c faketable.Call) *faketable.Failure {
		if c.Op != "DeleteItem" || met {
			return nil
		}
		met = true
		return &faketable.Failure{Code: "TransactionConflictException"}
	}
	for _, want := range []int{2000, 100, 0} {
		if n, err := s.Sweep(t.Context(), time.Now()); err != nil || n != want {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
}

// TestLargeRows: of a row that DynamoDB does not take the large member goes to S3,
// once for all versions of the row; without a bucket it is refused.
func TestLargeRows(t *testing.T) {
	s, aws, _ := newStore(t)
	noise := make([]byte, 370<<10)
	_, _ = rand.Read(noise) // never fails
	large, err := json.Marshal(noise)
	if err != nil {
		t.Fatal(err)
	}
	inc := incident(1, remediation.StatusOpen)
	inc.Plan = &remediation.Plan{Playbook: "p", Before: large}
	job, record := &remediation.Job{ID: "j", Payload: large}, &remediation.Record{Key: "r", Data: large}
	note := notice("00001", 1)
	note.Payload = large
	w := remediation.Write{Incident: inc, Jobs: []*remediation.Job{job}, Records: []*remediation.Record{record}, Notices: []*remediation.Notice{note}}
	for n := range 3 {
		inc.Repeats, job.Attempts, note.Attempts, record.At = n, n, n, time.Unix(int64(n), 0).UTC()
		commit(t, s, w)
	}
	if objects := aws.Objects(); len(objects) != 3 { // a payload is a payload
		t.Errorf("3 versions left the objects %v", objects)
	}
	got, err := s.Active(t.Context(), "k1")
	if err != nil || got.Repeats != 2 || got.Plan.Playbook != "p" || !bytes.Equal(got.Plan.Before, large) {
		t.Errorf("the incident does not come back: %v", err)
	}
	if j, err := s.Job(t.Context(), "j"); err != nil || j.Attempts != 2 || !bytes.Equal(j.Payload, large) {
		t.Errorf("the job does not come back: %v", err)
	}
	if r, err := s.Record(t.Context(), "r"); err != nil || r.At.Unix() != 2 || !bytes.Equal(r.Data, large) {
		t.Errorf("the record does not come back: %v", err)
	}
	if n, err := s.Notices(t.Context(), "00001"); err != nil || len(n) != 1 || n[0].Attempts != 2 || !bytes.Equal(n[0].Payload, large) {
		t.Errorf("the notice does not come back: %v", err)
	}
	entry := remediation.AuditEntry{Incident: "00001", Seq: 1, Data: large}
	commit(t, s, remediation.Write{Audit: []remediation.AuditEntry{entry}})
	if log, err := s.Audit(t.Context(), "00001"); err != nil || len(log) != 1 || !bytes.Equal(log[0].Data, large) {
		t.Errorf("the audit entry does not come back: %v", err)
	}
	without := dynamo.New(aws.Config(), dynamo.Options{Table: "secbot"})
	if err := without.Commit(t.Context(), remediation.Write{Jobs: []*remediation.Job{{ID: "k", Payload: large}}}); err == nil || !strings.Contains(err.Error(), "bucket=NAME") {
		t.Errorf("without a bucket: %v", err)
	}
}

// TestCallsOfACommit: an active incident is written without a look at its row;
// one that gets another key is read, so that its claim goes with it.
func TestCallsOfACommit(t *testing.T) {
	s, aws, _ := newStore(t)
	i := incident(1, remediation.StatusFixing)
	ops := func(what string, want ...string) {
		t.Helper()
		aws.Calls()
		commit(t, s, remediation.Write{Incident: i})
		var got []string
		for _, c := range aws.Calls() {
			got = append(got, c.Op)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	ops("a new one", "TransactWriteItems")
	ops("as before", "TransactWriteItems")
	i.Key = "another"
	ops("with another key", "TransactWriteItems", "GetItem", "TransactWriteItems")
	if _, err := s.Active(t.Context(), "k1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("the key that it had is still claimed: %v", err)
	}
	i.Status = remediation.StatusFixed
	ops("one that sets its key free, perhaps", "GetItem", "TransactWriteItems")
}
