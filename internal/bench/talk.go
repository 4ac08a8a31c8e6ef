package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"secbot/internal/demo"
	"secbot/internal/faketable"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation/store/dynamo"
)

const (
	coldStarts = 10
	// warmEvents, with the cold starts, stay below what the circuit breaker lets
	// through.
	warmEvents = 15
)

// measureTalk is secbot as a Lambda function against the talk's, in Python with
// boto3, both on the same stand-ins, which take no time on purpose. secbot also
// stores each event, reads the live state and tells Slack.
func measureTalk(ctx context.Context, b *bench) error {
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	return errors.Join(b.talk(ctx, l), l.close())
}

func (b *bench) talk(ctx context.Context, l *lab) error {
	program, err := b.build(ctx, lambdaTags)
	if err != nil {
		return err
	}
	script, err := filepath.Abs("internal/bench/talk/bootstrap.py")
	if err != nil {
		return err
	}
	secbot := &function{name: "secbot", program: program}
	talk := &function{name: "the talk's handler", program: b.python, args: []string{script}}
	// The first start on a table also adds what is scheduled, once for all.
	if err := b.lambda(ctx, l, &function{program: program}, 1); err != nil {
		return fmt.Errorf("secbot, on a new table: %w", err)
	}
	for range coldStarts {
		for _, f := range []*function{secbot, talk} {
			if err := b.lambda(ctx, l, f, 1); err != nil {
				return fmt.Errorf("%s, cold: %w", f.name, err)
			}
		}
	}
	for _, f := range []*function{secbot, talk} {
		if err := b.lambda(ctx, l, f, 1+warmEvents); err != nil {
			return fmt.Errorf("%s, warm: %w", f.name, err)
		}
	}
	b.report.columns("", "cold: process start to mitigated", "warm: event to mitigated", "peak memory")
	for _, f := range []*function{secbot, talk} {
		b.report.row(f.name, ms(median(f.cold)), ms(median(f.warm)), mib(f.peak))
	}
	fmt.Fprintln(b.report.out)
	b.report.goals()
	b.report.atMost("cold start ÷ the talk's", ratio(median(secbot.cold), median(talk.cold)), 1.0/20, "%.3f")
	b.report.atMost("warm event ÷ the talk's", ratio(median(secbot.warm), median(talk.warm)), 1.0/3, "%.2f")
	b.report.atMost("peak memory ÷ the talk's", ratio(secbot.peak, talk.peak), 1.0/3, "%.2f")
	return nil
}

// function is a Lambda function, and how long it took until the mitigating call
// came.
type function struct {
	name       string
	program    string
	args       []string
	cold, warm []time.Duration
	peak       int64
}

// lambda starts the function and gives it so many events, each of another group.
func (b *bench) lambda(ctx context.Context, l *lab, f *function, events int) error {
	event, err := l.open(ctx)
	if err != nil {
		return err
	}
	api := newRuntimeAPI()
	defer api.close()
	p, err := b.start(ctx, append(l.env(), "AWS_LAMBDA_RUNTIME_API="+api.addr()), f.program, f.args...)
	if err != nil {
		return err
	}
	defer p.stop()
	for i := range events {
		if i > 0 {
			if event, err = l.open(ctx); err != nil {
				return err
			}
		}
		handed, err := api.hand(ctx, event)
		if err == nil {
			err = f.took(ctx, l, i == 0, p.began, handed)
		}
		if err = errors.Join(err, api.answered(ctx)); err != nil {
			return fmt.Errorf("%w\n%s", err, tail(p.errOut.Bytes()))
		}
	}
	f.peak = max(f.peak, p.peak())
	return nil
}

func (f *function) took(ctx context.Context, l *lab, first bool, began, handed time.Time) error {
	select {
	case at := <-l.mitigated:
		if first {
			f.cold = append(f.cold, at.Sub(began))
		} else {
			f.warm = append(f.warm, at.Sub(handed))
		}
		return nil
	case <-time.After(startPatience):
		return errLate
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lab is the stand-ins, and an engineer who opens groups to the world.
type lab struct {
	sb        *sandbox.Sandbox
	world     *demo.World
	table     *faketable.AWS
	tables    *httptest.Server
	topic     string
	made      int
	mitigated chan time.Time // when a call came that revokes
}

func newLab(ctx context.Context) (*lab, error) {
	sb, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		return nil, err
	}
	l := &lab{sb: sb, table: faketable.New(), mitigated: make(chan time.Time, 1)}
	l.tables = httptest.NewServer(l.table)
	l.table.URL = l.tables.URL
	if l.world, err = demo.NewWorld(ctx, sb, nil, &demo.Clock{}); err != nil {
		return nil, errors.Join(err, l.close())
	}
	topic, err := sns.NewFromConfig(demo.AWSConfig(sb)).CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("bench")})
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.topic = *topic.TopicArn
	if err := dynamo.New(l.table.Config(), dynamo.Options{Table: "secbot"}).CreateTable(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	sb.AWS.AddCaller("AKIABENCH", fakeaws.Caller{Role: "secbot", Session: "bench"})
	sb.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "RevokeSecurityGroupIngress" {
			l.mitigated <- time.Now()
		}
		return nil
	})
	return l, nil
}

func (l *lab) close() error {
	l.tables.Close()
	return l.sb.Close()
}

// env is that of a function.
func (l *lab) env() []string {
	return []string{"AWS_ENDPOINT_URL=" + l.sb.AWSURL, "AWS_ENDPOINT_URL_DYNAMODB=" + l.tables.URL, "AWS_REGION=" + l.sb.AWS.Region(), "AWS_DEFAULT_REGION=" + l.sb.AWS.Region(),
		"AWS_ACCESS_KEY_ID=AKIABENCH", "AWS_SECRET_ACCESS_KEY=s", "SNS_TOPIC_ARN=" + l.topic,
		"SECBOT_LAMBDA=events", "SECBOT_STORE=dynamodb://secbot", "SECBOT_CHANNEL=" + fakeslack.ChannelSecurity, "SECBOT_RESPONDERS=" + fakeslack.Alice,
		"SLACK_API_URL=" + l.sb.Slack.APIURL(), "SLACK_BOT_TOKEN=" + l.sb.Slack.Token(), "SLACK_SIGNING_SECRET=" + l.sb.Slack.Secret()}
}

// open makes a group and opens it to the world; the event tells of it.
func (l *lab) open(ctx context.Context) ([]byte, error) {
	l.made++
	out, err := l.world.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("bench-", l.made)), Description: aws.String("d")})
	if err != nil {
		return nil, fmt.Errorf("make a group: %w", err)
	}
	if err := l.world.Break(ctx, "ssh", *out.GroupId); err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	l.sb.AWS.Flush()
	return l.sb.LastEvent("AuthorizeSecurityGroupIngress"), nil
}
