package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"secbot/remediation"
)

// idRuleRemoved is the playbook's id.
const idRuleRemoved = "sg-rule-removed"

// ruleRemoved puts rules back that were revoked from a security group.
type ruleRemoved struct{ ruleEditor }

// Meta describes the playbook.
func (ruleRemoved) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idRuleRemoved,
		Title:   "Security group rule removed",
		Kind:    remediation.KindSecurityGroup,
		Handles: []string{"RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"},
		Labels: remediation.Labels{
			Fixed:   "Security group rule put back",
			Ask:     "Rule removed from a security group",
			Confirm: "This adds the removed rules again, with description and tags. They get new ids.",
			Undo:    "The rules that were put back are revoked again.",
			Did:     "Put back",
			Open:    "Missing now",
			Taken:   "Put back",
		},
		Undoable: true,
		Permissions: append(groupHistoryActions(), "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress", "ec2:CreateTags",
			"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"),
	}
}

// removal is what a revoke took away, as far as it is known.
type removal struct {
	rules   []remediation.Rule // known, and not there now
	unknown []remediation.Rule // nobody knows whether they were there
	ids     []string           // nobody knows what they were
	guessed bool               // some of the rules are what AWS Config's record has and the group lacks
}

// guess is the doubt about rules that are known by what is missing alone.
const guess = "AWS Config's record of the group has no rule ids, so that this rule is a guess: it is the one that is missing now"

// removedRules says what a revoke took away. What the answer to the call named
// is certain. What only the request named was there if somebody had seen it: in
// a default VPC EC2 accepts a revoke of what never was.
func removedRules(s *GroupState, sig remediation.Signal) removal {
	var out removal
	e := s.Earlier
	for _, r := range s.told(sig.Change.Rules) {
		before, had := e.had(sig.At, func(x remediation.Rule) bool {
			if x.ID != "" && x.ID == r.ID {
				r.GroupOwner = cmp.Or(r.GroupOwner, x.GroupOwner) // which EC2's answer does not repeat
			}
			return x.Key() == r.Key() && (r.ID == "" || x.ID == "" || x.ID == r.ID)
		})
		switch {
		case had:
			r.ID, r.Description, r.Tags = cmp.Or(r.ID, before.ID), cmp.Or(r.Description, before.Description), before.Tags
			out.rules = append(out.rules, r)
		case sig.Change.Answered:
			out.rules = append(out.rules, r)
		case e.group() == nil:
			out.unknown = append(out.unknown, r)
		}
	}
	for _, id := range sig.Change.RuleIDs {
		before, had := e.had(sig.At, func(x remediation.Rule) bool { return x.ID == id })
		if had {
			out.rules = append(out.rules, before)
			continue
		}
		out.ids = append(out.ids, id)
	}
	if len(out.ids) > 0 {
		// A record without ids tells what they were where nothing else is missing.
		gone := direction(e.vanished(s, out.rules), sig.Change.Direction)
		if len(gone) == len(out.ids) {
			out.rules, out.ids, out.guessed = append(out.rules, gone...), nil, true
		}
	}
	isLive := func(r remediation.Rule) bool { _, live := ruleByKey(s.Rules, r.Key()); return live }
	out.rules = slices.DeleteFunc(out.rules, isLive)
	out.unknown = slices.DeleteFunc(out.unknown, isLive)
	return out
}

// Claim gives the rules that the event names.
func (p ruleRemoved) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || len(sig.Change.Rules)+len(sig.Change.RuleIDs) == 0 {
		return nil
	}
	f := fromSignal(remediation.Finding{Playbook: idRuleRemoved, Resource: sig.Resource, Name: sig.Change.GroupName,
		Severity: remediation.SeverityLow, Direction: sig.Change.Direction, Rules: sig.Change.Rules}, &sig)
	f.Resource.ID = cmp.Or(f.Resource.ID, sig.Change.GroupName)
	if len(sig.Change.RuleIDs) > 0 {
		f.Notes = []string{"named by id alone: " + some(sig.Change.RuleIDs)}
	}
	return []remediation.Finding{f}
}

// Judge finds the rules that the event took away and that are still missing.
// They bear no openness, so that no policy about open rules puts them back.
func (p ruleRemoved) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*GroupState)
	if !ok || sig == nil || s.Gone || !handles(p.Meta(), sig) {
		return nil
	}
	removed := removedRules(s, *sig)
	var findings []remediation.Finding
	base := groupFinding(idRuleRemoved, s, sig, sig.Change.Direction)
	base.Severity = remediation.SeverityLow
	base.Notes = append(base.Notes, s.Earlier.tagless()...)
	if len(removed.rules) > 0 {
		f := base
		f.Rules = slices.Clone(removed.rules)
		f.Doubt = reopening(removed.rules, s.Lists)
		if f.Doubt == "" && removed.guessed {
			f.Doubt = guess
		}
		findings = append(findings, f)
	}
	if len(removed.unknown)+len(removed.ids) > 0 {
		f := base
		f.Rules = slices.Clone(removed.unknown)
		f.Irreversible = "it is not known what was removed: " + s.Earlier.why()
		if len(removed.ids) > 0 {
			f.Notes = append([]string{"revoked by id alone: " + some(removed.ids)}, f.Notes...)
		}
		findings = append(findings, f)
	}
	return findings
}

// reopening says that putting rules back opens the group, which nobody should
// be able to bring about by revoking something; empty where it doesn't.
func reopening(rules []remediation.Rule, lists map[string]PrefixList) string {
	var open []remediation.Rule
	for i, e := range exposures(rules, lists) {
		if e.Openness == remediation.OpenWorld || e.Openness == remediation.OpenWide {
			open = append(open, rules[i])
		}
	}
	if len(open) == 0 {
		return ""
	}
	return "putting it back opens the group to more than private addresses again: " + naming(open)
}

// Plan adds the finding's rules that the group lacks, a step a direction.
func (p ruleRemoved) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*GroupState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Gone {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrGone)
	}
	lacking := slices.DeleteFunc(slices.Clone(f.Rules), func(r remediation.Rule) bool {
		_, there := ruleByKey(s.Rules, r.Key())
		return there
	})
	if len(lacking) == 0 {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrNothingToDo)
	}
	before, err := json.Marshal(s)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the state before: %w", err)
	}
	plan := remediation.Plan{Playbook: f.Playbook, Finding: f, Before: before,
		Diff: diff(ruleLines(s.Rules), ruleLines(append(slices.Clone(s.Rules), lacking...)))}
	for _, d := range []remediation.Direction{remediation.Ingress, remediation.Egress} {
		rules := direction(lacking, d)
		if len(rules) == 0 {
			continue
		}
		action := "ec2:AuthorizeSecurityGroupIngress"
		if d == remediation.Egress {
			action = "ec2:AuthorizeSecurityGroupEgress"
		}
		params, err := json.Marshal(ruleParams{Direction: d, Rules: rules})
		if err != nil {
			return remediation.Plan{}, fmt.Errorf("encode the step's parameters: %w", err)
		}
		plan.Steps = append(plan.Steps, remediation.Step{Action: action, Resource: s.Group, Params: params,
			Summary: "add again " + strings.Join(ruleLines(rules), ", ")})
	}
	return plan, nil
}

// Apply authorises the planned rules that are missing. A rule that is there with
// another description is ErrDrifted, and nothing is added. The outcome holds the
// rules with their new ids, those too that an earlier attempt, whose answer was
// lost, may have added.
func (p ruleRemoved) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in ruleParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	missing, err := p.missing(ctx, step.Resource, in.Rules)
	if err != nil {
		return remediation.Outcome{}, err
	}
	var made []remediation.Rule
	if len(missing) > 0 {
		if made, err = p.restore(ctx, restore{ref: step.Resource, direction: in.Direction, rules: missing}); err != nil {
			return remediation.Outcome{}, err
		}
	}
	back := ruleParams{Direction: in.Direction}
	if back.Rules, err = p.identified(ctx, step.Resource, in.Rules, made); err != nil {
		return remediation.Outcome{}, err
	}
	data, err := json.Marshal(back)
	if err != nil {
		return remediation.Outcome{}, fmt.Errorf("encode the outcome: %w", err)
	}
	return remediation.Outcome{Noop: len(missing) == 0, Data: data}, nil
}

// identified gives rules, which are in the group, with their ids: those that EC2
// has answered, and the others as it lists them.
func (p ruleEditor) identified(ctx context.Context, ref remediation.Ref, rules, answered []remediation.Rule) ([]remediation.Rule, error) {
	var found []remediation.Rule
	err := readBack(ctx, func() error {
		live, err := groupRules(ctx, p.api, ref)
		if err != nil {
			return err
		}
		found = nil
		for _, r := range rules {
			now, there := ruleByKey(live, r.Key())
			if a, made := ruleByKey(answered, r.Key()); !there && made {
				now, there = r, true
				now.ID = a.ID
			}
			if !there || now.ID == "" {
				return fmt.Errorf("the id of %s in security group %s: %w", r, ref.ID, remediation.ErrNotVerified)
			}
			found = append(found, now)
		}
		return nil
	})
	return found, err
}

// Verify reads the rules back: all of the planned ones must be there.
func (p ruleRemoved) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		var in ruleParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		live, err := groupRules(ctx, p.api, step.Resource)
		if err != nil {
			return err
		}
		for _, r := range in.Rules {
			if _, there := ruleByKey(live, r.Key()); !there {
				return fmt.Errorf("security group %s lacks %s: %w", step.Resource.ID, r, remediation.ErrNotVerified)
			}
		}
	}
	return nil
}

// Undo revokes the rules that were put back, by their new ids. It returns a
// *remediation.DriftError where one of them has been changed since, or is there
// again under another id. Without the ids of all it revokes none.
func (p ruleRemoved) Undo(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	type revocation struct {
		ref   remediation.Ref
		added ruleParams
		seen  []remediation.Rule
	}
	var all []revocation
	for _, o := range outcomes {
		if o.Step < 0 || o.Step >= len(plan.Steps) {
			return fmt.Errorf("outcome of step %d, but the plan has %d steps", o.Step, len(plan.Steps))
		}
		r := revocation{ref: plan.Steps[o.Step].Resource}
		var planned ruleParams
		if err := json.Unmarshal(plan.Steps[o.Step].Params, &planned); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		if err := json.Unmarshal(o.Data, &r.added); err != nil {
			return fmt.Errorf("decode the outcome of step %d: %w", o.Step, err)
		}
		if known, want := len(r.added.Rules), len(planned.Rules); known < want {
			return fmt.Errorf("the new ids of only %d of %d rules are known; revoke by hand: %s", known, want, naming(planned.Rules))
		}
		// All is compared before anything is changed.
		var err error
		if r.seen, err = p.still(ctx, r.ref, r.added.Rules); err != nil {
			return err
		}
		all = append(all, r)
	}
	for _, r := range all {
		if err := p.takeAway(ctx, r.ref, r.added, r.seen); err != nil {
			return err
		}
	}
	return nil
}

// still lists which of the rules that were added are there. A
// *remediation.DriftError says that one was changed, or that its content is there
// under another id.
func (p ruleEditor) still(ctx context.Context, ref remediation.Ref, added []remediation.Rule) ([]remediation.Rule, error) {
	rules, err := groupRules(ctx, p.api, ref)
	if err != nil {
		return nil, err
	}
	live, expected, found := changedSince(rules, added)
	for _, want := range added {
		if _, there := ruleByID(rules, want.ID); there {
			continue
		}
		if other, there := ruleByKey(rules, want.Key()); there {
			expected, found = append(expected, want.ID+" "+ruleLine(want)), append(found, other.ID+" "+ruleLine(other))
		}
	}
	if len(expected) > 0 {
		return nil, drift(ref, expected, found)
	}
	return live, nil
}

// takeAway revokes rules that were added, of which some were just seen, until none
// is seen any more. A list that lacks one may be from before it was added.
func (p ruleEditor) takeAway(ctx context.Context, ref remediation.Ref, added ruleParams, live []remediation.Rule) error {
	revoked := map[string]bool{}
	return readBack(ctx, func() (err error) {
		for {
			left := slices.DeleteFunc(slices.Clone(live), func(r remediation.Rule) bool { return revoked[r.ID] })
			if len(left) > 0 {
				refused := p.revoke(ctx, ref, added.Direction, left)
				if noSuchRule(refused) {
					if live, err = p.still(ctx, ref, added.Rules); err != nil || len(live) == 0 {
						return err
					}
					return fmt.Errorf("security group %s still has %s: %w: %w", ref.ID, naming(live), remediation.ErrNotVerified, refused)
				}
				if refused != nil {
					return refused
				}
			}
			for _, r := range left {
				revoked[r.ID] = true
			}
			if live, err = p.still(ctx, ref, added.Rules); err != nil || len(live) == 0 {
				return err
			}
			if !slices.ContainsFunc(live, func(r remediation.Rule) bool { return !revoked[r.ID] }) {
				return fmt.Errorf("security group %s still has %s: %w", ref.ID, naming(live), remediation.ErrNotVerified)
			}
		}
	})
}
