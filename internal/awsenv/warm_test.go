package awsenv_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// TestEventsFindAllWarm: credentials are fetched once, and connections made once, for
// all accounts, regions and events.
func TestEventsFindAllWarm(t *testing.T) {
	var fetched, connected atomic.Int32
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		fmt.Fprint(w, `{"AccessKeyId":"AKIASECBOT","SecretAccessKey":"s","Token":"t","Expiration":"2100-01-01T00:00:00Z"}`)
	}))
	t.Cleanup(keys.Close)
	fake := fakeaws.New(fakeaws.Options{})
	fake.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot"})
	srv := httptest.NewUnstartedServer(fake)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connected.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": srv.URL, "AWS_REGION": "us-east-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": keys.URL,
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
	} {
		t.Setenv(name, value)
	}
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("reports")}); err != nil {
		t.Fatal(err)
	}
	env := awsenv.New(cfg, awsenv.Member{})
	read := func(region string) {
		t.Helper()
		e, err := env.Environment(t.Context(), fakeaws.DefaultAccount, region)
		if err != nil {
			t.Fatal(err)
		}
		for kind, id := range map[remediation.Kind]string{remediation.KindBucket: "reports", remediation.KindSecurityGroup: "default"} {
			ref := remediation.Ref{Kind: kind, Account: fakeaws.DefaultAccount, Region: region, ID: id}
			if kind == remediation.KindBucket {
				ref.Region = "us-east-1"
			}
			if _, err := e.Readers[kind].Read(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
		}
	}
	const events = 30
	for range events {
		for _, region := range []string{"us-east-1", "eu-west-1", "eu-central-1"} {
			read(region)
		}
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("credentials were fetched %d times", n)
	}
	// A read of a bucket takes eight calls at once; each finds its connection by then.
	if n, calls := connected.Load(), len(fake.Calls()); n > 24 {
		t.Errorf("%d connections for %d calls", n, calls)
	} else {
		t.Logf("%d connections for %d calls", n, calls)
	}
}
