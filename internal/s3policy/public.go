package s3policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"secbot/remediation"
)

// statement is what decides whether a statement is public.
type statement struct {
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Action       list
	NotAction    list
	Condition    map[string]map[string]list
}

// list is a member that may be one scalar or several.
type list []string

// UnmarshalJSON takes a string, a number, a boolean or an array of them.
func (l *list) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	many, ok := v.([]any)
	if !ok {
		many = []any{v}
	}
	*l = make(list, 0, len(many))
	for _, one := range many {
		switch one.(type) {
		case string, bool, json.Number:
			*l = append(*l, fmt.Sprint(one))
		default:
			return fmt.Errorf("a value is %T, not a string", one)
		}
	}
	return nil
}

// Public reports whether S3 counts a statement as public, and whether everybody
// may then only read (remediation.PublicRead) or also write or change the
// bucket itself (remediation.PublicWrite). A statement is public when it allows
// any principal and no condition narrows it to fixed values, as "The meaning
// of 'public'" under "Blocking public access to your Amazon S3 storage" in the
// Amazon S3 User Guide has it. It returns ErrMalformed where the statement
// can't be understood; then nothing is known.
//
// It judges the statement alone: Block Public Access or a Deny beside it may
// still keep the public out.
func Public(s remediation.Statement) (bool, remediation.Openness, error) {
	var st statement
	if err := json.Unmarshal(s.JSON, &st); err != nil {
		return false, "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !strings.EqualFold(st.Effect, "Allow") {
		if strings.EqualFold(st.Effect, "Deny") {
			return false, "", nil
		}
		return false, "", fmt.Errorf("%w: Effect is %q, neither Allow nor Deny", ErrMalformed, st.Effect)
	}
	anybody, err := st.anybody()
	if err != nil {
		return false, "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !anybody || narrowed(st.Condition) {
		return false, "", nil
	}
	if st.writes() {
		return true, remediation.PublicWrite, nil
	}
	return true, remediation.PublicRead, nil
}

// anybody reports whether the statement names no fixed principals. Allow with
// NotPrincipal lets everybody else in, the anonymous too.
func (st statement) anybody() (bool, error) {
	if len(st.NotPrincipal) > 0 {
		return true, nil
	}
	if len(st.Principal) == 0 {
		return false, errors.New("it has no Principal")
	}
	if st.Principal[0] != '{' {
		var one list
		if err := json.Unmarshal(st.Principal, &one); err != nil {
			return false, fmt.Errorf("the Principal: %w", err)
		}
		return wild(one), nil
	}
	var kinds map[string]list
	if err := json.Unmarshal(st.Principal, &kinds); err != nil {
		return false, fmt.Errorf("the Principal: %w", err)
	}
	for _, names := range kinds {
		if wild(names) {
			return true, nil
		}
	}
	return false, nil
}

func wild(names list) bool {
	for _, n := range names {
		if strings.Contains(n, "*") {
			return true
		}
	}
	return false
}

// writes reports whether the statement allows more than reading.
func (st statement) writes() bool {
	if len(st.NotAction) > 0 {
		for _, w := range writeActions() {
			if !matchesAny(st.NotAction, w) {
				return true
			}
		}
		return false
	}
	for _, pattern := range st.Action {
		if writePattern(pattern) {
			return true
		}
	}
	return false
}

func writePattern(pattern string) bool {
	pattern = strings.ToLower(pattern)
	for _, verb := range []string{"put", "delete", "create", "update", "replicate", "restore", "abort", "bypass"} {
		if strings.HasPrefix(pattern, "s3:"+verb) {
			return true
		}
	}
	for _, w := range writeActions() {
		if match(pattern, w) {
			return true
		}
	}
	return false
}

// writeActions are actions on a bucket that change it or what is in it, in
// lower case, for patterns to be tried on; "Actions defined by Amazon S3" in
// the Service Authorization Reference.
func writeActions() []string {
	return []string{
		"s3:putobject", "s3:putobjectacl", "s3:putobjectversionacl", "s3:putobjecttagging",
		"s3:putobjectversiontagging", "s3:putobjectretention", "s3:putobjectlegalhold",
		"s3:deleteobject", "s3:deleteobjectversion", "s3:deleteobjecttagging", "s3:deleteobjectversiontagging",
		"s3:abortmultipartupload", "s3:restoreobject", "s3:bypassgovernanceretention",
		"s3:replicateobject", "s3:replicatedelete", "s3:replicatetags", "s3:objectowneroverridetobucketowner",
		"s3:putbucketpolicy", "s3:deletebucketpolicy", "s3:putbucketacl", "s3:putbucketpublicaccessblock",
		"s3:putbucketownershipcontrols", "s3:putbucketversioning", "s3:putbucketwebsite", "s3:deletebucketwebsite",
		"s3:putbucketcors", "s3:putbucketlogging", "s3:putbucketnotification", "s3:putbuckettagging",
		"s3:putbucketobjectlockconfiguration", "s3:putbucketrequestpayment", "s3:putencryptionconfiguration",
		"s3:putlifecycleconfiguration", "s3:putreplicationconfiguration", "s3:putaccelerateconfiguration",
		"s3:putanalyticsconfiguration", "s3:putinventoryconfiguration", "s3:putmetricsconfiguration",
		"s3:putintelligenttieringconfiguration", "s3:deletebucket",
	}
}

func matchesAny(patterns list, action string) bool {
	for _, p := range patterns {
		if match(strings.ToLower(p), action) {
			return true
		}
	}
	return false
}

// match reports whether s matches a pattern of IAM, where * stands for any
// number of characters and ? for one. It takes time linear in both lengths
// multiplied, whatever the pattern.
func match(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
