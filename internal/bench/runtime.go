package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// runtimeAPI stands in for Lambda's runtime API of one function.
type runtimeAPI struct {
	server  *httptest.Server
	pending chan []byte
	answers chan error // of each invocation
	handed  chan time.Time
	count   int
}

func newRuntimeAPI() *runtimeAPI {
	r := &runtimeAPI{pending: make(chan []byte), answers: make(chan error, 1), handed: make(chan time.Time, 1)}
	r.server = httptest.NewServer(r)
	return r
}

func (r *runtimeAPI) addr() string { return strings.TrimPrefix(r.server.URL, "http://") }

// close is called once the function is dead.
func (r *runtimeAPI) close() { r.server.Close() }

// ServeHTTP serves /runtime/invocation/next, …/response and …/error.
func (r *runtimeAPI) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/2018-06-01/runtime/invocation/")
	if path != "next" {
		body, err := io.ReadAll(req.Body)
		if strings.HasSuffix(path, "/error") {
			err = fmt.Errorf("the function fails: %s", body)
		}
		r.answers <- err
		w.WriteHeader(http.StatusAccepted)
		return
	}
	select {
	case event := <-r.pending:
		r.count++
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", strconv.Itoa(r.count))
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:111122223333:function:bench")
		r.handed <- time.Now()
		_, _ = w.Write(event) // whoever waits for the answer says so
	case <-req.Context().Done():
	}
}

// errLate says that a function does not do what is waited for.
var errLate = errors.New("the function takes too long")

// hand gives the function an event as it asks, and says when that was.
func (r *runtimeAPI) hand(ctx context.Context, event []byte) (time.Time, error) {
	select {
	case r.pending <- event:
		return <-r.handed, nil
	case <-time.After(startPatience):
		return time.Time{}, errLate
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// answered waits until the invocation has ended.
func (r *runtimeAPI) answered(ctx context.Context) error {
	select {
	case err := <-r.answers:
		return err
	case <-time.After(startPatience):
		return errLate
	case <-ctx.Done():
		return ctx.Err()
	}
}
