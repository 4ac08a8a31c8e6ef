package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"secbot/internal/sgrule"
	"secbot/remediation"
)

// said are all scalars of an input, those of JSON inside of strings too, and
// "true" and the like.
func said(raw []byte, depth int) []string {
	var all []string
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		t, err := dec.Token()
		if err != nil {
			return all
		}
		switch t := t.(type) {
		case string:
			all = append(all, t)
			if inner := strings.TrimSpace(t); depth > 0 && strings.HasPrefix(inner, "{") {
				all = append(all, said([]byte(inner), depth-1)...)
			}
		case json.Number, bool:
			all = append(all, fmt.Sprint(t))
		}
	}
}

// sayings are all that an input says, in the forms in which it may be claimed.
type sayings struct {
	exact, cidrs map[string]bool
	lower        string
}

func sayingsOf(raw []byte) sayings {
	all := said(raw, 2*maxDepth)
	s := sayings{exact: map[string]bool{}, cidrs: map[string]bool{}, lower: strings.ToLower(strings.Join(all, "\n"))}
	for _, one := range all {
		s.exact[one], s.exact[strings.TrimSpace(one)] = true, true
		s.exact[one[strings.LastIndex(one, ":")+1:]] = true // the end of an ARN
		if c, err := sgrule.CIDR(one); err == nil {
			s.cidrs[c] = true
		}
	}
	return s
}

// invented says what a signal claims that its event does not hold anywhere; ""
// for nothing. It knows nothing of where in an event things stand.
func (s sayings) invented(sig remediation.Signal) string {
	var missing []string
	need := func(what, value string) {
		if value != "" && !s.exact[value] {
			missing = append(missing, what+" "+value)
		}
	}
	if sig.Resource.Kind != remediation.KindAccount { // whose id may have lost zeros
		need("resource", sig.Resource.ID)
	}
	need("name", sig.Change.GroupName)
	for _, id := range sig.Change.RuleIDs {
		need("rule", id)
	}
	for _, r := range sig.Change.Rules {
		need("rule", r.ID)
		need("list", r.PrefixList)
		need("group", r.Group)
		if r.CIDR != "" && !s.cidrs[r.CIDR] {
			missing = append(missing, "range "+r.CIDR)
		}
	}
	for _, g := range sig.Change.Grants {
		everybody := strings.Contains(s.lower, "allusers") || strings.Contains(s.lower, "public-read")
		accounts := strings.Contains(s.lower, "authenticatedusers") || strings.Contains(s.lower, "authenticated-read")
		if g.Grantee == allUsers && !everybody || g.Grantee == authenticatedUsers && !accounts {
			missing = append(missing, "grant "+g.String())
		}
	}
	return strings.Join(missing, ", ")
}

// checkInvented fails where an event is claimed to say what it does not.
func checkInvented(t testing.TB, raw []byte, results []Result) {
	t.Helper()
	all := sayingsOf(raw)
	for _, r := range results {
		for _, sig := range r.Signals {
			if what := all.invented(sig); what != "" {
				t.Errorf("invented: %s, in %+v", what, sig)
			}
		}
	}
}

// TestNothingInvented: what the check knows to tell.
func TestNothingInvented(t *testing.T) {
	all := sayingsOf([]byte(`{"a":[1,{"b":"{\"c\":\"arn:aws:s3:::reports\"}"}],"d":"10.0.0.7/8"}`))
	for what, sig := range map[string]remediation.Signal{
		"":                       {Resource: remediation.Ref{ID: "reports"}, Change: remediation.Change{Rules: []remediation.Rule{{CIDR: "10.0.0.0/8"}}}},
		"resource other":         {Resource: remediation.Ref{ID: "other"}},
		"range 11.0.0.0/8":       {Change: remediation.Change{Rules: []remediation.Rule{{CIDR: "11.0.0.0/8"}}}},
		"grant READ to AllUsers": {Change: remediation.Change{Grants: []remediation.Grant{{Grantee: allUsers, Permission: "READ"}}}},
	} {
		if got := all.invented(sig); got != what {
			t.Errorf("%q, want %q", got, what)
		}
	}
}

// TestNothingOfCallsWithoutEffect: the same events with an error, or of a dry run,
// claim nothing.
func TestNothingOfCallsWithoutEffect(t *testing.T) {
	for file, f := range fixtures(t) {
		if !strings.Contains(f[0], `"eventName"`) || strings.Contains(f[0], `"errorCode"`) {
			continue
		}
		failed := strings.Replace(f[0], `"eventName"`, `"errorCode": "Client.UnauthorizedOperation", "eventName"`, 1)
		results, err := Decode([]byte(failed))
		if err != nil {
			t.Fatal(err)
		}
		if sigs := Signals(results); len(sigs) > 0 && strings.Count(f[0], `"eventName"`) == 1 {
			t.Errorf("%s: a failed call gives %+v", file, sigs)
		}
	}
}
