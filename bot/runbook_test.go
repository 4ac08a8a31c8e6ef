package bot

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"secbot/docs"
	"secbot/internal/blockkit"
	"secbot/remediation"
)

func checkModal(t testing.TB, view slack.ModalViewRequest) {
	t.Helper()
	raw, err := json.Marshal(view)
	if err != nil {
		t.Fatal(err)
	}
	if err := blockkit.CheckView(raw); err != nil {
		t.Errorf("Slack would refuse it: %v", err)
	}
}

func TestRunbookGolden(t *testing.T) {
	for _, id := range docs.Runbooks() {
		t.Run(id, func(t *testing.T) {
			page, _ := runbookBlocks(id, nil)
			view := runbookModal(id, page)
			golden(t, "runbook-"+id, view)
			checkModal(t, view)
			said := string(encoded(t, view))
			for _, left := range []string{"](", "**", "|---", "```", "## ", " more: "} {
				if strings.Contains(said, left) {
					t.Errorf("%q is left of the Markdown, or something was cut", left)
				}
			}
		})
	}
}

// TestLongRunbook: what a modal does not take is counted.
func TestLongRunbook(t *testing.T) {
	for name, page := range map[string]string{
		"many parts": strings.Repeat("a\n\n", 250),
		"large":      strings.Repeat(strings.Repeat("<&>", 2000)+"\n\n", 30),
		"long code":  "```\n" + strings.Repeat("line\n", 5000) + "```\n",
		"one word":   strings.Repeat("<", 300<<10),
	} {
		view := runbookModal("sg-created", markdownBlocks(page))
		checkModal(t, view)
		if said := string(encoded(t, view)); !strings.Contains(said, " more: ") && !strings.Contains(said, "more lines") {
			t.Errorf("%s: what is left out is not counted", name)
		}
	}
}

// drawn writes blocks down for a test: a line for each piece.
func drawn(t *testing.T, blocks []slack.Block) string {
	t.Helper()
	var out []string
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			out = append(out, "# "+b.Text.Text)
		case *slack.DividerBlock:
			out = append(out, "---")
		case *slack.RichTextBlock:
			for _, e := range b.Elements {
				out = append(out, drawnRich(t, e))
			}
		default:
			t.Fatalf("a block %T", b)
		}
	}
	return strings.Join(out, "\n")
}

func drawnRich(t *testing.T, e slack.RichTextElement) string {
	t.Helper()
	switch e := e.(type) {
	case *slack.RichTextSection:
		return drawnWords(t, e.Elements)
	case *slack.RichTextQuote:
		return "quote " + drawnWords(t, e.Elements)
	case *slack.RichTextPreformatted:
		return "pre " + drawnWords(t, e.Elements)
	case *slack.RichTextList:
		var items []string
		for i, item := range e.Elements {
			mark := "*"
			if e.Style == slack.RTEListOrdered {
				mark = fmt.Sprint(e.Offset+i+1, ".")
			}
			items = append(items, strings.Repeat("  ", e.Indent)+mark+" "+drawnRich(t, item))
		}
		return strings.Join(items, "\n")
	}
	t.Fatalf("an element %T", e)
	return ""
}

func drawnWords(t *testing.T, words []slack.RichTextSectionElement) string {
	t.Helper()
	s := ""
	for _, w := range words {
		switch w := w.(type) {
		case *slack.RichTextSectionTextElement:
			if w.Style == nil {
				s += w.Text
				continue
			}
			s += "{"
			for _, look := range []struct {
				mark string
				on   bool
			}{{"b", w.Style.Bold}, {"c", w.Style.Code}, {"i", w.Style.Italic}} {
				if look.on {
					s += look.mark
				}
			}
			s += ":" + w.Text + "}"
		case *slack.RichTextSectionLinkElement:
			s += "{" + w.URL + ":" + w.Text + "}"
		default:
			t.Fatalf("a word %T", w)
		}
	}
	return s
}

func TestMarkdown(t *testing.T) {
	for name, c := range map[string][2]string{
		"heading":          {"# A `b`\n## C\n### D", "# A b\n# C\n{b:D}"},
		"paragraph":        {"one\ntwo  \nthree\n\nfour", "one two\nthree\nfour"},
		"styles":           {"**b** *i* `c` ***both*** **`code`** x**y**z", "{b:b} {i:i} {c:c} {bi:both} {bc:code} x{b:y}z"},
		"entities":         {`\*no\* &lt;!channel&gt; &#42; a&b <!here>`, "*no* <!channel> * a&b <!here>"},
		"code keeps":       {"`&lt; \\* <!channel>`", `{c:&lt; \* <!channel>}`},
		"links":            {"[out **b**](https://example.com/x) <https://example.com> [in](sg-created.md) [js](javascript:x) ![pic](x.png)", "{https://example.com/x:out b} {https://example.com:https://example.com} in js pic"},
		"bullets":          {"- a\n- b\n  c", "* a\n* b c"},
		"numbers":          {"3. a\n4. b", "3. a\n4. b"},
		"nested":           {"1. a\n   - x\n     1. deep\n   - y\n2. b\n", "1. a\n  * x\n    1. deep\n  * y\n2. b"},
		"code in a list":   {"1. a\n\n   ```\n   run\n   ```\n\n   after\n2. b", "1. a\npre run\nafter\n2. b"},
		"two paragraphs":   {"- a\n\n  b\n", "* a\nb"},
		"empty item":       {"- \n- b", "* –\n* b"},
		"list after code":  {"- ```\n  x\n  ```\n", "* –\npre x"},
		"code":             {"```sh\na *b*\n\n  c\n```\n\n    indented", "pre a *b*\n\n  c\npre indented"},
		"empty code":       {"```\n```\n\na", "a"},
		"quote":            {"> a\n>\n> b\n\n>", "quote a\nb"},
		"rule":             {"a\n\n---\n", "a\n---"},
		"table":            {"| flag | does |\n|---|---|\n| `A` | one *x* |\n| b \\| c | |\n", "{i:flag – does}\n* {bc:A} – one {i:x}\n* {b:b | c} – "},
		"table of columns": {"| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |", "{i:a – b – c}\n* {b:1} – 2 – 3"},
		"table head alone": {"| a |\n|---|\n", "{i:a}"},
		"html":             {"<div>\n<b>\n</div>", "pre <div>\n<b>\n</div>"},
	} {
		t.Run(name, func(t *testing.T) {
			blocks := markdownBlocks(c[0])
			if got := drawn(t, blocks); got != c[1] {
				t.Errorf("got\n%s\nwant\n%s", got, c[1])
			}
			checkModal(t, reading("x", blocks))
		})
	}
}

// TestRunbookIsFilledIn: the commands of an incident's runbook are about its
// resource, unless a name would mean something to a shell.
func TestRunbookIsFilledIn(t *testing.T) {
	for _, id := range docs.Runbooks() {
		raw, err := runbooks.ReadFile("runbooks/" + id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		page := string(raw)
		for kind, name := range map[remediation.Kind]string{remediation.KindSecurityGroup: "sg-0feed", remediation.KindBucket: "acme.data-1", remediation.KindAccount: "444455556666"} {
			if kind == remediation.KindSecurityGroup != strings.HasPrefix(id, "sg-") {
				continue
			}
			said := filledIn(page, remediation.Ref{Kind: kind, ID: name, Account: "444455556666"})
			for _, left := range []string{pageGroup, pageAccount} {
				if strings.Contains(said, left) {
					t.Errorf("%s of a %s still has %q", id, kind, left)
				}
			}
			if kind == remediation.KindBucket && strings.Contains(said, pageBucket) {
				t.Errorf("%s of a bucket still has %q", id, pageBucket)
			}
		}
		for _, hostile := range []string{"x; rm -rf ~", "$(id)", "--profile", "", "a\nb", "ä"} {
			if filledIn(page, remediation.Ref{Kind: remediation.KindBucket, ID: hostile, Account: "444455556666"}) != page {
				t.Errorf("%q went into a command of %s", hostile, id)
			}
		}
	}
}
