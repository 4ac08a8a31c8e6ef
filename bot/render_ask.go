package bot

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/slack-go/slack"

	"secbot/remediation"
)

// ask shows a state machine's question as it stands now.
func (n *Notifier) ask(ctx context.Context, notice remediation.Notice) error {
	a, err := remediation.ReadAsk(ctx, n.Store, strings.TrimPrefix(notice.Incident, remediation.AskMessage("")))
	if errors.Is(err, remediation.ErrNotFound) {
		return fmt.Errorf("%w: %w", remediation.ErrUndeliverable, err)
	}
	if err != nil {
		return err
	}
	ref, err := n.reference(ctx, notice, a.Channel)
	if err != nil {
		return err
	}
	return n.show(ctx, ref, renderAsk(a, n.Names))
}

// renderAsk makes the message of a state machine's question as it stands now.
func renderAsk(a *remediation.Ask, names Names) Message {
	title, said := askHead(a)
	blocks := []slack.Block{
		slack.NewHeaderBlock(plain(title, maxHeader)),
		section(said),
		section(quoted(a.Text)),
		slack.NewSectionBlock(nil, askFields(a, names), nil),
	}
	if buttons := askButtons(a); len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock(askBlockID(a), buttons...))
	}
	return Message{Text: cut(escaped(title, 200)+" (state machine "+escaped(a.Machine, 80)+")", maxFallback),
		Blocks: append(compact(blocks), slack.NewContextBlock("", mrkdwn(askContext(a))))}
}

// askHead is what differs from state to state: the header, plain, and the first
// sentence.
func askHead(a *remediation.Ask) (title, said string) {
	who := "State machine " + bold(a.Machine)
	asked := cut(clean(a.Title), 100)
	switch a.Status {
	case remediation.AskWaiting:
		return "Approval needed: " + asked, who + " asks for an approval, and waits."
	case remediation.AskSending:
		return upper(string(a.Decision)) + ": " + asked, "*" + upper(askDecided(a)) + ".* State machine " + bold(a.Machine) + " is being told…"
	case remediation.AskAnswered:
		return upper(string(a.Decision)) + ": " + asked, "*" + upper(askDecided(a)) + ".* State machine " + bold(a.Machine) + " has taken it."
	case remediation.AskFailed:
		return "Not told: " + asked, "*" + upper(askDecided(a)) + ", and state machine " + escaped(a.Machine, 80) + " could not be told:* " + escaped(a.Error, 500) + "\nWhere it still waits, decide again once that is mended."
	}
	return "Too late: " + asked, "*" + upper(askDecided(a)) + ", and it came to nothing:* " + escaped(a.Error, 500) + "."
}

// askDecided says what was decided by whom.
func askDecided(a *remediation.Ask) string {
	if a.Decision == remediation.AskExpired {
		return "nobody has decided in time, so it counts as not approved"
	}
	return string(a.Decision) + " by " + mention(a.By)
}

// quoted sets text from outside apart from secbot's own.
func quoted(text string) string {
	if strings.TrimSpace(text) == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	var out []string
	for _, line := range lines[:min(len(lines), maxQuoted)] {
		out = append(out, "> "+escaped(line, 500))
	}
	if more := len(lines) - maxQuoted; more > 0 {
		out = append(out, fmt.Sprintf("> and %s more", plural(more, "line")))
	}
	return strings.Join(out, "\n")
}

// maxQuoted is how many lines of a state machine's text are shown.
const maxQuoted = 20

func bold(s string) string { return "*" + escaped(s, 80) + "*" }

func askFields(a *remediation.Ask, names Names) []*slack.TextBlockObject {
	facts := []*slack.TextBlockObject{mrkdwn("*Execution*\n" + executionLink(a.Execution))}
	if of, err := arn.Parse(a.Execution); err == nil {
		facts = append(facts, mrkdwn("*Account*\n"+names.account(of.AccountID)), mrkdwn("*Region*\n"+code(of.Region, 30)))
	}
	return append(facts, mrkdwn("*Asked*\n"+date(a.At)))
}

// executionLink names an execution and leads to it in AWS's console.
func executionLink(execution string) string {
	name := execution[strings.LastIndexByte(execution, ':')+1:]
	of, err := arn.Parse(execution)
	if err != nil {
		return code(name, 80)
	}
	return "<" + slackEscaped(consoleURL(of)) + "|" + strings.ReplaceAll(escaped(name, 80), "|", "-") + ">"
}

// consoleURL is where an execution stands in the console of its partition.
func consoleURL(of arn.ARN) string {
	host := "console.aws.amazon.com"
	switch of.Partition {
	case "aws-cn":
		host = "console.amazonaws.cn"
	case "aws-us-gov":
		host = "console.amazonaws-us-gov.com"
	}
	return "https://" + host + "/states/home?region=" + url.QueryEscape(of.Region) + "#/v2/executions/details/" + url.PathEscape(of.String())
}

func askButtons(a *remediation.Ask) []slack.BlockElement {
	if a.Status != remediation.AskWaiting && a.Status != remediation.AskFailed {
		return nil
	}
	button := func(verb remediation.Verb, label, text string) *slack.ButtonBlockElement {
		return slack.NewButtonBlockElement(string(verb), a.ID, plain(label, 75)).
			WithConfirm(confirm(label+" this?", cut(clean(a.Title), 100)+" "+text, label))
	}
	return []slack.BlockElement{
		button(remediation.VerbTaskYes, "Approve", "The state machine goes on, which can't be taken back here.").WithStyle(slack.StylePrimary),
		button(remediation.VerbTaskNo, "Deny", "The state machine's task fails with the error Denied."),
	}
}

// askBlockID marks the buttons of one state of a question's message.
func askBlockID(a *remediation.Ask) string { return fmt.Sprintf("ask:%s:s%d", a.ID, a.State) }

func askContext(a *remediation.Ask) string {
	parts := []string{"question " + code(a.ID, maxIDLength)}
	switch {
	case a.Status != remediation.AskWaiting && a.Status != remediation.AskFailed:
		parts = append(parts, upper(escaped(string(a.Decision), 20))+" "+date(a.DecidedAt))
	case len(a.Approvers) == 0:
		parts = append(parts, "Nobody may decide yet: name people in `responders` of secbot.yaml, or `approvers` of the state machine")
	default:
		parts = append(parts, "Only they can decide: "+mentions(a.Approvers)+" · expires "+date(a.Until))
	}
	return strings.Join(parts, " · ")
}

// run tells of the state machine that was started for the incident.
func (p painter) run() string {
	r := p.inc.Run
	if r == nil {
		return ""
	}
	at := ""
	if r.Execution != "" {
		at = " · " + executionLink(r.Execution)
	}
	switch r.Status {
	case remediation.RunStarting:
		return "*State machine:* " + bold(r.Machine) + " is being started…"
	case remediation.RunRunning:
		return "*State machine:* " + bold(r.Machine) + " runs since " + date(r.StartedAt) + at
	case remediation.RunSucceeded:
		return "*State machine:* " + bold(r.Machine) + " has succeeded " + date(r.EndedAt) + at + p.afterRun()
	case remediation.RunRefused:
		return "*State machine " + escaped(r.Machine, 80) + " was not started:* " + escaped(r.Error, p.d.text)
	case remediation.RunLate:
		return "*State machine " + escaped(r.Machine, 80) + " is not waited for any more:* " + escaped(r.Error, p.d.text) + at
	}
	return "*State machine " + escaped(r.Machine, 80) + " has failed* " + date(r.EndedAt) + ": " + escaped(r.Error, p.d.text) + at
}

// afterRun keeps a success apart from what nobody has read back.
func (p painter) afterRun() string {
	if p.inc.Status != remediation.StatusOpen {
		return ""
	}
	return "\nWhether the resource is safe by now secbot looks at a minute later."
}
