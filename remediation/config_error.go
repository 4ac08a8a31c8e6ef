package remediation

import (
	"fmt"
	"strings"

	"secbot/internal/nearest"
)

// ConfigError is one fault of a configuration file. ParseConfig joins all that
// it finds; errors.As gives the first.
type ConfigError struct {
	File    string
	Line    int    // 0 where the fault has no line
	Key     string // the path, as "rules[2].match.port", rules counted from 1; empty for the file as a whole
	Problem string
	Hint    string // what would be right
}

// Error gives file, line, problem and hint, on one line.
func (e *ConfigError) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, e.Line)
	}
	return joinText(": ", s, e.Problem, e.Hint)
}

// fault is what is wrong with one value, before it is known where it stands.
type fault struct{ problem, hint string }

// Error gives problem and hint.
func (f *fault) Error() string { return joinText(": ", f.problem, f.hint) }

// joinText joins what isn't empty.
func joinText(sep string, parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, sep)
}

// choose is the hint for a value outside a fixed list: the likeliest, and all.
func choose[T ~string](got string, from []T) string {
	all := make([]string, len(from))
	for i, v := range from {
		all[i] = string(v)
	}
	hint := "one of " + strings.Join(all, ", ")
	if near := nearest.Word(got, all); near != "" {
		return fmt.Sprintf("did you mean %q? It is %s", near, hint)
	}
	return "it is " + hint
}
