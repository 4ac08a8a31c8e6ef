package s3policy

import (
	"encoding/json"
	"slices"
	"strings"

	"secbot/remediation"
)

// Guarded reports whether a policy denies everybody, or everybody but some, what
// a public statement of it allows, so that the public may be kept out all the
// same. Denies of unencrypted traffic and the like, which nobody is kept out by,
// don't count. What can't be understood may be such a Deny.
func Guarded(policy []remediation.Statement, public remediation.Statement) bool {
	var allowed statement
	if err := json.Unmarshal(public.JSON, &allowed); err != nil {
		return true
	}
	return slices.ContainsFunc(policy, func(s remediation.Statement) bool {
		var st statement
		if err := json.Unmarshal(s.JSON, &st); err != nil {
			return true
		}
		if !strings.EqualFold(st.Effect, "Deny") || harmless(st.Condition) {
			return false
		}
		anybody, err := st.anybody()
		return (err != nil || anybody) && overlap(st, allowed)
	})
}

// harmless reports whether one of a Deny's conditions is about how a request is
// made, which strangers can choose as they need it.
func harmless(conditions map[string]map[string]list) bool {
	for _, keys := range conditions {
		for key := range keys {
			switch key = strings.ToLower(key); {
			case key == "aws:securetransport", key == "s3:tlsversion", key == "s3:x-amz-acl", strings.HasPrefix(key, "s3:x-amz-server-side-encryption"):
				return true
			}
		}
	}
	return false
}

// overlap reports whether two statements may be about the same action. Patterns
// are compared by what stands before their first wildcard.
func overlap(a, b statement) bool {
	if len(a.NotAction)+len(b.NotAction) > 0 {
		return true
	}
	literal := func(pattern string) string {
		pattern = strings.ToLower(pattern)
		if i := strings.IndexAny(pattern, "*?"); i >= 0 {
			return pattern[:i]
		}
		return pattern + "$" // no other begins with it
	}
	for _, x := range a.Action {
		for _, y := range b.Action {
			x, y := literal(x), literal(y)
			if strings.HasPrefix(x, y) || strings.HasPrefix(y, x) {
				return true
			}
		}
	}
	return false
}
