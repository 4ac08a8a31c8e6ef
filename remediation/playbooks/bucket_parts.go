package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/remediation"
)

// readACL reads the ACL: the effective one where IgnorePublicAcls is on.
func readACL(ctx context.Context, api bucketACLReader, ref remediation.Ref) (ACL, error) {
	out, err := api.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
	if err != nil {
		return ACL{}, callError(err, ref, "GetBucketAcl", "s3:GetBucketAcl")
	}
	return aclOf(out.Owner, out.Grants), nil
}

func aclOf(owner *types.Owner, grants []types.Grant) ACL {
	acl := ACL{Grants: []ACLGrant{}}
	if owner != nil {
		acl.OwnerID, acl.OwnerName = aws.ToString(owner.ID), aws.ToString(owner.DisplayName)
	}
	for _, g := range grants {
		if g.Grantee == nil {
			continue
		}
		acl.Grants = append(acl.Grants, ACLGrant{
			Type: string(g.Grantee.Type), URI: aws.ToString(g.Grantee.URI), ID: aws.ToString(g.Grantee.ID),
			Name: aws.ToString(g.Grantee.DisplayName), Email: aws.ToString(g.Grantee.EmailAddress),
			Permission: string(g.Permission),
		})
	}
	return acl
}

type bucketACLReader interface {
	GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput, opts ...func(*s3.Options)) (*s3.GetBucketAclOutput, error)
}

// policy is the ACL as S3 takes it.
func (a ACL) policy() *types.AccessControlPolicy {
	p := &types.AccessControlPolicy{Owner: &types.Owner{ID: &a.OwnerID, DisplayName: optional(a.OwnerName)}, Grants: []types.Grant{}}
	for _, g := range a.Grants {
		p.Grants = append(p.Grants, types.Grant{Permission: types.Permission(g.Permission), Grantee: &types.Grantee{
			Type: types.Type(g.Type), URI: optional(g.URI), ID: optional(g.ID),
			DisplayName: optional(g.Name), EmailAddress: optional(g.Email),
		}})
	}
	return p
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

type bucketPolicyReader interface {
	GetBucketPolicy(ctx context.Context, in *s3.GetBucketPolicyInput, opts ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error)
}

// readPolicy reads the policy's text; nil where there is none.
func readPolicy(ctx context.Context, api bucketPolicyReader, ref remediation.Ref) (*string, error) {
	out, err := api.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
	if hasCode(err, "NoSuchBucketPolicy") {
		return nil, nil
	}
	if err != nil {
		return nil, callError(err, ref, "GetBucketPolicy", "s3:GetBucketPolicy")
	}
	return out.Policy, nil
}

type bucketStatusReader interface {
	GetBucketPolicyStatus(ctx context.Context, in *s3.GetBucketPolicyStatusInput, opts ...func(*s3.Options)) (*s3.GetBucketPolicyStatusOutput, error)
}

// readPolicyStatus asks S3 whether the policy is public; no policy is not.
func readPolicyStatus(ctx context.Context, api bucketStatusReader, ref remediation.Ref) (bool, error) {
	out, err := api.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
	if hasCode(err, "NoSuchBucketPolicy") {
		return false, nil
	}
	if err != nil {
		return false, callError(err, ref, "GetBucketPolicyStatus", "s3:GetBucketPolicyStatus")
	}
	return out.PolicyStatus != nil && aws.ToBool(out.PolicyStatus.IsPublic), nil
}

type bucketBlockReader interface {
	GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error)
}

// readBlock reads the bucket's own block; nil where there is none.
func readBlock(ctx context.Context, api bucketBlockReader, ref remediation.Ref) (*remediation.BlockFlags, error) {
	out, err := api.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
	if hasCode(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil, nil
	}
	if err != nil {
		return nil, callError(err, ref, "GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock")
	}
	c := out.PublicAccessBlockConfiguration
	if c == nil {
		return nil, nil
	}
	return blockFlags(c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets), nil
}

// part is one part of a bucket's configuration, read and put as a whole.
type part[T any] struct {
	read  func(ctx context.Context, ref remediation.Ref) (T, error)
	put   func(ctx context.Context, ref remediation.Ref, v T) error
	equal func(a, b T) bool
	lines func(v T) []string // for people, in a diff
}

// swap is what a step did to a part: the Outcome.Data of the bucket playbooks.
// Undo puts Before where After still is.
type swap[T any] struct {
	Before T `json:"before"`
	After  T `json:"after"`
}

func (s swap[T]) outcome(noop bool) (remediation.Outcome, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("encode the outcome: %w", err)
	}
	return remediation.Outcome{Noop: noop, Data: data}, nil
}

// undo puts back what the outcomes' steps replaced, the last first. It returns
// a *remediation.DriftError where a part is neither what a step left nor what
// was there before it.
//
// A step that found its effect already there is undone as well: its call may
// have been made by an earlier attempt whose answer was lost.
func (pt part[T]) undo(ctx context.Context, p remediation.Plan, outcomes []remediation.Outcome) error {
	for _, o := range slices.Backward(outcomes) {
		if o.Step < 0 || o.Step >= len(p.Steps) {
			return fmt.Errorf("outcome of step %d, but the plan has %d steps", o.Step, len(p.Steps))
		}
		var s swap[T]
		if err := json.Unmarshal(o.Data, &s); err != nil {
			return fmt.Errorf("decode the outcome of step %d: %w", o.Step, err)
		}
		if err := pt.undoStep(ctx, p.Steps[o.Step].Resource, s); err != nil {
			return err
		}
	}
	return nil
}

func (pt part[T]) undoStep(ctx context.Context, ref remediation.Ref, s swap[T]) error {
	live, err := pt.read(ctx, ref)
	if err != nil || pt.equal(live, s.Before) {
		return err
	}
	if !pt.equal(live, s.After) {
		return drift(ref, pt.lines(s.After), pt.lines(live))
	}
	if err := pt.put(ctx, ref, s.Before); err != nil {
		return err
	}
	return readBack(ctx, func() error {
		live, err := pt.read(ctx, ref)
		if err != nil || pt.equal(live, s.Before) {
			return err
		}
		return fmt.Errorf("%w: %s", remediation.ErrNotVerified, drift(ref, pt.lines(s.Before), pt.lines(live)).Error()) // not wrapped: it is no refusal
	})
}

// drift is a DriftError of the lines that differ.
func drift(ref remediation.Ref, expected, live []string) *remediation.DriftError {
	return &remediation.DriftError{Resource: ref, Diff: slices.DeleteFunc(diff(expected, live), func(d remediation.DiffLine) bool {
		return d.Op == " "
	})}
}

// diff tells two lists of lines apart: what only the first has, what only the
// second has, and what stays.
func diff(before, after []string) []remediation.DiffLine {
	rest := slices.Clone(after)
	var lines []remediation.DiffLine
	for _, text := range before {
		if i := slices.Index(rest, text); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			lines = append(lines, remediation.DiffLine{Op: " ", Text: text})
			continue
		}
		lines = append(lines, remediation.DiffLine{Op: "-", Text: text})
	}
	for _, text := range rest {
		lines = append(lines, remediation.DiffLine{Op: "+", Text: text})
	}
	return lines
}

// errWrongState says that a playbook was given a state of another kind.
var errWrongState = errors.New("not a state of the kind that this playbook judges")

// newPlan is a plan of one step.
func newPlan(s remediation.State, f remediation.Finding, step remediation.Step, params any, lines []remediation.DiffLine) (remediation.Plan, error) {
	before, err := json.Marshal(s)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the state before: %w", err)
	}
	step.Params, err = json.Marshal(params)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the step's parameters: %w", err)
	}
	step.Resource = s.Ref()
	return remediation.Plan{Playbook: f.Playbook, Finding: f, Before: before, Steps: []remediation.Step{step}, Diff: lines}, nil
}

// fromSignal fills what a finding takes over from its event.
func fromSignal(f remediation.Finding, sig *remediation.Signal) remediation.Finding {
	if sig != nil {
		f.Actor, f.Event, f.EventID, f.At = sig.Actor, sig.Kind, sig.EventID, sig.At
	}
	return f
}

// bucketSeverity rates a bucket by its worst openness.
func bucketSeverity(open []remediation.Openness) remediation.Severity {
	switch {
	case slices.Contains(open, remediation.PublicWrite):
		return remediation.SeverityCritical
	case slices.Contains(open, remediation.PublicRead):
		return remediation.SeverityHigh
	}
	return remediation.SeverityMedium
}
