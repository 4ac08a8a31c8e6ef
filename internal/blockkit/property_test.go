package blockkit

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawText draws a text of 1 to max characters.
func drawText(t *rapid.T, max int) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("aé🔥 <>&*_`~")), 1, min(max, 80), -1).Draw(t, "text")
}

func drawPlain(t *rapid.T, max int) object {
	o := plain(drawText(t, max))
	if rapid.Bool().Draw(t, "emoji") {
		o["emoji"] = true
	}
	return o
}

func drawAnyText(t *rapid.T, max int) object {
	if rapid.Bool().Draw(t, "mrkdwn") {
		return mrkdwn(drawText(t, max))
	}
	return drawPlain(t, max)
}

func drawElement(t *rapid.T, id string) object {
	switch rapid.IntRange(0, 3).Draw(t, "element") {
	case 0:
		return button(object{"text": drawPlain(t, 75), "action_id": id, "value": "01J", "style": "danger"})
	case 1:
		b := confirmWith(object{"title": drawPlain(t, 100), "text": drawAnyText(t, 300)})
		b["action_id"] = id
		return b
	case 2:
		return object{"type": "overflow", "action_id": id, "options": opts(rapid.IntRange(1, 5).Draw(t, "options"))}
	}
	options := opts(rapid.IntRange(1, 9).Draw(t, "options"))
	return selectWith(object{"action_id": id, "options": options, "initial_option": options[0], "placeholder": drawPlain(t, 150)})
}

func drawBlock(t *rapid.T, n int) object {
	var b object
	switch rapid.IntRange(0, 4).Draw(t, "block") {
	case 0:
		b = object{"type": "header", "text": drawPlain(t, 150)}
	case 1:
		b = object{"type": "section", "text": drawAnyText(t, 3000), "accessory": drawElement(t, "x")}
	case 2:
		b = object{"type": "section", "fields": many(rapid.IntRange(1, 10).Draw(t, "fields"), func(int) any { return drawAnyText(t, 2000) })}
	case 3:
		b = actions(many(rapid.IntRange(1, 3).Draw(t, "elements"), func(i int) any { return drawElement(t, fmt.Sprint("a", i)) })...)
	default:
		b = object{"type": "context", "elements": many(rapid.IntRange(1, 10).Draw(t, "elements"), func(int) any { return drawAnyText(t, 3000) })}
	}
	b["block_id"] = fmt.Sprint("b", n)
	return b
}

// damage is one way to break what stands at a path.
type damage struct {
	path string // that the checker must name
	do   func()
}

// damages lists ways to break a value, each of which breaks one rule.
func damages(path string, v any) []damage {
	var all []damage
	switch v := v.(type) {
	case object:
		all = append(all, damage{path + "/surprise", func() { v["surprise"] = true }})
		if _, ok := v["type"]; ok {
			all = append(all, damage{path + "/type", func() { v["type"] = "carrot" }})
		}
		if s, ok := v["text"].(string); ok {
			all = append(all,
				damage{path + "/text", func() { v["text"] = "" }},
				damage{path + "/text", func() { v["text"] = s + a(3000) }},
				damage{path + "/text", func() { delete(v, "text") }},
				damage{path + "/text", func() { v["text"] = nil }})
		}
		for _, id := range []string{"block_id", "action_id", "value"} {
			if _, ok := v[id]; ok {
				all = append(all, damage{path + "/" + id, func() { v[id] = a(2001) }}, damage{path + "/" + id, func() { v[id] = 7 }})
			}
		}
		if _, ok := v["style"]; ok {
			all = append(all, damage{path + "/style", func() { v["style"] = "loud" }})
		}
		for name, member := range v {
			if name != "initial_option" { // it repeats an option
				all = append(all, damages(path+"/"+name, member)...)
			}
		}
	case []any:
		for i, item := range v {
			if path == "/blocks" && i > 0 {
				first := v[0].(object)["block_id"]
				all = append(all, damage{fmt.Sprintf("/blocks/%d/block_id", i), func() { item.(object)["block_id"] = first }})
			}
			all = append(all, damages(fmt.Sprintf("%s/%d", path, i), item)...)
		}
	}
	slices.SortFunc(all, func(a, b damage) int { return slices.Compare([]byte(a.path), []byte(b.path)) })
	return all
}

// TestOneDamageIsNamed says that a valid message passes, and that breaking one
// rule anywhere in it gives a fault at that very place.
func TestOneDamageIsNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := many(rapid.IntRange(1, 6).Draw(t, "blocks"), func(i int) any { return drawBlock(t, i) })
		msg := message(blocks...)
		if err := CheckMessage(raw(t, msg)); err != nil {
			t.Fatalf("valid message: %v\n%s", err, raw(t, msg))
		}
		all := damages("/blocks", blocks)
		d := all[rapid.IntRange(0, len(all)-1).Draw(t, "damage")]
		d.do()
		got := paths(CheckMessage(raw(t, msg)))
		if !slices.Contains(got, d.path) {
			t.Fatalf("the fault at %s is not named but %q\n%s", d.path, got, raw(t, msg))
		}
	})
}

// TestAnythingIsJudged says that no input makes the checker fall over.
func TestAnythingIsJudged(t *testing.T) {
	seeds := []string{"type", "blocks", "text", "elements", "section", "rich_text", "modal", "accessory", "options", "{", "}", "[", "]", ":", ",", `"`, "null", "1"}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte{}
		for _, part := range rapid.SliceOf(rapid.SampledFrom(seeds)).Draw(t, "parts") {
			text = append(text, part...)
		}
		_, _ = CheckMessage(text), CheckView(text)
		wrapped := fmt.Appendf(nil, `{"type":"modal","blocks":[{"type":%q,"text":%q}]}`, text, text)
		if err := CheckView(wrapped); err == nil {
			t.Fatalf("passed: %s", wrapped)
		}
	})
}
