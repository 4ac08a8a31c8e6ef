package fakeslack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// pingEvery is how often a websocket is pinged, which its other end wants to see.
	pingEvery = 5 * time.Second
	// maxSocketAnswer is the size of an acknowledgement from which on Slack drops it
	// without a word, in bytes.
	maxSocketAnswer = 20 << 10
	// writeWithin bounds one message to a websocket.
	writeWithin = 5 * time.Second
)

// socket is one connection of Socket Mode. See
// https://docs.slack.dev/apis/events-api/using-socket-mode.
type socket struct {
	conn *websocket.Conn
	gone chan struct{} // closed when it is

	mu    sync.Mutex // of writing, and of acks
	acks  map[string]chan json.RawMessage
	close sync.Once
}

func (s *Slack) appsConnectionsOpen(args) (object, error) {
	ticket := s.o.NewID()
	s.tickets.add(ticket, new(bool))
	return object{"url": "ws" + strings.TrimPrefix(s.o.URL, "http") + "/socket/" + ticket}, nil
}

// serveSocket keeps one websocket. Its ticket is good once.
func (s *Slack) serveSocket(w http.ResponseWriter, r *http.Request, ticket string) {
	s.mu.Lock()
	used, ok := s.tickets.get(ticket)
	good := ok && !*used
	if good {
		*used = true
	}
	s.mu.Unlock()
	if !good {
		http.Error(w, "the ticket is no good", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	k := &socket{conn: conn, gone: make(chan struct{}), acks: map[string]chan json.RawMessage{}}
	defer s.forget(k)
	go k.ping()
	if err := k.write(object{"type": "hello", "num_connections": 1, "connection_info": object{"app_id": AppID},
		"debug_info": object{"host": "sandbox", "build_number": 1, "approximate_connection_time": 3600}}); err != nil {
		return
	}
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	s.changed(Change{Kind: ChangeSocket})
	s.unlock()
	k.read()
}

// forget takes a websocket out that is closed.
func (s *Slack) forget(k *socket) {
	k.hangUp()
	s.mu.Lock()
	defer s.unlock()
	s.sockets = slices.DeleteFunc(s.sockets, func(have *socket) bool { return have == k })
	s.changed(Change{Kind: ChangeSocket})
}

func (k *socket) hangUp() {
	k.close.Do(func() {
		close(k.gone)
		_ = k.conn.Close() // whatever it says, it is closed
	})
}

func (k *socket) write(v any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	return k.conn.WriteJSON(v)
}

func (k *socket) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		if err := k.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(writeWithin)); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-k.gone:
			return
		}
	}
}

// read takes acknowledgements until the connection ends.
func (k *socket) read() {
	for {
		_, raw, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		var answer struct {
			Envelope string          `json:"envelope_id"`
			Payload  json.RawMessage `json:"payload"`
		}
		if len(raw) >= maxSocketAnswer || json.Unmarshal(raw, &answer) != nil {
			continue
		}
		k.mu.Lock()
		wait, ok := k.acks[answer.Envelope]
		delete(k.acks, answer.Envelope)
		k.mu.Unlock()
		if ok {
			wait <- answer.Payload
		}
	}
}

// nextSocket is the connection that gets the next message, in turn; nil where none
// is open.
func (s *Slack) nextSocket() *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sockets) == 0 {
		return nil
	}
	k := s.sockets[0]
	s.sockets = append(s.sockets[1:], k)
	return k
}

// sendSocket sends what would be a request's body in an envelope, and waits for its
// acknowledgement on the same connection.
func (s *Slack) sendSocket(ctx context.Context, k *socket, path string, body []byte, header http.Header) (Ack, error) {
	limited, cancel := context.WithTimeout(ctx, s.o.AckTimeout)
	defer cancel()
	message, err := envelopeOf(path, body, header)
	if err != nil {
		return Ack{}, err
	}
	id, answer := s.o.NewID(), make(chan json.RawMessage, 1)
	message["envelope_id"] = id
	k.mu.Lock()
	k.acks[id] = answer
	k.mu.Unlock()
	began := time.Now()
	if err := k.write(message); err != nil {
		return Ack{}, fmt.Errorf("%s: write to the websocket: %w", path, err)
	}
	select {
	case payload := <-answer:
		return Ack{Status: http.StatusOK, Header: http.Header{"Content-Type": {typeJSON}}, Body: payload, Took: time.Since(began)}, nil
	case <-k.gone:
		return Ack{Took: time.Since(began)}, fmt.Errorf("%s: %w: the websocket was closed", path, ErrNoAck)
	case <-limited.Done():
		return Ack{Took: time.Since(began)}, s.unanswered(ctx, limited, path, limited.Err())
	}
}

// envelopeOf is a request's body as Socket Mode has it.
func envelopeOf(path string, body []byte, header http.Header) (object, error) {
	if path == pathEvents {
		retry, _ := strconv.Atoi(header.Get("X-Slack-Retry-Num")) // 0 for none
		return object{"type": "events_api", "payload": json.RawMessage(body), "accepts_response_payload": false,
			"retry_attempt": retry, "retry_reason": header.Get("X-Slack-Retry-Reason")}, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	if path == pathInteractions {
		payload := json.RawMessage(form.Get("payload"))
		if !json.Valid(payload) {
			return nil, errors.New("envelope: the payload is no JSON, which no websocket can carry")
		}
		var about struct{ Type string }
		_ = json.Unmarshal(payload, &about) // a payload of nothing is sent all the same
		return object{"type": "interactive", "payload": payload, "accepts_response_payload": about.Type == "view_submission"}, nil
	}
	command := object{}
	for name := range form {
		command[name] = form.Get(name)
	}
	command["is_enterprise_install"] = form.Get("is_enterprise_install") == "true"
	return object{"type": "slash_commands", "payload": command, "accepts_response_payload": true}, nil
}

// Sockets is how many websockets are open.
func (s *Slack) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Disconnect asks the other end of every open websocket to connect anew, as Slack
// does every few hours: for the reason "warning", "refresh_requested" or
// "link_disabled". The connections get nothing any more.
func (s *Slack) Disconnect(reason string) error {
	var errs []error
	for _, k := range s.takeSockets() {
		errs = append(errs, k.write(object{"type": "disconnect", "reason": reason, "debug_info": object{"host": "sandbox"}}))
	}
	return errors.Join(errs...)
}

// DropSockets closes every websocket without a word.
func (s *Slack) DropSockets() {
	for _, k := range s.takeSockets() {
		k.hangUp()
	}
}

func (s *Slack) takeSockets() []*socket {
	s.mu.Lock()
	defer s.unlock()
	all := s.sockets
	s.sockets = nil
	s.changed(Change{Kind: ChangeSocket})
	return all
}
