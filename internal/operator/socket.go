package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// maxRequest bounds a request's JSON: what is shown of remediation.MaxTargets
// findings, each of its characters escaped.
const maxRequest = 256 << 10

// Listen opens the Unix socket at path for the owner alone. A socket that a
// dead process left is replaced; that one is alive is known by the store's
// lock, which the caller holds.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket for shell commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", path, err), l.Close())
	}
	return l, nil
}

// What a response says beside its body.
const (
	headerError   = "Secbot-Error"   // the error, quoted
	headerCommand = "Secbot-Command" // the PendingError's
)

// Handler answers requests posted to the socket: 200 with the answer, 202 for a
// *PendingError with its Doing, 422 with what was answered before an error and the
// error.
func Handler(d *Desk, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req Request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
			http.Error(w, "not a request: "+err.Error(), http.StatusBadRequest)
			return
		}
		var out bytes.Buffer
		err := d.Answer(r.Context(), req, &out)
		var pending *PendingError
		switch {
		case errors.As(err, &pending):
			out.WriteString(pending.Doing)
			w.Header().Set(headerCommand, pending.Command)
			w.WriteHeader(http.StatusAccepted)
		case err != nil:
			log.Warn("a shell command failed", "name", req.Name, "words", req.Words, "user", req.User, "error", err)
			w.Header().Set(headerError, strconv.QuoteToASCII(err.Error()))
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		// The shell has gone when this fails; there is nobody to tell.
		_, _ = w.Write(out.Bytes())
	})
}

// ErrNoServer says that no server listens at the socket.
var ErrNoServer = errors.New("no secbot server is running")

// SaidError is an error that the server tells of.
type SaidError struct{ Text string }

// Error gives the text.
func (e *SaidError) Error() string { return e.Text }

// BrokenError says that the connection broke before there was an answer: what was
// asked for may be stored. The same request may be put again.
type BrokenError struct{ Err error }

// Error says so.
func (e *BrokenError) Error() string {
	return "the running server did not answer, and may do what was asked for all the same (" + e.Err.Error() + "); `secbot incidents` shows what comes of it"
}

// Unwrap gives the cause.
func (e *BrokenError) Unwrap() error { return e.Err }

// Ask puts a request to the server behind the socket. It returns ErrNoServer
// where none runs, the *PendingError of Desk.Answer, a *BrokenError where no answer
// came, and every other error of Answer as a *SaidError.
func Ask(ctx context.Context, socket string, req Request, w io.Writer) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://secbot/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	resp, err := client.Do(hr)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return ErrNoServer
	}
	if err != nil {
		return &BrokenError{Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted {
		doing, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
		if err != nil {
			return &BrokenError{Err: err}
		}
		return &PendingError{Command: resp.Header.Get(headerCommand), Doing: string(doing)}
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return said(resp)
}

// said is the error that a response tells of; nil for none.
func said(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	text, err := strconv.Unquote(resp.Header.Get(headerError))
	if err != nil {
		text = "the server says: " + resp.Status
	}
	return &SaidError{Text: text}
}
