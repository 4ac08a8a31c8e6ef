package bot

import (
	"context"
	"errors"
	"strings"

	"secbot/docs"
	"secbot/remediation"
)

// shellName is how commands are called at the shell.
const shellName = "secbot"

// Typed is a command that somebody has typed at the shell.
type Typed struct {
	Text string // the words after the program's name
	By   string // remediation.ShellUser of whoever typed it
	ID   string // of the remediation.Command that may come of it, unlike any other
}

// Said is what becomes of a Typed at once. Its text is for a terminal and ends its
// last line.
type Said struct {
	Text    string // the answer, or what was asked for
	Command string // the id of the command that was stored; empty: Text is the answer
}

// Say answers what was typed at the shell, by the same table and the same texts as
// in Slack. What changes something is submitted, and its answer is to be read by
// ShellAnswer. It returns a *UsageError for what can't be understood, and a
// *remediation.RefusedError with a text for people where there is no answer.
func (h *Handler) Say(ctx context.Context, t Typed) (Said, error) {
	p, err := ParseCommand(t.Text)
	if err != nil {
		return Said{}, err
	}
	switch p.Name {
	case "runbook":
		page, ok := docs.Runbook(p.Playbook)
		if !ok {
			return Said{}, refusedAtShell(noRunbook(p.Playbook), nil)
		}
		return Said{Text: strings.TrimRight(printable(page), "\n") + "\n"}, nil
	case "stats":
		s, err := remediation.ReadStats(ctx, h.Store, h.now(), remediation.MaxStats)
		if err != nil {
			return Said{}, refusedAtShell(h.notRead("", err), err)
		}
		return Said{Text: renderStats(s, h.Names, "").Terminal()}, nil
	}
	m, ok, err := h.look(ctx, shellName, t.By, p)
	switch {
	case err != nil:
		return Said{}, refusedAtShell(h.notRead(p.Incident, err), err)
	case ok:
		return Said{Text: m.Terminal()}, nil
	}
	return h.order(ctx, t, p)
}

// order submits a command of the shell.
func (h *Handler) order(ctx context.Context, t Typed, p Parsed) (Said, error) {
	cmd := remediation.Command{ID: t.ID, Verb: p.Verb, By: t.By, Reason: p.Reason, For: p.For, Scope: p.Scope, ReplyTo: remediation.ReplyTo{Shell: true}}
	doing, err := h.meant(ctx, p, &cmd)
	if err != nil {
		return Said{}, refusedAtShell(h.notRead(p.Incident, err), err)
	}
	begun := h.begun(ctx, cmd)
	if err := h.Engine.Submit(ctx, cmd); err != nil {
		return Said{}, err
	}
	return Said{Text: words("%s: %s.", begun, doing).Terminal(), Command: cmd.ID}, nil
}

// refusedAtShell is a message for people at the shell as an error.
func refusedAtShell(m Message, cause error) error {
	if errors.Is(cause, remediation.ErrNotFound) {
		cause = nil // the text says it
	}
	return &remediation.RefusedError{Text: strings.TrimSpace(m.Terminal()), Err: cause}
}

// ShellAnswer is the answer to a command that Say has submitted, for a terminal. It
// returns remediation.ErrNotFound where there is none yet, and a
// *remediation.RefusedError where the command was refused or went wrong.
func ShellAnswer(ctx context.Context, store Store, command string) (string, error) {
	r, err := remediation.ShellReply(ctx, store, command)
	if err != nil {
		return "", err
	}
	text := replyTerminal(r)
	if r.Failed {
		return "", &remediation.RefusedError{Text: strings.TrimSpace(text)}
	}
	return text, nil
}
