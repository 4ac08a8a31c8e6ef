package bot

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"
)

// Slack's limits in characters, with some room left.
const (
	maxHeader    = 150
	maxConfirm   = 300
	maxFallback  = 3000
	maxSection   = 2900
	maxField     = 400
	maxIDLength  = 64  // of an incident's id
	maxReason    = 500 // of a person's reason
	ellipsis     = "…"
	shellBy      = "shell:"
	unknownActor = "Somebody unknown"
	foundByScan  = "found by a scan"
)

// clean makes text from outside fit for one line: what is not UTF-8 and what
// does not print becomes a space, and runs of spaces become one.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// isClean knows most of the text that clean would not change: printable ASCII.
func isClean(s string) bool {
	before := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || c == ' ' && before == ' ' {
			return false
		}
		before = c
	}
	return s == "" || before != ' '
}

// visible keeps text from outside as it is, its spaces too, and writes what does
// not print as JSON would. It is for code, which Slack does not format.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}

// cut shortens s to n characters at most.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + ellipsis
}

// escaped makes text from outside safe for mrkdwn, on one line and with n
// characters at most. It is cut before it is escaped, so that no entity is.
func escaped(s string, n int) string {
	s = clean(s)
	for limit := n; ; limit = limit * 3 / 4 {
		if e := slackutilsx.EscapeMessage(cut(s, limit)); utf8.RuneCountInString(e) <= n || limit < 8 {
			return e
		}
	}
}

// slackEscaped makes an address safe to stand in a link.
func slackEscaped(link string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;", " ", "%20").Replace(clean(link))
}

// code is text from outside in a code span, from which it can't break out.
func code(s string, n int) string {
	s = escaped(strings.ReplaceAll(s, "`", "'"), n)
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

// mrkdwn is a text object that Slack formats but does not search for links,
// channels and names, since what looks like one came from outside.
func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}

// plain is a text object that Slack shows as it is, of n characters at most.
func plain(s string, n int) *slack.TextBlockObject {
	s = cut(clean(s), n)
	if s == "" {
		s = "–"
	}
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

// isUser and isGroup know well-formed Slack ids.
func isUser(id string) bool    { return isSlackID(id, "UW") }
func isGroup(id string) bool   { return isSlackID(id, "S") }
func isChannel(id string) bool { return isSlackID(id, "CG") }

func isSlackID(id, first string) bool {
	if len(id) < 3 || len(id) > 32 || !strings.ContainsRune(first, rune(id[0])) {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// mention shows who somebody is: a Slack user, group or channel as a mention, somebody
// at the shell by name, anything else escaped.
func mention(by string) string {
	switch {
	case isUser(by):
		return "<@" + by + ">"
	case isChannel(by):
		return "<#" + by + ">"
	case isGroup(by):
		return "<!subteam^" + by + ">"
	case strings.HasPrefix(by, shellBy):
		return escaped(strings.TrimPrefix(by, shellBy), 60) + " (shell)"
	}
	return escaped(by, 80)
}

// mentions lists people, maxNamed of them at most.
func mentions(ids []string) string {
	var out []string
	for i, id := range ids {
		if i == maxNamed {
			out = append(out, fmt.Sprintf("and %d more", len(ids)-maxNamed))
			break
		}
		out = append(out, mention(id))
	}
	return strings.Join(out, ", ")
}

// date shows a time in the reader's own time zone.
func date(t time.Time) string {
	if t.IsZero() || t.Unix() < 0 {
		return "unknown"
	}
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time_secs}|%s>", t.Unix(), t.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// dateOfMinute is date for a time that was cut to minutes.
func dateOfMinute(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time}|%s>", t.Unix(), t.UTC().Format("2006-01-02 15:04 UTC"))
}

// upper gives s with its first letter in upper case.
func upper(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[size:]
}
