package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/bot"
	"secbot/internal/demo"
	"secbot/internal/operator"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// says runs a shell command and checks its status, what it prints and what it
// complains of. Each want is in both together.
func says(t *testing.T, status int, args string, want ...string) string {
	t.Helper()
	got, out, errOut := shell(t, "", strings.Fields(args)...)
	if got != status {
		t.Fatalf("secbot %s: status %d, want %d\n%s%s", args, got, status, out, errOut)
	}
	text := out
	if status != 0 {
		text = errOut
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("secbot %s: %q is missing in %s", args, w, text)
		}
	}
	return text
}

// TestShellHasEveryCommand: help lists each command of Slack's, with its words.
func TestShellHasEveryCommand(t *testing.T) {
	list := says(t, 0, "help")
	for _, c := range bot.Commands() {
		if !regexp.MustCompile(`(?m)^  ` + c.Name + ` +\S`).MatchString(list) {
			t.Errorf("help does not list %s:\n%s", c.Name, list)
		}
		if c.Name == "help" {
			continue
		}
		page := says(t, 0, "help "+c.Name)
		if !strings.Contains(page, strings.TrimSpace("secbot "+c.Name+" "+c.Usage)) {
			t.Errorf("help %s does not show what follows it (%s):\n%s", c.Name, c.Usage, page)
		}
		if c.Usage == "" || strings.HasPrefix(c.Usage, "[") {
			continue
		}
		says(t, 2, c.Name, "For example: secbot "+c.Name)
	}
}

// asked has somebody let a partner in, which secbot asks about, and gives the
// incident's id.
func (s *instance) asked(sb *sandbox.Sandbox, w *demo.World, port int32) string {
	s.t.Helper()
	if err := w.Authorize(s.t.Context(), port, "198.51.100.0/24", "partner"); err != nil {
		s.t.Fatal(err)
	}
	sb.AWS.Flush()
	if status := s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "bearer"); status/100 != 2 {
		s.t.Fatalf("the event: %d", status)
	}
	id := ""
	s.eventually(func() error {
		_, out, errOut := shell(s.t, "", "incidents", "open", "--json", "--limit", "1")
		var inc remediation.Incident
		if err := json.Unmarshal([]byte(out), &inc); err != nil {
			return fmt.Errorf("%s %s", out, errOut)
		}
		if r := inc.Finding.Rules; len(r) != 1 || *r[0].FromPort != port {
			return errors.New("the incident is not there yet")
		}
		id = inc.ID
		return nil
	})
	return id
}

const theShop = "443 0.0.0.0/0 the shop"

// TestShellDecides walks through a day at the shell of a running server.
func TestShellDecides(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	t.Setenv("SECBOT_RESPONDERS", fakeslack.Alice)
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	p := &process{}
	me := p.user() + " (shell)"

	says(t, 0, "whoami", "You are "+me, "You may decide")
	says(t, 0, "pause because we migrate", "Paused. Nothing is fixed")
	says(t, 0, "mode", "secbot is paused since", me, "The mode is auto")
	says(t, 1, "pause", "already")
	says(t, 1, "fix "+id, "Secbot is paused since", "(we migrate)", "secbot resume")
	if err := rulesAre(t, w, theShop, "8443 198.51.100.0/24 partner"); err != nil {
		t.Error(err)
	}
	says(t, 0, "resume", "secbot fixes again")
	says(t, 1, "resume", "is not paused")

	says(t, 0, "mode ask sg-rule-added", "ask for sg-rule-added")
	says(t, 0, "mode", "• sg-rule-added: ask")
	says(t, 0, "mode file sg-rule-added", "as the file says")

	says(t, 0, "why "+w.Group, w.Group, "tcp 443 from 0.0.0.0/0", "the policy says ask")
	says(t, 0, "why web", w.Group, "tcp 443 from 0.0.0.0/0", "the policy says ask")
	says(t, 1, "why sg-00000000000000000", "There is no sg-00000000000000000 here")
	says(t, 1, "why no-such-name", "no bucket, and no security group of that name")
	if text := says(t, 1, "why 999988887777", "it is in account 999988887777, and secbot's credentials are for account"); strings.Contains(text, "Retry") {
		t.Errorf("there is no button to click: %s", text)
	}

	says(t, 0, "ignore "+id+" for 7d because -partner- needs it", "Ignored until", id)
	says(t, 0, "ignores", "1 finding is let be", me, "-partner- needs it", "secbot unignore ID")
	says(t, 1, "fix 00000000", `There is no incident 00000000`)
	says(t, 0, "unignore "+id[18:], "On it: take back the ignore")
	says(t, 0, "ignores", "Nothing is ignored.")

	says(t, 0, "fix "+id, "On it: revert the change of", "Done: "+w.Group+" is fixed, as read back from AWS.")
	if err := rulesAre(t, w, theShop); err != nil {
		t.Error(err)
	}
	if got, out, _ := shell(t, "", "fix", id); got != 1 || strings.Contains(out, "On it") {
		t.Errorf("what is refused is said to be done: %s", out)
	}
	says(t, 1, "fix "+id, "is already fixed", "secbot undo "+id)
	says(t, 0, "undo "+id, "Done")
	if err := rulesAre(t, w, theShop, "8443 198.51.100.0/24 partner"); err != nil {
		t.Error(err)
	}
	says(t, 0, "show "+id, "History", "fixing by "+me, "undone by", "secbot unignore "+id)
	says(t, 0, "stats", "1 finding in 30 days", "1 fixed and put back")
	says(t, 0, "incidents undone low medium sg-rule-added 111122223333", id)
	says(t, 0, "incidents undone critical", "No incidents.")
	says(t, 0, "incidents page 2", "No incidents.")
	if out := says(t, 0, "incidents fixed"); strings.Contains(out, id) {
		t.Errorf("what is undone is among what is fixed: %s", out)
	}
	says(t, 0, "audit verify", "hold together")
	if log := says(t, 0, "audit export"); !strings.Contains(log, `"by":"shell:`+p.user()+`"`) {
		t.Errorf("the audit log does not say who it was: %s", log)
	}
}

// TestShellIsToldInSlack: what somebody decides at the shell the channel sees.
func TestShellIsToldInSlack(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	s.messageSays(sb, "Revert Change")
	says(t, 0, "allow "+id+" for 1h because the vendor", "Allowed until")
	s.eventually(func() error {
		if m := top(sb); len(m) != 1 || !strings.Contains(string(m[0].Blocks), (&process{}).user()+" (shell)") {
			return fmt.Errorf("%d messages, the last: %s", len(m), m[len(m)-1].Blocks)
		}
		return nil
	})
}

// TestNothingSteersTheTerminal: names of AWS, of people and reasons reach the shell
// as what they are.
func TestNothingSteersTheTerminal(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	hostile := "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe <@U0ALICE> *b* `x` \u009b31m"
	made, err := w.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web " + hostile), Description: aws.String(hostile)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId,
		IpPermissions: []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8443), ToPort: aws.Int32(8443),
			IpRanges: []types.IpRange{{CidrIp: aws.String("198.51.100.0/24"), Description: &hostile}}}}})
	if err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "bearer")
	s.eventually(func() error {
		if out := says(t, 0, "incidents open"); !strings.Contains(out, *made.GroupId) {
			return errors.New(out)
		}
		return nil
	})
	id := strings.Fields(strings.Split(says(t, 0, "incidents open sg-rule-added"), "\n")[1])[0]
	socket := strings.TrimPrefix(os.Getenv("SECBOT_STORE"), "bolt://") + ".sock"
	var said bytes.Buffer
	for _, words := range []string{"whoami", "ignore " + id + " for 7d because " + hostile, "ignores", "show " + id, "why " + *made.GroupId, "why " + hostile, hostile, "runbook " + hostile} {
		req := operator.Request{Name: "say", Words: words, User: hostile, Command: rand.Text()}
		err := operator.Ask(t.Context(), socket, req, &said)
		var pending *operator.PendingError
		for errors.As(err, &pending) {
			said.WriteString(pending.Doing)
			err = operator.Ask(t.Context(), socket, operator.Request{Name: "answer", Command: pending.Command}, &said)
		}
		fmt.Fprintln(&said, err)
	}
	text := said.String() + says(t, 0, "incidents")
	for _, bad := range []string{"\x1b", "\x07", "\u202e", "\u009b"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q reaches the terminal: %q", bad, text)
		}
	}
	if n := strings.Count(text, "gnp.exe"); n < 4 {
		t.Errorf("the name shows %d times: %s", n, text)
	}
}

// TestShellWithoutAServer: the store is opened, and what is decided is done at once
// and told once a server runs.
func TestShellWithoutAServer(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	says(t, 1, "pause", "there is no store")
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	message := s.messageSays(sb, "Revert Change")
	s.stop()

	says(t, 0, "show "+id, "History", "secbot fix "+id)
	says(t, 0, "mode", "The mode is auto")
	says(t, 0, "why "+w.Group, "tcp 443 from 0.0.0.0/0")
	says(t, 0, "fix "+id, "Done: "+w.Group+" is fixed")
	if err := rulesAre(t, w, theShop); err != nil {
		t.Error(err)
	}
	says(t, 1, "fix "+id, "is already fixed")
	if m := top(sb); len(m) != 1 || m[0].Text != message.Text {
		t.Errorf("Slack was told without a server: %+v", m)
	}
	says(t, 0, "pause because of the night", "Paused.")
	// Whoever types reads the answer, and no log.
	want := "No server runs, so that secbot does this by itself; what Slack is to be told waits for `secbot serve`.\n"
	if _, _, errOut := shell(t, "", "mode", "ask", "sg-created"); errOut != want {
		t.Errorf("beside the answer stands %q", errOut)
	}
	if _, _, errOut := shell(t, "", "mode"); errOut != "" {
		t.Errorf("beside what only reads stands %q", errOut)
	}
	says(t, 0, "mode file sg-created")

	s = startServer(t)
	s.eventually(func() error {
		told := map[string]bool{}
		for _, m := range top(sb) {
			told[m.Text] = true
			for _, b := range m.Buttons() {
				told[b.Text] = true
			}
		}
		if !told["Undo Fix"] || !told["Paused: secbot fixes nothing. of the night. Findings are still told, and fixes can be undone. To end it: /secbot resume"] {
			return fmt.Errorf("Slack is told %v", told)
		}
		return nil
	})
	if err := w.Authorize(t.Context(), 22, "0.0.0.0/0", "for a minute"); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "bearer")
	s.eventually(func() error {
		if out := says(t, 0, "incidents open"); !strings.Contains(out, w.Group) {
			return errors.New("nothing is asked")
		}
		return nil
	})
	if err := rulesAre(t, w, "22 0.0.0.0/0 for a minute", theShop); err != nil {
		t.Errorf("it was paused before it was started: %v", err)
	}
}

// TestShellBeforeAWSAnswers: what can't be done without a server right now is kept.
func TestShellBeforeAWSAnswers(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	s.stop()
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	says(t, 1, "fix "+id, "it is stored", "secbot serve")
	t.Setenv("AWS_ENDPOINT_URL", sb.AWSURL)
	s = startServer(t)
	s.eventually(func() error { return rulesAre(t, w, theShop) })
}

// TestShellStopsWaiting: a command that nobody carries out is said to be stored, and is.
func TestShellStopsWaiting(t *testing.T) {
	var asked []operator.Request
	p := &process{out: io.Discard}
	pending := &operator.PendingError{Command: "c", Doing: "On it.\n"}
	err := p.await(t.Context(), operator.Request{Name: "say", Words: "pause"}, func(_ context.Context, req operator.Request) error {
		asked = append(asked, req)
		return pending
	}, time.Hour)
	if err == nil || !strings.Contains(err.Error(), "is stored and will be carried out") || len(asked) != 1 {
		t.Errorf("%v after %+v", err, asked)
	}
	p.patience = time.Hour
	answers := []error{pending, pending, operator.ErrNoServer}
	err = p.await(t.Context(), operator.Request{Name: "say"}, func(_ context.Context, req operator.Request) error {
		asked = append(asked, req)
		err := answers[0]
		answers = answers[1:]
		return err
	}, 0)
	if err == nil || errors.Is(err, operator.ErrNoServer) || !strings.Contains(err.Error(), "the server has ended") {
		t.Errorf("a server that ends: %v", err)
	}
	if last := asked[len(asked)-1]; last.Name != "answer" || last.Command != "c" {
		t.Errorf("asked: %+v", last)
	}
}

// TestShellOnATable: the shell stores the command in the shared table and waits for
// whoever works on it.
func TestShellOnATable(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	onTable(t)
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	says(t, 0, "fix "+id, "On it: revert the change of", "is fixed, as read back from AWS.")
	if err := rulesAre(t, w, theShop); err != nil {
		t.Error(err)
	}
	says(t, 1, "fix "+id, "is already fixed")
	s.stop()
	ended := make(chan string, 1)
	go func() {
		status, out, errOut := shell(t, "", "pause")
		ended <- fmt.Sprint(status, out, errOut)
	}()
	startServer(t)
	if got := <-ended; !strings.HasPrefix(got, "0") || !strings.Contains(got, "Paused.") {
		t.Errorf("pause: %s", got)
	}
	says(t, 0, "mode", "secbot is paused")
}

// TestShellAsksTwiceAndIsHeardOnce: where the connection breaks once the command is
// stored, the shell asks again, and it is one command.
func TestShellAsksTwiceAndIsHeardOnce(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	s := startServer(t)
	id := s.asked(sb, w, 8443)
	path := strings.TrimPrefix(os.Getenv("SECBOT_STORE"), "bolt://") + ".sock"
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	l, err := operator.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var heard []operator.Request
	between := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var req operator.Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		heard = append(heard, req)
		var out bytes.Buffer
		err := operator.Ask(r.Context(), path+".real", req, &out)
		if len(heard) == 1 {
			panic(http.ErrAbortHandler) // the answer gets lost
		}
		var pending *operator.PendingError
		if errors.As(err, &pending) {
			rw.Header().Set("Secbot-Command", pending.Command)
			rw.WriteHeader(http.StatusAccepted)
		}
		_, _ = rw.Write(out.Bytes())
	})}
	go func() { _ = between.Serve(l) }()
	t.Cleanup(func() { _ = between.Close() })
	says(t, 0, "ignore "+id+" for 7d because the partner needs it", "Ignored until")
	if len(heard) < 2 || heard[0].Command == "" || heard[0].Command != heard[1].Command {
		t.Errorf("asked: %+v", heard)
	}
	log := says(t, 0, "audit export")
	if n := strings.Count(log, `"what":"ignored"`); n != 1 || strings.Contains(log, "refused to ignore") {
		t.Errorf("it was carried out %d times:\n%s", n, log)
	}
}
