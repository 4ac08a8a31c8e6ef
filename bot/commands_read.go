package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"secbot/remediation"
)

// maxSearched is how many incidents, the newest first, a filter looks through.
const maxSearched = 1000

// Filter says which incidents are to be listed. Empty members let all through.
type Filter struct {
	Statuses   []remediation.Status
	Severities []remediation.Severity
	Playbooks  []string
	Accounts   []string
	Page       int // from 1; 0 is 1
}

// Fits reports whether an incident is to be listed, but for its status.
func (f Filter) Fits(inc *remediation.Incident) bool {
	return (len(f.Severities) == 0 || slices.Contains(f.Severities, inc.Finding.Severity)) &&
		(len(f.Playbooks) == 0 || slices.Contains(f.Playbooks, inc.Finding.Playbook)) &&
		(len(f.Accounts) == 0 || slices.Contains(f.Accounts, inc.Finding.Resource.Account))
}

// words gives the filter as it may be typed, without the page.
func (f Filter) words() string {
	var all []string
	for _, s := range f.Statuses {
		all = append(all, string(s))
	}
	for _, s := range f.Severities {
		all = append(all, string(s))
	}
	return strings.Join(slices.Concat(all, f.Playbooks, f.Accounts), " ")
}

// Next gives the filter of the next page as it may be typed: "open page 2".
func (f Filter) Next() string {
	return strings.TrimSpace(fmt.Sprintf("%s page %d", f.words(), max(f.Page, 1)+1))
}

// read answers what only reads; false where p is no such command.
func (h *Handler) read(ctx context.Context, name, user string, p Parsed) (Message, bool) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	m, ok, err := h.look(ctx, name, user, p)
	if err != nil {
		return h.notRead(p.Incident, err), true
	}
	return m, ok
}

// look is read, in whatever time there is, with the errors of the store.
func (h *Handler) look(ctx context.Context, name, user string, p Parsed) (m Message, ok bool, err error) {
	switch p.Name {
	case "help":
		return help(name), true, nil
	case "incidents":
		m, err = h.list(ctx, name, p.Filter)
	case "show":
		m, err = h.show(ctx, p)
	case "ignores":
		m, err = h.ignores(ctx)
	case "playbooks":
		return renderPlaybooks(h.Names), true, nil
	case "runbook":
		return h.readRunbook(p.Playbook), true, nil
	case "whoami":
		return h.whoami(ctx, user), true, nil
	case "mode":
		if p.Verb != "" {
			return m, false, nil
		}
		m, err = h.modes(ctx)
	default:
		return m, false, nil
	}
	return m, true, err
}

func (h *Handler) list(ctx context.Context, name string, f Filter) (Message, error) {
	found, err := h.Store.Incidents(ctx, remediation.IncidentQuery{Statuses: f.Statuses, Limit: maxSearched})
	if err != nil {
		return Message{}, err
	}
	searched := len(found)
	found = slices.DeleteFunc(found, func(inc *remediation.Incident) bool { return !f.Fits(inc) })
	page := max(f.Page, 1)
	from := min((page-1)*maxListed, len(found))
	to := min(from+maxListed, len(found))
	if from == len(found) && from > 0 {
		return words("There is no page %d: %s on %s.", page, plural(len(found), "such incident is", "such incidents are"), plural((len(found)+maxListed-1)/maxListed, "page")), nil
	}
	var more string
	if to < len(found) || from > 0 {
		more = fmt.Sprintf("%d to %d of %d.", from+1, to, len(found))
	}
	if to < len(found) {
		more += fmt.Sprintf(" The next page: `%s incidents %s`", escaped(name, 40),
			escaped(f.Next(), 200))
	}
	if searched == maxSearched {
		more = strings.TrimSpace(fmt.Sprintf("%s Only the newest %d incidents were looked through; there may be older ones.", more, maxSearched))
	}
	return renderIncidents(found[from:to], h.Names, more), nil
}

// ignores lists what is let be: ignores, allowances, and what undos have put back.
func (h *Handler) ignores(ctx context.Context) (Message, error) {
	all, err := h.Store.Suppressions(ctx, h.now())
	if err != nil {
		return Message{}, err
	}
	return renderIgnores(all, h.Names), nil
}

func renderIgnores(all []*remediation.Suppression, names Names) Message {
	if len(all) == 0 {
		return words("Nothing is ignored.")
	}
	slices.SortStableFunc(all, func(a, b *remediation.Suppression) int { return b.CreatedAt.Compare(a.CreatedAt) })
	var lines []string
	for _, s := range all[:min(len(all), maxListed)] {
		lines = append(lines, ignoreLine(s, names))
	}
	if more := len(all) - maxListed; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	m := words("%s let be. Take one back with `/secbot unignore ID`.", plural(len(all), "finding is", "findings are"))
	for chunk := range slices.Chunk(lines, 5) {
		m.Blocks = append(m.Blocks, section(chunk...))
	}
	return m
}

func ignoreLine(s *remediation.Suppression, names Names) string {
	what := escaped(names.title(s.Playbook), 60)
	if s.Resource != nil {
		where := code(s.Resource.ID, 60)
		switch s.Scope {
		case remediation.ScopeResource:
			what = "whatever is found at " + where
		case remediation.ScopePlaybook:
			what += " in " + names.short(s.Resource.Account)
		case remediation.ScopeAccount:
			what = "whatever is found in " + names.short(s.Resource.Account)
		default:
			what += " · " + where + " in " + names.short(s.Resource.Account)
		}
	}
	until := "for good"
	if !s.Until.IsZero() {
		until = "until " + date(s.Until)
	}
	line := "• " + what + " · " + until + " by " + mention(s.By)
	if s.Reason != "" {
		line += ": " + escaped(s.Reason, 150)
	}
	return line + incidentPart(s.Incident)
}

func renderPlaybooks(names Names) Message {
	var lines []string
	for _, m := range names.Metas {
		lines = append(lines, "• "+code(m.ID, 60)+" – "+escaped(m.Title, 100))
	}
	return words("%s\nMore about one: `/secbot runbook ID`", strings.Join(lines, "\n"))
}

// readRunbook shows as much of a runbook's page as a message takes.
func (h *Handler) readRunbook(id string) Message {
	page, ok := runbookBlocks(id, nil)
	if !ok {
		return noRunbook(id)
	}
	return runbookMessage(id, page)
}

func noRunbook(id string) Message {
	return words("There is no runbook of %s. `/secbot playbooks` lists what there is.", code(id, 60))
}

// openRunbook shows a runbook's page in a modal.
func (h *Handler) openRunbook(ctx context.Context, id, trigger string) Message {
	page, ok := runbookBlocks(id, nil)
	if !ok {
		return noRunbook(id)
	}
	opening, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	if _, err := h.Client.OpenViewContext(opening, trigger, runbookModal(id, page)); err != nil {
		h.log().Warn("a runbook could not be opened", "playbook", id, "error", apiError("views.open", err))
		return h.readRunbook(id)
	}
	return words("The runbook of %s is open.", code(id, 60))
}

// whoami tells how Slack and the policy know somebody, and what they may decide.
func (h *Handler) whoami(ctx context.Context, user string) Message {
	lines := []string{fmt.Sprintf("You are %s, Slack id %s. The policy names people by such ids: `responders` and `approvers` in secbot.yaml, or SECBOT_RESPONDERS.", mention(user), code(user, 40))}
	if strings.HasPrefix(user, shellBy) {
		lines = []string{fmt.Sprintf("You are %s. Whoever may open secbot's store, or its socket, may decide at the shell, whomever the policy names; where several must approve, all at the shell count as one.", mention(user))}
	}
	rights := h.Engine.Rights(ctx, user)
	for _, r := range rights[:min(len(rights), maxRights)] {
		lines = append(lines, rightText(r))
	}
	if more := len(rights) - maxRights; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %s more with people of their own", plural(more, "rule")))
	}
	return words("%s", cutLines(strings.Join(lines, "\n")))
}

// maxRights is how many of their rights somebody is told.
const maxRights = 15

// rightText says whether somebody may decide, and if not who may.
func rightText(r remediation.Right) string {
	what := "what the policy leaves to the responders"
	if r.Rule != "" {
		what = "what " + escaped(r.Rule, 80) + " is about"
	}
	var denied *remediation.DeniedError
	switch {
	case r.Err == nil:
		return "• You may decide " + what + "."
	case errors.As(r.Err, &denied) && len(denied.Approvers) == 0:
		return "• Nobody may decide " + what + " yet: the policy names nobody."
	case errors.As(r.Err, &denied):
		return "• You may not decide " + what + "; these may: " + mentions(denied.Approvers) + "."
	}
	return "• Whether you may decide " + what + " is not known now; until it is you may not."
}

// modes tells whether secbot is paused, and which modes are set.
func (h *Handler) modes(ctx context.Context) (Message, error) {
	c, err := remediation.ReadControl(ctx, h.Store)
	if err != nil {
		return Message{}, err
	}
	return renderModes(c, h.Mode), nil
}

func renderModes(c remediation.Control, file remediation.Mode) Message {
	lines := []string{"The mode is *" + escaped(string(c.ModeFor(file, "", "")), 20) + "*; secbot.yaml says " + escaped(string(file), 20) + "."}
	if c.Paused != nil {
		lines = append([]string{"*secbot is paused* since " + date(c.Paused.At) + " by " + mention(c.Paused.By) + ": it fixes nothing. `/secbot resume` ends that."}, lines...)
	}
	var targets []string
	for target := range c.Modes {
		if target != remediation.AllTargets {
			targets = append(targets, target)
		}
	}
	slices.Sort(targets)
	for _, target := range targets[:min(len(targets), 50)] {
		lines = append(lines, "• "+code(target, 60)+": "+escaped(string(c.Modes[target]), 20))
	}
	return words("%s", strings.Join(lines, "\n"))
}
