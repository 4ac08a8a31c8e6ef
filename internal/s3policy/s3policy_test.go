package s3policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/remediation"
)

const policy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid":"tls", "Effect":"Deny", "Principal":"*", "Action":"s3:*", "Resource":"*", "Condition":{"Bool":{"aws:SecureTransport":"false"}}},
    {"Sid": "open",  "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
    {"Sid":"logs","Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::b/*"}
  ],
  "Id": "kept <&> as it is"
}`

func TestStatements(t *testing.T) {
	got, err := Statements(json.RawMessage(policy))
	if err != nil {
		t.Fatal(err)
	}
	var sids []string
	for _, s := range got {
		sids = append(sids, s.Sid)
		if !strings.Contains(policy, string(s.JSON)) {
			t.Errorf("not the policy's own text: %s", s.JSON)
		}
	}
	if diff := cmp.Diff([]string{"tls", "open", "logs"}, sids); diff != "" {
		t.Error(diff)
	}
	one, err := Statements(json.RawMessage(`{"Statement": {"Sid":"only"} }`))
	if err != nil || len(one) != 1 || string(one[0].JSON) != `{"Sid":"only"}` {
		t.Errorf("single object: %v, %v", one, err)
	}
}

func TestMalformed(t *testing.T) {
	for _, bad := range []string{
		``, `null`, `"{}"`, `[]`, `{}`, `{"Statement":null}`, `{"Statement":"x"}`, `{"Statement":[1]}`,
		`{"Statement":[{}]`, `{"Statement":[],"Statement":[]}`, `{"Statement":[{"Sid":1}]}`, `{"Statement":[]} x`,
	} {
		if got, err := Statements(json.RawMessage(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("Statements(%s) = %v, %v", bad, got, err)
		}
		if _, _, err := Without(json.RawMessage(bad), func(int, remediation.Statement) bool { return true }); !errors.Is(err, ErrMalformed) {
			t.Errorf("Without(%s): %v", bad, err)
		}
	}
}

func TestWithout(t *testing.T) {
	lines := strings.SplitAfter(policy, "\n")
	without := func(drop ...int) string {
		var kept strings.Builder
		for i, l := range lines {
			if !contains(drop, i-3) {
				kept.WriteString(l)
			}
		}
		return kept.String()
	}
	tests := []struct {
		name      string
		policy    string
		drop      []int
		want      string
		remaining int
	}{
		{"none", policy, nil, policy, 3},
		{"first", policy, []int{0}, without(0), 2},
		{"middle", policy, []int{1}, without(1), 2},
		{"all but the first", policy, []int{1, 2}, strings.Replace(without(1, 2), "}}},\n", "}}}\n", 1), 1},
		{"all", `{"Id":"x", "Statement" : [ {"Sid":"a"} , {"Sid":"b"} ] }`, []int{0, 1}, `{"Id":"x", "Statement" : [] }`, 0},
		{"single object", `{"Statement":{"Sid":"a"},"Version":"2012-10-17"}`, []int{0}, `{"Statement":[],"Version":"2012-10-17"}`, 0},
		{"single object kept", `{"Statement":{"Sid":"a"}}`, nil, `{"Statement":{"Sid":"a"}}`, 1},
		{"empty list", `{"Statement":[]}`, nil, `{"Statement":[]}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, remaining, err := Without(json.RawMessage(tt.policy), func(i int, _ remediation.Statement) bool { return contains(tt.drop, i) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" || remaining != tt.remaining {
				t.Errorf("%d remain, want %d:\n%s", remaining, tt.remaining, diff)
			}
		})
	}
}

func contains(list []int, i int) bool {
	for _, v := range list {
		if v == i {
			return true
		}
	}
	return false
}

// TestWithoutKeepsTheRest says that whatever is dropped, the rest stays byte
// for byte and in order, and the policy stays JSON.
func TestWithoutKeepsTheRest(t *testing.T) {
	space := rapid.StringMatching(`[ \n\t]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "statements")
		var stmts, parts []string
		for range n {
			sid, _ := json.Marshal(rapid.String().Draw(t, "sid"))
			stmts = append(stmts, `{"Sid":`+space.Draw(t, "s")+string(sid)+space.Draw(t, "s")+`,"n":[1,{"a":"]"}]}`)
			parts = append(parts, space.Draw(t, "s")+stmts[len(stmts)-1]+space.Draw(t, "s"))
		}
		raw := `{"Id":"é\u0041<"` + space.Draw(t, "s") + `,"Statement":[` + strings.Join(parts, ",") + `],"Version":"2012-10-17"}`
		drop := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "drop")
		var want []string
		for i, s := range stmts {
			if !drop[i] {
				want = append(want, s)
			}
		}
		out, remaining, err := Without(json.RawMessage(raw), func(i int, _ remediation.Statement) bool { return drop[i] })
		if err != nil {
			t.Fatal(err)
		}
		left, err := Statements(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		var got []string
		for _, s := range left {
			got = append(got, string(s.JSON))
		}
		if diff := cmp.Diff(want, got); diff != "" || remaining != len(want) {
			t.Fatalf("%d remain:\n%s", remaining, diff)
		}
		if !bytes.HasPrefix(out, []byte(`{"Id":"é\u0041<"`)) || !bytes.HasSuffix(out, []byte(`],"Version":"2012-10-17"}`)) {
			t.Fatalf("other members changed: %s", out)
		}
	})
}
