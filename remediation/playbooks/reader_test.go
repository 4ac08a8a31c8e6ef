package playbooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/plainbody"
	"secbot/internal/throttle"
	"secbot/remediation"
)

// answers is an S3 and S3 Control that answers by the request's sub-resource
// ("acl", "policy", …; "account" for the account's block; "location").
type answers struct {
	mu    sync.Mutex
	by    map[string]answer
	calls []string
}

type answer struct {
	status int
	code   string // an error's
	body   string
	// unless answers properly where the request names no expected owner.
	unlessOwnerless bool
}

func absent(code string) answer { return answer{status: http.StatusNotFound, code: code} }
func denied() answer            { return answer{status: http.StatusForbidden, code: "AccessDenied"} }

const ownACL = `<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`

// plainBucket has nothing but its owner's ACL.
func plainBucket() map[string]answer {
	return map[string]answer{
		"acl": {body: ownACL}, "policy": absent("NoSuchBucketPolicy"), "policyStatus": absent("NoSuchBucketPolicy"),
		"publicAccessBlock": absent("NoSuchPublicAccessBlockConfiguration"), "account": absent("NoSuchPublicAccessBlockConfiguration"),
		"ownershipControls": absent("OwnershipControlsNotFoundError"), "website": absent("NoSuchWebsiteConfiguration"), "tagging": absent("NoSuchTagSet"),
		"location": {body: `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>`},
	}
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := "account"
	if !strings.HasPrefix(r.URL.Path, "/v20180820/") {
		for k := range r.URL.Query() {
			if k != "x-id" {
				name = k
			}
		}
	}
	region := strings.Split(r.Header.Get("Authorization"), "/")[2]
	a.mu.Lock()
	a.calls = append(a.calls, name+" "+region)
	ans, ok := a.by[region+" "+name]
	if !ok {
		ans = a.by[name]
	}
	a.mu.Unlock()
	w.Header().Set("X-Amz-Request-Id", "R-"+name)
	if ans.unlessOwnerless && r.Header.Get("X-Amz-Expected-Bucket-Owner") == "" {
		ans = answer{body: ans.body}
	}
	if ans.code != "" {
		text := "<Error><Code>" + ans.code + "</Code><Message>no</Message></Error>"
		if name == "account" {
			text = "<ErrorResponse>" + text + "</ErrorResponse>" // as S3 Control wraps it
		}
		w.WriteHeader(ans.status)
		fmt.Fprint(w, text)
		return
	}
	fmt.Fprint(w, ans.body)
}

func testConfig(t *testing.T, h http.Handler) aws.Config {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return aws.Config{Region: "us-east-1", BaseEndpoint: &srv.URL, APIOptions: []func(*middleware.Stack) error{plainbody.Use},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", "")}
}

func readFrom(t *testing.T, a *answers) (*BucketState, error) {
	t.Helper()
	r := Readers(NewClients(testConfig(t, a), "111122223333", ""))[remediation.KindBucket]
	s, err := r.Read(t.Context(), remediation.Ref{Kind: remediation.KindBucket, Account: "111122223333", ID: "reports"})
	if err != nil {
		return nil, err
	}
	return s.(*BucketState), nil
}

func TestReadPlainBucket(t *testing.T) {
	s, err := readFrom(t, &answers{by: plainBucket()})
	if err != nil {
		t.Fatal(err)
	}
	if s.Policy != nil || s.Block != nil || s.AccountBlock != nil || s.AccountBlockUnread != "" || s.Ownership != "" || s.Website || s.Tags != nil {
		t.Errorf("nothing is set, but %+v", s)
	}
	if len(s.ACL.Grants) != 1 || s.ACL.OwnerID != "me" || s.Bucket.Region != "us-east-1" {
		t.Errorf("%+v", s)
	}
}

func TestReadFullBucket(t *testing.T) {
	by := plainBucket()
	flags := "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
	by["publicAccessBlock"], by["account"] = answer{body: flags}, answer{body: flags}
	by["policy"] = answer{body: ` {"Statement":[]}`}
	by["policyStatus"] = answer{body: "<PolicyStatus><IsPublic>true</IsPublic></PolicyStatus>"}
	by["ownershipControls"] = answer{body: "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"}
	by["website"] = answer{body: "<WebsiteConfiguration/>"}
	by["tagging"] = answer{body: "<Tagging><TagSet><Tag><Key>env</Key><Value>prod</Value></Tag></TagSet></Tagging>"}
	s, err := readFrom(t, &answers{by: by})
	if err != nil {
		t.Fatal(err)
	}
	want := remediation.BlockFlags{BlockPublicAcls: true}
	if s.Block == nil || *s.Block != want || s.AccountBlock == nil || *s.AccountBlock != want {
		t.Errorf("blocks %+v %+v", s.Block, s.AccountBlock)
	}
	if s.Policy == nil || *s.Policy != ` {"Statement":[]}` || !s.PolicyPublic || s.Ownership != ownershipEnforced || !s.Website || s.Tags["env"] != "prod" {
		t.Errorf("%+v", s)
	}
}

func TestReadFailures(t *testing.T) {
	for part, action := range map[string]string{
		"acl": "s3:GetBucketAcl", "policy": "s3:GetBucketPolicy", "policyStatus": "s3:GetBucketPolicyStatus",
		"publicAccessBlock": "s3:GetBucketPublicAccessBlock", "ownershipControls": "s3:GetBucketOwnershipControls",
		"website": "s3:GetBucketWebsite", "tagging": "s3:GetBucketTagging",
	} {
		by := plainBucket()
		by[part] = denied()
		_, err := readFrom(t, &answers{by: by})
		if err == nil || !strings.Contains(err.Error(), action) || !strings.Contains(err.Error(), "111122223333") || errors.Is(err, remediation.ErrOtherAccount) {
			t.Errorf("%s denied: %v", part, err)
		}
		if !slices.Contains(publicACL{}.Meta().Permissions, action) {
			t.Errorf("%s is needed, but not declared", action)
		}
		by = plainBucket() // the first server may still be reading its own
		by[part] = absent("NoSuchBucket")
		if _, err := readFrom(t, &answers{by: by}); !errors.Is(err, remediation.ErrGone) {
			t.Errorf("%s of no bucket: %v", part, err)
		}
	}
}

func TestReadWithoutTheAccountsBlock(t *testing.T) {
	by := plainBucket()
	by["account"] = denied()
	s, err := readFrom(t, &answers{by: by})
	if err != nil || !strings.Contains(s.AccountBlockUnread, "s3:GetAccountPublicAccessBlock") || s.doubt() == "" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestReadBucketOfAnotherAccount(t *testing.T) {
	by := plainBucket()
	for part := range by {
		by[part] = denied()
	}
	by["acl"] = answer{status: http.StatusForbidden, code: "AccessDenied", body: ownACL, unlessOwnerless: true}
	if _, err := readFrom(t, &answers{by: by}); !errors.Is(err, remediation.ErrOtherAccount) {
		t.Errorf("it reads without naming the owner, but %v", err)
	}
	by["acl"] = denied()
	if _, err := readFrom(t, &answers{by: by}); err == nil || errors.Is(err, remediation.ErrOtherAccount) {
		t.Errorf("nobody knows why it is denied, but %v", err)
	}
}

func TestReadInTheBucketsOwnRegion(t *testing.T) {
	by := plainBucket()
	for _, part := range []string{"acl", "policy", "policyStatus", "publicAccessBlock", "ownershipControls", "website", "tagging"} {
		by["us-east-1 "+part] = answer{status: http.StatusMovedPermanently, code: "PermanentRedirect"}
	}
	s, err := readFrom(t, &answers{by: by})
	if err != nil || s.Bucket.Region != "eu-west-1" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestRequestIDsOfChangingCalls(t *testing.T) {
	var mu sync.Mutex
	var ids []string
	by := plainBucket()
	cfg := testConfig(t, &answers{by: by})
	cfg.APIOptions = append(cfg.APIOptions, recordRequestIDs(func(_ context.Context, id string) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, id)
	}))
	c := NewClients(cfg, "111122223333", "").S3
	ref := remediation.Ref{ID: "reports", Account: "111122223333"}
	if _, err := readACL(t.Context(), c, ref); err != nil {
		t.Fatal(err)
	}
	by["policy"] = answer{}
	if err := (publicPolicy{c}).put(t.Context(), ref, aws.String("{}")); err != nil {
		t.Fatal(err)
	}
	by["acl"] = denied()
	if _, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: &ref.ID}); err == nil {
		t.Fatal("not denied")
	}
	if !slices.Equal(ids, []string{"R-policy", "R-acl"}) {
		t.Errorf("ids %q", ids)
	}
}

// TestOwnershipEnforcedIsDrift: S3 refuses the ACL since it has no effect any
// more, so the plan is outdated.
func TestOwnershipEnforcedIsDrift(t *testing.T) {
	c := NewClients(testConfig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "<Error><Code>AccessControlListNotSupported</Code></Error>")
	})), "", "")
	err := publicACL{c.S3}.put(t.Context(), remediation.Ref{ID: "reports"}, ACL{OwnerID: "me"})
	if !errors.Is(err, remediation.ErrDrifted) {
		t.Errorf("%v", err)
	}
}

// TestBusyIsTriedAgain: the SDK retries, and in the end the code is still there
// for whoever decides about trying later.
func TestBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	tries := 0
	c := NewClients(testConfig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries++
		if tries < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
			return
		}
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, "<Error><Code>OperationAborted</Code></Error>")
	})), "", "")
	err := blockPublicAccess{c.S3}.put(t.Context(), remediation.Ref{ID: "reports"}, allOn())
	if !hasCode(err, "OperationAborted") || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

// TestThrottledCallsSlowDown: the calls that wait for places are the fewer the more
// AWS throttles them, others are made as ever, and what waits between two attempts
// takes no place.
func TestThrottledCallsSlowDown(t *testing.T) {
	t.Parallel()
	tries := 0
	c := NewClients(testConfig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
			return
		}
		fmt.Fprint(w, ownACL)
	})), "111122223333", "eu-west-1")
	ref := remediation.Ref{Account: "111122223333", Region: "eu-west-1", ID: "reports"}
	var l throttle.Limiter
	key := throttle.Key{Account: "111122223333", Region: "eu-west-1", Service: "S3"}
	begun := l.Bound(key)
	if _, err := readACL(throttle.With(t.Context(), &l), c.S3, ref); err != nil || tries != 3 {
		t.Fatalf("%d tries: %v", tries, err)
	}
	if got, want := l.Bound(key), begun/4; got != want {
		t.Errorf("after two attempts that were throttled the bound is %d, want %d", got, want)
	}
	var full []func(bool)
	for range l.Bound(key) {
		leave, err := l.Enter(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		full = append(full, leave)
	}
	if _, err := readACL(t.Context(), c.S3, ref); err != nil {
		t.Errorf("a call that is no scan's: %v", err)
	}
	ctx, cancel := context.WithCancel(throttle.With(t.Context(), &l))
	cancel()
	if _, err := readACL(ctx, c.S3, ref); !errors.Is(err, context.Canceled) || tries != 4 {
		t.Errorf("while all places are taken: %v, %d tries", err, tries)
	}
	for _, leave := range full {
		leave(false)
	}
}
