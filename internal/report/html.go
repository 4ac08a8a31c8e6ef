package report

import (
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"secbot/events"
	"secbot/internal/chart"
	"secbot/remediation"
)

//go:embed page.css
var pageStyle string

// pagePolicy lets no script run and nothing be loaded.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

// html writes one page. Text and attributes are escaped where they are rendered;
// what is raw is secbot's own. It is no html/template, with which the linker has to
// keep every method of every client of AWS: that more than doubles the binary.
func (r *Report) html(w io.Writer) error {
	chart, err := r.chart()
	if err != nil {
		return err
	}
	sections := g.Group{r.listed("Open now", r.Open()), r.listed("Ignored by the policy", r.Ignored())}
	if r.Since != nil {
		sections = append(sections, r.listed("Gone", r.Since.Gone), r.listed("Found then, and not known now, as it could not be looked at", r.Since.Unknown))
	}
	page := h.Doctype(h.HTML(h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(g.Attr("http-equiv", "Content-Security-Policy"), h.Content(pagePolicy)),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("referrer"), h.Content("no-referrer")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			h.TitleEl(g.Text("secbot scan")),
			h.StyleEl(g.Raw("\n"+pageStyle)),
		),
		h.Body(h.Main(
			r.banner(),
			h.H1(g.Text("What is open")),
			h.Div(g.Text(strings.TrimSpace(r.Summary()+" "+events.Printable(r.Changes())))),
			r.facts(), r.totals(), chart, sections, r.runbooks(),
		)),
	))
	if err := page.Render(w); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// banner says what is missing; nothing where nothing is.
func (r *Report) banner() g.Node {
	if r.Gap() == "" {
		return nil
	}
	return h.Div(h.Class("banner"), h.Role("alert"), h.Strong(g.Text(r.Gap())),
		h.Ul(g.Map(r.Failures, func(f string) g.Node { return h.Li(g.Text(events.Printable(f))) })))
}

func (r *Report) facts() g.Node {
	var facts g.Group
	for _, f := range [][2]string{{"Account", r.Account}, {"Scope", r.Scope}, {"Began", r.Started.UTC().Format("2 January 2006 15:04:05 UTC")}, {"secbot", r.Version}} {
		if f[1] != "" {
			facts = append(facts, h.Div(h.Dt(g.Text(f[0])), h.Dd(g.Text(f[1]))))
		}
	}
	return h.Dl(h.Class("facts"), facts)
}

func (r *Report) totals() g.Node {
	var totals g.Group
	for _, s := range slices.Backward(remediation.Severities()) {
		n := 0
		for _, row := range r.Open() {
			if row.Finding.Severity == s {
				n++
			}
		}
		class := string(s)
		if n == 0 {
			class = "none"
		}
		totals = append(totals, h.Li(h.Class(class), h.B(g.Text(strconv.Itoa(n))), g.Text(string(s))))
	}
	return h.Ul(h.Class("totals"), totals)
}

// chart is the picture of the open findings, for light and for dark.
func (r *Report) chart() (g.Node, error) {
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
		text := "No open finding."
		if r.Gap() != "" {
			text = "No open finding in what could be read."
		}
		return h.P(h.Class("nothing"), g.Text(text)), nil
	}
	light, err := chart.Bars(bars, false)
	if err != nil {
		return nil, err
	}
	dark, err := chart.Bars(bars, true)
	if err != nil {
		return nil, err
	}
	return h.Div(h.Class("chart"), h.Picture(
		h.Source(g.Attr("media", "(prefers-color-scheme: dark)"), h.SrcSet(picture(dark))),
		h.Img(h.Src(picture(light)), h.Alt("Open findings by kind and severity")),
	)), nil
}

// picture is an SVG within the page. Scripts in pictures do not run.
func picture(svg []byte) string {
	return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg)
}

// listed lists rows under a title; nothing where there are none.
func (r *Report) listed(title string, rows []Row) g.Node {
	if len(rows) == 0 {
		return nil
	}
	head := g.Map([]string{"Severity", "Resource", "What"}, func(s string) g.Node { return h.Th(g.Attr("scope", "col"), g.Text(s)) })
	return g.Group{
		h.H2(g.Text(title+" "), h.Span(h.Class("quiet"), g.Text(strconv.Itoa(len(rows))))),
		h.Div(h.Class("list"), h.Table(h.THead(h.Tr(head)), h.TBody(g.Map(rows, r.row)))),
	}
}

func (r *Report) row(row Row) g.Node {
	f := row.Finding
	small := func(s string) g.Node {
		if s == "" {
			return nil
		}
		return h.Small(g.Text(events.Printable(s)))
	}
	var open g.Node
	if w := what(f); w != "" {
		open = h.Code(g.Text(w))
	}
	var isNew g.Node
	if row.Change == New {
		isNew = h.Span(h.Class("new"), g.Text("new"))
	}
	severity := events.Printable(string(f.Severity))
	return h.Tr(h.Class(severity),
		h.Td(h.Span(h.Class("badge"), g.Text(severity)), isNew),
		h.Td(h.Class("resource"), g.Text(resource(f)), small(f.Resource.Region), small(arn(f.Resource))),
		h.Td(g.Text(r.title(f.Playbook)), open, g.Map(remarks(row), small), small(f.Playbook)),
	)
}

// pages are those of docs/runbooks as HTML: parsing Markdown is not for every start of
// the program. TestPages makes them and compares.
//
//go:embed runbooks/*.html
var pages embed.FS

// Page is a playbook's runbook as HTML, without its title. It is secbot's own, and has
// no raw HTML of the source; ok is false where there is none.
func Page(playbook string) (page string, ok bool) {
	raw, err := pages.ReadFile("runbooks/" + playbook + ".html")
	return string(raw), err == nil
}

// runbooks are the pages of the playbooks that have found something.
func (r *Report) runbooks() g.Node {
	var all g.Group
	for _, m := range r.Metas {
		page, ok := r.Page(m.ID)
		if !ok || !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Finding.Playbook == m.ID }) {
			continue
		}
		all = append(all, h.Details(h.Summary(g.Text(r.title(m.ID)), h.Small(g.Text(m.ID))), g.Raw(page)))
	}
	if len(all) == 0 {
		return nil
	}
	return g.Group{h.H2(g.Text("What to do")), all}
}
