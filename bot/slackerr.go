package bot

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// apiError makes a failed call's error one that says what to do: a
// *remediation.RetryError where Slack asks for a pause; nil for nil.
func apiError(method string, err error) error {
	if err == nil {
		return nil
	}
	var limited *slack.RateLimitedError
	if errors.As(err, &limited) {
		return &remediation.RetryError{After: limited.RetryAfter, Err: fmt.Errorf("%s: %w", method, err)}
	}
	if hint := hintFor(errorCode(err)); hint != "" {
		return fmt.Errorf("%s: %w; %s", method, err, hint)
	}
	if missing := missingScope(err); missing != "" {
		return fmt.Errorf("%s: %w; give the Slack app the scope %s and install it again", method, err, missing)
	}
	return fmt.Errorf("%s: %w", method, err)
}

// sendError is apiError for calls that change something: a
// *remediation.UnclearError where Slack has not answered.
func sendError(method string, err error) error {
	if err != nil && isUnclear(err) {
		return &remediation.UnclearError{After: unclearPause, Err: fmt.Errorf("%s: %w", method, err)}
	}
	return apiError(method, err)
}

// unclearPause is how long it takes at most until it is seen in Slack what has come
// of a call without an answer.
const unclearPause = 30 * time.Second

// isUnclear reports whether a call may have an effect, now or in a while, although
// no answer came: it was cut off, or took too long. What did not even reach Slack
// has none.
func isUnclear(err error) bool {
	var (
		limited *slack.RateLimitedError
		status  slack.StatusCodeError
		network *net.OpError
	)
	switch {
	case errorCode(err) != "", errors.As(err, &limited):
		return false
	case errors.As(err, &status):
		return status.Code >= 500
	case errors.As(err, &network) && network.Op == "dial":
		return false
	}
	return true
}

// errorCode is Slack's code of an error; empty where Slack gave none.
func errorCode(err error) string {
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) {
		return refused.Err
	}
	return ""
}

func missingScope(err error) string {
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) && refused.Err == "missing_scope" {
		return strings.TrimSpace(refused.Needed)
	}
	return ""
}

// hintFor says what to do about an error code of Slack's.
func hintFor(code string) string {
	switch code {
	case "not_in_channel", "channel_not_found":
		return "invite the bot into the channel (/invite @secbot), or name another one in SECBOT_CHANNEL or secbot.yaml"
	case "is_archived":
		return "the channel is archived: name another one in SECBOT_CHANNEL or secbot.yaml"
	case "not_authed", "invalid_auth", "token_revoked", "token_expired", "account_inactive":
		return "set SLACK_BOT_TOKEN to the bot token (xoxb-…) of the installed Slack app"
	case "restricted_action", "ekm_access_denied", "not_allowed_token_type":
		return "the workspace's settings forbid it: ask its administrators"
	}
	return ""
}

// isRejected reports whether Slack has refused the blocks themselves, so that
// the same message will never get through.
func isRejected(err error) bool {
	return slices.Contains([]string{"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"}, errorCode(err))
}

// isLost reports whether the message that was to be changed isn't there.
func isLost(err error) bool {
	return slices.Contains([]string{"message_not_found", "cant_update_message", "edit_window_closed"}, errorCode(err))
}

// isTemporary reports whether trying again may help: everything but a clear
// refusal of Slack's.
func isTemporary(err error) bool {
	var limited *slack.RateLimitedError
	if errors.As(err, &limited) {
		return true
	}
	switch errorCode(err) {
	case "internal_error", "fatal_error", "service_unavailable", "ratelimited", "request_timeout":
		return true
	case "":
		var status slack.StatusCodeError
		return !errors.As(err, &status) || status.Code >= 500
	}
	return false
}

// explained adds the details that Slack gives with a refusal to its error.
func explained(err error) string {
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) && len(refused.ResponseMetadata.Messages) > 0 {
		return cut(refused.Err+": "+strings.Join(refused.ResponseMetadata.Messages, "; "), 1000)
	}
	return err.Error()
}
