package remediation

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// tellWhy looks at one resource and tells what is open there and what becomes of
// it. It changes nothing.
func (e *Engine) tellWhy(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	reply, err := e.why(ctx, cmd.Scope)
	if err != nil {
		return err
	}
	notices, err := e.replyNotice(cmd, reply)
	if err != nil {
		return err
	}
	return h.commit(ctx, Write{Notices: notices}, true)
}

// refOf is what an id stands for: a security group's id, an account's, else a
// bucket's name.
func refOf(id string) Ref {
	switch {
	case strings.HasPrefix(id, "sg-"):
		return Ref{Kind: KindSecurityGroup, ID: id}
	case accountID().MatchString(id):
		return Ref{Kind: KindAccount, Account: id, ID: id}
	}
	return Ref{Kind: KindBucket, ID: id}
}

func (e *Engine) why(ctx context.Context, id string) (Reply, error) {
	env, state, err := e.find(ctx, refOf(id))
	switch {
	case err != nil && ctx.Err() != nil:
		return Reply{}, err
	case errors.Is(err, ErrGone), errors.Is(err, ErrOtherAccount):
		return Reply{Text: fmt.Sprintf("There is no %s here.", id), Failed: true}, nil
	case err != nil:
		return Reply{Text: fmt.Sprintf("%s could not be read: %s", id, explain(err)), Failed: true}, nil
	}
	var lines []string
	for _, pb := range env.Playbooks {
		if pb.Meta().Kind != state.Ref().Kind {
			continue
		}
		for _, f := range pb.Judge(state, nil) {
			parts, err := e.Decide(ctx, f)
			if err != nil {
				return Reply{}, err
			}
			for _, part := range parts {
				line, err := e.whyPart(ctx, part)
				if err != nil {
					return Reply{}, err
				}
				lines = append(lines, line)
			}
		}
	}
	r := state.Ref()
	text := fmt.Sprintf("%s in %s %s, as it is now:", r.ID, r.Account, r.Region)
	if len(lines) == 0 {
		text = fmt.Sprintf("Nothing is open at %s in %s %s, as it is now. A change is judged when it is made.", r.ID, r.Account, r.Region)
	}
	return Reply{Text: text, Lines: lines}, nil
}

// find reads a resource in the first of the regions in which it is.
func (e *Engine) find(ctx context.Context, ref Ref) (env *Environment, state State, err error) {
	for _, region := range e.scanRegions(ref.Kind) {
		ref.Region = region
		env, state, err = e.read(ctx, ref)
		if err == nil || !errors.Is(err, ErrGone) {
			return env, state, err
		}
	}
	return env, nil, err
}

// whyPart says what becomes of a part of a finding, and because of what.
func (e *Engine) whyPart(ctx context.Context, part Part) (string, error) {
	f, d := part.Finding, part.Decision
	var what []string
	for _, r := range f.Rules {
		what = append(what, r.String())
	}
	for _, g := range f.Grants {
		what = append(what, "ACL grant "+g.String())
	}
	for _, s := range f.Statements {
		what = append(what, "statement "+s.Sid)
	}
	line := strings.TrimSpace(fmt.Sprintf("%s, %s: %s", f.Playbook, f.Severity, strings.Join(what, "; ")))
	line += fmt.Sprintf(" – the policy says %s (%s)", d.Action, joinText("; ", d.Rule, d.Why))
	s, err := e.suppressed(ctx, f)
	if err != nil {
		return "", err
	}
	if s != nil {
		line += ", and it is let be: " + s.Reason
	}
	active, err := e.covering(ctx, f)
	if err != nil {
		return "", err
	}
	if active != nil {
		line += fmt.Sprintf(", incident %s is %s", active.ID, active.Status)
	}
	return line, nil
}
