package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/internal/chart"
	"secbot/remediation"
)

const (
	// statsRead is how many incidents are looked through while somebody waits.
	statsRead = 2000
	// statsReadWithin bounds the time of that.
	statsReadWithin = 900 * time.Millisecond
)

// stats answers with the numbers at once and has the picture sent.
func (h *Handler) stats(ctx context.Context, cmd remediation.Command) Message {
	reading, cancel := context.WithTimeout(ctx, statsReadWithin)
	defer cancel()
	s, err := remediation.ReadStats(reading, h.Store, h.now(), statsRead)
	if err != nil {
		return h.notRead("", err)
	}
	picture := "The picture comes in a direct message."
	if h.submit(ctx, cmd) != nil {
		picture = "Your wish for the picture could not be stored; try again in a while."
	}
	return renderStats(s, h.Names, picture)
}

// renderStats makes a message of the numbers. picture says what becomes of the
// picture.
func renderStats(s remediation.Stats, names Names, picture string) Message {
	title := statsTitle(s)
	lines := statsLines(s, names)
	blocks := []slack.Block{slack.NewHeaderBlock(plain(title, maxHeader)), section(lines...), section(statsWaiting(s, names)...)}
	said := "As of " + date(s.To)
	if picture != "" {
		said += " · " + picture
	}
	return Message{Text: title, Blocks: append(compact(blocks), slack.NewContextBlock("", mrkdwn(said)))}
}

// statsComment is what stands over the picture: the numbers as mrkdwn.
func statsComment(s remediation.Stats, names Names) string {
	lines := append([]string{"*" + statsTitle(s) + "*"}, statsLines(s, names)...)
	return cutLines(strings.Join(append(lines, statsWaiting(s, names)...), "\n"))
}

func statsTitle(s remediation.Stats) string {
	return fmt.Sprintf("%s in %d days", plural(s.Found, "finding"), remediation.StatsDays)
}

// statsLines are the numbers, a line for each question.
func statsLines(s remediation.Stats, names Names) []string {
	var lines []string
	add := func(title, text string) {
		if text != "" {
			lines = append(lines, "*"+title+"* "+text)
		}
	}
	add("Severity:", severitiesText(s.Days))
	add("What became of them:", fatesText(s.Fates))
	add("From the change in AWS to its fix:", mitigationText(s.Mitigated))
	add("Most of:", countsText(s.Playbooks, func(id string) string { return escaped(names.title(id), 60) }))
	add("Most in:", countsText(s.Accounts, names.account))
	if s.More {
		lines = append(lines, fmt.Sprintf("_There were more: only the newest %d were looked through._", s.Found))
	}
	return lines
}

// severitiesText counts by severity, the worst first.
func severitiesText(days []remediation.StatsSpan) string {
	var said []string
	all := remediation.Severities()
	for i := len(all) - 1; i >= 0; i-- {
		n := 0
		for _, d := range days {
			n += d.Found[all[i]]
		}
		if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, all[i]))
		}
	}
	return strings.Join(said, ", ")
}

func fatesText(fates map[remediation.Fate]int) string {
	var said []string
	for _, f := range remediation.Fates() {
		if n := fates[f]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, fateText(f)))
		}
	}
	return strings.Join(said, ", ")
}

func fateText(f remediation.Fate) string {
	switch f {
	case remediation.FateAuto:
		return "fixed by secbot itself"
	case remediation.FateReverted:
		return "reverted at somebody's request"
	case remediation.FateUndone:
		return "fixed and put back"
	case remediation.FateAllowed:
		return "allowed for a while"
	case remediation.FateResolved:
		return "closed without secbot"
	case remediation.FateExpired:
		return "decided by nobody in time"
	case remediation.FateFailed:
		return "not fixed, for an error"
	case remediation.FateWaiting:
		return "waiting"
	case remediation.FateTold:
		return "only told"
	}
	return escaped(string(f), 40)
}

func mitigationText(m remediation.Mitigation) string {
	if m.Count == 0 {
		return "nothing was fixed."
	}
	if m.Count == 1 {
		return "the one fix took " + chart.Span(m.Median) + "."
	}
	return fmt.Sprintf("half of %d fixes within %s, nine of ten within %s.", m.Count, chart.Span(m.Median), chart.Span(m.P90))
}

func countsText(counts []remediation.StatsCount, name func(string) string) string {
	var said []string
	for _, c := range counts {
		said = append(said, fmt.Sprintf("%s %d", name(c.Name), c.Count))
	}
	return strings.Join(said, " · ")
}

// statsWaiting tells what waits, and since when.
func statsWaiting(s remediation.Stats, names Names) []string {
	if s.Waits == 0 {
		return []string{"*Nothing waits for a decision.*"}
	}
	count := fmt.Sprint(s.Waits)
	if s.MoreWait {
		count += " or more"
	}
	lines := []string{fmt.Sprintf("*Waiting for a decision:* %s, the oldest since %s (%s)", count, date(s.Oldest), chart.Span(max(0, s.To.Sub(s.Oldest))))}
	for _, w := range s.Waiting {
		f := remediation.Finding{Playbook: w.Playbook, Severity: w.Severity, Resource: w.Resource, Name: w.Name}
		lines = append(lines, findingLine(f, names)+" · since "+date(w.Since)+incidentPart(w.Incident))
	}
	if more := s.Waits - len(s.Waiting); more > 0 {
		lines = append(lines, fmt.Sprintf("• and %d more: `/secbot incidents open failed`", more))
	}
	return lines
}
