package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxScanAccounts bounds how many accounts one scan looks at: those that are still
	// to come stand in one row of the store.
	maxScanAccounts = 1000
	// maxScanRefused is how many of the accounts that don't let secbot in are named.
	maxScanRefused = 50
	// spreadFor is how long an account that others were told of waits for them, before
	// whoever finds it takes it.
	spreadFor = 5 * time.Minute
	// scanPlace is the place of all accounts' jobs, so that a process scans only a few
	// of them at once, and events are not kept waiting.
	scanPlace = "scan"
	// maxGatherTries bounds how often the result of an account is added anew because
	// another was faster.
	maxGatherTries = 100
)

// ScanScope is what a scan looks at.
type ScanScope struct {
	What         string   // s3, sg or all
	Organisation bool     // every account of the organisation
	Accounts     []string // these, sorted; empty and not Organisation: the own one
}

// ParseScanScope reads the scope of a scan: s3, sg or all (which empty text is too),
// and after it org or account ids with commas in between. Its errors are a
// *ScopeError, or a *RefusedError that says what is wrong with the accounts.
func ParseScanScope(text string) (ScanScope, error) {
	what, where, _ := strings.Cut(text, " ")
	if _, err := kindsOf(what); err != nil {
		return ScanScope{}, err
	}
	s := ScanScope{What: what, Organisation: where == "org"}
	if what == "" {
		s.What = "all"
	}
	if s.Organisation || where == "" {
		return s, nil
	}
	for id := range strings.SplitSeq(where, ",") {
		if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
			return ScanScope{}, &RefusedError{Text: fmt.Sprintf("A scan can't look at account %q: an account's id has 12 digits, and several are written with commas in between.", shorten(id))}
		}
		s.Accounts = append(s.Accounts, id)
	}
	slices.Sort(s.Accounts)
	s.Accounts = slices.Compact(s.Accounts)
	return s, nil
}

// String is the scope as ParseScanScope takes it.
func (s ScanScope) String() string {
	switch {
	case s.Organisation:
		return s.What + " org"
	case len(s.Accounts) > 0:
		return s.What + " " + strings.Join(s.Accounts, ",")
	}
	return s.What
}

func (s ScanScope) several() bool { return s.Organisation || len(s.Accounts) > 0 }

// Gathered is what a scan of several accounts has come to.
type Gathered struct {
	Accounts int         `json:"accounts"` // in all
	Waiting  []string    `json:"waiting"`  // those that were not scanned yet
	Sum      *ScanReport `json:"sum"`      // of the others
	Asked    Command     `json:"asked"`    // which is answered in the end
	// Quiet is for one that nobody has asked for: only what is new in it is told.
	Quiet bool `json:"quiet,omitempty"`
}

// AccountsOf are the accounts that a scan of a scope looks at, sorted: those that it
// names; of the organisation those that the policy names as members, or else those
// that AWS Organizations lists. A *RefusedError says in words why there are none.
func (e *Engine) AccountsOf(ctx context.Context, s ScanScope) (all []string, err error) {
	switch {
	case !s.Organisation:
		all = s.Accounts
	case len(e.o.Config.Members) > 0:
		all = slices.Sorted(slices.Values(e.o.Config.Members))
	case e.o.Accounts == nil:
		return nil, &RefusedError{Text: "secbot was not told which accounts there are: name them as `members` in secbot.yaml."}
	default:
		if all, err = e.o.Accounts(ctx); err != nil {
			return nil, unlisted(err)
		}
	}
	if n := len(all); n > maxScanAccounts {
		return nil, &RefusedError{Text: fmt.Sprintf("A scan looks at %d accounts at most, and these are %d: name some of them.", maxScanAccounts, n)}
	}
	if len(all) == 0 {
		return nil, &RefusedError{Text: "There is no account to be scanned."}
	}
	return all, nil
}

// unlisted says what to do where AWS Organizations tells no accounts, unless trying
// again may help.
func unlisted(err error) error {
	if isTransient(err) {
		return err
	}
	return &RefusedError{Text: "The accounts of the organisation are not known: " + Explain(err) +
		". AWS Organizations tells them its management account and delegated administrators alone; for another, name them as `members` in secbot.yaml.", Err: err}
}

// accountScan is the payload of jobAccount.
type accountScan struct {
	Scan    string `json:"scan"`
	What    string `json:"what"` // s3, sg or all
	Account string `json:"account"`
	Posts   int    `json:"posts"` // how many findings get a message of their own
}

// scanAccounts begins a scan of several accounts: each is a job, whose end adds to
// the scan's record what was found there. After a crash it goes on with those that
// are still to come.
func (e *Engine) scanAccounts(ctx context.Context, h *held, cmd Command, scope ScanScope) error {
	of, err := e.toGather(ctx, cmd, scope)
	if err != nil {
		return e.refuseScan(ctx, h, cmd, err)
	}
	if of == nil {
		return nil // it was done before a crash
	}
	show, err := e.beginShown(ctx, h, cmd, of)
	if errors.Is(err, errNotNow) {
		return err
	}
	if err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	return e.spread(ctx, show.run, scope.What)
}

// refuseScan tells whoever has asked why there is no scan, unless trying again may
// help.
func (e *Engine) refuseScan(ctx context.Context, h *held, cmd Command, err error) error {
	if isTransient(err) || errors.Is(err, errStore) {
		return err
	}
	return e.refuse(ctx, h, cmd, err)
}

// toGather is what a scan begins with; of one that has begun already it is what is
// stored, whatever accounts there are by now; nil where it has ended.
func (e *Engine) toGather(ctx context.Context, cmd Command, scope ScanScope) (*Gathered, error) {
	_, run, err := readScan(ctx, e.o.Store.Record, cmd.ID)
	if err == nil {
		return run.Gathered, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	if !isShell(cmd.By) {
		if err := e.listed(ctx, scope.Accounts); err != nil {
			return nil, err
		}
	}
	accounts, err := e.AccountsOf(ctx, scope)
	if err != nil {
		return nil, err
	}
	return &Gathered{Accounts: len(accounts), Waiting: accounts, Asked: cmd,
		Sum: &ScanReport{ID: cmd.ID, By: cmd.By, Scope: scope.String(), Accounts: len(accounts), Started: e.now(), Groups: []ScanGroup{}, Failures: []string{}}}, nil
}

// listed is a *RefusedError where the policy names members, and not all of these
// accounts are among them: everybody in Slack may scan, so that it says what they may
// look at. Where it names none, all that let secbot in may be looked at.
func (e *Engine) listed(ctx context.Context, accounts []string) error {
	members := e.o.Config.Members
	if len(members) == 0 || len(accounts) == 0 {
		return nil
	}
	own := e.self(ctx).Account
	for _, account := range accounts {
		if account != own && !slices.Contains(members, account) {
			return &RefusedError{Text: fmt.Sprintf("Account %s is not one of the `members` in secbot.yaml, so that it can't be scanned from Slack.", account)}
		}
	}
	return nil
}

// spread stores a job for each account that is still to come, and tells the others of
// them. Where the telling is lost the jobs are found a while later.
func (e *Engine) spread(ctx context.Context, run *ScanRun, what string) error {
	if run.Report != nil {
		return nil
	}
	due := e.now()
	if e.o.Spread != nil {
		due = due.Add(spreadFor)
	}
	var ids []string
	for _, account := range run.Gathered.Waiting {
		id := run.ID + "/" + account
		a := accountScan{Scan: run.ID, What: what, Account: account, Posts: maxScanMessages / run.Gathered.Accounts}
		if err := e.enqueueAt(ctx, due, jobAccount, id, scanPlace, a); err != nil {
			return fmt.Errorf("store that account %s is to be scanned: %w", account, err)
		}
		ids = append(ids, jobID(jobAccount, id))
	}
	if e.o.Spread == nil {
		return nil
	}
	if err := e.o.Spread(ctx, ids); err != nil {
		return fmt.Errorf("tell the others which accounts are to be scanned: %w", err)
	}
	return nil
}

// Begin has the scan of an account begin that Options.Spread was told of. When it
// returns nil that is stored: whoever works takes it, and somebody else where they
// die. What is under way, over or unknown is let be.
func (e *Engine) Begin(ctx context.Context, id string) error {
	job, err := e.o.Store.Job(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && job.Kind != jobAccount {
		e.o.Log.Warn("there is no such account to be scanned any more", "job", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read job %s: %w", id, err)
	}
	now := e.now()
	if job.Done || !job.Due.After(now) || job.Attempts > 0 {
		e.own.see(Write{Jobs: []*Job{job}}, now)
		return nil
	}
	job.Due, job.UpdatedAt = now, now
	err = e.store(ctx, Write{Jobs: []*Job{job}})
	if errors.Is(err, ErrConflict) { // told of twice, or begun just now
		return nil
	}
	if err != nil {
		return fmt.Errorf("store that job %s is due: %w", id, err)
	}
	return nil
}

// scanAccount scans one account of several.
func (e *Engine) scanAccount(ctx context.Context, h *held, a accountScan) error {
	rec, run, err := readScan(ctx, e.o.Store.Record, a.Scan)
	if errors.Is(err, ErrNotFound) {
		return nil // it was so long ago that it is forgotten
	}
	if err != nil {
		return err
	}
	if !run.awaits(a.Account) {
		return nil
	}
	last, err := e.lastScan(ctx, a.What+"/"+a.Account)
	if err != nil {
		return err
	}
	show := &scanShow{e: e, h: h, rec: rec, run: run, part: true}
	report, err := e.scanAndOpen(ctx, h, scanOf{ID: a.Scan, By: run.By, Scope: a.What, account: a.Account, posts: a.Posts, last: last, show: show}, e.scan)
	if err != nil {
		return err
	}
	found, err := last.write(report)
	if err != nil {
		return err
	}
	return e.gather(ctx, h, a, report, found)
}

// gaveUpAccount adds that an account could not be scanned.
func (e *Engine) gaveUpAccount(ctx context.Context, h *held, a accountScan, cause error) error {
	r := &ScanReport{Finished: e.now()}
	r.unread("account " + a.Account + ": its scan was given up: " + explain(cause))
	return e.gather(ctx, h, a, r, nil)
}

// awaits reports whether the scan of an account is still to be added.
func (r *ScanRun) awaits(account string) bool {
	return r.Report == nil && r.Gathered != nil && slices.Contains(r.Gathered.Waiting, account)
}

// gather adds what the scan of an account has come to, and ends its job in the same
// write, so that it counts once. The last ends the scan.
func (e *Engine) gather(ctx context.Context, h *held, a accountScan, report *ScanReport, found []*Record) error {
	for try := 1; ; try++ {
		rec, run, err := readScan(ctx, e.o.Store.Record, a.Scan)
		if err != nil {
			return err
		}
		if !run.awaits(a.Account) {
			return h.commit(ctx, Write{}, true)
		}
		run.add(a.Account, report, e.now())
		w, err := e.gathered(ctx, rec, run)
		if err != nil {
			return err
		}
		w.Records = append(w.Records, found...)
		if err := h.commit(ctx, w, true); !errors.Is(err, ErrConflict) || try == maxGatherTries {
			return err
		}
		if err := e.o.Sleep(ctx, backoff(try, 5*time.Millisecond, time.Second)); err != nil {
			return err
		}
	}
}

// add counts an account's scan.
func (r *ScanRun) add(account string, report *ScanReport, now time.Time) {
	g := r.Gathered
	g.Waiting = slices.DeleteFunc(g.Waiting, func(x string) bool { return x == account })
	g.Sum.merge(report)
	g.Sum.Finished, r.At = now, now
	r.Read, r.Found, r.Failed = g.Sum.Read, g.Sum.Open+g.Sum.LetBe+g.Sum.Ignored, g.Sum.Unread
}

// gathered gives what stores the scan with one more account: its message, and with
// the last the report, its answer and the place of the scan under way.
func (e *Engine) gathered(ctx context.Context, rec *Record, run *ScanRun) (Write, error) {
	quiet := run.Gathered.Quiet
	if len(run.Gathered.Waiting) > 0 {
		waits, err := e.noticeWaits(ctx, run.ID)
		if err != nil {
			return Write{}, err
		}
		w, err := run.write(e, rec, !waits && !quiet)
		w.Records = append(w.Records, e.scanStays(ctx, run.ID)...)
		return w, err
	}
	asked := run.Gathered.Asked
	run.Report, run.Gathered = run.Gathered.Sum, nil
	run.Report.CancelledBy = run.CancelledBy
	tell, blind := true, Write{}
	if quiet {
		var err error
		if tell, blind, err = e.blindness(ctx, blindMembers, run.Report.Unread > 0); err != nil {
			return blind, err
		}
		tell = tell || run.Report.New > 0
	}
	w, err := run.write(e, rec, tell)
	if err != nil {
		return w, err
	}
	w.Records = append(w.Records, blind.Records...)
	reply, err := e.replyNotice(asked, Reply{Text: run.Report.answer(), Failed: !run.Report.Complete()})
	w.Notices = append(w.Notices, reply...)
	w.Records = append(w.Records, e.endedScan(ctx, run.ID)...)
	return w, err
}

// scanStays keeps the place of the scan under way for as long as one more job may
// take; none where it can't be read, or nearly all of that time is left.
func (e *Engine) scanStays(ctx context.Context, id string) []*Record {
	rec, err := e.o.Store.Record(ctx, scanRecord)
	if err != nil || string(rec.Data) != strconv.Quote(id) || rec.Until.Sub(e.now()) > jobTimeout*3/4 {
		return nil
	}
	rec.Until = e.now().Add(jobTimeout)
	return []*Record{rec}
}

// merge adds what the scan of one account has come to.
func (r *ScanReport) merge(o *ScanReport) {
	r.Read, r.Open, r.LetBe, r.Ignored = r.Read+o.Read, r.Open+o.Open, r.LetBe+o.LetBe, r.Ignored+o.Ignored
	r.Unread, r.New, r.Posted = r.Unread+o.Unread, r.New+o.New, r.Posted+o.Posted
	r.Failures = atMost(append(r.Failures, o.Failures...), maxScanFailures)
	r.Left = atMost(append(r.Left, o.Left...), maxScanLeft)
	r.Refused = atMost(append(r.Refused, o.Refused...), maxScanRefused)
	for _, g := range o.Groups {
		r.mergeGroup(g)
	}
	slices.SortStableFunc(r.Groups, func(a, b ScanGroup) int { return b.Severity.Rank() - a.Severity.Rank() })
	r.Diff = r.Diff.plus(o.Diff)
}

func (r *ScanReport) mergeGroup(o ScanGroup) {
	i := slices.IndexFunc(r.Groups, func(g ScanGroup) bool { return g.Playbook == o.Playbook })
	if i < 0 {
		r.Groups = append(r.Groups, o)
		return
	}
	g := &r.Groups[i]
	g.Open += o.Open
	g.Findings = append(g.Findings, o.Findings...)
	slices.SortStableFunc(g.Findings, func(a, b ScanFinding) int { return worstFirst(a.Finding, b.Finding) })
	g.Findings = atMost(g.Findings, maxScanMessages)
	g.Severity = g.Findings[0].Finding.Severity
	g.Incidents = atMost(append(g.Incidents, o.Incidents...), MaxTargets)
}

// plus adds what differs in another account. The older scan says since when.
func (d *ScanDiff) plus(o *ScanDiff) *ScanDiff {
	if d == nil || o == nil {
		if d == nil {
			return o
		}
		return d
	}
	sum := *d
	if o.Since.Before(d.Since) {
		sum.Since = o.Since
	}
	sum.New, sum.Closed, sum.Unread, sum.Unsure = d.New+o.New, d.Closed+o.Closed, d.Unread+o.Unread, d.Unsure || o.Unsure
	sum.Gone = atMost(append(slices.Clone(d.Gone), o.Gone...), maxGone)
	return &sum
}

func atMost[T any](all []T, n int) []T { return all[:min(len(all), n)] }
