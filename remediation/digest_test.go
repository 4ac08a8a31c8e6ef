package remediation_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"secbot/remediation"
)

// posted keeps a reference to each incident's message, as Slack's notifier does.
func posted(l *lab) func(remediation.Notice) error {
	return func(n remediation.Notice) error {
		if n.Op != remediation.OpMessage {
			return nil
		}
		if _, err := l.store.Message(l.t.Context(), n.Incident); err == nil {
			return nil
		}
		return l.store.Commit(l.t.Context(), remediation.Write{Message: &remediation.MessageRef{Incident: n.Incident, Channel: "C1", TS: n.ID}})
	}
}

func (l *lab) digests() (all []remediation.Digest) {
	l.slack.mu.Lock()
	defer l.slack.mu.Unlock()
	for _, n := range l.slack.got {
		if n.Op == remediation.OpDigest {
			var d remediation.Digest
			if err := json.Unmarshal(n.Payload, &d); err != nil {
				l.t.Error(err)
			}
			all = append(all, d)
		}
	}
	return all
}

// TestDigest: over so many new messages a minute the rest becomes one, and an
// incident in it is told once somebody decides about it.
func TestDigest(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Breaker, l.config.Rules = 5, remediation.Breaker{}, []remediation.PolicyRule{}
	l.slack.fail = posted(l)
	l.start()
	l.flood("a", 30, nil)
	if n := l.slack.count(remediation.OpMessage); n != 5 {
		t.Fatalf("%d messages of 30 incidents, want 5", n)
	}
	l.advance(time.Minute)
	l.until("the digest is out", func() bool { return len(l.digests()) == 1 })
	d := l.digests()[0]
	if d.Count != 25 || len(d.Lines) != 1 || d.Lines[0] != (remediation.DigestLine{Playbook: "toy", Severity: remediation.SeverityHigh, Status: remediation.StatusOpen, Count: 25}) || len(d.Worst) != 10 {
		t.Errorf("digest %+v", d)
	}
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbFix, Incident: d.Worst[0].Incident, By: "U1"})
	l.settledSoon()
	if _, err := l.store.Message(t.Context(), d.Worst[0].Incident); err != nil {
		t.Errorf("the decided incident's message: %v", err)
	}
	l.flood("b", 3, nil)
	if n := len(l.digests()); n != 1 {
		t.Errorf("%d digests, though the next minute is quiet", n)
	}
}

// TestCriticalIsNoDigest up to what Slack takes.
func TestCriticalIsNoDigest(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Breaker = 2, remediation.Breaker{}
	l.slack.fail = posted(l)
	for i := range 40 {
		inc := &remediation.Incident{ID: fmt.Sprint("i", i), Key: fmt.Sprint("k", i), Status: remediation.StatusOpen, CreatedAt: l.clock(),
			Finding: remediation.Finding{Playbook: "toy", Resource: ref("h"), Severity: remediation.SeverityCritical}}
		n := &remediation.Notice{ID: inc.ID + "/1", Incident: inc.ID, Seq: 1, To: remediation.NotifySlack, Op: remediation.OpMessage, Due: l.clock(), CreatedAt: l.clock()}
		if err := l.store.Commit(t.Context(), remediation.Write{Incident: inc, Notices: []*remediation.Notice{n}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.slack.count(remediation.OpMessage); n != 30 {
		t.Errorf("%d messages, want 30", n)
	}
	l.advance(time.Minute)
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := l.digests(); len(d) != 1 || d[0].Count != 10 {
		t.Errorf("digests %+v", d)
	}
}

// TestDigestsCountOnce: an attempt that failed and is made again takes no second
// place.
func TestDigestsCountOnce(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Rules = 2, []remediation.PolicyRule{}
	tries := 0
	deliver := posted(l)
	l.slack.fail = func(n remediation.Notice) error {
		if tries++; tries <= 6 {
			return fmt.Errorf("slack is down")
		}
		return deliver(n)
	}
	l.start()
	l.doors.set("a0", "front")
	l.doors.set("a1", "front")
	l.accept(signal("e0", "a0", "front"), signal("e1", "a1", "front"))
	l.until("both are told", func() bool {
		l.advance(time.Second)
		return l.slack.count(remediation.OpMessage) == 2
	})
	if n := len(l.digests()); n != 0 {
		t.Errorf("%d digests", n)
	}
}
