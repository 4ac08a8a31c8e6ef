package bot

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// failing makes the first n calls of a method go wrong.
func failing(r *rig, n int, method string, f fakeslack.Fault) {
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method != method || n == 0 {
			return nil
		}
		n--
		return &f
	})
}

// called counts the calls of a method.
func (r *rig) called(method string) int {
	n := 0
	for _, c := range r.slack.Calls() {
		if c.Method == method {
			n++
		}
	}
	return n
}

func (r *rig) ref() *remediation.MessageRef {
	r.t.Helper()
	ref, err := r.store.Message(r.t.Context(), incidentID)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref
}

func TestMessageIsPostedOnceAndUpdated(t *testing.T) {
	r := newRig(t)
	inc := incident(opened())
	m := r.shown(inc)
	if ref := r.ref(); ref.TS != m.TS || ref.Channel != fakeslack.ChannelSecurity {
		t.Errorf("remembered %+v, posted %s", ref, m.TS)
	}
	var meta struct {
		EventType    string            `json:"event_type"`
		EventPayload map[string]string `json:"event_payload"`
	}
	if err := json.Unmarshal(m.Metadata, &meta); err != nil || meta.EventType != eventType ||
		meta.EventPayload["incident"] != incidentID || meta.EventPayload["operation"] == "" {
		t.Errorf("metadata %s: %v", m.Metadata, err)
	}
	inc.History = append(inc.History, step(remediation.StatusFixing, fakeslack.Alice, ""))
	inc.Status = remediation.StatusFixing
	r.save(inc)
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Fatal(err)
	}
	m = r.only()
	if b := m.Buttons(); len(b) == 0 || b[0].ActionID != actionMore || !strings.Contains(string(m.Blocks), "Reverting…") {
		t.Errorf("the message was not updated in place: %s", m.Blocks)
	}
}

// TestOneMessageAfterACrash: the message went out, but its sender heard nothing
// of it, or died before it could remember.
func TestOneMessageAfterACrash(t *testing.T) {
	for name, channel := range map[string]string{"by id": fakeslack.ChannelSecurity, "by name": "#security"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			inc := incident(opened())
			inc.Decision.Channel = channel
			r.save(inc)
			failing(r, 1, "chat.postMessage", fakeslack.Fault{AfterEffect: true})
			if err := r.notify(remediation.OpMessage, 1, nil); err == nil {
				t.Fatal("a lost answer is no success")
			}
			posted := r.only()
			for range 250 { // so that it is not on the first page
				if _, err := r.slack.Say(fakeslack.Dana, fakeslack.ChannelSecurity, "", "what is going on?"); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.notify(remediation.OpMessage, 2, nil); err != nil {
				t.Fatal(err)
			}
			if got := r.called("chat.postMessage"); got != 1 {
				t.Errorf("posted %d times", got)
			}
			if ref := r.ref(); ref.TS != posted.TS || ref.Channel != fakeslack.ChannelSecurity {
				t.Errorf("adopted %+v, want %s", ref, posted.TS)
			}
		})
	}
}

// TestOthersMessagesAreNotAdopted: only metadata of this incident's message
// counts, and a first attempt does not look at all.
func TestOthersMessagesAreNotAdopted(t *testing.T) {
	r := newRig(t)
	r.shown(incident(opened()))
	if got := r.called("conversations.history"); got != 0 {
		t.Errorf("a first attempt has looked into the history %d times", got)
	}
	other := incident(opened())
	other.ID, other.Key = "01JQ8Z5N6X7W9V4T3R00000000", "other"
	r.save(other)
	n := remediation.Notice{ID: "x", Incident: other.ID, Op: remediation.OpMessage, Attempts: 2, CreatedAt: r.now}
	if err := r.notifier.Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got := len(r.slack.Messages(fakeslack.ChannelSecurity)); got != 2 {
		t.Errorf("%d messages, want one for each incident", got)
	}
}

// TestBlindOrBusyHistory: where looking is forbidden a message too many is
// better than none; where it may work later, later.
func TestBlindOrBusyHistory(t *testing.T) {
	for code, posts := range map[string]int{"missing_scope": 1, "not_in_channel": 1, "internal_error": 0} {
		r := newRig(t)
		r.save(incident(opened()))
		failing(r, 1, "conversations.history", fakeslack.Fault{Error: code})
		err := r.notify(remediation.OpMessage, 2, nil)
		if got := r.called("chat.postMessage"); got != posts || (err == nil) != (posts == 1) {
			t.Errorf("%s: posted %d times, want %d: %v", code, got, posts, err)
		}
	}
}

func TestLostMessageIsPostedAgain(t *testing.T) {
	r := newRig(t)
	r.shown(incident(opened()))
	old := r.ref().TS
	failing(r, 1, "chat.update", fakeslack.Fault{Error: "message_not_found"})
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Fatal(err)
	}
	if ref := r.ref(); ref.TS == old || ref.Version != 2 {
		t.Errorf("%+v still points to what is gone", ref)
	}
}

func TestErrorsOfSlack(t *testing.T) {
	for name, c := range map[string]struct {
		fault fakeslack.Fault
		says  string
	}{
		"not in channel":  {fakeslack.Fault{Error: "not_in_channel"}, "/invite @secbot"},
		"no such channel": {fakeslack.Fault{Error: "channel_not_found"}, "SECBOT_CHANNEL"},
		"token":           {fakeslack.Fault{Error: "invalid_auth"}, "SLACK_BOT_TOKEN"},
		"internal":        {fakeslack.Fault{Error: "internal_error"}, "internal_error"},
		"dropped":         {fakeslack.Fault{Drop: true}, "chat.postMessage"},
		"down":            {fakeslack.Fault{Status: 503}, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.save(incident(opened()))
			failing(r, 1, "chat.postMessage", c.fault)
			err := r.notify(remediation.OpMessage, 1, nil)
			var retry *remediation.RetryError
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, remediation.ErrUndeliverable) || errors.As(err, &retry) {
				t.Errorf("%v, want a plain error that says %q", err, c.says)
			}
			if strings.Contains(err.Error(), r.slack.Token()) {
				t.Errorf("the token stands in %v", err)
			}
			if err := r.notify(remediation.OpMessage, 2, nil); err != nil {
				t.Error(err)
			}
			r.only()
		})
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	r := newRig(t)
	inc := incident(opened())
	r.save(inc)
	for _, method := range []string{"chat.postMessage", "chat.update"} {
		failing(r, 1, method, fakeslack.Fault{RetryAfter: 7 * time.Second})
		var retry *remediation.RetryError
		if err := r.notify(remediation.OpMessage, 1, nil); !errors.As(err, &retry) || retry.After != 7*time.Second {
			t.Errorf("%s: %v, want a pause of 7 s", method, err)
		}
		if err := r.notify(remediation.OpMessage, 2, nil); err != nil {
			t.Error(err)
		}
	}
	r.only()
}

// TestRefusedBlocks: the notice goes out as text rather than not at all.
func TestRefusedBlocks(t *testing.T) {
	r := newRig(t)
	r.save(incident(opened()))
	failing(r, 1, "chat.postMessage", fakeslack.Fault{Error: "invalid_blocks"})
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Fatal(err)
	}
	m := r.only()
	if m.Blocks != nil || !strings.Contains(m.Text, incidentID) {
		t.Errorf("%q %s", m.Text, m.Blocks)
	}
	failing(r, 1, "chat.update", fakeslack.Fault{Error: "invalid_blocks"})
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Error(err)
	}
}

func TestNoChannel(t *testing.T) {
	r := newRig(t)
	r.notifier.Channel = ""
	inc := incident(opened())
	inc.Decision.Channel = ""
	r.save(inc)
	if err := r.notify(remediation.OpMessage, 1, nil); err == nil || !strings.Contains(err.Error(), "SECBOT_CHANNEL") {
		t.Errorf("%v", err)
	}
}

func TestUndeliverable(t *testing.T) {
	r := newRig(t)
	for _, op := range []string{remediation.OpMessage, remediation.OpThread, "sing"} {
		if err := r.notify(op, 1, remediation.ThreadNote{Text: "x"}); !errors.Is(err, remediation.ErrUndeliverable) {
			t.Errorf("%s of an unknown incident: %v", op, err)
		}
	}
	if err := r.notify(remediation.OpReply, 1, 3); !errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("a payload that can't be read: %v", err)
	}
}

func TestThreadReply(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	note := remediation.ThreadNote{Text: "What was changed:", Diff: []remediation.DiffLine{{Op: "-", Text: "tcp 22"}}}
	failing(r, 1, "chat.postMessage", fakeslack.Fault{AfterEffect: true})
	if err := r.notify(remediation.OpThread, 1, note); err == nil {
		t.Fatal("a lost answer is no success")
	}
	if err := r.notify(remediation.OpThread, 2, note); err != nil {
		t.Fatal(err)
	}
	thread := r.slack.Thread(m.Channel, m.TS)
	if len(thread) != 2 || !strings.Contains(string(thread[1].Blocks), "- tcp 22") {
		t.Errorf("the thread: %+v", thread)
	}
}

// TestThreadOfWhatWasNeverTold: notices go out in order, so waiting for the
// message would be waiting forever.
func TestThreadOfWhatWasNeverTold(t *testing.T) {
	r := newRig(t)
	inc := incident(opened())
	r.save(inc)
	if err := r.notify(remediation.OpThread, 1, remediation.ThreadNote{Text: "Seen again"}); err != nil {
		t.Fatal(err)
	}
	all := r.slack.Messages(fakeslack.ChannelSecurity)
	if len(all) != 2 || all[1].ThreadTS != all[0].TS {
		t.Errorf("want the message and the reply to it: %+v", all)
	}
	settled := newRig(t)
	settled.save(incident(opened(), byPolicy(remediation.StatusResolved)))
	if err := settled.notify(remediation.OpThread, 1, remediation.ThreadNote{Text: "It is back"}); !errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("of a settled one: %v", err)
	}
}

// replyTo clicks, so that there is a response URL.
func (r *rig) replyTo() remediation.ReplyTo {
	r.t.Helper()
	m := r.shown(incident(opened()))
	if _, err := r.slack.Click(r.t.Context(), fakeslack.Mallory, m.Channel, m.TS, "fix"); err != nil {
		r.t.Fatal(err)
	}
	return r.engine.commands()[0].ReplyTo
}

func TestReplyByResponseURL(t *testing.T) {
	r := newRig(t)
	reply := remediation.Reply{ReplyTo: r.replyTo(), Text: "You may not: ask U0ALICE. <!channel>", People: []string{fakeslack.Alice}, Incident: incidentID, Failed: true}
	if err := r.notify(remediation.OpReply, 1, reply); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Mallory); !strings.Contains(got, "ask <@U0ALICE>. &lt;!channel&gt;") {
		t.Errorf("told %q", got)
	}
	if r.called("response_url") != 1 || r.called("chat.postEphemeral") != 0 {
		t.Errorf("calls: %+v", r.slack.Calls())
	}
	if m := r.only(); len(m.Versions) != 0 {
		t.Error("the message itself was changed")
	}
}

func TestReplyFallsBackToAnEphemeral(t *testing.T) {
	for name, change := range map[string]func(*rig, *remediation.Reply){
		"used up": func(r *rig, _ *remediation.Reply) {
			failing(r, 1, "response_url", fakeslack.Fault{Status: 404, Error: "used_url"})
		},
		"too old": func(r *rig, _ *remediation.Reply) {
			r.notifier.Now = func() time.Time { return r.now.Add(responseLife) }
		},
		"none":      func(_ *rig, reply *remediation.Reply) { reply.ResponseURL = "" },
		"not ours":  func(_ *rig, reply *remediation.Reply) { reply.ResponseURL = "https://evil.example/response" },
		"malformed": func(_ *rig, reply *remediation.Reply) { reply.ResponseURL = "http://127.0.0.1:x/\n" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			reply := remediation.Reply{ReplyTo: r.replyTo(), Text: "No."}
			change(r, &reply)
			if err := r.notify(remediation.OpReply, 1, reply); err != nil {
				t.Fatal(err)
			}
			if r.called("chat.postEphemeral") != 1 {
				t.Errorf("calls: %+v", r.slack.Calls())
			}
			r.whisper(fakeslack.Mallory)
		})
	}
}

func TestReplyThatCanNeverArrive(t *testing.T) {
	r := newRig(t)
	if err := r.notify(remediation.OpReply, 1, remediation.Reply{Text: "x"}); !errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("to nobody: %v", err)
	}
	to := r.replyTo()
	failing(r, 1, "response_url", fakeslack.Fault{Drop: true})
	to.Channel = fakeslack.ChannelRandom // where the bot is not
	err := r.notify(remediation.OpReply, 1, remediation.Reply{ReplyTo: to, Text: "x"})
	if err == nil || errors.Is(err, remediation.ErrUndeliverable) {
		t.Errorf("a broken connection is worth another try: %v", err)
	}
	if strings.Contains(err.Error(), "/response/") {
		t.Errorf("the response URL stands in %v", err)
	}
	r.slack.Fault(func(fakeslack.Call) *fakeslack.Fault { return &fakeslack.Fault{RetryAfter: 3 * time.Second} })
	var retry *remediation.RetryError
	if err := r.notify(remediation.OpReply, 1, remediation.Reply{ReplyTo: to, Text: "x"}); !errors.As(err, &retry) || retry.After != 3*time.Second {
		t.Errorf("busy: %v", err)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	r := newRig(t)
	other := newRig(t)
	r.server.Config.Handler = http.RedirectHandler(other.server.URL+"/slack/events", http.StatusTemporaryRedirect)
	err := whisperer{r.handler.Client, r.handler.APIURL}.respond(t.Context(), r.server.URL+"/response/x", words("x"))
	var status statusError
	if !errors.As(err, &status) || int(status) != http.StatusTemporaryRedirect {
		t.Errorf("%v", err)
	}
}

func TestAnswerable(t *testing.T) {
	for url, want := range map[string]bool{
		"https://hooks.slack.com/actions/T/1/x": true, "https://hooks.slack-gov.com/x": true,
		"http://hooks.slack.com/x": false, "https://hooks.slack.com.evil.example/x": false, "https://user@hooks.slack.com/x": false,
		"http://127.0.0.1:9/x": false, "https://169.254.169.254/": false, "file:///etc/passwd": false, "": false, "https://": false,
	} {
		if got := answerable(url, ""); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
	for url, want := range map[string]bool{
		"http://127.0.0.1:9/x": true, "http://localhost:9/x": true, "http://[::1]:9/x": true, "http://10.0.0.1/x": false, "https://hooks.slack.com/x": true,
	} {
		if got := answerable(url, "http://127.0.0.1:8090/api/"); got != want {
			t.Errorf("%q beside a local API: %v", url, got)
		}
	}
	if !answerable("https://slack.example.com/x", "https://slack.example.com/api") || answerable("http://slack.example.com/x", "https://slack.example.com/api") {
		t.Error("the API's own host must be answered by https alone")
	}
}

func TestScanSummaryOnce(t *testing.T) {
	r := newRig(t)
	rec := r.scan(remediation.ScanRun{ID: "s", By: fakeslack.Alice, Scope: "all", Started: at(0), At: at(0), Read: 1}, nil)
	failing(r, 1, "chat.postMessage", fakeslack.Fault{AfterEffect: true})
	if err := r.notify(remediation.OpScan, 1, nil); err == nil {
		t.Fatal("a lost answer is no success")
	}
	if err := r.notify(remediation.OpScan, 2, nil); err != nil {
		t.Fatal(err)
	}
	if m := r.only(); !strings.Contains(string(m.Blocks), "Scan under way") {
		t.Errorf("while it reads the message says %s", m.Blocks)
	}
	r.scan(remediation.ScanRun{ID: "s", Report: &remediation.ScanReport{ID: "s", By: fakeslack.Alice, Scope: "all", Started: at(0), Finished: at(1), Read: 3}}, rec)
	if err := r.notify(remediation.OpScan, 1, nil); err != nil {
		t.Fatal(err)
	}
	if m := r.only(); !strings.Contains(string(m.Blocks), "Scan finished") {
		t.Errorf("once it has ended the message says %s", m.Blocks)
	}
	if err := r.notify(remediation.OpScan, 1, nil); err != nil {
		t.Fatal(err)
	}
	// Where the message is, is forgotten with the scan.
	if _, err := r.store.Message(t.Context(), remediation.ScanMessage("s")); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("where the message is, is kept for ever: %v", err)
	}
	if _, err := r.store.Record(t.Context(), remediation.ScanMessageRecord("s")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Sweep(t.Context(), r.now.Add(remediation.KeepScan+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Record(t.Context(), remediation.ScanMessageRecord("s")); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("it is not swept: %v", err)
	}
}

// TestIgnoredUntil: the message says until when, as the store has it.
func TestIgnoredUntil(t *testing.T) {
	r := newRig(t)
	inc := incident(opened(), step(remediation.StatusIgnored, fakeslack.Alice, "meant so"))
	r.save(inc)
	until := r.now.Add(time.Hour).UTC()
	for id, s := range map[string]remediation.Suppression{
		"other": {Incident: "other", Until: until.Add(time.Minute)},
		"ended": {Incident: inc.ID, Until: until.Add(time.Minute), Ended: true},
		"this":  {Incident: inc.ID, Until: until},
	} {
		s.ID = id
		if err := r.store.Commit(t.Context(), remediation.Write{Suppressions: []*remediation.Suppression{&s}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Fatal(err)
	}
	if m := r.only(); !strings.Contains(string(m.Blocks), "until "+strings.TrimSuffix(date(until), ">")) {
		t.Errorf("%s", m.Blocks)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		channel string
		fault   map[string]string // error by method
		says    string            // empty: ready
	}{
		"ready":            {fakeslack.ChannelSecurity, nil, ""},
		"ready by name":    {"#security", nil, ""},
		"bad token":        {fakeslack.ChannelSecurity, map[string]string{"auth.test": "invalid_auth"}, "SLACK_BOT_TOKEN"},
		"no channel":       {"", nil, "SECBOT_CHANNEL"},
		"not invited":      {fakeslack.ChannelRandom, nil, "/invite"},
		"no such name":     {"#nowhere", nil, "/invite"},
		"no such id":       {"C0NOWHERE", nil, "channel_not_found"},
		"scope":            {fakeslack.ChannelSecurity, map[string]string{"conversations.history": "missing_scope"}, "missing_scope"},
		"busy":             {fakeslack.ChannelSecurity, map[string]string{"conversations.history": "internal_error"}, "internal_error"},
		"a small stand-in": {"#security", map[string]string{"conversations.list": "unknown_method", "conversations.history": "unknown_method"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.notifier.Channel = c.channel
			r.slack.Fault(func(call fakeslack.Call) *fakeslack.Fault {
				if code := c.fault[call.Method]; code != "" {
					return &fakeslack.Fault{Error: code}
				}
				return nil
			})
			err := r.notifier.Check(t.Context())
			if (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
			calls := len(r.slack.Calls())
			if again := r.notifier.Check(t.Context()); (again == nil) != (err == nil) || len(r.slack.Calls()) != calls {
				t.Errorf("asked again at once, it calls Slack or answers otherwise: %v", again)
			}
		})
	}
}

// TestOutsiders: guests, apps and people of other workspaces are known, and asked
// about once in five minutes.
func TestOutsiders(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	d := NewDirectory(r.handler.Client, func() time.Time { return now })
	for user, want := range map[string]string{fakeslack.Alice: "", fakeslack.Guest: "Guests", fakeslack.Stray: "this workspace", fakeslack.BotUser: "Apps"} {
		for range 2 {
			if why, err := d.Outsider(t.Context(), user); err != nil || !strings.Contains(why, want) || (why == "") != (want == "") {
				t.Errorf("%s: %q, %v", user, why, err)
			}
		}
	}
	if n := len(r.slack.Calls()); n != 5 {
		t.Errorf("%d calls, want one for the workspace and one for each of four", n)
	}
	r.slack.Fault(func(fakeslack.Call) *fakeslack.Fault { return &fakeslack.Fault{Error: "missing_scope"} })
	now = now.Add(6 * time.Minute)
	if _, err := d.Outsider(t.Context(), fakeslack.Alice); err == nil {
		t.Error("an old answer")
	}
}

func TestDirectory(t *testing.T) {
	r := newRig(t)
	now := at(0)
	d := NewDirectory(r.handler.Client, func() time.Time { return now })
	member := func(user string, want bool, calls int) {
		t.Helper()
		got, err := d.Member(t.Context(), fakeslack.GroupResponders, user)
		if err != nil || got != want || r.called("usergroups.users.list") != calls {
			t.Errorf("%s: %v %v after %d calls, want %v after %d", user, got, err, r.called("usergroups.users.list"), want, calls)
		}
	}
	member(fakeslack.Alice, true, 1)
	member(fakeslack.Mallory, false, 1)
	r.slack.SetGroup(fakeslack.Group{ID: fakeslack.GroupResponders, Users: []string{fakeslack.Bob}})
	member(fakeslack.Alice, true, 1)
	now = now.Add(membersLife)
	member(fakeslack.Alice, false, 2)
	now = now.Add(membersLife)
	failing(r, 1, "usergroups.users.list", fakeslack.Fault{Error: "internal_error"})
	if ok, err := d.Member(t.Context(), fakeslack.GroupResponders, fakeslack.Bob); ok || err == nil {
		t.Errorf("an old answer was given: %v %v", ok, err)
	}
	member(fakeslack.Bob, true, 4)
}

// TestUndoneAndAskedAnew: the message of what was undone links what tells of it now.
func TestUndoneAndAskedAnew(t *testing.T) {
	r := newRig(t)
	old := incident(opened(), byPolicy(remediation.StatusFixing), byPolicy(remediation.StatusFixed), step(remediation.StatusUndoing, fakeslack.Bob, ""), byPolicy(remediation.StatusUndone))
	r.save(old)
	newer := incident(opened())
	newer.ID, newer.Previous = "01JQ8Z5N6X7W9V4T3R2P1M0K9X", old.ID
	r.save(newer)
	if err := r.notifier.Notify(t.Context(), remediation.Notice{ID: newer.ID + "/1", Incident: newer.ID, Seq: 1, To: remediation.NotifySlack, Op: remediation.OpMessage, Attempts: 1, CreatedAt: r.now}); err != nil {
		t.Fatal(err)
	}
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		t.Fatal(err)
	}
	all := r.slack.Messages(fakeslack.ChannelSecurity)
	if m := all[len(all)-1]; len(all) != 2 || !strings.Contains(string(m.Blocks), "|incident "+newer.ID+">") || !strings.Contains(string(m.Blocks), "tells of it now") || strings.Contains(string(m.Blocks), "unignore") {
		t.Errorf("%s", m.Blocks)
	}
	if got := r.typed("show " + old.ID); !strings.Contains(got, "/secbot show "+newer.ID) || strings.Contains(got, "/secbot unignore") {
		t.Errorf("%s", got)
	}
}
