package bot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// evidenceDetails are tried in turn until a modal is small enough.
func evidenceDetails() []detail {
	return []detail{{20, 700, 2500}, {12, 350, 1200}, {6, 160, 500}, {3, 80, 150}}
}

// evidenceModal shows all that secbot knows of an incident.
func evidenceModal(v view) slack.ModalViewRequest {
	var shown slack.ModalViewRequest
	for _, d := range evidenceDetails() {
		e := evidence{painter{view: v, f: v.inc.Finding, d: d}}
		shown = reading("Evidence", e.blocks())
		if fits(shown) {
			break
		}
	}
	return shown
}

// evidence renders what is known of one incident at one level of detail.
type evidence struct{ painter }

func (e evidence) blocks() []slack.Block {
	parts := [][]slack.Block{
		e.incidentFacts(), e.eventFacts(), e.actorFacts(), e.resourceFacts(), e.findings(), e.decisionFacts(), e.people(), e.diff(), e.calls(), e.history(),
	}
	var blocks []slack.Block
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		if len(blocks) > 0 {
			blocks = append(blocks, slack.NewDividerBlock())
		}
		blocks = append(blocks, part...)
	}
	return blocks
}

// fact is one line: what it is, and what is known of it; nothing where that is
// empty.
type fact struct {
	name string
	said phrase
}

// coded is a fact whose value comes from outside.
func (e evidence) coded(name, value string) fact {
	return fact{name, add(nil, cut(clean(value), e.d.line), styled{Code: true})}
}

// told is a fact in words that come from outside.
func (e evidence) told(name, words string) fact {
	return fact{name, add(nil, cut(clean(words), e.d.text), styled{})}
}

// account is a fact that names an account, with what people call it.
func (e evidence) account(id string) fact {
	f := e.coded("Account", id)
	if name := cut(clean(e.names.Accounts[id]), 80); name != "" && len(f.said) > 0 {
		f.said = add(f.said, " "+name, styled{})
	}
	return f
}

// when is a fact that is a time.
func when(name string, t time.Time) fact { return fact{name, phrase{richDate(t)}} }

// facts are a titled group of facts; none where all are empty.
func facts(title string, facts ...fact) []slack.Block {
	var items []slack.RichTextElement
	for _, f := range facts {
		if len(f.said) > 0 {
			items = append(items, listed(joined(add(nil, f.name+": ", styled{}), f.said)))
		}
	}
	return group(title, items)
}

// group is a list under a title; none where there is nothing in it.
func group(title string, items []slack.RichTextElement) []slack.Block {
	if len(items) == 0 {
		return nil
	}
	return []slack.Block{rich(line(add(nil, title, styled{Bold: true})), slack.NewRichTextList(slack.RTEListBullet, 0, items...))}
}

// items are a titled list of texts from outside.
func (e evidence) items(title string, texts []string) []slack.Block {
	var items []slack.RichTextElement
	for _, s := range texts[:min(len(texts), e.d.lines)] {
		items = append(items, listed(add(nil, cut(clean(s), e.d.line), styled{})))
	}
	if more := len(texts) - e.d.lines; more > 0 {
		items = append(items, listed(add(nil, fmt.Sprintf("and %d more", more), styled{})))
	}
	return group(title, items)
}

// incidentFacts says which incident this is and where it stands.
func (e evidence) incidentFacts() []slack.Block {
	inc := e.inc
	blocks := []slack.Block{slack.NewHeaderBlock(plain(e.named(e.meta.Title), maxHeader))}
	known := []fact{
		e.coded("Incident", inc.ID), e.told("Status", string(inc.Status)), e.told("Severity", string(e.f.Severity)), e.coded("Playbook", e.f.Playbook),
		e.coded("Previous incident", inc.Previous), e.told("What went wrong", inc.Error),
	}
	if inc.Repeats > 0 {
		known = append(known, e.told("Seen again", plural(inc.Repeats, "time")))
	}
	return append(blocks, facts("Where it stands", known...)...)
}

func (e evidence) eventFacts() []slack.Block {
	return facts("Event", e.coded("Name", e.f.Event), e.coded("Event id", e.f.EventID), when("When", e.f.At), when("Taken up", e.inc.CreatedAt))
}

func (e evidence) actorFacts() []slack.Block {
	a := e.f.Actor
	said := facts("Who made the change", e.coded("Type", a.Type), e.coded("ARN", a.ARN), e.coded("Issued by", a.IssuerARN), e.account(a.Account),
		e.coded("From address", a.SourceIP), e.coded("With", a.Via), e.coded("User agent", a.UserAgent))
	if said == nil && e.f.Event == "scan" {
		return facts("Who made the change", e.told("Actor", "not known, since it was "+foundByScan))
	}
	if said == nil {
		return facts("Who made the change", e.told("Actor", unknownActor))
	}
	return said
}

func (e evidence) resourceFacts() []slack.Block {
	r := e.f.Resource
	var tags []string
	for _, k := range slices.Sorted(maps.Keys(e.f.Tags)) {
		tags = append(tags, k+" = "+e.f.Tags[k])
	}
	return append(facts("Resource", e.told("Kind", kindText(r.Kind)), e.coded("Name", e.f.Name), e.coded("Id", r.ID), e.account(r.Account), e.coded("Region", r.Region)),
		e.items("Tags", tags)...)
}

// findings are what was judged: the rules, grants and statements in full.
func (e evidence) findings() []slack.Block {
	var open []string
	for _, o := range e.f.Openness {
		open = append(open, string(o))
	}
	blocks := facts("What was found", e.told("Direction", string(e.f.Direction)), e.told("Open", strings.Join(open, ", ")),
		e.told("Not sure", e.f.Doubt), e.told("Can't be taken back", e.f.Irreversible))
	blocks = append(blocks, e.items("Rules", ruleTexts(e.f.Rules))...)
	blocks = append(blocks, e.items("What the rules were before", ruleTexts(e.f.Was))...)
	var grants []string
	for _, g := range e.f.Grants {
		grants = append(grants, filled(g.String(), string(g.Openness)))
	}
	blocks = append(blocks, e.items("ACL grants", grants)...)
	blocks = append(blocks, e.statements()...)
	blocks = append(blocks, e.items("The same call also did (decided apart)", e.f.Rest)...)
	return append(blocks, e.items("Worth knowing", e.f.Notes)...)
}

// ruleTexts tells all of each rule.
func ruleTexts(rules []remediation.Rule) []string {
	var texts []string
	for _, r := range rules {
		var description, tags string
		if r.Description != "" {
			description = "“" + r.Description + "”"
		}
		for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
			tags += " " + k + "=" + r.Tags[k]
		}
		texts = append(texts, filled(string(r.Direction)+" "+r.String(), r.ID, string(r.Openness), string(r.Severity), description, strings.TrimSpace(tags)))
	}
	return texts
}

// filled joins the parts that say something.
func filled(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

// statements show each statement as JSON.
func (e evidence) statements() []slack.Block {
	var blocks []slack.Block
	for _, s := range e.f.Statements[:min(len(e.f.Statements), e.d.lines)] {
		name := "Policy statement"
		if s.Sid != "" {
			name += " " + cut(clean(s.Sid), 120)
		}
		title := filled(name, cut(clean(string(s.Openness)), 40))
		blocks = append(blocks, rich(line(add(nil, title, styled{Bold: true})), preformatted(e.json(s.JSON))))
	}
	if more := len(e.f.Statements) - e.d.lines; more > 0 {
		blocks = append(blocks, rich(line(add(nil, fmt.Sprintf("and %s more", plural(more, "statement")), styled{}))))
	}
	return blocks
}

// json indents a JSON text; what is none stays as it is.
func (e evidence) json(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		b.Reset()
		b.Write(raw)
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = cut(visible(line), e.d.line)
	}
	if text := boundedLines(lines, e.d.text); text != "" {
		return text
	}
	return "–"
}

func (e evidence) decisionFacts() []slack.Block {
	d := e.inc.Decision
	var needed string
	if d.Approvals > 0 {
		needed = strconv.Itoa(d.Approvals)
	}
	return facts("What the policy said", e.coded("Action", string(d.Action)), e.told("Rule", d.Rule), e.why(d),
		fact{"Who may decide", richMentions(d.Approvers, e.d.lines)}, e.told("Approvals needed", needed), e.coded("Channel", d.Channel))
}

// why is what lowered the action; who has paused secbot is mentioned.
func (e evidence) why(d remediation.Decision) fact {
	before, after, named := strings.Cut(d.Why, d.Paused)
	if d.Paused == "" || !named {
		return e.told("Why not more", d.Why)
	}
	f := e.told("Why not more", before)
	f.said = joined(add(f.said, " ", styled{}), phrase{richMention(d.Paused)})
	if after = cut(clean(after), e.d.text); after != "" {
		f.said = add(f.said, " "+after, styled{})
	}
	return f
}

// people is what waits for approvals, and what whoever made the change says.
func (e evidence) people() []slack.Block {
	var blocks []slack.Block
	if r := e.inc.Request; r != nil {
		var by []string
		for _, a := range r.Approved {
			by = append(by, a.By)
		}
		blocks = facts("Waits for approval", e.coded("What", string(r.Verb)), fact{"Asked by", phrase{richMention(r.By)}}, when("When", r.At),
			e.told("Why", r.Reason), fact{"Approved by", richMentions(by, maxNamed)})
	}
	if a := e.inc.Answer; a != nil {
		said := "no, it was somebody else"
		if a.Yes {
			said = "yes"
		}
		blocks = append(blocks, facts("Whether it was them", fact{"Asked", phrase{richMention(a.By)}}, e.told("Answer", said), e.told("Why", a.Reason), when("When", a.At))...)
	}
	return blocks
}

// diff is what secbot meant to change, as a diff.
func (e evidence) diff() []slack.Block {
	if e.inc.Plan == nil {
		return nil
	}
	var lines []string
	for _, d := range e.inc.Plan.Diff {
		lines = append(lines, sign(d.Op)+" "+cut(clean(d.Text), e.d.line))
	}
	diff := boundedLines(lines, e.d.text)
	if diff == "" {
		return nil
	}
	return []slack.Block{rich(line(add(nil, "What the fix changes", styled{Bold: true})), preformatted(diff))}
}

// calls are those that changed something, with AWS's request ids.
func (e evidence) calls() []slack.Block {
	var calls, notes []string
	for _, c := range e.inc.Calls {
		text := filled(c.Action+" on "+c.Resource.ID, string(c.For), c.At.UTC().Format("2006-01-02 15:04:05 UTC"))
		switch {
		case len(c.RequestIDs) > 0:
			text += " · request " + someOf(c.RequestIDs, e.d.lines)
		default:
			text += " · no answer yet"
		}
		if c.Lost > 0 {
			text += " · lost: " + plural(c.Lost, "answer")
		}
		calls = append(calls, text)
	}
	for _, o := range e.inc.Outcomes {
		notes = append(notes, o.Notes...)
	}
	return append(e.items("Calls that secbot made", calls), e.items("What they did", notes)...)
}

// someOf names some of many.
func someOf(ids []string, limit int) string {
	if more := len(ids) - limit; more > 0 {
		return strings.Join(ids[:limit], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(ids, ", ")
}

// history is who did what when, and why; of a long one the newest.
func (e evidence) history() []slack.Block {
	var items []slack.RichTextElement
	all := e.inc.History
	if more := len(all) - e.d.lines; more > 0 {
		items = append(items, listed(add(nil, fmt.Sprintf("and %d more before", more), styled{})))
		all = all[more:]
	}
	for _, t := range all {
		item := joined(phrase{richDate(t.At)}, add(nil, " "+cut(clean(string(t.To)), 20), styled{Bold: true}))
		item = joined(add(item, " by ", styled{}), phrase{richMention(t.By)})
		if reason := reasonWords(t); reason != "" {
			item = add(item, ": "+cut(clean(reason), e.d.line), styled{})
		}
		if len(t.Approved) > 0 {
			item = joined(add(item, " · approved by ", styled{}), richMentions(t.Approved, maxNamed))
		}
		items = append(items, listed(item))
	}
	return group("History", items)
}
