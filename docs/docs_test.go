package docs_test

import (
	"strings"
	"testing"

	"secbot/docs"
)

func TestRunbook(t *testing.T) {
	for _, id := range docs.Runbooks() {
		if page, ok := docs.Runbook(id); !ok || !strings.HasPrefix(page, "# "+id+": ") {
			t.Errorf("%s: %v %.40q", id, ok, page)
		}
	}
	for _, id := range []string{"", "no-such-playbook", "../configuration", "sg-created.md", "./sg-created", "\x00"} {
		if page, ok := docs.Runbook(id); ok || page != "" {
			t.Errorf("%q has a page: %.40q", id, page)
		}
	}
}
