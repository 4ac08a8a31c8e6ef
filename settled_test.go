package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/store/memory"
)

// clocked is secbot on the sandbox, both by a clock that the test moves.
type clocked struct {
	t     *testing.T
	sb    *sandbox.Sandbox
	w     *demo.World
	clock *demo.Clock
	app   *app
}

func newClocked(t *testing.T) *clocked {
	t.Helper()
	c := &clocked{t: t, clock: &demo.Clock{}}
	var err error
	if c.sb, err = sandbox.Start(t.Context(), sandbox.Options{Now: c.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.sb.Close() }) // nothing of it is looked at any more
	if c.w, err = demo.NewWorld(t.Context(), c.sb, nil, c.clock); err != nil {
		t.Fatal(err)
	}
	s := &settings{SlackToken: c.sb.Slack.Token(), SigningSecret: c.sb.Slack.Secret(), SlackAPI: c.sb.Slack.APIURL(), EventsToken: "bearer", Store: "memory://"}
	policy := demo.Policy()
	policy.Rules = []remediation.PolicyRule{{Then: remediation.ActionAsk}}
	c.app = wire(s, demo.AWSConfig(c.sb), policy, memory.New(), slog.New(slog.DiscardHandler), c.clock.Now)
	c.work()
	return c
}

// work works off what is due.
func (c *clocked) work() {
	c.t.Helper()
	if err := c.app.engine.Drain(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// told has secbot hear of the last such call.
func (c *clocked) told(call string) {
	c.t.Helper()
	c.sb.AWS.Flush()
	r := httptest.NewRequestWithContext(c.t.Context(), http.MethodPost, "/events", bytes.NewReader(c.sb.LastEvent(call)))
	r.Header.Set("Authorization", "Bearer bearer")
	w := httptest.NewRecorder()
	c.app.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		c.t.Fatalf("%s: %d %s", call, w.Code, w.Body)
	}
	c.work()
}

// incident is the newest of a playbook.
func (c *clocked) incident(playbook string) *remediation.Incident {
	c.t.Helper()
	found, err := c.app.store.Incidents(c.t.Context(), remediation.IncidentQuery{Playbook: playbook})
	if err != nil || len(found) == 0 {
		c.t.Fatalf("%d incidents of %s, %v", len(found), playbook, err)
	}
	return found[0]
}

func (c *clocked) is(playbook string, want remediation.Status) *remediation.Incident {
	c.t.Helper()
	inc := c.incident(playbook)
	if inc.Status != want {
		c.t.Errorf("%s is %s (%s), want %s", playbook, inc.Status, inc.Last().Reason, want)
	}
	return inc
}

func (c *clocked) say(verb remediation.Verb, inc *remediation.Incident) {
	c.t.Helper()
	if err := c.app.engine.Submit(c.t.Context(), remediation.Command{ID: string(verb) + inc.ID, Verb: verb, Incident: inc.ID, By: fakeslack.Alice}); err != nil {
		c.t.Fatal(err)
	}
	c.work()
}

// rule is the id of the group's rule for a port.
func (c *clocked) rule(port int32) string {
	c.t.Helper()
	out, err := c.w.EC2.DescribeSecurityGroupRules(c.t.Context(), &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{c.w.Group}}}})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range out.SecurityGroupRules {
		if aws.ToInt32(r.FromPort) == port {
			return *r.SecurityGroupRuleId
		}
	}
	c.t.Fatalf("there is no rule for port %d", port)
	return ""
}

// authorize opens a port for a partner.
func (c *clocked) authorize(port int32) {
	c.t.Helper()
	if err := c.w.Authorize(c.t.Context(), port, "198.51.100.0/24", "partner"); err != nil {
		c.t.Fatal(err)
	}
	c.told("AuthorizeSecurityGroupIngress")
}

// shown is the incident's message.
func (c *clocked) shown(inc *remediation.Incident) string {
	c.t.Helper()
	ref, err := c.app.store.Message(c.t.Context(), inc.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range c.sb.Slack.Messages(ref.Channel) {
		if m.TS == ref.TS {
			return string(m.Blocks)
		}
	}
	c.t.Fatalf("there is no message %+v", ref)
	return ""
}

// TestModifiedAndRevoked: a rule that was modified, which secbot asks about, and is then
// revoked by hand, is asked about no more, however soon that was.
func TestModifiedAndRevoked(t *testing.T) {
	for _, soon := range []time.Duration{10 * time.Second, 10 * time.Minute} {
		t.Run(fmt.Sprint(soon), func(t *testing.T) {
			c := newClocked(t)
			c.authorize(8443)
			c.clock.Pass(time.Minute)
			modified := c.rule(8443)
			if _, err := c.w.EC2.ModifySecurityGroupRules(t.Context(), &ec2.ModifySecurityGroupRulesInput{GroupId: &c.w.Group, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
				SecurityGroupRuleId: &modified,
				SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8443), ToPort: aws.Int32(8443), CidrIpv4: aws.String("0.0.0.0/0")},
			}}}); err != nil {
				t.Fatal(err)
			}
			c.told("ModifySecurityGroupRules")
			c.is("sg-rule-modified", remediation.StatusOpen)
			c.clock.Pass(soon)
			if _, err := c.w.EC2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &c.w.Group, SecurityGroupRuleIds: []string{modified}}); err != nil {
				t.Fatal(err)
			}
			c.told("RevokeSecurityGroupIngress")
			c.clock.Pass(2 * time.Minute)
			c.work()
			inc := c.is("sg-rule-modified", remediation.StatusResolved)
			if shown := c.shown(inc); !strings.Contains(shown, "Already safe") || strings.Contains(shown, `"fix"`) {
				t.Errorf("the message says %s", shown)
			}
		})
	}
}

// TestUndoneAndDeleted: what an undo has put back goes with its group, and so does what
// still waits about it; the messages say so.
func TestUndoneAndDeleted(t *testing.T) {
	c := newClocked(t)
	c.authorize(8443)
	undone := c.is("sg-rule-added", remediation.StatusOpen)
	c.say(remediation.VerbFix, undone)
	c.say(remediation.VerbUndo, undone)
	c.is("sg-rule-added", remediation.StatusUndone)
	if shown := c.shown(undone); !strings.Contains(shown, "It is open again") {
		t.Errorf("the message says %s", shown)
	}
	c.clock.Pass(time.Minute)
	c.authorize(9443)
	waiting := c.is("sg-rule-added", remediation.StatusOpen)
	c.clock.Pass(10 * time.Second)
	if _, err := c.w.EC2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &c.w.Group}); err != nil {
		t.Fatal(err)
	}
	c.told("DeleteSecurityGroup")
	c.clock.Pass(2 * time.Minute)
	c.work()
	c.is("sg-deleted", remediation.StatusOpen)
	if inc := c.is("sg-rule-added", remediation.StatusResolved); inc.ID != waiting.ID {
		t.Errorf("%s is the newest, want %s", inc.ID, waiting.ID)
	}
	if shown := c.shown(undone); strings.Contains(shown, "open again") || strings.Contains(shown, "can reach") || !strings.Contains(shown, "for a while") {
		t.Errorf("the message says %s", shown)
	}
}
