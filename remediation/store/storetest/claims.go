package storetest

import (
	"errors"
	"testing"

	"secbot/remediation"
)

// testClaims goes through every status: does an incident of that status keep
// another one with the same key from becoming active?
func testClaims(t *testing.T, s remediation.Store) {
	for _, status := range remediation.Statuses() {
		key := "key " + string(status)
		first := newIncident("first "+string(status), key, status)
		must(t, s, remediation.Write{Incident: first})
		second := newIncident("second "+string(status), key, remediation.StatusOpen)
		got, err := s.Active(t.Context(), key)
		if !status.Active() {
			if !errors.Is(err, remediation.ErrNotFound) {
				t.Errorf("%s: Active gives %v, %v", status, got, err)
			}
			must(t, s, remediation.Write{Incident: second})
			equal(t, "active after "+string(status), get(s.Active(t.Context(), key))(t), second)
			continue
		}
		if err != nil {
			t.Fatalf("%s: Active: %v", status, err)
		}
		equal(t, "active", got, first)
		mustConflict(t, s, remediation.Write{Incident: second})
		// An inactive one claims nothing, so it may stand beside it.
		second.Status = remediation.StatusResolved
		must(t, s, remediation.Write{Incident: second})
		equal(t, "active beside a settled one", get(s.Active(t.Context(), key))(t), first)
		// The holder may go on.
		first.Repeats++
		must(t, s, remediation.Write{Incident: first})
		equal(t, "active after an update", get(s.Active(t.Context(), key))(t), first)
	}
}

func testReopen(t *testing.T, s remediation.Store) {
	ctx := t.Context()
	set := func(i *remediation.Incident, status remediation.Status) remediation.Write {
		i.Status = status
		return remediation.Write{Incident: i}
	}
	a, b := newIncident("a", "k", remediation.StatusOpen), newIncident("b", "k", remediation.StatusOpen)
	must(t, s, remediation.Write{Incident: a})
	must(t, s, set(a, remediation.StatusFixing))
	must(t, s, set(a, remediation.StatusFixed))
	if _, err := s.Active(ctx, "k"); !errors.Is(err, remediation.ErrNotFound) {
		t.Fatalf("Active after settling: %v", err)
	}
	must(t, s, remediation.Write{Incident: b})
	mustConflict(t, s, set(a, remediation.StatusUndoing))
	equal(t, "the settled one's status", get(s.Incident(ctx, "a"))(t).Status, remediation.StatusFixed)
	equal(t, "active", get(s.Active(ctx, "k"))(t).ID, "b")
	must(t, s, set(b, remediation.StatusResolved))
	must(t, s, set(a, remediation.StatusUndoing))
	equal(t, "active after reopening", get(s.Active(ctx, "k"))(t), a)
	equal(t, "last after reopening", get(s.Last(ctx, "k"))(t), a)
	mustConflict(t, s, set(b, remediation.StatusOpen))
	// A settled one that is stored again leaves the holder's claim alone.
	must(t, s, set(b, remediation.StatusExpired))
	equal(t, "active", get(s.Active(ctx, "k"))(t), a)
}

// testLast: who held a key last is known once it is free, whatever came of it
// since, and until another holds it.
func testLast(t *testing.T, s remediation.Store) {
	ctx := t.Context()
	last := func(want *remediation.Incident) {
		t.Helper()
		equal(t, "last", get(s.Last(ctx, "k"))(t), want)
	}
	set := func(i *remediation.Incident, status remediation.Status) {
		t.Helper()
		i.Status = status
		must(t, s, remediation.Write{Incident: i})
	}
	none := func(key string) {
		t.Helper()
		if got, err := s.Last(ctx, key); !errors.Is(err, remediation.ErrNotFound) {
			t.Fatalf("last of %s: %v, %v", key, got, err)
		}
	}
	none("k")
	bystander := newIncident("bystander", "k", remediation.StatusResolved)
	must(t, s, remediation.Write{Incident: bystander})
	none("k") // it never held the key
	a, b := newIncident("a", "k", remediation.StatusOpen), newIncident("b", "k", remediation.StatusOpen)
	must(t, s, remediation.Write{Incident: a})
	last(a)
	set(a, remediation.StatusFixing)
	set(a, remediation.StatusFixed)
	last(a)
	set(bystander, remediation.StatusExpired)
	last(a)
	a.Repeats++
	set(a, remediation.StatusFixed)
	last(a)
	must(t, s, remediation.Write{Incident: b})
	last(b)
	set(b, remediation.StatusResolved)
	set(a, remediation.StatusUndoing)
	set(a, remediation.StatusUndone)
	last(a)
	set(b, remediation.StatusOpen)
	b.Key = "another"
	must(t, s, remediation.Write{Incident: b})
	none("k")
	equal(t, "last of the other key", get(s.Last(ctx, "another"))(t), b)
}

func testChangedKey(t *testing.T, s remediation.Store) {
	a := newIncident("a", "k1", remediation.StatusOpen)
	must(t, s, remediation.Write{Incident: a})
	a.Key = "k2"
	must(t, s, remediation.Write{Incident: a})
	must(t, s, remediation.Write{Incident: newIncident("b", "k1", remediation.StatusOpen)})
	mustConflict(t, s, remediation.Write{Incident: newIncident("c", "k2", remediation.StatusOpen)})
	equal(t, "k1", get(s.Active(t.Context(), "k1"))(t).ID, "b")
	equal(t, "k2", get(s.Active(t.Context(), "k2"))(t).ID, "a")
	found := get(s.Incidents(t.Context(), remediation.IncidentQuery{Key: "k1"}))(t)
	equal(t, "incidents of k1", ids(found, incidentID), []string{"b"})
}
