package bot

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

const questionID = "7f83b1657ff1fc53b92dc18148"

// question is what a state machine asks, as it stands.
func question(status remediation.AskStatus, decision remediation.AskDecision, by string) *remediation.Ask {
	a := &remediation.Ask{ID: questionID, Machine: "quarantine", Execution: "arn:aws:states:eu-central-1:111122223333:execution:quarantine:run-1",
		Title: "Isolate i-0abc?", Text: "It talks to 198.51.100.7.\nIts service will be down.", At: at(0), Until: at(60), Channel: fakeslack.ChannelSecurity,
		Approvers: []string{fakeslack.GroupResponders, fakeslack.Bob}, Status: status, Decision: decision, By: by}
	if by != "" {
		a.State, a.DecidedAt = 1, at(5)
	}
	return a
}

func questions() map[string]*remediation.Ask {
	nobody := question(remediation.AskWaiting, "", "")
	nobody.Approvers = nil
	hostile := question(remediation.AskWaiting, "", "")
	hostile.Machine = "quarantine *now*"
	hostile.Title = "<!channel> *free* `money` " + strings.Repeat("x", 200)
	hostile.Text = "<https://evil.example|Click>\n\x1b[31m<@U0BOB> said yes\n" + strings.Repeat("line\n", 100)
	hostile.Execution = "arn:aws:states:eu-central-1:111122223333:execution:quarantine:a|b>c"
	over := question(remediation.AskOver, remediation.AskApproved, fakeslack.Alice)
	over.Error = "the task does not wait any more: it has timed out, its execution has ended, or it was answered elsewhere (TaskTimedOut)"
	failed := question(remediation.AskFailed, remediation.AskDenied, fakeslack.Alice)
	failed.Error = "AccessDeniedException: AWS refused SFN SendTaskFailure, for which secbot's role needs states:SendTaskFailure"
	return map[string]*remediation.Ask{
		"waiting": question(remediation.AskWaiting, "", ""), "nobody": nobody, "hostile": hostile,
		"sending":  question(remediation.AskSending, remediation.AskApproved, fakeslack.Alice),
		"approved": question(remediation.AskAnswered, remediation.AskApproved, fakeslack.Alice),
		"denied":   question(remediation.AskAnswered, remediation.AskDenied, fakeslack.Alice),
		"expired":  question(remediation.AskAnswered, remediation.AskExpired, remediation.ByItself),
		"over":     over, "failed": failed,
	}
}

func TestAskGoldens(t *testing.T) {
	for name, a := range questions() {
		t.Run(name, func(t *testing.T) { checkMessage(t, golden(t, "ask-"+name, renderAsk(a, names()))) })
	}
}

// TestAskButtons: what takes a decision has both, with the question's id and state,
// and all else has none.
func TestAskButtons(t *testing.T) {
	for name, a := range questions() {
		raw, err := json.Marshal(renderAsk(a, names()).Blocks)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range (fakeslack.Message{Version: fakeslack.Version{Blocks: raw}}).Buttons() {
			got = append(got, b.ActionID)
			if b.Value != questionID || b.BlockID != fmt.Sprintf("ask:%s:s%d", questionID, a.State) || b.Confirm == nil {
				t.Errorf("%s: button %+v", name, b)
			}
		}
		var want []string
		if a.Status == remediation.AskWaiting || a.Status == remediation.AskFailed {
			want = []string{"task_approve", "task_deny"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: buttons %v, want %v", name, got, want)
		}
	}
}

// TestAskIsPostedAndClicked: in its own channel, once, then in place; and a click
// becomes the command with the state that was shown.
func TestAskIsPostedAndClicked(t *testing.T) {
	for _, way := range []string{"by_http", bySocket} {
		t.Run(way, func(t *testing.T) {
			r := newRig(t)
			a := question(remediation.AskWaiting, "", "")
			rec := &remediation.Record{Key: "ask/" + questionID}
			show := func(attempts int) {
				t.Helper()
				rec.Data, _ = json.Marshal(a)
				if err := r.store.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
					t.Fatal(err)
				}
				if err := r.notifier.Notify(t.Context(), remediation.Notice{ID: "ask/x/1", Incident: remediation.AskMessage(questionID), Seq: 1,
					To: remediation.NotifySlack, Op: remediation.OpAsk, Attempts: attempts, CreatedAt: r.now}); err != nil {
					t.Fatal(err)
				}
			}
			show(1)
			m := r.only()
			for _, verb := range []string{"task_approve", "task_deny"} {
				if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, verb); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the clicks", func() bool { return len(r.engine.commands()) == 2 })
			for i, verb := range []remediation.Verb{remediation.VerbTaskYes, remediation.VerbTaskNo} {
				c := r.engine.commands()[i]
				if c.Verb != verb || c.Scope != questionID || c.Incident != "" || c.By != fakeslack.Alice || c.State == nil || *c.State != 0 {
					t.Errorf("the command is %+v", c)
				}
			}
			a = question(remediation.AskAnswered, remediation.AskApproved, fakeslack.Alice)
			show(2)
			if m := r.only(); !strings.Contains(m.Text, "Approved: Isolate i-0abc?") {
				t.Errorf("the message says %q", m.Text)
			}
			// Where the message is, is forgotten with the question.
			if _, err := r.store.Message(t.Context(), remediation.AskMessage(questionID)); !errors.Is(err, remediation.ErrNotFound) {
				t.Errorf("where the message is, is kept for ever: %v", err)
			}
			if _, err := r.store.Sweep(t.Context(), r.now.Add(remediation.KeepAskMessage+time.Hour)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.store.Record(t.Context(), remediation.AskMessageRecord(questionID)); !errors.Is(err, remediation.ErrNotFound) {
				t.Errorf("it is not swept: %v", err)
			}
		})
	}
}
