package awsenv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"secbot/remediation"
)

// Machines reaches the state machines of AWS Step Functions. It implements
// remediation.Machines; clients are made when they are needed, one a region.
type Machines struct {
	cfg aws.Config

	mu      sync.Mutex
	clients map[string]*sfn.Client
}

// NewMachines makes Machines on a configuration. It calls nobody.
func NewMachines(cfg aws.Config) *Machines {
	return &Machines{cfg: cfg, clients: map[string]*sfn.Client{}}
}

// client is that of the region in an ARN.
func (m *Machines) client(of string) (*sfn.Client, error) {
	a, err := arn.Parse(of)
	if err != nil || a.Service != "states" || !plausibleRegion(a.Region) {
		return nil, fmt.Errorf("%q is no ARN of Step Functions", of)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clients[a.Region] == nil {
		m.clients[a.Region] = sfn.NewFromConfig(m.cfg, func(o *sfn.Options) { o.Region = a.Region })
	}
	return m.clients[a.Region], nil
}

// Start begins an execution; see remediation.Machines. Step Functions answers the
// same again while an execution of that name and input runs, and with an error once
// it has ended.
func (m *Machines) Start(ctx context.Context, machine, name string, input []byte) (string, error) {
	client, err := m.client(machine)
	if err != nil {
		return "", err
	}
	out, err := client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &machine, Name: &name, Input: aws.String(string(input))})
	var exists *types.ExecutionAlreadyExists
	if errors.As(err, &exists) {
		return remediation.ExecutionARN(machine, name), nil
	}
	if err != nil {
		return "", fmt.Errorf("start state machine %s: %w", machine, err)
	}
	return aws.ToString(out.ExecutionArn), nil
}

// Describe reads an execution; see remediation.Machines.
func (m *Machines) Describe(ctx context.Context, execution string) (remediation.Execution, error) {
	client, err := m.client(execution)
	if err != nil {
		return remediation.Execution{}, err
	}
	out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &execution})
	if err != nil {
		return remediation.Execution{}, fmt.Errorf("look at execution %s: %w", execution, err)
	}
	return remediation.Execution{
		ARN: aws.ToString(out.ExecutionArn), Machine: aws.ToString(out.StateMachineArn), Status: remediation.ExecutionStatus(out.Status),
		StartedAt: aws.ToTime(out.StartDate), EndedAt: aws.ToTime(out.StopDate), Error: aws.ToString(out.Error), Cause: aws.ToString(out.Cause),
	}, nil
}

// Succeed ends a task; see remediation.Machines.
func (m *Machines) Succeed(ctx context.Context, execution string, token remediation.TaskToken, output []byte) error {
	client, err := m.client(execution)
	if err != nil {
		return err
	}
	_, err = client.SendTaskSuccess(ctx, &sfn.SendTaskSuccessInput{TaskToken: aws.String(string(token)), Output: aws.String(string(output))})
	return answered(err)
}

// Fail ends a task; see remediation.Machines.
func (m *Machines) Fail(ctx context.Context, execution string, token remediation.TaskToken, code, cause string) error {
	client, err := m.client(execution)
	if err != nil {
		return err
	}
	_, err = client.SendTaskFailure(ctx, &sfn.SendTaskFailureInput{TaskToken: aws.String(string(token)), Error: &code, Cause: &cause})
	return answered(err)
}

// answered knows the errors after which nobody waits any more; "SendTaskSuccess" of
// the Step Functions API reference.
func answered(err error) error {
	var (
		late *types.TaskTimedOut
		gone *types.TaskDoesNotExist
		none *types.InvalidToken
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &late), errors.As(err, &gone), errors.As(err, &none):
		return fmt.Errorf("%w: %w", remediation.ErrTaskOver, err)
	}
	return fmt.Errorf("answer a task: %w", err)
}

// MachineActions are the IAM actions on state machines, those of answering their
// tasks among them, and those on their executions, sorted.
func MachineActions() (onMachines, onExecutions []string) {
	return []string{"states:SendTaskFailure", "states:SendTaskSuccess", "states:StartExecution"}, []string{"states:DescribeExecution"}
}
