package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/remediation"
)

// idBlock is the playbook's id.
const idBlock = "s3-block-public-access"

type blockAPI interface {
	bucketBlockReader
	PutPublicAccessBlock(ctx context.Context, in *s3.PutPublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error)
	DeletePublicAccessBlock(ctx context.Context, in *s3.DeletePublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.DeletePublicAccessBlockOutput, error)
}

// blockPublicAccess turns a bucket's Block Public Access on.
type blockPublicAccess struct{ api blockAPI }

// Meta describes the playbook.
func (blockPublicAccess) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idBlock,
		Title:   "S3 Block Public Access loosened",
		Kind:    remediation.KindBucket,
		Handles: slices.Concat([]string{"PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"}, ownershipKinds(), []string{"PutBucketPolicy"}, configKinds()),
		Labels: remediation.Labels{
			Fixed:   "Bucket's Block Public Access turned on again",
			Ask:     "Bucket's Block Public Access is off",
			Confirm: "This turns all four flags of the bucket's Block Public Access on. Websites and CDNs that read the bucket as the public stop working.",
			Undo:    "Block Public Access goes back to what it was: a public ACL or policy takes effect again.",
		},
		Undoable:    true,
		Permissions: append(bucketReadActions(), "s3:PutBucketPublicAccessBlock"),
	}
}

// Claim says what the event says.
func (p blockPublicAccess) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || sig.Change.Block.All() {
		return nil
	}
	f := bucketFinding(idBlock, sig.Resource, &sig)
	f.Openness = sig.Change.Openness
	if !isConfig(&sig) {
		f.Off = sig.Change.Block.Off()
	}
	if !isConfig(&sig) && !slices.Contains(f.Openness, remediation.Unblocked) {
		f.Openness = append([]remediation.Openness{remediation.Unblocked}, f.Openness...)
	}
	f.Severity = bucketSeverity(f.Openness)
	return []remediation.Finding{f}
}

func isConfig(sig *remediation.Signal) bool {
	return sig != nil && slices.Contains(configKinds(), sig.Kind)
}

// Judge finds a block with a flag off: after a call that loosened it, after one
// that had ACLs count again, and after
// AWS Config called the bucket public without saying why, unless ACL or policy
// is seen to be the reason, which their own playbooks judge. After a policy was
// put, and in a scan, it finds only what S3 calls public for no reason that can be
// seen.
func (p blockPublicAccess) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*BucketState)
	if !ok || !handles(p.Meta(), sig) || s.Block.All() {
		return nil
	}
	if sig == nil || isConfig(sig) || sig.Kind == "PutBucketPolicy" {
		return p.judgePublic(s, sig)
	}
	if slices.Contains(ownershipKinds(), sig.Kind) {
		return p.judgeOwnership(s, sig)
	}
	f := blockFinding(s, sig)
	f.Openness = append([]remediation.Openness{remediation.Unblocked}, s.openness()...)
	f.Severity, f.Doubt = bucketSeverity(f.Openness), joinText([]string{f.Doubt, s.unexplained()})
	return []remediation.Finding{softened(f, s)}
}

// blockFinding is about the bucket's own block as it is.
func blockFinding(s *BucketState, sig *remediation.Signal) remediation.Finding {
	f := stateFinding(idBlock, s, sig)
	f.Off = s.Block.Off()
	return f
}

// judgePublic judges a bucket that is called public, or one in a scan.
func (p blockPublicAccess) judgePublic(s *BucketState, sig *remediation.Signal) []remediation.Finding {
	unexplained := s.unexplained()
	statements, err := s.effectiveStatements()
	explained := len(s.effectiveGrants()) > 0 || (err == nil && len(statements) > 0)
	unsaid := sig != nil && slices.Contains(sig.Playbooks, idBlock)
	if unexplained == "" && (explained || !unsaid) {
		return nil
	}
	f := blockFinding(s, sig)
	f.Openness = []remediation.Openness{remediation.Unblocked}
	if unexplained != "" {
		f.Openness = append(f.Openness, remediation.PublicRead)
	} else {
		f.Notes = append(f.Notes, "neither the bucket's ACL nor its policy is public now; only objects with ACLs of their own may be")
	}
	f.Severity, f.Doubt = bucketSeverity(f.Openness), joinText([]string{f.Doubt, unexplained})
	return []remediation.Finding{softened(f, s)}
}

// softened lowers a finding that the account's block makes harmless.
func softened(f remediation.Finding, s *BucketState) remediation.Finding {
	if s.AccountBlock.All() {
		f.Severity = remediation.SeverityLow
		f.Notes = append(f.Notes, "the account's Block Public Access is on, so nothing is open while it stays so")
	}
	return considered(f, s)
}

// ownershipKinds are the calls after which ACLs may count again.
func ownershipKinds() []string {
	return []string{"PutBucketOwnershipControls", "DeleteBucketOwnershipControls"}
}

// judgeOwnership finds a bucket in which ACLs count again, those of objects
// included, and nothing ignores public ones. The bucket's own ACL is for
// publicACL.
func (p blockPublicAccess) judgeOwnership(s *BucketState, sig *remediation.Signal) []remediation.Finding {
	if s.Ownership == ownershipEnforced || s.ignoresACLs() {
		return nil
	}
	f := blockFinding(s, sig)
	f.Openness = []remediation.Openness{remediation.Unblocked}
	f.Severity = bucketSeverity(f.Openness)
	f.Notes = append(f.Notes, "ACLs count again, those of each object too: objects that had a public ACL before are public again, which secbot does not look into")
	return []remediation.Finding{softened(f, s)}
}

// Plan turns all four flags on, which keeps those that were.
func (p blockPublicAccess) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*BucketState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Block.All() {
		return remediation.Plan{}, fmt.Errorf("bucket %s: %w", s.Bucket.ID, remediation.ErrNothingToDo)
	}
	on := allOn()
	step := remediation.Step{Action: "s3:PutBucketPublicAccessBlock", Summary: "turn on all four flags of Block Public Access of bucket " + s.Bucket.ID}
	return newPlan(s, f, step, blockParams{From: s.Block, To: on}, diff(blockLines(s.Block), blockLines(on)))
}

func (p blockPublicAccess) editor() blockEditor {
	return blockEditor{what: "bucket", part: part[*remediation.BlockFlags]{
		read: func(ctx context.Context, ref remediation.Ref) (*remediation.BlockFlags, error) {
			return readBlock(ctx, p.api, ref)
		},
		put: p.put, equal: sameBlock, lines: blockLines,
	}}
}

// Apply turns the flags on where the live block is the planned one.
func (p blockPublicAccess) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	return p.editor().apply(ctx, step)
}

// Announce implements remediation.Announcer.
func (p blockPublicAccess) Announce(step remediation.Step) ([]remediation.Intent, error) {
	var in blockParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return nil, fmt.Errorf("decode the step's parameters: %w", err)
	}
	return []remediation.Intent{bucketIntent("PutPublicAccessBlock", putBlock(step.Resource, in.To))}, nil
}

// put puts the flags, or deletes the configuration where they are nil.
func (p blockPublicAccess) put(ctx context.Context, ref remediation.Ref, b *remediation.BlockFlags) error {
	if b == nil {
		_, err := p.api.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
		return callError(err, ref, "DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock")
	}
	_, err := p.api.PutPublicAccessBlock(ctx, putBlock(ref, b), inRegion(ref))
	return callError(err, ref, "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock")
}

func putBlock(ref remediation.Ref, b *remediation.BlockFlags) *s3.PutPublicAccessBlockInput {
	return &s3.PutPublicAccessBlockInput{
		Bucket: &ref.ID, ExpectedBucketOwner: owner(ref),
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: &b.BlockPublicAcls, IgnorePublicAcls: &b.IgnorePublicAcls,
			BlockPublicPolicy: &b.BlockPublicPolicy, RestrictPublicBuckets: &b.RestrictPublicBuckets,
		},
	}
}

// Verify reads the block back: all four flags must be on.
func (p blockPublicAccess) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	return p.editor().verify(ctx, plan)
}

// Undo puts the earlier flags back, or deletes the configuration where there
// was none.
func (p blockPublicAccess) Undo(ctx context.Context, plan remediation.Plan, o []remediation.Outcome) error {
	return p.editor().undo(ctx, plan, o)
}
