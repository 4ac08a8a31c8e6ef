//go:build moto

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"secbot/internal/mototest"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// newAccount makes an account of the organisation.
func (c *cluster) newAccount(name string) string {
	c.t.Helper()
	out, err := organizations.NewFromConfig(c.aws).CreateAccount(c.t.Context(), &organizations.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")})
	if err != nil {
		c.t.Fatal(err)
	}
	return aws.ToString(out.CreateAccountStatus.AccountId)
}

// within is EC2 in another account.
func (c *cluster) within(account string) *ec2.Client {
	cfg := c.aws.Copy()
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(c.aws), "arn:aws:iam::"+account+":role/person"))
	return ec2.NewFromConfig(cfg)
}

// openGroup opens SSH of a new group to the world, of which nobody is told.
func (c *cluster) openGroup(client *ec2.Client) string {
	c.t.Helper()
	g, err := client.CreateSecurityGroup(c.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("a test")})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := client.AuthorizeSecurityGroupIngress(c.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: ssh()}); err != nil {
		c.t.Fatal(err)
	}
	return *g.GroupId
}

// scans are the messages of scans in the channel.
func (c *cluster) scans() (texts []string) {
	for _, m := range c.slack.Messages(fakeslack.ChannelSecurity) {
		if m.ThreadTS == "" && strings.HasPrefix(m.Text, "Scan ") {
			texts = append(texts, m.Text+"\n"+string(m.Blocks))
		}
	}
	return texts
}

// TestScanOfThreeAccountsMoto: the accounts of an organisation, of which one lets
// secbot not in, are spread over SQS to two workers, of which one is killed while they
// scan, and gathered in DynamoDB and in one message. Each is told of twice.
func TestScanOfThreeAccountsMoto(t *testing.T) {
	program := bootstrap(t)
	var endpoint string
	c := startCluster(t, func(at string) (person, bot mototest.Key) {
		endpoint = at
		return mototest.AddUser(t, at, "person", "*"), mototest.AddUser(t, at, "secbot", "*")
	})
	if _, err := organizations.NewFromConfig(c.aws).CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{FeatureSet: types.OrganizationFeatureSetAll}); err != nil {
		t.Fatal(err)
	}
	own, member, refuser := "123456789012", c.newAccount("member"), c.newAccount("refuser")
	groups := map[string]string{own: c.openGroup(c.ec2), member: c.openGroup(c.within(member)), refuser: c.openGroup(c.within(refuser))}
	t.Setenv("AWS_ENDPOINT_URL_STS", mototest.DenyRole(t, endpoint, memberRole(refuser)))
	t.Setenv("SECBOT_EXTERNAL_ID", externalID)
	kill := c.worker(program)
	c.worker(program)
	engine := remediation.New(remediation.Options{Store: c.store, Provider: nil, Config: remediation.DefaultConfig()})
	if err := engine.Submit(t.Context(), remediation.Command{ID: "scan", Verb: remediation.VerbScan, By: "shell:ann", Scope: "sg org", ReplyTo: remediation.ReplyTo{Channel: fakeslack.ChannelSecurity}}); err != nil {
		t.Fatal(err)
	}
	run := func() *remediation.ScanRun {
		run, err := remediation.ReadScan(t.Context(), c.store, "scan")
		if err != nil {
			return &remediation.ScanRun{}
		}
		return run
	}
	c.eventually("the scan has begun", func() bool { return run().ID != "" })
	for _, account := range []string{own, member, refuser} { // SQS delivers at least once
		if _, err := c.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &c.queue,
			MessageBody: aws.String(`{"detail-type":"secbot account scan","source":"secbot","detail":{"job":"scan-account/scan/` + account + `"}}`)}); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("an account is scanned", func() bool { r := run(); return r.Report != nil || r.Gathered != nil && len(r.Gathered.Waiting) < 3 })
	kill()
	c.eventually("all are gathered", func() bool { return run().Report != nil })
	r := run().Report
	if r.Accounts != 3 || r.Open != 2 || r.Unread != 1 || !slices.Equal(r.Refused, []string{refuser}) || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "secbot deploy --member") {
		t.Errorf("it gathered %+v", r)
	}
	for account, group := range groups {
		known, err := c.store.Incidents(t.Context(), remediation.IncidentQuery{Resource: group})
		if err != nil {
			t.Fatal(err)
		}
		if open := account != refuser; open != (len(known) == 1) || open && known[0].Finding.Resource.Account != account {
			t.Errorf("incidents of %s in account %s: %+v", group, account, known)
		}
	}
	c.eventually("one message tells it all", func() bool {
		texts := c.scans()
		return len(texts) == 1 && strings.Contains(texts[0], "Scan finished: 2 open") && strings.Contains(texts[0], "in 3 accounts") && strings.Contains(texts[0], refuser)
	})
	c.eventually("the queue is empty", func() bool {
		out, err := c.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &c.queue, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		return err == nil && out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
	})
}
