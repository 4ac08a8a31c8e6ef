package bot

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

const (
	// maxNamed is how many people a message names.
	maxNamed = 8
	// maxPlainChanges is how many changes a confirmation names.
	maxPlainChanges = 3
)

// name is what people call the resource.
func (p painter) name() string {
	if p.f.Name != "" {
		return clean(p.f.Name)
	}
	return clean(p.f.Resource.ID)
}

// named adds the resource's name to a label of the playbook.
func (p painter) named(label string) string {
	if label == "" {
		label = p.title()
	}
	if name := clean(p.names.Accounts[p.f.Resource.Account]); name != "" {
		label = cut(clean(label), 60) + " in " + cut(name, 25)
	}
	return cut(clean(label), 80) + ": " + cut(p.name(), 50)
}

func (p painter) title() string {
	if p.meta.Title != "" {
		return p.meta.Title
	}
	return p.f.Playbook
}

func (p painter) severity() string {
	if p.f.Severity == "" {
		return "unknown"
	}
	return escaped(string(p.f.Severity), 20)
}

// resource names the resource with its kind, in mrkdwn.
func (p painter) resource() string {
	return escaped(kindText(p.f.Resource.Kind), 40) + " " + nameAndID(p.f, 80)
}

func kindText(k remediation.Kind) string {
	switch k {
	case remediation.KindBucket:
		return "bucket"
	case remediation.KindSecurityGroup:
		return "security group"
	case remediation.KindAccount:
		return "account"
	}
	return strings.ReplaceAll(string(k), "-", " ")
}

// actor is who made the change, short.
func (p painter) actor() string {
	arn := p.f.Actor.ARN
	if arn == "" && p.f.Event == "scan" {
		return foundByScan
	}
	if arn == "" {
		return unknownActor
	}
	if i := strings.IndexByte(arn, '/'); i >= 0 && i < len(arn)-1 {
		return code(arn[i+1:], 80)
	}
	return code(arn, 80)
}

// happened says in a sentence what was found.
func (p painter) happened() string {
	if p.f.Event == "scan" {
		return "A scan found " + p.resource() + " open."
	}
	s := p.actor() + " " + p.verb() + " " + p.resource()
	if p.f.Actor.Via != "" {
		s += " with " + escaped(p.f.Actor.Via, 40)
	}
	return s + p.opens() + "."
}

// verb is what the actor did to the resource as a whole.
func (p painter) verb() string {
	switch p.f.Event {
	case "CreateSecurityGroup", "CreateBucket":
		return "created"
	case "DeleteSecurityGroup":
		return "deleted"
	}
	return "changed"
}

// opens says how far the change opens the resource.
func (p painter) opens() string {
	can, keeps := "can", "keeps"
	if p.over() {
		can, keeps = "could", "kept"
	}
	switch {
	case p.f.IsOpen(remediation.PublicWrite):
		return ", and everybody " + can + " write to it"
	case p.f.IsOpen(remediation.PublicRead):
		return ", and everybody " + can + " read it"
	case p.f.IsOpen(remediation.OpenWorld) && p.f.Direction == remediation.Egress:
		return ", and traffic to everywhere " + can + " leave"
	case p.f.IsOpen(remediation.OpenWorld):
		return ", and the whole world " + can + " reach it"
	case p.f.IsOpen(remediation.Unblocked) && p.f.Resource.Kind == remediation.KindAccount:
		return ", and nothing " + keeps + " its buckets from becoming public any more"
	case p.f.IsOpen(remediation.Unblocked):
		return ", and nothing " + keeps + " it from becoming public any more"
	}
	return ""
}

// over reports whether what was found is no more.
func (p painter) over() bool {
	if p.past {
		return true
	}
	switch p.inc.Status {
	case remediation.StatusFixed, remediation.StatusUndoing, remediation.StatusResolved:
		return true
	case remediation.StatusUndone:
		return p.until == nil // nothing is let be, since it is gone or is told of elsewhere
	}
	return false
}

// trouble is what people must not overlook: an error, a doubt, what lowered
// the decision.
func (p painter) trouble() string {
	var lines []string
	if a := p.inc.Answer; a != nil && !a.Yes {
		lines = append(lines, "*It was not them:* "+mention(a.By)+" says that this change was not theirs. Somebody else may have their access.")
	} else if a != nil {
		lines = append(lines, mention(a.By)+" says that it was them: "+escaped(a.Reason, p.d.text))
	}
	if p.inc.Error != "" {
		lines = append(lines, "*What went wrong:* "+escaped(p.inc.Error, p.d.text))
	}
	if p.f.Irreversible != "" {
		lines = append(lines, "*secbot can't take it back:* "+escaped(p.f.Irreversible, p.d.text))
	}
	if p.undecided() && p.f.Doubt != "" {
		lines = append(lines, "*secbot isn't sure:* "+escaped(p.f.Doubt, p.d.text))
	}
	if p.undecided() && p.inc.Decision.Why != "" && p.inc.Decision.Why != p.f.Doubt && p.inc.Decision.Why != p.f.Irreversible {
		lines = append(lines, "*Why it was not closed by itself:* "+withPeople(cut(p.inc.Decision.Why, p.d.text), p.paused()))
	}
	if p.undecided() && p.inc.Decision.Paused != "" {
		lines = append(lines, "While secbot is paused, a click that reverts is refused; `/secbot resume` ends that. What shall stay can be ignored meanwhile.")
	}
	return strings.Join(lines, "\n")
}

// paused are the people whom a decision's reason names.
func (p painter) paused() []string {
	if by := p.inc.Decision.Paused; isUser(by) && strings.Contains(p.inc.Decision.Why, by) {
		return []string{by}
	}
	return nil
}

func (p painter) undecided() bool {
	return p.inc.Status == remediation.StatusOpen || p.inc.Status == remediation.StatusFailed
}

// fields are the facts.
func (p painter) fields() []*slack.TextBlockObject {
	r := p.f.Resource
	facts := []*slack.TextBlockObject{
		mrkdwn("*Resource*\n" + p.resource()),
		mrkdwn("*Severity*\n" + upper(p.severity())),
		mrkdwn("*Account*\n" + p.names.account(r.Account)),
		mrkdwn("*Region*\n" + code(r.Region, 30)),
	}
	if p.f.Event == "scan" {
		return append(facts, mrkdwn("*Found*\n"+date(p.f.At)))
	}
	return append(facts, mrkdwn("*Changed by*\n"+p.changedBy()), mrkdwn("*When*\n"+date(p.f.At)))
}

func (p painter) changedBy() string {
	a := p.f.Actor
	by := code(a.String(), 160)
	if a.SourceIP != "" {
		by += " from " + code(a.SourceIP, 60)
	}
	if a.Via != "" {
		by += " (" + escaped(a.Via, 40) + ")"
	}
	return by
}

// lists are the changes, what else the call did, and notes.
func (p painter) lists() string {
	var said []string
	for _, s := range []string{
		p.changes(p.changesTitle()),
		p.list("*The same call also did* (decided apart):", p.f.Rest),
		p.list("*Worth knowing:*", p.notes()),
	} {
		if s != "" {
			said = append(said, s)
		}
	}
	return strings.Join(said, "\n")
}

// notes are the finding's, and what is true of every such change.
func (p painter) notes() []string {
	notes := append([]string(nil), p.f.Notes...)
	if p.inc.Status == remediation.StatusFixed && p.closes() && len(p.f.Rules) > 0 {
		notes = append(notes, "Connections that were already established survive: taking a rule away only stops new ones.")
	}
	if via := p.f.Actor.Via; via == "Terraform" || via == "CloudFormation" {
		switch p.inc.Status {
		case remediation.StatusFixed:
			notes = append(notes, via+" made this change and may put it back at its next run, unless its code is changed too.")
		case remediation.StatusOpen, remediation.StatusFailed:
			notes = append(notes, via+" made this change: it will put it back after a revert, at its next run, unless its code is changed too.")
		}
	}
	return notes
}

// closes reports whether the playbook closes something, as most do, and does
// not put something back.
func (p painter) closes() bool { return p.meta.Labels.Did == "" || len(p.f.Was) > 0 }

func (p painter) changesTitle() string {
	labels := p.meta.Labels
	switch p.inc.Status {
	case remediation.StatusFixed, remediation.StatusUndoing:
		return "*" + escaped(cmp.Or(labels.Taken, "Taken away"), 40) + ":*"
	case remediation.StatusUndone:
		if labels.Taken != "" {
			return "*Undone:*"
		}
		return "*Put back:*"
	case remediation.StatusOpen, remediation.StatusFailed, remediation.StatusFixing:
		return "*" + escaped(cmp.Or(labels.Open, "Open now"), 40) + ":*"
	}
	return "*Found:*"
}

// changes are the finding's own, else the lines of the plan's diff, which bear
// signs in the place of bullets.
func (p painter) changes(title string) string {
	texts := p.changeTexts()
	if len(p.f.Rules)+len(p.f.Grants)+len(p.f.Statements) > 0 || len(texts) == 0 {
		return p.list(title, texts)
	}
	if p.inc.Status == remediation.StatusFixed || p.inc.Status == remediation.StatusUndoing {
		title = "*Changed:*"
	}
	return strings.ReplaceAll(p.list(title, texts), "\n• ", "\n")
}

// changeTexts are the finding's rules, grants and statements, else what the
// plan changes, as plain text.
func (p painter) changeTexts() []string {
	var out []string
	for _, r := range p.f.Rules {
		s := r.String()
		if r.Description != "" {
			s += " – “" + r.Description + "”"
		}
		out = append(out, s)
	}
	for _, g := range p.f.Grants {
		out = append(out, "ACL grant "+g.String())
	}
	for _, s := range p.f.Statements {
		out = append(out, statementText(s))
	}
	if len(out) == 0 && p.inc.Plan != nil {
		for _, d := range p.inc.Plan.Diff {
			if strings.TrimSpace(d.Op) != "" {
				out = append(out, d.Op+" "+d.Text)
			}
		}
	}
	return out
}

func statementText(s remediation.Statement) string {
	if s.Sid != "" {
		return "policy statement " + s.Sid
	}
	return "policy statement without Sid: " + cut(string(s.JSON), 120)
}

// plainChanges names the changes on one line, for a confirmation.
func (p painter) plainChanges() string {
	texts := p.changeTexts()
	if len(texts) == 0 {
		return p.name()
	}
	var out []string
	for _, s := range texts[:min(len(texts), maxPlainChanges)] {
		out = append(out, cut(clean(s), 60))
	}
	if more := len(texts) - maxPlainChanges; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ") + "."
}

// list makes bullets of texts from outside, under a title.
func (p painter) list(title string, texts []string) string {
	return bullets(title, texts, p.d.lines, p.d.line)
}

func bullets(title string, texts []string, lines, line int) string {
	return bulletsBy(title, texts, lines, func(s string) string { return escaped(s, line) })
}

// bulletsBy is bullets with texts that render makes mrkdwn of.
func bulletsBy(title string, texts []string, lines int, render func(string) string) string {
	if len(texts) == 0 {
		return ""
	}
	var out []string
	if title != "" {
		out = append(out, title)
	}
	for _, s := range texts[:min(len(texts), lines)] {
		out = append(out, "• "+render(s))
	}
	if more := len(texts) - lines; more > 0 {
		out = append(out, fmt.Sprintf("• and %d more", more))
	}
	return strings.Join(out, "\n")
}

// context is the last line: who may or did decide, and where this comes from.
func (p painter) context() slack.Block {
	parts := []string{p.decider(), escaped(p.f.Playbook, 60), escaped(p.inc.Decision.Rule, 100), "incident " + code(p.inc.ID, maxIDLength)}
	if p.inc.Previous != "" {
		parts = append(parts, "seen before as "+code(p.inc.Previous, maxIDLength))
	}
	if p.inc.Repeats > 0 {
		parts = append(parts, fmt.Sprintf("seen again %d times", p.inc.Repeats))
	}
	var said []string
	for _, s := range parts {
		if s != "" {
			said = append(said, s)
		}
	}
	return slack.NewContextBlock("", mrkdwn(strings.Join(said, " · ")))
}

func (p painter) decider() string {
	switch {
	case p.inc.Status == remediation.StatusOpen && p.inc.Decision.Action == remediation.ActionNotify:
		return "Nobody is asked"
	case p.undecided() && len(p.inc.Decision.Approvers) == 0:
		return "Nobody may decide yet: name people in `responders` of secbot.yaml or in SECBOT_RESPONDERS"
	case p.undecided() && !p.inc.Until.IsZero():
		return "Only responders can act: " + mentions(p.inc.Decision.Approvers) + " · expires " + date(p.inc.Until)
	case p.undecided():
		return "Only responders can act: " + mentions(p.inc.Decision.Approvers)
	case p.inc.Status == remediation.StatusFixed && p.requested(remediation.StatusFixing) == remediation.ByItself:
		return "Fixed by secbot " + date(p.inc.Last().At)
	}
	return p.decided()
}

// decided says who did what when: the last thing a person did.
func (p painter) decided() string {
	for i := len(p.inc.History) - 1; i >= 0; i-- {
		t := p.inc.History[i]
		if t.By != remediation.ByItself && t.By != "" {
			return upper(decisionText(t)) + " by " + mention(t.By) + " " + date(t.At)
		}
	}
	last := p.inc.Last()
	return upper(escaped(string(last.To), 20)) + " " + date(last.At)
}

func decisionText(t remediation.Transition) string {
	switch {
	case t.To == remediation.StatusFixing && t.From == remediation.StatusFailed:
		return "retry requested"
	case t.To == remediation.StatusFixing:
		return "revert requested"
	case t.To == remediation.StatusUndoing:
		return "undo requested"
	case t.To == remediation.StatusOpen:
		return "opened again"
	}
	return escaped(string(t.To), 20)
}
