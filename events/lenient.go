package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types below read what CloudTrail writes in several ways. One odd member
// must not lose the whole event, so that none ever fails.

// lenient decodes raw into T; what does not fit is left zero.
func lenient[T any](raw json.RawMessage) T {
	var v T
	if len(raw) > 0 {
		// Members that fit are kept where others don't.
		_ = json.Unmarshal(raw, &v)
	}
	return v
}

// text is a scalar as text, or the first of a list. Anything else is empty.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(raw []byte) error {
	*t = ""
	if list := scalars(raw); len(list) > 0 {
		*t = text(list[0])
	}
	return nil
}

// texts is a scalar or a list of them.
type texts []string

// UnmarshalJSON never fails.
func (t *texts) UnmarshalJSON(raw []byte) error {
	*t = scalars(raw)
	return nil
}

// scalars gives a scalar, or those of a list, as text.
func scalars(raw []byte) []string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil
	}
	many, ok := v.([]any)
	if !ok {
		many = []any{v}
	}
	var list []string
	for _, one := range many {
		switch one := one.(type) {
		case string:
			list = append(list, one)
		case json.Number, bool:
			list = append(list, fmt.Sprint(one))
		}
	}
	return list
}

// boolean is true for true and "true".
type boolean bool

// UnmarshalJSON never fails.
func (b *boolean) UnmarshalJSON(raw []byte) error {
	list := scalars(raw)
	*b = boolean(len(list) == 1 && strings.EqualFold(list[0], "true"))
	return nil
}

// account is an account id. Written as a number it has lost its leading
// zeros, which are put back.
type account string

// UnmarshalJSON never fails.
func (a *account) UnmarshalJSON(raw []byte) error {
	*a = account(lenient[text](raw))
	if len(raw) > 0 && raw[0] >= '0' && raw[0] <= '9' && len(*a) < 12 {
		*a = account(strings.Repeat("0", 12-len(*a))) + *a
	}
	return nil
}

// port is a port, an ICMP type or an ICMP code, written as a number or a
// string; v is nil where it is absent. To take something else for absent would
// mean every port, so that is kept in bad.
type port struct {
	v   *int32
	bad string
}

// UnmarshalJSON never fails.
func (p *port) UnmarshalJSON(raw []byte) error {
	*p = port{}
	list := scalars(raw)
	if len(list) == 0 || list[0] == "" {
		return nil
	}
	n, ok := parsePort(list[0])
	if !ok {
		p.bad = clip(list[0], 40)
		return nil
	}
	p.v = &n
	return nil
}

// parsePort takes whole numbers from -1 to 65535, as 22 or 22.0.
func parsePort(s string) (int32, bool) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n != math.Trunc(n) || n < -1 || n > math.MaxUint16 {
		return 0, false
	}
	return int32(n), true
}

// items is one of EC2's lists: {"items":[…]}, or {} where it is empty.
type items[T any] []T

// UnmarshalJSON never fails.
func (l *items[T]) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '{' {
		raw = lenient[object](raw)["items"]
	}
	*l = oneOrMany[T](raw)
	return nil
}

// many is an object or a list of objects.
type many[T any] []T

// UnmarshalJSON never fails.
func (l *many[T]) UnmarshalJSON(raw []byte) error {
	*l = oneOrMany[T](raw)
	return nil
}

func oneOrMany[T any](raw json.RawMessage) []T {
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '{':
		return []T{lenient[T](raw)}
	case '[':
		return lenient[[]T](raw)
	case '"':
		return []T{lenient[T](raw)}
	}
	return nil
}

// firstTime parses the first of the given times that can be; the zero time
// where none can.
func firstTime(candidates ...text) time.Time {
	for _, c := range candidates {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999"} {
			if t, err := time.Parse(layout, string(c)); err == nil {
				return t.UTC()
			}
		}
	}
	return time.Time{}
}

// first gives the first that is not empty.
func first[T ~string](candidates ...T) string {
	for _, c := range candidates {
		if c != "" {
			return string(c)
		}
	}
	return ""
}
