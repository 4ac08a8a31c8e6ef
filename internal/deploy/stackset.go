package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// StackSet is a stack in every account of parts of an organisation, also of those
// that join later, in some regions. CloudFormation makes it with its own roles
// (service-managed), from the organisation's management account.
type StackSet struct {
	*Stack
	Units   []string // the organisational units, ou-…, or the root, r-…
	Regions []string // in this order: the first makes what all others need
}

// Apply brings the stacks to what the template and the parameters say, after it has
// asked, and waits until all is done. ErrRefused: the answer was no.
func (s *StackSet) Apply(ctx context.Context, parameters map[string]string) error {
	set, err := s.findSet(ctx)
	if err != nil && !errors.Is(err, ErrNoStack) {
		return err
	}
	values, err := s.Template.values(parameters, setAsStack(set))
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "The stack set %s goes to each account of %s, now and later, in %s.\n\n", s.Name, strings.Join(s.Units, ", "), strings.Join(s.Regions, ", "))
	if err := consent(s.Ask("Do it?")); err != nil {
		return err
	}
	if set == nil {
		err = s.create(ctx, values)
	} else {
		err = s.update(ctx, values)
	}
	if err != nil {
		return err
	}
	out, err := s.Client.CreateStackInstances(ctx, &cloudformation.CreateStackInstancesInput{StackSetName: &s.Name, Regions: s.Regions,
		DeploymentTargets: s.targets(), OperationPreferences: s.preferences()})
	if err != nil {
		return fmt.Errorf("make the stacks of the accounts (cloudformation:CreateStackInstances): %w", err)
	}
	return s.await(ctx, out.OperationId)
}

// setAsStack has the parameters of a set, as a stack of it has them.
func setAsStack(set *types.StackSet) *types.Stack {
	if set == nil {
		return nil
	}
	return &types.Stack{Parameters: set.Parameters}
}

func (s *StackSet) findSet(ctx context.Context) (*types.StackSet, error) {
	out, err := s.Client.DescribeStackSet(ctx, &cloudformation.DescribeStackSetInput{StackSetName: &s.Name})
	var none *types.StackSetNotFoundException
	if errors.As(err, &none) {
		return nil, ErrNoStack
	}
	if err != nil {
		return nil, fmt.Errorf("look for the stack set %s (cloudformation:DescribeStackSet, in the organisation's management account): %w", s.Name, err)
	}
	return out.StackSet, nil
}

func (s *StackSet) create(ctx context.Context, values []types.Parameter) error {
	_, err := s.Client.CreateStackSet(ctx, &cloudformation.CreateStackSetInput{StackSetName: &s.Name, TemplateBody: &s.Template.Body, Parameters: values,
		PermissionModel: types.PermissionModelsServiceManaged, Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
		AutoDeployment: &types.AutoDeployment{Enabled: aws.Bool(true), RetainStacksOnAccountRemoval: aws.Bool(false)}})
	if err != nil {
		return fmt.Errorf("make the stack set %s (cloudformation:CreateStackSet; trusted access must be on for StackSets in AWS Organizations): %w", s.Name, err)
	}
	return nil
}

func (s *StackSet) update(ctx context.Context, values []types.Parameter) error {
	out, err := s.Client.UpdateStackSet(ctx, &cloudformation.UpdateStackSetInput{StackSetName: &s.Name, TemplateBody: &s.Template.Body, Parameters: values,
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam}, OperationPreferences: s.preferences()})
	if err != nil {
		return fmt.Errorf("change the stack set %s (cloudformation:UpdateStackSet): %w", s.Name, err)
	}
	return s.await(ctx, out.OperationId)
}

func (s *StackSet) targets() *types.DeploymentTargets {
	return &types.DeploymentTargets{OrganizationalUnitIds: s.Units}
}

// preferences: one region after the other, since the first makes the roles.
func (s *StackSet) preferences() *types.StackSetOperationPreferences {
	return &types.StackSetOperationPreferences{RegionOrder: s.Regions, RegionConcurrencyType: types.RegionConcurrencyTypeSequential,
		MaxConcurrentPercentage: aws.Int32(100), FailureTolerancePercentage: aws.Int32(100)}
}

// await waits for an operation and returns an error unless it succeeds.
func (s *StackSet) await(ctx context.Context, operation *string) error {
	for {
		out, err := s.Client.DescribeStackSetOperation(ctx, &cloudformation.DescribeStackSetOperationInput{StackSetName: &s.Name, OperationId: operation})
		if err != nil {
			return fmt.Errorf("read how far the stack set is (cloudformation:DescribeStackSetOperation): %w", err)
		}
		op := out.StackSetOperation
		switch op.Status {
		case types.StackSetOperationStatusSucceeded:
			fmt.Fprintf(s.Out, "  %s  %s\n", op.Status, op.Action)
			return nil
		case types.StackSetOperationStatusFailed, types.StackSetOperationStatusStopped:
			return s.failure(ctx, op)
		}
		if err := s.Sleep(ctx, lookEvery); err != nil {
			return fmt.Errorf("the stack set goes on changing, look at it in the console: %w", err)
		}
	}
}

// failure names the accounts and regions in which it went wrong.
func (s *StackSet) failure(ctx context.Context, op *types.StackSetOperation) error {
	faults := []string{aws.ToString(op.StatusReason)}
	pages := cloudformation.NewListStackSetOperationResultsPaginator(s.Client, &cloudformation.ListStackSetOperationResultsInput{StackSetName: &s.Name, OperationId: op.OperationId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("the stack set %s ended as %s, and why can't be read (cloudformation:ListStackSetOperationResults): %w", s.Name, op.Status, err)
		}
		for _, r := range page.Summaries {
			if r.Status == types.StackSetOperationResultStatusFailed {
				faults = append(faults, fmt.Sprintf("%s in %s: %s", aws.ToString(r.Account), aws.ToString(r.Region), aws.ToString(r.StatusReason)))
			}
		}
	}
	return fmt.Errorf("the stack set %s ended as %s: %s", s.Name, op.Status, strings.Trim(strings.Join(faults, "; "), "; "))
}

// Destroy asks, then takes the stacks out of all accounts, and the set itself.
// ErrNoStack: there is none; ErrRefused: the answer was no.
func (s *StackSet) Destroy(ctx context.Context) error {
	if _, err := s.findSet(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "The stack set %s goes from each account of %s, in %s.\n\n", s.Name, strings.Join(s.Units, ", "), strings.Join(s.Regions, ", "))
	if err := consent(s.Ask("Take it out?")); err != nil {
		return err
	}
	out, err := s.Client.DeleteStackInstances(ctx, &cloudformation.DeleteStackInstancesInput{StackSetName: &s.Name, Regions: s.Regions,
		DeploymentTargets: s.targets(), RetainStacks: aws.Bool(false), OperationPreferences: s.preferences()})
	if err != nil {
		return fmt.Errorf("take the stacks out of the accounts (cloudformation:DeleteStackInstances): %w", err)
	}
	if err := s.await(ctx, out.OperationId); err != nil {
		return err
	}
	if _, err := s.Client.DeleteStackSet(ctx, &cloudformation.DeleteStackSetInput{StackSetName: &s.Name}); err != nil {
		return fmt.Errorf("delete the stack set %s (cloudformation:DeleteStackSet): %w", s.Name, err)
	}
	return nil
}
