package awsenv

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"secbot/internal/sandbox/fakeaws"
)

// TestIdentityOutlivesFailures: who secbot is stays known while STS can't be asked,
// which the check tells at once; and whoever gives up waiting spoils it for nobody.
func TestIdentityOutlivesFailures(t *testing.T) {
	fake := fakeaws.New(fakeaws.Options{})
	fake.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot", Session: "night"})
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := New(aws.Config{Region: "us-east-1", BaseEndpoint: &srv.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIASECBOT", "s", ""),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} }}, Member{})
	a.now = func() time.Time { return now }
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if id, err := a.Identity(gone); err != nil || id.RoleARN == "" {
		t.Errorf("for somebody who has left: %+v, %v", id, err)
	}
	var fault *fakeaws.Fault
	fake.Fault(func(fakeaws.Call) *fakeaws.Fault { return fault })
	fault = &fakeaws.Fault{Status: 403, Code: "ExpiredToken"}
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("right after an answer: %v", err)
	}
	for _, later := range []time.Duration{31 * time.Second, time.Hour, 48 * time.Hour} {
		now = now.Add(later)
		if err := a.Check(t.Context()); err == nil {
			t.Errorf("%v later the check is fine, with credentials that have expired", later)
		}
		if id, err := a.Identity(t.Context()); err != nil || id.RoleARN == "" {
			t.Errorf("%v later nobody knows who secbot is: %+v, %v", later, id, err)
		}
	}
	fault, now = nil, now.Add(31*time.Second)
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("once all is well again: %v", err)
	}
}

// TestMembersAreBounded, also where an account is only asked for its Config rules.
func TestMembersAreBounded(t *testing.T) {
	a := New(aws.Config{}, Member{ExternalID: "0123456789abcdef"})
	for i := range 2*maxEnvironments + 1 {
		if a.credentials(fmt.Sprintf("%012d", i)) == nil || len(a.members) > maxEnvironments {
			t.Fatalf("credentials of %d accounts are kept", len(a.members))
		}
	}
}
