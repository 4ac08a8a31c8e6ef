package remediation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// noticeTimeout bounds one attempt to deliver.
	noticeTimeout = 20 * time.Second
	// maxNoticePause bounds the pause between attempts.
	maxNoticePause = time.Minute
	// giveUpAfter is when a notice that can't be delivered is given up.
	giveUpAfter = 7 * 24 * time.Hour
	// replyLife is when an answer to a click or command is given up: nobody
	// waits for it any more.
	replyLife = time.Hour
)

// noticeLoop delivers what stands in the outbox. Of an incident's notices to one
// destination the order holds, since only the first unsent is ever due.
func (e *Engine) noticeLoop(ctx, work context.Context) {
	horizon := e.firstLook()
	e.loop(ctx, e.wakeNotices, func(free int, ended func()) int {
		now := e.now()
		due, err := e.o.Store.DueNotices(ctx, now.Add(horizon), free)
		if err != nil {
			e.logUnlessOver(ctx, "notices could not be read from the store", err)
			return 0
		}
		horizon = 0
		return e.startNotices(work, due, now, ended)
	})
}

func (e *Engine) startNotices(work context.Context, due []*Notice, now time.Time, ended func()) int {
	started := 0
	for _, n := range due {
		if n.Due.After(now) {
			continue
		}
		n.LeaseUntil, n.UpdatedAt = now.Add(leaseFor), now
		n.Attempts++
		if err := e.put(work, Write{Notices: []*Notice{n}}); err != nil {
			if !errors.Is(err, ErrConflict) {
				e.o.Log.Error("a notice could not be leased", "notice", n.ID, "error", err)
			}
			continue
		}
		started++
		go func() {
			defer ended()
			e.deliver(work, n)
		}()
	}
	return started
}

// deliver tries one leased notice and stores how it went.
func (e *Engine) deliver(ctx context.Context, n *Notice) {
	digested, wait, err := e.attempt(ctx, n)
	log := e.o.Log.With("notice", n.ID, "op", n.Op, "event", n.Event, "incident", n.Incident)
	now := e.now()
	n.UpdatedAt, n.LeaseUntil, n.Error = now, time.Time{}, ""
	result := "sent"
	switch {
	case digested && err == nil:
		n.Sent, result = true, "digested"
	case err == nil && wait > 0:
		// Nothing was sent, so that this was no attempt.
		n.Attempts--
		n.Due, result = now.Add(wait), "paced"
	case err == nil:
		n.Sent = true
		log.Info("notice sent", "to", n.To, "attempt", n.Attempts)
	case errors.Is(err, ErrUndeliverable), now.Sub(n.CreatedAt) > n.life():
		log.Error("a notice is given up", "error", err)
		n.Sent, n.Error, result = true, err.Error(), "given up"
	default:
		pause := backoff(n.Attempts, time.Second, maxNoticePause)
		var unclear *UnclearError
		if errors.As(err, &unclear) {
			pause = max(pause, unclear.After)
		}
		var retry *RetryError
		if errors.As(err, &retry) {
			pause = retry.After
			err = errors.Join(err, e.hush(context.WithoutCancel(ctx), n, pause))
		}
		log.Warn("a notice will be tried again", "attempt", n.Attempts, "in", pause, "error", err)
		n.Due, n.Error, result = now.Add(pause), err.Error(), "retried"
	}
	e.o.Metrics.notices.Inc(n.To, result)
	if err := e.store(context.WithoutCancel(ctx), Write{Notices: []*Notice{n}}); err != nil {
		// The lease ends by itself; the notifier then finds what is out already.
		log.Error("a notice's fate could not be stored", "error", err)
	}
}

func (n *Notice) life() time.Duration {
	if n.Op == OpReply || n.Op == OpHome {
		return replyLife
	}
	return giveUpAfter
}

// attempt sends a notice, unless its channel's digest tells it or its channel
// takes it later. A panic of one must not end the others.
func (e *Engine) attempt(ctx context.Context, n *Notice) (digested bool, wait time.Duration, err error) {
	err = e.safely("notice "+n.ID, func() (err error) {
		if digested, err = e.digest(ctx, n); err != nil || digested {
			return err
		}
		if wait, err = e.turn(ctx, n); err != nil || wait > 0 {
			return err
		}
		return e.notify(ctx, n)
	})
	return digested, wait, err
}

// notify hands a notice to its notifier.
func (e *Engine) notify(ctx context.Context, n *Notice) error {
	to := e.o.Notifiers[n.To]
	if to == nil {
		return fmt.Errorf("no notifier for %q is configured", n.To)
	}
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	if n.Op == OpDigest {
		if err := e.fillDigest(ctx, n); err != nil {
			return err
		}
	}
	return to.Notify(ctx, *n)
}
