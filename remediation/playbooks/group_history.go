package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"secbot/remediation"
)

const (
	// maxPast bounds how many rules that are gone a snapshot holds.
	maxPast = 200
	// keepPast is how long it holds them.
	keepPast = 7 * 24 * time.Hour
	// eventSecond is how far the time of an event may be off: CloudTrail tells
	// whole seconds, and clocks differ.
	eventSecond = 5 * time.Second
)

// Earlier is what is known of a group before a change.
type Earlier struct {
	Snapshot *GroupSnapshot `json:"snapshot,omitempty"` // secbot's own
	Recorded *GroupState    `json:"recorded,omitempty"` // AWS Config's; its rules have no ids
	Source   string         `json:"source,omitempty"`   // whose word it is, for people
	Unknown  string         `json:"unknown,omitempty"`  // why neither of them knows
}

// GroupSnapshot is what secbot keeps of a group.
type GroupSnapshot struct {
	Group GroupState `json:"group"`
	At    time.Time  `json:"at"`             // since when it has been seen like that
	Past  []PastRule `json:"past,omitempty"` // rules that it had or that were otherwise, the first to go first
}

// PastRule is a rule that is gone, or that was changed.
type PastRule struct {
	Rule remediation.Rule `json:"rule"`
	Seen time.Time        `json:"seen"` // when it was first seen to be gone or changed
}

// Remember gives the snapshot to keep: the group, and the rules that it had not
// long ago, since several changes may follow one another before the event of
// the first comes.
func (r *GroupReader) Remember(live remediation.State, kept json.RawMessage, at time.Time) (json.RawMessage, error) {
	s, ok := live.(*GroupState)
	if !ok {
		return nil, errWrongState
	}
	if s.Gone {
		return kept, nil
	}
	next := GroupSnapshot{Group: s.bare(), At: at}
	if old, err := decodeSnapshot(kept); err == nil && old != nil {
		next.since(old, at)
	}
	raw, err := json.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("encode the snapshot of %s: %w", s.Group.ID, err)
	}
	return raw, nil
}

// bare is the group alone, without what is looked up beside it.
func (s *GroupState) bare() GroupState {
	c := *s
	c.Use, c.Earlier, c.Lists, c.Peers = Use{}, nil, nil, nil
	c.Rules = slices.SortedFunc(slices.Values(s.Rules), func(a, b remediation.Rule) int {
		return cmp.Or(cmp.Compare(a.Key(), b.Key()), cmp.Compare(a.ID, b.ID))
	})
	return c
}

func decodeSnapshot(raw json.RawMessage) (*GroupSnapshot, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var s GroupSnapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("decode the snapshot: %w", err)
	}
	return &s, nil
}

// since takes over what an older snapshot knows.
func (s *GroupSnapshot) since(old *GroupSnapshot, at time.Time) {
	changed := false
	for _, p := range old.Past {
		if at.Sub(p.Seen) < keepPast {
			s.Past = append(s.Past, p)
		}
	}
	for _, r := range old.Group.Rules {
		now, there := ruleByID(s.Group.Rules, r.ID)
		if !there || !sameRule(now, r) {
			s.Past, changed = append(s.Past, PastRule{Rule: r, Seen: at}), true
		}
	}
	if more := len(s.Past) - maxPast; more > 0 {
		s.Past = s.Past[more:]
	}
	if !changed && len(old.Group.Rules) == len(s.Group.Rules) {
		s.At = old.At
	}
}

// sameRule reports whether two rules have the same content and description.
func sameRule(a, b remediation.Rule) bool {
	return a.Key() == b.Key() && a.Description == b.Description
}

// Recall says what the group was before the change that sig tells of. AWS
// Config is asked only where the snapshot does not know.
func (r *GroupReader) Recall(ctx context.Context, live remediation.State, sig remediation.Signal, kept json.RawMessage) remediation.State {
	now, ok := live.(*GroupState)
	if !ok {
		return live
	}
	s := *now
	s.Peers = peerIDs(ctx, r.c.EC2, now, sig.Change.Rules)
	if !needsHistory(sig.Kind) {
		return &s
	}
	s.Earlier = &Earlier{}
	snap, err := decodeSnapshot(kept)
	switch {
	case err != nil:
		s.Earlier.Unknown = err.Error()
	case snap == nil:
		s.Earlier.Unknown = "secbot had not seen the group before the change"
	default:
		s.Earlier.Snapshot = snap
		s.Earlier.Source = "secbot's own snapshot of " + snap.At.UTC().Format("2006-01-02 15:04 UTC")
	}
	s.Lists = prefixLists(ctx, r.c.EC2, s.Group, s.Earlier.rules(), s.Lists)
	if s.Earlier.enough(&s, sig) {
		return &s
	}
	recorded, at, err := configHistory(ctx, r.c.Config, s.Group, sig.At)
	if err != nil {
		s.Earlier.Unknown = cmp.Or(s.Earlier.Unknown, "secbot's snapshot does not tell") + ", and AWS Config does not know either: " + err.Error()
		return &s
	}
	s.Earlier.Recorded, s.Earlier.Unknown = recorded, ""
	s.Lists = prefixLists(ctx, r.c.EC2, s.Group, s.Earlier.rules(), s.Lists)
	s.Earlier.Source = "AWS Config's history, recorded " + at.UTC().Format("2006-01-02 15:04 UTC")
	return &s
}

func needsHistory(kind string) bool {
	switch kind {
	case "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress", "ModifySecurityGroupRules", "DeleteSecurityGroup":
		return true
	}
	return false
}

// enough reports whether the snapshot tells all that the change needs.
func (e *Earlier) enough(s *GroupState, sig remediation.Signal) bool {
	switch {
	case sig.Kind == "DeleteSecurityGroup":
		return e.Snapshot != nil || !s.Gone
	case s.Gone:
		return true // its deletion has an event of its own
	case sig.Kind == "ModifySecurityGroupRules":
		_, unknown := modifiedRules(s, sig)
		return len(unknown) == 0
	}
	removed := removedRules(s, sig)
	return len(removed.unknown)+len(removed.ids) == 0
}

// tagless says so where the rules' tags are not known.
func (e *Earlier) tagless() []string {
	if e == nil || e.Recorded == nil {
		return nil
	}
	return []string{"which tags its rules had is not known, since AWS Config does not record them: they come back without"}
}

// why says why nobody knows.
func (e *Earlier) why() string {
	if e == nil {
		return "nobody was asked"
	}
	return cmp.Or(e.Unknown, "neither secbot's snapshot nor AWS Config tells")
}

// rules are those that the group is known to have had.
func (e *Earlier) rules() []remediation.Rule {
	g := e.group()
	if g == nil {
		return nil
	}
	return g.Rules
}

// group is the group before the change; nil where nobody knows.
func (e *Earlier) group() *GroupState {
	switch {
	case e == nil:
		return nil
	case e.Snapshot != nil:
		return &e.Snapshot.Group
	}
	return e.Recorded
}

// had finds a rule that the group had at a time: among those that were seen to
// go after it, the first to go first, else among those of the last snapshot.
func (e *Earlier) had(at time.Time, is func(remediation.Rule) bool) (remediation.Rule, bool) {
	if e == nil {
		return remediation.Rule{}, false
	}
	if e.Snapshot != nil {
		for _, p := range e.Snapshot.Past {
			if p.Seen.After(at) && is(p.Rule) {
				return p.Rule, true
			}
		}
		if i := slices.IndexFunc(e.Snapshot.Group.Rules, is); i >= 0 {
			return e.Snapshot.Group.Rules[i], true
		}
	}
	if e.Recorded != nil {
		if i := slices.IndexFunc(e.Recorded.Rules, is); i >= 0 {
			return e.Recorded.Rules[i], true
		}
	}
	return remediation.Rule{}, false
}

// vanished are the rules of AWS Config's record that the group has no more.
func (e *Earlier) vanished(s *GroupState, known []remediation.Rule) []remediation.Rule {
	if e == nil || e.Recorded == nil {
		return nil
	}
	var gone []remediation.Rule
	for _, r := range e.Recorded.Rules {
		_, live := ruleByKey(s.Rules, r.Key())
		_, accounted := ruleByKey(known, r.Key())
		if !live && !accounted {
			gone = append(gone, r)
		}
	}
	return gone
}

// errNoHistory says that AWS Config keeps no record of a group.
var errNoHistory = errors.New("it has no record of the group from before the change")
