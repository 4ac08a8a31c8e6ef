package remediation

import (
	"context"
	"errors"
	"strings"
	"time"
)

// DefaultRunTimeout is how long a run of a state machine is waited for where the
// policy does not say.
const DefaultRunTimeout = time.Hour

// StateMachine is a state machine of AWS Step Functions that the policy lists: its
// rules may have it started, and it may ask for approvals.
type StateMachine struct {
	Name      string        // what the policy's rules and people call it
	ARN       string        // without version or alias; of a standard one, since nobody can wait for an express one
	Timeout   time.Duration // how long a run is waited for
	Approvers []string      // who decides what it asks; empty: the Config's Responders
	Channel   string        // where it asks; empty: the Config's
}

// Machine is the state machine of a name.
func (c *Config) Machine(name string) (StateMachine, bool) {
	for _, m := range c.StateMachines {
		if m.Name == name {
			return m, true
		}
	}
	return StateMachine{}, false
}

// machineOf is the state machine behind the ARN of one of its executions.
func (c *Config) machineOf(execution string) (StateMachine, bool) {
	for _, m := range c.StateMachines {
		if strings.HasPrefix(execution, ExecutionARN(m.ARN, "")) {
			return m, true
		}
	}
	return StateMachine{}, false
}

// ExecutionARN is the ARN of a state machine's execution of a name; "Resource types
// defined by AWS Step Functions" of the Service Authorization Reference.
func ExecutionARN(machine, name string) string {
	return strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + name
}

// ExecutionStatus is how an execution stands, in AWS's words.
type ExecutionStatus string

// The statuses; "DescribeExecution" of the Step Functions API reference.
const (
	ExecutionRunning   ExecutionStatus = "RUNNING"
	ExecutionSucceeded ExecutionStatus = "SUCCEEDED"
	ExecutionFailed    ExecutionStatus = "FAILED"
	ExecutionTimedOut  ExecutionStatus = "TIMED_OUT"
	ExecutionAborted   ExecutionStatus = "ABORTED"
	ExecutionRedrive   ExecutionStatus = "PENDING_REDRIVE"
)

// Execution is an execution as AWS tells it.
type Execution struct {
	ARN       string
	Machine   string // the state machine's ARN
	Status    ExecutionStatus
	StartedAt time.Time
	EndedAt   time.Time // zero while it runs
	Error     string    // a failed one's error code
	Cause     string    // and what it says of it
}

// TaskToken stands for a task that waits; whoever has it can answer the task. It
// prints as a placeholder, so that no log or error shows it.
type TaskToken string

// String hides the token.
func (TaskToken) String() string { return "(task token)" }

// GoString hides the token.
func (TaskToken) GoString() string { return "(task token)" }

// ErrTaskOver says that nobody waits for the answer to a task any more: it has timed
// out, its execution has ended, it was answered, or its token is none.
var ErrTaskOver = errors.New("the task does not wait any more")

// Machines starts and watches state machines and answers their tasks. All methods
// go to the region of the ARN that they are given.
type Machines interface {
	// Start begins an execution and gives its ARN. It is idempotent: with a name
	// that the state machine has seen before it begins nothing and gives the
	// ARN of that execution. Express state machines know no names: each call starts
	// one, whose ARN is no ExecutionARN.
	Start(ctx context.Context, machine, name string, input []byte) (string, error)
	// Describe reads an execution.
	Describe(ctx context.Context, execution string) (Execution, error)
	// Succeed ends the task behind token, which waits in an execution, with a JSON
	// output; ErrTaskOver.
	Succeed(ctx context.Context, execution string, token TaskToken, output []byte) error
	// Fail ends it with an error's code, at most 256 characters, and its cause;
	// ErrTaskOver.
	Fail(ctx context.Context, execution string, token TaskToken, code, cause string) error
}
