package bolt

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

const (
	settledIncidents = 100_000
	openIncidents    = 20
)

// filled gives a store with 100,000 settled incidents, each with its finished
// job and its sent notice, and a few open ones.
func filled(b *testing.B) *Store {
	b.Helper()
	s := openFast(b)
	const perTx = 1000
	for from := 0; from < settledIncidents; from += perTx {
		var list []change
		for n := from; n < from+perTx; n++ {
			list = append(list, prepared(b, n, remediation.StatusFixed)...)
		}
		if err := s.store(list); err != nil {
			b.Fatal(err)
		}
	}
	for n := range openIncidents {
		if err := s.store(prepared(b, settledIncidents+n, remediation.StatusOpen)); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func prepared(b *testing.B, n int, status remediation.Status) []change {
	b.Helper()
	at, id := day(1).Add(time.Duration(n)*time.Second), fmt.Sprintf("%08d", n)
	settled := status != remediation.StatusOpen
	i := &remediation.Incident{ID: id, Key: "key" + id, Status: status, CreatedAt: at, UpdatedAt: at}
	i.Finding = remediation.Finding{Playbook: "sg-rule-added", Rules: make([]remediation.Rule, 3)}
	i.Finding.Resource.ID = fmt.Sprintf("sg-%d", n%5000)
	list, err := changes(remediation.Write{
		Incident: i,
		Jobs:     []*remediation.Job{{ID: id, Done: settled, Due: at, UpdatedAt: at}},
		Notices:  []*remediation.Notice{{ID: id, Incident: id, Seq: 1, Sent: settled, Due: at, UpdatedAt: at}},
	})
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// BenchmarkReads reads from among 100,000 settled incidents.
func BenchmarkReads(b *testing.B) {
	s := filled(b)
	ctx, now := b.Context(), day(30)
	incidents := func(q remediation.IncidentQuery) func() (int, error) {
		return func() (int, error) { l, err := s.Incidents(ctx, q); return len(l), err }
	}
	open := []remediation.Status{remediation.StatusOpen}
	for _, bb := range []struct {
		name string
		want int
		read func() (int, error)
	}{
		{"DueJobs", 10, func() (int, error) { l, err := s.DueJobs(ctx, now, 10); return len(l), err }},
		{"DueNotices", 10, func() (int, error) { l, err := s.DueNotices(ctx, now, 10); return len(l), err }},
		{"Suppressions", 0, func() (int, error) { l, err := s.Suppressions(ctx, now); return len(l), err }},
		{"newest", 10, incidents(remediation.IncidentQuery{Limit: 10})},
		{"open", openIncidents, incidents(remediation.IncidentQuery{Statuses: open})},
		{"fixed", 10, incidents(remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusFixed}, Limit: 10})},
		{"resource", 10, incidents(remediation.IncidentQuery{Resource: "sg-42", Limit: 10})},
		{"key", 1, incidents(remediation.IncidentQuery{Key: "key00000042"})},
		{"playbook", 10, incidents(remediation.IncidentQuery{Playbook: "sg-rule-added", Limit: 10})},
		{"playbook without any", 0, incidents(remediation.IncidentQuery{Playbook: "sg-deleted"})},
		{"worst case", 0, incidents(remediation.IncidentQuery{Statuses: []remediation.Status{remediation.StatusFixed}, Playbook: "sg-deleted"})},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if got, err := bb.read(); err != nil || got != bb.want {
					b.Fatalf("got %d rows, want %d; %v", got, bb.want, err)
				}
			}
		})
	}
}

// BenchmarkCommit stores on disk, one Commit after the other and many at once.
func BenchmarkCommit(b *testing.B) {
	for _, parallel := range []int{0, 1, 8, 100} {
		b.Run(fmt.Sprintf("at once=%d", 2*parallel), func(b *testing.B) {
			s := openAt(b, b.TempDir()+"/secbot.db", Options{})
			var n atomic.Int64
			if parallel == 0 {
				for b.Loop() {
					commit(b, s, step(int(n.Add(1))))
				}
				return
			}
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					commit(b, s, step(int(n.Add(1))))
				}
			})
		})
	}
}
