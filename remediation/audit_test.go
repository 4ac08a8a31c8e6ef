package remediation

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var auditTime = time.Date(2026, 3, 4, 5, 6, 7, 89, time.FixedZone("", 3600))

// auditLog appends n entries to a new incident.
func auditLog(t testing.TB, n int) (*Incident, []AuditEntry) {
	t.Helper()
	inc := &Incident{ID: "01AUDIT"}
	var entries []AuditEntry
	for i := range n {
		e, err := inc.appendAudit(auditTime.Add(time.Duration(i)*time.Second), "U0ALICE", "fix", "asked <for> & done", map[string]int{"step": i})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return inc, entries
}

func TestAppendAudit(t *testing.T) {
	inc, entries := auditLog(t, 2)
	first, second := entries[0], entries[1]
	if first.Seq != 1 || first.Prev != "" || first.Incident != inc.ID {
		t.Errorf("first entry: %+v", first)
	}
	if second.Seq != 2 || second.Prev != first.Hash {
		t.Errorf("second entry does not follow the first: %+v", second)
	}
	if inc.AuditSeq != 2 || inc.AuditHead != second.Hash {
		t.Errorf("incident counts %d, %q", inc.AuditSeq, inc.AuditHead)
	}
	if first.At.Location() != time.UTC || !first.At.Equal(auditTime) {
		t.Errorf("At is %v, want %v in UTC", first.At, auditTime)
	}
	// The hash of stored logs must not change with the code.
	const want = "fc08caae2c32d26d97bd6fd89e6f7ac51f9667b9e1ebbcc9c144ba8b821d117e"
	if first.Hash != want {
		t.Errorf("hash %s, want %s", first.Hash, want)
	}
}

func TestAppendAuditData(t *testing.T) {
	var none *Step
	tests := []struct {
		name string
		data any
		want string
	}{
		{"nothing", nil, ""},
		{"a nil pointer", none, ""},
		{"raw null", json.RawMessage("null"), ""},
		{"raw with spaces, keys unsorted", json.RawMessage(`{ "b": 1, "a": [ 2 ] }`), `{"a":[2],"b":1}`},
		{"a large number", json.RawMessage(`123456789012345678901234567890`), `123456789012345678901234567890`},
		{"a string", "x", `"x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := new(Incident).appendAudit(auditTime, "secbot", "note", "", tt.data)
			if err != nil {
				t.Fatal(err)
			}
			if string(e.Data) != tt.want {
				t.Errorf("data %s, want %s", e.Data, tt.want)
			}
		})
	}
}

func TestAppendAuditFails(t *testing.T) {
	tests := []struct {
		name string
		at   time.Time
		data any
	}{
		{"data that JSON can't hold", auditTime, math.Inf(1)},
		{"broken raw JSON", auditTime, json.RawMessage(`{`)},
		{"a time that JSON can't hold", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inc := &Incident{ID: "01AUDIT"}
			if _, err := inc.appendAudit(tt.at, "secbot", "note", "", tt.data); err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(&Incident{ID: "01AUDIT"}, inc); diff != "" {
				t.Errorf("incident changed:\n%s", diff)
			}
		})
	}
}

func TestVerifyAudit(t *testing.T) {
	tests := []struct {
		name   string
		tamper func(inc *Incident, e []AuditEntry) []AuditEntry
		seq    int
		what   AuditFault
	}{
		{"time", func(_ *Incident, e []AuditEntry) []AuditEntry { e[1].At = e[1].At.Add(1); return e }, 2, AuditChanged},
		{"author", func(_ *Incident, e []AuditEntry) []AuditEntry { e[0].By = "U0BOB"; return e }, 1, AuditChanged},
		{"what", func(_ *Incident, e []AuditEntry) []AuditEntry { e[0].What = "x"; return e }, 1, AuditChanged},
		{"why", func(_ *Incident, e []AuditEntry) []AuditEntry { e[3].Why = ""; return e }, 4, AuditChanged},
		{"data", func(_ *Incident, e []AuditEntry) []AuditEntry { e[3].Data = nil; return e }, 4, AuditChanged},
		{"previous hash", func(_ *Incident, e []AuditEntry) []AuditEntry { e[3].Prev = ""; return e }, 4, AuditChanged},
		{"hash", func(_ *Incident, e []AuditEntry) []AuditEntry { e[3].Hash = e[2].Hash; return e }, 4, AuditChanged},
		{"another incident's", func(inc *Incident, e []AuditEntry) []AuditEntry { inc.ID = "01OTHER"; return e }, 1, AuditChanged},
		{"rehashed in the middle", func(_ *Incident, e []AuditEntry) []AuditEntry { return rehash(e, 1, 2) }, 3, AuditChanged},
		{"rehashed to the end", func(_ *Incident, e []AuditEntry) []AuditEntry { return rehash(e, 1, 4) }, 4, AuditChanged},
		{"first missing", func(_ *Incident, e []AuditEntry) []AuditEntry { return e[1:] }, 1, AuditMissing},
		{"third missing", func(_ *Incident, e []AuditEntry) []AuditEntry { return slices.Delete(e, 2, 3) }, 3, AuditMissing},
		{"two swapped", func(_ *Incident, e []AuditEntry) []AuditEntry { e[1], e[2] = e[2], e[1]; return e }, 2, AuditReordered},
		{"one twice", func(_ *Incident, e []AuditEntry) []AuditEntry { return slices.Insert(e, 2, e[1]) }, 3, AuditReordered},
		{"last cut off", func(_ *Incident, e []AuditEntry) []AuditEntry { return e[:3] }, 4, AuditCutOff},
		{"all gone", func(_ *Incident, e []AuditEntry) []AuditEntry { return nil }, 1, AuditCutOff},
		{"one added", func(_ *Incident, e []AuditEntry) []AuditEntry {
			inc := &Incident{ID: e[3].Incident, AuditSeq: 4, AuditHead: e[3].Hash}
			more, _ := inc.appendAudit(auditTime, "U0MALLORY", "fix", "", nil)
			return append(e, more)
		}, 5, AuditExtra},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inc, entries := auditLog(t, 4)
			if err := VerifyAudit(inc, entries); err != nil {
				t.Fatalf("before: %v", err)
			}
			err := VerifyAudit(inc, tt.tamper(inc, entries))
			var got *AuditError
			if !errors.As(err, &got) {
				t.Fatalf("error %v, want an AuditError", err)
			}
			if want := (AuditError{inc.ID, tt.seq, tt.what}); *got != want {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

// rehash changes the entry at index from and makes the chain fit again up to,
// but not including, index to.
func rehash(e []AuditEntry, from, to int) []AuditEntry {
	e[from].By = "U0MALLORY"
	for i := from; i < to; i++ {
		if i > from {
			e[i].Prev = e[i-1].Hash
		}
		e[i].Hash, _ = e[i].hash()
	}
	return e
}

// TestAuditSurvivesJSON says that whatever is logged still verifies after a
// store has kept it as JSON.
func TestAuditSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inc := &Incident{ID: "01AUDIT"}
		var entries []AuditEntry
		for range rapid.IntRange(0, 5).Draw(t, "entries") {
			text := func(name string) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, name)) }
			at := time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))
			data := map[string]any{text("key"): text("value"), "n": rapid.Float64().Draw(t, "n")}
			e, err := inc.appendAudit(at, text("by"), text("what"), text("why"), data)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		raw, err := json.MarshalIndent(entries, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		var back []AuditEntry
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if err := VerifyAudit(inc, back); err != nil {
			t.Fatal(err)
		}
		if len(back) == 0 {
			return
		}
		n := rapid.IntRange(0, len(back)-1).Draw(t, "tampered")
		back[n].Why += "!"
		if err := VerifyAudit(inc, back); err == nil {
			t.Fatal("a changed entry went unseen")
		}
	})
}
