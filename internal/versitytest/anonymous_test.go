// Package versitytest shows what matters in the end, on a server that really
// answers or refuses strangers: versitygw, in this process. It is a module of
// its own, so that its dependencies are not secbot's.
package versitytest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

const (
	key, secret = "AKIAIOSFODNN7EXAMPLE", "secret"
	region      = "us-east-1"
)

// gateway serves versitygw on a free loopback port and gives its URL.
func gateway(t *testing.T) string {
	t.Helper()
	side, err := meta.NewSideCar(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	be, err := posix.New(t.TempDir(), side, posix.PosixOpts{SideCarDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{RootUserAccess: key, RootUserSecret: secret, Region: region, Ports: []string{addr},
			MaxConnections: 100, MaxRequests: 100, MultipartMaxParts: 100, Quiet: true, HealthPath: "/well"})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/well")
		if err == nil {
			_ = resp.Body.Close()
			return "http://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// mend answers what versitygw knows nothing of: Block Public Access.
func mend(t *testing.T, gatewayURL string) string {
	t.Helper()
	to, err := url.Parse(gatewayURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("publicAccessBlock") || strings.HasSuffix(r.URL.Path, "/publicAccessBlock") {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `<Error><Code>NoSuchPublicAccessBlockConfiguration</Code><Message>none</Message></Error>`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestStrangers: an anonymous GET is answered before the fix, refused after it,
// and answered again after the undo.
func TestStrangers(t *testing.T) {
	direct := gateway(t)
	cfg := aws.Config{Region: region, BaseEndpoint: aws.String(mend(t, direct)), Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")}
	clients := playbooks.NewClients(cfg, key, region) // versitygw knows accounts by their key
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	env := remediation.Environment{Playbooks: playbooks.All(clients)}
	reader := playbooks.Readers(clients)[remediation.KindBucket]
	// versitygw takes no group in an ACL, so that ACLs are for the other
	// stand-ins.
	const us = `{"Sid":"Us","Effect":"Allow","Principal":{"AWS":"` + key + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"},`
	// What somebody denied beside keeps the stranger out all along: that is why
	// such a finding is in doubt.
	kept := map[string]bool{"kept out by a Deny": true}
	n := 0
	for name, statements := range map[string]string{
		"any action":                    `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"s3:*","Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"]}`,
		"actions by a pattern":          us + `{"Effect":"Allow","Principal":"*","Action":["s3:Get*"],"Resource":"arn:aws:s3:::BUCKET/*"}`,
		"two with another between them": `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/o"},` + us + `{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}`,
		"a Deny of something else":      `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::BUCKET/*"},{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}`,
		"kept out by a Deny":            `{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"},{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}`,
		"one statement among others":    us + `{"Sid":"Everybody","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}`,
		"the only statement":            `{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":"arn:aws:s3:::BUCKET/*"}`,
	} {
		t.Run(name, func(t *testing.T) {
			n++
			bucket := "shop-" + strconv.Itoa(n)
			if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("o"), Body: strings.NewReader("hello")}); err != nil {
				t.Fatal(err)
			}
			stranger := func(when string, want int) {
				t.Helper()
				resp, err := http.Get(direct + "/" + bucket + "/o")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s a stranger gets %s, want %d", when, resp.Status, want)
				}
			}
			stranger("at first", http.StatusForbidden)
			policy := `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(statements, "BUCKET", bucket) + `]}`
			if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
				t.Fatal(err)
			}
			open := http.StatusOK
			if kept[name] {
				open = http.StatusForbidden
			}
			stranger("before the fix", open)

			sig := remediation.Signal{Kind: "PutBucketPolicy", Resource: remediation.Ref{Kind: remediation.KindBucket, Region: region, ID: bucket}}
			state, err := reader.Read(t.Context(), sig.Resource)
			if err != nil {
				t.Fatal(err)
			}
			sig.Change.Policy = []byte(policy)
			pb := env.Playbook("s3-public-policy")
			found := pb.Judge(state, &sig)
			if len(found) != 1 {
				t.Fatalf("found %+v in %+v", found, state)
			}
			if doubted := strings.Contains(found[0].Doubt, "a Deny beside it"); doubted != kept[name] {
				t.Errorf("doubt %q", found[0].Doubt)
			}
			plan, err := pb.Plan(state, found[0])
			if err != nil {
				t.Fatal(err)
			}
			var done []remediation.Outcome
			for i, step := range plan.Steps {
				o, err := pb.Apply(t.Context(), step)
				if err != nil {
					t.Fatal(err)
				}
				o.Step = i
				done = append(done, o)
			}
			// versitygw's PolicyStatus calls a Deny for everybody public, which AWS's
			// guide does not.
			if err := pb.Verify(t.Context(), plan, done); err != nil && !strings.Contains(statements, "Deny") {
				t.Error(err)
			}
			stranger("after the fix", http.StatusForbidden)
			if err := pb.Undo(t.Context(), plan, done); err != nil {
				t.Fatal(err)
			}
			stranger("after the undo", open)
		})
	}
}
