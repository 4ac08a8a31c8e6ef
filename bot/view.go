package bot

import (
	"context"
	"fmt"
	"time"

	"secbot/remediation"
)

// suppressionReader tells until when something is ignored.
type suppressionReader interface {
	Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error)
}

// viewOf gathers what an incident's message is made of.
func viewOf(ctx context.Context, store suppressionReader, metas []remediation.Meta, inc *remediation.Incident, now time.Time) (view, error) {
	v := view{inc: inc, meta: metaOf(metas, inc.Finding.Playbook)}
	switch inc.Status {
	case remediation.StatusIgnored, remediation.StatusAllowed, remediation.StatusUndone:
	default:
		return v, nil
	}
	all, err := store.Suppressions(ctx, now)
	if err != nil {
		return v, fmt.Errorf("read suppressions: %w", err)
	}
	for _, s := range all { // the newest is the last
		if s.Incident == inc.ID {
			v.until = &s.Until
		}
	}
	return v, nil
}
