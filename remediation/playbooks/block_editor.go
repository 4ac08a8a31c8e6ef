package playbooks

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"secbot/remediation"
)

// blockEditor turns the Block Public Access of a bucket or an account on and
// puts it back.
type blockEditor struct {
	part[*remediation.BlockFlags]
	what string // bucket or account
}

// blockParams are a step's parameters.
type blockParams struct {
	From *remediation.BlockFlags `json:"from"`
	To   *remediation.BlockFlags `json:"to"`
}

func allOn() *remediation.BlockFlags {
	return &remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}
}

// blockLines shows a block in a diff.
func blockLines(b *remediation.BlockFlags) []string {
	if b == nil {
		return []string{"no Block Public Access configuration"}
	}
	onOff := map[bool]string{true: "on", false: "off"}
	return []string{
		"BlockPublicAcls " + onOff[b.BlockPublicAcls], "IgnorePublicAcls " + onOff[b.IgnorePublicAcls],
		"BlockPublicPolicy " + onOff[b.BlockPublicPolicy], "RestrictPublicBuckets " + onOff[b.RestrictPublicBuckets],
	}
}

func sameBlock(a, b *remediation.BlockFlags) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// apply turns the flags on where the live block is the planned one.
func (e blockEditor) apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in blockParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	live, err := e.read(ctx, step.Resource)
	if err != nil {
		return remediation.Outcome{}, err
	}
	done := swap[*remediation.BlockFlags]{Before: in.From, After: in.To}
	if sameBlock(live, in.To) {
		return done.outcome(true)
	}
	if !sameBlock(live, in.From) {
		return remediation.Outcome{}, drift(step.Resource, blockLines(in.From), blockLines(live))
	}
	if err := e.put(ctx, step.Resource, in.To); err != nil {
		return remediation.Outcome{}, err
	}
	return done.outcome(false)
}

// verify reads the block back: all four flags must be on.
func (e blockEditor) verify(ctx context.Context, plan remediation.Plan) error {
	for _, step := range plan.Steps {
		live, err := e.read(ctx, step.Resource)
		if err != nil {
			return err
		}
		if !live.All() {
			return fmt.Errorf("%s %s still has %v: %w", e.what, step.Resource.ID, blockLines(live), remediation.ErrNotVerified)
		}
	}
	return nil
}

// blockFlags are the flags as S3 and S3 Control give them, each in a type of its
// own; a missing one is off.
func blockFlags(acls, ignore, policy, restrict *bool) *remediation.BlockFlags {
	return &remediation.BlockFlags{BlockPublicAcls: aws.ToBool(acls), IgnorePublicAcls: aws.ToBool(ignore),
		BlockPublicPolicy: aws.ToBool(policy), RestrictPublicBuckets: aws.ToBool(restrict)}
}
