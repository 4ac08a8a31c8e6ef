package playbooks_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// past is a world whose clock a test sets, with the sandbox behind it.
type past struct {
	*world
	t   *testing.T
	aws *fakeaws.AWS
	now time.Time
	ref remediation.Ref
}

func newPast(t *testing.T) *past {
	p := &past{t: t, now: time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)}
	p.aws = fakeaws.New(fakeaws.Options{Region: testRegion, Now: func() time.Time { return p.now }})
	srv := httptest.NewServer(p.aws)
	t.Cleanup(srv.Close)
	p.world = newWorld(t, backend{url: srv.URL, account: p.aws.Account(), enforces: true})
	p.ref = newGroup(t, p.world)
	return p
}

// keep takes a snapshot, a minute later.
func (p *past) keep() {
	p.t.Helper()
	p.now = p.now.Add(time.Minute)
	h := p.readers[p.ref.Kind].(remediation.Historian)
	p.kept[p.ref] = must(h.Remember(must(h.Read(p.ctx, p.ref))(p.t), p.kept[p.ref], p.now))(p.t)
}

// signal tells of a call that is made now; what comes after it is a second later.
func (p *past) signal(kind string, change remediation.Change) remediation.Signal {
	sig := eventSignal(p.world, p.ref, kind, "")
	sig.At, sig.Change = p.now, change
	p.now = p.now.Add(time.Second)
	return sig
}

// judge has all playbooks judge the group as it is.
func (p *past) judge(sig remediation.Signal) []remediation.Finding {
	p.t.Helper()
	s, err := p.readers[p.ref.Kind].Read(p.ctx, sig.Resource)
	if s == nil {
		p.t.Fatal(err)
	}
	state := p.recall(s, sig)
	var found []remediation.Finding
	for _, pb := range p.playbooks {
		if pb.Meta().Kind == p.ref.Kind {
			found = append(found, pb.Judge(state, &sig)...)
		}
	}
	return found
}

// one is the only finding.
func (p *past) one(sig remediation.Signal, playbook string) remediation.Finding {
	p.t.Helper()
	found := p.judge(sig)
	if len(found) != 1 || found[0].Playbook != playbook {
		p.t.Fatalf("found %+v, want one of %s", found, playbook)
	}
	return found[0]
}

func (p *past) none(sig remediation.Signal) {
	p.t.Helper()
	if found := p.judge(sig); len(found) != 0 {
		p.t.Errorf("found %+v, want nothing", found)
	}
}

// office is a rule that the tests change.
func (p *past) office() remediation.Rule {
	p.t.Helper()
	allow(p.t, p.world, p.ref, nil, ranges("tcp", 22, "192.0.2.0/24", "the office"))
	return find(p.t, p.world, p.ref, isCIDR(remediation.Ingress, "192.0.2.0/24", 22))
}

// widen modifies a rule and tells of it as CloudTrail does.
func (p *past) widen(r remediation.Rule, cidr string) remediation.Signal {
	p.t.Helper()
	must(p.ec2.ModifySecurityGroupRules(p.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &p.ref.ID, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
		SecurityGroupRuleId: &r.ID,
		SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: &r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort, CidrIpv4: &cidr},
	}}}))(p.t)
	asked := remediation.Rule{ID: r.ID, Protocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort, CIDR: cidr}
	return p.signal("ModifySecurityGroupRules", remediation.Change{Rules: []remediation.Rule{asked}})
}

// drop revokes a rule by its id and tells so.
func (p *past) drop(rules ...remediation.Rule) remediation.Signal {
	p.t.Helper()
	var ids []string
	for _, r := range rules {
		revoke(p.t, p.world, p.ref, r)
		ids = append(ids, r.ID)
	}
	return p.signal("RevokeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, RuleIDs: ids})
}

func (p *past) delete() remediation.Signal {
	p.t.Helper()
	deleteGroup(p.t, p.world, p.ref)
	return p.signal("DeleteSecurityGroup", remediation.Change{})
}

func TestNobodyKnowsWhatWasThere(t *testing.T) {
	t.Run("a deleted group", func(t *testing.T) {
		p := newPast(t)
		f := p.one(p.delete(), "sg-deleted")
		for _, want := range []string{"secbot had not seen the group", "AWS Config", "not recording"} {
			if !strings.Contains(f.Irreversible, want) {
				t.Errorf("%q is missing in %q", want, f.Irreversible)
			}
		}
	})
	t.Run("a group deleted by its name alone", func(t *testing.T) {
		p := newPast(t)
		p.keep()
		sig := p.delete()
		sig.Resource.ID, sig.Change.GroupName = "", "web"
		s := &playbooks.GroupState{Group: remediation.Ref{Kind: p.ref.Kind, ID: "web"}, Gone: true}
		f := p.playbook("sg-deleted").Judge(p.recall(s, sig), &sig)
		if len(f) != 1 || !strings.Contains(f[0].Irreversible, "name alone") {
			t.Errorf("found %+v", f)
		}
	})
	t.Run("a rule revoked by its id", func(t *testing.T) {
		p := newPast(t)
		f := p.one(p.drop(p.office()), "sg-rule-removed")
		if f.Irreversible == "" || len(f.Rules) != 0 || !strings.Contains(strings.Join(f.Notes, " "), "sgr-") {
			t.Errorf("finding %+v", f)
		}
	})
	t.Run("a revoke of what may never have been", func(t *testing.T) {
		p := newPast(t)
		rule := remediation.Rule{Direction: remediation.Ingress, Protocol: "tcp", FromPort: aws.Int32(22), ToPort: aws.Int32(22), CIDR: "0.0.0.0/0"}
		f := p.one(p.signal("RevokeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{rule}}), "sg-rule-removed")
		if f.Irreversible == "" {
			t.Errorf("finding %+v: putting that back would open what was never open", f)
		}
	})
	t.Run("a modified rule counts as added", func(t *testing.T) {
		p := newPast(t)
		f := p.one(p.widen(p.office(), "0.0.0.0/0"), "sg-rule-added")
		if !strings.Contains(f.Doubt, "not known what it was before") || f.Severity != remediation.SeverityCritical && f.Severity != remediation.SeverityHigh {
			t.Errorf("finding %+v", f)
		}
		plan := must(p.playbook("sg-rule-added").Plan(must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t), f))(t)
		if len(plan.Steps) != 1 || plan.Steps[0].Action != "ec2:RevokeSecurityGroupIngress" {
			t.Errorf("plan %+v", plan.Steps)
		}
	})
	t.Run("a damaged snapshot", func(t *testing.T) {
		p := newPast(t)
		p.kept[p.ref] = []byte(`{"group":7}`)
		if f := p.one(p.delete(), "sg-deleted"); !strings.Contains(f.Irreversible, "decode the snapshot") {
			t.Errorf("finding %+v", f)
		}
	})
}

// TestConfigKnows: where secbot has kept nothing, AWS Config's record tells.
func TestConfigKnows(t *testing.T) {
	record := func(p *past) { p.aws.RecordGroups(); p.now = p.now.Add(time.Minute) }
	t.Run("a deleted group", func(t *testing.T) {
		p := newPast(t)
		deleteGroup(t, p.world, p.ref)
		p.ref = richGroup(t, p.world)
		record(p)
		before := must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t).(*playbooks.GroupState)
		f := p.one(p.delete(), "sg-deleted")
		if said := strings.Join(f.Notes, " "); f.Irreversible != "" || !strings.Contains(said, "AWS Config's history, recorded 2026-03-04 05:00 UTC") || !strings.Contains(said, "tags its rules had is not known") {
			t.Fatalf("finding %+v", f)
		}
		pb := p.playbook("sg-deleted")
		gone, _ := p.readers[p.ref.Kind].Read(p.ctx, p.ref)
		plan := must(pb.Plan(gone, through(t, f)))(t)
		out := must(pb.Apply(p.ctx, plan.Steps[0]))(t)
		if err := pb.Verify(p.ctx, plan, []remediation.Outcome{out}); err != nil {
			t.Error(err)
		}
		name := before.Name
		back := must(p.readers[p.ref.Kind].Read(p.ctx, byName(&name)(t, p.world, p.ref)))(t).(*playbooks.GroupState)
		if len(back.Rules) != len(before.Rules) || back.Description != before.Description || back.Tags["env"] != "prod" {
			t.Errorf("back is %+v", back)
		}
	})
	t.Run("a rule revoked by its id", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		record(p)
		f := p.one(p.drop(office), "sg-rule-removed")
		if f.Irreversible != "" || len(f.Rules) != 1 || f.Rules[0].Key() != office.Key() || f.Rules[0].Description != "the office" {
			t.Errorf("finding %+v", f)
		}
	})
	t.Run("two of which one is told by its id", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		record(p)
		revoke(t, p.world, p.ref, find(t, p.world, p.ref, isCIDR(remediation.Ingress, "10.0.0.0/8", 22)))
		if f := p.one(p.drop(office), "sg-rule-removed"); f.Irreversible == "" {
			t.Errorf("finding %+v: which of the two it was is not known", f)
		}
	})
	t.Run("a modified rule", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		record(p)
		f := p.one(p.widen(office, "0.0.0.0/0"), "sg-rule-modified")
		if len(f.Was) != 1 || f.Was[0].ID != office.ID || f.Was[0].CIDR != "192.0.2.0/24" {
			t.Errorf("finding %+v", f)
		}
	})
	t.Run("what was recorded after the change is not believed", func(t *testing.T) {
		p := newPast(t)
		sig := p.widen(p.office(), "0.0.0.0/0")
		record(p)
		p.one(sig, "sg-rule-added")
	})
}

// TestOneChangeAfterAnother: events come late and in any order.
func TestOneChangeAfterAnother(t *testing.T) {
	t.Run("modified twice", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		first := p.widen(office, "192.0.0.0/16")
		p.keep()
		second := p.widen(office, "0.0.0.0/0")
		p.keep()
		p.none(first) // the rule is not as that call left it
		if f := p.one(second, "sg-rule-modified"); f.Was[0].CIDR != "192.0.0.0/16" {
			t.Errorf("it was %v, want the value right before", f.Was)
		}
	})
	t.Run("modified twice, seen once", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		p.widen(office, "192.0.0.0/16")
		if f := p.one(p.widen(office, "0.0.0.0/0"), "sg-rule-modified"); f.Was[0].CIDR != "192.0.2.0/24" {
			t.Errorf("it was %v, want the last that was seen", f.Was)
		}
	})
	t.Run("modified to what it was", func(t *testing.T) {
		p := newPast(t)
		rule := allow(t, p.world, p.ref, nil, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
			IpRanges: []types.IpRange{{CidrIp: aws.String("192.0.2.0/24")}}})[0]
		p.keep()
		p.now = p.now.Add(time.Minute)
		p.none(p.widen(rule, "192.0.2.0/24"))
	})
	t.Run("revoked, and the snapshot renewed before the event came", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		sig := p.drop(office)
		p.keep()
		if f := p.one(sig, "sg-rule-removed"); len(f.Rules) != 1 || f.Rules[0].Description != "the office" {
			t.Errorf("finding %+v", f)
		}
	})
	t.Run("revoked and added again", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		sig := p.drop(office)
		p.office()
		p.none(sig)
	})
	t.Run("a revoke of what had been gone for long", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		p.drop(office)
		p.keep()
		p.now = p.now.Add(time.Hour)
		bare := office
		bare.ID, bare.Description = "", ""
		p.none(p.signal("RevokeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{bare}}))
	})
	t.Run("a rule of a group that is gone too", func(t *testing.T) {
		p := newPast(t)
		office := p.office()
		p.keep()
		sig := p.drop(office)
		p.delete()
		p.none(sig)
	})
}

// TestNotReopenedUnasked: nobody brings secbot to open a group by revoking.
func TestNotReopenedUnasked(t *testing.T) {
	p := newPast(t)
	p.keep()
	f := p.one(p.drop(find(t, p.world, p.ref, isCIDR(remediation.Ingress, "0.0.0.0/0", 443))), "sg-rule-removed")
	if !strings.Contains(f.Doubt, "opens the group") {
		t.Errorf("finding %+v", f)
	}
	if f.IsOpen(remediation.Opennesses()...) {
		t.Error("a missing rule counts as open, so that policies for open rules would put it back")
	}
}

// TestGroupsInUseStay: a group that something uses is not deleted.
func TestGroupsInUseStay(t *testing.T) {
	for name, use := range map[string]func(*past){
		"an interface": func(p *past) { p.aws.Attach("", p.ref.ID) },
		"a rule of another group": func(p *past) {
			other := must(p.ec2.CreateSecurityGroup(p.ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("other"), Description: aws.String("d")}))(p.t)
			allow(p.t, p.world, remediation.Ref{Kind: p.ref.Kind, ID: *other.GroupId}, nil, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(1),
				UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &p.ref.ID}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPast(t)
			pb := p.playbook("sg-created")
			sig := p.signal("CreateSecurityGroup", remediation.Change{})
			free := p.one(sig, "sg-created")
			if free.Irreversible != "" {
				t.Errorf("finding %+v", free)
			}
			plan := must(pb.Plan(must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t), free))(t)
			use(p)
			if f := p.one(sig, "sg-created"); !strings.Contains(f.Irreversible, "in use") {
				t.Errorf("finding %+v", f)
			}
			if _, err := pb.Apply(p.ctx, plan.Steps[0]); err == nil || !strings.Contains(err.Error(), "in use") || errors.Is(err, remediation.ErrDrifted) {
				t.Errorf("apply gives %v", err)
			}
			if _, err := p.readers[p.ref.Kind].Read(p.ctx, p.ref); err != nil {
				t.Errorf("the group: %v", err)
			}
		})
	}
}

// TestSnapshotsStaySmall: what is long gone is forgotten, and the same state
// gives the same bytes.
func TestSnapshotsStaySmall(t *testing.T) {
	p := newPast(t)
	p.drop(p.office())
	office := p.office()
	p.keep()
	p.drop(office)
	p.keep()
	before := p.kept[p.ref]
	p.keep()
	if !slices.Equal(before, p.kept[p.ref]) {
		t.Errorf("the same state is kept otherwise:\n%s\n%s", before, p.kept[p.ref])
	}
	if !strings.Contains(string(before), "192.0.2.0/24") {
		t.Error("the rule that has just gone is not kept")
	}
	p.now = p.now.Add(8 * 24 * time.Hour)
	p.keep()
	if strings.Contains(string(p.kept[p.ref]), "192.0.2.0/24") {
		t.Error("the rule is kept for ever")
	}
}

// TestAddedAgain: a rule that was taken away and added again has another id, and
// is reverted all the same.
func TestAddedAgain(t *testing.T) {
	p := newPast(t)
	pb := p.playbook("sg-rule-added")
	office := p.office()
	sig := p.signal("AuthorizeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{office}})
	f := p.one(sig, "sg-rule-added")
	revoke(t, p.world, p.ref, office)
	now := p.office()
	plan := must(pb.Plan(must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t), f))(t)
	must(pb.Apply(p.ctx, plan.Steps[0]))(t)
	if i := slices.IndexFunc(liveRules(t, p.world, p.ref), func(r remediation.Rule) bool { return r.ID == now.ID }); i >= 0 {
		t.Error("the rule is there still")
	}
}

// TestPeerByName: an old call's event names another group by its name alone.
func TestPeerByName(t *testing.T) {
	p := newPast(t)
	vpc := must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t).(*playbooks.GroupState).VPC
	bastion := must(p.ec2.CreateSecurityGroup(p.ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("bastion"), Description: aws.String("d"), VpcId: &vpc}))(t)
	pair := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: bastion.GroupId}}}
	told := allow(t, p.world, p.ref, nil, pair)[0]
	id := told.ID
	told.ID, told.Group = "", "bastion"
	sig := p.signal("AuthorizeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{told}})
	if f := p.one(sig, "sg-rule-added"); len(f.Rules) != 1 || f.Rules[0].ID != id || f.Doubt != "" {
		t.Errorf("finding %+v", f)
	}
	p.keep()
	revoke(t, p.world, p.ref, remediation.Rule{ID: id, Direction: remediation.Ingress})
	sig = p.signal("RevokeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{told}})
	if f := p.one(sig, "sg-rule-removed"); len(f.Rules) != 1 || f.Rules[0].Group != *bastion.GroupId {
		t.Errorf("finding %+v", f)
	}
}

// TestHalfUndone: an undo that got half of the way has opened that half, and the
// read-back says so.
func TestHalfUndone(t *testing.T) {
	p := newPast(t)
	pb := p.playbook("sg-rule-added")
	rules := allow(t, p.world, p.ref, nil, ranges("tcp", 3389, "0.0.0.0/0", ""))
	rules = append(rules, allow(t, p.world, p.ref, map[string]string{"ticket": "1"}, ranges("tcp", 22, "0.0.0.0/0", ""))...)
	f := p.one(p.signal("AuthorizeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: rules}), "sg-rule-added")
	plan := must(pb.Plan(must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t), f))(t)
	done := []remediation.Outcome{must(pb.Apply(p.ctx, plan.Steps[0]))(t)}
	if err := pb.Verify(p.ctx, plan, done); err != nil {
		t.Fatal(err)
	}
	calls := 0
	p.aws.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "AuthorizeSecurityGroupIngress" {
			if calls++; calls == 2 {
				return &fakeaws.Fault{Code: "UnauthorizedOperation", Status: 403}
			}
		}
		return nil
	})
	if err := pb.Undo(p.ctx, plan, done); err == nil {
		t.Fatal("the undo did not fail")
	}
	if err := pb.Verify(p.ctx, plan, done); !errors.Is(err, remediation.ErrNotVerified) {
		t.Errorf("with half of it open the read-back gives %v", err)
	}
}

// TestDeletedGroupWarnsOfWhatItReopens: nobody brings about an opening by deleting a
// group and having it put back.
func TestDeletedGroupWarnsOfWhatItReopens(t *testing.T) {
	for cidr, warned := range map[string]bool{"0.0.0.0/0": true, "10.0.0.0/8": false} {
		p := newPast(t)
		must(p.ec2.AuthorizeSecurityGroupIngress(p.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &p.ref.ID,
			IpPermissions: []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8022), ToPort: aws.Int32(8022), IpRanges: []types.IpRange{{CidrIp: &cidr}}}}}))(t)
		p.keep()
		notes := strings.Join(p.one(p.delete(), "sg-deleted").Notes[:1], "")
		if !strings.HasPrefix(notes, "putting it back opens the group to more than private addresses again: ") || // of the shop
			strings.Contains(notes, "tcp 8022 from 0.0.0.0/0") != warned || strings.Contains(notes, " to 0.0.0.0/0") {
			t.Errorf("%s: the first note is %q", cidr, notes)
		}
	}
}
