package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"secbot/internal/sandbox/fakeslack"
)

// metric reads the sum of a metric's series that have all these labels.
func (s *instance) metric(name string, labels ...string) float64 {
	s.t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("metrics: %s %v\n%s", resp.Status, err, body)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(string(body), -1) {
		if slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(m[1], l) }) {
			continue
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// TestOperations: one event shows in every metric that it touches, and its id
// leads through the log from the event to the message.
func TestOperations(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	if err := w.Authorize(t.Context(), 22, "0.0.0.0/0", "for a minute"); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	event := sb.LastEvent("AuthorizeSecurityGroupIngress")
	if status := s.post(event, "bearer"); status/100 != 2 {
		t.Fatalf("the event: %d", status)
	}
	s.messageSays(sb, "Undo Fix")
	s.eventually(func() error {
		if n := s.metric("secbot_notices_total", `result="sent"`); n < 2 {
			return fmt.Errorf("%v notices are counted as sent", n)
		}
		return nil
	})
	for name, want := range map[string][]string{
		"secbot_signals_total":                     {`kind="AuthorizeSecurityGroupIngress"`},
		"secbot_findings_total":                    {`playbook="sg-rule-added"`, `action="auto"`},
		"secbot_outcomes_total":                    {`status="fixed"`},
		"secbot_event_to_mitigated_seconds_count":  {`playbook="sg-rule-added"`},
		"secbot_aws_calls_total":                   {`service="EC2"`, `operation="RevokeSecurityGroupIngress"`, `result="ok"`},
		"secbot_slack_calls_total":                 {`method="chat.postMessage"`, `result="ok"`},
		"secbot_store_up":                          nil,
		"secbot_event_to_mitigated_seconds_bucket": {`le="+Inf"`},
	} {
		if got := s.metric(name, want...); got < 1 {
			t.Errorf("%s%v is %v", name, want, got)
		}
	}
	if late := s.metric("secbot_job_late_seconds"); late > 5 {
		t.Errorf("work is late by %v s, with nothing to do", late)
	}
	s.stop()
	s.followed(event)
}

// followed checks that one id leads through the log, and that it is JSON.
func (s *instance) followed(event []byte) {
	s.t.Helper()
	var sent struct {
		Detail struct {
			EventID string `json:"eventID"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(event, &sent); err != nil {
		s.t.Fatal(err)
	}
	var said []string
	incident := ""
	for line := range strings.Lines(s.log.String()) {
		var entry struct{ Msg, Event, Incident, Op string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			s.t.Errorf("not JSON: %s", line)
		}
		if !strings.HasPrefix(entry.Event, sent.Detail.EventID) {
			continue
		}
		said = append(said, strings.TrimSpace(entry.Msg+" "+entry.Op))
		if entry.Incident != "" && incident != "" && entry.Incident != incident {
			s.t.Errorf("two incidents: %s", line)
		}
		incident = entry.Incident
	}
	want := []string{"event accepted", "incident open", "incident fixing", "incident planned", "incident fixed", "notice sent message"}
	for i := 0; len(want) > 0 && i < len(said); i++ {
		if said[i] == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		s.t.Errorf("the log of event %s lacks %q, in this order: %q", sent.Detail.EventID, want, said)
	}
}

// TestFailedCallsAreCounted by what went wrong.
func TestFailedCallsAreCounted(t *testing.T) {
	sb, _ := startSandbox(t)
	onEmulators(t, sb)
	t.Setenv("SLACK_BOT_TOKEN", "xoxb-wrong")
	t.Setenv("SECBOT_RESPONDERS", fakeslack.GroupResponders)
	s := startServer(t)
	if status, err := s.get("/readyz"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %v", status, err)
	}
	if n := s.metric("secbot_slack_calls_total", `method="auth.test"`, `result="refused"`); n < 1 {
		t.Errorf("a wrong token is counted %v times", n)
	}
}
