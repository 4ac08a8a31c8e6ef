package fakeaws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"secbot/internal/sandbox/fakeaws"
)

// Each change is told as CloudTrail does, with the request id that the caller
// got; failed ones too; reads never.
func TestEvents(t *testing.T) {
	c := newCloud(t)
	g := c.group("web")
	_, err := c.allow(g, tcp(22, "0.0.0.0/0"))
	c.ok(err)
	_, again := c.allow(g, tcp(22, "0.0.0.0/0"))
	_, err = c.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	c.ok(err)

	e := c.happened("AuthorizeSecurityGroupIngress")
	if len(e) != 2 || len(c.happened("DescribeSecurityGroups")) != 0 {
		t.Fatalf("events: %+v", e)
	}
	first, second := e[0].Detail, e[1].Detail
	if first.UserIdentity.ARN != "arn:aws:iam::111122223333:user/dana" || first.RecipientAccountID != "111122223333" || e[0].Source != "aws.ec2" {
		t.Errorf("who and where: %+v", e[0])
	}
	if first.ResponseElements["securityGroupRuleSet"] == nil || first.ErrorCode != "" {
		t.Errorf("the first: %+v", first)
	}
	if second.ErrorCode != "Client.InvalidPermission.Duplicate" || second.ResponseElements != nil {
		t.Errorf("the second: %+v", second)
	}
	var resp *awshttp.ResponseError
	if !errors.As(again, &resp) || resp.ServiceRequestID() != second.RequestID {
		t.Errorf("the caller's request id is %v, the event's %s", again, second.RequestID)
	}
}

func TestFaults(t *testing.T) {
	c := newCloud(t)
	b := c.bucket("acme")
	c.Fault(func(call fakeaws.Call) *fakeaws.Fault {
		switch call.Action {
		case "PutBucketAcl":
			return &fakeaws.Fault{Status: 503, Code: "SlowDown", After: true}
		case "AuthorizeSecurityGroupIngress":
			return &fakeaws.Fault{Drop: true}
		case "CreateSecurityGroup":
			return &fakeaws.Fault{Code: "RequestLimitExceeded", Delay: time.Millisecond}
		}
		return nil
	})
	c.fails("after the effect", c.canned(b, types.BucketCannedACLPublicRead), "SlowDown")
	if n := c.grants(b); n != 2 {
		t.Errorf("%d grants: the call must have taken effect", n)
	}
	if _, err := c.allow(aws.String("sg-1"), tcp(22, "0.0.0.0/0")); err == nil {
		t.Error("a dropped connection is no error")
	}
	_, err := c.ec2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("a"), Description: aws.String("a")})
	c.fails("before the effect", err, "RequestLimitExceeded")
	c.Fault(nil)
	c.group("a") // which would be a duplicate, had the call taken effect
	calls := c.Calls()
	if last := calls[len(calls)-1]; last.Service != "ec2" || last.Action != "CreateSecurityGroup" || last.Caller != "arn:aws:iam::111122223333:user/dana" {
		t.Errorf("the last call: %+v", last)
	}
}

func TestIdentities(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	out, err := sts.NewFromConfig(c.cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::999900001111:role/path/secbot"), RoleSessionName: aws.String("night")})
	c.ok(err)
	cfg := c.cfg.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "s", "t")
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	c.ok(err)
	if *who.Arn != "arn:aws:sts::999900001111:assumed-role/secbot/night" || *who.Account != "999900001111" {
		t.Errorf("the role is %s of %s", *who.Arn, *who.Account)
	}
	_, err = ec2.NewFromConfig(cfg).CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("a"), Description: aws.String("a")})
	c.ok(err)
	e := c.happened("CreateSecurityGroup")
	if len(e) != 1 || e[0].Account != "999900001111" || e[0].Detail.UserIdentity.SessionContext.SessionIssuer.ARN != "arn:aws:iam::999900001111:role/secbot" {
		t.Errorf("events: %+v", e)
	}
	cfg.Credentials = aws.AnonymousCredentials{}
	_, err = ec2.NewFromConfig(cfg).DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	c.fails("nobody", err, "MissingAuthenticationToken")
}

func TestTopicsAndConfigRules(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	client := sns.NewFromConfig(c.cfg)
	_, err := client.Publish(ctx, &sns.PublishInput{TopicArn: aws.String("arn:aws:sns:us-east-1:111122223333:none"), Message: aws.String("m")})
	c.fails("an unknown topic", err, "NotFound")
	topic, err := client.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("secbot")})
	c.ok(err)
	_, err = client.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Subject: aws.String("s"), Message: aws.String("a & <b>")})
	c.ok(err)
	if p := c.Published(); len(p) != 1 || p[0].Message != "a & <b>" || p[0].Subject != "s" {
		t.Errorf("published: %+v", p)
	}
	c.AddConfigRule("ours", "S3_BUCKET_PUBLIC_READ_PROHIBITED")
	rules := configservice.NewFromConfig(c.cfg)
	out, err := rules.DescribeConfigRules(ctx, &configservice.DescribeConfigRulesInput{ConfigRuleNames: []string{"ours"}})
	c.ok(err)
	if len(out.ConfigRules) != 1 || aws.ToString(out.ConfigRules[0].Source.SourceIdentifier) != "S3_BUCKET_PUBLIC_READ_PROHIBITED" {
		t.Errorf("rules: %+v", out.ConfigRules)
	}
	_, err = rules.DescribeConfigRules(ctx, &configservice.DescribeConfigRulesInput{ConfigRuleNames: []string{"none"}})
	c.fails("an unknown rule", err, "NoSuchConfigRuleException")
}
