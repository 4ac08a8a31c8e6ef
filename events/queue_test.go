package events_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"secbot/events"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// postOffice is SQS in the stand-in, with a queue and its dead-letter queue.
type postOffice struct {
	*sqs.Client
	aws      *fakeaws.AWS
	url      string
	now      atomic.Int64 // seconds
	received func()       // called before each request for messages; may be nil
	extended func()       // called after each extension; may be nil
}

func newPostOffice(t *testing.T) *postOffice {
	p := &postOffice{}
	p.now.Store(1_750_000_000)
	p.aws = fakeaws.New(fakeaws.Options{Now: func() time.Time { return time.Unix(p.now.Load(), 0) }})
	srv := httptest.NewServer(p.aws)
	t.Cleanup(srv.Close)
	p.Client = sqs.New(sqs.Options{BaseEndpoint: &srv.URL, Region: fakeaws.DefaultRegion,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", "")})
	p.create(t, "dead", nil)
	p.url = p.create(t, "events", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:` + fakeaws.DefaultRegion + `:` + fakeaws.DefaultAccount + `:dead","maxReceiveCount":3}`})
	return p
}

func (p *postOffice) create(t *testing.T, name string, attributes map[string]string) string {
	t.Helper()
	q, err := p.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *q.QueueUrl
}

func (p *postOffice) send(t *testing.T, body string) {
	t.Helper()
	if _, err := p.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &p.url, MessageBody: &body}); err != nil {
		t.Fatal(err)
	}
}

func (p *postOffice) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, opts ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if p.received != nil {
		p.received()
	}
	in.WaitTimeSeconds = 0 // waiting would be in real time
	return p.Client.ReceiveMessage(ctx, in, opts...)
}

func (p *postOffice) ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, opts ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	out, err := p.Client.ChangeMessageVisibility(ctx, in, opts...)
	if err == nil && p.extended != nil {
		p.extended()
	}
	return out, err
}

const portOpened = `{"version":"0","id":"6f3f5d5e-0000-4000-8000-000000000001","detail-type":"AWS API Call via CloudTrail","source":"aws.ec2",
"account":"111122223333","time":"2026-03-01T12:00:00Z","region":"us-east-1","resources":[],
"detail":{"eventVersion":"1.08","eventSource":"ec2.amazonaws.com","eventName":"AuthorizeSecurityGroupIngress","eventID":"e-1","awsRegion":"us-east-1",
"recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann","accountId":"111122223333"},
"requestParameters":{"groupId":"sg-0123456789abcdef0","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},
"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]},"ipv6Ranges":{},"prefixListIds":{}}]}},"responseElements":{"_return":true}}}`

// TestQueueDeadLetters: what can't be stored at first is delivered again and
// stored once, what is no event ends in the dead-letter queue, and the queue is
// empty in the end.
func TestQueueDeadLetters(t *testing.T) {
	p := newPostOffice(t)
	p.send(t, portOpened)
	p.send(t, "no event at all")
	p.send(t, events.Wake)
	torn := inSNS(t, portOpened[:400])
	p.send(t, torn)
	p.send(t, `{"detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","detail":{}}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rounds := 0
	p.received = func() {
		p.now.Add(31) // what is left alone is visible again
		if rounds++; rounds > 10 {
			cancel()
		}
	}
	var stored []remediation.Signal
	tries := 0
	q := &events.Queue{Client: p, URL: p.url, Sleep: func(context.Context, time.Duration) {},
		Handler: &events.Handler{Accept: func(_ context.Context, sigs []remediation.Signal) error {
			switch tries++; tries {
			case 1:
				panic("a store without a floor")
			case 2:
				return errors.New("the store is away")
			}
			stored = append(stored, sigs...)
			return nil
		}}}
	if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := q.Check(t.Context()); err != nil {
		t.Errorf("the queue is read, and its check says %v", err)
	}
	if len(stored) != 1 || stored[0].Resource.ID != "sg-0123456789abcdef0" {
		t.Errorf("stored %+v", stored)
	}
	if left := p.aws.Queued("events"); len(left) != 0 {
		t.Errorf("left in the queue: %q", left)
	}
	dead := p.aws.Queued("dead")
	if slices.Sort(dead); !slices.Equal(dead, []string{"no event at all", torn}) {
		t.Errorf("in the dead-letter queue: %q", dead)
	}
}

// TestQueueSurvivesPanics: a message that breaks something ends in the dead-letter
// queue, and nothing else ends.
func TestQueueSurvivesPanics(t *testing.T) {
	p := newPostOffice(t)
	p.send(t, portOpened)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rounds := 0
	p.received = func() {
		p.now.Add(31)
		if rounds++; rounds > 10 {
			cancel()
		}
	}
	q := &events.Queue{Client: p, URL: p.url, Handler: &events.Handler{Accept: func(context.Context, []remediation.Signal) error {
		panic("an event that nobody thought of")
	}}}
	if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if dead := p.aws.Queued("dead"); len(dead) != 1 {
		t.Errorf("in the dead-letter queue: %q", dead)
	}
}

// TestQueueKeepsWhatItWorksOnHidden for as long as the store takes.
func TestQueueKeepsWhatItWorksOnHidden(t *testing.T) {
	p := newPostOffice(t)
	p.send(t, portOpened)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	twice := make(chan struct{})
	var once sync.Once
	var n atomic.Int32
	p.extended = func() {
		if n.Add(1) >= 2 {
			once.Do(func() { close(twice) })
		}
	}
	q := &events.Queue{Client: p, URL: p.url, Visible: time.Second,
		Handler: &events.Handler{Accept: func(context.Context, []remediation.Signal) error {
			<-twice
			cancel()
			return nil
		}}}
	if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if left := p.aws.Queued("events"); len(left) != 0 {
		t.Errorf("what was under way when the end came is left: %q", left)
	}
}

// TestQueueSurvivesFailedRequests, pausing longer each time, a minute at most.
func TestQueueSurvivesFailedRequests(t *testing.T) {
	p := newPostOffice(t)
	gone := p.url + "-gone"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pauses []time.Duration
	var q *events.Queue
	q = &events.Queue{Client: p, URL: gone, Handler: &events.Handler{}, Sleep: func(ctx context.Context, d time.Duration) {
		if q.Check(ctx) == nil {
			t.Error("the queue can't be read, and its check is fine")
		}
		if pauses = append(pauses, d); len(pauses) == 8 {
			cancel()
		}
	}}
	if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if pauses[0] != time.Second || pauses[1] != 2*time.Second || pauses[7] != time.Minute {
		t.Errorf("pauses: %v", pauses)
	}
}

var _ events.SQSAPI = (*postOffice)(nil)
