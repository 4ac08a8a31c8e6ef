package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
)

// idRuleModified is the playbook's id.
const idRuleModified = "sg-rule-modified"

type ruleModifierAPI interface {
	groupReaderAPI
	ModifySecurityGroupRules(ctx context.Context, in *ec2.ModifySecurityGroupRulesInput, opts ...func(*ec2.Options)) (*ec2.ModifySecurityGroupRulesOutput, error)
}

// ruleModified gives modified rules their earlier values again.
type ruleModified struct{ api ruleModifierAPI }

// modifyParams are a step's parameters: the same rules, by id, as they are and
// as they were.
type modifyParams struct {
	Now []remediation.Rule `json:"now"`
	Was []remediation.Rule `json:"was"`
}

// Meta describes the playbook.
func (ruleModified) Meta() remediation.Meta {
	return remediation.Meta{
		ID:      idRuleModified,
		Title:   "Security group rule modified",
		Kind:    remediation.KindSecurityGroup,
		Handles: []string{"ModifySecurityGroupRules"},
		Labels: remediation.Labels{
			Fixed:   "Security group rule put back as it was",
			Ask:     "Rule of a security group modified",
			Confirm: "This gives the modified rules their earlier values again. All other rules stay, and so do connections that are already open.",
			Undo:    "The rules get the values that they had before the fix: what they opened will be open again.",
			Did:     "Put back as it was",
			Open:    "Now",
			Taken:   "No longer",
		},
		Undoable:    true,
		Permissions: append(groupHistoryActions(), "ec2:ModifySecurityGroupRules"),
	}
}

// ruleChange is a rule as it is and as it was.
type ruleChange struct {
	now, was remediation.Rule
	guessed  bool // AWS Config's record, which has no ids, lacks no other rule
}

// modifiedRules are the rules that the event changed, as it says they are now
// and as they were before it, and the ids of those of which nobody knows what
// they were. A rule that is not as the event left it has been changed or revoked
// since, which has an event of its own.
func modifiedRules(s *GroupState, sig remediation.Signal) (changes []ruleChange, unknown []remediation.Rule) {
	for _, asked := range sig.Change.Rules {
		now, there := ruleByID(s.Rules, asked.ID)
		if !there || !sameContent(now, asked) {
			continue
		}
		was, known := s.Earlier.had(sig.At, func(r remediation.Rule) bool { return r.ID == asked.ID && !sameRule(r, now) })
		if !known && s.Earlier.unchanged(now, sig.At) {
			continue // it was as it is: the call changed nothing
		}
		if !known {
			unknown = append(unknown, now)
			continue
		}
		changes = append(changes, ruleChange{now: now, was: was})
	}
	// A record without ids tells what a single rule was where nothing else of
	// its direction is missing.
	if len(unknown) == 1 && len(changes) == 0 {
		gone := direction(s.Earlier.vanished(s, nil), unknown[0].Direction)
		if len(gone) == 1 {
			was := gone[0]
			was.ID, was.Tags = unknown[0].ID, unknown[0].Tags
			return []ruleChange{{now: unknown[0], was: was, guessed: true}}, nil
		}
	}
	return changes, unknown
}

// unchanged reports whether the group was seen before the change with the rule as
// it is now. What was seen only afterwards tells nothing: the events of several
// changes come after the last of them.
func (e *Earlier) unchanged(now remediation.Rule, at time.Time) bool {
	if e == nil || e.Snapshot == nil || !e.Snapshot.At.Before(at.Add(-eventSecond)) {
		return false
	}
	kept, there := ruleByID(e.Snapshot.Group.Rules, now.ID)
	return there && sameRule(kept, now)
}

// sameContent reports whether a live rule is what an event has made of it. The
// event tells neither the direction nor the account of a referenced group.
func sameContent(live, asked remediation.Rule) bool {
	asked.Direction, asked.GroupOwner = live.Direction, live.GroupOwner
	return live.Key() == asked.Key()
}

// Claim gives the rules that the event names, rated by themselves.
func (p ruleModified) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || len(sig.Change.Rules) == 0 {
		return nil
	}
	f := fromSignal(remediation.Finding{Playbook: idRuleModified, Resource: sig.Resource}, &sig)
	return []remediation.Finding{withRules(f, rated(sig.Change.Rules, exposures(sig.Change.Rules, nil)))}
}

// Judge finds the modified rules whose earlier values are known. The others are
// for ruleAdded: the rule may be taken away, though not put back.
func (p ruleModified) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*GroupState)
	if !ok || sig == nil || s.Gone || !handles(p.Meta(), sig) {
		return nil
	}
	changes, _ := modifiedRules(s, *sig)
	var findings []remediation.Finding
	for _, d := range []remediation.Direction{remediation.Ingress, remediation.Egress} {
		of := slices.DeleteFunc(slices.Clone(changes), func(c ruleChange) bool { return c.now.Direction != d })
		if len(of) > 0 {
			findings = append(findings, modifiedFinding(s, sig, d, of))
		}
	}
	return findings
}

func modifiedFinding(s *GroupState, sig *remediation.Signal, d remediation.Direction, changes []ruleChange) remediation.Finding {
	live := direction(s.Rules, d)
	open := exposures(live, s.Lists)
	f := groupFinding(idRuleModified, s, sig, d)
	var now []remediation.Rule
	var of []exposure
	var notes []string
	for _, c := range changes {
		now = append(now, c.now)
		of = append(of, open[slices.IndexFunc(live, func(r remediation.Rule) bool { return r.ID == c.now.ID })])
		f.Was = append(f.Was, c.was)
		notes = append(notes, fmt.Sprintf("%s was %s", c.now.ID, ruleLine(c.was)))
	}
	notes = append(notes, "known from "+s.Earlier.Source)
	notes = append(notes, notesOf(s, live, now, of)...)
	f.Notes = append(notes, f.Notes...)
	f.Doubt = reopening(f.Was, s.Lists)
	if f.Doubt == "" && slices.ContainsFunc(changes, func(c ruleChange) bool { return c.guessed }) {
		f.Doubt = guess
	}
	f.Doubt = joinText([]string{f.Doubt, listDoubt(now, s.Lists)})
	return withRules(f, rated(now, of))
}

// Plan gives the finding's rules that are still as found their earlier values. It
// returns a *remediation.DriftError where they are neither as found nor as before.
func (p ruleModified) Plan(st remediation.State, f remediation.Finding) (remediation.Plan, error) {
	s, ok := st.(*GroupState)
	if !ok {
		return remediation.Plan{}, errWrongState
	}
	if s.Gone {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrGone)
	}
	var in modifyParams
	var other []remediation.Rule
	after := slices.Clone(s.Rules)
	for _, r := range f.Rules {
		i := slices.IndexFunc(after, func(l remediation.Rule) bool { return l.ID == r.ID })
		was, known := ruleByID(f.Was, r.ID)
		if i < 0 && known {
			// Taken away and added again since, it has another id and is as open.
			if i = slices.IndexFunc(after, func(l remediation.Rule) bool { return l.Key() == r.Key() }); i >= 0 {
				was.ID = after[i].ID
				r.Description = after[i].Description
			}
		}
		if i < 0 || !known {
			continue
		}
		if !sameRule(after[i], r) {
			if !sameRule(after[i], was) {
				other = append(other, after[i])
			}
			continue
		}
		in.Now, in.Was = append(in.Now, after[i]), append(in.Was, was)
		after[i] = was
	}
	if len(in.Now) == 0 && len(other) > 0 {
		return remediation.Plan{}, drift(s.Group, ruleLines(f.Rules), ruleLines(other))
	}
	if len(in.Now) == 0 {
		return remediation.Plan{}, fmt.Errorf("security group %s: %w", s.Group.ID, remediation.ErrNothingToDo)
	}
	before, err := json.Marshal(s)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the state before: %w", err)
	}
	params, err := json.Marshal(in)
	if err != nil {
		return remediation.Plan{}, fmt.Errorf("encode the step's parameters: %w", err)
	}
	texts := make([]string, len(in.Now))
	for i := range in.Now {
		texts[i] = fmt.Sprintf("%s from %s to %s", in.Now[i].ID, in.Now[i], in.Was[i])
	}
	return remediation.Plan{
		Playbook: f.Playbook, Finding: f, Before: before, Diff: diff(ruleLines(s.Rules), ruleLines(after)),
		Steps: []remediation.Step{{Action: "ec2:ModifySecurityGroupRules", Resource: s.Group, Params: params, Summary: "modify " + strings.Join(texts, ", ")}},
	}, nil
}

// Apply gives the planned rules their earlier values. A rule that is neither as
// planned nor as it was is ErrDrifted, and nothing is changed.
func (p ruleModified) Apply(ctx context.Context, step remediation.Step) (remediation.Outcome, error) {
	var in modifyParams
	if err := json.Unmarshal(step.Params, &in); err != nil {
		return remediation.Outcome{}, fmt.Errorf("decode the step's parameters: %w", err)
	}
	n, err := p.turn(ctx, step.Resource, in.Now, in.Was)
	return remediation.Outcome{Noop: n == 0 && err == nil}, err
}

// turn makes rules that are as from says as to says, by their ids, and counts
// them. A *remediation.DriftError says that one is neither.
func (p ruleModified) turn(ctx context.Context, ref remediation.Ref, from, to []remediation.Rule) (int, error) {
	live, err := groupRules(ctx, p.api, ref)
	if err != nil {
		return 0, err
	}
	var updates []types.SecurityGroupRuleUpdate
	var expected, found []string
	for i, want := range to {
		now, there := ruleByID(live, want.ID)
		switch {
		case there && sameRule(now, want):
		case there && sameRule(now, from[i]):
			updates = append(updates, types.SecurityGroupRuleUpdate{SecurityGroupRuleId: &want.ID, SecurityGroupRule: ruleRequest(want)})
		case there:
			expected, found = append(expected, ruleLine(from[i])), append(found, ruleLine(now))
		default:
			expected = append(expected, ruleLine(from[i]))
		}
	}
	if len(expected) > 0 {
		return 0, drift(ref, expected, found)
	}
	if len(updates) == 0 {
		return 0, nil
	}
	_, err = p.api.ModifySecurityGroupRules(ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &ref.ID, SecurityGroupRules: updates}, ec2Region(ref))
	if hasCode(err, "InvalidPermission.Duplicate") {
		return 0, fmt.Errorf("another rule of the group has these values by now; revoke one of them by hand: %w", err)
	}
	return len(updates), callError(err, ref, "ModifySecurityGroupRules", "ec2:ModifySecurityGroupRules")
}

// ruleRequest is one rule as ModifySecurityGroupRules takes it. The description
// goes along each time: a missing one is taken away.
func ruleRequest(r remediation.Rule) *types.SecurityGroupRuleRequest {
	out := &types.SecurityGroupRuleRequest{IpProtocol: &r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort, Description: optional(r.Description)}
	switch {
	case r.PrefixList != "":
		out.PrefixListId = &r.PrefixList
	case r.Group != "":
		out.ReferencedGroupId = &r.Group
	case isIPv6(r.CIDR):
		out.CidrIpv6 = &r.CIDR
	default:
		out.CidrIpv4 = &r.CIDR
	}
	return out
}

// Verify reads the rules back: all must be as they were.
func (p ruleModified) Verify(ctx context.Context, plan remediation.Plan, _ []remediation.Outcome) error {
	for _, step := range plan.Steps {
		var in modifyParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		if err := p.are(ctx, step.Resource, in.Was); err != nil {
			return err
		}
	}
	return nil
}

func (p ruleModified) are(ctx context.Context, ref remediation.Ref, want []remediation.Rule) error {
	live, err := groupRules(ctx, p.api, ref)
	if err != nil {
		return err
	}
	for _, r := range want {
		if now, there := ruleByID(live, r.ID); !there || !sameRule(now, r) {
			return fmt.Errorf("rule %s of security group %s is not %s: %w", r.ID, ref.ID, ruleLine(r), remediation.ErrNotVerified)
		}
	}
	return nil
}

// Undo gives the rules the values that they had before the fix.
func (p ruleModified) Undo(ctx context.Context, plan remediation.Plan, outcomes []remediation.Outcome) error {
	for _, o := range outcomes {
		if o.Step < 0 || o.Step >= len(plan.Steps) {
			return fmt.Errorf("outcome of step %d, but the plan has %d steps", o.Step, len(plan.Steps))
		}
		step := plan.Steps[o.Step]
		var in modifyParams
		if err := json.Unmarshal(step.Params, &in); err != nil {
			return fmt.Errorf("decode the step's parameters: %w", err)
		}
		if _, err := p.turn(ctx, step.Resource, in.Was, in.Now); err != nil {
			return err
		}
		if err := readBack(ctx, func() error { return p.are(ctx, step.Resource, in.Now) }); err != nil {
			return err
		}
	}
	return nil
}
