package bot

import (
	"cmp"

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
		return head{title: "Undone: " + p.named(p.meta.Labels.Fixed), said: p.undone()}
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
		return head{title: "Allowed for a while: " + asked, said: "*Allowed* by " + p.by() + p.untilText() + "."}
	case remediation.StatusResolved:
		return head{title: "Already safe: " + asked, said: "*Nothing was changed:* " + escaped(p.inc.Last().Reason, p.d.text) + "."}
	case remediation.StatusExpired:
		return head{title: "Expired: " + asked, said: "*Nobody decided* in time; nothing was changed."}
	}
	return head{title: asked, said: "This incident is " + escaped(string(p.inc.Status), 20) + "."}
}

// open is the question, or only the news where nobody is asked.
func (p painter) open() head {
	h := head{title: p.named(p.meta.Labels.Ask), said: "*It waits for a decision;* secbot has changed nothing."}
	if p.inc.Decision.Action == remediation.ActionNotify {
		h.said = "For your information only: secbot has changed nothing and asks nobody."
		return h
	}
	if p.inc.Last().From == remediation.StatusIgnored {
		h.said = "*Open again:* " + p.by() + " took the ignore back. It waits for a decision; secbot has changed nothing."
	}
	h.buttons = []slack.BlockElement{p.revert(), p.button(remediation.VerbIgnore, "Ignore…")}
	return h
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
	if by := p.requested(remediation.StatusFixing); by != remediation.ByItself && by != "" {
		h.said = "*Reverted* at the request of " + mention(by) + ", and read back from AWS."
	}
	if p.undoable() {
		h.buttons = []slack.BlockElement{p.undo()}
	}
	return h
}

func (p painter) undone() string {
	s := "*The fix was taken back* at the request of " + mention(p.requested(remediation.StatusUndoing)) + ", and what was there before is back."
	if p.until != nil {
		s += "\nThe same change is left alone" + p.untilText() + "."
	}
	return s
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
	s := "*Ignored* by " + p.by() + p.untilText() + "."
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
func (p painter) requested(to remediation.Status) string {
	for i := len(p.inc.History) - 1; i >= 0; i-- {
		if p.inc.History[i].To == to {
			return p.inc.History[i].By
		}
	}
	return ""
}

func (p painter) undoable() bool {
	return p.meta.Undoable && p.inc.Plan != nil && len(p.inc.Outcomes) > 0
}

// button is an unstyled button whose value is the incident's id.
func (p painter) button(verb remediation.Verb, label string) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(string(verb), p.inc.ID, plain(label, 75))
}

// revert takes something away from whoever made the change, so it is asked twice.
func (p painter) revert() slack.BlockElement {
	b := p.button(remediation.VerbFix, "Revert Change").WithStyle(slack.StyleDanger)
	text := p.meta.Labels.Confirm
	if text == "" {
		text = "This reverts the change of " + p.name() + "."
	}
	return b.WithConfirm(confirm("Revert this change?", text+" Concerned: "+p.plainChanges(), "Revert Change"))
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
	return p.button(remediation.VerbUndo, "Undo Fix").
		WithConfirm(confirm("Undo the fix?", text+about+p.plainChanges(), "Undo Fix"))
}

func confirm(title, text, yes string) *slack.ConfirmationBlockObject {
	return slack.NewConfirmationBlockObject(plain(title, 100), plain(text, maxConfirm), plain(yes, 30), plain("Cancel", 30))
}
