package fakeaws

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
)

const (
	trailTime    = "2006-01-02T15:04:05Z"
	trailVersion = "1.09"
)

// identityJSON is CloudTrail's userIdentity.
type identityJSON struct {
	Type           string       `json:"type"`
	PrincipalID    string       `json:"principalId"`
	ARN            string       `json:"arn,omitempty"`
	AccountID      string       `json:"accountId"`
	AccessKeyID    string       `json:"accessKeyId,omitempty"`
	UserName       string       `json:"userName,omitempty"`
	SessionContext *sessionJSON `json:"sessionContext,omitempty"`
}

type sessionJSON struct {
	SessionIssuer issuerJSON `json:"sessionIssuer"`
	Attributes    struct {
		CreationDate     string `json:"creationDate"`
		MFAAuthenticated string `json:"mfaAuthenticated"`
	} `json:"attributes"`
}

type issuerJSON struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

// recordJSON is a CloudTrail record.
type recordJSON struct {
	EventVersion       string           `json:"eventVersion"`
	UserIdentity       identityJSON     `json:"userIdentity"`
	EventTime          string           `json:"eventTime"`
	EventSource        string           `json:"eventSource"`
	EventName          string           `json:"eventName"`
	AWSRegion          string           `json:"awsRegion"`
	SourceIPAddress    string           `json:"sourceIPAddress"`
	UserAgent          string           `json:"userAgent"`
	ErrorCode          string           `json:"errorCode,omitempty"`
	ErrorMessage       string           `json:"errorMessage,omitempty"`
	RequestParameters  map[string]any   `json:"requestParameters"`
	ResponseElements   map[string]any   `json:"responseElements"`
	AdditionalData     map[string]any   `json:"additionalEventData,omitempty"`
	RequestID          string           `json:"requestID"`
	EventID            string           `json:"eventID"`
	ReadOnly           bool             `json:"readOnly"`
	Resources          []map[string]any `json:"resources,omitempty"`
	EventType          string           `json:"eventType"`
	ManagementEvent    bool             `json:"managementEvent"`
	RecipientAccountID string           `json:"recipientAccountId"`
	EventCategory      string           `json:"eventCategory"`
	TLSDetails         map[string]any   `json:"tlsDetails,omitempty"`
}

// envelopeJSON is what EventBridge delivers.
type envelopeJSON struct {
	Version    string     `json:"version"`
	ID         string     `json:"id"`
	DetailType string     `json:"detail-type"`
	Source     string     `json:"source"`
	Account    string     `json:"account"`
	Time       string     `json:"time"`
	Region     string     `json:"region"`
	Resources  []string   `json:"resources"`
	Detail     recordJSON `json:"detail"`
}

// envelope gives the event of a call, with the lock held.
func (a *AWS) envelope(x *exchange, op *operation, res *result, apiErr *Error) []byte {
	rec := recordJSON{
		EventVersion:       trailVersion,
		UserIdentity:       trailIdentity(x),
		EventTime:          x.now.Format(trailTime),
		EventSource:        x.svc.source,
		EventName:          op.event,
		AWSRegion:          x.Region,
		SourceIPAddress:    x.caller.SourceIP,
		UserAgent:          x.caller.UserAgent,
		RequestID:          x.RequestID,
		EventID:            a.ids.uuid(),
		EventType:          "AwsApiCall",
		ManagementEvent:    true,
		RecipientAccountID: x.caller.Account,
		EventCategory:      "Management",
	}
	if op.params != nil {
		rec.RequestParameters = op.params(x)
	}
	if apiErr != nil {
		rec.ErrorCode, rec.ErrorMessage = trailError(x, apiErr)
	} else {
		rec.ResponseElements = res.elements
	}
	if x.svc.decorate != nil {
		x.svc.decorate(x, &rec)
	}
	b, err := json.Marshal(envelopeJSON{
		Version:    "0",
		ID:         a.ids.uuid(),
		DetailType: "AWS API Call via CloudTrail",
		Source:     "aws." + strings.TrimSuffix(x.svc.source, ".amazonaws.com"),
		Account:    x.caller.Account,
		Time:       rec.EventTime,
		Region:     x.Region,
		Resources:  []string{},
		Detail:     rec,
	})
	if err != nil {
		a.o.Log.Error("an event could not be written", "event", op.event, "error", err)
		return nil
	}
	return b
}

// trailError gives errorCode and errorMessage; EC2's codes carry a prefix that
// the API's answers don't have.
func trailError(x *exchange, e *Error) (code, message string) {
	if x.svc.name == "ec2" {
		return "Client." + e.Code, e.Message
	}
	return e.Code, e.Message
}

func trailIdentity(x *exchange) identityJSON {
	c := x.caller
	if x.anonymous {
		return identityJSON{Type: "AWSAccount", AccountID: "anonymous"}
	}
	id := identityJSON{
		Type: "IAMUser", PrincipalID: c.principalID(), ARN: c.ARN(),
		AccountID: c.Account, AccessKeyID: c.keyID, UserName: c.User,
	}
	switch {
	case c.Root:
		id.Type, id.UserName = "Root", ""
	case c.Role != "":
		id.Type, id.UserName = "AssumedRole", ""
		id.SessionContext = c.session()
	}
	return id
}

func (c Caller) session() *sessionJSON {
	principal, _, _ := strings.Cut(c.principalID(), ":")
	s := &sessionJSON{SessionIssuer: issuerJSON{
		Type: "Role", PrincipalID: principal, ARN: c.RoleARN(), AccountID: c.Account, UserName: c.Role,
	}}
	s.Attributes.CreationDate = c.since.Format(trailTime)
	s.Attributes.MFAAuthenticated = "false"
	return s
}

// emitter hands events on in order, from one goroutine at a time, so that
// whoever receives them may take long and may call AWS meanwhile.
type emitter struct {
	emit func([]byte)

	mu    sync.Mutex
	queue [][]byte
	busy  bool
	idle  *sync.Cond
}

func newEmitter(emit func([]byte)) *emitter {
	e := &emitter{emit: emit}
	e.idle = sync.NewCond(&e.mu)
	return e
}

// add queues an event. The goroutine that delivers ends with the queue.
func (e *emitter) add(event []byte) {
	if e.emit == nil || event == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, event)
	if !e.busy {
		e.busy = true
		go e.deliver()
	}
}

func (e *emitter) deliver() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.busy = false
			e.idle.Broadcast()
			e.mu.Unlock()
			return
		}
		event := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		e.emit(event)
	}
}

// Flush waits until every event so far has been handed to Options.Emit and
// Emit has returned. It must not be called from Emit.
func (a *AWS) Flush() {
	e := a.events
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.busy {
		e.idle.Wait()
	}
}

// items wraps a list as CloudTrail writes EC2's lists: {} where it is empty.
func items(list []map[string]any) map[string]any {
	if len(list) == 0 {
		return map[string]any{}
	}
	return map[string]any{"items": list}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
