// Package s3policy reads bucket policies: it finds the statements that S3
// counts as public and takes statements out without touching the rest.
package s3policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"secbot/remediation"
)

// ErrMalformed says that a policy or a statement is not what S3 would store.
var ErrMalformed = errors.New("not a bucket policy")

// span is a JSON value's place in the text it was read from.
type span struct{ start, end int }

// Statements lists a policy's statements in order, each with its own text
// unchanged. Statement may be an array or a single object. Openness is not
// set. It returns ErrMalformed where the policy is no JSON object or has not
// exactly one Statement.
func Statements(policy json.RawMessage) ([]remediation.Statement, error) {
	_, spans, err := locate(policy)
	if err != nil {
		return nil, err
	}
	var list []remediation.Statement
	for _, s := range spans {
		raw := json.RawMessage(bytes.Clone(policy[s.start:s.end]))
		var head struct{ Sid string }
		if err := json.Unmarshal(raw, &head); err != nil {
			return nil, fmt.Errorf("%w: statement %d: %w", ErrMalformed, len(list)+1, err)
		}
		list = append(list, remediation.Statement{Sid: head.Sid, JSON: raw})
	}
	return list, nil
}

// PublicStatements lists the statements of a policy that are public, Openness
// set. It returns ErrMalformed where any statement can't be understood.
func PublicStatements(policy json.RawMessage) ([]remediation.Statement, error) {
	all, err := Statements(policy)
	if err != nil {
		return nil, err
	}
	var public []remediation.Statement
	for i, s := range all {
		yes, openness, err := Public(s)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if yes {
			s.Openness = openness
			public = append(public, s)
		}
	}
	return public, nil
}

// Without gives the policy without the statements for which drop returns true,
// and how many remain. drop is called once a statement, with its index from 0.
// All other text stays as it is, byte for byte, except for the commas between
// the statements. Where none remains the list is empty, which S3 would refuse:
// the policy is to be deleted then.
func Without(policy json.RawMessage, drop func(i int, stmt remediation.Statement) bool) (json.RawMessage, int, error) {
	all, err := Statements(policy)
	if err != nil {
		return nil, 0, err
	}
	whole, spans, err := locate(policy)
	if err != nil {
		return nil, 0, err
	}
	var keep []int
	for i, s := range all {
		if !drop(i, s) {
			keep = append(keep, i)
		}
	}
	if len(keep) == len(all) {
		return bytes.Clone(policy), len(all), nil
	}
	var out []byte
	out = append(out, policy[:whole.start]...)
	if len(keep) == 0 {
		out = append(out, "[]"...)
		return append(out, policy[whole.end:]...), 0, nil
	}
	// Some stay and some go, so this is an array.
	for n, i := range keep {
		gap := span{whole.start, spans[0].start} // "[" and the space behind it
		if n > 0 {
			gap = span{spans[i-1].end, spans[i].start} // the comma and its space
		}
		out = append(out, policy[gap.start:gap.end]...)
		out = append(out, policy[spans[i].start:spans[i].end]...)
	}
	return append(out, policy[spans[len(spans)-1].end:]...), len(keep), nil
}

// locate finds the value of Statement and every statement in it.
func locate(policy json.RawMessage) (span, []span, error) {
	whole, err := statementMember(policy)
	if err != nil {
		return span{}, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if policy[whole.start] == '{' {
		return whole, []span{whole}, nil
	}
	spans, err := elements(policy, whole)
	if err != nil {
		return span{}, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return whole, spans, nil
}

func statementMember(policy json.RawMessage) (span, error) {
	if !json.Valid(policy) {
		return span{}, errors.New("it is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(policy))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return span{}, errors.New("it is not a JSON object")
	}
	var found []span
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return span{}, err
		}
		at, err := next(dec)
		if err != nil {
			return span{}, err
		}
		if name, ok := key.(string); ok && strings.EqualFold(name, "Statement") {
			found = append(found, at)
		}
	}
	if len(found) != 1 {
		return span{}, fmt.Errorf("it has %d members named Statement, not one", len(found))
	}
	return found[0], nil
}

// elements gives the places of an array's objects within the whole text.
func elements(policy json.RawMessage, array span) ([]span, error) {
	dec := json.NewDecoder(bytes.NewReader(policy[array.start:array.end]))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("its Statement is neither an object nor an array")
	}
	var spans []span
	for dec.More() {
		at, err := next(dec)
		if err != nil {
			return nil, err
		}
		at = span{at.start + array.start, at.end + array.start}
		if policy[at.start] != '{' {
			return nil, fmt.Errorf("its statement %d is not an object", len(spans)+1)
		}
		spans = append(spans, at)
	}
	return spans, nil
}

// next reads one value and says where it stands.
func next(dec *json.Decoder) (span, error) {
	var v json.RawMessage
	if err := dec.Decode(&v); err != nil {
		return span{}, err
	}
	end := int(dec.InputOffset())
	return span{end - len(v), end}, nil
}
