package remediation_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// payloads decodes what the notices of one kind hold.
func payloads[T any](t *testing.T, l *lab, op string) (out []T) {
	t.Helper()
	l.slack.mu.Lock()
	defer l.slack.mu.Unlock()
	for _, n := range l.slack.got {
		if n.Op != op {
			continue
		}
		var v T
		if err := json.Unmarshal(n.Payload, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// threadTexts are the texts of all replies in threads.
func (l *lab) threadTexts() string {
	l.t.Helper()
	var texts []string
	for _, n := range payloads[remediation.ThreadNote](l.t, l, remediation.OpThread) {
		texts = append(texts, n.Text+" "+strings.Join(n.People, ","))
	}
	return strings.Join(texts, "\n")
}

// asked opens a question about the side door.
func asked(t *testing.T, change func(*remediation.Config)) (*lab, *remediation.Incident) {
	l := newLab(t)
	l.config.Question = remediation.Question{Remind: time.Hour, Escalate: 2 * time.Hour, To: []string{"C0LEADS", "U0CISO"}, Expire: 5 * time.Hour}
	if change != nil {
		change(l.config)
	}
	l.doors.set("h", "side")
	l.accept(signal("e1", "h", "side"))
	l.drain()
	return l, l.incidents()[0]
}

func (l *lab) later(d time.Duration) *remediation.Incident {
	l.t.Helper()
	l.advance(d)
	l.drain()
	return l.incidents()[0]
}

// TestAQuestionIsShownWithItsDiff: what a revert would do stands in the thread
// before anybody decides.
func TestAQuestionIsShownWithItsDiff(t *testing.T) {
	l, _ := asked(t, nil)
	notes := payloads[remediation.ThreadNote](t, l, remediation.OpThread)
	if len(notes) != 1 || !slices.Equal(notes[0].Diff, []remediation.DiffLine{{Op: "-", Text: "side"}}) {
		t.Errorf("the thread has %+v", notes)
	}
}

// TestNobodyDecides: a question is reminded of, escalated and ended, each once,
// and nothing is changed by that.
func TestNobodyDecides(t *testing.T) {
	l, inc := asked(t, nil)
	if want := l.clock().Add(5 * time.Hour); !inc.Until.Equal(want) {
		t.Errorf("it ends at %v, want %v", inc.Until, want)
	}
	l.later(59 * time.Minute)
	if strings.Contains(l.threadTexts(), "Reminder") {
		t.Error("reminded too early")
	}
	l.later(2 * time.Minute)
	if got := l.threadTexts(); strings.Count(got, "Reminder") != 1 || !strings.Contains(got, "Reminder about h: nobody") || !strings.Contains(got, "It is still as it was found") || !strings.Contains(got, "U1,S1") {
		t.Errorf("the thread after an hour:\n%s", got)
	}
	l.later(time.Hour)
	told := map[string]string{}
	l.slack.mu.Lock()
	for _, n := range l.slack.got {
		if n.Op == remediation.OpPointer {
			told[n.Channel] = string(n.Payload)
		}
	}
	l.slack.mu.Unlock()
	if len(told) != 2 || !strings.Contains(told["C0LEADS"], "Nobody has decided yet") || told["U0CISO"] == "" {
		t.Errorf("escalated to %v", told)
	}
	inc = l.later(3 * time.Hour)
	if inc.Status != remediation.StatusExpired || !strings.Contains(inc.Last().Reason, "nothing was changed, and it is still as it was found") {
		t.Errorf("in the end it is %s: %s", inc.Status, inc.Last().Reason)
	}
	if strings.Count(l.threadTexts(), "Reminder") != 1 || len(l.doors.changes()) != 0 {
		t.Errorf("changes %v, thread\n%s", l.doors.changes(), l.threadTexts())
	}
}

// TestADecisionEndsTheTimers: nobody is reminded of what was decided, and what is
// asked again has times of its own.
func TestADecisionEndsTheTimers(t *testing.T) {
	l, inc := asked(t, nil)
	cmd := command("c1", remediation.VerbIgnore, inc)
	cmd.For = 90 * time.Minute
	l.submit(cmd)
	l.drain()
	l.later(61 * time.Minute)
	if strings.Contains(l.threadTexts(), "Reminder") {
		t.Error("reminded of what is ignored")
	}
	l.later(30 * time.Minute) // the ignore ends
	l.later(59 * time.Minute)
	if strings.Contains(l.threadTexts(), "Reminder") {
		t.Error("the new question has the times of the old one")
	}
	l.later(2 * time.Minute)
	if !strings.Contains(l.threadTexts(), "Reminder") {
		t.Error("nobody is reminded of the new question")
	}
}

// TestAReminderLooksFirst: what somebody has closed by hand ends as resolved, and
// what can't be read is told as that.
func TestAReminderLooksFirst(t *testing.T) {
	l, _ := asked(t, nil)
	l.doors.set("h")
	if inc := l.later(61 * time.Minute); inc.Status != remediation.StatusResolved || strings.Contains(l.threadTexts(), "Reminder") {
		t.Errorf("it is %s, and the thread is\n%s", inc.Status, l.threadTexts())
	}
	l, _ = asked(t, nil)
	l.doors.fail = func(string) error { return &smithy.GenericAPIError{Code: "AccessDenied"} }
	l.later(61 * time.Minute)
	if got := l.threadTexts(); !strings.Contains(got, "Whether it is still so could not be read") {
		t.Errorf("the thread is\n%s", got)
	}
	inc := l.later(4 * time.Hour)
	if inc.Status != remediation.StatusExpired || !strings.Contains(inc.Last().Reason, "could not be read") {
		t.Errorf("in the end it is %s: %s", inc.Status, inc.Last().Reason)
	}
}

// TestQuestionsOfARule: a rule's times take the place of the file's, one by one.
func TestQuestionsOfARule(t *testing.T) {
	c := parsePolicy(t, `
question: {remind: 2h, escalate: 4h, escalate_to: C0LEADS, expire: 24h}
rules:
  - match: {severity: critical}
    then: ask
    question: {remind: 10m, expire: never}
`)
	f := bucketFinding(remediation.PublicRead)
	f.Severity = remediation.SeverityCritical
	want := remediation.Question{Remind: 10 * time.Minute, Escalate: 4 * time.Hour, To: []string{"C0LEADS"}}
	got := c.Decide(f)[0].Decision.Question
	if got.Remind != want.Remind || got.Escalate != want.Escalate || got.Expire != want.Expire || !slices.Equal(got.To, want.To) {
		t.Errorf("%+v, want %+v", got, want)
	}
	f.Severity = remediation.SeverityLow
	if got := c.Decide(f)[0].Decision.Question; got.Remind != 2*time.Hour || got.Expire != 24*time.Hour {
		t.Errorf("without a rule %+v", got)
	}
}

// TestAllowedForAWhile: it stays until its time is over, also when it comes again,
// and is then closed without anybody's click.
func TestAllowedForAWhile(t *testing.T) {
	l, inc := asked(t, nil)
	l.submit(command("c1", remediation.VerbAllow, inc))
	l.drain()
	inc = l.incidents()[0]
	if inc.Status != remediation.StatusAllowed || !inc.Until.Equal(l.clock().Add(2*time.Hour)) {
		t.Fatalf("it is %s until %v", inc.Status, inc.Until)
	}
	l.advance(time.Hour)
	l.accept(signal("e2", "h", "side"))
	l.drain()
	if inc := l.later(59 * time.Minute); inc.Status != remediation.StatusAllowed || len(l.doors.changes()) != 0 {
		t.Fatalf("a minute early it is %s, changes %v", inc.Status, l.doors.changes())
	}
	inc = l.later(2 * time.Minute)
	if inc.Status != remediation.StatusFixed || len(l.doors.get("h")) != 0 {
		t.Errorf("in the end it is %s (%s), open are %v", inc.Status, inc.Error, l.doors.get("h"))
	}
	if n := len(l.incidents()); n != 1 {
		t.Errorf("%d incidents, want one", n)
	}
	l.advance(time.Minute)
	l.doors.set("h", "side")
	l.accept(signal("e3", "h", "side"))
	l.drain()
	if got := l.incidents(); len(got) != 2 || got[0].Status != remediation.StatusOpen {
		t.Errorf("what comes after it is not asked about: %d incidents", len(got))
	}
}

// TestAllowedEndsEarly: by a click, or by hand in AWS; either way the allowance is
// over with it.
func TestAllowedEndsEarly(t *testing.T) {
	for name, end := range map[string]func(*lab, *remediation.Incident) remediation.Status{
		"by a click": func(l *lab, inc *remediation.Incident) remediation.Status {
			l.submit(command("c2", remediation.VerbFix, inc))
			return remediation.StatusFixed
		},
		"by hand": func(l *lab, _ *remediation.Incident) remediation.Status {
			l.doors.set("h")
			l.advance(2 * time.Minute)
			l.accept(signal("e2", "h"))
			return remediation.StatusResolved
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, inc := asked(t, nil)
			l.submit(command("c1", remediation.VerbAllow, inc))
			l.drain()
			want := end(l, l.incidents()[0])
			l.drain()
			if got := l.incidents()[0].Status; got != want {
				t.Fatalf("it is %s, want %s", got, want)
			}
			l.advance(time.Minute)
			l.doors.set("h", "side")
			l.accept(signal("e3", "h", "side"))
			l.drain()
			if got := l.incidents(); len(got) != 2 || got[0].Status != remediation.StatusOpen {
				t.Errorf("opened again, it is not asked about: %d incidents", len(got))
			}
			l.later(3 * time.Hour)
			if n := len(l.doors.changes()); n > 1 {
				t.Errorf("the end of the first allowance has changed something: %v", l.doors.changes())
			}
		})
	}
}

// TestAllowRefuses: what can't be closed later, or for too long.
func TestAllowRefuses(t *testing.T) {
	l, inc := asked(t, nil)
	cmd := command("c1", remediation.VerbAllow, inc)
	cmd.For = 25 * time.Hour
	l.submit(cmd)
	l.drain()
	if got := l.slack.replies(t); len(got) != 1 || !got[0].Failed || !strings.Contains(got[0].Text, "24 hours at most") {
		t.Errorf("the answer is %+v", got)
	}
	if got := l.incidents()[0].Status; got != remediation.StatusOpen {
		t.Errorf("it is %s", got)
	}
}

// TestAllowedUnderObserve: what secbot may not change any more ends as failed, and
// says so.
func TestAllowedUnderObserve(t *testing.T) {
	l, inc := asked(t, nil)
	l.submit(command("c1", remediation.VerbAllow, inc))
	l.drain()
	l.config.Mode = remediation.ModeObserve
	inc = l.later(3 * time.Hour)
	if inc.Status != remediation.StatusFailed || !strings.Contains(inc.Error, "observe") || len(l.doors.changes()) != 0 {
		t.Errorf("it is %s (%s), changes %v", inc.Status, inc.Error, l.doors.changes())
	}
}

// TestIgnoreScopes: how far each scope reaches, and that no scope hides calls by
// secbot's own role.
func TestIgnoreScopes(t *testing.T) {
	base := groupFinding(worldRule(22))
	base.Playbook = "sg-rule-added"
	other := func(change func(*remediation.Finding)) remediation.Finding {
		f := base
		change(&f)
		return f
	}
	findings := map[string]remediation.Finding{
		"the same":     base,
		"another rule": other(func(f *remediation.Finding) { f.Rules = []remediation.Rule{worldRule(23)} }),
		"another playbook": other(func(f *remediation.Finding) {
			f.Playbook = "sg-rule-modified"
			f.Rules = []remediation.Rule{worldRule(23)}
		}),
		"another group": other(func(f *remediation.Finding) { f.Resource.ID = "sg-other" }),
		"another group and playbook": other(func(f *remediation.Finding) {
			f.Resource.ID, f.Playbook = "sg-other", "sg-rule-modified"
		}),
		"another account": other(func(f *remediation.Finding) { f.Resource.Account = "444455556666" }),
		"the own role":    other(func(f *remediation.Finding) { f.Playbook = remediation.OwnRolePlaybook; f.Rules = nil }),
	}
	want := map[remediation.Scope][]string{
		remediation.ScopeFinding:  {"the same"},
		remediation.ScopeResource: {"another playbook", "another rule", "the same"},
		remediation.ScopePlaybook: {"another group", "another rule", "the same"},
		remediation.ScopeAccount:  {"another group", "another group and playbook", "another playbook", "another rule", "the same"},
	}
	for _, scope := range remediation.Scopes() {
		s := remediation.SuppressionOf(base, scope)
		var got []string
		for name, f := range findings {
			if s.Covers(f) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[scope]) {
			t.Errorf("%s covers %v, want %v", scope, got, want[scope])
		}
	}
}

// TestIgnoreOfAResource: what comes later on it is neither told nor fixed, until it
// is taken back.
func TestIgnoreOfAResource(t *testing.T) {
	l, inc := asked(t, nil)
	cmd := command("c1", remediation.VerbIgnore, inc)
	cmd.Scope = string(remediation.ScopeResource)
	l.submit(cmd)
	l.drain()
	l.doors.set("h", "side", "back")
	l.accept(signal("e2", "h", "back"))
	l.drain()
	if n := len(l.incidents()); n != 1 {
		t.Fatalf("%d incidents, want one", n)
	}
	l.doors.set("elsewhere", "back")
	l.submit(command("c2", remediation.VerbUnignore, inc))
	l.drain()
	if n := len(l.incidents()); n != 2 {
		t.Errorf("%d incidents once the ignore is taken back, want two: what it hid on its resource, and nothing elsewhere", n)
	}
	bad := command("c3", remediation.VerbIgnore, inc)
	bad.Scope = "everything"
	l.submit(bad)
	l.drain()
	if got := l.slack.replies(t); !got[len(got)-1].Failed || l.incidents()[1].Status != remediation.StatusOpen {
		t.Errorf("an unknown scope: %+v", got[len(got)-1])
	}
}

// TestIgnoreThatReachesFarEnds: everything is looked at, without periodic scans too.
func TestIgnoreThatReachesFarEnds(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) { c.Reconcile = 0 })
	cmd := command("c1", remediation.VerbIgnore, inc)
	cmd.Scope = string(remediation.ScopeAccount)
	l.submit(cmd)
	l.drain()
	l.doors.set("elsewhere", "back")
	l.submit(command("c2", remediation.VerbUnignore, inc))
	l.drain()
	if n := len(l.incidents()); n != 2 {
		t.Errorf("%d incidents once the ignore is taken back, want two", n)
	}
}

// TestScanTellsWhatIsLetBe: what an undo or an ignore leaves open is open, and a
// scan says so.
func TestScanTellsWhatIsLetBe(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) { c.Question = remediation.Question{} })
	l.say("c1", remediation.VerbFix, "U1", inc)
	l.say("c2", remediation.VerbUndo, "U1", inc)
	l.submit(remediation.Command{ID: "s", Verb: remediation.VerbScan, By: "U9", Scope: "sg"})
	l.drain()
	report := l.scanned("s")
	if report.Open != 0 || report.LetBe != 1 || len(report.Left) != 1 || report.Left[0].Incident != inc.ID || report.Left[0].By != "U1" {
		t.Errorf("the scan says %+v", report)
	}
	if r := l.lastReply(); !strings.Contains(r.Text, "0 open, and 1 more that are let be") {
		t.Errorf("the answer is %q", r.Text)
	}
}

// TestTheWayOn: whoever asks for what does not fit is told what does, and which
// incident tells the same by now.
func TestTheWayOn(t *testing.T) {
	l, inc := asked(t, func(c *remediation.Config) { c.Question = remediation.Question{} })
	refused := func(id string, verb remediation.Verb, want ...string) {
		t.Helper()
		cmd := command(id, verb, inc)
		cmd.Reason = "it is meant so"
		l.submit(cmd)
		l.drain()
		r := l.lastReply()
		for _, w := range append(want, "Nothing was changed") {
			if !r.Failed || !strings.Contains(r.Text, w) {
				t.Errorf("%s of what is %s: %q is missing in %q", verb, l.incidents()[0].Status, w, r.Text)
			}
		}
	}
	refused("c1", remediation.VerbUndo, "is already open", "/secbot fix "+inc.ID)
	l.say("c2", remediation.VerbFix, "U1", inc)
	refused("c3", remediation.VerbIgnore, "is already fixed", "/secbot undo "+inc.ID)
	l.say("c4", remediation.VerbUndo, "U1", inc)
	refused("c5", remediation.VerbFix, "is already undone", "/secbot unignore "+inc.ID)
	l.advance(time.Minute)
	l.say("c6", remediation.VerbUnignore, "U1", inc)
	newer := l.incidents()[0]
	if newer.ID == inc.ID || !strings.Contains(l.threadTexts(), "It is asked about anew: see incident "+newer.ID) {
		t.Fatalf("it was not asked about anew:\n%s", l.threadTexts())
	}
	refused("c7", remediation.VerbFix, "is incident "+newer.ID+": /secbot show "+newer.ID)
}

// TestCheck: whether a command could be carried out is known without carrying it out.
func TestCheck(t *testing.T) {
	l, inc := asked(t, nil)
	stale := 7
	for name, c := range map[string]struct {
		cmd  remediation.Command
		fits bool
	}{
		"fix":                 {command("", remediation.VerbFix, inc), true},
		"undo":                {command("", remediation.VerbUndo, inc), false},
		"approve":             {command("", remediation.VerbApprove, inc), true},
		"stale":               {remediation.Command{Verb: remediation.VerbFix, Incident: inc.ID, By: "U1", State: &stale}, false},
		"another's request":   {remediation.Command{Verb: remediation.VerbApprove, Incident: inc.ID, By: "U1", Request: 9}, false},
		"by a stranger":       {remediation.Command{Verb: remediation.VerbFix, Incident: inc.ID, By: "U9"}, false},
		"pause":               {remediation.Command{Verb: remediation.VerbPause, By: "U1"}, true},
		"pause by a stranger": {remediation.Command{Verb: remediation.VerbPause, By: "U9"}, false},
		"no incident":         {remediation.Command{Verb: remediation.VerbFix, Incident: "none", By: "U1"}, false},
		"without a reason":    {remediation.Command{Verb: remediation.VerbIgnore, Incident: inc.ID, By: "U1"}, false},
	} {
		if err := l.engine.Check(t.Context(), c.cmd); (err == nil) != c.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := l.incidents()[0]; got.Version != inc.Version || len(l.doors.changes()) != 0 {
		t.Errorf("a check has changed something: %+v", got)
	}
}

// TestManyReminders: of many at once a few call people by themselves, and one message
// tells of the others; the next hour's begin anew. Who decides about one alone is called
// about that one, however many call others.
func TestManyReminders(t *testing.T) {
	l := newLab(t)
	l.config.Rules = append(l.config.Rules, remediation.PolicyRule{Match: remediation.Match{Resources: []string{"h9"}}, Then: remediation.ActionAsk, Approvers: []string{"U7"}})
	l.config.Question = remediation.Question{Remind: time.Hour}
	for i := range 10 {
		h := fmt.Sprint("h", i)
		l.doors.set(h, "side")
		l.accept(signal("e"+h, h, "side"))
	}
	l.drain()
	l.later(61 * time.Minute)
	called, other := 0, 0
	for _, n := range payloads[remediation.ThreadNote](t, l, remediation.OpThread) {
		if strings.HasPrefix(n.Text, "Reminder about") && len(n.People) > 0 {
			called++
			if slices.Equal(n.People, []string{"U7"}) {
				other++
			}
		}
	}
	alerts := payloads[remediation.Alert](t, l, remediation.OpAlert)
	if strings.Count(l.threadTexts(), "Reminder about") != 10 || called != 4 || other != 1 || len(alerts) != 1 || !slices.Equal(alerts[0].People, []string{"U1", "S1"}) {
		t.Errorf("%d reminders call people, and these alerts do: %+v\n%s", called, alerts, l.threadTexts())
	}
}
