// Package dynamo is a remediation.Store in one DynamoDB table, for several
// processes that share it.
//
// Every row is one item under a key of its own, with its version, and changes
// by conditional writes in one TransactWriteItems. There are no streams. The
// access patterns:
//
//	item                  pk            sk     read by
//	incident              I#id          -      GetItem
//	claim of a key        K#key         -      GetItem: which incident is active, or was last
//	job                   J#id          -      GetItem
//	notice of an incident N#incident    id     Query: in which order they go out
//	other notice          O#id          -      through an index alone
//	message reference     M#incident    -      GetItem
//	suppression           S             id     Query: all that may be in force
//	record                R#key         -      GetItem
//	audit entry           A#incident    seq    Query
//
//	index  pk                   sk            what stands in it
//	ix1    JOB#shard            due, id       unfinished jobs
//	ix1    UNSENT#shard         due, id       unsent notices
//	ix1    STATUS#status#shard  created, id   active incidents
//	ix2    RES#resource         created, id   incidents
//	ix2    SETTLED#shard        since, id     what Sweep may take
//	ix3    KEY#key              created, id   incidents
//	ix4    INC#shard            created, id   incidents
//
// What is small and read often has all its attributes in an index, ix1, and leaves
// it when it is settled. The others have the keys and what lists are filtered by;
// the rows themselves are then read from the table (BatchGetItem). So a list of
// what is open reads nothing else, any other list passes over thousands of
// incidents with one query, and a write that changes none of that leaves ix2 and ix3
// alone; ix4 has when it was too. Nothing that every write touches stands in one partition, which takes
// no more than 1000 writes a second and would hold up the table: the shards are
// for that. Partitions by month would not do: all that is new is of this month.
//
// Reads of the table are strongly consistent, so what must not be missed is
// read there: the active and the last incident of a key, the order of an incident's notices,
// suppressions, the audit log. The
// indexes follow within a moment. What they give may be old, which harms
// nothing: whoever takes up a job or notice leases it by a conditional write on
// the table, and a row that is not seen yet is seen at the next look.
//
// Of a row over 350 KB, compressed, the plan, payload or data goes to an S3 bucket
// under the hash of its content, before the item that names it: one object for all
// versions of the row.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ErrClosed says that the store was closed before the call.
var ErrClosed = errors.New("dynamo store is closed")

// Options are what a Store needs.
type Options struct {
	Table string // its name
	// Bucket keeps rows that are too large for DynamoDB. Empty: those are
	// refused.
	Bucket string
	// Sleep waits between attempts of a transaction that collided with another;
	// a timer where nil.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Store keeps rows in a table. Use New to make one.
type Store struct {
	o      Options
	db     *dynamodb.Client
	s3     *s3.Client
	packer packer
	closed atomic.Bool
}

// Actions are the IAM actions that a store needs: the transaction's are those of
// its parts ("IAM and transactions" in the DynamoDB Developer Guide).
func Actions(o Options) []string {
	actions := []string{"dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}
	if o.Bucket != "" {
		actions = append(actions, "s3:GetObject", "s3:PutObject")
	}
	return actions
}

// New makes a store on a table that exists, as CreateTable makes it. It calls
// nobody.
func New(cfg aws.Config, o Options) *Store {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return &Store{
		o: o, db: dynamodb.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, func(s *s3.Options) { s.UsePathStyle = s.UsePathStyle || s.BaseEndpoint != nil }),
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// begin refuses calls on a closed store and with an ended context.
func (s *Store) begin(ctx context.Context) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// Ping says whether the table can be reached (dynamodb:DescribeTable).
func (s *Store) Ping(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if _, err := s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.o.Table}); err != nil {
		return fmt.Errorf("the table %s can't be reached (SECBOT_STORE, dynamodb:DescribeTable): %w", s.o.Table, err)
	}
	return nil
}

// Close makes every other method return ErrClosed.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// The names of attributes.
const (
	attrPK       = "pk"
	attrSK       = "sk"
	attrVersion  = "v"
	attrData     = "d"    // the row's JSON, compressed
	attrObject   = "o"    // the name of the object in S3 that holds it, or its large member
	attrHolder   = "id"   // of a claim: the active incident, while there is one
	attrLast     = "last" // of a claim: the incident that was active last
	attrStatus   = "st"   // of an incident
	attrPlaybook = "pb"   // of an incident
	attrUpdated  = "up"   // of an incident: when it was last changed
	attrTTL      = "ttl"  // when DynamoDB may delete the item, seconds since 1970
)

// indexes are the names of the indexes, of three letters at least, as DynamoDB
// wants; each has a partition key p1 and a sort key s1, and so on.
func indexes() []string { return []string{"ix1", "ix2", "ix3", "ix4"} }

// projection says which attributes an index has.
func projection(index string) *types.Projection {
	if index == "ix1" {
		return &types.Projection{ProjectionType: types.ProjectionTypeAll}
	}
	attributes := []string{attrVersion, attrStatus, attrPlaybook}
	if index == "ix4" {
		attributes = append(attributes, attrUpdated)
	}
	return &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: attributes}
}

func partitionOf(index string) string { return "p" + index[len("ix"):] }

func sortOf(index string) string { return "s" + index[len("ix"):] }

// TimeToLive is the attribute that says when DynamoDB may delete an item, in
// seconds since 1970.
const TimeToLive = attrTTL

// Schema is the table's keys and indexes, without its name.
func Schema() *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{KeySchema: schemaOf(attrPK, attrSK)}
	attributes := []string{attrPK, attrSK}
	for _, index := range indexes() {
		p, k := partitionOf(index), sortOf(index)
		attributes = append(attributes, p, k)
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &index, KeySchema: schemaOf(p, k), Projection: projection(index),
		})
	}
	for _, a := range attributes {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &a, AttributeType: types.ScalarAttributeTypeS})
	}
	return in
}

// CreateTable makes the table, billed by request, with its indexes, and has
// DynamoDB delete what has expired. It waits until the table can be used.
func (s *Store) CreateTable(ctx context.Context) error {
	in := Schema()
	in.TableName, in.BillingMode = &s.o.Table, types.BillingModePayPerRequest
	if _, err := s.db.CreateTable(ctx, in); err != nil {
		return fmt.Errorf("create the table %s: %w", s.o.Table, err)
	}
	wait := dynamodb.NewTableExistsWaiter(s.db)
	if err := wait.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &s.o.Table}, 5*time.Minute); err != nil {
		return fmt.Errorf("wait for the table %s: %w", s.o.Table, err)
	}
	_, err := s.db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: &s.o.Table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrTTL), Enabled: aws.Bool(true)},
	})
	if err != nil {
		return fmt.Errorf("let rows of the table %s expire: %w", s.o.Table, err)
	}
	return nil
}

func schemaOf(partition, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &partition, KeyType: types.KeyTypeHash},
		{AttributeName: &sort, KeyType: types.KeyTypeRange},
	}
}
