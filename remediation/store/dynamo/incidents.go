package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// Incidents lists incidents, the newest first. A query by key, by resource or by
// active statuses reads those alone. Any other passes over the keys of all until
// it has enough.
func (s *Store) Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	index, partitions := source(q)
	entries, err := together(ctx, partitions, func(ctx context.Context, partition string) ([]item, error) {
		return s.entries(ctx, q, index, partition)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b item) int { return cmp.Compare(textOf(b, sortOf(index)), textOf(a, sortOf(index))) })
	if decides(index, q) {
		entries = entries[:min(len(entries), rows.Limit(q))]
	}
	list := []*remediation.Incident{}
	for chunk := range slices.Chunk(entries, maxKeys) {
		found, err := s.fitting(ctx, q, index, chunk)
		if err != nil {
			return nil, err
		}
		if list = append(list, found...); len(list) >= rows.Limit(q) {
			return list[:rows.Limit(q)], nil
		}
	}
	return list, nil
}

// fitting reads the incidents of some entries, without those that don't fit.
func (s *Store) fitting(ctx context.Context, q remediation.IncidentQuery, index string, entries []item) ([]*remediation.Incident, error) {
	if index != "ix1" { // which has them whole
		var err error
		if entries, err = s.whole(ctx, entries); err != nil {
			return nil, err
		}
	}
	var list []*remediation.Incident
	for _, it := range entries {
		i, err := decode[remediation.Incident](ctx, s, it)
		if err != nil {
			return nil, err
		}
		if rows.Match(q, i) {
			list = append(list, i)
		}
	}
	return list, nil
}

// decides reports whether an index has all that a query asks for. One of a key or
// a resource has neither the other of them nor when an incident was last changed.
func decides(index string, q remediation.IncidentQuery) bool {
	return index == "ix1" || index == "ix4" || (q.Key == "" || q.Resource == "") && q.Updated.IsZero()
}

// source says in which partitions of which index a query finds its incidents.
func source(q remediation.IncidentQuery) (index string, partitions []string) {
	switch {
	case q.Key != "":
		return indexKey, []string{keyPartition(q.Key)}
	case q.Resource != "":
		return "ix2", []string{"RES#" + q.Resource}
	case len(q.Statuses) > 0 && !slices.ContainsFunc(q.Statuses, func(s remediation.Status) bool { return !s.Active() }):
		for _, status := range slices.Compact(slices.Sorted(slices.Values(q.Statuses))) {
			partitions = append(partitions, sharded(statusPartition(status))...)
		}
		return "ix1", partitions
	}
	return "ix4", sharded("INC#")
}

// sharded gives the partitions of all shards.
func sharded(name string) []string {
	all := make([]string, shards)
	for i := range all {
		all[i] = name + strconv.Itoa(i)
	}
	return all
}

// entries are the newest of a partition that fit, as far as the index tells.
func (s *Store) entries(ctx context.Context, q remediation.IncidentQuery, index, partition string) ([]item, error) {
	where := query{index: index, partition: partition, descending: true}
	if q.Updated.IsZero() && (index == "ix1" || len(q.Statuses) == 0 && q.Playbook == "") {
		where.limit = rows.Limit(q) // else most of a page may not fit
	}
	if !q.Since.IsZero() {
		where.from = stamp(q.Since)
	}
	if !q.Until.IsZero() {
		where.below = dueBy(q.Until)
	}
	var found []item
	for it, err := range s.query(ctx, where) {
		if err != nil {
			return nil, err
		}
		updated := textOf(it, attrUpdated)
		if (len(q.Statuses) == 0 || slices.Contains(q.Statuses, remediation.Status(textOf(it, attrStatus)))) &&
			(q.Playbook == "" || q.Playbook == textOf(it, attrPlaybook)) &&
			(updated == "" || updated >= stamp(q.Updated)) {
			found = append(found, it)
		}
		if len(found) == rows.Limit(q) && decides(index, q) {
			break
		}
	}
	return found, nil
}

func textOf(it item, name string) string {
	if v, ok := it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// place tells an item from all others of the table.
func (it item) place() string { return textOf(it, attrPK) + "\x00" + textOf(it, attrSK) }

// maxKeys is how many items BatchGetItem takes.
const maxKeys = 100

// whole gives for the items of an index those of the table, in the same order.
func (s *Store) whole(ctx context.Context, entries []item) ([]item, error) {
	all := make([]item, 0, len(entries))
	for chunk := range slices.Chunk(entries, maxKeys) {
		found, err := s.batch(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, it := range chunk {
			if whole, ok := found[it.place()]; ok {
				all = append(all, whole)
			}
		}
	}
	return all, nil
}

// batch reads up to maxKeys items by their places. What DynamoDB leaves out, for
// want of room in the answer or in the table, is asked for again.
func (s *Store) batch(ctx context.Context, entries []item) (map[string]item, error) {
	var keys []map[string]types.AttributeValue
	for _, it := range entries {
		keys = append(keys, item{attrPK: it[attrPK], attrSK: it[attrSK]})
	}
	found := map[string]item{}
	asked := map[string]types.KeysAndAttributes{s.o.Table: {Keys: keys, ConsistentRead: aws.Bool(true)}}
	for try := 1; ; try++ {
		out, err := s.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: asked})
		if err != nil {
			return nil, fmt.Errorf("read rows of the table %s (dynamodb:BatchGetItem): %w", s.o.Table, err)
		}
		given := out.Responses[s.o.Table]
		for _, it := range given {
			found[item(it).place()] = it
		}
		switch asked = out.UnprocessedKeys; {
		case len(asked) == 0:
			return found, nil
		case len(given) > 0:
			try = 0
		case try == maxCollisions:
			return nil, fmt.Errorf("the table %s gives no more rows: it is throttled", s.o.Table)
		default:
			if err := s.pause(ctx, try, throttlePause); err != nil {
				return nil, err
			}
		}
	}
}
