// Package report tells what a scan has found, in the formats that people,
// spreadsheets and pipelines read.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"secbot/events"
	"secbot/remediation"
)

// Format is how a report is written.
type Format string

// The formats.
const (
	Table Format = "table" // for people, by severity
	JSON  Format = "json"  // a line each finding
	CSV   Format = "csv"   // RFC 4180, with a header
	HTML  Format = "html"  // one page that needs nothing else
	SARIF Format = "sarif" // SARIF 2.1.0
)

// TellsFailures reports whether the format itself has a place for what could not
// be read; else it must be told beside.
func (f Format) TellsFailures() bool { return f != JSON && f != CSV }

// Change is how a finding is against an earlier scan.
type Change string

// The changes; empty where nothing was compared.
const (
	New       Change = "new"
	Unchanged Change = "unchanged"
	Gone      Change = "gone"    // it was found then, and is not open any more
	Unknown   Change = "unknown" // it was found then, and could not be looked at now
)

// Row is a finding, or the part of one that the policy decides alike.
type Row struct {
	Finding  remediation.Finding
	Key      string               // of the whole finding, as remediation.Finding.Key gives it
	Decision remediation.Decision // what the policy says; zero for what an earlier scan has found
	Change   Change
}

// Ignored reports whether the policy ignores the finding.
func (r Row) Ignored() bool { return r.Decision.Action == remediation.ActionIgnore }

// Report is what a scan has found.
type Report struct {
	Scope       string // as remediation.ParseScanScope takes it
	Account     string // 12 digits; empty where STS did not tell
	Started     time.Time
	Finished    time.Time
	Read        int      // resources
	Rows        []Row    // Sort orders them
	Failures    []string // what could not be read, and why
	Interrupted bool     // a person has stopped it
	Since       *Since   // nil: compared with nothing
	Metas       []remediation.Meta
	Runbook     func(playbook string) (markdown string, ok bool)
	Page        func(playbook string) (html string, ok bool) // the same without its title; see Page
	Version     string                                       // secbot's
}

// Since is what has become of an earlier scan's findings.
type Since struct {
	What    string // which scan that is
	Gone    []Row
	Unknown []Row
}

// Sort orders rows: the worst first, then by resource and what is found.
func Sort(rows []Row) {
	slices.SortStableFunc(rows, func(a, b Row) int {
		f, g := a.Finding, b.Finding
		return cmp.Or(g.Severity.Rank()-f.Severity.Rank(), strings.Compare(f.Resource.String(), g.Resource.String()),
			strings.Compare(f.Playbook, g.Playbook), strings.Compare(what(f), what(g)))
	})
}

// Open are the rows that the policy does not ignore.
func (r *Report) Open() []Row {
	return slices.DeleteFunc(slices.Clone(r.Rows), Row.Ignored)
}

// Ignored are the rows that the policy ignores.
func (r *Report) Ignored() []Row {
	return slices.DeleteFunc(slices.Clone(r.Rows), func(row Row) bool { return !row.Ignored() })
}

// AtLeast counts the open findings of a severity or a worse one.
func (r *Report) AtLeast(s remediation.Severity) int {
	n := 0
	for _, row := range r.Open() {
		if row.Finding.Severity.Rank() >= s.Rank() {
			n++
		}
	}
	return n
}

// Gap says why the report is not everything; empty where it is.
func (r *Report) Gap() string {
	switch {
	case r.Interrupted && len(r.Failures) > 0:
		return fmt.Sprintf("The scan was stopped and %s failed, so this is not everything.", reads(len(r.Failures)))
	case r.Interrupted:
		return "The scan was stopped, so this is not everything."
	case len(r.Failures) > 0 && r.Read == 0:
		return "Nothing could be read, so whether something is open is not known."
	case len(r.Failures) > 0:
		return fmt.Sprintf("%s failed, so this is not everything.", capital(reads(len(r.Failures))))
	}
	return ""
}

// Summary says in a sentence or two what was found.
func (r *Report) Summary() string {
	open, ignored := len(r.Open()), len(r.Ignored())
	s := fmt.Sprintf("%s read in %s: ", count(r.Read, "resource"), took(r.Finished.Sub(r.Started)))
	if open == 0 {
		s += "nothing is open"
	} else {
		s += fmt.Sprintf("%s (%s)", count(open, "finding"), bySeverity(r.Open()))
	}
	if ignored > 0 {
		s += fmt.Sprintf(", %d more ignored by the policy", ignored)
	}
	return s + "."
}

// Changes says in a sentence what is new and gone; empty where nothing was
// compared.
func (r *Report) Changes() string {
	if r.Since == nil {
		return ""
	}
	n := map[Change]int{}
	for _, row := range r.Rows {
		n[row.Change]++
	}
	s := fmt.Sprintf("Since %s: %d new, %d gone, %d unchanged", r.Since.What, n[New], len(r.Since.Gone), n[Unchanged])
	if u := len(r.Since.Unknown); u > 0 {
		s += fmt.Sprintf(", %d not known, which could not be looked at", u)
	}
	return s + "."
}

// everything are all rows, the earlier scan's too.
func (r *Report) everything() []Row {
	if r.Since == nil {
		return r.Rows
	}
	return slices.Concat(r.Rows, r.Since.Gone, r.Since.Unknown)
}

// Options say how a report is written.
type Options struct {
	Colour bool // escape sequences, in the table alone
	Width  int  // characters a line of the table; 0: as long as need be
}

// Write writes the report to w.
func (r *Report) Write(w io.Writer, f Format, o Options) error {
	switch f {
	case Table:
		return r.table(w, o)
	case JSON:
		return r.lines(w)
	case CSV:
		return r.csv(w)
	case HTML:
		return r.html(w)
	case SARIF:
		return r.sarif(w)
	}
	return fmt.Errorf("there is no format %q", f)
}

func (r *Report) lines(w io.Writer) error {
	for _, row := range r.everything() {
		b := events.Beside{Change: string(row.Change)}
		if row.Ignored() {
			b.IgnoredBy = row.Decision.Rule
		}
		if err := events.PrintScanned(w, row.Finding, b); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// shape is a finding's identity by what --json prints of it.
func shape(f remediation.Finding) string {
	f.Actor = remediation.Actor{}
	raw, err := json.Marshal(events.FindingJSON(f))
	if err != nil { // strings and numbers alone
		return f.Playbook + f.Resource.String()
	}
	return string(raw)
}

// what says on a line what is open.
func what(f remediation.Finding) string {
	var parts []string
	for _, r := range f.Rules {
		parts = append(parts, r.String())
	}
	for _, g := range f.Grants {
		parts = append(parts, g.String())
	}
	for _, s := range f.Statements {
		if s.Sid != "" {
			parts = append(parts, "statement "+s.Sid)
			continue
		}
		parts = append(parts, "statement "+clip(s.String(), maxStatement))
	}
	if len(f.Off) > 0 {
		parts = append(parts, strings.Join(f.Off, ", "))
	}
	text := strings.Join(parts, "; ")
	if f.Direction != "" {
		text = string(f.Direction) + " " + text
	}
	return events.Printable(text)
}

// remarks are what people should know beside.
func remarks(row Row) []string {
	f := row.Finding
	notes := slices.Clone(f.Notes)
	if f.Doubt != "" {
		notes = append(notes, "In doubt: "+f.Doubt)
	}
	if row.Ignored() {
		notes = append(notes, "Ignored by the policy: "+row.Decision.Rule)
	}
	for i := range notes {
		notes[i] = events.Printable(notes[i])
	}
	return notes
}

// maxStatement is how much of a statement without Sid is shown, in bytes.
const maxStatement = 120

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// title is what people call a playbook.
func (r *Report) title(playbook string) string {
	if m := r.meta(playbook); m != nil {
		return cmp.Or(m.Labels.Ask, m.Title)
	}
	return events.Printable(playbook)
}

func (r *Report) meta(playbook string) *remediation.Meta {
	i := slices.IndexFunc(r.Metas, func(m remediation.Meta) bool { return m.ID == playbook })
	if i < 0 {
		return nil
	}
	return &r.Metas[i]
}

// arn is the resource's; empty where it has none or too little is known.
func arn(r remediation.Ref) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(r.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(r.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	switch {
	case r.Kind == remediation.KindBucket:
		return "arn:" + partition + ":s3:::" + r.ID
	case r.Kind == remediation.KindSecurityGroup && r.Account != "" && r.Region != "":
		return "arn:" + partition + ":ec2:" + r.Region + ":" + r.Account + ":security-group/" + r.ID
	case r.Kind == remediation.KindAccount:
		return "arn:" + partition + ":iam::" + r.ID + ":root"
	}
	return ""
}

// resource is what people call it, with its id.
func resource(f remediation.Finding) string {
	id := f.Resource.ID
	if f.Name != "" && f.Name != id {
		id += " (" + f.Name + ")"
	}
	return events.Printable(id)
}

func bySeverity(rows []Row) string {
	var parts []string
	for _, s := range slices.Backward(remediation.Severities()) {
		n := 0
		for _, row := range rows {
			if row.Finding.Severity == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

func took(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func reads(n int) string { return count(n, "read") }

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
