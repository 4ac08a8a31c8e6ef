package remediation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"secbot/remediation"
)

func TestShellUser(t *testing.T) {
	for name, want := range map[string]string{
		"eve": "shell:eve", "": "shell:unknown", "a b\x1b[2J\n\u202ec\xff": "shell:ab[2Jc", "J\u00fcrgen": "shell:J\u00fcrgen", `CORP\eve`: `shell:CORP\eve`,
	} {
		if got := remediation.ShellUser(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if n := utf8.RuneCountInString(remediation.ShellUser(strings.Repeat("\u00fc", 1000))); n != len("shell:")+32 {
		t.Errorf("a long name has %d characters", n)
	}
}

// withShell has answers kept for the shell.
func withShell(o *remediation.Options) {
	o.Notifiers[remediation.NotifyShell] = &remediation.ShellNotifier{Store: o.Store, Now: o.Now}
}

func shellCommand(id string, v remediation.Verb, incident string) remediation.Command {
	return remediation.Command{ID: id, Verb: v, Incident: incident, By: "shell:eve", ReplyTo: remediation.ReplyTo{Shell: true}}
}

// TestShellReply: the answer to a command of the shell is kept in the store for an
// hour, and nobody in Slack is sent it.
func TestShellReply(t *testing.T) {
	l := newLab(t, withShell)
	if _, err := remediation.ShellReply(t.Context(), l.store, "c1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Fatalf("before: %v", err)
	}
	l.submit(shellCommand("c1", remediation.VerbPause, ""))
	l.submit(shellCommand("c2", remediation.VerbFix, "gone"))
	l.drain()
	if r, err := remediation.ShellReply(t.Context(), l.store, "c1"); err != nil || r.Failed || !strings.HasPrefix(r.Text, "Paused.") {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := remediation.ShellReply(t.Context(), l.store, "c2"); err != nil || !r.Failed || !strings.Contains(r.Text, "There is no incident") {
		t.Errorf("%+v %v", r, err)
	}
	if got := l.slack.replies(t); len(got) > 0 {
		t.Errorf("Slack was sent %+v", got)
	}
	rec, err := l.store.Record(t.Context(), "shell/c1")
	if err != nil || !rec.Until.Equal(l.clock().Add(time.Hour)) {
		t.Errorf("kept until %v, %v", rec, err)
	}
	if _, err := l.store.Sweep(t.Context(), rec.Until.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := remediation.ShellReply(t.Context(), l.store, "c1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("after it was swept: %v", err)
	}
}

// TestShellNotifier: what is delivered again is there once, and nothing but answers
// is kept.
func TestShellNotifier(t *testing.T) {
	l := newLab(t)
	n := &remediation.ShellNotifier{Store: l.store, Now: l.clock}
	reply := remediation.Notice{ID: "reply/c", Op: remediation.OpReply, Payload: []byte(`{"text":"once"}`)}
	for range 2 {
		if err := n.Notify(t.Context(), reply); err != nil {
			t.Fatal(err)
		}
		reply.Payload = []byte(`{"text":"twice"}`)
	}
	if r, err := remediation.ShellReply(t.Context(), l.store, "c"); err != nil || r.Text != "once" {
		t.Errorf("%+v %v", r, err)
	}
	for _, wrong := range []remediation.Notice{{ID: "reply/c", Op: remediation.OpScan}, {ID: "x", Op: remediation.OpReply}} {
		if err := n.Notify(t.Context(), wrong); !errors.Is(err, remediation.ErrUndeliverable) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// TestCarryOut does the command alone: not what else is due, and nobody but the
// shell is told before somebody works on the store again.
func TestCarryOut(t *testing.T) {
	l := newLab(t, withShell)
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	inc := l.incidents()[0]
	l.doors.set("other", "front")
	l.accept(signal("e2", "other", "front"))
	told := len(l.slack.got)
	cmd := shellCommand("c1", remediation.VerbFix, inc.ID)
	if err := l.engine.CarryOut(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if r, err := remediation.ShellReply(t.Context(), l.store, "c1"); err != nil || r.Failed || !strings.HasPrefix(r.Text, "Done:") {
		t.Errorf("%+v %v", r, err)
	}
	got, err := l.store.Incident(t.Context(), inc.ID)
	if err != nil || got.Status != remediation.StatusFixed || got.History[1].By != "shell:eve" {
		t.Errorf("%+v %v", got, err)
	}
	if open := l.doors.get("other"); !slices.Equal(open, []string{"front"}) || len(l.slack.got) != told {
		t.Errorf("more was done than the command: %v open, %d notices sent", open, len(l.slack.got)-told)
	}
	before, err := l.store.Job(t.Context(), "command/c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.engine.CarryOut(t.Context(), cmd); err != nil {
		t.Errorf("the same command once more: %v", err)
	}
	if after, err := l.store.Job(t.Context(), "command/c1"); err != nil || after.Version != before.Version {
		t.Errorf("what was carried out is begun again: %+v, %v", after, err)
	}
	changes := len(l.doors.changes())
	l.drain()
	if len(l.doors.get("other")) != 0 || len(l.slack.got) == told {
		t.Errorf("what waited is not done: %v open, %d notices sent", l.doors.get("other"), len(l.slack.got)-told)
	}
	if n := len(l.doors.changes()); n != changes+1 {
		t.Errorf("%v", l.doors.changes())
	}
}

// TestCarryOutLater: what fails for the moment stays, with its answer.
func TestCarryOutLater(t *testing.T) {
	l := newLab(t, withShell)
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	inc := l.incidents()[0]
	l.doors.fail = func(string) error { return context.DeadlineExceeded }
	if err := l.engine.CarryOut(t.Context(), shellCommand("c1", remediation.VerbFix, inc.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := remediation.ShellReply(t.Context(), l.store, "c1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("an answer before the end: %v", err)
	}
	l.doors.fail = nil
	l.later(time.Minute)
	if r, err := remediation.ShellReply(t.Context(), l.store, "c1"); err != nil || r.Failed {
		t.Errorf("%+v %v", r, err)
	}
}

// TestRights are what Authorise and the general verbs go by.
func TestRights(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) {
		o.Directory = door2door{directory{"S1/U2": nil, "S1/U3": errors.New("slack is down")}}
	})
	l.config.Rules = []remediation.PolicyRule{
		{Name: "a", Then: remediation.ActionAsk, Match: remediation.Match{Accounts: []string{"999999999999"}}, Approvers: []string{"U8", "U1"}},
		{Name: "b", Then: remediation.ActionAsk},
	}
	for by, want := range map[string]string{"U1": "yes yes", "U2": "yes no", "U8": "no yes", "U9": "no no", "U3": "unknown no", "shell:eve": "yes yes", "secbot": "no no"} {
		var got []string
		for i, r := range l.engine.Rights(t.Context(), by) {
			if r.Rule != []string{"", `rule 1 "a"`}[i] {
				t.Errorf("right %d is %q", i, r.Rule)
			}
			var denied *remediation.DeniedError
			switch {
			case r.Err == nil:
				got = append(got, "yes")
			case errors.As(r.Err, &denied):
				got = append(got, "no")
			default:
				got = append(got, "unknown")
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", by, got, want)
		}
	}
}
