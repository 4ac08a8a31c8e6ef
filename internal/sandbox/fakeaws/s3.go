package fakeaws

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// s3Service covers buckets and what decides who may reach them. Objects are not
// kept.
func (a *AWS) s3Service() *service {
	ops := a.bucketOperations()
	return &service{
		name: "s3", source: "s3.amazonaws.com", newID: func() string { return a.ids.upper(16) },
		operation: func(x *exchange) (string, *operation) {
			x.bucket, x.key, _ = strings.Cut(strings.TrimPrefix(x.req.URL.Path, "/"), "/")
			x.Resource = x.bucket
			name := s3Action(x)
			return name, ops[name]
		},
		write: writeS3,
		fail:  failS3,
		decorate: func(x *exchange, rec *recordJSON) {
			rec.AdditionalData = map[string]any{"SignatureVersion": "SigV4", "AuthenticationMethod": "AuthHeader", "x-amz-id-2": hostID(x)}
			rec.Resources = []map[string]any{{"accountId": x.caller.Account, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::" + x.bucket}}
		},
	}
}

// s3Action names the operation by method, path and subresource.
func s3Action(x *exchange) string {
	if x.key != "" {
		return "Object" + x.req.Method // nothing here covers objects
	}
	if x.bucket == "" {
		return map[string]string{http.MethodGet: "ListBuckets"}[x.req.Method]
	}
	verb := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}[x.req.Method]
	query := x.req.URL.Query()
	for sub, name := range subresources() {
		if query.Has(sub) {
			return verb + name
		}
	}
	return map[string]string{
		http.MethodPut: "CreateBucket", http.MethodDelete: "DeleteBucket", http.MethodHead: "HeadBucket", http.MethodGet: "ListObjects",
	}[x.req.Method]
}

// subresources are the parts of a bucket's configuration, by the name in the
// query string.
func subresources() map[string]string {
	return map[string]string{
		"acl": "BucketAcl", "policy": "BucketPolicy", "policyStatus": "BucketPolicyStatus", "publicAccessBlock": "PublicAccessBlock",
		"ownershipControls": "BucketOwnershipControls", "tagging": "BucketTagging", "website": "BucketWebsite", "location": "BucketLocation",
		"replication": "BucketReplication", "versioning": "BucketVersioning", "logging": "BucketLogging", "notification": "BucketNotificationConfiguration",
		"lifecycle": "BucketLifecycleConfiguration",
	}
}

func (a *AWS) bucketOperations() map[string]*operation {
	ops := map[string]*operation{
		"ListBuckets":  {run: a.listBuckets},
		"CreateBucket": {event: "CreateBucket", params: bucketParams(""), run: a.createBucket},
		"DeleteBucket": {event: "DeleteBucket", params: bucketParams(""), run: a.owned(a.deleteBucket)},
		"HeadBucket":   {run: a.owned(func(*exchange, *bucket) (*result, error) { return &result{}, nil })},
		// us-east-1 answers for the buckets of every region.
		"GetBucketLocation": {run: a.ownedAnywhere(getLocation)},

		"GetBucketAcl":               {run: a.owned(a.getACL)},
		"PutBucketAcl":               {event: "PutBucketAcl", params: aclParams, run: a.owned(a.putACL)},
		"GetBucketPolicy":            {run: a.owned(getPolicy)},
		"GetBucketPolicyStatus":      {run: a.owned(getPolicyStatus)},
		"PutBucketPolicy":            {event: "PutBucketPolicy", params: policyParams, run: a.owned(a.putPolicy)},
		"DeleteBucketPolicy":         {event: "DeleteBucketPolicy", params: bucketParams("policy"), run: a.owned(deletePolicy)},
		"GetPublicAccessBlock":       {run: a.owned(getBlock)},
		"PutPublicAccessBlock":       {event: "PutBucketPublicAccessBlock", params: blockParams, run: a.owned(putBlock)},
		"DeletePublicAccessBlock":    {event: "DeleteBucketPublicAccessBlock", params: bucketParams("publicAccessBlock"), run: a.owned(deleteBlock)},
		"GetBucketOwnershipControls": {run: a.owned(getOwnership)},
		"PutBucketOwnershipControls": {event: "PutBucketOwnershipControls", params: bucketParams("ownershipControls"), run: a.owned(a.putOwnership)},
		"DeleteBucketOwnershipControls": {event: "DeleteBucketOwnershipControls", params: bucketParams("ownershipControls"),
			run: a.owned(func(_ *exchange, b *bucket) (*result, error) { b.ownership = ""; return &result{}, nil })},
		"GetBucketTagging": {run: a.owned(getTagging)},
		"PutBucketTagging": {event: "PutBucketTagging", params: bucketParams("tagging"), run: a.owned(putTagging)},
		"DeleteBucketTagging": {event: "DeleteBucketTagging", params: bucketParams("tagging"),
			run: a.owned(func(_ *exchange, b *bucket) (*result, error) { b.tags = nil; return &result{}, nil })},
		"GetBucketWebsite": {run: a.owned(getWebsite)},
		"PutBucketWebsite": {event: "PutBucketWebsite", params: bucketParams("website"), run: a.owned(putWebsite)},
		"DeleteBucketWebsite": {event: "DeleteBucketWebsite", params: bucketParams("website"),
			run: a.owned(func(_ *exchange, b *bucket) (*result, error) { b.website = nil; return &result{}, nil })},
	}
	for name, run := range neverSet() {
		ops[name] = &operation{run: a.owned(run)}
	}
	for name, op := range ops {
		if strings.HasPrefix(name, "Delete") || name == "PutBucketPolicy" {
			op.run = noContent(op.run)
		}
	}
	return ops
}

// noContent answers 204, as S3 does for deletions and policies.
func noContent(run func(*exchange) (*result, error)) func(*exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		x.status = http.StatusNoContent
		return run(x)
	}
}

// owned finds the bucket of a request and refuses who doesn't own it.
func (a *AWS) owned(run func(*exchange, *bucket) (*result, error)) func(*exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		b, err := a.bucketFor(x)
		if err != nil {
			return nil, err
		}
		if b.region != x.Region {
			x.w.Header().Set("x-amz-bucket-region", b.region)
			return nil, failure(http.StatusMovedPermanently, "PermanentRedirect",
				"The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
		}
		return run(x, b)
	}
}

func (a *AWS) ownedAnywhere(run func(*exchange, *bucket) (*result, error)) func(*exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		b, err := a.bucketFor(x)
		if err != nil {
			return nil, err
		}
		return run(x, b)
	}
}

func (a *AWS) bucketFor(x *exchange) (*bucket, error) {
	b := a.buckets[x.bucket]
	if b == nil {
		return nil, failure(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	want := x.req.Header.Get("x-amz-expected-bucket-owner")
	if b.account != x.caller.Account || want != "" && want != b.account {
		return nil, accessDenied()
	}
	return b, nil
}

func accessDenied() *Error { return failure(http.StatusForbidden, "AccessDenied", "Access Denied") }

func absent(code, message string) *Error { return failure(http.StatusNotFound, code, message) }

func hostID(x *exchange) string { return stableID("host "+x.RequestID, 52) }

// s3Named is a body that is written below its own name.
type s3Named struct {
	name string
	body any
}

func writeS3(x *exchange, body any) {
	s3Headers(x)
	status := x.status
	if status == 0 {
		status = http.StatusOK
	}
	switch v := body.(type) {
	case nil:
		x.w.WriteHeader(status)
	case []byte:
		x.w.Header().Set("Content-Type", "application/json")
		x.w.WriteHeader(status)
		_, _ = x.w.Write(v) // the client has gone: nobody to tell
	case s3Named:
		writeXML(x, status, v.name, s3Namespace, v.body)
	default:
		x.svc.fail(x, failure(http.StatusInternalServerError, "InternalError", fmt.Sprintf("no encoding for %T", body)))
	}
}

func s3Headers(x *exchange) {
	x.w.Header().Set("x-amz-request-id", x.RequestID)
	x.w.Header().Set("x-amz-id-2", hostID(x))
}

type s3Fault struct {
	Code      string
	Message   string
	Resource  string `xml:",omitempty"`
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

func failS3(x *exchange, err *Error) {
	s3Headers(x)
	if x.req.Method == http.MethodHead {
		x.w.WriteHeader(err.Status)
		return
	}
	writeXML(x, err.Status, "Error", "", s3Fault{err.Code, err.Message, x.req.URL.Path, x.RequestID, hostID(x)})
}

// decodeXML reads a request's body.
func decodeXML(x *exchange, into any) error {
	if err := xml.Unmarshal(x.body, into); err != nil {
		return failure(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return nil
}

// bucketParams are the requestParameters of a call on one subresource.
func bucketParams(sub string) func(*exchange) map[string]any {
	return func(x *exchange) map[string]any {
		p := map[string]any{"bucketName": x.bucket, "Host": x.req.Host}
		if sub != "" {
			p[sub] = ""
		}
		return p
	}
}

// validBucketName covers the rules that matter to a path: it can't be escaped.
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 {
		return false
	}
	return !slices.ContainsFunc([]byte(name), func(c byte) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.", rune(c))
	})
}
