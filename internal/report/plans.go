package report

import (
	"fmt"
	"io"
	"strings"

	"secbot/events"
	"secbot/remediation"
)

// Plan is what Revert would do about an open finding.
type Plan struct {
	Row  Row
	Diff []remediation.DiffLine
	Err  error // why nothing can be done; nil where it can
}

// Name is the finding on a line, safe for a terminal: its resource and what is open.
func (p Plan) Name() string {
	if w := what(p.Row.Finding); w != "" {
		return resource(p.Row.Finding) + ": " + w
	}
	return resource(p.Row.Finding)
}

// WritePlans writes for a terminal what Revert would do about each finding, or why
// nothing.
func (r *Report) WritePlans(w io.Writer, plans []Plan, o Options) error {
	var b strings.Builder
	paint := painter(o.Colour)
	b.WriteString("What Revert would do:\n")
	for _, p := range plans {
		f := p.Row.Finding
		fmt.Fprintf(&b, "\n%s: %s, %s\n", r.title(f.Playbook), p.Name(), paint(colourOf(f.Severity), string(f.Severity)))
		if p.Err != nil {
			b.WriteString("    nothing: " + events.Printable(p.Err.Error()) + "\n")
			continue
		}
		for _, d := range p.Diff {
			for line := range strings.Lines(d.Text) {
				b.WriteString("  " + paint(colourOfOp(d.Op), events.Printable(d.Op+" "+strings.TrimSuffix(line, "\n"))) + "\n")
			}
		}
	}
	b.WriteString("\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the plans: %w", err)
	}
	return nil
}

func colourOfOp(op string) string {
	switch op {
	case "-":
		return red
	case "+":
		return green
	}
	return ""
}
