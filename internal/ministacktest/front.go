package ministacktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Front is where function URLs of a region, https://ID.lambda-url.REGION.on.aws, are
// reached, since no name server knows those of ministack: an HTTP proxy that
// answers them itself, under a certificate of its own, by what ministack answers.
// It lets nothing else through.
type Front struct {
	URL  string // the proxy's, for HTTPS_PROXY
	Cert string // the file of the certificate, for SSL_CERT_FILE

	domain string
	tls    *tls.Config
	inner  *listener
	mu     sync.Mutex
	denied []string
}

// NewFront serves a Front before ministack for the time of the test.
func NewFront(t *testing.T, ministack, region string) *Front {
	t.Helper()
	to, err := url.Parse(ministack)
	if err != nil {
		t.Fatal(err)
	}
	f := &Front{domain: ".lambda-url." + region + ".on.aws", inner: &listener{conns: make(chan net.Conn), done: make(chan struct{})}}
	f.certify(t)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // which names the function
	}}}
	go func() { _ = srv.Serve(f.inner) }() // until it is closed
	proxy := httptest.NewServer(f)
	f.URL = proxy.URL
	t.Cleanup(func() {
		proxy.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Client is an HTTP client that reaches function URLs by the front.
func (f *Front) Client() *http.Client {
	proxy := func(*http.Request) (*url.URL, error) { return url.Parse(f.URL) }
	return &http.Client{Transport: &http.Transport{Proxy: proxy, TLSClientConfig: &tls.Config{RootCAs: f.tls.RootCAs, MinVersion: tls.VersionTLS12}}}
}

// Denied are the hosts that somebody wanted to reach and that are no function URLs.
func (f *Front) Denied() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.denied
}

// ServeHTTP takes CONNECT for function URLs alone.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || port != "443" || !strings.HasSuffix(host, f.domain) {
		f.mu.Lock()
		f.denied = append(f.denied, r.Host)
		f.mu.Unlock()
		http.Error(w, "no function URL", http.StatusForbidden)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		_ = conn.Close() // the client is gone
		return
	}
	f.inner.give(tls.Server(conn, f.tls))
}

// certify makes the front's certificate, which signs itself.
func (f *Front) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front"}, DNSNames: []string{"*" + f.domain},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	f.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, MinVersion: tls.VersionTLS12}
	f.Cert = filepath.Join(t.TempDir(), "front.pem")
	if err := os.WriteFile(f.Cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// listener gives a server connections that were accepted elsewhere.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close() // there is nobody to answer
	}
}

// Accept waits for the next connection, until Close.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is nowhere.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
