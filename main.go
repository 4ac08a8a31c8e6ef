// Command secbot watches AWS accounts and closes, or asks in Slack whether to
// close, what a change has opened.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
)

// process is what a command may use of the world around it.
type process struct {
	settings *settings
	in       io.Reader
	out      io.Writer
	errOut   io.Writer
	log      *slog.Logger
	patience time.Duration // how long it waits for what becomes of a command
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// exitError is an error that says the exit status; an empty text prints nothing.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string { return e.text }

// run parses the command line, runs the command and gives the exit status: 0,
// 1 for what went wrong, 2 for a wrong command line.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		args = []string{"lambda"}
	}
	p := &process{settings: settingsFrom(os.Getenv), in: in, out: out, errOut: errOut, patience: shellPatience}
	started := false
	root := commandLine(p) //nolint:contextcheck // the commands get theirs from ExecuteContext
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		level, err := logLevel(c)
		if err != nil {
			return err
		}
		started = true
		p.log, err = newLog(c, errOut, level)
		return err
	}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		err = &exitError{status: 2, text: "secbot: " + err.Error()}
	}
	return status(err, errOut)
}

// logLevel is what the command line or the environment asks for. The demo tells
// its own story, and whoever types a command reads its answer.
func logLevel(c *cobra.Command) (slog.Level, error) {
	text := cmp.Or(c.Flag("log-level").Value.String(), os.Getenv("SECBOT_LOG_LEVEL"))
	if text == "" && (c.Name() == "demo" || c.GroupID == groupSlack) {
		return slog.LevelWarn, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(text, "info"))); err != nil {
		return level, fmt.Errorf("--log-level or SECBOT_LOG_LEVEL: %q is no level; say debug, info, warn or error", text)
	}
	return level, nil
}

// newLog writes for a person where one looks on, else JSON, a line each. The
// demo is always for people.
func newLog(c *cobra.Command, w io.Writer, level slog.Level) (*slog.Logger, error) {
	format := cmp.Or(c.Flag("log-format").Value.String(), os.Getenv("SECBOT_LOG_FORMAT"))
	if format == "" {
		format = "json"
		if isTerminal(w) || c.Name() == "demo" {
			format = "text"
		}
	}
	switch format {
	case "text":
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fmt.Errorf("--log-format or SECBOT_LOG_FORMAT: %q is no format; say json or text", format)
}

func status(err error, errOut io.Writer) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.text != "" {
			fmt.Fprintln(errOut, exit.text)
		}
		return exit.status
	}
	fmt.Fprintln(errOut, "secbot:", err)
	return 1
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
