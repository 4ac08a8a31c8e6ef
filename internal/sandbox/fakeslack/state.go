package fakeslack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// InputError says what Slack would not let a person submit.
type InputError struct {
	Inputs map[string]string // by block id: what is wrong
}

// Error lists the inputs.
func (e *InputError) Error() string {
	var all []string
	for block, what := range e.Inputs {
		all = append(all, block+": "+what)
	}
	slices.Sort(all)
	return "the view cannot be submitted: " + strings.Join(all, "; ")
}

// input is an element that keeps a value.
type input struct {
	block, action string
	element       object
	required      bool
}

func inputs(raw json.RawMessage) ([]input, error) {
	if raw == nil {
		return nil, nil
	}
	blocks, err := decodeBlocks(raw)
	if err != nil {
		return nil, fmt.Errorf("blocks: %w", err)
	}
	var found []input
	for _, b := range blocks {
		for _, e := range elements(b) {
			in := input{block: text(b["block_id"]), action: text(e["action_id"]), element: e}
			in.required = b["type"] == "input" && b["optional"] != true
			if _, ok := in.kind(); ok {
				found = append(found, in)
			}
		}
	}
	return found, nil
}

// stateKind is how an element's value stands in a state.
type stateKind struct{ member, initial string }

func (in input) kind() (stateKind, bool) {
	switch in.element["type"] {
	case "plain_text_input":
		return stateKind{"value", "initial_value"}, true
	case "static_select", "radio_buttons":
		return stateKind{"selected_option", "initial_option"}, true
	case "multi_static_select", "checkboxes":
		return stateKind{"selected_options", "initial_options"}, true
	case "users_select":
		return stateKind{"selected_user", "initial_user"}, true
	case "datepicker":
		return stateKind{"selected_date", "initial_date"}, true
	}
	return stateKind{}, false
}

// stateOf gives state.values of blocks: what was filled in, else what each
// element has at first. filled is by action id, block id or
// "BLOCK_ID/ACTION_ID"; what fits no input, and a required input left empty,
// make an *InputError.
func stateOf(blocks json.RawMessage, filled url.Values) (object, error) {
	all, err := inputs(blocks)
	if err != nil {
		return nil, err
	}
	wrong := map[string]string{}
	for key := range filled {
		if !slices.ContainsFunc(all, func(in input) bool { return in.answersTo(key) }) {
			wrong[key] = "there is no such input"
		}
	}
	values := object{}
	for _, in := range all {
		value, err := in.state(filled)
		if err == nil && filled != nil {
			err = in.complete(value)
		}
		if err != nil {
			wrong[in.block] = err.Error()
			continue
		}
		of, ok := values[in.block].(object)
		if !ok {
			of = object{}
			values[in.block] = of
		}
		of[in.action] = value
	}
	if len(wrong) > 0 {
		return nil, &InputError{wrong}
	}
	return values, nil
}

func (in input) answersTo(key string) bool {
	return key == in.action || key == in.block || key == in.block+"/"+in.action
}

// state is the value of one element as Slack gives it.
func (in input) state(filled url.Values) (object, error) {
	kind, _ := in.kind()
	o := object{"type": in.element["type"], kind.member: in.element[kind.initial]}
	if kind.member == "selected_options" && o[kind.member] == nil {
		o[kind.member] = []any{}
	}
	for _, key := range []string{in.block + "/" + in.action, in.action, in.block} {
		if given, ok := filled[key]; ok {
			value, err := in.value(kind, given)
			o[kind.member] = value
			return o, err
		}
	}
	return o, nil
}

// value turns what was filled in into what stands in the state.
func (in input) value(kind stateKind, given []string) (any, error) {
	if kind.member == "selected_options" {
		chosen := []any{}
		for _, v := range given {
			o, err := in.option(v)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, o)
		}
		return chosen, nil
	}
	if len(given) > 1 {
		return nil, fmt.Errorf("takes one value, not %d", len(given))
	}
	if len(given) == 0 || given[0] == "" {
		return nil, nil
	}
	switch kind.member {
	case "selected_option":
		return in.option(given[0])
	case "selected_date":
		if _, err := time.Parse(time.DateOnly, given[0]); err != nil {
			return nil, fmt.Errorf("%q is no date: YYYY-MM-DD", given[0])
		}
	case "value":
		return given[0], in.fits(given[0])
	}
	return given[0], nil
}

func (in input) option(value string) (object, error) {
	var have []string
	for _, o := range options(in.element) {
		if text(o["value"]) == value {
			return o, nil
		}
		have = append(have, text(o["value"]))
	}
	return nil, fmt.Errorf("no option %q: there are %s", value, strings.Join(have, ", "))
}

// fits holds a text against min_length and max_length.
func (in input) fits(s string) error {
	n, limit := utf8.RuneCountInString(s), int64(3000)
	if most, ok := number(in.element["max_length"]); ok {
		limit = most
	}
	if least, ok := number(in.element["min_length"]); ok && int64(n) < least {
		return fmt.Errorf("at least %d characters are needed", least)
	}
	if int64(n) > limit {
		return fmt.Errorf("at most %d characters are allowed", limit)
	}
	return nil
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	i, err := n.Int64()
	return i, ok && err == nil
}

// complete refuses an empty value where one is required.
func (in input) complete(value object) error {
	kind, _ := in.kind()
	list, isList := value[kind.member].([]any)
	if in.required && (value[kind.member] == nil || value[kind.member] == "" || isList && len(list) == 0) {
		return errors.New("required, but empty")
	}
	return nil
}
