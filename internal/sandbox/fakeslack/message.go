package fakeslack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"secbot/internal/blockkit"
)

// Message is what stands in a channel, or what one person was shown there.
type Message struct {
	Channel  string // id
	TS       string // its id, unique and increasing: seconds.microseconds
	ThreadTS string // the parent's TS in a reply; "" otherwise
	User     string // the author: BotUser or a person
	To       string // who alone sees it: an ephemeral; "" otherwise

	Version            // as it is now
	Versions []Version // as it was before each edit, the oldest first; of very many the newest

	ReplyCount int
	Files      []string // ids
}

// Version is what a message says.
type Version struct {
	Text        string
	Blocks      json.RawMessage // an array, with the ids that Slack gives where the bot gave none; nil without
	Attachments json.RawMessage // an array; nil without
	Metadata    json.RawMessage // {"event_type", "event_payload"}; nil without
	Edited      time.Time       // when it came to say this; zero for what was posted
}

// Ephemeral says whether only one person sees it.
func (m Message) Ephemeral() bool { return m.To != "" }

// At gives the message as it was at first (0) or after n edits. It stays as it
// is now where there were fewer.
func (m Message) At(n int) Message {
	if n >= 0 && n < len(m.Versions) {
		m.Version = m.Versions[n]
		m.Versions = m.Versions[:n:n]
	}
	return m
}

// Buttons lists what can be clicked in the message, in order.
func (m Message) Buttons() []Button { return buttons(m.Blocks) }

func (m *Message) clone() Message {
	c := *m
	c.Versions, c.Files = slices.Clone(m.Versions), slices.Clone(m.Files)
	return c
}

// edit makes the message say something else.
func (m *Message) edit(v Version) {
	m.Versions = bounded(append(m.Versions, m.Version), maxVersions)
	m.Version = v
}

// json gives the message as Slack shows it to bots.
func (m *Message) json(metadata bool) object {
	o := object{"type": "message", "user": m.User, "text": m.Text, "ts": m.TS, "team": TeamID}
	if m.User == BotUser {
		o["bot_id"], o["app_id"] = BotID, AppID
	}
	if m.Blocks != nil {
		o["blocks"] = m.Blocks
	}
	if m.Attachments != nil {
		o["attachments"] = m.Attachments
	}
	if metadata && m.Metadata != nil {
		o["metadata"] = m.Metadata
	}
	if !m.Edited.IsZero() {
		o["edited"] = object{"user": m.User, "ts": stamp(m.Edited.UnixMicro())}
	}
	if m.ThreadTS != "" {
		o["thread_ts"], o["parent_user_id"] = m.ThreadTS, BotUser
	}
	if m.ReplyCount > 0 {
		o["thread_ts"], o["reply_count"] = m.TS, m.ReplyCount
	}
	if len(m.Files) > 0 {
		files := []any{}
		for _, id := range m.Files {
			files = append(files, object{"id": id})
		}
		o["files"] = files
	}
	return o
}

// stamp writes microseconds as a ts.
func stamp(micros int64) string { return fmt.Sprintf("%d.%06d", micros/1e6, micros%1e6) }

// unstamp reads a ts; 0 for what is none.
func unstamp(ts string) int64 {
	seconds, fraction, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return 0
	}
	f, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return 0
	}
	return s*1e6 + f
}

// nextTS is unique and later than every one before it.
func (s *Slack) nextTS() string {
	now := s.o.Now().UnixMicro()
	if now <= s.lastStamp {
		now = s.lastStamp + 100
	}
	s.lastStamp = now
	return stamp(now)
}

// shortID is an id that need not be unguessable.
func (s *Slack) shortID() string {
	s.serial++
	return strings.ToUpper(strconv.FormatInt(int64(1e6+s.serial), 36))
}

// content is what a call says; given tells which of it was in the call.
type content struct {
	Version
	given struct{ text, blocks, attachments, metadata bool }
}

// read takes text, blocks, attachments and metadata from a call and refuses
// what Slack refuses; it cuts the text where Slack cuts.
func (s *Slack) read(a args) (content, error) {
	var c content
	c.Text, c.given.text = cut(a["text"], blockkit.MaxPostText), a["text"] != ""
	var err error
	if c.Blocks, c.given.blocks, err = readList(a["blocks"], "invalid_blocks_format"); err != nil {
		return c, err
	}
	if c.Attachments, c.given.attachments, err = readList(a["attachments"], "invalid_attachments_format"); err != nil {
		return c, err
	}
	if c.Metadata, c.given.metadata, err = readMetadata(a["metadata"]); err != nil {
		return c, err
	}
	if !c.given.text && c.Blocks == nil && c.Attachments == nil {
		return c, refuse("no_text")
	}
	if err := c.check(); err != nil {
		return c, err
	}
	if c.Blocks != nil {
		c.Blocks, err = s.nameBlocks(c.Blocks)
	}
	return c, err
}

// cut takes the first characters of a text.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// readList reads a JSON array; nil where it is empty or absent.
func readList(text, code string) (list json.RawMessage, given bool, err error) {
	if text == "" || text == "null" {
		return nil, false, nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return nil, true, refuse(code)
	}
	if len(items) == 0 {
		return nil, true, nil
	}
	return json.RawMessage(text), true, nil
}

// readMetadata reads a message's metadata; slack-go sends response URLs an
// empty one where there is none.
func readMetadata(text string) (metadata json.RawMessage, given bool, err error) {
	if text == "" || text == "null" {
		return nil, false, nil
	}
	var m struct {
		EventType string `json:"event_type"`
		Payload   any    `json:"event_payload"`
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, true, refuse("invalid_metadata_format")
	}
	if m.EventType == "" && m.Payload == nil {
		return nil, true, nil
	}
	return json.RawMessage(text), true, nil
}

// check holds the content against Block Kit.
func (c *content) check() error {
	if utf8.RuneCount(c.Blocks) > blockkit.MaxBlocksSize {
		return refuse("msg_blocks_too_long")
	}
	if len(c.Metadata) > blockkit.MaxMetadataSize {
		return refuse("metadata_too_large")
	}
	msg := object{"text": " "}
	for name, raw := range map[string]json.RawMessage{"blocks": c.Blocks, "attachments": c.Attachments, "metadata": c.Metadata} {
		if raw != nil {
			msg[name] = raw
		}
	}
	raw, err := json.Marshal(msg)
	if err != nil {
		return refuse("invalid_blocks_format")
	}
	faults := blockkit.Faults(blockkit.CheckMessage(raw))
	if len(faults) == 0 {
		return nil
	}
	return refuse(codeOf(faults[0].Path), complaints("", faults)...)
}

func codeOf(path string) string {
	switch {
	case strings.HasPrefix(path, "/attachments"):
		return "invalid_attachments"
	case strings.HasPrefix(path, "/metadata"):
		return "invalid_metadata_format"
	}
	return "invalid_blocks"
}

// complaints are faults as response_metadata.messages has them.
func complaints(under string, faults []blockkit.Fault) []string {
	var messages []string
	for _, f := range faults {
		f.Path = under + f.Path
		messages = append(messages, "[ERROR] "+f.Error())
	}
	return messages
}

// nameBlocks gives blocks and elements the ids that they lack.
func (s *Slack) nameBlocks(raw json.RawMessage) (json.RawMessage, error) {
	blocks, err := decodeBlocks(raw)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if text(b["block_id"]) == "" {
			b["block_id"] = "b" + s.shortID()
		}
		for _, e := range elements(b) {
			if interactive(e) && text(e["action_id"]) == "" {
				e["action_id"] = "a" + s.shortID()
			}
		}
	}
	return encode(blocks)
}

// interactive says whether an element does something: texts and images don't.
func interactive(e object) bool {
	switch e["type"] {
	case "plain_text", "mrkdwn", "image":
		return false
	}
	return true
}

// decodeBlocks reads an array of objects and keeps numbers as written.
func decodeBlocks(raw json.RawMessage) ([]object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var blocks []object
	err := dec.Decode(&blocks)
	return blocks, err
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// elements gives what stands in an actions, context, section or input block.
func elements(block object) []object {
	var found []object
	switch block["type"] {
	case "actions", "context":
		list, _ := block["elements"].([]any)
		for _, e := range list {
			if o, ok := e.(object); ok {
				found = append(found, o)
			}
		}
	case "section":
		if o, ok := block["accessory"].(object); ok {
			found = append(found, o)
		}
	case "input":
		if o, ok := block["element"].(object); ok {
			found = append(found, o)
		}
	}
	return found
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
