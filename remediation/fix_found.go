package remediation

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Proposal reads a finding's resource and gives what Revert would do there now. It
// changes nothing. It returns a *RefusedError for what can't be taken back,
// ErrNothingToDo where nothing of the finding is left, ErrGone where the resource
// is, and the error of AWS where it could not be read.
func (e *Engine) Proposal(ctx context.Context, f Finding) ([]DiffLine, error) {
	if f.Irreversible != "" {
		return nil, &RefusedError{Text: "secbot can't take this back: " + f.Irreversible}
	}
	env, state, err := e.read(ctx, f.Resource)
	if err != nil {
		return nil, err
	}
	var diff []DiffLine
	err = e.safely("the plan for "+f.Resource.String(), func() error {
		diff, err = judged{env: env, state: state}.plan(f)
		return err
	})
	return diff, err
}

// FoundTargets are the incidents that may be fixed for somebody who was shown
// findings, given by their keys. None is about more than was shown. left says in
// words, by key, why nothing can be fixed for the others: whatever has been decided
// or has changed since.
func FoundTargets(ctx context.Context, store Store, keys []string) (targets []Target, left map[string]string, err error) {
	left = map[string]string{}
	for _, key := range keys {
		inc, err := store.Active(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			left[key] = "it was closed, has changed, or is let be since"
		case err != nil:
			return nil, nil, fmt.Errorf("read the active incident: %w", err)
		default:
			if why := inc.notFixable(key); why != "" {
				left[key] = why
				continue
			}
			targets = append(targets, Target{Incident: inc.ID, State: inc.State()})
		}
	}
	if len(left) == 0 {
		return targets, left, nil
	}
	several, err := severalAtOnce(ctx, store, keys, left)
	return append(targets, several...), left, err
}

// notFixable says why an incident is not to be fixed for a key; empty where it is.
func (i *Incident) notFixable(key string) string {
	switch {
	case i.Finding.Key() != key:
		return "incident " + i.ID + " is about something else by now"
	case i.Request != nil:
		return "incident " + i.ID + " waits for the approval of what " + i.Request.By + " has asked for"
	case i.Status != StatusOpen && i.Status != StatusFailed:
		return standing(i)
	}
	return ""
}

// severalAtOnce finds the incidents about several rules that one call has added, of
// which a scan finds each by itself, where all of them were shown. Their keys are
// not left any more.
func severalAtOnce(ctx context.Context, store Store, keys []string, left map[string]string) ([]Target, error) {
	waiting, err := store.Incidents(ctx, IncidentQuery{Statuses: []Status{StatusOpen, StatusFailed}, Limit: maxUnsettled})
	if err != nil {
		return nil, fmt.Errorf("read what waits for people: %w", err)
	}
	var targets []Target
	for _, inc := range waiting {
		each := inc.Finding.eachRule()
		isLeft := func(key string) bool { _, ok := left[key]; return ok }
		notShown := func(key string) bool { return !slices.Contains(keys, key) }
		if inc.Request != nil || len(each) < 2 || !slices.ContainsFunc(each, isLeft) || slices.ContainsFunc(each, notShown) {
			continue
		}
		targets = append(targets, Target{Incident: inc.ID, State: inc.State()})
		for _, key := range each {
			delete(left, key)
		}
	}
	return targets, nil
}

// eachRule gives the keys that findings of f's rules, each by itself, would have.
func (f Finding) eachRule() []string {
	var keys []string
	for _, r := range f.Rules {
		keys = append(keys, Finding{Playbook: f.Playbook, Resource: f.Resource, Rules: []Rule{r}}.Key())
	}
	return keys
}
