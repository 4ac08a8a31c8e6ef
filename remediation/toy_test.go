package remediation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// door is a toy resource, so that the engine is tested on its own: a set of
// open doors of a house. The playbook "toy" shuts those that a signal names.
type door struct {
	mu                  sync.Mutex
	open                map[string][]string // the open doors by house
	calls               []string            // the changing calls, in order
	fail                func(call string) error
	doubt, irreversible string // of what is found
	blind               bool   // read-backs don't see changes
	reads               int
	onApply             func()
	onCall              func(ctx context.Context) // right before a changing call
	stop                func() error              // keeps a changing call that was announced from being made
	onRead              func(remediation.Ref)     // before a read; set before the engine runs

	onReading func(ctx context.Context) error // the same, and may fail it
}

const toyAccount = "111122223333"

func ref(house string) remediation.Ref {
	return remediation.Ref{Kind: remediation.KindSecurityGroup, Account: toyAccount, Region: "us-east-1", ID: house}
}

func (d *door) Environment(_ context.Context, account, region string) (*remediation.Environment, error) {
	return &remediation.Environment{Account: account, Region: region,
		Readers:   map[remediation.Kind]remediation.Reader{remediation.KindSecurityGroup: d},
		Playbooks: []remediation.Playbook{toyPlaybook{d}}}, nil
}

type house struct {
	R    remediation.Ref
	Open []string
}

func (h house) Ref() remediation.Ref { return h.R }

func (d *door) List(context.Context) iter.Seq2[remediation.Ref, error] {
	return func(yield func(remediation.Ref, error) bool) {
		d.mu.Lock()
		var ids []string
		for id := range d.open {
			ids = append(ids, id)
		}
		d.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			if !yield(ref(id), nil) {
				return
			}
		}
	}
}

func (d *door) Read(ctx context.Context, r remediation.Ref) (remediation.State, error) {
	if d.onReading != nil {
		if err := d.onReading(ctx); err != nil {
			return nil, err
		}
	}
	if d.onRead != nil {
		d.onRead(r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	if d.fail != nil {
		if err := d.fail("read " + r.ID); err != nil {
			return nil, err
		}
	}
	open, ok := d.open[r.ID]
	if !ok {
		return nil, remediation.ErrGone
	}
	return house{r, slices.Clone(open)}, nil
}

func (d *door) set(id string, open ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[id] = open
}

func (d *door) get(id string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.open[id])
}

func (d *door) changes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// change makes one changing call.
func (d *door) change(call, id string, f func([]string) []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(call); err != nil {
			return err
		}
	}
	d.calls = append(d.calls, call)
	d.open[id] = f(d.open[id])
	return nil
}

// announce is what comes before a changing call.
func (d *door) announce(ctx context.Context, action string, r remediation.Ref, rules ...remediation.Rule) error {
	err := remediation.Announce(ctx, remediation.Intent{Action: action, Resource: r, Change: remediation.Change{Rules: rules}})
	if err != nil {
		return err
	}
	if d.onCall != nil {
		d.onCall(ctx)
	}
	if d.stop != nil {
		return d.stop()
	}
	return nil
}

type toyPlaybook struct{ d *door }

func (toyPlaybook) Meta() remediation.Meta {
	return remediation.Meta{ID: "toy", Title: "Open door", Kind: remediation.KindSecurityGroup, Handles: []string{"OpenDoor"}, Undoable: true}
}

func toyRule(name string) remediation.Rule {
	o := remediation.OpenNarrow
	port := int32(443)
	if name == "front" {
		o, port = remediation.OpenWorld, 22
	}
	return remediation.Rule{Direction: remediation.Ingress, Protocol: "tcp", FromPort: &port, ToPort: &port, Group: name, Openness: o, Severity: remediation.SeverityHigh}
}

func (toyPlaybook) Claim(sig remediation.Signal) []remediation.Finding {
	return []remediation.Finding{{Playbook: "toy", Resource: sig.Resource, EventID: sig.EventID, Severity: remediation.SeverityHigh, Rules: sig.Change.Rules}}
}

func (t toyPlaybook) Judge(s remediation.State, sig *remediation.Signal) []remediation.Finding {
	h := s.(house)
	f := remediation.Finding{Playbook: "toy", Resource: h.R, Severity: remediation.SeverityHigh, Direction: remediation.Ingress, Doubt: t.d.doubt, Irreversible: t.d.irreversible}
	if sig != nil {
		f.EventID, f.Actor, f.At, f.Event = sig.EventID, sig.Actor, sig.At, sig.Kind
	}
	for _, name := range h.Open {
		named := sig == nil || slices.ContainsFunc(sig.Change.Rules, func(r remediation.Rule) bool { return r.Group == name })
		if named {
			f.Rules = append(f.Rules, toyRule(name))
		}
	}
	if len(f.Rules) == 0 {
		return nil
	}
	return []remediation.Finding{f}
}

func (toyPlaybook) Plan(s remediation.State, f remediation.Finding) (remediation.Plan, error) {
	p := remediation.Plan{Playbook: "toy", Finding: f}
	p.Before, _ = json.Marshal(s)
	for _, r := range f.Rules {
		if slices.Contains(s.(house).Open, r.Group) {
			params, _ := json.Marshal(r.Group)
			p.Steps = append(p.Steps, remediation.Step{Action: "toy:Shut", Resource: f.Resource, Summary: "shut " + r.Group, Params: params})
			p.Diff = append(p.Diff, remediation.DiffLine{Op: "-", Text: r.Group})
		}
	}
	if len(p.Steps) == 0 {
		return p, remediation.ErrNothingToDo
	}
	return p, nil
}

func (t toyPlaybook) Apply(ctx context.Context, st remediation.Step) (remediation.Outcome, error) {
	var name string
	if err := json.Unmarshal(st.Params, &name); err != nil {
		return remediation.Outcome{}, err
	}
	if t.d.onApply != nil {
		t.d.onApply()
	}
	if !slices.Contains(t.d.get(st.Resource.ID), name) {
		return remediation.Outcome{Noop: true}, nil
	}
	if err := t.d.announce(ctx, "ShutDoor", st.Resource, toyRule(name)); err != nil {
		return remediation.Outcome{}, err
	}
	remediation.RecordRequestID(ctx, "req-"+name)
	return remediation.Outcome{}, t.d.change("shut "+name, st.Resource.ID, func(open []string) []string {
		return slices.DeleteFunc(open, func(s string) bool { return s == name })
	})
}

func (t toyPlaybook) Verify(_ context.Context, p remediation.Plan, _ []remediation.Outcome) error {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	for _, r := range p.Finding.Rules {
		if t.d.blind || slices.Contains(t.d.open[p.Finding.Resource.ID], r.Group) {
			return fmt.Errorf("%s is still open: %w", r.Group, remediation.ErrNotVerified)
		}
	}
	return nil
}

func (t toyPlaybook) Undo(ctx context.Context, p remediation.Plan, _ []remediation.Outcome) error {
	var before house
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return err
	}
	id := p.Finding.Resource.ID
	if slices.Contains(t.d.get(id), "strange") {
		return &remediation.DriftError{Resource: p.Finding.Resource, Diff: []remediation.DiffLine{{Op: "+", Text: "strange"}}}
	}
	var shut []remediation.Rule
	for _, name := range before.Open {
		if !slices.Contains(t.d.get(id), name) {
			shut = append(shut, toyRule(name))
		}
	}
	if err := t.d.announce(ctx, "OpenDoor", p.Finding.Resource, shut...); err != nil {
		return err
	}
	if t.d.onCall != nil {
		t.d.onCall(ctx)
	}
	remediation.RecordRequestID(ctx, "req-undo")
	return t.d.change("undo", id, func([]string) []string { return before.Open })
}

// mailbox is a Notifier that keeps what it is given.
type mailbox struct {
	mu   sync.Mutex
	got  []remediation.Notice
	fail func(remediation.Notice) error
}

func (m *mailbox) Notify(_ context.Context, n remediation.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(n); err != nil {
			return err
		}
	}
	m.got = append(m.got, n)
	return nil
}

func (m *mailbox) sent() []remediation.Notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *mailbox) ops() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ops []string
	for _, n := range m.got {
		ops = append(ops, n.Op)
	}
	return ops
}

func (m *mailbox) count(op string) (n int) {
	for _, o := range m.ops() {
		if o == op {
			n++
		}
	}
	return n
}

func (m *mailbox) replies(t *testing.T) []remediation.Reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []remediation.Reply
	for _, n := range m.got {
		if n.Op != remediation.OpReply {
			continue
		}
		var r remediation.Reply
		if err := json.Unmarshal(n.Payload, &r); err != nil {
			t.Error(err)
		}
		out = append(out, r)
	}
	return out
}

// lab is an engine on toys.
type lab struct {
	t      *testing.T
	engine *remediation.Engine
	store  remediation.Store
	doors  *door
	slack  *mailbox
	sns    *mailbox
	config *remediation.Config

	options remediation.Options

	mu  sync.Mutex
	now time.Time
}

func newLab(t *testing.T, change ...func(*remediation.Options)) *lab {
	l := &lab{t: t, store: memory.New(), doors: &door{open: map[string][]string{}}, slack: &mailbox{}, sns: &mailbox{},
		now:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		config: remediation.DefaultConfig().WithDefaults("C1", []string{"U1", "S1"})}
	l.config.Rules = []remediation.PolicyRule{
		{Name: "the front door", Match: remediation.Match{Openness: []remediation.Openness{remediation.OpenWorld}}, Then: remediation.ActionAuto},
	}
	l.config.Reconcile, l.config.Digest, l.config.Question, l.config.Report = 0, 0, remediation.Question{}, remediation.ReportNever
	o := remediation.Options{Store: l.store, Provider: l.doors, Config: l.config,
		Notifiers: map[string]remediation.Notifier{remediation.NotifySlack: l.slack, remediation.NotifySNS: l.sns},
		Burst:     1000, Now: l.clock, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	for _, f := range change {
		f(&o)
	}
	l.options = o
	l.engine = remediation.New(o)
	return l
}

// again is another process on the same store, with the configuration as it is now.
func (l *lab) again(change ...func(*remediation.Options)) *remediation.Engine {
	o := l.options
	for _, f := range change {
		f(&o)
	}
	return remediation.New(o)
}

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) advance(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// start runs the engine until the test ends or stop is called.
func (l *lab) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.engine.Run(ctx); !errors.Is(err, context.Canceled) {
			l.t.Errorf("Run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	l.t.Cleanup(stop)
	return stop
}

func signal(id, house string, doors ...string) remediation.Signal {
	sig := remediation.Signal{EventID: id, Kind: "OpenDoor", Resource: ref(house), Playbooks: []string{"toy"},
		Actor: remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana", Account: toyAccount}, RequestID: "req-of-" + id}
	for _, d := range doors {
		sig.Change.Rules = append(sig.Change.Rules, toyRule(d))
	}
	return sig
}

func (l *lab) accept(sigs ...remediation.Signal) {
	l.t.Helper()
	if err := l.engine.Accept(l.t.Context(), sigs); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) submit(cmd remediation.Command) {
	l.t.Helper()
	if cmd.ReplyTo == (remediation.ReplyTo{}) {
		cmd.ReplyTo.User = cmd.By
	}
	if err := l.engine.Submit(l.t.Context(), cmd); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) incidents() []*remediation.Incident {
	l.t.Helper()
	list, err := l.store.Incidents(l.t.Context(), remediation.IncidentQuery{})
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// settled waits until no job and no notice is due soon or leased.
func (l *lab) settled() {
	l.t.Helper()
	l.until("no work is left", func() bool {
		far := l.clock().Add(30 * time.Minute) // longer than any retry, shorter than an ignore
		jobs := slices.DeleteFunc(l.jobs(far), func(j *remediation.Job) bool {
			return j.Kind == "settle" && j.Due.After(l.clock()) // whose time does not come by itself here
		})
		notices, err := l.store.DueNotices(l.t.Context(), far, 10)
		if err != nil {
			l.t.Fatal(err)
		}
		return len(jobs) == 0 && len(notices) == 0
	})
}

// until waits for something that the engine does in the background.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// one gives the only incident, which must be of the given status.
func (l *lab) one(want remediation.Status) *remediation.Incident {
	l.t.Helper()
	l.settled()
	list := l.incidents()
	if len(list) != 1 {
		l.t.Fatalf("%d incidents, want one", len(list))
	}
	if list[0].Status != want {
		l.t.Fatalf("the incident is %s (%s), want %s", list[0].Status, list[0].Error, want)
	}
	log, err := l.store.Audit(l.t.Context(), list[0].ID)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := remediation.VerifyAudit(list[0], log); err != nil {
		l.t.Error(err)
	}
	return list[0]
}

// shuffle puts a list into another order each time.
func shuffle[T any](list []T) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// jobs are those due at a time, without what comes by itself each period.
func (l *lab) jobs(at time.Time) []*remediation.Job {
	l.t.Helper()
	jobs, err := l.store.DueJobs(l.t.Context(), at, 10)
	if err != nil {
		l.t.Fatal(err)
	}
	return slices.DeleteFunc(jobs, (*remediation.Job).Scheduled)
}

// scanned is the report of a scan that has ended.
func (l *lab) scanned(id string) *remediation.ScanReport {
	l.t.Helper()
	run, err := remediation.ReadScan(l.t.Context(), l.store, id)
	if err != nil {
		l.t.Fatal(err)
	}
	if run.Report == nil {
		l.t.Fatalf("the scan has not ended: %+v", run)
	}
	return run.Report
}

// scans are the incidents' ids of all notices about scans, each once.
func (m *mailbox) scans() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]int{}
	for _, n := range m.got {
		if n.Op == remediation.OpScan {
			all[n.Incident]++
		}
	}
	return all
}
