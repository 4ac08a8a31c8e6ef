package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdaurl"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-chi/chi/v5"

	"secbot/bot"
	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/metrics"
	"secbot/internal/operator"
	"secbot/internal/server"
	"secbot/remediation"
	"secbot/remediation/notify"
	"secbot/remediation/playbooks"
	"secbot/remediation/store"
	"secbot/remediation/store/memory"
)

// settings are what the environment says beside the AWS SDK's own variables.
type settings struct {
	SlackToken    string   // SLACK_BOT_TOKEN
	SigningSecret string   // SLACK_SIGNING_SECRET
	AppToken      string   // SLACK_APP_TOKEN; empty: no Socket Mode
	SlackAPI      string   // SLACK_API_URL
	ConfigFile    string   // SECBOT_CONFIG; empty: defaultConfigFile, if it is there
	Addr          string   // SECBOT_ADDR
	URL           string   // SECBOT_URL: where others reach it
	Store         string   // SECBOT_STORE
	EventsToken   string   // SECBOT_EVENTS_TOKEN
	Channel       string   // SECBOT_CHANNEL
	Responders    string   // SECBOT_RESPONDERS
	SNSTopics     []string // SECBOT_SNS_TOPICS
	QueueURL      string   // SECBOT_QUEUE_URL
	Lambda        string   // SECBOT_LAMBDA: events, http or tick
	Secret        string   // SECBOT_SECRET: a secret of Secrets Manager that holds some of these
	Mode          string   // SECBOT_MODE: the most that the policy's mode may be
	ExternalID    string   // SECBOT_EXTERNAL_ID: of the role in members' accounts
	MemberRole    string   // SECBOT_MEMBER_ROLE: that role's name
	NoRegion      bool     // neither AWS_REGION nor a profile names one
}

func settingsFrom(getenv func(string) string) *settings {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	return &settings{
		SlackToken:    getenv("SLACK_BOT_TOKEN"),
		SigningSecret: getenv("SLACK_SIGNING_SECRET"),
		AppToken:      getenv("SLACK_APP_TOKEN"),
		SlackAPI:      getenv("SLACK_API_URL"),
		ConfigFile:    getenv("SECBOT_CONFIG"),
		Addr:          or("SECBOT_ADDR", "127.0.0.1:8080"),
		URL:           getenv("SECBOT_URL"),
		Store:         or("SECBOT_STORE", "bolt://secbot.db"),
		EventsToken:   getenv("SECBOT_EVENTS_TOKEN"),
		Channel:       getenv("SECBOT_CHANNEL"),
		Responders:    getenv("SECBOT_RESPONDERS"),
		SNSTopics:     list(getenv("SECBOT_SNS_TOPICS")),
		QueueURL:      getenv("SECBOT_QUEUE_URL"),
		Lambda:        getenv("SECBOT_LAMBDA"),
		Secret:        getenv("SECBOT_SECRET"),
		Mode:          getenv("SECBOT_MODE"),
		ExternalID:    getenv("SECBOT_EXTERNAL_ID"),
		MemberRole:    or("SECBOT_MEMBER_ROLE", awsenv.DefaultMemberRole),
	}
}

// member is how to get into other accounts.
func (s *settings) member() awsenv.Member {
	return awsenv.Member{Role: s.MemberRole, ExternalID: s.ExternalID}
}

// actions are the IAM actions that secbot needs with these settings, sorted.
func (s *settings) actions() []string {
	all := slices.Concat(playbooks.Actions(), store.Actions(s.Store), s.member().Actions())
	if s.QueueURL != "" {
		all = append(all, events.Actions()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// secretTimeout bounds how long the start waits for a secret.
const secretTimeout = 10 * time.Second

// readSecret takes what is not set from the secret that SECBOT_SECRET names. It is
// one request, and none where it names none.
func (s *settings) readSecret(ctx context.Context) error {
	if s.Secret == "" {
		return nil
	}
	cfg, _, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	values, err := awsenv.Secret(ctx, cfg, s.Secret)
	if err != nil {
		return fmt.Errorf("SECBOT_SECRET: %w", err)
	}
	for name, value := range map[string]*string{
		"SLACK_BOT_TOKEN": &s.SlackToken, "SLACK_SIGNING_SECRET": &s.SigningSecret, "SLACK_APP_TOKEN": &s.AppToken, "SECBOT_EVENTS_TOKEN": &s.EventsToken,
		"SECBOT_EXTERNAL_ID": &s.ExternalID,
	} {
		*value = cmp.Or(*value, values[name])
	}
	return nil
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	var out []string
	for _, v := range strings.Split(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// defaultConfigFile is read where nobody names another, and may be missing.
const defaultConfigFile = "secbot.yaml"

// config reads the policy and fills in what the environment says. path "" is
// SECBOT_CONFIG, else defaultConfigFile. A file that somebody has named must be
// there: its mode may be what keeps secbot from acting.
func (s *settings) config(path string) (*remediation.Config, error) {
	path = cmp.Or(path, s.ConfigFile)
	cfg, err := remediation.LoadConfig(cmp.Or(path, defaultConfigFile))
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		cfg, err = remediation.DefaultConfig(), nil
	}
	if err != nil {
		return nil, err
	}
	if err := cfg.CheckPlaybooks(playbookIDs()); err != nil {
		return nil, err
	}
	channel, err := remediation.ParseChannel(s.Channel)
	if err != nil {
		return nil, err
	}
	responders, err := remediation.ParseResponders(s.Responders)
	if err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults(channel, responders)
	if s.Mode != "" {
		if err := cfg.Cap(remediation.Mode(s.Mode)); err != nil {
			return nil, fmt.Errorf("SECBOT_MODE: %w", err)
		}
	}
	return cfg, nil
}

func playbookIDs() []string {
	var ids []string
	for _, m := range playbooks.Metas() {
		ids = append(ids, m.ID)
	}
	return ids
}

// app is a running secbot.
type app struct {
	settings *settings
	log      *slog.Logger
	store    remediation.Store
	engine   *remediation.Engine
	events   *events.Handler
	handler  http.Handler
	queue    *sqs.Client   // nil without SECBOT_QUEUE_URL
	poller   *events.Queue // the same
	socket   *bot.Socket   // nil without SLACK_APP_TOKEN
	bot      *bot.Handler
	alone    bool      // a shell command's, where no other process works on the store
	told     io.Writer // where whoever typed that is told what is beside the answer
}

// purpose is what an app is made for.
type purpose bool

const (
	forServing purpose = false
	forShell   purpose = true // one command: nobody is told what is not set up
)

// newApp wires everything from the settings and the AWS SDK's environment. It
// calls nobody: what is missing outside shows in /readyz.
func newApp(ctx context.Context, s *settings, log *slog.Logger, why purpose) (*app, error) {
	cfg, named, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	s.NoRegion = !named
	// A function that Lambda starts again may read it then; a server tells people,
	// and does what it can without.
	if err := s.readSecret(ctx); err != nil && s.Lambda != "" {
		return nil, err
	} else if err != nil {
		log.Error("the secret could not be read; start secbot again once it can", "error", err)
	}
	policy, err := s.config("")
	if err != nil {
		return nil, err
	}
	for _, what := range s.missing(policy) {
		if why == forShell {
			break
		}
		log.Warn("not set up yet", "what", what.name, "why", what.hint)
	}
	st, err := store.Open(s.Store, func() (aws.Config, error) { return cfg, nil })
	if err != nil {
		return nil, err
	}
	a := wire(s, cfg, policy, watched(st), log, time.Now)
	a.alone = why == forShell && !store.Shared(s.Store)
	return a, nil
}

func wire(s *settings, cfg aws.Config, policy *remediation.Config, st remediation.Store, log *slog.Logger, now func() time.Time) *app {
	counted, calls, slackCalls := remediation.NewMetrics(), awsenv.NewCalls(), bot.NewCalls()
	cfg = calls.Count(cfg)
	env := awsenv.New(cfg, s.member())
	api := bot.NewClient(s.SlackToken, s.SlackAPI, slackCalls)
	homes := &bot.Homes{Client: api, Store: st, Names: names(policy), Standing: standing(policy, st), Log: log, Now: now}
	slackNotifier := &bot.Notifier{Client: api, Store: st, Names: names(policy), Channel: policy.Channel, APIURL: s.SlackAPI, Homes: homes, Log: log, Now: now}
	notifiers := map[string]remediation.Notifier{remediation.NotifySlack: slackNotifier, remediation.NotifyShell: &remediation.ShellNotifier{Store: st, Now: now}}
	if topic := policy.Notify.SNSTopicARN; topic != "" {
		notifiers[remediation.NotifySNS] = snsNotifier(cfg, topic, st)
	}
	people := bot.NewDirectory(api, now)
	var queue *sqs.Client
	var spread func(context.Context, []string) error
	if s.QueueURL != "" {
		queue = sqs.NewFromConfig(cfg)
		spread = func(ctx context.Context, jobs []string) error { return events.Spread(ctx, queue, s.QueueURL, jobs) }
	}
	var machines remediation.Machines
	if len(policy.StateMachines) > 0 {
		machines = awsenv.NewMachines(cfg)
	}
	engine := remediation.New(remediation.Options{
		Store: st, Provider: env, Config: policy, Notifiers: notifiers,
		Directory: people, Enrich: env.Enrich, Self: env.Identity, Accounts: env.Accounts, Spread: spread, Machines: machines,
		Log: log, Metrics: counted, Now: now, Exclusive: !store.Shared(s.Store), Inline: s.Lambda == lambdaEvents,
	})
	a := &app{settings: s, log: log, store: st, engine: engine, queue: queue}
	a.events = &events.Handler{Accept: a.accept, Heard: engine.Heard, Begin: engine.Begin, Token: s.EventsToken, Topics: s.SNSTopics, Log: log}
	if machines != nil {
		a.events.Machines = callers{engine, a}
	}
	checks := s.checks(policy, env, slackNotifier, st, engine)
	if a.queue != nil {
		a.poller = &events.Queue{Handler: a.events, Client: a.queue, URL: s.QueueURL}
		checks["queue"] = explained(a.poller.Check)
	}
	a.bot = &bot.Handler{SigningSecret: s.SigningSecret, Client: api, APIURL: s.SlackAPI, Engine: bell{engine, a}, Store: st,
		Names: names(policy), Mode: policy.Mode, People: people, Homes: homes, Log: log, Now: now}
	if s.AppToken != "" {
		a.socket = &bot.Socket{Token: s.AppToken, APIURL: s.SlackAPI, Handler: a.bot, Calls: slackCalls}
		checks["socket mode"] = a.socket.Check
	}
	a.handler = server.Handler(server.Options{
		Mount:   []func(chi.Router){a.events.Routes, a.bot.Routes},
		Checks:  checks,
		Metrics: []metrics.Source{counted, engine.Gauges(), calls, slackCalls},
		Public:  s.Lambda == lambdaHTTP, // a function URL is open to the world
		Log:     log,
	})
	return a
}

// snsNotifier publishes in the topic's own region.
func snsNotifier(cfg aws.Config, topic string, st remediation.Store) *notify.SNS {
	client := sns.NewFromConfig(cfg, func(o *sns.Options) {
		if a, err := arn.Parse(topic); err == nil && a.Region != "" {
			o.Region = a.Region
		}
	})
	return &notify.SNS{Topic: topic, Client: client, Store: st}
}

// standing is what homes say secbot may do.
func standing(policy *remediation.Config, st remediation.Store) func(context.Context) (bot.Standing, error) {
	return func(ctx context.Context) (bot.Standing, error) {
		control, err := remediation.ReadControl(ctx, st)
		s := bot.Standing{Mode: string(control.ModeFor(policy.Mode, "", ""))}
		if p := control.Paused; p != nil {
			s.Paused, s.By, s.At, s.Reason = true, p.By, p.At, p.Reason
		}
		return s, err
	}
}

// accept stores signals that came over HTTP.
func (a *app) accept(ctx context.Context, sigs []remediation.Signal) error {
	if err := a.engine.Accept(ctx, sigs); err != nil {
		return err
	}
	a.ring(ctx)
	return nil
}

// bell is the engine of requests. What is stored by them has somebody told.
type bell struct {
	*remediation.Engine
	app *app
}

// Submit stores a command; see remediation.Engine. Where nobody else would, it also
// carries it out.
func (b bell) Submit(ctx context.Context, cmd remediation.Command) error {
	if b.app.alone {
		return b.app.carryOut(ctx, cmd)
	}
	if err := b.Engine.Submit(ctx, cmd); err != nil {
		return err
	}
	b.app.ring(ctx)
	return nil
}

// callers is the engine of what state machines send. What is stored of it has somebody
// told.
type callers struct {
	*remediation.Engine
	app *app
}

// AcceptTask stores a request for an approval; see remediation.Engine.
func (c callers) AcceptTask(ctx context.Context, r remediation.TaskRequest) error {
	if err := c.Engine.AcceptTask(ctx, r); err != nil {
		return err
	}
	c.app.ring(ctx)
	return nil
}

// AcceptRun stores that an execution is to be looked at; see remediation.Engine.
func (c callers) AcceptRun(ctx context.Context, ev remediation.RunEvent) error {
	if err := c.Engine.AcceptRun(ctx, ev); err != nil {
		return err
	}
	c.app.ring(ctx)
	return nil
}

// ring tells the function that works, by way of the queue, that work is due: in
// a function that answers requests nothing runs after the answer. That it fails
// is only logged, since the work is stored and the next tick finds it.
func (a *app) ring(ctx context.Context) {
	if a.settings.Lambda != lambdaHTTP {
		return
	}
	_, err := a.queue.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &a.settings.QueueURL, MessageBody: aws.String(events.Wake)})
	if err != nil {
		a.log.Error("the queue could not be told that work is due (sqs:SendMessage); the next tick does it", "error", err)
	}
}

// What the program is in Lambda, by SECBOT_LAMBDA.
const (
	lambdaEvents = "events" // takes events from SQS, SNS or EventBridge, and works
	lambdaHTTP   = "http"   // serves the routes through a function URL
	lambdaTick   = "tick"   // works off what is due, once a minute
)

// forLambda refuses settings with which a function would lose what it is given:
// each instance of one is a process of its own, with a disk that goes with it.
func (s *settings) forLambda() error {
	if !store.Shared(s.Store) {
		return fmt.Errorf("SECBOT_STORE is %q, which other functions can't see and which goes with this one: in Lambda it must be a table, dynamodb://TABLE", s.Store)
	}
	return nil
}

// lambda serves invocations until the runtime ends the process.
func (a *app) lambda(ctx context.Context) error {
	with := lambda.WithContext(ctx)
	switch a.settings.Lambda {
	case lambdaEvents:
		l := &events.Lambda{Handler: a.events, Work: a.engine.Drain}
		lambda.StartWithOptions(l.Invoke, with)
	case lambdaHTTP:
		if a.queue == nil {
			return errors.New("SECBOT_QUEUE_URL is not set: the function that answers Slack hands its work to that queue")
		}
		lambdaurl.Start(a.handler, with)
	case lambdaTick:
		lambda.StartWithOptions(a.engine.Drain, with)
	default:
		return fmt.Errorf("SECBOT_LAMBDA is %q: it must be %s, %s or %s", a.settings.Lambda, lambdaEvents, lambdaHTTP, lambdaTick)
	}
	return nil
}

// lack is a setting that is missing, and what comes of it.
type lack struct{ name, hint string }

// missing are the settings without which secbot can't do all of its work.
func (s *settings) missing(policy *remediation.Config) []lack {
	var all []lack
	without := func(is bool, name, hint string) {
		if is {
			all = append(all, lack{name, hint})
		}
	}
	without(s.SlackToken == "", "slack", "SLACK_BOT_TOKEN is not set: messages wait in the outbox until it is")
	without(s.SigningSecret == "" && s.AppToken == "", "signing secret",
		"SLACK_SIGNING_SECRET is not set, nor SLACK_APP_TOKEN (Socket Mode): clicks and commands are refused until one of them is")
	without(s.EventsToken == "" && s.QueueURL == "" && len(s.SNSTopics) == 0, "events",
		"SECBOT_EVENTS_TOKEN is not set, nor SECBOT_QUEUE_URL or SECBOT_SNS_TOPICS: no event can come until one of them is")
	without(policy.Channel == "", "channel", "SECBOT_CHANNEL is not set, nor a channel in secbot.yaml: messages have nowhere to go")
	without(len(policy.Responders) == 0, "responders", "SECBOT_RESPONDERS is not set, nor responders in secbot.yaml: nobody may decide")
	without(s.NoRegion && len(policy.Regions) == 0, "region",
		"AWS_REGION is not set, nor regions in secbot.yaml: scans look for security groups in "+awsenv.DefaultRegion+" alone")
	return all
}

// checks are what /readyz asks.
func (s *settings) checks(policy *remediation.Config, env *awsenv.AWS, slackNotifier *bot.Notifier, st remediation.Store, engine *remediation.Engine) map[string]server.Check {
	checks := map[string]server.Check{
		"store": st.Ping,
		"work":  engine.Ready,
		"aws":   explained(env.Check),
		"slack": slackNotifier.Check,
	}
	for _, what := range s.missing(policy) {
		checks[what.name] = func(context.Context) error { return errors.New(what.hint) }
	}
	return checks
}

// explained is a check whose error is for people.
func explained(check server.Check) server.Check {
	return func(ctx context.Context) error { return plainly(check(ctx)) }
}

// plainly gives an error of AWS the text that people are told.
func plainly(err error) error {
	if err == nil {
		return nil
	}
	if text := remediation.Explain(err); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// readOnlyEngine is an engine that judges and never acts: for scan and replay.
func (p *process) readOnlyEngine(ctx context.Context) (*remediation.Engine, error) {
	cfg, _, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	policy, err := p.settings.config("")
	if err != nil {
		return nil, err
	}
	env := awsenv.New(cfg, p.settings.member())
	return remediation.New(remediation.Options{Store: memory.New(), Provider: env, Config: policy, Enrich: env.Enrich, Log: p.log}), nil
}

// serve runs the engine, the HTTP server and the shell's socket until ctx ends
// or one of them fails.
func (a *app) serve(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.settings.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s (SECBOT_ADDR): %w", a.settings.Addr, err)
	}
	a.log.Info("secbot listens", "address", "http://"+l.Addr().String())
	return a.serveOn(ctx, l)
}

func (a *app) serveOn(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{
		func(ctx context.Context) error { return server.Serve(ctx, l, a.handler, a.log) },
		a.engine.Run,
	}
	if a.queue != nil {
		parts = append(parts, a.poller.Run)
	}
	if a.socket != nil {
		parts = append(parts, a.socket.Run)
	}
	if path, ok := store.Path(a.settings.Store); ok {
		shell, err := operator.Listen(ctx, path+".sock")
		if err != nil {
			return errors.Join(err, l.Close())
		}
		parts = append(parts, func(ctx context.Context) error {
			return server.Serve(ctx, shell, operator.Handler(a.desk(), a.log), a.log)
		})
	}
	return together(ctx, cancel, parts)
}

// together runs all parts; the first that ends ends the others.
func together(ctx context.Context, cancel func(), parts []func(context.Context) error) error {
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			defer cancel()
			if err := part(ctx); !errors.Is(err, context.Canceled) {
				errs[i] = err
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// names are what messages call things.
func names(policy *remediation.Config) bot.Names {
	return bot.Names{Metas: append(playbooks.Metas(), remediation.OwnRoleMeta()), Accounts: policy.Accounts}
}
