package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/slack-go/slack"

	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
)

const (
	signingSecret = "bench" // of no Slack app
	commandsPath  = "/slack/commands"
	help          = "help"
	// connections are how many requests are under way at once.
	connections = 32
	// turn is how long one server gets requests before it is the next one's turn.
	turn  = time.Second
	turns = 5
	// answerPatience bounds one answer.
	answerPatience = 10 * time.Second
)

// measureSlack sends the same signed commands to secbot, to an app made with Bolt,
// and to a handler that verifies and does nothing else, which is what Go can do at
// most. They are asked by turns, each in a process of its own.
func measureSlack(ctx context.Context, b *bench) error {
	// Who alice is secbot asks Slack, and knows then for some minutes.
	standIn, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		return fmt.Errorf("serve a stand-in for Slack: %w", err)
	}
	servers, err := b.startServers(ctx, standIn)
	if err != nil {
		return errors.Join(err, standIn.Close())
	}
	for range turns {
		for _, s := range servers {
			if err := s.askFor(ctx, turn); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	b.report.columns("/secbot help on", "requests a second", "p50", "p99", "memory")
	for _, s := range servers {
		s.peak = s.process.stop()
	}
	if err := standIn.Close(); err != nil {
		return err
	}
	for _, s := range servers {
		b.report.row(s.name, fmt.Sprintf("%.0f", s.rate()), ms(median(s.took)), ms(quantile(s.took, 0.99)), mib(s.peak))
	}
	secbot, stored, bolt, bare := servers[0], servers[1], servers[2], servers[3]
	fmt.Fprintln(b.report.out)
	b.report.goals()
	b.report.atLeast("requests a second ÷ Bolt's", ratio(secbot.rate(), bolt.rate()), 4, "%.2f")
	b.report.atMost("p99 ÷ Bolt's", ratio(quantile(secbot.took, 0.99), quantile(bolt.took, 0.99)), 1, "%.2f")
	b.report.atMost("memory ÷ Bolt's", ratio(secbot.peak, bolt.peak), 0.2, "%.2f")
	b.report.atLeast("requests a second ÷ those of the handler that only verifies", ratio(secbot.rate(), bare.rate()), 0.8, "%.2f")
	b.report.row("the same of a command that is stored first", fmt.Sprintf("%.2f", ratio(stored.rate(), bare.rate())), "none", "")
	return nil
}

// server is a process that takes commands, and how it has answered.
type server struct {
	name    string
	url     string
	text    string // of the command
	process *process
	took    []time.Duration
	spent   time.Duration
	peak    int64
}

func (s *server) rate() float64 { return float64(len(s.took)) / s.spent.Seconds() }

func (b *bench) startServers(ctx context.Context, standIn *sandbox.Sandbox) ([]*server, error) {
	secbot, err := b.startSecbot(ctx, standIn, "secbot", help)
	if err != nil {
		return nil, err
	}
	stored, err := b.startSecbot(ctx, standIn, "secbot, a command that is stored first", "resume")
	if err != nil {
		return nil, err
	}
	// Else it would be refused, which is another work.
	answer, err := secbot.ask(ctx)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(answer, []byte("/secbot incidents")) {
		return nil, fmt.Errorf("secbot answers %s when asked for help", answer)
	}
	// Else it would be answered without being stored.
	taken, err := stored.ask(ctx)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(taken, []byte("On it")) {
		return nil, fmt.Errorf("secbot answers %s to a command that it should store", taken)
	}
	bolt, err := b.startBolt(ctx, answer)
	if err != nil {
		return nil, err
	}
	bolt.text = help
	bare, err := b.startBare(ctx)
	if err != nil {
		return nil, err
	}
	bare.text = help
	return []*server{secbot, stored, bolt, bare}, nil
}

// startSecbot runs `secbot serve` with a store on disk, without AWS.
func (b *bench) startSecbot(ctx context.Context, standIn *sandbox.Sandbox, name, text string) (*server, error) {
	program, err := b.build(ctx, allCommands)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	// Nobody listens on port 1, so that what works in the background gives up at once.
	p, err := b.start(ctx, []string{"SECBOT_ADDR=" + addr, "SECBOT_STORE=bolt://secbot.db", "SLACK_SIGNING_SECRET=" + signingSecret, "SECBOT_RESPONDERS=" + fakeslack.Alice, "SLACK_BOT_TOKEN=" + standIn.Slack.Token(), "SLACK_API_URL=" + standIn.Slack.APIURL(),
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "SECBOT_LOG_LEVEL=error"}, program, "serve")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, url: "http://" + addr, process: p, text: text}
	return s, p.answers(ctx, s.url+"/healthz")
}

// startBolt runs an app that gives the same answer, text and blocks.
func (b *bench) startBolt(ctx context.Context, answer json.RawMessage) (*server, error) {
	args, err := json.Marshal(map[string]any{"secret": signingSecret, "answer": answer})
	if err != nil {
		return nil, err
	}
	script, err := filepath.Abs(filepath.Join(b.node, "bench-receiver.mjs"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(script); err != nil {
		return nil, fmt.Errorf("%w: `make bench` puts it there", err)
	}
	return b.startListening(ctx, "@slack/bolt", "node", script, string(args))
}

// ask gives one answer.
func (s *server) ask(ctx context.Context) (json.RawMessage, error) {
	c, err := dial(ctx, s.url)
	if err != nil {
		return nil, err
	}
	defer c.close()
	body, err := c.send(signedCommand(s.text, time.Now()))
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, fmt.Errorf("%s answers %q", s.name, body)
	}
	return body, nil
}

// bareCommand has this program be the handler that only verifies.
const bareCommand = "serve-bare"

func (b *bench) startBare(ctx context.Context) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return b.startListening(ctx, "chi and slack-go's verifier alone", self, bareCommand)
}

// serveBare serves a chi handler that verifies with slack-go and answers a word.
func serveBare(ctx context.Context, out io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := chi.NewRouter()
	r.Post(commandsPath, bareCommandHandler)
	fmt.Fprintf(out, "{\"listening\":\"http://%s\"}\n", l.Addr())
	srv := &http.Server{Handler: r, ReadHeaderTimeout: answerPatience}
	return srv.Serve(l) // it is killed
}

func bareCommandHandler(w http.ResponseWriter, r *http.Request) {
	v, err := slack.NewSecretsVerifier(r.Header, signingSecret)
	if err == nil {
		_, err = io.Copy(&v, http.MaxBytesReader(w, r.Body, 1<<20))
	}
	if err := errors.Join(err, v.Ensure()); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = io.WriteString(w, `{"text":"ok"}`) // the client has gone when this fails
}

// startListening starts a program that prints {"listening":URL} once it serves,
// and ends when its standard input does.
func (b *bench) startListening(ctx context.Context, name, program string, args ...string) (*server, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{})} //nolint:gosec // programs of this repository
	p.cmd.Stderr, p.cmd.WaitDelay = &p.errOut, 5*time.Second
	if _, err := p.cmd.StdinPipe(); err != nil { // it ends with this program
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	go p.watch()
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s does not listen: %w\n%s", name, err, tail(p.errOut.Bytes()))
	}
	var at struct{ Listening string }
	if err := json.Unmarshal(line, &at); err != nil {
		return nil, fmt.Errorf("%s says %q: %w", name, line, err)
	}
	return &server{name: name, url: at.Listening, process: p}, nil
}

// askFor asks over all connections for a while.
func (s *server) askFor(ctx context.Context, d time.Duration) error {
	var running sync.WaitGroup
	took, errs := make([][]time.Duration, connections), make([]error, connections)
	began := time.Now()
	for i := range connections {
		running.Go(func() { took[i], errs[i] = s.askOver(ctx, began.Add(d)) })
	}
	running.Wait()
	s.spent += time.Since(began)
	for _, t := range took {
		s.took = append(s.took, t...)
	}
	return errors.Join(errs...)
}

func (s *server) askOver(ctx context.Context, until time.Time) (took []time.Duration, err error) {
	c, err := dial(ctx, s.url)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for time.Now().Before(until) {
		request := signedCommand(s.text, time.Now())
		began := time.Now()
		if _, err := c.send(request); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// connection is one that is kept; it costs less than an http.Client, whose own work
// would take from the servers the cores that they share with it.
type connection struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, at string) (*connection, error) {
	conn, err := (&net.Dialer{Timeout: answerPatience}).DialContext(ctx, "tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &connection{conn, bufio.NewReader(conn)}, nil
}

func (c *connection) close() { _ = c.conn.Close() } // all was read

func (c *connection) send(request []byte) ([]byte, error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerPatience)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, nil
}

// signedCommand is a slash command as Slack sends it.
func signedCommand(text string, now time.Time) []byte {
	at := now.Unix()
	body := url.Values{"command": {"/secbot"}, "text": {text}, "user_id": {fakeslack.Alice}, "user_name": {"alice"}, "team_id": {"T0BENCH"}, "channel_id": {"C0SECBOT"}, "channel_name": {"security"},
		"trigger_id": {strconv.FormatInt(now.UnixNano(), 10) + "." + text}, "response_url": {"http://127.0.0.1:1/answer"}}.Encode()
	mac := hmac.New(sha256.New, []byte(signingSecret))
	fmt.Fprintf(mac, "v0:%d:%s", at, body)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nX-Slack-Request-Timestamp: %d\r\nX-Slack-Signature: v0=%s\r\nContent-Length: %d\r\n\r\n%s",
		commandsPath, at, hex.EncodeToString(mac.Sum(nil)), len(body), body)
}
