// Package deploy brings CloudFormation stacks up and takes them out again, so that a
// person sees first what will be done and then how it goes.
package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

var (
	// ErrRefused says that the person did not want it. Nothing was changed.
	ErrRefused = errors.New("nothing was changed")
	// ErrNoStack says that there is no stack of that name.
	ErrNoStack = errors.New("there is no such stack")
)

// Stack is a stack to bring up or to take out.
type Stack struct {
	Client   *cloudformation.Client
	Name     string
	Template *Template
	Out      io.Writer // what a person reads
	// Ask gives the answer to a question that is to be answered by yes or no.
	Ask func(question string) (bool, error)
	// Sleep waits between two looks at how far it is.
	Sleep func(ctx context.Context, d time.Duration) error
	// Now names change sets.
	Now func() time.Time
}

// lookEvery is how long to wait between two looks.
const lookEvery = 3 * time.Second

// Outputs are a stack's, by their names.
type Outputs map[string]string

// Apply brings the stack to what the template and the parameters say, and gives its
// outputs. Parameters that are not named keep the value that they have, else get
// their default. It shows the changes, asks, calls before, and waits until all is
// done. ErrRefused: the answer was no.
func (s *Stack) Apply(ctx context.Context, parameters map[string]string, before func(context.Context) error) (Outputs, error) {
	stack, err := s.find(ctx)
	if err != nil && !errors.Is(err, ErrNoStack) {
		return nil, err
	}
	kind := types.ChangeSetTypeUpdate
	if stack == nil || stack.StackStatus == types.StackStatusReviewInProgress { // an attempt that ended before it was asked
		kind, stack = types.ChangeSetTypeCreate, nil
	} else if err := changeable(stack); err != nil {
		return nil, err
	}
	values, err := s.Template.values(parameters, stack)
	if err != nil {
		return nil, err
	}
	id, changes, err := s.plan(ctx, kind, values)
	if errors.Is(err, errNothingToDo) {
		fmt.Fprintf(s.Out, "The stack %s is as it should be.\n", s.Name)
		return outputs(stack), s.discard(ctx, kind, id)
	}
	if err != nil {
		return nil, err
	}
	if err := printChanges(s.Out, s.Name, changes); err != nil {
		return nil, err
	}
	if err := consent(s.Ask("Do it?")); err != nil {
		return nil, errors.Join(err, s.discard(ctx, kind, id))
	}
	if err := before(ctx); err != nil {
		return nil, errors.Join(err, s.discard(ctx, kind, id))
	}
	return s.execute(ctx, id)
}

// consent is ErrRefused where the answer was no.
func consent(ok bool, err error) error {
	if err == nil && !ok {
		err = ErrRefused
	}
	return err
}

// find gives the stack; ErrNoStack where there is none.
func (s *Stack) find(ctx context.Context) (*types.Stack, error) { return s.describe(ctx, s.Name) }

// Parameters gives the values that the stack has, by their names; of a secret one only
// asterisks. ErrNoStack: there is none.
func (s *Stack) Parameters(ctx context.Context) (map[string]string, error) {
	stack, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, p := range stack.Parameters {
		all[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	return all, nil
}

// describe finds a stack that is gone by its id alone.
func (s *Stack) describe(ctx context.Context, nameOrID string) (*types.Stack, error) {
	out, err := s.Client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &nameOrID})
	if noStack(err) {
		return nil, ErrNoStack
	}
	if err != nil {
		return nil, fmt.Errorf("look for the stack %s (cloudformation:DescribeStacks): %w", s.Name, err)
	}
	if len(out.Stacks) != 1 {
		return nil, ErrNoStack
	}
	return &out.Stacks[0], nil
}

// noStack knows CloudFormation's answer by its text, since it has no code of its own.
func noStack(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationError" && strings.Contains(api.ErrorMessage(), "does not exist")
}

// changeable says why a stack takes no change set, and what to do.
func changeable(stack *types.Stack) error {
	switch status := stack.StackStatus; {
	case strings.HasSuffix(string(status), "_IN_PROGRESS"):
		return fmt.Errorf("the stack %s is being changed (%s): wait until that has ended", aws.ToString(stack.StackName), status)
	case status == types.StackStatusRollbackComplete, status == types.StackStatusCreateFailed, status == types.StackStatusRollbackFailed, status == types.StackStatusDeleteFailed:
		return fmt.Errorf("the stack %s is of no use (%s): take it out with --destroy, then begin anew", aws.ToString(stack.StackName), status)
	}
	return nil
}

// errNothingToDo says that a stack is as it should be.
var errNothingToDo = errors.New("there is nothing to do")

// plan makes a change set and gives the resources that it changes, perhaps none where
// only outputs change. errNothingToDo: it changes nothing at all.
func (s *Stack) plan(ctx context.Context, kind types.ChangeSetType, parameters []types.Parameter) (id string, changes []types.ResourceChange, err error) {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &s.Name, ChangeSetName: aws.String("secbot-" + s.Now().UTC().Format("20060102-150405")), ChangeSetType: kind,
		TemplateBody: &s.Template.Body, Parameters: parameters, Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
	}
	if kind == types.ChangeSetTypeCreate {
		in.OnStackFailure = types.OnStackFailureDelete // what could not be made leaves nothing to clean up
	}
	made, err := s.Client.CreateChangeSet(ctx, in)
	if err != nil && nothingToDo(err.Error()) {
		return "", nil, errNothingToDo
	}
	if err != nil {
		return "", nil, fmt.Errorf("plan the changes (cloudformation:CreateChangeSet): %w", err)
	}
	id = aws.ToString(made.Id)
	for {
		out, err := s.Client.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &id, StackName: &s.Name})
		if err != nil {
			return id, nil, fmt.Errorf("read the planned changes (cloudformation:DescribeChangeSet): %w", err)
		}
		switch out.Status {
		case types.ChangeSetStatusCreateComplete:
			changes, err := s.changes(ctx, id, out)
			return id, changes, err
		case types.ChangeSetStatusFailed:
			return id, nil, s.unplanned(ctx, kind, id, aws.ToString(out.StatusReason))
		}
		if err := s.Sleep(ctx, lookEvery); err != nil {
			return id, nil, err
		}
	}
}

// nothingToDo knows by its text that a stack is as it should be: there is no code
// for it.
func nothingToDo(reason string) bool {
	return strings.Contains(reason, "didn't contain changes") || strings.Contains(reason, "No updates are to be performed")
}

// unplanned says why there is no plan.
func (s *Stack) unplanned(ctx context.Context, kind types.ChangeSetType, id, reason string) error {
	if nothingToDo(reason) {
		return errNothingToDo
	}
	return errors.Join(fmt.Errorf("the changes can't be planned: %s", reason), s.discard(ctx, kind, id))
}

func (s *Stack) changes(ctx context.Context, id string, out *cloudformation.DescribeChangeSetOutput) ([]types.ResourceChange, error) {
	var all []types.ResourceChange
	for {
		for _, c := range out.Changes {
			if c.ResourceChange != nil {
				all = append(all, *c.ResourceChange)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			return all, nil
		}
		var err error
		if out, err = s.Client.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &id, StackName: &s.Name, NextToken: out.NextToken}); err != nil {
			return nil, fmt.Errorf("read the planned changes (cloudformation:DescribeChangeSet): %w", err)
		}
	}
}

// discard takes back a plan, if there is one, and the empty stack that it made.
func (s *Stack) discard(ctx context.Context, kind types.ChangeSetType, id string) error {
	if id == "" {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // also where the person has pressed Ctrl-C
	if kind == types.ChangeSetTypeCreate {
		if _, err := s.Client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &s.Name}); err != nil {
			return fmt.Errorf("take back the empty stack %s (cloudformation:DeleteStack): %w", s.Name, err)
		}
		return nil
	}
	if _, err := s.Client.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: &id, StackName: &s.Name}); err != nil {
		return fmt.Errorf("take back the planned changes (cloudformation:DeleteChangeSet): %w", err)
	}
	return nil
}

func printChanges(out io.Writer, stack string, changes []types.ResourceChange) error {
	if len(changes) == 0 {
		fmt.Fprintf(out, "In the stack %s no resource will change, only what it says of itself.\n\n", stack)
		return nil
	}
	fmt.Fprintf(out, "What will change in the stack %s:\n\n", stack)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		action := strings.ToLower(string(c.Action))
		if c.Replacement == types.ReplacementTrue {
			action = "replace"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", action, aws.ToString(c.LogicalResourceId), aws.ToString(c.ResourceType))
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// execute carries a plan out, tells how it goes, and gives the outputs.
func (s *Stack) execute(ctx context.Context, changeSet string) (Outputs, error) {
	stack, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	id := aws.ToString(stack.StackId)
	watch, err := s.watch(ctx, id)
	if err != nil {
		return nil, err
	}
	if _, err := s.Client.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: &changeSet, StackName: &s.Name}); err != nil {
		return nil, fmt.Errorf("carry out the changes (cloudformation:ExecuteChangeSet): %w", err)
	}
	stack, err = watch.until(ctx)
	if err != nil {
		return nil, err
	}
	switch stack.StackStatus {
	case types.StackStatusCreateComplete, types.StackStatusUpdateComplete:
		return outputs(stack), nil
	}
	return nil, watch.failure(stack.StackStatus)
}

func outputs(stack *types.Stack) Outputs {
	all := Outputs{}
	if stack != nil {
		for _, o := range stack.Outputs {
			all[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
		}
	}
	return all
}

// Destroy shows what goes and what stays, asks, and deletes the stack. It gives what
// stays. ErrNoStack: there was none; ErrRefused: the answer was no.
func (s *Stack) Destroy(ctx context.Context) ([]Kept, error) {
	stack, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	gone, kept, err := s.resources(ctx)
	if err != nil {
		return nil, err
	}
	if err := printEnd(s.Out, s.Name, gone, kept); err != nil {
		return nil, err
	}
	if err := consent(s.Ask("Take it out?")); err != nil {
		return nil, err
	}
	watch, err := s.watch(ctx, aws.ToString(stack.StackId))
	if err != nil {
		return nil, err
	}
	if _, err := s.Client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &s.Name}); err != nil {
		return nil, fmt.Errorf("delete the stack %s (cloudformation:DeleteStack): %w", s.Name, err)
	}
	switch stack, err := watch.until(ctx); {
	case errors.Is(err, ErrNoStack):
		return kept, nil
	case err != nil:
		return nil, err
	case stack.StackStatus != types.StackStatusDeleteComplete:
		return nil, watch.failure(stack.StackStatus)
	}
	return kept, nil
}

// Kept is a resource that stays when its stack goes.
type Kept struct{ Logical, Type, ID string }

func (k Kept) rank() int { return strings.Index(k.Type, "::KMS::") }

// Remove is the command that takes it away.
func (k Kept) Remove() string {
	switch k.Type {
	case "AWS::DynamoDB::Table":
		return "aws dynamodb delete-table --table-name " + k.ID
	case "AWS::S3::Bucket":
		return "aws s3 rb --force s3://" + k.ID
	case "AWS::KMS::Key":
		return "aws kms schedule-key-deletion --pending-window-in-days 7 --key-id " + k.ID
	}
	return "delete it by hand"
}

// resources tells what goes with the stack from what stays.
func (s *Stack) resources(ctx context.Context) (gone []types.StackResourceSummary, kept []Kept, err error) {
	pages := cloudformation.NewListStackResourcesPaginator(s.Client, &cloudformation.ListStackResourcesInput{StackName: &s.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("list what the stack %s holds (cloudformation:ListStackResources): %w", s.Name, err)
		}
		for _, r := range page.StackResourceSummaries {
			if name := aws.ToString(r.LogicalResourceId); slices.Contains(s.Template.Kept, name) {
				kept = append(kept, Kept{name, aws.ToString(r.ResourceType), aws.ToString(r.PhysicalResourceId)})
			} else if name != "" {
				gone = append(gone, r)
			}
		}
	}
	// The key last: what it encrypts can't be read without it.
	slices.SortStableFunc(kept, func(a, b Kept) int { return cmp.Compare(a.rank(), b.rank()) })
	return gone, kept, nil
}

func printEnd(out io.Writer, stack string, gone []types.StackResourceSummary, kept []Kept) error {
	fmt.Fprintf(out, "What goes with the stack %s, and what stays:\n\n", stack)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range gone {
		fmt.Fprintf(table, "  goes\t%s\t%s\t%s\n", aws.ToString(r.LogicalResourceId), aws.ToString(r.ResourceType), aws.ToString(r.PhysicalResourceId))
	}
	for _, k := range kept {
		fmt.Fprintf(table, "  stays\t%s\t%s\t%s\n", k.Logical, k.Type, k.ID)
	}
	fmt.Fprintln(table)
	return table.Flush()
}
