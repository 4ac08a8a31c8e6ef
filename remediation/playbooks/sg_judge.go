package playbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"secbot/remediation"
)

// maxNamed is how many rules a note names.
const maxNamed = 5

// Claim gives the rules that the event added, rated by themselves.
func (p ruleAdded) Claim(sig remediation.Signal) []remediation.Finding {
	if !handles(p.Meta(), &sig) || len(sig.Change.Rules) == 0 {
		return nil
	}
	f := fromSignal(remediation.Finding{
		Playbook: idRuleAdded, Resource: sig.Resource, Name: sig.Change.GroupName, Direction: sig.Change.Direction,
	}, &sig)
	if f.Resource.ID == "" {
		f.Resource.ID = sig.Change.GroupName
	}
	return []remediation.Finding{withRules(f, rated(sig.Change.Rules, exposures(sig.Change.Rules, nil)))}
}

// Judge finds the rules that the event added and that are still there, private
// ones too: the policy decides. In a scan it finds ingress that is open to the
// world: each rule that is so by itself, and each set of rules that is so
// together; and what opens an administrative port to a large part of it.
func (p ruleAdded) Judge(st remediation.State, sig *remediation.Signal) []remediation.Finding {
	s, ok := st.(*GroupState)
	if !ok || s.Gone || !handles(p.Meta(), sig) {
		return nil
	}
	if sig == nil {
		return judgeOpen(s)
	}
	if sig.Kind == "ModifySecurityGroupRules" {
		found := judgeWidened(s, sig)
		if sig.Change.Unread != "" {
			found = append(found, judgeUnread(s, sig, present(s.Rules, sig.Change.Rules))...)
		}
		return found
	}
	added := present(direction(s.Rules, sig.Change.Direction), s.told(sig.Change.Rules))
	var findings []remediation.Finding
	if len(added) > 0 {
		findings = append(findings, addedFinding(s, sig, sig.Change.Direction, added))
	}
	if unsure := minus(s.perhaps(sig.Change.Rules), added); len(unsure) > 0 {
		f := addedFinding(s, sig, sig.Change.Direction, unsure)
		f.Doubt = joinText([]string{"the event names the other group by its name, which could not be looked up, so that this rule may be an older one of the same ports", f.Doubt})
		findings = append(findings, f)
	}
	if sig.Change.Unread != "" {
		findings = append(findings, judgeUnread(s, sig, added)...)
	}
	return findings
}

// judgeUnread finds what is open beside the rules that the event tells: it may be what the event did not tell.
func judgeUnread(s *GroupState, sig *remediation.Signal, told []remediation.Rule) []remediation.Finding {
	var findings []remediation.Finding
	for _, f := range judgeOpen(s) {
		if len(minus(f.Rules, told)) == 0 {
			continue
		}
		f = fromSignal(f, sig)
		f.Doubt = joinText([]string{"the event does not tell all rules (" + sig.Change.Unread + "), so that this one may be older", f.Doubt})
		findings = append(findings, f)
	}
	return findings
}

// judgeWidened finds the modified rules of which nobody knows what they were:
// they can be taken away, though not put back.
func judgeWidened(s *GroupState, sig *remediation.Signal) []remediation.Finding {
	_, unknown := modifiedRules(s, *sig)
	var findings []remediation.Finding
	for _, d := range []remediation.Direction{remediation.Ingress, remediation.Egress} {
		if of := direction(unknown, d); len(of) > 0 {
			f := addedFinding(s, sig, d, of)
			f.Doubt = joinText([]string{"the rule was modified, and it is not known what it was before, so that reverting takes it away altogether: " + s.Earlier.why(), f.Doubt})
			findings = append(findings, f)
		}
	}
	return findings
}

// addedFinding is about rules of one direction that are in the group.
func addedFinding(s *GroupState, sig *remediation.Signal, d remediation.Direction, added []remediation.Rule) remediation.Finding {
	live := direction(s.Rules, d)
	open := exposures(live, s.Lists)
	var of []exposure
	for _, r := range added {
		of = append(of, open[slices.IndexFunc(live, func(l remediation.Rule) bool { return l.ID == r.ID })])
	}
	f := groupFinding(idRuleAdded, s, sig, d)
	f.Notes, f.Doubt = append(notesOf(s, live, added, of), f.Notes...), listDoubt(added, s.Lists)
	return withRules(f, rated(added, of))
}

func direction(rules []remediation.Rule, d remediation.Direction) []remediation.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r remediation.Rule) bool { return r.Direction != d })
}

func groupFinding(playbook string, s *GroupState, sig *remediation.Signal, d remediation.Direction) remediation.Finding {
	return fromSignal(remediation.Finding{
		Playbook: playbook, Resource: s.Group, Name: s.Name, Tags: s.Tags, Direction: d, Notes: s.Use.notes(),
	}, sig)
}

// rated gives rules with their openness and severity.
func rated(rules []remediation.Rule, open []exposure) []remediation.Rule {
	out := slices.Clone(rules)
	for i := range out {
		out[i].Openness, out[i].Severity = open[i].Openness, open[i].Severity
	}
	return out
}

// withRules sets a finding's rules; it is as severe as the worst of them.
func withRules(f remediation.Finding, rules []remediation.Rule) remediation.Finding {
	f.Rules, f.Severity = rules, remediation.SeverityLow
	for _, r := range rules {
		if r.Severity.Rank() > f.Severity.Rank() {
			f.Severity = r.Severity
		}
	}
	return f
}

// notesOf tells what a rule's text alone does not: that it is open to the world
// together with others, and what its prefix list holds.
func notesOf(s *GroupState, live, rules []remediation.Rule, open []exposure) []string {
	notes := listNotes(rules, s.Lists)
	for i, r := range rules {
		if others := partners(live, r, open[i]); len(others) > 0 {
			notes = append(notes, fmt.Sprintf("%s is open to the world together with %s", r, naming(others)))
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// partners are the other rules that make the world together with r.
func partners(live []remediation.Rule, r remediation.Rule, e exposure) []remediation.Rule {
	if e.Alone {
		return nil
	}
	var others []remediation.Rule
	for _, i := range e.World {
		if live[i].ID != r.ID {
			others = append(others, live[i])
		}
	}
	return others
}

func naming(rules []remediation.Rule) string {
	var texts []string
	for i, r := range rules {
		if i == maxNamed {
			texts = append(texts, fmt.Sprintf("%d more", len(rules)-i))
			break
		}
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ", ")
}

// judgeOpen finds the ingress that is open to the world, or to a large part of it
// on a port of administration or of a database.
func judgeOpen(s *GroupState) []remediation.Finding {
	live := direction(s.Rules, remediation.Ingress)
	open := exposures(live, s.Lists)
	var findings []remediation.Finding
	sets := openSets(open)
	for i, e := range open {
		if e.Openness == remediation.OpenWide && e.Severity.Rank() >= remediation.SeverityHigh.Rank() {
			sets = append(sets, []int{i})
		}
	}
	for _, set := range sets {
		var rules []remediation.Rule
		var of []exposure
		for _, i := range set {
			rules, of = append(rules, live[i]), append(of, open[i])
		}
		f := groupFinding(idRuleAdded, s, nil, remediation.Ingress)
		f.Notes, f.Doubt = append(notesOf(s, live, rules, of), f.Notes...), listDoubt(rules, s.Lists)
		findings = append(findings, withRules(f, rated(rules, of)))
	}
	return findings
}

// openSets gives the places of the rules that are open to the world: alone, or
// joined with all those with which they are so together.
func openSets(open []exposure) [][]int {
	first := make([]int, len(open)) // the place of one that i is joined with, in the end the first such
	for i := range first {
		first[i] = i
	}
	root := func(i int) int {
		for first[i] != i {
			first[i] = first[first[i]]
			i = first[i]
		}
		return i
	}
	var sets [][]int
	for i, e := range open {
		if e.Alone {
			sets = append(sets, []int{i})
			continue
		}
		for _, j := range e.World {
			a, b := root(i), root(j)
			first[max(a, b)] = min(a, b)
		}
	}
	joined := map[int][]int{}
	for i, e := range open {
		if len(e.World) > 0 {
			joined[root(i)] = append(joined[root(i)], i)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(joined)) {
		sets = append(sets, joined[i])
	}
	return sets
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func isIPv6(cidr string) bool { return strings.Contains(cidr, ":") }
