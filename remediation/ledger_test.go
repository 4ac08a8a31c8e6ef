package remediation_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
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

// staleFor is so long ago that an event's claim is not waited for, and that
// clocks may differ by it.
const staleFor = 40 * time.Second

// TestWhoseChange: after secbot has shut the front door of h, an event tells
// that a door was shut or opened.
func TestWhoseChange(t *testing.T) {
	actor := func(change func(*remediation.Actor)) remediation.Actor {
		a := ownActor()
		change(&a)
		return a
	}
	for name, c := range map[string]struct {
		house, id  string // the call's request id
		kind, door string // what the event says: ShutDoor and front, as secbot did, where empty
		by         remediation.Actor
		lost       bool // the answer to secbot's own call was lost
		late       time.Duration
		opened     int // incidents of the change
		alarm      bool
	}{
		"a known request id, on whatever resource": {house: "other", kind: "OpenDoor", door: "side", id: "req-front", by: remediation.Actor{ARN: "x"}},
		"an unknown one by somebody else":          {house: "h", kind: "OpenDoor", door: "side", id: "req-2", by: remediation.Actor{ARN: "x"}, opened: 1},
		"the own role, after its answer was lost":  {house: "h", id: "req-2", by: ownActor(), lost: true},
		"the own role, long after":                 {house: "h", id: "req-2", by: ownActor(), lost: true, late: time.Hour, alarm: true},
		"the own role on another resource":         {house: "other", id: "req-2", by: ownActor(), lost: true, alarm: true},
		"the own role by another call":             {house: "h", kind: "OpenDoor", id: "req-2", by: ownActor(), lost: true, alarm: true},
		"the own role with other parameters":       {house: "h", door: "side", id: "req-2", by: ownActor(), lost: true, opened: 1, alarm: true},
		"the own role by an unreadable event":      {house: "h", door: "?", id: "req-2", by: ownActor(), lost: true, alarm: true},
		"the own role, which got all its answers":  {house: "h", id: "req-2", by: ownActor(), alarm: true},
		"the own role without a request id":        {house: "h", by: ownActor(), alarm: true},
		"a role whose session bears secbot's name": {house: "h", door: "side", id: "req-2", lost: true, opened: 1, by: actor(func(a *remediation.Actor) {
			a.IssuerARN, a.ARN = "arn:aws:iam::111122223333:role/dev", "arn:aws:sts::111122223333:assumed-role/dev/secbot"
		})},
		"a role that begins with secbot's": {house: "h", door: "side", id: "req-2", lost: true, opened: 1, by: actor(func(a *remediation.Actor) { a.IssuerARN += "-admin" })},
		"secbot's user agent":              {house: "h", door: "side", id: "req-2", lost: true, opened: 1, by: remediation.Actor{ARN: "x", UserAgent: "secbot"}},
		"secbot's role of another account": {house: "h", door: "side", id: "req-2", lost: true, opened: 1, by: actor(func(a *remediation.Actor) { a.Account = "444455556666" })},
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
			sig := signal("e2", c.house, cmp.Or(c.door, "front"))
			sig.Kind, sig.Actor, sig.RequestID, sig.At = cmp.Or(c.kind, "ShutDoor"), c.by, c.id, l.clock().Add(-staleFor)
			if c.door == "?" {
				sig.Change = remediation.Change{Rules: []remediation.Rule{toyRule("front")}, Unread: "one rule can't be read"}
			}
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
			if opened != c.opened {
				t.Errorf("%d incidents of the change, want %d", opened, c.opened)
			}
			if (alarms == 1) != c.alarm || alarms > 1 {
				t.Errorf("%d alarms, want one: %v", alarms, c.alarm)
			}
		})
	}
}

// alarms counts the incidents of calls with secbot's own role.
func (l *lab) alarms() (n int) {
	l.t.Helper()
	for _, inc := range l.incidents() {
		if inc.Finding.Playbook == remediation.OwnRolePlaybook {
			n++
		}
	}
	return n
}

// ownCall accepts an event of a call with secbot's own role.
func (l *lab) ownCall(id, kind, house string, doors ...string) {
	l.t.Helper()
	sig := signal(id, house, doors...)
	sig.Kind, sig.Actor, sig.At = kind, ownActor(), l.clock().Add(-staleFor)
	l.accept(sig)
}

// TestThiefWhileAFixIsUnderWay: what is going on excuses nothing but the very
// call that is being made.
func TestThiefWhileAFixIsUnderWay(t *testing.T) {
	for name, c := range map[string]struct {
		kind, house, door string
		alarms            int
	}{
		"the call itself":  {"ShutDoor", "h", "front", 0},
		"another resource": {"ShutDoor", "other", "front", 1},
		"another call":     {"OpenDoor", "h", "front", 1},
		"another door":     {"ShutDoor", "h", "back", 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(o *remediation.Options) { o.Self = ownIdentity })
			l.doors.set("h", "front")
			l.doors.set("other")
			l.doors.onCall = func(context.Context) {
				l.ownCall("e2", c.kind, c.house, c.door)
				l.until("the event is judged", func() bool {
					job, err := l.store.Job(t.Context(), "signal/e2")
					return err == nil && job.Done || l.alarms() > 0
				})
			}
			l.start()
			l.accept(signal("e1", "h", "front"))
			l.until("the door is shut", func() bool {
				fixed := func(inc *remediation.Incident) bool { return inc.Status == remediation.StatusFixed }
				return slices.ContainsFunc(l.incidents(), fixed)
			})
			if n := l.alarms(); n != c.alarms {
				t.Errorf("%d alarms, want %d", n, c.alarms)
			}
		})
	}
}

// TestLostUndo: the calls of an undo are known by what they ask for, too.
func TestLostUndo(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Self = ownIdentity })
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFixed)
	l.doors.onCall = func(ctx context.Context) { remediation.RecordRequestID(ctx, "") }
	l.submit(command("c", remediation.VerbUndo, inc))
	l.one(remediation.StatusUndone)
	l.ownCall("e2", "OpenDoor", "h", "front")
	l.settled()
	if n := l.alarms(); n != 0 {
		t.Errorf("%d alarms of secbot's own undo", n)
	}
	l.ownCall("e3", "OpenDoor", "h", "side")
	l.settled()
	if n := l.alarms(); n != 1 {
		t.Errorf("%d alarms, want one of the door that the undo was not about", n)
	}
}

// TestNoIntentWithoutACall: a step that ended before its call was sent excuses
// nothing.
func TestNoIntentWithoutACall(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Self = ownIdentity })
	l.doors.set("h", "front")
	l.doors.stop = func() error { return errors.New("no credentials") }
	l.start()
	l.accept(signal("e1", "h", "front"))
	if inc := l.one(remediation.StatusFailed); len(inc.Calls) != 0 {
		t.Errorf("the ledger is %+v", inc.Calls)
	}
	l.ownCall("e2", "ShutDoor", "h", "front")
	l.settled()
	if n := l.alarms(); n != 1 {
		t.Errorf("%d alarms, want one", n)
	}
}

// refusing is a store that keeps no ledger.
type refusing struct{ remediation.Store }

func (s refusing) Commit(ctx context.Context, w remediation.Write) error {
	if w.Incident != nil && len(w.Incident.Calls) > 0 {
		return errors.New("down")
	}
	return s.Store.Commit(ctx, w)
}

// TestNoCallBeforeItsIntentIsStored: what can't be stored is not called.
func TestNoCallBeforeItsIntentIsStored(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Store = refusing{o.Store} })
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.until("the fix was tried", func() bool {
		return slices.ContainsFunc(l.jobs(l.clock().Add(time.Hour)), func(j *remediation.Job) bool { return j.Kind == "fix" && j.Error != "" })
	})
	if got := l.doors.changes(); len(got) != 0 {
		t.Errorf("called without a word in the store: %v", got)
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

func (s *lateLedger) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	found, err := s.Store.Records(ctx, keys...)
	for key := range found {
		if strings.HasPrefix(key, "call/") && !s.missed {
			s.missed = true
			delete(found, key)
		}
	}
	return found, err
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
