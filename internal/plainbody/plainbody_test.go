package plainbody_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
)

// TestLateWriterRepeatsNothing: a call is made once, also where what writes the request
// goes on only after the SDK has seen the answer's head and closed the body.
func TestLateWriterRepeatsNothing(t *testing.T) {
	var requests atomic.Int32
	fake := fakeaws.New(fakeaws.Options{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"} {
		t.Setenv(name, value)
	}
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := &lateWriter{goOn: make(chan struct{}), wrote: make(chan error, 5)}
	transport := &http.Transport{DialContext: late.dial}
	t.Cleanup(transport.CloseIdleConnections)
	late.inner = &http.Client{Transport: transport}
	cfg.HTTPClient = late
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) { late.wrote <- info.Err }})
	if _, err := ec2.NewFromConfig(cfg).CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("d")}); err != nil {
		t.Error(err)
	}
	if n := requests.Load(); n != 1 || late.err != nil {
		t.Errorf("the call was made %d times; its writer said %v", n, late.err)
	}
}

// lateWriter is an HTTP client whose connections return from writing a body only when
// the answer's body is read.
type lateWriter struct {
	inner *http.Client
	goOn  chan struct{}
	wrote chan error
	once  sync.Once
	err   error // what writing the first request came to
}

// Do hands the request on.
func (l *lateWriter) Do(r *http.Request) (*http.Response, error) {
	res, err := l.inner.Do(r)
	if err == nil {
		res.Body = firstRead{ReadCloser: res.Body, do: l.finish}
	}
	return res, err
}

// finish lets the writer go on and waits for it, once.
func (l *lateWriter) finish() {
	l.once.Do(func() {
		close(l.goOn)
		l.err = <-l.wrote
	})
}

func (l *lateWriter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return heldConn{c, l.goOn}, err
}

type heldConn struct {
	net.Conn
	goOn chan struct{}
}

// Write sends at once and returns late, where a body is sent.
func (c heldConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.Contains(b, []byte("Action=")) {
		<-c.goOn
	}
	return n, err
}

type firstRead struct {
	io.ReadCloser
	do func()
}

// Read does what is to be done first.
func (f firstRead) Read(b []byte) (int, error) {
	f.do()
	return f.ReadCloser.Read(b)
}
