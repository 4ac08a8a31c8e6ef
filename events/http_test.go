package events

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"secbot/remediation"
)

const testToken = "a-token-of-the-tests"

// recorder keeps what was accepted.
type recorder struct {
	err  error
	sigs []remediation.Signal
}

func (r *recorder) accept(_ context.Context, sigs []remediation.Signal) error {
	if r.err != nil {
		return r.err
	}
	r.sigs = append(r.sigs, sigs...)
	return nil
}

// serve answers one request and gives status and body.
func serve(t *testing.T, h *Handler, r *http.Request) (int, map[string]any) {
	t.Helper()
	router := chi.NewRouter()
	h.Routes(router)
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return w.Code, body
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testToken)
	return r
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	return fixtures(t)["testdata/decode/"+name+".txt"][0]
}

func TestPostEvents(t *testing.T) {
	rec := &recorder{}
	status, body := serve(t, &Handler{Accept: rec.accept, Token: testToken}, post("/events", fixture(t, "envelope-sqs-lambda")))
	want := map[string]any{"accepted": 2.0, "skipped": []any{
		map[string]any{"why": "the SQS message holds no event: invalid character 'h' looking for beginning of value"},
	}}
	if diff := cmp.Diff(want, body); diff != "" || status != http.StatusOK {
		t.Errorf("status %d\n%s", status, diff)
	}
	if len(rec.sigs) != 2 {
		t.Errorf("%d signals accepted", len(rec.sigs))
	}
}

func TestPostEventsUnknown(t *testing.T) {
	refuse := &recorder{err: errors.New("must not be called")}
	status, body := serve(t, &Handler{Accept: refuse.accept, Token: testToken}, post("/events", fixture(t, "unknown-guardduty")))
	want := map[string]any{"accepted": 0.0, "skipped": []any{
		map[string]any{"kind": "GuardDuty Finding", "why": "not an event that secbot answers: GuardDuty Finding"},
	}}
	if diff := cmp.Diff(want, body); diff != "" || status != http.StatusOK {
		t.Errorf("status %d\n%s", status, diff)
	}
}

func TestPostEventsRefuses(t *testing.T) {
	good := fixture(t, "sg-legacy-bare")
	tests := []struct {
		name    string
		token   string // the server's
		header  string // the sender's
		body    string
		storeUp bool
		status  int
		says    string
	}{
		{"no token set", "", "Bearer " + testToken, good, true, 503, "SECBOT_EVENTS_TOKEN must be set"},
		{"no token set, none sent", "", "", good, true, 503, "SECBOT_EVENTS_TOKEN must be set"},
		{"none sent", testToken, "", good, true, 401, "SECBOT_EVENTS_TOKEN"},
		{"empty sent", testToken, "Bearer ", good, true, 401, "SECBOT_EVENTS_TOKEN"},
		{"wrong sent", testToken, "Bearer " + testToken + "x", good, true, 401, "SECBOT_EVENTS_TOKEN"},
		{"other scheme", testToken, "Basic " + testToken, good, true, 401, "SECBOT_EVENTS_TOKEN"},
		{"not JSON", testToken, "Bearer " + testToken, "{", true, 400, "send one event"},
		{"not an object", testToken, "Bearer " + testToken, "[]", true, 400, "a JSON array"},
		{"empty", testToken, "Bearer " + testToken, "", true, 400, "it is empty"},
		{"too large", testToken, "Bearer " + testToken, strings.Repeat("x", MaxSize+1), true, 413, "1 MiB"},
		{"store down", testToken, "Bearer " + testToken, good, false, 503, "send it again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{}
			if !tt.storeUp {
				rec.err = errors.New("the store's secret details")
			}
			r := post("/events", tt.body)
			r.Header.Set("Authorization", tt.header)
			status, body := serve(t, &Handler{Accept: rec.accept, Token: tt.token}, r)
			text, _ := body["error"].(string)
			if status != tt.status || !strings.Contains(text, tt.says) {
				t.Errorf("%d %q, want %d with %q", status, text, tt.status, tt.says)
			}
			if strings.Contains(text, "secret") || strings.Contains(text, testToken) {
				t.Errorf("the answer tells too much: %q", text)
			}
			if len(rec.sigs) != 0 {
				t.Errorf("%d signals accepted", len(rec.sigs))
			}
		})
	}
}

func TestPostEventsLowerCaseScheme(t *testing.T) {
	rec := &recorder{}
	r := post("/events", fixture(t, "sg-legacy-bare"))
	r.Header.Set("Authorization", "bearer "+testToken)
	if status, body := serve(t, &Handler{Accept: rec.accept, Token: testToken}, r); status != http.StatusOK || len(rec.sigs) != 1 {
		t.Errorf("%d %v", status, body)
	}
}

// TestBodyCutOff says that a body that ends too early is refused, over a real
// connection.
func TestBodyCutOff(t *testing.T) {
	rec := &recorder{}
	router := chi.NewRouter()
	(&Handler{Accept: rec.accept, Token: testToken}).Routes(router)
	server := httptest.NewServer(router)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+testToken+"\r\nContent-Length: 100\r\n\r\n{")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("%q, %v", answer, err)
	}
}
