package fakeslack

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

// ignoreModal is a modal with a select that has an initial option, a required
// text, optional checkboxes and a date.
func ignoreModal() slack.ModalViewRequest {
	hour := slack.NewOptionBlockObject("1h", plain("1 hour"), nil)
	day := slack.NewOptionBlockObject("24h", plain("24 hours"), nil)
	duration := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "duration", hour, day)
	duration.InitialOption = day
	reason := slack.NewPlainTextInputBlockElement(nil, "reason")
	reason.MinLength, reason.MaxLength = 3, 100
	also := slack.NewCheckboxGroupsBlockElement("also", slack.NewOptionBlockObject("tell", plain("Tell them"), nil), slack.NewOptionBlockObject("log", plain("Log it"), nil))
	until := slack.NewDatePickerBlockElement("until")
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain("Ignore"), Submit: plain("Ignore"), CallbackID: "ignore", PrivateMetadata: "01INCIDENT", NotifyOnClose: true,
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewInputBlock("duration", plain("For"), nil, duration),
			slack.NewInputBlock("reason", plain("Why"), nil, reason),
			slack.NewInputBlock("also", plain("Also"), nil, also).WithOptional(true),
			slack.NewInputBlock("until", plain("Until"), nil, until).WithOptional(true),
			slack.NewActionBlock("buttons", slack.NewButtonBlockElement("preview", "01INCIDENT", plain("Preview"))),
		}},
	}
}

// open clicks and opens a modal, and gives its id.
func (w *workspace) open(user string, view slack.ModalViewRequest) string {
	w.t.Helper()
	ts := w.post(question())
	ack, err := w.Click(ctx(w.t), user, ChannelSecurity, ts, "ignore")
	if err != nil {
		w.t.Fatal(err)
	}
	shown, err := w.client.OpenView(ack.Trigger, view)
	if err != nil {
		w.t.Fatal(err)
	}
	return shown.ID
}

func TestTriggers(t *testing.T) {
	w := newWorkspace(t, Options{})
	ts := w.post(question())
	click := func() string {
		ack, err := w.Click(ctx(t), Alice, ChannelSecurity, ts, "ignore")
		if err != nil {
			t.Fatal(err)
		}
		return ack.Trigger
	}
	open := func(trigger string) string {
		_, err := w.client.OpenView(trigger, ignoreModal())
		return code(err)
	}
	trigger := click()
	w.clock.add(3 * time.Second)
	if got := open(trigger); got != "" {
		t.Errorf("in time: %s", got)
	}
	if got := open(trigger); got != "exchanged_trigger_id" {
		t.Errorf("twice: %q", got)
	}
	trigger = click()
	w.clock.add(3*time.Second + time.Microsecond)
	if got := open(trigger); got != "expired_trigger_id" {
		t.Errorf("late: %q", got)
	}
	if got := open("123.456"); got != "invalid_trigger_id" {
		t.Errorf("guessed: %q", got)
	}
	if _, err := w.client.PushView(click(), ignoreModal()); code(err) != "invalid_trigger_id" {
		t.Errorf("push from a message: %v", err)
	}
}

func TestViewRefused(t *testing.T) {
	w := newWorkspace(t, Options{})
	ack, err := w.Click(ctx(t), Alice, ChannelSecurity, w.post(question()), "ignore")
	if err != nil {
		t.Fatal(err)
	}
	view := ignoreModal()
	view.Title = plain(strings.Repeat("x", 25))
	_, err = w.client.OpenView(ack.Trigger, view)
	var refused slack.SlackErrorResponse
	if !errors.As(err, &refused) || refused.Err != "invalid_arguments" ||
		!cmp.Equal(refused.ResponseMetadata.Messages, []string{"[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"}) {
		t.Errorf("got %+v", err)
	}
	if len(w.Views(Alice)) != 0 {
		t.Error("opened all the same")
	}
}

func TestSubmit(t *testing.T) {
	w := newWorkspace(t, Options{})
	id := w.open(Alice, ignoreModal())
	sub, err := w.SubmitView(ctx(t), Alice, id, url.Values{"reason": {"a known partner"}, "also": {"log", "tell"}, "until/until": {"2026-03-04"}})
	if err != nil {
		t.Fatal(err)
	}
	got := w.bot.interaction()
	if got.Type != slack.InteractionTypeViewSubmission || got.User.Name != "alice" || got.View.ID != id ||
		got.View.CallbackID != "ignore" || got.View.PrivateMetadata != "01INCIDENT" || got.View.RootViewID != id || got.View.Hash == "" {
		t.Errorf("submission %+v", got.View)
	}
	values := got.View.State.Values
	if v := values["duration"]["duration"].SelectedOption.Value; v != "24h" {
		t.Errorf("duration %q, not the initial one", v)
	}
	if v := values["reason"]["reason"].Value; v != "a known partner" {
		t.Errorf("reason %q", v)
	}
	if v := values["also"]["also"].SelectedOptions; len(v) != 2 || v[0].Value != "log" {
		t.Errorf("also %+v", v)
	}
	if v := values["until"]["until"].SelectedDate; v != "2026-03-04" {
		t.Errorf("until %q", v)
	}
	if sub.Action != "" || sub.View != nil || len(w.Views(Alice)) != 0 {
		t.Errorf("the modal is still open: %+v", sub)
	}
	if _, err := w.SubmitView(ctx(t), Alice, id, url.Values{"reason": {"again"}}); err == nil {
		t.Error("a closed modal was submitted")
	}
}

func TestSubmitRefused(t *testing.T) {
	tests := []struct {
		name   string
		values url.Values
		block  string
	}{
		{"required", nil, "reason"},
		{"empty", url.Values{"reason": {""}}, "reason"},
		{"too short", url.Values{"reason": {"no"}}, "reason"},
		{"too long", url.Values{"reason": {strings.Repeat("x", 101)}}, "reason"},
		{"two values", url.Values{"reason": {"one", "two"}}, "reason"},
		{"no such option", url.Values{"reason": {"fine"}, "duration": {"2h"}}, "duration"},
		{"no such choice", url.Values{"reason": {"fine"}, "also": {"tell", "sing"}}, "also"},
		{"no date", url.Values{"reason": {"fine"}, "until": {"soon"}}, "until"},
		{"cleared", url.Values{"reason": {"fine"}, "duration": {""}}, "duration"},
		{"misspelt", url.Values{"reason": {"fine"}, "raison": {"x"}}, "raison"},
	}
	w := newWorkspace(t, Options{})
	id := w.open(Alice, ignoreModal())
	sent := w.bot.count()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.SubmitView(ctx(t), Alice, id, tt.values)
			var wrong *InputError
			if !errors.As(err, &wrong) || len(wrong.Inputs) != 1 || wrong.Inputs[tt.block] == "" {
				t.Errorf("got %v, want a complaint about %s alone", err, tt.block)
			}
		})
	}
	if w.bot.count() != sent {
		t.Error("something was sent")
	}
}

func TestResponseActions(t *testing.T) {
	fine := url.Values{"reason": {"fine"}}
	other := ignoreModal()
	other.CallbackID, other.Title = "other", plain("Other")
	bad := ignoreModal()
	bad.Title = nil
	tests := []struct {
		name   string
		answer any
		open   []string // callback ids, the topmost last
		fails  bool
	}{
		{"nothing", map[string]any{}, []string{}, false},
		{"clear", slack.NewClearViewSubmissionResponse(), []string{}, false},
		{"errors", slack.NewErrorsViewSubmissionResponse(map[string]string{"reason": "say more"}), []string{"ignore"}, false},
		{"update", slack.NewUpdateViewSubmissionResponse(&other), []string{"other"}, false},
		{"push", slack.NewPushViewSubmissionResponse(&other), []string{"ignore", "other"}, false},
		{"errors about nothing", slack.NewErrorsViewSubmissionResponse(map[string]string{"raison": "x"}), []string{"ignore"}, true},
		{"errors about a button", slack.NewErrorsViewSubmissionResponse(map[string]string{"buttons": "x"}), []string{"ignore"}, true},
		{"no errors", map[string]any{"response_action": "errors"}, []string{"ignore"}, true},
		{"invalid view", slack.NewUpdateViewSubmissionResponse(&bad), []string{"ignore"}, true},
		{"invalid push", slack.NewPushViewSubmissionResponse(&bad), []string{"ignore"}, true},
		{"unknown", map[string]any{"response_action": "dance"}, []string{"ignore"}, true},
		{"not an object", []any{1}, []string{"ignore"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkspace(t, Options{})
			id := w.open(Alice, ignoreModal())
			w.bot.answersJSON(tt.answer)
			_, err := w.SubmitView(ctx(t), Alice, id, fine)
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			open := []string{}
			for _, v := range w.Views(Alice) {
				open = append(open, v.CallbackID)
			}
			if diff := cmp.Diff(tt.open, open); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPushAndUpdate(t *testing.T) {
	w := newWorkspace(t, Options{})
	root := w.open(Alice, ignoreModal())
	top := root
	for i := range 3 {
		ack, err := w.ClickView(ctx(t), Alice, top, "preview")
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := w.client.PushView(ack.Trigger, ignoreModal())
		if i == 2 {
			if code(err) != "push_limit_reached" {
				t.Errorf("a fourth modal: %v", err)
			}
			break
		}
		if err != nil || pushed.RootViewID != root || pushed.PreviousViewID != top {
			t.Fatalf("push %d: %+v, %v", i, pushed, err)
		}
		top = pushed.ID
	}
	view := ignoreModal()
	view.CallbackID, view.ExternalID = "changed", "ours"
	updated, err := w.client.UpdateView(view, "", "", top)
	if err != nil || updated.ID != top || updated.CallbackID != "changed" {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	if _, err := w.client.UpdateView(view, "", "stale", top); code(err) != "hash_conflict" {
		t.Errorf("stale hash: %v", err)
	}
	if _, err := w.client.UpdateView(view, "ours", updated.Hash, ""); err != nil {
		t.Errorf("by external id: %v", err)
	}
	if _, err := w.client.UpdateView(view, "", "", root); code(err) != "duplicate_external_id" {
		t.Errorf("external id twice: %v", err)
	}
	if _, err := w.client.UpdateView(view, "", "", "V0NONE"); code(err) != "not_found" {
		t.Errorf("no view: %v", err)
	}
	if got := len(w.Views(Alice)); got != 3 {
		t.Errorf("%d modals", got)
	}
}

func TestCloseView(t *testing.T) {
	w := newWorkspace(t, Options{})
	id := w.open(Alice, ignoreModal())
	if _, err := w.CloseView(ctx(t), Alice, id); err != nil {
		t.Fatal(err)
	}
	if got := w.bot.interaction(); got.Type != slack.InteractionTypeViewClosed || got.View.ID != id || got.IsCleared {
		t.Errorf("closed: %+v", got)
	}
	quiet := ignoreModal()
	quiet.NotifyOnClose = false
	id = w.open(Alice, quiet)
	sent := w.bot.count()
	if _, err := w.CloseView(ctx(t), Alice, id); err != nil || w.bot.count() != sent {
		t.Errorf("quiet: %v, %d sent", err, w.bot.count()-sent)
	}
	if len(w.Views(Alice)) != 0 {
		t.Error("still open")
	}
}

// TestConcurrency is for the race detector, and says that nothing is lost.
func TestConcurrency(t *testing.T) {
	w := newWorkspace(t, Options{})
	first := w.post(question())
	cancel := w.Subscribe(func(Change) { w.Calls() })
	defer cancel()
	const people = 8
	var group sync.WaitGroup
	for range people {
		group.Go(func() {
			_, ts, err := w.client.PostMessage(ChannelSecurity, question())
			if err != nil {
				t.Error(err)
				return
			}
			if _, _, _, err := w.client.UpdateMessage(ChannelSecurity, ts, slack.MsgOptionText("done", false)); err != nil {
				t.Error(err)
			}
			ack, err := w.Click(ctx(t), Alice, ChannelSecurity, first, "ignore")
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := w.client.OpenView(ack.Trigger, ignoreModal()); err != nil {
				t.Error(err)
			}
			if _, err := w.Command(ctx(t), Bob, ChannelSecurity, "/secbot", "help"); err != nil {
				t.Error(err)
			}
			w.Views(Alice)
			w.Messages(ChannelSecurity)
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, m := range w.Messages(ChannelSecurity) {
		seen[m.TS] = true
	}
	if len(seen) != people+1 {
		t.Errorf("%d messages, want %d", len(seen), people+1)
	}
}
