package blockkit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// a is a text of n characters of two bytes each, so that bytes and characters
// cannot be confused.
func a(n int) string { return strings.Repeat("é", n) }

func plain(s string) object  { return object{"type": "plain_text", "text": s} }
func mrkdwn(s string) object { return object{"type": "mrkdwn", "text": s} }

// many repeats an item n times; each may set itself apart by its number.
func many(n int, item func(i int) any) []any {
	list := []any{}
	for i := range n {
		list = append(list, item(i))
	}
	return list
}

func button(with object) object {
	b := object{"type": "button", "text": plain("Undo Fix")}
	for k, v := range with {
		b[k] = v
	}
	return b
}

func actions(elements ...any) object { return object{"type": "actions", "elements": elements} }

func accessoryOf(e object) object {
	return object{"type": "section", "text": mrkdwn("x"), "accessory": e}
}

func inputOf(e object) object {
	return object{"type": "input", "label": plain("Reason"), "element": e}
}

func opt(value string) object { return object{"text": plain("One hour"), "value": value} }

func opts(n int) []any { return many(n, func(i int) any { return opt(fmt.Sprint("v", i)) }) }

func confirmWith(with object) object {
	c := object{"title": plain("Sure?"), "text": mrkdwn("It opens again"), "confirm": plain("Yes"), "deny": plain("No")}
	for k, v := range with {
		c[k] = v
	}
	return button(object{"confirm": c})
}

func selectWith(with object) object {
	s := object{"type": "static_select", "options": opts(2)}
	for k, v := range with {
		s[k] = v
	}
	return s
}

func message(blocks ...any) object { return object{"text": "hello", "blocks": blocks} }

func modal(with object, blocks ...any) object {
	v := object{"type": "modal", "title": plain("Ignore"), "submit": plain("Ignore"), "blocks": append([]any{}, blocks...)}
	for k, x := range with {
		v[k] = x
	}
	return v
}

func raw(t fataler, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func paths(err error) []string {
	var all []string
	for _, f := range Faults(err) {
		all = append(all, f.Path)
	}
	return all
}

// limit is a rule with a number: at is allowed, over is not and names path.
type limit struct {
	name     string
	at, over any
	path     string
}

func check(t *testing.T, checker func([]byte) error, limits []limit) {
	t.Helper()
	for _, l := range limits {
		t.Run(l.name, func(t *testing.T) {
			if err := checker(raw(t, l.at)); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if diff := cmp.Diff([]string{l.path}, paths(checker(raw(t, l.over)))); diff != "" {
				t.Errorf("over the limit:\n%s", diff)
			}
		})
	}
}

func TestMessageLimits(t *testing.T) {
	divider := func(int) any { return object{"type": "divider"} }
	text := func(path string, n int, at func(string) any) limit {
		return limit{path, message(at(a(n))), message(at(a(n + 1))), path}
	}
	limits := []limit{
		{"blocks", message(many(50, divider)...), message(many(51, divider)...), "/blocks"},
		{"text", object{"text": a(40000)}, object{"text": a(40001)}, "/text"},
		{"fields", message(object{"type": "section", "fields": many(10, func(int) any { return mrkdwn("x") })}),
			message(object{"type": "section", "fields": many(11, func(int) any { return mrkdwn("x") })}), "/blocks/0/fields"},
		{"actions", message(actions(many(25, func(int) any { return button(nil) })...)),
			message(actions(many(26, func(int) any { return button(nil) })...)), "/blocks/0/elements"},
		{"context", message(object{"type": "context", "elements": many(10, func(int) any { return mrkdwn("x") })}),
			message(object{"type": "context", "elements": many(11, func(int) any { return mrkdwn("x") })}), "/blocks/0/elements"},
		{"overflow", message(actions(object{"type": "overflow", "options": opts(5)})),
			message(actions(object{"type": "overflow", "options": opts(6)})), "/blocks/0/elements/0/options"},
		{"select", message(actions(selectWith(object{"options": opts(100)}))),
			message(actions(selectWith(object{"options": opts(101)}))), "/blocks/0/elements/0/options"},
		{"radio", message(actions(object{"type": "radio_buttons", "options": opts(10)})),
			message(actions(object{"type": "radio_buttons", "options": opts(11)})), "/blocks/0/elements/0/options"},
		{"checkboxes", message(actions(object{"type": "checkboxes", "options": opts(10)})),
			message(actions(object{"type": "checkboxes", "options": opts(11)})), "/blocks/0/elements/0/options"},
		text("/blocks/0/text/text", 150, func(s string) any { return object{"type": "header", "text": plain(s)} }),
		text("/blocks/0/text/text", 3000, func(s string) any { return object{"type": "section", "text": mrkdwn(s)} }),
		text("/blocks/0/fields/0/text", 2000, func(s string) any { return object{"type": "section", "fields": []any{mrkdwn(s)}} }),
		text("/blocks/0/elements/0/text", 3000, func(s string) any { return object{"type": "context", "elements": []any{mrkdwn(s)}} }),
		text("/blocks/0/block_id", 255, func(s string) any { return object{"type": "divider", "block_id": s} }),
		text("/blocks/0/elements/0/action_id", 255, func(s string) any { return actions(button(object{"action_id": s})) }),
		text("/blocks/0/elements/0/text/text", 75, func(s string) any { return actions(button(object{"text": plain(s)})) }),
		text("/blocks/0/elements/0/value", 2000, func(s string) any { return actions(button(object{"value": s})) }),
		text("/blocks/0/elements/0/url", 3000, func(s string) any { return actions(button(object{"url": s})) }),
		text("/blocks/0/elements/0/accessibility_label", 75, func(s string) any { return actions(button(object{"accessibility_label": s})) }),
		text("/blocks/0/elements/0/confirm/title/text", 100, func(s string) any { return actions(confirmWith(object{"title": plain(s)})) }),
		text("/blocks/0/elements/0/confirm/text/text", 300, func(s string) any { return actions(confirmWith(object{"text": mrkdwn(s)})) }),
		text("/blocks/0/elements/0/confirm/confirm/text", 30, func(s string) any { return actions(confirmWith(object{"confirm": plain(s)})) }),
		text("/blocks/0/elements/0/confirm/deny/text", 30, func(s string) any { return actions(confirmWith(object{"deny": plain(s)})) }),
		text("/blocks/0/accessory/options/0/text/text", 75, func(s string) any {
			return accessoryOf(object{"type": "overflow", "options": []any{object{"text": plain(s), "value": "v"}}})
		}),
		text("/blocks/0/accessory/options/0/url", 3000, func(s string) any {
			return accessoryOf(object{"type": "overflow", "options": []any{object{"text": plain("x"), "value": "v", "url": s}}})
		}),
		text("/blocks/0/accessory/options/0/value", 150, func(s string) any { return accessoryOf(selectWith(object{"options": []any{opt(s)}})) }),
		text("/blocks/0/accessory/placeholder/text", 150, func(s string) any { return accessoryOf(selectWith(object{"placeholder": plain(s)})) }),
		text("/blocks/0/image_url", 3000, func(s string) any { return object{"type": "image", "image_url": s, "alt_text": "x"} }),
		text("/blocks/0/alt_text", 2000, func(s string) any { return object{"type": "image", "image_url": "x", "alt_text": s} }),
		text("/blocks/0/title/text", 2000, func(s string) any {
			return object{"type": "image", "image_url": "x", "alt_text": "x", "title": plain(s)}
		}),
		text("/blocks/0/text", 12000, func(s string) any { return object{"type": "markdown", "text": s} }),
	}
	check(t, CheckMessage, limits)
}

func TestUpdateLimit(t *testing.T) {
	check(t, CheckUpdate, []limit{{"text", object{"text": a(4000)}, object{"text": a(4001)}, "/text"}})
}

func TestBlocksSize(t *testing.T) {
	blocks := many(4, func(int) any { return object{"type": "section", "text": plain(a(3000))} })
	rest := MaxBlocksSize - len([]rune(string(raw(t, blocks)))) - len(`,{"text":{"text":"","type":"plain_text"},"type":"section"}`)
	with := func(n int) []any {
		return append(blocks[:4:4], object{"type": "section", "text": plain(a(n))})
	}
	check(t, CheckBlocks, []limit{{"size", with(rest), with(rest + 1), "/blocks"}})
}

func TestViewLimits(t *testing.T) {
	divider := func(int) any { return object{"type": "divider"} }
	text := object{"type": "plain_text_input"}
	member := func(name, path string, n int, value func(string) any) limit {
		return limit{name, modal(object{name: value(a(n))}), modal(object{name: value(a(n + 1))}), path}
	}
	str := func(s string) any { return s }
	label := func(s string) any { return plain(s) }
	input := func(path string, n int, at func(string) any) limit {
		return limit{path, modal(nil, at(a(n))), modal(nil, at(a(n+1))), path}
	}
	limits := []limit{
		{"blocks", modal(nil, many(100, divider)...), modal(nil, many(101, divider)...), "/blocks"},
		member("title", "/title/text", 24, label),
		member("submit", "/submit/text", 24, label),
		member("close", "/close/text", 24, label),
		member("private_metadata", "/private_metadata", 3000, str),
		member("callback_id", "/callback_id", 255, str),
		member("external_id", "/external_id", 255, str),
		input("/blocks/0/label/text", 2000, func(s string) any { return object{"type": "input", "label": plain(s), "element": text} }),
		input("/blocks/0/hint/text", 2000, func(s string) any {
			return object{"type": "input", "label": plain("x"), "hint": plain(s), "element": text}
		}),
		input("/blocks/0/element/initial_value", 3000, func(s string) any {
			return inputOf(object{"type": "plain_text_input", "initial_value": s})
		}),
		input("/blocks/0/element/placeholder/text", 150, func(s string) any {
			return inputOf(object{"type": "plain_text_input", "placeholder": plain(s)})
		}),
		{"max_length", modal(nil, inputOf(object{"type": "plain_text_input", "max_length": 3000})),
			modal(nil, inputOf(object{"type": "plain_text_input", "max_length": 3001})), "/blocks/0/element/max_length"},
		{"focus", modal(nil, inputOf(object{"type": "plain_text_input", "focus_on_load": true})),
			modal(nil, inputOf(object{"type": "plain_text_input", "focus_on_load": true}), inputOf(object{"type": "datepicker", "focus_on_load": true})), "/blocks"},
	}
	check(t, CheckView, limits)
}

func TestViewSize(t *testing.T) {
	section := func(int) any { return object{"type": "section", "text": plain(a(2000))} }
	if diff := cmp.Diff([]string{""}, paths(CheckView(raw(t, modal(nil, many(70, section)...))))); diff != "" {
		t.Error(diff)
	}
	if err := CheckView(raw(t, modal(nil, many(50, section)...))); err != nil {
		t.Error(err)
	}
}

func TestMessageFaults(t *testing.T) {
	tests := []struct {
		name string
		msg  any
		want []string
	}{
		{"nothing", object{}, []string{""}},
		{"empty blocks only", object{"blocks": []any{}}, []string{""}},
		{"not an object", []any{}, []string{""}},
		{"blocks an object", object{"blocks": object{}}, []string{"/blocks"}},
		{"text a number", object{"text": 1}, []string{"/text"}},
		{"block a string", message("x"), []string{"/blocks/0"}},
		{"unknown block", message(object{"type": "video"}), []string{"/blocks/0/type"}},
		{"block without a type", message(object{}), []string{"/blocks/0/type"}},
		{"unknown member", message(object{"type": "divider", "text": plain("x")}), []string{"/blocks/0/text"}},
		{"member to be escaped", message(object{"type": "divider", "a/b~": 1}), []string{"/blocks/0/a~1b~0"}},
		{"null member", message(object{"type": "section", "text": mrkdwn("x"), "accessory": nil}), []string{"/blocks/0/accessory"}},
		{"same block id", message(object{"type": "divider", "block_id": "a"}, object{"type": "divider", "block_id": "a"}), []string{"/blocks/1/block_id"}},
		{"same action id", message(actions(button(object{"action_id": "a"}), button(object{"action_id": "a"}))), []string{"/blocks/0/elements/1/action_id"}},
		{"header in mrkdwn", message(object{"type": "header", "text": mrkdwn("x")}), []string{"/blocks/0/text/type"}},
		{"empty text", message(object{"type": "section", "text": mrkdwn("")}), []string{"/blocks/0/text/text"}},
		{"section of nothing", message(object{"type": "section"}), []string{"/blocks/0"}},
		{"section without fields", message(object{"type": "section", "fields": []any{}}), []string{"/blocks/0/fields"}},
		{"actions without elements", message(actions()), []string{"/blocks/0/elements"}},
		{"emoji in mrkdwn", message(object{"type": "section", "text": object{"type": "mrkdwn", "text": "x", "emoji": true}}), []string{"/blocks/0/text/emoji"}},
		{"verbatim in plain text", message(object{"type": "section", "text": object{"type": "plain_text", "text": "x", "verbatim": true}}), []string{"/blocks/0/text/verbatim"}},
		{"button in mrkdwn", message(actions(button(object{"text": mrkdwn("x")}))), []string{"/blocks/0/elements/0/text/type"}},
		{"button without text", message(actions(object{"type": "button"})), []string{"/blocks/0/elements/0/text"}},
		{"button of a third style", message(actions(button(object{"style": "default"}))), []string{"/blocks/0/elements/0/style"}},
		{"button with an empty url", message(actions(button(object{"url": ""}))), []string{"/blocks/0/elements/0/url"}},
		{"confirm without deny", message(actions(button(object{"confirm": object{"title": plain("x"), "text": plain("x"), "confirm": plain("x")}}))), []string{"/blocks/0/elements/0/confirm/deny"}},
		{"confirm title in mrkdwn", message(actions(confirmWith(object{"title": mrkdwn("x")}))), []string{"/blocks/0/elements/0/confirm/title/type"}},
		{"button in a context", message(object{"type": "context", "elements": []any{button(nil)}}), []string{"/blocks/0/elements/0/type"}},
		{"image in actions", message(actions(object{"type": "image", "image_url": "x", "alt_text": "x"})), []string{"/blocks/0/elements/0/type"}},
		{"image without alt text", message(object{"type": "image", "image_url": "x"}), []string{"/blocks/0/alt_text"}},
		{"text input in a section", message(accessoryOf(object{"type": "plain_text_input"})), []string{"/blocks/0/accessory/type"}},
		{"url in a select", message(actions(selectWith(object{"options": []any{object{"text": plain("x"), "value": "x", "url": "https://example.com"}}}))), []string{"/blocks/0/elements/0/options/0/url"}},
		{"mrkdwn in a select", message(actions(selectWith(object{"options": []any{object{"text": mrkdwn("x"), "value": "x"}}}))), []string{"/blocks/0/elements/0/options/0/text/type"}},
		{"option without a value", message(actions(object{"type": "overflow", "options": []any{object{"text": plain("x")}}})), []string{"/blocks/0/elements/0/options/0/value"}},
		{"select without options", message(actions(object{"type": "static_select"})), []string{"/blocks/0/elements/0"}},
		{"initial option unknown", message(actions(selectWith(object{"initial_option": opt("other")}))), []string{"/blocks/0/elements/0/initial_option"}},
		{"multi select over the groups", message(actions(object{"type": "multi_static_select", "max_selected_items": 0,
			"option_groups": []any{object{"label": plain(a(76)), "options": opts(1)}}, "initial_options": []any{opt("v0"), opt("v1")}})),
			[]string{"/blocks/0/elements/0/max_selected_items", "/blocks/0/elements/0/option_groups/0/label/text", "/blocks/0/elements/0/initial_options"}},
		{"options and groups", message(actions(selectWith(object{"option_groups": []any{object{"label": plain("x"), "options": opts(1)}}}))), []string{"/blocks/0/elements/0"}},
		{"chosen box unknown", message(actions(object{"type": "checkboxes", "options": opts(2), "initial_options": []any{opt("v2")}})), []string{"/blocks/0/elements/0/initial_options"}},
		{"expand as a text", message(object{"type": "section", "text": plain("x"), "expand": "true"}), []string{"/blocks/0/expand"}},
		{"attachment a text", object{"attachments": []any{"x"}}, []string{"/attachments/0"}},
		{"user select", message(actions(object{"type": "users_select", "initial_user": "", "placeholder": plain("x")})), []string{"/blocks/0/elements/0/initial_user"}},
		{"no such date", message(actions(object{"type": "datepicker", "initial_date": "2026-02-30"})), []string{"/blocks/0/elements/0/initial_date"}},
		{"blocks of an attachment", object{"attachments": []any{object{"color": "#f00", "blocks": []any{object{"type": "x"}}}}}, []string{"/attachments/0/blocks/0/type"}},
		{"metadata without a type", object{"text": "x", "metadata": object{"event_payload": object{}}}, []string{"/metadata/event_type"}},
		{"metadata too large", object{"text": "x", "metadata": object{"event_type": "x", "event_payload": object{"x": a(5000)}}}, []string{"/metadata"}},
		{"several", message(object{"type": "header", "text": plain(a(151))}, object{"type": "x"}), []string{"/blocks/0/text/text", "/blocks/1/type"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, paths(CheckMessage(raw(t, tt.msg)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestViewFaults(t *testing.T) {
	text := inputOf(object{"type": "plain_text_input"})
	tests := []struct {
		name string
		view any
		want []string
	}{
		{"no type", object{"blocks": []any{}}, []string{"/type"}},
		{"a dialog", object{"type": "dialog", "blocks": []any{}}, []string{"/type"}},
		{"modal without a title", object{"type": "modal", "blocks": []any{}}, []string{"/title"}},
		{"modal without blocks", object{"type": "modal", "title": plain("x")}, []string{"/blocks"}},
		{"title in mrkdwn", modal(object{"title": mrkdwn("x")}), []string{"/title/type"}},
		{"inputs without submit", object{"type": "modal", "title": plain("x"), "blocks": []any{text}}, []string{"/submit"}},
		{"home with a title", object{"type": "home", "title": plain("x"), "blocks": []any{}}, []string{"/title"}},
		{"markdown", modal(nil, object{"type": "markdown", "text": "x"}), []string{"/blocks/0/type"}},
		{"button as an input", modal(nil, inputOf(button(nil))), []string{"/blocks/0/element/type"}},
		{"min over max", modal(nil, inputOf(object{"type": "plain_text_input", "min_length": 5, "max_length": 4})), []string{"/blocks/0/element/min_length"}},
		{"half a character", modal(nil, inputOf(object{"type": "plain_text_input", "max_length": 1.5})), []string{"/blocks/0/element/max_length"}},
		{"unknown dispatch", modal(nil, inputOf(object{"type": "plain_text_input", "dispatch_action_config": object{"trigger_actions_on": []any{"x"}}})), []string{"/blocks/0/element/dispatch_action_config/trigger_actions_on/0"}},
		{"label in mrkdwn", modal(nil, object{"type": "input", "label": mrkdwn("x"), "element": object{"type": "datepicker"}}), []string{"/blocks/0/label/type"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, paths(CheckView(raw(t, tt.view)))); diff != "" {
				t.Error(diff)
			}
		})
	}
	if err := CheckView(raw(t, object{"type": "home", "blocks": []any{accessoryOf(button(nil))}})); err != nil {
		t.Errorf("home: %v", err)
	}
}

func TestRichText(t *testing.T) {
	section := func(e ...any) object { return object{"type": "rich_text_section", "elements": e} }
	rich := func(e ...any) object { return message(object{"type": "rich_text", "elements": e}) }
	word := object{"type": "text", "text": "hi", "style": object{"bold": true, "code": true}}
	tests := []struct {
		name string
		msg  any
		want []string
	}{
		{"all of it", rich(
			section(word, object{"type": "link", "url": "https://example.com", "text": "x", "unsafe": true}, object{"type": "emoji", "name": "wave"},
				object{"type": "user", "user_id": "U1"}, object{"type": "usergroup", "usergroup_id": "S1"}, object{"type": "channel", "channel_id": "C1"},
				object{"type": "broadcast", "range": "here"}, object{"type": "color", "value": "#FF0000"},
				object{"type": "date", "timestamp": 1700000000, "format": "{date}", "fallback": "x"}),
			object{"type": "rich_text_list", "style": "ordered", "indent": 8, "offset": 3, "border": 1, "elements": []any{section(word)}},
			object{"type": "rich_text_quote", "border": 1, "elements": []any{word}},
			object{"type": "rich_text_preformatted", "border": 0, "elements": []any{word}},
		), nil},
		{"a text by itself", rich(word), []string{"/blocks/0/elements/0/type"}},
		{"a section in a quote", rich(object{"type": "rich_text_quote", "elements": []any{section()}}), []string{"/blocks/0/elements/0/elements/0/type"}},
		{"a list in a list", rich(object{"type": "rich_text_list", "style": "bullet", "elements": []any{object{"type": "rich_text_list"}}}), []string{"/blocks/0/elements/0/elements/0/type"}},
		{"a list without style", rich(object{"type": "rich_text_list", "elements": []any{}}), []string{"/blocks/0/elements/0/style"}},
		{"indent 9", rich(object{"type": "rich_text_list", "style": "bullet", "indent": 9, "elements": []any{}}), []string{"/blocks/0/elements/0/indent"}},
		{"emoji in preformatted", rich(object{"type": "rich_text_preformatted", "elements": []any{object{"type": "emoji", "name": "x"}}}), []string{"/blocks/0/elements/0/elements/0/type"}},
		{"a third style", rich(section(object{"type": "text", "text": "x", "style": object{"blink": true}})), []string{"/blocks/0/elements/0/elements/0/style/blink"}},
		{"a link nowhere", rich(section(object{"type": "link"})), []string{"/blocks/0/elements/0/elements/0/url"}},
		{"everyone", rich(section(object{"type": "broadcast", "range": "all"})), []string{"/blocks/0/elements/0/elements/0/range"}},
		{"no elements", rich(), []string{"/blocks/0/elements"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, paths(CheckMessage(raw(t, tt.msg)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotJSON(t *testing.T) {
	for _, text := range []string{"", "{", `{"text":"x"} {}`, "nope"} {
		for name, checker := range map[string]func([]byte) error{"message": CheckMessage, "update": CheckUpdate, "view": CheckView, "blocks": CheckBlocks} {
			if err := checker([]byte(text)); len(Faults(err)) != 1 {
				t.Errorf("%s of %q: %v", name, text, err)
			}
		}
	}
}

func TestFaultText(t *testing.T) {
	err := CheckMessage([]byte(`{"blocks":[{"type":"header","text":{"type":"plain_text","text":""}}]}`))
	const want = "must be more than 0 characters [json-pointer:/blocks/0/text/text]"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFaultsOfWrapped(t *testing.T) {
	err := fmt.Errorf("golden: %w", CheckMessage([]byte(`{"blocks":[{"type":"x"},{"type":"y"}]}`)))
	if got := len(Faults(err)); got != 2 {
		t.Errorf("%d faults, want 2: %v", got, err)
	}
	if got := Faults(fmt.Errorf("other")); got != nil {
		t.Errorf("faults %v of another error", got)
	}
}
