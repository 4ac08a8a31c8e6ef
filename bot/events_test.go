package bot

import (
	"strings"
	"testing"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// TestMentions: what is said to secbot is the same as what is typed after /secbot,
// and its answer is for whoever has said it, where they have said it.
func TestMentions(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	for text, says := range map[string]string{
		"":                    "/secbot scan [s3|sg|all]",
		"help":                "/secbot scan [s3|sg|all]",
		"incidents open":      "2P1M0K8H",
		": incidents  fixed ": "No incidents.",
		"shwo x":              `Did you mean "show"?`,
		"show 2P1M0K8H":       "*History*",
		"fix 2P1M0K8H":        "On it: revert the change of `web`",
		"ignore 2P1M0K8H for 7d because a &lt; b &amp; <https://example.com/t|example.com/t>": "because a &lt; b &amp; https://example.com/t",
	} {
		for thread, where := range map[string]string{"": "", m.TS: m.TS} {
			if _, err := r.slack.Mention(t.Context(), fakeslack.Alice, m.Channel, thread, text); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			all := r.slack.Ephemerals(fakeslack.Alice)
			last := all[len(all)-1]
			if got := last.Text + unescaped(t, last.Blocks); !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), says) || last.ThreadTS != where || last.Channel != m.Channel {
				t.Errorf("%q: %s in thread %q, want %q in %q", text, got, last.ThreadTS, says, where)
			}
		}
	}
	threads := map[string]int{}
	for _, c := range r.engine.commands() {
		if c.By != fakeslack.Alice || c.Incident != incidentID || c.ReplyTo.Channel != m.Channel || c.ReplyTo.User != fakeslack.Alice {
			t.Errorf("%+v", c)
		}
		threads[c.ReplyTo.Thread]++
	}
	if threads[""] != 2 || threads[m.TS] != 2 {
		t.Errorf("commands by thread: %v", threads)
	}
}

func TestMentionText(t *testing.T) {
	for text, want := range map[string]string{
		"<@U0SECBOT> incidents open":                         "incidents open",
		"<@U0SECBOT|secbot>: help":                           "help",
		"hey <@U0SECBOT>, scan s3":                           "scan s3",
		"<@U0ALICE> ask <@U0SECBOT> help":                    "help",
		"<@U0SECBOT>":                                        "",
		"<@U0SECBOT> show `01JQ`":                            "show `01JQ`",
		"<@U0SECBOT> because &amp;lt; &lt;x":                 "because &lt; <x",
		"<@U0SECBOT> see <https://a.example/?x=1&amp;y=2|a>": "see https://a.example/?x=1&y=2",
		"<@U0SECBOT>\u00a0help":                              "help",
	} {
		if got := mentionText(text, "U0SECBOT"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := mentionText("<@W0ANYBODY> help", ""); got != "help" {
		t.Errorf("%q", got)
	}
}

// TestMentionIsAnsweredOnce: Slack sends an event again that is acknowledged late or
// not at all. It is one command, and one answer.
func TestMentionIsAnsweredOnce(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	for _, text := range []string{"fix 2P1M0K8H", "incidents"} {
		before := len(r.slack.Ephemerals(fakeslack.Alice))
		first, err := r.slack.Mention(t.Context(), fakeslack.Alice, m.Channel, "", text)
		if err != nil {
			t.Fatal(err)
		}
		for retry := range 3 {
			if _, err := r.slack.ResendEvent(t.Context(), first.Payload, retry+1); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(r.slack.Ephemerals(fakeslack.Alice)) - before; n != 1 {
			t.Errorf("%s: told %d times", text, n)
		}
	}
	if got := r.engine.commands(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	// Another process knows nothing of it, but the command's id is the same.
	r.handler.heard = heard{}
	first, err := r.slack.Mention(t.Context(), fakeslack.Alice, m.Channel, "", "undo 2P1M0K8H")
	if err != nil {
		t.Fatal(err)
	}
	r.handler.heard = heard{}
	if _, err := r.slack.ResendEvent(t.Context(), first.Payload, 1); err != nil {
		t.Fatal(err)
	}
	if got := r.engine.commands(); len(got) != 3 || got[1].ID != got[2].ID || got[0].ID == got[1].ID {
		t.Errorf("%+v", got)
	}
}

// TestMentionThatCannotBeAnswered is not acknowledged, so that Slack sends it again.
func TestMentionThatCannotBeAnswered(t *testing.T) {
	r := newRig(t)
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method == "chat.postEphemeral" {
			return &fakeslack.Fault{Error: "internal_error"}
		}
		return nil
	})
	first, err := r.slack.Mention(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "", "incidents")
	if !isStatus(err, 500) {
		t.Fatalf("acknowledged: %v", err)
	}
	r.slack.Fault(nil)
	if _, err := r.slack.ResendEvent(t.Context(), first.Payload, 1); err != nil {
		t.Fatal(err)
	}
	r.whisper(fakeslack.Alice)
}

// TestAppsAreNotAnswered: nor are edits, so that two bots never talk to each other.
func TestAppsAreNotAnswered(t *testing.T) {
	r := newRig(t)
	for name, event := range map[string]map[string]any{
		"an app":     {"type": "app_mention", "bot_id": "B0OTHER", "user": "U0ALICE", "text": "<@U0SECBOT> help", "channel": fakeslack.ChannelSecurity, "ts": "1.1"},
		"an edit":    {"type": "app_mention", "subtype": "message_changed", "user": "U0ALICE", "text": "<@U0SECBOT> help", "channel": fakeslack.ChannelSecurity, "ts": "1.1"},
		"nobody":     {"type": "app_mention", "text": "<@U0SECBOT> help", "channel": fakeslack.ChannelSecurity, "ts": "1.1"},
		"an emoji":   {"type": "reaction_added", "user": "U0ALICE"},
		"no channel": {"type": "app_mention", "user": "U0ALICE", "text": "<@U0SECBOT> help", "ts": "1.1"},
	} {
		if _, err := r.slack.SendEvent(t.Context(), event, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.slack.Ephemerals(fakeslack.Alice); len(got) != 0 {
		t.Errorf("answered: %+v", got)
	}
}

// TestHomeIsShownToWhoOpensIt, and to nobody who looks at their messages.
func TestHomeIsShownToWhoOpensIt(t *testing.T) {
	r := newRig(t)
	if _, err := r.slack.OpenHome(t.Context(), fakeslack.Alice); err != nil {
		t.Fatal(err)
	}
	if _, err := r.slack.SendEvent(t.Context(), map[string]any{"type": "app_home_opened", "user": fakeslack.Bob, "tab": "messages"}, 0); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]bool{fakeslack.Alice: true, fakeslack.Bob: false} {
		if _, shown := r.slack.Home(user); shown != want {
			t.Errorf("%s was shown a home: %v", user, shown)
		}
	}
}

// TestMentionReachesTheEngine: the result of what was said in a thread comes there.
func TestMentionReachesTheEngine(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	m := l.shows("It waits for a decision")
	if _, err := l.slack.Mention(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix "+short(m.Buttons()[0].Value)); err != nil {
		t.Fatal(err)
	}
	l.told(fakeslack.Alice, "Done: sg-0abc is fixed")
	for _, e := range l.slack.Ephemerals(fakeslack.Alice) {
		if e.ThreadTS != m.TS {
			t.Errorf("outside of the thread: %s", e.Text)
		}
	}
}
