package awsenv

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"secbot/internal/metrics"
)

// Calls counts calls of AWS, each attempt, by service, operation and result:
// ok, throttled, denied, refused (another 4xx), server (5xx) or unreachable. It
// is a metrics.Source.
type Calls struct {
	*metrics.Counter
}

// NewCalls makes a counter that has counted nothing.
func NewCalls() *Calls {
	return &Calls{metrics.NewCounter("secbot_aws_calls_total", "Calls of AWS, each attempt, by result.", "service", "operation", "result")}
}

// Count gives the configuration of clients whose calls are counted.
func (c *Calls) Count(cfg aws.Config) aws.Config {
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("secbotCalls", c.attempt), middleware.After)
	})
	return cfg
}

// attempt stands behind the SDK's repetitions, so that each is seen.
func (c *Calls) attempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleFinalize(ctx, in)
	c.Inc(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx), callResult(err))
	return out, meta, err
}

func callResult(err error) string {
	if err == nil {
		return "ok"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if _, throttled := retry.DefaultThrottleErrorCodes[api.ErrorCode()]; throttled {
			return "throttled"
		}
	}
	var answer *smithyhttp.ResponseError
	switch {
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= 500:
		return "server"
	case errors.As(err, &answer) && (answer.HTTPStatusCode() == 401 || answer.HTTPStatusCode() == 403):
		return "denied"
	case errors.As(err, &answer):
		return "refused"
	}
	return "unreachable"
}
