package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"secbot/remediation"
)

// apiCall is the detail-type of CloudTrail's records in EventBridge.
const apiCall = "AWS API Call via CloudTrail"

// event is one event out of its envelopes, with what EventBridge says around
// it. A bare CloudTrail record has its detail only.
type event struct {
	ID         text            `json:"id"`
	DetailType text            `json:"detail-type"`
	Source     text            `json:"source"`
	Account    account         `json:"account"`
	Time       text            `json:"time"`
	Region     text            `json:"region"`
	Detail     json.RawMessage `json:"detail"`
}

// object is a JSON object whose member names are compared exactly.
type object map[string]json.RawMessage

// has reports whether there is a member of that name that is not null.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

// text gives a scalar member, "" where it is absent.
func (o object) text(name string) string { return string(lenient[text](o[name])) }

// unwrapper walks into envelopes and gathers a result for each event.
type unwrapper struct {
	results []Result
	each    func(event) // is shown each event, where it is set
}

// unreadable adds what is no event.
func (u *unwrapper) unreadable(format string, args ...any) {
	u.add(Result{Skipped: fmt.Sprintf(format, args...), Unreadable: true})
}

func (u *unwrapper) add(r Result) {
	// One more than allowed shows that there were too many.
	if len(u.results) <= maxEvents {
		u.results = append(u.results, r)
	}
}

// unwrap looks at one JSON object, which may be an envelope or an event.
func (u *unwrapper) unwrap(raw []byte, depth int) {
	if depth > maxDepth {
		u.unreadable("envelopes hold one another more than %d deep", maxDepth)
		return
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		u.unreadable("not an event that secbot knows: %v", err)
		return
	}
	switch {
	case o.has("Records"):
		u.records(o["Records"], depth)
	case o.has("Type") && o.has("Message"):
		u.sns(o, depth)
	case o.has("detail") || o.has("detail-type"):
		u.event(lenient[event](raw))
	case o.has("eventName") && (o.has("eventSource") || o.has("eventVersion")):
		u.event(event{Detail: raw})
	default:
		u.unreadable("not an event that secbot knows: neither an envelope of SNS, SQS or EventBridge nor a CloudTrail record")
	}
}

func (u *unwrapper) event(e event) {
	if u.each != nil {
		u.each(e)
	}
	u.add(decodeEvent(e))
}

// sns takes the message out of what SNS posts over HTTP or puts into SQS.
func (u *unwrapper) sns(o object, depth int) {
	if kind := o.text("Type"); kind != "Notification" {
		u.add(Result{Kind: kind, Skipped: fmt.Sprintf("SNS message of type %s holds no event", kind)})
		return
	}
	u.message("SNS message", o.text("Message"), depth)
}

// message unwraps text that another service carries.
func (u *unwrapper) message(what, body string, depth int) {
	raw := trimMark([]byte(body))
	var malformed *MalformedError
	if err := checkObject(raw); errors.As(err, &malformed) {
		u.unreadable("the %s holds no event: %s", what, malformed.Reason)
		return
	}
	u.unwrap(raw, depth+1)
}

// records takes apart what Lambda gets from SNS or SQS, and CloudTrail's log
// files.
func (u *unwrapper) records(raw json.RawMessage, depth int) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		u.unreadable("not an event that secbot knows: its Records are not a list")
		return
	}
	if len(list) == 0 {
		u.add(Result{Skipped: "its Records are empty"})
	}
	for _, r := range list {
		if len(u.results) > maxEvents {
			return
		}
		u.record(r, depth)
	}
}

func (u *unwrapper) record(raw json.RawMessage, depth int) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		u.unreadable("not an event that secbot knows: one of its Records is not an object")
		return
	}
	switch {
	case o.has("Sns"):
		u.message("SNS message", lenient[object](o["Sns"]).text("Message"), depth)
	case o.has("body"):
		u.message("SQS message", o.text("body"), depth)
	default:
		u.unwrap(raw, depth+1)
	}
}

// decodeEvent decodes an event out of all envelopes. One that anybody may have put
// on the bus only says where to look, and is no sign that a source of AWS's is alive.
func decodeEvent(e event) Result {
	r := decodeAny(e)
	if source := string(e.Source); source != "" && !ofAWS(source) {
		r.Source = ""
	}
	return r
}

func decodeAny(e event) Result {
	detail := lenient[object](e.Detail)
	if torn := detail == nil && len(e.Detail) > 0; torn && (e.DetailType == apiCall || e.DetailType == complianceChange) {
		return Result{Kind: string(e.DetailType), Skipped: "its detail is " + jsonKind(e.Detail) + " and no object", Unreadable: true}
	}
	if detail.has("eventName") && (detail.has("eventSource") || detail.has("eventVersion")) {
		return from(remediation.SourceCloudTrail, decodeTrail(e))
	}
	if e.DetailType == complianceChange {
		return from(remediation.SourceConfig, decodeCompliance(e))
	}
	kind := string(e.DetailType)
	switch {
	case kind == ApprovalType && e.Source == ApprovalSource:
		return decodeApproval(e)
	case kind == executionChange && e.Source == sourceStates:
		return decodeExecution(e)
	}
	switch string(e.Source) {
	case "aws.config":
		return from(remediation.SourceConfig, Result{Kind: kind, Skipped: "not an event that secbot answers: " + kind})
	case "aws.guardduty":
		return from(remediation.SourceGuardDuty, Result{Kind: kind, Skipped: "not an event that secbot answers: " + kind})
	}
	switch kind {
	case "":
		return Result{Skipped: "not an event that secbot knows: it has no detail-type", Unreadable: true}
	case apiCall:
		return Result{Kind: kind, Skipped: "its detail is no CloudTrail record: it lacks eventName or eventSource", Unreadable: true}
	}
	return Result{Kind: kind, Skipped: "not an event that secbot answers: " + kind}
}

// ofAWS reports whether only AWS itself can have put an event of this source on a
// bus: PutEvents refuses sources that begin like that, and partners have their own.
func ofAWS(source string) bool {
	return strings.HasPrefix(source, "aws.") && !strings.HasPrefix(source, "aws.partner/")
}

func from(s remediation.Source, r Result) Result {
	r.Source = s
	return r
}
