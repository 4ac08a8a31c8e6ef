package remediation

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// undoAllowance is how long the change that an undo has put back is let be.
const undoAllowance = 24 * time.Hour

// Matches reports whether the suppression covers f at the given time.
func (s Suppression) Matches(f Finding, now time.Time) bool {
	if s.Ended || (!s.Until.IsZero() && !s.Until.After(now)) {
		return false
	}
	if s.Key != "" && s.Key == f.Key() {
		return true
	}
	return s.coversRules(f)
}

// coversRules reports whether every rule of f is among the suppressed ones of
// the same resource and playbook.
func (s Suppression) coversRules(f Finding) bool {
	if len(s.Rules) == 0 || len(f.Rules) == 0 || s.Playbook != f.Playbook || s.Resource == nil || *s.Resource != f.Resource {
		return false
	}
	for _, r := range f.Rules {
		if !slices.Contains(s.Rules, r.Key()) {
			return false
		}
	}
	return true
}

// suppress makes the suppression of exactly this incident's finding.
func (c *change) suppress(by, reason string, until time.Time) {
	f := c.inc.Finding
	s := &Suppression{ID: fmt.Sprintf("%s/%d", c.inc.ID, c.inc.State()), Incident: c.inc.ID, Key: c.inc.Key,
		Playbook: f.Playbook, Resource: &f.Resource, Reason: reason, By: by, Until: until,
		CreatedAt: c.now, UpdatedAt: c.now}
	for _, r := range f.Rules {
		s.Rules = append(s.Rules, r.Key())
	}
	c.w.Suppressions = append(c.w.Suppressions, s)
}

// endSuppressions takes back the suppressions that an incident has made.
func (c *change) endSuppressions(ctx context.Context) error {
	all, err := c.e.o.Store.Suppressions(ctx, c.now)
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	for _, s := range all {
		if s.Incident == c.inc.ID {
			s.Ended, s.UpdatedAt = true, c.now
			c.w.Suppressions = append(c.w.Suppressions, s)
		}
	}
	return nil
}

// suppressed finds the suppression that covers f; nil where there is none.
func (e *Engine) suppressed(ctx context.Context, f Finding) (*Suppression, error) {
	now := e.now()
	all, err := e.o.Store.Suppressions(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("read suppressions: %w", err)
	}
	for _, s := range all {
		if s.Matches(f, now) {
			return s, nil
		}
	}
	return nil, nil
}
