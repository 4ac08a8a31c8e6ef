package fakeslack

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type object = map[string]any

// args are a call's arguments; what is not a string in a JSON body stands
// here as compact JSON.
type args map[string]string

// Call is one call of the Web API, a response URL ("response_url") or an
// upload URL ("upload").
type Call struct {
	Method string
	Args   map[string]string // without the token
	At     time.Time
	Status int    // the HTTP status; 0 where the connection was dropped
	Error  string // Slack's error code; "" is ok
}

// Fault is what goes wrong with one call. The zero value does nothing.
type Fault struct {
	Status      int           // the HTTP status; 200 by default, 429 with RetryAfter
	RetryAfter  time.Duration // in the Retry-After header, in whole seconds
	Error       string        // Slack's error code; "internal_error" by default, "ratelimited" with RetryAfter
	Delay       time.Duration // before anything else; the effect comes also where the client has given up meanwhile
	Drop        bool          // close the connection without an answer
	AfterEffect bool          // do the thing first: then drop the connection, or answer with the error
}

func (f *Fault) fails() bool {
	return f != nil && (f.Drop || f.Status != 0 || f.RetryAfter != 0 || f.Error != "" || f.AfterEffect)
}

// drops: AfterEffect by itself means that nobody hears of the effect.
func (f *Fault) drops() bool {
	return f.Drop || f.AfterEffect && f.Status == 0 && f.RetryAfter == 0 && f.Error == ""
}

// refusal is an error of the Web API.
type refusal struct {
	code     string
	messages []string // response_metadata.messages
	needed   string   // the scope that is missing
	status   int
	retry    time.Duration
}

func (r *refusal) Error() string { return r.code }

func refuse(code string, messages ...string) error {
	return &refusal{code: code, messages: messages, status: http.StatusOK}
}

// answer is what goes back: JSON, or text where body is a string.
type answer struct {
	status int
	retry  time.Duration
	scopes string // of the token, where it has been looked at
	body   any
	code   string // Slack's error code
}

func failed(err error) answer {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{code: "internal_error", status: http.StatusOK, messages: []string{err.Error()}}
	}
	body := object{"ok": false, "error": r.code}
	if r.needed != "" {
		body["needed"] = r.needed
	}
	if len(r.messages) > 0 {
		body["response_metadata"] = object{"messages": r.messages}
	}
	return answer{status: r.status, retry: r.retry, body: body, code: r.code}
}

// Fault sets what goes wrong: f is asked about each call before it is served,
// outside of any lock; nil from it, or a nil f, lets the call through.
func (s *Slack) Fault(f func(Call) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// serve runs a call: faults, the effect, the record, the answer.
func (s *Slack) serve(w http.ResponseWriter, r *http.Request, call Call, effect func() answer) {
	call.At = s.o.Now()
	fault := s.faultOf(call)
	if fault != nil && fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
		}
	}
	var a answer
	if !fault.fails() || fault.AfterEffect {
		s.mu.Lock()
		a = effect()
		s.unlock()
	}
	drop := fault.fails() && fault.drops()
	if fault.fails() && !drop {
		a = fault.answer()
	}
	call.Status, call.Error = a.status, a.code
	if drop {
		call.Status, call.Error = 0, "dropped"
	}
	s.record(call)
	if drop {
		hangUp(w)
		return
	}
	a.write(w)
}

func (s *Slack) faultOf(call Call) *Fault {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return nil
	}
	call.Args = maps.Clone(call.Args)
	return fault(call)
}

func (f *Fault) answer() answer {
	code, status := f.Error, f.Status
	if f.RetryAfter > 0 {
		code, status = or(code, "ratelimited"), max(status, http.StatusTooManyRequests)
	}
	return failed(&refusal{code: or(code, "internal_error"), status: max(status, http.StatusOK), retry: f.RetryAfter})
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func (s *Slack) record(call Call) {
	s.mu.Lock()
	defer s.unlock()
	s.calls = bounded(append(s.calls, call), maxCalls)
	s.changed(Change{Kind: ChangeCall, Method: call.Method})
}

// bounded drops from the front what is over most.
func bounded[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	return append([]T(nil), list[len(list)-most:]...)
}

// hangUp closes the connection under the client's feet.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // a recorder of tests: no connection to close
		http.Error(w, "connection dropped", http.StatusBadGateway)
		return
	}
	_ = conn.Close() // that is the point
}

func (a answer) write(w http.ResponseWriter) {
	if a.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retry.Seconds()))))
	}
	if a.scopes != "" {
		w.Header().Set("X-OAuth-Scopes", a.scopes)
	}
	text, isText := a.body.(string)
	if isText {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, text) // the client has gone: nothing to be done
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (s *Slack) serveMethod(w http.ResponseWriter, r *http.Request, name string) {
	a, err := readArgs(r)
	token, hasBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !hasBearer {
		token = a["token"]
	}
	delete(a, "token")
	s.serve(w, r, Call{Method: name, Args: maps.Clone(a)}, func() answer {
		if err != nil {
			return failed(err)
		}
		body, err := s.call(name, token, a)
		if err != nil {
			return failed(err).with(s.scopesOf(token))
		}
		body["ok"] = true
		return answer{status: http.StatusOK, body: body}.with(s.scopesOf(token))
	})
}

func (s *Slack) call(name, token string, a args) (object, error) {
	method, ok := s.method(name)
	if !ok {
		return nil, refuse("unknown_method")
	}
	if err := s.authorise(name, token, a); err != nil {
		return nil, err
	}
	if wait := s.overRate(name, a); wait > 0 {
		return nil, &refusal{code: "ratelimited", status: http.StatusTooManyRequests, retry: wait}
	}
	return method(a)
}

// authorise looks at the token: whether it is one, of the right kind, and has the
// method's scope.
func (s *Slack) authorise(name, token string, a args) error {
	is := func(known string) bool { return subtle.ConstantTimeCompare([]byte(token), []byte(known)) == 1 }
	switch {
	case name == "api.test":
		return nil
	case token == "":
		return refuse("not_authed")
	case !is(s.o.BotToken) && !is(s.o.AppToken):
		return refuse("invalid_auth")
	case is(s.o.AppToken) != (name == "apps.connections.open") && name != "auth.test":
		return refuse("not_allowed_token_type")
	}
	if scope := s.missing(name, a); scope != "" {
		return &refusal{code: "missing_scope", status: http.StatusOK, needed: scope}
	}
	return nil
}

// method finds what serves a method of the Web API.
func (s *Slack) method(name string) (func(args) (object, error), bool) {
	f, ok := map[string]func(args) (object, error){
		"api.test":                     apiTest,
		"apps.connections.open":        s.appsConnectionsOpen,
		"auth.test":                    s.authTest,
		"chat.postMessage":             s.chatPostMessage,
		"chat.postEphemeral":           s.chatPostEphemeral,
		"chat.update":                  s.chatUpdate,
		"chat.delete":                  s.chatDelete,
		"chat.getPermalink":            s.chatGetPermalink,
		"conversations.history":        s.conversationsHistory,
		"conversations.info":           s.conversationsInfo,
		"conversations.join":           s.conversationsJoin,
		"conversations.list":           s.conversationsList,
		"conversations.open":           s.conversationsOpen,
		"conversations.replies":        s.conversationsReplies,
		"files.completeUploadExternal": s.filesCompleteUploadExternal,
		"files.getUploadURLExternal":   s.filesGetUploadURLExternal,
		"usergroups.list":              s.usergroupsList,
		"usergroups.users.list":        s.usergroupsUsersList,
		"users.info":                   s.usersInfo,
		"users.lookupByEmail":          s.usersLookupByEmail,
		"views.open":                   s.viewsOpen,
		"views.publish":                s.viewsPublish,
		"views.push":                   s.viewsPush,
		"views.update":                 s.viewsUpdate,
	}[name]
	return f, ok
}

func apiTest(a args) (object, error) {
	if a["error"] != "" {
		return nil, refuse(a["error"])
	}
	return object{"args": a}, nil
}

func (s *Slack) authTest(args) (object, error) {
	o := object{
		"url": s.workspaceURL(), "team": "Sandbox", "user": "secbot", "team_id": TeamID,
		"user_id": BotUser, "bot_id": BotID, "is_enterprise_install": false,
	}
	if s.o.Enterprise != "" {
		o["enterprise_id"] = s.o.Enterprise
	}
	return o, nil
}

func (s *Slack) workspaceURL() string { return "https://" + TeamDomain + ".slack.com/" }

// readArgs reads a call's arguments from the query, a form or a JSON object.
func readArgs(r *http.Request) (args, error) {
	a := args{}
	for name, values := range r.URL.Query() {
		a[name] = values[0]
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" {
		if r.ContentLength == 0 {
			return a, nil // a method without arguments
		}
		return a, readJSONArgs(r.Body, a)
	}
	err := r.ParseForm()
	if kind == "multipart/form-data" {
		err = r.ParseMultipartForm(maxRequest)
	}
	if err != nil {
		return a, unreadable(err, "invalid_form_data")
	}
	for name, values := range r.PostForm {
		a[name] = values[0]
	}
	return a, nil
}

func readJSONArgs(body io.Reader, a args) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return unreadable(err, "invalid_json")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		if json.Valid(raw) {
			return refuse("json_not_object")
		}
		return refuse("invalid_json")
	}
	for name, value := range members {
		if text, ok := argument(value); ok {
			a[name] = text
		}
	}
	return nil
}

// argument gives a JSON member as a form would have it; null is left out.
func argument(value json.RawMessage) (string, bool) {
	var text string
	if err := json.Unmarshal(value, &text); err == nil {
		return text, !bytes.Equal(value, []byte("null"))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return "", false
	}
	return compact.String(), true
}

func unreadable(err error, code string) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{code: "request_too_large", status: http.StatusRequestEntityTooLarge}
	}
	return refuse(code)
}

func truthy(s string) bool {
	b, err := strconv.ParseBool(s)
	return b && err == nil
}
