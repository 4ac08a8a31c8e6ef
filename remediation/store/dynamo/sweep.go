package dynamo

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxSweep bounds how many rows one Sweep deletes: each is a request. DynamoDB
// deletes by itself what none gets to (attrTTL).
const maxSweep = 2000

// Sweep deletes what has been settled since before the given time, some thousand
// rows at most (dynamodb:DeleteItem). A row that is just being written is left to
// the next.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	swept := 0
	for _, shard := range sharded("SETTLED#") {
		for it, err := range s.query(ctx, query{index: "ix2", partition: shard, below: stamp(before)}) {
			if err != nil {
				return swept, err
			}
			if swept == maxSweep {
				return swept, nil
			}
			gone, err := s.sweepOne(ctx, it)
			if err != nil {
				return swept, err
			}
			if gone {
				swept++
			}
		}
	}
	return swept, nil
}

// sweepOne deletes an item unless it is not the one any more that the index has.
func (s *Store) sweepOne(ctx context.Context, it item) (bool, error) {
	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.o.Table, Key: item{attrPK: it[attrPK], attrSK: it[attrSK]},
		ConditionExpression: aws.String(attrVersion + " = :v"), ExpressionAttributeValues: item{":v": it[attrVersion]},
	})
	var changed *types.ConditionalCheckFailedException
	var busy *types.TransactionConflictException
	if errors.As(err, &changed) || errors.As(err, &busy) {
		return false, nil // somebody needs it again, or has swept it
	}
	return err == nil, s.explain(err)
}
