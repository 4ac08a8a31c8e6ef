package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// scanned: what no event told of is found, and reverted together.
func (t *tour) scanned(ctx context.Context) error {
	if err := t.Break(ctx, "forgotten", "account"); err != nil {
		return err
	}
	if err := t.say(ctx, fakeslack.Alice, "scan sg"); err != nil {
		return err
	}
	m, err := t.posted(ctx, "Scan finished", batchRule)
	if err != nil {
		return err
	}
	t.ok("Slack", "%q with Fix All…", m.Text)
	if _, err := t.Sandbox.Slack.Click(ctx, fakeslack.Bob, m.Channel, m.TS, string(remediation.VerbFixAll)); err != nil {
		return fmt.Errorf("click Fix All…: %w", err)
	}
	forms := t.Sandbox.Slack.Views(fakeslack.Bob)
	if len(forms) == 0 {
		return fmt.Errorf("the button Fix All… opened no form: %v", t.Sandbox.Slack.Ephemerals(fakeslack.Bob))
	}
	form := forms[len(forms)-1]
	ticks, err := boxes(form.JSON, "batch-")
	if err != nil {
		return err
	}
	if _, err := t.Sandbox.Slack.SubmitView(ctx, fakeslack.Bob, form.ID, ticks); err != nil {
		return fmt.Errorf("submit the form: %w", err)
	}
	if err := eventually(ctx, func() error {
		for _, m := range t.Sandbox.Slack.Ephemerals(fakeslack.Bob) {
			if strings.HasPrefix(m.Text, fmt.Sprintf("Reverted %d of %[1]d.", forgotten)) {
				return nil
			}
		}
		return fmt.Errorf("%w: Bob is not told that %d were reverted", errNotYet, forgotten)
	}); err != nil {
		return err
	}
	t.ok("Slack", "Bob is told that %d were reverted", forgotten)
	t.Clock.Pass(time.Minute) // many messages, of which a channel takes one a second
	if _, err := t.posted(ctx, "· *fixed*"); err != nil {
		return err
	}
	if err := t.described(ctx, "the shop", 1); err != nil { // Bob has not ticked it
		return err
	}
	return t.described(ctx, batchRule, 0)
}

// boxes are the boxes of a form whose text has a word.
func boxes(form []byte, word string) (url.Values, error) {
	var view struct {
		Blocks []struct {
			BlockID string `json:"block_id"`
			Element struct {
				Options []struct {
					Text  struct{ Text string }
					Value string
				}
			}
		}
	}
	if err := json.Unmarshal(form, &view); err != nil {
		return nil, fmt.Errorf("read the form: %w", err)
	}
	ticked := url.Values{}
	for _, b := range view.Blocks {
		for _, o := range b.Element.Options {
			if strings.Contains(o.Text.Text, word) {
				ticked.Add(b.BlockID, o.Value)
			}
		}
	}
	return ticked, nil
}

// paused: while secbot is paused it asks where it would fix.
func (t *tour) paused(ctx context.Context) error {
	if err := t.say(ctx, fakeslack.Alice, "pause because of the audit"); err != nil {
		return err
	}
	if _, err := t.posted(ctx, "Paused: secbot fixes nothing", "of the audit"); err != nil {
		return err
	}
	t.ok("Slack", "the channel knows that secbot is paused, and why")
	if err := t.Break(ctx, "all6", t.Group); err != nil {
		return err
	}
	if _, err := t.posted(ctx, "It waits for a decision", "debugging"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.described(ctx, "debugging", 1); err != nil {
		return err
	}
	if err := t.say(ctx, fakeslack.Alice, "resume"); err != nil {
		return err
	}
	if _, err := t.posted(ctx, "Resumed: secbot fixes again"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Bob, "fix"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.described(ctx, "debugging", 0)
}

// say types a command.
func (t *tour) say(ctx context.Context, who, text string) error {
	if _, err := t.Sandbox.Slack.Command(ctx, who, fakeslack.ChannelSecurity, "/secbot", text); err != nil {
		return fmt.Errorf("type /secbot %s: %w", text, err)
	}
	return nil
}

// posted waits for a message that has all the words.
func (t *tour) posted(ctx context.Context, words ...string) (found fakeslack.Message, err error) {
	return found, eventually(ctx, func() error {
		all := t.messages()
	next:
		for i := range all {
			found = all[len(all)-1-i]
			for _, w := range words {
				if !strings.Contains(found.Text+string(found.Blocks), w) {
					continue next
				}
			}
			return nil
		}
		return fmt.Errorf("%w: no message says %q", errNotYet, words)
	})
}

// described checks how many rules there are with a description, in all groups.
func (t *tour) described(ctx context.Context, description string, want int) error {
	n := 0
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(t.EC2, &ec2.DescribeSecurityGroupRulesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the rules: %w", err)
		}
		for _, r := range page.SecurityGroupRules {
			if aws.ToString(r.Description) == description {
				n++
			}
		}
	}
	if n != want {
		return fmt.Errorf("%d rules are described as %q, want %d", n, description, want)
	}
	t.ok("AWS", "%d rules are described as %q", n, description)
	return nil
}
