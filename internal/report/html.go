package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"secbot/events"
	"secbot/internal/chart"
	"secbot/remediation"
)

//go:embed page.html
var pageSource string

// page is what page.html shows. All text in it is escaped there.
type page struct {
	Title, Gap, Summary, Changes string
	Facts                        []fact
	Totals                       []total
	Light                        template.URL // the chart; empty without findings
	Dark                         template.Srcset
	Sections                     []section
	Failures                     []string
	Runbooks                     []runbook
}

type fact struct{ Name, Value string }

type total struct {
	Severity remediation.Severity
	Count    int
}

type section struct {
	Title   string
	Compare bool // there is something to say of the change
	Rows    []shown
}

type shown struct {
	Severity                            remediation.Severity
	Change                              Change
	Playbook, Title, Resource, ARN, Net string
	What                                string
	Notes                               []string
}

type runbook struct {
	ID, Title string
	Page      template.HTML
}

// html writes one page. Its policy lets no script run and nothing be loaded.
func (r *Report) html(w io.Writer) error {
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	p, err := r.page()
	if err != nil {
		return err
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) page() (*page, error) {
	p := &page{Title: "secbot scan", Gap: r.Gap(), Summary: r.Summary(), Changes: events.Printable(r.Changes())}
	p.Facts = []fact{{"Account", r.Account}, {"Scope", r.Scope}, {"Began", r.Started.UTC().Format("2 January 2006 15:04:05 UTC")}, {"secbot", r.Version}}
	p.Facts = slices.DeleteFunc(p.Facts, func(f fact) bool { return f.Value == "" })
	for _, s := range slices.Backward(remediation.Severities()) {
		n := 0
		for _, row := range r.Open() {
			if row.Finding.Severity == s {
				n++
			}
		}
		p.Totals = append(p.Totals, total{s, n})
	}
	p.add(r, "Open now", r.Open())
	p.add(r, "Ignored by the policy", r.Ignored())
	if r.Since != nil {
		p.add(r, "Gone", r.Since.Gone)
		p.add(r, "Found then, and not known now, as it could not be looked at", r.Since.Unknown)
	}
	for _, f := range r.Failures {
		p.Failures = append(p.Failures, events.Printable(f))
	}
	var err error
	if p.Runbooks, err = r.runbooks(); err != nil {
		return nil, err
	}
	return p, r.draw(p)
}

func (p *page) add(r *Report, title string, rows []Row) {
	if len(rows) == 0 {
		return
	}
	s := section{Title: title, Compare: r.Since != nil}
	for _, row := range rows {
		f := row.Finding
		s.Rows = append(s.Rows, shown{
			Severity: f.Severity, Change: row.Change, Playbook: events.Printable(f.Playbook), Title: r.title(f.Playbook), Resource: resource(f),
			ARN: events.Printable(arn(f.Resource)), Net: events.Printable(f.Resource.Region), What: what(f), Notes: remarks(row),
		})
	}
	p.Sections = append(p.Sections, s)
}

// draw adds the chart of the open findings, for light and for dark.
func (r *Report) draw(p *page) error {
	var bars []chart.Bar
	for _, row := range r.Open() {
		name := r.title(row.Finding.Playbook)
		i := slices.IndexFunc(bars, func(b chart.Bar) bool { return b.Name == name })
		if i < 0 {
			i, bars = len(bars), append(bars, chart.Bar{Name: name, Found: map[remediation.Severity]int{}})
		}
		bars[i].Found[row.Finding.Severity]++
	}
	if len(bars) == 0 {
		return nil
	}
	light, err := chart.Bars(bars, false)
	if err != nil {
		return err
	}
	dark, err := chart.Bars(bars, true)
	if err != nil {
		return err
	}
	p.Light, p.Dark = template.URL(picture(light)), template.Srcset(picture(dark)) //nolint:gosec // base64 has nothing to escape
	return nil
}

// picture is an SVG within the page. Scripts in pictures do not run.
func picture(svg []byte) string {
	return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg)
}

// runbooks are the pages of the playbooks that have found something. They are
// secbot's own; raw HTML in them would be left out.
func (r *Report) runbooks() ([]runbook, error) {
	var all []runbook
	md := goldmark.New(goldmark.WithExtensions(extension.Table))
	for _, m := range r.Metas {
		source, ok := r.Runbook(m.ID)
		if !ok || !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Finding.Playbook == m.ID }) {
			continue
		}
		_, source, _ = strings.Cut(source, "\n") // the title is the summary
		var out bytes.Buffer
		if err := md.Convert([]byte(source), &out); err != nil {
			return nil, fmt.Errorf("render the runbook of %s: %w", m.ID, err)
		}
		all = append(all, runbook{m.ID, r.title(m.ID), template.HTML(out.String())}) //nolint:gosec // see above
	}
	return all, nil
}
