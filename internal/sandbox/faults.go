package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

// Mishap is what goes wrong with some calls: a line of a script of faults.
type Mishap struct {
	Service string `json:"service"`          // ec2, s3, s3control, sts, config, sns, sqs or slack
	Action  string `json:"action,omitempty"` // DescribeSecurityGroups, chat.postMessage, response_url; empty: every
	Caller  string `json:"caller,omitempty"` // only of callers in whose ARN this is; Slack knows none
	From    int    `json:"from,omitempty"`   // the first such call that it befalls, from 1, which 0 is too
	Count   int    `json:"count,omitempty"`  // how many it befalls; 0: all from there
	Fault   string `json:"fault"`            // one of Faults
	// Seconds are how long slow takes, and what ratelimited asks for; 1 where 0.
	Seconds int `json:"seconds,omitempty"`
}

// hang is longer than anybody waits for an answer.
const hang = time.Minute

// fault is what one kind of mishap does to a call of AWS and to one of Slack;
// nil where there is no such mishap.
type fault struct {
	aws   *fakeaws.Fault
	slack *fakeslack.Fault
}

func faults(service string, wait time.Duration) map[string]fault {
	// The codes of EC2 and S3 are their own.
	throttled, denied := "Throttling", "AccessDenied"
	switch service {
	case "ec2":
		throttled, denied = "RequestLimitExceeded", "UnauthorizedOperation"
	case "s3", "s3control":
		throttled = "SlowDown"
	}
	return map[string]fault{
		"throttled":   {&fakeaws.Fault{Status: 503, Code: throttled, Message: "Rate exceeded"}, nil},
		"broken":      {&fakeaws.Fault{Status: 500, Code: "InternalError", Message: "An internal error has occurred."}, &fakeslack.Fault{Status: 500}},
		"unavailable": {&fakeaws.Fault{Status: 503, Code: "ServiceUnavailable", Message: "The service is unavailable."}, &fakeslack.Fault{Error: "service_unavailable"}},
		"denied":      {&fakeaws.Fault{Status: 403, Code: denied, Message: "You are not authorized to perform this operation."}, &fakeslack.Fault{Error: "not_in_channel"}},
		"ratelimited": {nil, &fakeslack.Fault{RetryAfter: wait}},
		// The connection breaks before the call has its effect, or after it.
		"reset": {&fakeaws.Fault{Drop: true}, &fakeslack.Fault{Drop: true}},
		"lost":  {&fakeaws.Fault{Drop: true, After: true}, &fakeslack.Fault{AfterEffect: true}},
		// No answer comes.
		"timeout": {&fakeaws.Fault{Delay: hang, Drop: true}, &fakeslack.Fault{Delay: hang, Drop: true}},
		"slow":    {&fakeaws.Fault{Delay: wait}, &fakeslack.Fault{Delay: wait}},
		"stale":   {&fakeaws.Fault{Stale: true}, nil},
	}
}

// Faults are the kinds of mishaps that can befall a service, sorted.
func Faults(service string) []string {
	var names []string
	for name, f := range faults(service, 0) {
		if service == slackService && f.slack != nil || service != slackService && f.aws != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const slackService = "slack"

// Script has mishaps befall calls, in the order in which the calls come.
type Script struct {
	mu    sync.Mutex
	lines []*line
}

type line struct {
	Mishap
	fault
	seen int // calls that it is about
}

// NewScript makes a script. The error names the line that can't be played.
func NewScript(mishaps ...Mishap) (*Script, error) {
	s := &Script{}
	for i, m := range mishaps {
		f := faults(m.Service, time.Duration(max(m.Seconds, 1))*time.Second)[m.Fault]
		if !slices.Contains(Faults(m.Service), m.Fault) || m.Service == "" {
			return nil, fmt.Errorf("mishap %d: %q can't befall %q, only %s can", i+1, m.Fault, m.Service, strings.Join(Faults(m.Service), ", "))
		}
		if m.From < 0 || m.Count < 0 || m.Seconds < 0 {
			return nil, fmt.Errorf("mishap %d: a number below 0", i+1)
		}
		s.lines = append(s.lines, &line{Mishap: m, fault: f})
	}
	return s, nil
}

// AWS is for fakeaws.AWS.Fault.
func (s *Script) AWS(c fakeaws.Call) *fakeaws.Fault { return s.next(c.Service, c.Action, c.Caller).aws }

// Slack is for fakeslack.Slack.Fault.
func (s *Script) Slack(c fakeslack.Call) *fakeslack.Fault {
	return s.next(slackService, c.Method, "").slack
}

// next counts a call at each line about it and gives the first line's fault
// whose turn it is.
func (s *Script) next(service, action, caller string) (f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.Service != service || l.Action != "" && l.Action != action || !strings.Contains(caller, l.Caller) {
			continue
		}
		l.seen++
		first := max(l.From, 1)
		if f == (fault{}) && l.seen >= first && (l.Count == 0 || l.seen < first+l.Count) {
			f = l.fault
		}
	}
	return f
}

// Play has a script's mishaps befall the calls from now on, in the place of an
// earlier one's.
func (s *Sandbox) Play(script *Script) {
	s.AWS.Fault(script.AWS)
	s.Slack.Fault(script.Slack)
}

// faults sets a script by HTTP.
func (s *Sandbox) faults(_ context.Context, mishaps []Mishap) (any, error) {
	script, err := NewScript(mishaps...)
	if err != nil {
		return nil, err
	}
	s.Play(script)
	return map[string]any{"mishaps": len(mishaps)}, nil
}
