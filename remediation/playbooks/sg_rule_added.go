package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"secbot/remediation"
)

// idRuleAdded is the playbook's id.
const idRuleAdded = "sg-rule-added"

// ruleAdded revokes rules that were added to a security group.
type ruleAdded struct{ ruleEditor }

// Meta describes the playbook.
func (ruleAdded) Meta() remediation.Meta {
	return remediation.Meta{
		ID:    idRuleAdded,
		Title: "Security group rule added",
		Kind:  remediation.KindSecurityGroup,
		// Where nobody knows what a modified rule was before, it counts as added.
		Handles: []string{"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "ModifySecurityGroupRules"},
		Labels: remediation.Labels{
			Fixed:   "Security group rule revoked",
			Ask:     "Rule added to a security group",
			Confirm: "This revokes the added rules. All other rules stay, and so do connections that are already open.",
			Undo:    "The rules are added again, with description and tags: what they opened will be open again.",
		},
		Undoable: true,
		Permissions: append(groupReadActions(), "ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress",
			"ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress", "ec2:CreateTags"),
	}
}

// Plan revokes the finding's rules that are in the group, a step a direction. Where
// they were modified to be less open it returns a *remediation.DriftError.
func (p ruleAdded) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*GroupState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Gone {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrGone)
	}
	offending, changed := s.offending(f.Rules)
	switch {
	case len(offending) > 0:
	case len(changed) > 0:
		return remediation.Plan{}, drift(s.Group, ruleLines(f.Rules), ruleLines(changed))
	default:
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrNothingToDo)
	}
	before, err := json.Marshal(s)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the state before: %w", err)
	}
	plan := remediation.Plan{Playbook: f.Playbook, Finding: f, Before: before, Diff: diff(ruleLines(s.Rules), ruleLines(minus(s.Rules, offending)))}
	for _, d := range []remediation.Direction{remediation.Ingress, remediation.Egress} {
		rules := slices.DeleteFunc(slices.Clone(offending), func(r remediation.Rule) bool { return r.Direction != d })
		if len(rules) == 0 {
			continue
		}
		step, err := revokeStep(s.Group, d, rules)
		if err != nil {
			return remediation.Plan{}, err
		}
		plan.Steps = append(plan.Steps, step)
	}
	return plan, nil
}

// offending are the live rules that a finding is about: by content, since a rule
// that was taken away and added again in the meantime has another id and is as
// open as before, and by id where somebody has modified it and it is as open as
// before or more. changed are those that were modified to be less open.
func (s *GroupState) offending(found []remediation.Rule) (offending, changed []remediation.Rule) {
	order := remediation.Opennesses()
	for _, r := range s.Rules {
		was, modified := ruleByID(found, r.ID)
		_, same := ruleByKey(found, r.Key())
		switch {
		case same:
			offending = append(offending, r)
		case !modified || r.ID == "":
		case slices.Index(order, s.openness(r)) >= slices.Index(order, was.Openness):
			offending = append(offending, r)
		default:
			changed = append(changed, r)
		}
	}
	return offending, changed
}

// openness rates a rule among those beside it, which costs more than all else of a
// plan.
func (s *GroupState) openness(r remediation.Rule) remediation.Openness {
	beside := direction(s.Rules, r.Direction)
	place := slices.IndexFunc(beside, func(l remediation.Rule) bool { return l.ID == r.ID })
	return exposures(beside, s.Lists)[place].Openness
}

func revokeStep(ref remediation.Ref, d remediation.Direction, rules []remediation.Rule) (remediation.Step, error) {
	params, err := json.Marshal(ruleParams{Direction: d, Rules: rules})
	if err != nil {
		return remediation.Step{}, fmt.Errorf("encode the step's parameters: %w", err)
	}
	action := "ec2:RevokeSecurityGroupIngress"
	if d == remediation.Egress {
		action = "ec2:RevokeSecurityGroupEgress"
	}
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = fmt.Sprintf("%s (%s)", r.ID, r)
	}
	return remediation.Step{Action: action, Resource: ref, Summary: "revoke " + strings.Join(texts, ", "), Params: params}, nil
}

// Apply revokes the planned rules that are still there, by their ids. A rule
// that has another content or description by now is ErrDrifted, and nothing is
// revoked. The outcome holds the rules as they were right before.
func (p ruleAdded) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in ruleParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	live, err := p.unchanged(ctx, step.Resource, in.Rules)
	if err != nil {
		return remediation.Outcome{}, err
	}
	if len(live) > 0 {
		err = p.revoke(ctx, step.Resource, in.Direction, live)
		if noSuchRule(err) || hasCode(err, "InvalidGroup.NotFound") {
			return p.revokeRest(ctx, step.Resource, in)
		}
		if err != nil {
			return remediation.Outcome{}, err
		}
	}
	return revoked(in, live)
}

// Announce implements remediation.Announcer.
func (p ruleAdded) Announce(step remediation.Step) ([]remediation.Intent, error) {
	var in ruleParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return nil, fmt.Errorf("decode the step's parameters: %w", err)
	}
	if in.Direction == remediation.Egress {
		return []remediation.Intent{groupIntent("RevokeSecurityGroupEgress", revokeEgress(step.Resource, in.Rules))}, nil
	}
	return []remediation.Intent{groupIntent("RevokeSecurityGroupIngress", revokeIngress(step.Resource, in.Rules))}, nil
}

// revokeRest goes on where a rule went away between reading and revoking, so
// that EC2 refused to revoke any.
func (p ruleAdded) revokeRest(ctx context.Context, ref remediation.Ref, in ruleParams) (remediation.Outcome, error) {
	live, err := p.unchanged(ctx, ref, in.Rules)
	if err != nil {
		return remediation.Outcome{}, err
	}
	if len(live) > 0 {
		if err := p.revoke(ctx, ref, in.Direction, live); err != nil {
			return remediation.Outcome{}, err
		}
	}
	return revoked(in, live)
}

// revoked is the outcome: the rules that this call took away or, where none was
// left, those that the plan was about, since an earlier attempt whose answer
// was lost may have taken them.
func revoked(in ruleParams, live []remediation.Rule) (remediation.Outcome, error) {
	done := ruleParams{Direction: in.Direction, Rules: slices.Clone(in.Rules)}
	for i, r := range done.Rules {
		if now, ok := ruleByID(live, r.ID); ok {
			done.Rules[i] = now
		}
	}
	if len(live) > 0 {
		done.Rules = slices.DeleteFunc(done.Rules, func(r remediation.Rule) bool { _, ok := ruleByID(live, r.ID); return !ok })
	}
	data, err := json.Marshal(done)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("encode the outcome: %w", err)
	}
	return remediation.Outcome{Noop: len(live) == 0, Data: data}, nil
}

// Verify reads the rules back: none of the planned ones may be there. EC2's
// answer to the revoke proves nothing.
func (p ruleAdded) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		var in ruleParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		rules, err := groupRules(ctx, p.api, step.Resource)
		if err != nil {
			return err
		}
		for _, r := range in.Rules {
			_, there := ruleByID(rules, r.ID)
			if again, ok := ruleByKey(rules, r.Key()); ok {
				there, r = true, again // an undo or somebody else has put it back
			}
			if there {
				return fmt.Errorf("security group %s still has %s (%s): %w", step.Resource.ID, r.ID, r, remediation.ErrNotVerified)
			}
		}
	}
	return nil
}

// Undo authorises the revoked rules again, with description and tags. They get
// new ids. It returns a *remediation.DriftError where such a rule is there with
// another description, and ErrGone where the group is gone.
func (p ruleAdded) Undo(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	var missing []restore
	for _, o := range outcomes {
		if o.Step < 0 || o.Step >= len(plan.Steps) {
			return fmt.Errorf("outcome of step %d, but the plan has %d steps", o.Step, len(plan.Steps))
		}
		var done ruleParams
		if err := json.Unmarshal(o.Data, &done); err != nil {
			return fmt.Errorf("decode the outcome of step %d: %w", o.Step, err)
		}
		// All is compared before anything is changed.
		rules, err := p.missing(ctx, plan.Steps[o.Step].Resource, done.Rules)
		if err != nil {
			return err
		}
		missing = append(missing, restore{ref: plan.Steps[o.Step].Resource, direction: done.Direction, rules: rules})
	}
	var errs []error
	for _, m := range missing {
		_, err := p.restore(ctx, m)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
