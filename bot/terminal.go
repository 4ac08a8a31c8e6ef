package bot

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// Terminal gives the message as text for a terminal, its lines ended by \n: markup
// is taken away, times are in UTC, people are @ and their Slack id, and nothing is
// left that would steer the terminal. Buttons are left out, and rich text, which no answer at the shell has.
func (m Message) Terminal() string {
	var parts []string
	for _, b := range m.Blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			parts = append(parts, terminalText(b.Text))
		case *slack.SectionBlock:
			parts = append(parts, terminalText(b.Text))
			for _, f := range b.Fields {
				parts = append(parts, strings.ReplaceAll(terminalText(f), "\n", " "))
			}
		case *slack.ContextBlock:
			for _, e := range b.ContextElements.Elements {
				if t, ok := e.(*slack.TextBlockObject); ok {
					parts = append(parts, terminalText(t))
				}
			}
		}
	}
	if len(parts) == 0 {
		parts = []string{fromMrkdwn(m.Text)}
	}
	parts = without(parts, "")
	return printable(strings.Join(parts, "\n")) + "\n"
}

// replyTerminal is the answer to a command as text for a terminal.
func replyTerminal(r remediation.Reply) string {
	r.Failed = false // its sign is an emoji; the exit status says it here
	return renderReply(r).Terminal()
}

// without gives what is not s.
func without(all []string, s string) []string {
	var kept []string
	for _, v := range all {
		if v != s {
			kept = append(kept, v)
		}
	}
	return kept
}

func terminalText(t *slack.TextBlockObject) string {
	switch {
	case t == nil:
		return ""
	case t.Type == slack.PlainTextType:
		return t.Text
	}
	return fromMrkdwn(t.Text)
}

var (
	mrkdwnToken = regexp.MustCompile(`<([^<>\n]*)>`)
	mrkdwnStyle = regexp.MustCompile(`(^|[\s(·])([*_])([^*_\n]+)([*_])($|[\s.,:;)·])`)
	slashWord   = regexp.MustCompile(`(^|[\s(])/secbot\b`)
)

// fromMrkdwn takes the markup out of mrkdwn. In code spans there is none.
func fromMrkdwn(s string) string {
	spans := strings.Split(s, "`")
	for i, span := range spans {
		if i%2 == 0 {
			span = mrkdwnToken.ReplaceAllStringFunc(span, func(token string) string { return tokenText(token[1 : len(token)-1]) })
			for range 2 { // what follows one is before the next
				span = mrkdwnStyle.ReplaceAllString(span, "$1$3$5")
			}
		}
		spans[i] = slashWord.ReplaceAllString(span, "${1}secbot")
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(strings.Join(spans, ""))
}

// tokenText is what stands between < and > in mrkdwn, for people.
func tokenText(token string) string {
	target, label, labelled := strings.Cut(token, "|")
	switch {
	case strings.HasPrefix(target, "!date^"):
		return label
	case strings.HasPrefix(target, "!subteam^"):
		return "@" + strings.TrimPrefix(target, "!subteam^")
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"), !labelled:
		return target
	}
	return label + " (" + target + ")"
}

// printable replaces what does not print, but for ends of lines, so that no name can
// steer the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
