package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/configservice/types"

	"secbot/internal/sgrule"
	"secbot/remediation"
)

// ConfigAPI is what the security-group parts use of AWS Config.
type ConfigAPI interface {
	GetResourceConfigHistory(ctx context.Context, in *configservice.GetResourceConfigHistoryInput, opts ...func(*configservice.Options)) (*configservice.GetResourceConfigHistoryOutput, error)
}

// maxHistory is how many records are looked at, the last before the change
// first.
const maxHistory = 10

// configHistory is a group as AWS Config had it recorded last before a time, and
// when that was. The record lags behind by minutes and has no ids and tags of
// rules.
func configHistory(ctx context.Context, api ConfigAPI, ref remediation.Ref, before time.Time) (*GroupState, time.Time, error) {
	if api == nil {
		return nil, time.Time{}, errNoHistory
	}
	in := &configservice.GetResourceConfigHistoryInput{ResourceType: types.ResourceTypeSecurityGroup, ResourceId: &ref.ID, Limit: maxHistory,
		ChronologicalOrder: types.ChronologicalOrderReverse}
	if !before.IsZero() {
		in.LaterTime = &before
	}
	out, err := api.GetResourceConfigHistory(ctx, in, func(o *configservice.Options) {
		if ref.Region != "" {
			o.Region = ref.Region
		}
	})
	var undiscovered *types.ResourceNotDiscoveredException
	var noRecorder *types.NoAvailableConfigurationRecorderException
	switch {
	case errors.As(err, &undiscovered):
		return nil, time.Time{}, errNoHistory
	case errors.As(err, &noRecorder):
		return nil, time.Time{}, errors.New("it is not recording in this account and region")
	case isDenied(err):
		return nil, time.Time{}, errors.New("config:GetResourceConfigHistory is not allowed to secbot")
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("GetResourceConfigHistory of %s: %w", ref.ID, err)
	}
	for _, item := range out.ConfigurationItems {
		at := aws.ToTime(item.ConfigurationItemCaptureTime)
		if aws.ToString(item.Configuration) == "" || !before.IsZero() && at.After(before) {
			continue
		}
		s, err := recordedGroup(ref, aws.ToString(item.Configuration))
		return s, at, err
	}
	return nil, time.Time{}, errNoHistory
}

// recordedItem is the configuration of AWS::EC2::SecurityGroup; "AWS Config
// resource schema" (github.com/awslabs/aws-config-resource-schema).
type recordedItem struct {
	GroupName   string               `json:"groupName"`
	Description string               `json:"description"`
	VPC         string               `json:"vpcId"`
	Tags        []recordedTag        `json:"tags"`
	Ingress     []recordedPermission `json:"ipPermissions"`
	Egress      []recordedPermission `json:"ipPermissionsEgress"`
}

type recordedTag struct{ Key, Value string }

type recordedPermission struct {
	Protocol string         `json:"ipProtocol"`
	FromPort *int32         `json:"fromPort"`
	ToPort   *int32         `json:"toPort"`
	IPv4     []recordedPeer `json:"ipv4Ranges"`
	IPv6     []recordedPeer `json:"ipv6Ranges"`
	Lists    []recordedPeer `json:"prefixListIds"`
	Groups   []recordedPeer `json:"userIdGroupPairs"`
}

type recordedPeer struct {
	CIDR        string `json:"cidrIp"`
	CIDRv6      string `json:"cidrIpv6"`
	PrefixList  string `json:"prefixListId"`
	Group       string `json:"groupId"`
	Owner       string `json:"userId"`
	Description string `json:"description"`
}

func recordedGroup(ref remediation.Ref, text string) (*GroupState, error) {
	var item recordedItem
	if err := json.Unmarshal([]byte(text), &item); err != nil {
		return nil, fmt.Errorf("the record of %s can't be read: %w", ref.ID, err)
	}
	s := &GroupState{Group: ref, Name: item.GroupName, Description: item.Description, VPC: item.VPC, Rules: []remediation.Rule{}}
	for _, t := range item.Tags {
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		s.Tags[t.Key] = t.Value
	}
	for _, p := range item.Ingress {
		s.Rules = append(s.Rules, p.rules(remediation.Ingress, ref.Account)...)
	}
	for _, p := range item.Egress {
		s.Rules = append(s.Rules, p.rules(remediation.Egress, ref.Account)...)
	}
	return s, nil
}

func (p recordedPermission) rules(d remediation.Direction, account string) []remediation.Rule {
	var rules []remediation.Rule
	for _, list := range [][]recordedPeer{p.IPv4, p.IPv6, p.Lists, p.Groups} {
		for _, peer := range list {
			r := remediation.Rule{Direction: d, Protocol: sgrule.Protocol(p.Protocol), CIDR: peer.CIDR + peer.CIDRv6,
				PrefixList: peer.PrefixList, Group: peer.Group, Description: peer.Description}
			r.FromPort, r.ToPort = sgrule.Ports(r.Protocol, p.FromPort, p.ToPort)
			if peer.Owner != account {
				r.GroupOwner = peer.Owner
			}
			if canonical, err := sgrule.CIDR(r.CIDR); err == nil {
				r.CIDR = canonical
			}
			rules = append(rules, r)
		}
	}
	return rules
}
