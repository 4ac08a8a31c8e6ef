package fakeaws

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// This file says which bucket policies S3 calls public: "The meaning of 'public'"
// under "Blocking public access to your Amazon S3 storage" in the Amazon S3 User
// Guide, written down a second time. It uses nothing of what secbot judges by,
// so that each can be wrong on its own.

// policyDocument is a bucket policy as far as its meaning goes. A member that may
// be one or several is any.
type policyDocument struct {
	Statement any
}

// isPublic begins, as S3 does, with the policy being public, and looks for what
// makes each Allow of it non-public: fixed principals, or fixed values of certain
// conditions.
func isPublic(policy []byte) (bool, error) {
	var doc policyDocument
	if err := json.Unmarshal(policy, &doc); err != nil {
		return false, bad("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
	}
	for _, one := range several(doc.Statement) {
		st, ok := one.(map[string]any)
		if !ok {
			return false, bad("MalformedPolicy", "A statement is no object")
		}
		effect, _ := st["Effect"].(string)
		switch {
		case strings.EqualFold(effect, "Deny"):
		case !strings.EqualFold(effect, "Allow"):
			return false, bad("MalformedPolicy", "Invalid effect: "+effect)
		case !fixedPrincipals(st) && !fixedCondition(st["Condition"]):
			return true, nil
		}
	}
	return false, nil
}

// several gives the members of a list, or the one that stands for it.
func several(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

// fixedPrincipals reports whether a statement names those whom it is for.
// NotPrincipal names all others.
func fixedPrincipals(st map[string]any) bool {
	if _, ok := st["NotPrincipal"]; ok {
		return false
	}
	var names []any
	kinds, ok := st["Principal"].(map[string]any)
	if !ok {
		names = several(st["Principal"])
	}
	for _, of := range kinds {
		names = append(names, several(of)...)
	}
	return !slices.ContainsFunc(names, func(n any) bool { s, ok := n.(string); return ok && strings.Contains(s, "*") })
}

// fixedCondition reports whether a condition lets in only fixed values of what the
// guide lists.
func fixedCondition(v any) bool {
	operators, _ := v.(map[string]any)
	for name, keys := range operators {
		name = strings.TrimPrefix(strings.ToLower(name), "foranyvalue:")
		if !slices.Contains([]string{"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}, name) {
			continue // it is met without the key, or by all but some values
		}
		values, _ := keys.(map[string]any)
		for key, of := range values {
			list := several(of)
			if len(list) > 0 && !slices.ContainsFunc(list, func(v any) bool { s, ok := v.(string); return !ok || !fixedValue(strings.ToLower(key), s) }) {
				return true
			}
		}
	}
	return false
}

func fixedValue(key, v string) bool {
	plain := v != "" && !strings.ContainsAny(v, "*?") && !strings.Contains(v, "${")
	switch key {
	case "aws:sourceip", "aws:vpcsourceip":
		// "Very broad" ranges count as public: wider than a /8, or an IPv6 /32.
		if a, err := netip.ParseAddr(v); err == nil {
			return a.IsValid()
		}
		p, err := netip.ParsePrefix(v)
		return err == nil && (p.Addr().Is4() && p.Bits() >= 8 || p.Addr().Is6() && p.Bits() >= 32)
	case "s3:dataaccesspointarn": // the access point's name may be open, the account not
		account := strings.Split(v+":::::", ":")[4]
		return account != "" && !strings.ContainsAny(account, "*?") && !strings.Contains(v, "${") && strings.Count(v, ":") >= 5
	case "aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce",
		"aws:sourceowner", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths", "aws:userid", "s3:dataaccesspointaccount",
		"s3:x-amz-server-side-encryption-aws-kms-key-id":
		return plain
	}
	return false
}
