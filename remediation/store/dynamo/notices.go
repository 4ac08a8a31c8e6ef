package dynamo

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/internal/rows"
)

const (
	// maxWaiting is how many unsent notices of a shard are read at most to find
	// the first of each lane.
	maxWaiting = 2000
	// lanesEach is how many lanes DueNotices asks the table about for each notice
	// that is wanted, before it reads all that is unsent instead.
	lanesEach = 4
)

// errManyLanes says that most of what is due waits behind something else.
var errManyLanes = errors.New("too many lanes wait")

// DueNotices lists the first unsent notice of each lane, and unsent notices
// without one, that may be sent at now.
func (s *Store) DueNotices(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	l := &lanes{s: s, heads: map[string]string{}, left: lanesEach * n}
	due, err := inShards(ctx, s, "UNSENT#", now, n, func(x *remediation.Notice) (bool, error) {
		if x.Sent || !rows.Ready(x.Due, x.LeaseUntil, now) {
			return false, nil
		}
		return l.isHead(ctx, x)
	})
	if errors.Is(err, errManyLanes) {
		due, err = l.due(ctx, now, n)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(due, rows.ByDue)
	return due[:min(len(due), max(n, 0))], nil
}

// lanes is what a call of DueNotices knows of the lanes.
type lanes struct {
	s     *Store
	mu    sync.Mutex
	heads map[string]string // the id of the first unsent notice of a lane
	left  int               // how many more may be asked for
}

// isHead reports whether a notice is the first unsent of its lane, as the table
// has it: what the index shows of the others may be old. errManyLanes.
func (l *lanes) isHead(ctx context.Context, n *remediation.Notice) (bool, error) {
	lane := rows.Lane(n)
	if lane == "" {
		return true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.heads[lane]; !known {
		if l.left == 0 {
			return false, errManyLanes
		}
		l.left--
		all, err := l.s.Notices(ctx, n.Incident)
		if err != nil {
			return false, err
		}
		for _, x := range slices.Backward(all) {
			if !x.Sent {
				l.heads[rows.Lane(x)] = x.ID
			}
		}
	}
	return l.heads[lane] == n.ID, nil
}

// due is for an outbox in which many wait behind what is not due: those that the
// index shows to be the first of their lanes are asked about alone.
func (l *lanes) due(ctx context.Context, now time.Time, n int) ([]*remediation.Notice, error) {
	unsent, err := l.s.unsent(ctx)
	if err != nil {
		return nil, err
	}
	due := []*remediation.Notice{}
	for _, x := range rows.Heads(unsent) {
		if !rows.Ready(x.Due, x.LeaseUntil, now) {
			continue
		}
		l.left = 1
		first, err := l.isHead(ctx, x)
		if err != nil {
			return nil, err
		}
		if !first {
			continue
		}
		if due = append(due, x); len(due) == n {
			break
		}
	}
	return due, nil
}

// unsent reads what is unsent as the index has it, of each shard the first by Due.
func (s *Store) unsent(ctx context.Context) ([]*remediation.Notice, error) {
	return together(ctx, sharded("UNSENT#"), func(ctx context.Context, shard string) ([]*remediation.Notice, error) {
		count := 0
		return list(ctx, s, query{index: "ix1", partition: shard}, func(x *remediation.Notice) (bool, bool) {
			count++
			return !x.Sent, count == maxWaiting
		})
	})
}

// Waiting lists the first unsent notice of each lane, and unsent notices without
// one, as the index has them: a query a shard or a few, however many lanes there
// are.
func (s *Store) Waiting(ctx context.Context, n int) ([]*remediation.Notice, error) {
	unsent, err := s.unsent(ctx)
	if err != nil {
		return nil, err
	}
	heads := rows.Heads(unsent)
	return heads[:min(len(heads), max(n, 0))], nil
}

// Notices lists an incident's notices by Seq.
func (s *Store) Notices(ctx context.Context, incident string) ([]*remediation.Notice, error) {
	if incident == "" {
		return nil, s.begin(ctx)
	}
	found, err := list(ctx, s, query{partition: "N#" + incident}, func(*remediation.Notice) (bool, bool) { return true, false })
	slices.SortFunc(found, rows.BySeq)
	return found, err
}
