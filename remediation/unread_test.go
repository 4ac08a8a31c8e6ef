package remediation_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// cupboard is a Provider whose buckets nobody may read, with one playbook for
// them, which claims nothing.
type cupboard struct{ noRegion string }

func (c cupboard) Environment(_ context.Context, account, region string) (*remediation.Environment, error) {
	if region != "" && region == c.noRegion {
		return nil, errors.New("no such region")
	}
	locked := &door{open: map[string][]string{}, fail: func(string) error {
		return &smithy.OperationError{ServiceID: "S3", OperationName: "GetPublicAccessBlock", Err: &smithy.GenericAPIError{Code: "AccessDenied", Message: "RequestID: 1234", Fault: smithy.FaultClient}}
	}}
	return &remediation.Environment{Account: account, Region: region,
		Readers:   map[remediation.Kind]remediation.Reader{remediation.KindBucket: locked, remediation.KindSecurityGroup: locked},
		Playbooks: []remediation.Playbook{mute{toyPlaybook{locked}, "s3-block-public-access", remediation.KindBucket}, mute{toyPlaybook{locked}, "toy", remediation.KindSecurityGroup}}}, nil
}

// mute is a playbook that can't tell from an event what is wrong.
type mute struct {
	toyPlaybook
	id   string
	kind remediation.Kind
}

func (m mute) Meta() remediation.Meta                       { return remediation.Meta{ID: m.id, Kind: m.kind} }
func (mute) Claim(remediation.Signal) []remediation.Finding { return nil }

// TestNothingReadableIsLost: an event that says no more than which resource it is
// about is told although nothing can be read.
func TestNothingReadableIsLost(t *testing.T) {
	bucket := remediation.Ref{Kind: remediation.KindBucket, Account: toyAccount, Region: "eu-west-1", ID: "b"}
	elsewhere := bucket
	elsewhere.Account = "444455556666"
	config := func(r remediation.Ref) remediation.Signal {
		return remediation.Signal{EventID: "e", Kind: "Config Rules Compliance Change", Resource: r, ConfigRule: "our-rule"}
	}
	closed := remediation.Signal{EventID: "e", Kind: "PutBucketPublicAccessBlock", Resource: bucket, Playbooks: []string{"s3-block-public-access"},
		Change: remediation.Change{Block: &remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}}}
	for name, c := range map[string]struct {
		sig    remediation.Signal
		want   remediation.Action // empty: no incident
		why    string
		region string
	}{
		"neither the rule nor the bucket":   {config(bucket), remediation.ActionAsk, "s3:GetBucketPublicAccessBlock", ""},
		"another account's":                 {config(elsewhere), remediation.ActionAsk, "run a secbot there", ""},
		"a policy that CloudTrail left out": {remediation.Signal{EventID: "e", Kind: "PutBucketPolicy", Resource: bucket, Playbooks: []string{"s3-public-policy"}}, remediation.ActionAsk, "s3:GetBucketPublicAccessBlock", ""},
		"no playbooks for its region":       {config(bucket), remediation.ActionAsk, "no such region", "eu-west-1"},
		"a group":                           {remediation.Signal{EventID: "e", Kind: "AuthorizeSecurityGroupIngress", Resource: ref("h"), Playbooks: []string{"toy"}}, remediation.ActionNotify, "needs", ""},
		"what was closed":                   {closed, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			l := newLab(t, func(o *remediation.Options) {
				o.Provider = cupboard{noRegion: c.region}
				o.Self = func(context.Context) (remediation.Identity, error) {
					return remediation.Identity{Account: toyAccount}, nil
				}
				o.Enrich = func(context.Context, *remediation.Signal) error {
					return &smithy.OperationError{ServiceID: "Config Service", OperationName: "DescribeConfigRules", Err: &smithy.GenericAPIError{Code: "ExpiredToken", Fault: smithy.FaultClient}}
				}
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			stop := l.start()
			l.accept(c.sig)
			l.settled()
			stop()
			if strings.Contains(log.String(), "safe") {
				t.Errorf("what nobody has looked at is called safe:\n%s", log.String())
			}
			all := l.incidents()
			if c.want == "" {
				if len(all) > 0 {
					t.Errorf("incidents: %+v", all)
				}
				return
			}
			if len(all) != 1 || all[0].Decision.Action != c.want || l.slack.count(remediation.OpMessage) != 1 {
				t.Fatalf("incidents %+v, want one", all)
			}
			if doubt := all[0].Finding.Doubt; !strings.Contains(doubt, c.why) || strings.Contains(doubt, "RequestID") {
				t.Errorf("the doubt is %q", doubt)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	call := func(service, operation, code string) error {
		return &smithy.OperationError{ServiceID: service, OperationName: operation, Err: &smithy.GenericAPIError{Code: code, Fault: smithy.FaultClient}}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{call("EC2", "DescribeSecurityGroups", "UnauthorizedOperation"), "needs ec2:DescribeSecurityGroups."},
		{call("S3", "ListBuckets", "AccessDenied"), "needs s3:ListAllMyBuckets."},
		{call("S3 Control", "GetPublicAccessBlock", "AccessDenied"), "needs s3:GetAccountPublicAccessBlock."},
		{call("Config Service", "DescribeConfigRules", "AccessDeniedException"), "needs config:DescribeConfigRules."},
		{call("STS", "GetCallerIdentity", "ExpiredToken"), "Renew them"},
		{errors.New("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found, operation error ec2imds"), "no AWS credentials: set AWS_PROFILE"},
	} {
		if got := remediation.Explain(c.err); !strings.Contains(got, c.want) {
			t.Errorf("%v is explained as %q", c.err, got)
		}
	}
}

// nervous is a playbook that panics at what it is given.
type nervous struct{ toyPlaybook }

func (nervous) Claim(remediation.Signal) []remediation.Finding { panic("what is that?") }

// TestPanicWhileClaiming: an event that a playbook can't read is told all the same.
func TestPanicWhileClaiming(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) {
		o.Provider = provider(func() *remediation.Environment {
			locked := &door{fail: func(string) error { return errors.New("locked") }}
			return &remediation.Environment{Readers: map[remediation.Kind]remediation.Reader{remediation.KindSecurityGroup: locked},
				Playbooks: []remediation.Playbook{nervous{toyPlaybook{locked}}}}
		})
	})
	l.start()
	l.accept(signal("e1", "h", "front"))
	if inc := l.one(remediation.StatusOpen); !strings.Contains(inc.Finding.Doubt, "locked") {
		t.Errorf("doubt %q", inc.Finding.Doubt)
	}
}

// provider gives the same environment for all accounts and regions.
type provider func() *remediation.Environment

func (p provider) Environment(context.Context, string, string) (*remediation.Environment, error) {
	return p(), nil
}

// TestPanicInAScan: what goes wrong with one resource is told as not read, and ends
// neither the scan nor the process.
func TestPanicInAScan(t *testing.T) {
	l := newLab(t)
	for _, house := range []string{"a", "b", "c"} {
		l.doors.set(house, "front")
	}
	l.doors.onRead = func(r remediation.Ref) {
		if r.ID == "b" {
			panic("a house without walls")
		}
	}
	var found []string
	var failures []error
	read, err := l.engine.Scan(t.Context(), "sg", func(f remediation.Finding) { found = append(found, f.Resource.ID) }, func(err error) { failures = append(failures, err) })
	if err != nil || read != 2 || len(found) != 2 || len(failures) != 1 || !strings.Contains(failures[0].Error(), "/b: internal error") {
		t.Errorf("read %d, found %v, failures %v, error %v", read, found, failures, err)
	}
}
