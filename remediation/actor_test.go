package remediation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// TestTheActorIsAsked: by the configuration, by an address, or not at all.
func TestTheActorIsAsked(t *testing.T) {
	people := []remediation.Person{{Actor: "arn:aws:iam::*:user/dana", User: "U5"}, {Actor: "*:role/admin", User: "U6"}}
	tests := []struct {
		name string
		a    remediation.Actor
		want remediation.ActorQuestion
	}{
		{"by the configuration", remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana"}, remediation.ActorQuestion{User: "U5"}},
		{"by the role behind the session", remediation.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/admin/x", IssuerARN: "arn:aws:iam::111122223333:role/admin"}, remediation.ActorQuestion{User: "U6"}},
		{"by the session's name", remediation.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_x/eve.o@example.com"}, remediation.ActorQuestion{Email: "eve.o@example.com"}},
		{"of no address", remediation.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/ci/i-0123"}, remediation.ActorQuestion{}},
		{"of nobody", remediation.Actor{}, remediation.ActorQuestion{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.config.People = people
			l.doors.set("h", "front")
			sig := signal("e1", "h", "front")
			sig.Actor = tt.a
			l.accept(sig)
			l.drain()
			got := payloads[remediation.ActorQuestion](t, l, remediation.OpActor)
			switch {
			case tt.want == remediation.ActorQuestion{} && len(got) != 0:
				t.Errorf("asked %+v", got)
			case tt.want != remediation.ActorQuestion{} && !slices.Equal(got, []remediation.ActorQuestion{tt.want, tt.want}):
				t.Errorf("asked %+v, want %+v, and what became of it", got, tt.want)
			}
		})
	}
}

// TestNobodyIsAskedAHundredTimes: what is more than ten an hour nobody reads.
func TestNobodyIsAskedAHundredTimes(t *testing.T) {
	l := newLab(t)
	l.config.Rules = []remediation.PolicyRule{}
	l.config.People = []remediation.Person{{Actor: "*:user/dana", User: "U5"}}
	flood := func(prefix string) {
		for i := range 30 {
			h := fmt.Sprint(prefix, i)
			l.doors.set(h, "side")
			l.accept(signal("e"+h, h, "side"))
		}
		l.drain()
	}
	flood("a")
	if n := l.slack.count(remediation.OpActor); n != 10 {
		t.Errorf("asked %d times within the hour, want 10", n)
	}
	l.advance(61 * time.Minute)
	flood("b")
	if n := l.slack.count(remediation.OpActor); n != 20 {
		t.Errorf("asked %d times within two hours, want 20", n)
	}
}

func claimable(t *testing.T) (*lab, *remediation.Incident) {
	return asked(t, func(c *remediation.Config) {
		c.People = []remediation.Person{{Actor: "*:user/dana", User: "U5"}}
		c.Rules = []remediation.PolicyRule{
			{Match: remediation.Match{Severities: []remediation.Severity{remediation.SeverityCritical}}, Then: remediation.ActionAuto, Channel: "C0SEC", Approvers: []string{"U7"}},
		}
		c.Question = remediation.Question{}
	})
}

// TestItWasMe: the reason is told, and nothing else changes.
func TestItWasMe(t *testing.T) {
	l, inc := claimable(t)
	inc = l.say("c1", remediation.VerbClaim, "U5", inc)
	if inc.Answer == nil || !inc.Answer.Yes || inc.Answer.Reason != "because" || inc.Finding.Severity != remediation.SeverityHigh || inc.Status != remediation.StatusOpen {
		t.Errorf("it is %s, %s, %+v", inc.Status, inc.Finding.Severity, inc.Answer)
	}
	if got := l.threadTexts(); !strings.Contains(got, "says that it was them: because U5") {
		t.Errorf("the thread is\n%s", got)
	}
	inc = l.say("c2", remediation.VerbDisown, "U5", inc)
	if !inc.Answer.Yes || !l.lastReply().Failed {
		t.Error("a second answer takes the place of the first")
	}
	if n := l.slack.count(remediation.OpActor); n != 2 {
		t.Errorf("the direct message was shown %d times, want 2", n)
	}
}

// TestItWasNotMe: the severity is raised, those who decide about such findings are
// told in their channel, and nothing is changed by it, whatever the policy says of
// such findings.
func TestItWasNotMe(t *testing.T) {
	l, inc := claimable(t)
	inc = l.say("c1", remediation.VerbDisown, "U5", inc)
	if inc.Answer == nil || inc.Answer.Yes || inc.Finding.Severity != remediation.SeverityCritical || inc.Finding.Rules[0].Severity != remediation.SeverityCritical {
		t.Errorf("%s, %+v", inc.Finding.Severity, inc.Answer)
	}
	if inc.Status != remediation.StatusOpen || len(l.doors.changes()) != 0 {
		t.Errorf("it is %s, changes %v", inc.Status, l.doors.changes())
	}
	l.slack.mu.Lock()
	channel := ""
	for _, n := range l.slack.got {
		if n.Op == remediation.OpPointer {
			channel = n.Channel
		}
	}
	l.slack.mu.Unlock()
	pointers := payloads[remediation.Pointer](t, l, remediation.OpPointer)
	if len(pointers) != 1 || channel != "C0SEC" || len(pointers[0].People) != 1 || pointers[0].People[0] != "U7" {
		t.Errorf("told in %q: %+v", channel, pointers)
	}
	if text := pointers[0].Text; !strings.Contains(text, "this change of h was not theirs") || !strings.Contains(text, "still stands, as far as secbot knows: it waits for a decision") {
		t.Errorf("the alarm does not say what it is about and how that stands: %q", text)
	}
	inc = l.say("c2", remediation.VerbFix, "U1", inc)
	if inc.Status != remediation.StatusOpen || !l.lastReply().Failed {
		t.Error("who may decide about less than critical findings still decides")
	}
	if inc = l.say("c3", remediation.VerbFix, "U7", inc); inc.Status != remediation.StatusFixed {
		t.Errorf("it is %s", inc.Status)
	}
}

// TestOnlyTheActorAnswers: nobody else, not even a responder; and by address only
// whom Slack knew under it.
func TestOnlyTheActorAnswers(t *testing.T) {
	l, inc := claimable(t)
	for _, by := range []string{"U1", "U7", "U9", "shell:root", ""} {
		if inc = l.say("c"+by, remediation.VerbDisown, by, inc); inc.Answer != nil {
			t.Fatalf("%q answers", by)
		}
	}
	l.config.People = nil
	if inc = l.say("none", remediation.VerbDisown, "U5", inc); inc.Answer != nil {
		t.Error("somebody answers who was never asked")
	}
	rec := &remediation.Record{Key: remediation.ActorRecord(inc.ID), Data: []byte(`{"user":"U5","channel":"D1","ts":"1"}`)}
	if err := l.store.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	if inc = l.say("asked", remediation.VerbDisown, "U5", inc); inc.Answer == nil {
		t.Error("who was asked can't answer")
	}
}
