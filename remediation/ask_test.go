package remediation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// asking is a state machine that waits for an answer, and its question in the store.
type asking struct {
	*lab
	clouds    *fakeaws.AWS
	execution string
	token     string
	id        string
}

// askedLab asks; change is made before it does.
func askedLab(t *testing.T, change ...func(l *lab, r *remediation.TaskRequest)) *asking {
	t.Helper()
	l, clouds, machine := withMachines(t)
	l.config.Question = remediation.Question{Remind: time.Hour, Expire: 24 * time.Hour}
	a := &asking{lab: l, clouds: clouds, execution: clouds.BeginExecution(machine, "run-1")}
	a.token = clouds.Ask(a.execution, "s", "t", nil)
	r := a.request()
	for _, f := range change {
		f(l, &r)
	}
	l.start()
	if err := l.engine.AcceptTask(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	l.until("it is told", func() bool { return l.slack.count(remediation.OpAsk) == 1 })
	a.id = strings.TrimPrefix(l.slack.sent()[0].Incident, remediation.AskMessage(""))
	return a
}

func (a *asking) request() remediation.TaskRequest {
	return remediation.TaskRequest{Token: remediation.TaskToken(a.token), Execution: a.execution, Account: toyAccount, Title: "Rotate the keys of web-1?", Text: "They are 400 days old."}
}

func (a *asking) read() *remediation.Ask {
	a.t.Helper()
	ask, err := remediation.ReadAsk(a.t.Context(), a.store, a.id)
	if err != nil {
		a.t.Fatal(err)
	}
	return ask
}

func (a *asking) click(id string, verb remediation.Verb, by string) {
	a.t.Helper()
	state := a.read().State
	a.submit(remediation.Command{ID: id, Verb: verb, Scope: a.id, State: &state, By: by})
}

func (a *asking) stands(want remediation.AskStatus) *remediation.Ask {
	a.t.Helper()
	a.until("the question is "+string(want), func() bool { return a.read().Status == want })
	return a.read()
}

func (a *asking) task() fakeaws.Task { return a.clouds.Executions()[0].Tasks[0] }

// TestAskIsAnswered: the decision of somebody who may reaches the state machine, once.
func TestAskIsAnswered(t *testing.T) {
	for verb, want := range map[remediation.Verb]fakeaws.Task{
		remediation.VerbTaskYes: {Answer: "success", Output: `{"decision":"approved","by":"U1","at":"2026-03-01T12:00:00Z"}`},
		remediation.VerbTaskNo:  {Answer: "failure", Error: "Denied", Cause: "Denied by U1 at 2026-03-01T12:00:00Z."},
	} {
		t.Run(string(verb), func(t *testing.T) {
			t.Parallel()
			a := askedLab(t)
			if q := a.read(); q.Machine != "quarantine" || q.Channel != "C2" || !slices.Equal(q.Approvers, []string{"U1", "U2"}) || q.Status != remediation.AskWaiting {
				t.Errorf("the question is %+v", q)
			}
			a.click("c1", verb, "U1")
			q := a.stands(remediation.AskAnswered)
			want.Token = a.token
			if got := a.task(); got != want {
				t.Errorf("the task got %+v, want %+v", got, want)
			}
			if q.By != "U1" || q.State != 2 {
				t.Errorf("the question is %+v", q)
			}
			a.settled()
			n, err := remediation.VerifyOwnLog(t.Context(), a.store)
			if err != nil || n != 3 {
				t.Errorf("the audit log has %d entries: %v", n, err)
			}
			if a.slack.count(remediation.OpAsk) != 3 {
				t.Errorf("Slack was told %v", a.slack.ops())
			}
		})
	}
}

// TestAskByOthers: who is not named for the state machine decides nothing, were they a
// responder.
func TestAskByOthers(t *testing.T) {
	a := askedLab(t, func(l *lab, _ *remediation.TaskRequest) { l.config.Responders = []string{"U9"} })
	for i, by := range []string{"U9", "S1", ""} {
		a.click(fmt.Sprint("c", i), remediation.VerbTaskYes, by)
	}
	a.until("all are answered", func() bool { return a.slack.count(remediation.OpReply) == 2 }) // nobody can be answered
	for _, r := range a.slack.replies(t) {
		if !r.Failed || !slices.Equal(r.People, []string{"U1", "U2"}) {
			t.Errorf("the answer is %+v", r)
		}
	}
	if q := a.read(); q.Status != remediation.AskWaiting || a.task().Answer != "" {
		t.Errorf("the question is %+v, the task %+v", q, a.task())
	}
	// Where it names nobody the responders decide.
	a = askedLab(t, func(l *lab, _ *remediation.TaskRequest) {
		l.config.Responders, l.config.StateMachines[0].Approvers = []string{"U9"}, nil
	})
	a.click("c9", remediation.VerbTaskYes, "U9")
	a.stands(remediation.AskAnswered)
}

// TestAskOnceDecided: of many who click, one decides, and the others are told what
// stands. A click on an outdated message decides nothing either.
func TestAskOnceDecided(t *testing.T) {
	a := askedLab(t)
	state := a.read().State
	var clicks sync.WaitGroup
	for i := range 10 {
		verb := []remediation.Verb{remediation.VerbTaskYes, remediation.VerbTaskNo}[i%2]
		clicks.Go(func() {
			a.submit(remediation.Command{ID: fmt.Sprint("c", i), Verb: verb, Scope: a.id, State: &state, By: []string{"U1", "U2"}[i%2]})
		})
	}
	clicks.Wait()
	a.stands(remediation.AskAnswered)
	a.until("the others are told", func() bool { return a.slack.count(remediation.OpReply) == 9 })
	for _, r := range a.slack.replies(t) {
		if !r.Failed || !strings.Contains(r.Text, "That button is out of date") {
			t.Errorf("the answer is %+v", r)
		}
	}
	answers := 0
	for _, c := range a.clouds.Calls() {
		if strings.HasPrefix(c.Action, "SendTask") {
			answers++
		}
	}
	if answers != 1 {
		t.Errorf("the state machine was told %d times", answers)
	}
}

// TestAskOnceForAToken: however often the event comes.
func TestAskOnceForAToken(t *testing.T) {
	a := askedLab(t)
	var again sync.WaitGroup
	for range 10 {
		again.Go(func() {
			if err := a.engine.AcceptTask(a.t.Context(), a.request()); err != nil {
				t.Error(err)
			}
		})
	}
	again.Wait()
	a.settled()
	a.click("c1", remediation.VerbTaskYes, "U1")
	a.stands(remediation.AskAnswered)
	if err := a.engine.AcceptTask(t.Context(), a.request()); err != nil {
		t.Error(err)
	}
	a.settled()
	if n := a.slack.count(remediation.OpAsk); n != 3 {
		t.Errorf("it was told %d times", n)
	}
}

// TestAskThatIsNotTaken: what may not ask, or could not be answered.
func TestAskThatIsNotTaken(t *testing.T) {
	l, clouds, machine := withMachines(t)
	other := clouds.AddStateMachine("other")
	good := remediation.TaskRequest{Token: "t", Execution: remediation.ExecutionARN(machine, "e"), Title: "x"}
	for name, c := range map[string]struct {
		spoil func(r *remediation.TaskRequest)
		why   string
	}{
		"of another":         {func(r *remediation.TaskRequest) { r.Execution = remediation.ExecutionARN(other, "e") }, "not listed"},
		"of one named alike": {func(r *remediation.TaskRequest) { r.Execution = remediation.ExecutionARN(machine+"-2", "e") }, "not listed"},
		"of another account": {func(r *remediation.TaskRequest) {
			r.Execution = strings.Replace(r.Execution, toyAccount, "444455556666", 1)
		}, "not listed"},
		"of an endless one": {func(r *remediation.TaskRequest) { r.Execution += strings.Repeat("x", 200_000) }, "longer than AWS makes any"},
		"sent by another":   {func(r *remediation.TaskRequest) { r.Account = "444455556666" }, "sent by account 444455556666"},
		"of nothing":        {func(r *remediation.TaskRequest) { r.Execution = "" }, "not listed"},
		"without token":     {func(r *remediation.TaskRequest) { r.Token = "" }, "no task token"},
		"a long token":      {func(r *remediation.TaskRequest) { r.Token = remediation.TaskToken(strings.Repeat("x", 3000)) }, "no task token"},
		"without title":     {func(r *remediation.TaskRequest) { r.Title = "" }, "no title"},
	} {
		r := good
		c.spoil(&r)
		var refused *remediation.RefusedError
		if err := l.engine.AcceptTask(t.Context(), r); !errors.As(err, &refused) || !strings.Contains(refused.Text, c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := remediation.VerifyOwnLog(t.Context(), l.store); n != 0 || err != nil {
		t.Errorf("%d entries in the audit log: %v", n, err)
	}
	if err := l.engine.AcceptTask(t.Context(), good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// TestAskWhoseAnswerFails: what AWS says of it is in the question. Nothing else than a
// task that waits is ever said to have taken a decision.
func TestAskWhoseAnswerFails(t *testing.T) {
	for name, c := range map[string]struct {
		befall func(a *asking)
		want   remediation.AskStatus
		why    string
	}{
		"the task has timed out": {func(a *asking) { a.clouds.EndExecution(a.execution, "TIMED_OUT", "", "") }, remediation.AskOver, "TaskTimedOut"},
		"AWS knows no such task": {func(a *asking) { befall(a.clouds, "SendTaskSuccess", 1, fakeaws.Fault{Code: "TaskDoesNotExist"}) }, remediation.AskOver, "TaskDoesNotExist"},
		"it is no token":         {func(a *asking) { befall(a.clouds, "SendTaskSuccess", 1, fakeaws.Fault{Code: "InvalidToken"}) }, remediation.AskOver, "InvalidToken"},
		"secbot may not":         {func(a *asking) { befall(a.clouds, "SendTaskSuccess", 1, fakeaws.Fault{Code: "AccessDeniedException"}) }, remediation.AskFailed, "states:SendTaskSuccess"},
		"AWS quotes the token": {func(a *asking) {
			befall(a.clouds, "SendTaskSuccess", 1, fakeaws.Fault{Code: "ValidationException", Message: "Value '" + a.token + "' at 'taskToken' failed to satisfy constraint"})
		}, remediation.AskFailed, "Value '(task token)' at 'taskToken'"},
		"it is never reached": {func(a *asking) { befall(a.clouds, "SendTaskSuccess", 1000, fakeaws.Fault{Drop: true}) }, remediation.AskFailed, "whether it has taken that is not known"},
		"AWS is busy":         {func(a *asking) { befall(a.clouds, "SendTaskSuccess", 2, fakeaws.Fault{Code: "ThrottlingException"}) }, remediation.AskAnswered, ""},
		"the answer got lost": {func(a *asking) {
			befall(a.clouds, "SendTaskSuccess", 1, fakeaws.Fault{Drop: true, After: true})
		}, remediation.AskOver, "either it has taken the decision then, or it was over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := askedLab(t)
			c.befall(a)
			a.click("c1", remediation.VerbTaskYes, "U1")
			a.until("the question is "+string(c.want), func() bool { a.advance(50 * time.Millisecond); return a.read().Status == c.want })
			q := a.read()
			if !strings.Contains(q.Error, c.why) || c.why == "" && q.Error != "" {
				t.Errorf("it says %q", q.Error)
			}
			if c.want != remediation.AskFailed {
				return
			}
			a.click("c2", remediation.VerbTaskNo, "U2") // decided anew
			if a.stands(remediation.AskAnswered); a.task().Error != "Denied" {
				t.Errorf("the task is %+v", a.task())
			}
		})
	}
}

// TestAskThatNobodyAnswers: people are reminded, and in the end the state machine is
// told, when its own time is up or the policy's.
func TestAskThatNobodyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		within, until time.Duration
		reminded      int
	}{
		"the policy's time": {0, 24 * time.Hour, 1},
		"its own":           {2 * time.Hour, 2 * time.Hour, 1},
		"a short one":       {30 * time.Minute, 30 * time.Minute, 0},
		"a long one":        {48 * time.Hour, 24 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := askedLab(t, func(_ *lab, r *remediation.TaskRequest) { r.Within = c.within })
			if q := a.read(); q.Until.Sub(q.At) != c.until {
				t.Fatalf("it ends after %v", q.Until.Sub(q.At))
			}
			if c.reminded > 0 {
				a.advance(time.Hour)
				a.until("people are reminded", func() bool { return a.slack.count(remediation.OpThread) == c.reminded })
			}
			a.advance(c.until)
			q := a.stands(remediation.AskAnswered)
			if a.task().Error != "Expired" || q.By != remediation.ByItself || q.Decision != remediation.AskExpired {
				t.Errorf("the task is %+v, the question %+v", a.task(), q)
			}
			a.settled()
			if n := a.slack.count(remediation.OpThread); n != c.reminded {
				t.Errorf("%d reminders", n)
			}
		})
	}
}

// TestTokenIsKeptAside: it is in one record, and in nothing that people, logs or the
// audit log see; and it goes once it is used.
func TestTokenIsKeptAside(t *testing.T) {
	a := askedLab(t)
	a.click("c1", remediation.VerbTaskYes, "U1")
	a.stands(remediation.AskAnswered)
	a.settled()
	audit, err := a.store.Audit(t.Context(), remediation.OwnLog)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := json.Marshal([]any{audit, a.slack.sent(), a.read()})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(seen)+fmt.Sprintf("%v %+v %#v", a.request(), a.request(), a.request()), a.token) {
		t.Errorf("the token is in %s", seen)
	}
	rec, err := a.store.Record(t.Context(), "ask-token/"+a.id)
	if err != nil || len(rec.Data) != 0 {
		t.Errorf("the token is still kept: %s %v", rec.Data, err)
	}
}

// TestAskIsBounded: what is written is cut, whatever its letters.
func TestAskIsBounded(t *testing.T) {
	a := askedLab(t, func(_ *lab, r *remediation.TaskRequest) {
		r.Title, r.Text = strings.Repeat("ü", 10_000), strings.Repeat("世", 100_000)
	})
	if q := a.read(); len([]rune(q.Title)) != 120 || len([]rune(q.Text)) != 2000 || !strings.HasSuffix(q.Title, "…") {
		t.Errorf("title of %d, text of %d", len([]rune(q.Title)), len([]rune(q.Text)))
	}
}
