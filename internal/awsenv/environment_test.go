package awsenv

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
)

// bare unsets what the machine that tests has set for AWS.
func bare(t *testing.T, set map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	for name, value := range set {
		t.Setenv(name, value)
	}
}

// effect is what a client makes of a configuration.
func effect(t *testing.T, cfg aws.Config) any {
	t.Helper()
	c, err := cfg.Credentials.Retrieve(t.Context())
	o := sts.NewFromConfig(cfg).Options()
	return []any{c, err == nil, cfg.Region, cfg.BaseEndpoint, cfg.RetryMode, cfg.RetryMaxAttempts, cfg.AppID, cfg.DefaultsMode, cfg.AccountIDEndpointMode,
		cfg.RequestChecksumCalculation, cfg.ResponseChecksumValidation, cfg.RequestMinCompressSizeBytes, cfg.DisableRequestCompression, len(cfg.Interceptors.BeforeExecution),
		o.BaseEndpoint, o.EndpointOptions.UseFIPSEndpoint, o.EndpointOptions.UseDualStackEndpoint, o.RetryMaxAttempts, o.Retryer.MaxAttempts()}
}

// TestEnvironment: what the build for Lambda reads is what the SDK's own loader makes
// of the same variables.
func TestEnvironment(t *testing.T) {
	keys := map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
	for name, more := range map[string]map[string]string{
		"plain":        {},
		"session":      {"AWS_SESSION_TOKEN": "t", "AWS_ACCOUNT_ID": "111122223333"},
		"default":      {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-gov-west-1"},
		"older names":  {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY": "old", "AWS_SECRET_KEY": "older"},
		"endpoint":     {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
		"one service":  {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:2"},
		"ignored":      {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"},
		"fips":         {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "True"},
		"no fips":      {"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": "false"},
		"retries":      {"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "7"},
		"application":  {"AWS_SDK_UA_APP_ID": "secbot"},
		"wrong flag":   {"AWS_USE_FIPS_ENDPOINT": "yes"},
		"wrong mode":   {"AWS_RETRY_MODE": "never"},
		"wrong number": {"AWS_MAX_ATTEMPTS": "many"},
		"no bundle":    {"AWS_CA_BUNDLE": "/nowhere/at/all.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			bare(t, keys)
			for name, value := range more {
				t.Setenv(name, value)
			}
			want, wantErr := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(httpClient()))
			got, err := fromEnvironment()
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("%v, the SDK says %v", err, wantErr)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(effect(t, want), effect(t, got)); diff != "" {
				t.Errorf("it is not what the SDK makes of it (-SDK +own):\n%s", diff)
			}
		})
	}
}

// TestNotRead: what would be overlooked is refused by its name.
func TestNotRead(t *testing.T) {
	for _, name := range notRead() {
		bare(t, map[string]string{name: "x"})
		if _, err := fromEnvironment(); err == nil || !strings.Contains(err.Error(), name+" is set") {
			t.Errorf("%s: %v", name, err)
		}
		t.Setenv(name, "")
	}
	bare(t, nil)
	cfg, err := fromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := cfg.Credentials.Retrieve(t.Context()); err == nil {
		t.Errorf("without credentials there are %+v", c)
	}
}

// TestBundle: the authorities of AWS_CA_BUNDLE are trusted, and no others.
func TestBundle(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for bundle, trusts := range map[string]bool{"": false, file: true} {
		bare(t, map[string]string{"AWS_CA_BUNDLE": bundle})
		cfg, err := fromEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := cfg.HTTPClient.Do(req)
		if err == nil {
			_ = resp.Body.Close() // nothing is read
		}
		if (err == nil) != trusts {
			t.Errorf("with the bundle %q: %v", bundle, err)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	bare(t, map[string]string{"AWS_CA_BUNDLE": empty})
	if _, err := fromEnvironment(); err == nil {
		t.Error("a bundle without a certificate is taken")
	}
}
