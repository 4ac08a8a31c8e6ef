package bot

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"secbot/docs"
)

// maxIndent is how deep Slack indents a list.
const maxIndent = 8

// TestRunbooksAreRendered: the pages that are embedded are those of docs/runbooks, as
// Slack shows them; UPDATE_GOLDEN=1 writes them anew.
func TestRunbooksAreRendered(t *testing.T) {
	for _, id := range docs.Runbooks() {
		source, _ := docs.Runbook(id)
		want := encodedBlocks(t, markdownBlocks(source))
		path := filepath.Join("runbooks", id+".json")
		if os.Getenv("UPDATE_GOLDEN") == "1" {
			if err := os.WriteFile(path, want, 0o600); err != nil {
				t.Fatal(err)
			}
			continue // what was embedded is what it was before
		}
		got, err := runbooks.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what docs/runbooks/%s.md says: UPDATE_GOLDEN=1 go test ./bot (%v)", path, id, err)
		}
		blocks, ok := runbookBlocks(id, nil)
		if !ok || !bytes.Equal(encodedBlocks(t, blocks), want) {
			t.Errorf("%s is read as something else", path)
		}
	}
	files, err := filepath.Glob("runbooks/*")
	if err != nil || len(files) != len(docs.Runbooks()) {
		t.Errorf("%d pages for %d runbooks: %v", len(files), len(docs.Runbooks()), err)
	}
	for _, id := range []string{"", "no-such-playbook", "../testdata/help.golden", "./sg-created", "\x00"} {
		if blocks, ok := runbookBlocks(id, nil); ok {
			t.Errorf("%q has a page: %v", id, blocks)
		}
	}
}

func encodedBlocks(t *testing.T, blocks []slack.Block) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(blocks); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// markdownBlocks renders Markdown as blocks: headings as headers, everything
// else as rich text.
func markdownBlocks(source string) []slack.Block {
	p := markdown{[]byte(source)}
	root := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(p.source))
	var blocks []slack.Block
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		blocks = append(blocks, p.block(n))
	}
	return compact(blocks)
}

// markdown is a page that was parsed; its nodes point into the source.
type markdown struct{ source []byte }

// block renders one block of the page; nil where nothing of it shows.
func (p markdown) block(n ast.Node) slack.Block {
	switch n := n.(type) {
	case *ast.Heading:
		if n.Level <= 2 {
			return slack.NewHeaderBlock(plain(textOf(p.inlines(n, styled{})), maxHeader))
		}
		return rich(line(p.inlines(n, styled{Bold: true})))
	case *ast.List:
		return rich(p.list(n, 0)...)
	case *ast.Blockquote:
		if w := p.paragraphs(n); len(w) > 0 {
			return rich(&slack.RichTextQuote{Type: slack.RTEQuote, Elements: w})
		}
		return nil
	case *ast.ThematicBreak:
		return slack.NewDividerBlock()
	case *tables.Table:
		return rich(p.table(n)...)
	case *ast.FencedCodeBlock, *ast.CodeBlock, *ast.HTMLBlock:
		return rich(p.code(n))
	}
	return rich(line(p.inlines(n, styled{})))
}

// code is a block of code as it stands; nil where it is empty.
func (p markdown) code(n ast.Node) slack.RichTextElement {
	source := strings.TrimRight(string(n.Lines().Value(p.source)), "\n")
	if source == "" {
		return nil
	}
	return preformatted(boundedLines(strings.Split(source, "\n"), maxDiff))
}

// paragraphs are the words of all blocks within n, each on a line of its own.
func (p markdown) paragraphs(n ast.Node) phrase {
	var w phrase
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if len(w) > 0 {
			w = add(w, "\n", styled{})
		}
		w = joined(w, p.inlines(c, styled{}))
	}
	return w
}

// table renders each row as an item that begins with its first cell, since
// columns are too wide for a modal.
func (p markdown) table(n *tables.Table) []slack.RichTextElement {
	var head slack.RichTextElement
	rows := slack.NewRichTextList(slack.RTEListBullet, 0)
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		if row.Kind() == tables.KindTableHeader {
			head = line(p.cells(row, styled{Italic: true}, styled{Italic: true}))
			continue
		}
		rows.Elements = append(rows.Elements, listed(p.cells(row, styled{Bold: true}, styled{})))
	}
	if len(rows.Elements) == 0 {
		return []slack.RichTextElement{head}
	}
	return []slack.RichTextElement{head, rows}
}

// cells puts the cells of a row on one line.
func (p markdown) cells(row ast.Node, first, rest styled) phrase {
	var w phrase
	style := first
	for c := row.FirstChild(); c != nil; c = c.NextSibling() {
		if c != row.FirstChild() {
			w = add(w, " – ", rest)
		}
		w = joined(w, p.inlines(c, style))
		style = rest
	}
	return w
}

// inlines are the words of one block, in the given style and their own.
func (p markdown) inlines(parent ast.Node, style styled) phrase {
	var w phrase
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			w = add(w, p.text(n), style)
		case *ast.String:
			w = add(w, string(n.Value), style)
		case *ast.RawHTML:
			w = add(w, string(n.Segments.Value(p.source)), style)
		case *ast.CodeSpan:
			w = add(w, p.span(n), with(style, styled{Code: true}))
		case *ast.Emphasis:
			w = joined(w, p.inlines(n, with(style, styled{Italic: n.Level == 1, Bold: n.Level == 2})))
		case *ast.AutoLink:
			w = append(w, link(string(n.URL(p.source)), string(n.Label(p.source)), style)...)
		case *ast.Link:
			label := p.inlines(n, style)
			if isAbsolute(string(n.Destination)) {
				label = link(string(n.Destination), textOf(label), style)
			}
			w = joined(w, label)
		default:
			w = joined(w, p.inlines(n, style))
		}
	}
	return w
}

// text is the text of a node, with the line break that ends it.
func (p markdown) text(n *ast.Text) string {
	s := n.Value(p.source)
	if !n.IsRaw() {
		s = util.UnescapePunctuations(util.ResolveEntityNames(util.ResolveNumericReferences(s)))
	}
	switch {
	case n.HardLineBreak():
		return string(s) + "\n"
	case n.SoftLineBreak():
		return string(s) + " "
	}
	return string(s)
}

// span is the text of a code span, on one line.
func (p markdown) span(n *ast.CodeSpan) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Value(p.source))
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// link is a link to another site.
func link(to, label string, style styled) phrase {
	if !isAbsolute(to) {
		return add(nil, label, style)
	}
	e := slack.NewRichTextSectionLinkElement(to, label, nil)
	if style != (styled{}) {
		e.Style = &style
	}
	return phrase{e}
}

// isAbsolute reports whether a link leads anywhere from within Slack: those from
// page to page don't.
func isAbsolute(to string) bool {
	u, err := url.Parse(to)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
