package fakeslack

import "net/http"

// responseURL is where a bot may answer an interaction or a command.
type responseURL struct {
	channel string
	user    string
	message string // the ts of the message that was clicked; "" for a command
	expires int64  // microseconds
	uses    int    // left
}

// newResponseURL gives out a response URL. The caller holds the lock.
func (s *Slack) newResponseURL(channel, user, message string) string {
	secret, expires := s.o.NewID(), s.o.Now().Add(responseLife)
	s.responses.add(secret, &responseURL{channel: channel, user: user, message: message, expires: expires.UnixMicro(), uses: responseUses})
	return s.o.URL + "/response/" + secret
}

func (s *Slack) serveResponse(w http.ResponseWriter, r *http.Request, secret string) {
	if r.Method != http.MethodPost {
		http.Error(w, "method_not_allowed", http.StatusMethodNotAllowed)
		return
	}
	a := args{}
	err := readJSONArgs(r.Body, a)
	s.serve(w, r, Call{Method: "response_url", Args: a}, func() answer {
		if err == nil {
			err = s.respond(secret, a)
		}
		if err != nil {
			failure := failed(err)
			if failure.status == http.StatusOK {
				failure.status = http.StatusBadRequest
			}
			return failure
		}
		return answer{status: http.StatusOK, body: "ok"}
	})
}

// respond does what was posted to a response URL.
func (s *Slack) respond(secret string, a args) error {
	u, ok := s.responses.get(secret)
	switch {
	case !ok:
		return &refusal{code: "invalid_url", status: http.StatusNotFound}
	case s.o.Now().UnixMicro() > u.expires:
		return &refusal{code: "expired_url", status: http.StatusNotFound}
	case u.uses == 0:
		return &refusal{code: "used_url", status: http.StatusNotFound}
	}
	u.uses--
	c, ok := s.channel(u.channel)
	if !ok {
		return refuse("channel_not_found")
	}
	original, found := s.seen(u.user, c, u.message)
	if truthy(a["delete_original"]) {
		return s.deleteOriginal(c, original, found)
	}
	said, err := s.read(a)
	if err != nil {
		return err
	}
	if truthy(a["replace_original"]) && found {
		said.given.text, said.given.blocks, said.given.attachments = true, true, true // all of it is replaced
		s.edit(original, said)
		return nil
	}
	return s.respondAnew(c, u, original, a, said)
}

func (s *Slack) deleteOriginal(c *channel, m *Message, found bool) error {
	switch {
	case !found:
		return refuse("message_not_found")
	case m.Ephemeral():
		s.hide(m)
	default:
		s.drop(c, m)
	}
	return nil
}

// respondAnew adds a message: for everybody, or ephemeral by default.
func (s *Slack) respondAnew(c *channel, u *responseURL, original *Message, a args, said content) error {
	thread, err := c.thread(a["thread_ts"])
	if err != nil {
		return err
	}
	if thread == "" && original != nil {
		thread = original.ThreadTS
	}
	m := Message{Channel: c.ID, ThreadTS: thread, User: BotUser, Version: said.Version}
	if a["response_type"] == "in_channel" {
		s.post(c, m)
		return nil
	}
	m.To = u.user
	s.show(m)
	return nil
}

// seen finds a message in a channel as a user sees it, ephemerals too.
func (s *Slack) seen(user string, c *channel, ts string) (*Message, bool) {
	if m, ok := c.message(ts); ok {
		return m, true
	}
	for _, m := range s.ephemerals {
		if m.TS == ts && m.To == user {
			return m, true
		}
	}
	return nil, false
}
