package fakeaws

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"secbot/internal/s3policy"
)

// allow is a policy of one Allow with the given members.
func allow(members string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*",` + members + `}]}`
}

// TestMeaningOfPublic is the User Guide's page, sentence by sentence: what it
// gives as examples, and what follows from its lists.
func TestMeaningOfPublic(t *testing.T) {
	everybody := func(condition string) string { return allow(`"Principal":"*","Condition":` + condition) }
	for policy, want := range map[string]bool{
		// "Amazon S3 begins by assuming that the policy is public"
		allow(`"Principal":"*"`):                                         true,
		allow(`"Principal":{"AWS":"*"}`):                                 true,
		allow(`"Principal":{"AWS":["*"]}`):                               true,
		allow(`"Principal":["*"]`):                                       true,
		allow(`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"}`): true,
		// "An AWS principal, user, role, or service principal"
		allow(`"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`):       false,
		allow(`"Principal":{"AWS":["111122223333","444455556666"]}`):        false,
		allow(`"Principal":{"AWS":["111122223333","*"]}`):                   true,
		allow(`"Principal":{"Service":"cloudtrail.amazonaws.com"}`):         false,
		everybody(`{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}`): false,
		everybody(`{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`):            true,
		everybody(`{"StringEquals":{"aws:PrincipalArn":"${aws:userid}"}}`):  true,
		// "A set of CIDRs, using aws:SourceIp", and that broad ones are public
		everybody(`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`):               false,
		everybody(`{"IpAddress":{"aws:SourceIp":"203.0.113.7"}}`):                  false,
		everybody(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`):                   false,
		everybody(`{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`):                    true,
		everybody(`{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}`): true,
		everybody(`{"IpAddress":{"aws:SourceIp":"2600::/32"}}`):                    false,
		everybody(`{"IpAddress":{"aws:SourceIp":"2600::/31"}}`):                    true,
		everybody(`{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`):            true,
		// "aws:SourceArn, aws:SourceVpc, aws:SourceVpce, aws:SourceOwner, aws:SourceAccount"
		everybody(`{"ArnEquals":{"aws:SourceArn":"arn:aws:cloudfront::111122223333:distribution/E1"}}`): false,
		everybody(`{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}`):                                  false, // the guide's example
		everybody(`{"StringLike":{"aws:SourceVpc":"vpc-*"}}`):                                           true,  // and its counterpart
		everybody(`{"StringEquals":{"aws:SourceVpce":["vpce-1","vpce-2"]}}`):                            false,
		everybody(`{"StringEquals":{"aws:SourceVpce":["vpce-1","vpce-*"]}}`):                            true,
		everybody(`{"StringEquals":{"aws:SourceOwner":"111122223333"}}`):                                false,
		everybody(`{"StringEquals":{"aws:SourceAccount":"111122223333"}}`):                              false,
		// "aws:userid, outside the pattern AROLEID:*"
		everybody(`{"StringEquals":{"aws:userid":"AIDAEXAMPLE"}}`): false,
		everybody(`{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`): true,
		// "s3:DataAccessPointArn … can contain a wildcard for the access point name … as long as the account ID is fixed"
		everybody(`{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:111122223333:accesspoint/*"}}`): false,
		everybody(`{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:*:accesspoint/one"}}`):          true,
		everybody(`{"StringEquals":{"s3:DataAccessPointAccount":"111122223333"}}`):                           false,
		// What it doesn't list does not count.
		everybody(`{"Bool":{"aws:SecureTransport":"true"}}`):                true,
		everybody(`{"StringEquals":{"aws:Referer":"https://example.com"}}`): true,
		everybody(`{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}}`):     true,
		// A Deny grants nothing; one public grant makes the policy public.
		strings.ReplaceAll(allow(`"Principal":"*"`), "Allow", "Deny"): false,
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}`: true,
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}`:                                                                                        true,
	} {
		got, err := isPublic([]byte(policy))
		if err != nil || got != want {
			t.Errorf("public %v (%v), the guide says %v: %s", got, err, want, policy)
		}
		statements, err := s3policy.PublicStatements([]byte(policy))
		if err != nil || len(statements) > 0 != want {
			t.Errorf("secbot finds %d public statements (%v), the guide says %v: %s", len(statements), err, want, policy)
		}
	}
}

// TestTwoReadings: what the sandbox calls public and what secbot finds, two
// readings of one page, agree on any policy.
func TestTwoReadings(t *testing.T) {
	pick := func(t *rapid.T, what string, of ...string) string { return rapid.SampledFrom(of).Draw(t, what) }
	values := []string{"*", "vpc-1", "vpc-*", "${aws:userid}", "", "10.0.0.0/8", "0.0.0.0/1", "0.0.0.0/0", "2600::/32", "::/0", "203.0.113.7", "arn:aws:s3:us-west-2:111122223333:accesspoint/*", "arn:aws:s3:us-west-2:*:accesspoint/a", "x"}
	statement := rapid.Custom(func(t *rapid.T) string {
		condition := ""
		if rapid.Bool().Draw(t, "conditioned") {
			var list []string
			for _, v := range rapid.SliceOfN(rapid.SampledFrom(values), 0, 3).Draw(t, "values") {
				list = append(list, fmt.Sprintf("%q", v))
			}
			condition = fmt.Sprintf(`,"Condition":{%q:{%q:[%s]}}`,
				pick(t, "operator", "StringEquals", "StringLike", "StringNotEquals", "IpAddress", "NotIpAddress", "ArnLike", "Bool", "StringEqualsIfExists", "ForAnyValue:StringEquals", "ForAllValues:StringEquals"),
				pick(t, "key", "aws:SourceIp", "aws:SourceVpc", "aws:PrincipalOrgID", "aws:userid", "aws:Referer", "s3:DataAccessPointArn", "aws:SecureTransport"), strings.Join(list, ","))
		}
		return fmt.Sprintf(`{"Effect":%q,%s,"Action":"s3:GetObject","Resource":"*"%s}`, pick(t, "effect", "Allow", "Deny"),
			pick(t, "principal", `"Principal":"*"`, `"Principal":{"AWS":"*"}`, `"Principal":{"AWS":["1","*"]}`, `"Principal":{"AWS":"111122223333"}`, `"Principal":{"Service":"s3.amazonaws.com"}`,
				`"Principal":{"AWS":[]}`, `"NotPrincipal":{"AWS":"111122223333"}`), condition)
	})
	rapid.Check(t, func(t *rapid.T) {
		policy := `{"Statement":[` + strings.Join(rapid.SliceOfN(statement, 1, 3).Draw(t, "statements"), ",") + `]}`
		sandbox, err := isPublic([]byte(policy))
		if err != nil {
			t.Fatal(err)
		}
		secbot, err := s3policy.PublicStatements([]byte(policy))
		if err != nil {
			t.Fatal(err)
		}
		if sandbox != (len(secbot) > 0) {
			t.Fatalf("the sandbox says %v, secbot finds %d public statements: %s", sandbox, len(secbot), policy)
		}
	})
}
