package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"unicode"

	"secbot/events"
)

// csv writes a line each finding. Fields are text for every spreadsheet.
func (r *Report) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"severity", "change", "ignored by", "playbook", "account", "region", "resource", "name", "what", "remarks", "key"}}
	for _, row := range r.everything() {
		f := row.Finding
		ignoredBy := ""
		if row.Ignored() {
			ignoredBy = row.Decision.Rule
		}
		rows = append(rows, []string{string(f.Severity), string(row.Change), ignoredBy, f.Playbook, f.Resource.Account, f.Resource.Region,
			f.Resource.ID, f.Name, what(f), strings.Join(remarks(row), "; "), row.Key})
	}
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// cell keeps a spreadsheet from taking a text for a formula: "CSV Injection" of
// OWASP, the full-width signs too, and behind blanks, which some programs strip.
func cell(s string) string {
	lead := strings.TrimLeftFunc(s, unicode.IsSpace)
	if lead != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(lead)[0]) || strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "\r") || strings.HasPrefix(s, "\n") {
		s = "'" + s
	}
	return events.Printable(s)
}
