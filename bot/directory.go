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

// Directory knows the members of Slack's user groups, and who is a full member of
// the workspace, up to five minutes back.
type Directory struct {
	client *slack.Client
	now    func() time.Time
	mu     sync.Mutex
	groups map[string]members
	people map[string]person
	home   *slack.AuthTestResponse // nil: not asked yet
}

// person is what is known of a user.
type person struct {
	outside string // why they are no full member; empty where they are
	at      time.Time
}

type members struct {
	users []string
	at    time.Time
}

// NewDirectory makes a Directory that asks client (usergroups.users.list,
// users.info, auth.test).
func NewDirectory(client *slack.Client, now func() time.Time) *Directory {
	return &Directory{client: client, now: now, groups: map[string]members{}, people: map[string]person{}}
}

// Outsider says in words why a user is no full member of the workspace, or of its
// enterprise: a guest, of another workspace, an app, or gone. It is empty where
// they are one. Where Slack can't be asked it returns an error and never an old
// answer.
func (d *Directory) Outsider(ctx context.Context, user string) (string, error) {
	d.mu.Lock()
	known, ok := d.people[user]
	d.mu.Unlock()
	if ok && d.now().Sub(known.at) < membersLife {
		return known.outside, nil
	}
	ctx, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	asked := d.now()
	home, err := d.workspace(ctx)
	if err != nil {
		return "", err
	}
	u, err := d.client.GetUserInfoContext(ctx, user)
	if err != nil {
		return "", apiError("users.info", err)
	}
	p := person{outside: outside(u, home), at: asked}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.people) >= maxGroups {
		clear(d.people)
	}
	d.people[user] = p
	return p.outside, nil
}

// workspace is where the app is installed.
func (d *Directory) workspace(ctx context.Context) (*slack.AuthTestResponse, error) {
	d.mu.Lock()
	home := d.home
	d.mu.Unlock()
	if home != nil {
		return home, nil
	}
	home, err := d.client.AuthTestContext(ctx)
	if err != nil {
		return nil, apiError("auth.test", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.home = home
	return home, nil
}

// outside says why u is no full member of the workspace. Within an enterprise a
// user's team may differ from the one that the app is in.
func outside(u *slack.User, home *slack.AuthTestResponse) string {
	sameEnterprise := home.EnterpriseID != "" && u.Enterprise.EnterpriseID == home.EnterpriseID
	switch {
	case u.Deleted:
		return "Your account was closed"
	case u.IsBot:
		return "Apps can't use secbot"
	case u.IsRestricted, u.IsUltraRestricted:
		return "Guests can't use secbot"
	case sameEnterprise:
		return ""
	case u.IsStranger, u.TeamID != "" && home.TeamID != "" && u.TeamID != home.TeamID:
		return "Only people of this workspace can use secbot"
	}
	return ""
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
