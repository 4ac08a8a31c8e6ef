package fakeslack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

func stringReader(s string) *strings.Reader { return strings.NewReader(s) }

func TestAuth(t *testing.T) {
	w := newWorkspace(t, Options{})
	who, err := w.client.AuthTest()
	if err != nil {
		t.Fatal(err)
	}
	if who.TeamID != TeamID || who.UserID != BotUser || who.BotID != BotID {
		t.Errorf("auth.test: %+v", who)
	}
	_, err = slack.New("xoxb-wrong", slack.OptionAPIURL(w.APIURL())).AuthTest()
	if code(err) != "invalid_auth" {
		t.Errorf("wrong token: %v", err)
	}
	if got := rawCall(t, w, "auth.test", "", "application/x-www-form-urlencoded", ""); got.Error != "not_authed" {
		t.Errorf("no token: %+v", got)
	}
	if got := rawCall(t, w, "chat.explode", w.Token(), "application/json", "{}"); got.Error != "unknown_method" {
		t.Errorf("unknown method: %+v", got)
	}
	for _, c := range w.Calls() {
		if strings.Contains(fmt.Sprint(c), w.Token()) || strings.Contains(fmt.Sprint(c), "xoxb-wrong") {
			t.Errorf("a token is in the record of %s", c.Method)
		}
	}
}

type rawAnswer struct {
	OK       bool
	Error    string
	TS       string
	Metadata struct{ Messages []string } `json:"response_metadata"`
	status   int
}

// rawCall calls a method without slack-go; a token goes into the header.
func rawCall(t *testing.T, w *workspace, method, token, contentType, body string) rawAnswer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.APIURL()+method, stringReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := rawAnswer{status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBodies(t *testing.T) {
	w := newWorkspace(t, Options{})
	tests := []struct{ name, contentType, body, want string }{
		{"json", "application/json; charset=utf-8", `{"channel":"C0SECBOT","text":"x"}`, ""},
		{"form", "application/x-www-form-urlencoded", "channel=C0SECBOT&text=x", ""},
		{"token in a form", "application/x-www-form-urlencoded", "channel=C0SECBOT&text=x&token=other", ""},
		{"nested json", "application/json", `{"channel":"C0SECBOT","blocks":[{"type":"divider"}]}`, ""},
		{"broken json", "application/json", `{"channel":`, "invalid_json"},
		{"a json array", "application/json", `[]`, "json_not_object"},
		{"too large", "application/json", `{"text":"` + strings.Repeat("x", 1<<20) + `"}`, "request_too_large"},
		{"form too large", "application/x-www-form-urlencoded", "text=" + strings.Repeat("x", 1<<20), "request_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rawCall(t, w, "chat.postMessage", w.Token(), tt.contentType, tt.body); got.Error != tt.want {
				t.Errorf("got %q, want %q", got.Error, tt.want)
			}
		})
	}
}

func TestPostErrors(t *testing.T) {
	w := newWorkspace(t, Options{Channels: append(DefaultChannels(), Channel{ID: "C0OLD", Name: "old", Member: true, Archived: true})})
	tests := []struct {
		name, channel string
		option        slack.MsgOption
		want          string
	}{
		{"by name", "#security", slack.MsgOptionText("x", false), ""},
		{"to a person", Alice, slack.MsgOptionText("x", false), ""},
		{"no channel", "C0NOWHERE", slack.MsgOptionText("x", false), "channel_not_found"},
		{"not a member", ChannelRandom, slack.MsgOptionText("x", false), "not_in_channel"},
		{"archived", "C0OLD", slack.MsgOptionText("x", false), "is_archived"},
		{"nothing said", ChannelSecurity, slack.MsgOptionText("", false), "no_text"},
		{"no such thread", ChannelSecurity, slack.MsgOptionCompose(slack.MsgOptionText("x", false), slack.MsgOptionTS("1.000000")), "thread_not_found"},
		{"bad block", ChannelSecurity, slack.MsgOptionBlocks(slack.NewHeaderBlock(plain(strings.Repeat("x", 151)))), "invalid_blocks"},
		{"bad metadata", ChannelSecurity, slack.MsgOptionCompose(slack.MsgOptionText("x", false),
			slack.MsgOptionMetadata(slack.SlackMetadata{EventPayload: map[string]any{"a": 1}})), "invalid_metadata_format"},
		{"metadata too large", ChannelSecurity, slack.MsgOptionCompose(slack.MsgOptionText("x", false),
			slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "x", EventPayload: map[string]any{"a": strings.Repeat("x", 9000)}})), "metadata_too_large"},
		{"blocks too long", ChannelSecurity, slack.MsgOptionBlocks(sections(5)...), "msg_blocks_too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := w.client.PostMessage(tt.channel, tt.option)
			if code(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func sections(n int) []slack.Block {
	var blocks []slack.Block
	for range n {
		blocks = append(blocks, slack.NewSectionBlock(plain(strings.Repeat("x", 3000)), nil, nil))
	}
	return blocks
}

func TestInvalidBlocksAreNamed(t *testing.T) {
	w := newWorkspace(t, Options{})
	_, _, err := w.client.PostMessage(ChannelSecurity, slack.MsgOptionBlocks(slack.NewHeaderBlock(plain(strings.Repeat("x", 151)))))
	var refused slack.SlackErrorResponse
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	want := []string{"[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"}
	if diff := cmp.Diff(want, refused.ResponseMetadata.Messages); diff != "" {
		t.Error(diff)
	}
	if got := w.Messages(ChannelSecurity); len(got) != 0 {
		t.Errorf("posted all the same: %+v", got)
	}
	if got := rawCall(t, w, "chat.postMessage", w.Token(), "application/json", `{"channel":"C0SECBOT","blocks":"nonsense"}`); got.Error != "invalid_blocks_format" {
		t.Errorf("blocks that are no JSON: %+v", got)
	}
}

func TestTimestamps(t *testing.T) {
	w := newWorkspace(t, Options{})
	first, second := w.post(slack.MsgOptionText("a", false)), w.post(slack.MsgOptionText("b", false))
	if first != "1700000000.000000" || second != "1700000000.000100" {
		t.Errorf("ts %s and %s", first, second)
	}
	w.clock.add(-time.Hour)
	if third := w.post(slack.MsgOptionText("c", false)); third <= second {
		t.Errorf("%s is not after %s though the clock went back", third, second)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorkspace(t, Options{})
	meta := slack.SlackMetadata{EventType: "secbot_incident", EventPayload: map[string]any{"id": "01X"}}
	ts := w.post(slack.MsgOptionText("open", false), question(), slack.MsgOptionMetadata(meta))
	w.clock.add(time.Minute)
	done := slack.MsgOptionBlocks(slack.NewSectionBlock(plain("done"), nil, nil))
	if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, ts, slack.MsgOptionText("fixed", false), done); err != nil {
		t.Fatal(err)
	}
	m, ok := w.Message(ChannelSecurity, ts)
	if !ok || m.Text != "fixed" || len(m.Buttons()) != 0 || !strings.Contains(string(m.Metadata), "01X") {
		t.Errorf("after the update: %+v", m)
	}
	if !m.Edited.Equal(time.Unix(1700000060, 0)) {
		t.Errorf("edited %v", m.Edited)
	}
	before := m.At(0)
	if len(m.Versions) != 1 || before.Text != "open" || len(before.Buttons()) != 4 {
		t.Errorf("before the update: %+v", before)
	}
	if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, ts, slack.MsgOptionText("text alone", false)); err != nil {
		t.Fatal(err)
	}
	if m, _ := w.Message(ChannelSecurity, ts); !strings.Contains(string(m.Blocks), "done") {
		t.Errorf("blocks that were not given are gone: %s", m.Blocks)
	}
}

func TestUpdateErrors(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(slack.MsgOptionText("x", false))
	said, err := w.Say(Alice, ChannelSecurity, ts, "on it")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, channel, ts, text, want string }{
		{"at the limit", ChannelSecurity, ts, strings.Repeat("é", 4000), ""},
		{"too long", ChannelSecurity, ts, strings.Repeat("é", 4001), "msg_too_long"},
		{"no message", ChannelSecurity, "1.000000", "x", "message_not_found"},
		{"by name", "security", ts, "x", "channel_not_found"},
		{"another's", ChannelSecurity, said.TS, "x", "cant_update_message"},
		{"nothing", ChannelSecurity, ts, "", "no_text"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, err := w.client.UpdateMessage(tt.channel, tt.ts, slack.MsgOptionText(tt.text, false))
			if code(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, _, err := w.client.DeleteMessage(ChannelSecurity, said.TS); code(err) != "cant_delete_message" {
		t.Errorf("delete another's: %v", err)
	}
	if _, _, err := w.client.DeleteMessage(ChannelSecurity, ts); err != nil {
		t.Error(err)
	}
	if _, ok := w.Message(ChannelSecurity, ts); ok {
		t.Error("the message is still there")
	}
}

func TestPostCutsText(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(slack.MsgOptionText(strings.Repeat("é", 40001), false))
	if m, _ := w.Message(ChannelSecurity, ts); len([]rune(m.Text)) != 40000 {
		t.Errorf("%d characters", len([]rune(m.Text)))
	}
}

func TestVersionsAreBounded(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(slack.MsgOptionText("0", false))
	for i := range maxVersions + 5 {
		if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, ts, slack.MsgOptionText(fmt.Sprint(i+1), false)); err != nil {
			t.Fatal(err)
		}
	}
	m, _ := w.Message(ChannelSecurity, ts)
	if len(m.Versions) != maxVersions || m.Versions[0].Text != "5" || m.At(maxVersions).Text != m.Text {
		t.Errorf("%d versions from %q", len(m.Versions), m.Versions[0].Text)
	}
}

func TestThreads(t *testing.T) {
	w := newWorkspace(t, Options{})
	parent := w.post(slack.MsgOptionText("parent", false))
	reply := w.post(slack.MsgOptionText("reply", false), slack.MsgOptionTS(parent))
	w.post(slack.MsgOptionText("reply to the reply", false), slack.MsgOptionTS(reply))
	w.post(slack.MsgOptionText("beside", false))

	replies, more, _, err := w.client.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: ChannelSecurity, Timestamp: parent})
	if err != nil || more {
		t.Fatal(more, err)
	}
	var texts []string
	for _, m := range replies {
		texts = append(texts, m.Text)
	}
	if diff := cmp.Diff([]string{"parent", "reply", "reply to the reply"}, texts); diff != "" {
		t.Error(diff)
	}
	if replies[0].ReplyCount != 2 || replies[1].ThreadTimestamp != parent {
		t.Errorf("count %d, thread %s", replies[0].ReplyCount, replies[1].ThreadTimestamp)
	}
	if got := w.Thread(ChannelSecurity, parent); len(got) != 3 {
		t.Errorf("%d in the thread", len(got))
	}
	_, _, _, err = w.client.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: ChannelSecurity, Timestamp: "1.000000"})
	if code(err) != "thread_not_found" {
		t.Errorf("no thread: %v", err)
	}
	link, err := w.client.GetPermalink(&slack.PermalinkParameters{Channel: ChannelSecurity, Ts: reply})
	want := "https://sandbox.slack.com/archives/C0SECBOT/p1700000000000100?thread_ts=" + parent + "&cid=C0SECBOT"
	if err != nil || link != want {
		t.Errorf("permalink %s, %v", link, err)
	}
}

func TestHistory(t *testing.T) {
	w := newWorkspace(t, Options{})
	var all []string
	for i := range 5 {
		w.clock.add(time.Second)
		meta := slack.SlackMetadata{EventType: "secbot", EventPayload: map[string]any{"n": i}}
		all = append(all, w.post(slack.MsgOptionText(fmt.Sprint(i), false), slack.MsgOptionMetadata(meta)))
	}
	tests := []struct {
		name   string
		params slack.GetConversationHistoryParameters
		want   string
	}{
		{"all", slack.GetConversationHistoryParameters{}, "43210"},
		{"pages of two", slack.GetConversationHistoryParameters{Limit: 2}, "43 21 0"},
		{"a full page", slack.GetConversationHistoryParameters{Limit: 5}, "43210"},
		{"after", slack.GetConversationHistoryParameters{Oldest: all[2]}, "43"},
		{"from", slack.GetConversationHistoryParameters{Oldest: all[2], Inclusive: true}, "432"},
		{"before", slack.GetConversationHistoryParameters{Latest: all[2]}, "10"},
		{"between, in pages", slack.GetConversationHistoryParameters{Oldest: all[0], Latest: all[4], Limit: 2}, "32 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := readHistory(t, w, tt.params); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	h, err := w.client.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ChannelSecurity, Limit: 1, IncludeAllMetadata: true})
	if err != nil || h.Messages[0].Metadata.EventType != "secbot" || h.Messages[0].Metadata.EventPayload["n"] != 4.0 {
		t.Errorf("metadata %+v, %v", h, err)
	}
}

// readHistory reads all pages: the texts, with spaces between pages.
func readHistory(t *testing.T, w *workspace, p slack.GetConversationHistoryParameters) string {
	t.Helper()
	var pages []string
	p.ChannelID = ChannelSecurity
	for {
		h, err := w.client.GetConversationHistory(&p)
		if err != nil {
			t.Fatal(err)
		}
		page := ""
		for _, m := range h.Messages {
			page += m.Text
			if m.Metadata.EventType != "" {
				t.Error("metadata that was not asked for")
			}
		}
		pages = append(pages, page)
		if p.Cursor = h.ResponseMetaData.NextCursor; p.Cursor == "" {
			return strings.Join(pages, " ")
		}
	}
}

func TestHistoryErrors(t *testing.T) {
	w := newWorkspace(t, Options{})
	tests := []struct {
		params slack.GetConversationHistoryParameters
		want   string
	}{
		{slack.GetConversationHistoryParameters{ChannelID: "C0NOWHERE"}, "channel_not_found"},
		{slack.GetConversationHistoryParameters{ChannelID: ChannelRandom}, "not_in_channel"},
		{slack.GetConversationHistoryParameters{ChannelID: ChannelSecurity, Cursor: "!"}, "invalid_cursor"},
		{slack.GetConversationHistoryParameters{ChannelID: ChannelSecurity, Oldest: "yesterday"}, "invalid_ts_oldest"},
		{slack.GetConversationHistoryParameters{ChannelID: ChannelSecurity, Latest: "x"}, "invalid_ts_latest"},
		{slack.GetConversationHistoryParameters{ChannelID: ChannelSecurity, Limit: 5000}, "invalid_limit"},
	}
	for _, tt := range tests {
		if _, err := w.client.GetConversationHistory(&tt.params); code(err) != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.params, err, tt.want)
		}
	}
}

func TestConversations(t *testing.T) {
	w := newWorkspace(t, Options{})
	c, err := w.client.GetConversationInfo(&slack.GetConversationInfoInput{ChannelID: ChannelRandom})
	if err != nil || c.Name != "random" || c.IsMember {
		t.Errorf("info: %+v, %v", c, err)
	}
	if c, _, _, err := w.client.JoinConversation(ChannelRandom); err != nil || !c.IsMember {
		t.Errorf("join: %+v, %v", c, err)
	}
	if _, _, err := w.client.PostMessage(ChannelRandom, slack.MsgOptionText("hello", false)); err != nil {
		t.Error(err)
	}
	dm, _, _, err := w.client.OpenConversation(&slack.OpenConversationParameters{Users: []string{Alice}})
	if err != nil || dm.ID != "D0ALICE" {
		t.Fatalf("open: %+v, %v", dm, err)
	}
	if channel, _, err := w.client.PostMessage(Alice, slack.MsgOptionText("hello", false)); err != nil || channel != dm.ID {
		t.Errorf("direct message in %s, %v", channel, err)
	}
	list, _, err := w.client.GetConversations(&slack.GetConversationsParameters{})
	if err != nil || len(list) != 2 {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func TestPeople(t *testing.T) {
	w := newWorkspace(t, Options{})
	u, err := w.client.GetUserInfo(Guest)
	if err != nil || !u.IsRestricted || u.Profile.Email != "guest@example.com" || u.TeamID != TeamID {
		t.Errorf("guest: %+v, %v", u, err)
	}
	if _, err := w.client.GetUserInfo("U0NOBODY"); code(err) != "user_not_found" {
		t.Error(err)
	}
	if u, err := w.client.GetUserByEmail("DANA@example.com"); err != nil || u.ID != Dana {
		t.Errorf("dana: %+v, %v", u, err)
	}
	if _, err := w.client.GetUserByEmail("nobody@example.com"); code(err) != "users_not_found" {
		t.Error(err)
	}
	members, err := w.client.GetUserGroupMembers(GroupResponders)
	if err != nil || !cmp.Equal(members, []string{Alice, Bob, Carol}) {
		t.Errorf("members %v, %v", members, err)
	}
	if _, err := w.client.GetUserGroupMembers("S0NONE"); code(err) != "no_such_subteam" {
		t.Error(err)
	}
	w.SetGroup(Group{ID: GroupResponders, Handle: "responders", Users: []string{Dana}})
	groups, err := w.client.GetUserGroups(slack.GetUserGroupsOptionIncludeUsers(true))
	if err != nil || len(groups) != 1 || !cmp.Equal(groups[0].Users, []string{Dana}) {
		t.Errorf("groups %+v, %v", groups, err)
	}
}

func TestEphemeral(t *testing.T) {
	w := newWorkspace(t, Options{})
	if _, err := w.client.PostEphemeral(ChannelSecurity, Mallory, slack.MsgOptionText("you may not", false)); err != nil {
		t.Fatal(err)
	}
	got := w.Ephemerals(Mallory)
	if len(got) != 1 || got[0].Text != "you may not" || !got[0].Ephemeral() {
		t.Errorf("mallory sees %+v", got)
	}
	if len(w.Ephemerals(Alice)) != 0 || len(w.Messages(ChannelSecurity)) != 0 {
		t.Error("others see it too")
	}
	if _, err := w.client.PostEphemeral(ChannelSecurity, "U0NOBODY", slack.MsgOptionText("x", false)); code(err) != "user_not_in_channel" {
		t.Error(err)
	}
	if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, got[0].TS, slack.MsgOptionText("x", false)); code(err) != "message_not_found" {
		t.Errorf("update of an ephemeral: %v", err)
	}
}

func TestUpload(t *testing.T) {
	w := newWorkspace(t, Options{})
	parent := w.post(slack.MsgOptionText("parent", false))
	const diff = "- 0.0.0.0/0\n+ 10.0.0.0/8\n"
	f, err := w.client.UploadFile(slack.UploadFileParameters{
		Content: diff, Filename: "plan.diff", FileSize: len(diff), Title: "The plan", Channel: ChannelSecurity, ThreadTimestamp: parent,
	})
	if err != nil {
		t.Fatal(err)
	}
	files := w.Files()
	if len(files) != 1 || files[0].ID != f.ID || string(files[0].Content) != diff || files[0].Title != "The plan" {
		t.Errorf("files %+v", files)
	}
	if thread := w.Thread(ChannelSecurity, parent); len(thread) != 2 || !cmp.Equal(thread[1].Files, []string{f.ID}) {
		t.Errorf("thread %+v", thread)
	}
	if _, err := w.client.UploadFile(slack.UploadFileParameters{Content: diff, Filename: "x", FileSize: 3, Channel: ChannelSecurity}); err == nil {
		t.Error("another length than said went through")
	}
	_, err = w.client.CompleteUploadExternalContext(ctx(t), slack.CompleteUploadExternalParameters{Files: []slack.FileSummary{{ID: "F0NONE"}}})
	if code(err) != "file_not_found" {
		t.Error(err)
	}
}

func TestRateLimits(t *testing.T) {
	w := newWorkspace(t, Options{RateLimits: true})
	w.post(slack.MsgOptionText("first", false))
	_, _, err := w.client.PostMessage(ChannelSecurity, slack.MsgOptionText("second", false))
	var limited *slack.RateLimitedError
	if !errors.As(err, &limited) || limited.RetryAfter != time.Second {
		t.Fatalf("second at once: %v", err)
	}
	if _, _, err := w.client.PostMessage(Alice, slack.MsgOptionText("elsewhere", false)); err != nil {
		t.Errorf("another channel: %v", err)
	}
	w.clock.add(time.Second)
	w.post(slack.MsgOptionText("second", false))
	if got := len(w.Messages(ChannelSecurity)); got != 2 {
		t.Errorf("%d messages, want 2", got)
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		fault  Fault
		posted int
		check  func(error) bool
	}{
		{"error", Fault{Error: "fatal_error"}, 0, func(err error) bool { return code(err) == "fatal_error" }},
		{"error after effect", Fault{Error: "fatal_error", AfterEffect: true}, 1, func(err error) bool { return code(err) == "fatal_error" }},
		{"status", Fault{Status: 503}, 0, func(err error) bool {
			var status slack.StatusCodeError
			return errors.As(err, &status) && status.Code == 503
		}},
		{"rate", Fault{RetryAfter: 1500 * time.Millisecond}, 0, func(err error) bool {
			var limited *slack.RateLimitedError
			return errors.As(err, &limited) && limited.RetryAfter == 2*time.Second
		}},
		{"drop", Fault{Drop: true}, 0, func(err error) bool { return err != nil }},
		{"after effect", Fault{AfterEffect: true}, 1, func(err error) bool { return err != nil }},
		{"delay", Fault{Delay: time.Millisecond}, 1, func(err error) bool { return err == nil }},
		{"nothing", Fault{}, 1, func(err error) bool { return err == nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkspace(t, Options{})
			w.Fault(func(c Call) *Fault {
				if c.Method != "chat.postMessage" || c.Args["text"] != "x" {
					return nil
				}
				return &tt.fault
			})
			_, _, err := w.client.PostMessage(ChannelSecurity, slack.MsgOptionText("x", false))
			if !tt.check(err) {
				t.Errorf("error %v", err)
			}
			if got := len(w.Messages(ChannelSecurity)); got != tt.posted {
				t.Errorf("%d messages, want %d", got, tt.posted)
			}
			if calls := w.Calls(); len(calls) != 1 || (calls[0].Error == "") != (err == nil) {
				t.Errorf("calls %+v", calls)
			}
			w.Fault(nil)
			w.post(slack.MsgOptionText("x", false))
		})
	}
}

func TestSubscribe(t *testing.T) {
	w := newWorkspace(t, Options{})
	seen := make(chan Change, 10)
	cancel := w.Subscribe(func(c Change) {
		w.Messages(c.Channel) // no lock is held
		seen <- c
	})
	ts := w.post(slack.MsgOptionText("x", false))
	if got, want := <-seen, (Change{Kind: ChangeMessage, Channel: ChannelSecurity, TS: ts}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := <-seen, (Change{Kind: ChangeCall, Method: "chat.postMessage"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	cancel()
	w.post(slack.MsgOptionText("x", false))
	if len(seen) != 0 {
		t.Error("told after the end")
	}
}

func TestGeneratedIDs(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(slack.MsgOptionBlocks(slack.NewActionBlock("", slack.NewButtonBlockElement("", "v", plain("A")), slack.NewButtonBlockElement("", "v", plain("B")))))
	m, _ := w.Message(ChannelSecurity, ts)
	b := m.Buttons()
	if len(b) != 2 || b[0].BlockID == "" || b[0].ActionID == "" || b[0].ActionID == b[1].ActionID {
		t.Errorf("buttons %+v", b)
	}
}

func TestNoBackDoor(t *testing.T) {
	s := New(Options{})
	for _, path := range []string{"/", "/response/", "/upload/", "/response/guess", "/upload/guess"} {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, stringReader("{}")))
		if rec.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, rec.Code)
		}
	}
}

func TestDelayOutlivesTheClient(t *testing.T) {
	w := newWorkspace(t, Options{})
	w.Fault(func(Call) *Fault { return &Fault{Delay: time.Hour} })
	posted := make(chan Change, 2)
	defer w.Subscribe(func(c Change) { posted <- c })()
	short, cancel := context.WithTimeout(ctx(t), 20*time.Millisecond)
	defer cancel()
	if _, _, err := w.client.PostMessageContext(short, ChannelSecurity, slack.MsgOptionText("x", false)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if c := <-posted; c.Kind != ChangeMessage {
		t.Errorf("change %+v", c)
	}
}

func TestSeeding(t *testing.T) {
	w := newWorkspace(t, Options{Users: []User{{ID: "U1", Name: "one", Team: TeamID}}, Channels: []Channel{{ID: "C1", Name: "one", Member: true}}})
	w.SetUser(User{ID: "U1", Name: "uno", Team: TeamID})
	w.SetUser(User{ID: "U2", Name: "two", Team: TeamID, TZ: "Nowhere/Land"})
	if _, _, err := w.client.PostMessage("C1", slack.MsgOptionText("kept", false)); err != nil {
		t.Fatal(err)
	}
	w.SetChannel(Channel{ID: "C1", Name: "renamed"})
	w.SetChannel(Channel{ID: "C2", Name: "two"})
	want := []User{{ID: "U1", Name: "uno", Team: TeamID}, {ID: "U2", Name: "two", Team: TeamID, TZ: "Nowhere/Land"}}
	if diff := cmp.Diff(want, w.Users()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Channel{{ID: "C1", Name: "renamed"}, {ID: "C2", Name: "two"}}, w.Channels()); diff != "" {
		t.Error(diff)
	}
	if got := w.Messages("renamed"); len(got) != 1 {
		t.Errorf("messages %+v", got)
	}
	if u, err := w.client.GetUserInfo("U2"); err != nil || u.TZOffset != 0 {
		t.Errorf("user %+v, %v", u, err)
	}
	if _, err := w.client.GetConversationInfo(&slack.GetConversationInfoInput{ChannelID: "C3"}); code(err) != "channel_not_found" {
		t.Error(err)
	}
	if _, _, _, err := w.client.JoinConversation("C3"); code(err) != "channel_not_found" {
		t.Error(err)
	}
	if _, _, _, err := w.client.OpenConversation(&slack.OpenConversationParameters{Users: []string{"U3"}}); code(err) != "user_not_found" {
		t.Error(err)
	}
	if _, err := w.Say("U1", "C3", "", "x"); err == nil {
		t.Error("said into no channel")
	}
}

func TestOutstandingAreBounded(t *testing.T) {
	s := New(Options{})
	first := s.newTrigger(Alice, false)
	for range maxOutstanding {
		s.newTrigger(Alice, false)
	}
	if _, err := s.exchange(first); code(err) != "invalid_trigger_id" {
		t.Errorf("the oldest of too many: %v", err)
	}
	if n := len(s.triggers.byID); n != maxOutstanding {
		t.Errorf("%d triggers are kept", n)
	}
}
