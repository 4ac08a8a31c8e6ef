package s3policy

import (
	"net/netip"
	"strings"

	"secbot/internal/sgrule"
)

const (
	// widestIPv4 and widestIPv6 are the widest ranges of aws:SourceIp that S3
	// does not count as public.
	widestIPv4 = 8
	widestIPv6 = 32
)

// narrowed reports whether some condition holds the statement to fixed values.
// All conditions of a statement must hold, so that one is enough.
func narrowed(conditions map[string]map[string]list) bool {
	for operator, keys := range conditions {
		if !narrowing(operator) {
			continue
		}
		for key, values := range keys {
			if allFixed(strings.ToLower(key), values) {
				return true
			}
		}
	}
	return false
}

// narrowing reports whether an operator demands that a key is there and has one
// of the values. ...IfExists and ForAllValues hold where the key is absent, and
// the negated operators let everything else in.
func narrowing(operator string) bool {
	op := strings.TrimPrefix(strings.ToLower(operator), "foranyvalue:")
	switch op {
	case "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress":
		return true
	}
	return false
}

// allFixed reports whether every value of a condition key, in lower case, is a
// fixed one of a key that S3 takes for narrowing.
func allFixed(key string, values list) bool {
	check := fixedCheck(key)
	if check == nil || len(values) == 0 {
		return false
	}
	for _, v := range values {
		if !check(v) {
			return false
		}
	}
	return true
}

func fixedCheck(key string) func(string) bool {
	switch key {
	case "aws:sourceip", "aws:vpcsourceip":
		return fixedRange
	case "s3:dataaccesspointarn":
		return fixedAccessPoint
	case "aws:sourcevpc", "aws:sourcevpce", "aws:sourcearn", "aws:sourceaccount", "aws:sourceowner",
		"aws:sourceorgid", "aws:sourceorgpaths",
		"aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:userid",
		"s3:dataaccesspointaccount", "s3:x-amz-server-side-encryption-aws-kms-key-id":
		return fixed
	}
	return nil
}

// fixed reports whether a value has neither a wildcard nor a policy variable.
func fixed(v string) bool {
	return v != "" && !strings.ContainsAny(v, "*?") && !strings.Contains(v, "${")
}

// fixedRange reports whether a value is a range of addresses that S3 does not
// count as public: the private ones (RFC 1918) are narrow enough anyway.
func fixedRange(v string) bool {
	canonical, err := sgrule.CIDR(v)
	if err != nil {
		return false
	}
	p, err := netip.ParsePrefix(canonical)
	if err != nil {
		return false
	}
	if p.Addr().Is4() {
		return p.Bits() >= widestIPv4
	}
	return p.Bits() >= widestIPv6
}

// fixedAccessPoint lets the access point's name have a wildcard as long as the
// account is fixed: arn:aws:s3:REGION:ACCOUNT:accesspoint/*.
func fixedAccessPoint(v string) bool {
	parts := strings.SplitN(v, ":", 6)
	return len(parts) == 6 && fixed(parts[4]) && !strings.Contains(v, "${")
}
