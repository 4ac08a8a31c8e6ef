package awsenv

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// environment is what the variables of a Lambda function say: it has no files, no
// profile, no metadata service, and its credentials stand in the environment. The
// SDK's own loader brings the clients of three sign-in services, a fifth of the time
// that a function needs to start and 1 MB. The names and defaults are those of the
// SDK, "Environment variables supported" (AWS SDKs and Tools Reference Guide).
type environment struct {
	fips      aws.FIPSEndpointState
	dualStack aws.DualStackEndpointState
	ignoreURL bool
}

// notRead are variables of the SDK's that it acts on and environment does not.
func notRead() []string {
	return []string{
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_DEFAULTS_MODE", "AWS_ACCOUNT_ID_ENDPOINT_MODE", "AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION",
		"AWS_AUTH_SCHEME_PREFERENCE", "AWS_DISABLE_CLOCK_SKEW_CORRECTION", "AWS_S3_USE_ARN_REGION", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
	}
}

// fromEnvironment reads the configuration from variables alone. It calls nobody.
func fromEnvironment() (aws.Config, error) {
	for _, name := range notRead() {
		if os.Getenv(name) != "" {
			return aws.Config{}, fmt.Errorf("%s is set, which the build for Lambda does not read: unset it, or build without the tag lambda", name)
		}
	}
	cfg := aws.Config{
		Region: cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		Credentials: aws.NewCredentialsCache(credentials.StaticCredentialsProvider{Value: aws.Credentials{
			AccessKeyID: cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_ACCESS_KEY")), SecretAccessKey: cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SECRET_KEY")),
			SessionToken: os.Getenv("AWS_SESSION_TOKEN"), AccountID: os.Getenv("AWS_ACCOUNT_ID"), Source: "EnvConfigCredentials",
		}}),
		DefaultsMode:                aws.DefaultsModeLegacy,
		AccountIDEndpointMode:       aws.AccountIDEndpointModePreferred,
		RequestChecksumCalculation:  aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation:  aws.ResponseChecksumValidationWhenSupported,
		RequestMinCompressSizeBytes: 10240,
		AppID:                       os.Getenv("AWS_SDK_UA_APP_ID"),
	}
	var e environment
	if err := errors.Join(e.endpoints(&cfg), retries(&cfg), trusted(&cfg)); err != nil {
		return aws.Config{}, err
	}
	cfg.ConfigSources = []any{e}
	return cfg, nil
}

// endpoints reads where services are called.
func (e *environment) endpoints(cfg *aws.Config) error {
	fips, okFIPS, err := flag("AWS_USE_FIPS_ENDPOINT")
	dual, okDual, errDual := flag("AWS_USE_DUALSTACK_ENDPOINT")
	ignore, _, errIgnore := flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
	if okFIPS {
		e.fips = map[bool]aws.FIPSEndpointState{true: aws.FIPSEndpointStateEnabled, false: aws.FIPSEndpointStateDisabled}[fips]
	}
	if okDual {
		e.dualStack = map[bool]aws.DualStackEndpointState{true: aws.DualStackEndpointStateEnabled, false: aws.DualStackEndpointStateDisabled}[dual]
	}
	if e.ignoreURL = ignore; !ignore && os.Getenv("AWS_ENDPOINT_URL") != "" {
		cfg.BaseEndpoint = aws.String(os.Getenv("AWS_ENDPOINT_URL"))
	}
	return errors.Join(err, errDual, errIgnore)
}

// retries reads how often a call is tried, where nobody says otherwise.
func retries(cfg *aws.Config) error {
	var err error
	if mode := os.Getenv("AWS_RETRY_MODE"); mode != "" {
		if cfg.RetryMode, err = aws.ParseRetryMode(mode); err != nil {
			return fmt.Errorf("AWS_RETRY_MODE: %w", err)
		}
	}
	if most := os.Getenv("AWS_MAX_ATTEMPTS"); most != "" {
		if cfg.RetryMaxAttempts, err = strconv.Atoi(most); err != nil {
			return fmt.Errorf("AWS_MAX_ATTEMPTS: %q is no number", most)
		}
	}
	return nil
}

// trusted makes the client of all calls, which trusts the authorities of
// AWS_CA_BUNDLE alone where that names a file.
func trusted(cfg *aws.Config) error {
	client := httpClient()
	cfg.HTTPClient = client
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" {
		return nil
	}
	certs, err := os.ReadFile(file) //nolint:gosec // whoever runs secbot names it
	if err != nil {
		return fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certs) {
		return fmt.Errorf("AWS_CA_BUNDLE: there is no certificate in %s", file)
	}
	cfg.HTTPClient = client.WithTransportOptions(func(t *http.Transport) {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.RootCAs = roots
	})
	return nil
}

// flag reads a variable that is true or false; ok is false where it is not set.
func flag(name string) (value, ok bool, err error) {
	switch v := os.Getenv(name); {
	case v == "":
		return false, false, nil
	case strings.EqualFold(v, "true"):
		return true, true, nil
	case strings.EqualFold(v, "false"):
		return false, true, nil
	default:
		return false, false, fmt.Errorf("%s: %q is neither true nor false", name, v)
	}
}

// GetUseFIPSEndpoint is what the SDK's clients ask.
func (e environment) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	return e.fips, e.fips != aws.FIPSEndpointStateUnset, nil
}

// GetUseDualStackEndpoint is what the SDK's clients ask.
func (e environment) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	return e.dualStack, e.dualStack != aws.DualStackEndpointStateUnset, nil
}

// GetIgnoreConfiguredEndpoints is what the SDK's clients ask.
func (e environment) GetIgnoreConfiguredEndpoints(context.Context) (value, found bool, err error) {
	return e.ignoreURL, e.ignoreURL, nil
}

// GetServiceBaseEndpoint is what the SDK's clients ask: AWS_ENDPOINT_URL_STS and the like.
func (e environment) GetServiceBaseEndpoint(_ context.Context, service string) (string, bool, error) {
	url := os.Getenv("AWS_ENDPOINT_URL_" + strings.ReplaceAll(strings.ToUpper(service), " ", "_"))
	return url, url != "", nil
}
