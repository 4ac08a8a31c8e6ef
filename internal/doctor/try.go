package doctor

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	configtypes "github.com/aws/aws-sdk-go-v2/service/configservice/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// tries are calls that change nothing, by the action that they need.
type tries map[string]func(ctx context.Context) error

// try makes the calls of those actions that secbot needs, and says which of them are
// allowed. What can't be told is left out.
func (a *AWS) try(ctx context.Context, id remediation.Identity) map[string]bool {
	all := tries{}
	a.dryRuns(ctx, all)
	a.bucketReads(ctx, all)
	a.otherReads(all, id)
	var mu sync.Mutex
	allowed := map[string]bool{}
	var running sync.WaitGroup
	for _, action := range a.Actions {
		call, ok := all[action]
		if !ok {
			continue
		}
		running.Go(func() {
			err := call(ctx)
			if !answered(err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			allowed[action] = !denied(err)
		})
	}
	running.Wait()
	return allowed
}

// noGroup stands where no security group is known. Whether a call may be made AWS
// looks at before it looks for the group.
const noGroup = "sg-00000000000000000"

// dryRuns are the calls of EC2, which all can be made for show.
func (a *AWS) dryRuns(ctx context.Context, all tries) {
	c, dry := ec2.NewFromConfig(a.Config), aws.Bool(true)
	group, vpc := noGroup, "vpc-00000000000000000"
	if out, err := c.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(5)}); err == nil && len(out.SecurityGroups) > 0 {
		group, vpc = aws.ToString(out.SecurityGroups[0].GroupId), aws.ToString(out.SecurityGroups[0].VpcId)
	}
	rule := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(1),
		IpRanges: []types.IpRange{{CidrIp: aws.String("192.0.2.0/32")}}}}
	add := func(name string, call func(ctx context.Context) error) { all["ec2:"+name] = call }
	add("DescribeSecurityGroups", func(ctx context.Context) error {
		return of(c.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{DryRun: dry}))
	})
	add("DescribeSecurityGroupRules", func(ctx context.Context) error {
		return of(c.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{DryRun: dry}))
	})
	add("DescribeNetworkInterfaces", func(ctx context.Context) error {
		return of(c.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{DryRun: dry}))
	})
	add("GetManagedPrefixListEntries", func(ctx context.Context) error {
		return of(c.GetManagedPrefixListEntries(ctx, &ec2.GetManagedPrefixListEntriesInput{DryRun: dry, PrefixListId: aws.String("pl-00000000")}))
	})
	add("AuthorizeSecurityGroupIngress", func(ctx context.Context) error {
		return of(c.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{DryRun: dry, GroupId: &group, IpPermissions: rule}))
	})
	add("AuthorizeSecurityGroupEgress", func(ctx context.Context) error {
		return of(c.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{DryRun: dry, GroupId: &group, IpPermissions: rule}))
	})
	add("RevokeSecurityGroupIngress", func(ctx context.Context) error {
		return of(c.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{DryRun: dry, GroupId: &group, IpPermissions: rule}))
	})
	add("RevokeSecurityGroupEgress", func(ctx context.Context) error {
		return of(c.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{DryRun: dry, GroupId: &group, IpPermissions: rule}))
	})
	add("ModifySecurityGroupRules", func(ctx context.Context) error {
		return of(c.ModifySecurityGroupRules(ctx, &ec2.ModifySecurityGroupRulesInput{DryRun: dry, GroupId: &group,
			SecurityGroupRules: []types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: aws.String("sgr-00000000000000000"),
				SecurityGroupRule: &types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(1), CidrIpv4: aws.String("192.0.2.0/32")}}}}))
	})
	add("CreateSecurityGroup", func(ctx context.Context) error {
		return of(c.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{DryRun: dry, GroupName: aws.String("secbot-doctor"), Description: aws.String("a dry run"), VpcId: &vpc}))
	})
	add("DeleteSecurityGroup", func(ctx context.Context) error {
		return of(c.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{DryRun: dry, GroupId: aws.String(noGroup)}))
	})
	add("CreateTags", func(ctx context.Context) error {
		return of(c.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: dry, Resources: []string{group}, Tags: []types.Tag{{Key: aws.String("secbot-doctor"), Value: aws.String("")}}}))
	})
}

// bucketReads are tried on one bucket, where there is one.
func (a *AWS) bucketReads(ctx context.Context, all tries) {
	c := s3.NewFromConfig(a.Config, func(o *s3.Options) { o.UsePathStyle = a.Config.BaseEndpoint != nil })
	out, err := c.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	all["s3:ListAllMyBuckets"] = func(context.Context) error { return err }
	if err != nil || len(out.Buckets) == 0 {
		return
	}
	bucket, region := out.Buckets[0].Name, aws.ToString(out.Buckets[0].BucketRegion)
	there := func(o *s3.Options) {
		if region != "" {
			o.Region = region
		}
	}
	all["s3:GetBucketAcl"] = func(ctx context.Context) error {
		return of(c.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketLocation"] = func(ctx context.Context) error {
		return of(c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketOwnershipControls"] = func(ctx context.Context) error {
		return of(c.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketPolicy"] = func(ctx context.Context) error {
		return of(c.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketPolicyStatus"] = func(ctx context.Context) error {
		return of(c.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketPublicAccessBlock"] = func(ctx context.Context) error {
		return of(c.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketTagging"] = func(ctx context.Context) error {
		return of(c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket}, there))
	}
	all["s3:GetBucketWebsite"] = func(ctx context.Context) error {
		return of(c.GetBucketWebsite(ctx, &s3.GetBucketWebsiteInput{Bucket: bucket}, there))
	}
}

func (a *AWS) otherReads(all tries, id remediation.Identity) {
	all["s3:GetAccountPublicAccessBlock"] = func(ctx context.Context) error {
		return of(playbooks.NewClients(a.Config, id.Account, "").S3Control.GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{AccountId: &id.Account}))
	}
	config := configservice.NewFromConfig(a.Config)
	all["config:DescribeConfigRules"] = func(ctx context.Context) error {
		return of(config.DescribeConfigRules(ctx, &configservice.DescribeConfigRulesInput{}))
	}
	all["config:GetResourceConfigHistory"] = func(ctx context.Context) error {
		return of(config.GetResourceConfigHistory(ctx, &configservice.GetResourceConfigHistoryInput{
			ResourceType: configtypes.ResourceTypeSecurityGroup, ResourceId: aws.String(noGroup), Limit: 1}))
	}
	if a.QueueURL != "" {
		all["sqs:GetQueueAttributes"] = func(ctx context.Context) error {
			return of(sqs.NewFromConfig(a.Config).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &a.QueueURL,
				AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn}}))
		}
	}
}

// of leaves an answer out: only whether it came matters.
func of[T any](_ T, err error) error { return err }
