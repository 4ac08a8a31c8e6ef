package playbooks_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/internal/s3policy"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

const groupURI = "http://acs.amazonaws.com/groups/"

// newBucket makes a bucket whose ACL counts and that nothing blocks.
func newBucket(t *testing.T, w *world) remediation.Ref {
	t.Helper()
	ref := remediation.Ref{Kind: remediation.KindBucket, Account: w.account, Region: testRegion, ID: unique(t, "bucket")}
	must(w.s3.CreateBucket(w.ctx, &s3.CreateBucketInput{Bucket: &ref.ID}))(t)
	must(w.s3.PutBucketOwnershipControls(w.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: &ref.ID, OwnershipControls: &types.OwnershipControls{
		Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipObjectWriter}},
	}}))(t)
	must(w.s3.DeletePublicAccessBlock(w.ctx, &s3.DeletePublicAccessBlockInput{Bucket: &ref.ID}))(t)
	must(w.s3.PutBucketTagging(w.ctx, &s3.PutBucketTaggingInput{Bucket: &ref.ID, Tagging: &types.Tagging{
		TagSet: []types.Tag{{Key: aws.String("team"), Value: aws.String("data")}},
	}}))(t)
	return ref
}

func groupGrant(name string, p types.Permission) types.Grant {
	return types.Grant{Permission: p, Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String(groupURI + name)}}
}

// putACL puts the owner's own grant, log delivery's, and the given ones.
func putACL(t *testing.T, w *world, ref remediation.Ref, more ...types.Grant) {
	t.Helper()
	old := must(w.s3.GetBucketAcl(w.ctx, &s3.GetBucketAclInput{Bucket: &ref.ID}))(t)
	grants := []types.Grant{{Permission: types.PermissionFullControl, Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: old.Owner.ID}}}
	grants = append(grants, more...)
	if w.enforces {
		grants = append(grants, types.Grant{Permission: types.PermissionRead, Grantee: &types.Grantee{Type: types.TypeAmazonCustomerByEmail, EmailAddress: aws.String("partner@example.com")}})
	}
	grants = append(grants, groupGrant("s3/LogDelivery", types.PermissionWrite), groupGrant("s3/LogDelivery", types.PermissionReadAcp))
	must(w.s3.PutBucketAcl(w.ctx, &s3.PutBucketAclInput{Bucket: &ref.ID, AccessControlPolicy: &types.AccessControlPolicy{Owner: old.Owner, Grants: grants}}))(t)
}

func aclCase() contractCase {
	everybody, accounts := groupGrant("global/AllUsers", types.PermissionRead), groupGrant("global/AuthenticatedUsers", types.PermissionWrite)
	return contractCase{
		name: "public ACL", playbook: "s3-public-acl",
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newBucket(t, w)
			putACL(t, w, ref, everybody, accounts)
			sig := eventSignal(w, ref, "PutBucketAcl", "s3-public-acl")
			sig.Change.Grants = []remediation.Grant{{Grantee: "AllUsers", Permission: "READ"}, {Grantee: "AuthenticatedUsers", Permission: "WRITE"}}
			return ref, sig
		},
		neighbours: func(s remediation.State) any {
			b := *s.(*playbooks.BucketState)
			var others []playbooks.ACLGrant
			for _, g := range b.ACL.Grants {
				if g.URI != groupURI+"global/AllUsers" && g.URI != groupURI+"global/AuthenticatedUsers" {
					others = append(others, g)
				}
			}
			b.ACL.Grants = others
			return b
		},
		beside: func(t *testing.T, w *world, ref remediation.Ref) {
			putACL(t, w, ref, groupGrant("s3/LogDelivery", types.PermissionRead), everybody, accounts)
		},
		offend: func(t *testing.T, w *world, ref remediation.Ref) {
			putACL(t, w, ref, groupGrant("global/AllUsers", types.PermissionFullControl))
		},
		settle: func(t *testing.T, w *world, ref remediation.Ref) { putACL(t, w, ref) },
		move: func(t *testing.T, w *world, ref remediation.Ref) {
			putACL(t, w, ref, groupGrant("s3/LogDelivery", types.PermissionRead))
		},
	}
}

// The spacing is on purpose: what stays must stay byte for byte.
const (
	tlsOnly = `{ "Sid" : "TLSOnly", "Effect":"Deny","Principal":"*","Action":"s3:*",
      "Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}} }`
	partner = `{"Sid":"Partner",   "Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}`
	world1  = `{"Sid":"World","Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::BUCKET/*"}`
	world2  = `{"Sid":"World","Effect":"Allow","Principal":{"AWS":"*"},"Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::BUCKET/*"}`
)

func policyOf(ref remediation.Ref, statements ...string) string {
	text := "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": ["
	for i, s := range statements {
		if i > 0 {
			text += ",\n    "
		}
		text += s
	}
	return strings.ReplaceAll(text+"]\n}", "BUCKET", ref.ID)
}

func putPolicy(t *testing.T, w *world, ref remediation.Ref, statements ...string) string {
	t.Helper()
	text := policyOf(ref, statements...)
	must(w.s3.PutBucketPolicy(w.ctx, &s3.PutBucketPolicyInput{Bucket: &ref.ID, Policy: &text}))(t)
	return text
}

// otherStatements are the texts of the statements that are not public.
func otherStatements(s remediation.State) any {
	b := *s.(*playbooks.BucketState)
	var others []string
	if b.Policy != nil {
		list, err := s3policy.Statements(json.RawMessage(*b.Policy))
		if err != nil {
			panic(err)
		}
		for _, st := range list {
			if public, _, err := s3policy.Public(st); err == nil && !public {
				others = append(others, string(st.JSON))
			}
		}
	}
	b.Policy, b.PolicyPublic = nil, false
	return []any{b, others}
}

func policyCase() contractCase {
	return contractCase{
		name: "public policy", playbook: "s3-public-policy",
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newBucket(t, w)
			sig := eventSignal(w, ref, "PutBucketPolicy", "s3-public-policy")
			sig.Change.Policy = json.RawMessage(putPolicy(t, w, ref, tlsOnly, world1, partner))
			return ref, sig
		},
		neighbours: otherStatements,
		beside: func(t *testing.T, w *world, ref remediation.Ref) {
			putPolicy(t, w, ref, partner, world1)
		},
		offend: func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, tlsOnly, world2, partner) },
		settle: func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, tlsOnly, partner) },
		move:   func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, partner) },
	}
}

// onlyPolicyCase is a policy of nothing but the public statement, which has to
// be deleted.
func onlyPolicyCase() contractCase {
	c := policyCase()
	c.name = "policy with nothing else in it"
	c.setup = func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
		ref := newBucket(t, w)
		sig := eventSignal(w, ref, "PutBucketPolicy", "s3-public-policy")
		sig.Change.Policy = json.RawMessage(putPolicy(t, w, ref, world2))
		return ref, sig
	}
	c.beside = func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, world2, tlsOnly) }
	c.offend = func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, world1) }
	c.settle = func(t *testing.T, w *world, ref remediation.Ref) {
		must(w.s3.DeleteBucketPolicy(w.ctx, &s3.DeleteBucketPolicyInput{Bucket: &ref.ID}))(t)
	}
	c.move = func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, partner) }
	return c
}

func putBlock(t *testing.T, w *world, ref remediation.Ref, acls, ignore, policy, restrict bool) {
	t.Helper()
	must(w.s3.PutPublicAccessBlock(w.ctx, &s3.PutPublicAccessBlockInput{Bucket: &ref.ID, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: &acls, IgnorePublicAcls: &ignore, BlockPublicPolicy: &policy, RestrictPublicBuckets: &restrict,
	}}))(t)
}

func deletedBlockCase() contractCase {
	return contractCase{
		name: "block deleted", playbook: "s3-block-public-access",
		setup: func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
			ref := newBucket(t, w)
			putPolicy(t, w, ref, partner)
			sig := eventSignal(w, ref, "DeleteBucketPublicAccessBlock", "s3-block-public-access")
			sig.Change.Openness = []remediation.Openness{remediation.Unblocked}
			return ref, sig
		},
		neighbours: func(s remediation.State) any {
			b := *s.(*playbooks.BucketState)
			b.Block = nil
			return b
		},
		beside: func(t *testing.T, w *world, ref remediation.Ref) { putPolicy(t, w, ref, partner, tlsOnly) },
		offend: func(t *testing.T, w *world, ref remediation.Ref) { putBlock(t, w, ref, false, true, false, false) },
		settle: func(t *testing.T, w *world, ref remediation.Ref) { putBlock(t, w, ref, true, true, true, true) },
		move:   func(t *testing.T, w *world, ref remediation.Ref) { putBlock(t, w, ref, true, true, true, false) },
	}
}

// loosenedBlockCase is a block with one flag off.
func loosenedBlockCase() contractCase {
	c := deletedBlockCase()
	c.name = "block loosened"
	c.setup = func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
		ref := newBucket(t, w)
		putBlock(t, w, ref, true, true, true, false)
		sig := eventSignal(w, ref, "PutBucketPublicAccessBlock", "s3-block-public-access")
		sig.Change.Block = &remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true}
		return ref, sig
	}
	c.beside = nil
	c.offend = func(t *testing.T, w *world, ref remediation.Ref) { putBlock(t, w, ref, false, false, false, false) }
	c.move = func(t *testing.T, w *world, ref remediation.Ref) {
		must(w.s3.DeletePublicAccessBlock(w.ctx, &s3.DeletePublicAccessBlockInput{Bucket: &ref.ID}))(t)
	}
	return c
}

// blockOverPublicPolicyCase is a public policy that takes effect once the block
// is gone: the block closes it, and the policy stays.
func blockOverPublicPolicyCase() contractCase {
	c := deletedBlockCase()
	c.name, c.enforced = "block deleted over a public policy", true
	c.setup = func(t *testing.T, w *world) (remediation.Ref, remediation.Signal) {
		ref := newBucket(t, w)
		putPolicy(t, w, ref, world2, tlsOnly)
		sig := eventSignal(w, ref, "DeleteBucketPublicAccessBlock", "s3-block-public-access")
		sig.Change.Openness = []remediation.Openness{remediation.Unblocked}
		return ref, sig
	}
	return c
}

func bucketCases() []contractCase {
	return []contractCase{aclCase(), policyCase(), onlyPolicyCase(), deletedBlockCase(), loosenedBlockCase(), blockOverPublicPolicyCase()}
}
