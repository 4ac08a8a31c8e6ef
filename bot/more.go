package bot

import (
	"context"

	"github.com/slack-go/slack"

	"secbot/docs"
	"secbot/remediation"
)

// The menu of what there is to read about an incident. Its element has no value
// of its own, so each option's is what to show and the incident's id.
const (
	actionMore     = "more"
	choiceRunbook  = "runbook"
	choiceEvidence = "evidence"
)

// more is the menu; none where the playbook is not known.
func (p painter) more() []slack.BlockElement {
	if _, ok := docs.Runbook(p.f.Playbook); !ok {
		return nil
	}
	option := func(choice, label string) *slack.OptionBlockObject {
		return slack.NewOptionBlockObject(choice+":"+p.inc.ID, plain(label, 75), nil)
	}
	return []slack.BlockElement{slack.NewOverflowBlockElement(actionMore,
		option(choiceRunbook, "Show Runbook"), option(choiceEvidence, "Show Evidence"))}
}

// more opens what somebody has chosen in the menu. Nothing is changed by it, so
// everybody in the workspace may. The trigger lives for 3 s, so the modal is
// opened before the click is acknowledged.
func (h *Handler) more(ctx context.Context, c click) {
	show := h.runbook
	switch {
	case c.choice != choiceRunbook && c.choice != choiceEvidence:
		h.tell(ctx, c.reply, words("This secbot does not know the choice %s, so there is nothing to show. It may be of another version.", code(c.choice, 60)))
		return
	case !isIncidentID(c.incident):
		h.tell(ctx, c.reply, words("The menu names no incident, so there is nothing to show. See what there is with `/secbot incidents`."))
		return
	case c.choice == choiceEvidence:
		show = h.evidence
	}
	reading, cancel := context.WithTimeout(ctx, storeWithin/2)
	inc, err := h.Store.Incident(reading, c.incident)
	cancel()
	if err != nil {
		h.tell(ctx, c.reply, h.notRead(c.incident, err))
		return
	}
	modal, instead := show(inc)
	if modal == nil {
		h.tell(ctx, c.reply, instead)
		return
	}
	h.open(ctx, c, *modal, nil, instead)
}

// runbook is the page of the incident's playbook, with its resource in the commands, and what to say where it can't
// be shown.
func (h *Handler) runbook(inc *remediation.Incident) (*slack.ModalViewRequest, Message) {
	playbook := inc.Finding.Playbook
	page, ok := runbookBlocks(playbook, &inc.Finding.Resource)
	if !ok {
		return nil, words("This secbot has no runbook of the playbook %s. It may be of another version.", code(playbook, 60))
	}
	modal := runbookModal(playbook, page)
	return &modal, words("Slack did not open the runbook. Choose it again, or read `docs/runbooks/%s.md` in secbot's repository.", escaped(playbook, 60))
}

// evidence is what is known of the incident, and what to say where it can't be
// shown.
func (h *Handler) evidence(inc *remediation.Incident) (*slack.ModalViewRequest, Message) {
	modal := evidenceModal(view{inc: inc, meta: h.Names.meta(inc.Finding.Playbook), names: h.Names})
	return &modal, words("Slack did not open the evidence. Choose it again, or type `/secbot show %s`.", escaped(inc.ID, maxIDLength))
}
