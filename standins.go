//go:build fakeaws

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// standIns are the commands that run on the stand-ins for AWS and Slack.
type standIns struct {
	Demo    demoCmd    `cmd:"" help:"Show everything on this machine: no account, no network."`
	Sandbox sandboxCmd `cmd:"" help:"Serve the AWS and Slack stand-ins by themselves."`
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

// demoApp is secbot on the stand-ins, with a small company that uses them.
type demoApp struct {
	app   *app
	sb    *sandbox.Sandbox
	world *demo.World
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
	sb, err := sandbox.Start(ctx, sandbox.Options{EventsToken: token, Log: log})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &settings{SlackToken: sb.Slack.Token(), SigningSecret: sb.Slack.Secret(), SlackAPI: sb.Slack.APIURL(),
		Store: "memory://", EventsToken: token}
	d := &demoApp{sb: sb, url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	if err := d.wire(ctx, s, log); err != nil {
		return nil, errors.Join(err, l.Close(), sb.Close())
	}
	sb.SetTarget(d.url)
	ctx, d.end = context.WithCancel(context.WithoutCancel(ctx))
	go func() { d.ended <- d.app.serveOn(ctx, l) }()
	return d, nil
}

func (d *demoApp) wire(ctx context.Context, s *settings, log *slog.Logger) error {
	st := memory.New()
	policy := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.GroupResponders})
	var err error
	if d.app, err = wire(s, demo.AWSConfig(d.sb), policy, st, log); err != nil {
		return err
	}
	d.world, err = demo.NewWorld(ctx, d.sb, st)
	return err
}

// stop ends secbot, then the stand-ins.
func (d *demoApp) stop() error {
	d.end()
	return errors.Join(<-d.ended, d.app.store.Close(), d.sb.Close())
}

// explain says how to reach everything.
func (d *demoApp) explain(out io.Writer) {
	fmt.Fprintf(out, `secbot runs at %s, on stand-ins for AWS (%s) and Slack (%s).

Open SSH to the world as the engineer Dana, and see what Slack shows:

  export AWS_ENDPOINT_URL=%[2]s AWS_REGION=%[4]s AWS_ACCESS_KEY_ID=%[5]s AWS_SECRET_ACCESS_KEY=sandbox
  aws ec2 authorize-security-group-ingress --group-id %[6]s --protocol tcp --port 22 --cidr 0.0.0.0/0
  curl -s '%[3]s/sandbox/messages?channel=%[7]s'

Type a slash command as Alice, a responder:

  curl -s -H 'Content-Type: application/json' -d '{"user":"%[8]s","channel":"%[7]s","text":"incidents"}' %[3]s/sandbox/command

Stop with Ctrl-C. `+"`secbot demo --script`"+` plays a tour instead.
`, d.url, d.sb.AWSURL, d.sb.SlackURL, d.sb.AWS.Region(), demo.EngineerKey, d.world.Group, fakeslack.ChannelSecurity, fakeslack.Alice)
}
