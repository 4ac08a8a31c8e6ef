package playbooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/internal/s3policy"
	"secbot/remediation"
)

// idPublicPolicy is the playbook's id.
const idPublicPolicy = "s3-public-policy"

type policyAPI interface {
	bucketPolicyReader
	bucketStatusReader
	PutBucketPolicy(ctx context.Context, in *s3.PutBucketPolicyInput, opts ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error)
	DeleteBucketPolicy(ctx context.Context, in *s3.DeleteBucketPolicyInput, opts ...func(*s3.Options)) (*s3.DeleteBucketPolicyOutput, error)
}

// publicPolicy takes public statements out of a bucket's policy and leaves all
// others as they stand.
type publicPolicy struct{ api policyAPI }

// policyParams are a step's parameters.
type policyParams struct {
	Before string                  `json:"before"` // the policy's text
	Remove []remediation.Statement `json:"remove"`
}

// Meta describes the playbook.
func (publicPolicy) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idPublicPolicy,
		Title:   "Public S3 bucket policy",
		Kind:    remediation.KindBucket,
		Handles: append([]string{"PutBucketPolicy"}, configKinds()...),
		Labels: remediation.Labels{
			Fixed:   "Public bucket policy closed",
			Ask:     "Bucket made public by its policy",
			Confirm: "This takes the public statements out of the bucket's policy. All other statements stay.",
			Undo:    "The public statements go back into the policy: the bucket will be public again.",
		},
		Undoable:    true,
		Permissions: append(bucketReadActions(), "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
	}
}

// Claim gives the public statements of the policy that the event put, or what
// AWS Config says.
func (p publicPolicy) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) {
		return nil
	}
	f := bucketFinding(idPublicPolicy, sig.Resource, &sig)
	f.Openness = sig.Change.Openness
	if len(sig.Change.Policy) > 0 {
		f.Statements = publicOnes(sig.Change.Policy)
		f.Openness = statementsOpenness(f.Statements)
	}
	if len(f.Openness) == 0 {
		return nil
	}
	f.Severity = bucketSeverity(f.Openness)
	return []remediation.Finding{f}
}

// publicOnes are the public statements of a policy as far as it can be
// understood.
func publicOnes(policy json.RawMessage) []remediation.Statement {
	all, err := s3policy.Statements(policy)
	if err != nil {
		return nil
	}
	var public []remediation.Statement
	for _, st := range all {
		if yes, openness, err := s3policy.Public(st); err == nil && yes {
			st.Openness = openness
			public = append(public, st)
		}
	}
	return public
}

// Judge finds the public statements that have an effect; after PutBucketPolicy
// those that the call put. Where S3 itself does not call the policy public, the
// live policy is no longer the event's, or a Deny for everybody stands beside, the
// finding is in doubt.
func (p publicPolicy) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*BucketState)
	if !ok || !handles(p.Meta(), sig) {
		return nil
	}
	statements, err := s.effectiveStatements()
	if err != nil || len(statements) == 0 {
		return nil // a policy that can't be understood is judged as unexplained
	}
	doubts := []string{s.doubt()}
	if !s.PolicyPublic {
		doubts = append(doubts, "S3 itself does not call the policy public; the statements found may have no effect")
	}
	if sig != nil && len(sig.Change.Policy) > 0 {
		if put := matching(statements, publicOnes(sig.Change.Policy)); len(put) > 0 {
			statements = put
		} else {
			doubts = append(doubts, "the policy has been replaced since, and what is public in it now is not what this event put")
		}
	}
	doubts = append(doubts, s.guarded(statements))
	f := stateFinding(idPublicPolicy, s, sig)
	f.Statements, f.Openness = statements, statementsOpenness(statements)
	f.Severity, f.Doubt = bucketSeverity(f.Openness), joinText(doubts)
	return []remediation.Finding{considered(f, s)}
}

// guarded says that a Deny of the policy may keep out whom the statements let in;
// empty where there is none.
func (s *BucketState) guarded(statements []remediation.Statement) string {
	all, err := s3policy.Statements(json.RawMessage(*s.Policy))
	if err != nil {
		return "" // then nothing would have been found
	}
	for _, st := range statements {
		if s3policy.Guarded(all, st) {
			return "a Deny beside it may keep strangers out all the same, or let only some of them in"
		}
	}
	return ""
}

func joinText(texts []string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "; ")
}

// matching are the statements of a that are in b too, whatever their spacing
// and order of members.
func matching(a, b []remediation.Statement) []remediation.Statement {
	var both []remediation.Statement
	for _, st := range a {
		if contains(b, st) {
			both = append(both, st)
		}
	}
	return both
}

func contains(list []remediation.Statement, st remediation.Statement) bool {
	want := canonical(string(st.JSON))
	return slices.ContainsFunc(list, func(o remediation.Statement) bool { return canonical(string(o.JSON)) == want })
}

// canonical gives JSON without spacing and with sorted members; text that is no
// JSON as it is.
func canonical(text string) string {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return text
	}
	out, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(out)
}

func statementsOpenness(list []remediation.Statement) []remediation.Openness {
	var open []remediation.Openness
	for _, o := range []remediation.Openness{remediation.PublicRead, remediation.PublicWrite} {
		if slices.ContainsFunc(list, func(s remediation.Statement) bool { return s.Openness == o }) {
			open = append(open, o)
		}
	}
	return open
}

// Plan takes the finding's statements out; all public ones where it names none.
func (p publicPolicy) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*BucketState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	remove, err := s.effectiveStatements()
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("policy of bucket %s: %w", s.Bucket.ID, err)
	}
	if len(f.Statements) > 0 {
		remove = matching(remove, f.Statements)
	}
	if len(remove) == 0 {
		return remediation.Plan{}, fmt.Errorf("bucket %s: %w", s.Bucket.ID, remediation.ErrNothingToDo)
	}
	after, err := without(*s.Policy, remove)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("policy of bucket %s: %w", s.Bucket.ID, err)
	}
	step := remediation.Step{Action: "s3:PutBucketPolicy",
		Summary: fmt.Sprintf("put the policy of bucket %s without %s", s.Bucket.ID, statementsText(remove))}
	if after == nil {
		step.Action = "s3:DeleteBucketPolicy"
		step.Summary = fmt.Sprintf("delete the policy of bucket %s, of which nothing but %s is there", s.Bucket.ID, statementsText(remove))
	}
	return newPlan(s, f, step, policyParams{Before: *s.Policy, Remove: remove}, diff(policyLines(s.Policy), policyLines(after)))
}

func statementsText(list []remediation.Statement) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = "statement " + s.Sid
		if s.Sid == "" {
			texts[i] = "a public statement"
		}
	}
	return strings.Join(texts, ", ")
}

// without gives the policy without the statements, all other text as it is; nil
// where none remains.
func without(policy string, remove []remediation.Statement) (*string, error) {
	out, left, err := s3policy.Without(json.RawMessage(policy), func(_ int, st remediation.Statement) bool { return contains(remove, st) })
	if err != nil || left == 0 {
		return nil, err
	}
	text := string(out)
	return &text, nil
}

// policyLines shows a policy in a diff: one line a statement.
func policyLines(policy *string) []string {
	if policy == nil {
		return []string{}
	}
	list, err := s3policy.Statements(json.RawMessage(*policy))
	if err != nil {
		return []string{*policy}
	}
	lines := make([]string, len(list))
	for i, s := range list {
		lines[i] = compact(s.JSON)
	}
	return lines
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return string(raw)
	}
	return b.String()
}

// Apply puts the live policy without the planned statements, or deletes it
// where nothing else is in it. Statements that others have put beside them
// since stay. Where none of the planned ones is left it changes nothing:
// ErrDrifted if the policy is public by other ones now.
func (p publicPolicy) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in policyParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	live, err := readPolicy(ctx, p.api, step.Resource)
	if err != nil {
		return remediation.Outcome{}, err
	}
	left, public, err := stillThere(live, in.Remove)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("policy of bucket %s: %w", step.Resource.ID, err)
	}
	if left == 0 {
		return p.nothingLeft(step.Resource, in, live, public)
	}
	after, err := without(*live, in.Remove)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("policy of bucket %s: %w", step.Resource.ID, err)
	}
	if err := p.put(ctx, step.Resource, after); err != nil {
		return remediation.Outcome{}, err
	}
	return swap[*string]{Before: live, After: after}.outcome(false)
}

// Announce implements remediation.Announcer.
func (p publicPolicy) Announce(step remediation.Step) ([]remediation.Intent, error) {
	var in policyParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return nil, fmt.Errorf("decode the step's parameters: %w", err)
	}
	after, err := without(in.Before, in.Remove)
	if err != nil {
		return nil, fmt.Errorf("policy of bucket %s: %w", step.Resource.ID, err)
	}
	if after == nil {
		return []remediation.Intent{bucketIntent("DeleteBucketPolicy", deletePolicy(step.Resource))}, nil
	}
	return []remediation.Intent{bucketIntent("PutBucketPolicy", putPolicy(step.Resource, after))}, nil
}

// stillThere counts the planned statements that the policy holds, and the
// public ones that it holds besides.
func stillThere(policy *string, remove []remediation.Statement) (left, public int, err error) {
	if policy == nil {
		return 0, 0, nil
	}
	all, err := s3policy.Statements(json.RawMessage(*policy))
	if err != nil {
		return 0, 0, err
	}
	left = len(matching(all, remove))
	for _, st := range publicOnes(json.RawMessage(*policy)) {
		if !contains(remove, st) {
			public++
		}
	}
	return left, public, nil
}

func (p publicPolicy) nothingLeft(ref remediation.Ref, in policyParams, live *string, public int) (remediation.Outcome, error) {
	if public > 0 {
		return remediation.Outcome{}, drift(ref, policyLines(&in.Before), policyLines(live))
	}
	after, err := without(in.Before, in.Remove)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("policy of bucket %s: %w", ref.ID, err)
	}
	return swap[*string]{Before: &in.Before, After: after}.outcome(true)
}

// put puts the policy, or deletes it where it is nil.
func (p publicPolicy) put(ctx context.Context, ref remediation.Ref, policy *string) error {
	if policy == nil {
		_, err := p.api.DeleteBucketPolicy(ctx, deletePolicy(ref), inRegion(ref))
		return callError(err, ref, "DeleteBucketPolicy", "s3:DeleteBucketPolicy")
	}
	_, err := p.api.PutBucketPolicy(ctx, putPolicy(ref, policy), inRegion(ref))
	return callError(err, ref, "PutBucketPolicy", "s3:PutBucketPolicy")
}

func putPolicy(ref remediation.Ref, policy *string) *s3.PutBucketPolicyInput {
	return &s3.PutBucketPolicyInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref), Policy: policy}
}

func deletePolicy(ref remediation.Ref) *s3.DeleteBucketPolicyInput {
	return &s3.DeleteBucketPolicyInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}
}

// Verify reads policy and status back: none of the planned statements may be
// there, and S3 must not call the policy public for no reason that can be seen.
func (p publicPolicy) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		var in policyParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		if err := p.verify(ctx, step.Resource, in.Remove); err != nil {
			return err
		}
	}
	return nil
}

func (p publicPolicy) verify(ctx context.Context, ref remediation.Ref, removed []remediation.Statement) error {
	live, err := readPolicy(ctx, p.api, ref)
	if err != nil {
		return err
	}
	left, public, err := stillThere(live, removed)
	if err != nil {
		return fmt.Errorf("policy of bucket %s: %w", ref.ID, err)
	}
	if left > 0 {
		return fmt.Errorf("the policy of bucket %s still has %s: %w", ref.ID, statementsText(removed), remediation.ErrNotVerified)
	}
	status, err := readPolicyStatus(ctx, p.api, ref)
	if err != nil {
		return err
	}
	if status && public == 0 {
		return fmt.Errorf("S3 still calls the policy of bucket %s public: %w", ref.ID, remediation.ErrNotVerified)
	}
	return nil
}

// Undo puts back the policy that Apply replaced, byte for byte.
func (p publicPolicy) Undo(ctx context.Context, plan remediation.Plan, o []remediation.Outcome) error {
	return part[*string]{
		read:  func(ctx context.Context, ref remediation.Ref) (*string, error) { return readPolicy(ctx, p.api, ref) },
		put:   p.put,
		equal: samePolicy,
		lines: policyLines,
	}.undo(ctx, plan, o)
}

func samePolicy(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return canonical(*a) == canonical(*b)
}
