// Package docs carries the runbooks within the program, so that Slack can show
// them where they are needed.
package docs

import (
	"embed"
	"path"
	"strings"
)

//go:embed runbooks/*.md
var runbooks embed.FS

// Runbook gives a playbook's page as Markdown, by the playbook's id; ok is false
// where there is none.
func Runbook(playbook string) (markdown string, ok bool) {
	// A name that leads out of the folder is no valid one to embed.FS.
	raw, err := runbooks.ReadFile("runbooks/" + playbook + ".md")
	return string(raw), err == nil
}

// Runbooks lists the ids of the playbooks that have a page, sorted.
func Runbooks() []string {
	files, err := runbooks.ReadDir("runbooks")
	if err != nil {
		return nil // the folder is embedded by the line above
	}
	var ids []string
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(f.Name(), path.Ext(f.Name())))
	}
	return ids
}
