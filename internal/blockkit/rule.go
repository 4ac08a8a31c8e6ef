package blockkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type object = map[string]any

// surface is where blocks are shown; a few blocks belong to one only.
type surface int

const (
	surfaceMessage surface = iota
	surfaceView
)

// checker gathers the faults of one message or view.
type checker struct {
	surface surface
	faults  []error
	ids     map[string]bool // the block ids seen
	focused int             // how many elements want the focus
}

func (c *checker) fault(path, rule string) { c.faults = append(c.faults, Fault{path, rule}) }

func (c *checker) err() error { return errors.Join(c.faults...) }

func (c *checker) object(path string, v any) (object, bool) {
	o, ok := v.(object)
	if !ok {
		c.fault(path, "must be an object")
	}
	return o, ok
}

// rule checks the value at a path.
type rule func(c *checker, path string, v any)

type members map[string]rule

// shape is what an object may hold.
type shape struct {
	required []string
	members  members
	also     func(c *checker, path string, o object) // what no single member shows
}

func (s shape) rule(c *checker, path string, v any) {
	if o, ok := c.object(path, v); ok {
		s.check(c, path, o)
	}
}

func (s shape) check(c *checker, path string, o object) {
	for _, name := range s.required {
		if _, ok := o[name]; !ok {
			c.fault(path+"/"+name, "missing required field: "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		member, ok := s.members[name]
		at := path + "/" + pointer(name)
		if !ok {
			c.fault(at, "invalid additional property: "+name)
			continue
		}
		member(c, at, o[name])
	}
	if s.also != nil {
		s.also(c, path, o)
	}
}

// pointer escapes a member's name for a JSON pointer.
func pointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func anything(*checker, string, any) {}

func boolean(c *checker, path string, v any) {
	if _, ok := v.(bool); !ok {
		c.fault(path, "must be a boolean")
	}
}

// str wants a string of least to most characters.
func str(least, most int) rule {
	return func(c *checker, path string, v any) {
		s, ok := v.(string)
		if !ok {
			c.fault(path, "must be a string")
			return
		}
		switch n := utf8.RuneCountInString(s); {
		case n < least:
			c.fault(path, fmt.Sprintf("must be more than %d characters", least-1))
		case n > most:
			c.fault(path, fmt.Sprintf("must be less than %d characters", most+1))
		}
	}
}

// oneOf wants one of the strings.
func oneOf(values ...string) rule {
	return func(c *checker, path string, v any) {
		if s, ok := v.(string); !ok || !slices.Contains(values, s) {
			c.fault(path, "must be one of "+strings.Join(values, ", "))
		}
	}
}

// integer wants a whole number of least to most.
func integer(least, most int64) rule {
	return func(c *checker, path string, v any) {
		n, ok := v.(json.Number)
		i, err := strconv.ParseInt(string(n), 10, 64)
		if !ok || err != nil || i < least || i > most {
			c.fault(path, fmt.Sprintf("must be a whole number from %d to %d", least, most))
		}
	}
}

// list wants an array of least to most items, each of which obeys item.
func list(least, most int, item rule) rule {
	return func(c *checker, path string, v any) {
		l, ok := v.([]any)
		if !ok {
			c.fault(path, "must be an array")
			return
		}
		switch {
		case len(l) < least:
			c.fault(path, fmt.Sprintf("no fewer than %d items allowed", least))
		case len(l) > most:
			c.fault(path, fmt.Sprintf("no more than %d items allowed", most))
		}
		for i, v := range l {
			item(c, fmt.Sprintf("%s/%d", path, i), v)
		}
	}
}

// typed wants an object whose "type" is one of types, of the shape that
// shapeOf gives for it.
func typed(shapeOf func(typ string) (shape, bool), types ...string) rule {
	return func(c *checker, path string, v any) {
		o, ok := c.object(path, v)
		if !ok {
			return
		}
		typ, _ := o["type"].(string)
		s, ok := shapeOf(typ)
		if !ok || !slices.Contains(types, typ) {
			c.fault(path+"/type", fmt.Sprintf("unsupported type: %q, must be one of %s", typ, strings.Join(types, ", ")))
			return
		}
		s.members["type"] = anything
		s.check(c, path, o)
	}
}

// plainText wants a plain_text object with 1 to most characters.
func plainText(most int) rule { return typed(textShape(most), "plain_text") }

// text wants a plain_text or mrkdwn object with 1 to most characters.
func text(most int) rule { return typed(textShape(most), "plain_text", "mrkdwn") }

func textShape(most int) func(string) (shape, bool) {
	return func(typ string) (shape, bool) {
		s := shape{required: []string{"text"}, members: members{"text": str(1, most)}}
		switch typ {
		case "plain_text":
			s.members["emoji"] = boolean
		case "mrkdwn":
			s.members["verbatim"] = boolean
		default:
			return shape{}, false
		}
		return s, true
	}
}
