package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Source is what tells secbot of changes.
type Source string

// The sources.
const (
	SourceCloudTrail Source = "cloudtrail"
	SourceConfig     Source = "config"
	SourceGuardDuty  Source = "guardduty"
)

// Sources lists every source.
func Sources() []Source { return []Source{SourceCloudTrail, SourceConfig, SourceGuardDuty} }

// name is what people call the source.
func (s Source) name() string {
	switch s {
	case SourceCloudTrail:
		return "CloudTrail"
	case SourceConfig:
		return "AWS Config"
	case SourceGuardDuty:
		return "GuardDuty"
	}
	return "any source"
}

const (
	// heardEvery is how often it is written down at most that a source is heard.
	heardEvery = time.Minute
	// listenEvery is how often the sources are looked at.
	listenEvery = time.Hour
	// anySource stands for all sources together, before any was heard.
	anySource Source = ""
)

// silence is what a source's record holds beside the time when it was heard.
type silence struct {
	Told bool `json:"told,omitempty"` // people know that it is silent
}

func heardRecord(s Source) string { return "heard/" + string(s) }

// Heard notes that events of some sources have come, whether or not secbot
// answers them. That it fails is only logged: the events are what matters.
func (e *Engine) Heard(ctx context.Context, sources ...Source) {
	for _, s := range sources {
		if !e.due(s) {
			continue
		}
		if err := e.heard(ctx, s); err != nil && !errors.Is(err, ErrConflict) {
			e.logUnlessOver(ctx, "that a source was heard could not be stored", err)
		}
	}
}

// due reports whether it was not noted lately that a source is heard.
func (e *Engine) due(s Source) bool {
	e.hearing.Lock()
	defer e.hearing.Unlock()
	now := e.now()
	if last, ok := e.heardAt[s]; ok && now.Sub(last) < heardEvery {
		return false
	}
	e.heardAt[s] = now
	return true
}

func (e *Engine) heard(ctx context.Context, s Source) error {
	rec, state, err := e.silence(ctx, s)
	if err != nil {
		return err
	}
	c := &change{e: e, now: e.now()}
	if state.Told {
		c.alert(fmt.Sprintf("heard/%s/%d", s, c.now.Unix()), Alert{Title: "Events come again: " + s.name(),
			Text: fmt.Sprintf("The last one before had come %s. What changed meanwhile shows in /secbot scan.", utc(rec.At))})
	}
	return c.keepSilence(ctx, rec, silence{}, c.now)
}

// silence reads what is known of a source; its record is new where it was never
// heard.
func (e *Engine) silence(ctx context.Context, s Source) (*Record, silence, error) {
	var state silence
	rec, err := e.o.Store.Record(ctx, heardRecord(s))
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: heardRecord(s)}, state, nil
	}
	if err != nil {
		return nil, state, fmt.Errorf("read when %s was heard: %w", s.name(), err)
	}
	if err := json.Unmarshal(rec.Data, &state); err != nil {
		return nil, state, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	return rec, state, nil
}

// keepSilence stores a source's record with what c has to tell.
func (c *change) keepSilence(ctx context.Context, rec *Record, state silence, at time.Time) (err error) {
	if rec.Data, err = json.Marshal(state); err != nil {
		return fmt.Errorf("encode %s: %w", rec.Key, err)
	}
	rec.At = at
	c.w.Records = append(c.w.Records, rec)
	if c.err != nil {
		return c.err
	}
	return c.e.store(ctx, c.w)
}

// listen tells people, once, of each source from which no event has come for
// too long. A source that was never heard is not missed, unless none was.
func (e *Engine) listen(ctx context.Context) error {
	never := true
	for _, s := range Sources() {
		rec, state, err := e.silence(ctx, s)
		if err != nil {
			return err
		}
		if rec.Version == 0 {
			continue
		}
		never = false
		if err := e.miss(ctx, s, rec, state); err != nil {
			return err
		}
	}
	if !never {
		return nil
	}
	rec, state, err := e.silence(ctx, anySource)
	if err != nil {
		return err
	}
	if rec.Version == 0 { // from now on something is to be heard
		return (&change{e: e, now: e.now()}).keepSilence(ctx, rec, silence{}, e.now())
	}
	return e.miss(ctx, anySource, rec, state)
}

// miss tells of a source that was silent for too long.
func (e *Engine) miss(ctx context.Context, s Source, rec *Record, state silence) error {
	now := e.now()
	if state.Told || now.Sub(rec.At) < e.o.Config.Heartbeat {
		return nil
	}
	c := &change{e: e, now: now}
	since := "since " + utc(rec.At)
	if s == anySource {
		since = "ever since secbot began to listen, " + utc(rec.At)
	}
	c.alert(fmt.Sprintf("silent/%s/%d", s, rec.At.Unix()), Alert{Title: "No events from " + s.name(),
		Text: fmt.Sprintf("Nothing has come from %s %s, so changes may go unseen. Look whether the trail or recorder is on, the EventBridge rule is enabled, and its target reaches secbot; /secbot scan shows what is open now. How long is too long: heartbeat in secbot.yaml.", s.name(), since)})
	e.o.Log.Error("a source is silent", "source", s, "since", rec.At)
	return c.keepSilence(ctx, rec, silence{Told: true}, rec.At)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
