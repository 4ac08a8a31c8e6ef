package bot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"secbot/remediation"
)

// Message is what is posted: blocks, and the text that notifications and old
// clients show instead.
type Message struct {
	Text   string        `json:"text"`
	Blocks []slack.Block `json:"blocks"`
}

// safeSize is how many characters of JSON a message stays below.
const safeSize = 9000

// size counts the characters of the message's JSON.
func (m Message) size() int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return safeSize + 1
	}
	return utf8.RuneCount(b.Bytes())
}

// detail is how much of a finding is shown.
type detail struct {
	lines int // of a list
	line  int // characters of a line
	text  int // characters of a paragraph
}

// details are tried in turn until a message is small enough.
func details() []detail {
	return []detail{{10, 200, 900}, {5, 120, 400}, {3, 80, 150}, {1, 60, 80}}
}

// view is all that an incident's message is made of.
type view struct {
	inc   *remediation.Incident
	meta  remediation.Meta
	names Names
	scope remediation.Scope     // how far an ignore reaches
	until *time.Time            // when an ignore, or the allowance of an undo, ends; zero: never; nil: not known
	later *remediation.Incident // which tells the same by now, where nothing is let be any more; nil for none
	link  string                // of its message; empty where that is not known
	bare  bool                  // without buttons
	past  bool                  // tells what happened, whatever has become of it since
}

// renderIncident makes an incident's message as the incident stands now.
func renderIncident(v view) Message {
	var m Message
	for _, d := range details() {
		p := painter{view: v, f: v.inc.Finding, d: d}
		m = p.message()
		if m.size() < safeSize {
			break
		}
	}
	return m
}

// painter renders one incident at one level of detail.
type painter struct {
	view
	f remediation.Finding
	d detail
}

func (p painter) message() Message {
	h := p.head()
	first := h.said + "\n" + p.happened()
	if p.inc.Status == remediation.StatusOpen {
		first = p.happened() + "\n" + h.said
	}
	blocks := []slack.Block{
		slack.NewHeaderBlock(plain(h.title, maxHeader)),
		section(first),
		section(p.trouble()),
		slack.NewSectionBlock(nil, p.fields(), nil),
		section(p.lists()),
		section(p.run()),
	}
	if buttons := slices.Concat(h.buttons, p.more()); !p.bare && len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock(blockID(p.inc), buttons...))
	}
	return Message{Text: p.fallback(h.title), Blocks: append(compact(blocks), p.context())}
}

// fallback is one line for notifications.
func (p painter) fallback(title string) string {
	s := escaped(title, 200)
	if !strings.Contains(title, p.name()) {
		s += ": " + escaped(p.name(), 100)
	}
	where := "account "
	if id := clean(p.f.Resource.ID); id != p.name() {
		where = escaped(id, 80) + " in account "
	}
	account := strings.ReplaceAll(p.names.account(p.f.Resource.Account), "`", "")
	return cut(s+" ("+p.severity()+" severity, "+where+account+", incident "+escaped(p.inc.ID, maxIDLength)+")", maxFallback)
}

// section is a section block; nil where it would be empty.
func section(parts ...string) slack.Block {
	var said []string
	for _, s := range parts {
		if s != "" {
			said = append(said, s)
		}
	}
	if len(said) == 0 {
		return nil
	}
	return slack.NewSectionBlock(mrkdwn(cutLines(strings.Join(said, "\n"))), nil, nil)
}

// compact drops what is nil.
func compact(blocks []slack.Block) []slack.Block {
	var out []slack.Block
	for _, b := range blocks {
		if b != nil {
			out = append(out, b)
		}
	}
	return out
}

// cutLines shortens mrkdwn at the end of a line, else of a word, so that no
// entity or mention is cut in two.
func cutLines(s string) string {
	for utf8.RuneCountInString(s) > maxSection {
		i := strings.LastIndexByte(s, '\n')
		if i < 0 {
			i = strings.LastIndexByte(s, ' ')
		}
		if i < 0 {
			return ellipsis
		}
		s = s[:i]
	}
	return s
}

// blockID marks the buttons of one state of an incident's message.
func blockID(inc *remediation.Incident) string {
	return fmt.Sprintf("inc:%s:s%d", inc.ID, inc.State())
}

// parseBlockID reads what blockID or askBlockID wrote; state is nil where it can't be read.
func parseBlockID(id string) (incident string, state *int) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 || parts[0] != "inc" && parts[0] != "ask" || !strings.HasPrefix(parts[2], "s") {
		return "", nil
	}
	n, err := strconv.Atoi(parts[2][1:])
	if err != nil || n < 0 {
		return "", nil
	}
	return parts[1], &n
}
