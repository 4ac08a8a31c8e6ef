package bolt

import (
	"bytes"
	"encoding/binary"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

// The buckets. A name in a key is its length (two bytes) and its bytes, so that
// no name runs into what follows; a time is 12 bytes that sort as times do; a
// number is eight. An id at the end stands as it is.
const (
	bucketMeta = "meta"

	// Rows, as JSON.
	bucketIncidents    = "incidents"    // id
	bucketJobs         = "jobs"         // id
	bucketNotices      = "notices"      // id
	bucketMessages     = "messages"     // the incident's id
	bucketSuppressions = "suppressions" // id
	bucketRecords      = "records"      // key
	bucketAudit        = "audit"        // name of the incident, Seq

	// What the rows don't tell.
	bucketLast = "last" // key → the id of the incident that was active last

	// Indexes.
	indexActive           = "active"                // an active incident's key → its id
	indexCreated          = "incidents by created"  // time, id → summary
	indexKey              = "incidents by key"      // name, time, id
	indexResource         = "incidents by resource" // name, time, id
	indexPlaybook         = "incidents by playbook" // name, time, id
	indexStatus           = "incidents by status"   // name, time, id
	indexJobsDue          = "jobs by due"           // unfinished: Due, id → LeaseUntil
	indexNotices          = "notices by incident"   // name of the incident, Seq, id
	indexUnsent           = "unsent by lane"        // name of the lane, Seq, id → Due, LeaseUntil
	indexNoticesDue       = "notices by due"        // the first unsent of each lane, and those without: Due, id → LeaseUntil
	indexSuppressionsLive = "suppressions by until" // not taken back: Until (forever where zero), id
	indexSettled          = "settled"               // what Sweep may take: since when, name of the bucket, id
)

// timeLen and numberLen are the lengths of a time and a number in a key.
const (
	timeLen   = 12
	numberLen = 8
)

// buckets lists every bucket.
func buckets() []string {
	return []string{
		bucketMeta, bucketIncidents, bucketJobs, bucketNotices, bucketMessages, bucketSuppressions, bucketAudit, bucketRecords, bucketLast,
		indexActive, indexCreated, indexKey, indexResource, indexPlaybook, indexStatus,
		indexJobsDue, indexNotices, indexUnsent, indexNoticesDue, indexSuppressionsLive, indexSettled,
	}
}

// kind says how one kind of row is kept.
type kind[T any] struct {
	bucket  string
	key     func(*T) []byte
	version func(*T) *int
	entries func(*T) []entry // what the indexes hold of a row
}

// entry is one key of an index.
type entry struct {
	bucket     string
	key, value []byte
}

func incidentKind() kind[remediation.Incident] {
	return kind[remediation.Incident]{
		bucket:  bucketIncidents,
		key:     func(i *remediation.Incident) []byte { return []byte(i.ID) },
		version: func(i *remediation.Incident) *int { return &i.Version },
		entries: func(i *remediation.Incident) []entry {
			tail := join(timeKey(i.CreatedAt), []byte(i.ID))
			list := []entry{
				{indexCreated, tail, summaryOf(i).encode()},
				{indexKey, join(name(i.Key), tail), nil},
				{indexResource, join(name(i.Finding.Resource.ID), tail), nil},
				{indexPlaybook, join(name(i.Finding.Playbook), tail), nil},
				{indexStatus, join(name(string(i.Status)), tail), nil},
			}
			if i.Status.Active() {
				list = append(list, entry{indexActive, []byte(i.Key), []byte(i.ID)})
			}
			return list
		},
	}
}

func jobKind() kind[remediation.Job] {
	return kind[remediation.Job]{
		bucket:  bucketJobs,
		key:     func(j *remediation.Job) []byte { return []byte(j.ID) },
		version: func(j *remediation.Job) *int { return &j.Version },
		entries: func(j *remediation.Job) []entry {
			if since, ok := rows.JobSettled(j); ok {
				return []entry{settled(since, bucketJobs, j.ID)}
			}
			return []entry{{indexJobsDue, join(timeKey(j.Due), []byte(j.ID)), timeKey(j.LeaseUntil)}}
		},
	}
}

// noticeKind leaves indexNoticesDue out for notices of an incident: which of
// them stands there depends on the others (see heads).
func noticeKind() kind[remediation.Notice] {
	return kind[remediation.Notice]{
		bucket:  bucketNotices,
		key:     func(n *remediation.Notice) []byte { return []byte(n.ID) },
		version: func(n *remediation.Notice) *int { return &n.Version },
		entries: func(n *remediation.Notice) []entry {
			var list []entry
			place := join(number(int64(n.Seq)), []byte(n.ID))
			if n.Incident != "" {
				list = append(list, entry{indexNotices, join(name(n.Incident), place), nil})
			}
			since, sent := rows.NoticeSettled(n)
			switch {
			case sent:
				list = append(list, settled(since, bucketNotices, n.ID))
			case n.Incident != "":
				list = append(list, entry{indexUnsent, join(name(rows.Lane(n)), place), join(timeKey(n.Due), timeKey(n.LeaseUntil))})
			default:
				list = append(list, entry{indexNoticesDue, join(timeKey(n.Due), []byte(n.ID)), timeKey(n.LeaseUntil)})
			}
			return list
		},
	}
}

func messageKind() kind[remediation.MessageRef] {
	return kind[remediation.MessageRef]{
		bucket:  bucketMessages,
		key:     func(m *remediation.MessageRef) []byte { return []byte(m.Incident) },
		version: func(m *remediation.MessageRef) *int { return &m.Version },
		entries: func(*remediation.MessageRef) []entry { return nil },
	}
}

func suppressionKind() kind[remediation.Suppression] {
	return kind[remediation.Suppression]{
		bucket:  bucketSuppressions,
		key:     func(s *remediation.Suppression) []byte { return []byte(s.ID) },
		version: func(s *remediation.Suppression) *int { return &s.Version },
		entries: func(s *remediation.Suppression) []entry {
			var list []entry
			if since, ok := rows.SuppressionSettled(s); ok {
				list = append(list, settled(since, bucketSuppressions, s.ID))
			}
			if !s.Ended {
				until := timeKey(s.Until)
				if s.Until.IsZero() {
					until = bytes.Repeat([]byte{0xff}, timeLen)
				}
				list = append(list, entry{indexSuppressionsLive, join(until, []byte(s.ID)), nil})
			}
			return list
		},
	}
}

func recordKind() kind[remediation.Record] {
	return kind[remediation.Record]{
		bucket:  bucketRecords,
		key:     func(r *remediation.Record) []byte { return []byte(r.Key) },
		version: func(r *remediation.Record) *int { return &r.Version },
		entries: func(r *remediation.Record) []entry {
			if since, ok := rows.RecordSettled(r); ok {
				return []entry{settled(since, bucketRecords, r.Key)}
			}
			return nil
		},
	}
}

func auditKind() kind[remediation.AuditEntry] {
	return kind[remediation.AuditEntry]{
		bucket:  bucketAudit,
		key:     func(e *remediation.AuditEntry) []byte { return join(name(e.Incident), number(int64(e.Seq))) },
		version: func(*remediation.AuditEntry) *int { return new(int) }, // always new
		entries: func(*remediation.AuditEntry) []entry { return nil },
	}
}

func settled(since time.Time, bucket, id string) entry {
	return entry{indexSettled, join(timeKey(since), name(bucket), []byte(id)), nil}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// name gives a string with its length before it.
func name(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) //nolint:gosec // rows.Check bounds it to 1024
}

// cutName takes a name off the front of b. It gives an empty string where b
// is none.
func cutName(b []byte) (string, []byte) {
	if len(b) < 2 {
		return "", nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return "", nil
	}
	return string(b[2:n]), b[n:]
}

// number gives n as eight bytes that sort as numbers do, negative ones too.
func number(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63) //nolint:gosec // the sign is meant to wrap: see above
}

// timeKey gives t as timeLen bytes that sort as times do.
func timeKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint32(number(t.Unix()), uint32(t.Nanosecond())) //nolint:gosec // below 1e9
}

// summary is what queries filter incidents by, so that those they leave out
// need not be read.
type summary struct{ status, playbook, resource, key string }

func summaryOf(i *remediation.Incident) summary {
	return summary{string(i.Status), i.Finding.Playbook, i.Finding.Resource.ID, i.Key}
}

func (s summary) encode() []byte {
	return join(name(s.status), name(s.playbook), name(s.resource), name(s.key))
}

func decodeSummary(b []byte) (s summary) {
	s.status, b = cutName(b)
	s.playbook, b = cutName(b)
	s.resource, b = cutName(b)
	s.key, _ = cutName(b)
	return s
}
