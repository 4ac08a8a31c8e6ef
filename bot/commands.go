package bot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// afterAck is how long an answer waits, so that it does not come before the
// acknowledgement of its command.
const afterAck = time.Second

// commands takes /secbot over HTTP.
func (h *Handler) commands(w http.ResponseWriter, r *http.Request) {
	form, err := url.ParseQuery(string(rawBody(r)))
	if err != nil {
		notTaken(http.StatusBadRequest, "the form holds no slash command of Slack's").write(w)
		return
	}
	r.PostForm, r.Form = form, form // else the body is read and parsed once more
	cmd, err := slack.SlashCommandParse(r)
	if err != nil {
		notTaken(http.StatusBadRequest, "the form holds no slash command of Slack's").write(w)
		return
	}
	h.command(r.Context(), cmd, r.Header.Get("X-Slack-Signature")).write(w)
}

// command answers /secbot. What only reads is answered at once; what changes
// something is stored first, and its result comes by way of the outbox. delivery
// tells this delivery from others where Slack sends no trigger.
func (h *Handler) command(ctx context.Context, cmd slack.SlashCommand, delivery string) ack {
	if !isUser(cmd.UserID) {
		return notTaken(http.StatusBadRequest, "the form holds no slash command of Slack's")
	}
	p, err := ParseCommand(cmd.Text)
	if refusal := h.admit(ctx, cmd.UserID, p.Verb != ""); refusal != nil {
		return takenWith(ephemeralAnswer(*refusal))
	}
	if p.Name == "help" {
		return takenWith(h.helped.answer(slashName(cmd.Command)))
	}
	return takenWith(ephemeralAnswer(h.admitted(ctx, asked{SlashCommand: cmd, once: cmp.Or(cmd.TriggerID, delivery)}, p, err)))
}

// asked is a command that somebody has typed, after a slash or a mention.
type asked struct {
	slack.SlashCommand
	once   string // the same for every delivery
	thread string // the ts of the thread's first message in which it was said
}

// asked answers a command, whichever way it came.
func (h *Handler) asked(ctx context.Context, cmd asked) Message {
	p, err := ParseCommand(cmd.Text)
	if refusal := h.admit(ctx, cmd.UserID, p.Verb != ""); refusal != nil {
		return *refusal
	}
	return h.admitted(ctx, cmd, p, err)
}

// admitted answers what somebody was understood, or not understood, to want.
func (h *Handler) admitted(ctx context.Context, cmd asked, p Parsed, err error) Message {
	if err != nil {
		return usage(cmd.Command, err)
	}
	return h.run(ctx, cmd, p)
}

// slashName is the command's own name, which an installation may change.
func slashName(name string) string {
	if name = clean(name); !strings.HasPrefix(name, "/") || len(name) > 40 {
		return "/secbot"
	}
	return name
}

// usage says what was wrong with a command.
func usage(name string, err error) Message {
	var wrong *UsageError
	if !errors.As(err, &wrong) {
		return words("%s", escaped(err.Error(), 500))
	}
	text := escaped(wrong.Problem, 800)
	if wrong.Example != "" {
		text += "\nFor example: " + code(slashName(name)+" "+wrong.Example, 300)
	}
	return words("%s", text)
}

func (h *Handler) run(ctx context.Context, cmd asked, p Parsed) Message {
	if p.Name == "runbook" && cmd.TriggerID != "" {
		return h.openRunbook(ctx, p.Playbook, cmd.TriggerID)
	}
	if m, ok := h.read(ctx, slashName(cmd.Command), cmd.UserID, p); ok {
		return m
	}
	return h.request(ctx, p, remediation.Command{
		ID:   hashID("command", cmd.once, cmd.UserID, cmd.Text),
		Verb: p.Verb, By: cmd.UserID, Reason: p.Reason, For: p.For, Scope: p.Scope,
		ReplyTo: remediation.ReplyTo{ResponseURL: cmd.ResponseURL, Channel: cmd.ChannelID, Thread: cmd.thread, User: cmd.UserID,
			NotBefore: h.now().UTC().Add(afterAck)},
	})
}

// request stores a command that changes something.
func (h *Handler) request(ctx context.Context, p Parsed, cmd remediation.Command) Message {
	if cmd.Verb == remediation.VerbStats {
		return h.stats(ctx, cmd)
	}
	reading, cancel := context.WithTimeout(ctx, storeWithin/2)
	defer cancel()
	doing, err := h.meant(reading, p, &cmd)
	if err != nil {
		return h.notRead(p.Incident, err)
	}
	begun := h.begun(reading, cmd)
	if err := h.submit(ctx, cmd); err != nil {
		return words("Your command could not be stored, so nothing was changed. Try again in a while.")
	}
	return words("%s: %s.", begun, doing)
}

// begun says what becomes of a command at once. One that will be refused, as far as can
// be told, is stored all the same: the engine says why, and keeps that it was asked.
func (h *Handler) begun(ctx context.Context, cmd remediation.Command) string {
	switch cmd.Verb {
	case remediation.VerbScan, remediation.VerbWhy: // which everybody may
		return "On it"
	}
	if err := h.Engine.Check(ctx, cmd); err != nil {
		return "Asked for, which may not be possible; the answer follows"
	}
	return "On it"
}

// meant fills in which incident a command is about, and says, in mrkdwn, what was
// asked for. Its errors are those of find.
func (h *Handler) meant(ctx context.Context, p Parsed, cmd *remediation.Command) (doing string, err error) {
	switch cmd.Verb {
	case remediation.VerbScan:
		return "I look for what is open now and post the result", nil
	case remediation.VerbReset:
		return "I reset the circuit breakers that are open", nil
	case remediation.VerbPause:
		return "I stop fixing", nil
	case remediation.VerbResume:
		return "I go on fixing", nil
	case remediation.VerbMode:
		return "I set the mode", nil
	case remediation.VerbWhy:
		return "I look at " + code(cmd.Scope, 80), nil
	}
	inc, err := find(ctx, h.Store, p.Incident)
	if err != nil {
		return "", err
	}
	cmd.Incident = inc.ID
	if cmd.Verb == remediation.VerbApprove || cmd.Verb == remediation.VerbDecline {
		cmd.Request = inc.Requests
	}
	return doingText(p, inc), nil
}

// doingText says what was asked for, which nobody has looked at yet.
func doingText(p Parsed, inc *remediation.Incident) string {
	what := nameAndID(inc.Finding, 80) + " (incident " + code(inc.ID, maxIDLength) + ")"
	switch p.Verb {
	case remediation.VerbUndo:
		return "undo the fix of " + what
	case remediation.VerbIgnore:
		return "ignore " + what + scopeText(remediation.Scope(p.Scope)) + " " + durationText(p.For) + ", because " + escaped(p.Reason, maxReason)
	case remediation.VerbUnignore:
		return "take back the ignore of " + what
	case remediation.VerbAllow:
		return "allow " + what + " " + durationText(cmp.Or(p.For, remediation.AllowFor))
	case remediation.VerbApprove, remediation.VerbDecline:
		asked := "what was asked for"
		if r := inc.Request; r != nil {
			asked = "to " + escaped(r.Words(), 200) + ", as " + mention(r.By) + " asks,"
		}
		return string(p.Verb) + " " + asked + " about " + what
	}
	return "revert the change of " + what
}

func (h *Handler) show(ctx context.Context, p Parsed) (Message, error) {
	inc, err := find(ctx, h.Store, p.Incident)
	if err != nil {
		return Message{}, err
	}
	v, err := viewOf(ctx, h.Store, h.Names, inc, h.now())
	if err != nil {
		return Message{}, err
	}
	return renderShow(v), nil
}

// help is made from the table of commands, a section for each of their groups.
func help(name string) Message {
	m := words("secbot closes holes in AWS accounts, or asks here whether to.")
	var lines []string
	all := Commands()
	for i, c := range all {
		lines = append(lines, fmt.Sprintf("• %s – %s", code(strings.TrimSpace(name+" "+c.Name+" "+c.Usage), 100), escaped(c.Help, 200)))
		if i+1 == len(all) || all[i+1].Group != c.Group {
			m.Blocks = append(m.Blocks, section(append([]string{"*" + c.Group + "*"}, lines...)...))
			lines = nil
		}
	}
	m.Blocks = append(m.Blocks, slack.NewContextBlock("", mrkdwn(fmt.Sprintf("Of an incident's id the last %d characters are enough.", shortID))))
	return m
}

// maxHelps is how many names of the command its help is kept for: an installation
// has one, and one of tests beside it.
const maxHelps = 4

// helped keeps the help as it is answered, which is the same for everybody who calls
// the command by the same name. It is what people ask for the most.
type helped struct {
	mu      sync.Mutex
	answers map[string]json.RawMessage
}

func (k *helped) answer(name string) any {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ready, ok := k.answers[name]; ok {
		return ready
	}
	a := ephemeralAnswer(help(name))
	ready, err := json.Marshal(a)
	if err != nil {
		return a // whoever writes it sees the same error
	}
	if k.answers == nil || len(k.answers) >= maxHelps {
		k.answers = map[string]json.RawMessage{}
	}
	k.answers[name] = ready
	return json.RawMessage(ready)
}
