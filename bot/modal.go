package bot

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// The Ignore modal's ids.
const (
	ignoreCallback = "ignore"
	durationInput  = "duration"
	reasonInput    = "reason"
)

// modalMemory is what the modal must know when it is submitted, kept in its
// private_metadata.
type modalMemory struct {
	Incident    string `json:"incident"`
	State       *int   `json:"state,omitempty"`
	Channel     string `json:"channel,omitempty"`
	ResponseURL string `json:"response_url,omitempty"`
}

// openModal asks for how long and why. The trigger lives for 3 s, so the modal
// is opened before the click is acknowledged. A stranger gets the refusal
// instead.
func (h *Handler) openModal(ctx context.Context, c click) {
	inc, refusal := h.authorised(ctx, c)
	if refusal != nil {
		h.tell(ctx, c.reply, *refusal)
		return
	}
	view, err := ignoreModal(inc, metaOf(h.Metas, inc.Finding.Playbook), modalMemory{
		Incident: inc.ID, State: c.state, Channel: c.reply.Channel, ResponseURL: c.reply.ResponseURL,
	})
	if err == nil {
		opening, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		_, err = h.Client.OpenViewContext(opening, c.trigger, view)
	}
	if err != nil {
		h.log().Warn("the ignore modal could not be opened", "incident", inc.ID, "error", apiError("views.open", err))
		h.tell(ctx, c.reply, words("Slack did not open the form. Type `/secbot ignore %s for 7d because …` instead.", escaped(inc.ID, maxIDLength)))
	}
}

// ignoreModal asks how long and why.
func ignoreModal(inc *remediation.Incident, meta remediation.Meta, memory modalMemory) (slack.ModalViewRequest, error) {
	raw, err := json.Marshal(memory)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	p := painter{view: view{inc: inc, meta: meta}, f: inc.Finding, d: details()[1]}
	reason := slack.NewPlainTextInputBlockElement(plain("Why is this all right?", 150), reasonInput)
	reason.MaxLength, reason.Multiline = maxReason, true
	duration := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("How long", 150), durationInput, ignoreOptions()...)
	duration.InitialOption = ignoreOptions()[2]
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: ignoreCallback, PrivateMetadata: string(raw),
		Title: plain("Ignore this finding", 24), Submit: plain("Ignore", 24), Close: plain("Cancel", 24),
		Blocks: slack.Blocks{BlockSet: compact([]slack.Block{
			section(p.happened(), p.list("", p.changeTexts())),
			slack.NewInputBlock(durationInput, plain("For how long?", 100), plain("The same change is neither reported nor fixed until then.", 200), duration),
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

// submitted takes the filled-in modal. It is acknowledged, which closes it,
// only after the command is stored.
func (h *Handler) submitted(w http.ResponseWriter, r *http.Request, ic *slack.InteractionCallback) {
	reply := remediation.ReplyTo{User: ic.User.ID}
	var memory modalMemory
	if !isUser(ic.User.ID) {
		http.Error(w, "the form was not submitted by a user of Slack's", http.StatusBadRequest)
		return
	}
	if ic.View.CallbackID != ignoreCallback || json.Unmarshal([]byte(ic.View.PrivateMetadata), &memory) != nil || !isIncidentID(memory.Incident) {
		h.log().Warn("an unknown modal was submitted", "callback", ic.View.CallbackID)
		reply.Channel = ic.User.ID // a direct message: a modal belongs to no channel
		h.tell(r.Context(), reply, words("This secbot does not know that form, so nothing was changed. It may be of another version."))
		w.WriteHeader(http.StatusOK)
		return
	}
	reply.Channel, reply.ResponseURL = memory.Channel, memory.ResponseURL
	cmd, faults := ignoreCommand(ic, memory, reply)
	if len(faults) == 0 && h.submit(r.Context(), cmd) != nil {
		faults = map[string]string{reasonInput: "secbot could not store this, so nothing was changed. Try again in a while."}
	}
	if len(faults) > 0 {
		writeJSON(w, http.StatusOK, slack.NewErrorsViewSubmissionResponse(faults))
		return
	}
	w.WriteHeader(http.StatusOK)
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
	return remediation.Command{
		ID:   hashID(string(ic.Type), ic.User.ID, ic.View.ID, memory.Incident),
		Verb: remediation.VerbIgnore, Incident: memory.Incident, State: memory.State, By: ic.User.ID,
		Reason: reason, For: d, ReplyTo: reply,
	}, faults
}

// input is what was filled into one input block.
func input(ic *slack.InteractionCallback, block string) slack.BlockAction {
	if ic.View.State == nil {
		return slack.BlockAction{}
	}
	return ic.View.State.Values[block][block]
}
