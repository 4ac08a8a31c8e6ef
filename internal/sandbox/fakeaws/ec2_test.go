package fakeaws_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestRulesComeAndGo(t *testing.T) {
	c := newCloud(t)
	g := c.group("web")
	made, err := c.allow(g, types.IpPermission{
		IpProtocol: aws.String("6"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges:         []types.IpRange{{CidrIp: aws.String("10.1.2.3/8"), Description: aws.String("host bits")}},
		Ipv6Ranges:       []types.Ipv6Range{{CidrIpv6: aws.String("2001:DB8:0::/32")}},
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: g}},
		PrefixListIds:    []types.PrefixListId{{PrefixListId: aws.String("pl-1")}},
	})
	c.ok(err)
	if len(made) != 4 || aws.ToString(made[0].CidrIpv4) != "10.0.0.0/8" || aws.ToString(made[1].CidrIpv6) != "2001:db8::/32" || aws.ToString(made[0].IpProtocol) != "tcp" {
		t.Fatalf("one permission of four peers makes %+v", made)
	}
	_, err = c.ec2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: g, SecurityGroupRuleIds: []string{*made[0].SecurityGroupRuleId}})
	c.ok(err)
	left, err := c.ec2.DescribeSecurityGroupRules(t.Context(), &ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{*g}}}})
	c.ok(err)
	if len(left.SecurityGroupRules) != 4 { // three, and the egress rule of every new group
		t.Errorf("left are %+v", left.SecurityGroupRules)
	}
	out, err := c.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*g}})
	c.ok(err)
	if p := out.SecurityGroups[0].IpPermissions; len(p) != 1 || len(p[0].Ipv6Ranges) != 1 || len(p[0].UserIdGroupPairs) != 1 || len(p[0].PrefixListIds) != 1 || len(p[0].IpRanges) != 0 {
		t.Errorf("the group has %+v", p)
	}
}

func TestGroupErrors(t *testing.T) {
	c := newCloud(t)
	g := c.group("web")
	ctx := t.Context()
	made, err := c.allow(g, tcp(22, "0.0.0.0/0"))
	c.ok(err)

	_, err = c.allow(g, tcp(22, "0.0.0.0/0"))
	c.fails("the same rule again", err, "InvalidPermission.Duplicate")
	_, err = c.allow(g, tcp(22, "10.0.0.0/33"))
	c.fails("a wrong range", err, "InvalidParameterValue")
	_, err = c.allow(aws.String("sg-none"), tcp(22, "0.0.0.0/0"))
	c.fails("an unknown group", err, "InvalidGroup.NotFound")
	_, err = c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("again")})
	c.fails("the same name again", err, "InvalidGroup.Duplicate")
	_, err = c.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g, SecurityGroupRuleIds: []string{"sgr-none"}})
	c.fails("an unknown rule id", err, "InvalidSecurityGroupRuleId.NotFound")
	_, err = c.ec2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: g, SecurityGroupRuleIds: []string{*made[0].SecurityGroupRuleId}})
	c.fails("an ingress rule revoked as egress", err, "InvalidSecurityGroupRuleId.NotFound")
	_, err = c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g, DryRun: aws.Bool(true), IpPermissions: []types.IpPermission{tcp(80, "0.0.0.0/0")}})
	c.fails("a dry run", err, "DryRunOperation")

	c.Attach("", *g)
	_, err = c.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: g})
	c.fails("a group in use", err, "DependencyViolation")
	_, err = c.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupName: aws.String("default")})
	c.fails("the default group", err, "CannotDelete")
	for port := int32(1); err == nil || port < 60; port++ {
		if _, err = c.allow(g, tcp(1000+port, "192.0.2.0/24")); port > 70 {
			t.Fatal("no quota")
		}
	}
	c.fails("too many rules", err, "RulesPerSecurityGroupLimitExceeded")
}

// In the default VPC EC2 says that all went well when nothing was revoked.
func TestRevokeOfNothing(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	out, err := c.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: c.group("a"), IpPermissions: []types.IpPermission{tcp(22, "0.0.0.0/0")}})
	c.ok(err)
	if !aws.ToBool(out.Return) || len(out.UnknownIpPermissions) != 1 {
		t.Errorf("default VPC: %+v", out)
	}
	vpcs, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("is-default"), Values: []string{"false"}}}})
	c.ok(err)
	g, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("b"), Description: aws.String("b"), VpcId: vpcs.Vpcs[0].VpcId})
	c.ok(err)
	_, err = c.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{tcp(22, "0.0.0.0/0")}})
	c.fails("another VPC", err, "InvalidPermission.NotFound")
}

func TestPages(t *testing.T) {
	c := newCloud(t)
	g := c.group("web")
	for port := range int32(11) {
		_, err := c.allow(g, tcp(port+1, "192.0.2.0/24"))
		c.ok(err)
	}
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(c.ec2, &ec2.DescribeSecurityGroupRulesInput{MaxResults: aws.Int32(5), Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{*g}}}})
	seen, n := map[string]bool{}, 0
	for ; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		c.ok(err)
		for _, r := range page.SecurityGroupRules {
			seen[*r.SecurityGroupRuleId] = true
		}
	}
	if len(seen) != 12 || n != 3 {
		t.Errorf("%d rules on %d pages, want 12 on 3", len(seen), n)
	}
}

func TestModifyKeepsTheRule(t *testing.T) {
	c := newCloud(t)
	g := c.group("web")
	made, err := c.allow(g, tcp(22, "10.0.0.0/8"))
	c.ok(err)
	update := func(r types.SecurityGroupRuleRequest) error {
		_, err := c.ec2.ModifySecurityGroupRules(t.Context(), &ec2.ModifySecurityGroupRulesInput{
			GroupId: g, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: made[0].SecurityGroupRuleId, SecurityGroupRule: &r}},
		})
		return err
	}
	c.ok(update(types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(23), ToPort: aws.Int32(23), CidrIpv4: aws.String("0.0.0.0/0")}))
	c.fails("another kind of peer", update(types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(23), ToPort: aws.Int32(23), CidrIpv6: aws.String("::/0")}), "InvalidParameterValue")
	out, err := c.ec2.DescribeSecurityGroupRules(t.Context(), &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{*made[0].SecurityGroupRuleId}})
	c.ok(err)
	if r := out.SecurityGroupRules[0]; aws.ToString(r.CidrIpv4) != "0.0.0.0/0" || aws.ToInt32(r.FromPort) != 23 || aws.ToString(r.Description) != "" {
		t.Errorf("the rule is %+v: values and a description that was not sent again must be gone", r)
	}
	e := c.happened("ModifySecurityGroupRules")
	if len(e) != 2 || e[0].Detail.RequestParameters["ModifySecurityGroupRulesRequest"].(map[string]any)["SecurityGroupRule"].(map[string]any)["SecurityGroupRuleId"] != *made[0].SecurityGroupRuleId {
		t.Errorf("events: %+v", e)
	}
}
