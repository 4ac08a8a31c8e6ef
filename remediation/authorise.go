package remediation

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// shellPrefix marks people at the shell of secbot's own machine: whoever may
// open its store may decide.
const shellPrefix = "shell:"

func isShell(by string) bool { return strings.HasPrefix(by, shellPrefix) }

// authorise returns nil where a command may be carried out; else the errors of
// Authorise. Anybody of the workspace may scan, which changes nothing and of which
// one runs at a time, end a scan, and read the statistics. Whether a change was theirs only the
// person says who was asked. A circuit breaker, which is about no incident, is
// reset by a responder.
func (e *Engine) authorise(ctx context.Context, cmd Command, inc *Incident) error {
	switch {
	case cmd.Verb == VerbScan || cmd.Verb == VerbCancel || cmd.Verb == VerbWhy || cmd.Verb == VerbStats:
		return e.insider(ctx, cmd.By)
	case cmd.Verb == VerbClaim || cmd.Verb == VerbDisown:
		if err := e.wasAsked(ctx, cmd.By, inc); err != nil {
			return err
		}
		return e.insider(ctx, cmd.By)
	case !cmd.Verb.general():
		return e.Authorise(ctx, cmd.By, inc)
	}
	return e.mayAs(ctx, cmd.By, e.o.Config.Responders)
}

// mayAs is among, for people at the shell too.
func (e *Engine) mayAs(ctx context.Context, by string, approvers []string) error {
	if isShell(by) {
		return nil
	}
	return e.among(ctx, by, approvers)
}

// Right says whether somebody may decide what a rule of the policy leaves to people.
type Right struct {
	Rule string // its title; empty: all that no rule leaves to others than the responders
	Err  error  // nil where they may; else the errors of Engine.Authorise
}

// Rights says what by may decide as the policy is now: what the responders decide
// first, then each rule that names people of its own.
func (e *Engine) Rights(ctx context.Context, by string) []Right {
	all := []Right{{Err: e.mayAs(ctx, by, e.o.Config.Responders)}}
	for i, rule := range e.o.Config.Rules {
		if len(rule.Approvers) > 0 {
			all = append(all, Right{Rule: rule.title(i+1, false), Err: e.mayAs(ctx, by, rule.Approvers)})
		}
	}
	return all
}

// general reports whether a verb is about secbot as a whole.
func (v Verb) general() bool {
	switch v {
	case VerbReset, VerbPause, VerbResume, VerbMode:
		return true
	}
	return false
}

// Authorise returns nil where by may decide about inc, a DeniedError where
// not, and a RefusedError where nobody can tell (then the answer is no). The
// policy as it is now decides, not the one under which inc was opened: who has
// been taken out of it since may decide nothing any more. It is the one place
// that knows who may.
func (e *Engine) Authorise(ctx context.Context, by string, inc *Incident) error {
	if isShell(by) {
		return nil
	}
	for _, part := range e.o.Config.Decide(inc.Finding) {
		if err := e.among(ctx, by, part.Decision.Approvers); err != nil {
			return err
		}
	}
	return nil
}

// Outsiders is a Directory that knows who is no full member of the workspace.
type Outsiders interface {
	Directory
	// Outsider says in words why user is none, "Guests can't decide"; empty where
	// they are one.
	Outsider(ctx context.Context, user string) (string, error)
}

// insider returns nil for people at the shell and full members of the workspace,
// and a RefusedError for others, whoever has named them, and where nobody can tell.
func (e *Engine) insider(ctx context.Context, by string) error {
	who, ok := e.o.Directory.(Outsiders)
	if !ok || isShell(by) {
		return nil
	}
	why, err := who.Outsider(ctx, by)
	if err != nil {
		return &RefusedError{Text: "secbot could not ask Slack who you are (its app needs the scope users:read), so nothing was changed; try again in a while.", Err: err}
	}
	if why != "" {
		return &RefusedError{Text: why + ", so nothing was changed."}
	}
	return nil
}

// among returns nil where by is one of the approvers or in one of their groups,
// and a full member of the workspace.
func (e *Engine) among(ctx context.Context, by string, approvers []string) error {
	if slices.Contains(approvers, by) {
		return e.insider(ctx, by)
	}
	var unknown []error
	for _, group := range approvers {
		if !strings.HasPrefix(group, "S") || e.o.Directory == nil {
			continue
		}
		member, err := e.o.Directory.Member(ctx, group, by)
		if member && err == nil {
			return e.insider(ctx, by)
		}
		if err != nil {
			unknown = append(unknown, err)
		}
	}
	if len(unknown) > 0 {
		return &RefusedError{Text: "secbot could not ask Slack who is in the responders' group, so nothing was changed; try again in a while.",
			Err: errors.Join(unknown...)}
	}
	return &DeniedError{By: by, Approvers: approvers}
}
