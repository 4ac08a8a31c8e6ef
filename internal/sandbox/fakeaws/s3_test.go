package fakeaws_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/internal/sandbox/fakeaws"
)

func (c *cloud) canned(b *string, acl types.BucketCannedACL) error {
	_, err := c.s3.PutBucketAcl(c.t.Context(), &s3.PutBucketAclInput{Bucket: b, ACL: acl})
	return err
}

func (c *cloud) policy(b *string, policy string) error {
	_, err := c.s3.PutBucketPolicy(c.t.Context(), &s3.PutBucketPolicyInput{Bucket: b, Policy: &policy})
	return err
}

func (c *cloud) block(b *string, conf types.PublicAccessBlockConfiguration) {
	c.t.Helper()
	_, err := c.s3.PutPublicAccessBlock(c.t.Context(), &s3.PutPublicAccessBlockInput{Bucket: b, PublicAccessBlockConfiguration: &conf})
	c.ok(err)
}

func (c *cloud) grants(b *string) int {
	c.t.Helper()
	out, err := c.s3.GetBucketAcl(c.t.Context(), &s3.GetBucketAclInput{Bucket: b})
	c.ok(err)
	return len(out.Grants)
}

const readable = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::acme/*"}]}`

// A bucket as AWS makes them today can't be opened at all.
func TestNewBucketsAreClosed(t *testing.T) {
	c := newCloud(t)
	_, err := c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("acme")})
	c.ok(err)
	c.fails("an ACL where the owner is enforced", c.canned(aws.String("acme"), types.BucketCannedACLPublicRead), "AccessControlListNotSupported")
	c.fails("a public policy under the block", c.policy(aws.String("acme"), readable), "AccessDenied")
	_, err = c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("acme")})
	c.fails("the same bucket again", err, "BucketAlreadyOwnedByYou")
}

func TestBlockPublicAccess(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	c.ok(c.canned(b, types.BucketCannedACLPublicRead))
	if n := c.grants(b); n != 2 {
		t.Fatalf("%d grants, want the owner's and the public one", n)
	}
	c.block(b, types.PublicAccessBlockConfiguration{IgnorePublicAcls: aws.Bool(true)})
	if n := c.grants(b); n != 1 {
		t.Errorf("%d grants with IgnorePublicAcls, want the owner's alone", n)
	}
	c.ok(c.canned(b, types.BucketCannedACLPublicRead)) // ignored, not refused
	c.block(b, types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)})
	if n := c.grants(b); n != 2 {
		t.Errorf("%d grants once the block is replaced: the public one must show again", n)
	}
	c.fails("a public ACL under BlockPublicAcls", c.canned(b, types.BucketCannedACLPublicRead), "AccessDenied")
	c.ok(c.policy(b, readable))
	c.block(b, types.PublicAccessBlockConfiguration{BlockPublicPolicy: aws.Bool(true)})
	c.fails("a public policy under BlockPublicPolicy", c.policy(b, readable), "AccessDenied")
	out, err := c.s3.GetBucketPolicyStatus(t.Context(), &s3.GetBucketPolicyStatusInput{Bucket: b})
	c.ok(err)
	if !aws.ToBool(out.PolicyStatus.IsPublic) {
		t.Error("the policy that was there before stays and is public")
	}
}

func TestOwnerEnforcedHidesTheACL(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	c.ok(c.canned(b, types.BucketCannedACLPublicRead))
	own := func(o types.ObjectOwnership) error {
		_, err := c.s3.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: b, OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: o}}}})
		return err
	}
	c.fails("ownership over grants to others", own(types.ObjectOwnershipBucketOwnerEnforced), "InvalidBucketAclWithObjectOwnership")
	c.ok(c.canned(b, types.BucketCannedACLPrivate))
	c.ok(own(types.ObjectOwnershipBucketOwnerEnforced))
	c.fails("an ACL", c.canned(b, types.BucketCannedACLPrivate), "AccessControlListNotSupported")
}

func TestWhatIsAbsent(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	ctx := t.Context()
	_, err := c.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: b})
	c.fails("policy", err, "NoSuchBucketPolicy")
	_, err = c.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: b})
	c.fails("block", err, "NoSuchPublicAccessBlockConfiguration")
	_, err = c.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b})
	c.fails("tags", err, "NoSuchTagSet")
	_, err = c.s3.GetBucketWebsite(ctx, &s3.GetBucketWebsiteInput{Bucket: b})
	c.fails("website", err, "NoSuchWebsiteConfiguration")
	_, err = c.s3.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: b})
	c.fails("replication", err, "ReplicationConfigurationNotFoundError")
	_, err = c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
	c.fails("lifecycle", err, "NoSuchLifecycleConfiguration")
	versioning, err := c.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: b})
	c.ok(err)
	logging, err := c.s3.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: b})
	c.ok(err)
	notification, err := c.s3.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: b})
	c.ok(err)
	if versioning.Status != "" || logging.LoggingEnabled != nil || len(notification.TopicConfigurations) > 0 {
		t.Errorf("versioning %q, logging %v, notification %v", versioning.Status, logging.LoggingEnabled, notification)
	}
	_, err = c.s3.DeleteBucketOwnershipControls(ctx, &s3.DeleteBucketOwnershipControlsInput{Bucket: b})
	c.ok(err)
	_, err = c.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: b})
	c.fails("ownership", err, "OwnershipControlsNotFoundError")
	_, err = c.s3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String("nobody")})
	c.fails("bucket", err, "NoSuchBucket")
}

func TestPoliciesThatS3Refuses(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	for name, policy := range map[string]string{
		"no JSON":        `{"Version":`,
		"no statement":   `{"Version":"2012-10-17"}`,
		"empty":          `{"Statement":[]}`,
		"no principal":   `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::acme/*"}]}`,
		"another bucket": `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::acme-2/*"}]}`,
	} {
		c.fails(name, c.policy(b, policy), "MalformedPolicy")
	}
}

func TestOthersBucketsAndRegions(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	ctx := t.Context()
	_, err := c.s3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: b, ExpectedBucketOwner: aws.String("999900001111")})
	c.fails("another expected owner", err, "AccessDenied")
	c.AddCaller("AKIAOTHER00000000000", fakeaws.Caller{Account: "999900001111", User: "eve"})
	other := s3Client(c.as("AKIAOTHER00000000000", *c.cfg.BaseEndpoint))
	_, err = other.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: b})
	c.fails("another account", err, "AccessDenied")
	_, err = other.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: b})
	c.fails("a name that is taken", err, "BucketAlreadyExists")

	_, err = c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("acme-eu"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraintEuWest1}})
	c.ok(err)
	_, err = c.s3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String("acme-eu")})
	var resp *awshttp.ResponseError
	if !errors.As(err, &resp) || resp.HTTPStatusCode() != http.StatusMovedPermanently {
		t.Errorf("the wrong region: %v, want 301", err)
	}
	where, err := c.s3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String("acme-eu")})
	c.ok(err)
	if where.LocationConstraint != types.BucketLocationConstraintEuWest1 {
		t.Errorf("location %q", where.LocationConstraint)
	}
}

// Grants by header and by body come out as they went in, and in the event as
// CloudTrail writes them.
func TestGrants(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	ctx := t.Context()
	_, err := c.s3.PutBucketAcl(ctx, &s3.PutBucketAclInput{Bucket: b, GrantRead: aws.String(`uri="http://acs.amazonaws.com/groups/global/AllUsers"`)})
	c.ok(err)
	out, err := c.s3.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: b})
	c.ok(err)
	if len(out.Grants) != 1 || out.Grants[0].Grantee.Type != types.TypeGroup || out.Grants[0].Permission != types.PermissionRead {
		t.Fatalf("grants: %+v", out.Grants)
	}
	_, err = c.s3.PutBucketAcl(ctx, &s3.PutBucketAclInput{Bucket: b, AccessControlPolicy: &types.AccessControlPolicy{Owner: out.Owner, Grants: out.Grants}})
	c.ok(err)
	e := c.happened("PutBucketAcl")
	acl, ok := e[len(e)-1].Detail.RequestParameters["AccessControlPolicy"].(map[string]any)
	if !ok || acl["AccessControlList"].(map[string]any)["Grant"].(map[string]any)["Grantee"].(map[string]any)["URI"] != "http://acs.amazonaws.com/groups/global/AllUsers" {
		t.Errorf("the event has %+v", e[len(e)-1].Detail.RequestParameters)
	}
	if e[0].Detail.RequestParameters["x-amz-grant-read"] == nil {
		t.Errorf("the event has %+v", e[0].Detail.RequestParameters)
	}
}
