package events

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

const (
	// maxCerts bounds how many certificates are kept. SNS uses one a region
	// and changes it about once a year.
	maxCerts = 32
	// maxIssuers bounds how many intermediates are looked up for one
	// certificate.
	maxIssuers = 3
)

// certCache keeps verified certificates by their URL.
type certCache struct {
	mu sync.Mutex
	m  map[string]chain
}

// chain is a certificate with its intermediates.
type chain struct {
	leaf   *x509.Certificate
	others []*x509.Certificate
}

func (c *certCache) get(address string) (chain, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.m[address]
	return found, ok
}

// put keeps a chain; a full cache begins anew.
func (c *certCache) put(address string, ch chain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxCerts {
		c.m = make(map[string]chain)
	}
	c.m[address] = ch
}

// certificate gives the certificate that SNS says it has signed with, verified
// up to a root. The URL must be SNS's own.
func (h *Handler) certificate(ctx context.Context, address string) (*x509.Certificate, error) {
	u, err := snsURL(address)
	if err == nil && (!strings.HasSuffix(u.Path, ".pem") || u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("it is not the address of a .pem file")
	}
	if err != nil {
		return nil, &httpError{http.StatusForbidden, "the SigningCertURL is not SNS's: " + err.Error()}
	}
	address = u.String()
	ch, known := h.certs.get(address)
	if !known {
		if ch, err = h.fetchChain(ctx, address); err != nil {
			h.log().Error("SNS's certificate could not be read", "url", address, "error", err)
			return nil, &httpError{http.StatusServiceUnavailable, "SNS's certificate could not be read: send the message again"}
		}
	}
	// Also a known one: it may have expired since.
	if err := h.verifyChain(ch); err != nil {
		h.log().Warn("SNS's certificate is not to be trusted", "url", address, "error", err)
		return nil, &httpError{http.StatusForbidden, "the message's certificate is not SNS's or has expired"}
	}
	if !known {
		h.certs.put(address, ch)
	}
	return ch.leaf, nil
}

// fetchChain fetches a certificate and whatever intermediates it lacks.
func (h *Handler) fetchChain(ctx context.Context, address string) (chain, error) {
	raw, err := h.fetch(ctx, address)
	if err != nil {
		return chain{}, err
	}
	certs, err := parsePEM(raw)
	if err != nil {
		return chain{}, err
	}
	ch := chain{leaf: certs[0], others: certs[1:]}
	last := certs[len(certs)-1]
	for range maxIssuers {
		var unknown x509.UnknownAuthorityError
		if err := h.verifyChain(ch); !errors.As(err, &unknown) {
			break
		}
		issuer, err := h.fetchIssuer(ctx, last)
		if err != nil {
			h.log().Debug("an intermediate certificate could not be looked up", "error", err)
			break
		}
		ch.others, last = append(ch.others, issuer), issuer
	}
	return ch, nil
}

func parsePEM(raw []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			break
		}
		raw = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return certs, nil
}

// fetchIssuer looks up who issued a certificate, where that is one of AWS's
// certificate authorities: SNS may publish its certificate alone. What comes
// back counts only if it leads up to a root, so that http is no risk.
func (h *Handler) fetchIssuer(ctx context.Context, cert *x509.Certificate) (*x509.Certificate, error) {
	for _, address := range cert.IssuingCertificateURL {
		u, err := url.Parse(address)
		if err != nil || !authorityHost(u) {
			continue
		}
		raw, err := h.fetch(ctx, address)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		return x509.ParseCertificate(raw)
	}
	return nil, fmt.Errorf("%q names no known place of its issuer", clip(cert.Subject.CommonName, maxID))
}

// authorityHost reports whether a URL leads to Amazon Trust Services or, for
// China, to DigiCert.
func authorityHost(u *url.URL) bool {
	if (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Port() != "" {
		return false
	}
	return strings.HasSuffix(u.Host, ".amazontrust.com") || strings.HasSuffix(u.Host, ".digicert.com")
}

// verifyChain checks that a certificate leads up to a root, is valid now and
// bears SNS's name.
func (h *Handler) verifyChain(ch chain) error {
	others := x509.NewCertPool()
	for _, c := range ch.others {
		others.AddCert(c)
	}
	_, err := ch.leaf.Verify(x509.VerifyOptions{
		Roots:         h.Roots,
		Intermediates: others,
		CurrentTime:   h.now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	for _, name := range append([]string{ch.leaf.Subject.CommonName}, ch.leaf.DNSNames...) {
		if snsName(name) {
			return nil
		}
	}
	return fmt.Errorf("it is issued to %q, not to SNS", clip(ch.leaf.Subject.CommonName, maxID))
}

// snsName reports whether a certificate's name is one of SNS's:
// sns.amazonaws.com in most regions, sns.REGION, sns-REGION or
// sns-signing.REGION before amazonaws.com in others.
func snsName(name string) bool {
	name, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), ".cn"), ".amazonaws.com")
	if !ok {
		return false
	}
	service, region, dotted := strings.Cut(name, ".")
	if strings.Contains(region, ".") {
		return false
	}
	if dotted {
		return service == "sns" || service == "sns-signing"
	}
	return service == "sns" || strings.HasPrefix(service, "sns-")
}
