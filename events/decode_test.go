package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

var update = flag.Bool("update", false, "write the golden parts of testdata anew")

// separator stands between a fixture's input and what is expected of it.
const separator = "----------\n"

// fixtures reads testdata/decode: input and expectation of each file.
func fixtures(t testing.TB) map[string][2]string {
	t.Helper()
	files, err := filepath.Glob("testdata/decode/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := make(map[string][2]string)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		in, want, _ := strings.Cut(string(raw), separator)
		all[f] = [2]string{in, want}
	}
	return all
}

func indented(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDecodeGolden(t *testing.T) {
	for file, f := range fixtures(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			results, err := Decode([]byte(f[0]))
			if err != nil {
				t.Fatal(err)
			}
			got := indented(t, results)
			if *update {
				if err := os.WriteFile(file, []byte(f[0]+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(f[1], got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEverySignalIsJudged: whatever a decoder makes of an event, a playbook of
// that kind of resource judges after it.
func TestEverySignalIsJudged(t *testing.T) {
	for file, f := range fixtures(t) {
		results, err := Decode([]byte(f[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, sig := range Signals(results) {
			judges := func(m remediation.Meta) bool {
				return m.Kind == sig.Resource.Kind && slices.Contains(m.Handles, sig.Kind)
			}
			if !slices.ContainsFunc(playbooks.Metas(), judges) {
				t.Errorf("%s: no playbook judges a %s after %s", file, sig.Resource.Kind, sig.Kind)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
		says     string
	}{
		{"nothing", "", ErrNotAnEvent, "it is empty"},
		{"space", " \n", ErrNotAnEvent, "it is empty"},
		{"text", "hello", ErrNotAnEvent, "invalid character 'h'"},
		{"cut off", `{"detail":{`, ErrNotAnEvent, "unexpected end of JSON input"},
		{"two objects", `{}{}`, ErrNotAnEvent, "after top-level value"},
		{"array", `[{}]`, ErrNotAnEvent, "a JSON array"},
		{"string", `"{}"`, ErrNotAnEvent, "a JSON string"},
		{"null", `null`, ErrNotAnEvent, "null"},
		{"number", `1`, ErrNotAnEvent, "a JSON number"},
		{"boolean", `true`, ErrNotAnEvent, "a JSON boolean"},
		{"gzip", "\x1f\x8b\x08", ErrNotAnEvent, "unpack it"},
		{"over 1 MiB", `{"a":"` + strings.Repeat("x", MaxSize) + `"}`, ErrTooLarge, "at most 1048576"},
		{"too many", `{"Records":[` + strings.Repeat("1,", maxEvents) + `1]}`, ErrTooLarge, "send fewer"},
		{"deeply nested", strings.Repeat(`{"a":`, 100_000), ErrNotAnEvent, "max depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			results, err := Decode([]byte(tt.in))
			if !errors.Is(err, tt.want) || len(results) != 0 {
				t.Fatalf("%d results, error %v, want %v", len(results), err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestDecodeTakesByteOrderMark(t *testing.T) {
	results, err := Decode([]byte("\xef\xbb\xbf{}"))
	if err != nil || len(results) != 1 {
		t.Errorf("%v, %v", results, err)
	}
}

func TestDecodeExactlyTooLarge(t *testing.T) {
	fits := `{"a":"` + strings.Repeat("x", MaxSize-8) + `"}`
	if len(fits) != MaxSize {
		t.Fatal(len(fits))
	}
	if _, err := Decode([]byte(fits)); err != nil {
		t.Errorf("%d bytes: %v", MaxSize, err)
	}
}

// checkResults holds for whatever comes in: each result is either skipped with
// a reason or has signals that a playbook or AWS Config can go on with.
func checkResults(t testing.TB, results []Result) {
	t.Helper()
	for _, r := range results {
		if r.Skipped == "" && len(r.Signals) == 0 {
			t.Errorf("neither signals nor a reason: %+v", r)
		}
		for _, s := range r.Signals {
			if claims := len(s.Change.Rules)+len(s.Change.Grants)+len(s.Change.Openness) > 0; claims && r.Skipped != "" {
				t.Errorf("skipped %q, though it claims %+v", r.Skipped, s.Change)
			}
		}
		for _, s := range r.Signals {
			if s.Resource.ID == "" && s.Change.GroupName == "" {
				t.Errorf("signal without a resource: %+v", s)
			}
			if (s.ConfigRule == "") != (len(s.Playbooks) > 0) {
				t.Errorf("Config rule %q and playbooks %q", s.ConfigRule, s.Playbooks)
			}
			if s.Kind != r.Kind {
				t.Errorf("kinds %q and %q", s.Kind, r.Kind)
			}
			if _, err := json.Marshal(s); err != nil {
				t.Error(err)
			}
			checkRules(t, s.Change.Rules)
		}
	}
}

func checkRules(t testing.TB, rules []remediation.Rule) {
	t.Helper()
	seen := make(map[string]bool)
	for _, r := range rules {
		peers := 0
		for _, p := range []string{r.CIDR, r.PrefixList, r.Group} {
			if p != "" {
				peers++
			}
		}
		if peers != 1 || r.Protocol == "" || seen[r.Key()+r.ID] || (r.FromPort == nil) != (r.ToPort == nil) {
			t.Errorf("rule %+v", r)
		}
		seen[r.Key()+r.ID] = true
	}
}

func FuzzDecode(f *testing.F) {
	for _, fixture := range fixtures(f) {
		f.Add([]byte(fixture[0]))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		results, err := Decode(raw)
		if err != nil {
			if !errors.Is(err, ErrNotAnEvent) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if len(results) == 0 {
			t.Fatal("neither a result nor an error")
		}
		checkResults(t, results)
		checkInvented(t, raw, results)
		again, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(results, again); diff != "" {
			t.Fatalf("decoded again:\n%s", diff)
		}
	})
}

// TestDecodeMutated replaces members of real events with anything: nothing may
// panic, and what comes out must hold together.
func TestDecodeMutated(t *testing.T) {
	var all []any
	for _, f := range fixtures(t) {
		var v any
		if err := json.Unmarshal([]byte(f[0]), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	rapid.Check(t, func(rt *rapid.T) {
		v := mutate(rt, rapid.SampledFrom(all).Draw(rt, "event"))
		raw, err := json.Marshal(v)
		if err != nil {
			rt.Fatal(err)
		}
		results, err := Decode(raw)
		if err == nil {
			checkResults(t, results)
			checkInvented(t, raw, results)
		} else if !errors.Is(err, ErrNotAnEvent) {
			rt.Fatal(err)
		}
	})
}

// mutate copies v and now and then puts something else in a member's place.
func mutate(t *rapid.T, v any) any {
	if rapid.IntRange(0, 30).Draw(t, "change") == 0 {
		return rapid.SampledFrom([]any{nil, "", "x", 0.0, -1.5, 1e300, true, []any{}, []any{nil}, map[string]any{}, "-1", "\x00/"}).Draw(t, "value")
	}
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for _, k := range sortedKeys(v) {
			m[k] = mutate(t, v[k])
		}
		return m
	case []any:
		var l []any
		for _, e := range v {
			l = append(l, mutate(t, e))
		}
		return l
	}
	return v
}

// TestEnvelopesChangeNothing says that the same event gives the same signals
// in whatever envelopes it comes.
func TestEnvelopesChangeNothing(t *testing.T) {
	raw := strings.TrimSpace(fixtures(t)["testdata/decode/sg-response-ids.txt"][0])
	want, err := Decode([]byte(raw))
	if err != nil || len(Signals(want)) != 1 {
		t.Fatalf("%v, %v", want, err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		in := raw
		for range rapid.IntRange(0, 3).Draw(rt, "depth") {
			in = rapid.SampledFrom([]func(string) string{inSNS, inSNSRecord, inSQSRecord}).Draw(rt, "envelope")(in)
		}
		got, err := Decode([]byte(in))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func inSNS(s string) string       { return `{"Type":"Notification","Message":` + quoted(s) + `}` }
func inSNSRecord(s string) string { return `{"Records":[{"Sns":` + inSNS(s) + `}]}` }
func inSQSRecord(s string) string { return `{"Records":[{"body":` + quoted(s) + `}]}` }

func sortedKeys(m map[string]any) []string {
	return slices.Sorted(maps.Keys(m))
}

// TestDecodeManyRules says that the largest event is decoded in no time that
// grows with the square of its rules.
func TestDecodeManyRules(t *testing.T) {
	var ranges []string
	for i := range 20_000 {
		ranges = append(ranges, fmt.Sprintf(`{"cidrIp":"10.%d.%d.%d/32"}`, i>>16, i>>8&255, i&255))
	}
	raw := `{"eventName":"AuthorizeSecurityGroupIngress","eventSource":"ec2.amazonaws.com","requestParameters":{"groupId":"sg-0aaa",` +
		`"ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"ipRanges":{"items":[` + strings.Join(ranges, ",") + `]}}]}}}`
	results, err := Decode([]byte(raw))
	if err != nil || len(Signals(results)) != 1 || len(results[0].Signals[0].Change.Rules) != len(ranges) {
		t.Errorf("%d results, %v", len(results), err)
	}
}
