package remediation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/smithy-go"
)

// isTransient reports whether trying again may help: throttling, a conflict
// with another change, a fault of AWS's own, a broken connection or a timeout.
func isTransient(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorFault() == smithy.FaultServer || transientCode(api.ErrorCode())
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var send *smithy.OperationError
	return errors.As(err, &send) && !isDecision(err)
}

// isDecision reports whether err is one that somebody decides on, never noise.
func isDecision(err error) bool {
	for _, e := range []error{ErrGone, ErrOtherAccount, ErrNothingToDo, ErrDrifted, ErrNotVerified, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// transientCode knows the codes that S3 and EC2 answer with when they are
// busy: "Error responses" of the Amazon S3 API reference, "Error codes for the
// Amazon EC2 API".
func transientCode(code string) bool {
	switch code {
	case "ConflictException", "OperationAborted", "SlowDown", "InternalError", "InternalFailure",
		"ServiceUnavailable", "Unavailable", "RequestTimeout", "RequestTimeoutException",
		"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "TooManyRequestsException":
		return true
	}
	return false
}

// explain gives an error for people, with what to do about it.
func explain(err error) string {
	var api smithy.APIError
	switch {
	case errors.Is(err, ErrDrifted):
		return err.Error() + ". Nothing was overwritten. Look at what changed; Retry plans anew on what is there now."
	case errors.Is(err, ErrNotVerified):
		return err.Error() + ". The change was made but AWS does not show it yet. Look at the resource, then click Retry."
	case errors.Is(err, ErrGone):
		return err.Error() + ". There is nothing left to change."
	case errors.Is(err, ErrOtherAccount):
		return err.Error() + ". secbot changes nothing in accounts that it does not know."
	case errors.As(err, &api) && denied(api.ErrorCode()):
		return fmt.Sprintf("%s: AWS refused %s. Allow what `secbot iam-policy` prints to secbot's role (a service control policy may forbid it too), then click Retry.",
			api.ErrorCode(), operation(err))
	case isTransient(err):
		return err.Error() + ". AWS could not be reached or was busy; click Retry in a while."
	}
	return err.Error() + "."
}

func denied(code string) bool {
	switch strings.TrimPrefix(code, "Client.") {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden":
		return true
	}
	return false
}

// operation names the AWS call behind an error.
func operation(err error) string {
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Service() + " " + op.Operation()
	}
	return "the call"
}
