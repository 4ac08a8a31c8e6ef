package storetest

import (
	"fmt"
	"testing"

	"secbot/remediation"
)

// testRecords: several records are read as each would be by itself.
func testRecords(t *testing.T, s remediation.Store) {
	for _, r := range []*remediation.Record{{Key: "a", Data: []byte(`{"n":1}`), At: at(1)}, {Key: "b/é", At: at(2)}, {Key: "over", At: at(-9), Until: at(-8)}} {
		must(t, s, remediation.Write{Records: []*remediation.Record{r}})
	}
	got := get(s.Records(t.Context(), "a", "none", "b/é", "a", "over"))(t)
	if len(got) != 3 {
		t.Errorf("%d records, want 3: %v", len(got), got)
	}
	for key, r := range got {
		equal(t, "record "+key, *r, *get(s.Record(t.Context(), key))(t))
	}
	if none := get(s.Records(t.Context()))(t); len(none) != 0 {
		t.Errorf("for no keys it gives %v", none)
	}
	many := make([]string, remediation.MaxRecords+1)
	for i := range many {
		many[i] = fmt.Sprint("key ", i)
	}
	if _, err := s.Records(t.Context(), many...); err == nil {
		t.Errorf("%d keys are no error", len(many))
	}
	get(s.Records(t.Context(), many[1:]...))(t)
}
