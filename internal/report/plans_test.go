package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"secbot/remediation"
)

func writtenPlans(t interface {
	Helper()
	Fatal(...any)
}, o Options, plans ...Plan) string {
	t.Helper()
	var b bytes.Buffer
	if err := sample().WritePlans(&b, plans, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestWritePlans: each has its diff, or why there is none.
func TestWritePlans(t *testing.T) {
	row := sample().Rows[0]
	diff := []remediation.DiffLine{{Op: " ", Text: "stays"}, {Op: "-", Text: "{\n  \"a\": 1\n}"}}
	got := writtenPlans(t, Options{}, Plan{Row: row, Diff: diff}, Plan{Row: row, Err: errors.New("it is gone")})
	name := Plan{Row: row}.Name()
	for _, want := range []string{name + ", " + string(row.Finding.Severity) + "\n    stays\n  - {\n  -   \"a\": 1\n  - }\n", "\n    nothing: it is gone\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") || !strings.Contains(writtenPlans(t, Options{Colour: true}, Plan{Row: row, Diff: diff}), "\x1b[31m- {") {
		t.Error("colours are where they should not be, or the other way round")
	}
}

// TestHostilePlans: nothing of a plan steers the terminal.
func TestHostilePlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := hostile().Draw(t, "name")
		row := sample().Rows[0]
		plans := []Plan{{Row: row, Diff: []remediation.DiffLine{{Op: "-", Text: name}}}, {Row: row, Err: errors.New(name)}}
		row.Finding.Name, row.Finding.Playbook = name, name+"x"
		plans = append(plans, Plan{Row: row}, Plan{Row: row, Diff: []remediation.DiffLine{{Op: name, Text: "x"}}})
		inTable(t, writtenPlans(t, Options{}, plans...))
		for _, p := range plans {
			if strings.Contains(p.Name(), "\n") {
				t.Fatalf("%q is no line", p.Name())
			}
			inTable(t, p.Name())
		}
	})
}
