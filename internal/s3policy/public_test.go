package s3policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"secbot/remediation"
)

func judge(t *testing.T, raw string) (bool, remediation.Openness) {
	t.Helper()
	yes, openness, err := Public(remediation.Statement{JSON: json.RawMessage(raw)})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return yes, openness
}

func TestPublicPrincipals(t *testing.T) {
	tests := []struct {
		members string
		want    bool
	}{
		{`"Principal":"*"`, true},
		{`"Principal":["*"]`, true},
		{`"Principal":{"AWS":"*"}`, true},
		{`"Principal":{"AWS":["arn:aws:iam::111122223333:root","*"]}`, true},
		{`"Principal":{"Service":"*"}`, true},
		{`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"}`, true},
		{`"Principal":{"AWS":"111122223333"}`, false},
		{`"Principal":{"AWS":111122223333}`, false},
		{`"Principal":{"Service":"logging.s3.amazonaws.com"}`, false},
		{`"Principal":{"CanonicalUser":"79a59df900b949e55d96a1e698fbaced"}`, false},
		{`"Principal":{"AWS":[]}`, false},
	}
	for _, tt := range tests {
		got, _ := judge(t, `{"Effect":"Allow",`+tt.members+`,"Action":"s3:GetObject","Resource":"*"}`)
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.members, got, tt.want)
		}
		if got, _ := judge(t, `{"Effect":"Deny",`+tt.members+`,"Action":"s3:*","Resource":"*"}`); got {
			t.Errorf("a Deny with %s counts as public", tt.members)
		}
	}
}

func TestPublicConditions(t *testing.T) {
	tests := []struct {
		condition string
		public    bool
	}{
		{`{}`, true},
		{`{"Bool":{"aws:SecureTransport":"true"}}`, true},
		{`{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}`, false},
		{`{"StringLike":{"aws:SourceVpc":"vpc-*"}}`, true},
		{`{"StringLike":{"AWS:sourcevpce":["vpce-1a2b3c4d"]}}`, false},
		{`{"StringEquals":{"aws:SourceVpce":["vpce-1a2b3c4d","vpce-*"]}}`, true},
		{`{"StringEquals":{"aws:SourceVpce":[]}}`, true},
		{`{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-91237329"}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:SourceVpc":"vpc-91237329"}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:PrincipalOrgPaths":"o-a1b2c3d4e5/r-ab12/"}}`, false},
		{`{"StringNotEquals":{"aws:SourceVpc":"vpc-91237329"}}`, true},
		{`{"ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:topic"}}`, false},
		{`{"ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:*:*"}}`, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/x"}}`, false},
		{`{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}`, false},
		{`{"StringEquals":{"aws:PrincipalOrgID":"${aws:PrincipalOrgID}"}}`, true},
		{`{"StringEquals":{"aws:SourceAccount":111122223333}}`, false},
		{`{"StringEquals":{"aws:SourceOwner":"111122223333"}}`, false},
		{`{"StringLike":{"aws:userid":"AROAEXAMPLEID:*"}}`, true},
		{`{"StringEquals":{"s3:DataAccessPointAccount":"111122223333"}}`, false},
		{`{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-east-1:111122223333:accesspoint/*"}}`, false},
		{`{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-east-1:*:accesspoint/x"}}`, true},
		{`{"StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:us-east-1:111122223333:key/1"}}`, false},
		{`{"StringLike":{"aws:Referer":"https://example.com/page"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, false},
		{`{"IpAddress":{"aws:SourceIp":"11.0.0.0/8"}}`, false},
		{`{"IpAddress":{"aws:SourceIp":"10.0.0.0/7"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/1"]}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}`, false},
		{`{"IpAddress":{"aws:SourceIp":"2001:db8::/31"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"somewhere"}}`, true},
		{`{"IpAddress":{"aws:VpcSourceIp":"10.1.0.0/16"}}`, false},
		{`{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"},"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}`, false},
		{`{"Null":{"aws:SourceVpc":"false"}}`, true},
	}
	for _, tt := range tests {
		got, _ := judge(t, `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*","Condition":`+tt.condition+`}`)
		if got != tt.public {
			t.Errorf("%s: public %v, want %v", tt.condition, got, tt.public)
		}
	}
}

func TestPublicOpenness(t *testing.T) {
	const r, w = remediation.PublicRead, remediation.PublicWrite
	tests := []struct {
		member string
		want   remediation.Openness
	}{
		{`"Action":"s3:GetObject"`, r},
		{`"Action":["s3:GetObject","s3:ListBucket"]`, r},
		{`"Action":"s3:Get*"`, r},
		{`"Action":"s3:List*"`, r},
		{`"Action":"*"`, w},
		{`"Action":"s3:*"`, w},
		{`"Action":"S3:PUTOBJECT"`, w},
		{`"Action":"s3:PutObject*"`, w},
		{`"Action":["s3:GetObject","s3:Delete*"]`, w},
		{`"Action":"s3:PutSomethingNew"`, w},
		{`"Action":"s3:*Policy"`, w},
		{`"Action":"s3:?utObject"`, w},
		{`"Action":"s3:PutBucketAcl"`, w},
		{`"Action":"s3:*Object"`, w},
		{`"NotAction":"s3:GetObject"`, w},
		{`"NotAction":["s3:Put*","s3:Delete*","s3:Abort*","s3:Restore*","s3:Bypass*","s3:Replicate*","s3:ObjectOwner*"]`, r},
	}
	for _, tt := range tests {
		yes, got := judge(t, `{"Effect":"Allow","Principal":"*","Resource":"*",`+tt.member+`}`)
		if !yes || got != tt.want {
			t.Errorf("%s: %v %q, want %q", tt.member, yes, got, tt.want)
		}
	}
}

func TestPublicMalformed(t *testing.T) {
	for _, bad := range []string{
		`{}`, `{"Effect":"allow it","Principal":"*"}`, `{"Effect":"Allow"}`, `{"Effect":"Allow","Principal":{"AWS":{}}}`,
		`{"Effect":"Allow","Principal":[[]]}`, `{"Effect":"Allow","Principal":"*","Action":{}}`,
		`{"Effect":"Allow","Principal":"*","Condition":"x"}`, `[]`, ``,
	} {
		if yes, _, err := Public(remediation.Statement{JSON: json.RawMessage(bad)}); !errors.Is(err, ErrMalformed) || yes {
			t.Errorf("%s: %v, %v", bad, yes, err)
		}
	}
}

func TestPublicStatements(t *testing.T) {
	got, err := PublicStatements(json.RawMessage(policy))
	if err != nil || len(got) != 1 || got[0].Sid != "open" || got[0].Openness != remediation.PublicRead {
		t.Errorf("%v, %v", got, err)
	}
	_, err = PublicStatements(json.RawMessage(`{"Statement":[{"Effect":"Maybe"}]}`))
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

// TestMatchAgreesWithRecursion compares the matcher with a plain recursive one.
func TestMatchAgreesWithRecursion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*?]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "s")
		if got, want := match(p, s), slowMatch(p, s); got != want {
			t.Fatalf("match(%q, %q) = %v, want %v", p, s, got, want)
		}
	})
}

func slowMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return slowMatch(p[1:], s) || (s != "" && slowMatch(p, s[1:]))
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && slowMatch(p[1:], s[1:])
}

// FuzzPublic: whatever the policy, its public statements can be taken out, the
// others stay byte for byte, and nothing public is left.
func FuzzPublic(f *testing.F) {
	f.Add([]byte(policy))
	f.Add([]byte(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}`))
	f.Add([]byte(`{"Statement":[{"Effect":"Allow","NotPrincipal":{"AWS":["a"]},"NotAction":"s3:Get*","Resource":"*"},{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"s3:*","Resource":["*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`))
	f.Add([]byte(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		public, err := PublicStatements(raw)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(fmt.Errorf("untyped error: %w", err))
			}
			return
		}
		before, err := Statements(raw)
		if err != nil {
			t.Fatalf("public statements are found in what has none: %v", err)
		}
		isPublic := func(_ int, st remediation.Statement) bool {
			is, _, err := Public(st)
			return is && err == nil
		}
		out, left, err := Without(raw, isPublic)
		if err != nil {
			t.Fatal(err)
		}
		if left != len(before)-len(public) {
			t.Fatalf("%d statements are left of %d, of which %d are public", left, len(before), len(public))
		}
		if left == 0 {
			return
		}
		rest, err := PublicStatements(out)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%d public statements are left, %v: %s", len(rest), err, out)
		}
		after, err := Statements(out)
		if err != nil {
			t.Fatal(err)
		}
		private := slices.DeleteFunc(slices.Clone(before), func(st remediation.Statement) bool { return isPublic(0, st) })
		for i := range after {
			if string(after[i].JSON) != string(private[i].JSON) {
				t.Fatalf("a statement that is not public has changed from %s to %s", private[i].JSON, after[i].JSON)
			}
		}
	})
}
