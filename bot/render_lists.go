package bot

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

const (
	// maxListed is how many incidents or findings a message lists.
	maxListed = 15
	// maxHistory is how many changes of status are shown: the newest.
	maxHistory = 15
	// maxDiff is how many characters of a diff a thread shows.
	maxDiff = 2500
)

// renderThread makes a reply in a message's thread. The diff is rich text, in
// which nothing is formatted.
func renderThread(note remediation.ThreadNote) Message {
	text := withPeople(note.Text, note.People)
	if text == "" {
		text = "More about this incident:"
	}
	m := Message{Text: cut(text, maxSection), Blocks: []slack.Block{section(text)}}
	if diff := diffText(note.Diff); diff != "" {
		m.Blocks = append(m.Blocks, slack.NewRichTextBlock("", preformatted(diff)))
	}
	return m
}

// diffText is a diff as plain text. Lines that do not fit are counted.
func diffText(diff []remediation.DiffLine) string {
	var lines []string
	for _, d := range diff {
		lines = append(lines, sign(d.Op)+" "+cut(clean(d.Text), 300))
	}
	return boundedLines(lines, maxDiff)
}

// boundedLines joins lines of limit characters in all at most. Those that do not
// fit are counted.
func boundedLines(lines []string, limit int) string {
	size := 0
	for i, line := range lines {
		if size += utf8.RuneCountInString(line); size > limit {
			return strings.Join(append(lines[:i:i], fmt.Sprintf("… and %d more lines", len(lines)-i)), "\n")
		}
	}
	return strings.Join(lines, "\n")
}

// sign is a diff line's first character.
func sign(op string) string {
	if op == "-" || op == "+" {
		return op
	}
	return " "
}

// renderReply makes the answer to one person. People named in the text become
// mentions; those that aren't named are added.
func renderReply(r remediation.Reply) Message {
	text := replyText(r)
	blocks := []slack.Block{section(text)}
	if len(r.Lines) > 0 {
		blocks = append(blocks, section(bulletsBy("", r.Lines, maxListed, func(s string) string { return withNamed(cut(clean(s), 400), r.NamedInLines) })))
	}
	if r.Incident != "" && !strings.Contains(r.Text, r.Incident) {
		blocks = append(blocks, slack.NewContextBlock("", mrkdwn("incident "+code(r.Incident, maxIDLength))))
	}
	return Message{Text: text, Blocks: blocks}
}

func replyText(r remediation.Reply) string {
	text := withPeople(r.Text, r.People)
	if text == "" {
		text = "Done."
	}
	if r.Failed {
		text = ":no_entry: " + text
	}
	return cutLines(text)
}

// withPeople escapes a text, in which people who are named by their ids become
// mentions, times are shown in the reader's zone, and those who are not named are
// added.
func withPeople(plain string, people []string) string {
	text := withNamed(plain, people)
	unnamed := slices.DeleteFunc(slices.Clone(people), func(id string) bool {
		return id == "" || id == remediation.ByItself || strings.Contains(plain, id)
	})
	if len(unnamed) > 0 {
		text += " (" + mentions(unnamed) + ")"
	}
	return strings.TrimSpace(text)
}

// withNamed is withPeople for those that are named alone.
func withNamed(plain string, people []string) string {
	text := slackID.ReplaceAllStringFunc(escaped(plain, maxSection/2), func(word string) string {
		if slices.Contains(people, word) && (isUser(word) || isGroup(word)) {
			return mention(word)
		}
		return word
	})
	return stamp.ReplaceAllStringFunc(text, func(word string) string {
		t, err := time.Parse("2006-01-02 15:04 UTC", word)
		if err != nil {
			return word
		}
		return dateOfMinute(t)
	})
}

// stamp matches times as remediation writes them.
var stamp = regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC\b`)

// slackID matches what may be a Slack id within a text.
var slackID = regexp.MustCompile(`\b[UWS][A-Z0-9]{2,31}\b`)

// renderAlert makes a message about secbot itself.
func renderAlert(a remediation.Alert) Message {
	blocks := compact([]slack.Block{slack.NewHeaderBlock(plain(a.Title, maxHeader)), section(withPeople(a.Text, a.People))})
	if a.Breaker != "" {
		b := slack.NewButtonBlockElement(string(remediation.VerbReset), a.Breaker, plain("Reset", 75)).
			WithConfirm(confirm("Reset the circuit breaker?", "secbot fixes by itself again what the policy says.", "Reset"))
		blocks = append(blocks, slack.NewActionBlock("breaker:"+cut(a.Breaker, 40), b))
	}
	if a.By != "" {
		blocks = append(blocks, slack.NewContextBlock("", mrkdwn("By "+mention(a.By))))
	}
	return Message{Text: escaped(a.Title+". "+a.Text, 300), Blocks: blocks}
}

// renderDigest makes the message that stands for those of many incidents.
func renderDigest(d remediation.Digest, names Names) Message {
	title := fmt.Sprintf("%d more incidents within a minute", d.Count)
	var lines, worst []string
	for _, l := range d.Lines {
		lines = append(lines, fmt.Sprintf("• %d × *%s* · %s · %s", l.Count, upper(escaped(string(l.Severity), 20)), escaped(names.title(l.Playbook), 60), escaped(string(l.Status), 20)))
	}
	for _, f := range d.Worst {
		worst = append(worst, findingLine(f.Finding, names)+incidentPart(f.Incident))
	}
	return Message{Text: title, Blocks: compact([]slack.Block{
		slack.NewHeaderBlock(plain(title, maxHeader)),
		section("So many that they have no message of their own, since " + date(d.From) + "."),
		section(cutLines(strings.Join(lines, "\n"))),
		section(cutLines(strings.Join(append([]string{"*Some of them:*"}, worst...), "\n"))),
		slack.NewContextBlock("", mrkdwn("All that wait: `/secbot incidents open` · an incident gets its message once somebody decides about it")),
	})}
}

func incidentPart(id string) string {
	if id == "" {
		return ""
	}
	return " · incident " + code(short(id), shortID)
}

func findingLine(f remediation.Finding, names Names) string {
	return "• *" + upper(escaped(string(f.Severity), 20)) + "* · " + escaped(names.title(f.Playbook), 60) + " · " + whereWords(f, names)
}

// whereWords tells what a finding is about, and where.
func whereWords(f remediation.Finding, names Names) string {
	return strings.TrimSpace(nameAndID(f, 60)+" in "+names.short(f.Resource.Account)+" "+escaped(f.Resource.Region, 30)) + changeWords(f)
}

// changeWords names the first of a finding's changes, and counts the others.
func changeWords(f remediation.Finding) string {
	texts := painter{view: view{inc: &remediation.Incident{}}, f: f}.changeTexts()
	if len(texts) == 0 {
		return ""
	}
	s := " · " + escaped(texts[0], 80)
	if n := len(texts) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// nameAndID gives the name and, where it isn't the name itself, the id: several
// groups may bear one name.
func nameAndID(f remediation.Finding, limit int) string {
	if f.Name == "" || f.Name == f.Resource.ID {
		return code(f.Resource.ID, limit)
	}
	return code(f.Name, limit) + " (" + code(f.Resource.ID, limit) + ")"
}

// plural counts things; many is the plural where that takes more than an s.
func plural(n int, thing string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case len(many) > 0:
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// renderIncidents lists incidents for one person; more says, in mrkdwn, what is not
// among them.
func renderIncidents(found []*remediation.Incident, names Names, more string) Message {
	if len(found) == 0 {
		return Message{Text: "No incidents.", Blocks: []slack.Block{section("No incidents.")}}
	}
	var lines []string
	for _, inc := range found {
		lines = append(lines, strings.Replace(findingLine(inc.Finding, names), "• ", "• "+code(short(inc.ID), shortID)+" *"+escaped(string(inc.Status), 20)+"* since "+date(inc.Last().At)+" · ", 1))
	}
	if more != "" {
		lines = append(lines, more)
	}
	var blocks []slack.Block
	for chunk := range slices.Chunk(lines, 6) {
		blocks = append(blocks, section(chunk...))
	}
	return Message{Text: plural(len(found), "incident"), Blocks: append(blocks,
		slack.NewContextBlock("", mrkdwn("More about one: `/secbot show ID`")))}
}

// renderShow shows one incident with its history to one person.
func renderShow(v view) Message {
	v.bare = true
	m := renderIncident(v)
	var lines []string
	history := v.inc.History
	if more := len(history) - maxHistory; more > 0 {
		lines = append(lines, fmt.Sprintf("… %d earlier", more))
		history = history[more:]
	}
	for _, t := range history {
		line := "• " + date(t.At) + " *" + escaped(string(t.To), 20) + "* by " + mention(t.By)
		if reason := reasonWords(t); reason != "" {
			line += ": " + escaped(reason, 150)
		}
		lines = append(lines, line)
	}
	m.Blocks = append(m.Blocks, compact([]slack.Block{section(append([]string{"*History*"}, lines...)...), section(commandsFor(v))})...)
	return m
}

// reasonWords says why a change of status was made. What only names the policy's rule is
// put into a sentence, as is that none fits.
func reasonWords(t remediation.Transition) string {
	switch {
	case t.By != remediation.ByItself || t.Reason == "":
		return t.Reason
	case t.From == "" && t.Reason == remediation.NoRule:
		return "found, and asked about, since no rule of the policy is about it"
	case t.From == "":
		return "found; the policy decides by " + t.Reason
	case t.To == remediation.StatusFixing && strings.HasPrefix(t.Reason, "rule "):
		return "the policy says so, by " + t.Reason
	case t.Reason == "read back":
		return "as read back from AWS"
	}
	return t.Reason
}

// commandsFor says what can be typed about an incident as it stands.
func commandsFor(v view) string {
	inc := v.inc
	if v.later != nil {
		return "*To go on:* `/secbot show " + escaped(v.later.ID, maxIDLength) + "`"
	}
	var commands []string
	add := func(verb remediation.Verb, rest string) {
		commands = append(commands, "`/secbot "+string(verb)+" "+escaped(inc.ID, maxIDLength)+rest+"`")
	}
	if inc.Request != nil {
		add(remediation.VerbApprove, "")
		add(remediation.VerbDecline, "")
		return "*To decide:* " + strings.Join(commands, " or ")
	}
	switch inc.Status {
	case remediation.StatusOpen, remediation.StatusFailed:
		add(remediation.VerbFix, "")
		add(remediation.VerbIgnore, " for 7d because …")
		if inc.Status == remediation.StatusOpen {
			add("allow", "")
		}
	case remediation.StatusAllowed:
		add(remediation.VerbFix, "")
	case remediation.StatusUndone:
		add(remediation.VerbUnignore, "")
	case remediation.StatusFixed:
		add(remediation.VerbUndo, "")
	case remediation.StatusIgnored:
		add(remediation.VerbUnignore, "")
	}
	if len(commands) == 0 {
		return ""
	}
	return "*To decide:* " + strings.Join(commands, " or ")
}
