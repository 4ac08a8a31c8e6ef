package remediation

import (
	"context"
	"fmt"
	"slices"
)

// wholeResource is the playbook whose revert needs to know no more than the
// resource: what an event that tells nothing else, and whose resource can't be
// read, is asked about with. Where it is none, people are told.
func wholeResource(k Kind) string {
	switch k {
	case KindBucket:
		return "s3-block-public-access"
	case KindAccount:
		return "s3-account-block-public-access"
	}
	return ""
}

// unread gives what the event alone claims, in doubt, for a resource that could
// not be read. There is always something, unless the event says that it has closed
// the resource: what nobody can look at is not safe.
func (e *Engine) unread(ctx context.Context, sig Signal, cause error) ([]Finding, error) {
	env, err := e.o.Provider.Environment(ctx, sig.Resource.Account, sig.Resource.Region)
	if err != nil {
		// Claims are of no place: those of any will do.
		e.o.Log.Error("no playbooks for the account", "error", err)
		if env, err = e.o.Provider.Environment(ctx, "", ""); err != nil {
			return nil, fmt.Errorf("no playbooks to tell of event %s: %w", sig.EventID, err)
		}
	}
	var found []Finding
	for _, pb := range env.Playbooks {
		if slices.Contains(sig.Playbooks, pb.Meta().ID) {
			err := e.safely("what event "+sig.EventID+" claims", func() error { found = append(found, pb.Claim(sig)...); return nil })
			if err != nil {
				e.o.Log.Error("a playbook can't read an event", "playbook", pb.Meta().ID, "event", sig.EventID, "error", err)
			}
		}
	}
	doubt := "the live state could not be read, so this is only what the event says: "
	if len(found) == 0 && !sig.Change.Block.All() {
		found = []Finding{env.unknown(sig)}
		doubt = "the live state could not be read, and the event does not say what is open: "
	}
	for i := range found {
		found[i].Doubt = doubt + Explain(cause)
	}
	return found, nil
}

// unknown is the finding of an event that tells of a resource, and not what has
// become of it.
func (e *Environment) unknown(sig Signal) Finding {
	f := Finding{Resource: sig.Resource, Name: sig.Change.GroupName, Severity: SeverityHigh, Actor: sig.Actor,
		Event: sig.Kind, EventID: sig.EventID, At: sig.At, Openness: sig.Change.Openness, Playbook: wholeResource(sig.Resource.Kind)}
	if sig.ConfigRule != "" {
		f.Notes = []string{"AWS Config's rule " + sig.ConfigRule + " calls it non-compliant; it is not known what that rule checks"}
	}
	if e.Playbook(f.Playbook) != nil {
		return f
	}
	f.Irreversible = "it is not known what was changed"
	for _, pb := range e.Playbooks {
		m := pb.Meta()
		if m.Kind != sig.Resource.Kind {
			continue
		}
		if f.Playbook = m.ID; slices.Contains(sig.Playbooks, m.ID) {
			break
		}
	}
	return f
}
