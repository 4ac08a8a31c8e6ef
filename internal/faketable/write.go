package faketable

import (
	"encoding/json"
	"maps"
	"strings"
)

// conditional is one part of a transaction.
type conditional struct {
	TableName                 string
	Item                      item // of a Put
	Key                       item // of a Delete
	ConditionExpression       string
	ExpressionAttributeValues item
}

func (c conditional) place() string {
	if c.Item != nil {
		return c.Item.place()
	}
	return c.Key.place()
}

func (a *AWS) transact(body []byte) (any, *Failure) {
	var in struct {
		ClientRequestToken string
		TransactItems      []struct{ Put, Delete *conditional }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	var parts []conditional
	for _, x := range in.TransactItems {
		switch {
		case x.Put != nil:
			parts = append(parts, *x.Put)
		case x.Delete != nil:
			parts = append(parts, *x.Delete)
		default:
			return nil, invalid("a part that is neither Put nor Delete")
		}
	}
	if f := a.check(parts); f != nil {
		return nil, f
	}
	t := a.tables[parts[0].TableName]
	if t.tokens[in.ClientRequestToken] {
		return map[string]any{}, nil
	}
	codes, failed := make([]string, len(parts)), false
	for i, c := range parts {
		codes[i] = "None"
		if !c.holds(t.get(c.place())) {
			codes[i], failed = "ConditionalCheckFailed", true
		}
	}
	if failed {
		return nil, &Failure{Code: "TransactionCanceledException", Reasons: codes}
	}
	for _, c := range parts {
		t.set(c.place(), c.Item)
	}
	t.tokens[in.ClientRequestToken] = true
	return map[string]any{}, nil
}

// check refuses what DynamoDB refuses before it looks at conditions.
func (a *AWS) check(parts []conditional) *Failure {
	if len(parts) == 0 || len(parts) > maxTransaction {
		return invalid("%d parts", len(parts))
	}
	seen := map[string]bool{}
	for _, c := range parts {
		t := a.tables[c.TableName]
		if t == nil {
			return &Failure{Code: "ResourceNotFoundException"}
		}
		if seen[c.place()] {
			return invalid("two operations on one item, %q", c.place())
		}
		seen[c.place()] = true
		if c.Item != nil {
			if f := t.fits(c.Item); f != nil {
				return f
			}
		}
	}
	return nil
}

// fits refuses items that are too large or whose keys are.
func (t *table) fits(it item) *Failure {
	if it.size() > maxItem*4/3 { // binary members count as base64 here
		return invalid("item of %d bytes", it.size())
	}
	keys := map[string]int{"pk": maxPartition, "sk": maxSort}
	for _, x := range t.indexes {
		keys[x.partition], keys[x.sort] = maxPartition, maxSort
	}
	for name, most := range keys {
		v, there := it[name]
		if n := len(v["S"]); n > most || n == 0 && (there || name == "pk" || name == "sk") {
			return invalid("key %s of %d bytes", name, n)
		}
	}
	return nil
}

func (a *AWS) deleteItem(body []byte) (any, *Failure) {
	var in conditional
	t, f := a.named(body, &in)
	if f != nil {
		return nil, f
	}
	if !in.holds(t.get(in.place())) {
		return nil, &Failure{Code: "ConditionalCheckFailedException"}
	}
	t.set(in.place(), nil)
	return map[string]any{}, nil
}

// holds evaluates a condition: comparisons and attribute_not_exists, joined by
// OR or by AND.
func (c conditional) holds(it item) bool {
	if c.ConditionExpression == "" {
		return true
	}
	for _, alternative := range strings.Split(c.ConditionExpression, " OR ") {
		all := true
		for _, atom := range strings.Split(alternative, " AND ") {
			all = all && c.atom(it, atom)
		}
		if all {
			return true
		}
	}
	return false
}

func (c conditional) atom(it item, atom string) bool {
	if name, ok := strings.CutPrefix(atom, "attribute_not_exists("); ok {
		_, there := it[strings.TrimSuffix(name, ")")]
		return !there
	}
	name, value, _ := strings.Cut(atom, " = ")
	v, there := it[name]
	return there && maps.Equal(v, c.ExpressionAttributeValues[value])
}
