package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/nearest"
	"secbot/internal/operator"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// commandLine is secbot with all its commands.
func commandLine(p *process) *cobra.Command {
	root := group("secbot", "secbot closes holes in AWS accounts, or asks in Slack whether to.",
		serveCommand(p), replayCommand(p), incidentsCommand(p), playbooksCommand(p),
		iamPolicyCommand(p), manifestCommand(p), configCommand(p), auditCommand(p), versionCommand(p),
		healthCommand(p), lambdaCommand(p), runbookCommand(p))
	root.AddCommand(ownMachine(p)...)
	root = withShell(p, root)
	root.SetFlagErrorFunc(unknownFlag)
	root.PersistentFlags().String("log-level", "", "debug, info, warn or error (SECBOT_LOG_LEVEL; else info, and warn in the demo and for what can be typed in Slack)")
	root.PersistentFlags().String("log-format", "", "json or text (SECBOT_LOG_FORMAT; else text on a terminal and in the demo)")
	return root
}

// command is one that does something; use begins with its name.
func command(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, SilenceUsage: true, SilenceErrors: true, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) }}
}

// group holds commands and shows them where none is named.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: name, Short: short, SilenceUsage: true, SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var known []string
			for _, sub := range c.Commands() {
				known = append(known, sub.Name())
			}
			return fmt.Errorf("there is no command %q.%s `%s --help` lists them", args[0], didYouMean(args[0], known), c.CommandPath())
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	g.AddCommand(commands...)
	return g
}

// unknownFlag adds to the error of a wrong flag which one may have been meant.
func unknownFlag(c *cobra.Command, err error) error {
	var notFound *pflag.NotExistError
	if !errors.As(err, &notFound) {
		return err
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return fmt.Errorf("%w.%s `%s --help` lists them", err, didYouMean(notFound.GetSpecifiedName(), known), c.CommandPath())
}

func didYouMean(typed string, known []string) string {
	if near := nearest.Word(typed, known); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

func serveCommand(p *process) *cobra.Command {
	return command("serve", "Run the server: take events, act, and talk to Slack.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.serve(ctx)
	})
}

// serve serves until a signal comes.
func (p *process) serve(ctx context.Context) error {
	a, err := newApp(ctx, p.settings, p.log, forServing)
	if err != nil {
		return err
	}
	return errors.Join(a.serve(ctx), a.store.Close())
}

func healthCommand(p *process) *cobra.Command {
	c := command("health", "Ask the server of this machine whether it is well; for containers.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.health(ctx)
	})
	c.Hidden = true
	return c
}

// health asks /healthz at SECBOT_ADDR.
func (p *process) health(ctx context.Context) error {
	addr, err := reachable(p.settings.Addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", http.NoBody)
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

// reachable is where a server that listens on addr is reached from the same
// machine: where it listens, or by loopback where it listens on every address.
func reachable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("SECBOT_ADDR: %w", err)
	}
	switch ip, _ := netip.ParseAddr(host); {
	case host == "", ip == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case ip == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

func lambdaCommand(p *process) *cobra.Command {
	c := command("lambda", "Be the Lambda function that SECBOT_LAMBDA names.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.lambda(ctx)
	})
	c.Hidden = true
	return c
}

// lambda serves the invocations of Lambda's runtime.
func (p *process) lambda(ctx context.Context) error {
	if err := p.settings.forLambda(); err != nil {
		return err
	}
	a, err := newApp(ctx, p.settings, p.log, forServing)
	if err != nil {
		return err
	}
	return errors.Join(a.lambda(ctx), a.store.Close())
}

func replayCommand(p *process) *cobra.Command {
	var asJSON, live bool
	c := command("replay PATH...", "Decode event files and print what is in them. Changes nothing.", cobra.MinimumNArgs(1), func(ctx context.Context, paths []string) error {
		return p.replay(ctx, paths, asJSON, live)
	})
	c.Long = c.Short + "\n\nA PATH is a file or a directory; - is standard input."
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object an event")
	c.Flags().BoolVar(&live, "live", false, "judge the live state too (read-only) and say what the policy would do")
	return c
}

// replay decodes and prints; only with live does it read from AWS.
func (p *process) replay(ctx context.Context, paths []string, asJSON, live bool) error {
	opts := events.ReplayOptions{JSON: asJSON, Claim: playbooks.Claims}
	if live {
		e, err := p.readOnlyEngine(ctx)
		if err != nil {
			return err
		}
		opts.Preview = func(ctx context.Context, sig remediation.Signal) ([]remediation.Part, error) {
			parts, err := e.Preview(ctx, sig)
			return parts, plainly(err)
		}
	}
	err := events.Replay(ctx, p.out, p.in, paths, opts)
	if errors.Is(err, events.ErrReplayFailed) {
		return &exitError{status: 1, text: "secbot: " + err.Error()}
	}
	return err
}

func incidentsCommand(p *process) *cobra.Command {
	req, spec := operator.Request{Name: "incidents"}, specOf("incidents")
	c := command(spec.Name+" "+spec.Usage, spec.Help, understood(spec.Name), func(ctx context.Context, args []string) error {
		req.Words = strings.Join(args, " ")
		return p.ask(ctx, req)
	})
	c.Flags().IntVar(&req.Limit, "limit", 100, "at most so many on a page")
	c.Flags().BoolVar(&req.JSON, "json", false, "one JSON object an incident")
	return c
}

func auditCommand(p *process) *cobra.Command {
	return group("audit", "Look after the audit log.",
		command("verify [INCIDENT]", "Check that no entry was changed, cut or taken out.", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
			return p.ask(ctx, operator.Request{Name: "audit verify", Incident: append(args, "")[0]})
		}),
		command("export [INCIDENT]", "Print every entry as one line of JSON.", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
			return p.ask(ctx, operator.Request{Name: "audit export", Incident: append(args, "")[0]})
		}))
}

func playbooksCommand(p *process) *cobra.Command {
	var asJSON bool
	c := command("playbooks", "List the playbooks.", cobra.NoArgs, func(context.Context, []string) error {
		return p.playbooks(asJSON)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a playbook")
	return c
}

// playbooks lists the playbooks in the registry's order.
func (p *process) playbooks(asJSON bool) error {
	enc := json.NewEncoder(p.out)
	for _, m := range playbooks.Metas() {
		var err error
		if asJSON {
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

func iamPolicyCommand(p *process) *cobra.Command {
	return command("iam-policy", "Print the IAM policy that secbot's role needs, with what SECBOT_QUEUE_URL, SECBOT_STORE and the state machines of secbot.yaml add.", cobra.NoArgs, func(context.Context, []string) error {
		enc := json.NewEncoder(p.out)
		enc.SetIndent("", "  ")
		policy, err := p.settings.config("")
		if err != nil {
			return err
		}
		return enc.Encode(withMachines(playbooks.IAMPolicy(p.settings.actions()), policy))
	})
}

// withMachines adds what the state machines need that the policy lists.
func withMachines(d playbooks.PolicyDocument, policy *remediation.Config) playbooks.PolicyDocument {
	var machines, executions []string
	for _, m := range policy.StateMachines {
		machines, executions = append(machines, m.ARN), append(executions, remediation.ExecutionARN(m.ARN, "*"))
	}
	if len(machines) == 0 {
		return d
	}
	onMachines, onExecutions := awsenv.MachineActions()
	return d.Allow("StateMachines", onMachines, machines).Allow("Executions", onExecutions, executions)
}

func configCommand(p *process) *cobra.Command {
	return group("config", "Look after secbot.yaml.",
		command("check [FILE]", "Check secbot.yaml, or the file that is named, and print its rules.", cobra.MaximumNArgs(1), func(_ context.Context, args []string) error {
			return p.checkConfig(append(args, "")[0])
		}))
}

// checkConfig reads the file as the server would and prints the rules in order.
func (p *process) checkConfig(file string) error {
	cfg, err := p.settings.config(file)
	if err != nil {
		return err
	}
	rules, kind := cfg.Rules, ""
	if rules == nil {
		rules, kind = remediation.BuiltinRules(), "built-in "
	}
	fmt.Fprintf(p.out, "The policy is in order. Mode: %s. %d %srules; what none of them matches is asked.\n", cfg.Mode, len(rules), kind)
	for i, r := range rules {
		then := string(r.Then)
		if r.StateMachine != "" {
			then += ", then state machine " + r.StateMachine
		}
		fmt.Fprintf(p.out, "%3d. %s → %s\n", i+1, r.Name, then)
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

func versionCommand(p *process) *cobra.Command {
	return command("version", "Print the version.", cobra.NoArgs, func(context.Context, []string) error {
		return p.version()
	})
}

// version prints the version that the Go toolchain has recorded.
func (p *process) version() error {
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
