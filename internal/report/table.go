package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"secbot/events"
	"secbot/remediation"
)

// maxTold is how many failed reads a table tells one by one.
const maxTold = 20

// minWhat is the narrowest that the table's last column gets, in characters.
const minWhat = 24

// table writes the report for people.
func (r *Report) table(w io.Writer, o Options) error {
	var b strings.Builder
	paint := painter(o.Colour)
	if gap := r.Gap(); gap != "" {
		b.WriteString(paint(bold+red, gap) + "\n\n")
	}
	r.section(&b, o, "", r.Open())
	r.section(&b, o, "Ignored by the policy:", r.Ignored())
	if r.Since != nil {
		r.section(&b, o, "Gone since "+events.Printable(r.Since.What)+":", r.Since.Gone)
		r.section(&b, o, "Found then, and not known now, as it could not be looked at:", r.Since.Unknown)
	}
	if len(r.Failures) > 0 {
		b.WriteString("Could not be read:\n")
		for _, f := range r.Failures[:min(len(r.Failures), maxTold)] {
			b.WriteString("  " + events.Printable(f) + "\n")
		}
		if more := len(r.Failures) - maxTold; more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
		b.WriteString("\n")
	}
	if r.Read > 0 || r.Gap() == "" {
		b.WriteString(r.Summary() + "\n")
	}
	if changes := r.Changes(); changes != "" {
		b.WriteString(events.Printable(changes) + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// several reports whether it is a scan of accounts that were named, or of all.
func (r *Report) several() bool { return strings.Contains(r.Scope, " ") }

// section is a table of rows under a title; nothing where there are none.
func (r *Report) section(b *strings.Builder, o Options, title string, rows []Row) {
	if len(rows) == 0 {
		return
	}
	if title != "" {
		b.WriteString(title + "\n")
	}
	paint := painter(o.Colour)
	t := table.NewWriter()
	t.SetStyle(plainStyle())
	head := table.Row{"SEVERITY", "RESOURCE", "REGION", "WHAT"}
	if r.several() {
		head[2] = "ACCOUNT, REGION"
	}
	widths := []int{len(head[0].(string)), len(head[1].(string)), len(head[2].(string))}
	for i, row := range rows {
		f := row.Finding
		if i > 0 && f.Severity != rows[i-1].Finding.Severity {
			t.AppendSeparator()
		}
		cells := []string{string(f.Severity), resource(f), events.Printable(f.Resource.Region)}
		if r.several() {
			cells[2] = strings.TrimSpace(events.Printable(f.Resource.Account) + " " + cells[2])
		}
		if row.Change == New {
			cells[0] += " NEW"
		}
		for j, c := range cells {
			widths[j] = max(widths[j], text.StringWidth(c))
		}
		says := r.title(f.Playbook)
		if w := what(f); w != "" {
			says += ": " + w
		}
		t.AppendRow(table.Row{paint(colourOf(f.Severity), cells[0]), cells[1], cells[2], strings.Join(append([]string{says}, remarks(row)...), "\n")})
	}
	t.AppendHeader(head)
	if o.Width > 0 {
		left := o.Width - widths[0] - widths[1] - widths[2] - 3*len(gapBetween)
		t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: max(left, minWhat), WidthMaxEnforcer: wrap}})
	}
	b.WriteString(trimmed(t.Render()) + "\n\n")
}

// wrap wraps each line for itself: the library's own would join them.
func wrap(s string, width int) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = text.WrapSoft(lines[i], width)
	}
	return strings.Join(lines, "\n")
}

const gapBetween = "  "

// plainStyle has no lines but those between severities.
func plainStyle() table.Style {
	s := table.StyleDefault
	s.Options = table.Options{SeparateColumns: true, SeparateHeader: true}
	s.Box.PaddingLeft, s.Box.PaddingRight = "", ""
	s.Box.MiddleVertical, s.Box.MiddleSeparator, s.Box.MiddleHorizontal = gapBetween, "──", "─"
	s.Format.Header = text.FormatDefault
	return s
}

// trimmed takes away the blanks that fill the last column up.
func trimmed(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// SGR parameters of ECMA-48.
const (
	bold   = "1;"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

// painter colours text where that is wanted.
func painter(colour bool) func(code, s string) string {
	return func(code, s string) string {
		if !colour || code == "" {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
}

func colourOf(s remediation.Severity) string {
	switch s {
	case remediation.SeverityCritical:
		return bold + red
	case remediation.SeverityHigh:
		return red
	case remediation.SeverityMedium:
		return yellow
	case remediation.SeverityLow:
		return blue
	}
	return ""
}
