package bot

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// gate is the world of these tests: one security group with SSH open or not,
// its reader, its playbook and the provider of both.
type gate struct {
	mu   sync.Mutex
	open bool
}

type gateState struct{ R remediation.Ref }

func (s gateState) Ref() remediation.Ref { return s.R }

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *gate) Environment(_ context.Context, account, region string) (*remediation.Environment, error) {
	return &remediation.Environment{Account: account, Region: region,
		Readers:   map[remediation.Kind]remediation.Reader{remediation.KindSecurityGroup: g},
		Playbooks: []remediation.Playbook{g}}, nil
}

func (g *gate) List(context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) { yield(finding().Resource, nil) }
}

func (g *gate) Read(_ context.Context, r remediation.Ref) (remediation.State, error) {
	return gateState{r}, nil
}

func (g *gate) Meta() remediation.Meta {
	m := metas()[0]
	m.Handles = []string{"AuthorizeSecurityGroupIngress"}
	return m
}

func (g *gate) Claim(remediation.Signal) []remediation.Finding { return nil }

func (g *gate) Judge(s remediation.State, sig *remediation.Signal) []remediation.Finding {
	if !g.isOpen() {
		return nil
	}
	f := finding()
	if sig != nil {
		f.EventID = sig.EventID
	}
	return []remediation.Finding{f}
}

func (g *gate) Plan(s remediation.State, f remediation.Finding) (remediation.Plan, error) {
	if !g.isOpen() {
		return remediation.Plan{}, remediation.ErrNothingToDo
	}
	before, err := json.Marshal(s)
	return remediation.Plan{Playbook: f.Playbook, Finding: f, Before: before,
		Steps: []remediation.Step{{Action: "ec2:RevokeSecurityGroupIngress", Resource: f.Resource, Summary: "revoke"}},
		Diff:  []remediation.DiffLine{{Op: "-", Text: f.Rules[0].String()}}}, err
}

func (g *gate) Apply(context.Context, remediation.Step) (remediation.Outcome, error) {
	g.set(false)
	return remediation.Outcome{}, nil
}

func (g *gate) Verify(context.Context, remediation.Plan, []remediation.Outcome) error {
	if g.isOpen() {
		return remediation.ErrNotVerified
	}
	return nil
}

func (g *gate) Undo(context.Context, remediation.Plan, []remediation.Outcome) error {
	g.set(true)
	return nil
}

// live is a rig whose handler and notifier are those of a running engine.
type live struct {
	*rig
	gate    *gate
	changed chan struct{}
}

func newLive(t *testing.T, then remediation.Action, change ...func(*remediation.Config)) *live {
	t.Helper()
	l := &live{rig: newRig(t), gate: &gate{open: true}, changed: make(chan struct{}, 1)}
	l.notifier.Now = nil
	t.Cleanup(l.slack.Subscribe(func(fakeslack.Change) {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}))
	config := &remediation.Config{Mode: remediation.ModeAuto, Channel: "#security", Responders: []string{fakeslack.GroupResponders},
		Rules: []remediation.PolicyRule{{Name: "all", Then: then}}}
	for _, f := range change {
		f(config)
	}
	engine := remediation.New(remediation.Options{
		Store: l.store, Provider: l.gate, Directory: NewDirectory(l.handler.Client, time.Now),
		Notifiers: map[string]remediation.Notifier{remediation.NotifySlack: l.notifier},
		Config:    config,
	})
	l.handler.Engine = engine
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = engine.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	sig := remediation.Signal{EventID: "e-1", Kind: "AuthorizeSecurityGroupIngress", Resource: finding().Resource, At: time.Now(), Playbooks: []string{"sg-rule-added"}}
	if err := engine.Accept(ctx, []remediation.Signal{sig}); err != nil {
		t.Fatal(err)
	}
	return l
}

// wait waits until ok holds, looking again after each change in Slack.
func (l *live) wait(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-l.changed:
		case <-deadline:
			var texts []string
			for _, m := range l.slack.Messages("#security") {
				texts = append(texts, m.Text+"\n  "+string(m.Blocks))
			}
			l.t.Fatalf("waited in vain for: %s\n%s", what, strings.Join(texts, "\n"))
		}
	}
}

// shows waits until the one message says text, and gives it.
func (l *live) shows(text string) fakeslack.Message {
	l.t.Helper()
	var m fakeslack.Message
	l.wait("the message says "+text, func() bool {
		for _, m = range l.slack.Messages("#security") {
			if m.ThreadTS == "" && strings.Contains(m.Text+string(m.Blocks), text) {
				return true
			}
		}
		return false
	})
	return m
}

func (l *live) click(user string, m fakeslack.Message, button string) {
	l.t.Helper()
	if _, err := l.slack.Click(l.t.Context(), user, m.Channel, m.TS, button); err != nil {
		l.t.Fatal(err)
	}
}

// told waits until a user is told text.
func (l *live) told(user, text string) {
	l.t.Helper()
	l.wait(user+" is told "+text, func() bool {
		for _, m := range l.slack.Ephemerals(user) {
			if strings.Contains(m.Text, text) {
				return true
			}
		}
		return false
	})
}

func TestAutoFixUndone(t *testing.T) {
	l := newLive(t, remediation.ActionAuto)
	m := l.shows("Closed automatically")
	if l.gate.isOpen() {
		t.Fatal("it is still open")
	}
	l.click(fakeslack.Mallory, m, "undo")
	l.told(fakeslack.Mallory, "You are not one of the people")
	l.click(fakeslack.Alice, m, "undo")
	l.shows("the fix was taken back at the request of <@" + fakeslack.Alice + ">")
	if !l.gate.isOpen() {
		t.Fatal("it was not put back")
	}
	l.wait("both diffs in the thread", func() bool { return len(l.slack.Thread(m.Channel, m.TS)) == 3 })
}

func TestAskedThenReverted(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	if b := m.Buttons(); len(b) != 5 || b[0].Text != "Revert Change" || b[1].Text != "Allow for 2 h" || b[2].Text != "Ignore…" {
		t.Fatalf("buttons: %+v", b)
	}
	l.click(fakeslack.Bob, m, "fix")
	l.shows("Reverted* at the request of <@" + fakeslack.Bob + ">")
	if l.gate.isOpen() {
		t.Fatal("it is still open")
	}
	if _, err := l.slack.ClickStale(t.Context(), fakeslack.Alice, m, "fix"); err != nil {
		t.Fatal(err)
	}
	l.told(fakeslack.Alice, "out of date")
}

func TestIgnoredAndTakenBack(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	l.click(fakeslack.Mallory, m, "ignore")
	l.told(fakeslack.Mallory, "You are not one of the people")
	l.click(fakeslack.Alice, m, "ignore")
	v := l.slack.Views(fakeslack.Alice)[0]
	if _, err := l.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"duration": {"1h"}, "reason": {"meant so"}}); err != nil {
		t.Fatal(err)
	}
	m = l.shows("Reason: meant so")
	if !strings.Contains(string(m.Blocks), "until ") {
		t.Errorf("it does not say until when: %s", m.Blocks)
	}
	l.click(fakeslack.Alice, m, "unignore")
	l.shows("took the ignore back")
	if !l.gate.isOpen() {
		t.Error("something was changed")
	}
}

func TestCommandsReachTheEngine(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	id := m.Buttons()[0].Value
	cmd := func(text string) {
		t.Helper()
		if _, err := l.slack.Command(t.Context(), fakeslack.Alice, m.Channel, "/secbot", text); err != nil {
			t.Fatal(err)
		}
	}
	cmd("scan sg")
	l.shows("Scan finished: 1 open, 1 resource read")
	l.told(fakeslack.Alice, "1 open: the scan has read 1 resource")
	cmd("fix " + short(id))
	l.told(fakeslack.Alice, "On it: revert the change of `web`")
	l.told(fakeslack.Alice, "Done: sg-0abc is fixed")
	cmd("undo " + id)
	l.told(fakeslack.Alice, "Done: sg-0abc is as it was")
	l.shows("the fix was taken back")
}

func TestAllowedThenRevertedEarly(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	l.click(fakeslack.Alice, l.shows("It waits for a decision"), "allow_temporarily")
	m := l.shows("Then secbot reverts it by itself")
	if !l.gate.isOpen() {
		t.Fatal("it was closed at once")
	}
	l.click(fakeslack.Bob, m, "fix")
	l.shows("Reverted* at the request of <@" + fakeslack.Bob + ">")
	if l.gate.isOpen() {
		t.Error("it is still open")
	}
}

func TestApprovedByTwo(t *testing.T) {
	l := newLive(t, remediation.ActionAsk, func(c *remediation.Config) { c.Rules[0].Approvals = 2 })
	l.click(fakeslack.Alice, l.shows("It waits for a decision"), "fix")
	m := l.shows("asks to revert this change")
	l.click(fakeslack.Alice, m, "approve")
	l.told(fakeslack.Alice, "others have to approve it")
	l.click(fakeslack.Mallory, m, "approve")
	l.told(fakeslack.Mallory, "You are not one of the people")
	l.click(fakeslack.Bob, m, "approve")
	m = l.shows("It has 1 of 2 approvals of others, by <@" + fakeslack.Bob + ">")
	if !l.gate.isOpen() {
		t.Fatal("one approval was enough")
	}
	l.click(fakeslack.Carol, m, "approve")
	l.shows("approved by <@" + fakeslack.Bob + ">, <@" + fakeslack.Carol + ">, and read back")
	if l.gate.isOpen() {
		t.Error("it is still open")
	}
}

func TestDeclined(t *testing.T) {
	l := newLive(t, remediation.ActionAsk, func(c *remediation.Config) { c.Rules[0].Approvals = 1 })
	l.click(fakeslack.Alice, l.shows("It waits for a decision"), "fix")
	old := l.shows("asks to revert this change")
	l.click(fakeslack.Bob, old, "decline")
	l.shows("It waits for a decision")
	if _, err := l.slack.ClickStale(t.Context(), fakeslack.Carol, old, "approve"); err != nil {
		t.Fatal(err)
	}
	l.told(fakeslack.Carol, "out of date")
	if !l.gate.isOpen() {
		t.Error("what was declined was done")
	}
}

func TestUndoneIsAskedAboutAgain(t *testing.T) {
	l := newLive(t, remediation.ActionAuto)
	l.click(fakeslack.Alice, l.shows("Closed automatically"), "undo")
	m := l.shows("It is open again:")
	l.click(fakeslack.Alice, m, "unignore")
	again := l.shows("It waits for a decision")
	if again.TS == m.TS {
		t.Fatal("the question took the place of the message that it is about")
	}
	l.shows("That the same change is let be is over")
	if _, err := l.slack.ClickStale(t.Context(), fakeslack.Alice, m, "unignore"); err != nil {
		t.Fatal(err)
	}
	l.told(fakeslack.Alice, "It is asked about already")
	l.click(fakeslack.Alice, again, "fix")
	l.shows("Reverted* at the request of")
	if l.gate.isOpen() {
		t.Error("it is still open")
	}
}

// dana has the finding's actor asked.
func dana(c *remediation.Config) {
	c.People = []remediation.Person{{Actor: "*:user/dana", User: fakeslack.Dana}}
}

// asked waits for the direct message to Dana.
func (l *live) asked(text string) fakeslack.Message {
	l.t.Helper()
	var m fakeslack.Message
	l.wait("Dana is asked "+text, func() bool {
		for _, m = range l.slack.Messages(fakeslack.DirectID(fakeslack.Dana)) {
			if strings.Contains(m.Text+string(m.Blocks), text) {
				return true
			}
		}
		return false
	})
	return m
}

func TestTheActorSaysYes(t *testing.T) {
	l := newLive(t, remediation.ActionAsk, dana)
	m := l.asked("Was this you?")
	l.click(fakeslack.Dana, m, "actor_yes")
	v := l.slack.Views(fakeslack.Dana)[0]
	if sub, err := l.slack.SubmitView(t.Context(), fakeslack.Dana, v.ID, url.Values{"reason": {" "}}); err != nil || sub.Errors["reason"] == "" {
		t.Fatalf("a blank reason: %+v %v", sub, err)
	}
	if _, err := l.slack.SubmitView(t.Context(), fakeslack.Dana, v.ID, url.Values{"reason": {"for the <!channel> vendor"}}); err != nil {
		t.Fatal(err)
	}
	l.shows("says that it was them: for the &lt;!channel&gt; vendor")
	if m := l.asked("You said that it was you"); len(m.Buttons()) != 0 {
		t.Errorf("there is still something to answer: %+v", m.Buttons())
	}
}

func TestTheActorSaysNo(t *testing.T) {
	l := newLive(t, remediation.ActionAsk, dana)
	l.click(fakeslack.Dana, l.asked("Was this you?"), "actor_no")
	l.shows("It was not them:*")
	l.shows("It was not the person whose access was used")
	l.shows("*Severity*\\nCritical")
	l.asked("You said that it was not you")
}

// TestTheActorIsFoundByAddress, or not at all; and asked once, also where the
// answer of the first attempt got lost.
func TestTheActorIsFoundByAddress(t *testing.T) {
	r := newRig(t)
	r.save(incident(opened()))
	for _, attempt := range []int{1, 2} {
		if attempt == 2 { // as if the process had died before it could keep where
			r.store = forgetful{r.store}
			r.notifier.Store = r.store
		}
		if err := r.notify(remediation.OpActor, attempt, remediation.ActorQuestion{Email: "dana@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.slack.Messages(fakeslack.DirectID(fakeslack.Dana))); n != 1 {
		t.Errorf("Dana has %d messages, want 1", n)
	}
	for _, email := range []string{"nobody@example.com", "secbot@example.com"} {
		r := newRig(t)
		r.save(incident(opened()))
		if err := r.notify(remediation.OpActor, 1, remediation.ActorQuestion{Email: email}); err != nil {
			t.Errorf("%s: %v", email, err)
		}
	}
}

// forgetful has no record of who was asked.
type forgetful struct{ remediation.Store }

func (forgetful) Record(context.Context, string) (*remediation.Record, error) {
	return nil, remediation.ErrNotFound
}

func (forgetful) Commit(context.Context, remediation.Write) error { return nil }

// TestPointers go to a channel or a person with the way to the message, and hold
// nothing back where they can't.
func TestPointers(t *testing.T) {
	r := newRig(t)
	r.shown(incident(opened()))
	point := func(to string) error {
		n := remediation.Notice{ID: "p-" + to, Incident: incidentID, Op: remediation.OpPointer, Channel: to, Attempts: 1, CreatedAt: r.now,
			Payload: json.RawMessage(`{"title":"Nobody has decided yet","text":"This <waits>.","people":["U0BOB"]}`)}
		return r.notifier.Notify(t.Context(), n)
	}
	if err := point(fakeslack.Bob); err != nil {
		t.Fatal(err)
	}
	got := r.slack.Messages(fakeslack.DirectID(fakeslack.Bob))
	if len(got) != 1 || !strings.Contains(string(got[0].Blocks), "|Go to the message>") || !strings.Contains(string(got[0].Blocks), "This &lt;waits&gt;. (<@U0BOB>)") {
		t.Errorf("Bob has %+v", got)
	}
	for _, to := range []string{fakeslack.ChannelRandom, "C0NOWHERE", "U0NOBODY"} {
		if err := point(to); !errors.Is(err, remediation.ErrUndeliverable) {
			t.Errorf("to %s: %v, want it to be given up", to, err)
		}
	}
	r.slack.Fault(func(fakeslack.Call) *fakeslack.Fault { return &fakeslack.Fault{Status: 503} })
	if err := point(fakeslack.Carol); err == nil || errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("while Slack is down: %v, want it to be tried again", err)
	}
}

// TestIgnoreSaysWhatItWouldHaveCovered: the form counts by scope, and sends the
// one that was chosen.
func TestIgnoreSaysWhatItWouldHaveCovered(t *testing.T) {
	r := newRig(t)
	for i, id := range []string{"01JQ8Z5N6X7W9V4T3R2P1M0AAA", "01JQ8Z5N6X7W9V4T3R2P1M0BBB"} {
		other := incident(opened())
		other.ID, other.Key, other.CreatedAt = id, id, time.Now().Add(-time.Hour)
		if i == 1 {
			other.Finding.Resource.ID, other.CreatedAt = "sg-old", time.Now().Add(-91*24*time.Hour)
		}
		other.Finding.Rules = nil
		r.save(other)
	}
	v := ignoreForm(t, r)
	if got := string(v.JSON); !strings.Contains(got, "would have matched 1 in the last 90 days") || strings.Contains(got, "would have matched 3") {
		t.Errorf("the form says %s", got)
	}
	if _, err := r.slack.SubmitView(t.Context(), fakeslack.Alice, v.ID, url.Values{"duration": {"1h"}, "reason": {"x"}, "scope": {"account"}}); err != nil {
		t.Fatal(err)
	}
	if got := r.engine.commands(); len(got) != 1 || got[0].Scope != "account" {
		t.Errorf("%+v", got)
	}
}
