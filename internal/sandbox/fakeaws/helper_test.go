package fakeaws_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/plainbody"
	"secbot/internal/sandbox/fakeaws"
)

// cloud is a stand-in that is being served, with the SDK's clients for it.
type cloud struct {
	*fakeaws.AWS
	t   *testing.T
	cfg aws.Config
	ec2 *ec2.Client
	s3  *s3.Client

	mu     sync.Mutex
	events []event
}

// event is what the tests look at in an event.
type event struct {
	Account string
	Source  string
	Detail  struct {
		EventName          string
		EventSource        string
		ErrorCode          string
		RequestID          string
		RecipientAccountID string
		UserIdentity       struct {
			Type, ARN      string
			SessionContext struct{ SessionIssuer struct{ ARN string } }
		}
		RequestParameters map[string]any
		ResponseElements  map[string]any
	}
}

const testKey = "AKIATEST000000000000"

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t}
	c.AWS = fakeaws.New(fakeaws.Options{Emit: func(raw []byte) {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Errorf("an event is no JSON: %v: %s", err, raw)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, e)
	}})
	c.AddCaller(testKey, fakeaws.Caller{User: "dana"})
	srv := httptest.NewServer(c.AWS)
	t.Cleanup(srv.Close)
	c.cfg = c.as(testKey, srv.URL)
	c.ec2 = ec2.NewFromConfig(c.cfg)
	c.s3 = s3Client(c.cfg)
	return c
}

func s3Client(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

// as is the configuration of another caller.
func (c *cloud) as(key, url string) aws.Config {
	return aws.Config{
		Region: fakeaws.DefaultRegion, BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
		APIOptions:  []func(*middleware.Stack) error{plainbody.Use},
		Retryer:     func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 1) },
	}
}

// happened waits for the events so far and gives those of a name.
func (c *cloud) happened(name string) []event {
	c.t.Helper()
	c.Flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []event
	for _, e := range c.events {
		if e.Detail.EventName == name {
			found = append(found, e)
		}
	}
	return found
}

// bucket makes one as they were before 2023: with ACLs and without a block.
func (c *cloud) bucket(name string) *string {
	c.t.Helper()
	ctx := c.t.Context()
	_, err := c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: s3types.ObjectOwnershipObjectWriter})
	c.ok(err)
	_, err = c.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &name})
	c.ok(err)
	return &name
}

func (c *cloud) group(name string) *string {
	c.t.Helper()
	out, err := c.ec2.CreateSecurityGroup(c.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("a test")})
	c.ok(err)
	return out.GroupId
}

func (c *cloud) allow(group *string, perms ...ec2types.IpPermission) ([]ec2types.SecurityGroupRule, error) {
	out, err := c.ec2.AuthorizeSecurityGroupIngress(c.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: perms})
	if err != nil {
		return nil, err
	}
	return out.SecurityGroupRules, nil
}

func tcp(port int32, cidr string) ec2types.IpPermission {
	return ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port,
		IpRanges: []ec2types.IpRange{{CidrIp: &cidr, Description: aws.String("why")}},
	}
}

func (c *cloud) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// fails checks AWS's code of an error.
func (c *cloud) fails(what string, err error, code string) {
	c.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		c.t.Errorf("%s: %v, want %s", what, err, code)
	}
}
