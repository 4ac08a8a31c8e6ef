package blockkit

import (
	"encoding/json"
	"math"
	"reflect"
	"time"
)

// noLimit is for lists and numbers that Slack names no limit for.
const noLimit = math.MaxInt32

func accessory() rule {
	return typed(elementShape, "button", "overflow", "static_select", "multi_static_select", "users_select",
		"radio_buttons", "checkboxes", "datepicker", "image")
}

func actionsElement() rule {
	return typed(elementShape, "button", "overflow", "static_select", "multi_static_select", "users_select",
		"radio_buttons", "checkboxes", "datepicker")
}

func inputElement() rule {
	return typed(elementShape, "plain_text_input", "static_select", "multi_static_select", "users_select",
		"radio_buttons", "checkboxes", "datepicker")
}

func elementShape(typ string) (shape, bool) {
	if typ == "image" {
		return imageShape(), true
	}
	s, ok := interactiveShape(typ)
	if !ok {
		return shape{}, false
	}
	s.members["action_id"] = str(0, 255)
	return s, true
}

func interactiveShape(typ string) (shape, bool) {
	switch typ {
	case "button":
		return buttonShape(), true
	case "overflow":
		return shape{required: []string{"options"}, members: members{"options": list(1, 5, option(overflowOption)), "confirm": confirm}}, true
	case "static_select":
		s := selectShape()
		s.members["initial_option"] = option(selectOption)
		return s, true
	case "multi_static_select":
		s := selectShape()
		s.members["initial_options"] = list(1, 100, option(selectOption))
		s.members["max_selected_items"] = integer(1, noLimit)
		return s, true
	case "users_select":
		return choosing(members{"initial_user": str(1, 255), "placeholder": plainText(150)}), true
	case "radio_buttons":
		s := choosing(members{"options": list(1, 10, option(choiceOption)), "initial_option": option(choiceOption)}, "options")
		s.also = initialAmongOptions
		return s, true
	case "checkboxes":
		s := choosing(members{"options": list(1, 10, option(choiceOption)), "initial_options": list(1, 10, option(choiceOption))}, "options")
		s.also = initialAmongOptions
		return s, true
	case "datepicker":
		return choosing(members{"initial_date": date, "placeholder": plainText(150)}), true
	case "plain_text_input":
		return textInputShape(), true
	}
	return shape{}, false
}

// choosing is the shape of an element that keeps a value.
func choosing(m members, required ...string) shape {
	m["confirm"], m["focus_on_load"] = confirm, focus
	return shape{required: required, members: m}
}

func buttonShape() shape {
	return shape{
		required: []string{"text"},
		members: members{
			"text": plainText(75), "value": str(0, 2000), "url": str(1, 3000), "style": oneOf("primary", "danger"),
			"confirm": confirm, "accessibility_label": str(1, 75),
		},
	}
}

func imageShape() shape {
	return shape{
		required: []string{"image_url", "alt_text"},
		members:  members{"image_url": str(1, 3000), "alt_text": str(1, 2000)},
	}
}

func textInputShape() shape {
	return shape{
		members: members{
			"initial_value": str(0, 3000), "multiline": boolean, "min_length": integer(0, 3000), "max_length": integer(1, 3000),
			"placeholder": plainText(150), "focus_on_load": focus,
			"dispatch_action_config": shape{members: members{
				"trigger_actions_on": list(1, 2, oneOf("on_enter_pressed", "on_character_entered")),
			}}.rule,
		},
		also: func(c *checker, path string, o object) {
			least, okLeast := number(o["min_length"])
			most, okMost := number(o["max_length"])
			if okLeast && okMost && least > most {
				c.fault(path+"/min_length", "must not be more than max_length")
			}
		},
	}
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	i, err := n.Int64()
	return i, ok && err == nil
}

func selectShape() shape {
	s := choosing(members{
		"options":       list(1, 100, option(selectOption)),
		"option_groups": list(1, 100, optionGroup),
		"placeholder":   plainText(150),
	})
	s.also = func(c *checker, path string, o object) {
		if (o["options"] == nil) == (o["option_groups"] == nil) {
			c.fault(path, "must define either `options` or `option_groups`")
		}
		initialAmongOptions(c, path, o)
	}
	return s
}

func optionGroup(c *checker, path string, v any) {
	shape{
		required: []string{"label", "options"},
		members:  members{"label": plainText(75), "options": list(1, 100, option(selectOption))},
	}.rule(c, path, v)
}

// optionKind is which element an option belongs to.
type optionKind int

const (
	selectOption   optionKind = iota
	choiceOption              // radio buttons and checkboxes: mrkdwn too
	overflowOption            // may have a URL
)

func option(kind optionKind) rule {
	s := shape{
		required: []string{"text", "value"},
		members:  members{"text": plainText(75), "value": str(1, 150), "description": plainText(75)},
	}
	switch kind {
	case choiceOption:
		s.members["text"], s.members["description"] = text(75), text(75)
	case overflowOption:
		s.members["url"] = str(1, 3000)
	}
	return s.rule
}

// initialAmongOptions: what is chosen at first must be exactly one of the
// options.
func initialAmongOptions(c *checker, path string, o object) {
	if initial, ok := o["initial_option"]; ok && !hasOption(o, initial) {
		c.fault(path+"/initial_option", "must be one of the options")
	}
	initials, _ := o["initial_options"].([]any)
	for _, initial := range initials {
		if !hasOption(o, initial) {
			c.fault(path+"/initial_options", "must be among the options")
			return
		}
	}
}

func hasOption(o object, want any) bool {
	options, _ := o["options"].([]any)
	groups, _ := o["option_groups"].([]any)
	for _, g := range groups {
		group, _ := g.(object)
		more, _ := group["options"].([]any)
		options = append(options[:len(options):len(options)], more...)
	}
	for _, opt := range options {
		if reflect.DeepEqual(opt, want) {
			return true
		}
	}
	return false
}

func confirm(c *checker, path string, v any) {
	shape{
		required: []string{"title", "text", "confirm", "deny"},
		members: members{
			"title": plainText(100), "text": text(300), "confirm": plainText(30), "deny": plainText(30),
			"style": oneOf("primary", "danger"),
		},
	}.rule(c, path, v)
}

func focus(c *checker, path string, v any) {
	boolean(c, path, v)
	if v == true {
		c.focused++
	}
}

func date(c *checker, path string, v any) {
	s, _ := v.(string)
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		c.fault(path, "must be a date: YYYY-MM-DD")
	}
}
