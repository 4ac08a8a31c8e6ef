package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"secbot/remediation"
)

// Names are what people call things.
type Names struct {
	Metas    []remediation.Meta
	Accounts map[string]string // by id; others go by their id
}

// meta describes a playbook; one that nobody knows is called by its id.
func (n Names) meta(id string) remediation.Meta {
	for _, m := range n.Metas {
		if m.ID == id {
			return m
		}
	}
	return remediation.Meta{ID: id, Title: id}
}

// title is a playbook's title.
func (n Names) title(playbook string) string { return n.meta(playbook).Title }

// account gives an account's name with its id, or the id alone, for mrkdwn.
func (n Names) account(id string) string {
	if name := strings.TrimSpace(clean(n.Accounts[id])); name != "" {
		return escaped(name, 40) + " (" + code(id, 20) + ")"
	}
	return code(id, 20)
}

// short is an account's name, or its id where it has none, for mrkdwn.
func (n Names) short(account string) string {
	if name := clean(n.Accounts[account]); name != "" {
		return escaped(name, 40)
	}
	return escaped(account, 20)
}

// lifeReader tells until when something is ignored, and what came after it.
type lifeReader interface {
	Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error)
	Last(ctx context.Context, key string) (*remediation.Incident, error)
}

// viewOf gathers what an incident's message is made of.
func viewOf(ctx context.Context, store lifeReader, names Names, inc *remediation.Incident, now time.Time) (view, error) {
	v := view{inc: inc, meta: names.meta(inc.Finding.Playbook), names: names}
	switch inc.Status {
	case remediation.StatusIgnored, remediation.StatusUndone:
	default:
		return v, nil
	}
	all, err := store.Suppressions(ctx, now)
	if err != nil {
		return v, fmt.Errorf("read suppressions: %w", err)
	}
	for _, s := range all { // the newest is the last
		if s.Incident == inc.ID {
			v.until, v.scope = &s.Until, s.Scope
		}
	}
	if v.until != nil || inc.Status != remediation.StatusUndone {
		return v, nil
	}
	last, err := store.Last(ctx, inc.Key)
	switch {
	case errors.Is(err, remediation.ErrNotFound):
	case err != nil:
		return v, fmt.Errorf("read what came after incident %s: %w", inc.ID, err)
	case last.ID != inc.ID:
		v.later = last
	}
	return v, nil
}
