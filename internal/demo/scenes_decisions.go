package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// allowedForAWhile ends with the clock, not with a click.
func (t *tour) allowedForAWhile(ctx context.Context) error {
	if err := t.Break(ctx, "partner", t.Group); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Alice, "allow_temporarily"); err != nil {
		return err
	}
	if err := t.told(ctx, t.Group, remediation.StatusAllowed, "Revert Now"); err != nil {
		return err
	}
	if err := t.rules(ctx, shopRule, sshRule, partnerRule); err != nil {
		return err
	}
	if err := t.idle(ctx); err != nil {
		return err
	}
	t.Clock.Pass(remediation.AllowFor + time.Second)
	if err := t.told(ctx, t.Group, remediation.StatusFixed, "Undo Fix"); err != nil {
		return err
	}
	return t.rules(ctx, shopRule, sshRule)
}

// twoApprovals needs three people, the first of whom only asks.
func (t *tour) twoApprovals(ctx context.Context) error {
	if err := t.Break(ctx, "unblock", VaultBucket); err != nil {
		return err
	}
	if err := t.told(ctx, VaultBucket, remediation.StatusOpen, "Revert Change", "Allow for 2 h", "Ignore…"); err != nil {
		return err
	}
	if err := t.click(ctx, fakeslack.Alice, "fix"); err != nil {
		return err
	}
	for _, who := range []string{fakeslack.Bob, fakeslack.Carol} {
		if err := t.told(ctx, VaultBucket, remediation.StatusOpen, "Approve", "Decline"); err != nil {
			return err
		}
		if err := t.click(ctx, who, "approve"); err != nil {
			return err
		}
	}
	return t.told(ctx, VaultBucket, remediation.StatusFixed, "Undo Fix")
}

// disowned has Dana say that the last change was not hers.
func (t *tour) disowned(ctx context.Context) error {
	var question fakeslack.Message
	err := eventually(ctx, func() error {
		for _, m := range t.Sandbox.Slack.Messages(fakeslack.DirectID(fakeslack.Dana)) {
			if incidentOf(m) == t.incident {
				question = m
				return nil
			}
		}
		return fmt.Errorf("%w: Dana was not asked about incident %s", errNotYet, t.incident)
	})
	if err != nil {
		return err
	}
	if _, err := t.Sandbox.Slack.Click(ctx, fakeslack.Dana, question.Channel, question.TS, "actor_no"); err != nil {
		return fmt.Errorf("click actor_no: %w", err)
	}
	err = eventually(ctx, func() error {
		m, err := t.message()
		if err == nil && !strings.Contains(string(m.Blocks), "It was not them") {
			return fmt.Errorf("%w: the message does not say that it was not her", errNotYet)
		}
		return err
	})
	if err != nil {
		return err
	}
	return eventually(ctx, t.responders)
}

func (t *tour) responders() error {
	for _, m := range t.messages() {
		if strings.Contains(m.Text, "It was not the person whose access was used") {
			t.ok("Slack", "the responders are told that somebody else may have Dana's access")
			return nil
		}
	}
	return fmt.Errorf("%w: the responders were not told", errNotYet)
}
