package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/internal/s3policy"
	"secbot/remediation"
)

// oneBucket is the ACL, the policy and the block of one bucket, as S3 would keep
// them.
type oneBucket struct {
	acl    *types.AccessControlPolicy
	policy *string
	block  *types.PublicAccessBlockConfiguration
	puts   int
}

func (b *oneBucket) GetBucketAcl(context.Context, *s3.GetBucketAclInput, ...func(*s3.Options)) (*s3.GetBucketAclOutput, error) {
	return &s3.GetBucketAclOutput{Owner: b.acl.Owner, Grants: b.acl.Grants}, nil
}

func (b *oneBucket) PutBucketAcl(_ context.Context, in *s3.PutBucketAclInput, _ ...func(*s3.Options)) (*s3.PutBucketAclOutput, error) {
	b.acl, b.puts = in.AccessControlPolicy, b.puts+1
	return &s3.PutBucketAclOutput{}, nil
}

func (b *oneBucket) GetBucketPolicy(context.Context, *s3.GetBucketPolicyInput, ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error) {
	if b.policy == nil {
		return nil, &smithy.GenericAPIError{Code: "NoSuchBucketPolicy"}
	}
	return &s3.GetBucketPolicyOutput{Policy: b.policy}, nil
}

func (b *oneBucket) GetBucketPolicyStatus(context.Context, *s3.GetBucketPolicyStatusInput, ...func(*s3.Options)) (*s3.GetBucketPolicyStatusOutput, error) {
	return &s3.GetBucketPolicyStatusOutput{PolicyStatus: &types.PolicyStatus{
		IsPublic: aws.Bool(b.policy != nil && len(publicOnes(json.RawMessage(*b.policy))) > 0),
	}}, nil
}

func (b *oneBucket) PutBucketPolicy(_ context.Context, in *s3.PutBucketPolicyInput, _ ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error) {
	b.policy, b.puts = in.Policy, b.puts+1
	return &s3.PutBucketPolicyOutput{}, nil
}

func (b *oneBucket) DeleteBucketPolicy(context.Context, *s3.DeleteBucketPolicyInput, ...func(*s3.Options)) (*s3.DeleteBucketPolicyOutput, error) {
	b.policy, b.puts = nil, b.puts+1
	return &s3.DeleteBucketPolicyOutput{}, nil
}

func (b *oneBucket) GetPublicAccessBlock(context.Context, *s3.GetPublicAccessBlockInput, ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error) {
	if b.block == nil {
		return nil, &smithy.GenericAPIError{Code: "NoSuchPublicAccessBlockConfiguration"}
	}
	return &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: b.block}, nil
}

func (b *oneBucket) PutPublicAccessBlock(_ context.Context, in *s3.PutPublicAccessBlockInput, _ ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error) {
	b.block, b.puts = in.PublicAccessBlockConfiguration, b.puts+1
	return &s3.PutPublicAccessBlockOutput{}, nil
}

func (b *oneBucket) DeletePublicAccessBlock(context.Context, *s3.DeletePublicAccessBlockInput, ...func(*s3.Options)) (*s3.DeletePublicAccessBlockOutput, error) {
	b.block, b.puts = nil, b.puts+1
	return &s3.DeletePublicAccessBlockOutput{}, nil
}

func (b *oneBucket) state(t *rapid.T) *BucketState {
	s := &BucketState{Bucket: remediation.Ref{Kind: remediation.KindBucket, ID: "reports"}}
	var err error
	if s.ACL, err = readACL(t.Context(), b, s.Bucket); err != nil {
		t.Fatal(err)
	}
	if s.Policy, err = readPolicy(t.Context(), b, s.Bucket); err != nil {
		t.Fatal(err)
	}
	if s.PolicyPublic, err = readPolicyStatus(t.Context(), b, s.Bucket); err != nil {
		t.Fatal(err)
	}
	if s.Block, err = readBlock(t.Context(), b, s.Bucket); err != nil {
		t.Fatal(err)
	}
	return s
}

// drawBlock draws a block, or none.
func drawBlock(t *rapid.T) *types.PublicAccessBlockConfiguration {
	if !rapid.Bool().Draw(t, "blocked") {
		return nil
	}
	flag := func(name string) *bool { return aws.Bool(rapid.Bool().Draw(t, name)) }
	return &types.PublicAccessBlockConfiguration{BlockPublicAcls: flag("acls"), IgnorePublicAcls: flag("ignore"), BlockPublicPolicy: flag("policy"), RestrictPublicBuckets: flag("restrict")}
}

// TestSameACL: an ACL is its owner and its grants, in whatever order.
func TestSameACL(t *testing.T) {
	one, two := ACLGrant{Type: "CanonicalUser", ID: "me", Permission: "READ"}, ACLGrant{Type: "AmazonCustomerByEmail", Email: "a@example.com", Permission: "READ"}
	acl := ACL{OwnerID: "me", Grants: []ACLGrant{one, two}}
	if !acl.equal(ACL{OwnerID: "me", OwnerName: "mine", Grants: []ACLGrant{two, one}}) {
		t.Error("the order, or a name, makes another ACL")
	}
	other := two
	other.Email = "b@example.com"
	for name, b := range map[string]ACL{
		"owner":   {OwnerID: "you", Grants: acl.Grants},
		"grant":   {OwnerID: "me", Grants: []ACLGrant{one}},
		"address": {OwnerID: "me", Grants: []ACLGrant{one, other}},
	} {
		if acl.equal(b) {
			t.Errorf("another %s makes no other ACL", name)
		}
	}
}

func drawGrant(t *rapid.T) types.Grant {
	permission := rapid.SampledFrom([]types.Permission{"READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"}).Draw(t, "permission")
	who := rapid.SampledFrom([]string{"global/AllUsers", "global/AuthenticatedUsers", "s3/LogDelivery", "me", "you", "you@example.com"}).Draw(t, "who")
	if strings.Contains(who, "@") {
		return types.Grant{Permission: permission, Grantee: &types.Grantee{Type: types.TypeAmazonCustomerByEmail, EmailAddress: &who}}
	}
	if strings.Contains(who, "/") {
		return types.Grant{Permission: permission, Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/" + who)}}
	}
	return types.Grant{Permission: permission, Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: &who}}
}

func drawStatement(t *rapid.T) string {
	principal := rapid.SampledFrom([]string{`"Principal":"*"`, `"Principal":{"AWS": "*"}`, `"Principal":{"AWS":["arn:aws:iam::444455556666:root", "*"]}`,
		`"Principal":{"AWS":"arn:aws:iam::444455556666:root"}`, `"NotPrincipal":{"AWS":"arn:aws:iam::444455556666:root"}`}).Draw(t, "principal")
	condition := rapid.SampledFrom([]string{"", `,"Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, `,"Condition":{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}`,
		`,"Condition" : {"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`, `,"Condition":{"StringLike":{"aws:SourceVpc":"vpc-*"}}`, `,"Condition":{"Bool":{"aws:SecureTransport":"false"}}`}).Draw(t, "condition")
	effect := rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")
	action := rapid.SampledFrom([]string{`"s3:GetObject"`, `["s3:GetObject","s3:PutObject"]`}).Draw(t, "action")
	return fmt.Sprintf(`{ "Effect":%q,  %s,"Action":%s,"Resource":"arn:aws:s3:::reports/*"%s}`, effect, principal, action, condition)
}

// TestFixTakesOnlyWhatIsPublic fixes and undoes any ACL, any policy and any block:
// what is public goes, everything else stays in its place, and undo gives what was.
func TestFixTakesOnlyWhatIsPublic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := "me"
		statements := rapid.SliceOfN(rapid.Custom(drawStatement), 1, 5).Draw(t, "statements")
		policy := `{"Statement":[` + strings.Join(statements, " ,\n") + "] }"
		b := &oneBucket{
			acl:    &types.AccessControlPolicy{Owner: &types.Owner{ID: &owner}, Grants: rapid.SliceOfN(rapid.Custom(drawGrant), 0, 6).Draw(t, "grants")},
			policy: &policy,
			block:  drawBlock(t),
		}
		before := b.state(t)
		for _, pb := range []remediation.Playbook{publicACL{b}, publicPolicy{b}} {
			fixAndUndo(t, b, pb, nil)
		}
		fixAndUndo(t, b, blockPublicAccess{b}, &remediation.Signal{Kind: "PutBucketPublicAccessBlock"})
		if d := cmp.Diff(before, b.state(t)); d != "" {
			t.Fatalf("undo left something else:\n%s", d)
		}
	})
}

func fixAndUndo(t *rapid.T, b *oneBucket, pb remediation.Playbook, sig *remediation.Signal) {
	before := b.state(t)
	findings := pb.Judge(before, sig)
	if len(findings) == 0 {
		return
	}
	plan, err := pb.Plan(before, findings[0])
	if err != nil {
		t.Fatal(err)
	}
	out, err := pb.Apply(t.Context(), plan.Steps[0])
	if err != nil || out.Noop {
		t.Fatalf("apply: noop %v, %v", out.Noop, err)
	}
	if err := pb.Verify(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	after := b.state(t)
	if left := pb.Judge(after, sig); len(left) > 0 {
		t.Fatalf("left %+v", left)
	}
	if d := cmp.Diff(private(t, before), private(t, after)); d != "" {
		t.Fatalf("it took more:\n%s", d)
	}
	puts := b.puts
	if again, err := pb.Apply(t.Context(), plan.Steps[0]); err != nil || !again.Noop || b.puts != puts {
		t.Fatalf("applied again: noop %v, %v, %d puts more", again.Noop, err, b.puts-puts)
	}
	if err := pb.Undo(t.Context(), plan, []remediation.Outcome{out}); err != nil {
		t.Fatal(err)
	}
}

// private lists, in order, what is not public.
func private(t *rapid.T, s *BucketState) []string {
	var list []string
	for _, g := range s.ACL.Grants {
		if _, public := g.public(); !public {
			list = append(list, g.key())
		}
	}
	if s.Policy == nil {
		return list
	}
	all, err := s3policy.Statements(json.RawMessage(*s.Policy))
	if err != nil {
		t.Fatal(err)
	}
	open := publicOnes(json.RawMessage(*s.Policy))
	for _, st := range all {
		if !slices.ContainsFunc(open, func(o remediation.Statement) bool { return string(o.JSON) == string(st.JSON) }) {
			list = append(list, string(st.JSON))
		}
	}
	return list
}
