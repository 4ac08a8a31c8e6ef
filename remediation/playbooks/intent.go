package playbooks

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/smithy-go/middleware"

	"secbot/remediation"
)

// announceCalls has every changing call stored before it is made, so that its
// event is known as our own although its answer gets lost.
func announceCalls(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("AnnounceCall",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
			middleware.InitializeOutput, middleware.Metadata, error,
		) {
			if operation := awsmiddleware.GetOperationName(ctx); !reads(operation) {
				if err := remediation.Announce(ctx, intentOf(operation, in.Parameters)); err != nil {
					return middleware.InitializeOutput{}, middleware.Metadata{}, err
				}
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
}

// intentOf says what CloudTrail will tell of a call, by its parameters.
func intentOf(operation string, params any) remediation.Intent {
	switch in := params.(type) {
	case *s3.PutBucketAclInput, *s3.PutBucketPolicyInput, *s3.DeleteBucketPolicyInput, *s3.PutPublicAccessBlockInput, *s3.DeletePublicAccessBlockInput:
		return bucketIntent(operation, in)
	case *s3control.PutPublicAccessBlockInput:
		c := in.PublicAccessBlockConfiguration
		return accountIntent("PutAccountPublicAccessBlock", in.AccountId, blockFlags(c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets))
	case *s3control.DeletePublicAccessBlockInput:
		return accountIntent("DeleteAccountPublicAccessBlock", in.AccountId, nil)
	}
	return groupIntent(operation, params)
}

func accountIntent(event string, account *string, block *remediation.BlockFlags) remediation.Intent {
	return remediation.Intent{Action: event, Resource: remediation.Ref{Kind: remediation.KindAccount, ID: aws.ToString(account)},
		Change: remediation.Change{Block: block}}
}

// bucketIntent is that of a call about a bucket.
func bucketIntent(operation string, params any) remediation.Intent {
	i := remediation.Intent{Action: operation, Resource: remediation.Ref{Kind: remediation.KindBucket}}
	switch in := params.(type) {
	case *s3.PutBucketAclInput:
		i.Resource.ID = aws.ToString(in.Bucket)
		if in.AccessControlPolicy != nil {
			i.Change.Grants = aclOf(in.AccessControlPolicy.Owner, in.AccessControlPolicy.Grants).public()
		}
	case *s3.PutBucketPolicyInput:
		i.Resource.ID, i.Change.Policy = aws.ToString(in.Bucket), json.RawMessage(aws.ToString(in.Policy))
	case *s3.DeleteBucketPolicyInput:
		i.Resource.ID = aws.ToString(in.Bucket)
	case *s3.PutPublicAccessBlockInput:
		c := in.PublicAccessBlockConfiguration
		i.Action, i.Resource.ID = "PutBucketPublicAccessBlock", aws.ToString(in.Bucket)
		i.Change.Block = blockFlags(c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets)
	case *s3.DeletePublicAccessBlockInput:
		i.Action, i.Resource.ID = "DeleteBucketPublicAccessBlock", aws.ToString(in.Bucket)
	}
	return i
}

// groupIntent is that of a call about a security group.
func groupIntent(operation string, params any) remediation.Intent {
	i := remediation.Intent{Action: operation, Resource: remediation.Ref{Kind: remediation.KindSecurityGroup}}
	var id *string
	switch in := params.(type) {
	case *ec2.AuthorizeSecurityGroupIngressInput:
		id, i.Change.Rules = in.GroupId, permissionRules(remediation.Ingress, in.IpPermissions)
	case *ec2.AuthorizeSecurityGroupEgressInput:
		id, i.Change.Rules = in.GroupId, permissionRules(remediation.Egress, in.IpPermissions)
	case *ec2.RevokeSecurityGroupIngressInput:
		id, i.Change.RuleIDs = in.GroupId, in.SecurityGroupRuleIds
	case *ec2.RevokeSecurityGroupEgressInput:
		id, i.Change.RuleIDs = in.GroupId, in.SecurityGroupRuleIds
	case *ec2.ModifySecurityGroupRulesInput:
		id, i.Change.Rules = in.GroupId, updatedRules(in.SecurityGroupRules)
	case *ec2.CreateSecurityGroupInput:
		i.Change.GroupName = aws.ToString(in.GroupName)
	case *ec2.DeleteSecurityGroupInput:
		id = in.GroupId
	default:
		i.Change.Unread = fmt.Sprintf("%T is not known", params)
	}
	i.Resource.ID = aws.ToString(id)
	return i
}

// permissionRules are the rules of a call that playbooks make: the content only.
func permissionRules(d remediation.Direction, perms []types.IpPermission) []remediation.Rule {
	var rules []remediation.Rule
	for _, p := range perms {
		base := remediation.Rule{Direction: d, Protocol: aws.ToString(p.IpProtocol), FromPort: p.FromPort, ToPort: p.ToPort}
		add := func(set func(*remediation.Rule)) {
			r := base
			set(&r)
			rules = append(rules, r)
		}
		for _, r := range p.IpRanges {
			add(func(to *remediation.Rule) { to.CIDR = aws.ToString(r.CidrIp) })
		}
		for _, r := range p.Ipv6Ranges {
			add(func(to *remediation.Rule) { to.CIDR = aws.ToString(r.CidrIpv6) })
		}
		for _, l := range p.PrefixListIds {
			add(func(to *remediation.Rule) { to.PrefixList = aws.ToString(l.PrefixListId) })
		}
		for _, g := range p.UserIdGroupPairs {
			add(func(to *remediation.Rule) { to.Group, to.GroupOwner = aws.ToString(g.GroupId), aws.ToString(g.UserId) })
		}
	}
	return rules
}

// updatedRules are the rules that ModifySecurityGroupRules is asked for.
func updatedRules(updates []types.SecurityGroupRuleUpdate) []remediation.Rule {
	var rules []remediation.Rule
	for _, u := range updates {
		if r := u.SecurityGroupRule; r != nil {
			rules = append(rules, remediation.Rule{ID: aws.ToString(u.SecurityGroupRuleId), Protocol: aws.ToString(r.IpProtocol), FromPort: r.FromPort, ToPort: r.ToPort,
				CIDR: aws.ToString(r.CidrIpv4) + aws.ToString(r.CidrIpv6), PrefixList: aws.ToString(r.PrefixListId), Group: aws.ToString(r.ReferencedGroupId)})
		}
	}
	return rules
}
