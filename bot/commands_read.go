package bot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"secbot/docs"
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

func (f Filter) fits(inc *remediation.Incident) bool {
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

// read answers what only reads; false where p is no such command.
func (h *Handler) read(ctx context.Context, name, user string, p Parsed) (Message, bool) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	switch p.Name {
	case "help":
		return help(name), true
	case "incidents":
		return h.list(ctx, name, p.Filter), true
	case "show":
		return h.show(ctx, p), true
	case "ignores":
		return h.ignores(ctx), true
	case "playbooks":
		return renderPlaybooks(h.Names), true
	case "runbook":
		return h.readRunbook(p.Playbook), true
	case "whoami":
		return h.whoami(user), true
	}
	if p.Name == "mode" && p.Verb == "" {
		return h.modes(ctx), true
	}
	return Message{}, false
}

func (h *Handler) list(ctx context.Context, name string, f Filter) Message {
	found, err := h.Store.Incidents(ctx, remediation.IncidentQuery{Statuses: f.Statuses, Limit: maxSearched})
	if err != nil {
		return h.notRead("", err)
	}
	searched := len(found)
	found = slices.DeleteFunc(found, func(inc *remediation.Incident) bool { return !f.fits(inc) })
	page := max(f.Page, 1)
	from := min((page-1)*maxListed, len(found))
	to := min(from+maxListed, len(found))
	var more string
	switch {
	case to < len(found):
		more = fmt.Sprintf("%d to %d of %d. The next: `%s incidents %s`", from+1, to, len(found), escaped(name, 40),
			escaped(strings.TrimSpace(fmt.Sprintf("%s page %d", f.words(), page+1)), 200))
	case from == len(found) && from > 0:
		return words("There are only %d such incidents, which are %d pages.", len(found), (len(found)+maxListed-1)/maxListed)
	case searched == maxSearched:
		more = fmt.Sprintf("These are among the newest %d incidents; there are older ones.", maxSearched)
	}
	return renderIncidents(found[from:to], h.Names, more)
}

// ignores lists what is let be: ignores, allowances, and what undos have put back.
func (h *Handler) ignores(ctx context.Context) Message {
	all, err := h.Store.Suppressions(ctx, h.now())
	if err != nil {
		return h.notRead("", err)
	}
	return renderIgnores(all, h.Names)
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
	page, ok := docs.Runbook(id)
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
	page, ok := docs.Runbook(id)
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

// whoami tells how Slack and the policy know somebody.
func (h *Handler) whoami(user string) Message {
	return words("You are %s, Slack id %s. The policy names people by such ids: `responders` and `approvers` in secbot.yaml, or SECBOT_RESPONDERS.", mention(user), code(user, 40))
}

// modes tells whether secbot is paused, and which modes are set.
func (h *Handler) modes(ctx context.Context) Message {
	c, err := remediation.ReadControl(ctx, h.Store)
	if err != nil {
		return h.notRead("", err)
	}
	return renderModes(c, h.Mode)
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
