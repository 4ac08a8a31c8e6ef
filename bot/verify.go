package bot

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/slack-go/slack"
)

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

// limitBody reads the whole body once and puts it back.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := readAll(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			http.Error(w, "the request is larger than 1 MiB; Slack sends none such", http.StatusRequestEntityTooLarge)
			return
		case err != nil:
			http.Error(w, "the request's body could not be read", http.StatusBadRequest)
			return
		}
		r.Body = &body{Reader: bytes.NewReader(raw), raw: raw}
		next.ServeHTTP(w, r)
	})
}

// usualBody is what Slack's requests are smaller than, in bytes.
const usualBody = 64 << 10

// readAll reads all of r into a buffer of the size that was said, if that is usual:
// whoever says more than they send gets no room for it.
func readAll(r io.Reader, said int64) ([]byte, error) {
	var b bytes.Buffer
	if said > 0 && said <= usualBody {
		b.Grow(int(said) + bytes.MinRead) // with room to see the end
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// body is a request's body with its raw bytes.
type body struct {
	*bytes.Reader
	raw []byte
}

// Close does nothing.
func (*body) Close() error { return nil }

func rawBody(r *http.Request) []byte {
	if b, ok := r.Body.(*body); ok {
		return b.raw
	}
	return nil
}

// sslCheck answers Slack's look at the certificate, which comes unsigned and
// has no effect.
func sslCheck(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isSSLCheck(rawBody(r)) {
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isSSLCheck(raw []byte) bool {
	if len(raw) > 4096 || !bytes.Contains(raw, []byte("ssl_check=1")) {
		return false
	}
	form, err := url.ParseQuery(string(raw))
	return err == nil && form.Get("ssl_check") == "1"
}

// onlySSLCheck answers GET, as which the look at the certificate may come too.
func onlySSLCheck(w http.ResponseWriter, r *http.Request) {
	if isSSLCheck([]byte(r.URL.RawQuery)) {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Allow", http.MethodPost)
	http.Error(w, "Slack sends POST", http.StatusMethodNotAllowed)
}

// verify lets only requests through that Slack has signed within the last five
// minutes.
func (h *Handler) verify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.SigningSecret == "" {
			http.Error(w, "SLACK_SIGNING_SECRET is missing: set it to the Slack app's signing secret and start secbot again", http.StatusServiceUnavailable)
			return
		}
		if err := checkSignature(r.Header, rawBody(r), h.SigningSecret); err != nil {
			h.log().Warn("a request to Slack's routes was refused", "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
			http.Error(w, signatureHint(err), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func checkSignature(header http.Header, raw []byte, secret string) error {
	v, err := slack.NewSecretsVerifier(header, secret)
	if err != nil {
		return err
	}
	if _, err := v.Write(raw); err != nil {
		return err
	}
	return v.Ensure()
}

func signatureHint(err error) string {
	switch {
	case errors.Is(err, slack.ErrMissingHeaders):
		return "the request is not signed: X-Slack-Signature and X-Slack-Request-Timestamp are needed"
	case errors.Is(err, slack.ErrExpiredTimestamp):
		return "the request's timestamp is more than five minutes off: it was sent again, or a clock is wrong"
	}
	return "the signature does not fit: SLACK_SIGNING_SECRET must be the Slack app's signing secret"
}
