package bot

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// Slack's limits of a modal, with some room left in its size.
const (
	maxModalBlocks = 100
	maxBlocks      = 50        // of a message
	maxModalSize   = 240 << 10 // bytes of JSON
)

// runbooks are the pages of docs/runbooks as blocks, in JSON: parsing Markdown is not
// for every start of a function. TestRunbooksAreRendered makes them and compares.
//
//go:embed runbooks/*.json
var runbooks embed.FS

// runbookBlocks is a playbook's page; where r is not nil its commands are about r. ok
// is false where there is no page.
func runbookBlocks(playbook string, r *remediation.Ref) (blocks []slack.Block, ok bool) {
	// A name that leads out of the folder is no valid one to embed.FS.
	raw, err := runbooks.ReadFile("runbooks/" + playbook + ".json")
	if err != nil {
		return nil, false
	}
	page := string(raw)
	if r != nil {
		page = filledIn(page, *r)
	}
	var all slack.Blocks
	if err := json.Unmarshal([]byte(page), &all); err != nil {
		return nil, false
	}
	return all.BlockSet, true
}

// runbookModal shows a playbook's page.
func runbookModal(playbook string, blocks []slack.Block) slack.ModalViewRequest {
	shown := reading("Runbook", blocks)
	for n := min(len(blocks), maxModalBlocks-1); n >= 0 && !fits(shown); n-- {
		rest := fmt.Sprintf("and %s more: `docs/runbooks/%s.md` in secbot's repository has all of it", plural(len(blocks)-n, "part"), escaped(playbook, 60))
		shown = reading("Runbook", append(blocks[:n:n], slack.NewContextBlock("", mrkdwn(rest))))
	}
	return shown
}

// runbookMessage shows the beginning of a playbook's page.
func runbookMessage(playbook string, blocks []slack.Block) Message {
	rest := slack.NewContextBlock("", mrkdwn("All of it: `docs/runbooks/"+escaped(playbook, 60)+".md` in secbot's repository"))
	m := Message{Text: "Runbook of " + escaped(playbook, 60), Blocks: slices.Concat(blocks, []slack.Block{rest})}
	for n := min(len(blocks), maxBlocks-1); n >= 0 && (len(m.Blocks) > maxBlocks || m.size() > safeSize); n-- {
		m.Blocks = slices.Concat(blocks[:n], []slack.Block{rest})
	}
	return m
}

// reading is a modal that asks for nothing.
func reading(title string, blocks []slack.Block) slack.ModalViewRequest {
	return slack.ModalViewRequest{Type: slack.VTModal, CallbackID: strings.ToLower(title), Title: plain(title, 24), Close: plain("Close", 24), Blocks: slack.Blocks{BlockSet: blocks}}
}

// fits reports whether Slack takes a modal of that many blocks and that size.
func fits(view slack.ModalViewRequest) bool {
	raw, err := json.Marshal(view)
	return err == nil && len(raw) <= maxModalSize && len(view.Blocks.BlockSet) <= maxModalBlocks
}

// The resource that the pages' commands are about, wherever a command names one.
const (
	pageGroup   = "sg-0123456789abcdef0"
	pageBucket  = "--bucket NAME"
	pageAccount = "--account-id 111122223333"
)

// commandSafe tells of a name that a shell takes as it is.
func commandSafe(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" && name[0] != '-'
}

// filledIn is a runbook's page, as Markdown or JSON, whose commands are about a
// resource. A name that does not go into a command as it is stays out of it.
func filledIn(page string, r remediation.Ref) string {
	if !commandSafe(r.ID) || !commandSafe(r.Account) {
		return page
	}
	fill := []string{pageAccount, "--account-id " + r.Account}
	switch r.Kind {
	case remediation.KindSecurityGroup:
		fill = append(fill, pageGroup, r.ID)
	case remediation.KindBucket:
		fill = append(fill, pageBucket, "--bucket "+r.ID)
	}
	return strings.NewReplacer(fill...).Replace(page)
}
