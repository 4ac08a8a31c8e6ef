package events

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"secbot/remediation/playbooks"
)

// TestCaptured replays the captured events that stand beside the repository: each
// is decoded or skipped with a reason. testdata/captured.txt has how often what
// came of those of a folder, and nothing of the events themselves; -update writes
// it anew.
func TestCaptured(t *testing.T) {
	const dir, file = "../../shared/events", "testdata/captured.txt"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("there are no captured events beside this clone")
	}
	quoted := regexp.MustCompile(`"[^"]*"`)
	counts := map[string]int{}
	for doc := range Documents(nil, []string{dir}) {
		folder := filepath.Base(filepath.Dir(doc.File))
		switch {
		case filepath.Ext(doc.File) != ".json":
			continue
		case doc.Err != nil:
			t.Errorf("%s: %v", doc.File, doc.Err)
			continue
		}
		checkResults(t, doc.Results)
		raw, err := os.ReadFile(doc.File)
		if err != nil {
			t.Fatal(err)
		}
		checkInvented(t, raw, doc.Results)
		for _, r := range doc.Results {
			var claims []string
			for _, sig := range r.Signals {
				for _, f := range playbooks.Claims(sig) {
					claims = append(claims, f.Playbook)
				}
			}
			line := fmt.Sprintf("%s: %s -> %s", folder, r.Kind, strings.Join(claims, " "))
			if r.Skipped != "" {
				line += " (" + quoted.ReplaceAllString(r.Skipped, `"…"`) + ")"
			}
			counts[strings.TrimSuffix(line, " ")]++
		}
	}
	var text strings.Builder
	for _, line := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "%d %s\n", counts[line], line)
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("(-known +now):\n%s", diff)
	}
}
