package events

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/remediation"
)

const asksApproval = `{"version":"0","id":"e-1","detail-type":"Approval Requested","source":"secbot.approval","account":"111122223333","time":"2026-03-01T12:00:00Z","region":"eu-central-1",
 "resources":["arn:aws:states:eu-central-1:111122223333:stateMachine:quarantine"],
 "detail":{"task_token":"AQCY-the-token","execution":"arn:aws:states:eu-central-1:111122223333:execution:quarantine:run-1","title":"Isolate i-0abc?","text":"It talks to 198.51.100.7.","timeout_seconds":3600}}`

const hasEnded = `{"version":"0","id":"e-2","detail-type":"Step Functions Execution Status Change","source":"aws.states","account":"111122223333","time":"2026-03-01T12:00:00Z","region":"eu-central-1",
 "detail":{"executionArn":"arn:aws:states:eu-central-1:111122223333:execution:quarantine:secbot-1-3","stateMachineArn":"arn:aws:states:eu-central-1:111122223333:stateMachine:quarantine","name":"secbot-1-3","status":"SUCCEEDED","startDate":1772366400000,"stopDate":1772366460000}}`

// machines keeps what state machines sent.
type machines struct {
	tasks []remediation.TaskRequest
	runs  []remediation.RunEvent
	err   error
}

func (m *machines) AcceptTask(_ context.Context, r remediation.TaskRequest) error {
	m.tasks = append(m.tasks, r)
	return m.err
}

func (m *machines) AcceptRun(_ context.Context, ev remediation.RunEvent) error {
	m.runs = append(m.runs, ev)
	return m.err
}

// TestStateMachines: what they send is taken over HTTP, and as the body of a message
// of the queue, which has no more around it.
func TestStateMachines(t *testing.T) {
	wantTask := remediation.TaskRequest{Token: "AQCY-the-token", Execution: "arn:aws:states:eu-central-1:111122223333:execution:quarantine:run-1", Account: "111122223333",
		Title: "Isolate i-0abc?", Text: "It talks to 198.51.100.7.", Within: time.Hour}
	wantRun := remediation.RunEvent{EventID: "e-2", Execution: "arn:aws:states:eu-central-1:111122223333:execution:quarantine:secbot-1-3"}
	for name, take := range map[string]func(h *Handler, raw string) error{
		"HTTP": func(h *Handler, raw string) error {
			status, body := serve(t, h, post("/events", raw))
			if status != http.StatusOK || body["accepted"] != 1.0 {
				return fmt.Errorf("status %d: %v", status, body)
			}
			return nil
		},
		"the queue": func(h *Handler, raw string) error {
			_, err := h.takeMessage(t.Context(), []byte(raw))
			return err
		},
	} {
		m := &machines{}
		h := &Handler{Machines: m, Token: testToken}
		if err := errors.Join(take(h, asksApproval), take(h, hasEnded)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]remediation.TaskRequest{wantTask}, m.tasks); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff([]remediation.RunEvent{wantRun}, m.runs); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestStateMachinesAreSkipped: with a reason; and what can't be stored is sent again.
func TestStateMachinesAreSkipped(t *testing.T) {
	replace := func(raw, old, with string) string {
		if !strings.Contains(raw, old) {
			t.Fatalf("%q is not in there", old)
		}
		return strings.Replace(raw, old, with, 1)
	}
	for name, c := range map[string]struct {
		raw    string
		m      Machines
		status int
		why    string
	}{
		"nothing is listed":      {asksApproval, nil, 200, "no state machines are listed"},
		"refused":                {asksApproval, &machines{err: &remediation.RefusedError{Text: "not listed"}}, 200, "not listed"},
		"not stored":             {asksApproval, &machines{err: errors.New("disk full")}, 503, ""},
		"a run not stored":       {hasEnded, &machines{err: errors.New("disk full")}, 503, ""},
		"it has begun":           {replace(hasEnded, "SUCCEEDED", "RUNNING"), &machines{}, 200, "does not tell that an execution has ended"},
		"no execution":           {replace(hasEnded, "executionArn", "x"), &machines{}, 200, "does not tell"},
		"not by AWS":             {replace(hasEnded, "aws.states", "com.mallory"), &machines{}, 200, "not an event that secbot answers"},
		"by another source":      {replace(asksApproval, "secbot.approval", "com.mallory"), &machines{}, 200, "not an event that secbot answers"},
		"a detail of other kind": {`{"detail-type":"Approval Requested","source":"secbot.approval","detail":"AQCY-the-token"}`, &machines{}, 200, "its detail is no object"},
	} {
		h := &Handler{Machines: c.m, Token: testToken}
		status, body := serve(t, h, post("/events", c.raw))
		said := fmt.Sprint(body)
		if status != c.status || !strings.Contains(said, c.why) || strings.Contains(said, "AQCY") {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
}

// TestApprovalsAreLenient: what is odd is left out, and nothing of it overflows.
func TestApprovalsAreLenient(t *testing.T) {
	for detail, within := range map[string]time.Duration{
		`{"task_token":"t","timeout_seconds":"soon"}`:                0,
		`{"task_token":"t","timeout_seconds":-5}`:                    0,
		`{"task_token":"t","timeout_seconds":9000000000000000000}`:   365 * 24 * time.Hour,
		`{"task_token":"t","timeout_seconds":1e400,"title":{"a":1}}`: 0,
		`{"task_token":"t","text":["a","b"],"timeout_seconds":null}`: 0,
	} {
		results, err := Decode([]byte(`{"detail-type":"Approval Requested","source":"secbot.approval","detail":` + detail + `}`))
		if err != nil || len(results) != 1 || results[0].Task == nil || results[0].Task.Token != "t" || results[0].Task.Within != within {
			t.Errorf("%s: %+v %v", detail, results, err)
		}
	}
}
