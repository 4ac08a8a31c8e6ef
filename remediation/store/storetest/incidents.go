package storetest

import (
	"fmt"
	"testing"
	"time"

	"secbot/remediation"
)

// list gives the ids of the incidents that q finds.
func list(t testing.TB, s remediation.Store, q remediation.IncidentQuery) []string {
	t.Helper()
	return ids(get(s.Incidents(t.Context(), q))(t), incidentID)
}

func testIncidentsOrder(t *testing.T, s remediation.Store) {
	for id, created := range map[string]time.Time{
		"c": at(2), "a": at(2), "b": at(2), "oldest": {}, "newest": at(3), "by a nanosecond": at(2).Add(1),
	} {
		i := newIncident(id, id, remediation.StatusOpen)
		i.CreatedAt = created
		must(t, s, remediation.Write{Incident: i})
	}
	want := []string{"newest", "by a nanosecond", "c", "b", "a", "oldest"}
	equal(t, "all", list(t, s, remediation.IncidentQuery{}), want)
	open := []remediation.Status{remediation.StatusOpen}
	equal(t, "by status", list(t, s, remediation.IncidentQuery{Statuses: open}), want)
	equal(t, "by playbook", list(t, s, remediation.IncidentQuery{Playbook: "sg-rule-added"}), want)
	equal(t, "by resource", list(t, s, remediation.IncidentQuery{Resource: "sg-0abc"}), want)
}

func testIncidentsFilters(t *testing.T, s remediation.Store) {
	add := func(id, key string, status remediation.Status, playbook, resource string, created int) *remediation.Incident {
		i := newIncident(id, key, status)
		i.Finding.Playbook, i.Finding.Resource.ID, i.CreatedAt = playbook, resource, at(created)
		must(t, s, remediation.Write{Incident: i})
		return i
	}
	const open, fixed, failed = remediation.StatusOpen, remediation.StatusFixed, remediation.StatusFailed
	add("1", "k1", fixed, "acl", "b1", 1)
	add("2", "k1", fixed, "acl", "b1", 2)
	moving := add("3", "k1", open, "acl", "b1", 3)
	add("4", "k2", failed, "policy", "b1", 4)
	add("5", "k3", open, "policy", "b2", 5)
	add("6", "k", fixed, "polic", "b", 6)
	type query = remediation.IncidentQuery
	for _, tt := range []struct {
		q    query
		want []string
	}{
		{query{}, []string{"6", "5", "4", "3", "2", "1"}},
		{query{Statuses: []remediation.Status{open}}, []string{"5", "3"}},
		{query{Statuses: []remediation.Status{fixed, open}}, []string{"6", "5", "3", "2", "1"}},
		{query{Statuses: []remediation.Status{open, failed, open}}, []string{"5", "4", "3"}},
		{query{Statuses: []remediation.Status{remediation.StatusUndone}}, []string{}},
		{query{Playbook: "policy"}, []string{"5", "4"}},
		{query{Playbook: "pol"}, []string{}},
		{query{Resource: "b1"}, []string{"4", "3", "2", "1"}},
		{query{Resource: "b"}, []string{"6"}},
		{query{Key: "k1"}, []string{"3", "2", "1"}},
		{query{Since: at(4)}, []string{"6", "5", "4"}},
		{query{Since: at(4).Add(1)}, []string{"6", "5"}},
		{query{Since: at(4).In(time.FixedZone("", -3600))}, []string{"6", "5", "4"}},
		{query{Since: at(7)}, []string{}},
		{query{Until: at(3)}, []string{"3", "2", "1"}},
		{query{Until: at(3).Add(-1)}, []string{"2", "1"}},
		{query{Until: at(3).In(time.FixedZone("", 3600)), Limit: 2}, []string{"3", "2"}},
		{query{Since: at(2), Until: at(4), Statuses: []remediation.Status{fixed, failed}}, []string{"4", "2"}},
		{query{Since: at(5), Until: at(4)}, []string{}},
		{query{Resource: "b1", Until: at(3)}, []string{"3", "2", "1"}},
		{query{Statuses: []remediation.Status{open}, Playbook: "acl"}, []string{"3"}},
		{query{Statuses: []remediation.Status{fixed}, Resource: "b1"}, []string{"2", "1"}},
		{query{Playbook: "acl", Resource: "b1", Since: at(2)}, []string{"3", "2"}},
		{query{Key: "k1", Statuses: []remediation.Status{fixed}, Limit: 1}, []string{"2"}},
		{query{Key: "k1", Resource: "b2"}, []string{}},
		{query{Key: "k1", Playbook: "policy"}, []string{}},
		{query{Statuses: []remediation.Status{fixed, open}, Playbook: "acl", Resource: "b1", Key: "k1", Since: at(2), Limit: 9}, []string{"3", "2"}},
	} {
		equal(t, fmt.Sprintf("%+v", tt.q), list(t, s, tt.q), tt.want)
	}
	moving.Status, moving.Finding.Playbook, moving.Finding.Resource.ID, moving.CreatedAt = fixed, "policy", "b2", at(9)
	must(t, s, remediation.Write{Incident: moving})
	equal(t, "open, after a change", list(t, s, query{Statuses: []remediation.Status{open}}), []string{"5"})
	equal(t, "fixed, after a change", list(t, s, query{Statuses: []remediation.Status{fixed}}), []string{"3", "6", "2", "1"})
	equal(t, "playbook, after a change", list(t, s, query{Playbook: "policy"}), []string{"3", "5", "4"})
	equal(t, "resource, after a change", list(t, s, query{Resource: "b2"}), []string{"3", "5"})
	equal(t, "all, after a change", list(t, s, query{}), []string{"3", "6", "5", "4", "2", "1"})
}

// testIncidentsTogether: of what one filter leaves the newest alone would be too
// few for another.
func testIncidentsTogether(t *testing.T, s remediation.Store) {
	for n := range 12 {
		i := newIncident(fmt.Sprintf("%02d", n), "k", remediation.StatusFixed)
		i.Finding.Resource.ID, i.CreatedAt, i.UpdatedAt = fmt.Sprint("b", n/6), at(n), at(20-n)
		must(t, s, remediation.Write{Incident: i})
	}
	type query = remediation.IncidentQuery
	for _, tt := range []struct {
		q    query
		want []string
	}{
		{query{Key: "k", Resource: "b0", Limit: 2}, []string{"05", "04"}},
		{query{Key: "k", Updated: at(18), Limit: 2}, []string{"02", "01"}},
		{query{Resource: "b0", Updated: at(19), Limit: 1}, []string{"01"}},
		{query{Updated: at(18), Limit: 2}, []string{"02", "01"}},
		{query{Updated: at(18), Statuses: []remediation.Status{remediation.StatusFixed}, Limit: 9}, []string{"02", "01", "00"}},
	} {
		equal(t, fmt.Sprintf("%+v", tt.q), list(t, s, tt.q), tt.want)
	}
}

func testIncidentsLimit(t *testing.T, s remediation.Store) {
	for n := range 105 {
		i := newIncident(fmt.Sprintf("%03d", n), fmt.Sprint(n), remediation.StatusFixed)
		i.CreatedAt = at(n)
		must(t, s, remediation.Write{Incident: i})
	}
	for limit, want := range map[int]int{0: 100, -1: 100, 1: 1, 104: 104, 1000: 105} {
		got := list(t, s, remediation.IncidentQuery{Limit: limit})
		equal(t, fmt.Sprint("limit ", limit), len(got), want)
		equal(t, "first", got[0], "104")
	}
}
