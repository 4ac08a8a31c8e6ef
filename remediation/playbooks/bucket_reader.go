package playbooks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
)

type bucketReaderAPI interface {
	ListBuckets(ctx context.Context, in *s3.ListBucketsInput, opts ...func(*s3.Options)) (*s3.ListBucketsOutput, error)
	GetBucketLocation(ctx context.Context, in *s3.GetBucketLocationInput, opts ...func(*s3.Options)) (*s3.GetBucketLocationOutput, error)
	GetBucketOwnershipControls(ctx context.Context, in *s3.GetBucketOwnershipControlsInput, opts ...func(*s3.Options)) (*s3.GetBucketOwnershipControlsOutput, error)
	GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput, opts ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error)
	GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput, opts ...func(*s3.Options)) (*s3.GetBucketAclOutput, error)
	GetBucketPolicy(ctx context.Context, in *s3.GetBucketPolicyInput, opts ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error)
	GetBucketPolicyStatus(ctx context.Context, in *s3.GetBucketPolicyStatusInput, opts ...func(*s3.Options)) (*s3.GetBucketPolicyStatusOutput, error)
	GetBucketWebsite(ctx context.Context, in *s3.GetBucketWebsiteInput, opts ...func(*s3.Options)) (*s3.GetBucketWebsiteOutput, error)
	GetBucketTagging(ctx context.Context, in *s3.GetBucketTaggingInput, opts ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error)
}

type accountBlockAPI interface {
	GetPublicAccessBlock(ctx context.Context, in *s3control.GetPublicAccessBlockInput, opts ...func(*s3control.Options)) (*s3control.GetPublicAccessBlockOutput, error)
}

// bucketReadActions are the IAM actions that BucketReader needs.
func bucketReadActions() []string {
	return []string{
		"s3:ListAllMyBuckets", "s3:GetBucketLocation", "s3:GetBucketOwnershipControls",
		"s3:GetBucketPublicAccessBlock", "s3:GetAccountPublicAccessBlock", "s3:GetBucketAcl", "s3:GetBucketPolicy",
		"s3:GetBucketPolicyStatus", "s3:GetBucketWebsite", "s3:GetBucketTagging",
	}
}

// BucketReader reads S3 buckets. It implements remediation.Reader.
type BucketReader struct {
	c Clients

	mu      sync.Mutex
	account string // as STS told it
}

// List yields the account's buckets, of every region, each with its region.
func (r *BucketReader) List(ctx context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		account, err := r.ownAccount(ctx)
		if err != nil {
			yield(remediation.Ref{}, err)
			return
		}
		pages := s3.NewListBucketsPaginator(r.c.S3, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(remediation.Ref{}, fmt.Errorf("ListBuckets (s3:ListAllMyBuckets): %w", err))
				return
			}
			for _, b := range page.Buckets {
				if !yield(r.listed(ctx, account, b)) {
					return
				}
			}
		}
	}
}

func (r *BucketReader) listed(ctx context.Context, account string, b types.Bucket) (remediation.Ref, error) {
	ref := remediation.Ref{Kind: remediation.KindBucket, Account: account, Region: aws.ToString(b.BucketRegion), ID: aws.ToString(b.Name)}
	if ref.Region != "" {
		return ref, nil
	}
	region, err := r.location(ctx, ref)
	if errors.Is(err, remediation.ErrGone) {
		// Deleted since it was listed; Read says the same.
		region, err = r.c.Region, nil
	}
	ref.Region = region
	return ref, err
}

// location asks S3 for the bucket's region. us-east-1 answers for every bucket.
func (r *BucketReader) location(ctx context.Context, ref remediation.Ref) (string, error) {
	out, err := r.c.S3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)},
		func(o *s3.Options) { o.Region = "us-east-1" })
	if err != nil {
		return "", callError(err, ref, "GetBucketLocation", "s3:GetBucketLocation")
	}
	switch out.LocationConstraint {
	case "":
		return "us-east-1", nil
	case types.BucketLocationConstraintEu:
		return "eu-west-1", nil
	}
	return string(out.LocationConstraint), nil
}

// ownAccount is the account that the clients are for; STS is asked once.
func (r *BucketReader) ownAccount(ctx context.Context) (string, error) {
	if r.c.Account != "" || r.c.STS == nil {
		return r.c.Account, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.account != "" {
		return r.account, nil
	}
	out, err := r.c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask STS for the own account: %w", err)
	}
	r.account = aws.ToString(out.Account)
	return r.account, nil
}

// Read reads everything that decides who may reach the bucket, its parts at the
// same time. It returns a *BucketState; ErrGone where there is no such bucket;
// ErrOtherAccount where it certainly belongs to another account than ref's. A
// part that may not be read is an error that names the IAM action, except for
// the account's block, of which the state then says that it is unknown.
func (r *BucketReader) Read(ctx context.Context, ref remediation.Ref) (remediation.State, error) {
	if ref.ID == "" {
		return nil, errors.New("a bucket without a name can't be read")
	}
	if ref.Account == "" {
		account, err := r.ownAccount(ctx)
		if err != nil {
			return nil, err
		}
		ref.Account = account
	}
	if ref.Region == "" {
		ref.Region = r.c.Region
	}
	s, err := r.readAll(ctx, ref)
	if elsewhere(err) {
		if ref.Region, err = r.location(ctx, ref); err == nil {
			s, err = r.readAll(ctx, ref)
		}
	}
	if isDenied(err) {
		return nil, r.whoseIsIt(ctx, ref, err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// elsewhere reports whether S3 said that the bucket is in another region.
func elsewhere(err error) bool {
	return hasCode(err, "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
}

// whoseIsIt tells a bucket of another account from a missing permission, which
// S3 answers alike: where the same read is allowed without naming an owner, the
// owner was wrong.
func (r *BucketReader) whoseIsIt(ctx context.Context, ref remediation.Ref, denied error) error {
	if ref.Account == "" {
		return denied
	}
	out, err := r.c.S3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &ref.ID}, inRegion(ref))
	if err != nil {
		return denied // no more is known
	}
	_, err = r.c.S3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &ref.ID, ExpectedBucketOwner: owner(ref)}, inRegion(ref))
	if isDenied(err) {
		return fmt.Errorf("bucket %s is owned by %s, not by account %s: %w", ref.ID, ownerID(out.Owner), ref.Account, remediation.ErrOtherAccount)
	}
	return denied
}

func ownerID(o *types.Owner) string {
	if o == nil || aws.ToString(o.ID) == "" {
		return "somebody else"
	}
	return "the canonical user " + *o.ID
}

// inRegion sends a call to the resource's region.
func inRegion(ref remediation.Ref) func(*s3.Options) {
	return func(o *s3.Options) {
		if ref.Region != "" {
			o.Region = ref.Region
		}
	}
}

// owner is the ExpectedBucketOwner of every call; nil where nobody knows it.
func owner(ref remediation.Ref) *string {
	if ref.Account == "" {
		return nil
	}
	return &ref.Account
}

func (r *BucketReader) readAll(ctx context.Context, ref remediation.Ref) (*BucketState, error) {
	s := &BucketState{Bucket: ref}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.ownership(ctx, s) })
	g.Go(func() (err error) { s.Block, err = readBlock(ctx, r.c.S3, ref); return err })
	g.Go(func() error {
		s.AccountBlock, s.AccountBlockUnread = r.accountBlock(ctx, ref)
		return nil
	})
	g.Go(func() (err error) { s.ACL, err = readACL(ctx, r.c.S3, ref); return err })
	g.Go(func() (err error) { s.Policy, err = readPolicy(ctx, r.c.S3, ref); return err })
	g.Go(func() (err error) { s.PolicyPublic, err = readPolicyStatus(ctx, r.c.S3, ref); return err })
	g.Go(func() error { return r.website(ctx, s) })
	g.Go(func() error { return r.tags(ctx, s) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *BucketReader) ownership(ctx context.Context, s *BucketState) error {
	out, err := r.c.S3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{
		Bucket: &s.Bucket.ID, ExpectedBucketOwner: owner(s.Bucket),
	}, inRegion(s.Bucket))
	if hasCode(err, "OwnershipControlsNotFoundError") {
		return nil
	}
	if err != nil {
		return callError(err, s.Bucket, "GetBucketOwnershipControls", "s3:GetBucketOwnershipControls")
	}
	if out.OwnershipControls != nil {
		for _, rule := range out.OwnershipControls.Rules {
			s.Ownership = string(rule.ObjectOwnership)
		}
	}
	return nil
}

// accountBlock reads the account's block, or says why it can't be known: the
// bucket itself can be judged all the same, though not for sure.
func (r *BucketReader) accountBlock(ctx context.Context, ref remediation.Ref) (*remediation.BlockFlags, string) {
	if ref.Account == "" {
		return nil, "nobody knows which account it is"
	}
	block, err := readAccountBlock(ctx, r.c.S3Control, ref)
	switch {
	case isDenied(err):
		return nil, "s3:GetAccountPublicAccessBlock is not allowed to secbot"
	case err != nil:
		return nil, err.Error()
	}
	return block, ""
}

func (r *BucketReader) website(ctx context.Context, s *BucketState) error {
	_, err := r.c.S3.GetBucketWebsite(ctx, &s3.GetBucketWebsiteInput{
		Bucket: &s.Bucket.ID, ExpectedBucketOwner: owner(s.Bucket),
	}, inRegion(s.Bucket))
	if hasCode(err, "NoSuchWebsiteConfiguration") {
		return nil
	}
	s.Website = err == nil
	return callError(err, s.Bucket, "GetBucketWebsite", "s3:GetBucketWebsite")
}

func (r *BucketReader) tags(ctx context.Context, s *BucketState) error {
	out, err := r.c.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{
		Bucket: &s.Bucket.ID, ExpectedBucketOwner: owner(s.Bucket),
	}, inRegion(s.Bucket))
	if hasCode(err, "NoSuchTagSet") {
		return nil
	}
	if err != nil {
		return callError(err, s.Bucket, "GetBucketTagging", "s3:GetBucketTagging")
	}
	if len(out.TagSet) > 0 {
		s.Tags = make(map[string]string, len(out.TagSet))
	}
	for _, t := range out.TagSet {
		s.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return nil
}
