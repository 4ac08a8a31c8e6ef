package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Bucket is where the functions' zips are, of this account alone. Its methods call
// S3 as the account that Account names and no other.
type Bucket struct {
	Client  *s3.Client
	Name    string
	Account string
	Region  string
}

// Key is where a zip goes: it follows from the content, so that a stack notices
// another zip.
func Key(zip []byte) string {
	sum := sha256.Sum256(zip)
	return hex.EncodeToString(sum[:]) + ".zip"
}

// Upload puts the zip at its Key, in a bucket that it makes where there is none:
// private and versioned. It does nothing where the zip is there already.
func (b *Bucket) Upload(ctx context.Context, zip []byte) error {
	if err := b.ensure(ctx); err != nil {
		return err
	}
	key, sum := Key(zip), sha256.Sum256(zip)
	if _, err := b.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: &b.Account}); err == nil {
		return nil
	}
	_, err := b.Client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: &b.Account,
		Body: bytes.NewReader(zip), ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:]))})
	if err != nil {
		return fmt.Errorf("upload the functions' zip to the bucket %s (s3:PutObject): %w", b.Name, err)
	}
	return nil
}

// exists reports whether the bucket is there. Somebody else's is an error.
func (b *Bucket) exists(ctx context.Context) (bool, error) {
	_, err := b.Client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account})
	if status(err) == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the bucket %s (s3:ListBucket; 403 may mean that it belongs to another account): %w", b.Name, err)
	}
	return true, nil
}

func status(err error) int {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func (b *Bucket) ensure(ctx context.Context) error {
	there, err := b.exists(ctx)
	if err != nil {
		return err
	}
	if !there {
		in := &s3.CreateBucketInput{Bucket: &b.Name}
		if b.Region != "us-east-1" { // which S3 does not want to be told
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.Region)}
		}
		if _, err := b.Client.CreateBucket(ctx, in); err != nil {
			return fmt.Errorf("make the bucket %s for the functions' zip (s3:CreateBucket): %w", b.Name, err)
		}
	}
	// Also where it was there: an earlier attempt may have ended in between.
	_, err = b.Client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		}})
	if err != nil {
		return fmt.Errorf("make the bucket %s private (s3:PutBucketPublicAccessBlock): %w", b.Name, err)
	}
	_, err = b.Client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		return fmt.Errorf("have the bucket %s keep versions (s3:PutBucketVersioning): %w", b.Name, err)
	}
	return nil
}

// Remove deletes the bucket with all versions of all that is in it. That there is
// none is fine.
func (b *Bucket) Remove(ctx context.Context) error {
	there, err := b.exists(ctx)
	if err != nil || !there {
		return err
	}
	pages := s3.NewListObjectVersionsPaginator(b.Client, &s3.ListObjectVersionsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list what is in the bucket %s (s3:ListBucketVersions): %w", b.Name, err)
		}
		if err := b.delete(ctx, page); err != nil {
			return err
		}
	}
	if _, err := b.Client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account}); err != nil {
		return fmt.Errorf("delete the bucket %s (s3:DeleteBucket): %w", b.Name, err)
	}
	return nil
}

func (b *Bucket) delete(ctx context.Context, page *s3.ListObjectVersionsOutput) error {
	var all []types.ObjectIdentifier
	for _, v := range page.Versions {
		all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, m := range page.DeleteMarkers {
		all = append(all, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
	}
	if len(all) == 0 {
		return nil
	}
	out, err := b.Client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.Account, Delete: &types.Delete{Objects: all}})
	if err == nil && len(out.Errors) > 0 {
		err = errors.New(aws.ToString(out.Errors[0].Message))
	}
	if err != nil {
		return fmt.Errorf("empty the bucket %s (s3:DeleteObjectVersion): %w", b.Name, err)
	}
	return nil
}
