package fakeaws

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// queue is an SQS queue, with what its redrive policy says.
type queue struct {
	arn        string
	messages   []*queued
	dead       string // the dead-letter queue's ARN; empty: none
	maxReceive int
}

// queued is a message in a queue.
type queued struct {
	id, body, receipt string
	visible           time.Time
	received          int
}

// sqsRequest has the members of all the requests that are covered.
type sqsRequest struct {
	QueueName           string
	QueueURL            string `json:"QueueUrl"`
	Attributes          map[string]string
	MessageBody         string
	Entries             []sqsEntry
	ReceiptHandle       string
	VisibilityTimeout   *int
	MaxNumberOfMessages int
	WaitTimeSeconds     int
}

// sqsEntry is one message of several.
type sqsEntry struct {
	ID          string `json:"Id"`
	MessageBody string
}

// defaultVisible is how long a received message is hidden where nobody says.
const defaultVisible = 30

// sqsService covers what a queue of events needs.
func (a *AWS) sqsService() *service {
	ops := map[string]*operation{
		"CreateQueue":             {run: a.createQueue},
		"SendMessage":             {run: a.onQueue(a.sendMessage)},
		"SendMessageBatch":        {run: a.onQueue(a.sendMessages)},
		"ReceiveMessage":          {run: a.onQueue(a.receiveMessages), wait: longPoll, ready: a.hasMessages},
		"DeleteMessage":           {run: a.onQueue(deleteMessage)},
		"ChangeMessageVisibility": {run: a.onQueue(changeVisibility)},
	}
	return a.jsonService("sqs", "application/x-amz-json-1.0", ops)
}

func longPoll(x *exchange) time.Duration {
	in, err := decodeJSON[sqsRequest](x)
	if err != nil {
		return 0 // the call itself refuses it
	}
	return time.Duration(min(in.WaitTimeSeconds, 20)) * time.Second
}

// hasMessages reports whether a ReceiveMessage has something to give.
func (a *AWS) hasMessages(x *exchange) bool {
	in, err := decodeJSON[sqsRequest](x)
	q := a.queueOf(in)
	if err != nil || q == nil {
		return true // the call itself refuses it
	}
	for _, m := range q.messages {
		if !m.visible.After(x.now) {
			return true
		}
	}
	return false
}

// queueOf finds a queue by its URL; nil where there is none.
func (a *AWS) queueOf(in sqsRequest) *queue {
	_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(in.QueueURL, "http://"), "https://"), "/")
	return a.queues["/"+path]
}

func (a *AWS) createQueue(x *exchange) (*result, error) {
	in, err := decodeJSON[sqsRequest](x)
	if err != nil {
		return nil, err
	}
	if in.QueueName == "" || strings.ContainsAny(in.QueueName, "/: ") {
		return nil, bad("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores.")
	}
	q := &queue{arn: "arn:aws:sqs:" + x.Region + ":" + x.caller.Account + ":" + in.QueueName}
	if policy := in.Attributes["RedrivePolicy"]; policy != "" {
		var redrive struct {
			DeadLetterTargetARN string `json:"deadLetterTargetArn"`
			MaxReceiveCount     int    `json:"maxReceiveCount"`
		}
		if err := json.Unmarshal([]byte(policy), &redrive); err != nil {
			return nil, bad("InvalidParameterValue", "RedrivePolicy is no JSON object with maxReceiveCount as a number")
		}
		q.dead, q.maxReceive = redrive.DeadLetterTargetARN, redrive.MaxReceiveCount
	}
	path := "/" + x.caller.Account + "/" + in.QueueName
	a.queues[path] = q
	return &result{body: map[string]string{"QueueUrl": "http://" + x.req.Host + path}}, nil
}

func (a *AWS) onQueue(run func(*exchange, *queue, sqsRequest) (*result, error)) func(*exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		in, err := decodeJSON[sqsRequest](x)
		if err != nil {
			return nil, err
		}
		q := a.queueOf(in)
		if q == nil {
			return nil, bad("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
		}
		x.Resource = q.arn
		return run(x, q, in)
	}
}

func (a *AWS) sendMessage(_ *exchange, q *queue, in sqsRequest) (*result, error) {
	if in.MessageBody == "" || len(in.MessageBody) > 1<<20 {
		return nil, bad("InvalidParameterValue", "The message must have a body of at most 1 MiB.")
	}
	m := &queued{id: a.ids.uuid(), body: in.MessageBody}
	q.messages = append(q.messages, m)
	return &result{body: map[string]string{"MessageId": m.id, "MD5OfMessageBody": bodyHash(m.body)}}, nil
}

func (a *AWS) sendMessages(x *exchange, q *queue, in sqsRequest) (*result, error) {
	if len(in.Entries) == 0 || len(in.Entries) > 10 {
		return nil, bad("com.amazonaws.sqs#TooManyEntriesInBatchRequest", "A batch has 1 to 10 messages.")
	}
	sent := []map[string]string{}
	for _, e := range in.Entries {
		in.MessageBody = e.MessageBody
		if _, err := a.sendMessage(x, q, in); err != nil {
			return nil, err
		}
		sent = append(sent, map[string]string{"Id": e.ID, "MessageId": q.messages[len(q.messages)-1].id, "MD5OfMessageBody": bodyHash(e.MessageBody)})
	}
	return &result{body: map[string]any{"Successful": sent, "Failed": []any{}}}, nil
}

// bodyHash is what SQS gives for checking, and the SDKs check.
func bodyHash(body string) string {
	sum := md5.Sum([]byte(body)) //nolint:gosec // SQS's own
	return hex.EncodeToString(sum[:])
}

func (a *AWS) receiveMessages(x *exchange, q *queue, in sqsRequest) (*result, error) {
	type message struct {
		MessageID     string `json:"MessageId"`
		ReceiptHandle string
		MD5OfBody     string
		Body          string
	}
	a.redrive(q, x.now)
	list := []message{}
	for _, m := range q.messages {
		if m.visible.After(x.now) || len(list) >= max(1, in.MaxNumberOfMessages) {
			continue
		}
		m.received++
		m.receipt = a.ids.uuid()
		m.visible = x.now.Add(hidden(in.VisibilityTimeout))
		list = append(list, message{m.id, m.receipt, bodyHash(m.body), m.body})
	}
	return &result{body: map[string]any{"Messages": list}}, nil
}

func hidden(seconds *int) time.Duration {
	if seconds == nil {
		return defaultVisible * time.Second
	}
	return time.Duration(*seconds) * time.Second
}

// redrive moves what was received too often to the dead-letter queue.
func (a *AWS) redrive(q *queue, now time.Time) {
	if q.dead == "" {
		return
	}
	var rest []*queued
	for _, m := range q.messages {
		if m.received < q.maxReceive || m.visible.After(now) {
			rest = append(rest, m)
			continue
		}
		for _, dead := range a.queues {
			if dead.arn == q.dead {
				dead.messages = append(dead.messages, &queued{id: m.id, body: m.body})
			}
		}
	}
	q.messages = rest
}

func deleteMessage(_ *exchange, q *queue, in sqsRequest) (*result, error) {
	for i, m := range q.messages {
		if m.receipt == in.ReceiptHandle {
			q.messages = append(q.messages[:i:i], q.messages[i+1:]...)
			break
		}
	}
	return &result{body: map[string]any{}}, nil // gone already is no error
}

func changeVisibility(x *exchange, q *queue, in sqsRequest) (*result, error) {
	for _, m := range q.messages {
		if m.receipt == in.ReceiptHandle {
			m.visible = x.now.Add(hidden(in.VisibilityTimeout))
			return &result{body: map[string]any{}}, nil
		}
	}
	return nil, bad("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
}

// Queued lists the bodies in a queue by its name, hidden ones too, in the order
// in which they came.
func (a *AWS) Queued(name string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var bodies []string
	if q := a.queues["/"+a.o.Account+"/"+name]; q != nil {
		for _, m := range q.messages {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

// jsonService is a service of the awsJson protocols.
func (a *AWS) jsonService(name, contentType string, ops map[string]*operation) *service {
	write := func(x *exchange, status int, v any) {
		x.w.Header().Set("Content-Type", contentType)
		x.w.Header().Set("x-amzn-RequestId", x.RequestID)
		x.w.WriteHeader(status)
		_ = json.NewEncoder(x.w).Encode(v) // the client has gone: nobody to tell
	}
	return &service{
		name: name, source: name + ".amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) {
			_, action, _ := strings.Cut(x.req.Header.Get("X-Amz-Target"), ".")
			return action, ops[action]
		},
		write: func(x *exchange, body any) { write(x, http.StatusOK, body) },
		fail: func(x *exchange, err *Error) {
			write(x, err.Status, map[string]string{"__type": err.Code, "message": err.Message})
		},
	}
}

func decodeJSON[T any](x *exchange) (T, error) {
	var in T
	if err := json.Unmarshal(x.body, &in); err != nil {
		return in, bad("SerializationException", "The request is no JSON object of the right shape")
	}
	return in, nil
}
