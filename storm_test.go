//go:build crash

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/bolt"
)

// stormSize is how many events come: SECBOT_STORM, else a tenth of what secbot
// must stand.
func stormSize(t *testing.T) int {
	text := os.Getenv("SECBOT_STORM")
	if text == "" {
		return 1000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCrashStorm: so many groups are opened to the world as fast as events can
// be sent. All are fixed or asked about, none is lost, the circuit breaker stops
// the fixing, the channel gets no more than Slack takes, and memory stays small.
func TestCrashStorm(t *testing.T) {
	size := stormSize(t)
	c := newCrashing(t, built(t), flow{config: "reconcile: never\n"})
	groups := make([]string, size)
	var making sync.WaitGroup
	for worker := range 8 {
		making.Go(func() {
			for i := worker; i < size; i += 8 {
				out, err := c.w.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("storm-", i)), Description: aws.String("d")})
				if err != nil {
					t.Error(err)
					return
				}
				groups[i] = *out.GroupId
			}
		})
	}
	making.Wait()
	c.sb.AWS.Flush()
	rules := make([]string, size)
	for worker := range 8 {
		making.Go(func() {
			for i := worker; i < size; i += 8 {
				out, err := c.w.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &groups[i], IpPermissions: []ec2types.IpPermission{{
					IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}})
				if err != nil {
					t.Error(err)
					return
				}
				rules[i] = *out.SecurityGroupRules[0].SecurityGroupRuleId
			}
		})
	}
	making.Wait()
	c.sb.AWS.Flush()
	var last struct {
		Detail struct {
			EventID          string
			RequestID        string
			ResponseElements struct {
				SecurityGroupRuleSet struct {
					Items []struct{ SecurityGroupRuleID, GroupID string }
				}
			}
		}
	}
	template := string(c.sb.LastEvent("AuthorizeSecurityGroupIngress"))
	if err := json.Unmarshal([]byte(template), &last); err != nil {
		t.Fatal(err)
	}
	made := last.Detail.ResponseElements.SecurityGroupRuleSet.Items[0]
	c.start()
	began := time.Now()
	for worker := range 8 {
		making.Go(func() {
			for i := worker; i < size; i += 8 {
				id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
				event := strings.NewReplacer(made.GroupID, groups[i], made.SecurityGroupRuleID, rules[i], last.Detail.EventID, id, last.Detail.RequestID, "r"+id).Replace(template)
				if err := c.post([]byte(event)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	making.Wait()
	sent := time.Since(began)
	judged := func() (n int) {
		for _, call := range c.sb.AWS.Calls() {
			if call.Action == "DescribeNetworkInterfaces" {
				n++
			}
		}
		return n
	}
	seen, since := 0, time.Now()
	deadline := time.Now().Add(10 * time.Minute)
	// A machine that is busy with other things may pause for long; what is through is through.
	quiet := func() time.Duration {
		if seen >= size {
			return 2 * time.Second
		}
		return 30 * time.Second
	}
	for time.Since(since) < quiet() && time.Now().Before(deadline) {
		if n := judged(); n != seen {
			seen, since = n, time.Now()
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d events were sent in %v and judged in %v", size, sent.Round(time.Millisecond), since.Sub(began).Round(time.Millisecond))
	peak := peakMemory(t, c.cmd.Process.Pid)
	c.kill()
	t.Logf("peak memory %d MiB, processor time %v", peak>>20, c.cmd.ProcessState.UserTime()+c.cmd.ProcessState.SystemTime())
	if peak>>20 > 256 {
		t.Errorf("peak memory is %d MiB, 256 are allowed", peak>>20)
	}
	checkStorm(t, c, size)
}

func checkStorm(t *testing.T, c *crashing, size int) {
	t.Helper()
	st, err := bolt.Open(c.store, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { t.Log(errors.Join(st.Close())) }()
	all, err := st.Incidents(t.Context(), remediation.IncidentQuery{Limit: size * 2})
	if err != nil {
		t.Fatal(err)
	}
	count := map[remediation.Status]int{}
	for _, inc := range all {
		count[inc.Status]++
	}
	t.Logf("incidents: %v", count)
	if len(all) != size || count[remediation.StatusFixed]+count[remediation.StatusOpen] != size {
		t.Errorf("of %d events there are %d incidents: %v", size, len(all), count)
	}
	if n := count[remediation.StatusFixed]; n != 30 {
		t.Errorf("%d were fixed, want as many as the circuit breaker lets through", n)
	}
	minutes := map[int64]int{}
	for _, call := range c.sb.Slack.Calls() {
		if call.Method == "chat.postMessage" && call.Args["channel"] == fakeslack.ChannelSecurity {
			minutes[call.At.Unix()/60]++
		}
	}
	for _, n := range minutes {
		// About one a second is what Slack takes, beside what comes at once at first.
		if n > 80 {
			t.Errorf("%d messages within one minute", n)
		}
	}
	toldOf(t, st, all)
	t.Logf("messages by minute: %v", minutes)
}

// toldOf checks that each incident has a message, is told by a digest, or has one
// that waits for its turn in the outbox.
func toldOf(t *testing.T, st remediation.Store, all []*remediation.Incident) {
	t.Helper()
	count := map[string]int{}
	for _, inc := range all {
		where := ""
		if _, err := st.Message(t.Context(), inc.ID); err == nil {
			where = "message"
		} else if !errors.Is(err, remediation.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := st.Record(t.Context(), "digested/"+inc.ID); where == "" && err == nil {
			where = "digest"
		} else if where == "" && !errors.Is(err, remediation.ErrNotFound) {
			t.Fatal(err)
		}
		notices, err := st.Notices(t.Context(), inc.ID)
		if err != nil {
			t.Fatal(err)
		}
		if where == "" && slices.ContainsFunc(notices, func(n *remediation.Notice) bool { return !n.Sent && n.Op == remediation.OpMessage }) {
			where = "outbox"
		}
		if count[where]++; where == "" && count[where] < 5 {
			t.Errorf("nobody is told of incident %s, which is %s", inc.ID, inc.Status)
		}
	}
	t.Logf("told by %v", count)
}

// peakMemory is the most that a process has had in memory, in bytes; "proc(5)",
// VmHWM. What wait4 tells counts the memory of this test's process too, from which
// the other was forked.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var kib int
		if n, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 && err == nil {
			return kib << 10
		}
	}
	t.Fatal("the kernel does not tell the peak of memory")
	return 0
}
