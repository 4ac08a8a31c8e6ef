package remediation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"secbot/remediation"
)

// posted keeps a reference to each incident's message, as Slack's notifier does.
func posted(l *lab) func(remediation.Notice) error {
	return func(n remediation.Notice) error {
		if n.Op != remediation.OpMessage {
			return nil
		}
		if _, err := l.store.Message(l.t.Context(), n.Incident); err == nil {
			return nil
		}
		return l.store.Commit(l.t.Context(), remediation.Write{Message: &remediation.MessageRef{Incident: n.Incident, Channel: "C1", TS: n.ID}})
	}
}

func (l *lab) digests() (all []remediation.Digest) {
	l.slack.mu.Lock()
	defer l.slack.mu.Unlock()
	for _, n := range l.slack.got {
		if n.Op == remediation.OpDigest {
			var d remediation.Digest
			if err := json.Unmarshal(n.Payload, &d); err != nil {
				l.t.Error(err)
			}
			all = append(all, d)
		}
	}
	return all
}

// TestDigest: over so many new messages a minute the rest becomes one, and an
// incident in it is told once somebody decides about it.
func TestDigest(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Breaker, l.config.Rules = 5, remediation.Breaker{}, []remediation.PolicyRule{}
	l.slack.fail = posted(l)
	l.start()
	l.flood("a", 30, nil)
	if n := l.slack.count(remediation.OpMessage); n != 5 {
		t.Fatalf("%d messages of 30 incidents, want 5", n)
	}
	l.advance(time.Minute)
	l.until("the digest is out", func() bool { return len(l.digests()) == 1 })
	d := l.digests()[0]
	if d.Count != 25 || len(d.Lines) != 1 || d.Lines[0] != (remediation.DigestLine{Playbook: "toy", Severity: remediation.SeverityHigh, Status: remediation.StatusOpen, Count: 25}) || len(d.Worst) != 10 {
		t.Errorf("digest %+v", d)
	}
	l.submit(remediation.Command{ID: "c", Verb: remediation.VerbFix, Incident: d.Worst[0].Incident, By: "U1"})
	l.settledSoon()
	if _, err := l.store.Message(t.Context(), d.Worst[0].Incident); err != nil {
		t.Errorf("the decided incident's message: %v", err)
	}
	l.flood("b", 3, nil)
	if n := len(l.digests()); n != 1 {
		t.Errorf("%d digests, though the next minute is quiet", n)
	}
}

// contested is a store in which another process is now and then faster at the rows
// that count messages. Reading one takes a while.
type contested struct {
	remediation.Store
	mu        sync.Mutex
	faster    int // how often another still is
	conflicts int
}

func counts(key string) bool {
	return strings.HasPrefix(key, "digest/") || strings.HasPrefix(key, "pace/")
}

func (s *contested) Record(ctx context.Context, key string) (*remediation.Record, error) {
	rec, err := s.Store.Record(ctx, key)
	if counts(key) {
		time.Sleep(time.Millisecond)
	}
	return rec, err
}

func (s *contested) Commit(ctx context.Context, w remediation.Write) error {
	counting := len(w.Records) > 0 && counts(w.Records[0].Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if counting && s.faster > 0 {
		s.faster--
		return remediation.ErrConflict
	}
	err := s.Store.Commit(ctx, w)
	if counting && errors.Is(err, remediation.ErrConflict) {
		s.conflicts++
	}
	return err
}

// TestCountingDoesNotCollide: of one process only one message at a time is counted,
// and who was not fast enough stands back, each time longer.
func TestCountingDoesNotCollide(t *testing.T) {
	var s *contested
	var mu sync.Mutex
	var pauses []time.Duration
	l := newLab(t, func(o *remediation.Options) {
		s = &contested{Store: o.Store, faster: 8}
		o.Store = s
		o.Sleep = func(ctx context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			if d > 0 && d < 200*time.Millisecond { // else it is Drain's
				pauses = append(pauses, d)
			}
			return ctx.Err()
		}
	})
	l.config.Digest = 5
	for i := range 30 {
		commit(t, l.store, newMessage(l, i, remediation.SeverityHigh))
	}
	l.drain()
	if s.conflicts > 0 {
		t.Errorf("the workers of one process met %d times", s.conflicts)
	}
	if len(pauses) != 8 || pauses[7] < 40*time.Millisecond || pauses[0] > 20*time.Millisecond {
		t.Errorf("the pauses were %v", pauses)
	}
}

// TestSendingPanics: what goes wrong about one message, before it is sent too, ends
// neither the others nor the process.
func TestSendingPanics(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Store = panicking{o.Store} })
	l.config.Digest = 5
	for i := range 2 {
		commit(t, l.store, newMessage(l, i, remediation.SeverityHigh))
	}
	l.drain()
	if n := l.slack.count(remediation.OpMessage); n != 1 {
		t.Errorf("%d messages went out, want the other one", n)
	}
	left, err := l.store.Notices(t.Context(), "i0")
	if err != nil || len(left) != 1 || left[0].Sent || !strings.Contains(left[0].Error, "internal error") {
		t.Errorf("the notice: %+v, %v", left, err)
	}
}

// panicking is a store that can't read the message of one incident.
type panicking struct{ remediation.Store }

func (s panicking) Message(ctx context.Context, incident string) (*remediation.MessageRef, error) {
	if incident == "i0" {
		panic("a row that nobody thought of")
	}
	return s.Store.Message(ctx, incident)
}

func commit(t *testing.T, s remediation.Store, w remediation.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

// newMessage is an open incident whose first message waits.
func newMessage(l *lab, i int, severity remediation.Severity) remediation.Write {
	inc := &remediation.Incident{ID: fmt.Sprint("i", i), Key: fmt.Sprint("k", i), Status: remediation.StatusOpen, CreatedAt: l.options.Now(),
		Finding: remediation.Finding{Playbook: "toy", Resource: ref("h"), Severity: severity}}
	n := &remediation.Notice{ID: inc.ID + "/1", Incident: inc.ID, Seq: 1, To: remediation.NotifySlack, Op: remediation.OpMessage, Due: l.options.Now(), CreatedAt: l.options.Now()}
	return remediation.Write{Incident: inc, Notices: []*remediation.Notice{n}}
}

// TestCriticalIsNoDigest up to what Slack takes.
func TestCriticalIsNoDigest(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Breaker = 2, remediation.Breaker{}
	l.slack.fail = posted(l)
	for i := range 40 {
		commit(t, l.store, newMessage(l, i, remediation.SeverityCritical))
	}
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.slack.count(remediation.OpMessage); n != 30 {
		t.Errorf("%d messages, want 30", n)
	}
	l.advance(time.Minute)
	if err := l.engine.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := l.digests(); len(d) != 1 || d[0].Count != 10 {
		t.Errorf("digests %+v", d)
	}
}

// TestDigestsCountOnce: an attempt that failed and is made again takes no second
// place.
func TestDigestsCountOnce(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Rules = 2, []remediation.PolicyRule{}
	tries := 0
	deliver := posted(l)
	l.slack.fail = func(n remediation.Notice) error {
		if tries++; tries <= 6 {
			return fmt.Errorf("slack is down")
		}
		return deliver(n)
	}
	l.start()
	l.doors.set("a0", "front")
	l.doors.set("a1", "front")
	l.accept(signal("e0", "a0", "front"), signal("e1", "a1", "front"))
	l.until("both are told", func() bool {
		l.advance(time.Second)
		return l.slack.count(remediation.OpMessage) == 2
	})
	if n := len(l.digests()); n != 0 {
		t.Errorf("%d digests", n)
	}
}

// told counts the incidents of which Slack has heard, by name or in a digest.
func (l *lab) told() int {
	n := l.slack.count(remediation.OpMessage)
	for _, d := range l.digests() {
		n += d.Count
	}
	return n
}

// TestDigestIsClosed: what is written into a minute's digest after it has been
// made goes into the next.
func TestDigestIsClosed(t *testing.T) {
	st := &hooked{before: func(remediation.Write) {}}
	l := newLab(t, func(o *remediation.Options) { st.Store, o.Store = o.Store, st })
	l.config.Digest, l.config.Rules = 1, []remediation.PolicyRule{}
	var once atomic.Bool
	st.before = func(w remediation.Write) {
		late := slices.ContainsFunc(w.Records, func(r *remediation.Record) bool {
			return strings.HasPrefix(r.Key, "digest/") && strings.Count(string(r.Data), `"01`) >= 3
		})
		if !late || len(w.Notices) > 0 || once.Swap(true) {
			return
		}
		l.advance(10 * time.Second) // this write is slow; meanwhile the minute ends
		l.until("the digest is out", func() bool { return l.slack.count(remediation.OpDigest) == 1 })
	}
	l.advance(50 * time.Second)
	l.start()
	for i := range 3 {
		h := fmt.Sprint("a", i)
		l.doors.set(h, "front")
		l.accept(signal("e"+h, h, "front"))
		l.until("it is told or put away", func() bool {
			if len(l.incidents()) != i+1 {
				return false // read first: its notice is stored with it
			}
			waiting, err := st.DueNotices(t.Context(), l.clock().Add(5*time.Minute), 100) // leased ones too
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(waiting, func(n *remediation.Notice) bool { return n.Op != remediation.OpDigest })
		})
	}
	l.advance(time.Hour)
	l.settled()
	if !once.Load() {
		t.Fatal("the digest was never late")
	}
	if n := l.told(); n != 3 {
		t.Errorf("3 incidents, %d told of (%v)", n, l.slack.ops())
	}
}

// TestDigestedIsNotMute: what happens to an incident after its digest is told.
func TestDigestedIsNotMute(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Rules = 1, []remediation.PolicyRule{}
	l.slack.fail = posted(l)
	l.start()
	l.flood("a", 3, nil)
	l.advance(2 * time.Minute)
	l.settled()
	if n := l.told(); n != 3 {
		t.Fatalf("%d of 3 were told", n)
	}
	for i := range 3 {
		l.advance(2 * time.Minute)
		l.accept(signal(fmt.Sprint("again", i), fmt.Sprint("a", i), "front"))
		l.settled()
	}
	by := map[string]bool{}
	for _, n := range l.slack.got {
		if n.Incident != "" {
			by[n.Incident] = true
		}
	}
	if len(by) != 3 {
		t.Errorf("of %d incidents there is a word of their own, want 3: %v", len(by), l.slack.ops())
	}
}

// TestClosedDigest: what comes for a minute whose digest is made already, from a
// process whose clock is behind, is told by the next.
func TestClosedDigest(t *testing.T) {
	l := newLab(t)
	l.config.Digest, l.config.Breaker, l.config.Rules = 1, remediation.Breaker{}, []remediation.PolicyRule{}
	l.slack.fail = posted(l)
	open := func(houses ...string) {
		t.Helper()
		for _, h := range houses {
			l.doors.set(h, "front")
			l.accept(signal("e-"+h, h, "front"))
		}
	}
	open("a", "b", "c")
	l.drain()
	l.advance(time.Minute)
	l.drain() // the digest of the first minute
	behind := l.again(func(o *remediation.Options) {
		o.Now = func() time.Time { return l.clock().Add(-30 * time.Second) }
	})
	for _, h := range []string{"d", "e", "f"} {
		l.doors.set(h, "front")
		if err := behind.Accept(t.Context(), []remediation.Signal{signal("e-"+h, h, "front")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := behind.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.advance(time.Minute)
	l.drain()
	digested := 0
	for _, d := range l.digests() {
		digested += d.Count
	}
	if own := l.slack.count(remediation.OpMessage); own != 2 || digested != 4 || len(l.digests()) != 2 {
		t.Errorf("%d messages, %d incidents in %d digests, of six incidents in two minutes", own, digested, len(l.digests()))
	}
}
