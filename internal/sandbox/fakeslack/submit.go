package fakeslack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// Submission is what became of a modal that was submitted.
type Submission struct {
	Ack
	Action string            // the response_action: update, push, clear, errors, or "" where the modal just closed
	Errors map[string]string // by block id, shown beside the inputs; the modal stays open
	View   *View             // the user's topmost modal now; nil where none is open
}

// SubmitView has a user fill in and submit their topmost modal. values are by
// action id, block id or "BLOCK_ID/ACTION_ID": a text, an option's value (of
// checkboxes and multi selects several), a date, a user's id; what is left out
// keeps its initial value. Where an input is missing or wrong nothing is sent
// and the error is an *InputError. The bot's response_action is applied to the
// modals as Slack does; an answer that Slack would refuse is an error.
func (s *Slack) SubmitView(ctx context.Context, user, viewID string, values url.Values) (Submission, error) {
	if values == nil {
		values = url.Values{}
	}
	s.mu.Lock()
	payload, err := s.submitPayload(user, viewID, values)
	s.unlock()
	if err != nil {
		return Submission{}, err
	}
	ack, err := s.interact(ctx, payload)
	sub := Submission{Ack: ack}
	if err != nil {
		return sub, err
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.apply(&sub, user, viewID); err != nil {
		return sub, fmt.Errorf("answer to view_submission: %w", err)
	}
	sub.View = s.top(user)
	return sub, nil
}

func (s *Slack) submitPayload(user, viewID string, values url.Values) (object, error) {
	u, ok := s.user(user)
	if !ok {
		return nil, noUser(user)
	}
	v := s.top(user)
	if v == nil || v.ID != viewID {
		return nil, noView(user, viewID)
	}
	state, err := stateOf(v.Blocks, values)
	if err != nil {
		return nil, err
	}
	p := s.about("view_submission", u)
	p["user"].(object)["name"] = u.Name
	p["trigger_id"] = s.newTrigger(u.ID, true)
	p["response_urls"] = []any{}
	p["view"], err = v.payload(state)
	return p, err
}

// top is a copy of a user's topmost modal; nil where none is open.
func (s *Slack) top(user string) *View {
	stack := s.stacks[user]
	if len(stack) == 0 {
		return nil
	}
	v := *stack[len(stack)-1]
	return &v
}

// apply does what the bot's answer says.
func (s *Slack) apply(sub *Submission, user, viewID string) error {
	var answer struct {
		Action string            `json:"response_action"`
		View   json.RawMessage   `json:"view"`
		Errors map[string]string `json:"errors"`
	}
	if len(bytes.TrimSpace(sub.Body)) > 0 {
		if err := json.Unmarshal(sub.Body, &answer); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
	}
	sub.Action = answer.Action
	switch answer.Action {
	case "":
		s.dismiss(user, viewID)
		return nil
	case "clear":
		s.stack(user)
		return nil
	case "errors":
		sub.Errors = answer.Errors
		return s.checkErrors(user, viewID, answer.Errors)
	case "update", "push":
		return s.swap(user, viewID, answer.Action, string(answer.View))
	}
	return fmt.Errorf("unknown response_action %q", answer.Action)
}

// checkErrors: each error must be about an input block of the view.
func (s *Slack) checkErrors(user, viewID string, errs map[string]string) error {
	if len(errs) == 0 {
		return errors.New("response_action errors without errors")
	}
	v, ok := s.viewOf(user, viewID)
	if !ok {
		return noView(user, viewID)
	}
	blocks, err := decodeBlocks(v.Blocks)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, b := range blocks {
		known[text(b["block_id"])] = b["type"] == "input"
	}
	for id := range errs {
		if !known[id] {
			return fmt.Errorf("an error for %q, which is no input block of the view", id)
		}
	}
	return nil
}

// swap shows another view in place of a modal, or on top of it.
func (s *Slack) swap(user, viewID, action, raw string) error {
	for _, old := range s.stacks[user] {
		if old.ID != viewID {
			continue
		}
		if action == "push" {
			v, err := s.newView(user, "modal", raw, nil)
			if err != nil {
				return explain(err)
			}
			return s.push(v)
		}
		v, err := s.newView(user, "modal", raw, old)
		if err != nil {
			return explain(err)
		}
		s.replace(old, v)
		return nil
	}
	return noView(user, viewID)
}

// explain spells a refusal out for people.
func explain(err error) error {
	var r *refusal
	if errors.As(err, &r) && len(r.messages) > 0 {
		return fmt.Errorf("%w: %v", err, r.messages)
	}
	return err
}

// dismiss takes a modal off its user's others, and those on top of it.
func (s *Slack) dismiss(user, viewID string) {
	stack := s.stacks[user]
	for i, v := range stack {
		if v.ID == viewID {
			s.stack(user, stack[:i:i]...)
			return
		}
	}
}

// CloseView has a user close their topmost modal with the button in its
// corner. The bot is told where the view has notify_on_close; the Ack is zero
// where not.
func (s *Slack) CloseView(ctx context.Context, user, viewID string) (Ack, error) {
	s.mu.Lock()
	payload, err := s.closePayload(user, viewID)
	s.unlock()
	if err != nil || payload == nil {
		return Ack{}, err
	}
	return s.interact(ctx, payload)
}

// closePayload closes the modal and gives what the bot is to be told; nil for
// nothing.
func (s *Slack) closePayload(user, viewID string) (object, error) {
	u, ok := s.user(user)
	if !ok {
		return nil, noUser(user)
	}
	v := s.top(user)
	if v == nil || v.ID != viewID {
		return nil, noView(user, viewID)
	}
	if v.clearOnClose {
		s.stack(user)
	} else {
		s.dismiss(user, viewID)
	}
	if !v.notifyOnClose {
		return nil, nil
	}
	view, err := v.payload(nil)
	p := s.about("view_closed", u)
	p["user"].(object)["name"] = u.Name
	p["view"], p["is_cleared"] = view, v.clearOnClose
	return p, err
}
