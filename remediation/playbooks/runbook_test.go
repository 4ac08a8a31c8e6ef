package playbooks_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestRunbooks: each playbook has one, with the sections that people look for
// and each permission, and there is none of a playbook that is gone.
func TestRunbooks(t *testing.T) {
	ids := []string{remediation.OwnRolePlaybook}
	for _, m := range playbooks.Metas() {
		ids = append(ids, m.ID)
		raw, err := os.ReadFile("../../docs/runbooks/" + m.ID + ".md")
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(raw)
		if !strings.HasPrefix(text, "# "+m.ID+": ") {
			t.Errorf("%s: the title is another's", m.ID)
		}
		for _, section := range []string{"What it means", "Check by hand", "What secbot does", "Undo by hand", "Permissions"} {
			if !strings.Contains(text, "\n## "+section+"\n") {
				t.Errorf("%s: there is no section %q", m.ID, section)
			}
		}
		_, permissions, _ := strings.Cut(text, "\n## Permissions\n")
		for _, p := range m.Permissions {
			if !strings.Contains(permissions, "`"+p+"`") {
				t.Errorf("%s: the runbook lacks the permission %s", m.ID, p)
			}
		}
	}
	files, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if id := strings.TrimSuffix(filepath.Base(f), ".md"); !slices.Contains(ids, id) {
			t.Errorf("%s is of no playbook", f)
		}
	}
}
