package remediation

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// shellPrefix marks people at the shell of secbot's own machine: whoever may
// open its store may decide.
const shellPrefix = "shell:"

// Authorise returns nil where by may decide about inc, a DeniedError where
// not, and a RefusedError where nobody can tell (then the answer is no).
// It is the one place that knows who may.
func (e *Engine) Authorise(ctx context.Context, by string, inc *Incident) error {
	if strings.HasPrefix(by, shellPrefix) {
		return nil
	}
	approvers := inc.Decision.Approvers
	if len(approvers) == 0 {
		approvers = e.o.Config.Responders
	}
	if slices.Contains(approvers, by) {
		return nil
	}
	var unknown []error
	for _, group := range approvers {
		if !strings.HasPrefix(group, "S") || e.o.Directory == nil {
			continue
		}
		member, err := e.o.Directory.Member(ctx, group, by)
		if member && err == nil {
			return nil
		}
		if err != nil {
			unknown = append(unknown, err)
		}
	}
	if len(unknown) > 0 {
		return &RefusedError{Text: "secbot could not ask Slack who is in the responders' group, so nothing was changed; try again in a while.",
			Err: errors.Join(unknown...)}
	}
	return &DeniedError{By: by, Approvers: approvers}
}
