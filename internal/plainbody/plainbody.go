// Package plainbody keeps the AWS SDK from repeating calls that were done already.
//
// The SDK closes a request's body as soon as the head of the answer is there. The body
// that it makes of a reader with WriteTo (bytes.Reader, strings.Reader) answers io.EOF
// from WriteTo from then on, which is an error for net/http: where its writer is a
// moment late, as on a busy machine, it closes the connection while the answer is
// read, and the SDK repeats the call for "use of closed network connection". Without
// WriteTo net/http reads that body, and io.EOF is its end.
package plainbody

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Use hides WriteTo of the bodies that are sent. It is one of aws.Config.APIOptions.
func Use(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("PlainBody",
		func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
			req, ok := in.Request.(*smithyhttp.Request)
			if !ok {
				return next.HandleBuild(ctx, in)
			}
			body, ok := req.GetStream().(io.ReadSeeker)
			if !ok {
				return next.HandleBuild(ctx, in)
			}
			plain, err := req.SetStream(struct{ io.ReadSeeker }{body})
			if err != nil {
				return middleware.BuildOutput{}, middleware.Metadata{}, fmt.Errorf("the body of the request: %w", err)
			}
			in.Request = plain
			return next.HandleBuild(ctx, in)
		}), middleware.After)
}
