package bot

import (
	"context"
	"time"
)

// peopleWithin bounds how long Slack is asked who somebody is, before anything else
// is done for them.
const peopleWithin = 800 * time.Millisecond

// Outsiders knows who is no full member of the workspace; see Directory.Outsider.
type Outsiders interface {
	Outsider(ctx context.Context, user string) (string, error)
}

// admit says what somebody is told whom secbot does not serve: guests, people of
// other workspaces, apps. It is nil where it does. All that people can do in Slack
// goes through here. Where Slack can't be asked nothing is shown; what changes
// something goes on, since the engine asks again before it does anything, and has
// the time to.
func (h *Handler) admit(ctx context.Context, user string, changes bool) *Message {
	if h.People == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, peopleWithin)
	defer cancel()
	why, err := h.People.Outsider(ctx, user)
	switch {
	case err != nil && changes:
		h.log().Warn("it could not be asked who somebody is; the engine asks again", "user", user, "error", err)
	case err != nil:
		h.log().Warn("it could not be asked who somebody is, so they were shown nothing", "user", user, "error", err)
		m := words("secbot could not ask Slack who you are (its app needs the scope users:read), so there is nothing to show. Try again in a while.")
		return &m
	case why != "":
		h.log().Info("somebody was refused", "user", user, "reason", why)
		m := words("%s, so nothing was changed.", escaped(why, 200))
		return &m
	}
	return nil
}
