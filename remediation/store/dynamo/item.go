package dynamo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

const (
	// maxInline is how large a compressed row may be to stay in DynamoDB, whose
	// items have 400 KB at most, names, keys and index attributes included.
	maxInline = 350 << 10
	// maxRow bounds what is read back from S3.
	maxRow = 64 << 20
	// shards spreads over so many partitions what would all be in one.
	shards = 4
	// keepSettled is when DynamoDB may delete settled rows that nobody sweeps.
	keepSettled = 35 * 24 * time.Hour
	// maxSortKey is how much of an id stands in a sort key, which has 1024 bytes
	// at most, before its hash takes over.
	maxSortKey = 900
)

// item is one row on its way to the table.
type item map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// stamp writes a time so that texts sort as times do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// sortKey puts what sorts before an id.
func sortKey(first, id string) string {
	if len(id) > maxSortKey {
		sum := sha256.Sum256([]byte(id))
		id = id[:maxSortKey/2] + hex.EncodeToString(sum[:])
	}
	return first + "#" + id
}

func shard(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return strconv.Itoa(int(h.Sum32() % shards))
}

// index has the item stand in an index.
func (it item) index(name, partition, sort string) {
	it[partitionOf(name)], it[sortOf(name)] = text(partition), text(sort)
}

// settled has Sweep find the item, and DynamoDB delete it some time.
func (it item) settled(since time.Time, id string) {
	it.index("ix2", "SETTLED#"+shard(id), sortKey(stamp(since), id))
	it[attrTTL] = number(since.Add(keepSettled).Unix())
}

// split is a row in two: the member that may be large and changes seldom, and
// the rest.
type split struct{ rest, large any }

// newItem makes a row's item; version is what it will be. Where the row is too
// large its large member alone goes aside, so that one object serves all its
// versions.
func (s *Store) newItem(ctx context.Context, pk, sk string, version int, row any, parts split) (item, error) {
	it := item{attrPK: text(pk), attrSK: text(sk), attrVersion: number(int64(version))}
	packed, err := s.packer.pack(row)
	if err != nil {
		return nil, err
	}
	if len(packed) > maxInline {
		rest, err := s.packer.pack(parts.rest)
		if err != nil {
			return nil, err
		}
		aside := packed
		if packed = nil; parts.rest != nil && len(rest) <= maxInline {
			if aside, err = s.packer.pack(parts.large); err != nil {
				return nil, err
			}
			packed = rest
		}
		name, err := s.putObject(ctx, aside)
		if err != nil {
			return nil, err
		}
		it[attrObject] = text(name)
	}
	if packed != nil {
		it[attrData] = &types.AttributeValueMemberB{Value: packed}
	}
	return it, nil
}

// packer compresses rows. A gzip writer takes many times what a row has, so that they
// are kept; at its best speed it clears no tables for each row.
type packer struct{ writers, readers sync.Pool }

func (p *packer) pack(row any) ([]byte, error) {
	raw, err := rows.Encode(row)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, ok := p.writers.Get().(*gzip.Writer)
	if !ok {
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, fmt.Errorf("compress a row: %w", err)
		}
	}
	defer p.writers.Put(w)
	w.Reset(&b)
	if _, err := w.Write(raw); err != nil {
		return nil, fmt.Errorf("compress a row: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress a row: %w", err)
	}
	return b.Bytes(), nil
}

func (p *packer) unpack(packed io.Reader) ([]byte, error) {
	r, ok := p.readers.Get().(*gzip.Reader)
	if !ok {
		r = new(gzip.Reader)
	}
	defer p.readers.Put(r)
	if err := r.Reset(packed); err != nil {
		return nil, fmt.Errorf("a row of the store is damaged: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxRow))
	if err != nil {
		return nil, fmt.Errorf("a row of the store is damaged: %w", err)
	}
	return raw, nil
}

// putObject keeps a large row under its hash, so that a repetition is the same
// object.
func (s *Store) putObject(ctx context.Context, packed []byte) (string, error) {
	if s.o.Bucket == "" {
		return "", fmt.Errorf("%w: it has %d KB compressed, DynamoDB takes %d: name an S3 bucket for such rows, as SECBOT_STORE=dynamodb://%s?bucket=NAME",
			rows.ErrInvalid, len(packed)>>10, maxInline>>10, s.o.Table)
	}
	sum := sha256.Sum256(packed)
	name := "rows/" + hex.EncodeToString(sum[:])
	if _, err := s.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.o.Bucket, Key: &name, Body: bytes.NewReader(packed)}); err != nil {
		return "", fmt.Errorf("keep a large row in the bucket %s (s3:PutObject): %w", s.o.Bucket, err)
	}
	return name, nil
}

// data reads the JSON of an item's row, and of what went aside of it.
func (s *Store) data(ctx context.Context, it item) (parts [][]byte, err error) {
	if b, ok := it[attrData].(*types.AttributeValueMemberB); ok {
		raw, err := s.packer.unpack(bytes.NewReader(b.Value))
		if err != nil {
			return nil, err
		}
		parts = append(parts, raw)
	}
	if name := textOf(it, attrObject); name != "" {
		raw, err := s.object(ctx, name)
		if err != nil {
			return nil, err
		}
		parts = append(parts, raw)
	}
	if parts == nil {
		return nil, fmt.Errorf("item %v of the table %s holds no row", it[attrPK], s.o.Table)
	}
	return parts, nil
}

func (s *Store) object(ctx context.Context, name string) ([]byte, error) {
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.o.Bucket, Key: &name})
	if err != nil {
		return nil, fmt.Errorf("read a large row from the bucket %q (s3:GetObject): %w", s.o.Bucket, err)
	}
	defer out.Body.Close()
	return s.packer.unpack(io.LimitReader(out.Body, maxRow))
}

// decode reads an item's row as a T.
func decode[T any](ctx context.Context, s *Store, it item) (*T, error) {
	parts, err := s.data(ctx, it)
	if err != nil {
		return nil, err
	}
	v := new(T)
	for _, raw := range parts {
		if err := json.Unmarshal(raw, v); err != nil {
			return nil, fmt.Errorf("item %v of the table %s is damaged: %w", it[attrPK], s.o.Table, err)
		}
	}
	return v, nil
}

func (s *Store) incidentItem(ctx context.Context, i remediation.Incident) (item, error) {
	i.Version++
	rest := i
	rest.Plan = nil
	it, err := s.newItem(ctx, "I#"+i.ID, "-", i.Version, &i, split{&rest, map[string]any{"plan": i.Plan}})
	if err != nil {
		return nil, err
	}
	at := sortKey(stamp(i.CreatedAt), i.ID)
	it.index("ix4", "INC#"+shard(i.ID), at)
	if i.Status.Active() {
		it.index("ix1", statusPartition(i.Status)+shard(i.ID), at)
	}
	if i.Status != "" {
		it[attrStatus] = text(string(i.Status))
	}
	it[attrUpdated] = text(stamp(i.UpdatedAt))
	if p := i.Finding.Playbook; p != "" {
		it[attrPlaybook] = text(p)
	}
	if r := i.Finding.Resource.ID; r != "" {
		it.index("ix2", "RES#"+r, at)
	}
	if i.Key != "" {
		it.index(indexKey, keyPartition(i.Key), at)
	}
	return it, nil
}

// indexKey is the index of incidents by their key.
const indexKey = "ix3"

// keyPartition is where incidents of a key stand in it.
func keyPartition(key string) string { return "KEY#" + key }

// statusPartition begins the names of the partitions of an active status.
func statusPartition(s remediation.Status) string { return "STATUS#" + string(s) + "#" }

func (s *Store) jobItem(ctx context.Context, j remediation.Job) (item, error) {
	j.Version++
	rest := j
	rest.Payload = nil
	it, err := s.newItem(ctx, "J#"+j.ID, "-", j.Version, &j, split{&rest, map[string]any{"payload": j.Payload}})
	if err != nil {
		return nil, err
	}
	if since, done := rows.JobSettled(&j); done {
		it.settled(since, j.ID)
	} else {
		it.index("ix1", "JOB#"+shard(j.ID), sortKey(stamp(j.Due), j.ID))
	}
	return it, nil
}

// noticeItem puts a notice beside the others of its incident.
func (s *Store) noticeItem(ctx context.Context, n remediation.Notice) (item, error) {
	n.Version++
	pk, sk := "N#"+n.Incident, n.ID
	if n.Incident == "" {
		pk, sk = "O#"+n.ID, "-"
	}
	rest := n
	rest.Payload = nil
	it, err := s.newItem(ctx, pk, sk, n.Version, &n, split{&rest, map[string]any{"payload": n.Payload}})
	if err != nil {
		return nil, err
	}
	if since, sent := rows.NoticeSettled(&n); sent {
		it.settled(since, n.ID)
	} else {
		it.index("ix1", "UNSENT#"+shard(n.ID), sortKey(stamp(n.Due), n.ID))
	}
	return it, nil
}

func (s *Store) messageItem(ctx context.Context, m remediation.MessageRef) (item, error) {
	m.Version++
	return s.newItem(ctx, "M#"+m.Incident, "-", m.Version, &m, split{})
}

func (s *Store) suppressionItem(ctx context.Context, x remediation.Suppression) (item, error) {
	x.Version++
	it, err := s.newItem(ctx, "S", x.ID, x.Version, &x, split{})
	if err != nil {
		return nil, err
	}
	if since, settled := rows.SuppressionSettled(&x); settled {
		it.settled(since, x.ID)
	}
	return it, nil
}

func (s *Store) recordItem(ctx context.Context, r remediation.Record) (item, error) {
	r.Version++
	rest := r
	rest.Data = nil
	it, err := s.newItem(ctx, "R#"+r.Key, "-", r.Version, &r, split{&rest, map[string]any{"data": r.Data}})
	if err != nil {
		return nil, err
	}
	if since, settled := rows.RecordSettled(&r); settled {
		it.settled(since, r.Key)
	}
	return it, nil
}

func (s *Store) auditItem(ctx context.Context, e remediation.AuditEntry) (item, error) {
	return s.newItem(ctx, "A#"+e.Incident, fmt.Sprintf("%019d", e.Seq), 1, &e, split{})
}
