package events_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"secbot/events"
	"secbot/remediation"
)

// inSNS is what SNS puts into a queue.
func inSNS(t *testing.T, message string) string {
	t.Helper()
	return encoded(t, map[string]string{"Type": "Notification", "Message": message})
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestUnreadableIsNotAcknowledged: what is torn, and what is no event, is named in
// the answer, so that it ends in the dead-letter queue; what secbot only does not
// answer is not, and the events beside it are stored.
func TestUnreadableIsNotAcknowledged(t *testing.T) {
	for name, tt := range map[string]struct {
		body     string
		fails    bool
		accepted int
	}{
		"an event":                   {portOpened, false, 1},
		"an event in SNS":            {inSNS(t, portOpened), false, 1},
		"the wake":                   {events.Wake, false, 0},
		"another kind":               {`{"detail-type":"x","detail":{}}`, false, 0},
		"another kind, with text":    {`{"detail-type":"x","detail":"text"}`, false, 0},
		"another call":               {`{"detail-type":"AWS API Call via CloudTrail","detail":{"eventName":"RunInstances","eventSource":"ec2.amazonaws.com"}}`, false, 0},
		"of SNS's own":               {`{"Type":"UnsubscribeConfirmation","Message":"You have chosen"}`, false, 0},
		"an empty log file":          {`{"Records":[]}`, false, 0},
		"not JSON":                   {"torn {", true, 0},
		"torn in SNS":                {inSNS(t, portOpened[:400]), true, 0},
		"any object":                 {`{"hello":1}`, true, 0},
		"any object in SNS":          {inSNS(t, `{"hello":1}`), true, 0},
		"a call that is text":        {`{"detail-type":"AWS API Call via CloudTrail","source":"aws.ec2","detail":"torn"}`, true, 0},
		"a call without its name":    {`{"detail-type":"AWS API Call via CloudTrail","source":"aws.ec2","detail":{}}`, true, 0},
		"an evaluation that is text": {`{"detail-type":"Config Rules Compliance Change","source":"aws.config","detail":"torn"}`, true, 0},
		"without a kind":             {`{"detail":{"a":1}}`, true, 0},
		"torn beside an event":       {`{"Records":[` + portOpened + `,7]}`, true, 1},
		"records that are none":      {`{"Records":7}`, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			accepted, worked := 0, 0
			l := &events.Lambda{Work: func(context.Context) error { worked++; return nil },
				Handler: &events.Handler{Accept: func(_ context.Context, sigs []remediation.Signal) error { accepted += len(sigs); return nil }}}
			batch := encoded(t, map[string]any{"Records": []any{map[string]any{"messageId": "m", "eventSource": "aws:sqs", "body": tt.body}}})
			got, err := l.Invoke(t.Context(), json.RawMessage(batch))
			if err != nil {
				t.Fatal(err)
			}
			var want []lambdaevents.SQSBatchItemFailure
			if tt.fails {
				want = append(want, lambdaevents.SQSBatchItemFailure{ItemIdentifier: "m"})
			}
			if answer, ok := got.(lambdaevents.SQSEventResponse); !ok || !slices.Equal(answer.BatchItemFailures, want) {
				t.Errorf("the answer is %+v, want the failures %v", got, want)
			}
			if accepted != tt.accepted || worked != 1 {
				t.Errorf("%d accepted, want %d; worked %d times", accepted, tt.accepted, worked)
			}
		})
	}
}

// TestUnreadableInvocation: directly, it is an error, which Lambda tries again and
// hands to the function's own dead-letter queue. What is beside it is worked off.
func TestUnreadableInvocation(t *testing.T) {
	accepted, worked := 0, 0
	l := &events.Lambda{Work: func(context.Context) error { worked++; return nil },
		Handler: &events.Handler{Accept: func(_ context.Context, sigs []remediation.Signal) error { accepted += len(sigs); return nil }}}
	sns := func(message string) any { return map[string]any{"Sns": map[string]any{"Message": message}} }
	raw := encoded(t, map[string]any{"Records": []any{sns(portOpened[:400]), sns(portOpened)}})
	if got, err := l.Invoke(t.Context(), json.RawMessage(raw)); err == nil || accepted != 1 || worked != 1 {
		t.Errorf("%v, %v; %d accepted, worked %d times", got, err, accepted, worked)
	}
}

// TestHeardLast: that a source is heard is written down after what it told is worked
// off.
func TestHeardLast(t *testing.T) {
	var order []string
	l := &events.Lambda{Work: func(context.Context) error { order = append(order, "work"); return nil },
		Handler: &events.Handler{
			Accept: func(context.Context, []remediation.Signal) error { order = append(order, "store"); return nil },
			Heard: func(_ context.Context, s ...remediation.Source) {
				order = append(order, "hear "+string(s[0]))
			},
		}}
	if _, err := l.Invoke(t.Context(), json.RawMessage(portOpened)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"store", "work", "hear cloudtrail"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
}
