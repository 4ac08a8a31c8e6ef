// Package events takes events of AWS in: it unwraps what SNS, SQS and
// EventBridge put around them, decodes those that secbot answers into signals,
// and serves the HTTP routes that they arrive on. It decides nothing and calls
// AWS only to verify SNS messages.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"secbot/remediation"
)

const (
	// MaxSize is the largest input in bytes: 1 MiB.
	MaxSize = 1 << 20
	// maxDepth bounds how deep envelopes may hold one another. The deepest
	// that AWS makes is SQS to Lambda holding SNS holding EventBridge: 3.
	maxDepth = 6
	// maxEvents bounds how many events one input may hold.
	maxEvents = 5000
)

// Errors about an input as a whole.
var (
	// ErrNotAnEvent says that an input is not a JSON object.
	ErrNotAnEvent = errors.New("not a JSON object")
	// ErrTooLarge says that an input is over MaxSize or holds too many events.
	ErrTooLarge = errors.New("too large")
)

// MalformedError is an ErrNotAnEvent that says what is wrong.
type MalformedError struct{ Reason string }

// Error gives the reason and what to do.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("%v: %s; send one event as AWS delivers it (EventBridge, SNS, SQS or a CloudTrail record)", ErrNotAnEvent, e.Reason)
}

// Unwrap makes errors.Is(err, ErrNotAnEvent) true.
func (e *MalformedError) Unwrap() error { return ErrNotAnEvent }

// Result is what became of one event.
type Result struct {
	Source  remediation.Source       // who told it; empty where it is none that is listened for
	Kind    string                   // CloudTrail's eventName, else EventBridge's detail-type; empty where there is neither
	Signals []remediation.Signal     // empty where the event was skipped
	Task    *remediation.TaskRequest `json:"-"` // what a state machine asks; nil for nothing
	Run     *remediation.RunEvent    `json:"-"` // an execution that has ended; nil for none
	Skipped string                   // why there are no signals, or why those claim nothing and only the live state tells
	// Unreadable says that it was skipped because it is torn or no event at all,
	// and not because secbot does not answer its kind: somebody should look at it.
	Unreadable bool `json:",omitempty"`
}

// Decode finds the events in raw, whatever envelopes are around them, and
// decodes each: one Result an event, in order. An event that secbot does not
// answer, or that can't be read, is a Result with Skipped set. It returns a
// MalformedError where raw is not a JSON object and ErrTooLarge where raw is
// over MaxSize or holds more than a few thousand events; then nothing was
// decoded.
func Decode(raw []byte) ([]Result, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("event of %d bytes is %w: at most %d are taken", len(raw), ErrTooLarge, MaxSize)
	}
	raw = trimMark(raw)
	if err := checkObject(raw); err != nil {
		return nil, err
	}
	u := unwrapper{}
	u.unwrap(raw, 0)
	if len(u.results) > maxEvents {
		return nil, fmt.Errorf("an input of more than %d events is %w: send fewer at once", maxEvents, ErrTooLarge)
	}
	return u.results, nil
}

// decodeMessage decodes what a message of another service carries.
func decodeMessage(what, body string) []Result {
	u := unwrapper{}
	u.message(what, body, 0)
	return u.results
}

// Signals gathers the signals of all results.
func Signals(results []Result) []remediation.Signal {
	var all []remediation.Signal
	for _, r := range results {
		all = append(all, r.Signals...)
	}
	return all
}

// trimMark takes the byte order mark away that some editors put first.
func trimMark(raw []byte) []byte { return bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) }

// checkObject returns a MalformedError unless raw is one JSON object.
func checkObject(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return &MalformedError{Reason: "it is empty"}
	}
	if bytes.HasPrefix(raw, []byte("\x1f\x8b")) {
		return &MalformedError{Reason: "it is compressed with gzip, unpack it first"}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return &MalformedError{Reason: err.Error()}
	}
	if raw[0] != '{' {
		return &MalformedError{Reason: "it is " + jsonKind(raw)}
	}
	return nil
}

// jsonKind names the kind of a JSON value.
func jsonKind(raw []byte) string {
	switch raw[0] {
	case '{':
		return "a JSON object"
	case '[':
		return "a JSON array"
	case '"':
		return "a JSON string"
	case 't', 'f':
		return "a JSON boolean"
	case 'n':
		return "null"
	}
	return "a JSON number"
}
