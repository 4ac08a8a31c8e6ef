package events

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"

	lambdaevents "github.com/aws/aws-lambda-go/events"
)

// Lambda takes what invokes a Lambda function: a batch of SQS, messages of SNS,
// or one event of EventBridge. Its signals are stored; then Work, where it is
// set, works them off within the invocation, since nothing runs after it.
//
// For SQS the answer names the messages that could not be stored or that hold
// something that is no event (lambdaevents.SQSEventResponse, for an event source mapping with
// ReportBatchItemFailures): SQS delivers those again and in the end moves them
// to its dead-letter queue. For the others such a thing is an error, which
// Lambda answers with a retry. That Work fails is only logged: the signals are
// stored, and whoever comes next takes them up.
type Lambda struct {
	*Handler
	Work func(ctx context.Context) error
}

// Invoke implements the handler of lambda.Start.
func (l *Lambda) Invoke(ctx context.Context, raw json.RawMessage) (any, error) {
	answer, results, err := l.takeAll(ctx, raw)
	defer l.listen(ctx, results) // a hole is closed first
	if l.Work != nil {           // also where only a part could be read
		if err := l.Work(ctx); err != nil {
			l.log().Error("due work could not be done in this invocation; the next takes it up", "error", err)
		}
	}
	return answer, err
}

func (l *Lambda) takeAll(ctx context.Context, raw json.RawMessage) (_ any, results []Result, err error) {
	batch, ok := queueBatch(raw)
	if !ok {
		results, err = l.takeMessage(ctx, raw)
		return nil, results, err
	}
	answer := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	for _, m := range batch {
		found, err := l.takeMessage(ctx, []byte(m.Body))
		results = append(results, found...)
		if err != nil {
			l.log().Error("a message of the queue was not taken; it will be delivered again", "message", m.MessageId, "error", err)
			answer.BatchItemFailures = append(answer.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return answer, results, nil
}

// queueBatch reads a batch of SQS; false for everything else.
func queueBatch(raw json.RawMessage) ([]lambdaevents.SQSMessage, bool) {
	var batch lambdaevents.SQSEvent
	if err := json.Unmarshal(raw, &batch); err != nil || len(batch.Records) == 0 {
		return nil, false
	}
	for _, m := range batch.Records {
		if m.EventSource != "aws:sqs" || m.MessageId == "" {
			return nil, false
		}
	}
	return batch.Records, true
}

// Wake is the body of a message that says only that work is due.
const Wake = `{"detail-type":"secbot work is due","source":"secbot","detail":{}}`

// accountScan is a message that says which job scans an account.
type accountScan struct {
	DetailType string        `json:"detail-type"`
	Source     string        `json:"source"`
	Detail     accountDetail `json:"detail"`
}

type accountDetail struct {
	Job string `json:"job"`
}

const accountScanType = "secbot account scan"

// AccountScan is the body of a message that has the scan of an account begin, by the
// id of its job.
func AccountScan(job string) (string, error) {
	raw, err := json.Marshal(accountScan{DetailType: accountScanType, Source: "secbot", Detail: accountDetail{Job: job}})
	if err != nil {
		return "", fmt.Errorf("encode the message about %s: %w", job, err)
	}
	return string(raw), nil
}

// accountJob is the job of such a message; false for every other.
func accountJob(raw []byte) (job string, ok bool) {
	var m accountScan
	if err := json.Unmarshal(raw, &m); err != nil || m.DetailType != accountScanType || m.Source != "secbot" || m.Detail.Job == "" {
		return "", false
	}
	return m.Detail.Job, true
}

// takeMessage stores what one message holds, and gives that for listen. Where a part of it can't be read the
// others are stored, and it is an error: whoever looks into the dead-letter queue
// shall find it.
func (h *Handler) takeMessage(ctx context.Context, raw []byte) (results []Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			h.log().Error("the reading of a message panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	if string(raw) == Wake {
		return nil, nil
	}
	if job, ok := accountJob(raw); ok && h.Begin != nil {
		return nil, h.Begin(ctx, job)
	}
	if results, err = Decode(raw); err != nil {
		return nil, err
	}
	if _, err := h.accept(ctx, results); err != nil {
		return results, fmt.Errorf("the signals were not stored: %w", err)
	}
	if i := slices.IndexFunc(results, func(r Result) bool { return r.Unreadable }); i >= 0 {
		return results, fmt.Errorf("it can't be read: %s", results[i].Skipped)
	}
	return results, nil
}
