package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

const (
	account    = "111122223333"
	incidentID = "01JQ8Z5N6X7W9V4T3R2P1M0K8H"
)

func at(minute int) time.Time { return time.Date(2025, 4, 1, 12, minute, 0, 0, time.UTC) }

func port(n int32) *int32 { return &n }

func metas() []remediation.Meta {
	return []remediation.Meta{
		{
			ID: "sg-rule-added", Title: "Risky security group rule", Kind: remediation.KindSecurityGroup, Undoable: true,
			Labels: remediation.Labels{
				Fixed: "Security group closed", Ask: "Security group opened",
				Confirm: "This revokes the rules.", Undo: "The rules will be back.",
			},
		},
		{
			ID: "s3-public-policy", Title: "Public bucket policy", Kind: remediation.KindBucket, Undoable: true,
			Labels: remediation.Labels{Fixed: "Public bucket policy closed", Ask: "Bucket made public by its policy"},
		},
	}
}

func names() Names { return Names{Metas: metas()} }

func sshRule() remediation.Rule {
	return remediation.Rule{ID: "sgr-0a", Direction: remediation.Ingress, Protocol: "tcp", FromPort: port(22), ToPort: port(22),
		CIDR: "0.0.0.0/0", Description: "ssh for everybody", Openness: remediation.OpenWorld, Severity: remediation.SeverityHigh}
}

func finding() remediation.Finding {
	return remediation.Finding{
		Playbook: "sg-rule-added", Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: account, Region: "eu-central-1", ID: "sg-0abc"},
		Name: "web", Severity: remediation.SeverityHigh, Event: "AuthorizeSecurityGroupIngress", EventID: "e-1", At: at(0),
		Actor:     remediation.Actor{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/dana", Account: account, SourceIP: "203.0.113.7", Via: "AWS console"},
		Direction: remediation.Ingress, Rules: []remediation.Rule{sshRule()},
	}
}

// incident is one with the given history; each step is a status and who did it.
func incident(steps ...remediation.Transition) *remediation.Incident {
	f := finding()
	inc := &remediation.Incident{
		ID: incidentID, Key: f.Key(), Finding: f, CreatedAt: at(1), UpdatedAt: at(1),
		Decision: remediation.Decision{Action: remediation.ActionAsk, Rule: `rule 2 "the rest"`, Channel: fakeslack.ChannelSecurity,
			Approvers: []string{fakeslack.GroupResponders, fakeslack.Bob}},
	}
	for i, s := range steps {
		s.At = at(1 + i)
		s.From = inc.Status
		inc.History = append(inc.History, s)
		inc.Status = s.To
	}
	if len(steps) > 1 {
		inc.Plan = &remediation.Plan{Playbook: f.Playbook, Finding: f, Diff: []remediation.DiffLine{{Op: "-", Text: "tcp 22 from 0.0.0.0/0"}}}
		inc.Outcomes = []remediation.Outcome{{Step: 0}}
	}
	return inc
}

func step(to remediation.Status, by, reason string) remediation.Transition {
	return remediation.Transition{To: to, By: by, Reason: reason}
}

func opened() remediation.Transition {
	return step(remediation.StatusOpen, remediation.ByItself, `rule 2 "the rest"`)
}

// golden compares v's JSON with testdata/NAME.golden.json; UPDATE_GOLDEN=1
// writes it.
func golden(t *testing.T, name string, v any) []byte {
	t.Helper()
	raw := encoded(t, v)
	path := filepath.Join("testdata", name+".golden.json")
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(raw)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	return raw
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fakeEngine keeps what is submitted and refuses whom it is told to.
type fakeEngine struct {
	mu        sync.Mutex
	submitted []remediation.Command
	err       error // of Submit
	denied    error // of Authorise
	rights    []remediation.Right
	block     chan struct{} // Submit waits for it, or for its context
}

func (e *fakeEngine) Submit(ctx context.Context, cmd remediation.Command) error {
	if e.block != nil {
		select {
		case <-e.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.submitted = append(e.submitted, cmd)
	return nil
}

func (e *fakeEngine) Authorise(context.Context, string, *remediation.Incident) error { return e.denied }

func (e *fakeEngine) Check(context.Context, remediation.Command) error { return e.denied }

func (e *fakeEngine) Rights(context.Context, string) []remediation.Right { return e.rights }

func (e *fakeEngine) commands() []remediation.Command {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]remediation.Command(nil), e.submitted...)
}

// rig is the handler and the notifier on a workspace of the stand-in.
type rig struct {
	t        testing.TB
	slack    *fakeslack.Slack
	engine   *fakeEngine
	store    remediation.Store
	handler  *Handler
	notifier *Notifier
	server   *httptest.Server
	now      time.Time // of notices
}

func newRig(t testing.TB, change ...func(*fakeslack.Options)) *rig {
	t.Helper()
	o := fakeslack.Options{Scopes: ScopeNames()}
	for _, f := range change {
		f(&o)
	}
	ws := fakeslack.New(o)
	api := httptest.NewServer(ws)
	t.Cleanup(api.Close)
	ws.SetURL(api.URL)
	client := NewClient(ws.Token(), ws.APIURL(), nil)
	st := memory.New()
	r := &rig{t: t, slack: ws, engine: &fakeEngine{}, store: st, now: time.Now()}
	r.handler = &Handler{SigningSecret: ws.Secret(), Client: client, APIURL: ws.APIURL(), Engine: r.engine, Store: st, Names: names(),
		People: NewDirectory(client, time.Now)}
	r.notifier = &Notifier{Client: client, Store: st, Names: names(), Channel: fakeslack.ChannelSecurity, APIURL: ws.APIURL(), Now: func() time.Time { return r.now }}
	homes := &Homes{Client: client, Store: st, Names: names()}
	r.handler.Homes, r.notifier.Homes = homes, homes
	router := chi.NewRouter()
	r.handler.Routes(router)
	r.server = httptest.NewServer(router)
	t.Cleanup(r.server.Close)
	ws.SetTarget(r.server.URL)
	t.Cleanup(r.onlyKnownMethods)
	if strings.Contains(t.Name(), bySocket) {
		r.connect()
	}
	return r
}

// bySocket in a test's name has its rig connected by Socket Mode.
const bySocket = "by_socket"

// connect connects the handler by Socket Mode, and waits until it is.
func (r *rig) connect() *Socket {
	r.t.Helper()
	s := &Socket{Token: r.slack.AppToken(), APIURL: r.slack.APIURL(), Handler: r.handler, Pause: 20 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
	r.sockets(1)
	eventually(r.t, "the handler to know of it", func() bool { return s.Check(ctx) == nil })
	return s
}

// sockets waits until so many connections are open.
func (r *rig) sockets(n int) {
	r.t.Helper()
	eventually(r.t, "the connections", func() bool { return r.slack.Sockets() == n })
}

// eventually looks again and again until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// save stores incidents.
func (r *rig) save(incs ...*remediation.Incident) {
	r.t.Helper()
	for _, inc := range incs {
		if err := r.store.Commit(context.Background(), remediation.Write{Incident: inc}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// notify delivers a notice as the outbox would.
func (r *rig) notify(op string, attempts int, payload any) error {
	r.t.Helper()
	n := remediation.Notice{ID: incidentID + "/" + op, Incident: incidentID, Seq: 1, To: remediation.NotifySlack, Op: op, Attempts: attempts, CreatedAt: r.now}
	switch op {
	case remediation.OpReply:
		n.Incident = ""
	case remediation.OpScan:
		n.Incident = remediation.ScanMessage("s")
	}
	if payload != nil {
		raw, err := json.Marshal(payload)
		if err != nil {
			r.t.Fatal(err)
		}
		n.Payload = raw
	}
	return r.notifier.Notify(context.Background(), n)
}

// scan stores how a scan stands; rec is its record, nil for the first time.
func (r *rig) scan(run remediation.ScanRun, rec *remediation.Record) *remediation.Record {
	r.t.Helper()
	if rec == nil {
		rec = &remediation.Record{Key: "scan/run/" + run.ID}
	}
	var err error
	if rec.Data, err = json.Marshal(run); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.Commit(context.Background(), remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// shown posts the incident's message and gives it.
func (r *rig) shown(inc *remediation.Incident) fakeslack.Message {
	r.t.Helper()
	r.save(inc)
	if err := r.notify(remediation.OpMessage, 1, nil); err != nil {
		r.t.Fatal(err)
	}
	return r.only()
}

// only gives the one message of the channel.
func (r *rig) only() fakeslack.Message {
	r.t.Helper()
	all := r.slack.Messages(fakeslack.ChannelSecurity)
	if len(all) != 1 {
		r.t.Fatalf("there are %d messages, want 1: %+v", len(all), all)
	}
	return all[0]
}

// whisper gives the newest ephemeral of a user, as text with its blocks.
func (r *rig) whisper(user string) string {
	r.t.Helper()
	all := r.slack.Ephemerals(user)
	if len(all) == 0 {
		r.t.Fatalf("%s was told nothing", user)
	}
	last := all[len(all)-1]
	return last.Text + "\n" + string(last.Blocks)
}

func isStatus(err error, status int) bool {
	var ack *fakeslack.AckError
	return errors.As(err, &ack) && ack.Status == status
}

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
