package playbooks_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"secbot/docs"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

var (
	section = regexp.MustCompile(`(?m)^## (.+)$`)
	action  = regexp.MustCompile("`([a-z0-9-]+:[A-Z][A-Za-z]+)`")
)

// TestRunbooks: each playbook has one, with the sections that people look for, in
// the same order, and with exactly the permissions that it declares; there is
// none of a playbook that is gone.
func TestRunbooks(t *testing.T) {
	metas := append(playbooks.Metas(), remediation.OwnRoleMeta())
	var ids []string
	for _, m := range metas {
		ids = append(ids, m.ID)
		t.Run(m.ID, func(t *testing.T) {
			page, ok := docs.Runbook(m.ID)
			if !ok {
				t.Fatal("there is none")
			}
			checkRunbook(t, page, m)
		})
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, docs.Runbooks()); diff != "" {
		t.Errorf("playbooks and runbooks (-playbooks +runbooks):\n%s", diff)
	}
}

func checkRunbook(t *testing.T, page string, m remediation.Meta) {
	t.Helper()
	if !strings.HasPrefix(page, "# "+m.ID+": ") {
		t.Error("the title is another's")
	}
	var sections []string
	for _, s := range section.FindAllStringSubmatch(page, -1) {
		sections = append(sections, s[1])
	}
	want := []string{"What it means", "Check by hand", "What secbot does", "Undo by hand", "Permissions"}
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	_, permissions, _ := strings.Cut(page, "\n## Permissions\n")
	var named []string
	for _, a := range action.FindAllStringSubmatch(permissions, -1) {
		named = append(named, a[1])
	}
	slices.Sort(named)
	declared := slices.Sorted(slices.Values(m.Permissions))
	if diff := cmp.Diff(slices.Compact(declared), named); diff != "" {
		t.Errorf("permissions (-declared +named):\n%s", diff)
	}
	if len(named) > 0 && !strings.Contains(permissions, "`secbot iam-policy` prints the whole policy.") {
		t.Error("it does not say where the whole policy comes from")
	}
}
