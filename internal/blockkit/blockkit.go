// Package blockkit checks Block Kit JSON against Slack's shapes and limits.
//
// Slack refuses a message or view that breaks one of them, and slack-go does
// not look before it sends, so what is rendered is checked here: by golden
// tests, and by the Slack stand-in, which refuses as Slack does. Lengths are
// counted in Unicode code points. The limits are those of docs.slack.dev, the
// members those of @slack/types 3.2; types that secbot has no use for (video,
// table, file and so on) are refused as unknown.
package blockkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of a whole message or view.
const (
	MaxMessageBlocks = 50
	MaxViewBlocks    = 100
	MaxPostText      = 40000      // characters; chat.postMessage cuts what is longer
	MaxUpdateText    = 4000       // characters; chat.update refuses what is longer: msg_too_long
	MaxViewSize      = 250 * 1024 // bytes of a view's JSON
	MaxMetadataSize  = 8 * 1024   // bytes of a message's metadata; Slack names no number, so this is a careful one

	// MaxBlocksSize is how many characters of compact JSON the blocks of a
	// message may have. Slack names no number; its msg_blocks_too_long was
	// seen between 13,172 and 13,297.
	MaxBlocksSize = 13000

	// SafeMessageSize is how many characters of JSON a message should stay
	// below, so that no undocumented limit is met.
	SafeMessageSize = 9000
)

// Fault is one thing that Slack would refuse.
type Fault struct {
	Path string // a JSON pointer (RFC 6901) into what was checked; "" is the whole
	Rule string // what should be so, in a sentence like Slack's own
}

// Error has the form of Slack's response_metadata.messages, without the
// "[ERROR] " before it.
func (f Fault) Error() string { return fmt.Sprintf("%s [json-pointer:%s]", f.Rule, f.Path) }

// Faults lists the faults that err was made of, in their order; nil where
// there are none.
func Faults(err error) []Fault {
	var one Fault
	var many interface{ Unwrap() []error }
	switch {
	case errors.As(err, &many):
		var all []Fault
		for _, e := range many.Unwrap() {
			all = append(all, Faults(e)...)
		}
		return all
	case errors.As(err, &one):
		return []Fault{one}
	}
	return nil
}

// CheckMessage checks the JSON of a message as chat.postMessage takes it: an
// object with text, blocks, attachments or metadata. Other members are
// arguments of the call and not looked at. The error joins every Fault.
func CheckMessage(raw []byte) error { return checkMessage(raw, MaxPostText) }

// CheckUpdate is CheckMessage for chat.update, which takes less text.
func CheckUpdate(raw []byte) error { return checkMessage(raw, MaxUpdateText) }

func checkMessage(raw []byte, maxText int) error {
	c := &checker{surface: surfaceMessage}
	msg, ok := c.parse(raw)
	if !ok {
		return c.err()
	}
	if text, ok := msg["text"]; ok {
		str(0, maxText)(c, "/text", text)
	}
	if blocks, ok := msg["blocks"]; ok {
		c.blocks("/blocks", blocks, MaxMessageBlocks)
		c.blocksSize("/blocks", blocks)
	}
	if a, ok := msg["attachments"]; ok {
		list(0, 100, attachment)(c, "/attachments", a)
	}
	if m, ok := msg["metadata"]; ok {
		metadata(c, "/metadata", m)
	}
	if empty(msg["text"]) && empty(msg["blocks"]) && empty(msg["attachments"]) {
		c.fault("", "needs text, blocks or attachments")
	}
	return c.err()
}

// CheckBlocks checks the JSON array of a message's blocks by itself. Paths
// begin with /blocks.
func CheckBlocks(raw []byte) error {
	c := &checker{surface: surfaceMessage}
	v, err := decode(raw)
	if err != nil {
		c.fault("/blocks", "must be JSON: "+err.Error())
		return c.err()
	}
	c.blocks("/blocks", v, MaxMessageBlocks)
	c.blocksSize("/blocks", v)
	return c.err()
}

// CheckView checks the JSON of a modal or a home tab. The error joins every
// Fault.
func CheckView(raw []byte) error {
	c := &checker{surface: surfaceView}
	view, ok := c.parse(raw)
	if !ok {
		return c.err()
	}
	if len(raw) > MaxViewSize {
		c.fault("", fmt.Sprintf("must be less than %d bytes", MaxViewSize+1))
	}
	sh, ok := viewShape(view["type"])
	if !ok {
		c.fault("/type", "must be modal or home")
		return c.err()
	}
	sh.check(c, "", view)
	return c.err()
}

func viewShape(typ any) (shape, bool) {
	s := shape{
		required: []string{"blocks"},
		members: members{
			"type": anything, "blocks": viewBlocks, "private_metadata": str(0, 3000),
			"callback_id": str(0, 255), "external_id": str(0, 255),
		},
	}
	switch typ {
	case "home":
		return s, true
	case "modal":
		s.required = append(s.required, "title")
		s.members["title"], s.members["submit"], s.members["close"] = plainText(24), plainText(24), plainText(24)
		s.members["clear_on_close"], s.members["notify_on_close"], s.members["submit_disabled"] = boolean, boolean, boolean
		s.also = inputsNeedSubmit
		return s, true
	}
	return shape{}, false
}

func viewBlocks(c *checker, path string, v any) { c.blocks(path, v, MaxViewBlocks) }

// inputsNeedSubmit: nobody could send what is typed into a modal without it.
func inputsNeedSubmit(c *checker, path string, view object) {
	if _, ok := view["submit"]; ok {
		return
	}
	blocks, _ := view["blocks"].([]any)
	for _, b := range blocks {
		if o, _ := b.(object); o != nil && o["type"] == "input" {
			c.fault(path+"/submit", "is required where there is an input block")
			return
		}
	}
}

// attachment looks into the blocks of an attachment; its other members are a
// legacy and left alone.
func attachment(c *checker, path string, v any) {
	o, ok := c.object(path, v)
	if !ok {
		return
	}
	if blocks, ok := o["blocks"]; ok {
		c.blocks(path+"/blocks", blocks, MaxMessageBlocks)
	}
}

func metadata(c *checker, path string, v any) {
	if o, ok := v.(object); ok && len(o) == 0 {
		return // chat.update takes this for "remove it"
	}
	shape{
		required: []string{"event_type", "event_payload"},
		members: members{"event_type": str(1, 255), "event_payload": func(c *checker, path string, v any) {
			c.object(path, v)
		}, "entities": anything},
	}.rule(c, path, v)
	if raw, err := json.Marshal(v); err == nil && len(raw) > MaxMetadataSize {
		c.fault(path, fmt.Sprintf("must be less than %d bytes", MaxMetadataSize+1))
	}
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

// parse decodes one JSON object.
func (c *checker) parse(raw []byte) (object, bool) {
	v, err := decode(raw)
	if err != nil {
		c.fault("", "must be JSON: "+err.Error())
		return nil, false
	}
	return c.object("", v)
}

// decode reads exactly one JSON value and keeps numbers as they are written.
func decode(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more follows after the value")
	}
	return v, nil
}

func (c *checker) blocksSize(path string, v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		c.fault(path, "must be JSON: "+err.Error())
		return
	}
	if utf8.RuneCountInString(strings.TrimSpace(b.String())) > MaxBlocksSize {
		c.fault(path, fmt.Sprintf("must be less than %d characters of JSON together", MaxBlocksSize+1))
	}
}
