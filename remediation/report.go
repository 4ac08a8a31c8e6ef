package remediation

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ReportDay is the weekday on which statistics are posted, by its English name in
// small letters; never, or empty, is none.
type ReportDay string

// ReportNever is for no report.
const ReportNever ReportDay = "never"

// ReportDays lists every day, and never.
func ReportDays() []ReportDay {
	return []ReportDay{ReportNever, "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
}

const (
	reportEvery = 7 * 24 * time.Hour
	// reportHour is when on its day the report is posted, UTC.
	reportHour = 9 * time.Hour
	// statsWithin bounds how long statistics are read for a report.
	statsWithin = time.Minute
)

// within is how long after a week's beginning the report is posted; false for
// never. Time's own weeks begin on Mondays: the first day of the year 1 was one.
func (d ReportDay) within() (time.Duration, bool) {
	i := slices.Index(ReportDays(), d)
	return time.Duration(i-1)*24*time.Hour + reportHour, i > 0
}

// report posts the statistics in the channel.
func (e *Engine) report(ctx context.Context, h *held) error {
	at, ok := e.o.Config.Report.within()
	if due := h.job.Due.UTC(); !ok || !due.Equal(due.Add(-at).Truncate(reportEvery).Add(at)) {
		return nil // it was stored before the day was changed, or the report given up
	}
	n, err := e.statsNotice(ctx, h.job.ID, "")
	if err != nil {
		return err
	}
	return h.commit(ctx, Write{Notices: []*Notice{n}}, true)
}

// statsCommand sends the statistics to whoever asks for them. Everybody may, who
// may read incidents.
func (e *Engine) statsCommand(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	if !userID().MatchString(cmd.ReplyTo.User) { // at the shell nobody can be sent a picture, and the channel has not asked
		return h.commit(ctx, Write{}, true)
	}
	n, err := e.statsNotice(ctx, "stats/"+cmd.ID, cmd.ReplyTo.User)
	if err != nil {
		return err
	}
	if cmd.ReplyTo.NotBefore.After(n.Due) {
		n.Due = cmd.ReplyTo.NotBefore
	}
	return h.commit(ctx, Write{Notices: []*Notice{n}}, true)
}

// statsNotice reads the statistics. user is who gets them; empty for the channel.
func (e *Engine) statsNotice(ctx context.Context, id, user string) (*Notice, error) {
	ctx, cancel := context.WithTimeout(ctx, statsWithin)
	defer cancel()
	s, err := ReadStats(ctx, e.o.Store, e.now(), MaxStats)
	if err != nil {
		return nil, fmt.Errorf("read the statistics: %w", err)
	}
	n, err := e.notice(id, NotifySlack, OpStats, StatsReport{Stats: s, User: user})
	if err != nil {
		return nil, err
	}
	n.Channel = user
	if user == "" {
		n.Channel = e.o.Config.Channel
	}
	return n, nil
}
