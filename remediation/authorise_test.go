package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// TestVerbsAreComplete: a verb that is not in Verbs would be in no table here.
func TestVerbsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "command.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []remediation.Verb
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Verb" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, remediation.Verb(text))
		}
		return true
	})
	if !slices.Equal(found, remediation.Verbs()) {
		t.Errorf("command.go has %v, Verbs %v", found, remediation.Verbs())
	}
}

// before brings an incident to where a verb can be said to it.
func (l *lab) before(v remediation.Verb) *remediation.Incident {
	l.t.Helper()
	l.doors.set("h", "side")
	said := func(id string, v remediation.Verb) {
		l.submit(remediation.Command{ID: id, Verb: v, Incident: l.incidents()[0].ID, By: "shell:root", Reason: "x"})
		l.drain()
	}
	l.accept(signal("e1", "h", "side"))
	l.drain()
	switch v {
	case remediation.VerbApprove, remediation.VerbDecline:
		l.config.Rules[1].Approvals = 1
		l.submit(remediation.Command{ID: "before", Verb: remediation.VerbFix, Incident: l.incidents()[0].ID, By: "U6", Reason: "x"})
		l.drain()
	case remediation.VerbResume:
		said("before", remediation.VerbPause)
	case remediation.VerbUndo:
		said("before", remediation.VerbFix)
	case remediation.VerbUnignore:
		said("before", remediation.VerbIgnore)
	case remediation.VerbRetry:
		l.doors.fail = func(call string) error {
			if strings.HasPrefix(call, "read") {
				return nil
			}
			return errors.New("no")
		}
		said("before", remediation.VerbFix)
		l.doors.fail = nil
	}
	return l.incidents()[0]
}

const taskMachine = "arn:aws:states:us-east-1:" + toyAccount + ":stateMachine:m"

// asks has a state machine ask for an approval, and gives the question's id.
func (l *lab) asks() string {
	l.t.Helper()
	if err := l.engine.AcceptTask(l.t.Context(), remediation.TaskRequest{Token: "t", Execution: remediation.ExecutionARN(taskMachine, "e"), Title: "x"}); err != nil {
		l.t.Fatal(err)
	}
	jobs := l.jobs(l.clock().Add(10_000 * time.Hour))
	return strings.TrimPrefix(jobs[len(jobs)-1].ID, "ask-over/")
}

// door2door is a directory that knows guests.
type door2door struct{ directory }

func (door2door) Outsider(_ context.Context, user string) (string, error) {
	switch user {
	case "UGUEST":
		return "Guests can't decide", nil
	case "UWHO":
		return "", errors.New("slack is down")
	}
	return "", nil
}

// TestEveryVerbByEverybody: who may say what, and that a refusal changes nothing,
// neither in AWS nor in the store.
func TestEveryVerbByEverybody(t *testing.T) {
	roles := []struct {
		name, by string
		may      bool
	}{
		{"nobody", "", false},
		{"a stranger", "U9", false},
		{"a responder", "U1", true},
		{"a member of the responders' group", "U2", true},
		{"somebody of whom Slack does not tell", "U3", false},
		{"somebody whom the policy names for the account", "U7", true},
		{"somebody whom it names for another account", "U8", false},
		{"a group's own id", "S9", false},
		{"whoever made the change", "U5", false},
		{"secbot itself", remediation.ByItself, false},
		{"a guest whom the policy names", "UGUEST", false},
		{"somebody of whom Slack does not tell whether they are a guest", "UWHO", false},
		{"the shell of secbot's machine", "shell:root", true},
	}
	for _, v := range remediation.Verbs() {
		for _, role := range roles {
			t.Run(fmt.Sprintf("%s by %s", v, role.name), func(t *testing.T) {
				everybodySays(t, v, role.by, role.may)
			})
		}
	}
}

func everybodySays(t *testing.T, v remediation.Verb, by string, may bool) {
	l := newLab(t, func(o *remediation.Options) {
		o.Directory = door2door{directory{"S1/U2": nil, "S1/U3": errors.New("slack is down"), "S1/UGUEST": nil}}
	})
	l.config.Rules = []remediation.PolicyRule{
		{Match: remediation.Match{Accounts: []string{"999999999999"}}, Then: remediation.ActionAsk, Approvers: []string{"U8"}},
		{Match: remediation.Match{Accounts: []string{toyAccount}}, Then: remediation.ActionAsk, Approvers: []string{"U1", "S1", "U7", "U6", "UGUEST", "UWHO"}},
	}
	l.config.People = []remediation.Person{{Actor: "arn:aws:iam::*:user/dana", User: "U5"}}
	general := slices.Contains([]remediation.Verb{remediation.VerbReset, remediation.VerbPause, remediation.VerbResume, remediation.VerbMode}, v)
	switch {
	case v == remediation.VerbScan || v == remediation.VerbCancel || v == remediation.VerbWhy || v == remediation.VerbStats:
		may = by != "UGUEST" && by != "UWHO" // it changes nothing
	case v == remediation.VerbClaim || v == remediation.VerbDisown:
		may = by == "U5" // whether it was them nobody else can say
	case general && by == "U7":
		may = false // what is about secbot is of no account's rule
	}
	if v == remediation.VerbTaskYes || v == remediation.VerbTaskNo {
		l.config.StateMachines = []remediation.StateMachine{{Name: "m", ARN: taskMachine, Approvers: []string{"U1", "S1", "U7", "UGUEST", "UWHO"}}}
		l.engine = l.again()
	}
	inc := l.before(v)
	changes, doors := len(l.doors.changes()), l.doors.get("h")
	cmd := remediation.Command{ID: "c", Verb: v, Incident: inc.ID, By: by, Reason: "x", ReplyTo: remediation.ReplyTo{User: "U0"}}
	l.doors.set("sg-h", "side")
	cmd.Scope = map[remediation.Verb]string{remediation.VerbScan: "sg", remediation.VerbMode: "ask", remediation.VerbWhy: "sg-h",
		remediation.VerbCancel: "s", remediation.VerbFixAll: "s"}[v]
	switch v {
	case remediation.VerbCancel:
		rec := &remediation.Record{Key: "scan/run/s", Data: []byte(`{"id":"s"}`)}
		if err := l.store.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
			t.Fatal(err)
		}
	case remediation.VerbTaskYes, remediation.VerbTaskNo:
		cmd.Scope = l.asks()
	case remediation.VerbFixAll:
		cmd.Targets = []remediation.Target{{Incident: inc.ID, State: inc.State()}}
	}
	if general || v == remediation.VerbStats || cmd.Scope != "" {
		cmd.Incident = ""
	}
	l.submit(cmd)
	l.drain()
	replies := l.slack.replies(t)
	refused := len(replies) > 0 && replies[len(replies)-1].Failed
	if refused == may {
		t.Fatalf("may %v, and the answer is %+v", may, replies)
	}
	after, err := l.store.Incident(t.Context(), inc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !may && (len(l.doors.changes()) != changes || !slices.Equal(l.doors.get("h"), doors) || after.Version != inc.Version) {
		t.Errorf("a refusal has changed something: %v, %s", l.doors.changes(), after.Status)
	}
	if may && cmd.Incident != "" && after.Version == inc.Version {
		t.Error("what is allowed has changed nothing")
	}
}
