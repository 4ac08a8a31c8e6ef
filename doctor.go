//go:build !lambda

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"secbot/bot"
	"secbot/internal/awsenv"
	"secbot/internal/doctor"
	"secbot/internal/operator"
	"secbot/remediation"
	"secbot/remediation/store"
)

func doctorCommand(p *process) *cobra.Command {
	var at string
	var asJSON bool
	c := command("doctor", "Look for what is missing or wrong, and say how to mend it. Changes nothing.", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.doctor(ctx, at, asJSON)
	})
	c.Long = c.Short + "\n\nRun it with the server's environment. The exit status is 1 where something is wrong."
	c.Flags().StringVar(&at, "url", "", "where the server runs, as `https://HOST`, to try the secrets on it (SECBOT_URL)")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

// doctor exits with 1 where it has found a fault.
func (p *process) doctor(ctx context.Context, at string, asJSON bool) error {
	if err := p.settings.readSecret(ctx); err != nil {
		return err
	}
	e, err := p.settings.examination(ctx, cmp.Or(at, p.settings.URL))
	if err != nil {
		return err
	}
	faults, err := doctor.Print(p.out, doctor.Run(ctx, e.checks()...), asJSON)
	switch {
	case err != nil:
		return err
	case faults == 1:
		return &exitError{status: 1, text: "secbot: 1 fault was found"}
	case faults > 0:
		return &exitError{status: 1, text: fmt.Sprintf("secbot: %d faults were found", faults)}
	}
	return nil
}

// examination is all that the doctor looks at.
type examination struct {
	own    []doctor.Check // configuration and store
	slack  *doctor.Slack
	server *doctor.Server
	aws    *doctor.AWS
}

// checks are in the order in which the doctor tells.
func (e *examination) checks() []doctor.Check {
	return append(slices.Clone(e.own), e.slack.Check, e.server.Check, e.aws.Check)
}

func (s *settings) examination(ctx context.Context, at string) (*examination, error) {
	cfg, named, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	policy, policyErr := s.config("")
	api := bot.NewClient(s.SlackToken, s.SlackAPI, nil)
	slackSide := &doctor.Slack{Client: api, Token: s.SlackToken, AppToken: s.AppToken, APIURL: s.SlackAPI, Policy: policy,
		People: bot.NewDirectory(api, time.Now)}
	server := &doctor.Server{URL: at, SigningSecret: s.SigningSecret, EventsToken: s.EventsToken, QueueURL: s.QueueURL, Topics: s.SNSTopics,
		Socket: s.AppToken != "", StandIn: s.SlackAPI != "", Now: time.Now, Client: &http.Client{Timeout: 10 * time.Second}}
	awsSide := &doctor.AWS{Config: cfg, Who: awsenv.New(cfg, s.member()).Identity, Actions: s.actions(), On: s.on(policy, cfg.Region), QueueURL: s.QueueURL}
	if !named && (policy == nil || len(policy.Regions) == 0) {
		awsSide.NoRegion = "AWS_REGION is not set, nor regions in secbot.yaml: scans look for security groups in " + awsenv.DefaultRegion + " alone"
	}
	own := []doctor.Check{
		func(context.Context) []doctor.Result { return []doctor.Result{configResult(policy, policyErr)} },
		func(ctx context.Context) []doctor.Result { return []doctor.Result{s.storeResult(ctx, cfg)} },
	}
	return &examination{own: own, slack: slackSide, server: server, aws: awsSide}, nil
}

func configResult(policy *remediation.Config, err error) doctor.Result {
	const what = "configuration"
	switch {
	case err != nil:
		return doctor.Result{Check: what, Status: doctor.Fault, Found: strings.Join(strings.Fields(err.Error()), " "), Mend: "mend it, and look with `secbot config check`"}
	case policy.File == "":
		return doctor.Result{Check: what, Status: doctor.OK, Found: "there is no " + defaultConfigFile + ", so the built-in rules hold; mode " + string(policy.Mode)}
	}
	return doctor.Result{Check: what, Status: doctor.OK, Found: policy.File + " is in order; mode " + string(policy.Mode)}
}

// storeResult says whether the store can be reached. A file that isn't there is not
// made.
func (s *settings) storeResult(ctx context.Context, cfg aws.Config) doctor.Result {
	r := doctor.Result{Check: "store", Status: doctor.OK}
	fail := func(err error) doctor.Result {
		r.Status, r.Found, r.Mend = doctor.Fault, remediation.Explain(err), "let SECBOT_STORE name one that secbot may use"
		return r
	}
	if path, ok := store.Path(s.Store); ok {
		if err := operator.Ask(ctx, path+".sock", operator.Request{Name: "incidents", Limit: 1}, io.Discard); err == nil {
			r.Found = "a running server has " + path + " open"
			return r
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			dir, err := os.Stat(filepath.Dir(path))
			if err != nil {
				return fail(err)
			}
			if !dir.IsDir() || dir.Mode().Perm()&0o222 == 0 {
				return fail(fmt.Errorf("%s can't be written to", filepath.Dir(path)))
			}
			r.Found = path + " will be made when the server starts"
			return r
		}
	}
	st, err := store.Open(s.Store, func() (aws.Config, error) { return cfg, nil })
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(st.Ping(ctx), st.Close()); err != nil {
		return fail(err)
	}
	r.Found = s.Store + " can be reached"
	return r
}

// on is the ARN of what an action is used on, where that is one thing: policies may
// allow it on that alone.
func (s *settings) on(policy *remediation.Config, region string) func(action string, id remediation.Identity) string {
	return func(action string, id remediation.Identity) string {
		service, _, _ := strings.Cut(action, ":")
		partition := "aws"
		if parts := strings.Split(id.ARN, ":"); len(parts) > 1 {
			partition = parts[1]
		}
		storeURL, err := url.Parse(s.Store)
		switch {
		case service == "sns" && policy != nil:
			return policy.Notify.SNSTopicARN
		case service == "sts":
			return "arn:" + partition + ":iam::" + id.Account + ":role/" + s.MemberRole
		case service == "sqs":
			return queueARN(partition, region, s.QueueURL)
		case err != nil:
		case service == "dynamodb":
			return "arn:" + partition + ":dynamodb:" + region + ":" + id.Account + ":table/" + storeURL.Host
		case action == "s3:GetObject" || action == "s3:PutObject":
			return "arn:" + partition + ":s3:::" + storeURL.Query().Get("bucket") + "/x"
		}
		return ""
	}
}

// queueARN reads the ARN out of a queue's URL,
// https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; empty for another kind.
func queueARN(partition, region, queue string) string {
	u, err := url.Parse(queue)
	if err != nil {
		return ""
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) != 2 {
		return ""
	}
	if host := strings.Split(u.Host, "."); len(host) > 2 && host[0] == "sqs" {
		region = host[1]
	}
	return "arn:" + partition + ":sqs:" + region + ":" + parts[0] + ":" + parts[1]
}
