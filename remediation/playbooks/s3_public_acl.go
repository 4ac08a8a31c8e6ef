package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/remediation"
)

// idPublicACL is the playbook's id.
const idPublicACL = "s3-public-acl"

type aclAPI interface {
	bucketACLReader
	PutBucketAcl(ctx context.Context, in *s3.PutBucketAclInput, opts ...func(*s3.Options)) (*s3.PutBucketAclOutput, error)
}

// publicACL takes public grants out of a bucket's ACL and leaves all others.
type publicACL struct{ api aclAPI }

// aclParams are a step's parameters.
type aclParams struct {
	Before ACL                 `json:"before"`
	Remove []remediation.Grant `json:"remove"`
}

// Meta describes the playbook.
func (publicACL) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idPublicACL,
		Title:   "Public S3 bucket ACL",
		Kind:    remediation.KindBucket,
		Handles: slices.Concat([]string{"PutBucketAcl", "CreateBucket"}, ownershipKinds(), configKinds()),
		Labels: remediation.Labels{
			Fixed:   "Public bucket ACL closed",
			Ask:     "Bucket made public by its ACL",
			Confirm: "This takes the public grants out of the bucket's ACL. All other grants stay.",
			Undo:    "The public grants go back into the ACL: the bucket will be public again.",
		},
		Undoable:    true,
		Permissions: append(bucketReadActions(), "s3:PutBucketAcl"),
	}
}

// configKinds are the kinds of signals in which AWS Config calls a bucket public.
func configKinds() []string { return []string{"PutEvaluations", "Config Rules Compliance Change"} }

// handles reports whether a playbook judges after a signal; always in a scan.
func handles(m remediation.Meta, sig *remediation.Signal) bool {
	return sig == nil || slices.Contains(m.Handles, sig.Kind)
}

// Claim gives the grants that the event put, or what AWS Config says.
func (p publicACL) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || (len(sig.Change.Grants) == 0 && len(sig.Change.Openness) == 0) {
		return nil
	}
	f := bucketFinding(idPublicACL, sig.Resource, &sig)
	f.Grants, f.Openness = sig.Change.Grants, sig.Change.Openness
	if len(f.Grants) > 0 {
		f.Openness = grantsOpenness(f.Grants)
	}
	f.Severity = bucketSeverity(f.Openness)
	return []remediation.Finding{f}
}

// Judge finds the public grants that have an effect; after PutBucketAcl only
// those that the call put, as far as its event tells them. What the event does
// not tell is the live ACL, since the call replaces all of it.
func (p publicACL) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*BucketState)
	if !ok || !handles(p.Meta(), sig) {
		return nil
	}
	grants := s.effectiveGrants()
	if sig != nil && sig.Kind == "PutBucketAcl" && sig.Change.Unread == "" {
		grants = common(grants, sig.Change.Grants)
	}
	if len(grants) == 0 {
		return nil
	}
	f := stateFinding(idPublicACL, s, sig)
	f.Grants, f.Openness = grants, grantsOpenness(grants)
	f.Severity = bucketSeverity(f.Openness)
	return []remediation.Finding{considered(f, s)}
}

// common are the grants of a that are in b too.
func common(a, b []remediation.Grant) []remediation.Grant {
	var both []remediation.Grant
	for _, g := range a {
		if slices.ContainsFunc(b, func(o remediation.Grant) bool { return sameGrant(g, o) }) {
			both = append(both, g)
		}
	}
	return both
}

func grantsOpenness(grants []remediation.Grant) []remediation.Openness {
	var list []remediation.Openness
	for _, o := range []remediation.Openness{remediation.PublicRead, remediation.PublicWrite} {
		if slices.ContainsFunc(grants, func(g remediation.Grant) bool { return g.Openness == o }) {
			list = append(list, o)
		}
	}
	return list
}

// bucketFinding is a finding about a bucket, its event filled in.
func bucketFinding(playbook string, ref remediation.Ref, sig *remediation.Signal) remediation.Finding {
	return fromSignal(remediation.Finding{Playbook: playbook, Resource: ref, Name: ref.ID}, sig)
}

// stateFinding is a finding about a bucket that was read.
func stateFinding(playbook string, s *BucketState, sig *remediation.Signal) remediation.Finding {
	f := bucketFinding(playbook, s.Bucket, sig)
	f.Tags, f.Notes, f.Doubt = s.Tags, s.notes(), s.doubt()
	return f
}

// Plan takes the finding's grants out; all public ones where it names none.
func (p publicACL) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*BucketState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	remove := s.effectiveGrants()
	if len(f.Grants) > 0 {
		remove = common(remove, f.Grants)
	}
	if len(remove) == 0 {
		return remediation.Plan{}, fmt.Errorf("bucket %s: %w", s.Bucket.ID, remediation.ErrNothingToDo)
	}
	step := remediation.Step{Action: "s3:PutBucketAcl", Summary: "put the ACL of bucket " + s.Bucket.ID + " without " + grantsText(remove)}
	return newPlan(s, f, step, aclParams{Before: s.ACL, Remove: remove}, diff(s.ACL.lines(), s.ACL.without(remove).lines()))
}

func grantsText(grants []remediation.Grant) string {
	texts := make([]string, len(grants))
	for i, g := range grants {
		texts[i] = g.String()
	}
	return strings.Join(texts, ", ")
}

// Apply puts the live ACL without the planned grants. Grants that others have
// put beside them since stay. Where none of the planned ones is left it changes
// nothing: ErrDrifted if the same grantee now has another public permission.
func (p publicACL) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in aclParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	live, err := readACL(ctx, p.api, step.Resource)
	if err != nil {
		return remediation.Outcome{}, err
	}
	if len(common(live.public(), in.Remove)) == 0 {
		wanted := in.Before.without(in.Remove)
		if otherGrants(live, in.Remove) {
			return remediation.Outcome{}, drift(step.Resource, in.Before.lines(), live.lines())
		}
		return swap[ACL]{Before: in.Before, After: wanted}.outcome(true)
	}
	after := live.without(in.Remove)
	if err := p.put(ctx, step.Resource, after); err != nil {
		return remediation.Outcome{}, err
	}
	return swap[ACL]{Before: live, After: after}.outcome(false)
}

// Announce implements remediation.Announcer.
func (p publicACL) Announce(step remediation.Step) ([]remediation.Intent, error) {
	var in aclParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return nil, fmt.Errorf("decode the step's parameters: %w", err)
	}
	return []remediation.Intent{bucketIntent("PutBucketAcl", putACL(step.Resource, in.Before.without(in.Remove)))}, nil
}

// otherGrants reports whether a grantee that was to lose a grant has a public
// one of another permission.
func otherGrants(live ACL, removed []remediation.Grant) bool {
	return slices.ContainsFunc(live.public(), func(g remediation.Grant) bool {
		return slices.ContainsFunc(removed, func(r remediation.Grant) bool { return r.Grantee == g.Grantee })
	})
}

func (p publicACL) put(ctx context.Context, ref remediation.Ref, acl ACL) error {
	_, err := p.api.PutBucketAcl(ctx, putACL(ref, acl), inRegion(ref))
	if hasCode(err, "AccessControlListNotSupported") {
		return &remediation.DriftError{Resource: ref, Diff: []remediation.DiffLine{
			{Op: "-", Text: "ACLs have an effect"},
			{Op: "+", Text: "object ownership is " + ownershipEnforced + ": ACLs have no effect and can't be put"},
		}}
	}
	return callError(err, ref, "PutBucketAcl", "s3:PutBucketAcl")
}

func putACL(ref remediation.Ref, acl ACL) *s3.PutBucketAclInput {
	return &s3.PutBucketAclInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref), AccessControlPolicy: acl.policy()}
}

// Verify reads the ACL back: none of the planned grants may be there.
func (p publicACL) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		var in aclParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		live, err := readACL(ctx, p.api, step.Resource)
		if err != nil {
			return err
		}
		if left := common(live.public(), in.Remove); len(left) > 0 {
			return fmt.Errorf("bucket %s still grants %s: %w", step.Resource.ID, grantsText(left), remediation.ErrNotVerified)
		}
	}
	return nil
}

// Undo puts back the ACL that Apply replaced.
func (p publicACL) Undo(ctx context.Context, plan remediation.Plan, o []remediation.Outcome) error {
	return part[ACL]{
		read:  func(ctx context.Context, ref remediation.Ref) (ACL, error) { return readACL(ctx, p.api, ref) },
		put:   p.put,
		equal: ACL.equal,
		lines: ACL.lines,
	}.undo(ctx, plan, o)
}
