package remediation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

const ownRoleARN = "arn:aws:iam::111122223333:role/secbot"

// ownIdentity is secbot in Lambda.
func ownIdentity(context.Context) (remediation.Identity, error) {
	return remediation.Identity{Account: toyAccount, ARN: "arn:aws:sts::111122223333:assumed-role/secbot/events", RoleARN: ownRoleARN}, nil
}

func ownActor() remediation.Actor {
	return remediation.Actor{Type: "AssumedRole", ARN: "arn:aws:sts::111122223333:assumed-role/secbot/events", IssuerARN: ownRoleARN, Account: toyAccount}
}

// TestWhoseChange: after secbot has shut the front door of h, an event tells
// that the side door, which is open, was opened.
func TestWhoseChange(t *testing.T) {
	actor := func(change func(*remediation.Actor)) remediation.Actor {
		a := ownActor()
		change(&a)
		return a
	}
	for name, c := range map[string]struct {
		house string
		id    string // the call's request id
		by    remediation.Actor
		lost  bool // the answer to secbot's own call was lost
		late  time.Duration
		own   bool // nothing comes of it
		alarm bool
	}{
		"a known request id, on whatever resource": {house: "other", id: "req-front", by: remediation.Actor{ARN: "x"}, own: true},
		"an unknown one by somebody else":          {house: "h", id: "req-2", by: remediation.Actor{ARN: "x"}},
		"the own role, after its answer was lost":  {house: "h", id: "req-2", by: ownActor(), lost: true, own: true},
		"the own role, long after":                 {house: "h", id: "req-2", by: ownActor(), lost: true, late: time.Hour, alarm: true},
		"the own role on another resource":         {house: "other", id: "req-2", by: ownActor(), lost: true, alarm: true},
		"the own role, which got all its answers":  {house: "h", id: "req-2", by: ownActor(), alarm: true},
		"the own role without a request id":        {house: "h", by: ownActor(), alarm: true},
		"a role whose session bears secbot's name": {house: "h", id: "req-2", lost: true, by: actor(func(a *remediation.Actor) {
			a.IssuerARN, a.ARN = "arn:aws:iam::111122223333:role/dev", "arn:aws:sts::111122223333:assumed-role/dev/secbot"
		})},
		"a role that begins with secbot's": {house: "h", id: "req-2", lost: true, by: actor(func(a *remediation.Actor) { a.IssuerARN += "-admin" })},
		"secbot's user agent":              {house: "h", id: "req-2", lost: true, by: remediation.Actor{ARN: "x", UserAgent: "secbot"}},
		"secbot's role of another account": {house: "h", id: "req-2", lost: true, by: actor(func(a *remediation.Actor) { a.Account = "444455556666" })},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(o *remediation.Options) { o.Self = ownIdentity })
			l.doors.set("h", "front")
			if c.lost {
				l.doors.onCall = func(ctx context.Context) { remediation.RecordRequestID(ctx, "") }
			}
			l.start()
			l.accept(signal("e1", "h", "front"))
			l.one(remediation.StatusFixed)
			l.doors.set("h", "side")
			l.doors.set("other", "side")
			l.advance(c.late)
			sig := signal("e2", c.house, "side")
			sig.Actor, sig.RequestID, sig.At = c.by, c.id, l.clock()
			l.accept(sig)
			l.settled()
			var opened, alarms int
			for _, inc := range l.incidents() {
				switch {
				case inc.Finding.Playbook == remediation.OwnRolePlaybook:
					alarms++
					if inc.Finding.Severity != remediation.SeverityCritical || inc.Decision.Action != remediation.ActionNotify {
						t.Errorf("the alarm is %+v, %+v", inc.Finding, inc.Decision)
					}
				case inc.Status == remediation.StatusOpen:
					opened++
				}
			}
			if own := opened == 0; own != c.own {
				t.Errorf("%d incidents of the change, own: want %v", opened, c.own)
			}
			if (alarms == 1) != c.alarm || alarms > 1 {
				t.Errorf("%d alarms, want one: %v", alarms, c.alarm)
			}
		})
	}
}

// TestOwnUserIsNoAlarm: a person's own credentials are used by people too.
func TestOwnUserIsNoAlarm(t *testing.T) {
	const user = "arn:aws:iam::111122223333:user/ann"
	l := newLab(t, func(o *remediation.Options) {
		o.Self = func(context.Context) (remediation.Identity, error) {
			return remediation.Identity{Account: toyAccount, ARN: user}, nil
		}
	})
	l.doors.set("h", "side")
	l.start()
	sig := signal("e1", "h", "side")
	sig.Actor, sig.At = remediation.Actor{ARN: user, Account: toyAccount}, l.clock()
	l.accept(sig)
	l.one(remediation.StatusOpen)
}

// TestNoFixForWhatIsIrreversible: whatever the policy says, people are told.
func TestNoFixForWhatIsIrreversible(t *testing.T) {
	c := remediation.DefaultConfig()
	c.Rules = []remediation.PolicyRule{{Then: remediation.ActionAuto}}
	for _, part := range c.Decide(remediation.Finding{Irreversible: "nobody knows what it was", Rules: []remediation.Rule{toyRule("front"), toyRule("side")}}) {
		if part.Decision.Action != remediation.ActionNotify || part.Decision.Why != "nobody knows what it was" {
			t.Errorf("decision %+v", part.Decision)
		}
	}
}

// lateLedger finds a call's record only when it is looked for again: the call's
// answer is stored between two reads of one judgement.
type lateLedger struct {
	remediation.Store
	missed bool
}

func (s *lateLedger) Record(ctx context.Context, key string) (*remediation.Record, error) {
	if strings.HasPrefix(key, "call/") && !s.missed {
		s.missed = true
		return nil, remediation.ErrNotFound
	}
	return s.Store.Record(ctx, key)
}

// TestOwnCallThatIsJustStored is no stranger's.
func TestOwnCallThatIsJustStored(t *testing.T) {
	s := &lateLedger{missed: true}
	l := newLab(t, func(o *remediation.Options) { s.Store, o.Store, o.Self = o.Store, s, ownIdentity })
	l.doors.set("h", "front")
	l.accept(signal("e1", "h", "front"))
	l.drain()
	sig := signal("e2", "h", "side")
	sig.RequestID, sig.Actor, sig.At = "req-front", ownActor(), l.clock()
	s.missed = false
	l.accept(sig)
	l.drain()
	if !s.missed {
		t.Fatal("the ledger was not asked")
	}
	l.one(remediation.StatusFixed) // and there is no alarm
}
