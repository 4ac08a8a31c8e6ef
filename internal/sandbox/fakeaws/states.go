package fakeaws

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Execution is an execution of a state machine as a console shows it.
type Execution struct {
	ARN     string
	Machine string // ARN
	Name    string
	Input   string
	Status  string // RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED
	Error   string
	Cause   string
	Started time.Time
	Ended   time.Time // zero while it runs
	Tasks   []Task    // the tasks that have waited for an answer, the first first
}

// Task is a task that waits for an answer, or has waited.
type Task struct {
	Token  string
	Answer string // "success" or "failure"; empty: it waits
	Output string // of a success, JSON
	Error  string // of a failure
	Cause  string
}

// statesService covers the executions of Step Functions. What a state machine does in
// between whoever holds the stand-in says: Ask and EndExecution.
func (a *AWS) statesService() *service {
	ops := map[string]*operation{
		"StartExecution":    {event: "StartExecution", params: executionParams, run: a.startExecution},
		"DescribeExecution": {run: a.describeExecution},
		"SendTaskSuccess":   {run: a.answerTask("success")},
		"SendTaskFailure":   {run: a.answerTask("failure")},
	}
	return a.jsonService("states", "application/x-amz-json-1.0", ops)
}

// AddStateMachine makes a standard state machine in the own account and gives its ARN.
func (a *AWS) AddStateMachine(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	arn := "arn:aws:states:" + a.o.Region + ":" + a.o.Account + ":stateMachine:" + name
	a.machines[arn] = false
	return arn
}

// MakeExpress makes a state machine an express one.
func (a *AWS) MakeExpress(arn string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machines[arn] = true
}

type statesRequest struct {
	StateMachineARN string  `json:"stateMachineArn"`
	ExecutionARN    string  `json:"executionArn"`
	Name            string  `json:"name"`
	Input           *string `json:"input"`
	TaskToken       string  `json:"taskToken"`
	Output          string  `json:"output"`
	Error           string  `json:"error"`
	Cause           string  `json:"cause"`
}

func executionParams(x *exchange) map[string]any {
	in, err := decodeJSON[statesRequest](x)
	if err != nil {
		return nil
	}
	return map[string]any{"stateMachineArn": in.StateMachineARN, "name": in.Name, "input": "HIDDEN_DUE_TO_SECURITY_REASONS"}
}

// startExecution is idempotent while the execution of a name and input runs;
// "StartExecution" of the Step Functions API reference.
func (a *AWS) startExecution(x *exchange) (*result, error) {
	in, err := decodeJSON[statesRequest](x)
	if err != nil {
		return nil, err
	}
	x.Resource = in.StateMachineARN
	input := "{}"
	if in.Input != nil {
		input = *in.Input
	}
	express, known := a.machines[in.StateMachineARN]
	switch {
	case !known:
		return nil, bad("StateMachineDoesNotExist", "State Machine Does Not Exist: '"+in.StateMachineARN+"'")
	case in.Name == "" || len(in.Name) > 80 || strings.ContainsAny(in.Name, " <>{}[]?*\"#%\\^|~`$&,;:/"):
		return nil, bad("InvalidName", "Invalid Name: '"+in.Name+"'")
	case !json.Valid([]byte(input)) || len(input) > 256<<10:
		return nil, bad("InvalidExecutionInput", "Invalid State Machine Execution Input")
	}
	arn := strings.Replace(in.StateMachineARN, ":stateMachine:", ":execution:", 1) + ":" + in.Name
	if express {
		arn = strings.Replace(in.StateMachineARN, ":stateMachine:", ":express:", 1) + ":" + in.Name + ":" + a.ids.uuid()
	}
	e := a.executions[arn]
	switch {
	case e == nil:
		e = &Execution{ARN: arn, Machine: in.StateMachineARN, Name: in.Name, Input: input, Status: "RUNNING", Started: x.now}
		a.executions[arn] = e
	case e.Status != "RUNNING" || e.Input != input:
		return nil, bad("ExecutionAlreadyExists", "Execution Already Exists: '"+arn+"'")
	}
	return &result{body: map[string]any{"executionArn": arn, "startDate": seconds(e.Started)}, elements: map[string]any{"executionArn": arn}}, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (a *AWS) describeExecution(x *exchange) (*result, error) {
	in, err := decodeJSON[statesRequest](x)
	if err != nil {
		return nil, err
	}
	x.Resource = in.ExecutionARN
	e := a.executions[in.ExecutionARN]
	if e == nil {
		return nil, bad("ExecutionDoesNotExist", "Execution Does Not Exist: '"+in.ExecutionARN+"'")
	}
	body := map[string]any{"executionArn": e.ARN, "stateMachineArn": e.Machine, "name": e.Name, "status": e.Status, "input": e.Input, "startDate": seconds(e.Started)}
	if !e.Ended.IsZero() {
		body["stopDate"] = seconds(e.Ended)
	}
	if e.Error != "" || e.Cause != "" {
		body["error"], body["cause"] = e.Error, e.Cause
	}
	return &result{body: body}, nil
}

// answerTask ends a task. It is refused where nobody waits any more.
func (a *AWS) answerTask(how string) func(x *exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		in, err := decodeJSON[statesRequest](x)
		if err != nil {
			return nil, err
		}
		for _, e := range a.executions {
			i := slices.IndexFunc(e.Tasks, func(t Task) bool { return t.Token == in.TaskToken })
			if i < 0 {
				continue
			}
			x.Resource = e.ARN
			if e.Status != "RUNNING" || e.Tasks[i].Answer != "" {
				return nil, bad("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
			}
			if how == "success" && !json.Valid([]byte(in.Output)) {
				return nil, bad("InvalidOutput", "Invalid Output")
			}
			e.Tasks[i].Answer, e.Tasks[i].Output, e.Tasks[i].Error, e.Tasks[i].Cause = how, in.Output, in.Error, in.Cause
			return &result{body: map[string]any{}}, nil
		}
		return nil, bad("InvalidToken", "Invalid Token: 'Invalid token'")
	}
}

// Executions lists all executions by ARN.
func (a *AWS) Executions() []Execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Execution
	for _, arn := range slices.Sorted(maps.Keys(a.executions)) {
		e := *a.executions[arn]
		e.Tasks = slices.Clone(e.Tasks)
		list = append(list, e)
	}
	return list
}

// BeginExecution starts an execution of a state machine that somebody else than
// secbot starts, and gives its ARN.
func (a *AWS) BeginExecution(machine, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	arn := strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + name
	a.executions[arn] = &Execution{ARN: arn, Machine: machine, Name: name, Input: "{}", Status: "RUNNING", Started: a.o.Now().UTC()}
	return arn
}

// EndExecution ends an execution and emits its event, as EventBridge delivers it.
func (a *AWS) EndExecution(arn, status, code, cause string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.executions[arn]
	if e == nil {
		return
	}
	e.Status, e.Error, e.Cause, e.Ended = status, code, cause, a.o.Now().UTC()
	a.emitStates("aws.states", "Step Functions Execution Status Change", e, map[string]any{"executionArn": arn, "stateMachineArn": e.Machine,
		"name": e.Name, "status": status, "startDate": e.Started.UnixMilli(), "stopDate": e.Ended.UnixMilli(), "error": code, "cause": cause})
}

// Ask has an execution wait for an answer: it puts an event of the given detail on the
// bus, as the integration arn:aws:states:::events:putEvents.waitForTaskToken does. The
// detail gets the task token and the execution's ARN. It gives the token.
func (a *AWS) Ask(execution, source, detailType string, detail map[string]any) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.executions[execution]
	if e == nil {
		return ""
	}
	token := "AQCYAAAAKgAAAAMAAAAA" + strings.ReplaceAll(a.ids.uuid()+a.ids.uuid(), "-", "")
	e.Tasks = append(e.Tasks, Task{Token: token})
	full := map[string]any{"task_token": token, "execution": execution}
	maps.Copy(full, detail)
	a.emitStates(source, detailType, e, full)
	return token
}

func (a *AWS) emitStates(source, detailType string, e *Execution, detail map[string]any) {
	raw, err := json.Marshal(map[string]any{"version": "0", "id": a.ids.uuid(), "detail-type": detailType, "source": source, "account": a.o.Account,
		"time": a.o.Now().UTC().Format(trailTime), "region": a.o.Region, "resources": []string{e.ARN, e.Machine}, "detail": detail})
	if err != nil {
		a.o.Log.Error("an event could not be written", "event", detailType, "error", err)
		return
	}
	a.events.add(raw)
}
