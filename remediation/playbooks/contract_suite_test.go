package playbooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"

	"secbot/internal/mototest"
	"secbot/internal/plainbody"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// backend is an AWS that the contract suite runs against.
type backend struct {
	url     string
	account string
	// enforces says that Block Public Access and object ownership have an
	// effect, that PolicyStatus tells the truth, and that rules may name groups of
	// other accounts.
	enforces bool
	key      mototest.Key // of a person; empty: any will do
}

// world is one backend with the clients and playbooks bound to it.
type world struct {
	backend
	ctx       context.Context
	clients   playbooks.Clients
	s3        *s3.Client
	ec2       *ec2.Client
	readers   map[remediation.Kind]remediation.Reader
	playbooks []remediation.Playbook
	kept      map[remediation.Ref]json.RawMessage // the snapshots, as the engine keeps them
}

// remember keeps a snapshot of a resource as it is.
func (w *world) remember(t *testing.T, ref remediation.Ref) {
	t.Helper()
	h := w.readers[ref.Kind].(remediation.Historian)
	w.kept[ref] = must(h.Remember(must(h.Read(w.ctx, ref))(t), w.kept[ref], time.Now()))(t)
}

// recall completes a state as the engine does.
func (w *world) recall(s remediation.State, sig remediation.Signal) remediation.State {
	if h, ok := w.readers[s.Ref().Kind].(remediation.Historian); ok {
		return h.Recall(w.ctx, s, sig, w.kept[sig.Resource])
	}
	return s
}

const testRegion = "us-east-1"

func awsConfig(url string) aws.Config {
	return aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		APIOptions:  []func(*middleware.Stack) error{plainbody.Use},
	}
}

// config is that of a person who may do everything.
func (b backend) config() aws.Config {
	cfg := awsConfig(b.url)
	if b.key.ID != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(b.key.ID, b.key.Secret, "")
	}
	return cfg
}

func newWorld(t *testing.T, b backend) *world {
	t.Helper()
	cfg := b.config()
	c := playbooks.NewClients(cfg, b.account, testRegion)
	return &world{
		backend: b, ctx: t.Context(), clients: c,
		s3:      s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		ec2:     ec2.NewFromConfig(cfg),
		readers: playbooks.Readers(c), playbooks: playbooks.All(c), kept: map[remediation.Ref]json.RawMessage{},
	}
}

func (w *world) playbook(id string) remediation.Playbook {
	env := remediation.Environment{Playbooks: w.playbooks}
	return env.Playbook(id)
}

// contractCase is a change that a playbook must be able to take back.
type contractCase struct {
	name     string
	playbook string
	enforced bool // needs a backend that enforces
	// setup makes the resource, with neighbours, and then the offending change.
	setup func(t *testing.T, w *world) (remediation.Ref, remediation.Signal)
	// neighbours shows everything that the fix must leave as it is.
	neighbours func(remediation.State) any
	// beside changes something that the plan is not about; nil: there is
	// nothing of the kind.
	beside func(t *testing.T, w *world, ref remediation.Ref)
	// offend changes what the plan is about into something as bad.
	offend func(t *testing.T, w *world, ref remediation.Ref)
	// settle does by hand what the plan would do.
	settle func(t *testing.T, w *world, ref remediation.Ref)
	// move changes what the fix has left, so that an undo would overwrite it.
	move func(t *testing.T, w *world, ref remediation.Ref)
	// locate gives the resource under the id that it has now; nil: it keeps it.
	locate func(t *testing.T, w *world, ref remediation.Ref) remediation.Ref
	// restored is what the fix must leave; nil: neighbours says enough.
	restored func() remediation.State
}

// runContract runs every case against a backend.
func runContract(t *testing.T, b backend) {
	for _, c := range allCases() {
		if c.enforced && !b.enforces {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Run("to and fro", func(t *testing.T) { toAndFro(t, newWorld(t, b), c) })
			t.Run("settled by somebody else", func(t *testing.T) { settled(t, newWorld(t, b), c) })
			t.Run("offence changed", func(t *testing.T) { offenceChanged(t, newWorld(t, b), c) })
			t.Run("moved after the fix", func(t *testing.T) { movedAfter(t, newWorld(t, b), c) })
			if c.beside != nil {
				t.Run("changed beside", func(t *testing.T) { changedBeside(t, newWorld(t, b), c) })
			}
		})
	}
}

// runReaders has a backend's buckets and groups listed and read.
func runReaders(t *testing.T, b backend) {
	w := newWorld(t, b)
	bucket, group := newBucket(t, w), newGroup(t, w)
	for _, ref := range []remediation.Ref{bucket, group} {
		var listed []remediation.Ref
		for r, err := range w.readers[ref.Kind].List(w.ctx) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, r)
		}
		if !slices.Contains(listed, ref) {
			t.Errorf("%s is not among %v", ref, listed)
		}
		bare := ref
		bare.Account, bare.Region = "", ""
		s, err := w.readers[ref.Kind].Read(w.ctx, bare)
		if err != nil || s.Ref() != ref {
			t.Errorf("read by id alone: %v %v", s, err)
		}
		bare.ID = strings.Replace(ref.ID, ref.ID[:8], "sg-00000", 1)
		if _, err := w.readers[ref.Kind].Read(w.ctx, bare); !errors.Is(err, remediation.ErrGone) {
			t.Errorf("read of %s: %v, want ErrGone", bare.ID, err)
		}
		if ref.Kind == remediation.KindBucket && !b.enforces {
			continue // it does not look at the expected owner
		}
		other := ref
		other.Account = "999900001111"
		if _, err := w.readers[ref.Kind].Read(w.ctx, other); !errors.Is(err, remediation.ErrOtherAccount) {
			t.Errorf("read of %s: %v, want ErrOtherAccount", other, err)
		}
	}
	scanAlike(t, w, bucket)
	scanAlike(t, w, group)
	s := must(w.readers[bucket.Kind].Read(w.ctx, bucket))(t).(*playbooks.BucketState)
	if s.AccountBlockUnread != "" {
		t.Errorf("the account's block is unread: %s", s.AccountBlockUnread)
	}
	g := must(w.readers[group.Kind].Read(w.ctx, group))(t).(*playbooks.GroupState)
	byName := group
	byName.ID = g.Name
	if s, err := w.readers[group.Kind].Read(w.ctx, byName); err != nil || s.Ref() != group {
		t.Errorf("read by name: %v %v", s, err)
	}
	if d := cmp.Diff(g, through(t, g)); d != "" {
		t.Errorf("the state does not survive JSON:\n%s", d)
	}
}

// scanAlike has a scan see a resource as a read of it does, as far as it looks: the
// same findings, and of a group all that is kept.
func scanAlike(t *testing.T, w *world, ref remediation.Ref) {
	t.Helper()
	looks, errs := collect(w.readers[ref.Kind].(remediation.Scanner).Scan(w.ctx, remediation.Looking{Now: time.Now, Closely: all}))
	l, there := looks[ref.ID]
	if len(errs) > 0 || !there || l.Ref != ref {
		t.Fatalf("%s is looked at as %+v; errors %v", ref, l, errs)
	}
	shown, read := must(l.State(w.ctx))(t), must(w.readers[ref.Kind].Read(w.ctx, ref))(t)
	if g, ok := shown.(*playbooks.GroupState); ok {
		g.Use = read.(*playbooks.GroupState).Use
		if d := cmp.Diff(read, shown); d != "" || !l.Close {
			t.Errorf("close: %v (- read, + scanned):\n%s", l.Close, d)
		}
		wholes, errs := collect(w.readers[ref.Kind].(remediation.Scanner).Scan(w.ctx, remediation.Looking{Now: time.Now, Whole: func(remediation.State) bool { return true }}))
		if d := cmp.Diff(read, must(wholes[ref.ID].State(w.ctx))(t)); d != "" || !wholes[ref.ID].Whole || len(errs) > 0 {
			t.Errorf("whole: %v, errors %v (- read, + scanned):\n%s", wholes[ref.ID].Whole, errs, d)
		}
	}
	for _, pb := range w.playbooks {
		if pb.Meta().Kind == ref.Kind && len(pb.Judge(shown, nil)) > 0 != (len(pb.Judge(read, nil)) > 0) {
			t.Errorf("%s finds %v in what a scan shows, and %v in what is read", pb.Meta().ID, pb.Judge(shown, nil), pb.Judge(read, nil))
		}
	}
}

// judged is a case up to its plan.
type judged struct {
	*world
	t      *testing.T
	c      contractCase
	pb     remediation.Playbook
	ref    remediation.Ref
	sig    remediation.Signal
	before remediation.State
	plan   remediation.Plan
}

// judge sets a case up and takes it to its plan. Plan and finding go through
// JSON, as the engine's do.
func judge(t *testing.T, w *world, c contractCase) *judged {
	t.Helper()
	j := &judged{world: w, t: t, c: c, pb: w.playbook(c.playbook)}
	j.ref, j.sig = c.setup(t, w)
	j.before = j.read()
	findings := j.pb.Judge(w.recall(j.before, j.sig), &j.sig)
	if len(findings) != 1 {
		t.Fatalf("judge: %d findings, want 1: %+v", len(findings), findings)
	}
	f := findings[0]
	if f.Playbook != c.playbook || f.Resource != j.before.Ref() || f.Severity.Rank() < 0 || f.EventID != j.sig.EventID || f.Event != j.sig.Kind {
		t.Errorf("finding: %+v", f)
	}
	p, err := j.pb.Plan(j.before, through(t, f))
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	again, err := j.pb.Plan(j.before, f)
	if err != nil || cmp.Diff(p, again) != "" {
		t.Errorf("a plan made again is another one: %v %s", err, cmp.Diff(p, again))
	}
	if len(p.Steps) == 0 || !slices.ContainsFunc(p.Diff, func(d remediation.DiffLine) bool { return d.Op != " " }) {
		t.Errorf("plan says nothing: %+v", p)
	}
	for _, s := range p.Steps {
		if !slices.Contains(j.pb.Meta().Permissions, s.Action) {
			t.Errorf("%s is not among the declared permissions", s.Action)
		}
	}
	j.plan = through(t, p)
	return j
}

// through sends a value through JSON.
func through[T any](t *testing.T, v T) T {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (j *judged) read() remediation.State {
	j.t.Helper()
	ref := j.ref
	if j.c.locate != nil {
		ref = j.c.locate(j.t, j.world, ref)
	}
	s, err := j.readers[ref.Kind].Read(j.ctx, ref)
	if err != nil && (s == nil || !errors.Is(err, remediation.ErrGone)) {
		j.t.Fatalf("read %s: %v", ref, err)
	}
	return s
}

func (j *judged) apply() []remediation.Outcome {
	j.t.Helper()
	out, err := j.tryApply()
	if err != nil {
		j.t.Fatalf("apply: %v", err)
	}
	return out
}

func (j *judged) tryApply() ([]remediation.Outcome, error) {
	var outcomes []remediation.Outcome
	for i, s := range j.plan.Steps {
		o, err := j.pb.Apply(j.ctx, s)
		if err != nil {
			return outcomes, err
		}
		o.Step = i
		outcomes = append(outcomes, through(j.t, o))
	}
	return outcomes, nil
}

func (j *judged) verify(o []remediation.Outcome) {
	j.t.Helper()
	if err := j.pb.Verify(j.ctx, j.plan, o); err != nil {
		j.t.Errorf("verify: %v", err)
	}
}

func (j *judged) undo(o []remediation.Outcome) {
	j.t.Helper()
	if err := j.pb.Undo(j.ctx, j.plan, o); err != nil {
		j.t.Fatalf("undo: %v", err)
	}
}

// same fails where the state is not the wanted one. Rule ids don't count: a
// rule that was taken away comes back with another.
func (j *judged) same(what string, want remediation.State) {
	j.t.Helper()
	if d := cmp.Diff(withoutIDs(want), withoutIDs(j.read())); d != "" {
		j.t.Errorf("%s (- wanted, + there):\n%s", what, d)
	}
}

func withoutIDs(s remediation.State) remediation.State {
	g, ok := s.(*playbooks.GroupState)
	if !ok {
		return s
	}
	c := *g
	c.Rules, c.Group.ID = nil, ""
	for _, r := range g.Rules {
		r.ID = ""
		if r.Group == g.Group.ID {
			r.Group = "itself"
		}
		c.Rules = append(c.Rules, r)
	}
	slices.SortFunc(c.Rules, func(a, b remediation.Rule) int { return strings.Compare(a.Key(), b.Key()) })
	return &c
}

func toAndFro(t *testing.T, w *world, c contractCase) {
	j := judge(t, w, c)
	if err := j.pb.Verify(w.ctx, j.plan, nil); !errors.Is(err, remediation.ErrNotVerified) {
		t.Errorf("verify before the fix gives %v, want ErrNotVerified", err)
	}
	done := j.apply()
	for i, o := range done {
		if o.Noop {
			t.Errorf("step %d found its effect already there", i)
		}
	}
	j.verify(done)
	fixed := j.read()
	if d := cmp.Diff(c.neighbours(j.before), c.neighbours(fixed)); d != "" {
		t.Errorf("the fix changed more than it should (- before, + after):\n%s", d)
	}
	if c.restored != nil {
		j.same("the fix does not give what was there before the change", c.restored())
	}
	if f := j.pb.Judge(w.recall(fixed, j.sig), &j.sig); len(f) != 0 {
		t.Errorf("still found once fixed: %+v", f)
	}
	if _, err := j.pb.Plan(fixed, j.plan.Finding); !errors.Is(err, remediation.ErrNothingToDo) && !errors.Is(err, remediation.ErrGone) {
		t.Errorf("plan once fixed gives %v, want ErrNothingToDo or ErrGone", err)
	}
	for i, o := range j.apply() {
		if !o.Noop {
			t.Errorf("step %d, applied again, is no noop", i)
		}
	}
	j.same("applying again changed something", fixed)

	j.undo(done)
	j.same("undo does not give the state before", j.before)
	undone := j.read()
	j.undo(done)
	if d := cmp.Diff(undone, j.read()); d != "" {
		t.Errorf("undoing again changed something:\n%s", d)
	}
}

func settled(t *testing.T, w *world, c contractCase) {
	j := judge(t, w, c)
	c.settle(t, w, j.ref)
	left := j.read()
	done := j.apply()
	for i, o := range done {
		if !o.Noop {
			t.Errorf("step %d is no noop", i)
		}
	}
	j.verify(done)
	j.same("a noop changed something", left)
	// An earlier attempt whose answer was lost looks the same, so an undo
	// brings the offending part back.
	j.undo(done)
	j.same("undo does not give the state before", j.before)
}

func offenceChanged(t *testing.T, w *world, c contractCase) {
	j := judge(t, w, c)
	c.offend(t, w, j.ref)
	left := j.read()
	_, err := j.tryApply()
	var drift *remediation.DriftError
	if !errors.As(err, &drift) || len(drift.Diff) == 0 {
		t.Errorf("apply gives %v, want a DriftError with a diff", err)
	}
	j.same("a refused step changed something", left)
}

func movedAfter(t *testing.T, w *world, c contractCase) {
	j := judge(t, w, c)
	done := j.apply()
	c.move(t, w, j.ref)
	left := j.read()
	err := j.pb.Undo(w.ctx, j.plan, done)
	var drift *remediation.DriftError
	if !errors.As(err, &drift) || len(drift.Diff) == 0 {
		t.Errorf("undo gives %v, want a DriftError with a diff", err)
	}
	j.same("a refused undo changed something", left)
}

func changedBeside(t *testing.T, w *world, c contractCase) {
	j := judge(t, w, c)
	c.beside(t, w, j.ref)
	changed := j.read()
	if cmp.Diff(withoutIDs(j.before), withoutIDs(changed)) == "" {
		t.Fatal("the case changes nothing beside")
	}
	done := j.apply()
	j.verify(done)
	if d := cmp.Diff(c.neighbours(changed), c.neighbours(j.read())); d != "" {
		t.Errorf("the fix touched what was changed beside it (- before, + after):\n%s", d)
	}
	j.undo(done)
	j.same("undo does not give the state before the fix", changed)
}

// must stops the test on an error of a call that only prepares.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatalf("prepare: %v", err)
		}
		return v
	}
}

func unique(t *testing.T, prefix string) string {
	return fmt.Sprintf("%s-%x", prefix, hash(t.Name()))
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(s) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

func eventSignal(w *world, ref remediation.Ref, kind, playbook string) remediation.Signal {
	return remediation.Signal{
		EventID: "11111111-2222-4333-8444-555555555555", Kind: kind, Resource: ref, Playbooks: []string{playbook},
		At:    time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Actor: remediation.Actor{Type: "IAMUser", ARN: "arn:aws:iam::" + w.account + ":user/dana", Account: w.account},
	}
}
