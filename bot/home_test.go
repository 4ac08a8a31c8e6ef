package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"secbot/internal/blockkit"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// numbered is an incident with an id of its own.
func numbered(n int, steps ...remediation.Transition) *remediation.Incident {
	inc := incident(steps...)
	inc.ID = fmt.Sprintf("01JQ8Z5N6X7W9V4T3R2P1M%04d", n)
	inc.Key = inc.ID
	return inc
}

func suppression(inc *remediation.Incident, until time.Time) *remediation.Suppression {
	s := remediation.SuppressionOf(inc.Finding, remediation.ScopeResource)
	s.ID, s.Incident, s.By, s.Reason, s.Until, s.CreatedAt = inc.ID+"/2", inc.ID, fakeslack.Bob, "it is <meant> so", until, at(2)
	return &s
}

// month are statistics of some weeks.
func month() *remediation.Stats {
	s := &remediation.Stats{From: time.Date(2025, 3, 3, 0, 0, 0, 0, time.UTC), To: at(30), Found: 58,
		Fates:     map[remediation.Fate]int{remediation.FateAuto: 40, remediation.FateReverted: 10, remediation.FateIgnored: 6, remediation.FateWaiting: 2},
		Mitigated: remediation.Mitigation{Count: 50, Median: 3200 * time.Millisecond, P90: 25 * time.Minute},
		Playbooks: []remediation.StatsCount{{Name: "sg-rule-added", Count: 50}, {Name: "<unknown>", Count: 8}},
		Accounts:  []remediation.StatsCount{{Name: account, Count: 58}}, Waits: 8, MoreWait: true, Oldest: at(0).AddDate(0, 0, -3), More: true}
	for i := range remediation.StatsDays {
		day := remediation.StatsSpan{Day: s.From.AddDate(0, 0, i), Found: map[remediation.Severity]int{}}
		if i%3 != 0 {
			day.Found[remediation.SeverityHigh], day.Found[remediation.SeverityLow] = i%5, i%2
		}
		s.Days = append(s.Days, day)
	}
	for i, start := range []int{0, 2, 9, 16, 23} {
		week := remediation.StatsSpan{Day: s.From.AddDate(0, 0, start), Found: map[remediation.Severity]int{remediation.SeverityHigh: 7 * i}}
		if i%2 == 1 {
			week.Mitigated = remediation.Mitigation{Count: 3, Median: time.Duration(i) * 20 * time.Second}
		}
		s.Weeks = append(s.Weeks, week)
	}
	f := finding()
	s.Waiting = []remediation.StatsWaiting{{Incident: incidentID, Playbook: f.Playbook, Severity: f.Severity, Resource: f.Resource, Name: "web <b>", Since: at(0)}}
	return s
}

func TestHome(t *testing.T) {
	open := numbered(1, opened())
	open.Until = at(90)
	failed := numbered(2, opened(), step(remediation.StatusFixing, fakeslack.Bob, ""), step(remediation.StatusFailed, remediation.ByItself, "no"))
	failed.Error = "AccessDenied: <you> may not"
	asked := numbered(3, opened())
	asked.Request = &remediation.Request{Verb: remediation.VerbFix, By: fakeslack.Bob, Needed: 2}
	fixing := numbered(4, opened(), step(remediation.StatusFixing, fakeslack.Alice, ""))
	fixed := numbered(5, opened(), step(remediation.StatusFixing, remediation.ByItself, ""), step(remediation.StatusFixed, remediation.ByItself, ""))
	reverted := numbered(6, opened(), step(remediation.StatusFixing, fakeslack.Alice, ""), step(remediation.StatusFixed, remediation.ByItself, ""))
	ignored := numbered(7, opened(), step(remediation.StatusIgnored, fakeslack.Bob, "it is <meant> so"))
	allowed := numbered(8, opened(), step(remediation.StatusAllowed, fakeslack.Bob, ""))
	undone := numbered(9, opened(), step(remediation.StatusFixing, remediation.ByItself, ""), step(remediation.StatusFixed, remediation.ByItself, ""),
		step(remediation.StatusUndoing, fakeslack.Bob, ""), step(remediation.StatusUndone, remediation.ByItself, ""))
	const link = "https://example.slack.com/archives/C0/p1?a=1&b=2"
	scanned := numbered(10, opened())
	scanned.Finding.Event, scanned.Finding.Actor = "scan", remediation.Actor{}
	for name, h := range map[string]home{
		"scanned": {waiting: homeList{items: []homeItem{{inc: scanned}, {inc: failed}}}},
		"full": {
			standing: Standing{Paused: true, By: fakeslack.Alice, At: at(3), Reason: "we <migrate>", Mode: "ask"},
			waiting:  homeList{items: []homeItem{{inc: open, link: link}, {inc: failed}, {inc: asked}}, more: 188, plus: "+"},
			underway: homeList{items: []homeItem{{inc: fixing}}},
			fixes:    homeList{items: []homeItem{{inc: fixed, link: link}, {inc: reverted}}},
			left: homeList{items: []homeItem{{inc: allowed, left: suppression(allowed, at(90))}, {inc: ignored, left: suppression(ignored, at(95)), link: link},
				{inc: undone, left: suppression(undone, at(99))}, {left: suppression(open, time.Time{})}}, more: 2},
			stats: month(),
		},
		"empty":  {standing: Standing{Mode: "auto"}, stats: &remediation.Stats{}},
		"blind":  {},
		"paused": {standing: Standing{Paused: true, Mode: "observe"}, stats: &remediation.Stats{}},
	} {
		t.Run(name, func(t *testing.T) {
			h.names, h.now = names(), at(30)
			if err := blockkit.CheckView(golden(t, "home-"+name, renderHome(h))); err != nil {
				t.Errorf("Slack would refuse it: %v", err)
			}
		})
	}
	if err := blockkit.CheckView(golden(t, "home-unread", renderNoHome(at(30)))); err != nil {
		t.Errorf("Slack would refuse it: %v", err)
	}
	m := renderStats(*month(), names(), "The picture comes in a direct message.")
	checkMessage(t, golden(t, "stats", m))
	checkMessage(t, golden(t, "stats-none", renderStats(remediation.Stats{To: at(30)}, names(), "")))
}

// TestHomeOfAnything: whatever there is, and however much, the home keeps Slack's
// limits and mentions and links nothing.
func TestHomeOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		meta := remediation.Meta{Title: anyText(t, "title"), Undoable: true,
			Labels: remediation.Labels{Did: anyText(t, "did"), Ask: anyText(t, "ask"), Confirm: anyText(t, "confirm"), Undo: anyText(t, "undo")}}
		inc := anyIncident(t)
		meta.ID = inc.Finding.Playbook
		number := 0
		full := func(most int, statuses ...remediation.Status) homeList {
			l := homeList{more: 3, plus: "+"}
			for range most {
				number++
				one := *inc
				one.ID, one.Status = fmt.Sprintf("%026d", number), rapid.SampledFrom(statuses).Draw(t, "status")
				s := remediation.SuppressionOf(one.Finding, remediation.Scope(anyText(t, "scope")))
				s.By, s.Reason = one.Last().By, one.Last().Reason
				item := homeItem{inc: &one, left: &s, link: "https://example.com/x"}
				if rapid.Bool().Draw(t, "unknown") && statuses[0] == remediation.StatusIgnored {
					item.inc = nil
				}
				l.items = append(l.items, item)
			}
			return l
		}
		s := month()
		s.Playbooks[0].Name, s.Accounts[0].Name, s.Waiting[0].Name = inc.Finding.Playbook, inc.Finding.Resource.Account, inc.Finding.Name
		h := home{
			standing: Standing{Paused: true, By: inc.Last().By, At: at(1), Reason: inc.Last().Reason, Mode: inc.Finding.Name},
			waiting:  full(homeWaiting, remediation.StatusOpen, remediation.StatusFailed), underway: full(homeUnderway, remediation.StatusFixing, remediation.StatusUndoing),
			fixes: full(homeFixes, remediation.StatusFixed), left: full(homeLeft, remediation.StatusIgnored, remediation.StatusAllowed, remediation.StatusUndone),
			stats: s, names: Names{Metas: []remediation.Meta{meta}}, now: at(5),
		}
		raw, err := json.Marshal(renderHome(h))
		if err != nil {
			t.Fatal(err)
		}
		if err := blockkit.CheckView(raw); err != nil {
			t.Fatalf("%d bytes: %v", len(raw), err)
		}
		text := strings.ReplaceAll(string(raw), `\u003chttps://example.com/x|Go to the message\u003e`, "")
		if err := nothingFormatted([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := check(renderStats(*s, h.names, "x"), "stats"); err != nil {
			t.Fatal(err)
		}
		if c := statsComment(*s, h.names); utf8.RuneCountInString(c) > maxSection {
			t.Fatalf("a comment of %d characters", utf8.RuneCountInString(c))
		} else if err := nothingFormatted([]byte("[]"), c); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBars(t *testing.T) {
	lines := strings.Split(barsText(*month()), "\n")
	if len(lines) != 10 || utf8.RuneCountInString(lines[1]) != remediation.StatsDays {
		t.Fatalf("%q", lines)
	}
	if got := marks([]int{0, 1, 4, 8}, 8); got != "·▁▄█" {
		t.Errorf("the marks are %q", got)
	}
	for n, want := range map[int]int{0: 0, 1: 1, 50: 10, 99: 19, 100: 20} {
		if got := barLength(n, 100); got != want {
			t.Errorf("the bar of %d of 100 has %d characters, want %d", n, got, want)
		}
	}
}

// TestPublishHome: what stands in the store, with links to the messages, and at
// most so much of each kind.
func TestPublishHome(t *testing.T) {
	r := newRig(t)
	r.handler.Homes.Standing = func(context.Context) (Standing, error) { return Standing{Mode: "ask"}, nil }
	r.handler.Homes.Now = func() time.Time { return at(30) }
	worst := incident(opened())
	worst.Finding.Severity = remediation.SeverityCritical
	r.shown(worst)
	for i := range homeWaiting + 2 {
		r.save(numbered(i, opened()))
	}
	for i := range homeFixes + 2 {
		r.save(numbered(100+i, opened(), step(remediation.StatusFixing, remediation.ByItself, ""), step(remediation.StatusFixed, remediation.ByItself, "")))
	}
	var left []*remediation.Suppression
	for i := range homeLeft + 2 {
		inc := numbered(200+i, opened(), step(remediation.StatusIgnored, fakeslack.Bob, "x"))
		r.save(inc)
		left = append(left, suppression(inc, at(60-i)))
	}
	left[0].Until = time.Time{}
	lost := suppression(numbered(300, opened()), at(31))
	if err := r.store.Commit(t.Context(), remediation.Write{Suppressions: append(left, lost)}); err != nil {
		t.Fatal(err)
	}
	if err := r.handler.publishHome(t.Context(), fakeslack.Mallory); err != nil {
		t.Fatal(err)
	}
	home, ok := r.slack.Home(fakeslack.Mallory)
	if !ok {
		t.Fatal("nothing was published")
	}
	text := string(home.Blocks)
	for _, want := range []string{"Waits for a decision (15)", "and 3 more", "Fixed lately (9+)", "Ignored or allowed (11)", "Mode *ask*", "Send Me the Chart", "Go to the message",
		"it is &lt;meant&gt; so", "until <!date^" + fmt.Sprint(at(31).Unix())} {
		if !strings.Contains(text, want) {
			t.Errorf("the home lacks %q", want)
		}
	}
	fixes := 0
	for i, b := range home.Buttons() {
		if i == 0 && (b.BlockID != blockID(worst) || b.ActionID != "fix" || b.Value != worst.ID) {
			t.Errorf("the first button is %+v, not that of the worst", b)
		}
		if b.ActionID == "fix" {
			fixes++
		}
	}
	if fixes != homeWaiting {
		t.Errorf("%d can be reverted, want %d", fixes, homeWaiting)
	}
	calls := len(r.slack.Calls())
	if err := r.handler.publishHome(t.Context(), fakeslack.Mallory); err != nil {
		t.Fatal(err)
	}
	if got := r.slack.Calls()[calls:]; len(got) != 1 || got[0].Method != "views.publish" {
		t.Errorf("the second time Slack was asked %+v, though it had told where the message is", got)
	}
}

// sick fails every read.
type sick struct{ remediation.Store }

func (sick) Incidents(context.Context, remediation.IncidentQuery) ([]*remediation.Incident, error) {
	return nil, errors.New("the store is gone")
}

func TestHomeWithoutStore(t *testing.T) {
	r := newRig(t)
	r.handler.Homes.Store = sick{r.store}
	if err := r.handler.publishHome(t.Context(), fakeslack.Alice); err == nil {
		t.Error("no error")
	}
	if home, _ := r.slack.Home(fakeslack.Alice); !strings.Contains(string(home.Blocks), "could not read its store") {
		t.Errorf("the home says %s", home.Blocks)
	}
	r.handler.Homes = nil
	if err := r.handler.publishHome(t.Context(), fakeslack.Alice); err == nil {
		t.Error("no error where nobody publishes")
	}
	if err := r.notify(remediation.OpHome, 1, remediation.HomeOf{User: "U0<b>"}); !errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("for nobody: %v", err)
	}
	if err := r.notify(remediation.OpHome, 1, remediation.HomeOf{User: "U0NOBODY"}); !errors.Is(err, remediation.ErrUndeliverable) && err == nil {
		t.Errorf("for somebody unknown: %v", err)
	}
}

// pressHome has a user press a button of their home.
func (l *live) pressHome(user, action string) {
	l.t.Helper()
	home, _ := l.slack.Home(user)
	if _, err := l.slack.ClickView(l.t.Context(), user, home.ID, action); err != nil {
		l.t.Fatal(err)
	}
}

// homeSays waits until a user's home has text.
func (l *live) homeSays(user, text string) {
	l.t.Helper()
	l.wait("the home of "+user+" says "+text, func() bool {
		home, _ := l.slack.Home(user)
		return strings.Contains(string(home.Blocks), text)
	})
}

// writtenTo waits until a user has a direct message with text.
func (l *live) writtenTo(user, text string) fakeslack.Message {
	l.t.Helper()
	var m fakeslack.Message
	l.wait(user+" is written "+text, func() bool {
		for _, m = range l.slack.Messages(fakeslack.DirectID(user)) {
			if strings.Contains(m.Text+string(m.Blocks), text) {
				return true
			}
		}
		return false
	})
	return m
}

// TestHomeClicks: a decision, its undo, an ignore and taking that back, all from
// the home, which follows; and who may not is told so in a direct message.
func TestHomeClicks(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	l.shows("waits for a decision")
	publish := func(user string) {
		t.Helper()
		if err := l.handler.publishHome(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	publish(fakeslack.Mallory)
	l.pressHome(fakeslack.Mallory, "fix")
	l.writtenTo(fakeslack.Mallory, "not one of the people who may decide")
	l.pressHome(fakeslack.Mallory, "ignore") // opens no form
	l.wait("she is told again", func() bool { return len(l.slack.Messages(fakeslack.DirectID(fakeslack.Mallory))) == 2 })
	if len(l.slack.Views(fakeslack.Mallory)) > 0 || !l.gate.isOpen() {
		t.Error("a stranger got a form, or closed it")
	}
	publish(fakeslack.Alice)
	l.homeSays(fakeslack.Alice, "Waits for a decision (1)")
	stale, _ := l.slack.Home(fakeslack.Alice)
	l.pressHome(fakeslack.Alice, "fix")
	l.homeSays(fakeslack.Alice, "Fixed lately (1)")
	l.homeSays(fakeslack.Alice, "Nothing waits for a decision.")
	l.shows("Reverted")
	if l.gate.isOpen() {
		t.Error("it is open")
	}
	if _, err := l.slack.PressView(t.Context(), fakeslack.Alice, stale, stale.Buttons()[0]); err != nil {
		t.Fatal(err)
	}
	l.writtenTo(fakeslack.Alice, "out of date")
	l.pressHome(fakeslack.Alice, "undo")
	l.homeSays(fakeslack.Alice, "Let be after an undo")
	l.pressHome(fakeslack.Alice, "unignore")
	l.homeSays(fakeslack.Alice, "Waits for a decision (1)")
	l.pressHome(fakeslack.Alice, "ignore")
	views := l.slack.Views(fakeslack.Alice)
	if len(views) != 1 {
		t.Fatalf("%d forms are open", len(views))
	}
	if _, err := l.slack.SubmitView(t.Context(), fakeslack.Alice, views[0].ID, map[string][]string{"reason/reason": {"meant so"}}); err != nil {
		t.Fatal(err)
	}
	l.homeSays(fakeslack.Alice, "Reason: meant so")
	l.pressHome(fakeslack.Alice, "unignore")
	l.homeSays(fakeslack.Alice, "Nothing is ignored or allowed.")
	l.pressHome(fakeslack.Alice, "more=runbook:"+l.newest().ID)
	if views := l.slack.Views(fakeslack.Alice); len(views) != 1 || !strings.Contains(string(views[0].JSON), "Check by hand") {
		t.Errorf("the runbook is not shown: %+v", views)
	}
	if len(l.slack.Ephemerals(fakeslack.Alice)) > 0 {
		t.Error("somebody was told in a channel what they had asked for in their home")
	}
}

// newest is the newest incident.
func (l *live) newest() *remediation.Incident {
	l.t.Helper()
	found, err := l.store.Incidents(l.t.Context(), remediation.IncidentQuery{Limit: 1})
	if err != nil || len(found) == 0 {
		l.t.Fatalf("%d incidents, %v", len(found), err)
	}
	return found[0]
}

// TestHomeIsPublishedInTurn: while one home of a person is made another waits, as
// long as its time allows.
func TestHomeIsPublishedInTurn(t *testing.T) {
	r := newRig(t)
	reading, goOn := make(chan struct{}), make(chan struct{})
	r.handler.Homes.Standing = func(context.Context) (Standing, error) {
		close(reading)
		<-goOn
		return Standing{}, nil
	}
	done := make(chan error)
	go func() { done <- r.handler.publishHome(context.WithoutCancel(t.Context()), fakeslack.Alice) }()
	<-reading
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.handler.publishHome(ctx, fakeslack.Alice); !errors.Is(err, context.Canceled) {
		t.Errorf("the second ends with %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
