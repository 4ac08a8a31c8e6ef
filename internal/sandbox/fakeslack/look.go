package fakeslack

import "slices"

// ChangeKind says what a Change is about.
type ChangeKind string

// What changes.
const (
	ChangeMessage   ChangeKind = "message"   // posted, edited or deleted: Channel, TS
	ChangeEphemeral ChangeKind = "ephemeral" // shown, replaced or gone: Channel, TS, User
	ChangeViews     ChangeKind = "views"     // the modals of User
	ChangeHome      ChangeKind = "home"      // the home tab of User
	ChangeCall      ChangeKind = "call"      // a call was served: Method
	ChangeSocket    ChangeKind = "socket"    // a websocket was opened or closed
)

// Change says that something is to be looked at again.
type Change struct {
	Kind                      ChangeKind
	Channel, TS, User, Method string
}

// Subscribe has f called after each change, outside of any lock, in the
// goroutine that made the change: f must not block. The function that comes
// back ends it.
func (s *Slack) Subscribe(f func(Change)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	id := s.serial
	s.subs[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, id)
	}
}

// unlock gives s.mu back and tells of the changes made under it.
func (s *Slack) unlock() {
	changes := s.changes
	s.changes = nil
	subs := make([]func(Change), 0, len(s.subs))
	for _, f := range s.subs {
		subs = append(subs, f)
	}
	s.mu.Unlock()
	for _, c := range changes {
		for _, f := range subs {
			f(c)
		}
	}
}

// changed notes a change to be told when the lock is given back.
func (s *Slack) changed(c Change) { s.changes = append(s.changes, c) }

// Messages gives what stands in a channel (id or name), the oldest first, with
// the replies of threads among it, without what was deleted.
func (s *Slack) Messages(channel string) []Message {
	return s.messages(channel, func(*Message) bool { return true })
}

// Thread gives a message and the replies to it, the oldest first.
func (s *Slack) Thread(channel, ts string) []Message {
	return s.messages(channel, func(m *Message) bool { return m.TS == ts || m.ThreadTS == ts })
}

// Message gives one message of a channel.
func (s *Slack) Message(channel, ts string) (Message, bool) {
	found := s.messages(channel, func(m *Message) bool { return m.TS == ts })
	if len(found) == 0 {
		return Message{}, false
	}
	return found[0], true
}

func (s *Slack) messages(ref string, wanted func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.channel(ref)
	if !ok {
		return nil
	}
	var found []Message
	for _, m := range c.messages {
		if wanted(m) {
			found = append(found, m.clone())
		}
	}
	return found
}

// Ephemerals gives what only this user was shown and still sees, the oldest
// first.
func (s *Slack) Ephemerals(user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Message
	for _, m := range s.ephemerals {
		if m.To == user {
			found = append(found, m.clone())
		}
	}
	return found
}

// Views gives a user's open modals, the topmost last.
func (s *Slack) Views(user string) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var views []View
	for _, v := range s.stacks[user] {
		views = append(views, *v)
	}
	return views
}

// Home gives what was published to a user's home tab.
func (s *Slack) Home(user string) (View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.homes[user]
	if !ok {
		return View{}, false
	}
	return *v, true
}

// Calls gives the calls served so far, the oldest first; of very many the
// newest.
func (s *Slack) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Files gives what was uploaded and completed.
func (s *Slack) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []File
	for _, f := range s.files {
		files = append(files, *f)
	}
	return files
}
