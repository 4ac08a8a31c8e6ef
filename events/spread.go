package events

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// SendAPI is what Spread uses of SQS.
type SendAPI interface {
	SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, opts ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

// Spread sends a queue one AccountScan for each job, as many at once as SQS takes.
// After an error some may have been sent: to send all again does no harm.
func Spread(ctx context.Context, client SendAPI, url string, jobs []string) error {
	for part := range slices.Chunk(jobs, queueBatchSize) {
		in := &sqs.SendMessageBatchInput{QueueUrl: &url}
		for i, job := range part {
			body, err := AccountScan(job)
			if err != nil {
				return err
			}
			in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &body})
		}
		out, err := client.SendMessageBatch(ctx, in)
		if err != nil {
			return fmt.Errorf("send to the queue (sqs:SendMessage): %w", err)
		}
		if len(out.Failed) > 0 {
			return fmt.Errorf("send to the queue: %d of %d messages were not taken, the first because of %s: %s",
				len(out.Failed), len(part), aws.ToString(out.Failed[0].Code), aws.ToString(out.Failed[0].Message))
		}
	}
	return nil
}
