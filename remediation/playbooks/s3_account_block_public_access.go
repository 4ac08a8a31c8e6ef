package playbooks

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"secbot/remediation"
)

// idAccountBlock is the playbook's id.
const idAccountBlock = "s3-account-block-public-access"

type accountBlockEditorAPI interface {
	accountBlockAPI
	PutPublicAccessBlock(ctx context.Context, in *s3control.PutPublicAccessBlockInput, opts ...func(*s3control.Options)) (*s3control.PutPublicAccessBlockOutput, error)
	DeletePublicAccessBlock(ctx context.Context, in *s3control.DeletePublicAccessBlockInput, opts ...func(*s3control.Options)) (*s3control.DeletePublicAccessBlockOutput, error)
}

// accountBlock turns an account's Block Public Access on.
type accountBlock struct{ api accountBlockEditorAPI }

// Meta describes the playbook.
func (accountBlock) Meta() remediation.Meta {
	return remediation.Meta{
		ID:    idAccountBlock,
		Title: "Account's S3 Block Public Access loosened",
		Kind:  remediation.KindAccount,
		// S3 Control's calls bear the names of the bucket's, too.
		Handles: []string{"PutAccountPublicAccessBlock", "DeleteAccountPublicAccessBlock", "PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"},
		Labels: remediation.Labels{
			Fixed:   "Account's Block Public Access turned on again",
			Ask:     "Account's Block Public Access is off",
			Confirm: "This turns all four flags of the account's Block Public Access on. Every public bucket of the account stops being public, websites and CDNs included.",
			Undo:    "The account's Block Public Access goes back to what it was: public buckets are public again.",
		},
		Undoable:    true,
		Permissions: []string{"s3:GetAccountPublicAccessBlock", "s3:PutAccountPublicAccessBlock"},
	}
}

// Claim says what the event says.
func (p accountBlock) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || sig.Change.Block.All() {
		return nil
	}
	return []remediation.Finding{p.finding(sig.Resource, sig.Change.Block, &sig)}
}

func (accountBlock) finding(ref remediation.Ref, block *remediation.BlockFlags, sig *remediation.Signal) remediation.Finding {
	f := fromSignal(remediation.Finding{Playbook: idAccountBlock, Resource: ref, Severity: remediation.SeverityHigh,
		Openness: []remediation.Openness{remediation.Unblocked}, Off: block.Off()}, sig)
	if sig == nil {
		f.Severity = remediation.SeverityLow // it may never have been on
	}
	return f
}

// Judge finds a block with a flag off. What is public because of it is for the
// playbooks of buckets.
func (p accountBlock) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*AccountState)
	if !ok || !handles(p.Meta(), sig) || s.Block.All() {
		return nil
	}
	f := p.finding(s.Account, s.Block, sig)
	f.Notes = []string{"it holds for every bucket of the account, whatever the bucket's own settings are"}
	return []remediation.Finding{f}
}

// Plan turns all four flags on, which keeps those that were.
func (p accountBlock) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*AccountState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Block.All() {
		return remediation.Plan{}, fmt.Errorf("account %s: %w", s.Account.ID, remediation.ErrNothingToDo)
	}
	on := allOn()
	step := remediation.Step{Action: "s3:PutAccountPublicAccessBlock", Summary: "turn on all four flags of Block Public Access of account " + s.Account.ID}
	return newPlan(s, f, step, blockParams{From: s.Block, To: on}, diff(blockLines(s.Block), blockLines(on)))
}

func (p accountBlock) editor() blockEditor {
	return blockEditor{what: "account", part: part[*remediation.BlockFlags]{
		read: func(ctx context.Context, ref remediation.Ref) (*remediation.BlockFlags, error) {
			return readAccountBlock(ctx, p.api, ref)
		},
		put: p.put, equal: sameBlock, lines: blockLines,
	}}
}

// put puts the flags, or deletes the configuration where they are nil.
func (p accountBlock) put(ctx context.Context, ref remediation.Ref, b *remediation.BlockFlags) error {
	if b == nil {
		_, err := p.api.DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{AccountId: &ref.Account}, controlRegion(ref))
		return callError(err, ref, "DeletePublicAccessBlock", "s3:PutAccountPublicAccessBlock")
	}
	_, err := p.api.PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{
		AccountId: &ref.Account,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: &b.BlockPublicAcls, IgnorePublicAcls: &b.IgnorePublicAcls,
			BlockPublicPolicy: &b.BlockPublicPolicy, RestrictPublicBuckets: &b.RestrictPublicBuckets,
		},
	}, controlRegion(ref))
	return callError(err, ref, "PutPublicAccessBlock", "s3:PutAccountPublicAccessBlock")
}

// Apply turns the flags on where the live block is the planned one.
func (p accountBlock) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	return p.editor().apply(ctx, step)
}

// Verify reads the block back: all four flags must be on.
func (p accountBlock) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	return p.editor().verify(ctx, plan)
}

// Undo puts the earlier flags back, or deletes the configuration where there
// was none.
func (p accountBlock) Undo(ctx context.Context, plan remediation.Plan, o []remediation.Outcome) error {
	return p.editor().undo(ctx, plan, o)
}
