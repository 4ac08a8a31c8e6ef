package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"secbot/docs"
	"secbot/internal/coverage"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

func sampleRow(f remediation.Finding, change Change) Row {
	return Row{Finding: f, Key: f.Key(), Change: change, Decision: remediation.Decision{Action: remediation.ActionAsk, Rule: "no rule"}}
}

// pageOf is a runbook.
func pageOf(playbook string) (string, bool) {
	return "# " + playbook + ": a title\n\n## What to do\n\nLook at [it](other.md) with `aws`.\n\n<b>no HTML</b>\n", true
}

// renderedOf is the page of pageOf.
func renderedOf(playbook string) (string, bool) {
	source, _ := pageOf(playbook)
	return rendered(source), true
}

// rendered is a runbook without its title, which is the summary. Raw HTML is left out.
func rendered(source string) string {
	_, source, _ = strings.Cut(source, "\n")
	var out bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.Table)).Convert([]byte(source), &out); err != nil {
		panic(err)
	}
	return out.String()
}

// TestPages: the pages that are embedded are those of docs/runbooks; UPDATE_GOLDEN=1
// writes them anew.
func TestPages(t *testing.T) {
	for _, id := range docs.Runbooks() {
		source, _ := docs.Runbook(id)
		path := filepath.Join("runbooks", id+".html")
		if os.Getenv("UPDATE_GOLDEN") == "1" {
			if err := os.WriteFile(path, []byte(rendered(source)), 0o600); err != nil {
				t.Fatal(err)
			}
			continue // what was embedded is what it was before
		}
		if page, ok := Page(id); !ok || page != rendered(source) {
			t.Errorf("%s is not what docs/runbooks/%s.md says: UPDATE_GOLDEN=1 go test ./internal/report", path, id)
		}
	}
	files, err := filepath.Glob("runbooks/*")
	if err != nil || len(files) != len(docs.Runbooks()) {
		t.Errorf("%d pages for %d runbooks: %v", len(files), len(docs.Runbooks()), err)
	}
}

// sample is a report with something of everything.
func sample() *Report {
	at := time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
	r := &Report{Scope: "all", Account: "111122223333", Started: at, Finished: at.Add(12345 * time.Millisecond), Read: 340, Metas: playbooks.Metas(), Runbook: pageOf, Page: renderedOf, Version: "v1.2.3"}
	for i, s := range remediation.Samples() {
		r.Rows = append(r.Rows, sampleRow(s.Finding, []Change{New, Unchanged}[i%2]))
	}
	r.Rows[2].Decision = remediation.Decision{Action: remediation.ActionIgnore, Rule: `rule 1 "the shop"`}
	r.Rows[5].Finding.Grants = []remediation.Grant{{Grantee: "AllUsers", Permission: "READ"}}
	r.Rows[7].Finding.Statements = []remediation.Statement{{JSON: json.RawMessage(`{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"]}`)}}
	r.Rows[7].Finding.Doubt = "a Deny may keep them out"
	r.Rows[8].Finding.Off = []string{"BlockPublicAcls", "BlockPublicPolicy"}
	for i := range r.Rows {
		r.Rows[i].Key = r.Rows[i].Finding.Key()
	}
	Sort(r.Rows)
	gone, unknown := remediation.Samples()[0].Finding, remediation.Samples()[5].Finding
	gone.Resource.ID, unknown.Resource.ID = "sg-0fedcba9876543210", "old-bucket"
	r.Since = &Since{What: "the scan of 2026-04-04 06:07 UTC", Gone: []Row{{Finding: gone, Key: gone.Key(), Change: Gone}}, Unknown: []Row{{Finding: unknown, Key: unknown.Key(), Change: Unknown}}}
	r.Failures = []string{"read s3-bucket 111122223333/us-east-1/old-bucket: AccessDenied: AWS refused S3 GetBucketAcl"}
	return r
}

func formats() []Format { return []Format{Table, JSON, CSV, HTML, SARIF} }

func written(t interface {
	Helper()
	Fatal(...any)
}, r *Report, f Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f, Options{Width: 120}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFormats compares each format with testdata; UPDATE_GOLDEN=1 writes it anew.
func TestFormats(t *testing.T) {
	whole := sample()
	whole.Since, whole.Failures = nil, nil
	for name, r := range map[string]*Report{"all": sample(), "whole": whole, "nothing": {Scope: "s3", Read: 1, Metas: playbooks.Metas(), Runbook: pageOf, Page: renderedOf}} {
		for _, f := range formats() {
			t.Run(name+"."+string(f), func(t *testing.T) {
				got := written(t, r, f)
				path := filepath.Join("testdata", name+"."+string(f)+".golden")
				if os.Getenv("UPDATE_GOLDEN") == "1" {
					if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is another now; look at it after UPDATE_GOLDEN=1:\n%s", path, got)
				}
			})
		}
	}
	if err := sample().Write(&bytes.Buffer{}, "xml", Options{}); err == nil {
		t.Error("there is a format that there is not")
	}
}

// TestGapIsToldInEveryFormat: that something could not be read, and that the scan
// was stopped.
func TestGapIsToldInEveryFormat(t *testing.T) {
	failed, stopped := sample(), sample()
	stopped.Failures, stopped.Interrupted = nil, true
	nothing := &Report{Runbook: pageOf, Page: renderedOf, Failures: []string{"no AWS credentials"}}
	for want, r := range map[string]*Report{"1 read failed": failed, "The scan was stopped": stopped, "Nothing could be read": nothing} {
		for _, f := range []Format{Table, HTML, SARIF} {
			if got := written(t, r, f); !strings.Contains(got, want) {
				t.Errorf("%s does not say %q", f, want)
			}
			if !f.TellsFailures() {
				t.Errorf("%s is said to tell no failures", f)
			}
		}
		if strings.Contains(written(t, r, HTML), "No open finding.") {
			t.Errorf("%s: the page says that nothing is open", want)
		}
	}
	if strings.Contains(written(t, nothing, Table), "nothing is open") {
		t.Error("the table says that nothing is open")
	}
	page := written(t, failed, HTML)
	if banner, title := strings.Index(page, `role="alert"`), strings.Index(page, "<h1"); banner < 0 || banner > title {
		t.Error("the banner is not first")
	}
}

func TestAtLeast(t *testing.T) {
	r := sample()
	for s, want := range map[remediation.Severity]int{remediation.SeverityCritical: 3, remediation.SeverityHigh: 5, remediation.SeverityMedium: 7, remediation.SeverityLow: 8} {
		if got := r.AtLeast(s); got != want { // nine, of which the policy ignores a medium one
			t.Errorf("%s: %d, want %d", s, got, want)
		}
	}
}

// parsed is a SARIF log as a tool reads it.
type parsed struct {
	Runs []struct {
		Tool struct {
			Driver struct{ Rules []struct{ ID string } }
		}
		Invocations []struct{ ExecutionSuccessful bool }
		Results     []struct {
			RuleID              string
			RuleIndex           int
			Kind, BaselineState string
			Message             struct{ Text string }
			Fingerprints        map[string]string
			Suppressions        []struct{ Kind string }
		}
	}
}

// validSARIF checks against the schema of OASIS (errata 01).
func validSARIF(t *rapid.T, schema *jsonschema.Schema, log string) parsed {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(log))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	var p parsed
	if err := json.Unmarshal([]byte(log), &p); err != nil {
		t.Fatal(err)
	}
	for _, res := range p.Runs[0].Results {
		if rules := p.Runs[0].Tool.Driver.Rules; res.RuleIndex >= len(rules) || rules[res.RuleIndex].ID != res.RuleID {
			t.Fatalf("rule %d is not %s", res.RuleIndex, res.RuleID)
		}
		if res.Fingerprints["secbotFinding/v1"] == "" {
			t.Fatal("a result has no fingerprint")
		}
	}
	return p
}

func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSARIF(t *testing.T) {
	schema := sarifSchema(t)
	if schema.Validate(map[string]any{"version": "2.1.0"}) == nil {
		t.Fatal("the schema takes a log without runs")
	}
	rapid.Check(t, func(rt *rapid.T) {
		log := validSARIF(rt, schema, written(rt, sample(), SARIF))
		states, suppressed := map[string]int{}, 0
		for _, res := range log.Runs[0].Results {
			states[res.BaselineState+" "+res.Kind]++
			suppressed += len(res.Suppressions)
		}
		if states["absent fail"] != 1 || states["unchanged open"] != 1 || states["new fail"] != 5 || states["unchanged fail"] != 4 || suppressed != 1 {
			rt.Errorf("%v, %d suppressed", states, suppressed)
		}
		if log.Runs[0].Invocations[0].ExecutionSuccessful {
			rt.Error("a scan that could not read everything is called successful")
		}
	})
}

// hostile draws names as nobody should give them.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "\x1b]0;owned\x07", "\x1b[2J", "\u202egnp.exe", "\u0085",
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "[x](http://evil.example)", "{0}", `\[`, "</style>", "'", "\xff",
	}))
}

// TestHostileNames: whatever a name is, no format lets it be more than text.
func TestHostileNames(t *testing.T) {
	schema := sarifSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		name := hostile().Draw(t, "name")
		r := sample()
		row := &r.Rows[0]
		f := &row.Finding
		switch rapid.IntRange(0, 7).Draw(t, "where") {
		case 0:
			f.Name = name
		case 1:
			f.Resource.ID = name
		case 2:
			f.Notes = []string{name}
		case 3:
			f.Rules, f.Statements = nil, []remediation.Statement{{Sid: name}}
		case 4:
			row.Decision = remediation.Decision{Action: remediation.ActionIgnore, Rule: name}
		case 5:
			r.Failures = []string{name}
		case 6:
			r.Since.What = name
		case 7:
			r.Since.Gone[0].Finding.Playbook = name + "x"
		}
		inTable(t, written(t, r, Table))
		inCSV(t, written(t, r, CSV))
		inPage(t, written(t, r, HTML))
		validSARIF(t, schema, written(t, r, SARIF))
		if m := message(name).Text; plainMessage(t, m) != strings.Map(printableOnly, name) {
			t.Errorf("%q is %q in SARIF", name, m)
		}
	})
}

func printableOnly(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

func inTable(t *rapid.T, s string) {
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("the table has %q", r)
		}
	}
}

func inCSV(t *rapid.T, s string) {
	rows, err := csv.NewReader(strings.NewReader(s)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range slices.Concat(rows...) {
		if lead := strings.TrimSpace(c); strings.IndexAny(lead, "=+-@＝＋－＠") == 0 {
			t.Fatalf("%q is a formula", c)
		}
		for _, r := range c {
			if !unicode.IsPrint(r) {
				t.Fatalf("the cell %q has %q", c, r)
			}
		}
	}
}

// inPage: nothing but the page's own elements and attributes.
func inPage(t *rapid.T, s string) {
	doc, err := html.Parse(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	images := 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "iframe", "object", "embed", "link", "form", "base":
			t.Fatalf("the page has a %s", n.Data)
		case "img", "source":
			images++
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Fatalf("%s has %s", n.Data, a.Key)
			}
			if (a.Key == "src" || a.Key == "srcset") && !strings.HasPrefix(a.Val, "data:image/svg+xml;base64,") {
				t.Fatalf("%s loads %s", n.Data, a.Val)
			}
		}
	}
	if images != 2 {
		t.Fatalf("the page has %d pictures", images)
	}
}

// plainMessage reads a message as SARIF 2.1.0 says, 3.11.5 and 3.11.6.
func plainMessage(t *rapid.T, s string) string {
	var out strings.Builder
	for rs := []rune(s); len(rs) > 0; rs = rs[1:] {
		switch rs[0] {
		case '{', '}', '\\':
			if len(rs) < 2 || rs[0] != '\\' && rs[1] != rs[0] {
				t.Fatalf("%q has a placeholder", s)
			}
			rs = rs[1:]
		case '[', ']':
			t.Fatalf("%q has a link", s)
		}
		out.WriteRune(rs[0])
	}
	return out.String()
}

// TestCompare: what is new, unchanged, gone, and what can't be told.
func TestCompare(t *testing.T) {
	before := sample().Rows
	for name, e := range map[string]*Earlier{"by key": {Rows: before, keys: true}, "by shape": {Rows: before}} {
		t.Run(name, func(t *testing.T) {
			r := &Report{Rows: slices.Clone(before[2:])}
			added := before[0]
			added.Finding.Resource.ID = "sg-00000000000000001"
			added.Key = added.Finding.Key()
			r.Rows = append(r.Rows, added)
			r.Compare(e, func(ref remediation.Ref) bool { return ref.Kind == remediation.KindSecurityGroup })
			got := map[Change]int{}
			for _, row := range r.everything() {
				got[row.Change]++
			}
			if got[New] != 1 || got[Unchanged] != len(before)-2 || got[Gone] != 1 || got[Unknown] != 1 || r.Rows[len(r.Rows)-1].Change != New {
				t.Errorf("%v", got)
			}
			for _, row := range r.Since.Gone {
				if row.Finding.Resource.Kind != remediation.KindSecurityGroup {
					t.Errorf("%s is gone", row.Finding.Resource)
				}
			}
		})
	}
}

// TestKeep: what is kept is read again; what could not be looked at stays.
func TestKeep(t *testing.T) {
	path := LastPath(filepath.Join(t.TempDir(), "secbot"), "http://127.0.0.1:4566/../x", "111122223333", "all")
	if _, err := ReadLast(path); !errors.Is(err, ErrNoEarlier) {
		t.Errorf("%v", err)
	}
	never := func(remediation.Ref) bool { return false }
	r := sample()
	if err := r.Keep(path, nil, never); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	e, err := ReadLast(path)
	if err != nil || len(e.Rows) != len(r.Rows) {
		t.Fatalf("%+v, %v", e, err)
	}
	r.Compare(e, never)
	if s := r.Changes(); !strings.Contains(s, "0 new, 0 gone, 9 unchanged") {
		t.Error(s)
	}
	empty := &Report{Started: r.Started}
	for _, tt := range []struct {
		known bool
		want  int
	}{{false, 9}, {true, 0}} {
		if err := empty.Keep(path, e, func(remediation.Ref) bool { return tt.known }); err != nil {
			t.Fatal(err)
		}
		if e, err := ReadLast(path); err != nil || len(e.Rows) != tt.want {
			t.Errorf("%d rows stay, want %d; %v", len(e.Rows), tt.want, err)
		}
	}
	for text, want := range map[string]string{"{": "can't be read", `{"version":99}`: "another version"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLast(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	r.Rows = make([]Row, maxKept+1)
	if err := r.Keep(path, nil, never); err == nil || !strings.Contains(err.Error(), "not kept") {
		t.Errorf("too many: %v", err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestReadEarlier: the lines of --json, without what was gone then.
func TestReadEarlier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "earlier.json")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := sample()
	write(written(t, r, JSON))
	e, err := ReadEarlier(path, r.Metas)
	if err != nil || len(e.Rows) != len(r.Rows)+1 { // and what was not known
		t.Fatalf("%+v, %v", e, err)
	}
	r.Compare(e, func(ref remediation.Ref) bool { return ref.Kind == remediation.KindBucket })
	if s := r.Changes(); !strings.Contains(s, "0 new, 1 gone, 9 unchanged.") {
		t.Error(s)
	}
	write("\n{\"playbook\":\"s3-public-acl\"}\n")
	if _, err := ReadEarlier(path, nil); err == nil || !strings.Contains(err.Error(), "earlier.json:2") {
		t.Errorf("%v", err)
	}
	if _, err := ReadEarlier(path+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	write(strings.Repeat(`{"playbook":"p","resource":"r"}`+"\n", maxKept+1))
	if _, err := ReadEarlier(path, nil); err == nil {
		t.Error("so many findings are taken")
	}
}

// TestProgress: the time left is told once everything is listed, and not before.
func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	var out bytes.Buffer
	p := StartProgress(&out, 2, func() time.Time { return clock })
	clock = clock.Add(2 * time.Second)
	for _, step := range []struct {
		counts coverage.Counts
		want   string
	}{
		{coverage.Counts{}, "0, 0 found"},
		{coverage.Counts{Lists: 1, Listed: 20, Done: 5}, "5, 2.5/s, 0 found"},
		{coverage.Counts{Lists: 2, Listed: 30, Done: 10, Denied: 1}, "10 of 30, 5/s, 4s left, 0 found, 1 could not be read"},
	} {
		p.Changed(step.counts)
		if got := p.String(); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
	p.Found()
	if got := p.String(); !strings.Contains(got, "1 found") {
		t.Error(got)
	}
	p.Stop()
}
