package bot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
)

// The Fix All modal's ids. Its inputs are fixAllInput and a number.
const (
	fixAllCallback = "fix_all"
	fixAllInput    = "fix_all_"
	// boxes is how many options Slack lets a group of checkboxes have.
	boxes = 10
)

// fixAllMemory is what the modal must know when it is submitted, kept in its
// private_metadata.
type fixAllMemory struct {
	Scan        string `json:"scan"`
	Channel     string `json:"channel,omitempty"`
	ResponseURL string `json:"response_url,omitempty"`
}

// fixAllValue is the value of the button: the playbook's id has no colon.
func fixAllValue(playbook, scan string) string { return cut(playbook, 60) + ":" + cut(scan, 200) }

// openFixAll shows what is still open of a scan's findings of one playbook, each
// with a box; those of one resource are ticked. The trigger lives for 3 s, so the modal is opened
// before the click is acknowledged.
func (h *Handler) openFixAll(ctx context.Context, c click) {
	playbook, scan, _ := strings.Cut(c.incident, ":")
	waiting, besides, refusal := h.fixable(ctx, c.by, playbook, scan)
	if refusal != nil {
		h.tell(ctx, c.reply, *refusal)
		return
	}
	view, err := fixAllModal(playbook, waiting, besides, h.Names, fixAllMemory{Scan: scan, Channel: c.reply.Channel, ResponseURL: c.reply.ResponseURL})
	h.open(ctx, c, view, err, words("Slack did not open the form. See what is open with `/secbot incidents open %s`, and type `/secbot fix ID` for each instead.", escaped(playbook, 60)))
}

// besides counts what a form does not list.
type besides struct {
	mayNot int // others decide about them, or nobody can tell
	more   int // the scan has found more than a form takes
}

// fixable are the incidents of a scan and a playbook that wait, and about which the
// person may decide. Where there is none, it says what to tell them.
func (h *Handler) fixable(ctx context.Context, by, playbook, scan string) (waiting []*remediation.Incident, not besides, refusal *Message) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin/2)
	defer cancel()
	say := func(m Message) *Message { return &m }
	run, err := remediation.ReadScan(ctx, h.Store, scan)
	if errors.Is(err, remediation.ErrNotFound) || err == nil && run.Report == nil {
		return nil, not, say(words("secbot does not know that scan any more, so nothing was changed. Look anew with `/secbot scan`."))
	}
	var ids []string
	if err == nil {
		for _, g := range run.Report.Groups {
			if g.Playbook == playbook {
				ids, not.more = g.Incidents, max(0, g.Open-remediation.MaxTargets)
			}
		}
		waiting, err = h.stillOpen(ctx, playbook, ids)
	}
	if err != nil {
		return nil, not, say(h.notRead(scan, err))
	}
	if len(waiting) == 0 {
		return nil, not, say(words("None of these is open any more, so nothing was changed."))
	}
	var refused error
	may := slices.DeleteFunc(slices.Clone(waiting), func(inc *remediation.Incident) bool {
		err := h.Engine.Authorise(ctx, by, inc)
		if err != nil {
			refused = err
		}
		return err != nil
	})
	if len(may) == 0 {
		return nil, not, say(h.refusal(waiting[0], refused))
	}
	not.mayNot = len(waiting) - len(may)
	return may, not, nil
}

// stillOpen are those of the ids that wait, the worst first as the scan has them.
func (h *Handler) stillOpen(ctx context.Context, playbook string, ids []string) ([]*remediation.Incident, error) {
	read := make([]*remediation.Incident, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, id := range ids {
		group.Go(func() error {
			inc, err := h.Store.Incident(ctx, id)
			if err == nil {
				read[i] = inc
			} else if !errors.Is(err, remediation.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(read, func(inc *remediation.Incident) bool {
		return inc == nil || inc.Finding.Playbook != playbook || inc.Request != nil || inc.Status != remediation.StatusOpen && inc.Status != remediation.StatusFailed
	}), err
}

// fixAllModal lists incidents with a box each.
func fixAllModal(playbook string, waiting []*remediation.Incident, not besides, names Names, memory fixAllMemory) (slack.ModalViewRequest, error) {
	raw, err := json.Marshal(memory)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	waiting = waiting[:min(len(waiting), remediation.MaxTargets)]
	meta := names.meta(playbook)
	said := "*" + escaped(meta.Title, 60) + ".* What is ticked is reverted, each as if by its own button: it is read anew, only the offending part is taken away, and each can be undone."
	if meta.Labels.Confirm != "" {
		said += "\n" + escaped(meta.Labels.Confirm, 500)
	}
	if not.mayNot > 0 {
		said += fmt.Sprintf("\nNot listed: %s about which you may not decide, as far as secbot can tell.", plural(not.mayNot, "finding"))
	}
	if not.more > 0 {
		said += fmt.Sprintf("\nNot listed: the scan has found %d more. Scan again once these are done.", not.more)
	}
	blocks := []slack.Block{section(said)}
	group := 0
	for some := range slices.Chunk(waiting, boxes) {
		var options []*slack.OptionBlockObject
		for _, inc := range some {
			options = append(options, fixAllOption(inc, names))
		}
		id := fixAllInput + strconv.Itoa(group)
		ticks := slack.NewCheckboxGroupsBlockElement(id, options...)
		if meta.Kind != remediation.KindAccount { // what reaches over all of an account is chosen one by one
			ticks.InitialOptions = options
		}
		label := fmt.Sprintf("%d to %d of %d listed", group*boxes+1, group*boxes+len(some), len(waiting))
		blocks = append(blocks, slack.NewInputBlock(id, plain(label, 100), nil, ticks).WithOptional(true))
		group++
	}
	return slack.ModalViewRequest{Type: slack.VTModal, CallbackID: fixAllCallback, PrivateMetadata: string(raw),
		Title: plain("Fix all", 24), Submit: plain("Revert what is ticked", 24), Close: plain("Cancel", 24), Blocks: slack.Blocks{BlockSet: compact(blocks)}}, nil
}

// fixAllOption is one box. Its value knows how the incident stood when it was shown.
func fixAllOption(inc *remediation.Incident, names Names) *slack.OptionBlockObject {
	f := inc.Finding
	name := f.Resource.ID
	if f.Name != "" && f.Name != name {
		name = f.Name + " (" + name + ")"
	}
	where := " in " + cut(clean(cmp.Or(names.Accounts[f.Resource.Account], f.Resource.Account)), 25)
	what := strings.ToUpper(string(f.Severity))
	if texts := (painter{view: view{inc: &remediation.Incident{}}, f: f}).changeTexts(); len(texts) > 0 {
		what += " · " + texts[0]
		if more := len(texts) - 1; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
	}
	return slack.NewOptionBlockObject(inc.ID+":"+strconv.Itoa(inc.State()), plain(cut(clean(name), 75-utf8.RuneCountInString(where))+where, 75), plain(what, 75))
}

// fixAllSubmitted takes the filled-in form.
func (h *Handler) fixAllSubmitted(ctx context.Context, ic *slack.InteractionCallback) ack {
	var memory fixAllMemory
	reply := remediation.ReplyTo{User: ic.User.ID}
	if json.Unmarshal([]byte(ic.View.PrivateMetadata), &memory) != nil || memory.Scan == "" {
		h.tell(ctx, reply, words("This secbot does not know that form, so nothing was changed. It may be of another version."))
		return taken()
	}
	reply.Channel, reply.ResponseURL = memory.Channel, memory.ResponseURL
	if refusal := h.admit(ctx, ic.User.ID, true); refusal != nil {
		h.tell(ctx, reply, *refusal)
		return taken()
	}
	targets, ok := ticked(ic)
	fault := ""
	switch {
	case !ok:
		fault = "This secbot does not know one of the boxes, so nothing was changed."
	case len(targets) == 0:
		fault = "Tick what is to be reverted, or cancel."
	case h.submit(ctx, remediation.Command{ID: hashID(string(ic.Type), ic.User.ID, ic.View.ID, memory.Scan), Verb: remediation.VerbFixAll,
		By: ic.User.ID, Scope: cut(memory.Scan, 200), Targets: targets, ReplyTo: reply}) != nil:
		fault = "secbot can't tell whether this was stored. Look with /secbot incidents what has become of it before you try again."
	}
	if fault != "" {
		return takenWith(slack.NewErrorsViewSubmissionResponse(map[string]string{fixAllInput + "0": fault}))
	}
	return taken()
}

// ticked reads the boxes; false where one names no incident, or there are too many.
func ticked(ic *slack.InteractionCallback) (targets []remediation.Target, ok bool) {
	if ic.View.State == nil {
		return nil, true
	}
	for i := range remediation.MaxTargets / boxes {
		id := fixAllInput + strconv.Itoa(i)
		for _, o := range ic.View.State.Values[id][id].SelectedOptions {
			incident, at, _ := strings.Cut(o.Value, ":")
			state, err := strconv.Atoi(at)
			if err != nil || !isIncidentID(incident) || len(targets) == remediation.MaxTargets {
				return nil, false
			}
			if !slices.ContainsFunc(targets, func(t remediation.Target) bool { return t.Incident == incident }) {
				targets = append(targets, remediation.Target{Incident: incident, State: state})
			}
		}
	}
	return targets, true
}
