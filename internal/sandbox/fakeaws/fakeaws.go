// Package fakeaws is a small stand-in for AWS: enough of EC2 security groups,
// S3 bucket configuration, S3 Control, SNS, STS, Step Functions, IAM's simulation,
// Organizations' list of accounts and AWS Config for secbot's demo and tests, served
// over HTTP to the real SDK clients from one endpoint.
//
// It keeps state, enforces Block Public Access and object ownership, answers
// with AWS's own error codes, and emits for each changing call the CloudTrail
// event that EventBridge would deliver. It does not check signatures and knows
// no IAM policies: a caller is whoever its access key id says (AddCaller).
//
// S3 clients must use path style, and S3 Control clients must be pointed at the
// endpoint itself, since the SDK would otherwise put the account in front of
// the host name.
package fakeaws

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultAccount = "111122223333"
	DefaultRegion  = "us-east-1"
)

// maxBody is the largest request body that is read, in bytes. Real requests of
// the calls covered stay far below it.
const maxBody = 1 << 20

// maxCalls bounds how many calls Calls remembers.
const maxCalls = 10_000

// Options are what an AWS needs. The zero value is fine.
type Options struct {
	Account string           // 12 digits; DefaultAccount where empty
	Region  string           // where seeds go that name no region; DefaultRegion where empty
	Now     func() time.Time // time.Now where nil
	Rand    io.Reader        // source of ids; crypto/rand where nil
	// Emit receives the EventBridge envelope of each changing call, failed
	// ones too, in the order of the changes. It is called from one goroutine at
	// a time, never under a lock, and may call AWS itself. nil: events are
	// dropped.
	Emit func(event []byte)
	Log  *slog.Logger // discarded where nil
}

// AWS is the stand-in. It is an http.Handler, safe for concurrent use.
type AWS struct {
	o        Options
	services map[string]*service
	ids      *idSource
	events   *emitter

	mu        sync.Mutex
	fault     func(Call) *Fault
	calls     []Call
	callers   map[string]Caller // by access key id
	trusts    map[string]Trust  // by the role's ARN
	regions   map[regionKey]*region
	parked    map[string]attachment // network interfaces, by id
	before    past
	buckets   map[string]*bucket
	blocks    map[string]*Block // account-wide Block Public Access, by account
	topics    map[string]*topic // by ARN
	queues    map[string]*queue // by the path of their URL
	published []Publication
	rules     map[string]string       // AWS Config rule name to managed identifier
	history   map[string][]configItem // AWS Config's, by resource id, the first record first
	recording bool
	// organization is empty where the account is in none.
	organization []orgAccount
	machines     map[string]bool       // Step Functions, by ARN: whether it is an express one
	executions   map[string]*Execution // by ARN
}

// New makes an empty AWS: each region has a default VPC with its default
// security group, and nothing else.
func New(o Options) *AWS {
	if o.Account == "" {
		o.Account = DefaultAccount
	}
	if o.Region == "" {
		o.Region = DefaultRegion
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &AWS{
		o:        o,
		ids:      &idSource{r: o.Rand},
		events:   newEmitter(o.Emit),
		callers:  map[string]Caller{},
		trusts:   map[string]Trust{},
		regions:  map[regionKey]*region{},
		parked:   map[string]attachment{},
		before:   past{groups: map[regionKey]map[string]*group{}, buckets: map[string]*bucket{}},
		buckets:  map[string]*bucket{},
		blocks:   map[string]*Block{},
		topics:   map[string]*topic{},
		queues:   map[string]*queue{},
		rules:    map[string]string{},
		history:  map[string][]configItem{},
		machines: map[string]bool{}, executions: map[string]*Execution{},
	}
	a.services = a.newServices()
	return a
}

// Account is the account that AWS stands for.
func (a *AWS) Account() string { return a.o.Account }

// Region is the region of seeds that name none.
func (a *AWS) Region() string { return a.o.Region }

// service is one AWS service: how its requests name an operation, and how its
// answers are written.
type service struct {
	name   string // as in ARNs and Call.Service
	source string // CloudTrail's eventSource
	// operation finds what the request asks for. The name is given even where
	// there is no such operation.
	operation func(x *exchange) (string, *operation)
	write     func(x *exchange, body any) // writes a success
	fail      func(x *exchange, err *Error)
	newID     func() string // a request id
	// decorate adds to a CloudTrail record what only this service writes; nil
	// for nothing.
	decorate func(x *exchange, rec *recordJSON)
}

// operation is one call of a service's API.
type operation struct {
	event  string                           // CloudTrail's eventName; empty: not recorded
	params func(x *exchange) map[string]any // CloudTrail's requestParameters
	run    func(x *exchange) (*result, error)
	anyone bool // may be called without credentials
	// wait says for how long the call may wait until ready is true; nil: it
	// never waits. ready is called with the lock held.
	wait  func(x *exchange) time.Duration
	ready func(x *exchange) bool
}

// result is what an operation answers.
type result struct {
	body     any            // nil: an empty body; []byte: as it is; else a struct for the service's encoding
	elements map[string]any // CloudTrail's responseElements; nil is null
}

// exchange is one request on its way through the stand-in.
type exchange struct {
	Call
	w         http.ResponseWriter
	req       *http.Request
	body      []byte
	form      *node // the parsed form of a query request
	svc       *service
	caller    Caller
	anonymous bool
	now       time.Time
	bucket    string // S3: from the path
	key       string
	status    int // of a success; 200 where 0
}

// Error is an error that AWS answers with.
type Error struct {
	Status  int // HTTP
	Code    string
	Message string
}

// Error gives code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func failure(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// ServeHTTP answers one AWS API request.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{w: w, req: r, now: a.o.Now().UTC()}
	a.identify(x)
	x.RequestID = x.svc.newID()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		x.svc.fail(x, bodyError(err))
		return
	}
	x.body = body
	name, op := x.svc.operation(x)
	x.Action = name
	x.caller = x.callerNow()
	f := a.faultFor(x.Call)
	if f.before(r.Context()) {
		a.drop(x)
		return
	}
	a.await(x, op)
	res, apiErr := a.perform(x, op, f)
	if f.after(r.Context()) {
		a.drop(x)
		return
	}
	if f.After && f.Code != "" {
		apiErr = f.failure()
	}
	if apiErr != nil {
		a.o.Log.Debug("aws call failed", "service", x.Service, "action", x.Action, "code", apiErr.Code)
		x.svc.fail(x, apiErr)
		return
	}
	x.svc.write(x, res.body)
}

// await waits for a call that polls. The call's time is when it ends.
func (a *AWS) await(x *exchange, op *operation) {
	if op == nil || op.wait == nil {
		return
	}
	for end := time.Now().Add(op.wait(x)); time.Now().Before(end) && x.req.Context().Err() == nil; time.Sleep(20 * time.Millisecond) {
		x.now = a.o.Now().UTC()
		a.mu.Lock()
		ready := op.ready(x)
		a.mu.Unlock()
		if ready {
			return
		}
	}
}

// drop closes the connection without an answer.
func (a *AWS) drop(x *exchange) {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		a.o.Log.Warn("a connection could not be dropped", "error", err)
		return
	}
	_ = conn.Close() // nobody is left to be told
}

func bodyError(err error) *Error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return failure(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is larger than the sandbox takes.")
	}
	return failure(http.StatusBadRequest, "IncompleteBody", "The request body could not be read.")
}

// perform runs the operation under the lock, records the call and queues its
// event, so that events come in the order of the changes.
func (a *AWS) perform(x *exchange, op *operation, f *Fault) (*result, *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res, apiErr := a.run(x, op, f)
	if apiErr != nil {
		x.ErrorCode = apiErr.Code
	}
	a.record(x.Call)
	if op != nil && op.event != "" {
		a.events.add(a.envelope(x, op, res, apiErr))
	}
	return res, apiErr
}

func (a *AWS) run(x *exchange, op *operation, f *Fault) (*result, *Error) {
	if op == nil {
		return nil, failure(http.StatusBadRequest, "InvalidAction", "The action "+x.Action+" is not valid for this sandbox.")
	}
	if x.anonymous && !op.anyone {
		return nil, failure(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	if e := f.instead(); e != nil {
		return nil, e
	}
	if e := x.denied(); e != nil {
		return nil, e
	}
	if x.Service == "ec2" && op.event == "" {
		if err := dry(x); err != nil {
			return nil, asError(err)
		}
	}
	res, err := a.inTime(x, op, f.Stale)
	if err == nil {
		return res, nil
	}
	return nil, asError(err)
}

func asError(err error) *Error {
	var apiErr *Error
	if !errors.As(err, &apiErr) {
		apiErr = failure(http.StatusInternalServerError, "InternalError", err.Error())
	}
	return apiErr
}
