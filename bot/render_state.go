package bot

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// head is what differs from status to status.
type head struct {
	title   string // the header, plain
	said    string // the first sentence, mrkdwn
	buttons []slack.BlockElement
}

func (p painter) head() head {
	h := p.standing()
	if r := p.inc.Request; r != nil {
		h.title, h.said, h.buttons = "Approval needed: "+h.title, p.requestedBy(*r), p.approval(*r)
	}
	return h
}

// requestedBy says what waits for whose approval.
func (p painter) requestedBy(r remediation.Request) string {
	s := "*" + mention(r.By) + " asks to " + escaped(r.Words(), 200) + ".* "
	if len(r.Approved) == 0 {
		s += "It needs " + plural(r.Needed, "approval") + " of others; there is none yet."
	} else {
		s += fmt.Sprintf("It has %d of %s of others, by %s.", len(r.Approved), plural(r.Needed, "approval"), approvers(r.Approved))
	}
	if r.Reason != "" {
		s += " Reason: " + escaped(r.Reason, p.d.text)
	}
	return s + " Nothing is changed until then."
}

func approvers(given []remediation.Approval) string {
	var people []string
	for _, a := range given {
		people = append(people, a.By)
	}
	return mentions(people)
}

// scopeText says how far an ignore reaches, where that is further than what the
// message is about.
func scopeText(s remediation.Scope) string {
	switch s {
	case remediation.ScopeResource:
		return ", and whatever else is found on this resource"
	case remediation.ScopePlaybook:
		return ", and all of this kind in this account"
	case remediation.ScopeAccount:
		return ", and whatever else is found in this account"
	}
	return ""
}

func (p painter) approval(r remediation.Request) []slack.BlockElement {
	approve := p.button(remediation.VerbApprove, "Approve").WithStyle(slack.StylePrimary)
	text := upper(r.Words()) + "?"
	switch r.Verb {
	case remediation.VerbFix, remediation.VerbRetry:
		text += " " + p.meta.Labels.Confirm
	case remediation.VerbUndo:
		text += " " + p.meta.Labels.Undo
	}
	approve.WithConfirm(confirm("Approve this?", text+" Concerned: "+p.plainChanges(), "Approve"))
	return []slack.BlockElement{approve, p.button(remediation.VerbDecline, "Decline")}
}

// standing is what differs by the status alone.
func (p painter) standing() head {
	switch p.inc.Status {
	case remediation.StatusOpen:
		return p.open()
	case remediation.StatusFixing:
		return p.fixing()
	case remediation.StatusFixed:
		return p.fixed()
	case remediation.StatusUndoing:
		return head{title: "Undoing: " + p.named(p.meta.Labels.Fixed), said: "*Putting it back…* requested by " + p.by() + "."}
	case remediation.StatusUndone:
		h := head{title: "Undone: " + p.named(p.meta.Labels.Fixed), said: p.undone()}
		if p.until != nil {
			h.buttons = []slack.BlockElement{p.button(remediation.VerbUnignore, "Ask Again")}
		}
		return h
	case remediation.StatusFailed:
		return p.failed()
	}
	return p.settled()
}

func (p painter) settled() head {
	asked := p.named(p.meta.Labels.Ask)
	switch p.inc.Status {
	case remediation.StatusIgnored:
		return head{title: "Ignored: " + asked, said: p.ignored(), buttons: []slack.BlockElement{p.button(remediation.VerbUnignore, "Un-ignore")}}
	case remediation.StatusAllowed:
		return p.allowed(asked)
	case remediation.StatusResolved:
		return head{title: "Already safe: " + asked, said: "*Nothing was changed:* " + escaped(p.inc.Last().Reason, p.d.text) + "."}
	case remediation.StatusExpired:
		return head{title: "Expired: " + asked, said: "*" + upper(escaped(cmp.Or(p.inc.Last().Reason, "nobody decided in time; nothing was changed"), p.d.text)) + ".*"}
	}
	return head{title: asked, said: "This incident is " + escaped(string(p.inc.Status), 20) + "."}
}

// open is the question, or only the news where nobody is asked.
func (p painter) open() head {
	h := head{title: p.named(p.meta.Labels.Ask), said: "*It waits for a decision;* secbot has changed nothing."}
	if p.inc.Decision.Action == remediation.ActionNotify {
		h.said = "For your information only: secbot has changed nothing and asks nobody."
		if p.inc.Run != nil {
			h.said = "*secbot can't take it back itself,* and leaves it to a state machine; nobody is asked."
		}
		return h
	}
	if p.inc.Last().From == remediation.StatusIgnored {
		h.said = "*Open again:* " + p.by() + " took the ignore back. It waits for a decision; secbot has changed nothing."
		if p.inc.Last().By == remediation.ByItself {
			h.said = "*Open again:* the ignore has run out. It waits for a decision; secbot has changed nothing."
		}
	}
	if n := p.inc.Decision.Approvals; n > 0 {
		h.said += " Whatever you choose is only asked for: it takes " + plural(n, "approval") + " of others."
	}
	h.buttons = []slack.BlockElement{p.revert("Revert Change").WithStyle(slack.StyleDanger), p.allow(), p.button(remediation.VerbIgnore, "Ignore…")}
	return h
}

// allowed is for what is left open for a while.
func (p painter) allowed(asked string) head {
	said := "*Allowed* by " + p.by() + p.approvedBy(p.inc.Last())
	if !p.inc.Until.IsZero() {
		said += " until " + date(p.inc.Until)
	}
	if reason := p.inc.Last().Reason; reason != "" {
		said += " (" + escaped(reason, p.d.text) + ")"
	}
	return head{title: "Allowed for a while: " + asked, said: said + ". Then secbot reverts it by itself.",
		buttons: []slack.BlockElement{p.revert("Revert Now")}}
}

// allow leaves it for a while.
func (p painter) allow() slack.BlockElement {
	hours := int(remediation.AllowFor.Hours())
	return p.button(remediation.VerbAllow, fmt.Sprintf("Allow for %d h", hours)).
		WithConfirm(confirm(fmt.Sprintf("Allow this for %d hours?", hours), "It stays as it is until then; after that secbot reverts it by itself, without asking again. Concerned: "+p.plainChanges(), "Allow"))
}

// approvedBy names those who have approved a decision, where that was needed.
func (p painter) approvedBy(t remediation.Transition) string {
	if len(t.Approved) == 0 {
		return ""
	}
	return ", approved by " + mentions(t.Approved) + ","
}

func (p painter) fixing() head {
	h := head{title: p.named(p.meta.Labels.Ask)}
	switch {
	case p.inc.Last().By == remediation.ByItself && p.closes():
		h.said = "*Closing it…*"
	case p.inc.Last().By == remediation.ByItself:
		h.said = "*Putting it back…*"
	case p.inc.Last().From == remediation.StatusFailed:
		h.said = "*Trying again…* requested by " + p.by() + "."
	default:
		h.said = "*Reverting…* requested by " + p.by() + "."
	}
	return h
}

func (p painter) fixed() head {
	h := head{title: p.named(p.meta.Labels.Fixed), said: "*" + escaped(cmp.Or(p.meta.Labels.Did, "Closed"), 40) + " automatically*, and read back from AWS."}
	if t := p.lastTo(remediation.StatusFixing); t.From == remediation.StatusAllowed && t.By == remediation.ByItself {
		h.said = "*Reverted:* the time for which " + mention(p.lastTo(remediation.StatusAllowed).By) + " had allowed it is over. Read back from AWS."
	} else if t.By != remediation.ByItself && t.By != "" {
		h.said = "*Reverted* at the request of " + mention(t.By) + p.approvedBy(t) + " and read back from AWS."
	}
	if p.undoable() {
		h.buttons = []slack.BlockElement{p.undo()}
	}
	return h
}

func (p painter) undone() string {
	t := p.lastTo(remediation.StatusUndoing)
	again := "*It is as before the fix again:* "
	if p.closes() {
		again = "*It is open again:* "
	}
	if p.until == nil {
		again = "*It was as before the fix for a while:* "
	}
	s := again + "the fix was taken back at the request of " + mention(t.By) + p.approvedBy(t) + " and read back from AWS."
	if p.until == nil {
		return s + "\n" + p.afterwards()
	}
	return s + "\nThe same change is left alone" + p.untilText() + ", and neither told nor fixed until then."
}

// afterwards says what came of a change that is let be no more.
func (p painter) afterwards() string {
	if p.later == nil {
		return "That the same change is let be is over: if it comes again, it is told."
	}
	incident := "incident " + code(p.later.ID, maxIDLength)
	if p.link != "" {
		incident = "<" + slackEscaped(p.link) + "|incident " + escaped(p.later.ID, maxIDLength) + ">" // Slack formats no label
	}
	return "That the same change is let be is over: " + incident + " tells of it now."
}

func (p painter) failed() head {
	h := head{title: "Not closed: " + p.named(p.meta.Labels.Ask), said: "*It did not work.*"}
	if p.inc.Last().From == remediation.StatusUndoing {
		h.title = "Undo failed: " + p.named(p.meta.Labels.Fixed)
	}
	retry := p.button(remediation.VerbRetry, "Retry")
	retry.WithStyle(slack.StylePrimary)
	h.buttons = []slack.BlockElement{retry, p.button(remediation.VerbIgnore, "Ignore…")}
	return h
}

func (p painter) ignored() string {
	s := "*Ignored* by " + p.by() + p.approvedBy(p.inc.Last()) + p.untilText() + scopeText(p.scope) + "."
	if reason := p.inc.Last().Reason; reason != "" {
		s += " Reason: " + escaped(reason, p.d.text)
	}
	return s
}

func (p painter) untilText() string {
	switch {
	case p.until == nil:
		return ""
	case p.until.IsZero():
		return " for good"
	}
	return " until " + date(*p.until)
}

// by is who made the last change of status.
func (p painter) by() string { return mention(p.inc.Last().By) }

// requested is who last moved the incident to a status.
func (p painter) requested(to remediation.Status) string { return p.lastTo(to).By }

// lastTo is the last change to a status; the zero one where there was none.
func (p painter) lastTo(to remediation.Status) remediation.Transition {
	for i := len(p.inc.History) - 1; i >= 0; i-- {
		if p.inc.History[i].To == to {
			return p.inc.History[i]
		}
	}
	return remediation.Transition{}
}

func (p painter) undoable() bool {
	return p.meta.Undoable && p.inc.Plan != nil && len(p.inc.Outcomes) > 0
}

// button is an unstyled button whose value is the incident's id.
func (p painter) button(verb remediation.Verb, label string) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(string(verb), p.inc.ID, plain(label, 75))
}

// revert takes something away from whoever made the change, so it is asked twice.
func (p painter) revert(label string) *slack.ButtonBlockElement {
	b := p.button(remediation.VerbFix, label)
	text := p.meta.Labels.Confirm
	if text == "" {
		text = "This reverts the change of " + p.name() + "."
	}
	about := " Concerned: "
	if !p.closes() && p.f.IsOpen(remediation.OpenWorld, remediation.OpenWide) {
		about = " It opens again: "
	}
	if p.f.Doubt != "" {
		text += " Mind: " + cut(clean(p.f.Doubt), 120) + "."
	}
	return b.WithConfirm(confirm("Revert this change?", text+about+p.plainChanges()+p.wasText(), label))
}

// wasText names the values that come back where rules were modified.
func (p painter) wasText() string {
	var was []string
	for _, r := range p.f.Was[:min(len(p.f.Was), maxPlainChanges)] {
		was = append(was, cut(clean(r.String()), 60))
	}
	if len(was) == 0 {
		return ""
	}
	return " It becomes again: " + strings.Join(was, "; ") + "."
}

func (p painter) undo() slack.BlockElement {
	text := p.meta.Labels.Undo
	if text == "" {
		text = "This puts back what was there before."
	}
	about := " Concerned: "
	if p.closes() {
		about = " It opens again: "
	}
	about += p.plainChanges()
	if len(p.f.Rules)+len(p.f.Grants)+len(p.f.Statements) == 0 {
		about = " Concerned: " + p.name() + "."
	}
	if r := p.inc.Run; r != nil && r.Execution != "" {
		about += " What state machine " + cut(clean(r.Machine), 40) + " has done stays."
	}
	return p.button(remediation.VerbUndo, "Undo Fix").
		WithConfirm(confirm("Undo the fix?", text+about+" The same change is then left alone for 24 hours.", "Undo Fix"))
}

func confirm(title, text, yes string) *slack.ConfirmationBlockObject {
	return slack.NewConfirmationBlockObject(plain(title, 100), plain(text, maxConfirm), plain(yes, 30), plain("Cancel", 30))
}
