package fakeaws

import (
	"strings"
)

const snsNamespace = "http://sns.amazonaws.com/doc/2010-03-31/"

// topic is an SNS topic. Nobody is subscribed to it: Published tells what it got.
type topic struct{ arn string }

// Publication is one message that was published to a topic.
type Publication struct {
	Topic     string // ARN
	MessageID string
	Subject   string
	Message   string
	Caller    string // the publisher's ARN
}

func (a *AWS) snsService() *service {
	ops := map[string]*operation{
		"CreateTopic": {event: "CreateTopic", params: func(x *exchange) map[string]any { return map[string]any{"name": x.form.text("Name")} }, run: a.createTopic},
		"Publish":     {run: a.publish},
	}
	return &service{
		name: "sns", source: "sns.amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) {
			name, op := queryOperation(x, ops)
			x.Resource = x.form.text("TopicArn")
			return name, op
		},
		write: writeQuery(snsNamespace),
		fail:  failQuery(snsNamespace),
	}
}

func (a *AWS) createTopic(x *exchange) (*result, error) {
	name := x.form.text("Name")
	if name == "" || len(name) > 256 || strings.ContainsAny(name, ":/ ") {
		return nil, bad("InvalidParameter", "Invalid parameter: Topic Name")
	}
	arn := "arn:aws:sns:" + x.Region + ":" + x.caller.Account + ":" + name
	a.topics[arn] = &topic{arn}
	return &result{
		body: struct {
			TopicARN string `xml:"TopicArn"`
		}{arn},
		elements: map[string]any{"topicArn": arn},
	}, nil
}

func (a *AWS) publish(x *exchange) (*result, error) {
	arn, subject, message := x.form.text("TopicArn"), x.form.text("Subject"), x.form.text("Message")
	switch {
	case a.topics[arn] == nil:
		return nil, absent("NotFound", "Topic does not exist")
	case message == "":
		return nil, bad("InvalidParameter", "Invalid parameter: Empty message")
	case len(message) > 256<<10:
		return nil, bad("InvalidParameter", "Invalid parameter: Message too long")
	case len(subject) > 100 || strings.ContainsAny(subject, "\r\n"):
		return nil, bad("InvalidParameter", "Invalid parameter: Subject")
	}
	id := a.ids.uuid()
	a.published = append(a.published, Publication{arn, id, subject, message, x.Caller})
	return &result{body: struct {
		MessageID string `xml:"MessageId"`
	}{id}}, nil
}

// Published lists what was published so far, the oldest first.
func (a *AWS) Published() []Publication {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Publication(nil), a.published...)
}
