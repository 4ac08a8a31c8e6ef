package faketable

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The limits of DynamoDB; "Service, account, and table quotas" in its Developer
// Guide.
const (
	maxItem        = 400 << 10
	maxPage        = 1 << 20
	maxTransaction = 100
	maxBatch       = 100
	maxPartition   = 2048
	maxSort        = 1024
)

// item is one item as it stands in requests and answers.
type item map[string]map[string]string

func (it item) text(name string) string { return it[name]["S"] }

func (it item) size() (n int) {
	for name, v := range it {
		n += len(name)
		for _, s := range v {
			n += len(s)
		}
	}
	return n
}

// place is an item's key.
func (it item) place() string { return it.text("pk") + "\x00" + it.text("sk") }

// version is an item as it was from a time on; nil: there was none.
type version struct {
	at time.Time
	it item
}

type table struct {
	indexes map[string]index
	items   map[string][]version
	tokens  map[string]bool // of transactions that were carried out
}

type index struct {
	partition, sort string
	projected       []string // nil: all
}

// now is every item as it is.
func (t *table) now() []item { return t.asOf(time.Now()) }

func (t *table) asOf(at time.Time) []item {
	var all []item
	for _, versions := range t.items {
		for _, v := range slices.Backward(versions) {
			if !v.at.After(at) {
				if v.it != nil {
					all = append(all, v.it)
				}
				break
			}
		}
	}
	return all
}

func (t *table) get(place string) item {
	versions := t.items[place]
	if len(versions) == 0 {
		return nil
	}
	return versions[len(versions)-1].it
}

func (t *table) set(place string, it item) {
	t.items[place] = append(t.items[place], version{time.Now(), it})
}

func (a *AWS) createTable(body []byte) (any, *Failure) {
	var in struct {
		TableName              string
		GlobalSecondaryIndexes []struct {
			IndexName  string
			KeySchema  []struct{ AttributeName string }
			Projection struct {
				ProjectionType   string
				NonKeyAttributes []string
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	t := &table{indexes: map[string]index{}, items: map[string][]version{}, tokens: map[string]bool{}}
	for _, x := range in.GlobalSecondaryIndexes {
		if len(x.IndexName) < 3 {
			return nil, invalid("index %q: its name must have 3 characters or more", x.IndexName)
		}
		ix := index{partition: x.KeySchema[0].AttributeName, sort: x.KeySchema[1].AttributeName}
		if x.Projection.ProjectionType != "ALL" {
			ix.projected = append([]string{"pk", "sk", ix.partition, ix.sort}, x.Projection.NonKeyAttributes...)
		}
		t.indexes[x.IndexName] = ix
	}
	a.tables[in.TableName] = t
	return a.describeTable(body)
}

// named is the table that a request is about.
func (a *AWS) named(body []byte, in any) (*table, *Failure) {
	var name struct{ TableName string }
	if err := json.Unmarshal(body, &name); err != nil {
		return nil, invalid("%v", err)
	}
	if err := json.Unmarshal(body, in); err != nil {
		return nil, invalid("%v", err)
	}
	t := a.tables[name.TableName]
	if t == nil {
		return nil, &Failure{Code: "ResourceNotFoundException"}
	}
	return t, nil
}

func (a *AWS) describeTable(body []byte) (any, *Failure) {
	if _, f := a.named(body, &struct{}{}); f != nil {
		return nil, f
	}
	return map[string]any{"Table": map[string]any{"TableStatus": "ACTIVE"}}, nil
}

func (a *AWS) timeToLive([]byte) (any, *Failure) { return map[string]any{}, nil }

func (a *AWS) getItem(body []byte) (any, *Failure) {
	var in struct{ Key item }
	t, f := a.named(body, &in)
	if f != nil {
		return nil, f
	}
	if it := t.get(in.Key.place()); it != nil {
		return map[string]any{"Item": it}, nil
	}
	return map[string]any{}, nil
}

func (a *AWS) batchGet(body []byte) (any, *Failure) {
	type keys struct {
		Keys           []item
		ConsistentRead bool
	}
	var in struct{ RequestItems map[string]keys }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	found, left := map[string][]item{}, map[string]keys{}
	for name, k := range in.RequestItems {
		if len(k.Keys) > maxBatch || len(k.Keys) == 0 {
			return nil, invalid("%d keys", len(k.Keys))
		}
		for i, key := range k.Keys {
			if i == max(cmp.Or(a.BatchMost, maxBatch), 0) {
				left[name] = keys{k.Keys[i:], k.ConsistentRead}
				break
			}
			if it := a.tables[name].get(key.place()); it != nil {
				found[name] = append([]item{it}, found[name]...) // in no order that was asked for
			}
		}
	}
	return map[string]any{"Responses": found, "UnprocessedKeys": left}, nil
}

// condition is what a Query may ask of the keys: one condition on the sort key.
var condition = regexp.MustCompile(`^#p = :p(?: AND #k (?:(>=|<) (:\w+)|BETWEEN (:\w+) AND (:\w+)))?$`)

type queryInput struct {
	IndexName                 string
	Limit                     int
	ScanIndexForward          *bool
	ConsistentRead            bool
	KeyConditionExpression    string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues item
	ExclusiveStartKey         item
}

func (a *AWS) query(body []byte) (any, *Failure) {
	var in queryInput
	t, f := a.named(body, &in)
	if f != nil {
		return nil, f
	}
	m := condition.FindStringSubmatch(in.KeyConditionExpression)
	if m == nil {
		return nil, invalid("key condition %q", in.KeyConditionExpression)
	}
	where, all := index{partition: "pk", sort: "sk"}, t.now()
	if in.IndexName != "" {
		var ok bool
		if where, ok = t.indexes[in.IndexName]; !ok || in.ConsistentRead {
			return nil, invalid("index %q, consistent: %v", in.IndexName, in.ConsistentRead)
		}
		at := time.Now().Add(-a.Lag)
		if !a.Frozen.IsZero() {
			at = a.Frozen
		}
		all = t.asOf(at)
	}
	if in.ExpressionAttributeNames["#p"] != where.partition || m[0] != "#p = :p" && in.ExpressionAttributeNames["#k"] != where.sort {
		return nil, invalid("names %v", in.ExpressionAttributeNames)
	}
	all = slices.DeleteFunc(all, func(it item) bool { return !in.wants(it, where, m) })
	slices.SortFunc(all, func(x, y item) int {
		n := where.compare(x, y)
		if in.ScanIndexForward != nil && !*in.ScanIndexForward {
			return -n
		}
		return n
	})
	return in.page(all, where), nil
}

func (x index) compare(a, b item) int {
	return cmp.Or(strings.Compare(a.text(x.sort), b.text(x.sort)), strings.Compare(a.place(), b.place()))
}

func (in queryInput) wants(it item, where index, m []string) bool {
	value := in.ExpressionAttributeValues.text
	k, there := it[where.sort]
	if it.text(where.partition) != value(":p") || !there {
		return false
	}
	switch {
	case m[1] == ">=":
		return k["S"] >= value(m[2])
	case m[1] == "<":
		return k["S"] < value(m[2])
	case m[3] != "":
		return k["S"] >= value(m[3]) && k["S"] <= value(m[4])
	}
	return true
}

// page cuts what a Query gives at its limit, and at a megabyte.
func (in queryInput) page(all []item, where index) any {
	if start := in.ExclusiveStartKey; start != nil {
		i := slices.IndexFunc(all, func(it item) bool { return it.place() == start.place() })
		all = all[i+1:]
	}
	out, size, scanned := []item{}, 0, 0
	for _, it := range all {
		if scanned == cmp.Or(in.Limit, len(all)) || size > maxPage {
			break
		}
		it = where.project(it)
		out, size, scanned = append(out, it), size+it.size(), scanned+1
	}
	answer := map[string]any{"Items": out, "Count": len(out)}
	if scanned < len(all) || scanned == in.Limit && scanned > 0 {
		last := all[scanned-1]
		answer["LastEvaluatedKey"] = index{projected: []string{"pk", "sk", where.partition, where.sort}}.project(last)
	}
	return answer
}

func (x index) project(it item) item {
	if x.projected == nil {
		return it
	}
	it = maps.Clone(it)
	maps.DeleteFunc(it, func(name string, _ map[string]string) bool { return !slices.Contains(x.projected, name) })
	return it
}
