package remediation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// undoAllowance is how long the change that an undo has put back is let be.
const undoAllowance = 24 * time.Hour

// Scope is how far an ignore reaches.
type Scope string

// The scopes, the narrowest first.
const (
	ScopeFinding  Scope = "finding"  // exactly this change of this resource
	ScopeResource Scope = "resource" // whatever is found on this resource
	ScopePlaybook Scope = "playbook" // what this playbook finds in this account
	ScopeAccount  Scope = "account"  // whatever is found in this account
)

// Scopes lists every scope, the narrowest first.
func Scopes() []Scope { return []Scope{ScopeFinding, ScopeResource, ScopePlaybook, ScopeAccount} }

// parseScope takes the scope of a command, of which the empty one is ScopeFinding.
func parseScope(s string) (Scope, error) {
	if s == "" {
		return ScopeFinding, nil
	}
	if !slices.Contains(Scopes(), Scope(s)) {
		var known []string
		for _, v := range Scopes() {
			known = append(known, string(v))
		}
		return "", &RefusedError{Text: fmt.Sprintf("An ignore reaches as far as %s, not %q; nothing was changed.", strings.Join(known, ", "), s)}
	}
	return Scope(s), nil
}

// Matches reports whether the suppression covers f at the given time.
func (s Suppression) Matches(f Finding, now time.Time) bool {
	if s.Ended || (!s.Until.IsZero() && !s.Until.After(now)) {
		return false
	}
	return s.Covers(f)
}

// Covers reports whether f is one of the findings that the suppression is about,
// whatever the time. Calls by secbot's own role are covered one by one only: who
// ignores an account does not mean them.
func (s Suppression) Covers(f Finding) bool {
	if s.narrow(f) {
		return true
	}
	if f.Playbook == OwnRolePlaybook || s.Resource == nil {
		return false
	}
	switch s.Scope {
	case ScopeResource:
		return *s.Resource == f.Resource
	case ScopePlaybook:
		return s.Playbook == f.Playbook && s.Resource.Account == f.Resource.Account
	case ScopeAccount:
		return s.Resource.Account == f.Resource.Account
	}
	return false
}

// coversRules reports whether every rule of f, or flag that is off, is among the
// suppressed ones of the same resource and playbook.
func (s Suppression) coversRules(f Finding) bool {
	parts := f.Changes()
	if len(s.Rules) == 0 || len(parts) == 0 || s.Playbook != f.Playbook || s.Resource == nil || *s.Resource != f.Resource {
		return false
	}
	for _, p := range parts {
		if !slices.Contains(s.Rules, p) {
			return false
		}
	}
	return true
}

// SuppressionOf is what a decision to ignore the finding as far as scope would
// suppress, for counting what it would have covered.
func SuppressionOf(f Finding, scope Scope) Suppression {
	return Suppression{Key: f.Key(), Playbook: f.Playbook, Resource: &f.Resource, Rules: f.Changes(), Scope: scope}
}

// suppress makes the suppression that a command decides on.
func (c *change) suppress(cmd Command, until time.Time) {
	s := SuppressionOf(c.inc.Finding, ScopeFinding)
	if cmd.Verb == VerbIgnore && cmd.Scope != "" {
		s.Scope = Scope(cmd.Scope)
	}
	for _, part := range c.e.o.Config.Decide(c.inc.Finding) {
		s.Approvers = append(s.Approvers, part.Decision.Approvers...)
		s.Approvals = max(s.Approvals, part.Decision.Approvals)
	}
	s.ID, s.Incident = fmt.Sprintf("%s/%d", c.inc.ID, c.inc.State()), c.inc.ID
	s.Reason, s.By, s.Until, s.CreatedAt, s.UpdatedAt = cmd.Reason, cmd.By, until, c.now, c.now
	c.w.Suppressions = append(c.w.Suppressions, &s)
	if s.wide() && !until.IsZero() {
		c.lookAt(until, s)
	}
}

// wide reports whether the suppression hides more than what it was decided on.
func (s Suppression) wide() bool { return s.Scope != "" && s.Scope != ScopeFinding }

// lookAt has the resource of a wide ignore looked at, or everything where it reaches
// further, at the time of its end: what it has hidden until then no event tells of
// again.
func (c *change) lookAt(at time.Time, ended Suppression) {
	payload := []byte("{}")
	if ended.Scope == ScopeResource {
		payload, _ = json.Marshal(look{Resource: ended.Resource}) // four strings can always be written
	}
	c.w.Jobs = append(c.w.Jobs, &Job{ID: fmt.Sprintf("%s/ignored/%s/%d", jobReconcile, c.inc.ID, at.Unix()), Kind: jobReconcile,
		Payload: payload, Due: at, CreatedAt: c.now, UpdatedAt: c.now})
}

// endSuppressions takes back the suppressions that the incident has made.
func (c *change) endSuppressions(ctx context.Context) error {
	return c.endSuppressionsOf(ctx, c.inc.ID)
}

func (c *change) endSuppressionsOf(ctx context.Context, incident string) error {
	all, err := c.e.o.Store.Suppressions(ctx, c.now)
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	for _, s := range all {
		if s.Incident == incident {
			s.Ended, s.UpdatedAt = true, c.now
			if s.wide() {
				c.lookAt(c.now, *s)
			}
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
		if s.Matches(f, now) && (s.narrow(f) || e.sameDeciders(s, f)) {
			return s, nil
		}
	}
	return nil, nil
}

// narrow reports whether the suppression is about f itself, however far it reaches
// besides.
func (s Suppression) narrow(f Finding) bool {
	return s.Key != "" && s.Key == f.Key() || s.coversRules(f)
}

// sameDeciders reports whether those who may decide about f are those who could
// decide on the suppression, and need no more approvals: who may ignore what is low
// must not thereby switch off what others decide about.
func (e *Engine) sameDeciders(s *Suppression, f Finding) bool {
	for _, part := range e.o.Config.Decide(f) {
		d := part.Decision
		if d.Approvals > s.Approvals || len(d.Approvers) == 0 ||
			slices.ContainsFunc(s.Approvers, func(id string) bool { return !slices.Contains(d.Approvers, id) }) {
			return false
		}
	}
	return true
}
