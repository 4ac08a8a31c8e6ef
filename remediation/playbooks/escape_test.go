package playbooks_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestNothingWidenedEscapes: a rule is added harmlessly and modified until it is
// open to the world, while the events of that come late, in any order, once or
// twice, and secbot reads the group at any time in between. Whatever the order,
// one of the events finds the open rule.
func TestNothingWidenedEscapes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(80) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { widenedInAnyOrder(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func widenedInAnyOrder(t *testing.T, dice *rand.Rand) {
	p := newPast(t)
	if dice.IntN(2) == 0 {
		p.keep()
	}
	r := p.office()
	late := []remediation.Signal{p.signal("AuthorizeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{r}, Answered: true})}
	var order []string
	seen := false
	look := func() {
		for len(late) > 0 && dice.IntN(3) == 0 {
			i := dice.IntN(len(late))
			sig := late[i]
			if dice.IntN(3) > 0 { // else it comes once more
				late = slices.Delete(late, i, i+1)
			}
			order = append(order, sig.Kind)
			seen = seen || opensWorld(p.judge(sig), r.ID)
			p.keep() // what the engine does where nothing is to be fixed
		}
		if dice.IntN(3) == 0 {
			order = append(order, "read")
			p.keep()
		}
	}
	steps := []string{"198.51.100.0/24", "0.0.0.0/0", "203.0.113.0/24", "0.0.0.0/0"}[2*dice.IntN(2):]
	for _, cidr := range steps {
		look()
		order = append(order, "widen to "+cidr)
		late = append(late, p.widen(r, cidr))
	}
	for len(late) > 0 {
		look()
	}
	if !seen {
		t.Errorf("tcp 22 is open to the world and nobody is told: %s", strings.Join(order, ", "))
	}
}

func opensWorld(found []remediation.Finding, rule string) bool {
	return slices.ContainsFunc(found, func(f remediation.Finding) bool {
		return slices.ContainsFunc(f.Rules, func(r remediation.Rule) bool {
			return r.ID == rule && r.Openness == remediation.OpenWorld
		})
	})
}

// TestGuessesAreDoubted: AWS Config's record has no rule ids, so that what is
// missing now may be another rule than the one that was changed.
func TestGuessesAreDoubted(t *testing.T) {
	port := int32(22)
	rule := func(id, cidr string) remediation.Rule {
		return remediation.Rule{ID: id, Direction: remediation.Ingress, Protocol: "tcp", FromPort: &port, ToPort: &port, CIDR: cidr}
	}
	ref := remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: testRegion, ID: "sg-1"}
	recorded := &playbooks.Earlier{Recorded: &playbooks.GroupState{Group: ref, Rules: []remediation.Rule{rule("", "192.0.2.0/24")}}, Source: "AWS Config"}
	for kind, c := range map[string]struct {
		live   []remediation.Rule
		change remediation.Change
	}{
		"ModifySecurityGroupRules":   {[]remediation.Rule{rule("sgr-y", "10.0.0.0/8")}, remediation.Change{Rules: []remediation.Rule{rule("sgr-y", "10.0.0.0/8")}}},
		"RevokeSecurityGroupIngress": {nil, remediation.Change{Direction: remediation.Ingress, RuleIDs: []string{"sgr-y"}}},
	} {
		s := &playbooks.GroupState{Group: ref, Rules: c.live, Earlier: recorded}
		sig := &remediation.Signal{Kind: kind, Resource: ref, Change: c.change}
		var found []remediation.Finding
		for _, pb := range playbooks.All(playbooks.Clients{}) {
			if pb.Meta().Kind == ref.Kind {
				found = append(found, pb.Judge(s, sig)...)
			}
		}
		if len(found) != 1 || !strings.Contains(found[0].Doubt, "guess") {
			t.Errorf("%s: %+v", kind, found)
		}
	}
}

// TestTagsOfAWS: a group of a CloudFormation stack comes back, and goes again,
// without the tags that only AWS may set.
func TestTagsOfAWS(t *testing.T) {
	p := newPast(t)
	p.aws.SetStack(p.ref.ID, "shop")
	p.office()
	p.keep()
	sig := p.delete()
	f := p.one(sig, "sg-deleted")
	pb := p.playbook("sg-deleted")
	s, err := p.readers[p.ref.Kind].Read(p.ctx, p.ref)
	if s == nil {
		t.Fatal(err)
	}
	plan := must(pb.Plan(s, through(t, f)))(t)
	out := must(pb.Apply(p.ctx, plan.Steps[0]))(t)
	if err := pb.Verify(p.ctx, plan, []remediation.Outcome{out}); err != nil {
		t.Error(err)
	}
	if err := pb.Undo(p.ctx, plan, []remediation.Outcome{out}); err != nil {
		t.Error(err)
	}
}
