//go:build !lambda

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"secbot/internal/awsenv"
	"secbot/internal/deploy"
	"secbot/internal/doctor"
	"secbot/remediation"
)

// deployOptions are the flags of `secbot deploy`.
type deployOptions struct {
	stack, zip           string
	set                  []string // NAME=VALUE
	units, regions       []string // of an organisation
	member, destroy, yes bool
}

func deployCommand(p *process) *cobra.Command {
	var o deployOptions
	c := command("deploy", "Bring secbot up in an AWS account, or take it out again.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.deploy(ctx, o)
	})
	c.Long = c.Short + `

It shows what will change, asks, does it by CloudFormation, tells how it goes, says
what to paste into Slack and looks whether all is well. Run it again to change
something: what is not named stays as it is.

The Slack app's secrets are taken from SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET, the
channel and the responders from SECBOT_CHANNEL and SECBOT_RESPONDERS, the policy from
SECBOT_CONFIG or secbot.yaml, the external id of hub and members from SECBOT_EXTERNAL_ID.
` + parameterHelp()
	c.Flags().StringVar(&o.stack, "stack", "", "the `name` of the stack (secbot; with --member secbot-member)")
	c.Flags().StringVar(&o.zip, "zip", "", "the functions' zip or bootstrap, a `file` that make lambda has built (else this program itself)")
	c.Flags().StringArrayVar(&o.set, "set", nil, "a parameter of the stack, as `NAME=VALUE`; may be repeated")
	c.Flags().BoolVar(&o.member, "member", false, "another account or region, which sends its events to the hub")
	c.Flags().StringSliceVar(&o.units, "units", nil, "with --member: every account of these organisational `units` (ou-… or r-…), now and later, by a stack set")
	c.Flags().StringSliceVar(&o.regions, "regions", nil, "with --units: the `regions`, the one that makes the roles first (HomeRegion)")
	c.Flags().BoolVar(&o.destroy, "destroy", false, "take it out again")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

// deployment is one run of `secbot deploy`.
type deployment struct {
	p       *process
	o       deployOptions
	set     map[string]string // --set
	cfg     aws.Config
	account string
	stack   *deploy.Stack
	code    *deploy.Bucket
}

// deploy changes the account that the AWS SDK's environment names, after it has asked.
func (p *process) deploy(ctx context.Context, o deployOptions) error {
	d, err := p.newDeployment(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Account %s, region %s.\n\n", d.account, d.cfg.Region)
	switch {
	case o.destroy:
		err = d.destroy(ctx)
	case o.member:
		err = d.joinHub(ctx)
	default:
		err = d.hub(ctx)
	}
	if errors.Is(err, deploy.ErrRefused) {
		return &exitError{status: 1, text: "secbot: " + err.Error()}
	}
	return plainly(err)
}

func (p *process) newDeployment(ctx context.Context, o deployOptions) (*deployment, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	parsed, err := deploy.ParseTemplate(template(o.member))
	if err != nil {
		return nil, err
	}
	set, err := assignments(o.set, parsed)
	if err != nil {
		return nil, err
	}
	if !o.yes && !terminal(p) {
		return nil, errors.New("nobody can be asked, since standard input is no terminal: look at what it would do on one, or say --yes")
	}
	cfg, named, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	if !named {
		return nil, errors.New("AWS_REGION is not set: say where secbot is to run")
	}
	who, err := awsenv.New(cfg, awsenv.Member{}).Identity(ctx)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(o.stack, "secbot")
	if o.member {
		name = cmp.Or(o.stack, "secbot-member")
	}
	d := &deployment{p: p, o: o, set: set, cfg: cfg, account: who.Account}
	d.stack = &deploy.Stack{Client: cloudformation.NewFromConfig(cfg), Name: name, Template: parsed, Out: p.out, Ask: d.ask, Sleep: sleep, Now: time.Now}
	d.code = &deploy.Bucket{Name: fmt.Sprintf("%s-code-%s-%s", name, who.Account, cfg.Region), Account: who.Account, Region: cfg.Region,
		Client: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.HTTPClient = cfg.BaseEndpoint != nil, unhurried(cfg.HTTPClient) })}
	return d, nil
}

// unhurried is a client that has time to send a zip over a slow line.
func unhurried(c s3.HTTPClient) s3.HTTPClient {
	if client, ok := c.(*awshttp.BuildableClient); ok {
		return client.WithTimeout(15 * time.Minute)
	}
	return c
}

func terminal(p *process) bool {
	f, ok := p.in.(*os.File)
	return ok && isTerminal(f)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// ask takes yes for an answer, and everything else for no.
func (d *deployment) ask(question string) (bool, error) {
	if d.o.yes {
		return true, nil
	}
	fmt.Fprint(d.p.out, question+" Type yes: ")
	answer, err := bufio.NewReader(d.p.in).ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(answer) == "yes", nil
}

// hub brings up, or changes, what runs secbot.
func (d *deployment) hub(ctx context.Context) error {
	zip, arch, err := d.functions()
	if err != nil {
		return err
	}
	set := d.parameters()
	set["CodeBucket"], set["CodeKey"], set["Architecture"] = d.code.Name, deploy.Key(zip), arch
	out, err := d.stack.Apply(ctx, set, func(ctx context.Context) error {
		fmt.Fprintf(d.p.out, "\nThe functions' zip (%.1f MB) goes to the bucket %s.\n\n", float64(len(zip))/1e6, d.code.Name)
		return d.code.Upload(ctx, zip)
	})
	if err != nil {
		return err
	}
	has, err := d.stack.Parameters(ctx)
	if err != nil {
		return err
	}
	return d.afterwards(ctx, out, has)
}

// afterwards says what is to be done in Slack, and looks whether all is well with
// the parameters that the stack has, some of them perhaps from an earlier deployment.
func (d *deployment) afterwards(ctx context.Context, out deploy.Outputs, has map[string]string) error {
	url := strings.TrimSuffix(out["Url"], "/")
	s := *d.p.settings
	s.URL, s.Store, s.QueueURL, s.Secret = url, cmp.Or(out["Store"], s.Store), out["QueueUrl"], out["SecretArn"]
	s.Mode, s.Channel, s.Responders = has["Mode"], has["Channel"], has["Responders"]
	if url == "" {
		fmt.Fprintln(d.p.out, "\nThe stack does not say where its function is reached; look at its outputs.")
		return nil
	}
	if err := s.readSecret(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.p.out, `
secbot is reached at %s. In Slack, at https://api.slack.com/apps:

  commands       %[1]s/slack/commands
  interactivity  %[1]s/slack/interactions
  events         %[1]s/slack/events

`, url)
	if s.SlackToken == "" || s.SigningSecret == "" {
		fmt.Fprintf(d.p.out, `Next: make the app from what "secbot manifest --url %s" prints, install it, and run
"secbot deploy" again with its SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET.
`, url)
		return nil
	}
	fmt.Fprintf(d.p.out, `For commands at a shell:

  export SECBOT_STORE='%s' SECBOT_QUEUE_URL=%s SECBOT_SECRET=%s SECBOT_URL=%s

`, s.Store, s.QueueURL, s.Secret, url)
	return d.examine(ctx, &s, out["WorkerRoleArn"])
}

// examine is the doctor's look at what was deployed, with the functions' own role.
func (d *deployment) examine(ctx context.Context, s *settings, role string) error {
	e, err := s.examination(ctx, s.URL)
	if err != nil {
		return err
	}
	e.aws.Who = func(context.Context) (remediation.Identity, error) {
		return remediation.Identity{Account: d.account, ARN: role, RoleARN: role}, nil
	}
	// Notices by SNS go to the topic that the policy names, if any.
	notices := e.aws.On("sns:Publish", remediation.Identity{}) != ""
	e.aws.Actions = slices.DeleteFunc(e.aws.Actions, func(a string) bool { return a == "sns:Publish" && !notices })
	faults, err := doctor.Print(d.p.out, doctor.Run(ctx, e.checks()...), false)
	if err != nil || faults == 0 {
		return err
	}
	return &exitError{status: 1, text: fmt.Sprintf("secbot: it is deployed, but %d faults were found", faults)}
}

// joinHub brings up, or changes, what sends events to a hub.
func (d *deployment) joinHub(ctx context.Context) error {
	if id := d.p.settings.ExternalID; id != "" {
		d.set["ExternalId"] = id
	}
	if set := d.stackSet(); set != nil {
		d.set["HomeRegion"] = set.Regions[0]
		return set.Apply(ctx, d.set)
	}
	_, err := d.stack.Apply(ctx, d.set, func(context.Context) error { return nil })
	return err
}

// stackSet is the stack in many accounts; nil where it is to be in one.
func (d *deployment) stackSet() *deploy.StackSet {
	if len(d.o.units) == 0 {
		return nil
	}
	return &deploy.StackSet{Stack: d.stack, Units: d.o.units, Regions: d.o.regions}
}

// check refuses flags that don't go together.
func (o deployOptions) check() error {
	switch {
	case (len(o.units) > 0 || len(o.regions) > 0) && !o.member:
		return errors.New("--units and --regions are for members: say --member too")
	case (len(o.units) > 0) != (len(o.regions) > 0):
		return errors.New("--units and --regions need one another")
	}
	return nil
}

// destroy takes a hub or members out.
func (d *deployment) destroy(ctx context.Context) error {
	end := d.stack.Destroy
	if set := d.stackSet(); set != nil {
		end = func(ctx context.Context) ([]deploy.Kept, error) { return nil, set.Destroy(ctx) }
	}
	kept, err := end(ctx)
	if errors.Is(err, deploy.ErrNoStack) {
		return fmt.Errorf("the stack %s is not there (--stack, AWS_REGION): %w", d.stack.Name, err)
	}
	if err != nil {
		return err
	}
	if !d.o.member {
		if err := d.code.Remove(ctx); err != nil {
			return err
		}
		fmt.Fprintf(d.p.out, "  the bucket %s of the functions' zips is gone too\n", d.code.Name)
	}
	if len(kept) == 0 {
		return nil
	}
	fmt.Fprint(d.p.out, "\nThese stay, with what secbot remembers, its audit log among it. To remove them for good:\n\n")
	for _, k := range kept {
		fmt.Fprintf(d.p.out, "  %s\n", k.Remove())
	}
	return nil
}
