// Command secbot watches AWS accounts and closes, or asks in Slack whether to
// close, what a change has opened.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"

	"secbot/events"
	"secbot/internal/demo"
	"secbot/internal/operator"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// cli is the command line: one field a command.
type cli struct {
	Demo      demoCmd      `cmd:"" help:"Show everything on this machine: no account, no network."`
	Serve     serveCmd     `cmd:"" help:"Run the server: take events, act, and talk to Slack."`
	Scan      scanCmd      `cmd:"" help:"Look for what is open now. Changes nothing."`
	Replay    replayCmd    `cmd:"" help:"Decode event files and print what is in them. Changes nothing."`
	Incidents incidentsCmd `cmd:"" help:"List incidents."`
	Playbooks playbooksCmd `cmd:"" help:"List the playbooks."`
	IAMPolicy iamPolicyCmd `cmd:"" name:"iam-policy" help:"Print the IAM policy that secbot's role needs."`
	Config    configCmd    `cmd:"" help:"Look after secbot.yaml."`
	Audit     auditCmd     `cmd:"" help:"Look after the audit log."`
	Sandbox   sandboxCmd   `cmd:"" help:"Serve the AWS and Slack stand-ins by themselves."`
	Health    healthCmd    `cmd:"" hidden:"" help:"Ask the server of this machine whether it is well; for containers."`
	Lambda    lambdaCmd    `cmd:"" hidden:"" help:"Be the Lambda function that SECBOT_LAMBDA names."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	LogLevel *slog.Level `env:"SECBOT_LOG_LEVEL" help:"debug, info, warn or error (info; demo: warn)."`
}

// process is what a command may use of the world around it.
type process struct {
	settings *settings
	in       io.Reader
	out      io.Writer
	log      *slog.Logger
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
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("secbot"), kong.Writers(out, errOut),
		kong.Exit(func(status int) { exited = status }),
		kong.Description("secbot closes holes in AWS accounts, or asks in Slack whether to."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(errOut, "secbot:", err)
		return 1
	}
	switch {
	case os.Getenv("AWS_LAMBDA_RUNTIME_API") != "":
		args = []string{"lambda"}
	case len(args) == 0:
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "secbot:", err)
		return 2
	}
	p := &process{settings: settingsFrom(os.Getenv), in: in, out: out, log: newLog(errOut, c.logLevel(kctx.Command()))}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return status(kctx.Run(p), errOut)
}

// logLevel is what the command line asks for. The demo tells its own story.
func (c *cli) logLevel(command string) slog.Level {
	switch {
	case c.LogLevel != nil:
		return *c.LogLevel
	case command == "demo":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)}))
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

type demoCmd struct {
	Addr   string `help:"Where secbot listens, as HOST:PORT (127.0.0.1:8080; with --script any free port)."`
	NoOpen bool   `help:"Open no browser."`
	Script bool   `help:"Walk through the tour, print each step with what was checked, and end."`
}

// Run starts the stand-ins and secbot on them. With Script it plays the tour
// and exits with 1 where a step fails.
func (c demoCmd) Run(ctx context.Context, p *process) error {
	d, err := startDemo(ctx, c.addr(), p.log)
	if err != nil {
		return err
	}
	if !c.Script {
		d.explain(p.out)
		if !c.NoOpen {
			d.open()
		}
		<-ctx.Done()
		return d.stop()
	}
	err = demo.Tour(ctx, d.world, p.out)
	if stopErr := d.stop(); stopErr != nil {
		return errors.Join(err, stopErr)
	}
	if err != nil {
		return &exitError{status: 1, text: "secbot: " + err.Error()}
	}
	return nil
}

func (c demoCmd) addr() string {
	switch {
	case c.Addr != "":
		return c.Addr
	case c.Script:
		return "127.0.0.1:0"
	}
	return "127.0.0.1:8080"
}

type sandboxCmd struct {
	AWSAddr     string `name:"aws-addr" default:"127.0.0.1:4566" help:"Where the stand-in for AWS listens."`
	SlackAddr   string `default:"127.0.0.1:4567" help:"Where the stand-in for Slack listens."`
	Target      string `default:"http://127.0.0.1:8080" help:"Where secbot is: events, clicks and commands go there."`
	EventsToken string `env:"SECBOT_EVENTS_TOKEN" default:"sandbox" help:"The bearer token of its POST /events."`
}

// Run serves both stand-ins until a signal comes.
func (c sandboxCmd) Run(ctx context.Context, p *process) error {
	sb, err := sandbox.Start(ctx, sandbox.Options{AWSAddr: c.AWSAddr, SlackAddr: c.SlackAddr, Target: c.Target, EventsToken: c.EventsToken, Log: p.log})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, `AWS is at %s, Slack at %s. Run secbot on them with

  export AWS_ENDPOINT_URL=%[1]s AWS_REGION=%[3]s AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox
  export SLACK_API_URL=%[2]s/api/ SLACK_BOT_TOKEN=%[4]s SLACK_SIGNING_SECRET=%[5]s
  export SECBOT_EVENTS_TOKEN=%[6]s SECBOT_CHANNEL=%[7]s SECBOT_RESPONDERS=%[8]s
  secbot serve

What people see and do is under %[2]s/sandbox/. Stop with Ctrl-C.
`, sb.AWSURL, sb.SlackURL, sb.AWS.Region(), sb.Slack.Token(), sb.Slack.Secret(), c.EventsToken,
		fakeslack.ChannelSecurity, fakeslack.GroupResponders)
	<-ctx.Done()
	return sb.Close()
}

type serveCmd struct{}

// Run serves until a signal comes.
func (serveCmd) Run(ctx context.Context, p *process) error {
	a, err := newApp(ctx, p.settings, p.log)
	if err != nil {
		return err
	}
	return errors.Join(a.serve(ctx), a.store.Close())
}

type healthCmd struct{}

// Run asks /healthz at SECBOT_ADDR.
func (healthCmd) Run(ctx context.Context, p *process) error {
	_, port, err := net.SplitHostPort(p.settings.Addr)
	if err != nil {
		return fmt.Errorf("SECBOT_ADDR: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/healthz", http.NoBody)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not well: %s", resp.Status)
	}
	return nil
}

type lambdaCmd struct{}

// Run serves the invocations of Lambda's runtime.
func (lambdaCmd) Run(ctx context.Context, p *process) error {
	a, err := newApp(ctx, p.settings, p.log)
	if err != nil {
		return err
	}
	return errors.Join(a.lambda(ctx), a.store.Close())
}

type replayCmd struct {
	JSON  bool     `name:"json" help:"One JSON object an event."`
	Live  bool     `help:"Judge the live state too (read-only) and say what the policy would do."`
	Paths []string `arg:"" help:"Files or directories; - is standard input."`
}

// Run decodes and prints; only with Live does it read from AWS.
func (c replayCmd) Run(ctx context.Context, p *process) error {
	opts := events.ReplayOptions{JSON: c.JSON, Claim: playbooks.Claims}
	if c.Live {
		e, err := p.readOnlyEngine(ctx)
		if err != nil {
			return err
		}
		opts.Preview = e.Preview
	}
	err := events.Replay(ctx, p.out, p.in, c.Paths, opts)
	if errors.Is(err, events.ErrReplayFailed) {
		return &exitError{status: 1, text: "secbot: " + err.Error()}
	}
	return err
}

type scanCmd struct {
	JSON  bool   `name:"json" help:"One JSON object a finding."`
	Scope string `arg:"" optional:"" default:"all" enum:"s3,sg,all" help:"s3, sg or all."`
}

// Run scans; it exits with 1 where something could not be read, since then
// "nothing found" would be a lie.
func (c scanCmd) Run(ctx context.Context, p *process) error {
	e, err := p.readOnlyEngine(ctx)
	if err != nil {
		return err
	}
	failed := 0
	var printErr error
	read, err := e.Scan(ctx, c.Scope,
		func(f remediation.Finding) { printErr = errors.Join(printErr, events.PrintFinding(p.out, f, c.JSON)) },
		func(err error) { failed++; p.log.Error("could not be read", "error", err) })
	if err := errors.Join(err, printErr); err != nil {
		return err
	}
	p.log.Info("scan finished", "resources", read, "failures", failed)
	if failed > 0 {
		return &exitError{status: 1, text: fmt.Sprintf("secbot: %d reads failed, so this is not everything", failed)}
	}
	return nil
}

type incidentsCmd struct {
	JSON   bool     `name:"json" help:"One JSON object an incident."`
	Limit  int      `default:"100" help:"At most so many."`
	Status []string `arg:"" optional:"" help:"Only those of this status: open, fixed, …"`
}

// Run lists incidents, the newest first.
func (c incidentsCmd) Run(ctx context.Context, p *process) error {
	return p.ask(ctx, operator.Request{Name: "incidents", Statuses: c.Status, Limit: c.Limit, JSON: c.JSON})
}

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that no entry was changed, cut or taken out."`
}

type auditVerifyCmd struct {
	Incident string `arg:"" optional:"" help:"Only this incident's."`
}

// Run checks the hash chains of the audit log.
func (c auditVerifyCmd) Run(ctx context.Context, p *process) error {
	return p.ask(ctx, operator.Request{Name: "audit verify", Incident: c.Incident})
}

type playbooksCmd struct {
	JSON bool `name:"json" help:"One JSON object a playbook."`
}

// Run lists the playbooks in the registry's order.
func (c playbooksCmd) Run(p *process) error {
	enc := json.NewEncoder(p.out)
	for _, m := range playbooks.Metas() {
		var err error
		if c.JSON {
			err = enc.Encode(m)
		} else {
			_, err = fmt.Fprintf(p.out, "%-28s %s\n", m.ID, m.Title)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type iamPolicyCmd struct{}

// Run prints the policy made from the playbooks' declarations.
func (iamPolicyCmd) Run(p *process) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(iamPolicy(playbooks.Metas()))
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check secbot.yaml and print its rules."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"The file; SECBOT_CONFIG by default."`
}

// Run reads the file as the server would and prints the rules in order.
func (c configCheckCmd) Run(p *process) error {
	cfg, err := p.settings.config(c.File)
	if err != nil {
		return err
	}
	rules, kind := cfg.Rules, ""
	if rules == nil {
		rules, kind = remediation.BuiltinRules(), "built-in "
	}
	fmt.Fprintf(p.out, "The policy is in order. Mode: %s. %d %srules; what none of them matches is asked.\n", cfg.Mode, len(rules), kind)
	for i, r := range rules {
		fmt.Fprintf(p.out, "%3d. %s → %s\n", i+1, r.Name, r.Then)
	}
	return showEffect(p.out, cfg)
}

// showEffect tells what the policy makes of the sample findings.
func showEffect(out io.Writer, cfg *remediation.Config) error {
	fmt.Fprintln(out, "\nWhat it makes of sample findings of account 111122223333 in us-east-1, without tags:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range remediation.Samples() {
		for _, part := range cfg.Decide(s.Finding) {
			d := part.Decision
			why := d.Rule
			if d.Why != "" {
				why += " (" + d.Why + ")"
			}
			fmt.Fprintf(table, "  %s\t%s\t%s\n", s.Name, d.Action, why)
		}
	}
	return table.Flush()
}

type versionCmd struct{}

// Run prints the version that the Go toolchain has recorded.
func (versionCmd) Run(p *process) error {
	version, revision := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(p.out, "secbot %s%s\n", version, revision)
	return err
}
