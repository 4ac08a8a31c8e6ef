package sandbox

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

// maxControl bounds the body of a request to the people.
const maxControl = 64 << 10

// People serves what the people of the Slack stand-in see and do, under
// /sandbox, for programs that are not written in Go:
//
//	GET  /sandbox/messages?channel=C…    what stands in a channel
//	GET  /sandbox/ephemerals?user=U…     what one person alone sees
//	GET  /sandbox/views?user=U…          a person's open modals
//	GET  /sandbox/home?user=U…           what was published to a person's home tab
//	GET  /sandbox/files                  what was uploaded, with its bytes
//	POST /sandbox/click    {"user","channel","ts","action"}   a button of a message
//	POST /sandbox/click    {"user","view","block","action"}   a button of a home tab or an open modal
//	POST /sandbox/home     {"user"}                           open the home tab
//	POST /sandbox/command  {"user","channel","text"}      /secbot with this text
//	POST /sandbox/submit   {"user","view","values":{…}}   a modal
//	POST /sandbox/close    {"user","view"}                a modal, without submitting it
//
//	POST /sandbox/machine  {"name"}                       a state machine; its ARN
//	POST /sandbox/ask      {"machine","execution","title","text"}   it asks for an approval
//	GET  /sandbox/executions             of state machines, with what their tasks got
//
//	POST /sandbox/faults   [{"service":"ec2","action":"RevokeSecurityGroupIngress","fault":"throttled","from":1,"count":2}]
//
// The last plays a script of mishaps, see Mishap; [] ends it. Everything is
// JSON. It is for loopback: whoever reaches it may click as
// anybody. Requests that a web page of another origin could make are refused.
func (s *Sandbox) People(r chi.Router) {
	r.Use(sameOrigin)
	r.Get("/sandbox/messages", func(w http.ResponseWriter, r *http.Request) {
		show(w, s.Slack.Messages(r.URL.Query().Get("channel")))
	})
	r.Get("/sandbox/ephemerals", func(w http.ResponseWriter, r *http.Request) {
		show(w, s.Slack.Ephemerals(r.URL.Query().Get("user")))
	})
	r.Get("/sandbox/views", func(w http.ResponseWriter, r *http.Request) {
		show(w, s.Slack.Views(r.URL.Query().Get("user")))
	})
	r.Get("/sandbox/home", func(w http.ResponseWriter, r *http.Request) {
		home, _ := s.Slack.Home(r.URL.Query().Get("user"))
		show(w, home)
	})
	r.Get("/sandbox/files", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Slack.Files()) })
	r.Post("/sandbox/click", act(s.click))
	r.Post("/sandbox/home", act(s.home))
	r.Post("/sandbox/command", act(s.command))
	r.Post("/sandbox/submit", act(s.submit))
	r.Post("/sandbox/close", act(s.close))
	r.Post("/sandbox/faults", act(s.faults))
	r.Post("/sandbox/machine", act(func(_ context.Context, m machineRequest) (any, error) { return s.AWS.AddStateMachine(m.Name), nil }))
	r.Post("/sandbox/ask", act(s.ask))
	r.Get("/sandbox/executions", func(w http.ResponseWriter, _ *http.Request) { show(w, s.AWS.Executions()) })
}

// slackAndPeople serves the Slack API, and beside it the people.
func (s *Sandbox) slackAndPeople() http.Handler {
	r := chi.NewRouter()
	r.Group(s.People)
	r.NotFound(s.Slack.ServeHTTP)
	r.MethodNotAllowed(s.Slack.ServeHTTP)
	return r
}

// sameOrigin refuses what a browser sends for a page of another origin.
func sameOrigin(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(next)
}

type machineRequest struct{ Name string }

type askRequest struct{ Machine, Execution, Title, Text string }

// ask has an execution of a state machine ask for an approval; it is begun where there
// is none of that name.
func (s *Sandbox) ask(_ context.Context, q askRequest) (any, error) {
	arn := s.AWS.AddStateMachine(q.Machine)
	execution := strings.Replace(arn, ":stateMachine:", ":execution:", 1) + ":" + q.Execution
	if !slices.ContainsFunc(s.AWS.Executions(), func(e fakeaws.Execution) bool { return e.ARN == execution }) {
		s.AWS.BeginExecution(arn, q.Execution)
	}
	s.AWS.Ask(execution, "secbot.approval", "Approval Requested", map[string]any{"title": q.Title, "text": q.Text})
	return execution, nil
}

type clickRequest struct{ User, Channel, TS, View, Block, Action string }

func (s *Sandbox) click(ctx context.Context, c clickRequest) (any, error) {
	if c.View != "" {
		ack, err := s.Slack.ClickBlock(ctx, c.User, c.View, c.Block, c.Action)
		return answered(ack), err
	}
	ack, err := s.Slack.Click(ctx, c.User, c.Channel, c.TS, c.Action)
	return answered(ack), err
}

type homeRequest struct{ User string }

func (s *Sandbox) home(ctx context.Context, h homeRequest) (any, error) {
	ack, err := s.Slack.OpenHome(ctx, h.User)
	return answered(ack), err
}

type commandRequest struct{ User, Channel, Text string }

func (s *Sandbox) command(ctx context.Context, c commandRequest) (any, error) {
	reply, err := s.Slack.Command(ctx, c.User, c.Channel, "/secbot", c.Text)
	return answered(reply.Ack), err
}

type submitRequest struct {
	User, View string
	Values     map[string]filled
}

// filled is what was filled into one input: a text, or the values of ticked boxes.
type filled []string

// UnmarshalJSON takes a string or a list of strings.
func (f *filled) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*f = filled{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(f))
}

func (s *Sandbox) submit(ctx context.Context, c submitRequest) (any, error) {
	values := url.Values{}
	for k, v := range c.Values {
		values[k] = v
	}
	sub, err := s.Slack.SubmitView(ctx, c.User, c.View, values)
	answer := answered(sub.Ack)
	answer["errors"] = sub.Errors
	return answer, err
}

type closeRequest struct{ User, View string }

func (s *Sandbox) close(ctx context.Context, c closeRequest) (any, error) {
	ack, err := s.Slack.CloseView(ctx, c.User, c.View)
	return answered(ack), err
}

// answered is what secbot answered to a person's request.
func answered(a fakeslack.Ack) map[string]any {
	return map[string]any{"status": a.Status, "body": string(a.Body), "ms": a.Took.Milliseconds()}
}

// act decodes a request, does it, and answers 422 with what went wrong.
func act[T any](do func(context.Context, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		var req T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl)).Decode(&req); err != nil {
			http.Error(w, "not a request: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := do(r.Context(), req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		show(w, answer)
	}
}

func show(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The client has gone when this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
