package bot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// Rich text is shown as it is: Slack looks for no mentions, links or formatting
// in it, so nothing in it has to be escaped. Text from outside is cleaned and cut.

// phrase is a piece of a line of rich text.
type phrase = []slack.RichTextSectionElement

// styled is how a piece of text looks.
type styled = slack.RichTextSectionTextStyle

// rich is a block of rich text; nil where there is none.
func rich(elements ...slack.RichTextElement) slack.Block {
	elements = slices.DeleteFunc(elements, func(e slack.RichTextElement) bool { return e == nil })
	if len(elements) == 0 {
		return nil
	}
	return slack.NewRichTextBlock("", elements...)
}

// line is a paragraph; nil where it would be empty.
func line(w phrase) slack.RichTextElement {
	if len(w) == 0 {
		return nil
	}
	return slack.NewRichTextSection(w...)
}

// listed is an item of a list, which must not be empty.
func listed(w phrase) slack.RichTextElement {
	if len(w) == 0 {
		w = add(w, "–", styled{})
	}
	return slack.NewRichTextSection(w...)
}

// preformatted is text that keeps its lines and spaces.
func preformatted(text string) *slack.RichTextPreformatted {
	return &slack.RichTextPreformatted{
		Type:     slack.RTEPreformatted,
		Elements: phrase{slack.NewRichTextSectionTextElement(text, nil)},
	}
}

// add appends a text, joined to the last one where that looks the same.
func add(w phrase, s string, style styled) phrase {
	if s == "" {
		return w
	}
	if len(w) > 0 {
		if last, ok := w[len(w)-1].(*slack.RichTextSectionTextElement); ok && styleOf(last) == style {
			last.Text += s
			return w
		}
	}
	if style == (styled{}) {
		return append(w, slack.NewRichTextSectionTextElement(s, nil))
	}
	return append(w, slack.NewRichTextSectionTextElement(s, &style))
}

// joined appends words to words, as add does.
func joined(w, more phrase) phrase {
	for _, e := range more {
		if t, ok := e.(*slack.RichTextSectionTextElement); ok {
			w = add(w, t.Text, styleOf(t))
			continue
		}
		w = append(w, e)
	}
	return w
}

func styleOf(t *slack.RichTextSectionTextElement) styled {
	if t.Style == nil {
		return styled{}
	}
	return *t.Style
}

// with adds up two styles.
func with(a, b styled) styled {
	return styled{Bold: a.Bold || b.Bold, Italic: a.Italic || b.Italic, Code: a.Code || b.Code}
}

// textOf is what the words say, without their looks.
func textOf(w phrase) string {
	var b strings.Builder
	for _, e := range w {
		switch e := e.(type) {
		case *slack.RichTextSectionTextElement:
			b.WriteString(e.Text)
		case *slack.RichTextSectionLinkElement:
			b.WriteString(e.Text)
		}
	}
	return b.String()
}

// richMention is mention in rich text.
func richMention(by string) slack.RichTextSectionElement {
	switch {
	case isUser(by):
		return slack.NewRichTextSectionUserElement(by, nil)
	case isGroup(by):
		return slack.NewRichTextSectionUserGroupElement(by)
	case strings.HasPrefix(by, shellBy):
		by = strings.TrimPrefix(by, shellBy) + " (shell)"
	}
	if by = cut(clean(by), 80); by == "" {
		by = "–"
	}
	return slack.NewRichTextSectionTextElement(by, nil)
}

// richMentions is mentions in rich text.
func richMentions(ids []string, limit int) phrase {
	var w phrase
	for i, id := range ids {
		if i > 0 {
			w = add(w, ", ", styled{})
		}
		if i == limit {
			return add(w, fmt.Sprintf("and %d more", len(ids)-limit), styled{})
		}
		w = joined(w, phrase{richMention(id)})
	}
	return w
}

// richDate is date in rich text.
func richDate(t time.Time) slack.RichTextSectionElement {
	if t.IsZero() || t.Unix() < 0 {
		return slack.NewRichTextSectionTextElement("unknown", nil)
	}
	fallback := t.UTC().Format("2006-01-02 15:04:05 UTC")
	return slack.NewRichTextSectionDateElement(t.Unix(), "{date_short_pretty} at {time_secs}", nil, &fallback)
}
