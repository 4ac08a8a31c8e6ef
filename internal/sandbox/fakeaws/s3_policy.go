package fakeaws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"secbot/internal/s3policy"
)

func getPolicy(_ *exchange, b *bucket) (*result, error) {
	if b.policy == nil {
		return nil, noPolicy()
	}
	return &result{body: b.policy}, nil
}

func noPolicy() *Error { return absent("NoSuchBucketPolicy", "The bucket policy does not exist") }

type policyStatusXML struct{ IsPublic bool }

func getPolicyStatus(_ *exchange, b *bucket) (*result, error) {
	if b.policy == nil {
		return nil, noPolicy()
	}
	public, err := isPublic(b.policy)
	return &result{body: s3Named{"PolicyStatus", policyStatusXML{public}}}, err
}

func (a *AWS) putPolicy(x *exchange, b *bucket) (*result, error) {
	if err := checkPolicy(x.body, b.name); err != nil {
		return nil, err
	}
	public, err := isPublic(x.body)
	if err != nil {
		return nil, err
	}
	if public && a.blockFor(b).BlockPublicPolicy {
		return nil, failure(http.StatusForbidden, "AccessDenied", fmt.Sprintf(
			`User: %s is not authorized to perform: s3:PutBucketPolicy on resource: "arn:aws:s3:::%s" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.`,
			x.Caller, b.name))
	}
	b.policy = append([]byte{}, x.body...)
	return &result{}, nil
}

// checkPolicy refuses what S3 refuses: no JSON, no statements, statements
// without effect, principal or action, and resources of another bucket.
func checkPolicy(policy []byte, bucket string) error {
	if !json.Valid(policy) {
		return bad("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
	}
	statements, err := s3policy.Statements(policy)
	if err != nil || len(statements) == 0 {
		return bad("MalformedPolicy", "Missing required field Statement")
	}
	for _, s := range statements {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(s.JSON, &fields); err != nil {
			return bad("MalformedPolicy", "A statement is no object")
		}
		for _, either := range [][]string{{"Effect"}, {"Principal", "NotPrincipal"}, {"Action", "NotAction"}, {"Resource", "NotResource"}} {
			if !hasAny(fields, either) {
				return bad("MalformedPolicy", "Missing required field "+either[0])
			}
		}
		if err := checkResources(fields["Resource"], bucket); err != nil {
			return err
		}
	}
	return nil
}

func hasAny(fields map[string]json.RawMessage, names []string) bool {
	for _, n := range names {
		if _, ok := fields[n]; ok {
			return true
		}
	}
	return false
}

func checkResources(raw json.RawMessage, bucket string) error {
	if raw == nil {
		return nil
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		many = []string{""}
		if json.Unmarshal(raw, &many[0]) != nil {
			return bad("MalformedPolicy", "Policy has invalid resource")
		}
	}
	own := "arn:aws:s3:::" + bucket
	for _, r := range many {
		if r != own && !strings.HasPrefix(r, own+"/") && r != own+"*" {
			return bad("MalformedPolicy", "Policy has invalid resource")
		}
	}
	return nil
}

func deletePolicy(_ *exchange, b *bucket) (*result, error) {
	b.policy = nil
	return &result{}, nil
}

// policyParams gives the policy as an object, or as text where it is none.
func policyParams(x *exchange) map[string]any {
	p := bucketParams("policy")(x)
	p["bucketPolicy"] = string(x.body)
	if json.Valid(x.body) {
		p["bucketPolicy"] = json.RawMessage(x.body)
	}
	return p
}
