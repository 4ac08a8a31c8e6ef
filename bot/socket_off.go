//go:build lambda

package bot

import (
	"context"
	"errors"
)

// Socket is not in the program for Lambda: Slack calls a function, which lives no
// longer than it takes to answer.
type Socket struct {
	Token   string
	APIURL  string
	Handler *Handler
	Calls   *Calls
}

var errNoSocket = errors.New("Socket Mode is not in the program for Lambda: give Slack the function's URL instead of setting SLACK_APP_TOKEN") //nolint:staticcheck // a name begins it

// Run returns an error that says so.
func (*Socket) Run(context.Context) error { return errNoSocket }

// Check returns the same error.
func (*Socket) Check(context.Context) error { return errNoSocket }
