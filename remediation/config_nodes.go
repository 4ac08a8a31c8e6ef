package remediation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document parses data and gives its one document's root; nil where there is
// none or where a fault forbids to look further.
func (d *configDecoder) document(data []byte) *yaml.Node {
	if !d.readable(data) {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		d.syntax(err, data)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.fault(second.Line, "", "a second document begins here", "a configuration is one YAML document; take the line --- out")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(err, data)
		return nil
	}
	root := doc.Content[0]
	if d.indirect(root) || root.ShortTag() == "!!null" {
		return nil
	}
	return root
}

// readable checks size and encoding.
func (d *configDecoder) readable(data []byte) bool {
	if len(data) > maxConfigSize {
		d.fault(0, "", "the file is over 1 MiB", "a configuration is some pages of text; is this the right file?")
		return false
	}
	if utf8.Valid(data) {
		return true
	}
	valid := 0
	for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(data[valid:]) {
		valid += n
	}
	d.fault(lineAt(data, valid), "", "this is not UTF-8", "save the file as UTF-8 text")
	return false
}

// indirect refuses anchors, aliases and tags, which a configuration doesn't
// need and with which it can say other than what people read. It reports
// whether there were any.
func (d *configDecoder) indirect(n *yaml.Node) bool {
	found := true
	switch {
	case n.Kind == yaml.AliasNode:
		d.fault(n.Line, "", fmt.Sprintf("the alias *%s is not taken here", shorten(n.Value)),
			`write the value out; a pattern that begins with * goes in quotes, as "*-public"`)
		return true // its target was or will be seen where it stands
	case n.Anchor != "":
		d.fault(n.Line, "", fmt.Sprintf("the anchor &%s is not taken here", shorten(n.Anchor)), "write the value out where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(n.Line, "", fmt.Sprintf("the YAML tag %s is not taken here", shorten(n.Tag)), "leave it out; text goes in quotes")
	default:
		found = false
	}
	for _, child := range n.Content {
		found = d.indirect(child) || found
	}
	return found
}

var (
	syntaxLine    = compiled(`^yaml: (?:line ([0-9]+): )?`)
	unknownAnchor = compiled(`unknown anchor '(.*)' referenced`)
)

// syntax reports an error of the YAML parser, whose lines may be one short
// and are missing for the first.
func (d *configDecoder) syntax(err error, data []byte) {
	msg := err.Error()
	at := syntaxLine().FindStringSubmatch(msg)
	line := 1
	if at != nil {
		msg = strings.TrimPrefix(msg, at[0])
		if n, err := strconv.Atoi(at[1]); err == nil {
			line = n
		}
	}
	if strings.Contains(msg, "control characters") {
		line = lineAt(data, bytes.IndexFunc(data, isForbidden))
	}
	if m := unknownAnchor().FindStringSubmatch(msg); m != nil {
		line = lineAt(data, bytes.Index(data, []byte("*"+m[1])))
		msg = fmt.Sprintf("*%s is an alias in YAML", shorten(m[1]))
	}
	d.fault(line, "", "this is not YAML: "+shorten(msg), syntaxHint(msg))
}

// lineAt is the line of data's i-th byte, the first where there is no such.
func lineAt(data []byte, i int) int { return 1 + bytes.Count(data[:max(i, 0)], []byte("\n")) }

// isForbidden says whether YAML takes no r, not even in quotes.
func isForbidden(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) }

// syntaxHint says what is most likely behind a message of the YAML parser.
func syntaxHint(msg string) string {
	hints := []struct{ part, hint string }{
		{"is an alias", `put a pattern that begins with * in quotes, as "*-public"`},
		{"alphabetic or numeric", `put a pattern that begins with * in quotes, as "*-public"`},
		{"comment or line break", `put text that begins with > in quotes, as ">= high"`},
		{"tab character", "indent with spaces, never with tabs"},
		{"cannot start any token", "indent with spaces, never with tabs, and put text that begins with @ or ` in quotes"},
		{"mapping values", "check the indentation, and put text that has a colon and a blank in it in quotes"},
		{"control characters", "take the control characters out"},
		{"end of stream", "a quote or a bracket is never closed"},
		{"did not find", "check indentation, quotes and brackets here and in the next lines"},
	}
	for _, h := range hints {
		if strings.Contains(msg, h.part) {
			return h.hint
		}
	}
	return "check indentation, quotes and brackets here and in the next lines"
}

// setOne decodes a single value into dst; the zero T where there is a fault.
func setOne[T any](d *configDecoder, dst *T, parse func(*yaml.Node) (T, *fault)) func(*yaml.Node, configPlace) {
	return func(n *yaml.Node, at configPlace) {
		v, f := parse(n)
		if f != nil {
			d.fault(n.Line, at.path, at.words+": "+f.problem, f.hint)
		}
		*dst = v
	}
}

// setList decodes one value, or a list of any length, into dst.
func setList[T any](d *configDecoder, dst *[]T, parse func(*yaml.Node) (T, *fault)) func(*yaml.Node, configPlace) {
	return func(n *yaml.Node, at configPlace) {
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		*dst = make([]T, len(items))
		for i, item := range items {
			setOne(d, &(*dst)[i], parse)(item, at)
		}
	}
}

// setMany is setList where an empty list is a fault, since it could be meant
// for everything as well as for nothing.
func setMany[T any](d *configDecoder, dst *[]T, parse func(*yaml.Node) (T, *fault)) func(*yaml.Node, configPlace) {
	return func(n *yaml.Node, at configPlace) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.fault(n.Line, at.path, at.words+" is an empty list", "name at least one, or leave the key out")
		}
		setList(d, dst, parse)(n, at)
	}
}

// textNode makes a parser of nodes from one of strings.
func textNode[T any](parse func(string) (T, *fault)) func(*yaml.Node) (T, *fault) {
	return func(n *yaml.Node) (T, *fault) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			var none T
			hint := "write one value, as text"
			if n.Kind == yaml.ScalarNode && n.Value != "" {
				hint = "write text; in quotes, " + quote(n.Value) + " is text"
			}
			return none, &fault{"it is " + kindOf(n), hint}
		}
		return parse(n.Value)
	}
}

// accountNode takes 12 digits. A bare number is refused even where it has 12,
// since the next one may begin with 0.
func accountNode(n *yaml.Node) (string, *fault) {
	const hint = `an account id is 12 digits in quotes, as "111122223333"`
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", &fault{"it is " + kindOf(n), hint}
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!float":
		return "", &fault{quote(n.Value) + " is without quotes, so that YAML takes it for a number, and numbers lose leading zeros", hint}
	case !accountID().MatchString(n.Value):
		return "", &fault{quote(n.Value) + " is no account id", hint}
	}
	return n.Value, nil
}

// portNode takes numbers as well as text.
func portNode(n *yaml.Node) (PortRange, *fault) {
	if n.Kind != yaml.ScalarNode {
		return PortRange{}, &fault{"it is " + kindOf(n), "write ports, one or a list"}
	}
	return parsePorts(n.Value)
}

// numberNode takes a number, or what else parse takes, as it is written.
func numberNode[T any](parse func(string) (T, *fault)) func(*yaml.Node) (T, *fault) {
	return func(n *yaml.Node) (T, *fault) {
		if n.Kind != yaml.ScalarNode {
			var none T
			return none, &fault{"it is " + kindOf(n), "write one number"}
		}
		return parse(n.Value)
	}
}

// tagNode takes every plain value by its letters: a tag "true" is text in
// AWS, whatever YAML makes of it.
func tagNode(n *yaml.Node) (string, *fault) {
	if n.Kind != yaml.ScalarNode {
		return "", &fault{"it is " + kindOf(n), "write patterns for the tag's value, one or a list"}
	}
	if n.Value == "" || n.ShortTag() == "!!null" {
		return "", &fault{"the pattern is empty", `write "*" for any value`}
	}
	return parseGlob(n.Value)
}

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a set of keys"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}

// cutText bounds text that a message repeats.
func cutText(s string) string {
	const most = 80
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// shorten is cutText for text that stands bare in a message of one line.
func shorten(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, cutText(s))
}

// quote cuts and quotes text that a message repeats.
func quote(s string) string { return strconv.Quote(cutText(s)) }
