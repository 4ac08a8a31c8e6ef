package playbooks_test

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"secbot/events"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestIntentsAreTheEvents: what is stored before a call is what its event tells,
// for every changing call of every playbook, and no other call's event.
func TestIntentsAreTheEvents(t *testing.T) {
	var mu sync.Mutex
	var told []string
	a := fakeaws.New(fakeaws.Options{Region: testRegion, Emit: func(e []byte) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, string(e))
	}})
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	b := backend{url: srv.URL, account: a.Account(), enforces: true}
	a.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot"})
	cfg := withKey(awsConfig(b.url), "AKIASECBOT")
	var made []remediation.Intent
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Collect", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if op := awsmiddleware.GetOperationName(ctx); !playbooks.Reads(op) {
				i := playbooks.IntentOf(op, in.Parameters)
				i.Resource.Account, i.Resource.Region = a.Account(), testRegion
				made = append(made, i)
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
	})
	seen := map[string]bool{}
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			a.Flush()
			mu.Lock()
			made, told = nil, nil
			mu.Unlock()
			person, secbot := secbotOn(t, b, cfg)
			if problems := wholeWay(t, person, secbot, c); len(problems) > 0 {
				t.Fatal(problems)
			}
			a.Flush()
			mu.Lock()
			defer mu.Unlock()
			own := slices.DeleteFunc(slices.Clone(told), func(e string) bool { return !strings.Contains(e, "assumed-role/secbot") })
			if len(own) != len(made) || len(own) == 0 {
				t.Fatalf("%d calls and %d events: %v", len(made), len(own), own)
			}
			for i, e := range own {
				results, err := events.Decode([]byte(e))
				if err != nil {
					t.Fatal(err)
				}
				for _, sig := range events.Signals(results) {
					seen[sig.Kind] = true
					if !made[i].Matches(sig) {
						t.Errorf("%+v is not what was meant:\n%+v\n%s", sig, made[i], e)
					}
					for _, other := range made[:i] {
						if other.Matches(sig) && other.Action != made[i].Action {
							t.Errorf("%+v is taken for %+v", sig, other)
						}
					}
				}
			}
		})
	}
	for _, kind := range []string{"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress",
		"ModifySecurityGroupRules", "CreateSecurityGroup", "DeleteSecurityGroup", "PutBucketAcl", "PutBucketPolicy",
		"PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock", "PutAccountPublicAccessBlock"} {
		if !seen[kind] {
			t.Errorf("no case has secbot call %s", kind)
		}
	}
}

// TestOneAccount: an event of any region and a scan mean the same account, so
// that there is one incident.
func TestOneAccount(t *testing.T) {
	a := fakeaws.New(fakeaws.Options{Region: testRegion})
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	w := newWorld(t, backend{url: srv.URL, account: a.Account(), enforces: true})
	results, err := events.Decode([]byte(`{"eventSource":"s3.amazonaws.com","eventName":"DeleteAccountPublicAccessBlock","awsRegion":"eu-central-1","recipientAccountId":"` + a.Account() + `"}`))
	if err != nil || len(events.Signals(results)) != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	reader := w.readers[remediation.KindAccount]
	told := must(reader.Read(w.ctx, events.Signals(results)[0].Resource))(t).Ref()
	for listed, err := range reader.List(w.ctx) {
		if err != nil || must(reader.Read(w.ctx, listed))(t).Ref() != told || listed != told {
			t.Errorf("listed %v, of the event %v, %v", listed, told, err)
		}
	}
}
