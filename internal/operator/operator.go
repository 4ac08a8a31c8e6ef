// Package operator is what people ask of secbot's store at the shell: through
// the running server's Unix socket, or directly where none runs.
package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"secbot/bot"
	"secbot/remediation"
)

// Request is one question.
type Request struct {
	Name     string  `json:"name"`               // "say", "fix found", "answer", "incidents", "audit verify" or "audit export"
	Words    string  `json:"words,omitempty"`    // say, incidents: what was typed, as bot.ParseCommand takes it
	User     string  `json:"user,omitempty"`     // say, fix found: what the operating system calls whoever typed it
	Command  string  `json:"command,omitempty"`  // say, fix found: the id of the command that comes of it, unlike any other's: asked again with the same, it is stored once; answer: the PendingError's
	Incident string  `json:"incident,omitempty"` // audit: only this one
	Limit    int     `json:"limit,omitempty"`    // incidents: of a page; 0 is 100
	JSON     bool    `json:"json,omitempty"`     // incidents
	Scan     string  `json:"scan,omitempty"`     // fix found: the id of the scan since which each finding has an incident
	Shown    []Shown `json:"shown,omitempty"`    // fix found: what may be fixed, remediation.MaxTargets at most
}

// Desk answers requests.
type Desk struct {
	Store remediation.Store
	Bot   *bot.Handler // takes commands; nil: "say" and "fix found" are refused
}

// PendingError says that a command was stored and has no answer yet; the request
// "answer" asks for it again.
type PendingError struct {
	Command string // its id
	Doing   string // what was asked for, in lines; empty in the answer to "answer"
}

// Error says that the command is safe.
func (e *PendingError) Error() string { return "the command is stored and has no answer yet" }

// Answer writes the answer to a request. It returns a *PendingError where that comes
// later, a *bot.UsageError for words that can't be understood, and a
// *remediation.RefusedError for what was refused.
func (d *Desk) Answer(ctx context.Context, req Request, w io.Writer) error {
	switch req.Name {
	case "say":
		return d.say(ctx, req, w)
	case "fix found":
		return d.fixFound(ctx, req, w)
	case "answer":
		return d.answer(ctx, req, w)
	case "incidents":
		return d.incidents(ctx, req, w)
	case "audit verify":
		return verify(ctx, d.Store, req, w)
	case "audit export":
		return export(ctx, d.Store, req, w)
	}
	return fmt.Errorf("this secbot can't answer %q; is the running server older than the shell's secbot?", req.Name)
}

func errNoCommands() error { return errors.New("this secbot takes no commands") }

// errNoID is for a request of another version's shell: with an id of the server's a
// command could be stored twice.
func errNoID() error {
	return errors.New("the request names no id for its command; is the running server newer than the shell's secbot?")
}

// say answers a command, or stores it.
func (d *Desk) say(ctx context.Context, req Request, w io.Writer) error {
	if d.Bot == nil {
		return errNoCommands()
	}
	if req.Command == "" {
		return errNoID()
	}
	if stored, err := remediation.Submitted(ctx, d.Store, req.Command); err != nil {
		return err
	} else if stored { // it is asked again, since the connection broke
		return d.answer(ctx, req, w)
	}
	// The name is believed: only the owner of the socket may open it, and of the store.
	said, err := d.Bot.Say(ctx, bot.Typed{Text: req.Words, By: remediation.ShellUser(req.User), ID: req.Command})
	if err != nil {
		return err
	}
	if said.Command == "" {
		_, err := io.WriteString(w, said.Text)
		return err
	}
	err = d.answer(ctx, Request{Command: said.Command}, w)
	var pending *PendingError
	if errors.As(err, &pending) {
		pending.Doing = said.Text
	}
	return err
}

// answer tells what became of a command.
func (d *Desk) answer(ctx context.Context, req Request, w io.Writer) error {
	text, err := bot.ShellAnswer(ctx, d.Store, req.Command)
	if errors.Is(err, remediation.ErrNotFound) {
		return &PendingError{Command: req.Command}
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// perPage is how many incidents a page has where nobody says otherwise.
const perPage = 100

func (d *Desk) incidents(ctx context.Context, req Request, w io.Writer) error {
	parsed, err := bot.ParseCommand("incidents " + req.Words)
	if err != nil {
		return err
	}
	found, more, err := d.page(ctx, parsed.Filter, cmp.Or(max(req.Limit, 0), perPage))
	if err != nil {
		return err
	}
	if req.JSON {
		return writeJSON(w, found)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "No incidents.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATUS\tSEVERITY\tPLAYBOOK\tRESOURCE\tSINCE")
	for _, i := range found {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Status, i.Finding.Severity, i.Finding.Playbook,
			plain(i.Finding.Resource.ID), i.UpdatedAt.Format(time.DateTime))
	}
	if more {
		if err := t.Flush(); err != nil {
			return err
		}
		next := parsed.Filter.Next()
		if req.Limit > 0 && req.Limit != perPage {
			next += fmt.Sprintf(" --limit %d", req.Limit)
		}
		_, err := fmt.Fprintf(w, "There are more. The next page: secbot incidents %s\n", next)
		return err
	}
	return t.Flush()
}

// page reads a page of the incidents that fit, and whether there are more.
func (d *Desk) page(ctx context.Context, f bot.Filter, size int) (found []*remediation.Incident, more bool, err error) {
	from := (max(f.Page, 1) - 1) * size
	q := remediation.IncidentQuery{Statuses: f.Statuses, Limit: from + size + 1}
	if len(f.Severities)+len(f.Playbooks)+len(f.Accounts) > 0 {
		q.Limit = allIncidents // which of them fit is known only afterwards
	}
	if found, err = d.Store.Incidents(ctx, q); err != nil {
		return nil, false, fmt.Errorf("read incidents: %w", err)
	}
	found = slices.DeleteFunc(found, func(i *remediation.Incident) bool { return !f.Fits(i) })
	from = min(from, len(found))
	to := min(from+size, len(found))
	return found[from:to], to < len(found), nil
}

func writeJSON(w io.Writer, found []*remediation.Incident) error {
	enc := json.NewEncoder(w)
	for _, i := range found {
		if err := enc.Encode(i); err != nil {
			return err
		}
	}
	return nil
}

// plain keeps a terminal safe from what AWS lets people put into names.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

// export writes every entry of the audit logs as one line of JSON, an incident
// after the other, and secbot's own log last.
func export(ctx context.Context, store remediation.Store, req Request, w io.Writer) error {
	list, err := verifiable(ctx, store, req)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	if req.Incident == "" {
		list = append(list, &remediation.Incident{ID: remediation.OwnLog})
	}
	for _, inc := range list {
		log, err := store.Audit(ctx, inc.ID)
		if err != nil {
			return fmt.Errorf("read the audit log of %s: %w", inc.ID, err)
		}
		for _, entry := range log {
			if err := enc.Encode(entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// ErrTampered says that an audit log does not hold together.
var ErrTampered = errors.New("the audit log does not hold together")

// verify checks the hash chains and names every break.
func verify(ctx context.Context, store remediation.Store, req Request, w io.Writer) error {
	list, err := verifiable(ctx, store, req)
	if err != nil {
		return err
	}
	bad, entries := 0, 0
	told := func(err error) error { // what does not hold together is a line, not the end
		var entry *remediation.AuditError
		var checkpoint *remediation.CheckpointError
		if !errors.As(err, &entry) && !errors.As(err, &checkpoint) {
			return err
		}
		bad++
		_, err = fmt.Fprintln(w, err)
		return err
	}
	for _, inc := range list {
		n, err := verifyOne(ctx, store, inc)
		if err := told(err); err != nil {
			return err
		}
		entries += n
	}
	if req.Incident == "" {
		n, err := remediation.VerifyOwnLog(ctx, store)
		if err := told(err); err != nil {
			return err
		}
		entries += n
	}
	checkpoints, err := remediation.VerifyCheckpoints(ctx, store)
	if err := told(err); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d faults among %d incidents", ErrTampered, bad, len(list))
	}
	_, err = fmt.Fprintf(w, "The audit logs of %d incidents (%d entries) hold together, and agree with %d checkpoints.\n", len(list), entries, checkpoints)
	return err
}

// verifyOne checks one log. One that is written on in between is read anew.
func verifyOne(ctx context.Context, store remediation.Store, inc *remediation.Incident) (int, error) {
	for {
		log, err := store.Audit(ctx, inc.ID)
		if err != nil {
			return 0, fmt.Errorf("read the audit log of %s: %w", inc.ID, err)
		}
		again, err := store.Incident(ctx, inc.ID)
		if err != nil {
			return 0, fmt.Errorf("read incident %s: %w", inc.ID, err)
		}
		if again.AuditSeq == inc.AuditSeq {
			return len(log), remediation.VerifyAudit(again, log)
		}
		inc = again
	}
}

// allIncidents is more than a store will hold.
const allIncidents = 1 << 30

func verifiable(ctx context.Context, store remediation.Store, req Request) ([]*remediation.Incident, error) {
	if req.Incident != "" {
		inc, err := store.Incident(ctx, req.Incident)
		if err != nil {
			return nil, fmt.Errorf("incident %s: %w", req.Incident, err)
		}
		return []*remediation.Incident{inc}, nil
	}
	list, err := store.Incidents(ctx, remediation.IncidentQuery{Limit: allIncidents})
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	return list, nil
}
