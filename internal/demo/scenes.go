package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

const (
	shopRule    = "443 0.0.0.0/0 the shop"
	sshRule     = "22 0.0.0.0/0 just for a minute"
	partnerRule = "8443 198.51.100.0/24 our partner"
)

func (t *tour) sshOpened(ctx context.Context) error {
	if err := t.Break(ctx, "ssh", t.Group); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule)
}

func (t *tour) repeated(ctx context.Context) error {
	before := len(t.messages())
	event := t.Sandbox.LastEvent("AuthorizeSecurityGroupIngress")
	if event == nil {
		return errors.New("no event was kept to repeat")
	}
	for range 3 {
		if err := t.Sandbox.Post(ctx, event); err != nil {
			return err
		}
	}
	if err := t.idle(ctx); err != nil {
		return err
	}
	if after := len(t.messages()); after != before {
		return fmt.Errorf("%d messages became %d", before, after)
	}
	t.ok("Slack", "still %d message", before)
	return t.rules(ctx, shopRule)
}

func (t *tour) undone(ctx context.Context) error {
	if err := t.click(ctx, fakeslack.Alice, "undo"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusUndone, "Ask Again"); err != nil {
		return err
	}
	if err := t.idle(ctx); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule)
}

func (t *tour) partnerAsked(ctx context.Context) error {
	if err := t.Break(ctx, "partner", t.Group); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule, partnerRule)
}

func (t *tour) strangerRefused(ctx context.Context) error {
	before := len(t.Sandbox.Slack.Ephemerals(fakeslack.Mallory))
	if err := t.click(ctx, fakeslack.Mallory, "fix"); err != nil {
		return err
	}
	var told string
	err := eventually(ctx, func() error {
		all := t.Sandbox.Slack.Ephemerals(fakeslack.Mallory)
		if len(all) == before {
			return fmt.Errorf("%w: Mallory was told nothing", errNotYet)
		}
		told = all[len(all)-1].Text
		return nil
	})
	if err != nil {
		return err
	}
	t.ok("Slack", "Mallory alone sees: %s", told)
	if err := t.told(ctx, t.Group, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule, partnerRule)
}

func (t *tour) partnerReverted(ctx context.Context) error {
	if err := t.click(ctx, fakeslack.Bob, "fix"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule)
}

func (t *tour) ruleWidened(ctx context.Context) error {
	if err := t.Break(ctx, "widen", t.Group); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Alice, "fix"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule)
}

func (t *tour) groupDeleted(ctx context.Context) error {
	old := t.Group
	if err := t.Break(ctx, "delete", old); err != nil {
		return err
	}
	if err := t.told(ctx, old, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Bob, "fix"); err != nil {
		return err
	}
	if err := t.told(ctx, old, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	for _, g := range t.Sandbox.AWS.Groups() {
		if g.Name == GroupName {
			t.Group = g.ID
		}
	}
	if t.Group == old {
		return fmt.Errorf("the group %s is not there under a new id", GroupName)
	}
	return t.rules(ctx, shopRule, sshRule)
}

func (t *tour) bucketWritable(ctx context.Context) error {
	if err := t.Break(ctx, "acl-write", UploadBucket); err != nil {
		return err
	}
	if err := t.told(ctx, UploadBucket, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.grants(ctx, UploadBucket, "FULL_CONTROL owner")
}

func (t *tour) bucketIgnored(ctx context.Context) error {
	if err := t.Break(ctx, "acl-read", SiteBucket); err != nil {
		return err
	}
	if err := t.told(ctx, SiteBucket, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Alice, "ignore"); err != nil {
		return err
	}
	views := t.Sandbox.Slack.Views(fakeslack.Alice)
	if len(views) == 0 {
		return errors.New("no modal was opened")
	}
	_, err := t.Sandbox.Slack.SubmitView(ctx, fakeslack.Alice, views[len(views)-1].ID, url.Values{"reason": {"it is our web site"}})
	if err != nil {
		return fmt.Errorf("submit the modal: %w", err)
	}
	if err := t.told(ctx, SiteBucket, remediation.StatusIgnored, "Un-ignore"); err != nil {
		return err
	}
	return t.grants(ctx, SiteBucket, "FULL_CONTROL owner", "READ AllUsers")
}

func (t *tour) bucketPolicy(ctx context.Context) error {
	if err := t.publish(ctx, DataBucket); err != nil {
		return fmt.Errorf("put the policy: %w", err)
	}
	if err := t.told(ctx, DataBucket, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Bob, "fix"); err != nil {
		return err
	}
	if err := t.told(ctx, DataBucket, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	left, err := t.Policy(ctx, DataBucket)
	if err != nil {
		return err
	}
	if !strings.Contains(left, fmt.Sprintf(tlsOnly, DataBucket)) || strings.Contains(left, "Everybody") {
		return fmt.Errorf("the policy is now %s", left)
	}
	t.ok("AWS", "the statement Everybody is gone, TLSOnly stands as it was")
	return nil
}

func (t *tour) commands(ctx context.Context) error {
	for text, want := range map[string]string{"incidents": t.Group, "incidnets": "incidents"} {
		r, err := t.Sandbox.Slack.Command(ctx, fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", text)
		if err != nil {
			return err
		}
		if r.Message == nil || !strings.Contains(r.Message.Text+string(r.Message.Blocks), want) {
			return fmt.Errorf("/secbot %s does not answer with %q: %s", text, want, r.Body)
		}
		t.ok("Slack", "/secbot %s names %s", text, want)
	}
	return nil
}

func (t *tour) audit(ctx context.Context) error {
	list, err := t.Store.Incidents(ctx, remediation.IncidentQuery{})
	if err != nil {
		return err
	}
	entries := 0
	for _, inc := range list {
		log, err := t.Store.Audit(ctx, inc.ID)
		if err != nil {
			return err
		}
		if err := remediation.VerifyAudit(inc, log); err != nil {
			return err
		}
		entries += len(log)
	}
	t.ok("store", "%d entries of %d incidents", entries, len(list))
	return nil
}

// ok prints what was checked.
func (t *tour) ok(where, format string, args ...any) {
	fmt.Fprintf(t.out, "   ✓ %-5s "+format+"\n", append([]any{where}, args...)...)
}

// rules checks that the group has just these ingress rules.
func (t *tour) rules(ctx context.Context, want ...string) error {
	got, err := t.Rules(ctx)
	if err != nil {
		return err
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the group has the rules %q, want %q", got, want)
	}
	t.ok("AWS", "%s has the rules %s", t.Group, strings.Join(got, "; "))
	return nil
}

// grants checks a bucket's ACL.
func (t *tour) grants(ctx context.Context, bucket string, want ...string) error {
	got, err := t.Grants(ctx, bucket)
	if err != nil {
		return err
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the ACL of %s has %q, want %q", bucket, got, want)
	}
	t.ok("AWS", "the ACL of %s has %s", bucket, strings.Join(got, "; "))
	return nil
}

// messages are those of the channel, without what stands in their threads.
func (t *tour) messages() []fakeslack.Message {
	return slices.DeleteFunc(t.Sandbox.Slack.Messages(fakeslack.ChannelSecurity), func(m fakeslack.Message) bool {
		return m.ThreadTS != ""
	})
}

// told waits until the newest incident of a resource has a status, and its
// message, the only one, has just these buttons. It makes it the tour's own.
func (t *tour) told(ctx context.Context, resource string, status remediation.Status, buttons ...string) error {
	err := eventually(ctx, func() error {
		list, err := t.Store.Incidents(ctx, remediation.IncidentQuery{Resource: resource, Limit: 1})
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Status != status {
			return fmt.Errorf("%w: no incident of %s is %s", errNotYet, resource, status)
		}
		t.incident = list[0].ID
		return t.shows(buttons)
	})
	if err != nil {
		return err
	}
	m, err := t.message()
	if err != nil {
		return err
	}
	t.ok("Slack", "%q with %s", m.Text, labels(buttons))
	return nil
}

func labels(buttons []string) string {
	if len(buttons) == 0 {
		return "no buttons"
	}
	return strings.Join(buttons, ", ")
}

func (t *tour) shows(buttons []string) error {
	m, err := t.message()
	if err != nil {
		return err
	}
	got := []string{}
	for _, b := range m.Buttons() {
		if b.Type == "button" { // the menu is in every message
			got = append(got, b.Text)
		}
	}
	if !slices.Equal(got, append([]string{}, buttons...)) {
		return fmt.Errorf("%w: the message has the buttons %q, want %q", errNotYet, got, buttons)
	}
	return nil
}

// message is the incident's message; that there are several is an error.
func (t *tour) message() (fakeslack.Message, error) {
	var found []fakeslack.Message
	for _, m := range t.messages() {
		if incidentOf(m) == t.incident {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return fakeslack.Message{}, fmt.Errorf("%w: incident %s has no message", errNotYet, t.incident)
	case 1:
		return found[0], nil
	}
	return fakeslack.Message{}, fmt.Errorf("incident %s has %d messages", t.incident, len(found))
}

// incidentOf reads the incident from a message's metadata.
func incidentOf(m fakeslack.Message) string {
	var meta struct {
		Payload struct {
			Incident string `json:"incident"`
		} `json:"event_payload"`
	}
	if json.Unmarshal(m.Metadata, &meta) != nil {
		return "" // a message without metadata is about no incident
	}
	return meta.Payload.Incident
}

// click presses a button of the incident's message.
func (t *tour) click(ctx context.Context, who, action string) error {
	m, err := t.message()
	if err != nil {
		return err
	}
	ack, err := t.Sandbox.Slack.Click(ctx, who, m.Channel, m.TS, action)
	if err != nil {
		return fmt.Errorf("click %s: %w", action, err)
	}
	t.ok("Slack", "the click is acknowledged after %d ms", ack.Took.Milliseconds())
	return nil
}

// idle waits until secbot has nothing to do.
func (t *tour) idle(ctx context.Context) error {
	return eventually(ctx, func() error {
		far := t.Clock.Now().Add(patience)
		jobs, err := t.Store.DueJobs(ctx, far, 10)
		if err != nil {
			return err
		}
		jobs = slices.DeleteFunc(jobs, (*remediation.Job).Scheduled)
		notices, err := t.Store.DueNotices(ctx, far, 1)
		if err != nil {
			return err
		}
		if len(jobs)+len(notices) > 0 {
			return fmt.Errorf("%w: secbot is busy", errNotYet)
		}
		return nil
	})
}
