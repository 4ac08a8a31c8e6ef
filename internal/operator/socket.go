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
	"time"

	"secbot/remediation"
)

// maxRequest bounds a request's JSON.
const maxRequest = 64 << 10

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

// Handler answers requests posted to the socket: 200 with the answer, 422 with
// what was answered before an error and the error.
func Handler(store remediation.Store, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req Request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
			http.Error(w, "not a request: "+err.Error(), http.StatusBadRequest)
			return
		}
		var out bytes.Buffer
		if err := Answer(r.Context(), store, req, &out); err != nil {
			log.Warn("a shell command failed", "name", req.Name, "error", err)
			w.Header().Set("Secbot-Error", fmt.Sprintf("%q", err.Error()))
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		// The shell has gone when this fails; there is nobody to tell.
		_, _ = w.Write(out.Bytes())
	})
}

// ErrNoServer says that no server listens at the socket.
var ErrNoServer = errors.New("no secbot server is running")

// Ask puts a request to the server behind the socket. It returns ErrNoServer
// where none runs.
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
		return fmt.Errorf("ask the running server: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server says: %s", resp.Header.Get("Secbot-Error"))
	}
	return nil
}
