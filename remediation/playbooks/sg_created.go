package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"secbot/remediation"
)

// idGroupCreated is the playbook's id.
const idGroupCreated = "sg-created"

// groupCreated deletes a security group that was created.
type groupCreated struct{ groupMaker }

// groupParams are the parameters of a step that makes or deletes a group.
type groupParams struct {
	Group GroupState `json:"group"`
}

// Meta describes the playbook.
func (groupCreated) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idGroupCreated,
		Title:   "Security group created",
		Kind:    remediation.KindSecurityGroup,
		Handles: []string{"CreateSecurityGroup"},
		Labels: remediation.Labels{
			Fixed:   "Security group deleted",
			Ask:     "Security group created",
			Confirm: "This deletes the new group, if it still is as it was found and nothing uses it.",
			Undo:    "The group is created again, with its rules and tags. It gets a new id.",
			Did:     "Deleted",
			Open:    "New",
			Taken:   "Deleted",
		},
		Undoable: true,
		Permissions: append(groupReadActions(), "ec2:DeleteSecurityGroup", "ec2:CreateSecurityGroup", "ec2:CreateTags",
			"ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
			"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"),
	}
}

// Claim says that the group was created.
func (p groupCreated) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) {
		return nil
	}
	return []remediation.Finding{fromSignal(remediation.Finding{
		Playbook: idGroupCreated, Resource: sig.Resource, Name: sig.Change.GroupName, Severity: remediation.SeverityLow,
	}, &sig)}
}

// Judge finds a group that was created and is there. One that is in use already
// can't be deleted.
func (p groupCreated) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*GroupState)
	if !ok || sig == nil || s.Gone || !handles(p.Meta(), sig) {
		return nil
	}
	f := groupFinding(idGroupCreated, s, sig, "")
	f.Severity = remediation.SeverityLow
	if s.Use.any() {
		f.Irreversible = "the group is in use already, so that it can't be deleted: " + some(s.Use.notes())
	}
	return []remediation.Finding{f}
}

// Plan deletes the group as it is now.
func (p groupCreated) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*GroupState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Gone {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrGone)
	}
	return groupPlan(s, f, s.bare(), diff(groupLines(s), nil), "ec2:DeleteSecurityGroup", "delete the group "+s.Group.ID)
}

// groupPlan is a plan of one step about a whole group.
func groupPlan(s *GroupState, f remediation.Finding, group GroupState, lines []remediation.DiffLine, action, summary string) (remediation.Plan, error) {
	return newPlan(s, f, remediation.Step{Action: action, Summary: summary}, groupParams{Group: group}, lines)
}

func decodeGroup(step remediation.Step) (*GroupState, error) {
	var in groupParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return nil, fmt.Errorf("decode the step's parameters: %w", err)
	}
	return &in.Group, nil
}

// Apply deletes the group. A group that is not as planned is ErrDrifted; one
// that is in use is an error that names its users.
func (p groupCreated) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	planned, err := decodeGroup(step)
	if err != nil {
		return remediation.Outcome{}, err
	}
	was, err := p.remove(ctx, step.Resource, planned)
	return remediation.Outcome{Noop: !was && err == nil}, err
}

// Verify reads back that there is no such group.
func (p groupCreated) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		if err := p.isGone(ctx, step.Resource); err != nil {
			return err
		}
	}
	return nil
}

// Undo creates the group again, with description, tags and rules. It gets a new
// id. Another group of that name is a *remediation.DriftError.
func (p groupCreated) Undo(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	return eachGroup(plan, outcomes, func(step remediation.Step, _ remediation.Outcome, planned *GroupState) error {
		if slices.Equal(groupLines(planned), p.linesOf(ctx, step.Resource)) {
			return nil // it was never deleted, or is back under its own id
		}
		_, _, err := p.make(ctx, planned)
		return err
	})
}

// linesOf shows a group as it is; nil where it can't be read.
func (m groupMaker) linesOf(ctx context.Context, ref remediation.Ref) []string {
	s, err := readGroup(ctx, m.api, ref)
	if err != nil {
		return nil
	}
	return groupLines(s)
}

// eachGroup calls f for each outcome, with its step and that step's group.
func eachGroup(plan remediation.Plan, outcomes []remediation.Outcome, f func(remediation.Step, remediation.Outcome, *GroupState) error) error {
	for _, o := range outcomes {
		if o.Step < 0 || o.Step >= len(plan.Steps) {
			return fmt.Errorf("outcome of step %d, but the plan has %d steps", o.Step, len(plan.Steps))
		}
		planned, err := decodeGroup(plan.Steps[o.Step])
		if err != nil {
			return err
		}
		if err := f(plan.Steps[o.Step], o, planned); err != nil {
			return err
		}
	}
	return nil
}
