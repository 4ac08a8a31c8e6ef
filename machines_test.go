package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// withStateMachine is a server whose policy has a state machine started after each fix
// of a security group, and which may do what `secbot iam-policy` prints.
func withStateMachine(t *testing.T) (*instance, *sandbox.Sandbox, *demo.World, string) {
	t.Helper()
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	caller := granted()
	onMachines, onExecutions := awsenv.MachineActions()
	caller.Allowed = append(append(caller.Allowed, onMachines...), onExecutions...)
	sb.AWS.AddCaller("AKIASECBOT", caller)
	machine := sb.AWS.AddStateMachine("quarantine")
	write(t, "secbot.yaml", fmt.Sprintf(`
state_machines:
  quarantine:
    arn: %s
    approvers: %s
rules:
  - match: {playbook: sg-rule-added}
    then: auto
    state_machine: quarantine
`, machine, fakeslack.Bob))
	s := startServer(t)
	sb.SetTarget(s.url)
	return s, sb, w, machine
}

// said waits until the channel's newest message holds all of the texts.
func said(s *instance, sb *sandbox.Sandbox, texts ...string) (m fakeslack.Message) {
	s.t.Helper()
	s.eventually(func() error {
		all := top(sb)
		if len(all) == 0 {
			return errors.New("there is no message")
		}
		m = all[len(all)-1]
		for _, text := range texts {
			if !strings.Contains(string(m.Blocks), text) {
				return fmt.Errorf("%q is not in %s", text, m.Blocks)
			}
		}
		return nil
	})
	return m
}

// TestStateMachineFromEventToEnd: a fix, the run, its end by AWS's own event; and the
// run's question, which only whom the policy names decides.
func TestStateMachineFromEventToEnd(t *testing.T) {
	s, sb, w, _ := withStateMachine(t)
	if err := w.Authorize(t.Context(), 3389, "0.0.0.0/0", "rdp"); err != nil {
		t.Fatal(err)
	}
	said(s, sb, "Closed automatically", "*quarantine* runs since", "states/home?region=us-east-1#/v2/executions/details/")
	execution := sb.AWS.Executions()[0]

	token := sb.AWS.Ask(execution.ARN, events.ApprovalSource, events.ApprovalType, map[string]any{"title": "Isolate i-0abc?", "text": "<!channel>", "timeout_seconds": 3600})
	m := said(s, sb, "Approval needed: Isolate i-0abc?", "&lt;!channel&gt;", "task_approve")
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "task_approve"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		if n := len(sb.Slack.Ephemerals(fakeslack.Alice)); n != 1 {
			return fmt.Errorf("who may not decide was told %d times", n)
		}
		return nil
	})
	if task := sb.AWS.Executions()[0].Tasks[0]; task.Answer != "" {
		t.Fatalf("somebody who may not has decided: %+v", task)
	}
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Bob, m.Channel, m.TS, "task_approve"); err != nil {
		t.Fatal(err)
	}
	said(s, sb, "Approved: Isolate i-0abc?", "has taken it")
	if task := sb.AWS.Executions()[0].Tasks[0]; task.Answer != "success" || !strings.Contains(task.Output, `"by":"`+fakeslack.Bob+`"`) {
		t.Errorf("the task is %+v", task)
	}

	sb.AWS.EndExecution(execution.ARN, "FAILED", "States.TaskFailed", "no such instance")
	s.eventually(func() error {
		first := string(top(sb)[0].Blocks)
		if !strings.Contains(first, "has failed*") || !strings.Contains(first, "no such instance") || !strings.Contains(first, "Closed automatically") {
			return fmt.Errorf("the incident says %s", first)
		}
		return nil
	})
	s.stop()
	if strings.Contains(s.log.String(), token) || strings.Contains(fmt.Sprint(sb.Slack.Messages(fakeslack.ChannelSecurity)), token) {
		t.Error("the task token is in the log or in Slack")
	}
	if status, out, errOut := shell(t, "", "audit", "verify"); status != 0 {
		t.Errorf("audit verify: %s %s", out, errOut)
	}
	if status, out, _ := shell(t, "", "audit", "export"); status != 0 || strings.Contains(out, token) || !strings.Contains(out, "approved what state machine quarantine asks") {
		t.Errorf("audit export: %s", out)
	}
}

// TestApprovalByTheQueue: with arn:aws:states:::sqs:sendMessage.waitForTaskToken the
// body is the whole event.
func TestApprovalByTheQueue(t *testing.T) {
	sb, _ := startSandbox(t)
	client := sqs.NewFromConfig(demo.AWSConfig(sb))
	queue, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	onEmulators(t, sb)
	t.Setenv("SECBOT_QUEUE_URL", *queue.QueueUrl)
	machine := sb.AWS.AddStateMachine("quarantine")
	write(t, "secbot.yaml", "state_machines:\n  quarantine:\n    arn: "+machine+"\n")
	s := startServer(t)
	body := `{"detail-type":"Approval Requested","source":"secbot.approval","detail":{"task_token":"t","execution":"` +
		sb.AWS.BeginExecution(machine, "by-hand") + `","title":"Rotate the keys?"}}`
	for range 2 { // delivery is at least once
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	said(s, sb, "Approval needed: Rotate the keys?")
	s.eventually(func() error {
		out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl})
		if err == nil && len(out.Messages) > 0 {
			err = errors.New("messages are still in the queue")
		}
		return err
	})
	if n := len(top(sb)); n != 1 {
		t.Errorf("it is asked %d times", n)
	}
}

// TestPolicyOfStateMachines: `secbot iam-policy` allows what the listed ones need, on
// these alone, and `config check` says what is started.
func TestPolicyOfStateMachines(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SECBOT_CONFIG", "")
	write(t, "secbot.yaml", "state_machines:\n  q:\n    arn: arn:aws:states:eu-central-1:111122223333:stateMachine:quarantine\nrules:\n  - then: auto\n    state_machine: q\n")
	_, out, _ := shell(t, "", "iam-policy")
	for _, want := range []string{`"Sid": "StateMachines"`, "states:SendTaskFailure", "states:SendTaskSuccess", "states:StartExecution",
		`"arn:aws:states:eu-central-1:111122223333:stateMachine:quarantine"`, "states:DescribeExecution", `"arn:aws:states:eu-central-1:111122223333:execution:quarantine:*"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %s", want, out)
		}
	}
	if _, out, _ := shell(t, "", "config", "check"); !strings.Contains(out, "auto, then state machine q") {
		t.Errorf("config check says %s", out)
	}
	if err := os.Remove("secbot.yaml"); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := shell(t, "", "iam-policy"); strings.Contains(out, "states:") {
		t.Errorf("without state machines: %s", out)
	}
}

// TestGuideToStateMachines: the policy of the guide is taken, and what its state machine
// sends is decoded whole.
func TestGuideToStateMachines(t *testing.T) {
	raw, err := os.ReadFile("docs/step-functions.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(raw)
	fenced := func(begin string) string {
		_, rest, ok := strings.Cut(guide, begin)
		text, _, closed := strings.Cut(rest, "```")
		if !ok || !closed {
			t.Fatalf("the guide has no %q", begin)
		}
		return text
	}
	policy, err := remediation.ParseConfig("guide", []byte(fenced("```yaml\n")))
	if err != nil || len(policy.StateMachines) != 1 || policy.Rules[0].StateMachine != "quarantine" {
		t.Errorf("the policy: %+v %v", policy, err)
	}
	var machine struct {
		States map[string]struct {
			Parameters struct {
				Entries []struct {
					Source, DetailType string
					Detail             map[string]any
				}
			}
		}
	}
	if err := json.Unmarshal([]byte("{\n  \"StartAt\": \"Ask\""+fenced("{\n  \"StartAt\": \"Ask\"")), &machine); err != nil {
		t.Fatal(err)
	}
	entry := machine.States["Ask"].Parameters.Entries[0]
	detail := map[string]any{}
	for name, value := range entry.Detail {
		if name, of := strings.CutSuffix(name, ".$"); of {
			detail[name] = name // Step Functions puts text there
			continue
		}
		detail[name] = value
	}
	sent, err := json.Marshal(map[string]any{"source": entry.Source, "detail-type": entry.DetailType, "detail": detail})
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(sent)
	want := remediation.TaskRequest{Token: "task_token", Execution: "execution", Title: "title", Text: "text", Within: time.Hour}
	if err != nil || len(got) != 1 || got[0].Task == nil || *got[0].Task != want {
		t.Errorf("%s gives %+v, %v", sent, got, err)
	}
}
