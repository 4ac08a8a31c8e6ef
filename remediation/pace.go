package remediation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// paceEvery and paceBurst are what a channel takes: about a message a second,
	// and more in short bursts (docs.slack.dev, "Rate limits").
	paceEvery = time.Second
	paceBurst = 20 // where Options.Burst is 0
	// maxHush bounds the pause that Slack may ask for.
	maxHush = 15 * time.Minute
	// conflictPause is about the pause after the first conflict in a row that all
	// processes write; the next are that much longer each.
	conflictPause = 10 * time.Millisecond
	// keepPace is how long a quiet channel's record is kept.
	keepPace = time.Hour
)

// pace is what a channel's record holds. It is in the store, since several
// processes send to one channel.
type pace struct {
	Next  time.Time `json:"next"`  // when a message is due that follows all others at paceEvery
	Quiet time.Time `json:"quiet"` // Slack wants nothing before
}

// turn says how long a notice must wait until its channel takes it: 0 for not
// at all. The turn that it was given is kept in the notice, and is its own when
// it comes again.
func (e *Engine) turn(ctx context.Context, n *Notice) (wait time.Duration, err error) {
	if !n.paced() {
		return 0, nil
	}
	err = e.repace(ctx, n, func(p *pace, now time.Time) bool {
		wait = p.Quiet.Sub(now)
		switch {
		case wait > 0:
			return false
		case !n.Turn.IsZero() && !n.Turn.After(now):
			wait = 0
			return false
		}
		start := p.Next
		if start.Before(now) {
			start = now
		}
		n.Turn = start.Add(-time.Duration(e.o.Burst) * paceEvery)
		p.Next = start.Add(paceEvery)
		wait = n.Turn.Sub(now)
		return true
	})
	return max(wait, 0), err
}

// hush keeps a channel quiet for as long as Slack has asked for.
func (e *Engine) hush(ctx context.Context, n *Notice, pause time.Duration) error {
	if !n.paced() {
		return nil
	}
	return e.repace(ctx, n, func(p *pace, now time.Time) bool {
		until := now.Add(min(pause, maxHush))
		if !until.After(p.Quiet) {
			return false
		}
		p.Quiet = until
		return true
	})
}

// paced reports whether a notice goes where a channel's limits hold. Answers to
// one person go by their response URL, and a home is no channel.
func (n *Notice) paced() bool { return n.To == NotifySlack && n.Op != OpReply && n.Op != OpHome }

// repace changes the record of a notice's channel, unless f says that it stays.
func (e *Engine) repace(ctx context.Context, n *Notice, f func(p *pace, now time.Time) bool) error {
	// Of one process's workers only one at a time: they would meet in the store.
	e.pacing.Lock()
	defer e.pacing.Unlock()
	key := "pace/" + cmp.Or(n.Channel, e.o.Config.Channel)
	for try := 1; ; try++ {
		rec, err := e.o.Store.Record(ctx, key)
		if errors.Is(err, ErrNotFound) {
			rec, err = &Record{Key: key}, nil
		}
		if err != nil {
			return fmt.Errorf("read the pace of the channel: %w", err)
		}
		var p pace
		if len(rec.Data) > 0 {
			if err := json.Unmarshal(rec.Data, &p); err != nil {
				return fmt.Errorf("decode %s: %w", key, err)
			}
		}
		now := e.now()
		if !f(&p, now) {
			return nil
		}
		if rec.Data, err = json.Marshal(p); err != nil {
			return fmt.Errorf("encode %s: %w", key, err)
		}
		rec.At, rec.Until = now, now.Add(keepPace)
		err = e.store(ctx, Write{Records: []*Record{rec}})
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
		if err := e.standBack(ctx, try); err != nil {
			return err
		}
	}
}

// standBack waits a little, after an attempt at a row that all processes write,
// and not all of them as long.
func (e *Engine) standBack(ctx context.Context, try int) error {
	most := time.Duration(try) * conflictPause
	return e.o.Sleep(ctx, most/2+rand.N(most)) //nolint:gosec // only spreads attempts
}
