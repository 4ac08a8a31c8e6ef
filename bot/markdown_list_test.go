package bot

import (
	"github.com/slack-go/slack"
	"github.com/yuin/goldmark/ast"
)

// list renders a list. In rich text a list within another, or a block of code
// in an item, can only follow: the outer list ends, and goes on after it with
// the next number.
func (p markdown) list(l *ast.List, indent int) []slack.RichTextElement {
	w := listWriter{page: p, list: l, indent: indent}
	for item := l.FirstChild(); item != nil; item = item.NextSibling() {
		w.item(item)
	}
	w.flush()
	return w.out
}

// listWriter gathers the items of one list.
type listWriter struct {
	page   markdown
	list   *ast.List
	indent int
	out    []slack.RichTextElement
	run    []slack.RichTextElement // items that are not in out yet
	items  int                     // how many there were before run
}

// item adds one item, and what stands within it.
func (w *listWriter) item(item ast.Node) {
	var own phrase
	begun := false // the item's own first line is written
	write := func() {
		switch {
		case !begun:
			w.run = append(w.run, listed(own))
		case len(own) > 0:
			w.flush()
			w.out = append(w.out, slack.NewRichTextSection(own...))
		}
		begun, own = true, nil
	}
	for c := item.FirstChild(); c != nil; c = c.NextSibling() {
		within := w.within(c)
		if within == nil {
			if len(own) > 0 {
				own = add(own, "\n", styled{})
			}
			own = joined(own, w.page.inlines(c, styled{}))
			continue
		}
		write()
		w.flush()
		w.out = append(w.out, within...)
	}
	write()
}

// within renders what can't stand in an item's line; nil for what can.
func (w *listWriter) within(n ast.Node) []slack.RichTextElement {
	switch n := n.(type) {
	case *ast.Paragraph, *ast.TextBlock, *ast.Heading:
		return nil
	case *ast.List:
		return w.page.list(n, w.indent+1)
	}
	if b, ok := w.page.block(n).(*slack.RichTextBlock); ok {
		return b.Elements
	}
	return nil
}

// flush ends the list that the items are in.
func (w *listWriter) flush() {
	if len(w.run) == 0 {
		return
	}
	l := slack.NewRichTextList(slack.RTEListBullet, min(w.indent, maxIndent), w.run...)
	if w.list.IsOrdered() {
		l.Style, l.Offset = slack.RTEListOrdered, max(0, w.list.Start-1)+w.items
	}
	w.out = append(w.out, l)
	w.items += len(w.run)
	w.run = nil
}
