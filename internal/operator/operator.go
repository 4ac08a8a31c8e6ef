// Package operator is what people ask of secbot's store at the shell: through
// the running server's Unix socket, or directly where none runs.
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"secbot/remediation"
)

// Request is one question.
type Request struct {
	Name     string   `json:"name"`               // "incidents", "audit verify" or "audit export"
	Statuses []string `json:"statuses,omitempty"` // incidents: which ones
	Incident string   `json:"incident,omitempty"` // audit: only this one
	Limit    int      `json:"limit,omitempty"`
	JSON     bool     `json:"json,omitempty"`
}

// Answer writes the answer to a request.
func Answer(ctx context.Context, store remediation.Store, req Request, w io.Writer) error {
	switch req.Name {
	case "incidents":
		return incidents(ctx, store, req, w)
	case "audit verify":
		return verify(ctx, store, req, w)
	case "audit export":
		return export(ctx, store, req, w)
	}
	return fmt.Errorf("this secbot can't answer %q; is the running server older than the shell's secbot?", req.Name)
}

func incidents(ctx context.Context, store remediation.Store, req Request, w io.Writer) error {
	q := remediation.IncidentQuery{Limit: req.Limit}
	for _, s := range req.Statuses {
		q.Statuses = append(q.Statuses, remediation.Status(s))
	}
	found, err := store.Incidents(ctx, q)
	if err != nil {
		return fmt.Errorf("read incidents: %w", err)
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
	return t.Flush()
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
