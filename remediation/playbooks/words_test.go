package playbooks_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestWordsAreCompared: a description or a tag that somebody has changed since is
// a drift at every step, since an undo could not bring it back otherwise.
func TestWordsAreCompared(t *testing.T) {
	changes := map[string]func(*past, remediation.Rule){
		"description": func(p *past, r remediation.Rule) {
			must(p.ec2.ModifySecurityGroupRules(p.ctx, &ec2.ModifySecurityGroupRulesInput{GroupId: &p.ref.ID, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
				SecurityGroupRuleId: &r.ID,
				SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: &r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort, CidrIpv4: &r.CIDR, Description: aws.String("other words")},
			}}}))(p.t)
		},
		"tag": func(p *past, r remediation.Rule) {
			must(p.ec2.CreateTags(p.ctx, &ec2.CreateTagsInput{Resources: []string{r.ID}, Tags: []types.Tag{{Key: aws.String("ticket"), Value: aws.String("OPS-8")}}}))(p.t)
		},
	}
	isOffice := isCIDR(remediation.Ingress, "192.0.2.0/24", 22)
	read := func(p *past) *playbooks.GroupState {
		p.t.Helper()
		s, err := p.readers[p.ref.Kind].Read(p.ctx, p.ref)
		if s == nil {
			p.t.Fatal(err)
		}
		return s.(*playbooks.GroupState)
	}
	drifted := func(t *testing.T, what string, err error) {
		t.Helper()
		var drift *remediation.DriftError
		if !errors.As(err, &drift) || len(drift.Diff) == 0 {
			t.Errorf("%s: %v, want a DriftError with a diff", what, err)
		}
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Run("of a rule about to be revoked", func(t *testing.T) {
				p := newPast(t)
				office, pb := p.office(), p.playbook("sg-rule-added")
				f := p.one(p.signal("AuthorizeSecurityGroupIngress", remediation.Change{Direction: remediation.Ingress, Rules: []remediation.Rule{office}}), "sg-rule-added")
				plan := must(pb.Plan(read(p), f))(t)
				change(p, office)
				_, err := pb.Apply(p.ctx, plan.Steps[0])
				drifted(t, "apply", err)
				find(t, p.world, p.ref, isOffice)
			})
			t.Run("of a rule about to be added", func(t *testing.T) {
				p := newPast(t)
				office, pb := p.office(), p.playbook("sg-rule-removed")
				p.keep()
				f := p.one(p.drop(office), "sg-rule-removed")
				plan := must(pb.Plan(read(p), f))(t)
				change(p, p.office())
				_, err := pb.Apply(p.ctx, plan.Steps[0])
				drifted(t, "apply", err)
			})
			t.Run("of a rule that was put back", func(t *testing.T) {
				p := newPast(t)
				office, pb := p.office(), p.playbook("sg-rule-removed")
				p.keep()
				f := p.one(p.drop(office), "sg-rule-removed")
				plan := must(pb.Plan(read(p), f))(t)
				out := must(pb.Apply(p.ctx, plan.Steps[0]))(t)
				change(p, find(t, p.world, p.ref, isOffice))
				drifted(t, "undo", pb.Undo(p.ctx, plan, []remediation.Outcome{out}))
				find(t, p.world, p.ref, isOffice)
			})
			t.Run("of a group's rule, about to be deleted", func(t *testing.T) {
				p := newPast(t)
				office, pb := p.office(), p.playbook("sg-created")
				f := p.one(p.signal("CreateSecurityGroup", remediation.Change{}), "sg-created")
				plan := must(pb.Plan(read(p), f))(t)
				change(p, office)
				_, err := pb.Apply(p.ctx, plan.Steps[0])
				drifted(t, "apply", err)
				find(t, p.world, p.ref, isOffice)
			})
			t.Run("of a rule in another group of the name", func(t *testing.T) {
				p := newPast(t)
				p.office()
				pb := p.playbook("sg-deleted")
				p.keep()
				was := read(p)
				f := p.one(p.delete(), "sg-deleted")
				plan := must(pb.Plan(read(p), f))(t)
				p.ref.ID = *must(p.ec2.CreateSecurityGroup(p.ctx, &ec2.CreateSecurityGroupInput{GroupName: &was.Name, Description: &was.Description, VpcId: &was.VPC}))(t).GroupId
				change(p, p.office())
				_, err := pb.Apply(p.ctx, plan.Steps[0])
				drifted(t, "apply", err)
				if n := len(read(p).Rules); n != 2 { // the one, and EC2's own egress
					t.Errorf("a refused step left %d rules", n)
				}
			})
		})
	}
}
