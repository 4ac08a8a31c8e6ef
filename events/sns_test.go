package events

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSNSNotification(t *testing.T) {
	subject := "with a subject"
	for _, version := range []string{"1", "2"} {
		for _, s := range []*string{nil, &subject} {
			f, rec := newFakeSNS(t), &recorder{}
			m := f.message(snsNotification)
			m.Message, m.SignatureVersion, m.Subject = fixture(t, "sg-full-eventbridge"), version, s
			h := f.handler(rec)
			for range 2 {
				status, body := serve(t, h, snsRequest(t, f.signed(t, m)))
				if status != http.StatusOK || body["accepted"] != 1.0 {
					t.Errorf("version %s: %d %v", version, status, body)
				}
			}
			if diff := cmp.Diff([]string{testCert}, f.fetched); diff != "" || len(rec.sigs) != 2 {
				t.Errorf("%d signals; the certificate is fetched once: %s", len(rec.sigs), diff)
			}
		}
	}
}

func TestSNSUnknownMessage(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, f.message(snsNotification))))
	if status != http.StatusOK || body["accepted"] != 0.0 || !strings.Contains(body["skipped"].([]any)[0].(map[string]any)["why"].(string), "holds no event") {
		t.Errorf("%d %v", status, body)
	}
}

func TestSNSSubscription(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	m := f.signed(t, f.message(snsSubscribe))
	f.pages[m.SubscribeURL] = "<ConfirmSubscriptionResponse/>"
	status, body := serve(t, f.handler(rec), snsRequest(t, m))
	if status != http.StatusOK {
		t.Errorf("%d %v", status, body)
	}
	if diff := cmp.Diff([]string{testCert, m.SubscribeURL}, f.fetched); diff != "" {
		t.Error(diff)
	}
}

func TestSNSSubscriptionFails(t *testing.T) {
	const elsewhere = "https://sns.us-east-1.amazonaws.com/elsewhere"
	tests := []struct {
		name, url, page string
		status          int
	}{
		{"unreachable", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription", "", 503},
		{"redirect", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription", elsewhere, 503},
		{"another host", "https://sns.eu-central-1.amazonaws.com.example.org/", "ok", 403},
		{"a bucket", "https://sns.s3.amazonaws.com/", "ok", 403},
		{"a bucket of a region", "https://sns.s3-us-west-2.amazonaws.com/", "ok", 403},
		{"http", "http://sns.eu-central-1.amazonaws.com/", "ok", 403},
		{"another port", "https://sns.eu-central-1.amazonaws.com:8443/", "ok", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, rec := newFakeSNS(t), &recorder{}
			m := f.message(snsSubscribe)
			m.SubscribeURL = tt.url
			f.pages[elsewhere] = "ok"
			if tt.page != "" {
				f.pages[tt.url] = tt.page
			}
			status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, m)))
			if status != tt.status {
				t.Errorf("%d %v, want %d", status, body, tt.status)
			}
			for _, u := range f.fetched {
				if u == elsewhere || (tt.status == 403 && u == tt.url) {
					t.Errorf("fetched %s", u)
				}
			}
		})
	}
}

func TestSNSUnsubscribe(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, f.message(snsUnsubscribe))))
	if status != http.StatusOK || len(f.fetched) != 1 {
		t.Errorf("%d %v, fetched %v", status, body, f.fetched)
	}
}

// TestSNSRefuses forges messages in every way; none may be accepted.
func TestSNSRefuses(t *testing.T) {
	tests := []struct {
		name    string
		before  func(f *fakeSNS, m *snsMessage) // changes what is signed
		after   func(m *snsMessage)             // changes what was signed
		request func(r *http.Request)
		status  int
		fetches int
	}{
		{name: "another topic", before: func(_ *fakeSNS, m *snsMessage) { m.TopicARN += "x" }, status: 403},
		{name: "no topic", before: func(_ *fakeSNS, m *snsMessage) { m.TopicARN = "" }, status: 403},
		{name: "header of another type", request: func(r *http.Request) { r.Header.Set("x-amz-sns-message-type", snsSubscribe) }, status: 400},
		{name: "unknown type", before: func(_ *fakeSNS, m *snsMessage) { m.Type = "Other" }, status: 400},
		{name: "stale", before: func(f *fakeSNS, m *snsMessage) { m.Timestamp = f.now.Add(-61 * time.Minute).Format(time.RFC3339) }, status: 403},
		{name: "from the future", before: func(f *fakeSNS, m *snsMessage) { m.Timestamp = f.now.Add(61 * time.Minute).Format(time.RFC3339) }, status: 403},
		{name: "no time", before: func(_ *fakeSNS, m *snsMessage) { m.Timestamp = "now" }, status: 400},
		{name: "certificate elsewhere", before: certAt("https://example.org/sns.pem"), status: 403},
		{name: "certificate on a look-alike", before: certAt("https://sns.eu-central-1.amazonaws.com.example.org/x.pem"), status: 403},
		{name: "certificate on a look-alike region", before: certAt("https://sns.example.org/.amazonaws.com/x.pem"), status: 403},
		{name: "certificate in a bucket", before: certAt("https://s3.eu-central-1.amazonaws.com/x.pem"), status: 403},
		{name: "certificate in a bucket called sns", before: certAt("https://sns.s3.amazonaws.com/x.pem"), status: 403},
		{name: "certificate over http", before: certAt("http://sns.eu-central-1.amazonaws.com/x.pem"), status: 403},
		{name: "certificate with a user", before: certAt("https://a@sns.eu-central-1.amazonaws.com/x.pem"), status: 403},
		{name: "certificate is no pem", before: certAt("https://sns.eu-central-1.amazonaws.com/x.txt"), status: 403},
		{name: "certificate by a query", before: certAt("https://sns.eu-central-1.amazonaws.com/x.pem?y=z.pem"), status: 403},
		{name: "certificate missing", before: certAt("https://sns.eu-central-1.amazonaws.com/gone.pem"), status: 503, fetches: 1},
		{name: "certificate redirects", before: func(f *fakeSNS, _ *snsMessage) { f.pages[testCert] = "https://example.org/x.pem" }, status: 503, fetches: 1},
		{name: "certificate too large", before: func(f *fakeSNS, _ *snsMessage) { f.pages[testCert] += strings.Repeat(" ", maxFetch) }, status: 503, fetches: 1},
		{name: "certificate is none", before: func(f *fakeSNS, _ *snsMessage) { f.pages[testCert] = "<html>" }, status: 503, fetches: 1},
		{name: "certificate expired", before: func(f *fakeSNS, m *snsMessage) {
			f.now = f.now.Add(48 * time.Hour)
			m.Timestamp = f.now.Format(time.RFC3339)
		}, status: 403, fetches: 1},
		{name: "authority unknown", before: func(f *fakeSNS, _ *snsMessage) { f.roots = x509.NewCertPool() }, status: 403, fetches: 2},
		{name: "message changed", after: func(m *snsMessage) { m.Message += " " }, status: 403, fetches: 1},
		{name: "id changed", after: func(m *snsMessage) { m.MessageID += "x" }, status: 403, fetches: 1},
		{name: "subject added", after: func(m *snsMessage) { m.Subject = new(string) }, status: 403, fetches: 1},
		{name: "no signature", after: func(m *snsMessage) { m.Signature = "" }, status: 403, fetches: 1},
		{name: "signature no base64", after: func(m *snsMessage) { m.Signature = "!" }, status: 403, fetches: 1},
		{name: "other version", after: func(m *snsMessage) { m.SignatureVersion = "1" }, status: 403, fetches: 1},
		{name: "unknown version", after: func(m *snsMessage) { m.SignatureVersion = "3" }, status: 403, fetches: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, rec := newFakeSNS(t), &recorder{}
			m := f.message(snsNotification)
			m.Message = fixture(t, "sg-full-eventbridge")
			if tt.before != nil {
				tt.before(f, &m)
			}
			m = f.signed(t, m)
			if tt.after != nil {
				tt.after(&m)
			}
			r := snsRequest(t, m)
			if tt.request != nil {
				tt.request(r)
			}
			status, body := serve(t, f.handler(rec), r)
			if status != tt.status || body["error"] == "" {
				t.Errorf("%d %v, want %d", status, body, tt.status)
			}
			if len(rec.sigs) != 0 || len(f.fetched) != tt.fetches {
				t.Errorf("%d signals accepted, fetched %v", len(rec.sigs), f.fetched)
			}
		})
	}
}

func certAt(url string) func(*fakeSNS, *snsMessage) {
	return func(_ *fakeSNS, m *snsMessage) { m.SigningCertURL = url }
}

func TestSNSCertificateNames(t *testing.T) {
	tests := map[string]int{
		"sns.amazonaws.com":                     200,
		"sns.eu-central-1.amazonaws.com":        200,
		"sns-signing.ap-east-1.amazonaws.com":   200,
		"sns-cn-north-1.amazonaws.com.cn":       200,
		"s3.amazonaws.com":                      403,
		"sns.eu-central-1.amazonaws.com.evil":   403,
		"x.sns.eu-central-1.amazonaws.com":      403,
		"sns.x.elb.amazonaws.com":               403,
		"snsx.amazonaws.com":                    403,
		"sns.amazonaws.com.attacker.example":    403,
		"ec2-203-0-113-7.compute.amazonaws.com": 403,
	}
	for name, want := range tests {
		f, rec := newFakeSNS(t), &recorder{}
		f.publish(f.leafFor(t, name), f.authTree.cert)
		m := f.message(snsNotification)
		if status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, m))); status != want {
			t.Errorf("%s: %d %v, want %d", name, status, body, want)
		}
	}
}

// TestSNSLooksUpIssuer says that a certificate published without its
// intermediate is verified all the same.
func TestSNSLooksUpIssuer(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	f.publish(f.leaf)
	f.pages[testAIA] = string(f.authTree.cert.Raw)
	status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, f.message(snsNotification))))
	if diff := cmp.Diff([]string{testCert, testAIA}, f.fetched); diff != "" || status != http.StatusOK {
		t.Errorf("%d %v\n%s", status, body, diff)
	}
}

// TestSNSReadsOnlyWhatWasSigned posts a signed message with a second one
// beside it, in a member whose name differs by case alone.
func TestSNSReadsOnlyWhatWasSigned(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	m := f.signed(t, f.message(snsNotification))
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	signed := quoted(m.Message)
	forged := strings.Replace(string(raw), `"Message":`+signed, `"Message":`+quoted(fixture(t, "sg-full-eventbridge"))+`,"message":`+signed, 1)
	for _, body := range []string{forged, strings.ReplaceAll(strings.ReplaceAll(forged, `"Message":`, `"x":`), `"message":`, `"Message":`)} {
		r := httptest.NewRequest(http.MethodPost, "/events/sns", strings.NewReader(body))
		serve(t, f.handler(rec), r)
		if len(rec.sigs) != 0 {
			t.Fatal("a message that nobody signed was accepted")
		}
	}
}

func TestSNSWithoutTopics(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	h := f.handler(rec)
	h.Topics = nil
	status, body := serve(t, h, snsRequest(t, f.signed(t, f.message(snsSubscribe))))
	if status != http.StatusForbidden || !strings.Contains(body["error"].(string), "SECBOT_SNS_TOPICS") || len(f.fetched) != 0 {
		t.Errorf("%d %v, fetched %v", status, body, f.fetched)
	}
}

func TestSNSMalformed(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{}
	for body, want := range map[string]int{"": 400, "{": 400, "[]": 400, `{"Type":1}`: 400, "{}": 403, strings.Repeat("x", MaxSize+1): 413} {
		r := httptest.NewRequest(http.MethodPost, "/events/sns", strings.NewReader(body))
		if status, answer := serve(t, f.handler(rec), r); status != want {
			t.Errorf("%.20q: %d %v, want %d", body, status, answer, want)
		}
	}
}

func TestSNSStoreDown(t *testing.T) {
	f, rec := newFakeSNS(t), &recorder{err: errors.New("down")}
	m := f.message(snsNotification)
	m.Message = fixture(t, "sg-full-eventbridge")
	if status, body := serve(t, f.handler(rec), snsRequest(t, f.signed(t, m))); status != http.StatusServiceUnavailable {
		t.Errorf("%d %v", status, body)
	}
}

func TestSNSHost(t *testing.T) {
	tests := map[string]bool{
		"sns.us-east-1.amazonaws.com": true, "sns.us-gov-west-1.amazonaws.com": true, "sns.cn-north-1.amazonaws.com.cn": true,
		"sns.amazonaws.com": false, "sns.s3.amazonaws.com": false, "sns.s3-us-west-2.amazonaws.com": false,
		"sns.us-east-1.amazonaws.com.cn.cn": false, "xsns.us-east-1.amazonaws.com": false, "sns.us-east-1.x.amazonaws.com": false,
		"sns.us-east-.amazonaws.com": false, "sns.-us-1.amazonaws.com": false, "sns.US-EAST-1.amazonaws.com": false, "": false,
	}
	for host, want := range tests {
		if got := snsHost(host); got != want {
			t.Errorf("snsHost(%q) = %v", host, got)
		}
	}
}

func TestCertCacheIsBounded(t *testing.T) {
	var c certCache
	for i := range 5 * maxCerts {
		c.put(strings.Repeat("x", i), chain{})
		if len(c.m) > maxCerts {
			t.Fatalf("%d certificates kept", len(c.m))
		}
	}
}
