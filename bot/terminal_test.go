package bot

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/slack-go/slack"
	"pgregory.net/rapid"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

func TestFromMrkdwn(t *testing.T) {
	for in, want := range map[string]string{
		"*bold* and _italic_, • *HIGH* · x":         "bold and italic, • HIGH · x",
		"2*3*4 a_b_c *":                             "2*3*4 a_b_c *",
		"`*` for `a_b`":                             "* for a_b",
		"by <@U0ALICE> in <#C0SEC>, <!subteam^S0X>": "by @U0ALICE in #C0SEC, @S0X",
		"<!date^1743508860^{date_short_pretty}|2025-04-01 12:01 UTC>.":    "2025-04-01 12:01 UTC.",
		"<https://a.example/?x=1&amp;y=2|the event>, <https://b.example>": "the event (https://a.example/?x=1&y=2), https://b.example",
		"&lt;@U0ALICE&gt; &amp;lt;":                                       "<@U0ALICE> &lt;",
		"`/secbot show ID`, /secbot fix or docs/secbot":                   "secbot show ID, secbot fix or docs/secbot",
	} {
		if got := fromMrkdwn(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// mrkdwnLeft is markup that people at a terminal would see.
var mrkdwnLeft = regexp.MustCompile(`<[!@#]|\|\d{4}-|&(amp|lt|gt);|(^|\s)\*\w[^*]*\*(\s|$)|/secbot `)

// TestEveryMessageOnATerminal: nothing of any message's markup is left, and all its
// words are there.
func TestEveryMessageOnATerminal(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d goldens, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Text   string       `json:"text"`
			Blocks slack.Blocks `json:"blocks"`
		}
		if err := json.Unmarshal(raw, &m); err != nil || m.Blocks.BlockSet == nil {
			continue // a modal, a home or a manifest
		}
		text := Message{Text: m.Text, Blocks: m.Blocks.BlockSet}.Terminal()
		// What is hostile has what looks like markup and is text.
		if left := mrkdwnLeft.FindString(text); left != "" && !strings.Contains(file, "hostile") {
			t.Errorf("%s: %q is left in\n%s", file, left, text)
		}
		for _, b := range m.Blocks.BlockSet {
			if h, ok := b.(*slack.HeaderBlock); ok && !strings.Contains(text, h.Text.Text) {
				t.Errorf("%s: the header %q is missing in\n%s", file, h.Text.Text, text)
			}
		}
	}
}

// TestTerminalIsNotSteered by any text of whatever origin.
func TestTerminalIsNotSteered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		m := Message{Text: s, Blocks: []slack.Block{slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, s, false, false),
			[]*slack.TextBlockObject{slack.NewTextBlockObject(slack.PlainTextType, s, false, false)}, nil)}}
		for _, text := range []string{m.Terminal(), Message{Text: s}.Terminal(), replyTerminal(remediation.Reply{Text: s, Lines: []string{s}, Incident: s})} {
			for _, r := range text {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("%q shows as %q", s, text)
				}
			}
		}
	})
}

func TestWhoamiTellsWhatOneMayDecide(t *testing.T) {
	r := newRig(t)
	r.engine.rights = []remediation.Right{
		{},
		{Rule: `rule 2 "payroll"`, Err: &remediation.DeniedError{By: fakeslack.Alice, Approvers: []string{fakeslack.Bob, "S0PAY"}}},
		{Rule: "rule 3", Err: &remediation.DeniedError{By: fakeslack.Alice}},
		{Rule: "rule 4 <!channel>", Err: &remediation.RefusedError{Text: "x", Err: errors.New("no answer")}},
	}
	got := r.handler.whoami(t.Context(), fakeslack.Alice).Text
	for _, want := range []string{
		"You are <@" + fakeslack.Alice + ">", "You may decide what the policy leaves to the responders.",
		`You may not decide what rule 2 "payroll" is about; these may: <@` + fakeslack.Bob + ">, <!subteam^S0PAY>.",
		"Nobody may decide what rule 3 is about yet", "Whether you may decide what rule 4 &lt;!channel&gt; is about is not known now",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	r.engine.rights = make([]remediation.Right, maxRights+3)
	if got := r.handler.whoami(t.Context(), "shell:eve").Text; !strings.Contains(got, "You are eve (shell)") || !strings.Contains(got, "3 rules more") {
		t.Error(got)
	}
}

// TestShellSubmits: what is typed at the shell is the command that it would be in
// Slack, by somebody at the shell, and its answer goes nowhere else.
func TestShellSubmits(t *testing.T) {
	r := newRig(t)
	r.save(incident(opened()))
	said, err := r.handler.Say(t.Context(), Typed{Text: "ignore " + incidentID[18:] + " for 7d because of it", By: "shell:eve", ID: "c-1"})
	if err != nil || said.Command != "c-1" {
		t.Fatalf("%+v %v", said, err)
	}
	got := r.engine.commands()[0]
	if got.Verb != remediation.VerbIgnore || got.Incident != incidentID || got.By != "shell:eve" || got.Reason != "of it" || got.ReplyTo != (remediation.ReplyTo{Shell: true}) || got.State != nil {
		t.Errorf("%+v", got)
	}
	if _, err := ShellAnswer(t.Context(), r.store, "c-1"); !errors.Is(err, remediation.ErrNotFound) {
		t.Errorf("an answer that nobody gave: %v", err)
	}
	var refused *remediation.RefusedError
	if _, err := r.handler.Say(t.Context(), Typed{Text: "fix 00000000", By: "shell:eve", ID: "c-2"}); !errors.As(err, &refused) || !strings.Contains(refused.Text, "There is no incident 00000000") {
		t.Errorf("%v", err)
	}
	var usage *UsageError
	if _, err := r.handler.Say(t.Context(), Typed{Text: "fxi", By: "shell:eve", ID: "c-3"}); !errors.As(err, &usage) {
		t.Errorf("%v", err)
	}
	r.engine.err = errors.New("disk full")
	if _, err := r.handler.Say(t.Context(), Typed{Text: "pause", By: "shell:eve", ID: "c-4"}); err == nil {
		t.Error("a command that could not be stored seems to be")
	}
}
