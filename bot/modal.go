package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// The Ignore modal's ids.
const (
	ignoreCallback = "ignore"
	durationInput  = "duration"
	scopeInput     = "scope"
	reasonInput    = "reason"
)

// modalMemory is what the modal must know when it is submitted, kept in its
// private_metadata.
type modalMemory struct {
	Incident    string `json:"incident"`
	State       *int   `json:"state,omitempty"`
	Channel     string `json:"channel,omitempty"`
	ResponseURL string `json:"response_url,omitempty"`
	Home        bool   `json:"home,omitempty"` // opened from the person's home tab
}

// openModal asks for how long and why. The trigger lives for 3 s, so the modal
// is opened before the click is acknowledged. A stranger gets the refusal
// instead.
func (h *Handler) openModal(ctx context.Context, c click) {
	inc, refusal := h.authorised(ctx, c)
	if refusal != nil {
		h.tell(ctx, c.reply, *refusal)
		if c.reply.Home {
			h.showHome(ctx, c.by)
		}
		return
	}
	view, err := ignoreModal(inc, h.Names, h.history(ctx, inc), modalMemory{
		Incident: inc.ID, State: c.state, Channel: c.reply.Channel, ResponseURL: c.reply.ResponseURL, Home: c.reply.Home,
	})
	h.open(ctx, c, view, err, words("Slack did not open the form. Type `/secbot ignore %s for 7d because …` instead.", escaped(inc.ID, maxIDLength)))
}

// open opens a modal, or tells the person what to do instead.
func (h *Handler) open(ctx context.Context, c click, view slack.ModalViewRequest, err error, instead Message) {
	if err == nil {
		opening, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		_, err = h.Client.OpenViewContext(opening, c.trigger, view)
	}
	if err != nil {
		h.log().Warn("a modal could not be opened", "modal", view.CallbackID, "incident", c.incident, "error", apiError("views.open", err))
		h.tell(ctx, c.reply, instead)
	}
}

const (
	// lookBack is how far back it is counted what an ignore would have covered.
	lookBack = 90 * 24 * time.Hour
	// maxCounted bounds how many incidents are looked through for it.
	maxCounted = 1000
	// countWithin bounds the time: the form must be open within 3 s.
	countWithin = 400 * time.Millisecond
)

// coverage counts what an ignore would have covered, by how far it reaches.
type coverage struct {
	known bool // false where it could not be counted
	more  bool // there are more than were looked through
	by    map[remediation.Scope]int
}

// history counts the incidents that an ignore of each scope would have covered.
func (h *Handler) history(ctx context.Context, inc *remediation.Incident) coverage {
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	found, err := h.Store.Incidents(ctx, remediation.IncidentQuery{Since: h.now().Add(-lookBack), Limit: maxCounted})
	if err != nil {
		h.log().Warn("what an ignore would have covered could not be counted", "incident", inc.ID, "error", err)
		return coverage{}
	}
	c := coverage{known: true, more: len(found) == maxCounted, by: map[remediation.Scope]int{}}
	for _, scope := range remediation.Scopes() {
		s := remediation.SuppressionOf(inc.Finding, scope)
		for _, other := range found {
			if s.Covers(other.Finding) {
				c.by[scope]++
			}
		}
	}
	return c
}

// text says how often an ignore would have matched.
func (c coverage) text(scope remediation.Scope) string {
	switch {
	case !c.known:
		return "how often in 90 days could not be counted"
	case c.more:
		return fmt.Sprintf("would have matched %d or more in the last 90 days", c.by[scope])
	}
	return fmt.Sprintf("would have matched %d in the last 90 days", c.by[scope])
}

// ignoreModal asks how long and why.
func ignoreModal(inc *remediation.Incident, names Names, past coverage, memory modalMemory) (slack.ModalViewRequest, error) {
	raw, err := json.Marshal(memory)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	p := painter{view: view{inc: inc, meta: names.meta(inc.Finding.Playbook), names: names}, f: inc.Finding, d: details()[1]}
	reason := slack.NewPlainTextInputBlockElement(plain("Why is this all right?", 150), reasonInput)
	reason.MaxLength, reason.Multiline = maxReason, true
	duration := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("How long", 150), durationInput, ignoreOptions()...)
	duration.InitialOption = ignoreOptions()[2]
	scopes := scopeOptions(inc, past)
	scope := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("How far", 150), scopeInput, scopes...)
	scope.InitialOption = scopes[0]
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: ignoreCallback, PrivateMetadata: string(raw),
		Title: plain("Ignore this finding", 24), Submit: plain("Ignore", 24), Close: plain("Cancel", 24),
		Blocks: slack.Blocks{BlockSet: compact([]slack.Block{
			section(p.happened(), p.list("", p.changeTexts())),
			slack.NewInputBlock(durationInput, plain("For how long?", 100), plain("What it covers is neither reported nor fixed until then.", 200), duration),
			slack.NewInputBlock(scopeInput, plain("How far does it reach?", 100), plain("What is open already and asked about stays so.", 200), scope),
			slack.NewInputBlock(reasonInput, plain("Reason", 100), plain("Everybody who sees the message can read it.", 200), reason),
		})},
	}, nil
}

// ignoreOptions are the times to choose from; the values are what
// parseDuration reads.
func ignoreOptions() []*slack.OptionBlockObject {
	var options []*slack.OptionBlockObject
	for _, o := range [][2]string{{"1h", "1 hour"}, {"24h", "24 hours"}, {"7d", "7 days"}, {"30d", "30 days"}, {"forever", "For good"}} {
		options = append(options, slack.NewOptionBlockObject(o[0], plain(o[1], 75), nil))
	}
	return options
}

// scopeOptions are how far an ignore may reach. Of a call by secbot's own role only
// the very one can be ignored.
func scopeOptions(inc *remediation.Incident, past coverage) []*slack.OptionBlockObject {
	var options []*slack.OptionBlockObject
	for _, o := range []struct {
		scope remediation.Scope
		label string
	}{
		{remediation.ScopeFinding, "Exactly this change"},
		{remediation.ScopeResource, "This resource, whatever is found on it"},
		{remediation.ScopePlaybook, "This playbook, in this account"},
		{remediation.ScopeAccount, "This account, whatever is found in it"},
	} {
		options = append(options, slack.NewOptionBlockObject(string(o.scope), plain(o.label, 75), plain(past.text(o.scope), 75)))
		if inc.Finding.Playbook == remediation.OwnRolePlaybook {
			break
		}
	}
	return options
}

// submitted takes the filled-in modal. It is acknowledged, which closes it,
// only after the command is stored.
func (h *Handler) submitted(ctx context.Context, ic *slack.InteractionCallback) ack {
	reply := remediation.ReplyTo{User: ic.User.ID}
	var memory modalMemory
	if !isUser(ic.User.ID) {
		return notTaken(http.StatusBadRequest, "the form was not submitted by a user of Slack's")
	}
	if ic.View.CallbackID == fixAllCallback {
		return h.fixAllSubmitted(ctx, ic)
	}
	if ic.View.CallbackID != ignoreCallback && ic.View.CallbackID != claimCallback || json.Unmarshal([]byte(ic.View.PrivateMetadata), &memory) != nil || !isIncidentID(memory.Incident) {
		h.log().Warn("an unknown modal was submitted", "callback", ic.View.CallbackID)
		h.tell(ctx, reply, words("This secbot does not know that form, so nothing was changed. It may be of another version."))
		return taken()
	}
	reply.Channel, reply.ResponseURL, reply.Home = memory.Channel, memory.ResponseURL, memory.Home
	if refusal := h.admit(ctx, ic.User.ID, true); refusal != nil {
		h.tell(ctx, reply, *refusal)
		return taken()
	}
	if ic.View.CallbackID == claimCallback {
		return h.claimed(ctx, ic, memory, reply)
	}
	cmd, faults := ignoreCommand(ic, memory, reply)
	return h.submitForm(ctx, cmd, faults)
}

// submitForm stores what a form asks for, unless something is wrong with it. Faults
// are by block id, one of which is reasonInput.
func (h *Handler) submitForm(ctx context.Context, cmd remediation.Command, faults map[string]string) ack {
	if len(faults) == 0 && h.submit(ctx, cmd) != nil {
		faults = map[string]string{reasonInput: "secbot could not store this, so nothing was changed. Try again in a while."}
	}
	if len(faults) > 0 {
		return takenWith(slack.NewErrorsViewSubmissionResponse(faults))
	}
	return taken()
}

// ignoreCommand reads the inputs; faults are by block id, as Slack shows them.
func ignoreCommand(ic *slack.InteractionCallback, memory modalMemory, reply remediation.ReplyTo) (cmd remediation.Command, faults map[string]string) {
	faults = map[string]string{}
	reason := cut(clean(input(ic, reasonInput).Value), maxReason)
	if reason == "" {
		faults[reasonInput] = "A reason is needed, so that others can follow it."
	}
	d, _, problem := parseDuration(strings.Fields(input(ic, durationInput).SelectedOption.Value))
	if problem != "" {
		faults[durationInput] = problem
	}
	scope := remediation.Scope(input(ic, scopeInput).SelectedOption.Value)
	if !slices.Contains(remediation.Scopes(), scope) {
		faults[scopeInput] = "Choose how far it reaches."
	}
	return remediation.Command{
		ID:   hashID(string(ic.Type), ic.User.ID, ic.View.ID, memory.Incident),
		Verb: remediation.VerbIgnore, Incident: memory.Incident, State: memory.State, By: ic.User.ID,
		Reason: reason, For: d, Scope: string(scope), ReplyTo: reply,
	}, faults
}

// input is what was filled into one input block.
func input(ic *slack.InteractionCallback, block string) slack.BlockAction {
	if ic.View.State == nil {
		return slack.BlockAction{}
	}
	return ic.View.State.Values[block][block]
}
