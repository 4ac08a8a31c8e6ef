// Package notify tells others than Slack about automatic fixes.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// Subject is the subject of every message to SNS.
const Subject = "Auto-mitigation successful"

// Publisher is what SNS needs of the AWS client.
type Publisher interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
}

// SNS publishes automatic fixes to one topic. SNS knows no repeated messages:
// where the process dies between publishing and storing that, subscribers get
// the message twice, with the same text.
type SNS struct {
	Topic  string // its ARN
	Client Publisher
	Store  remediation.Store
}

// Notify publishes the incident's fix. It implements remediation.Notifier.
func (s *SNS) Notify(ctx context.Context, n remediation.Notice) error {
	inc, err := s.Store.Incident(ctx, n.Incident)
	if err != nil {
		return fmt.Errorf("read incident %s: %w", n.Incident, err)
	}
	text, err := Mitigated(inc.Finding)
	if err != nil {
		return err
	}
	_, err = s.Client.Publish(ctx, &sns.PublishInput{
		TopicArn: aws.String(s.Topic),
		Subject:  aws.String(Subject),
		Message:  aws.String(text),
	})
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "InvalidParameter" || api.ErrorCode() == "InvalidParameterValue") {
		return fmt.Errorf("%w: SNS does not take the message: %w", remediation.ErrUndeliverable, err)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", s.Topic, err)
	}
	return nil
}

// Mitigated gives the text of a fix: one line that begins with
// "AUTO-MITIGATED:" and ends in JSON: the rules in the shape of EC2's
// IpPermissions, the grants or statements taken out of a bucket, the flags of
// Block Public Access, or the name of a group.
func Mitigated(f remediation.Finding) (string, error) {
	what, did, detail := mitigated(f)
	raw, err := json.Marshal(detail)
	if err != nil {
		return "", fmt.Errorf("encode the fix of %s: %w", f.Resource.ID, err)
	}
	return fmt.Sprintf("AUTO-MITIGATED: %s: %s that was %s by %s: %s", what, f.Resource.ID, did, f.Actor, raw), nil
}

// mitigated says what was done to what, and what had been done.
func mitigated(f remediation.Finding) (what, did string, detail any) {
	switch f.Playbook {
	case "sg-rule-removed":
		return direction(f.Direction) + " rule put back into security group", "removed", permissions(f.Rules)
	case "sg-rule-modified":
		return direction(f.Direction) + " rule set back in security group", "modified", permissions(f.Was)
	case "sg-created":
		return "Security group deleted", "created", f.Name
	case "sg-deleted":
		return "Security group created again", "deleted", f.Name
	case "s3-account-block-public-access":
		return "Block Public Access put back on account", "loosened", f.Openness
	case "s3-block-public-access":
		return "Block Public Access put back on bucket", "loosened", f.Openness
	case "s3-public-acl":
		return "Public grant removed from the ACL of bucket", "added", f.Grants
	case "s3-public-policy":
		return "Public statement removed from the policy of bucket", "added", statements(f.Statements)
	}
	return direction(f.Direction) + " rule removed from security group", "added", permissions(f.Rules)
}

func direction(d remediation.Direction) string {
	if d == remediation.Egress {
		return "Egress"
	}
	return "Ingress"
}

func statements(list []remediation.Statement) []json.RawMessage {
	var raw []json.RawMessage
	for _, s := range list {
		raw = append(raw, s.JSON)
	}
	return raw
}

// permission is EC2's IpPermission as its API spells it.
type permission struct {
	IpProtocol       string
	FromPort, ToPort *int32           `json:",omitempty"`
	IpRanges         []map[string]any `json:",omitempty"`
	Ipv6Ranges       []map[string]any `json:",omitempty"`
	PrefixListIds    []map[string]any `json:",omitempty"`
	UserIdGroupPairs []map[string]any `json:",omitempty"`
}

func permissions(rules []remediation.Rule) []permission {
	out := []permission{}
	for _, r := range rules {
		p := permission{IpProtocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort}
		switch {
		case strings.Contains(r.CIDR, ":"):
			p.Ipv6Ranges = peer(r, "CidrIpv6", r.CIDR)
		case r.CIDR != "":
			p.IpRanges = peer(r, "CidrIp", r.CIDR)
		case r.PrefixList != "":
			p.PrefixListIds = peer(r, "PrefixListId", r.PrefixList)
		default:
			p.UserIdGroupPairs = peer(r, "GroupId", r.Group)
		}
		out = append(out, p)
	}
	return out
}

func peer(r remediation.Rule, name, value string) []map[string]any {
	m := map[string]any{name: value}
	if r.Description != "" {
		m["Description"] = r.Description
	}
	if r.GroupOwner != "" {
		m["UserId"] = r.GroupOwner
	}
	return []map[string]any{m}
}
