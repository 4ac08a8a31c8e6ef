package remediation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/smithy-go"
)

// AccountError says that an account does not let secbot in.
type AccountError struct {
	Account string
	Role    string // the role that secbot has tried to take there; empty: it has not tried
	Err     error
}

// Error says where, and why.
func (e *AccountError) Error() string {
	if e.Role == "" {
		return fmt.Sprintf("account %s can't be entered: %v", e.Account, e.Err)
	}
	return fmt.Sprintf("account %s does not let secbot take its role %s: %v", e.Account, e.Role, e.Err)
}

// Unwrap is what STS has said.
func (e *AccountError) Unwrap() error { return e.Err }

// explain tells people how an account is made a member.
func (e *AccountError) explain() string {
	var api smithy.APIError
	switch {
	case errors.As(e.Err, &api) && denied(api.ErrorCode()):
		return fmt.Sprintf("account %s does not let secbot in (%s: STS refused its role %s). Run `secbot deploy --member` there, with the hub's WorkerRoleArn and the SECBOT_EXTERNAL_ID that the hub has (a service control policy may forbid it too)",
			e.Account, api.ErrorCode(), e.Role)
	case errors.As(e.Err, &api):
		return fmt.Sprintf("account %s could not be entered by its role %s: %s: %s", e.Account, e.Role, api.ErrorCode(), api.ErrorMessage())
	}
	return e.Error()
}

// isTransient reports whether trying again may help: throttling, a conflict
// with another change, a fault of AWS's own, a broken connection or a timeout.
func isTransient(err error) bool {
	var account *AccountError
	if errors.As(err, &account) && account.Role == "" {
		return false
	}
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

// explain gives the error of a fix or undo for people, with what to do about it.
func explain(err error) string {
	var api smithy.APIError
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return refused.Text
	case errors.Is(err, ErrDrifted):
		return err.Error() + ". Nothing was overwritten. Look at what changed; Retry plans anew on what is there now."
	case errors.Is(err, ErrNotVerified):
		return err.Error() + ". The change was made but AWS does not show it yet. Look at the resource, then click Retry."
	case errors.Is(err, ErrGone):
		return err.Error() + ". There is nothing left to change."
	case errors.Is(err, ErrOtherAccount):
		return err.Error() + ". secbot changes nothing in accounts that it does not know."
	case noCredentials(err), errors.As(err, &api) && (denied(api.ErrorCode()) || unknownCredentials(api.ErrorCode())):
		return Explain(err) + ". Then click Retry."
	case isTransient(err):
		return err.Error() + ". AWS could not be reached or was busy; click Retry in a while."
	}
	return err.Error() + "."
}

// because gives an error for people who have no Retry to click.
func because(err error) string {
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return refused.Text
	case errors.Is(err, ErrDrifted):
		return err.Error() + ". Nothing was overwritten."
	}
	return strings.TrimSuffix(Explain(err), ".") + "."
}

// Explain gives an error of AWS for people: where secbot lacks a permission or
// its credentials are no good, which and what to do about it, without a full stop
// at its end; else the error's own text.
func Explain(err error) string {
	var api smithy.APIError
	var account *AccountError
	switch {
	case errors.As(err, &account):
		return account.explain()
	case noCredentials(err):
		return "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
	case !errors.As(err, &api):
		return err.Error()
	case denied(api.ErrorCode()):
		return fmt.Sprintf("%s: AWS refused %s, for which secbot's role needs %s. Allow it what `secbot iam-policy` prints (a service control policy may forbid it too)",
			api.ErrorCode(), operation(err), permission(err))
	case unknownCredentials(api.ErrorCode()):
		return fmt.Sprintf("%s: AWS takes secbot's credentials no more (%s). Renew them", api.ErrorCode(), operation(err))
	}
	return err.Error()
}

// noCredentials reports whether the SDK has found none anywhere. It has no error
// of its own for that.
func noCredentials(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no EC2 IMDS role found")
}

// unknownCredentials knows the codes for credentials that have expired or were
// taken back: "Common errors" of the AWS API references.
func unknownCredentials(code string) bool {
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure",
		"InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestExpired":
		return true
	}
	return false
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

// permission names the IAM action of the AWS call behind an error. Those that
// are called otherwise than the call are in the Service Authorization Reference.
func permission(err error) string {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return "a permission"
	}
	switch call := op.Service() + ":" + op.Operation(); call {
	case "S3:ListBuckets":
		return "s3:ListAllMyBuckets"
	case "S3:HeadBucket":
		return "s3:ListBucket"
	case "S3:GetPublicAccessBlock":
		return "s3:GetBucketPublicAccessBlock"
	case "S3:PutPublicAccessBlock", "S3:DeletePublicAccessBlock":
		return "s3:PutBucketPublicAccessBlock"
	case "S3 Control:GetPublicAccessBlock":
		return "s3:GetAccountPublicAccessBlock"
	case "S3 Control:PutPublicAccessBlock", "S3 Control:DeletePublicAccessBlock":
		return "s3:PutAccountPublicAccessBlock"
	}
	service := op.Service()
	switch service {
	case "Config Service":
		service = "Config"
	case "SFN":
		service = "states"
	}
	return strings.ToLower(strings.ReplaceAll(service, " ", "-")) + ":" + op.Operation()
}
