package playbooks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/throttle"
	"secbot/remediation"
)

// maxAttempts is how often the SDK tries one call before it gives up.
const maxAttempts = 5

// EC2API is what the security-group parts use of EC2.
type EC2API interface {
	groupReaderAPI
	ruleEditorAPI
	ruleModifierAPI
	groupMakerAPI
}

// S3API is what the bucket parts use of S3.
type S3API interface {
	bucketReaderAPI
	aclAPI
	policyAPI
	blockAPI
}

// S3ControlAPI is what the bucket parts use of S3 Control.
type S3ControlAPI interface {
	accountBlockEditorAPI
}

// STSAPI tells the own account where nobody has named it.
type STSAPI interface {
	GetCallerIdentity(ctx context.Context, in *sts.GetCallerIdentityInput, opts ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// Clients are the AWS clients of one account and region.
type Clients struct {
	EC2       EC2API
	S3        S3API
	S3Control S3ControlAPI
	STS       STSAPI
	Config    ConfigAPI
	Account   string // 12 digits; empty: the own one, which STS tells when it is needed
	Region    string
}

// NewClients makes SDK clients on cfg for a region. It calls nobody. An empty
// region means cfg's own.
//
// Each call is tried five times at most by the SDK's standard retryer; the
// timeouts are those of cfg.HTTPClient. With an endpoint of one's own
// (cfg.BaseEndpoint, AWS_ENDPOINT_URL) S3 is addressed in path style and
// S3 Control at that endpoint itself, since an account id in front of an IP
// address is no host name. Changing calls are announced to remediation.Announce,
// without which they are not made, and their request ids go to
// remediation.RecordRequestID. Calls whose context has a throttle.Limiter wait for
// their places.
func NewClients(cfg aws.Config, account, region string) Clients {
	cfg = cfg.Copy()
	if region != "" {
		cfg.Region = region
	}
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = maxAttempts })
	}
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), announceCalls, recordRequestIDs(remediation.RecordRequestID), paced(account))
	return Clients{
		EC2: ec2.NewFromConfig(cfg),
		S3: s3.NewFromConfig(cfg, func(o *s3.Options) {
			o.UsePathStyle = o.UsePathStyle || o.BaseEndpoint != nil
		}),
		S3Control: s3control.NewFromConfig(cfg, func(o *s3control.Options) {
			if o.BaseEndpoint != nil {
				o.EndpointResolverV2 = fixedEndpoint{}
			}
		}),
		STS:     sts.NewFromConfig(cfg),
		Config:  configservice.NewFromConfig(cfg),
		Account: account,
		Region:  cfg.Region,
	}
}

// fixedEndpoint sends every call of S3 Control to the configured endpoint as it
// stands.
type fixedEndpoint struct{}

// ResolveEndpoint gives the endpoint of the client's options.
func (fixedEndpoint) ResolveEndpoint(_ context.Context, p s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(aws.ToString(p.Endpoint))
	if err != nil {
		return smithyendpoints.Endpoint{}, fmt.Errorf("the endpoint of S3 Control: %w", err)
	}
	return smithyendpoints.Endpoint{URI: *u}, nil
}

// recordRequestIDs has the request id of every attempt of a changing call noted.
func recordRequestIDs(record func(ctx context.Context, id string)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RecordRequestID",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
				middleware.DeserializeOutput, middleware.Metadata, error,
			) {
				out, metadata, err := next.HandleDeserialize(ctx, in)
				if !reads(awsmiddleware.GetOperationName(ctx)) {
					record(ctx, requestID(metadata, err))
				}
				return out, metadata, err
			}), middleware.Before)
	}
}

// paced has each attempt of a call wait for its place where the context has a
// limiter. It stands right behind the SDK's repetitions: what waits before the next
// attempt takes no place, and what waits for one is signed afterwards.
func paced(account string) func(*middleware.Stack) error {
	throttles := retry.IsErrorThrottles(retry.DefaultThrottles)
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("WaitForPlace",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
				middleware.FinalizeOutput, middleware.Metadata, error,
			) {
				limiter := throttle.Of(ctx)
				if limiter == nil {
					return next.HandleFinalize(ctx, in)
				}
				leave, err := limiter.Enter(ctx, throttle.Key{Account: account, Region: awsmiddleware.GetRegion(ctx), Service: awsmiddleware.GetServiceID(ctx)})
				if err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, &aws.RequestCanceledError{Err: err}
				}
				throttled := false
				defer func() { leave(throttled) }()
				out, metadata, err := next.HandleFinalize(ctx, in)
				throttled = throttles.IsErrorThrottle(err).Bool()
				return out, metadata, err
			}), "Retry", middleware.After)
	}
}

// requestID is the id that AWS gave the request, also where it failed.
func requestID(metadata middleware.Metadata, err error) string {
	if id, ok := awsmiddleware.GetRequestIDMetadata(metadata); ok {
		return id
	}
	var failed *awshttp.ResponseError
	if errors.As(err, &failed) {
		return failed.ServiceRequestID()
	}
	return ""
}

// reads reports whether an operation changes nothing, so that CloudTrail's
// event of it, if there is one, leads nowhere.
func reads(operation string) bool {
	for _, verb := range []string{"Get", "List", "Describe", "Head"} {
		if strings.HasPrefix(operation, verb) {
			return true
		}
	}
	return false
}
