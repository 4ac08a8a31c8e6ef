package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"secbot/events"
	"secbot/internal/demo"
	"secbot/internal/faketable"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/dynamo"
)

// lambdaRuntime is Lambda's runtime API, as the bootstrap sees it.
type lambdaRuntime struct {
	t       testing.TB
	url     string
	pending chan []byte
	answers chan answer
	ready   chan struct{} // closed once the function asks for its first invocation
	asked   sync.Once
	count   int
}

// answer is what the function answered an invocation with.
type answer struct {
	body   []byte
	failed bool
}

func newRuntime(t testing.TB) *lambdaRuntime {
	r := &lambdaRuntime{t: t, pending: make(chan []byte), answers: make(chan answer, 1), ready: make(chan struct{})}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.url = strings.TrimPrefix(srv.URL, "http://")
	return r
}

// ServeHTTP serves /runtime/invocation/next, …/response and …/error.
func (r *lambdaRuntime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/2018-06-01/runtime/invocation/")
	if path == "next" {
		r.asked.Do(func() { close(r.ready) })
		select {
		case event := <-r.pending:
			r.count++
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", strconv.Itoa(r.count))
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:111122223333:function:secbot")
			_, _ = w.Write(event) // the function has ended: the test waits in vain and says so
		case <-req.Context().Done():
		}
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Errorf("the function's answer: %v", err)
	}
	r.answers <- answer{body, strings.HasSuffix(path, "/error")}
	w.WriteHeader(http.StatusAccepted)
}

// awaitReady waits until the function has started.
func (r *lambdaRuntime) awaitReady() {
	r.t.Helper()
	select {
	case <-r.ready:
	case <-time.After(30 * time.Second):
		r.t.Fatal("the function does not start")
	}
}

// invoke hands the function an event and waits for its answer.
func (r *lambdaRuntime) invoke(event any) answer {
	r.t.Helper()
	raw, err := json.Marshal(event)
	if err != nil {
		r.t.Fatal(err)
	}
	late := time.After(30 * time.Second)
	select {
	case r.pending <- raw:
	case <-late:
		r.t.Fatal("the function does not ask for an invocation")
	}
	select {
	case a := <-r.answers:
		return a
	case <-late:
		r.t.Fatal("the function does not answer")
	}
	return answer{}
}

// bootstrap builds the program as Lambda runs it.
func bootstrap(t testing.TB) string {
	t.Helper()
	return built(t, "lambda")
}

// built builds the program, with build tags.
func built(t testing.TB, tags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secbot")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", strings.Join(append(tags, "lambda.norpc"), ","), "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// start runs the bootstrap with the process's environment and more, and gives
// what kills it.
func (r *lambdaRuntime) start(program, kind string, env ...string) (kill func()) {
	r.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program)
	var log bytes.Buffer
	cmd.Stderr, cmd.Dir = &log, r.t.TempDir()
	cmd.Env = append(os.Environ(), append(env, "AWS_LAMBDA_RUNTIME_API="+r.url, "SECBOT_LAMBDA="+kind)...)
	if err := cmd.Start(); err != nil {
		end()
		r.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		end()
		_ = cmd.Wait() // it was killed
	})
	r.t.Cleanup(func() {
		kill()
		if r.t.Failed() {
			r.t.Logf("the log of %s:\n%s", kind, log.String())
		}
	})
	return kill
}

// indexLag is how far behind the table its indexes are in these tests: so far that
// no invocation finds by them what it has stored itself.
const indexLag = 2 * time.Second

// onTable is the environment of processes that share a table.
func onTable(t testing.TB) (*faketable.AWS, *dynamo.Store) {
	t.Helper()
	table := faketable.Start(t)
	table.Lag = indexLag
	st := dynamo.New(table.Config(), dynamo.Options{Table: "secbot"})
	if err := st.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", table.URL)
	t.Setenv("SECBOT_STORE", "dynamodb://secbot")
	return table, st
}

// onLambda is the environment of functions on the stand-ins, with a queue.
func onLambda(t *testing.T, sb *sandbox.Sandbox) (client *sqs.Client, queue string) {
	t.Helper()
	program := bootstrap(t) // before the working directory changes
	onEmulators(t, sb)
	onTable(t)
	client = sqs.NewFromConfig(demo.AWSConfig(sb))
	out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("secbot")})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECBOT_QUEUE_URL", *out.QueueUrl)
	t.Setenv("BOOTSTRAP", program)
	return client, *out.QueueUrl
}

func sqsRecord(id, body string) map[string]any {
	return map[string]any{"messageId": id, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs", "awsRegion": "us-east-1"}
}

func TestLambdaEvents(t *testing.T) {
	sb, w := startSandbox(t)
	onLambda(t, sb)
	r := newRuntime(t)
	r.start(os.Getenv("BOOTSTRAP"), "events")
	r.awaitReady()
	for _, c := range sb.AWS.Calls() {
		if strings.Contains(c.Caller, "secbot") && c.Service != "sqs" {
			t.Errorf("the start calls %s of %s", c.Action, c.Service)
		}
	}
	if n := len(sb.Slack.Calls()); n != 0 {
		t.Errorf("the start calls Slack %d times", n)
	}
	if err := w.Break(t.Context(), "ssh", w.Group); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	event := sb.LastEvent("AuthorizeSecurityGroupIngress")

	a := r.invoke(map[string]any{"Records": []any{
		sqsRecord("good", string(event)), sqsRecord("torn", string(event[:100])), sqsRecord("wake", events.Wake), sqsRecord("other", `{"detail-type":"x","detail":{}}`),
	}})
	var batch struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(a.body, &batch); err != nil || a.failed {
		t.Fatalf("answer: %s %v", a.body, err)
	}
	if f := batch.BatchItemFailures; len(f) != 1 || f[0].ItemIdentifier != "torn" {
		t.Errorf("failures: %+v, want the torn message alone", f)
	}
	if err := rulesAre(t, w, "443 0.0.0.0/0 the shop"); err != nil {
		t.Errorf("when the invocation has ended: %v", err)
	}
	if m := top(sb); len(m) != 1 || m[0].Buttons()[0].Text != "Undo Fix" {
		t.Errorf("when the invocation has ended: messages %+v", m)
	}

	if err := w.Break(t.Context(), "partner", w.Group); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	var direct any
	if err := json.Unmarshal(sb.LastEvent("AuthorizeSecurityGroupIngress"), &direct); err != nil {
		t.Fatal(err)
	}
	if a := r.invoke(direct); a.failed || string(a.body) != "null" {
		t.Errorf("EventBridge directly: %s", a.body)
	}
	if n := len(top(sb)); n != 2 {
		t.Errorf("%d messages, want two", n)
	}
	if a := r.invoke(map[string]any{"Records": []any{map[string]any{"Sns": map[string]any{"Message": string(event)}}}}); a.failed {
		t.Errorf("SNS: %s", a.body)
	}
	if n := len(top(sb)); n != 2 {
		t.Errorf("%d messages after the first event again, by SNS; want two", n)
	}
	if a := r.invoke([]int{1}); !a.failed {
		t.Errorf("no event: %s, want an error", a.body)
	}
}

// signed is a slash command as Slack sends it, as a function URL hands it on.
func signed(t *testing.T, sb *sandbox.Sandbox, text string) map[string]any {
	t.Helper()
	body := "command=%2Fsecbot&team_id=T0SANDBOX&channel_id=" + fakeslack.ChannelSecurity + "&user_id=" + fakeslack.Alice +
		"&trigger_id=1&response_url=" + sb.SlackURL + "/response/1&text=" + strings.ReplaceAll(text, " ", "+")
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(sb.Slack.Secret()))
	fmt.Fprintf(mac, "v0:%s:%s", at, body)
	return urlRequest("POST", "/slack/commands", body, map[string]string{
		"content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": at,
		"x-slack-signature": "v0=" + hex.EncodeToString(mac.Sum(nil)),
	})
}

func urlRequest(method, path, body string, header map[string]string) map[string]any {
	return map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": header, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{"domainName": "x.lambda-url.us-east-1.on.aws", "http": map[string]any{"method": method, "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"}},
	}
}

// streamed splits a streamed answer: what it says about itself, eight zero
// bytes, and the body.
func streamed(t *testing.T, a answer) (status int, body string) {
	t.Helper()
	head, rest, ok := bytes.Cut(a.body, make([]byte, 8))
	var prelude struct{ StatusCode int }
	if err := json.Unmarshal(head, &prelude); err != nil || !ok || a.failed {
		t.Fatalf("answer: %q %v", a.body, err)
	}
	return prelude.StatusCode, string(rest)
}

func TestLambdaHTTP(t *testing.T) {
	sb, _ := startSandbox(t)
	onLambda(t, sb)
	before := len(sb.AWS.Calls())
	r := newRuntime(t)
	r.start(os.Getenv("BOOTSTRAP"), "http")
	if status, body := streamed(t, r.invoke(urlRequest("GET", "/healthz", "", nil))); status != 200 {
		t.Errorf("healthz: %d %s", status, body)
	}
	for _, path := range []string{"/metrics", "/readyz"} { // a function URL is for everybody
		if status, body := streamed(t, r.invoke(urlRequest("GET", path, "", nil))); status != 404 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := streamed(t, r.invoke(signed(t, sb, "help"))); status != 200 || !strings.Contains(body, "incidents") {
		t.Errorf("/secbot help: %d %s", status, body)
	}
	if n := len(sb.AWS.Queued("secbot")); n != 0 {
		t.Errorf("help put %d messages into the queue", n)
	}
	if status, body := streamed(t, r.invoke(signed(t, sb, "scan sg"))); status != 200 || !strings.Contains(body, "On it") {
		t.Errorf("/secbot scan: %d %s", status, body)
	}
	if q := sb.AWS.Queued("secbot"); len(q) != 1 || q[0] != events.Wake {
		t.Errorf("the queue holds %q, want that work is due", q)
	}
	forged := urlRequest("POST", "/slack/commands", "command=/secbot&text=scan", map[string]string{"x-slack-request-timestamp": "1", "x-slack-signature": "v0=00"})
	if status, body := streamed(t, r.invoke(forged)); status != 401 {
		t.Errorf("a forged command: %d %s", status, body)
	}
	may := append(granting(t, "WebRole"), "sts:GetCallerIdentity") // which anybody may
	for _, c := range sb.AWS.Calls()[before:] {
		if action := c.Service + ":" + c.Action; strings.Contains(c.Caller, "assumed-role/secbot") && !slices.Contains(may, action) {
			t.Errorf("it calls %s, which its role in infra/hub.yaml does not allow", action)
		}
	}
}

// TestLambdaTick: a function stores an event and is killed before it has worked at
// it; once its lease has ended two ticks at the same time find it, and it is fixed and told once.
func TestLambdaTick(t *testing.T) {
	sb, w := startSandbox(t)
	onLambda(t, sb)
	table, st := onTable(t)
	program := os.Getenv("BOOTSTRAP")
	if err := w.Break(t.Context(), "ssh", w.Group); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	stored, dead := make(chan struct{}), make(chan struct{})
	table.Lock()
	table.Done = func(c faketable.Call) {
		if c.Op == "TransactWriteItems" && strings.Contains(c.Body, "J#signal/") {
			close(stored)
			<-dead // it never learns that it was stored
		}
	}
	table.Unlock()
	first := newRuntime(t)
	kill := first.start(program, "events")
	first.awaitReady()
	first.pending <- encoded(t, map[string]any{"Records": []any{sqsRecord("m", string(sb.LastEvent("AuthorizeSecurityGroupIngress")))}})
	select {
	case <-stored:
	case <-time.After(30 * time.Second):
		t.Fatal("the event is not stored")
	}
	kill()
	table.Lock()
	table.Done, table.Lag = nil, 0 // a minute has passed
	table.Unlock()
	close(dead)
	endLease(t, st)
	if err := rulesAre(t, w, "443 0.0.0.0/0 the shop"); err == nil {
		t.Fatal("it is fixed already, so that the ticks prove nothing")
	}
	var ticks sync.WaitGroup
	for range 2 {
		r := newRuntime(t)
		r.start(program, "tick")
		r.awaitReady()
		ticks.Go(func() {
			if a := r.invoke(map[string]any{"source": "aws.scheduler"}); a.failed {
				t.Errorf("tick: %s", a.body)
			}
		})
	}
	ticks.Wait()
	if err := rulesAre(t, w, "443 0.0.0.0/0 the shop"); err != nil {
		t.Errorf("when the ticks have ended: %v", err)
	}
	if m := top(sb); len(m) != 1 || m[0].Buttons()[0].Text != "Undo Fix" {
		t.Errorf("when the ticks have ended: messages %+v", m)
	}
	revokes := 0
	for _, c := range sb.AWS.Calls() {
		if c.Action == "RevokeSecurityGroupIngress" {
			revokes++
		}
	}
	all, err := st.Incidents(t.Context(), remediation.IncidentQuery{})
	if err != nil || len(all) != 1 || all[0].Status != remediation.StatusFixed || revokes != 1 {
		t.Fatalf("incidents %v, %v; %d calls to revoke", all, err, revokes)
	}
	log, err := st.Audit(t.Context(), all[0].ID)
	if err := errors.Join(err, remediation.VerifyAudit(all[0], log)); err != nil {
		t.Error(err)
	}
}

// endLease has the lease of the event end that its dead worker had.
func endLease(t *testing.T, st remediation.Store) {
	t.Helper()
	jobs, err := st.DueJobs(t.Context(), time.Now().Add(time.Minute), 100)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(jobs, func(j *remediation.Job) bool { return j.Kind == "signal" })
	if i < 0 || jobs[i].LeaseUntil.IsZero() {
		t.Fatalf("the event is not stored with a lease: %+v", jobs)
	}
	jobs[i].LeaseUntil = time.Time{}
	if err := st.Commit(t.Context(), remediation.Write{Jobs: jobs[i : i+1]}); err != nil {
		t.Fatal(err)
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestLambdaWantsATable: a function with a store of its own would lose what it
// acknowledges.
func TestLambdaWantsATable(t *testing.T) {
	for _, url := range []string{"memory://", "bolt://" + filepath.Join(t.TempDir(), "secbot.db"), "nothing"} {
		s := &settings{Store: url, Lambda: lambdaEvents}
		if err := (&process{settings: s, log: slog.New(slog.DiscardHandler)}).lambda(t.Context()); err == nil || !strings.Contains(err.Error(), "dynamodb://TABLE") {
			t.Errorf("%s: %v", url, err)
		}
		if path, ok := strings.CutPrefix(url, "bolt://"); ok {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("the file %s was made", path)
			}
		}
	}
}

// TestServeTakesFromTheQueue: the server polls the queue that the functions use.
func TestServeTakesFromTheQueue(t *testing.T) {
	sb, w := startSandbox(t)
	client, url := onLambda(t, sb)
	if err := w.Break(t.Context(), "ssh", w.Group); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	for _, body := range []string{string(sb.LastEvent("AuthorizeSecurityGroupIngress")), "torn {"} {
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	s := startServer(t)
	s.eventually(func() error { return rulesAre(t, w, "443 0.0.0.0/0 the shop") })
	s.eventually(func() error {
		if q := sb.AWS.Queued("secbot"); len(q) != 1 || q[0] != "torn {" {
			return fmt.Errorf("the queue holds %q, want only what is no event", q)
		}
		return nil
	})
}

// BenchmarkColdStart is from the start of the process to its first answer, in
// each function, with the most memory that it has had.
func BenchmarkColdStart(b *testing.B) {
	program := bootstrap(b)
	onTable(b)
	for kind, event := range map[string]any{
		"events": map[string]any{"Records": []any{sqsRecord("wake", events.Wake)}},
		"http":   urlRequest("GET", "/healthz", "", nil),
		"tick":   map[string]any{},
	} {
		b.Run(kind, func(b *testing.B) {
			var peak int64
			for b.Loop() {
				r := newRuntime(b)
				cmd := exec.CommandContext(b.Context(), program)
				cmd.Dir = b.TempDir()
				cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+r.url, "SECBOT_LAMBDA="+kind,
					"SECBOT_QUEUE_URL=http://127.0.0.1:1/q", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x")
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				if a := r.invoke(event); a.failed {
					b.Fatalf("%s", a.body)
				}
				if err := cmd.Process.Kill(); err != nil {
					b.Fatal(err)
				}
				_ = cmd.Wait() // it was killed
				if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
					peak = max(peak, usage.Maxrss)
				}
			}
			b.ReportMetric(float64(peak)/1024, "MB-peak")
		})
	}
}
