package fakeslack

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Button is something to click: a button, or one option of an overflow menu, a
// select or radio buttons.
type Button struct {
	BlockID, ActionID string
	Type              string // the element's: button, overflow, static_select, radio_buttons
	Text              string // what stands on it
	Value             string // the button's or the option's
	URL               string // opened by the click
	Style             string // primary, danger or ""
	Confirm           *Confirm

	label  object // the text object of a button
	option object // the option chosen
}

// NoButtonError says that there is nothing of that name to click.
type NoButtonError struct {
	Wanted string
	Have   []string // the action ids, with =VALUE for options
}

// Error lists what could be clicked instead.
func (e *NoButtonError) Error() string {
	have := "nothing can be clicked there"
	if len(e.Have) > 0 {
		have = "there are " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("no button %q: %s", e.Wanted, have)
}

// buttons lists what can be clicked in blocks.
func buttons(raw json.RawMessage) []Button {
	blocks, err := decodeBlocks(raw)
	if err != nil { // without blocks there is nothing to click
		return nil
	}
	var found []Button
	for _, b := range blocks {
		if b["type"] == "input" {
			continue
		}
		for _, e := range elements(b) {
			found = append(found, buttonsOf(b, e)...)
		}
	}
	return found
}

func buttonsOf(block, e object) []Button {
	b := Button{
		BlockID: text(block["block_id"]), ActionID: text(e["action_id"]), Type: text(e["type"]),
		Style: text(e["style"]), Confirm: confirmOf(e["confirm"]),
	}
	switch b.Type {
	case "button":
		b.label, _ = e["text"].(object)
		b.Text, b.Value, b.URL = text(b.label["text"]), text(e["value"]), text(e["url"])
		return []Button{b}
	case "overflow", "static_select", "radio_buttons":
		var found []Button
		for _, o := range options(e) {
			b.option, b.Text, b.Value, b.URL = o, textOf(o["text"]), text(o["value"]), text(o["url"])
			found = append(found, b)
		}
		return found
	}
	return nil
}

func confirmOf(v any) *Confirm {
	o, ok := v.(object)
	if !ok {
		return nil
	}
	return &Confirm{
		Title: textOf(o["title"]), Text: textOf(o["text"]), Confirm: textOf(o["confirm"]), Deny: textOf(o["deny"]),
		Style: text(o["style"]),
	}
}

// textOf gives what a text object says.
func textOf(v any) string {
	o, _ := v.(object)
	return text(o["text"])
}

// options lists an element's options, those in groups too.
func options(e object) []object {
	lists := []any{e["options"]}
	groups, _ := e["option_groups"].([]any)
	for _, g := range groups {
		if group, ok := g.(object); ok {
			lists = append(lists, group["options"])
		}
	}
	var found []object
	for _, l := range lists {
		list, _ := l.([]any)
		for _, o := range list {
			if option, ok := o.(object); ok {
				found = append(found, option)
			}
		}
	}
	return found
}

// findButton finds a button by its action id, or an option by its value or by
// "ACTION_ID=VALUE"; the first of several.
func findButton(all []Button, wanted string) (Button, error) {
	missing := &NoButtonError{Wanted: wanted}
	for _, b := range all {
		if b.name() == wanted {
			return b, nil
		}
		missing.Have = append(missing.Have, b.name())
	}
	for _, b := range all {
		if b.option != nil && b.Value == wanted {
			return b, nil
		}
	}
	return Button{}, missing
}

func (b Button) name() string {
	if b.option != nil {
		return b.ActionID + "=" + b.Value
	}
	return b.ActionID
}

// action is the button in the actions of a payload.
func (b Button) action(ts string) object {
	o := object{"type": b.Type, "action_id": b.ActionID, "block_id": b.BlockID, "action_ts": ts}
	if b.option != nil {
		o["selected_option"] = b.option
		return o
	}
	o["text"] = b.label
	if b.Value != "" {
		o["value"] = b.Value
	}
	if b.Style != "" {
		o["style"] = b.Style
	}
	return o
}
