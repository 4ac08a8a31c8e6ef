package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Breaker stops automatic fixing where there is too much of it: a policy that
// is wrong, or somebody who makes secbot take an account apart. The zero
// Breaker never does.
type Breaker struct {
	Fixes   int           // the most in one account within Window; 0: no bound
	Overall int           // the most in all accounts together; 0: no bound
	Window  time.Duration // whole minutes
}

// defaultBreaker is far above what a day's work makes and far below what an
// account has.
func defaultBreaker() Breaker { return Breaker{Fixes: 30, Overall: 60, Window: 10 * time.Minute} }

// overall is the place of the breaker of all accounts.
const overall = "all accounts"

// breakerState is the data of a breaker's record.
type breakerState struct {
	Starts  []time.Time `json:"starts,omitempty"`  // of automatic fixes within the window, the earliest first
	Tripped *time.Time  `json:"tripped,omitempty"` // since when it only asks; nil while it lets fixes through
}

func breakerRecord(place string) string { return "breaker/" + place }

// brake lets an automatic fix through or, where a breaker is open or opens with
// it, lowers it to a question. What it counts is stored together with the
// incident.
func (c *change) brake(ctx context.Context, f Finding, d Decision) (Decision, error) {
	b := c.e.o.Config.Breaker
	if d.Action != ActionAuto || b.Window <= 0 {
		return d, nil
	}
	for _, at := range []struct {
		place string
		most  int
	}{{f.Resource.Account, b.Fixes}, {overall, b.Overall}} {
		if at.most <= 0 {
			continue
		}
		open, err := c.count(ctx, at.place, at.most, b.Window)
		if err != nil {
			return d, err
		}
		if open {
			return d.AtMost(ActionAsk, fmt.Sprintf("the circuit breaker for %s is open: secbot has fixed more than %d things within %s, and asks about everything until somebody resets it (/secbot reset)",
				breakerName(at.place), at.most, minutes(b.Window))), nil
		}
	}
	return d, nil
}

func breakerName(place string) string {
	if place == overall {
		return overall
	}
	return "account " + place
}

func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d.Minutes())) }

// count adds one fix to a breaker and says whether it is open.
func (c *change) count(ctx context.Context, place string, most int, window time.Duration) (open bool, err error) {
	rec, state, err := c.e.breaker(ctx, place)
	if err != nil {
		return false, err
	}
	if state.Tripped != nil {
		return true, nil
	}
	state.Starts = slices.DeleteFunc(state.Starts, func(t time.Time) bool { return t.Before(c.now.Add(-window)) })
	if len(state.Starts) >= most {
		state.Tripped = &c.now
		c.alert(fmt.Sprintf("breaker/%s/%d", place, c.now.UnixNano()), Alert{
			Title: "Circuit breaker open: " + breakerName(place),
			Text: fmt.Sprintf("secbot has fixed %d things in %s within %s. From now on it asks about each instead. Look at what goes on before you reset it: a policy may be wrong, or somebody may use secbot to take things apart.",
				most, breakerName(place), minutes(window)),
			Breaker: place,
		})
		c.e.o.Log.Error("the circuit breaker is open", "for", place, "fixes", most, "within", window)
	} else {
		state.Starts = append(state.Starts, c.now)
	}
	if rec.Data, err = json.Marshal(state); err != nil {
		return false, fmt.Errorf("encode the breaker: %w", err)
	}
	rec.At = c.now
	c.w.Records = append(c.w.Records, rec)
	return state.Tripped != nil, nil
}

// breaker reads a breaker's state; a new one where there is none.
func (e *Engine) breaker(ctx context.Context, place string) (*Record, breakerState, error) {
	var state breakerState
	rec, err := e.o.Store.Record(ctx, breakerRecord(place))
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: breakerRecord(place)}, state, nil
	}
	if err != nil {
		return nil, state, fmt.Errorf("read the breaker for %s: %w", breakerName(place), err)
	}
	if err := json.Unmarshal(rec.Data, &state); err != nil {
		return nil, state, fmt.Errorf("decode the breaker for %s: %w", breakerName(place), err)
	}
	return rec, state, nil
}

// alert adds a message about secbot itself to the outbox.
func (c *change) alert(id string, a Alert) {
	n, err := c.e.notice("alert/"+id, NotifySlack, OpAlert, a)
	c.err = errors.Join(c.err, err)
	n.Channel = c.e.o.Config.Channel
	c.w.Notices = append(c.w.Notices, n)
}

// reset closes a breaker, or all that are open where the command names none.
func (e *Engine) reset(ctx context.Context, h *held, cmd Command) error {
	if err := e.mayReset(ctx, cmd); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	places, err := e.breakers(ctx, cmd.Scope)
	if err != nil {
		return err
	}
	c := &change{e: e, now: e.now()}
	for _, place := range places {
		rec, state, err := e.breaker(ctx, place)
		if err != nil {
			return err
		}
		if state.Tripped == nil {
			continue
		}
		if rec.Data, err = json.Marshal(breakerState{}); err != nil {
			return fmt.Errorf("encode the breaker: %w", err)
		}
		rec.At = c.now
		c.w.Records = append(c.w.Records, rec)
		c.alert(fmt.Sprintf("reset/%s/%s", place, cmd.ID), Alert{Title: "Circuit breaker closed: " + breakerName(place), By: cmd.By,
			Text: "secbot fixes by itself again what the policy says. What it has asked about meanwhile still waits for a decision."})
		e.o.Log.Warn("the circuit breaker was reset", "for", place, "by", cmd.By)
	}
	text := "No circuit breaker is open."
	if n := len(c.w.Records); n > 0 {
		text = fmt.Sprintf("%d circuit breaker(s) reset.", n)
	}
	c.reply(cmd, Reply{Text: text})
	if c.err != nil {
		return c.err
	}
	return h.commit(ctx, c.w, true)
}

func (e *Engine) mayReset(ctx context.Context, cmd Command) error {
	if isShell(cmd.By) {
		return nil
	}
	return e.among(ctx, cmd.By, e.o.Config.Responders)
}

// breakers are the places to reset: the named one, else all that have one.
func (e *Engine) breakers(ctx context.Context, named string) ([]string, error) {
	if named != "" {
		return []string{named}, nil
	}
	recent, err := e.o.Store.Incidents(ctx, IncidentQuery{Since: e.now().AddDate(0, 0, -30), Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	places := []string{overall}
	for _, inc := range recent {
		if !slices.Contains(places, inc.Finding.Resource.Account) {
			places = append(places, inc.Finding.Resource.Account)
		}
	}
	return places, nil
}
