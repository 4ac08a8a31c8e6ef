//go:build crash

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"secbot/remediation"
)

// watched is a store that tells a test of every write, before and after it, so that
// the test can end the process there. Only programs built for that have it.
func watched(st remediation.Store) remediation.Store {
	if to := os.Getenv("SECBOT_CRASH_POINTS"); to != "" {
		return &watchedStore{Store: st, to: to}
	}
	return st
}

type watchedStore struct {
	remediation.Store
	to string
	n  atomic.Int64
}

// Commit implements remediation.Store.
func (s *watchedStore) Commit(ctx context.Context, w remediation.Write) error {
	what := whatIsStored(w)
	if what == "" {
		return s.Store.Commit(ctx, w)
	}
	n := s.n.Add(1)
	s.tell(what, n, "before")
	err := s.Store.Commit(ctx, w)
	s.tell(what, n, "after")
	return err
}

func (s *watchedStore) tell(what string, n int64, side string) {
	resp, err := http.PostForm(s.to, url.Values{"what": {what}, "n": {fmt.Sprint(n)}, "side": {side}})
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the test does not hear of a write:", err)
	}
}

// whatIsStored names a write by what is in it; empty for what comes by itself or
// only where a machine is slow.
func whatIsStored(w remediation.Write) string {
	var parts []string
	if w.Incident != nil {
		parts = append(parts, "incident "+string(w.Incident.Status))
	}
	for _, j := range w.Jobs {
		switch {
		case j.Scheduled() || j.Kind == "snapshot":
			return ""
		case j.Done:
			parts = append(parts, j.Kind+" done")
		case !j.LeaseUntil.IsZero():
			parts = append(parts, j.Kind+" taken")
		case j.Version > 0:
			return "" // put back
		default:
			parts = append(parts, j.Kind+" due")
		}
	}
	for _, n := range w.Notices {
		switch {
		case n.Sent:
			parts = append(parts, n.Op+" sent")
		case !n.LeaseUntil.IsZero():
			parts = append(parts, n.Op+" taken")
		case n.Version > 0:
			return "" // put off
		default:
			parts = append(parts, n.Op+" to send")
		}
	}
	if w.Message != nil {
		parts = append(parts, "where the message is")
	}
	if len(w.Suppressions) > 0 {
		parts = append(parts, "suppression")
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	return "store " + strings.Join(slices.Compact(parts), ", ")
}
