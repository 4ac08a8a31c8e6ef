package awsenv_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

const (
	memberAccount  = "222233334444"
	refusing       = "333344445555"
	testExternalID = "0123456789abcdef"
)

// newHub is the environment of a hub with one member, and an account that refuses it.
func newHub(t *testing.T) (*awsenv.AWS, *fakeaws.AWS) {
	t.Helper()
	return newHubAt(t, time.Now)
}

// newHubAt is newHub where AWS has another time.
func newHubAt(t *testing.T, now func() time.Time) (*awsenv.AWS, *fakeaws.AWS) {
	t.Helper()
	fake := fakeaws.New(fakeaws.Options{Now: now})
	fake.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot", Session: "night"})
	fake.AddRole("arn:aws:iam::"+memberAccount+":role/secbot-member", fakeaws.Trust{ExternalID: testExternalID, SourceIdentity: "secbot"})
	fake.AddRole("arn:aws:iam::"+refusing+":role/secbot-member", fakeaws.Trust{})
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIASECBOT",
		"AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(name, value)
	}
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return awsenv.New(cfg, awsenv.Member{ExternalID: testExternalID}), fake
}

// groups lists the security groups of an account and region.
func groups(ctx context.Context, t *testing.T, a *awsenv.AWS, account, region string) (ids []string, err error) {
	t.Helper()
	env, err := a.Environment(ctx, account, region)
	if err != nil {
		t.Fatal(err)
	}
	for ref, err := range env.Readers[remediation.KindSecurityGroup].List(ctx) {
		if err != nil {
			return ids, err
		}
		if ref.Account != "" && ref.Account != account {
			t.Errorf("%s was listed for account %s", ref, account)
		}
		ids = append(ids, ref.ID)
	}
	return ids, nil
}

func called(fake *fakeaws.AWS, action string) (by []string) {
	for _, c := range fake.Calls() {
		if c.Action == action {
			by = append(by, c.Caller)
		}
	}
	return by
}

// TestMembersAreEnteredOnce: an account that is not secbot's own is entered with its
// role, once for all regions; the own one with secbot's own credentials.
func TestMembersAreEnteredOnce(t *testing.T) {
	a, fake := newHub(t)
	for _, region := range []string{"eu-west-1", "us-east-1", "eu-west-1"} {
		if ids, err := groups(t.Context(), t, a, memberAccount, region); err != nil || len(ids) == 0 {
			t.Fatalf("groups of the member in %s: %v, %v", region, ids, err)
		}
	}
	if _, err := groups(t.Context(), t, a, fakeaws.DefaultAccount, "eu-west-1"); err != nil {
		t.Fatal(err)
	}
	inMember, hub := "arn:aws:sts::"+memberAccount+":assumed-role/secbot-member/secbot", "arn:aws:sts::111122223333:assumed-role/secbot/night"
	if d := cmp.Diff([]string{inMember, inMember, inMember, hub}, called(fake, "DescribeSecurityGroups")); d != "" {
		t.Error(d)
	}
	if n := len(called(fake, "AssumeRole")); n != 1 {
		t.Errorf("the role was taken %d times, want once", n)
	}
}

// TestSessionsAreRenewedInTime: a session that is about to end is taken anew, so that no
// call comes to AWS after its end.
func TestSessionsAreRenewedInTime(t *testing.T) {
	for left, want := range map[time.Duration]int{30 * time.Second: 2, 30 * time.Minute: 1} {
		a, fake := newHubAt(t, func() time.Time { return time.Now().Add(left - time.Hour) }) // a session lasts an hour
		for range 2 {
			if _, err := groups(t.Context(), t, a, memberAccount, "eu-west-1"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(called(fake, "AssumeRole")); n != want {
			t.Errorf("with %s left the role was taken %d times, want %d", left, n, want)
		}
	}
}

// TestRefusingAccountIsNamed, with what to do about it, and is no mishap that passes.
func TestRefusingAccountIsNamed(t *testing.T) {
	a, fake := newHub(t)
	_, err := groups(t.Context(), t, a, refusing, "eu-west-1")
	var refused *remediation.AccountError
	if !errors.As(err, &refused) || refused.Account != refusing || refused.Role != "secbot-member" {
		t.Fatalf("a refusing account is %v", err)
	}
	for _, want := range []string{refusing, "secbot deploy --member", "SECBOT_EXTERNAL_ID", "AccessDenied"} {
		if text := remediation.Explain(err); !strings.Contains(text, want) {
			t.Errorf("people are told %q, without %s", text, want)
		}
	}
	fake.AddRole("arn:aws:iam::"+refusing+":role/secbot-member", fakeaws.Trust{ExternalID: testExternalID})
	if _, err := groups(t.Context(), t, a, refusing, "eu-west-1"); err != nil {
		t.Errorf("once it lets secbot in: %v", err)
	}
}

// TestNoMembersNoOtherAccount: without an external id nothing of another account is
// read, least of all what secbot's own credentials show.
func TestNoMembersNoOtherAccount(t *testing.T) {
	a, fake := newAWS(t)
	if ids, err := groups(t.Context(), t, a, memberAccount, "eu-west-1"); !errors.Is(err, awsenv.ErrNoMembers) || len(ids) != 0 {
		t.Errorf("groups of another account: %v, %v", ids, err)
	}
	if n := len(called(fake, "DescribeSecurityGroups")); n != 0 {
		t.Errorf("EC2 was asked %d times", n)
	}
	if ids, err := groups(t.Context(), t, a, fakeaws.DefaultAccount, "eu-west-1"); err != nil || len(ids) == 0 {
		t.Errorf("groups of the own account: %v, %v", ids, err)
	}
}

// TestWhereConfigIsAsked: a rule of a member's account is looked up there.
func TestWhereConfigIsAsked(t *testing.T) {
	a, fake := newHub(t)
	fake.AddConfigRule("public", "S3_BUCKET_PUBLIC_READ_PROHIBITED")
	sig := &remediation.Signal{ConfigRule: "public", Resource: remediation.Ref{Kind: remediation.KindBucket, Account: memberAccount, Region: "eu-west-1", ID: "acme"}}
	if err := a.Enrich(t.Context(), sig); err != nil {
		t.Fatal(err)
	}
	if by := called(fake, "DescribeConfigRules"); len(by) != 1 || !strings.Contains(by[0], memberAccount) {
		t.Errorf("AWS Config was asked by %v", by)
	}
}

// TestAccountsOfTheOrganisation: those that are active, of all pages.
func TestAccountsOfTheOrganisation(t *testing.T) {
	a, fake := newHub(t)
	if ids, err := a.Accounts(t.Context()); err == nil {
		t.Errorf("without an organisation there are accounts: %v", ids)
	}
	for _, x := range [][2]string{{memberAccount, "ACTIVE"}, {"444455556666", "SUSPENDED"}, {fakeaws.DefaultAccount, "ACTIVE"}, {refusing, "ACTIVE"}, {"555566667777", "PENDING_CLOSURE"}} {
		fake.AddAccount(x[0], x[1])
	}
	ids, err := a.Accounts(t.Context())
	if want := []string{fakeaws.DefaultAccount, memberAccount, refusing}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("accounts %v, %v, want %v", ids, err, want)
	}
}

// TestNoStrangeAccounts: what comes from events gets into no ARN unless it is an
// account's id.
func TestNoStrangeAccounts(t *testing.T) {
	a, fake := newHub(t)
	for _, account := range []string{"12345678901", "1234567890123", "*", "222233334444:role/x", "２２２２"} {
		if _, err := a.Environment(t.Context(), account, "eu-west-1"); err == nil {
			t.Errorf("account %q was taken", account)
		}
	}
	if n := len(fake.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}
