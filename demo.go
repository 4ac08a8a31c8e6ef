//go:build !lambda

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/cli/browser"
	"github.com/go-chi/chi/v5"
	"github.com/spf13/cobra"

	"secbot/bot"
	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation/store/memory"
)

// ownMachine are the commands that are of no use in Lambda, whose binary goes
// without them and the stand-ins.
func ownMachine(p *process) []*cobra.Command {
	return []*cobra.Command{demoCommand(p), scanCommand(p), deployCommand(p), sandboxCommand(p), doctorCommand(p)}
}

type demoOptions struct {
	addr           string
	noOpen, script bool
}

func demoCommand(p *process) *cobra.Command {
	var o demoOptions
	c := command("demo", "Show everything on this machine: no account, no network.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.demo(ctx, o)
	})
	c.Flags().StringVar(&o.addr, "addr", "", "where secbot listens, as `HOST:PORT` (127.0.0.1:8080; with --script any free port)")
	c.Flags().BoolVar(&o.noOpen, "no-open", false, "open no browser")
	c.Flags().BoolVar(&o.script, "script", false, "walk through the tour, print each step with what was checked, and end")
	return c
}

// demo starts the stand-ins and secbot on them. With script it plays the tour
// and exits with 1 where a step fails.
func (p *process) demo(ctx context.Context, o demoOptions) error {
	d, err := startDemo(ctx, o.address(), p.log)
	if err != nil {
		return err
	}
	if !o.script {
		d.explain(p.out)
		if !o.noOpen {
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

func (o demoOptions) address() string {
	switch {
	case o.addr != "":
		return o.addr
	case o.script:
		return "127.0.0.1:0"
	}
	return "127.0.0.1:8080"
}

func sandboxCommand(p *process) *cobra.Command {
	var o sandbox.Options
	c := command("sandbox", "Serve the AWS and Slack stand-ins by themselves.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.sandbox(ctx, o)
	})
	c.Flags().StringVar(&o.AWSAddr, "aws-addr", "127.0.0.1:4566", "where the stand-in for AWS listens, as `HOST:PORT`")
	c.Flags().StringVar(&o.SlackAddr, "slack-addr", "127.0.0.1:4567", "where the stand-in for Slack listens, as `HOST:PORT`")
	c.Flags().StringVar(&o.Target, "target", "http://127.0.0.1:8080", "the `URL` of secbot: events, clicks and commands go there")
	c.Flags().StringVar(&o.EventsToken, "events-token", "", "the bearer `token` of its POST /events (SECBOT_EVENTS_TOKEN, else sandbox)")
	return c
}

// sandbox serves both stand-ins until a signal comes.
func (p *process) sandbox(ctx context.Context, o sandbox.Options) error {
	o.EventsToken, o.Scopes, o.Log = cmp.Or(o.EventsToken, p.settings.EventsToken, "sandbox"), bot.ScopeNames(), p.log
	sb, err := sandbox.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, `AWS is at %s, Slack at %s. Run secbot on them with

  export AWS_ENDPOINT_URL=%[1]s AWS_REGION=%[3]s AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox
  export SLACK_API_URL=%[2]s/api/ SLACK_BOT_TOKEN=%[4]s SLACK_SIGNING_SECRET=%[5]s
  export SECBOT_EVENTS_TOKEN=%[6]s SECBOT_CHANNEL=%[7]s SECBOT_RESPONDERS=%[8]s
  secbot serve

To have it connect by Socket Mode instead of waiting to be called:

  export SLACK_APP_TOKEN=%[9]s

What people see and do is under %[2]s/sandbox/. Stop with Ctrl-C.
`, sb.AWSURL, sb.SlackURL, sb.AWS.Region(), sb.Slack.Token(), sb.Slack.Secret(), o.EventsToken,
		fakeslack.ChannelSecurity, fakeslack.GroupResponders, sb.Slack.AppToken())
	<-ctx.Done()
	return sb.Close()
}

// demoApp is secbot on the stand-ins, with a small company that uses them.
type demoApp struct {
	app   *app
	sb    *sandbox.Sandbox
	world *demo.World
	log   *slog.Logger
	url   string
	ended chan error
	end   context.CancelFunc
}

// startDemo starts the stand-ins on free ports and secbot on addr.
func startDemo(ctx context.Context, addr string, log *slog.Logger) (*demoApp, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (--addr): %w", addr, err)
	}
	token := rand.Text()
	clock := &demo.Clock{}
	sb, err := sandbox.Start(ctx, sandbox.Options{EventsToken: token, Scopes: bot.ScopeNames(), Log: log, Now: clock.Now})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &settings{SlackToken: sb.Slack.Token(), SigningSecret: sb.Slack.Secret(), SlackAPI: sb.Slack.APIURL(),
		Store: "memory://", EventsToken: token}
	d := &demoApp{sb: sb, log: log, url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	if err := d.wire(ctx, s, log, clock); err != nil {
		return nil, errors.Join(err, l.Close(), sb.Close())
	}
	sb.SetTarget(d.url)
	ctx, d.end = context.WithCancel(context.WithoutCancel(ctx))
	d.app.handler = d.withPage(ctx)
	go func() { d.ended <- d.app.serveOn(ctx, l) }()
	return d, nil
}

func (d *demoApp) wire(ctx context.Context, s *settings, log *slog.Logger, clock *demo.Clock) error {
	st := memory.New()
	d.app = wire(s, demo.AWSConfig(d.sb), demo.Policy(), st, log, clock.Now)
	var err error
	d.world, err = demo.NewWorld(ctx, d.sb, st, clock)
	return err
}

// withPage serves the page in front of secbot's own routes.
func (d *demoApp) withPage(ctx context.Context) http.Handler {
	var commands []demo.Completion
	for _, c := range bot.Commands() {
		commands = append(commands, demo.Completion{Name: c.Name, Usage: c.Usage, Help: c.Help})
	}
	r := chi.NewRouter()
	r.Group(demo.NewPage(ctx, d.world, commands).Routes)
	r.NotFound(d.app.handler.ServeHTTP)
	r.MethodNotAllowed(d.app.handler.ServeHTTP)
	return r
}

// stop ends secbot, then the stand-ins.
func (d *demoApp) stop() error {
	d.end()
	return errors.Join(<-d.ended, d.app.store.Close(), d.sb.Close())
}

// explain says where the page is, first thing, and what to try.
func (d *demoApp) explain(out io.Writer) {
	fmt.Fprintf(out, `%s

Open this page: it shows a Slack channel and a small AWS account, both of this machine.
Press "Open SSH to the world" and see what secbot says; then press "Undo Fix" in its message.
"secbot demo --script" plays a tour without a browser. Stop with Ctrl-C.

For other programs AWS is at %s (region %s, access key id %s for the engineer
Dana, any secret), the Slack API at %s, and what people see and do at %[1]s/sandbox/.
`, d.url, d.sb.AWSURL, d.sb.AWS.Region(), demo.EngineerKey, d.sb.Slack.APIURL())
}

// open shows the page in the browser; that there is none is no failure.
func (d *demoApp) open() {
	if err := browser.OpenURL(d.url); err != nil {
		d.log.Warn("no browser could be opened; open the page yourself", "page", d.url, "error", err)
	}
}
