package events

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	testTopic = "arn:aws:sns:eu-central-1:111122223333:secbot"
	testCert  = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem"
	testAIA   = "http://crt.r2m04.amazontrust.com/r2m04.cer"
)

// fakeSNS is SNS's side: a certificate authority with an intermediate, the
// certificate, and the addresses at which they are published.
type fakeSNS struct {
	now      time.Time
	roots    *x509.CertPool
	key      *rsa.PrivateKey
	pages    map[string]string // by URL; a page that begins with "http" redirects there
	fetched  []string
	leaf     *x509.Certificate
	authTree authority
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// RoundTrip serves pages, so that no test reaches the network.
func (f *fakeSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	f.fetched = append(f.fetched, r.URL.String())
	page, ok := f.pages[r.URL.String()]
	if !ok {
		return nil, errors.New("no route to host")
	}
	res := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(page))}
	if strings.HasPrefix(page, "http") {
		res.StatusCode, res.Status = http.StatusFound, "302 Found"
		res.Header.Set("Location", page)
	}
	return res, nil
}

func newFakeSNS(t *testing.T) *fakeSNS {
	t.Helper()
	f := &fakeSNS{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), roots: x509.NewCertPool(), pages: map[string]string{}}
	root := f.issue(t, authority{}, "Test Root", true)
	f.roots.AddCert(root.cert)
	f.authTree = f.issue(t, root, "Test Intermediate", true)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f.key = key
	f.leaf = f.leafFor(t, "sns.amazonaws.com")
	f.publish(f.leaf, f.authTree.cert)
	return f
}

// issue makes a certificate authority; a self-signed one where by is zero.
func (f *fakeSNS) issue(t *testing.T, by authority, name string, ca bool) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := f.template(name)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = ca, true, x509.KeyUsageCertSign
	if by.cert == nil {
		by = authority{tmpl, key}
	}
	return authority{f.sign(t, tmpl, by, key.Public()), key}
}

func (f *fakeSNS) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(int64(len(name)) + 1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             f.now.Add(-24 * time.Hour),
		NotAfter:              f.now.Add(24 * time.Hour),
		IssuingCertificateURL: []string{testAIA},
	}
}

func (f *fakeSNS) sign(t *testing.T, tmpl *x509.Certificate, by authority, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (f *fakeSNS) leafFor(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	return f.sign(t, f.template(name), f.authTree, f.key.Public())
}

// publish puts certificates at the place that messages name.
func (f *fakeSNS) publish(certs ...*x509.Certificate) {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	f.pages[testCert] = b.String()
}

func (f *fakeSNS) handler(rec *recorder) *Handler {
	return &Handler{
		Accept: rec.accept,
		Topics: []string{"arn:aws:sns:eu-central-1:111122223333:other", testTopic},
		Client: &http.Client{Transport: f},
		Roots:  f.roots,
		Now:    func() time.Time { return f.now },
	}
}

func (f *fakeSNS) message(kind string) snsMessage {
	m := snsMessage{
		Type: kind, MessageID: "m-1", TopicARN: testTopic, Message: "You have chosen to subscribe",
		Timestamp: f.now.Add(-time.Minute).Format("2006-01-02T15:04:05.000Z"), SignatureVersion: "2", SigningCertURL: testCert,
	}
	if kind != snsNotification {
		m.Token = "token"
		m.SubscribeURL = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + testTopic + "&Token=token"
	}
	return m
}

// signed signs a message as "Verifying the signatures of Amazon SNS messages"
// says, written down a second time.
func (f *fakeSNS) signed(t *testing.T, m snsMessage) snsMessage {
	t.Helper()
	fields := []string{"Message", m.Message, "MessageId", m.MessageID}
	switch {
	case m.Type == snsNotification && m.Subject != nil:
		fields = append(fields, "Subject", *m.Subject, "Timestamp", m.Timestamp)
	case m.Type == snsNotification:
		fields = append(fields, "Timestamp", m.Timestamp)
	default:
		fields = append(fields, "SubscribeURL", m.SubscribeURL, "Timestamp", m.Timestamp, "Token", m.Token)
	}
	fields = append(fields, "TopicArn", m.TopicARN, "Type", m.Type)
	text := []byte(strings.Join(fields, "\n") + "\n")
	hash, sum := crypto.SHA256, sha256.Sum256(text)
	digest := sum[:]
	if m.SignatureVersion == "1" {
		old := sha1.Sum(text)
		hash, digest = crypto.SHA1, old[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.key, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	m.Signature = base64.StdEncoding.EncodeToString(signature)
	return m
}

func snsRequest(t *testing.T, m snsMessage) *http.Request {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/events/sns", bytes.NewReader(raw))
	r.Header.Set("x-amz-sns-message-type", m.Type)
	return r
}
