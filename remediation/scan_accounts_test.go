package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"secbot/remediation"
)

// towns are houses of several accounts, of which some let nobody in.
type towns struct {
	*door
	houses map[string][]string // open houses by account
	refuse []string

	mu    sync.Mutex
	lists map[string]int // by account
	busy  int
	most  int
	// onList is called while an account is listed; nil: nothing.
	onList func(ctx context.Context, account string) error
}

func (w *towns) Environment(ctx context.Context, account, region string) (*remediation.Environment, error) {
	env, err := w.door.Environment(ctx, account, region)
	if err == nil && account != "" {
		env.Readers[remediation.KindSecurityGroup] = town{w, account}
	}
	return env, err
}

type town struct {
	*towns
	account string
}

func (w town) List(ctx context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		w.mu.Lock()
		w.lists[w.account]++
		w.busy++
		w.most = max(w.most, w.busy)
		w.mu.Unlock()
		defer func() { w.mu.Lock(); defer w.mu.Unlock(); w.busy-- }()
		if slices.Contains(w.refuse, w.account) {
			yield(remediation.Ref{}, fmt.Errorf("list: %w", &remediation.AccountError{Account: w.account, Role: "secbot-member", Err: &smithy.GenericAPIError{Code: "AccessDenied"}}))
			return
		}
		if w.onList != nil {
			if err := w.onList(ctx, w.account); err != nil {
				yield(remediation.Ref{}, err)
				return
			}
		}
		for _, id := range w.houses[w.account] {
			if !yield(remediation.Ref{Kind: remediation.KindSecurityGroup, Account: w.account, Region: "us-east-1", ID: id}, nil) {
				return
			}
		}
	}
}

func (w *towns) listed(account string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lists[account]
}

const refuser = "999900001111"

// organisation is a lab with n accounts, of which each has one open house and, in
// every other, a shut one; and with one that refuses.
func organisation(t *testing.T, n int, change ...func(*remediation.Options)) (*lab, *towns, []string) {
	t.Helper()
	w := &towns{houses: map[string][]string{}, lists: map[string]int{}, refuse: []string{refuser}}
	all := []string{refuser}
	l := newLab(t, append([]func(*remediation.Options){func(o *remediation.Options) {
		w.door = o.Provider.(*door)
		o.Provider, o.ScanLook = w, 5*time.Millisecond
		o.Accounts = func(context.Context) ([]string, error) { return all, nil }
	}}, change...)...)
	for i := range n {
		account := fmt.Sprintf("%012d", i+1)
		all = append(all, account)
		l.doors.set("open-"+account, "front")
		w.houses[account] = []string{"open-" + account}
		if i%2 == 0 {
			l.doors.set("shut-" + account)
			w.houses[account] = append(w.houses[account], "shut-"+account)
		}
	}
	return l, w, all
}

func scanOrg(id string) remediation.Command {
	cmd := scanBy(id, "U9")
	cmd.Scope = "sg org"
	return cmd
}

// gathered checks the report of a scan of an organisation of n accounts and one that
// refuses.
func (l *lab) gathered(id string, n int) {
	l.t.Helper()
	r := l.scanned(id)
	if r.Accounts != n+1 || r.Open != n || r.Read != n+(n+1)/2 || r.Unread != 1 || !slices.Equal(r.Refused, []string{refuser}) || r.Complete() {
		l.t.Errorf("it gathered %+v", r)
	}
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0], refuser) || !strings.Contains(r.Failures[0], "secbot deploy --member") {
		l.t.Errorf("of the account that refuses it says %q", r.Failures)
	}
	if len(r.Groups) != 1 || r.Groups[0].Open != n || len(r.Groups[0].Incidents) != min(n, remediation.MaxTargets) {
		l.t.Errorf("groups: %+v", r.Groups)
	}
	if got := len(l.incidents()); got != n {
		l.t.Errorf("%d incidents, want %d", got, n)
	}
	if r := l.lastReply(); !r.Failed || !strings.Contains(r.Text, fmt.Sprintf("%d accounts", n+1)) || !strings.Contains(r.Text, refuser) {
		l.t.Errorf("the answer is %+v", r)
	}
	if len(l.slack.scans()) != 1 {
		l.t.Errorf("messages: %v", l.slack.scans())
	}
}

// TestScanOfAccountsGathers, a few accounts at once, into one message; one that refuses
// is told and stops nothing.
func TestScanOfAccountsGathers(t *testing.T) {
	l, w, all := organisation(t, 12)
	w.onList = func(context.Context, string) error { time.Sleep(5 * time.Millisecond); return nil } // so that they meet
	l.start()
	l.submit(scanOrg("s"))
	l.settled()
	l.gathered("s", 12)
	if w.most > 4 {
		t.Errorf("%d accounts were scanned at once", w.most)
	}
	for _, account := range all {
		if n := w.listed(account); n != 1 {
			t.Errorf("account %s was listed %d times", account, n)
		}
	}
	l.advance(time.Hour)
	l.submit(scanOrg("s2"))
	l.settled()
	if d := l.scanned("s2").Diff; d == nil || d.New != 0 || d.Closed != 0 {
		t.Errorf("a second scan differs: %+v", d)
	}
}

// spreading has an engine tell of its jobs instead of doing them.
func spreading(told *[]string, fail func() error) func(*remediation.Options) {
	return func(o *remediation.Options) {
		o.Spread = func(_ context.Context, jobs []string) error {
			if err := fail(); err != nil {
				return err
			}
			*told = append(*told, jobs...)
			return nil
		}
	}
}

// TestScanOfAccountsIsSpread: each account waits for its message, counts once however
// often that comes and whoever gets it, and the whole ends with the last.
func TestScanOfAccountsIsSpread(t *testing.T) {
	var told []string
	fails := 2
	l, w, all := organisation(t, 5, spreading(&told, func() error {
		if fails--; fails >= 0 {
			return errors.New("the queue is away")
		}
		return nil
	}))
	l.submit(scanOrg("s"))
	for range 4 {
		l.drain()
		l.advance(5 * time.Second)
	}
	if len(told) != len(all) || len(w.lists) != 0 || l.run("s").Report != nil {
		t.Fatalf("told of %q, and scanned %v", told, w.lists)
	}
	other := l.again()
	for i, job := range told {
		for range 2 {
			e := l.engine
			if i%2 == 0 {
				e = other
			}
			if err := errors.Join(e.Begin(t.Context(), job), e.Drain(t.Context()), other.Begin(t.Context(), job), other.Drain(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if run := l.run("s"); i < len(told)-1 && (run.Gathered == nil || len(run.Gathered.Waiting) != len(told)-1-i || run.Report != nil) {
			t.Fatalf("after %d accounts it is %+v", i+1, run)
		}
	}
	l.gathered("s", 5)
	for _, account := range all {
		if n := w.listed(account); n != 1 {
			t.Errorf("account %s was listed %d times", account, n)
		}
	}
	if err := l.engine.Begin(t.Context(), "scan-account/nobody/knows"); err != nil {
		t.Errorf("a job that nobody knows: %v", err)
	}
}

// TestScanOfAccountsGivenUp: what was found is told also where the others are never
// told of their accounts.
func TestScanOfAccountsGivenUp(t *testing.T) {
	l, w, all := organisation(t, 3, func(o *remediation.Options) {
		o.Spread = func(context.Context, []string) error { return errors.New("the queue is away") }
	})
	w.refuse = nil
	for _, account := range all[2:] { // never get through
		if err := l.store.Commit(t.Context(), remediation.Write{Records: []*remediation.Record{{Key: "scan/last/sg/" + account, Data: []byte("[]")}}}); err != nil {
			t.Fatal(err)
		}
	}
	l.submit(scanOrg("s"))
	for range 60 {
		l.drain()
		l.advance(5 * time.Minute)
	}
	r := l.scanned("s")
	if r.Open != 1 || len(r.Groups) != 1 || r.Accounts != 4 || r.Complete() {
		t.Errorf("given up, it says %+v", r)
	}
}

// TestLostMessageOfAScan: an account whose message never comes is scanned all the same.
func TestLostMessageOfAScan(t *testing.T) {
	var told []string
	l, _, _ := organisation(t, 3, spreading(&told, func() error { return nil }))
	l.submit(scanOrg("s"))
	l.drain()
	for _, job := range told[:2] {
		if err := l.engine.Begin(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	l.drain()
	if run := l.run("s"); run.Gathered == nil || len(run.Gathered.Waiting) != 2 {
		t.Fatalf("it is %+v", run)
	}
	l.advance(6 * time.Minute)
	l.drain()
	l.gathered("s", 3)
}

// TestWorkerDiesInAScan: an account whose worker has died is taken by another once the
// lease has ended, and counts once.
func TestWorkerDiesInAScan(t *testing.T) {
	var told []string
	l, w, all := organisation(t, 2, spreading(&told, func() error { return nil }))
	l.submit(scanOrg("s"))
	l.drain()
	dying, die := context.WithCancel(t.Context())
	w.onList = func(context.Context, string) error { die(); <-dying.Done(); panic("dead") }
	dead := l.again(func(o *remediation.Options) { o.Store = &deafTo{Store: l.store, dead: dying} })
	victim := told[slices.IndexFunc(told, func(job string) bool { return strings.HasSuffix(job, all[1]) })]
	if err := dead.Begin(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	_ = dead.Drain(dying) // it dies
	w.onList = nil
	for _, job := range told {
		if err := l.engine.Begin(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	l.drain()
	if run := l.run("s"); run.Gathered == nil || !slices.Equal(run.Gathered.Waiting, []string{all[1]}) {
		t.Fatalf("without the one that has died it is %+v", run)
	}
	l.advance(time.Minute)
	l.drain()
	l.gathered("s", 2)
}

// deafTo is a store that hears nothing from a process that is dead.
type deafTo struct {
	remediation.Store
	dead context.Context //nolint:containedctx // it ends with the process
}

func (m *deafTo) Commit(ctx context.Context, w remediation.Write) error {
	if m.dead.Err() != nil {
		return m.dead.Err()
	}
	return m.Store.Commit(ctx, w)
}

// TestScanOfAccountsIsCancelled: those under way end, those to come don't begin, and
// what was found is told.
func TestScanOfAccountsIsCancelled(t *testing.T) {
	l, w, _ := organisation(t, 12)
	w.refuse = nil
	gate := make(chan struct{}, 2)
	gate <- struct{}{}
	gate <- struct{}{}
	w.onList = func(ctx context.Context, _ string) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.start()
	l.submit(scanOrg("s"))
	l.until("two accounts are done", func() bool { g := l.run("s").Gathered; return g != nil && len(g.Waiting) == 11 })
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbCancel, By: "U8", Scope: "s", ReplyTo: remediation.ReplyTo{User: "U8"}})
	l.until("the scan has ended", func() bool { return l.run("s").Report != nil })
	l.settled()
	r := l.scanned("s")
	if r.CancelledBy != "U8" || r.Open > 2 || len(l.incidents()) != r.Open || r.Unread != 0 {
		t.Errorf("it says %+v, with %d incidents", r, len(l.incidents()))
	}
}

// TestAccountsOfAScan: what is to be scanned, and what people are told where that
// can't be.
func TestAccountsOfAScan(t *testing.T) {
	organizations := errors.New("organizations:ListAccounts: not for this account")
	for name, c := range map[string]struct {
		scope   string
		members []string
		list    func(context.Context) ([]string, error)
		want    []string
		says    string
	}{
		"named":         {scope: "sg 000000000002,000000000001", want: []string{"000000000001", "000000000002"}},
		"members":       {scope: "sg 000000000002,999999999999", members: []string{"000000000002"}, want: []string{"000000000002", "999999999999"}},
		"no member":     {scope: "sg 000000000001,000000000002", members: []string{"000000000002"}, says: "000000000001 is not one of the `members`"},
		"by the policy": {scope: "sg org", members: []string{"000000000003"}, want: []string{"000000000003"}},
		"organisation":  {scope: "sg org", list: func(context.Context) ([]string, error) { return []string{"000000000004"}, nil }, want: []string{"000000000004"}},
		"denied":        {scope: "sg org", list: func(context.Context) ([]string, error) { return nil, organizations }, says: organizations.Error()},
		"nobody knows":  {scope: "sg org", says: "`members` in secbot.yaml"},
		"none":          {scope: "sg org", list: func(context.Context) ([]string, error) { return nil, nil }, says: "no account"},
		"too many":      {scope: "sg org", list: func(context.Context) ([]string, error) { return make([]string, 1001), nil }, says: "1000 accounts at most"},
		"no account":    {scope: "sg 12", says: "12 digits"},
		"no kind":       {scope: "iam org", says: "s3, sg or all"},
	} {
		t.Run(name, func(t *testing.T) {
			l, w, _ := organisation(t, 4, func(o *remediation.Options) {
				o.Accounts = c.list
				o.Self = func(context.Context) (remediation.Identity, error) {
					return remediation.Identity{Account: "999999999999"}, nil
				}
			})
			l.config.Members = c.members
			l.start()
			cmd := scanOrg("s")
			cmd.Scope = c.scope
			l.submit(cmd)
			l.settled()
			var scanned []string
			for account := range w.lists {
				scanned = append(scanned, account)
			}
			slices.Sort(scanned)
			if r := l.lastReply(); !slices.Equal(scanned, c.want) || !strings.Contains(r.Text, c.says) || r.Failed != (c.says != "") {
				t.Errorf("it scanned %q and said %+v", scanned, r)
			}
		})
	}
}

// TestScanScopeIsItsText: every scope is read from its own text.
func TestScanScopeIsItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := remediation.ScanScope{What: rapid.SampledFrom([]string{"s3", "sg", "all"}).Draw(t, "what")}
		if s.Organisation = rapid.Bool().Draw(t, "org"); !s.Organisation {
			s.Accounts = rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9]{12}`), 0, 5, rapid.ID).Draw(t, "accounts")
			slices.Sort(s.Accounts)
		}
		got, err := remediation.ParseScanScope(s.String())
		if err != nil || got.What != s.What || got.Organisation != s.Organisation || !slices.Equal(got.Accounts, s.Accounts) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}

// TestReconcileMembers: what no event has told is found in the members as well, each
// period once, and people hear only what is new; the own account has its own scan.
func TestReconcileMembers(t *testing.T) {
	const own = "000000000001"
	self := remediation.Identity{Account: own, MemberRole: "secbot-member"}
	var unlisted error
	l, w, all := organisation(t, 4, func(o *remediation.Options) {
		o.Config.Reconcile = 6 * time.Hour
		o.Self = func(context.Context) (remediation.Identity, error) { return self, nil }
		list := o.Accounts
		o.Accounts = func(ctx context.Context) ([]string, error) {
			if unlisted != nil {
				return nil, unlisted
			}
			return list(ctx)
		}
	})
	var told, found int // summaries of the members, and findings in them
	period := func() {
		t.Helper()
		l.advance(6 * time.Hour)
		for range 4 {
			l.drain()
			l.advance(10 * time.Second)
		}
		told, found = 0, 0
		for scan, n := range l.slack.scans() {
			if strings.HasSuffix(scan, "/members") {
				told += n
			}
		}
		for _, inc := range l.incidents() {
			if strings.HasSuffix(inc.Finding.EventID, "/members") {
				found++
			}
		}
	}
	l.drain()
	for range 2 { // the second finds nothing new
		period()
		if told != 1 || found != 3 {
			t.Errorf("%d summaries of %d findings in the members, want 1 of 3", told, found)
		}
	}
	for _, account := range all {
		if n, want := w.listed(account), map[bool]int{true: 0, false: 2}[account == own]; n != want {
			t.Errorf("account %s was listed %d times, want %d", account, n, want)
		}
	}
	l.doors.set("late", "front")
	w.houses[all[2]] = append(w.houses[all[2]], "late")
	period()
	if told != 2 || found != 4 {
		t.Errorf("%d summaries of %d findings once there was one more, want 2 of 4", told, found)
	}
	before := w.listed(all[2])
	unlisted = errors.New("organizations:ListAccounts: not for this account")
	period()
	unlisted, self.MemberRole = nil, ""
	period()
	if n := w.listed(all[2]); n != before {
		t.Errorf("it was listed %d times more where nobody tells the accounts, or lets secbot in", n-before)
	}
	if n := len(l.doors.changes()); n != 0 {
		t.Errorf("%d changes without a click", n)
	}
}
