package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// get reads one item; remediation.ErrNotFound.
func (s *Store) get(ctx context.Context, pk, what string) (item, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.o.Table, Key: item{attrPK: text(pk), attrSK: text("-")}, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("read %s from the table %s: %w", what, s.o.Table, err)
	}
	if out.Item == nil {
		return nil, fmt.Errorf("%s: %w", what, remediation.ErrNotFound)
	}
	return out.Item, nil
}

func read[T any](ctx context.Context, s *Store, pk, what string) (*T, error) {
	it, err := s.get(ctx, pk, what)
	if err != nil {
		return nil, err
	}
	return decode[T](ctx, s, it)
}

// Incident reads one incident by id; remediation.ErrNotFound.
func (s *Store) Incident(ctx context.Context, id string) (*remediation.Incident, error) {
	return read[remediation.Incident](ctx, s, "I#"+id, fmt.Sprintf("incident %q", id))
}

// Active reads the active incident of a finding key; remediation.ErrNotFound.
func (s *Store) Active(ctx context.Context, key string) (*remediation.Incident, error) {
	return s.claimed(ctx, key, attrHolder, "active")
}

// Last reads the incident that was active last under a finding key;
// remediation.ErrNotFound.
func (s *Store) Last(ctx context.Context, key string) (*remediation.Incident, error) {
	return s.claimed(ctx, key, attrLast, "last")
}

// claimed reads the incident that a key's claim names in one of its attributes.
func (s *Store) claimed(ctx context.Context, key, attr, what string) (*remediation.Incident, error) {
	it, err := s.get(ctx, "K#"+key, fmt.Sprintf("%s incident of key %q", what, key))
	if err != nil {
		return nil, err
	}
	id, ok := it[attr].(*types.AttributeValueMemberS)
	if !ok {
		return nil, fmt.Errorf("%s incident of key %q: %w", what, key, remediation.ErrNotFound)
	}
	return s.Incident(ctx, id.Value)
}

// Job reads one job by id; remediation.ErrNotFound.
func (s *Store) Job(ctx context.Context, id string) (*remediation.Job, error) {
	return read[remediation.Job](ctx, s, "J#"+id, fmt.Sprintf("job %q", id))
}

// Message reads the reference to an incident's Slack message;
// remediation.ErrNotFound.
func (s *Store) Message(ctx context.Context, incident string) (*remediation.MessageRef, error) {
	return read[remediation.MessageRef](ctx, s, "M#"+incident, fmt.Sprintf("message of incident %q", incident))
}

// Record reads one record by its key; remediation.ErrNotFound.
func (s *Store) Record(ctx context.Context, key string) (*remediation.Record, error) {
	return read[remediation.Record](ctx, s, "R#"+key, fmt.Sprintf("record %q", key))
}

// Records reads those of some keys that there are (dynamodb:BatchGetItem).
func (s *Store) Records(ctx context.Context, keys ...string) (map[string]*remediation.Record, error) {
	if err := rows.CheckKeys(keys); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	found := map[string]*remediation.Record{}
	if len(keys) == 0 {
		return found, nil
	}
	var asked []item
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) { // DynamoDB refuses a key that comes twice
		asked = append(asked, item{attrPK: text("R#" + key), attrSK: text("-")})
	}
	items, err := s.batch(ctx, asked)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		r, err := decode[remediation.Record](ctx, s, it)
		if err != nil {
			return nil, err
		}
		found[r.Key] = r
	}
	return found, nil
}

// query asks for the items of one partition in the order of their sort keys.
type query struct {
	index      string // empty: the table, strongly consistent
	partition  string
	from       string // sort keys at or after; empty: all
	below      string // sort keys before; empty: all
	descending bool
	limit      int // of a page; 0: as many as fit
}

// input is q for the SDK.
func (q query) input(table string) *dynamodb.QueryInput {
	p, k := attrPK, attrSK
	in := &dynamodb.QueryInput{TableName: &table, ScanIndexForward: aws.Bool(!q.descending)}
	if q.index == "" {
		in.ConsistentRead = aws.Bool(true)
	} else {
		in.IndexName, p, k = &q.index, partitionOf(q.index), sortOf(q.index)
	}
	condition := "#p = :p"
	in.ExpressionAttributeNames = map[string]string{"#p": p}
	in.ExpressionAttributeValues = item{":p": text(q.partition)}
	// DynamoDB takes one condition on the sort key and not two. No sort key is
	// equal to below, which is the beginning of one.
	bounds := ""
	switch {
	case q.from != "" && q.below != "":
		bounds = "#k BETWEEN :from AND :below"
	case q.from != "":
		bounds = "#k >= :from"
	case q.below != "":
		bounds = "#k < :below"
	}
	if bounds != "" {
		condition += " AND " + bounds
		in.ExpressionAttributeNames["#k"] = k
	}
	for name, value := range map[string]string{":from": q.from, ":below": q.below} {
		if value != "" {
			in.ExpressionAttributeValues[name] = text(value)
		}
	}
	in.KeyConditionExpression = &condition
	if q.limit > 0 {
		in.Limit = aws.Int32(int32(min(q.limit, 1000))) //nolint:gosec // bounded
	}
	return in
}

// query yields the items of a partition, page by page.
func (s *Store) query(ctx context.Context, q query) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		pages := dynamodb.NewQueryPaginator(s.db, q.input(s.o.Table))
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, fmt.Errorf("query the table %s: %w", s.o.Table, err))
				return
			}
			for _, it := range page.Items {
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}

// list decodes what a query gives until keep says that it has enough.
func list[T any](ctx context.Context, s *Store, q query, keep func(*T) (keep, enough bool)) ([]*T, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	found := []*T{}
	for it, err := range s.query(ctx, q) {
		if err != nil {
			return nil, err
		}
		v, err := decode[T](ctx, s, it)
		if err != nil {
			return nil, err
		}
		kept, enough := keep(v)
		if kept {
			found = append(found, v)
		}
		if enough {
			break
		}
	}
	return found, nil
}

// dueBy is the sort key that stands after everything due, or created, by now.
func dueBy(now time.Time) string { return stamp(now) + "$" } // $ comes after #

// DueJobs lists unfinished jobs that may be taken up at now.
func (s *Store) DueJobs(ctx context.Context, now time.Time, n int) ([]*remediation.Job, error) {
	due, err := inShards(ctx, s, "JOB#", now, n, func(j *remediation.Job) (bool, error) {
		return !j.Done && rows.Ready(j.Due, j.LeaseUntil, now), nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(due, func(a, b *remediation.Job) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	return due[:min(len(due), max(n, 0))], nil
}

// inShards reads the first n of every shard that are ready.
func inShards[T any](ctx context.Context, s *Store, partition string, now time.Time, n int, ready func(*T) (bool, error)) ([]*T, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	if n <= 0 {
		return []*T{}, nil
	}
	return together(ctx, sharded(partition), func(ctx context.Context, shard string) ([]*T, error) {
		count := 0
		var failed error
		// Some of the first are leased or not the first of their lane.
		q := query{index: "ix1", partition: shard, below: dueBy(now), limit: 2 * n}
		found, err := list(ctx, s, q, func(v *T) (bool, bool) {
			ok, err := ready(v)
			if ok {
				count++
			}
			failed = err
			return ok, count == n || err != nil
		})
		return found, cmp.Or(err, failed)
	})
}

// together reads several partitions at the same time and gives what each has, in
// their order.
func together[T any](ctx context.Context, partitions []string, read func(ctx context.Context, partition string) ([]T, error)) ([]T, error) {
	found := make([][]T, len(partitions))
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range partitions {
		g.Go(func() (err error) {
			found[i], err = read(ctx, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // read's own
	}
	return slices.Concat([]T{}, slices.Concat(found...)), nil
}

// Suppressions lists those in force at now.
func (s *Store) Suppressions(ctx context.Context, now time.Time) ([]*remediation.Suppression, error) {
	live, err := list(ctx, s, query{partition: "S"}, func(x *remediation.Suppression) (bool, bool) { return rows.Live(x, now), false })
	slices.SortFunc(live, func(a, b *remediation.Suppression) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return live, err
}

// Audit lists an incident's audit entries by Seq.
func (s *Store) Audit(ctx context.Context, incident string) ([]remediation.AuditEntry, error) {
	found, err := list(ctx, s, query{partition: "A#" + incident}, func(*remediation.AuditEntry) (bool, bool) { return true, false })
	entries := make([]remediation.AuditEntry, 0, len(found))
	for _, e := range found {
		entries = append(entries, *e)
	}
	return entries, err
}
