package bot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/internal/chart"
	"secbot/remediation"
)

// How many of a kind a home shows: two blocks each, and 100 are the most.
const (
	homeWaiting  = 12
	homeUnderway = 4
	homeFixes    = 8
	homeLeft     = 8
	// homeText bounds what an item says, so that a home stays below Slack's 250 KB
	// whatever is in it.
	homeText = 700
)

// Standing is what secbot as a whole may do now.
type Standing struct {
	Paused bool      // nothing is fixed while it is
	By     string    // who has paused it: a Slack user id, or "shell:NAME"
	At     time.Time // since when
	Reason string    // why; may be empty
	Mode   string    // observe, ask or auto; empty: not told
}

// home is all that a home tab is made of.
type home struct {
	standing Standing
	waiting  homeList // the worst first
	underway homeList // being fixed or put back
	fixes    homeList // the newest first
	left     homeList // ignored or allowed, what ends first first
	stats    *remediation.Stats
	names    Names
	now      time.Time
}

// homeList is a part of a home.
type homeList struct {
	items []homeItem
	more  int    // how many there are besides
	plus  string // "+" where there are more than that
}

// homeItem is an incident, or a suppression of one.
type homeItem struct {
	inc  *remediation.Incident    // nil where it is not known any more
	left *remediation.Suppression // nil where the item is none
	link string                   // of the incident's message; empty for none
}

// renderHome makes a home tab. Each incident's buttons are those of its message,
// with the same block id, so that a click here is known as one there.
func renderHome(h home) slack.HomeTabViewRequest {
	blocks := []slack.Block{section(standingText(h.standing))}
	blocks = append(blocks, h.list("Waits for a decision", "Nothing waits for a decision.", "`/secbot incidents open failed`", h.waiting, waitingText)...)
	if len(h.underway.items) > 0 {
		blocks = append(blocks, h.list("Under way", "", "`/secbot incidents fixing undoing`", h.underway, underwayText)...)
	}
	blocks = append(blocks, h.list("Fixed lately", "Nothing was fixed yet.", "`/secbot incidents fixed`", h.fixes, fixedText)...)
	blocks = append(blocks, h.list("Ignored or allowed", "Nothing is ignored or allowed.", "`/secbot incidents ignored allowed undone`", h.left, leftText)...)
	blocks = append(blocks, h.chart()...)
	blocks = append(blocks, slack.NewContextBlock("", mrkdwn("As of "+date(h.now)+" · `/secbot help` lists what can be typed")))
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, CallbackID: homeCallback, Blocks: slack.Blocks{BlockSet: compact(blocks)}}
}

// homeCallback is the view's callback id.
const homeCallback = "home"

// renderNoHome is the home where the store can't be read.
func renderNoHome(now time.Time) slack.HomeTabViewRequest {
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, CallbackID: homeCallback, Blocks: slack.Blocks{BlockSet: compact([]slack.Block{
		section("*secbot could not read its store,* so there is nothing to show. Open this tab again in a while."),
		slack.NewContextBlock("", mrkdwn("As of "+date(now))),
	})}}
}

// standingText says what secbot may do; empty where nobody knows.
func standingText(s Standing) string {
	var lines []string
	if s.Paused {
		line := "*secbot is paused* and fixes nothing"
		if s.By != "" {
			line += ": by " + mention(s.By)
		}
		if !s.At.IsZero() {
			line += ", since " + date(s.At)
		}
		if s.Reason != "" {
			line += ". Reason: " + escaped(s.Reason, maxReason)
		}
		lines = append(lines, line+".")
	}
	switch remediation.Mode(s.Mode) {
	case "":
	case remediation.ModeAuto:
		lines = append(lines, "Mode *auto*: secbot fixes by itself what the policy says.")
	case remediation.ModeAsk:
		lines = append(lines, "Mode *ask*: secbot fixes nothing without being told to.")
	case remediation.ModeObserve:
		lines = append(lines, "Mode *observe*: secbot only tells, and fixes nothing.")
	default:
		lines = append(lines, "Mode "+code(s.Mode, 40)+".")
	}
	return strings.Join(lines, "\n")
}

// list is a part with its items. rest says where to read about those that don't
// fit.
func (h home) list(title, none, rest string, l homeList, text func(painter, homeItem) string) []slack.Block {
	if n := len(l.items) + l.more; n > 0 {
		title += fmt.Sprintf(" (%d%s)", n, l.plus)
	}
	blocks := []slack.Block{slack.NewHeaderBlock(plain(title, maxHeader))}
	if len(l.items) == 0 {
		return append(blocks, section(none))
	}
	for _, item := range l.items {
		blocks = append(blocks, h.item(item, text)...)
	}
	if l.more > 0 {
		blocks = append(blocks, slack.NewContextBlock("", mrkdwn(fmt.Sprintf("and %d%s more: %s", l.more, l.plus, rest))))
	}
	return blocks
}

func (h home) item(item homeItem, text func(painter, homeItem) string) []slack.Block {
	if item.inc == nil {
		return []slack.Block{section(suppressedText(*item.left, h.names), untilLine(*item.left))}
	}
	inc := item.inc
	v := view{inc: inc, meta: h.names.meta(inc.Finding.Playbook), names: h.names}
	if item.left != nil {
		v.until, v.scope = &item.left.Until, item.left.Scope
	}
	p := painter{view: v, f: inc.Finding, d: details()[2]}
	first := strings.TrimPrefix(findingLine(inc.Finding, h.names), "• ")
	last := "incident " + code(short(inc.ID), shortID)
	if item.link != "" {
		last = "<" + slackEscaped(item.link) + "|Go to the message> · " + last
	}
	blocks := []slack.Block{section(first, text(p, item), last)}
	if buttons := slices.Concat(h.possible(p.head().buttons), p.more()); len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock(blockID(inc), buttons...))
	}
	return blocks
}

// possible leaves out the buttons that are refused while secbot is paused. A home is
// made anew whenever it is opened; messages stay as they are, and say it.
func (h home) possible(buttons []slack.BlockElement) []slack.BlockElement {
	if !h.standing.Paused {
		return buttons
	}
	return slices.DeleteFunc(slices.Clone(buttons), func(b slack.BlockElement) bool {
		button, ok := b.(*slack.ButtonBlockElement)
		return ok && (button.ActionID == string(remediation.VerbFix) || button.ActionID == string(remediation.VerbRetry))
	})
}

func waitingText(p painter, _ homeItem) string {
	said := "Waits since " + date(p.inc.Last().At)
	switch {
	case p.inc.Request != nil:
		said = "*Approval needed:* " + mention(p.inc.Request.By) + " asks to " + escaped(p.inc.Request.Words(), 200)
	case p.inc.Status == remediation.StatusFailed:
		said = "*It did not work* " + date(p.inc.Last().At) + ": " + escaped(p.inc.Error, homeText/2)
	}
	if !p.inc.Until.IsZero() {
		said += " · expires " + date(p.inc.Until)
	}
	return said + " · " + p.actor()
}

func underwayText(p painter, _ homeItem) string {
	if p.inc.Status == remediation.StatusUndoing {
		return "*Putting it back…* requested by " + p.by()
	}
	return p.fixing().said
}

func fixedText(p painter, _ homeItem) string {
	said := upper(escaped(cmp.Or(p.meta.Labels.Did, "Closed"), 40)) + " by secbot itself"
	if t := p.lastTo(remediation.StatusFixing); t.By != remediation.ByItself && t.By != "" {
		said = "Reverted at the request of " + mention(t.By)
	}
	said += " " + date(p.inc.Last().At)
	if took, ok := p.inc.MitigatedIn(); ok {
		said += ", " + chart.Span(took) + " after the change"
	}
	return said + " · " + p.actor()
}

func leftText(p painter, item homeItem) string {
	said := "Ignored"
	switch p.inc.Status {
	case remediation.StatusAllowed:
		said = "Allowed"
	case remediation.StatusUndone:
		said = "Let be after an undo"
	}
	return said + " by " + mention(item.left.By) + " " + untilLine(*item.left) + scopeText(item.left.Scope) + reasonText(item.left.Reason)
}

func reasonText(reason string) string {
	if reason == "" {
		return ""
	}
	return ". Reason: " + escaped(reason, homeText/2)
}

// suppressedText tells of a suppression whose incident is not known any more.
func suppressedText(s remediation.Suppression, names Names) string {
	what := escaped(names.title(s.Playbook), 60)
	if s.Resource != nil {
		what += " · " + code(s.Resource.ID, 80) + " in " + names.short(s.Resource.Account)
	}
	return what + " · ignored by " + mention(s.By) + reasonText(s.Reason)
}

func untilLine(s remediation.Suppression) string {
	if s.Until.IsZero() {
		return "for good"
	}
	return "until " + date(s.Until)
}

// chart draws the statistics with characters: an image would need an address that
// everybody can reach.
func (h home) chart() []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plain(fmt.Sprintf("The last %d days", remediation.StatsDays), maxHeader))}
	if h.stats == nil {
		return append(blocks, section("The numbers could not be read. Open this tab again in a while."))
	}
	if h.stats.Found == 0 {
		return append(blocks, section("There was no finding."))
	}
	button := slack.NewButtonBlockElement(string(remediation.VerbStats), "chart", plain("Send Me the Chart", 75))
	return append(blocks, section(append([]string{"*" + statsTitle(*h.stats) + "*"}, statsLines(*h.stats, h.names)...)...),
		rich(preformatted(barsText(*h.stats))), slack.NewActionBlock("home:chart", button))
}

// barWidth is how many characters the longest bar has.
const barWidth = 20

// barsText is the chart: a mark for each day, and a bar for each week.
func barsText(s remediation.Stats) string {
	most, found := 0, []int{}
	for _, d := range s.Days {
		most, found = max(most, d.All()), append(found, d.All())
	}
	lines := []string{
		fmt.Sprintf("Findings a day, %d at most", most),
		marks(found, most),
		fmt.Sprintf("%-*s%s", max(0, len(found)-6), dayText(s.From), dayText(s.To)),
		"",
		fmt.Sprintf("%-16s %-*s %s", "Week", barWidth+5, "findings", "median time to the fix"),
	}
	longest := 0
	for _, w := range s.Weeks {
		longest = max(longest, w.All())
	}
	for i, w := range s.Weeks {
		end := s.To
		if i+1 < len(s.Weeks) {
			end = s.Weeks[i+1].Day.AddDate(0, 0, -1)
		}
		took := "–"
		if w.Mitigated.Count > 0 {
			took = chart.Span(w.Mitigated.Median)
		}
		bar := fmt.Sprintf("%s %d", strings.Repeat("█", barLength(w.All(), longest)), w.All())
		lines = append(lines, fmt.Sprintf("%-16s %-*s %s", dayText(w.Day)+" – "+dayText(end), barWidth+5, strings.TrimSpace(bar), took))
	}
	return strings.Join(lines, "\n")
}

func dayText(t time.Time) string { return t.UTC().Format("2 Jan") }

// barLength is how long the bar of n is where the longest is of most: none only
// where n is 0.
func barLength(n, most int) int {
	if n == 0 || most == 0 {
		return 0
	}
	return max(1, n*barWidth/most)
}

// marks draws a character for each number, the higher the more. A dot is none.
func marks(numbers []int, most int) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range numbers {
		if n == 0 || most == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(steps[(n*len(steps)-1)/most])
	}
	return b.String()
}
