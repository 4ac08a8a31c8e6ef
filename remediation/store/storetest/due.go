package storetest

import (
	"fmt"
	"testing"
	"time"

	"secbot/remediation"
)

func dueJobs(t testing.TB, s remediation.Store, now time.Time, n int) []string {
	t.Helper()
	return ids(get(s.DueJobs(t.Context(), now, n))(t), jobID)
}

func dueNotices(t testing.TB, s remediation.Store, now time.Time, n int) []string {
	t.Helper()
	return ids(get(s.DueNotices(t.Context(), now, n))(t), noticeID)
}

func testDueJobs(t *testing.T, s remediation.Store) {
	j := newJob("j")
	j.Due = at(1)
	put := func() { t.Helper(); must(t, s, remediation.Write{Jobs: []*remediation.Job{j}}) }
	due := func(now time.Time, want ...string) {
		t.Helper()
		equal(t, fmt.Sprint("due at ", now), dueJobs(t, s, now, 9), append([]string{}, want...))
	}
	put()
	due(at(1).Add(-1))
	due(at(1), "j")
	due(at(100), "j")
	j.LeaseUntil = at(5)
	put()
	due(at(5).Add(-1))
	due(at(5), "j")
	j.LeaseUntil, j.Due = at(5), at(7)
	put()
	due(at(6))
	due(at(7), "j")
	equal(t, "the row", get(s.DueJobs(t.Context(), at(7), 1))(t), []*remediation.Job{j})
	j.Done = true
	put()
	due(at(100))
	equal(t, "the finished job", get(s.Job(t.Context(), "j"))(t), j)
	j.Done, j.Due, j.LeaseUntil = false, time.Time{}, time.Time{}
	put()
	due(at(0), "j")
}

func testDueJobsOrder(t *testing.T, s remediation.Store) {
	for id, due := range map[string]int{"c": 3, "b": 2, "a": 2, "d": 1, "later": 9} {
		j := newJob(id)
		j.Due = at(due)
		must(t, s, remediation.Write{Jobs: []*remediation.Job{j}})
	}
	leased := newJob("0")
	leased.LeaseUntil = at(6)
	must(t, s, remediation.Write{Jobs: []*remediation.Job{leased}})
	equal(t, "all", dueJobs(t, s, at(5), 9), []string{"d", "a", "b", "c"})
	equal(t, "two", dueJobs(t, s, at(5), 2), []string{"d", "a"})
	equal(t, "none", dueJobs(t, s, at(5), 0), []string{})
	equal(t, "less than none", dueJobs(t, s, at(5), -1), []string{})
	equal(t, "lease over", dueJobs(t, s, at(6), 2), []string{"0", "d"})
}

func testDueNotices(t *testing.T, s remediation.Store) {
	for _, incident := range []string{"", "i"} {
		n := newNotice("n"+incident, incident, 1)
		n.Due = at(1)
		put := func() { t.Helper(); must(t, s, remediation.Write{Notices: []*remediation.Notice{n}}) }
		due := func(now time.Time, want ...string) {
			t.Helper()
			equal(t, fmt.Sprint("due at ", now), dueNotices(t, s, now, 9), append([]string{}, want...))
		}
		put()
		due(at(1).Add(-1))
		due(at(1), n.ID)
		n.LeaseUntil = at(5)
		put()
		due(at(5).Add(-1))
		due(at(5), n.ID)
		n.Due = at(7)
		put()
		due(at(6))
		due(at(7), n.ID)
		equal(t, "the row", get(s.DueNotices(t.Context(), at(7), 1))(t), []*remediation.Notice{n})
		n.Sent = true
		put()
		due(at(100))
		n.Sent = false
		put()
		due(at(100), n.ID)
		n.Sent = true
		put()
	}
}

// testNoticeOrder walks two incidents' notices and some without an incident
// through their lives.
func testNoticeOrder(t *testing.T, s remediation.Store) {
	a1, a2, a3 := newNotice("a1", "a", 1), newNotice("a2", "a", 2), newNotice("a10", "a", 10)
	b1, x, y := newNotice("b1", "b", 1), newNotice("x", "", 0), newNotice("y", "", 0)
	put := func(list ...*remediation.Notice) {
		t.Helper()
		must(t, s, remediation.Write{Notices: list})
	}
	due := func(want ...string) {
		t.Helper()
		equal(t, "due", dueNotices(t, s, at(10), 9), want)
	}
	put(a3, a2, b1, y)
	due("a2", "b1", "y")
	put(a1, x) // an earlier one comes late
	due("a1", "b1", "x", "y")
	a1.LeaseUntil = at(11)
	put(a1)
	due("b1", "x", "y") // leased: a2 waits
	a1.LeaseUntil, a1.Due = time.Time{}, at(11)
	put(a1)
	due("b1", "x", "y") // not due yet: a2 waits
	x.LeaseUntil = at(11)
	put(x)
	due("b1", "y") // x holds nobody back
	a1.Sent = true
	put(a1)
	due("a2", "b1", "y")
	a2.Sent, b1.Sent = true, true
	put(b1, a2)
	due("a10", "y")
	a2.Sent = false
	put(a2)
	due("a2", "y")
	a2.Seq = 11 // behind a10
	put(a2)
	due("a10", "y")
	a3.Seq = 12
	y.Sent = true
	put(a3, y)
	due("a2")
}

// testNoticeDestinations: what can't reach one destination holds nothing to
// another back.
func testNoticeDestinations(t *testing.T, s remediation.Store) {
	topic, first, second := newNotice("a", "i", 1), newNotice("b", "i", 2), newNotice("c", "i", 3)
	topic.To, topic.LeaseUntil = "another", at(11)
	must(t, s, remediation.Write{Notices: []*remediation.Notice{topic, first, second}})
	equal(t, "due", dueNotices(t, s, at(10), 9), []string{"b"})
	first.Sent = true
	must(t, s, remediation.Write{Notices: []*remediation.Notice{first}})
	equal(t, "due", dueNotices(t, s, at(11), 9), []string{"a", "c"})
	topic.To = second.To
	must(t, s, remediation.Write{Notices: []*remediation.Notice{topic}})
	equal(t, "one destination", dueNotices(t, s, at(11), 9), []string{"a"})
}

func testDueNoticesOrder(t *testing.T, s remediation.Store) {
	for id, due := range map[string]int{"c": 3, "b": 2, "a": 2, "d": 1, "later": 9} {
		first, second := newNotice(id, id, 1), newNotice(id+"2", id, 2)
		first.Due, second.Due = at(due), at(0)
		must(t, s, remediation.Write{Notices: []*remediation.Notice{second, first}})
	}
	same := newNotice("same seq", "a", 1)
	must(t, s, remediation.Write{Notices: []*remediation.Notice{same}})
	equal(t, "all", dueNotices(t, s, at(5), 9), []string{"d", "a", "b", "c"})
	equal(t, "two", dueNotices(t, s, at(5), 2), []string{"d", "a"})
	equal(t, "none", dueNotices(t, s, at(5), 0), []string{})
}

func testNotices(t *testing.T, s remediation.Store) {
	var want []*remediation.Notice
	for seq := range 12 {
		n := newNotice(fmt.Sprint("n", seq), "i", seq)
		n.Sent = seq%2 == 0
		want = append(want, n)
	}
	must(t, s, remediation.Write{Notices: append([]*remediation.Notice{newNotice("other", "i2", 1), newNotice("none", "", 1)}, want[6:]...)})
	must(t, s, remediation.Write{Notices: want[:6]})
	equal(t, "notices", get(s.Notices(t.Context(), "i"))(t), want)
	equal(t, "of no incident", len(get(s.Notices(t.Context(), ""))(t)), 0)
	moved := *want[0]
	moved.Incident = "i2"
	mustConflict(t, s, remediation.Write{Notices: []*remediation.Notice{&moved}})
	moved.Incident = ""
	mustConflict(t, s, remediation.Write{Notices: []*remediation.Notice{&moved}})
	equal(t, "after moves", get(s.Notices(t.Context(), "i"))(t), want)
}

// testWaiting: whatever the reason why it waits, the first of each lane is seen.
func testWaiting(t *testing.T, s remediation.Store) {
	waiting := func(n int, want ...string) {
		t.Helper()
		equal(t, "waiting", ids(get(s.Waiting(t.Context(), n))(t), noticeID), append([]string{}, want...))
	}
	waiting(9)
	first, second, sns := newNotice("a1", "a", 1), newNotice("a2", "a", 2), newNotice("a3", "a", 3)
	alone, leased := newNotice("alone", "", 0), newNotice("leased", "b", 1)
	first.Due, sns.To, sns.Due = at(1e6), "another", at(3)
	leased.LeaseUntil, leased.Due, alone.Due = at(1e6), at(1), at(2)
	must(t, s, remediation.Write{Notices: []*remediation.Notice{second, first, sns, alone, leased}})
	waiting(9, "leased", "alone", "a3", "a1")
	waiting(2, "leased", "alone")
	waiting(0)
	waiting(-1)
	first.Sent, alone.Sent = true, true
	must(t, s, remediation.Write{Notices: []*remediation.Notice{first, alone}})
	waiting(9, "a2", "leased", "a3")
	equal(t, "row", get(s.Waiting(t.Context(), 1))(t), []*remediation.Notice{second})
}

func testSuppressions(t *testing.T, s remediation.Store) {
	add := func(id string, created int, until time.Time, ended bool) *remediation.Suppression {
		x := newSuppression(id)
		x.CreatedAt, x.Until, x.Ended = at(created), until, ended
		must(t, s, remediation.Write{Suppressions: []*remediation.Suppression{x}})
		return x
	}
	good := add("for good", 3, time.Time{}, false)
	hour := add("an hour", 2, at(60), false)
	add("same time", 2, at(61), false)
	add("taken back", 1, at(60), true)
	add("taken back for good", 1, time.Time{}, true)
	live := func(now time.Time) []string {
		t.Helper()
		return ids(get(s.Suppressions(t.Context(), now))(t), suppressionID)
	}
	equal(t, "now", live(at(0)), []string{"an hour", "same time", "for good"})
	equal(t, "just before", live(at(60).Add(-1)), []string{"an hour", "same time", "for good"})
	equal(t, "at its end", live(at(60)), []string{"same time", "for good"})
	equal(t, "much later", live(at(60*24*365*50)), []string{"for good"})
	equal(t, "row", get(s.Suppressions(t.Context(), at(61)))(t), []*remediation.Suppression{good})
	good.Ended, hour.Until = true, at(120)
	must(t, s, remediation.Write{Suppressions: []*remediation.Suppression{good, hour}})
	equal(t, "after changes", live(at(61)), []string{"an hour"})
	good.Ended = false
	must(t, s, remediation.Write{Suppressions: []*remediation.Suppression{good}})
	equal(t, "in force again", live(at(61)), []string{"an hour", "for good"})
}

func testMessages(t *testing.T, s remediation.Store) {
	m := &remediation.MessageRef{Incident: "i", Channel: "C1", TS: "1.2"}
	must(t, s, remediation.Write{Message: m})
	equal(t, "message", get(s.Message(t.Context(), "i"))(t), m)
	mustConflict(t, s, remediation.Write{Message: &remediation.MessageRef{Incident: "i", Channel: "C2", TS: "3.4"}})
	m.Channel, m.TS = "C2", "3.4"
	must(t, s, remediation.Write{Message: m})
	equal(t, "message", get(s.Message(t.Context(), "i"))(t), m)
	notFound(t, s, "other")
}
