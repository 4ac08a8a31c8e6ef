package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ScanRun is a scan as it stands, which its message shows: while it reads how far
// it is, and then what it has found.
type ScanRun struct {
	ID          string      `json:"id"`
	By          string      `json:"by"`
	Scope       string      `json:"scope"` // as ParseScanScope takes it
	Started     time.Time   `json:"started"`
	At          time.Time   `json:"at"`                     // when the counts were taken
	Read        int         `json:"read"`                   // resources that were read
	Found       int         `json:"found"`                  // findings in them
	Failed      int         `json:"failed"`                 // what could not be read
	CancelledBy string      `json:"cancelled_by,omitempty"` // who has ended it early; empty: nobody
	Report      *ScanReport `json:"report,omitempty"`       // nil while it reads
	Gathered    *Gathered   `json:"gathered,omitempty"`     // of a scan of several accounts; nil of the own one alone
	NoticeSeq   int         `json:"notice_seq"`             // the last notice's
}

const (
	// ScanEvery is how often at most a scan's message shows how far it is.
	ScanEvery = 3 * time.Second
	// scanLook is how often a scan looks whether somebody has cancelled it.
	scanLook = time.Second
	// KeepScan is for how long a scan's findings can be fixed from its message.
	KeepScan = 30 * 24 * time.Hour
)

// givenUp is the report of a scan that never gets through: of several accounts with
// what those have come to that were scanned.
func (r *ScanRun) givenUp(cause error, now time.Time) *ScanReport {
	report := &ScanReport{ID: r.ID, By: r.By, Scope: r.Scope, Started: r.Started, Read: r.Read, Groups: []ScanGroup{}, Failures: []string{}}
	if r.Gathered != nil {
		report = r.Gathered.Sum
	}
	report.Finished = now
	report.Unread++
	report.Failures = atMost(append([]string{"the scan was given up: " + because(cause)}, report.Failures...), maxScanFailures)
	return report
}

func scanRunRecord(id string) string { return "scan/run/" + id }

// ScanMessage is what stands for the incident's id in the notices about a scan, and
// in the reference to its message.
func ScanMessage(id string) string { return "scan/" + id }

// ScanMessageRecord is the key of the record that says where a scan's message is, as a
// MessageRef. It is of use for as long as the scan is known.
func ScanMessageRecord(id string) string { return "scan/message/" + id }

// ReadScan reads how a scan stands; ErrNotFound where nobody knows it (any more).
func ReadScan(ctx context.Context, store interface {
	Record(ctx context.Context, key string) (*Record, error)
}, id string) (*ScanRun, error) {
	_, run, err := readScan(ctx, store.Record, id)
	return run, err
}

func readScan(ctx context.Context, record func(context.Context, string) (*Record, error), id string) (*Record, *ScanRun, error) {
	rec, err := record(ctx, scanRunRecord(id))
	if err != nil {
		return nil, nil, fmt.Errorf("read scan %s: %w", id, err)
	}
	run := &ScanRun{}
	if err := json.Unmarshal(rec.Data, run); err != nil {
		return nil, nil, fmt.Errorf("decode scan %s: %w", id, err)
	}
	return rec, run, nil
}

// write gives what stores the scan as it stands; with show, its message follows.
func (r *ScanRun) write(e *Engine, rec *Record, show bool) (w Write, err error) {
	if show {
		r.NoticeSeq++
		n, err := e.notice(fmt.Sprintf("%s/%d", ScanMessage(r.ID), r.NoticeSeq), NotifySlack, OpScan, nil)
		if err != nil {
			return w, err
		}
		n.Incident, n.Seq = ScanMessage(r.ID), r.NoticeSeq
		w.Notices = append(w.Notices, n)
	}
	if rec.Data, err = json.Marshal(r); err != nil {
		return w, fmt.Errorf("encode scan %s: %w", r.ID, err)
	}
	rec.At, rec.Until = e.now(), e.now().Add(KeepScan)
	w.Records = append(w.Records, rec)
	return w, nil
}

// scanShow keeps a scan's record and message up to date while the scan reads, and
// ends the reading where somebody has cancelled it.
type scanShow struct {
	e                   *Engine
	h                   *held
	read, found, failed atomic.Int64
	cancel              context.CancelFunc // ends the reading
	part                bool               // of a scan of several accounts: what it has come to is shown once it ends
	mu                  sync.Mutex
	rec                 *Record
	run                 *ScanRun
}

// watch looks after the scan until the returned function is called.
func (s *scanShow) watch(ctx context.Context) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(s.e.o.ScanLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.look(ctx); err != nil {
				s.e.logUnlessOver(ctx, "how far a scan is could not be shown", err)
			}
		}
	})
	return func() { end(); watching.Wait() }
}

// look takes over what others have made of the scan, and shows how far it is.
func (s *scanShow) look(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reread(ctx); err != nil {
		return err
	}
	if s.run.CancelledBy != "" {
		s.cancel()
		return nil
	}
	now := s.e.now()
	if s.part || now.Sub(s.run.At) < ScanEvery || !s.count() {
		return nil
	}
	s.run.At = now
	waits, err := s.e.noticeWaits(ctx, s.run.ID)
	if err != nil {
		return err
	}
	w, err := s.run.write(s.e, s.rec, !waits)
	if err != nil {
		return err
	}
	if err := s.h.commit(ctx, w, false); !errors.Is(err, ErrConflict) {
		return err
	}
	return s.reread(ctx)
}

func (s *scanShow) reread(ctx context.Context) (err error) {
	rec, run, err := readScan(ctx, s.e.o.Store.Record, s.run.ID)
	if err == nil {
		s.rec, s.run = rec, run
	}
	return err
}

// count takes over how far the scan is, and says whether that is any further.
func (s *scanShow) count() bool {
	read, found, failed := int(s.read.Load()), int(s.found.Load()), int(s.failed.Load())
	more := read != s.run.Read || found != s.run.Found || failed != s.run.Failed
	s.run.Read, s.run.Found, s.run.Failed = read, found, failed
	return more
}

// noticeWaits reports whether a notice about a scan is still to go out, which shows
// the newest numbers then.
func (e *Engine) noticeWaits(ctx context.Context, scan string) (bool, error) {
	out, err := e.o.Store.Notices(ctx, ScanMessage(scan))
	if err != nil {
		return false, fmt.Errorf("read the notices of scan %s: %w", scan, err)
	}
	return len(out) > 0 && !out[len(out)-1].Sent, nil
}

// cancelled says who has ended the scan early; empty: nobody.
func (s *scanShow) cancelled() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.CancelledBy
}

// cancelScan ends a scan early. Anybody may who may begin one.
func (e *Engine) cancelScan(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		if err := c.cancelScan(ctx, cmd); err != nil {
			return e.refuse(ctx, h, cmd, err)
		}
		if err := h.commit(ctx, c.w, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

func (c *change) cancelScan(ctx context.Context, cmd Command) error {
	rec, run, err := readScan(ctx, c.e.o.Store.Record, cmd.Scope)
	switch {
	case errors.Is(err, ErrNotFound):
		return errScanForgotten()
	case err != nil:
		return err
	case run.Report != nil:
		return &RefusedError{Text: "That scan has ended already."}
	case run.CancelledBy != "":
		return &RefusedError{Text: "That scan is being ended already, as " + run.CancelledBy + " has asked.", People: []string{run.CancelledBy}}
	}
	run.CancelledBy = cmd.By
	if c.w, err = run.write(c.e, rec, true); err != nil {
		return err
	}
	c.reply(cmd, Reply{Text: "The scan is being ended. What it has found until then is told."})
	return errors.Join(c.err, c.auditOwn(ctx, cmd.By, "cancelled a scan", "", refused{Scope: run.Scope, Command: cmd.ID}))
}

func errScanForgotten() error {
	return &RefusedError{Text: fmt.Sprintf("secbot does not know that scan any more: it keeps scans for %d days. Nothing was changed; look anew with /secbot scan.", int(KeepScan.Hours()/24))}
}
