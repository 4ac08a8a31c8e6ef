package remediation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// StatsDays is how many days statistics are about, today included.
	StatsDays = 30
	// MaxStats is how many incidents statistics look through where nobody waits
	// for them.
	MaxStats = 5000
	// statsPage is how many incidents are read, and held, at once.
	statsPage = 200
	// maxWaiting bounds how many incidents that wait are looked through.
	maxWaiting = 200
	// statsTop is how many of a kind statistics name.
	statsTop = 5
)

// Fate is what became of a finding.
type Fate string

// The fates.
const (
	FateAuto     Fate = "auto"     // secbot has fixed it by itself
	FateReverted Fate = "reverted" // at the request of a person
	FateUndone   Fate = "undone"   // fixed, and put back
	FateIgnored  Fate = "ignored"  //
	FateAllowed  Fate = "allowed"  // for a while; closed since, or not yet
	FateResolved Fate = "resolved" // closed without secbot
	FateExpired  Fate = "expired"  // nobody decided
	FateFailed   Fate = "failed"   // the fix, or its undo; it waits for people
	FateWaiting  Fate = "waiting"  // for a decision
	FateTold     Fate = "told"     // told only: nobody was asked
)

// Fates lists every fate, in the order in which people are told.
func Fates() []Fate {
	return []Fate{FateAuto, FateReverted, FateUndone, FateIgnored, FateAllowed, FateResolved, FateExpired, FateFailed, FateWaiting, FateTold}
}

// Stats is what became of the findings of the last days, and what waits now. Its
// size does not depend on how many there were.
type Stats struct {
	From      time.Time      `json:"from"`      // the beginning of the first day, UTC
	To        time.Time      `json:"to"`        // when it was read
	Days      []StatsSpan    `json:"days"`      // the oldest first; the last is today
	Weeks     []StatsSpan    `json:"weeks"`     // the same in sevens up to today, so that the first is shorter
	Found     int            `json:"found"`     // findings that became incidents
	Fates     map[Fate]int   `json:"fates"`     //
	Mitigated Mitigation     `json:"mitigated"` // of all days
	Playbooks []StatsCount   `json:"playbooks"` // the most frequent first, statsTop at most
	Accounts  []StatsCount   `json:"accounts"`  // the same, by id
	Waiting   []StatsWaiting `json:"waiting"`   // what waits for a decision now, the worst first, statsTop at most
	Waits     int            `json:"waits"`     // how much that is in all
	Oldest    time.Time      `json:"oldest"`    // since when the oldest of it waits; zero where nothing does
	More      bool           `json:"more"`      // there were more findings than were looked through: the newest of them
	MoreWait  bool           `json:"more_wait"` // the same of what waits
}

// StatsSpan is a day, or some, of UTC.
type StatsSpan struct {
	Day       time.Time        `json:"day"` // the first
	Found     map[Severity]int `json:"found"`
	Mitigated Mitigation       `json:"mitigated"` // of what was found then
}

// Mitigation is how long it took from the change in AWS until a fix of it was
// read back. What a scan has found is not in it: nobody knows when that was
// changed.
type Mitigation struct {
	Count  int           `json:"count"`
	Median time.Duration `json:"median"`
	P90    time.Duration `json:"p90"` // so long at most in nine of ten cases
}

// StatsCount is how often there was something.
type StatsCount struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// StatsWaiting is an incident that waits for a decision.
type StatsWaiting struct {
	Incident string    `json:"incident"`
	Playbook string    `json:"playbook"`
	Severity Severity  `json:"severity"`
	Resource Ref       `json:"resource"`
	Name     string    `json:"name,omitempty"`
	Since    time.Time `json:"since"`
}

// All is how many findings there were then.
func (d StatsSpan) All() int {
	n := 0
	for _, count := range d.Found {
		n += count
	}
	return n
}

// IncidentLister is what statistics read.
type IncidentLister interface {
	Incidents(ctx context.Context, q IncidentQuery) ([]*Incident, error)
}

// ReadStats makes the statistics of the last StatsDays days as of now. It looks
// through so many incidents at most, the newest, and holds some hundreds of them
// at once. Where the time of ctx is over before it is through, what it has read
// until then counts; only where that is nothing there is an error.
func ReadStats(ctx context.Context, st IncidentLister, now time.Time, most int) (Stats, error) {
	c := newStatsCounter(now)
	if err := c.read(ctx, st, most); err != nil {
		return Stats{}, err
	}
	waiting, more, err := Waiting(ctx, st)
	if err != nil && (c.looked == 0 || ctx.Err() == nil) {
		return Stats{}, err
	}
	c.wait(waiting, more || err != nil)
	return c.stats(), nil
}

// Waiting lists what waits for a decision, the worst first and of one severity
// the oldest. more says that there is more than was looked through.
func Waiting(ctx context.Context, st IncidentLister) (waiting []*Incident, more bool, err error) {
	found, err := st.Incidents(ctx, IncidentQuery{Statuses: []Status{StatusOpen, StatusFailed}, Limit: maxWaiting})
	if err != nil {
		return nil, false, fmt.Errorf("read what waits: %w", err)
	}
	more = len(found) == maxWaiting
	found = slices.DeleteFunc(found, func(i *Incident) bool { return !i.Waits() })
	slices.SortStableFunc(found, func(a, b *Incident) int {
		return cmp.Or(b.Finding.Severity.Rank()-a.Finding.Severity.Rank(), a.Last().At.Compare(b.Last().At), cmp.Compare(a.ID, b.ID))
	})
	return found, more, nil
}

// Waits reports whether the incident waits for somebody's decision.
func (i *Incident) Waits() bool {
	return i.Status == StatusFailed || i.Status == StatusOpen && i.Decision.Action != ActionNotify
}

// statsCounter counts incidents one by one.
type statsCounter struct {
	s                   Stats
	looked              int
	took                []time.Duration
	tookOn, tookIn      [StatsDays][]time.Duration // by day, by week
	playbooks, accounts map[string]int
}

func newStatsCounter(now time.Time) *statsCounter {
	now = now.UTC()
	today := now.Truncate(24 * time.Hour)
	c := &statsCounter{playbooks: map[string]int{}, accounts: map[string]int{}}
	c.s = Stats{From: today.AddDate(0, 0, 1-StatsDays), To: now, Fates: map[Fate]int{}, Waiting: []StatsWaiting{}}
	for i := range StatsDays {
		day := StatsSpan{Day: c.s.From.AddDate(0, 0, i), Found: map[Severity]int{}}
		c.s.Days = append(c.s.Days, day)
		if i == 0 || weekOf(i) > weekOf(i-1) {
			day.Found = map[Severity]int{}
			c.s.Weeks = append(c.s.Weeks, day)
		}
	}
	return c
}

// weekOf is the place in Stats.Weeks of a day in Stats.Days.
func weekOf(day int) int { return (day + 6 - (StatsDays-1)%7) / 7 }

// read counts incidents page by page, from the newest to the oldest. The store
// gives no place to go on at but a time, so what was created at the very time at
// which a page ends is read again with the next.
func (c *statsCounter) read(ctx context.Context, st IncidentLister, most int) error {
	q := IncidentQuery{Since: c.s.From}
	known := map[string]bool{} // of those created at q.Until
	for {
		q.Limit = min(statsPage, most+1-c.looked) + len(known)
		page, err := st.Incidents(ctx, q)
		if err != nil && c.looked > 0 && ctx.Err() != nil {
			c.s.More = true
			return nil //nolint:nilerr // what was read in time counts
		}
		if err != nil {
			return fmt.Errorf("read incidents: %w", err)
		}
		full := len(page) == q.Limit
		page = slices.DeleteFunc(page, func(i *Incident) bool { return known[i.ID] })
		for _, inc := range page {
			if c.looked == most {
				c.s.More = true
				return nil
			}
			c.add(inc)
		}
		if !full {
			return nil
		}
		last := page[len(page)-1].CreatedAt
		if !last.Equal(q.Until) {
			q.Until = last
			clear(known)
		}
		for _, inc := range page {
			if inc.CreatedAt.Equal(last) {
				known[inc.ID] = true
			}
		}
	}
}

func (c *statsCounter) add(inc *Incident) {
	c.looked++
	f := inc.Finding
	c.s.Found++
	c.s.Fates[inc.Fate()]++
	c.playbooks[f.Playbook]++
	c.accounts[f.Resource.Account]++
	day := int(inc.CreatedAt.Sub(c.s.From) / (24 * time.Hour))
	if day < 0 || day >= StatsDays { // another process's clock is ahead
		day = StatsDays - 1
	}
	c.s.Days[day].Found[f.Severity]++
	c.s.Weeks[weekOf(day)].Found[f.Severity]++
	if took, ok := inc.MitigatedIn(); ok {
		c.took = append(c.took, took)
		c.tookOn[day] = append(c.tookOn[day], took)
		c.tookIn[weekOf(day)] = append(c.tookIn[weekOf(day)], took)
	}
}

func (c *statsCounter) wait(waiting []*Incident, more bool) {
	c.s.Waits, c.s.MoreWait = len(waiting), more
	for _, inc := range waiting {
		since := inc.Last().At
		if c.s.Oldest.IsZero() || since.Before(c.s.Oldest) {
			c.s.Oldest = since
		}
		if len(c.s.Waiting) < statsTop {
			f := inc.Finding
			c.s.Waiting = append(c.s.Waiting, StatsWaiting{Incident: inc.ID, Playbook: f.Playbook, Severity: f.Severity, Resource: f.Resource, Name: f.Name, Since: since})
		}
	}
}

func (c *statsCounter) stats() Stats {
	c.s.Mitigated = mitigationOf(c.took)
	for i := range c.s.Days {
		c.s.Days[i].Mitigated = mitigationOf(c.tookOn[i])
	}
	for i := range c.s.Weeks {
		c.s.Weeks[i].Mitigated = mitigationOf(c.tookIn[i])
	}
	c.s.Playbooks, c.s.Accounts = top(c.playbooks), top(c.accounts)
	return c.s
}

// mitigationOf takes the nearest ranks: each is a time that there was. Of an even
// number the median is the lower one of the middle.
func mitigationOf(took []time.Duration) Mitigation {
	if len(took) == 0 {
		return Mitigation{}
	}
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] }
	return Mitigation{Count: len(took), Median: rank(50), P90: rank(90)}
}

// top gives the most frequent.
func top(counts map[string]int) []StatsCount {
	all := []StatsCount{}
	for name, n := range counts {
		all = append(all, StatsCount{name, n})
	}
	slices.SortFunc(all, func(a, b StatsCount) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	return all[:min(len(all), statsTop)]
}

// MitigatedIn is how long it took from the change in AWS until the first fix was
// read back; false where there was none, or nobody knows when the change was made.
func (i *Incident) MitigatedIn() (time.Duration, bool) {
	if i.Finding.Event == "scan" || i.Finding.At.IsZero() {
		return 0, false
	}
	for _, t := range i.History {
		if t.To == StatusFixed {
			return max(0, t.At.Sub(i.Finding.At)), true
		}
	}
	return 0, false
}

// Fate is what became of the incident until now.
func (i *Incident) Fate() Fate {
	switch i.Status {
	case StatusFixing, StatusFixed:
		return i.fixedBy()
	case StatusUndoing, StatusUndone:
		return FateUndone
	case StatusIgnored:
		return FateIgnored
	case StatusAllowed:
		return FateAllowed
	case StatusResolved:
		return FateResolved
	case StatusExpired:
		return FateExpired
	case StatusFailed:
		return FateFailed
	}
	if i.Waits() {
		return FateWaiting
	}
	return FateTold
}

// fixedBy tells whose decision a fix was.
func (i *Incident) fixedBy() Fate {
	for _, t := range slices.Backward(i.History) {
		switch {
		case t.To == StatusFixing && t.From == StatusAllowed && t.By == ByItself:
			return FateAllowed
		case t.To == StatusFixing && t.By == ByItself:
			return FateAuto
		case t.To == StatusFixing:
			return FateReverted
		}
	}
	return FateAuto
}
