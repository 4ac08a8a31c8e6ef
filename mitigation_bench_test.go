package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/internal/demo"
	"secbot/internal/faketable"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/store"
	"secbot/remediation/store/dynamo"
)

// edge is where secbot's network ends: it hands a stand-in the requests that
// secbot's clients have made, and tells secbot's own time from AWS's. While a
// stand-in works at a request the time is AWS's.
type edge struct {
	mu    sync.Mutex
	busy  int           // requests that a stand-in works at
	since time.Time     // from when
	away  time.Duration // how long there were some
	calls int
}

// httpClient is one for the SDK whose requests a stand-in answers.
type httpClient func(*http.Request) (*http.Response, error)

// Do hands the request over.
func (f httpClient) Do(r *http.Request) (*http.Response, error) { return f(r) }

func (e *edge) client(h http.Handler) httpClient {
	return func(r *http.Request) (*http.Response, error) {
		e.begin()
		defer e.end()
		if r.Body == nil {
			r.Body = http.NoBody
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	}
}

func (e *edge) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.busy++; e.busy == 1 {
		e.since = time.Now()
	}
}

func (e *edge) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy--; e.busy == 0 {
		e.away += time.Since(e.since)
	}
}

// mitigation is how far secbot is as a call of its arrives.
type mitigation struct {
	at    time.Time     // since when the stand-ins are at work
	away  time.Duration // how long they were before
	calls int           // with this one
}

func (e *edge) look() mitigation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return mitigation{e.since, e.away, e.calls}
}

// reset begins to count anew.
func (e *edge) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away, e.calls = 0, 0
}

// BenchmarkMitigation is from an event's request to POST /events to the arrival of
// the call that mitigates, without the time that AWS takes: events and policy,
// every write to the store, and every read that comes before. Bolt's time is that
// of its disk.
func BenchmarkMitigation(b *testing.B) {
	for _, kind := range []string{"memory", "dynamodb", "bolt"} {
		b.Run(kind, func(b *testing.B) { newMitigating(b, kind).run(b) })
	}
}

type mitigating struct {
	sb       *sandbox.Sandbox
	world    *demo.World
	clock    *demo.Clock
	edge     *edge
	app      *app
	seen     chan mitigation // as the call arrives
	measured chan struct{}   // lets that call go on
	fixed    int             // messages that say so
	groups   int             // that were made
}

func newMitigating(b *testing.B, kind string) *mitigating {
	m := &mitigating{clock: &demo.Clock{}, edge: &edge{}, seen: make(chan mitigation, 1), measured: make(chan struct{})}
	var err error
	if m.sb, err = sandbox.Start(b.Context(), sandbox.Options{Now: m.clock.Now}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.sb.Close() }) // nothing of it is looked at any more
	if m.world, err = demo.NewWorld(b.Context(), m.sb, nil, m.clock); err != nil {
		b.Fatal(err)
	}
	m.sb.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "RevokeSecurityGroupIngress" {
			m.seen <- m.edge.look()
			<-m.measured // what comes after would be counted too
		}
		return nil
	})
	m.wire(b, kind)
	return m
}

// wire makes secbot, with a policy that nothing but events has anything done by.
func (m *mitigating) wire(b *testing.B, kind string) {
	s := &settings{SlackToken: m.sb.Slack.Token(), SigningSecret: m.sb.Slack.Secret(), SlackAPI: m.sb.Slack.APIURL(), EventsToken: "bearer", Store: m.store(b, kind)}
	st, err := store.Open(s.Store, func() (aws.Config, error) { return m.table(b) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() }) // the same
	policy := demo.Policy()
	policy.Breaker, policy.Digest, policy.Reconcile, policy.Heartbeat = remediation.Breaker{}, 0, 0, 0
	cfg := demo.AWSConfig(m.sb)
	cfg.HTTPClient = m.edge.client(m.sb.AWS)
	m.app = wire(s, cfg, policy, st, slog.New(slog.DiscardHandler), m.clock.Now)
}

func (m *mitigating) store(b *testing.B, kind string) string {
	return map[string]string{"memory": "memory://", "dynamodb": "dynamodb://secbot", "bolt": "bolt://" + filepath.Join(b.TempDir(), "secbot.db")}[kind]
}

// table is a stand-in for DynamoDB behind the edge.
func (m *mitigating) table(b *testing.B) (aws.Config, error) {
	table := faketable.Start(b)
	cfg := table.Config()
	cfg.HTTPClient = m.edge.client(table)
	return cfg, dynamo.New(cfg, dynamo.Options{Table: "secbot"}).CreateTable(b.Context())
}

func (m *mitigating) run(b *testing.B) {
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.app.engine.Run(ctx) }()
	defer func() { end(); <-ended }()
	m.mitigate(b, func() {}) // the first also has what is there snapshot
	var own []time.Duration
	calls := 0
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for range b.N {
		took, by := m.mitigate(b, b.StartTimer)
		own, calls = append(own, took), calls+by
	}
	slices.Sort(own)
	b.ReportMetric(float64(own[len(own)/2]), "own-p50-ns")
	b.ReportMetric(float64(own[len(own)*99/100]), "own-p99-ns")
	b.ReportMetric(float64(calls)/float64(b.N), "calls/op")
}

// mitigate has a new group opened to the world and tells secbot's own time until
// the call that closes it, and how many calls it has made by then. The timer runs
// meanwhile.
func (m *mitigating) mitigate(b *testing.B, start func()) (own time.Duration, calls int) {
	event := m.open(b)
	m.edge.reset()
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/events", bytes.NewReader(event))
	r.Header.Set("Authorization", "Bearer bearer")
	w := httptest.NewRecorder()
	start()
	began := time.Now()
	m.app.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
	select {
	case seen := <-m.seen:
		b.StopTimer()
		m.measured <- struct{}{}
		m.settle(b)
		return seen.at.Sub(began) - seen.away, seen.calls
	case <-time.After(20 * time.Second):
		b.Fatal("nothing mitigates")
		return 0, 0
	}
}

// open makes a group and opens it to the world; the event tells of it.
func (m *mitigating) open(b *testing.B) (event []byte) {
	m.clock.Pass(time.Minute) // the channel takes the next message at once
	m.fixed++
	if err := m.world.Break(b.Context(), "ssh", m.newGroup(b)); err != nil {
		b.Fatal(err)
	}
	m.sb.AWS.Flush()
	return m.sb.LastEvent("AuthorizeSecurityGroupIngress")
}

func (m *mitigating) newGroup(b *testing.B) string {
	m.groups++
	out, err := m.world.EC2.CreateSecurityGroup(b.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("bench-", m.groups)), Description: aws.String("d")})
	if err != nil {
		b.Fatal(err)
	}
	return *out.GroupId
}

// settle waits until Slack is told that the last event's hole is closed, so that
// one event is worked at at a time.
func (m *mitigating) settle(b *testing.B) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		all := top(m.sb)
		if len(all) == m.fixed {
			if buttons := all[m.fixed-1].Buttons(); len(buttons) > 0 && buttons[0].Text == "Undo Fix" {
				return
			}
		}
		if time.Now().After(deadline) {
			b.Fatalf("Slack has %d messages, the last of %d does not tell of a fix", len(all), m.fixed)
		}
	}
}
