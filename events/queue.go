package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// SQSAPI is what a Queue uses of SQS.
type SQSAPI interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, opts ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput, opts ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, opts ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
}

const (
	// longPoll is how long one request waits for messages: half of what SQS
	// allows, and less than the client waits for the beginning of an answer.
	longPoll = 10 * time.Second
	// queueBatchSize is how many messages are asked for at once, the most that
	// SQS gives.
	queueBatchSize = 10
	// maxQueuePause bounds the pause after a failed request.
	maxQueuePause = time.Minute
)

// Queue polls an SQS queue and has the events in it stored. A message is
// deleted only once its signals are stored. One that can't be stored, or holds
// something that is no event, is left alone: SQS delivers it again, and moves it to the queue's
// dead-letter queue after as many times as its redrive policy says.
type Queue struct {
	*Handler
	Client SQSAPI
	URL    string
	// Visible is for how long a message that is being worked on stays hidden
	// from others, in whole seconds; it is extended at a third of that. 30 s
	// where 0.
	Visible time.Duration
	// Sleep waits between failed requests; a timer where nil.
	Sleep func(ctx context.Context, d time.Duration)

	last atomic.Pointer[error] // what came of the last request
}

// Check returns the error of the last request to the queue; nil before the first.
func (q *Queue) Check(context.Context) error {
	if err := q.last.Load(); err != nil {
		return *err
	}
	return nil
}

// Run polls until ctx ends, which is the error that it returns. Requests that
// fail are tried again, later and later.
func (q *Queue) Run(ctx context.Context) error {
	pause := time.Second
	for ctx.Err() == nil {
		err := q.poll(ctx)
		if ctx.Err() == nil {
			q.last.Store(&err)
		}
		if err == nil || ctx.Err() != nil {
			pause = time.Second
			continue
		}
		q.log().Error("the queue could not be read", "queue", q.URL, "again in", pause, "error", err)
		q.sleep(ctx, pause)
		pause = min(2*pause, maxQueuePause)
	}
	return ctx.Err()
}

func (q *Queue) sleep(ctx context.Context, d time.Duration) {
	if q.Sleep != nil {
		q.Sleep(ctx, d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// visible gives Visible in seconds.
func (q *Queue) visible() int32 { return int32(cmp.Or(q.Visible, 30*time.Second).Seconds()) }

// poll receives once and works on what came, all messages at the same time.
func (q *Queue) poll(ctx context.Context) error {
	out, err := q.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &q.URL, MaxNumberOfMessages: queueBatchSize, WaitTimeSeconds: int32(longPoll.Seconds()), VisibilityTimeout: q.visible(),
	})
	if err != nil {
		return fmt.Errorf("receive from the queue (sqs:ReceiveMessage): %w", err)
	}
	var working sync.WaitGroup
	for _, m := range out.Messages {
		working.Go(func() { q.work(context.WithoutCancel(ctx), m) })
	}
	working.Wait()
	return nil
}

// work stores one message's signals and deletes it. It isn't cut off when the
// process shall end: the store bounds how long it takes.
func (q *Queue) work(ctx context.Context, m types.Message) {
	stop := q.keepHidden(ctx, m)
	err := q.takeSafely(ctx, []byte(aws.ToString(m.Body)))
	stop()
	if err != nil {
		q.log().Error("a message of the queue was not taken; it will be delivered again", "message", aws.ToString(m.MessageId), "error", err)
		return
	}
	if _, err := q.Client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.URL, ReceiptHandle: m.ReceiptHandle}); err != nil {
		// It comes again, and its signals are known then.
		q.log().Warn("a message could not be deleted (sqs:DeleteMessage); it will be delivered again", "message", aws.ToString(m.MessageId), "error", err)
	}
}

// takeSafely is takeMessage for what would end the process at each delivery.
func (q *Queue) takeSafely(ctx context.Context, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			q.log().Error("a panic", "in", "a message of the queue", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	results, err := q.takeMessage(ctx, body)
	q.listen(ctx, results)
	return err
}

// keepHidden extends the message's visibility until the returned function is
// called.
func (q *Queue) keepHidden(ctx context.Context, m types.Message) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var extending sync.WaitGroup
	extending.Go(func() {
		t := time.NewTicker(time.Duration(q.visible()) * time.Second / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				q.extend(ctx, m)
			}
		}
	})
	return func() {
		cancel()
		extending.Wait()
	}
}

func (q *Queue) extend(ctx context.Context, m types.Message) {
	_, err := q.Client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.URL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: q.visible(),
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		q.log().Warn("a message's visibility could not be extended (sqs:ChangeMessageVisibility); it may be delivered twice", "message", aws.ToString(m.MessageId), "error", err)
	}
}

// Actions are the IAM actions for a queue: those of who works from it, among them
// sqs:GetQueueAttributes for Lambda's event source mapping, which uses the
// function's role, and sqs:SendMessage for the function that answers Slack and for a
// scan of several accounts.
func Actions() []string {
	return []string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"}
}
