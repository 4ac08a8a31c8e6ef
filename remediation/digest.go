package remediation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// digestEvery is the time that one digest is about.
	digestEvery = time.Minute
	// maxCritical is how many messages about critical findings a channel gets
	// within it beside the others: Slack takes about one a second in a channel
	// (docs.slack.dev, "Rate limits").
	maxCritical = 30
	// maxDigested bounds how many incidents one digest counts by name.
	maxDigested = 2000
	// keepDigests is how long is known which incidents have no message.
	keepDigests = 30 * 24 * time.Hour
)

// Digest is the payload of OpDigest.
type Digest struct {
	From  time.Time     `json:"from"`
	Count int           `json:"count"` // incidents without a message of their own
	Lines []DigestLine  `json:"lines"` // the worst and most frequent first
	Worst []ScanFinding `json:"worst"` // some of them
}

// DigestLine counts incidents of one playbook, severity and status.
type DigestLine struct {
	Playbook string   `json:"playbook"`
	Severity Severity `json:"severity"`
	Status   Status   `json:"status"`
	Count    int      `json:"count"`
}

// channelMinute is what a channel got within a minute: the data of its record.
type channelMinute struct {
	Own      []string `json:"own,omitempty"`      // incidents with a message of their own
	Critical []string `json:"critical,omitempty"` // the same of critical findings, which are counted apart
	Digested []string `json:"digested,omitempty"` // incidents without
	More     int      `json:"more,omitempty"`     // further ones
	Closed   bool     `json:"closed,omitempty"`   // the digest is made: nothing more fits into it
}

func digestedRecord(incident string) string { return "digested/" + incident }

// digest says whether a notice goes into its channel's digest instead of out:
// over so many new messages a minute nobody reads them any more, and Slack takes
// no more of them. What a person has decided about is always told.
func (e *Engine) digest(ctx context.Context, n *Notice) (bool, error) {
	most := e.o.Config.Digest
	if most <= 0 || !n.Turn.IsZero() || n.To != NotifySlack || n.Incident == "" || n.Op != OpMessage && n.Op != OpThread {
		return false, nil
	}
	_, err := e.o.Store.Message(ctx, n.Incident)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return false, err
	}
	inc, err := e.o.Store.Incident(ctx, n.Incident)
	if errors.Is(err, ErrNotFound) {
		return false, nil // it is about a scan
	}
	if err != nil {
		return false, fmt.Errorf("read incident %s: %w", n.Incident, err)
	}
	if slices.ContainsFunc(inc.History, func(t Transition) bool { return t.By != ByItself }) {
		return false, nil
	}
	rec, err := e.o.Store.Record(ctx, digestedRecord(inc.ID))
	switch {
	case err == nil && !n.CreatedAt.After(rec.At):
		return true, nil // told by the digest
	case err != nil && !errors.Is(err, ErrNotFound):
		return false, fmt.Errorf("read whether a digest tells of %s: %w", inc.ID, err)
	}
	// All new messages of a minute are counted in one row. Of one process only one
	// at a time is: they would meet in the store.
	e.counting.Lock()
	defer e.counting.Unlock()
	for try := 1; ; try++ {
		out, err := e.admit(ctx, n, inc, most)
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return out, err
		}
		if err := e.standBack(ctx, try); err != nil {
			return false, err
		}
	}
}

// admit counts a new message against its channel's minute, or puts the incident
// into the minute's digest; where that is made already, against the next minute.
func (e *Engine) admit(ctx context.Context, n *Notice, inc *Incident, most int) (digested bool, err error) {
	channel := cmp.Or(n.Channel, e.o.Config.Channel)
	minute := e.now().Truncate(digestEvery)
	rec, m, err := e.minute(ctx, channel, minute)
	if err == nil && m.Closed {
		minute = minute.Add(digestEvery)
		rec, m, err = e.minute(ctx, channel, minute)
	}
	if err != nil {
		return false, err
	}
	list, room := &m.Own, most
	if inc.Finding.Severity == SeverityCritical {
		list, room = &m.Critical, maxCritical
	}
	if slices.Contains(*list, inc.ID) {
		return false, nil // an earlier attempt was counted
	}
	w := Write{Records: []*Record{rec}}
	if len(*list) < room {
		*list = append(*list, inc.ID)
	} else {
		digested = true
		if err := e.intoDigest(ctx, &w, &m, inc, channel, minute); err != nil {
			return false, err
		}
	}
	if rec.Data, err = json.Marshal(m); err != nil {
		return false, fmt.Errorf("encode what the channel got: %w", err)
	}
	return digested, e.store(ctx, w)
}

// minute reads what a channel got within a minute.
func (e *Engine) minute(ctx context.Context, channel string, minute time.Time) (*Record, channelMinute, error) {
	var m channelMinute
	key := fmt.Sprintf("digest/%s/%d", channel, minute.Unix())
	rec, err := e.o.Store.Record(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return &Record{Key: key, At: minute, Until: minute.Add(keepDigests)}, m, nil
	}
	if err != nil {
		return nil, m, fmt.Errorf("read what the channel got: %w", err)
	}
	if err := json.Unmarshal(rec.Data, &m); err != nil {
		return nil, m, fmt.Errorf("decode what the channel got: %w", err)
	}
	return rec, m, nil
}

// intoDigest adds an incident to the minute's digest, whose notice is stored
// with the first. What is told of the incident up to now the digest tells.
func (e *Engine) intoDigest(ctx context.Context, w *Write, m *channelMinute, inc *Incident, channel string, minute time.Time) error {
	if len(m.Digested) == 0 {
		due, err := e.notice(w.Records[0].Key, NotifySlack, OpDigest, nil)
		if err != nil {
			return err
		}
		due.Channel, due.Due = channel, minute.Add(digestEvery)
		w.Notices = []*Notice{due}
	}
	switch {
	case slices.Contains(m.Digested, inc.ID):
	case len(m.Digested) < maxDigested:
		m.Digested = append(m.Digested, inc.ID)
	default:
		m.More++
	}
	rec, err := e.o.Store.Record(ctx, digestedRecord(inc.ID))
	if errors.Is(err, ErrNotFound) {
		rec, err = &Record{Key: digestedRecord(inc.ID)}, nil
	}
	if err != nil {
		return fmt.Errorf("read whether a digest tells of %s: %w", inc.ID, err)
	}
	rec.At, rec.Until = e.now(), e.now().Add(keepDigests)
	w.Records = append(w.Records, rec)
	return nil
}

// fillDigest gives a digest its payload: its incidents as they stand now.
func (e *Engine) fillDigest(ctx context.Context, n *Notice) error {
	rec, m, err := e.closeMinute(ctx, n.ID)
	if err != nil {
		return err
	}
	d := Digest{From: rec.At, Count: len(m.Digested) + m.More, Lines: []DigestLine{}, Worst: []ScanFinding{}}
	count := map[DigestLine]int{}
	for _, id := range m.Digested {
		inc, err := e.o.Store.Incident(ctx, id)
		if err != nil {
			return fmt.Errorf("read incident %s: %w", id, err)
		}
		f := inc.Finding
		count[DigestLine{Playbook: f.Playbook, Severity: f.Severity, Status: inc.Status}]++
		d.Worst = append(d.Worst, ScanFinding{Finding: f, Incident: id})
	}
	for line, n := range count {
		line.Count = n
		d.Lines = append(d.Lines, line)
	}
	slices.SortFunc(d.Lines, func(a, b DigestLine) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), b.Count-a.Count, cmp.Compare(a.Playbook, b.Playbook), cmp.Compare(a.Status, b.Status))
	})
	slices.SortStableFunc(d.Worst, func(a, b ScanFinding) int { return worstFirst(a.Finding, b.Finding) })
	d.Worst = d.Worst[:min(len(d.Worst), maxScanMessages)]
	if n.Payload, err = json.Marshal(d); err != nil {
		return fmt.Errorf("encode the digest %s: %w", n.ID, err)
	}
	return nil
}

// closeMinute keeps further incidents out of a digest that is being made.
func (e *Engine) closeMinute(ctx context.Context, key string) (*Record, channelMinute, error) {
	for try := 1; ; try++ {
		var m channelMinute
		rec, err := e.o.Store.Record(ctx, key)
		if err != nil {
			return nil, m, fmt.Errorf("read the digest %s: %w", key, err)
		}
		if err := json.Unmarshal(rec.Data, &m); err != nil {
			return nil, m, fmt.Errorf("decode the digest %s: %w", key, err)
		}
		if m.Closed {
			return rec, m, nil
		}
		m.Closed = true
		if rec.Data, err = json.Marshal(m); err != nil {
			return nil, m, fmt.Errorf("encode the digest %s: %w", key, err)
		}
		err = e.store(ctx, Write{Records: []*Record{rec}})
		if !errors.Is(err, ErrConflict) || try == maxConflicts {
			return rec, m, err
		}
		if err := e.standBack(ctx, try); err != nil {
			return nil, m, err
		}
	}
}
