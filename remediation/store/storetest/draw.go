package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"pgregory.net/rapid"

	"secbot/remediation"
)

// compareOne reads one row from both.
func compareOne[T any](r *rapid.T, read func(context.Context, string) (*T, error), rows map[string]T, id string) {
	got, err := read(r.Context(), id)
	want, there := rows[id]
	switch {
	case !there && errors.Is(err, remediation.ErrNotFound):
	case !there || err != nil:
		r.Fatalf("read of %T %q, which is there (%v): %v", want, id, there, err)
	default:
		equal(r, "row "+id, *got, want)
	}
}

// equalList compares rows that were read with those of the model.
func equalList[T any](r *rapid.T, what string, got []*T, want []T) {
	all := make([]T, 0, len(want))
	for _, v := range got {
		all = append(all, *v)
	}
	equal(r, what, all, append([]T{}, want...))
}

func oneOf[T any](r *rapid.T, label string, choice ...T) T {
	return rapid.SampledFrom(choice).Draw(r, label)
}

// minute draws a time; often the zero time.
func minute(r *rapid.T, label string) time.Time {
	n := rapid.IntRange(-1, 5).Draw(r, label)
	if n < 0 {
		return time.Time{}
	}
	return at(n)
}

// version is mostly the stored one.
func version(r *rapid.T, stored int) int {
	return max(0, stored+oneOf(r, "off by", 0, 0, 0, 0, 0, 0, 0, -1, 1))
}

func some(r *rapid.T, label string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID).Draw(r, label)
}

// drawWrite draws a Write of few ids, so that rows meet, and gives the places
// of the versions in it.
func drawWrite(r *rapid.T, m *model) (w remediation.Write, versions []*int) {
	if rapid.Bool().Draw(r, "incident") {
		w.Incident = drawIncident(r, m)
		versions = append(versions, &w.Incident.Version)
	}
	for _, id := range some(r, "jobs") {
		j := &remediation.Job{ID: id, Version: version(r, m.jobs[id].Version), Due: minute(r, "due"), LeaseUntil: minute(r, "lease"),
			Done: rapid.Bool().Draw(r, "done"), UpdatedAt: minute(r, "updated")}
		w.Jobs, versions = append(w.Jobs, j), append(versions, &j.Version)
	}
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a1", "a2", "b1", "-x"}), 0, 2, rapid.ID).Draw(r, "notices") {
		n := &remediation.Notice{ID: id, Version: version(r, m.notices[id].Version), Incident: strings.TrimLeft(id[:1], "-"), To: oneOf(r, "to", "slack", "sns"),
			Seq: rapid.IntRange(0, 2).Draw(r, "seq"), Due: minute(r, "due"), LeaseUntil: minute(r, "lease"),
			Sent: rapid.Bool().Draw(r, "sent"), UpdatedAt: minute(r, "updated")}
		w.Notices, versions = append(w.Notices, n), append(versions, &n.Version)
	}
	if rapid.Bool().Draw(r, "message") {
		id := oneOf(r, "of", "a", "b")
		w.Message = &remediation.MessageRef{Incident: id, Version: version(r, m.messages[id].Version), TS: oneOf(r, "ts", "1", "2")}
		versions = append(versions, &w.Message.Version)
	}
	for _, id := range some(r, "suppressions") {
		s := &remediation.Suppression{ID: id, Version: version(r, m.suppressions[id].Version), Until: minute(r, "until"),
			Ended: rapid.Bool().Draw(r, "ended"), CreatedAt: minute(r, "created"), UpdatedAt: minute(r, "updated")}
		w.Suppressions, versions = append(w.Suppressions, s), append(versions, &s.Version)
	}
	for _, key := range some(r, "records") {
		x := &remediation.Record{Key: key, Version: version(r, m.records[key].Version), Until: minute(r, "until"), At: minute(r, "at")}
		w.Records, versions = append(w.Records, x), append(versions, &x.Version)
	}
	if rapid.Bool().Draw(r, "audit") {
		id := oneOf(r, "of", "a", "b")
		w.Audit = []remediation.AuditEntry{{Incident: id, Seq: len(m.audit[id]) + oneOf(r, "seq", 1, 1, 1, 2)}}
	}
	return w, versions
}

func drawIncident(r *rapid.T, m *model) *remediation.Incident {
	id := oneOf(r, "id", "a", "b", "c", "d")
	i := &remediation.Incident{ID: id, Version: version(r, m.incidents[id].Version), Key: oneOf(r, "key", "k1", "k2"),
		Status: oneOf(r, "status", remediation.Statuses()...), CreatedAt: minute(r, "created"), UpdatedAt: minute(r, "updated")}
	i.Finding.Playbook, i.Finding.Resource.ID = oneOf(r, "playbook", "p1", "p2"), oneOf(r, "resource", "", "r1", "r2")
	return i
}

func drawQuery(r *rapid.T) remediation.IncidentQuery {
	q := remediation.IncidentQuery{Limit: rapid.IntRange(1, 4).Draw(r, "limit"), Since: minute(r, "since"), Until: minute(r, "until"),
		Key: oneOf(r, "key", "", "", "k1"), Playbook: oneOf(r, "playbook", "", "p1"), Resource: oneOf(r, "resource", "", "", "r1")}
	if rapid.Bool().Draw(r, "by status") {
		q.Statuses = rapid.SliceOfN(rapid.SampledFrom(remediation.Statuses()), 1, 6).Draw(r, "statuses")
	}
	if rapid.Bool().Draw(r, "by change") {
		q.Updated = minute(r, "changed since")
	}
	return q
}
