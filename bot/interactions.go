package bot

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// interactions takes clicks and submitted modals over HTTP.
func (h *Handler) interactions(w http.ResponseWriter, r *http.Request) {
	ic, err := slack.InteractionCallbackParse(r)
	if err != nil {
		notTaken(http.StatusBadRequest, "the form field payload holds no interaction of Slack's: "+err.Error()).write(w)
		return
	}
	h.interaction(r.Context(), &ic).write(w)
}

// interaction takes clicks and submitted modals.
func (h *Handler) interaction(ctx context.Context, ic *slack.InteractionCallback) ack {
	switch ic.Type {
	case slack.InteractionTypeBlockActions:
		return h.clicked(ctx, ic)
	case slack.InteractionTypeViewSubmission:
		return h.submitted(ctx, ic)
	}
	h.log().Debug("an interaction was ignored", "type", ic.Type)
	return taken()
}

// click is a button that somebody has clicked.
type click struct {
	id       string // equal for repeated deliveries
	action   string
	choice   string // what was chosen in a menu
	incident string
	state    *int // of the message; nil where it can't be told
	by       string
	trigger  string
	reply    remediation.ReplyTo
}

func clickOf(ic *slack.InteractionCallback) (click, bool) {
	if len(ic.ActionCallback.BlockActions) == 0 || !isUser(ic.User.ID) {
		return click{}, false
	}
	a := ic.ActionCallback.BlockActions[0]
	message := ic.Container.MessageTs
	if message == "" {
		message = ic.Message.Timestamp
	}
	channel := ic.Channel.ID
	if channel == "" {
		channel = ic.Container.ChannelID
	}
	c := click{
		id:     hashID(string(ic.Type), ic.User.ID, a.ActionTs, message, a.BlockID, a.ActionID, a.Value),
		action: a.ActionID, incident: a.Value, by: ic.User.ID, trigger: ic.TriggerID,
		reply: remediation.ReplyTo{ResponseURL: ic.ResponseURL, Channel: channel, User: ic.User.ID},
	}
	c.reply.Home = ic.View.Type == slack.VTHomeTab
	if incident, state := parseBlockID(a.BlockID); incident == a.Value {
		c.state = state
	}
	if c.action == actionMore {
		c.choice, c.incident, _ = strings.Cut(a.SelectedOption.Value, ":")
	}
	return c, true
}

// clicked handles a click. Slack shows the person nothing of the answer's
// body, so whatever they must know goes to them as an ephemeral message.
func (h *Handler) clicked(ctx context.Context, ic *slack.InteractionCallback) ack {
	c, ok := clickOf(ic)
	if !ok {
		return notTaken(http.StatusBadRequest, "the interaction names no action or no user")
	}
	if refusal := h.admit(ctx, c.by, c.changes()); refusal != nil {
		h.tell(ctx, c.reply, *refusal)
		return taken()
	}
	switch {
	case c.action == actionMore:
		h.more(ctx, c)
	case c.action == string(remediation.VerbFixAll):
		h.openFixAll(ctx, c)
	case c.action == string(remediation.VerbReset), c.action == string(remediation.VerbCancel), c.action == string(remediation.VerbStats),
		c.action == string(remediation.VerbTaskYes), c.action == string(remediation.VerbTaskNo):
		return h.decide(ctx, c)
	case !slices.Contains(clickable(), remediation.Verb(c.action)):
		h.tell(ctx, c.reply, words("This secbot does not know the button %s, so nothing was changed. It may be of another version.", code(c.action, 60)))
	case !isIncidentID(c.incident):
		h.tell(ctx, c.reply, words("The button names no incident, so nothing was changed. See what there is with `/secbot incidents`."))
	case c.action == string(remediation.VerbIgnore):
		h.openModal(ctx, c)
	case c.action == string(remediation.VerbClaim):
		h.openClaim(ctx, c)
	default:
		return h.decide(ctx, c)
	}
	return taken()
}

// changes reports whether the engine is asked about whoever clicks, so that nothing
// is shown or done before they are known.
func (c click) changes() bool {
	return c.action != actionMore && c.action != string(remediation.VerbClaim)
}

// clickable are the verbs that have a button.
func clickable() []remediation.Verb {
	return []remediation.Verb{remediation.VerbFix, remediation.VerbUndo, remediation.VerbIgnore, remediation.VerbUnignore, remediation.VerbRetry,
		remediation.VerbAllow, remediation.VerbApprove, remediation.VerbDecline, remediation.VerbClaim, remediation.VerbDisown}
}

// decide stores the click and only then acknowledges it.
func (h *Handler) decide(ctx context.Context, c click) ack {
	cmd := remediation.Command{ID: c.id, Verb: remediation.Verb(c.action), Incident: c.incident, State: c.state, By: c.by, ReplyTo: c.reply}
	if cmd.Verb == remediation.VerbReset {
		cmd.Incident, cmd.Scope = "", cut(c.incident, 60) // its button names the breaker
	}
	if cmd.Verb == remediation.VerbCancel {
		cmd.Incident, cmd.Scope = "", cut(c.incident, 200) // its button names the scan
	}
	if cmd.Verb == remediation.VerbTaskYes || cmd.Verb == remediation.VerbTaskNo {
		cmd.Incident, cmd.Scope = "", cut(c.incident, 60) // its button names the question
	}
	if cmd.Verb == remediation.VerbStats {
		cmd.Incident = ""
	}
	err := h.submit(ctx, cmd)
	if err == nil {
		return taken()
	}
	h.tell(ctx, c.reply, words("secbot could not store your click, so nothing was changed. Try again in a while."))
	return notTaken(http.StatusInternalServerError, "the click could not be stored, so nothing was changed")
}

// authorised reads the incident and asks whether the person may decide about
// it; otherwise it says what to tell them. Where nobody can tell the answer is
// no.
func (h *Handler) authorised(ctx context.Context, c click) (*remediation.Incident, *Message) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin/2)
	defer cancel()
	inc, err := h.Store.Incident(ctx, c.incident)
	if err != nil {
		m := h.notRead(c.incident, err)
		return nil, &m
	}
	if err := h.Engine.Authorise(ctx, c.by, inc); err != nil {
		m := h.refusal(inc, err)
		return nil, &m
	}
	if c.state != nil && *c.state != inc.State() {
		m := renderReply(remediation.Reply{Text: (&remediation.StaleError{Incident: inc}).Error(), Failed: true,
			Incident: inc.ID, People: []string{inc.Last().By}})
		return nil, &m
	}
	return inc, nil
}

// notRead says why an incident can't be shown.
func (h *Handler) notRead(id string, err error) Message {
	var several *ambiguousError
	switch {
	case errors.Is(err, remediation.ErrNotFound):
		return words("There is no incident %s, so nothing was changed. See what there is with `/secbot incidents`.", code(id, maxIDLength))
	case errors.As(err, &several):
		return words("Nothing was changed: %s.", escaped(several.Error(), 500))
	}
	h.log().Error("the store could not be read", "error", err)
	return words("secbot could not read its store, so nothing was changed. Try again in a while.")
}

// refusal says why somebody may not decide.
func (h *Handler) refusal(inc *remediation.Incident, err error) Message {
	reply := remediation.Reply{Incident: inc.ID, Failed: true}
	var (
		denied  *remediation.DeniedError
		refused *remediation.RefusedError
	)
	switch {
	case errors.As(err, &denied):
		reply.Text, reply.People = denied.Error(), denied.Approvers
	case errors.As(err, &refused):
		reply.Text = refused.Text
	default:
		reply.Text = "secbot could not find out whether you may decide, so nothing was changed. Try again in a while."
	}
	h.log().Info("somebody was refused", "incident", inc.ID, "reason", err)
	return renderReply(reply)
}
