package bot

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

const (
	// membersLife is how old the known members of a user group may be.
	membersLife = 5 * time.Minute
	// membersTimeout bounds the question.
	membersTimeout = 5 * time.Second
	// maxGroups bounds how many groups are remembered.
	maxGroups = 1000
)

// Directory knows the members of Slack's user groups, up to five minutes back.
type Directory struct {
	client *slack.Client
	now    func() time.Time
	mu     sync.Mutex
	groups map[string]members
}

type members struct {
	users []string
	at    time.Time
}

// NewDirectory makes a Directory that asks client (usergroups.users.list).
func NewDirectory(client *slack.Client, now func() time.Time) *Directory {
	return &Directory{client: client, now: now, groups: map[string]members{}}
}

// Member reports whether user is in group. Where Slack can't be asked it
// returns an error and never an old answer. Errors aren't remembered.
func (d *Directory) Member(ctx context.Context, group, user string) (bool, error) {
	known, ok := d.known(group)
	if !ok {
		var err error
		if known, err = d.ask(ctx, group); err != nil {
			return false, err
		}
	}
	return slices.Contains(known, user), nil
}

func (d *Directory) known(group string) ([]string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.groups[group]
	return m.users, ok && d.now().Sub(m.at) < membersLife
}

func (d *Directory) ask(ctx context.Context, group string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	asked := d.now()
	users, err := d.client.GetUserGroupMembersContext(ctx, group)
	if err != nil {
		return nil, apiError("usergroups.users.list", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.groups) >= maxGroups {
		clear(d.groups)
	}
	d.groups[group] = members{users: users, at: asked}
	return users, nil
}
