package awsenv

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

func onCloud(endpoint string) aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA", "s", "")}
}

// machineContract is what every Step Functions has to do. end aborts an execution and
// gives the cause that it shall tell.
func machineContract(t *testing.T, m *Machines, machine string, end func(execution string) (cause string)) {
	t.Helper()
	input := []byte(`{"incident":"i"}`)
	execution, err := m.Start(t.Context(), machine, "secbot-i-3", input)
	if err != nil || execution != remediation.ExecutionARN(machine, "secbot-i-3") {
		t.Fatalf("Start gives %q, %v", execution, err)
	}
	x, err := m.Describe(t.Context(), execution)
	if err != nil || x.Status != remediation.ExecutionRunning || x.Machine != machine || x.ARN != execution || x.StartedAt.IsZero() || !x.EndedAt.IsZero() {
		t.Errorf("while it runs: %+v, %v", x, err)
	}
	again, err := m.Start(t.Context(), machine, "secbot-i-3", input)
	if err != nil || again != execution {
		t.Errorf("started again while it runs: %q, %v", again, err)
	}
	cause := end(execution)
	if x, err = m.Describe(t.Context(), execution); err != nil || x.Status != remediation.ExecutionAborted || x.EndedAt.IsZero() || x.Cause != cause {
		t.Errorf("after its end: %+v, %v", x, err)
	}
	if again, err = m.Start(t.Context(), machine, "secbot-i-3", input); err != nil || again != execution {
		t.Errorf("started again after its end: %q, %v", again, err)
	}
	if x, err := m.Describe(t.Context(), execution); err != nil || x.Status != remediation.ExecutionAborted {
		t.Errorf("it was started anew: %+v, %v", x, err)
	}
	if _, err := m.Describe(t.Context(), remediation.ExecutionARN(machine, "nobody")); err == nil || !strings.Contains(err.Error(), "ExecutionDoesNotExist") {
		t.Errorf("of one that is not there: %v", err)
	}
	if _, err := m.Start(t.Context(), machine+"-gone", "x", input); err == nil || !strings.Contains(err.Error(), "StateMachineDoesNotExist") {
		t.Errorf("of a state machine that is not there: %v", err)
	}
}

func TestMachines(t *testing.T) {
	cloud := fakeaws.New(fakeaws.Options{})
	srv := httptest.NewServer(cloud)
	defer srv.Close()
	machineContract(t, NewMachines(onCloud(srv.URL)), cloud.AddStateMachine("m"), func(execution string) string {
		cloud.EndExecution(execution, "ABORTED", "", "by hand")
		return "by hand"
	})
}

// TestTasks: a task takes one answer, and after that nobody waits. The token is in no
// error.
func TestTasks(t *testing.T) {
	cloud := fakeaws.New(fakeaws.Options{})
	srv := httptest.NewServer(cloud)
	defer srv.Close()
	m, execution := NewMachines(onCloud(srv.URL)), cloud.BeginExecution(cloud.AddStateMachine("m"), "e")
	ask := func() remediation.TaskToken { return remediation.TaskToken(cloud.Ask(execution, "s", "t", nil)) }
	first, second := ask(), ask()
	if err := m.Succeed(t.Context(), execution, first, []byte(`{"a":1}`)); err != nil {
		t.Error(err)
	}
	if err := m.Fail(t.Context(), execution, second, "Denied", "no"); err != nil {
		t.Error(err)
	}
	tasks := cloud.Executions()[0].Tasks
	if tasks[0].Output != `{"a":1}` || tasks[1].Error != "Denied" || tasks[1].Cause != "no" {
		t.Errorf("the tasks are %+v", tasks)
	}
	for _, token := range []remediation.TaskToken{first, second, "nobody's"} {
		if err := m.Succeed(t.Context(), execution, token, []byte(`{}`)); !errors.Is(err, remediation.ErrTaskOver) || strings.Contains(err.Error(), string(token)) {
			t.Errorf("succeed again: %v", err)
		}
		if err := m.Fail(t.Context(), execution, token, "x", "y"); !errors.Is(err, remediation.ErrTaskOver) {
			t.Errorf("fail again: %v", err)
		}
	}
	if err := m.Succeed(t.Context(), execution, ask(), []byte(`{`)); err == nil || errors.Is(err, remediation.ErrTaskOver) {
		t.Errorf("what is no JSON: %v", err)
	}
}

// TestMachinesElsewhere: hosts are made of no other ARNs.
func TestMachinesElsewhere(t *testing.T) {
	m := NewMachines(onCloud("http://127.0.0.1:1"))
	for _, arn := range []string{"", "x", "arn:aws:sns:us-east-1:111122223333:topic", "arn:aws:states:evil.example/:111122223333:stateMachine:m"} {
		if _, err := m.Start(t.Context(), arn, "n", nil); err == nil || !strings.Contains(err.Error(), "no ARN of Step Functions") {
			t.Errorf("%q: %v", arn, err)
		}
	}
}
