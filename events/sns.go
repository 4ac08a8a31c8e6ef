package events

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SignatureVersion 1 is SHA1, and SNS's default
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxAge is how far a message's timestamp may be off. SNS tries to deliver over
// HTTP for an hour at most; "Message delivery retries" in the Amazon SNS
// Developer Guide.
const maxAge = time.Hour

// The types of messages that SNS posts.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// snsMessage is what SNS posts; "Parsing Amazon SNS message formats" in the
// Amazon SNS Developer Guide.
type snsMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	Token            string
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	SubscribeURL     string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

func (h *Handler) serveSNS(w http.ResponseWriter, r *http.Request) {
	answer, err := h.takeSNS(w, r)
	h.respond(w, r, answer, err)
}

// takeSNS reads, verifies and then carries out one message of SNS.
func (h *Handler) takeSNS(w http.ResponseWriter, r *http.Request) (reply, error) {
	raw, err := readBody(w, r)
	if err != nil {
		return reply{}, err
	}
	var m snsMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return reply{}, &httpError{http.StatusBadRequest, "not a message of SNS: subscribe this address to a topic over HTTPS, with raw message delivery off"}
	}
	if err := h.verify(r, m); err != nil {
		return reply{}, err
	}
	switch m.Type {
	case snsSubscribe:
		return h.confirm(r.Context(), m)
	case snsUnsubscribe:
		h.log().Warn("SNS no longer sends events of a topic: subscribe again if that was not meant", "topic", m.TopicARN)
		return reply{Skipped: []skipped{{Kind: m.Type, Why: "the subscription has ended"}}}, nil
	}
	// Only what was verified may count, not what else the body holds.
	return h.take(r.Context(), decodeMessage("SNS message", m.Message))
}

// verify checks everything about a message, what costs least first. Nothing is
// fetched for a topic that is not ours.
func (h *Handler) verify(r *http.Request, m snsMessage) error {
	if !slices.Contains(h.Topics, m.TopicARN) || m.TopicARN == "" {
		return &httpError{http.StatusForbidden, "messages of this topic are not taken: add its ARN to SECBOT_SNS_TOPICS if they should be"}
	}
	if header := r.Header.Get("x-amz-sns-message-type"); header != "" && header != m.Type {
		return &httpError{http.StatusBadRequest, "the header x-amz-sns-message-type and the message's Type differ"}
	}
	text, err := canonical(m)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, m.Timestamp)
	if err != nil {
		return &httpError{http.StatusBadRequest, "the message's Timestamp is not a time"}
	}
	if off := h.now().Sub(at); off > maxAge || off < -maxAge {
		return &httpError{http.StatusForbidden, "the message is stale: its Timestamp is more than an hour off, check the clock"}
	}
	cert, err := h.certificate(r.Context(), m.SigningCertURL)
	if err != nil {
		return err
	}
	if err := checkSignature(cert, m, text); err != nil {
		h.log().Warn("a message is not signed by SNS", "topic", m.TopicARN, "error", err)
		return &httpError{http.StatusForbidden, "the message's signature is not SNS's"}
	}
	return nil
}

// canonical is the text that SNS signs; "Verifying the signatures of Amazon SNS
// messages" in the Amazon SNS Developer Guide.
func canonical(m snsMessage) (string, error) {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", m.Message)
	add("MessageId", m.MessageID)
	switch m.Type {
	case snsNotification:
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
		add("Timestamp", m.Timestamp)
	case snsSubscribe, snsUnsubscribe:
		add("SubscribeURL", m.SubscribeURL)
		add("Timestamp", m.Timestamp)
		add("Token", m.Token)
	default:
		return "", &httpError{http.StatusBadRequest, "the message's Type is none of SNS's"}
	}
	add("TopicArn", m.TopicARN)
	add("Type", m.Type)
	return b.String(), nil
}

func checkSignature(cert *x509.Certificate, m snsMessage, text string) error {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("the certificate's key is %T, not RSA", cert.PublicKey)
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return fmt.Errorf("decode the signature: %w", err)
	}
	switch m.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(text)) //nolint:gosec // see the import
		return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	case "2":
		sum := sha256.Sum256([]byte(text))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	return fmt.Errorf("SignatureVersion %q is neither 1 nor 2", clip(m.SignatureVersion, 20))
}

// confirm tells SNS that the subscription is wanted, by fetching the URL that
// its signed message names.
func (h *Handler) confirm(ctx context.Context, m snsMessage) (reply, error) {
	if _, err := snsURL(m.SubscribeURL); err != nil {
		return reply{}, &httpError{http.StatusForbidden, "the SubscribeURL is not SNS's: " + err.Error()}
	}
	if _, err := h.fetch(ctx, m.SubscribeURL); err != nil {
		h.log().Error("the subscription could not be confirmed", "topic", m.TopicARN, "error", withoutURL(err))
		return reply{}, &httpError{http.StatusServiceUnavailable, "SNS could not be reached to confirm the subscription: send the confirmation again"}
	}
	h.log().Info("subscribed to a topic", "topic", m.TopicARN)
	return reply{Skipped: []skipped{{Kind: m.Type, Why: "the subscription is confirmed"}}}, nil
}

// snsURL checks that a URL leads to SNS itself over HTTPS, on its own port.
func snsURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL")
	case u.Scheme != "https":
		return nil, errors.New("it is not https")
	case u.User != nil || u.Opaque != "" || !snsHost(u.Host):
		return nil, errors.New("its host is not sns.REGION.amazonaws.com")
	}
	return u, nil
}

// snsHost reports whether a host is sns.REGION.amazonaws.com, or China's with
// .cn behind it. sns.s3.amazonaws.com is not: it is anybody's bucket.
func snsHost(host string) bool {
	region, ok := strings.CutPrefix(host, "sns.")
	if !ok {
		return false
	}
	region, ok = strings.CutSuffix(strings.TrimSuffix(region, ".cn"), ".amazonaws.com")
	return ok && isRegion(region)
}

// isRegion reports whether s has the form of a region's name, as
// us-gov-west-1: words of letters, then a number.
func isRegion(s string) bool {
	words := strings.Split(s, "-")
	number := words[len(words)-1]
	if len(words) < 3 || number == "" || strings.Trim(number, "0123456789") != "" {
		return false
	}
	return !slices.ContainsFunc(words[:len(words)-1], func(w string) bool {
		return w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != ""
	})
}

// maxFetch bounds what is read of a certificate or of SNS's answer.
const maxFetch = 64 << 10

// fetch gets a URL. Anything but 200, redirects too, is an error.
func (h *Handler) fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 5 * time.Second}
	if h.Client != nil {
		client = *h.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxFetch+1))
	if err == nil && len(raw) > maxFetch {
		err = fmt.Errorf("%s answered more than %d bytes", req.URL.Host, maxFetch)
	}
	return raw, err
}

// withoutURL takes the URL out of an error of http: a SubscribeURL bears a
// token.
func withoutURL(err error) error {
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // the outermost has the URL
		return e.Err
	}
	return err
}
