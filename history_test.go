package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/internal/sandbox/fakeslack"
)

// TestWhatEventsDoNotSay is the whole line for changes whose events carry no
// old values: a rule is modified, another is revoked by its id, and the group
// is deleted in the end. Each is put back as it was from what secbot has kept.
func TestWhatEventsDoNotSay(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	write(t, "secbot.yaml", "rules:\n  - match: {playbook: [sg-rule-modified, sg-rule-removed]}\n    then: auto\n")
	s := startServer(t)
	sb.SetTarget(s.url)
	s.eventually(func() error {
		if !strings.Contains(s.log.String(), "the states before all changes are kept") {
			return errors.New("secbot has not looked at the groups yet")
		}
		return nil
	})
	if err := w.Authorize(t.Context(), 8443, "198.51.100.0/24", "partner"); err != nil {
		t.Fatal(err)
	}
	s.messageSays(sb, "Revert Change")
	before := []string{"443 0.0.0.0/0 the shop", "8443 198.51.100.0/24 partner"}

	rule := func(port int32) string {
		t.Helper()
		out, err := w.EC2.DescribeSecurityGroupRules(t.Context(), &ec2.DescribeSecurityGroupRulesInput{
			Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{w.Group}}}})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(out.SecurityGroupRules, func(r types.SecurityGroupRule) bool { return aws.ToInt32(r.FromPort) == port })
		if i < 0 {
			t.Fatalf("no rule for port %d", port)
		}
		return *out.SecurityGroupRules[i].SecurityGroupRuleId
	}
	modified := rule(8443)
	if _, err := w.EC2.ModifySecurityGroupRules(t.Context(), &ec2.ModifySecurityGroupRulesInput{GroupId: &w.Group, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
		SecurityGroupRuleId: &modified,
		SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIpv4: aws.String("0.0.0.0/0")},
	}}}); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error { return rulesAre(t, w, before...) })
	s.messageSays(sb, "Undo Fix")
	if rule(8443) != modified {
		t.Error("the modified rule did not keep its id")
	}

	if _, err := w.EC2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &w.Group, SecurityGroupRuleIds: []string{modified}}); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error { return rulesAre(t, w, before...) })
	s.eventually(func() error {
		if m := top(sb); !strings.Contains(m[len(m)-1].Text, "put back: web") || m[len(m)-1].Buttons()[0].Text != "Undo Fix" {
			return fmt.Errorf("the last message is %q", m[len(m)-1].Text)
		}
		return nil
	})

	old := w.Group
	if _, err := w.EC2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &old}); err != nil {
		t.Fatal(err)
	}
	m := s.messageSays(sb, "Revert Change")
	for !strings.Contains(m.Text, "deleted") {
		m = s.messageSays(sb, "Revert Change")
	}
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		out, err := w.EC2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"web"}})
		if err != nil {
			return err
		}
		w.Group = *out.SecurityGroups[0].GroupId
		if w.Group == old {
			return fmt.Errorf("group %s was never deleted", old)
		}
		return rulesAre(t, w, before...)
	})
	s.messageSays(sb, "Undo Fix")
	s.eventually(func() error {
		said := ""
		for _, m := range sb.Slack.Messages(fakeslack.ChannelSecurity) {
			said += m.Text + "\n"
		}
		if !strings.Contains(said, "new id "+w.Group) {
			return fmt.Errorf("the thread does not tell the new id %s:\n%s", w.Group, said)
		}
		return nil
	})
	// The group that secbot has made is known as well as the first.
	if _, err := w.EC2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &w.Group}); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		m := top(sb)
		last := m[len(m)-1]
		if !strings.Contains(last.Text, "deleted") || len(last.Buttons()) == 0 || last.Buttons()[0].Text != "Revert Change" {
			return fmt.Errorf("the last message is %q", last.Text)
		}
		return nil
	})
	for _, line := range strings.Split(s.log.String(), "\n") {
		if strings.Contains(line, "ERR") || strings.Contains(line, "own role") {
			t.Errorf("secbot's log: %s", line)
		}
	}
}
