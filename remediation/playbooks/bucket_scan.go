package playbooks

import (
	"context"
	"errors"
	"iter"
	"sync"

	"secbot/remediation"
)

// Scan looks at the account's buckets. What the account blocks holds for all, so it
// is asked once; what a block makes harmless is not asked at all. Whatever a look
// shows, it never leaves out what a judge needs to find nothing: see show.
func (r *BucketReader) Scan(ctx context.Context, _ remediation.Looking) iter.Seq2[remediation.Look, error] {
	return func(yield func(remediation.Look, error) bool) {
		account := sync.OnceValue(func() BucketState { return r.ofAll(ctx) })
		go account() // while the buckets are listed
		for ref, err := range r.List(ctx) {
			if err != nil {
				if !yield(remediation.Look{}, err) {
					return
				}
				continue
			}
			s := account()
			s.Bucket = ref
			look := remediation.Look{Ref: ref, State: func(ctx context.Context) (remediation.State, error) { return r.show(ctx, &s) }}
			if !yield(look, nil) {
				return
			}
		}
	}
}

// ofAll is what holds for all of the account's buckets. That nobody knows which account
// it is, List tells.
func (r *BucketReader) ofAll(ctx context.Context) (s BucketState) {
	account, _ := r.ownAccount(ctx)
	s.AccountBlock, s.AccountBlockUnread = r.accountBlock(ctx, remediation.Ref{Kind: remediation.KindBucket, Account: account})
	return s
}

// show reads what can make a bucket public, and no more:
//
//   - nothing where the account ignores public ACLs and restricts public buckets:
//     then no judge finds anything in a scan, whatever the bucket itself says;
//   - neither ownership nor ACL where account or bucket ignores public ACLs, and no
//     ACL where ownership has it count for nothing;
//   - no policy where account or bucket restricts public buckets, and S3's verdict
//     on it only where no public statement is seen.
//
// Website and tags soften a finding and make none. One part that can't be read is
// an error, and the others are shown all the same.
func (r *BucketReader) show(ctx context.Context, s *BucketState) (remediation.State, error) {
	if s.ignoresACLs() && s.restricted() {
		return s, nil
	}
	var blockErr, aclErr, policyErr error
	if s.Block, blockErr = readBlock(ctx, r.c.S3, s.Bucket); elsewhere(blockErr) {
		return r.Read(ctx, s.Bucket)
	}
	var parts sync.WaitGroup
	if !s.ignoresACLs() {
		parts.Go(func() { aclErr = r.showACL(ctx, s) })
	}
	if !s.restricted() {
		parts.Go(func() { policyErr = r.showPolicy(ctx, s) })
	}
	parts.Wait()
	return s, errors.Join(blockErr, aclErr, policyErr)
}

func (r *BucketReader) showACL(ctx context.Context, s *BucketState) error {
	err := r.ownership(ctx, s)
	if s.Ownership == ownershipEnforced {
		return nil
	}
	acl, aclErr := readACL(ctx, r.c.S3, s.Bucket)
	s.ACL = acl
	return errors.Join(err, aclErr)
}

func (r *BucketReader) showPolicy(ctx context.Context, s *BucketState) (err error) {
	if s.Policy, err = readPolicy(ctx, r.c.S3, s.Bucket); err != nil || s.Policy == nil {
		return err
	}
	if found, err := s.effectiveStatements(); err == nil && len(found) > 0 {
		return nil
	}
	s.PolicyPublic, err = readPolicyStatus(ctx, r.c.S3, s.Bucket)
	return err
}
