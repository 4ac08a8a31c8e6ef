package events

import (
	"context"
	"errors"
	"time"

	"secbot/remediation"
)

// What a state machine that wants an approval sends, by EventBridge's PutEvents or as
// the body of a message to secbot's queue.
const (
	ApprovalSource = "secbot.approval"
	ApprovalType   = "Approval Requested"
)

// executionChange is the detail-type of "Step Functions Execution Status Change"
// events; "Automating AWS services with EventBridge" in the AWS Step Functions
// Developer Guide.
const (
	executionChange = "Step Functions Execution Status Change"
	sourceStates    = "aws.states"
)

// ApprovalPattern is the EventBridge event pattern of requests for approvals. Anybody
// may send those who may put events on the bus.
func ApprovalPattern() map[string]any {
	return map[string]any{"source": []string{ApprovalSource}, "detail-type": []string{ApprovalType}}
}

// ExecutionPattern is the event pattern of executions that have ended, whatever their
// state machine.
func ExecutionPattern() map[string]any {
	ends := []remediation.ExecutionStatus{remediation.ExecutionSucceeded, remediation.ExecutionFailed, remediation.ExecutionTimedOut, remediation.ExecutionAborted}
	return map[string]any{"source": []string{sourceStates}, "detail-type": []string{executionChange}, "detail": map[string]any{"status": ends}}
}

// Machines takes what state machines send.
type Machines interface {
	// AcceptTask stores a request for an approval, and AcceptRun that an execution
	// is to be looked at. A remediation.RefusedError says why it is not taken.
	AcceptTask(ctx context.Context, r remediation.TaskRequest) error
	AcceptRun(ctx context.Context, ev remediation.RunEvent) error
}

// approval is the detail of a request for an approval.
type approval struct {
	Token     text `json:"task_token"` // $$.Task.Token
	Execution text `json:"execution"`  // $$.Execution.Id
	Title     text `json:"title"`
	Text      text `json:"text"`
	Seconds   int  `json:"timeout_seconds"` // the task's own TimeoutSeconds
}

// decodeApproval decodes what a state machine asks. Only the account is EventBridge's
// own word: all else whoever may put events on the bus writes as they like.
func decodeApproval(e event) Result {
	kind := string(e.DetailType)
	if lenient[object](e.Detail) == nil {
		return Result{Kind: kind, Skipped: "its detail is no object", Unreadable: true}
	}
	a := lenient[approval](e.Detail)
	within := time.Duration(min(max(a.Seconds, 0), int((365*24*time.Hour).Seconds()))) * time.Second
	return Result{Kind: kind, Skipped: "a state machine asks for an approval, which people decide in Slack",
		Task: &remediation.TaskRequest{Token: remediation.TaskToken(a.Token), Execution: string(a.Execution), Account: string(e.Account),
			Title: string(a.Title), Text: string(a.Text), Within: within}}
}

// decodeExecution decodes how an execution stands. One that has just begun tells
// nothing: secbot has begun it itself.
func decodeExecution(e event) Result {
	kind := string(e.DetailType)
	d := lenient[struct {
		Execution text `json:"executionArn"`
		Status    text `json:"status"`
	}](e.Detail)
	if d.Execution == "" || d.Status == "" || d.Status == text(remediation.ExecutionRunning) {
		return Result{Kind: kind, Skipped: "it does not tell that an execution has ended"}
	}
	return Result{Kind: kind, Skipped: "an execution has ended; whether secbot has started it its store tells",
		Run: &remediation.RunEvent{EventID: string(e.ID), Execution: string(d.Execution)}}
}

// takeMachine has what a state machine sends stored. It reports whether there was
// anything, and why it is skipped.
func (h *Handler) takeMachine(ctx context.Context, r Result) (taken bool, skipped string, err error) {
	switch {
	case r.Task == nil && r.Run == nil:
		return false, r.Skipped, nil
	case h.Machines == nil:
		return false, "no state machines are listed in secbot.yaml", nil
	case r.Task != nil:
		err = h.Machines.AcceptTask(ctx, *r.Task)
	default:
		err = h.Machines.AcceptRun(ctx, *r.Run)
	}
	var refused *remediation.RefusedError
	if errors.As(err, &refused) {
		return false, refused.Text, nil
	}
	return err == nil, "", err
}
