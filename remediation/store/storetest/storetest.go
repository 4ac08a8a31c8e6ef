// Package storetest is the contract suite of remediation.Store. Every store
// runs it from its own tests.
package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/remediation"
)

// Run tests the stores that open gives against the contract of
// remediation.Store. Every call of open must give an empty store of its own;
// what it needs is cleaned up with t.Cleanup. Stores may be closed by the suite.
func Run(t *testing.T, open func(t *testing.T) remediation.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, remediation.Store)
	}{
		{"an empty store", testEmpty},
		{"rows come back as they were", testRoundTrip},
		{"rows share no memory", testIsolation},
		{"raw JSON is compacted and nothing else", testRawJSON},
		{"times", testTimes},
		{"versions", testVersions},
		{"audit entries are written once", testAuditOnce},
		{"a failing Commit stores nothing", testAtomic},
		{"rows that can't be kept", testInvalid},
		{"long and odd ids", testOddIDs},
		{"an empty Write", testEmptyWrite},
		{"an ended context", testContext},
		{"active statuses claim the key", testClaims},
		{"settling and reopening", testReopen},
		{"a changed key", testChangedKey},
		{"the last of a key", testLast},
		{"incidents: order", testIncidentsOrder},
		{"incidents: filters", testIncidentsFilters},
		{"incidents: limit", testIncidentsLimit},
		{"incidents: filters together", testIncidentsTogether},
		{"due jobs", testDueJobs},
		{"due jobs: order and number", testDueJobsOrder},
		{"due notices", testDueNotices},
		{"due notices: one after the other", testNoticeOrder},
		{"due notices: destinations", testNoticeDestinations},
		{"due notices: order and number", testDueNoticesOrder},
		{"notices of an incident", testNotices},
		{"waiting notices", testWaiting},
		{"suppressions", testSuppressions},
		{"message references", testMessages},
		{"sweep", testSweep},
		{"sweep: many rows", testSweepMany},
		{"race for a key", testRaceForKey},
		{"race for a version", testRaceForVersion},
		{"race of mixed writes", testRaceMixed},
		{"several records", testRecords},
		{"closing", testClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
	t.Run("as a simple model", func(t *testing.T) { testModel(t, open) })
}

// check is what testing and rapid have in common.
type check interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// base is the time that the suite counts from.
func base() time.Time { return time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC) }

// at is base plus some minutes.
func at(minutes int) time.Time { return base().Add(time.Duration(minutes) * time.Minute) }

func newIncident(id, key string, status remediation.Status) *remediation.Incident {
	return &remediation.Incident{
		ID: id, Key: key, Status: status, CreatedAt: base(), UpdatedAt: base(),
		Finding: remediation.Finding{
			Playbook: "sg-rule-added",
			Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "eu-west-1", ID: "sg-0abc"},
		},
	}
}

func newJob(id string) *remediation.Job {
	return &remediation.Job{ID: id, Kind: "signal", Due: base(), CreatedAt: base(), UpdatedAt: base()}
}

func newNotice(id, incident string, seq int) *remediation.Notice {
	return &remediation.Notice{ID: id, Incident: incident, Seq: seq, To: remediation.NotifySlack, Op: remediation.OpMessage,
		Due: base(), CreatedAt: base(), UpdatedAt: base()}
}

func newSuppression(id string) *remediation.Suppression {
	return &remediation.Suppression{ID: id, Key: "k", Reason: "a partner's", By: "U0ALICE", CreatedAt: base(), UpdatedAt: base()}
}

func newEntry(incident string, seq int) remediation.AuditEntry {
	return remediation.AuditEntry{Incident: incident, Seq: seq, At: base(), By: "secbot", What: "open", Hash: fmt.Sprint("hash", seq)}
}

// full gives one row of each kind with every member set.
func full() remediation.Write {
	port := int32(22)
	ref := remediation.Ref{Kind: remediation.KindBucket, Account: "111122223333", Region: "eu-west-1", ID: "bucket"}
	finding := remediation.Finding{
		Playbook: "s3-public-policy", Resource: ref, Name: "logs", Severity: remediation.SeverityHigh,
		Actor: remediation.Actor{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/bob", SourceIP: "192.0.2.7"},
		Event: "PutBucketPolicy", EventID: "e-1", At: at(-1), Direction: remediation.Ingress,
		Rules:      []remediation.Rule{{ID: "sgr-1", Protocol: "tcp", FromPort: &port, ToPort: &port, Tags: map[string]string{"a": "b"}}},
		Grants:     []remediation.Grant{{Grantee: "AllUsers", Permission: "READ", Openness: remediation.PublicRead}},
		Statements: []remediation.Statement{{Sid: "1", JSON: json.RawMessage(`{"Sid":"1","Effect":"<&>"}`)}},
		Openness:   []remediation.Openness{remediation.PublicRead}, Tags: map[string]string{"team": "x"},
		Notes: []string{"website"}, Doubt: "none", Rest: []string{"rest"},
	}
	entry := newEntry("01FULL", 1)
	entry.Why, entry.Prev, entry.Data = "asked", "p", json.RawMessage(`[1,"<"]`)
	job := &remediation.Job{ID: "signal/1", Kind: "signal", Payload: json.RawMessage(`{"a":1}`), Due: at(1), LeaseUntil: at(2),
		Attempts: 3, Error: "no answer", CreatedAt: at(3), UpdatedAt: at(4)}
	notice := &remediation.Notice{ID: "n/1", Incident: "01FULL", Seq: 7, To: "slack", Op: "message", Channel: "C1",
		Payload: json.RawMessage(`{"text":"<!channel> & more"}`), Due: at(1), LeaseUntil: at(2), Attempts: 2, Error: "slow",
		CreatedAt: at(3), UpdatedAt: at(4)}
	return remediation.Write{
		Incident: &remediation.Incident{
			ID: "01FULL", Key: finding.Key(), Status: remediation.StatusFailed, Finding: finding,
			Decision: remediation.Decision{Action: remediation.ActionAsk, Rule: "rule 1", Channel: "C1", Approvers: []string{"U0ALICE"}, Why: "mode"},
			Plan: &remediation.Plan{Playbook: "s3-public-policy", Finding: finding, Before: json.RawMessage(`{"policy":"{ \"a\" : 1 }"}`),
				Steps: []remediation.Step{{Action: "s3:PutBucketPolicy", Resource: ref, Params: json.RawMessage(`{}`)}},
				Diff:  []remediation.DiffLine{{Op: "-", Text: "x"}}},
			Outcomes: []remediation.Outcome{{Step: 0, RequestIDs: []string{"r1"}, Data: json.RawMessage(`{}`)}},
			History:  []remediation.Transition{{To: remediation.StatusOpen, At: base(), By: "secbot"}},
			Error:    "access denied", Previous: "01OLD", CreatedAt: base(), UpdatedAt: at(1), Repeats: 2,
			Calls:     []remediation.Call{{For: remediation.StatusFixing, Action: "s3:PutBucketPolicy", Resource: ref, At: at(2), RequestIDs: []string{"r1"}}},
			NoticeSeq: 7, AuditSeq: 1, AuditHead: "hash1",
		},
		Jobs:    []*remediation.Job{job},
		Notices: []*remediation.Notice{notice},
		Message: &remediation.MessageRef{Incident: "01FULL", Channel: "C1", TS: "1700000000.000100"},
		Suppressions: []*remediation.Suppression{{ID: "s/1", Incident: "01FULL", Key: "k", Playbook: "p", Resource: &ref,
			Rules: []string{"r"}, Reason: "why", By: "U0ALICE", Until: at(60), CreatedAt: base(), UpdatedAt: at(1)}},
		Audit: []remediation.AuditEntry{entry},
	}
}

// must stores w.
func must(t testing.TB, s remediation.Store, w remediation.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// mustConflict tries to store w.
func mustConflict(t testing.TB, s remediation.Store, w remediation.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); !errors.Is(err, remediation.ErrConflict) {
		t.Fatalf("commit: got %v, want ErrConflict", err)
	}
}

// equal compares what was read with what was wanted.
func equal(t check, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// get takes the result of a read: get(s.Job(ctx, id))(t). An error fails the
// test.
func get[T any](v T, err error) func(check) T {
	return func(t check) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// ids lists the ids of rows.
func ids[T any](list []T, id func(T) string) []string {
	all := []string{}
	for _, v := range list {
		all = append(all, id(v))
	}
	return all
}

func incidentID(i *remediation.Incident) string       { return i.ID }
func jobID(j *remediation.Job) string                 { return j.ID }
func noticeID(n *remediation.Notice) string           { return n.ID }
func suppressionID(s *remediation.Suppression) string { return s.ID }
