package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
)

const (
	// homeLinksWithin bounds the time in which Slack is asked where messages are,
	// and homeLinks how many such calls run at once.
	homeLinksWithin = 700 * time.Millisecond
	homeLinks       = 8
	// maxLinks is how many addresses are kept; they never change.
	maxLinks = 2000
)

// HomeStore is what homes are read from.
type HomeStore interface {
	remediation.IncidentLister
	Incident(ctx context.Context, id string) (*remediation.Incident, error)
	Message(ctx context.Context, incident string) (*remediation.MessageRef, error)
	Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error)
}

// Homes publishes people's home tabs. Client and Store must be set; it must not be
// copied once used.
type Homes struct {
	Client *slack.Client
	Store  HomeStore
	Names  Names
	// Standing tells what secbot may do now; nil: homes don't tell.
	Standing func(ctx context.Context) (Standing, error)
	Log      *slog.Logger     // discarded where nil
	Now      func() time.Time // time.Now where nil

	busy  sync.Map // by user: a chan struct{} of one place
	links knownLinks
}

// Publish makes a person's home as everything stands now and publishes it. Of one
// person's only one at a time is made, so that the one that is read last is what
// they see. Where the store can't be read the home says so, and there is an error.
func (p *Homes) Publish(ctx context.Context, user string) error {
	place, _ := p.busy.LoadOrStore(user, make(chan struct{}, 1))
	busy, _ := place.(chan struct{}) // nothing else is stored
	select {
	case busy <- struct{}{}:
		defer func() { <-busy }()
	case <-ctx.Done():
		return fmt.Errorf("wait for another who publishes the home of %s: %w", user, ctx.Err())
	}
	h, readErr := p.read(ctx)
	view := renderHome(h)
	if readErr != nil {
		view = renderNoHome(h.now)
	}
	_, err := p.Client.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: user, View: view})
	if errorCode(err) == "invalid_arguments" {
		p.log().Error("Slack refuses a home", "error", explained(err))
	}
	return errors.Join(readErr, apiError("views.publish", err))
}

func (p *Homes) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}

// read gathers what a home is made of.
func (p *Homes) read(ctx context.Context) (home, error) {
	h := home{names: p.Names, now: time.Now()}
	if p.Now != nil {
		h.now = p.Now()
	}
	for _, part := range []func(context.Context, *home) error{p.readStanding, p.readWaiting, p.readUnderway, p.readFixes, p.readLeft} {
		if err := part(ctx, &h); err != nil {
			return h, err
		}
	}
	p.readStats(ctx, &h)
	p.addLinks(ctx, h.waiting.items, h.underway.items, h.fixes.items, h.left.items)
	return h, nil
}

func (p *Homes) readStanding(ctx context.Context, h *home) (err error) {
	if p.Standing == nil {
		return nil
	}
	if h.standing, err = p.Standing(ctx); err != nil {
		return fmt.Errorf("read whether secbot is paused: %w", err)
	}
	return nil
}

func (p *Homes) readWaiting(ctx context.Context, h *home) error {
	found, more, err := remediation.Waiting(ctx, p.Store)
	if err != nil {
		return err
	}
	h.waiting = listOf(found, homeWaiting, more)
	return nil
}

func (p *Homes) readUnderway(ctx context.Context, h *home) error {
	return p.readSome(ctx, &h.underway, homeUnderway, remediation.StatusFixing, remediation.StatusUndoing)
}

func (p *Homes) readFixes(ctx context.Context, h *home) error {
	return p.readSome(ctx, &h.fixes, homeFixes, remediation.StatusFixed)
}

func (p *Homes) readSome(ctx context.Context, l *homeList, most int, statuses ...remediation.Status) error {
	found, err := p.Store.Incidents(ctx, remediation.IncidentQuery{Statuses: statuses, Limit: most + 1})
	if err != nil {
		return fmt.Errorf("read incidents: %w", err)
	}
	*l = listOf(found, most, len(found) > most)
	return nil
}

// listOf keeps the first. more says that there are more than those found.
func listOf(found []*remediation.Incident, most int, more bool) homeList {
	l := homeList{more: max(0, len(found)-most)}
	if more {
		l.plus = "+"
	}
	for _, inc := range found[:min(len(found), most)] {
		l.items = append(l.items, homeItem{inc: inc})
	}
	return l
}

// readLeft reads what is let be: of each incident its newest suppression, those
// that end first at the top, and what is for good at the end.
func (p *Homes) readLeft(ctx context.Context, h *home) error {
	all, err := p.Store.Suppressions(ctx, h.now)
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	newest := map[string]*remediation.Suppression{}
	for _, s := range all { // the newest is the last
		newest[cmp.Or(s.Incident, "suppression "+s.ID)] = s
	}
	left := slices.SortedFunc(maps.Values(newest), func(a, b *remediation.Suppression) int {
		switch {
		case a.Until.IsZero() && !b.Until.IsZero():
			return 1
		case !a.Until.IsZero() && b.Until.IsZero():
			return -1
		}
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID))
	})
	h.left.more = max(0, len(left)-homeLeft)
	for _, s := range left[:min(len(left), homeLeft)] {
		item := homeItem{left: s}
		if s.Incident != "" {
			inc, err := p.Store.Incident(ctx, s.Incident)
			if err != nil && !errors.Is(err, remediation.ErrNotFound) {
				return fmt.Errorf("read incident %s: %w", s.Incident, err)
			}
			item.inc = inc
		}
		h.left.items = append(h.left.items, item)
	}
	return nil
}

// readStats reads the numbers. A home is of use without them.
func (p *Homes) readStats(ctx context.Context, h *home) {
	ctx, cancel := context.WithTimeout(ctx, statsReadWithin)
	defer cancel()
	s, err := remediation.ReadStats(ctx, p.Store, h.now, statsRead)
	if err != nil {
		p.log().Warn("the statistics could not be read for a home", "error", err)
		return
	}
	h.stats = &s
}

// addLinks finds out where the incidents' messages are, as far as that is told in
// time.
func (p *Homes) addLinks(ctx context.Context, lists ...[]homeItem) {
	ctx, cancel := context.WithTimeout(ctx, homeLinksWithin)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(homeLinks)
	for _, items := range lists {
		for i := range items {
			if items[i].inc == nil {
				continue
			}
			g.Go(func() error {
				items[i].link = p.link(ctx, items[i].inc.ID)
				return nil
			})
		}
	}
	_ = g.Wait() // none returns an error
}

// link is the address of an incident's message; empty where there is none, or
// nobody tells.
func (p *Homes) link(ctx context.Context, incident string) string {
	ref, err := p.Store.Message(ctx, incident)
	if err != nil {
		return ""
	}
	if known := p.links.get(ref.Channel + "/" + ref.TS); known != "" {
		return known
	}
	link, err := permalink(ctx, p.Client, ref)
	if err != nil {
		p.log().Debug("Slack does not tell where a message is", "incident", incident, "error", err)
		return ""
	}
	p.links.put(ref.Channel+"/"+ref.TS, link)
	return link
}

// knownLinks are addresses of messages; of too many all are forgotten.
type knownLinks struct {
	mu    sync.Mutex
	links map[string]string
}

func (k *knownLinks) get(message string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.links[message]
}

func (k *knownLinks) put(message, link string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.links == nil || len(k.links) >= maxLinks {
		k.links = map[string]string{}
	}
	k.links[message] = link
}

// publishHome publishes a person's home tab.
func (h *Handler) publishHome(ctx context.Context, user string) error {
	if h.Homes == nil {
		return errors.New("nobody publishes home tabs")
	}
	return h.Homes.Publish(ctx, user)
}

// showHome is publishHome for those who can do nothing where it fails.
func (h *Handler) showHome(ctx context.Context, user string) {
	if err := h.publishHome(ctx, user); err != nil {
		h.log().Warn("a home could not be published", "user", user, "error", err)
	}
}

// home publishes somebody's home tab after what they did there.
func (n *Notifier) home(ctx context.Context, notice remediation.Notice) error {
	var of remediation.HomeOf
	if err := decode(notice, &of); err != nil {
		return err
	}
	if n.Homes == nil || !isUser(of.User) {
		return fmt.Errorf("%w: nobody publishes the home of %q", remediation.ErrUndeliverable, of.User)
	}
	return unlessTemporary(n.Homes.Publish(ctx, of.User))
}
