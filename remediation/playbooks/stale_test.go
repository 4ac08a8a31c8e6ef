package playbooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// staleEC2 is EC2 whose list of rules is, at one look, what it was at the first.
type staleEC2 struct {
	playbooks.EC2API
	at, looks int
	old       *ec2.DescribeSecurityGroupRulesOutput
}

func (s *staleEC2) DescribeSecurityGroupRules(ctx context.Context, in *ec2.DescribeSecurityGroupRulesInput, opts ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupRulesOutput, error) {
	s.looks++
	if s.looks == s.at && s.old != nil {
		return s.old, nil
	}
	out, err := s.EC2API.DescribeSecurityGroupRules(ctx, in, opts...)
	if s.old == nil {
		s.old = out
	}
	return out, err
}

// TestOneStaleList: whichever list of a fix and its undo is from before the fix,
// the rules that were put back are known by their new ids, and go again.
func TestOneStaleList(t *testing.T) {
	for at := 2; at <= 9; at++ {
		p := newPast(t)
		stale := &staleEC2{EC2API: p.clients.EC2, at: at}
		clients := p.clients
		clients.EC2 = stale
		env := remediation.Environment{Playbooks: playbooks.All(clients)}
		pb := env.Playbook("sg-rule-removed")
		lost := []remediation.Rule{in("", "tcp", 22, "192.0.2.0/24"), in("", "tcp", 3389, "192.0.2.0/24")}
		s := must(playbooks.Readers(clients)[p.ref.Kind].Read(p.ctx, p.ref))(t)
		plan := must(pb.Plan(s, remediation.Finding{Playbook: "sg-rule-removed", Resource: p.ref, Rules: lost}))(t)
		out, err := pb.Apply(p.ctx, plan.Steps[0])
		if err != nil {
			t.Fatalf("list %d: %v", at, err)
		}
		if n := strings.Count(string(out.Data), "sgr-"); n != 2 {
			t.Errorf("list %d: the outcome knows %d ids: %s", at, n, out.Data)
		}
		if err := pb.Undo(p.ctx, plan, []remediation.Outcome{out}); err != nil {
			t.Errorf("list %d: undo: %v", at, err)
		}
		for _, r := range liveRules(t, p.world, p.ref) {
			if r.CIDR == "192.0.2.0/24" {
				t.Errorf("list %d: %s is there after the undo", at, r)
			}
		}
		if stale.looks < at && at < 6 {
			t.Errorf("there is no list %d", at)
		}
	}
}

// TestUndoKnowsWhatItTakes: without the id of each rule, or where somebody has put
// one there again, nothing is revoked.
func TestUndoKnowsWhatItTakes(t *testing.T) {
	p := newPast(t)
	pb := p.playbook("sg-rule-removed")
	lost := []remediation.Rule{in("", "tcp", 22, "192.0.2.0/24"), in("", "tcp", 3389, "192.0.2.0/24")}
	s := must(p.readers[p.ref.Kind].Read(p.ctx, p.ref))(t)
	plan := must(pb.Plan(s, remediation.Finding{Playbook: "sg-rule-removed", Resource: p.ref, Rules: lost}))(t)
	out := must(pb.Apply(p.ctx, plan.Steps[0]))(t)
	var known struct {
		Direction remediation.Direction `json:"direction"`
		Rules     []remediation.Rule    `json:"rules"`
	}
	if err := json.Unmarshal(out.Data, &known); err != nil {
		t.Fatal(err)
	}
	fewer := known
	fewer.Rules = known.Rules[:1]
	raw := must(json.Marshal(fewer))(t)
	before := liveRules(t, p.world, p.ref)
	if err := pb.Undo(p.ctx, plan, []remediation.Outcome{{Data: raw}}); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("with one id: %v", err)
	}
	if len(liveRules(t, p.world, p.ref)) != len(before) {
		t.Error("a refused undo has revoked something")
	}
	revoke(t, p.world, p.ref, known.Rules[1])
	allow(t, p.world, p.ref, nil, ranges("tcp", 3389, "192.0.2.0/24", ""))
	before = liveRules(t, p.world, p.ref)
	var drift *remediation.DriftError
	if err := pb.Undo(p.ctx, plan, []remediation.Outcome{out}); !errors.As(err, &drift) || len(drift.Diff) == 0 {
		t.Errorf("with a rule under another id: %v", err)
	}
	if len(liveRules(t, p.world, p.ref)) != len(before) {
		t.Error("a refused undo has revoked something")
	}
}
