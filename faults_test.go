//go:build crash

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"secbot/bot"
	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// ailment is what befalls calls of one kind: AWS's and Slack's stand-ins make it,
// but for stale answers, which the client gets from what it has got before.
type ailment struct {
	name  string
	aws   *fakeaws.Fault
	slack *fakeslack.Fault
	stale bool
	// late: Slack's answer does not come in time, and its effect only later. The
	// client makes it.
	late  bool
	hangs bool // AWS's answer never comes: nobody waits for it any longer
}

// lasts is how often a call is ill. No state is shown for a quarter of an hour that is
// not so any more.
func (a ailment) lasts() map[int]string {
	if a.stale {
		return map[int]string{1: "once", 3: "three times"}
	}
	return map[int]string{1: "once", -1: "for long"}
}

// patience is how long secbot's AWS client waits in these tests: a machine that is
// busy with other things must not look like a call that hangs.
const patience = time.Minute

func ailments() []ailment {
	return []ailment{
		{name: "throttled", aws: &fakeaws.Fault{Status: 503, Code: "RequestLimitExceeded", Message: "Request limit exceeded."}, slack: &fakeslack.Fault{RetryAfter: 30 * time.Second}},
		{name: "fails with 5xx", aws: &fakeaws.Fault{Status: 500, Code: "InternalError", Message: "We encountered an internal error."}, slack: &fakeslack.Fault{Status: 503, Error: "service_unavailable"}},
		{name: "is cut off", aws: &fakeaws.Fault{Drop: true}, slack: &fakeslack.Fault{Drop: true}},
		{name: "works, and its answer is lost", aws: &fakeaws.Fault{Drop: true, After: true}, slack: &fakeslack.Fault{AfterEffect: true}},
		{name: "hangs", aws: &fakeaws.Fault{Drop: true}, hangs: true},
		{name: "answers too late, and works later", late: true},
		{name: "is denied", aws: &fakeaws.Fault{Status: 403, Code: "AccessDenied", Message: "not authorized"}, slack: &fakeslack.Fault{Error: "not_in_channel"}},
		{name: "answers what was before", stale: true},
	}
}

// ward is secbot on the stand-ins with a clock that the test moves, and with
// clients that repeat nothing by themselves and never wait long.
type ward struct {
	t      *testing.T
	sb     *sandbox.Sandbox
	w      *demo.World
	st     remediation.Store
	engine *remediation.Engine
	client *memoryClient

	mu    sync.Mutex
	now   time.Time
	armed bool
	late  []late // what Slack is still to do
	ill   string // the call that is ill
	what  ailment
	left  int // how often it still is; below 0: for good
	calls []string
}

func (w *ward) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// isIll counts a call and says whether something befalls it.
func (w *ward) isIll(call string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return false
	}
	if !slices.Contains(w.calls, call) {
		w.calls = append(w.calls, call)
	}
	if call != w.ill || w.left == 0 || w.what.stale || w.what.late {
		return false
	}
	w.left--
	return true
}

// late is a request to Slack whose effect is still to come.
type late struct {
	due time.Time
	do  func()
}

// lateBy is how long after the client has given up a late effect comes.
const lateBy = 25 * time.Second

// lateClient gives up on calls to Slack that are ill, and makes them later.
type lateClient struct {
	w    *ward
	next http.Client
}

func (c *lateClient) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	again := r.Clone(context.WithoutCancel(r.Context()))
	r.Body, again.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	if !c.w.isLate("slack "+path.Base(r.URL.Path), func() {
		resp, err := c.next.Do(again)
		if err == nil {
			err = resp.Body.Close()
		}
		if err != nil {
			c.w.t.Error(err)
		}
	}) {
		return c.next.Do(r)
	}
	return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: context.DeadlineExceeded}
}

// isLate keeps a call for later where it is ill.
func (w *ward) isLate(call string, do func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed || !w.what.late || call != w.ill || w.left == 0 {
		return false
	}
	if !slices.Contains(w.calls, call) {
		w.calls = append(w.calls, call)
	}
	w.left--
	w.late = append(w.late, late{w.now.Add(lateBy), do})
	return true
}

// catchUp does what has become due of what is late.
func (w *ward) catchUp() {
	w.mu.Lock()
	var due []late
	w.late = slices.DeleteFunc(w.late, func(l late) bool {
		is := !l.due.After(w.now)
		if is {
			due = append(due, l)
		}
		return is
	})
	w.mu.Unlock()
	for _, l := range due {
		l.do()
	}
}

// memoryClient answers reads with what was answered first, while they are ill.
type memoryClient struct {
	w    *ward
	next http.Client
	mu   sync.Mutex
	kept map[string][]byte
}

func (c *memoryClient) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	key := r.Method + " " + r.URL.String() + " " + string(body)
	c.mu.Lock()
	old, has := c.kept[key]
	c.mu.Unlock()
	if has && c.w.stale(r, string(body)) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(old)), Request: r}, nil
	}
	resp, err := c.next.Do(r)
	if err != nil && c.w.hangs() {
		err = &url.Error{Op: r.Method, URL: r.URL.String(), Err: context.DeadlineExceeded}
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !has {
		c.kept[key] = raw
	}
	return resp, nil
}

// forget has reads that are ill answer what is so from now on.
func (w *ward) forget() {
	w.client.mu.Lock()
	defer w.client.mu.Unlock()
	clear(w.client.kept)
}

// hangs reports whether calls that fail have failed since nobody waits any longer.
func (w *ward) hangs() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed && w.what.hangs
}

// stale reports whether a request gets the answer from before.
func (w *ward) stale(r *http.Request, body string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed || !w.what.stale || w.left == 0 {
		return false
	}
	_, action, _ := strings.Cut(w.ill, " ")
	action, filtered := strings.CutSuffix(action, byFilter)
	is := strings.Contains(body, "Action="+action+"&") && (action != "DescribeSecurityGroups" || filtered == strings.Contains(body, "Filter.1"))
	for parameter := range r.URL.Query() {
		is = is || strings.HasSuffix(strings.ToLower(action), strings.ToLower(parameter))
	}
	if is {
		w.left--
	}
	return is
}

// byFilter marks the calls that look for groups, which are made at the same time as
// the one that reads a group.
const byFilter = " by filter"

func callName(c fakeaws.Call) string {
	name := c.Service + " " + c.Action
	if c.Action == "DescribeSecurityGroups" && c.Resource == "" {
		name += byFilter
	}
	return name
}

func newWard(t *testing.T) *ward {
	w := &ward{t: t, now: time.Now().UTC().Truncate(time.Second), st: memory.New()}
	w.sb, w.w = startSandbox(t)
	client := &memoryClient{w: w, next: http.Client{Timeout: patience}, kept: map[string][]byte{}}
	w.client = client
	cfg := demo.AWSConfig(w.sb)
	cfg.HTTPClient = client
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	env := awsenv.New(cfg, awsenv.Member{})
	api := slack.New(w.sb.Slack.Token(), slack.OptionAPIURL(w.sb.Slack.APIURL()), slack.OptionHTTPClient(&lateClient{w: w}))
	policy := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.Alice})
	policy.Reconcile, policy.Heartbeat = 0, 0
	slackNotifier := &bot.Notifier{Client: api, Store: w.st, Names: names(policy), Channel: policy.Channel, APIURL: w.sb.Slack.APIURL(), Now: w.clock}
	w.engine = remediation.New(remediation.Options{
		Store: w.st, Provider: env, Config: policy, Notifiers: map[string]remediation.Notifier{remediation.NotifySlack: slackNotifier},
		Directory: bot.NewDirectory(api, w.clock), Enrich: env.Enrich, Self: env.Identity, Now: w.clock,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Log: slog.New(slog.DiscardHandler),
	})
	w.sb.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if strings.Contains(c.Caller, "assumed-role/secbot") && w.isIll(callName(c)) {
			return w.what.aws
		}
		return nil
	})
	w.sb.Slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if w.isIll("slack " + c.Method) {
			return w.what.slack
		}
		return nil
	})
	return w
}

// passes lets secbot work for a time, in steps of half a minute, or of less where
// that is how long something takes.
func (w *ward) passes(d time.Duration) {
	w.t.Helper()
	step := 30 * time.Second
	if w.what.late {
		step = 10 * time.Second
	}
	for range int(d / step) {
		if err := w.engine.Drain(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		w.now = w.now.Add(step)
		w.mu.Unlock()
		w.catchUp()
	}
}

// tell delivers the newest event of a call.
func (w *ward) tell(name string) {
	w.t.Helper()
	w.sb.AWS.Flush()
	results, err := events.Decode(w.sb.LastEvent(name))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.Accept(w.t.Context(), events.Signals(results)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) incident() *remediation.Incident {
	w.t.Helper()
	all, err := w.st.Incidents(w.t.Context(), remediation.IncidentQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(all) != 1 {
		w.t.Fatalf("%d incidents, want one", len(all))
	}
	return all[0]
}

func (w *ward) say(id string, v remediation.Verb) {
	w.t.Helper()
	cmd := remediation.Command{ID: id, Verb: v, Incident: w.incident().ID, By: fakeslack.Alice, Reason: "x"}
	if err := w.engine.Submit(w.t.Context(), cmd); err != nil {
		w.t.Fatal(err)
	}
}

// treatment is one flow; open reports whether the hole is there.
type treatment struct {
	name    string
	prelude func(w *ward)
	trigger func(w *ward)
	open    func(w *ward) bool
	goal    remediation.Status
}

func treatments() []treatment {
	ssh := func(w *ward) bool {
		rules, err := w.w.Rules(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		return len(rules) == 2
	}
	grant := func(w *ward) bool {
		grants, err := w.w.Grants(w.t.Context(), demo.DataBucket)
		if err != nil {
			w.t.Fatal(err)
		}
		return len(grants) > 1
	}
	breaks := func(id, call string) func(w *ward) {
		return func(w *ward) {
			target := w.w.Group
			if strings.HasPrefix(id, "acl") {
				target = demo.DataBucket
			}
			if err := w.w.Break(w.t.Context(), id, target); err != nil {
				w.t.Fatal(err)
			}
			w.tell(call)
		}
	}
	asked := func(id, call string) func(w *ward) {
		return func(w *ward) { breaks(id, call)(w); w.passes(time.Minute) }
	}
	fix := func(w *ward) { w.say("fix", remediation.VerbFix) }
	return []treatment{
		{name: "a rule is closed", trigger: breaks("ssh", "AuthorizeSecurityGroupIngress"), open: ssh, goal: remediation.StatusFixed},
		{name: "a rule is reverted", prelude: asked("partner", "AuthorizeSecurityGroupIngress"), trigger: fix, open: ssh, goal: remediation.StatusFixed},
		{name: "a fix is undone", prelude: asked("ssh", "AuthorizeSecurityGroupIngress"),
			trigger: func(w *ward) { w.say("undo", remediation.VerbUndo) }, open: ssh, goal: remediation.StatusUndone},
		{name: "an ACL is reverted", prelude: asked("acl-read", "PutBucketAcl"), trigger: fix, open: grant, goal: remediation.StatusFixed},
	}
}

// runs takes a treatment to its end, with one call ill, and says what came of it.
func (tr treatment) runs(w *ward, call string, what ailment, times int) string {
	if tr.prelude != nil {
		tr.prelude(w)
	} else {
		w.passes(30 * time.Second) // the first look at all groups
		w.forget()
	}
	w.mu.Lock()
	w.armed, w.ill, w.what, w.left = true, call, what, times
	w.mu.Unlock()
	tr.trigger(w)
	w.passes(15 * time.Minute)
	ill := tr.outcome(w)
	if times > 0 {
		return ill
	}
	// What was ill for good gets well, and a person clicks Retry.
	w.mu.Lock()
	w.left = 0
	w.mu.Unlock()
	w.passes(time.Hour)
	if w.incident().Status == remediation.StatusFailed {
		w.say("retry", remediation.VerbRetry)
		w.passes(5 * time.Minute)
	}
	return ill + "; then " + tr.outcome(w)
}

// outcome says where all stands, and checks what must hold wherever it stands.
func (tr treatment) outcome(w *ward) string {
	inc, open := w.incident(), tr.open(w)
	state := "closed"
	if open {
		state = "open"
	}
	messages := top(w.sb)
	if len(messages) > 1 {
		w.t.Errorf("%d messages", len(messages))
	}
	told := "not told yet"
	if len(messages) == 1 {
		told = "told"
		buttons := messages[0].Buttons()
		if inc.Status == remediation.StatusFixed && (len(buttons) == 0 || buttons[0].ActionID != "undo") {
			told = "told of what was before"
		}
	}
	marks := map[string]int{}
	for _, m := range w.sb.Slack.Messages(fakeslack.ChannelSecurity) {
		if mark := string(m.Metadata); mark != "" {
			if marks[mark]++; marks[mark] == 2 {
				w.t.Errorf("posted twice: %s", mark)
			}
		}
	}
	switch inc.Status {
	case remediation.StatusFixing, remediation.StatusUndoing:
		w.t.Errorf("the incident is still %s", inc.Status)
	case remediation.StatusFixed:
		if open {
			w.t.Error("fixed, and open")
		}
	case remediation.StatusUndone:
		if !open {
			w.t.Error("undone, and closed")
		}
	case remediation.StatusFailed:
		if !strings.Contains(inc.Error, "Retry") && !strings.Contains(inc.Error, "by hand") {
			w.t.Errorf("what to do is not said: %s", inc.Error)
		}
	case remediation.StatusOpen:
		if cmp.Or(inc.Finding.Doubt, inc.Decision.Why) == "" && tr.prelude == nil {
			w.t.Errorf("open for no reason: %+v", inc.Decision)
		}
	}
	log, err := w.st.Audit(w.t.Context(), inc.ID)
	if err == nil {
		err = remediation.VerifyAudit(inc, log)
	}
	if err != nil {
		w.t.Error(err)
	}
	return fmt.Sprintf("%s, %s, %s", inc.Status, state, told)
}

// TestFaults: every call of each flow meets every mishap, once and for a quarter
// of an hour. What comes of each stands in testdata/faults.txt (UPDATE_GOLDEN=1 writes
// it): done later, or failed with a message that says what to do, and whole once
// all is well again.
func TestFaults(t *testing.T) {
	lines := make(map[string]string)
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for _, tr := range treatments() {
			clean := newWard(t)
			if got, want := tr.runs(clean, "", ailment{}, 1), tr.goal; !strings.HasPrefix(got, string(want)+",") {
				t.Fatalf("%s without any fault: %s", tr.name, got)
			}
			for _, call := range clean.calls {
				for _, what := range ailments() {
					onSlack := strings.HasPrefix(call, "slack ")
					if onSlack && what.slack == nil && !what.late || !onSlack && what.aws == nil && !what.stale || what.stale && !reads(call) {
						continue
					}
					for times, often := range what.lasts() {
						name := fmt.Sprintf("%s: %s %s %s", tr.name, call, what.name, often)
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							got := tr.runs(newWard(t), call, what, times)
							mu.Lock()
							defer mu.Unlock()
							lines[name] = got
						})
					}
				}
			}
		}
	})
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&text, "%s: %s\n", name, lines[name])
	}
	const file = "testdata/faults.txt"
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("other outcomes (-known +now):\n%s", diff)
	}
}

func reads(call string) bool {
	return strings.Contains(call, " Describe") || strings.Contains(call, " Get")
}
