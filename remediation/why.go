package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	id = strings.TrimPrefix(id, "arn:aws:s3:::")
	if err := e.reachable(ctx, refOf(id)); err != nil {
		return Reply{Text: fmt.Sprintf("%s could not be looked at: %s.", id, err), Failed: true}, nil
	}
	env, state, err := e.find(ctx, refOf(id))
	if refOf(id).Kind == KindBucket && (errors.Is(err, ErrGone) || errors.Is(err, ErrOtherAccount)) {
		env, state, err = e.groupCalled(ctx, id, err)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return Reply{}, err
	case (errors.Is(err, ErrGone) || errors.Is(err, ErrOtherAccount)) && refOf(id).Kind == KindBucket:
		return Reply{Text: fmt.Sprintf("There is no %s here: no bucket, and no security group of that name in a default VPC. Name a group of another VPC by its id (sg-…).", id), Failed: true}, nil
	case errors.Is(err, ErrGone), errors.Is(err, ErrOtherAccount):
		return Reply{Text: fmt.Sprintf("There is no %s here.", id), Failed: true}, nil
	case err != nil:
		return Reply{Text: fmt.Sprintf("%s could not be read: %s", id, because(err)), Failed: true}, nil
	}
	var lines, people []string
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
				if by := part.Decision.Paused; by != "" && !slices.Contains(people, by) && strings.Contains(line, by) {
					people = append(people, by)
				}
			}
		}
	}
	r := state.Ref()
	where := joinText(" in ", r.ID, joinText(" ", r.Account, r.Region))
	if r.Kind == KindAccount {
		where = "account " + r.ID
	}
	waits, err := e.waitingAt(ctx, r, lines)
	if err != nil {
		return Reply{}, err
	}
	switch text := "As " + where + " is now:"; {
	case len(lines) > 0:
		return Reply{Text: text, Lines: append(lines, waits...), NamedInLines: people}, nil
	case len(waits) > 0:
		return Reply{Text: "A scan would find nothing open at " + where + ", as it is now. What waits for a decision about it:", Lines: waits}, nil
	}
	return Reply{Text: "Nothing is open at " + where + " as it is now, and nothing waits for a decision about it."}, nil
}

// waitingAt tells what waits for people about a resource and is not in the lines:
// most changes are judged by their events alone.
func (e *Engine) waitingAt(ctx context.Context, r Ref, lines []string) ([]string, error) {
	known, err := e.o.Store.Incidents(ctx, IncidentQuery{Resource: r.ID, Statuses: waiting(), Limit: maxCounted})
	if err != nil {
		return nil, fmt.Errorf("read what waits about %s: %w", r, err)
	}
	said, waits := strings.Join(lines, "\n"), []string{}
	for _, inc := range known {
		at := inc.Finding.Resource
		if at.Kind == r.Kind && (r.Account == "" || at.Account == r.Account) && !strings.Contains(said, inc.ID) {
			waits = append(waits, fmt.Sprintf("%s, incident %s is %s", inc.Finding.what(), inc.ID, inc.Status))
		}
	}
	return waits, nil
}

// named is what people call the finding's resource, with its id: "web (sg-0abc)".
func (f Finding) named() string {
	if f.Name == "" || f.Name == f.Resource.ID {
		return f.Resource.ID
	}
	return f.Name + " (" + f.Resource.ID + ")"
}

// what names a finding with its changes in a line: "sg-rule-added, low: tcp 22 from …".
func (f Finding) what() string {
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
	if len(f.Off) > 0 {
		what = append(what, strings.Join(f.Off, ", ")+" off")
	}
	line := fmt.Sprintf("%s, %s", f.Playbook, f.Severity)
	if len(what) > 0 {
		line += ": " + strings.Join(what, "; ")
	}
	return line
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

// groupCalled finds the security group of a name that is no bucket's; the bucket's
// error where there is none.
func (e *Engine) groupCalled(ctx context.Context, name string, noBucket error) (*Environment, State, error) {
	env, state, err := e.find(ctx, Ref{Kind: KindSecurityGroup, ID: name})
	if errors.Is(err, ErrGone) {
		return nil, nil, noBucket
	}
	return env, state, err
}

// whyPart says what becomes of a part of a finding, and because of what.
func (e *Engine) whyPart(ctx context.Context, part Part) (string, error) {
	f, d := part.Finding, part.Decision
	line := f.what()
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
