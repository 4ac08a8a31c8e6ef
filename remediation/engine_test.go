package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

func TestAutoFix(t *testing.T) {
	l := newLab(t)
	l.config.Notify.SNSTopicARN = "arn:aws:sns:us-east-1:111122223333:fixes"
	l.doors.set("h", "front", "side")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFixed)
	if got := l.doors.get("h"); !slices.Equal(got, []string{"side"}) {
		t.Errorf("open are %v, want the side door alone", got)
	}
	if got := l.slack.ops(); !slices.Equal(got, []string{remediation.OpMessage, remediation.OpThread}) {
		t.Errorf("Slack was told %v", got)
	}
	if got := l.sns.ops(); !slices.Equal(got, []string{remediation.OpMitigated}) {
		t.Errorf("SNS was told %v", got)
	}
	if inc.Plan == nil || len(inc.Outcomes) != 1 || !slices.Equal(inc.Outcomes[0].RequestIDs, []string{"req-front"}) {
		t.Errorf("plan %+v, outcomes %+v", inc.Plan, inc.Outcomes)
	}
	if len(inc.Calls) != 1 || !slices.Equal(inc.Calls[0].RequestIDs, []string{"req-front"}) {
		t.Errorf("the ledger is %+v", inc.Calls)
	}
}

// The plan and the intent must be in the store when the first call is made.
func TestStoredBeforeActing(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	var seen *remediation.Incident
	l.doors.onCall = func(context.Context) { seen = l.incidents()[0] }
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.one(remediation.StatusFixed)
	if seen == nil || seen.Status != remediation.StatusFixing || seen.Plan == nil || len(seen.Calls) != 1 || len(seen.Outcomes) != 0 {
		t.Errorf("during the call the store held %+v", seen)
	}
}

func TestAskThenFixAndUndo(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side", "back")
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	if got := l.doors.changes(); len(got) != 0 {
		t.Fatalf("an asked finding was changed: %v", got)
	}
	state := inc.State()
	l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbFix, Incident: inc.ID, State: &state, By: "U1"})
	inc = l.one(remediation.StatusFixed)
	if got := l.doors.get("h"); !slices.Equal(got, []string{"back"}) {
		t.Errorf("open are %v", got)
	}
	l.submit(remediation.Command{ID: "c2", Verb: remediation.VerbUndo, Incident: inc.ID, By: "U1"})
	inc = l.one(remediation.StatusUndone)
	if got := l.doors.get("h"); !slices.Equal(got, []string{"side", "back"}) {
		t.Errorf("after the undo open are %v", got)
	}
	// The event that the undo itself causes, and any other of the same change,
	// is let be for a day.
	own := signal("e2", "h", "side")
	own.RequestID = "req-undo"
	l.accept(own, signal("e3", "h", "side"))
	l.one(remediation.StatusUndone)
	l.advance(25 * time.Hour)
	l.accept(signal("e4", "h", "side"))
	l.settled()
	list := l.incidents()
	if len(list) != 2 || list[0].Previous != inc.ID || list[0].Status != remediation.StatusOpen {
		t.Errorf("after a day the change gives %d incidents, the newest %+v", len(list), list[0])
	}
}

func TestOneFixHoweverOften(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front", "side")
	l.start()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			// The same event again and again, and others that tell the same.
			if err := l.engine.Accept(context.Background(), []remediation.Signal{signal("e1", "h", "front"), signal(fmt.Sprint("x", i%3), "h", "front")}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	l.until("all events are through", func() bool { // those that came during the fix wait for its end
		l.advance(100 * time.Millisecond)
		return len(l.jobs(l.clock().Add(30*time.Minute))) == 0
	})
	l.settled()
	if got := l.doors.changes(); !slices.Equal(got, []string{"shut front"}) {
		t.Errorf("the calls were %v", got)
	}
	messages := 0
	for _, op := range l.slack.ops() {
		if op == remediation.OpMessage {
			messages++
		}
	}
	if messages != 1 {
		t.Errorf("%d messages", messages)
	}
}

func TestOneWinnerOfManyClicks(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.config.Responders = []string{"U1", "U2", "U3", "U4", "U5"}
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	state := inc.State()
	var all sync.WaitGroup
	for i := range 5 {
		verb := remediation.VerbFix
		if i%2 == 1 {
			verb = remediation.VerbIgnore
		}
		all.Go(func() {
			who := fmt.Sprint("U", i+1)
			l.submit(remediation.Command{ID: who, Verb: verb, Incident: inc.ID, State: &state, By: who, Reason: "known"})
		})
	}
	all.Wait()
	l.settled()
	inc = l.incidents()[0]
	told := 0
	for _, r := range l.slack.replies(t) {
		if r.Failed {
			told++
		}
	}
	if told != 4 {
		t.Errorf("%d people were told that they came late, want 4; the incident is %s", told, inc.Status)
	}
	if n := len(l.doors.changes()); n > 1 {
		t.Errorf("%d changes", n)
	}
}

func TestRefusals(t *testing.T) {
	wrongState := 7
	for name, c := range map[string]struct {
		cmd  remediation.Command
		want string
	}{
		"a stranger":       {remediation.Command{Verb: remediation.VerbFix, By: "U9"}, "not one of the people"},
		"a stale click":    {remediation.Command{Verb: remediation.VerbFix, By: "U1", State: &wrongState}, "out of date"},
		"an unknown one":   {remediation.Command{Verb: remediation.VerbFix, By: "U1", Incident: "nope"}, "no incident"},
		"no reason":        {remediation.Command{Verb: remediation.VerbIgnore, By: "U1"}, "needs a reason"},
		"undo of an open":  {remediation.Command{Verb: remediation.VerbUndo, By: "U1"}, "already open"},
		"an unknown verb":  {remediation.Command{Verb: "explode", By: "U1"}, "does not know"},
		"a scan of a moon": {remediation.Command{Verb: remediation.VerbScan, By: "U1", Scope: "moon"}, "s3, sg or all"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.doors.set("h", "side")
			l.start()
			l.accept(signal("e1", "h", "side"))
			inc := l.one(remediation.StatusOpen)
			c.cmd.ID = "c"
			if c.cmd.Incident == "" {
				c.cmd.Incident = inc.ID
			}
			l.submit(c.cmd)
			l.one(remediation.StatusOpen)
			replies := l.slack.replies(t)
			if len(replies) != 1 || !replies[0].Failed || !strings.Contains(replies[0].Text, c.want) {
				t.Errorf("replies %+v, want one with %q", replies, c.want)
			}
			if len(l.doors.changes()) != 0 {
				t.Error("something was changed")
			}
		})
	}
}

type directory map[string]error

func (d directory) Member(_ context.Context, group, user string) (bool, error) {
	err, ok := d[group+"/"+user]
	return ok && err == nil, err
}

func TestAuthorise(t *testing.T) {
	dir := directory{"S1/U2": nil, "S1/U3": errors.New("slack is down")}
	l := newLab(t, func(o *remediation.Options) { o.Directory = dir })
	inc := &remediation.Incident{Decision: remediation.Decision{Approvers: []string{"U1", "S1"}}}
	nobody := &remediation.Incident{}
	for name, c := range map[string]struct {
		by  string
		inc *remediation.Incident
		may bool
	}{
		"named":            {"U1", inc, true},
		"in the group":     {"U2", inc, true},
		"Slack is down":    {"U3", inc, false},
		"a stranger":       {"U4", inc, false},
		"empty":            {"", inc, false},
		"the shell":        {"shell:root", inc, true},
		"the default ones": {"U1", nobody, true},
	} {
		if err := l.engine.Authorise(t.Context(), c.by, c.inc); (err == nil) != c.may {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.config.Responders = nil
	var denied *remediation.DeniedError
	if err := l.engine.Authorise(t.Context(), "U1", nobody); !errors.As(err, &denied) || !strings.Contains(err.Error(), "SECBOT_RESPONDERS") {
		t.Errorf("with nobody named: %v", err)
	}
}

func TestFailedThenRetry(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.fail = func(call string) error {
		if call == "shut front" {
			return &smithy.OperationError{ServiceID: "toy", OperationName: "Shut", Err: &smithy.GenericAPIError{Code: "AccessDenied", Fault: smithy.FaultClient}}
		}
		return nil
	}
	stop := l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFailed)
	if !strings.Contains(inc.Error, "toy Shut") || !strings.Contains(inc.Error, "iam-policy") {
		t.Errorf("the error is no help: %s", inc.Error)
	}
	stop()
	l.doors.fail = nil
	l.start()
	state := inc.State()
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbRetry, Incident: inc.ID, State: &state, By: "U1"})
	l.one(remediation.StatusFixed)
	if got := l.doors.get("h"); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

func TestNotFixedWithoutReadBack(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.blind = true
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFailed)
	if !strings.Contains(inc.Error, "does not show it yet") {
		t.Errorf("error %q", inc.Error)
	}
}

// What can't be read is asked about with what the event says, never dropped.
func TestUnreadableIsAsked(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.fail = func(call string) error {
		if strings.HasPrefix(call, "read") {
			return &smithy.GenericAPIError{Code: "AccessDenied", Fault: smithy.FaultClient}
		}
		return nil
	}
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusOpen)
	if inc.Decision.Action != remediation.ActionAsk || !strings.Contains(inc.Finding.Doubt, "AccessDenied") {
		t.Errorf("decision %+v, doubt %q", inc.Decision, inc.Finding.Doubt)
	}
	if len(l.doors.changes()) != 0 {
		t.Error("something was changed")
	}
}

func TestAlreadySafe(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	l.doors.set("h")
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbFix, Incident: inc.ID, By: "U1"})
	l.one(remediation.StatusResolved)
	if len(l.doors.changes()) != 0 {
		t.Error("something was changed")
	}
	// A signal of what is gone already opens nothing.
	l.accept(signal("e2", "h", "front"), signal("e3", "gone", "front"))
	l.one(remediation.StatusResolved)
}

func TestUndoRefusedOnDrift(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFixed)
	l.doors.set("h", "strange")
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbUndo, Incident: inc.ID, By: "U1"})
	inc = l.one(remediation.StatusFixed)
	if !strings.Contains(inc.Error, "strange") {
		t.Errorf("error %q does not show the drift", inc.Error)
	}
	// Nothing was put back, so nothing is allowed either.
	l.doors.set("h", "front")
	l.advance(time.Second)
	l.accept(signal("e2", "h", "front"))
	l.settled()
	if n := len(l.incidents()); n != 2 {
		t.Errorf("%d incidents, want the old one and a new one", n)
	}
}

// TestDriftedUndoIsLookedAt: that an undo was refused does not say that the fix
// holds.
func TestDriftedUndoIsLookedAt(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusFixed)
	l.doors.set("h", "front", "strange")
	l.submit(command("c", remediation.VerbUndo, inc))
	inc = l.one(remediation.StatusFailed)
	if !strings.Contains(inc.Error, "open again") || !strings.Contains(inc.Error, "strange") || strings.Contains(inc.Error, "still holds") {
		t.Errorf("error %q", inc.Error)
	}
	// The refused undo allows nothing.
	if live, err := l.store.Suppressions(t.Context(), l.clock()); err != nil || len(live) != 0 {
		t.Errorf("suppressions %+v, %v", live, err)
	}
	l.doors.set("h", "front")
	l.submit(command("d", remediation.VerbRetry, inc))
	l.one(remediation.StatusFixed)
	if got := l.doors.get("h"); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

func TestIgnoreAndUnignore(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "side")
	l.start()
	l.accept(signal("e1", "h", "side"))
	inc := l.one(remediation.StatusOpen)
	l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbIgnore, Incident: inc.ID, By: "U1", For: time.Hour, Reason: "the partner's"})
	l.one(remediation.StatusIgnored)
	before := len(l.slack.ops())
	l.accept(signal("e2", "h", "side"))
	l.one(remediation.StatusIgnored)
	if after := len(l.slack.ops()); after != before {
		t.Error("an ignored finding was told")
	}
	l.submit(remediation.Command{ID: "c2", Verb: remediation.VerbUnignore, Incident: inc.ID, By: "U1"})
	l.one(remediation.StatusOpen)
	if s, err := l.store.Suppressions(t.Context(), l.clock()); err != nil || len(s) != 0 {
		t.Errorf("suppressions %v, %v", s, err)
	}
}

// One call that opens two things, of which the policy closes one by itself.
func TestPartsAreDecidedApart(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front", "side")
	l.start()
	l.accept(signal("e1", "h", "front", "side"))
	l.settled()
	if got := l.doors.get("h"); !slices.Equal(got, []string{"side"}) {
		t.Errorf("open are %v", got)
	}
	list := l.incidents()
	if len(list) != 2 {
		t.Fatalf("%d incidents, want 2", len(list))
	}
	for _, inc := range list {
		if len(inc.Finding.Rules) != 1 || len(inc.Finding.Rest) != 1 {
			t.Errorf("%s: rules %v, rest %v", inc.Status, inc.Finding.Rules, inc.Finding.Rest)
		}
	}
}

// Whoever puts a change back again and again is not fought for ever.
func TestLoopEndsInAQuestion(t *testing.T) {
	l := newLab(t)
	l.start()
	for i := range 6 {
		l.doors.set("h", "front")
		l.accept(signal(fmt.Sprint("e", i), "h", "front"))
		l.settled()
		l.advance(time.Minute)
	}
	if n := len(l.doors.changes()); n != 3 {
		t.Errorf("%d automatic changes, want 3", n)
	}
	newest := l.incidents()[0]
	if newest.Status != remediation.StatusOpen || !strings.Contains(newest.Decision.Why, "3 times") {
		t.Errorf("the newest incident is %s: %+v", newest.Status, newest.Decision)
	}
}

// A process that dies is followed by one that ends its work.
func TestResumeAfterCrash(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	died := make(chan struct{})
	block := make(chan struct{})
	l.doors.onApply = func() { close(died); <-block }
	ctx, die := context.WithCancel(context.Background())
	go func() { _ = l.engine.Run(ctx) }() // its fix hangs for good: it stands for a dead process
	l.accept(signal("e1", "h", "front"))
	<-died
	die()
	l.advance(time.Minute) // its leases end

	second := newLab(t, func(o *remediation.Options) {
		o.Store, o.Provider, o.Now = l.store, &door{open: l.doors.open}, l.clock
	})
	second.store = l.store
	second.start()
	second.until("the incident is fixed", func() bool {
		list := l.incidents()
		return len(list) == 1 && list[0].Status == remediation.StatusFixed
	})
	close(block)
}

func TestScan(t *testing.T) {
	l := newLab(t)
	for i := range 12 {
		l.doors.set(fmt.Sprint("h", i), "front")
	}
	l.doors.set("safe")
	l.start()
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
	l.settled()
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("a scan changed %d things", n)
	}
	if n := len(l.incidents()); n != 12 {
		t.Errorf("%d incidents, want 12", n)
	}
	count := map[string]int{}
	for _, op := range l.slack.ops() {
		count[op]++
	}
	if count[remediation.OpMessage] != 10 || count[remediation.OpScan] < 1 || count[remediation.OpScan] > 2 || count[remediation.OpReply] != 1 {
		t.Errorf("Slack was told %v", count)
	}
}

func TestScanNamesWhatItCouldNotRead(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	l.doors.fail = func(string) error { return &smithy.GenericAPIError{Code: "AccessDenied"} }
	var failures []error
	read, err := l.engine.Scan(t.Context(), "sg", func(remediation.Finding) { t.Error("found something") }, func(err error) { failures = append(failures, err) })
	if err != nil || read != 0 || len(failures) != 1 {
		t.Errorf("read %d, failures %v, error %v", read, failures, err)
	}
}

func TestOutboxRetries(t *testing.T) {
	l := newLab(t)
	l.doors.set("h", "front")
	tries := 0
	l.slack.fail = func(n remediation.Notice) error {
		tries++
		switch tries {
		case 1:
			return &remediation.RetryError{After: 10 * time.Second, Err: errors.New("rate limited")}
		case 2:
			return errors.New("slack is down")
		}
		return nil
	}
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.until("the fix is made while Slack is away", func() bool {
		list := l.incidents()
		return len(list) == 1 && list[0].Status == remediation.StatusFixed
	})
	l.until("all is told", func() bool {
		time.Sleep(20 * time.Millisecond) // well below a lease, which this clock measures
		l.advance(time.Second)
		return len(l.slack.ops()) == 2
	})
	if got := l.slack.ops(); !slices.Equal(got, []string{remediation.OpMessage, remediation.OpThread}) {
		t.Errorf("told in the order %v", got)
	}
}

func TestStoreDownMeansNotAccepted(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Store = downStore{o.Store} })
	if err := l.engine.Accept(t.Context(), []remediation.Signal{signal("e1", "h", "front")}); err == nil {
		t.Error("an event was accepted that could not be stored")
	}
	if err := l.engine.Submit(t.Context(), remediation.Command{ID: "c"}); err == nil {
		t.Error("a command was accepted that could not be stored")
	}
}

type downStore struct{ remediation.Store }

func (downStore) Commit(context.Context, remediation.Write) error { return errors.New("down") }

// colliding is a store whose writes all meet others.
type colliding struct{ remediation.Store }

func (colliding) Commit(context.Context, remediation.Write) error { return remediation.ErrConflict }

// TestConflictMeansNotAccepted where the row that a write has met is not there.
func TestConflictMeansNotAccepted(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Store = colliding{o.Store} })
	if err := l.engine.Accept(t.Context(), []remediation.Signal{signal("e1", "h", "front")}); err == nil {
		t.Error("an event was accepted that was not stored")
	}
	if err := l.engine.Submit(t.Context(), remediation.Command{ID: "c"}); err == nil {
		t.Error("a command was accepted that was not stored")
	}
}
