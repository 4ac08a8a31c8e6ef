// Package faketable stands in for DynamoDB and S3 at the network's edge: as much
// of both as a store of secbot's uses, with DynamoDB's own limits and refusals,
// with indexes that follow late, and with failures on demand. For tests that
// want no other program.
package faketable

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/plainbody"
)

// Call is one request that came.
type Call struct {
	Op        string // the API's name of it, as Query; "GET" or "PUT" of S3
	Index     string // of a Query
	Partition string // of a Query: the value of its partition key
	Limit     int    // of a Query
	Body      string
}

// Failure is what a request is refused with.
type Failure struct {
	Code    string   // as ThrottlingException
	Reasons []string // of a TransactionCanceledException: one code for each item
}

// AWS is the stand-in. Its fields may be changed while it serves, under Lock.
type AWS struct {
	URL string

	sync.Mutex
	// Lag is how far behind the table the indexes are.
	Lag time.Duration
	// Frozen has the indexes stay as they were at that time; zero: they don't.
	Frozen time.Time
	// Fail is asked before a request has its effect; nil: nothing fails.
	Fail func(Call) *Failure
	// Done is called after a request has had its effect, and before it is
	// answered; the stand-in is not locked then.
	Done func(Call)
	// BatchMost is how many items one BatchGetItem gives; 100 where 0, none where
	// it is below that.
	BatchMost int

	tables  map[string]*table
	objects map[string][]byte
	calls   []Call
}

// New makes an empty stand-in that nobody serves yet. Its URL is for whoever does.
func New() *AWS { return &AWS{tables: map[string]*table{}, objects: map[string][]byte{}} }

// Start serves until the test ends.
func Start(t testing.TB) *AWS {
	a := New()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	a.URL = srv.URL
	return a
}

// Config is the SDK's, for a client of the stand-in.
func (a *AWS) Config() aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &a.URL, APIOptions: []func(*middleware.Stack) error{plainbody.Use}, Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", "")}
}

// Calls are the requests since the last call of Calls.
func (a *AWS) Calls() []Call {
	a.Lock()
	defer a.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

// Objects are the names of what stands in S3, sorted.
func (a *AWS) Objects() []string {
	a.Lock()
	defer a.Unlock()
	var names []string
	for name := range a.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Keys are the "pk sk" of a table's items, sorted.
func (a *AWS) Keys(name string) []string {
	a.Lock()
	defer a.Unlock()
	var keys []string
	for _, it := range a.tables[name].now() {
		keys = append(keys, it.text("pk")+" "+it.text("sk"))
	}
	slices.Sort(keys)
	return keys
}

// ServeHTTP serves DynamoDB's JSON protocol, and objects of S3 by their paths.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	_, op, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !ok {
		a.object(w, r, body)
		return
	}
	call := Call{Op: op, Body: string(body)}
	var q struct {
		IndexName                 string
		Limit                     int
		ExpressionAttributeValues item
	}
	if op == "Query" && json.Unmarshal(body, &q) == nil {
		call.Index, call.Limit, call.Partition = q.IndexName, q.Limit, q.ExpressionAttributeValues.text(":p")
	}
	out, refused, done := a.serve(call, body)
	if done != nil && refused == nil {
		done(call)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if refused != nil {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + refused.Code, "message": refused.Code, "CancellationReasons": reasons(refused.Reasons)}
	}
	// The client has gone when this fails.
	_ = json.NewEncoder(w).Encode(out)
}

func reasons(codes []string) []map[string]string {
	var list []map[string]string
	for _, c := range codes {
		list = append(list, map[string]string{"Code": c})
	}
	return list
}

func (a *AWS) serve(call Call, body []byte) (out any, refused *Failure, done func(Call)) {
	a.Lock()
	defer a.Unlock()
	a.calls = append(a.calls, call)
	if a.Fail != nil {
		if f := a.Fail(call); f != nil {
			return nil, f, nil
		}
	}
	op, ok := map[string]func([]byte) (any, *Failure){
		"CreateTable": a.createTable, "DescribeTable": a.describeTable, "UpdateTimeToLive": a.timeToLive, "GetItem": a.getItem,
		"BatchGetItem": a.batchGet, "Query": a.query, "TransactWriteItems": a.transact, "DeleteItem": a.deleteItem,
	}[call.Op]
	if !ok {
		return nil, invalid("no %s here", call.Op), nil
	}
	out, refused = op(body)
	return out, refused, a.Done
}

// invalid is the refusal of a request that DynamoDB does not take.
func invalid(format string, args ...any) *Failure {
	return &Failure{Code: "ValidationException: " + fmt.Sprintf(format, args...)}
}

func (a *AWS) object(w http.ResponseWriter, r *http.Request, body []byte) {
	a.Lock()
	defer a.Unlock()
	a.calls = append(a.calls, Call{Op: r.Method})
	switch r.Method {
	case http.MethodPut:
		a.objects[r.URL.Path] = body
	case http.MethodGet:
		raw, ok := a.objects[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(raw) // the client has gone when this fails
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}
