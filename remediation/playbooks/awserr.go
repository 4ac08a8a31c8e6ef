package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// errorCode is the code that AWS answered with, without the prefix that EC2
// sometimes gives it; empty for every other error.
func errorCode(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return strings.TrimPrefix(api.ErrorCode(), "Client.")
}

// hasCode reports whether AWS answered with one of the codes.
func hasCode(err error, codes ...string) bool {
	return err != nil && slices.Contains(codes, errorCode(err))
}

// isDenied reports whether AWS refused the call.
func isDenied(err error) bool {
	return hasCode(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "AllAccessDisabled")
}

// callError puts words to the error of one call on a resource: ErrGone where it
// does not exist, and for a refusal the IAM action that may be missing.
func callError(err error, ref remediation.Ref, call, action string) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, "NoSuchBucket", "InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidGroupId"):
		return fmt.Errorf("%s of %s: %w: %w", call, ref.ID, remediation.ErrGone, err)
	case isDenied(err) && ref.Kind == remediation.KindBucket:
		return fmt.Errorf("%s of %s: denied: either %s is not allowed to secbot, or the bucket does not belong to account %s, or Block Public Access forbids it: %w",
			call, ref.ID, action, orUnknown(ref.Account), err)
	case isDenied(err):
		return fmt.Errorf("%s of %s: denied: %s is not allowed to secbot: %w", call, ref.ID, action, err)
	}
	return fmt.Errorf("%s of %s: %w", call, ref.ID, err)
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

// Reading back what an undo has put, since configuration reaches all of AWS
// with a delay: the pauses double, about six seconds in all.
const (
	maxReadBacks  = 6
	firstReadBack = 200 * time.Millisecond
)

// readBack calls seen until it returns something other than ErrNotVerified or
// patience ends.
func readBack(ctx context.Context, seen func() error) error {
	pause := firstReadBack
	for try := 1; ; try++ {
		err := seen()
		if !errors.Is(err, remediation.ErrNotVerified) || try == maxReadBacks {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
		pause *= 2
	}
}
