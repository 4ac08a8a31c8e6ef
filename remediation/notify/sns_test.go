package notify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"

	"secbot/remediation"
	"secbot/remediation/store/memory"
)

func port(n int32) *int32 { return &n }

func sshFinding() remediation.Finding {
	return remediation.Finding{
		Playbook: "sg-rule-added", Direction: remediation.Ingress,
		Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "us-east-1", ID: "sg-0a1"},
		Actor:    remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana"},
		Rules: []remediation.Rule{
			{Direction: remediation.Ingress, Protocol: "tcp", FromPort: port(22), ToPort: port(22), CIDR: "0.0.0.0/0", Description: "oops"},
			{Direction: remediation.Ingress, Protocol: "tcp", FromPort: port(22), ToPort: port(22), CIDR: "::/0"},
			{Direction: remediation.Ingress, Protocol: "-1", PrefixList: "pl-1"},
			{Direction: remediation.Ingress, Protocol: "-1", Group: "sg-0b2", GroupOwner: "444455556666"},
		},
	}
}

func TestMitigated(t *testing.T) {
	egress := sshFinding()
	egress.Direction, egress.Rules = remediation.Egress, nil
	bucket := remediation.Finding{Resource: remediation.Ref{Kind: remediation.KindBucket, ID: "b"}}
	acl, policy := bucket, bucket
	acl.Playbook, policy.Playbook, bucket.Playbook = "s3-public-acl", "s3-public-policy", "s3-block-public-access"
	removed, modified, created := sshFinding(), sshFinding(), sshFinding()
	removed.Playbook, removed.Rules = "sg-rule-removed", removed.Rules[2:3]
	modified.Playbook, modified.Was = "sg-rule-modified", removed.Rules
	created.Playbook, created.Name, created.Rules = "sg-created", "web", nil
	deleted := created
	deleted.Playbook = "sg-deleted"
	account := bucket
	account.Openness = []remediation.Openness{remediation.Unblocked}
	account.Playbook, account.Resource.ID = "s3-account-block-public-access", "111122223333"
	acl.Grants = []remediation.Grant{{Grantee: "AllUsers", Permission: "WRITE"}}
	policy.Statements = []remediation.Statement{{JSON: []byte(`{"Effect":"Allow"}`)}}
	bucket.Openness = []remediation.Openness{remediation.Unblocked}
	for name, c := range map[string]struct {
		f    remediation.Finding
		want string
	}{
		"ingress": {sshFinding(), `AUTO-MITIGATED: Ingress rule removed from security group: sg-0a1 that was added by arn:aws:iam::111122223333:user/dana: ` +
			`[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"0.0.0.0/0","Description":"oops"}]},` +
			`{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"Ipv6Ranges":[{"CidrIpv6":"::/0"}]},` +
			`{"IpProtocol":"-1","PrefixListIds":[{"PrefixListId":"pl-1"}]},` +
			`{"IpProtocol":"-1","UserIdGroupPairs":[{"GroupId":"sg-0b2","UserId":"444455556666"}]}]`},
		"egress":   {egress, `AUTO-MITIGATED: Egress rule removed from security group: sg-0a1 that was added by arn:aws:iam::111122223333:user/dana: []`},
		"acl":      {acl, `AUTO-MITIGATED: Public grant removed from the ACL of bucket: b that was added by unknown: [{"grantee":"AllUsers","permission":"WRITE"}]`},
		"policy":   {policy, `AUTO-MITIGATED: Public statement removed from the policy of bucket: b that was added by unknown: [{"Effect":"Allow"}]`},
		"block":    {bucket, `AUTO-MITIGATED: Block Public Access put back on bucket: b that was loosened by unknown: ["unblocked"]`},
		"account":  {account, `AUTO-MITIGATED: Block Public Access put back on account: 111122223333 that was loosened by unknown: ["unblocked"]`},
		"removed":  {removed, `AUTO-MITIGATED: Ingress rule put back into security group: sg-0a1 that was removed by arn:aws:iam::111122223333:user/dana: [{"IpProtocol":"-1","PrefixListIds":[{"PrefixListId":"pl-1"}]}]`},
		"modified": {modified, `AUTO-MITIGATED: Ingress rule set back in security group: sg-0a1 that was modified by arn:aws:iam::111122223333:user/dana: [{"IpProtocol":"-1","PrefixListIds":[{"PrefixListId":"pl-1"}]}]`},
		"created":  {created, `AUTO-MITIGATED: Security group deleted: sg-0a1 that was created by arn:aws:iam::111122223333:user/dana: "web"`},
		"deleted":  {deleted, `AUTO-MITIGATED: Security group created again: sg-0a1 that was deleted by arn:aws:iam::111122223333:user/dana: "web"`},
	} {
		got, err := Mitigated(c.f)
		if err != nil || got != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

type publisher struct {
	got *sns.PublishInput
	err error
}

func (p *publisher) Publish(_ context.Context, in *sns.PublishInput, _ ...func(*sns.Options)) (*sns.PublishOutput, error) {
	p.got = in
	return &sns.PublishOutput{}, p.err
}

func TestNotify(t *testing.T) {
	store := memory.New()
	inc := &remediation.Incident{ID: "1", Key: "k", Status: remediation.StatusFixed, Finding: sshFinding()}
	if err := store.Commit(t.Context(), remediation.Write{Incident: inc}); err != nil {
		t.Fatal(err)
	}
	p := &publisher{}
	s := &SNS{Topic: "arn:aws:sns:us-east-1:111122223333:fixes", Client: p, Store: store}
	if err := s.Notify(t.Context(), remediation.Notice{Incident: "1"}); err != nil {
		t.Fatal(err)
	}
	if *p.got.Subject != Subject || *p.got.TopicArn != s.Topic || !strings.HasPrefix(*p.got.Message, "AUTO-MITIGATED: Ingress") {
		t.Errorf("published %+v", p.got)
	}
	if err := s.Notify(t.Context(), remediation.Notice{Incident: "2"}); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("an unknown incident gives %v", err)
	}
	p.err = &smithy.GenericAPIError{Code: "InvalidParameter"}
	if err := s.Notify(t.Context(), remediation.Notice{Incident: "1"}); !errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("a refused message gives %v", err)
	}
	p.err = &smithy.GenericAPIError{Code: "Throttling"}
	if err := s.Notify(t.Context(), remediation.Notice{Incident: "1"}); err == nil || errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("a throttled message gives %v", err)
	}
}
