package bot

import (
	"context"
	"encoding/json"
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

func newLive(t *testing.T, then remediation.Action) *live {
	t.Helper()
	l := &live{rig: newRig(t), gate: &gate{open: true}, changed: make(chan struct{}, 1)}
	l.notifier.Now = nil
	t.Cleanup(l.slack.Subscribe(func(fakeslack.Change) {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}))
	engine := remediation.New(remediation.Options{
		Store: l.store, Provider: l.gate, Directory: NewDirectory(l.handler.Client, time.Now),
		Notifiers: map[string]remediation.Notifier{remediation.NotifySlack: l.notifier},
		Config: &remediation.Config{Mode: remediation.ModeAuto, Channel: "#security", Responders: []string{fakeslack.GroupResponders},
			Rules: []remediation.PolicyRule{{Name: "all", Then: then}}},
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
			l.t.Fatalf("waited in vain for: %s\n%+v", what, l.slack.Messages("#security"))
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
	l.shows("The fix was taken back* at the request of <@" + fakeslack.Alice + ">")
	if !l.gate.isOpen() {
		t.Fatal("it was not put back")
	}
	l.wait("both diffs in the thread", func() bool { return len(l.slack.Thread(m.Channel, m.TS)) == 3 })
}

func TestAskedThenReverted(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	if b := m.Buttons(); len(b) != 2 || b[0].Text != "Revert Change" || b[1].Text != "Ignore…" {
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
	l.shows("Scan finished: 1 open, 1 resources read")
	l.told(fakeslack.Alice, "The scan has read 1 resources")
	cmd("fix " + short(id))
	l.told(fakeslack.Alice, "On it: revert the change of `web`")
	l.told(fakeslack.Alice, "Done: sg-0abc is fixed")
	cmd("undo " + id)
	l.told(fakeslack.Alice, "Done: sg-0abc is as it was")
	l.shows("The fix was taken back")
}
