package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

const (
	// maxItems is what one transaction may hold.
	maxItems = 100
	// maxCollisions is how often a transaction that collided with another, or
	// that DynamoDB had no room for, is tried.
	maxCollisions = 10
	// collisionPause and throttlePause are the first pauses after such an
	// attempt; the next are that much longer each.
	collisionPause, throttlePause = 10 * time.Millisecond, 50 * time.Millisecond
)

// write is a Write on its way: its items, and what counts the versions up.
type write struct {
	items   []types.TransactWriteItem
	counted []func()
	assumed bool // that the incident had the same key before, which is a condition
}

// Commit stores everything in w or nothing, in one transaction
// (dynamodb:PutItem, DeleteItem, ConditionCheckItem); remediation.ErrConflict.
// A Write of more than a hundred items is refused.
func (s *Store) Commit(ctx context.Context, w remediation.Write) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := rows.Check(w); err != nil {
		return err
	}
	tx, err := s.prepare(ctx, w, true)
	if err != nil || len(tx.items) == 0 {
		return err
	}
	if len(tx.items) > maxItems {
		return fmt.Errorf("%w: one write has %d items, DynamoDB takes %d at once", rows.ErrInvalid, len(tx.items), maxItems)
	}
	err = s.transact(ctx, tx.items)
	if tx.assumed && errors.Is(err, remediation.ErrConflict) {
		if tx, err = s.prepare(ctx, w, false); err == nil {
			err = s.transact(ctx, tx.items)
		}
	}
	if err != nil {
		return err
	}
	for _, count := range tx.counted {
		count()
	}
	return nil
}

// prepare makes the items of a Write. With assume an incident is taken to have had
// the same key before, as nearly all have, so that its row need not be read.
func (s *Store) prepare(ctx context.Context, w remediation.Write, assume bool) (*write, error) {
	tx := &write{}
	if i := w.Incident; i != nil {
		it, err := s.incidentItem(ctx, *i)
		if err := s.put(tx, it, &i.Version, err); err != nil {
			return nil, err
		}
		if err := s.claim(ctx, tx, i, assume); err != nil {
			return nil, err
		}
	}
	for _, j := range w.Jobs {
		it, err := s.jobItem(ctx, *j)
		if err := s.put(tx, it, &j.Version, err); err != nil {
			return nil, err
		}
	}
	for _, n := range w.Notices {
		it, err := s.noticeItem(ctx, *n)
		if err := s.put(tx, it, &n.Version, err); err != nil {
			return nil, err
		}
	}
	if m := w.Message; m != nil {
		it, err := s.messageItem(ctx, *m)
		if err := s.put(tx, it, &m.Version, err); err != nil {
			return nil, err
		}
	}
	for _, x := range w.Suppressions {
		it, err := s.suppressionItem(ctx, *x)
		if err := s.put(tx, it, &x.Version, err); err != nil {
			return nil, err
		}
	}
	for _, r := range w.Records {
		it, err := s.recordItem(ctx, *r)
		if err := s.put(tx, it, &r.Version, err); err != nil {
			return nil, err
		}
	}
	for _, e := range w.Audit {
		none := 0
		it, err := s.auditItem(ctx, e)
		if err := s.put(tx, it, &none, err); err != nil {
			return nil, err
		}
	}
	return tx, nil
}

// put adds a row on condition of its version.
func (s *Store) put(tx *write, it item, version *int, err error) error {
	if err != nil {
		return err
	}
	p := &types.Put{TableName: &s.o.Table, Item: it, ConditionExpression: aws.String("attribute_not_exists(" + attrPK + ")")}
	if *version != 0 {
		p.ConditionExpression = aws.String(attrVersion + " = :v")
		p.ExpressionAttributeValues = item{":v": number(int64(*version))}
	}
	tx.items = append(tx.items, types.TransactWriteItem{Put: p})
	tx.counted = append(tx.counted, func() { *version++ })
	return nil
}

// claim moves the claim of an incident's key; a claim that is set free keeps who
// had it. What the incident held before is known from the row, which the condition
// on its version keeps as it was read. With assume the row of an active incident is
// not read, and its key is a condition as well: what it held is then either nothing
// or the claim that is written in any case.
func (s *Store) claim(ctx context.Context, tx *write, i *remediation.Incident, assume bool) error {
	held := ""
	if tx.assumed = assume && i.Version > 0 && i.Status.Active(); tx.assumed {
		row := tx.items[0].Put
		row.ConditionExpression = aws.String(*row.ConditionExpression + " AND " + partitionOf(indexKey) + " = :key")
		row.ExpressionAttributeValues[":key"] = text(keyPartition(i.Key))
	} else if i.Version > 0 {
		old, err := s.Incident(ctx, i.ID)
		if errors.Is(err, remediation.ErrNotFound) || err == nil && old.Version != i.Version {
			return remediation.ErrConflict
		}
		if err != nil {
			return err
		}
		if old.Status.Active() {
			held = old.Key
		}
	}
	if i.Status.Active() {
		tx.items = append(tx.items, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.o.Table, Item: item{attrPK: text("K#" + i.Key), attrSK: text("-"), attrHolder: text(i.ID), attrLast: text(i.ID)},
			ConditionExpression:       aws.String("attribute_not_exists(" + attrHolder + ") OR " + attrHolder + " = :id"),
			ExpressionAttributeValues: item{":id": text(i.ID)},
		}})
	}
	switch free := aws.String(attrHolder + " = :id"); {
	case held == "" || held == i.Key && i.Status.Active():
	case held == i.Key:
		tx.items = append(tx.items, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.o.Table, Item: item{attrPK: text("K#" + held), attrSK: text("-"), attrLast: text(i.ID)},
			ConditionExpression: free, ExpressionAttributeValues: item{":id": text(i.ID)},
		}})
	default:
		tx.items = append(tx.items, types.TransactWriteItem{Delete: &types.Delete{
			TableName: &s.o.Table, Key: item{attrPK: text("K#" + held), attrSK: text("-")},
			ConditionExpression: free, ExpressionAttributeValues: item{":id": text(i.ID)},
		}})
	}
	return nil
}

// transact writes all items or none. A transaction that met another on the same
// items, or more writes than a partition takes, is tried again, since nothing is
// known to be otherwise than it was read. Where all attempts end so, the error is
// not remediation.ErrConflict: nobody need have stored anything.
func (s *Store) transact(ctx context.Context, items []types.TransactWriteItem) error {
	for try := 1; ; try++ {
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
		var canceled *types.TransactionCanceledException
		if err == nil || !errors.As(err, &canceled) {
			return s.explain(err)
		}
		if hasReason(canceled, "ConditionalCheckFailed") {
			return remediation.ErrConflict
		}
		pause := pauseAfter(canceled)
		if pause == 0 || try == maxCollisions {
			return s.explain(err)
		}
		if err := s.pause(ctx, try, pause); err != nil {
			return err
		}
	}
}

// pause waits after an attempt, the longer the more there were.
func (s *Store) pause(ctx context.Context, try int, first time.Duration) error {
	first += rand.N(first) //nolint:gosec // only spreads attempts
	return s.o.Sleep(ctx, time.Duration(try)*first)
}

// pauseAfter is the first pause after a transaction that was canceled and may be
// tried again; 0 where that is no use.
func pauseAfter(e *types.TransactionCanceledException) time.Duration {
	switch {
	case hasReason(e, "ThrottlingError"), hasReason(e, "ProvisionedThroughputExceeded"):
		return throttlePause
	case hasReason(e, "TransactionConflict"):
		return collisionPause
	}
	return 0
}

func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write to the table %s: %w", s.o.Table, err)
}

func hasReason(e *types.TransactionCanceledException, code string) bool {
	return slices.ContainsFunc(e.CancellationReasons, func(r types.CancellationReason) bool { return aws.ToString(r.Code) == code })
}
