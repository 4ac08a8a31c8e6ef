package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

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

// TestAccountScanIsBegun: a message about an account is acknowledged once its scan is
// stored to begin; SQS delivers it again where that fails. In another's envelope it is
// no order.
func TestAccountScanIsBegun(t *testing.T) {
	body, err := events.AccountScan("scan-account/s/111122223333")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		body  string
		fail  error
		begun []string
		fails bool
	}{
		"a message":             {body: body, begun: []string{"scan-account/s/111122223333"}},
		"one that can't begin":  {body: body, fail: errors.New("the store is away"), begun: []string{"scan-account/s/111122223333"}, fails: true},
		"by another source":     {body: strings.Replace(body, `"source":"secbot"`, `"source":"aws.ec2"`, 1)},
		"in a message of SNS's": {body: inSNS(t, body)},
		"without a job":         {body: strings.Replace(body, "scan-account/s/111122223333", "", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			var begun []string
			l := &events.Lambda{Handler: &events.Handler{Accept: func(context.Context, []remediation.Signal) error { return nil },
				Begin: func(_ context.Context, job string) error { begun = append(begun, job); return tt.fail }}}
			got, err := l.Invoke(t.Context(), json.RawMessage(encoded(t, map[string]any{"Records": []any{map[string]any{"messageId": "m", "eventSource": "aws:sqs", "body": tt.body}}})))
			if err != nil {
				t.Fatal(err)
			}
			if answer, ok := got.(lambdaevents.SQSEventResponse); !ok || (len(answer.BatchItemFailures) == 1) != tt.fails || !slices.Equal(begun, tt.begun) {
				t.Errorf("begun %q, and the answer is %+v", begun, got)
			}
		})
	}
}

// sender is SQS, of which each batch fails for what fails says.
type sender struct {
	bodies []string
	most   int
	fail   func(i int) bool
}

func (s *sender) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	s.most = max(s.most, len(in.Entries))
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		if s.fail(len(s.bodies)) {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError")})
		}
		s.bodies = append(s.bodies, *e.MessageBody)
	}
	return out, nil
}

// TestSpread: a message for each job, ten at once, and an error where one was not taken.
func TestSpread(t *testing.T) {
	var jobs []string
	for i := range 23 {
		jobs = append(jobs, fmt.Sprint("job-", i))
	}
	s := &sender{fail: func(int) bool { return false }}
	if err := events.Spread(t.Context(), s, "q", jobs); err != nil || len(s.bodies) != 23 || s.most != 10 {
		t.Errorf("%d messages, %d at once, %v", len(s.bodies), s.most, err)
	}
	s = &sender{fail: func(i int) bool { return i == 12 }}
	if err := events.Spread(t.Context(), s, "q", jobs); err == nil || !strings.Contains(err.Error(), "InternalError") {
		t.Errorf("one was not taken, and that is %v", err)
	}
}
