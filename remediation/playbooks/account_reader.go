package playbooks

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/aws/aws-sdk-go-v2/service/s3control"

	"secbot/remediation"
)

// AccountState is what S3 keeps for an account as a whole.
type AccountState struct {
	Account remediation.Ref         `json:"account"`
	Block   *remediation.BlockFlags `json:"block"` // nil: no configuration, so all flags are off
}

// Ref is the account that was read.
func (s *AccountState) Ref() remediation.Ref { return s.Account }

// AccountReader reads an account's Block Public Access. It implements
// remediation.Reader.
type AccountReader struct {
	c     Clients
	owner func(ctx context.Context) (string, error)
}

// List yields the one account.
func (r *AccountReader) List(ctx context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		account, err := r.owner(ctx)
		yield(remediation.Ref{Kind: remediation.KindAccount, Account: account, ID: account}, err)
	}
}

// Read reads the account's block, which is the same in every region. It returns
// an *AccountState. An account that does not exist is refused like one that
// secbot may not read.
func (r *AccountReader) Read(ctx context.Context, ref remediation.Ref) (remediation.State, error) {
	if ref.ID == "" {
		return nil, errors.New("an account without id can't be read")
	}
	if ref.Account != "" && ref.Account != ref.ID {
		return nil, fmt.Errorf("account %s is not account %s: %w", ref.ID, ref.Account, remediation.ErrOtherAccount)
	}
	// What holds in all regions has none, whichever was called: the client's own
	// region answers.
	ref.Account, ref.Region = ref.ID, ""
	block, err := readAccountBlock(ctx, r.c.S3Control, ref)
	if err != nil {
		return nil, err
	}
	return &AccountState{Account: ref, Block: block}, nil
}

// readAccountBlock reads the block of ref's account; nil where there is none.
func readAccountBlock(ctx context.Context, api accountBlockAPI, ref remediation.Ref) (*remediation.BlockFlags, error) {
	out, err := api.GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{AccountId: &ref.Account}, controlRegion(ref))
	if hasCode(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil, nil
	}
	if err != nil {
		return nil, callError(err, ref, "GetPublicAccessBlock", "s3:GetAccountPublicAccessBlock")
	}
	c := out.PublicAccessBlockConfiguration
	if c == nil {
		return nil, nil
	}
	return blockFlags(c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets), nil
}

// controlRegion sends a call to the resource's region.
func controlRegion(ref remediation.Ref) func(*s3control.Options) {
	return func(o *s3control.Options) {
		if ref.Region != "" {
			o.Region = ref.Region
		}
	}
}
