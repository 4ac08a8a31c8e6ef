//go:build !lambda

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/creack/pty"

	"secbot/internal/demo"
	"secbot/internal/operator"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

const question = "Type yes: "

// pseudoTerminal is where a person is asked. asked is called once, before they answer.
type pseudoTerminal struct {
	bytes.Buffer
	asked func()
	keys  io.Writer
	types string
}

func (o *pseudoTerminal) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), question) {
		if o.asked != nil {
			o.asked()
		}
		if _, err := io.WriteString(o.keys, o.types+"\n"); err != nil {
			return 0, err
		}
	}
	return o.Buffer.Write(b)
}

// atTerminal runs a command for somebody who types one line once they are asked.
func atTerminal(t *testing.T, types string, asked func(), args string) (status int, out, errOut string) {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(keys.Close(), tty.Close()) }()
	screen, complaints := &pseudoTerminal{asked: asked, keys: keys, types: types}, &bytes.Buffer{}
	status = run(t.Context(), strings.Fields(args), tty, screen, complaints)
	return status, screen.String(), complaints.String()
}

// withStore has a store made, by a server that ends where none is to run.
func withStore(t *testing.T, running bool) *instance {
	t.Helper()
	s := startServer(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if !running {
		s.stop()
	}
	return s
}

// bucketsAlone has a policy that leaves the account's own block, which would hide every
// bucket's grants.
func bucketsAlone(t *testing.T) {
	t.Helper()
	write(t, "secbot.yaml", "rules:\n  - name: account\n    match: {playbook: s3-account-block-public-access}\n    then: ignore\n")
}

// grantsOf are a bucket's grants to everybody.
func grantsOf(t *testing.T, w *demo.World, bucket string) []string {
	t.Helper()
	all, err := w.Grants(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(g string) bool { return !strings.HasSuffix(g, " AllUsers") })
}

// TestScanFix: with and without a server, a no changes nothing and a yes reverts what
// was shown; Slack can undo it.
func TestScanFix(t *testing.T) {
	for name, running := range map[string]bool{"by the server": true, "by itself": false} {
		t.Run(name, func(t *testing.T) {
			sb, w := startSandbox(t)
			onEmulators(t, sb)
			bucketsAlone(t)
			publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
			s := withStore(t, running)
			for _, no := range []string{"", "y", "no", "yes please"} {
				status, out, errOut := atTerminal(t, no, nil, "scan s3 --fix")
				if status != 1 || !strings.Contains(errOut, "nothing was changed") || !strings.Contains(out, "  - ") {
					t.Errorf("%q: %d %s %s", no, status, out, errOut)
				}
			}
			if g := grantsOf(t, w, demo.SiteBucket); len(g) == 0 {
				t.Fatal("a no has changed something")
			}
			if _, out, _ := shell(t, "", "incidents"); !strings.Contains(out, "No incidents.") {
				t.Errorf("a no has opened incidents: %s", out)
			}
			status, out, errOut := atTerminal(t, "yes", nil, "scan s3 --fix")
			if status != 0 || !strings.Contains(out, "Reverted ") {
				t.Fatalf("yes: %d %s %s", status, out, errOut)
			}
			if g := grantsOf(t, w, demo.SiteBucket); len(g) != 0 {
				t.Errorf("still granted: %v", g)
			}
			if status, out, errOut := shell(t, "", "scan", "s3", "--fix", "--yes"); status != 0 || strings.Contains(out, "What Revert") {
				t.Errorf("where nothing is open: %d %s %s", status, out, errOut)
			}
			if !running {
				s = startServer(t)
			}
			sb.SetTarget(s.url)
			s.eventually(func() error {
				for _, m := range top(sb) {
					if !strings.Contains(string(m.Blocks), demo.SiteBucket) || !slices.ContainsFunc(m.Buttons(), func(b fakeslack.Button) bool { return b.ActionID == "undo" }) {
						continue
					}
					_, err := sb.Slack.Click(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, m.TS, "undo")
					return err
				}
				return errors.New("no message has an undo")
			})
			s.eventually(func() error {
				if g := grantsOf(t, w, demo.SiteBucket); len(g) == 0 {
					return errors.New("the undo has put nothing back")
				}
				return nil
			})
			says(t, 0, "audit export", `"by":"shell:`+(&process{}).user()+`"`)
			says(t, 0, "audit verify", "hold together")
		})
	}
}

// TestScanFixUnasked: without a pseudoTerminal only --yes fixes, and what else --fix does
// not go with is said before AWS is asked.
func TestScanFixUnasked(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	var mu sync.Mutex
	calls := 0
	sb.AWS.Fault(func(fakeaws.Call) *fakeaws.Fault { mu.Lock(); defer mu.Unlock(); calls++; return nil })
	says(t, 1, "scan --fix --yes", "there is no store at")
	for args, want := range map[string]string{
		"scan --fix": "say --yes", "scan --yes": "say --fix too", "scan --fix --yes --json": "leave the other format",
		"scan --fix --yes --html": "leave the other format", "scan --fix --yes --output x": "leave the other format",
	} {
		says(t, 2, args, want)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if status := run(t.Context(), []string{"scan", "--fix"}, null, io.Discard, io.Discard); status != 2 {
		t.Errorf("from /dev/null: %d", status)
	}
	if calls != 0 {
		t.Errorf("AWS was called %d times", calls)
	}
	sb.AWS.Fault(nil)
	withStore(t, true)
	out := says(t, 0, "scan sg --fix --yes", "Reverted 1 of 1.")
	if strings.Contains(out, question) {
		t.Errorf("it has asked: %s", out)
	}
	if err := rulesAre(t, w); err != nil {
		t.Error(err)
	}
	says(t, 0, "scan sg --fix --yes", "nothing is open")
}

// open lets the whole world in.
func open(t *testing.T, w *demo.World, port int32) {
	t.Helper()
	if err := w.Authorize(t.Context(), port, "0.0.0.0/0", "later"); err != nil {
		t.Fatal(err)
	}
}

// revoke takes the shop's rule away.
func revoke(t *testing.T, w *demo.World) {
	t.Helper()
	_, err := w.EC2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(w.Group), IpPermissions: []ec2types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScanFixOfWhatHasChanged: what changes between the plan and the yes is not
// fixed, what is new neither, and what was shown and still is so is.
func TestScanFixOfWhatHasChanged(t *testing.T) {
	for name, running := range map[string]bool{"by the server": true, "by itself": false} {
		t.Run(name, func(t *testing.T) {
			sb, w := startSandbox(t)
			onEmulators(t, sb)
			open(t, w, 8443)
			withStore(t, running)
			status, out, errOut := atTerminal(t, "yes", func() {
				revoke(t, w)
				open(t, w, 9443)
			}, "scan sg --fix")
			if status != 1 || !strings.Contains(errOut, "Reverted 1 of 2; 1 are not as they were shown any more") ||
				!strings.Contains(errOut, "tcp 443 from 0.0.0.0/0: it was closed, has changed, or is let be since") {
				t.Errorf("%d %s %s", status, out, errOut)
			}
			if err := rulesAre(t, w, "9443 0.0.0.0/0 later"); err != nil {
				t.Error(err)
			}
			// What is gone is not open.
			status, out, errOut = atTerminal(t, "yes", func() {
				if _, err := w.EC2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: aws.String(w.Group)}); err != nil {
					t.Error(err)
				}
			}, "scan sg --fix")
			if status != 0 || !strings.Contains(out, "Reverted 0 of 1; 1 were closed already.") {
				t.Errorf("where it is gone: %d %s %s", status, out, errOut)
			}
		})
	}
}

// TestScanFixLeavesWhatWasDecided: what was ignored in Slack stays open, what it takes
// approvals to fix is asked for, and while secbot is paused all is refused.
func TestScanFixLeavesWhatWasDecided(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	open(t, w, 8443)
	s := withStore(t, true)
	sb.SetTarget(s.url)
	says(t, 0, "scan sg")
	says(t, 0, "pause because we migrate")
	says(t, 1, "scan sg --fix --yes", "Reverted 0 of 2; 2 were refused", "is paused since", "we migrate")
	says(t, 0, "resume")
	if err := rulesAre(t, w, theShop, "8443 0.0.0.0/0 later"); err != nil {
		t.Fatal(err)
	}
	id := ""
	for line := range strings.Lines(says(t, 0, "incidents open --json")) {
		if strings.Contains(line, `"from_port":443`) {
			_, id, _ = strings.Cut(line, `"id":"`)
			id = id[:26]
		}
	}
	if _, err := sb.Slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "ignore "+id+" for 7d because of the shop"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		if out := says(t, 0, "incidents ignored"); !strings.Contains(out, id) {
			return errors.New(out)
		}
		return nil
	})
	text := says(t, 1, "scan sg --fix --yes", "Reverted 1 of 2; 1 are not as they were shown", "is ignored since")
	if !strings.Contains(text, "tcp 443 from 0.0.0.0/0: incident "+id) {
		t.Errorf("what was left is not named: %s", text)
	}
	if err := rulesAre(t, w, theShop); err != nil {
		t.Error(err)
	}
}

// TestScanFixByThePolicy: what it ignores is not shown, what takes approvals waits for
// them, and in mode observe nothing is asked.
func TestScanFixByThePolicy(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	open(t, w, 8443)
	write(t, "secbot.yaml", "rules:\n  - name: shop\n    match: {port: 443}\n    then: ignore\n  - name: two\n    match: {playbook: sg-rule-added}\n    then: ask\n    approvals: 1\n")
	withStore(t, true)
	says(t, 1, "scan sg --fix --yes", "Reverted 0 of 1; 1 wait for the approval of others")
	says(t, 1, "scan sg --fix --yes", "waits for the approval of what")
	status, _, errOut := shell(t, "", "scan", "sg", "--fix", "--yes", "--fail-on", "low")
	if status != 2 || !strings.Contains(errOut, "--fail-on low: 1 found") || !strings.Contains(errOut, "waits for the approval") {
		t.Errorf("--fail-on: %d %s", status, errOut)
	}
	write(t, "secbot.yaml", "mode: observe\n")
	status, out, errOut := atTerminal(t, "yes", func() { t.Error("it asks in mode observe") }, "scan sg --fix")
	if status != 1 || !strings.Contains(errOut, "the mode is observe") || !strings.Contains(out, w.Group) {
		t.Errorf("observe: %d %s %s", status, out, errOut)
	}
	if err := rulesAre(t, w, theShop, "8443 0.0.0.0/0 later"); err != nil {
		t.Error(err)
	}
}

// TestScanFixOfOneCall: two rules that one call has added, about which secbot asks at
// once, are fixed where both were shown.
func TestScanFixOfOneCall(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	revoke(t, w)
	s := withStore(t, true)
	both := []ec2types.IpPermission{}
	for _, port := range []int32{8443, 9443} {
		both = append(both, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}})
	}
	if _, err := w.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(w.Group), IpPermissions: both}); err != nil {
		t.Fatal(err)
	}
	sb.AWS.Flush()
	s.post(sb.LastEvent("AuthorizeSecurityGroupIngress"), "bearer")
	s.messageSays(sb, "Revert Change")
	out := says(t, 0, "scan sg --fix --yes", "8443", "9443", "Reverted 1 of 1.")
	if err := rulesAre(t, w); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestScanFixOfWhatCannotBeRead: it is told, the rest is fixed, and the status is 1.
func TestScanFixOfWhatCannotBeRead(t *testing.T) {
	sb, w := startSandbox(t)
	onStandIns(t, sb)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	publish(t, w, demo.DataBucket, types.BucketCannedACLPublicRead)
	bucketsAlone(t)
	withStore(t, true)
	sb.AWS.Fault(deny(demo.DataBucket))
	says(t, 1, "scan s3 --fix --yes", "1 read failed", "could not be read")
	sb.AWS.Fault(nil)
	if g := grantsOf(t, w, demo.SiteBucket); len(g) != 0 {
		t.Errorf("still granted: %v", g)
	}
	if g := grantsOf(t, w, demo.DataBucket); len(g) == 0 {
		t.Error("what could not be read was changed")
	}
}

// TestScanFixOfBucketAndAccount: where the account's block, which is turned on at the
// same time, closes the bucket too, nothing is open and nothing has gone wrong.
func TestScanFixOfBucketAndAccount(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	withStore(t, true)
	says(t, 0, "scan s3 --fix --yes", " of 2")
	if g := grantsOf(t, w, demo.SiteBucket); len(g) != 0 {
		t.Errorf("still granted: %v", g)
	}
}

// TestScanFixInTurn: more than one command may be about goes in several, and one that
// fails keeps none of the others.
func TestScanFixInTurn(t *testing.T) {
	var shown []operator.Shown
	for i := range 2*remediation.MaxTargets + 1 {
		shown = append(shown, operator.Shown{Key: fmt.Sprint(i)})
	}
	var sizes []int
	var asked []operator.Shown
	err := inTurn(shown, func(some []operator.Shown) error {
		sizes, asked = append(sizes, len(some)), append(asked, some...)
		if len(sizes) == 1 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !slices.Equal(sizes, []int{100, 100, 1}) || !slices.Equal(asked, shown) {
		t.Errorf("%v, %v", sizes, err)
	}
}

// TestFixFoundRequests: the server takes no request that no scan of the shell would
// make.
func TestFixFoundRequests(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	withStore(t, true)
	says(t, 0, "scan sg")
	socket := strings.TrimPrefix(os.Getenv("SECBOT_STORE"), "bolt://") + ".sock"
	for name, c := range map[string]struct {
		n    int
		want string
	}{"none": {0, "Between 1 and 100"}, "too many": {101, "Between 1 and 100"}, "of no scan": {100, "has not ended"}} {
		req := operator.Request{Name: "fix found", Command: rand.Text(), Scan: "none", User: "eve", Shown: slices.Repeat([]operator.Shown{{Key: strings.Repeat("k", 32), Name: strings.Repeat("<", operator.MaxName)}}, c.n)}
		err := operator.Ask(t.Context(), socket, req, io.Discard)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := rulesAre(t, w, theShop); err != nil {
		t.Error(err)
	}
}

// TestScanFixOnATable: whoever works on the shared table does it.
func TestScanFixOnATable(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	onTable(t)
	withStore(t, true)
	says(t, 0, "scan sg --fix --yes", "Reverted 1 of 1.")
	if err := rulesAre(t, w); err != nil {
		t.Error(err)
	}
}
