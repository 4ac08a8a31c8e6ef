package playbooks_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// drawRule draws a rule as somebody might write it.
func drawRule(r *rapid.T) remediation.Rule {
	rule := remediation.Rule{
		Direction:   rapid.SampledFrom([]remediation.Direction{remediation.Ingress, remediation.Egress}).Draw(r, "direction"),
		Protocol:    rapid.SampledFrom([]string{"tcp", "udp", "icmp", "-1", "50"}).Draw(r, "protocol"),
		Description: rapid.SampledFrom([]string{"", "the office", "a <b> & \"c\""}).Draw(r, "description"),
	}
	switch rule.Protocol {
	case "tcp", "udp":
		from := rapid.Int32Range(0, 65535).Draw(r, "from")
		rule.FromPort, rule.ToPort = &from, aws.Int32(rapid.Int32Range(from, 65535).Draw(r, "to"))
	case "icmp":
		rule.FromPort, rule.ToPort = aws.Int32(8), aws.Int32(-1)
	}
	switch rapid.IntRange(0, 5).Draw(r, "peer") {
	case 0:
		rule.CIDR = fmt.Sprintf("198.51.%d.0/24", rapid.IntRange(0, 255).Draw(r, "net"))
	case 1:
		rule.CIDR = rapid.SampledFrom([]string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"}).Draw(r, "wide")
	case 2:
		rule.CIDR = rapid.SampledFrom([]string{"::/0", "2001:db8::/32"}).Draw(r, "six")
	case 3:
		rule.PrefixList = rapid.SampledFrom([]string{"pl-0a0a0a0a", "pl-0b0b0b0b"}).Draw(r, "list")
	case 4:
		rule.Group, rule.GroupOwner = "sg-0"+rapid.StringMatching(`[a-f]{8}`).Draw(r, "foreign"), foreignAccount
	default:
		rule.Group = "itself"
	}
	if rapid.Bool().Draw(r, "tagged") {
		rule.Tags = map[string]string{"ticket": rapid.StringMatching(`OPS-[0-9]{1,3}`).Draw(r, "ticket")}
	}
	return rule
}

// change is one call on a group: what it does, and the event that tells of it.
type change struct {
	playbook string
	make     func(t *testing.T, w *world, ref remediation.Ref, own, fresh []remediation.Rule) remediation.Signal
}

func changes() map[string]change {
	ofOne := func(rules []remediation.Rule) []remediation.Rule { // a call is about one direction
		return slices.DeleteFunc(slices.Clone(rules), func(r remediation.Rule) bool { return r.Direction != rules[0].Direction })
	}
	return map[string]change{
		"add": {"sg-rule-added", func(t *testing.T, w *world, ref remediation.Ref, _, fresh []remediation.Rule) remediation.Signal {
			rules := ofOne(fresh)
			again(t, w, ref, rules)
			return groupSignal(w, ref, rules)
		}},
		"remove": {"sg-rule-removed", func(t *testing.T, w *world, ref remediation.Ref, own, _ []remediation.Rule) remediation.Signal {
			rules := ofOne(own)
			sig := eventSignal(w, ref, "", "")
			sig.Kind = "RevokeSecurityGroupIngress"
			if rules[0].Direction == remediation.Egress {
				sig.Kind = "RevokeSecurityGroupEgress"
			}
			sig.Change.Direction = rules[0].Direction
			for _, r := range rules {
				revoke(t, w, ref, r)
				sig.Change.RuleIDs = append(sig.Change.RuleIDs, r.ID)
			}
			return sig
		}},
		"modify": {"sg-rule-modified", func(t *testing.T, w *world, ref remediation.Ref, own, fresh []remediation.Rule) remediation.Signal {
			from, to := own[0], fresh[0]
			// EC2 changes neither the kind of a rule's peer nor its direction.
			to.ID, to.Direction, to.Tags = from.ID, "", nil
			to.CIDR, to.Group, to.GroupOwner, to.PrefixList = from.CIDR, from.Group, "", from.PrefixList
			request := &types.SecurityGroupRuleRequest{IpProtocol: &to.Protocol, FromPort: to.FromPort, ToPort: to.ToPort, Description: &to.Description}
			switch {
			case to.Group != "":
				request.ReferencedGroupId = &to.Group
			case to.PrefixList != "":
				request.PrefixListId = &to.PrefixList
			case slices.Contains([]byte(to.CIDR), ':'):
				request.CidrIpv6 = &to.CIDR
			default:
				request.CidrIpv4 = &to.CIDR
			}
			must(w.ec2.ModifySecurityGroupRules(w.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &ref.ID,
				SecurityGroupRules: []types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: &from.ID, SecurityGroupRule: request}}}))(t)
			sig := eventSignal(w, ref, "", "")
			sig.Kind, sig.Change = "ModifySecurityGroupRules", remediation.Change{Rules: []remediation.Rule{to}}
			return sig
		}},
		"create": {"sg-created", func(t *testing.T, w *world, ref remediation.Ref, _, fresh []remediation.Rule) remediation.Signal {
			again(t, w, ref, fresh)
			sig := eventSignal(w, ref, "", "")
			sig.Kind = "CreateSecurityGroup"
			return sig
		}},
		"delete": {"sg-deleted", func(t *testing.T, w *world, ref remediation.Ref, _, _ []remediation.Rule) remediation.Signal {
			deleteGroup(t, w, ref)
			sig := eventSignal(w, ref, "", "")
			sig.Kind = "DeleteSecurityGroup"
			return sig
		}},
	}
}

// TestAnyChangeOfAnyGroup: whatever the group and whatever is done to it, the
// fix gives the very group that was there before, done again it does nothing,
// and its undo gives what the change had left.
func TestAnyChangeOfAnyGroup(t *testing.T) {
	for name, c := range changes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				a := fakeaws.New(fakeaws.Options{Region: testRegion})
				srv := httptest.NewServer(a)
				defer srv.Close()
				w := newWorld(t, backend{url: srv.URL, account: a.Account(), enforces: true})
				all := rapid.SliceOfNDistinct(rapid.Custom(drawRule), 4, 10, func(r remediation.Rule) string {
					// Apart in everything that a modification leaves as it is.
					return string(r.Direction) + r.CIDR + r.Group + r.PrefixList
				}).Draw(r, "rules")
				name := "any"
				made := must(w.ec2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("drawn")}))(t)
				ref := remediation.Ref{Kind: remediation.KindSecurityGroup, Account: w.account, Region: testRegion, ID: *made.GroupId}
				revoke(t, w, ref, liveRules(t, w, ref)[0]) // what EC2 gives each group
				for i := range all {
					if all[i].Group == "itself" {
						all[i].Group = ref.ID
					}
				}
				own, fresh := all[:len(all)/2], all[len(all)/2:]
				again(t, w, ref, own)
				w.remember(t, ref)
				checkChange(t, r, w, ref, name, c, fresh)
			})
		})
	}
}

func checkChange(t *testing.T, r *rapid.T, w *world, ref remediation.Ref, name string, c change, fresh []remediation.Rule) {
	read := func() remediation.State {
		s, err := w.readers[ref.Kind].Read(w.ctx, byName(&name)(t, w, ref))
		if s == nil {
			r.Fatal(err)
		}
		g := *s.(*playbooks.GroupState)
		g.Lists = nil // there are none of these names, and what they hold is no part of the group
		return &g
	}
	same := func(what string, want remediation.State) {
		if d := cmp.Diff(withoutIDs(want), withoutIDs(read())); d != "" {
			r.Fatalf("%s (- wanted, + there):\n%s", what, d)
		}
	}
	before := read()
	sig := longAgo(c.make(t, w, ref, before.(*playbooks.GroupState).Rules, fresh))
	left := read()
	if c.playbook == "sg-created" { // what was there before is nothing
		before = &playbooks.GroupState{Group: ref, Gone: true}
	}
	if cmp.Diff(withoutIDs(before), withoutIDs(left)) == "" {
		return // modified to what it was
	}
	pb := w.playbook(c.playbook)
	found := pb.Judge(w.recall(left, sig), &sig)
	if len(found) != 1 || found[0].Irreversible != "" {
		r.Fatalf("found %+v", found)
	}
	plan, err := pb.Plan(left, through(t, found[0]))
	if err != nil {
		r.Fatal(err)
	}
	apply := func(noop bool) (done []remediation.Outcome) {
		for i, step := range plan.Steps {
			o, err := pb.Apply(w.ctx, step)
			if err != nil || o.Noop != noop {
				r.Fatalf("apply: noop %v, %v", o.Noop, err)
			}
			o.Step = i
			done = append(done, o)
		}
		return done
	}
	done := apply(false)
	if err := pb.Verify(w.ctx, plan, done); err != nil {
		r.Fatal(err)
	}
	same("the fix does not give what was there", before)
	apply(true)
	same("fixing again changed something", before)
	for range 2 {
		if err := pb.Undo(w.ctx, plan, done); err != nil {
			r.Fatal(err)
		}
		same("the undo does not give what the change had left", left)
	}
}
