package bot

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"secbot/internal/chart"
	"secbot/remediation"
)

// renderScanRun makes a scan's message as the scan stands.
func renderScanRun(run *remediation.ScanRun, names Names) Message {
	if run.Report != nil {
		return renderScan(*run.Report, names)
	}
	return renderScanning(run)
}

// renderScanning shows how far a scan is.
func renderScanning(run *remediation.ScanRun) Message {
	title := "Scan under way"
	count := fmt.Sprintf("*%s* read · *%d* open · *%d* could not be read", plural(run.Read, "resource"), run.Found, run.Failed)
	if g := run.Gathered; g != nil {
		count = fmt.Sprintf("*%d* of %s done\n", g.Accounts-len(g.Waiting), plural(g.Accounts, "account")) + count
		if len(g.Sum.Refused) > 0 {
			count += "\n" + refusedText(g.Sum.Refused)
		}
	}
	blocks := []slack.Block{slack.NewHeaderBlock(plain(title, maxHeader)), section(count, "It looks at "+scopeWords(run.Scope)+" and changes nothing.")}
	if run.CancelledBy != "" {
		blocks = append(blocks, section("*Being cancelled* by "+mention(run.CancelledBy)+". What was found until then is told."))
	} else {
		blocks = append(blocks, slack.NewActionBlock("scan:running",
			slack.NewButtonBlockElement(string(remediation.VerbCancel), cut(run.ID, 200), plain("Cancel", 75))))
	}
	return Message{Text: title + ": " + fmt.Sprintf("%d read, %d open", run.Read, run.Found),
		Blocks: append(blocks, slack.NewContextBlock("", mrkdwn(scanCause(run.By)+" · began "+date(run.Started)+" · as of "+date(run.At))))}
}

// renderScan makes the summary of a scan.
func renderScan(r remediation.ScanReport, names Names) Message {
	title := "Scan finished: "
	if r.CancelledBy != "" {
		title = "Scan cancelled: "
	}
	title += fmt.Sprintf("%d open", r.Open)
	closed := 0
	for _, g := range r.Groups {
		closed += g.Closed
	}
	if closed > 0 {
		title += fmt.Sprintf(", %d of them closed since", closed)
	}
	if n := r.LetBe + r.Ignored; n > 0 {
		title += fmt.Sprintf(", %d open and let be", n)
	}
	title += ", " + plural(r.Read, "resource") + " read"
	if r.Accounts > 0 {
		title += " in " + plural(r.Accounts, "account")
	}
	if r.Unread > 0 {
		title += fmt.Sprintf(", %d not readable", r.Unread)
	}
	var m Message
	for _, d := range details() {
		blocks := []slack.Block{slack.NewHeaderBlock(plain(title, maxHeader)), section(scanSaid(r))}
		for _, g := range r.Groups {
			blocks = append(blocks, scanGroup(g, r.ID, names, d))
		}
		blocks = append(blocks, section(scanDiff(r, names, d)), section(scanLeft(r, names, d)), section(scanUnread(r, d)),
			slack.NewContextBlock("", mrkdwn(fmt.Sprintf("%s · took %s · finished %s", scanCause(r.By),
				chart.Span(r.Finished.Sub(r.Started)), date(r.Finished)))))
		m = Message{Text: title, Blocks: compact(blocks)}
		if m.size() < safeSize {
			break
		}
	}
	return m
}

func scanCause(by string) string {
	if by == remediation.ByItself {
		return "A scheduled scan, for what no event has told"
	}
	return "Asked for by " + mention(by)
}

func scopeWords(scope string) string {
	what, where, _ := strings.Cut(scope, " ")
	words := "buckets and security groups"
	switch what {
	case "s3":
		words = "buckets"
	case "sg":
		words = "security groups"
	}
	if where == "" {
		return words
	}
	if where == "org" {
		return words + " of the organisation"
	}
	return words + " of " + plural(strings.Count(where, ",")+1, "account")
}

// maxRefusedShown is how many of the accounts that refuse are named.
const maxRefusedShown = 10

// refusedText names accounts that do not let secbot in.
func refusedText(refused []string) string {
	shown := make([]string, 0, maxRefusedShown+1)
	for _, account := range refused[:min(len(refused), maxRefusedShown)] {
		shown = append(shown, code(account, 12))
	}
	if more := len(refused) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return "*Did not let secbot in:* " + strings.Join(shown, ", ")
}

func scanSaid(r remediation.ScanReport) string {
	s := ""
	if r.CancelledBy != "" {
		s = "*This is not everything:* " + mention(r.CancelledBy) + " has cancelled the scan.\n"
	}
	switch among := "among the " + scopeWords(r.Scope) + " that were read"; {
	case r.Open == 0 && r.LetBe+r.Ignored > 0:
		s += "Nothing is open " + among + " but what is let be."
	case r.Open == 0:
		s += "Nothing is open " + among + "."
	default:
		s += "What was open " + among + "."
	}
	s += " The scan has changed nothing."
	if r.Posted > 0 {
		s += fmt.Sprintf(" With a message of their own: %d.", r.Posted)
	}
	return s
}

// scanGroup is what is open for one playbook, with a button to revert it all.
func scanGroup(g remediation.ScanGroup, scan string, names Names, d detail) slack.Block {
	title := fmt.Sprintf("*%s* · %d open", escaped(names.title(g.Playbook), 60), g.Open)
	if g.Closed > 0 {
		title += fmt.Sprintf(", %d closed since", g.Closed)
	}
	lines := []string{title}
	shown := min(len(g.Findings), d.lines)
	if d == details()[len(details())-1] {
		shown = 0
	}
	for _, f := range g.Findings[:shown] {
		line := "• *" + upper(escaped(string(f.Finding.Severity), 20)) + "* · " + whereWords(f.Finding, names) + incidentPart(f.Incident)
		if f.New {
			line += " · *new*"
		}
		if f.Status != "" {
			line += " · *" + escaped(string(f.Status), 20) + "* " + date(f.At)
		}
		lines = append(lines, line)
	}
	if more := g.Open - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("• %d more: `/secbot incidents open %s`", more, escaped(g.Playbook, 60)))
	}
	block := slack.NewSectionBlock(mrkdwn(cutLines(strings.Join(lines, "\n"))), nil, nil)
	if len(g.Incidents) > 0 {
		button := slack.NewButtonBlockElement(string(remediation.VerbFixAll), fixAllValue(g.Playbook, scan), plain("Fix All…", 75))
		block.Accessory = slack.NewAccessory(button)
	}
	return block
}

// scanDiff tells what differs from the scan before.
func scanDiff(r remediation.ScanReport, names Names, d detail) string {
	diff := r.Diff
	if diff == nil {
		return ""
	}
	said := []string{fmt.Sprintf("%d new", diff.New), fmt.Sprintf("%d closed", diff.Closed)}
	if diff.Unread > 0 {
		said = append(said, fmt.Sprintf("%d that could not be looked at again", diff.Unread))
	}
	lines := []string{"*Since the scan that ended " + date(diff.Since) + ":* " + strings.Join(said, ", ")}
	if diff.Unsure && diff.New > 0 {
		lines = append(lines, "That one has not read everything, so what is new may only have been out of its sight.")
	}
	shown := min(len(diff.Gone), d.lines)
	for _, g := range diff.Gone[:shown] {
		lines = append(lines, "• closed: "+escaped(names.title(g.Playbook), 60)+" · "+nameAndID(remediation.Finding{Name: g.Name, Resource: g.Resource}, 60)+" in "+names.short(g.Resource.Account)+" "+escaped(g.Resource.Region, 30))
	}
	if more := diff.Closed - shown; more > 0 && shown > 0 {
		lines = append(lines, fmt.Sprintf("• and %d more", more))
	}
	return cutLines(strings.Join(lines, "\n"))
}

// scanLeft lists what is open and let be, which must not be taken for closed.
func scanLeft(r remediation.ScanReport, names Names, d detail) string {
	var lines []string
	shown := min(len(r.Left), d.lines)
	for _, l := range r.Left[:shown] {
		until := "for good"
		if !l.Until.IsZero() {
			until = "until " + date(l.Until)
		}
		lines = append(lines, findingLine(l.Finding, names)+incidentPart(l.Incident)+" · let be "+until+" by "+mention(l.By))
	}
	if more := r.LetBe - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("• and %d more", more))
	}
	if r.Ignored > 0 {
		lines = append(lines, fmt.Sprintf("• %d ignored by the policy", r.Ignored))
	}
	if len(lines) == 0 {
		return ""
	}
	return cutLines(strings.Join(append([]string{"*Open, and let be:*"}, lines...), "\n"))
}

func scanUnread(r remediation.ScanReport, d detail) string {
	if r.Unread == 0 {
		return ""
	}
	head := "*This is not everything.* What could not be read:"
	if len(r.Refused) > 0 {
		head = "*This is not everything.* " + refusedText(r.Refused) + "\nWhat could not be read:"
	}
	text := bullets(head, r.Failures, min(d.lines, 5), d.line)
	if more := r.Unread - len(r.Failures); more > 0 {
		text += fmt.Sprintf("\n… and %d beyond that", more)
	}
	return text
}
