package awsenv_test

import (
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// newAWS is the environment of a process that runs with a role on the stand-in.
func newAWS(t *testing.T) (*awsenv.AWS, *fakeaws.AWS) {
	t.Helper()
	fake := fakeaws.New(fakeaws.Options{})
	fake.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot", Session: "night"})
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIASECBOT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	cfg, named, err := awsenv.LoadConfig(t.Context())
	if err != nil || !named {
		t.Fatal(err)
	}
	if aws.ToString(cfg.BaseEndpoint) != srv.URL || cfg.Region != "eu-west-1" {
		t.Fatalf("the configuration has endpoint %v and region %s", cfg.BaseEndpoint, cfg.Region)
	}
	return awsenv.New(cfg, awsenv.Member{}), fake
}

// The role's ARN, not the session's: the caller chooses the session's name.
func TestIdentityIsAskedOnce(t *testing.T) {
	env, fake := newAWS(t)
	for range 3 {
		id, err := env.Identity(t.Context())
		want := remediation.Identity{
			Account: fakeaws.DefaultAccount, ARN: "arn:aws:sts::111122223333:assumed-role/secbot/night",
			RoleARN: "arn:aws:iam::111122223333:role/secbot",
		}
		if err != nil || id != want {
			t.Fatalf("identity: %+v %v, want %+v", id, err, want)
		}
	}
	if n := len(fake.Calls()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestIdentityFailureIsAnError(t *testing.T) {
	env, fake := newAWS(t)
	fake.Fault(func(fakeaws.Call) *fakeaws.Fault { return &fakeaws.Fault{Status: 403, Code: "AccessDenied"} })
	if id, err := env.Identity(t.Context()); err == nil {
		t.Errorf("identity %+v without an error", id)
	}
}

func TestConfigRulesAreResolvedByTheirSource(t *testing.T) {
	env, fake := newAWS(t)
	fake.AddConfigRule("no-public-buckets-x7", "S3_BUCKET_PUBLIC_WRITE_PROHIBITED")
	fake.AddConfigRule("s3-bucket-public-read-prohibited", "SOMETHING_ELSE") // a name proves nothing
	signal := func(rule string) *remediation.Signal {
		return &remediation.Signal{ConfigRule: rule, Resource: remediation.Ref{Kind: remediation.KindBucket, Region: "eu-west-1", ID: "acme"}}
	}
	for range 2 {
		sig := signal("no-public-buckets-x7")
		if err := env.Enrich(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(sig.Playbooks, []string{"s3-block-public-access"}) || !slices.Equal(sig.Change.Openness, []remediation.Openness{remediation.PublicWrite}) {
			t.Errorf("the signal became %+v", sig)
		}
	}
	if n := len(fake.Calls()); n != 1 {
		t.Errorf("%d calls for one rule, want 1", n)
	}
	for _, name := range []string{"s3-bucket-public-read-prohibited", "nobody"} {
		sig := signal(name)
		if err := env.Enrich(t.Context(), sig); err != nil || len(sig.Playbooks) != 0 {
			t.Errorf("%s: %+v %v, want nothing", name, sig, err)
		}
	}
	fake.Fault(func(fakeaws.Call) *fakeaws.Fault { return &fakeaws.Fault{Code: "AccessDeniedException"} })
	if err := env.Enrich(t.Context(), signal("another")); err == nil {
		t.Error("AWS Config was denied, and nobody is told")
	}
}

func TestEnvironmentsAreKept(t *testing.T) {
	env, fake := newAWS(t)
	first, err := env.Environment(t.Context(), "111122223333", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := env.Environment(t.Context(), "111122223333", "us-east-1")
	if err != nil || again != first {
		t.Errorf("another environment the second time: %v", err)
	}
	for _, region := range []string{"evil.example.com/", "US EAST", "us-east-1#"} {
		if _, err := env.Environment(t.Context(), "111122223333", region); err == nil {
			t.Errorf("region %q was taken", region)
		}
	}
	if n := len(fake.Calls()); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}

// TestIgnoredEndpoints: where the SDK is told not to take endpoints from the
// environment, nothing else takes them from there.
func TestIgnoredEndpoints(t *testing.T) {
	for _, ignored := range []string{"false", "true"} {
		t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
		t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignored)
		cfg, _, err := awsenv.LoadConfig(t.Context())
		if err != nil || (cfg.BaseEndpoint == nil) != (ignored == "true") {
			t.Errorf("ignored is %s: endpoint %v, %v", ignored, cfg.BaseEndpoint, err)
		}
	}
}
