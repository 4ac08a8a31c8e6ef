package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"secbot/remediation"
)

// idGroupDeleted is the playbook's id.
const idGroupDeleted = "sg-deleted"

// groupDeleted creates a security group again that was deleted.
type groupDeleted struct{ groupMaker }

// madeGroup is the outcome of making a group.
type madeGroup struct {
	ID string `json:"id"`
}

// Meta describes the playbook.
func (groupDeleted) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idGroupDeleted,
		Title:   "Security group deleted",
		Kind:    remediation.KindSecurityGroup,
		Handles: []string{"DeleteSecurityGroup"},
		Labels: remediation.Labels{
			Fixed:   "Security group created again",
			Ask:     "Security group deleted",
			Confirm: "This creates the group again, with description, tags and rules. It gets a new id.",
			Undo:    "The group that was created again is deleted, if it is unchanged and nothing uses it.",
			Did:     "Created again",
			Open:    "It was",
			Taken:   "Created again",
		},
		Undoable: true,
		Permissions: append(groupHistoryActions(), "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:DeleteSecurityGroup",
			"ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
			"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"),
	}
}

// Claim says that the group was deleted.
func (p groupDeleted) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) {
		return nil
	}
	f := fromSignal(remediation.Finding{Playbook: idGroupDeleted, Resource: sig.Resource, Name: sig.Change.GroupName, Severity: remediation.SeverityMedium}, &sig)
	if f.Resource.ID == "" {
		f.Resource.ID = sig.Change.GroupName
	}
	return []remediation.Finding{f}
}

// Judge finds a group that was deleted and is gone. What it was is known from
// the snapshot or from AWS Config, or it can't be put back.
func (p groupDeleted) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*GroupState)
	if !ok || sig == nil || !s.Gone || !handles(p.Meta(), sig) {
		return nil
	}
	f := fromSignal(remediation.Finding{Playbook: idGroupDeleted, Resource: s.Group, Name: sig.Change.GroupName, Severity: remediation.SeverityMedium}, sig)
	was := s.Earlier.group()
	if was == nil {
		f.Irreversible = "it is not known what the group was: " + s.Earlier.why()
		if sig.Resource.ID == "" {
			f.Irreversible = "the event names the group by its name alone, so that it is not known which it was"
		}
		return []remediation.Finding{f}
	}
	earlier, err := json.Marshal(was.bare())
	if err != nil {
		f.Irreversible = "what the group was can't be kept: " + err.Error()
		return []remediation.Finding{f}
	}
	f.Earlier, f.Name, f.Tags = earlier, was.Name, was.Tags
	f.Notes = []string{
		fmt.Sprintf("it had %d rules: %s", len(was.Rules), naming(was.Rules)), "known from " + s.Earlier.Source,
		"a group that is created again gets a new id",
	}
	f.Notes = append(f.Notes, s.Earlier.tagless()...)
	ingress := slices.DeleteFunc(slices.Clone(was.Rules), func(r remediation.Rule) bool { return r.Direction != remediation.Ingress })
	if opens := reopening(ingress, s.Lists); opens != "" {
		f.Notes = append([]string{opens}, f.Notes...)
	}
	return []remediation.Finding{f}
}

// Plan creates the group as it was.
func (p groupDeleted) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*GroupState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if !s.Gone {
		return remediation.Plan{}, fmt.Errorf("security group %s is there: %w", s.Group.ID, remediation.ErrNothingToDo)
	}
	var was GroupState
	if err := json.Unmarshal(f.Earlier, &was); err != nil {
		return remediation.Plan{}, fmt.Errorf("what the group %s was can't be read: %w", s.Group.ID, err)
	}
	return groupPlan(s, f, was, diff(nil, groupLines(&was)), "ec2:CreateSecurityGroup", "create the group "+was.Name+" again")
}

// Apply creates the group, or finishes what an earlier attempt has begun.
// Another group of that name is ErrDrifted.
func (p groupDeleted) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	want, err := decodeGroup(step)
	if err != nil {
		return remediation.Outcome{}, err
	}
	s, calls, err := p.make(ctx, want)
	if err != nil {
		return remediation.Outcome{}, err
	}
	data, err := json.Marshal(madeGroup{ID: s.Group.ID})
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("encode the outcome: %w", err)
	}
	return remediation.Outcome{Noop: calls == 0, Data: data}, nil
}

// Verify reads the whole group back.
func (p groupDeleted) Verify(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	if len(outcomes) == 0 {
		return fmt.Errorf("the group was not created: %w", remediation.ErrNotVerified)
	}
	return eachGroup(plan, outcomes, func(step remediation.Step, o remediation.Outcome, want *GroupState) error {
		ref, err := madeRef(step, o)
		if err != nil {
			return err
		}
		return p.is(ctx, ref, want)
	})
}

// madeRef points at the group that a step has made.
func madeRef(step remediation.Step, o remediation.Outcome) (remediation.Ref, error) {
	var made madeGroup
	if err := json.Unmarshal(o.Data, &made); err != nil {
		return remediation.Ref{}, fmt.Errorf("decode the outcome of step %d: %w", o.Step, err)
	}
	ref := step.Resource
	ref.ID = made.ID
	return ref, nil
}

// Undo deletes the group that was created again. One that was changed since is
// a *remediation.DriftError; one that is in use is an error that names its
// users.
func (p groupDeleted) Undo(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	return eachGroup(plan, outcomes, func(step remediation.Step, o remediation.Outcome, want *GroupState) error {
		ref, err := madeRef(step, o)
		if err != nil {
			return err
		}
		planned := *want
		planned.Rules = renamed(want.Rules, want.Group.ID, ref.ID)
		if _, err := p.remove(ctx, ref, &planned); err != nil {
			return err
		}
		return readBack(ctx, func() error { return p.isGone(ctx, ref) })
	})
}
