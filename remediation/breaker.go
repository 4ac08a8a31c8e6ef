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

// gate counts the automatic fixes of a place within a time.
type gate struct {
	record string
	most   int
	window time.Duration
	place  string // of a breaker, which stays shut until it is reset; empty for the cap on one resource
}

// gates are what an automatic fix of a finding has to get through.
func (e *Engine) gates(f Finding) []gate {
	all := []gate{{record: "cap/" + digest([]byte(f.Resource.String())), most: maxFixesPerHour, window: time.Hour}}
	b := e.o.Config.Breaker
	for _, g := range []gate{{place: f.Resource.Account, most: b.Fixes}, {place: overall, most: b.Overall}} {
		if g.most > 0 && b.Window > 0 {
			g.record, g.window = breakerRecord(g.place), b.Window
			all = append(all, g)
		}
	}
	return all
}

// brake lets an automatic fix through or, where its resource was fixed too often
// lately or a breaker is open or opens with it, lowers it to a question. What it
// counts is stored together with the incident, and only where all let it through.
func (c *change) brake(ctx context.Context, f Finding, d Decision) (Decision, error) {
	if d.Action != ActionAuto {
		return d, nil
	}
	gates := c.e.gates(f)
	records := make([]*Record, len(gates))
	states := make([]breakerState, len(gates))
	for i, g := range gates {
		rec, state, err := c.e.counted(ctx, c.seen, g.record)
		if err != nil {
			return d, err
		}
		state.Starts = slices.DeleteFunc(state.Starts, func(t time.Time) bool { return t.Before(c.now.Add(-g.window)) })
		if state.Tripped != nil || len(state.Starts) >= g.most {
			return d.AtMost(ActionAsk, g.why()), c.trip(ctx, g, rec, state)
		}
		records[i], states[i] = rec, state
	}
	for i := range gates {
		states[i].Starts = append(states[i].Starts, c.now)
		if err := c.keepCount(gates[i], records[i], states[i]); err != nil {
			return d, err
		}
	}
	return d, nil
}

// why says what keeps a fix back.
func (g gate) why() string {
	if g.place == "" {
		return fmt.Sprintf("secbot has changed this resource %d times within the hour; something puts the change back, so a person decides", g.most)
	}
	return fmt.Sprintf("the circuit breaker for %s is open: secbot has fixed %d things within %s, and asks about everything until somebody resets it (/secbot reset)",
		breakerName(g.place), g.most, minutes(g.window))
}

// trip opens a breaker, unless it is open already, and says so.
func (c *change) trip(ctx context.Context, g gate, rec *Record, state breakerState) error {
	if g.place == "" || state.Tripped != nil {
		return nil
	}
	state.Tripped = &c.now
	c.alert(fmt.Sprintf("breaker/%s/%d", g.place, c.now.UnixNano()), Alert{
		Title: "Circuit breaker open: " + breakerName(g.place),
		Text: fmt.Sprintf("secbot has fixed %d things in %s within %s. From now on it asks about each instead. Look at what goes on before you reset it: a policy may be wrong, or somebody may use secbot to take things apart.",
			g.most, breakerName(g.place), minutes(g.window)),
		Breaker: g.place,
	})
	c.e.o.Log.Error("the circuit breaker is open", "for", g.place, "fixes", g.most, "within", g.window)
	why := fmt.Sprintf("%d automatic fixes within %s", g.most, minutes(g.window))
	if err := c.auditOwn(ctx, ByItself, "opened the circuit breaker for "+breakerName(g.place), why, nil); err != nil {
		return err
	}
	if err := c.listBreaker(ctx, g.place); err != nil {
		return err
	}
	return c.keepCount(g, rec, state)
}

func (c *change) keepCount(g gate, rec *Record, state breakerState) (err error) {
	if rec.Data, err = json.Marshal(state); err != nil {
		return fmt.Errorf("encode %s: %w", g.record, err)
	}
	rec.At = c.now
	if g.place == "" {
		rec.Until = c.now.Add(g.window)
	}
	c.w.Records = append(c.w.Records, rec)
	return nil
}

func breakerName(place string) string {
	if place == overall {
		return overall
	}
	return "account " + place
}

func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d.Minutes())) }

// counted reads what a gate has counted; nothing where there is no record yet.
func (e *Engine) counted(ctx context.Context, seen *view, key string) (*Record, breakerState, error) {
	var state breakerState
	rec, err := seen.record(ctx, e.o.Store, key)
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: key}, state, nil
	}
	if err != nil {
		return nil, state, fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(rec.Data, &state); err != nil {
		return nil, state, fmt.Errorf("decode %s: %w", key, err)
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
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		if err := c.reset(ctx, cmd); err != nil {
			return err
		}
		if err := h.commit(ctx, c.w, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

func (c *change) reset(ctx context.Context, cmd Command) error {
	places, err := c.e.breakers(ctx, cmd.Scope)
	if err != nil {
		return err
	}
	closed := 0
	for _, place := range places {
		rec, state, err := c.e.counted(ctx, nil, breakerRecord(place))
		if err != nil {
			return err
		}
		if state.Tripped == nil {
			continue
		}
		if rec.Data, err = json.Marshal(breakerState{}); err != nil {
			return fmt.Errorf("encode the breaker: %w", err)
		}
		closed++
		rec.At = c.now
		c.w.Records = append(c.w.Records, rec)
		c.alert(fmt.Sprintf("reset/%s/%s", place, cmd.ID), Alert{Title: "Circuit breaker closed: " + breakerName(place), By: cmd.By,
			Text: "secbot fixes by itself again what the policy says. What it has asked about meanwhile still waits for a decision."})
		if err := c.auditOwn(ctx, cmd.By, "reset the circuit breaker for "+breakerName(place), cmd.Reason, nil); err != nil {
			return err
		}
		c.e.o.Log.Warn("the circuit breaker was reset", "for", place, "by", cmd.By)
	}
	text := "No circuit breaker is open."
	if closed > 0 {
		text = fmt.Sprintf("%d circuit breaker(s) reset.", closed)
	}
	c.reply(cmd, Reply{Text: text})
	return c.err
}

// breakersRecord is the key of the record that lists the places of which a
// breaker has ever opened.
const breakersRecord = "breakers"

// breakers are the places to reset: the named one, else all of which a breaker
// has ever opened.
func (e *Engine) breakers(ctx context.Context, named string) ([]string, error) {
	if named != "" {
		return []string{named}, nil
	}
	_, places, err := e.listedBreakers(ctx)
	return places, err
}

func (e *Engine) listedBreakers(ctx context.Context) (*Record, []string, error) {
	rec, err := e.o.Store.Record(ctx, breakersRecord)
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: breakersRecord}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read which circuit breakers there are: %w", err)
	}
	var places []string
	if err := json.Unmarshal(rec.Data, &places); err != nil {
		return nil, nil, fmt.Errorf("decode %s: %w", breakersRecord, err)
	}
	return rec, places, nil
}

// listBreaker writes down that the breaker of a place has opened.
func (c *change) listBreaker(ctx context.Context, place string) error {
	rec, places, err := c.e.listedBreakers(ctx)
	if err != nil || slices.Contains(places, place) {
		return err
	}
	if rec.Data, err = json.Marshal(append(places, place)); err != nil {
		return fmt.Errorf("encode %s: %w", breakersRecord, err)
	}
	rec.At = c.now
	c.w.Records = append(c.w.Records, rec)
	return nil
}
