package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"secbot/remediation"
)

// The event sources of CloudTrail whose calls are decoded.
const (
	sourceEC2       = "ec2.amazonaws.com"
	sourceS3        = "s3.amazonaws.com"
	sourceS3Control = "s3-control.amazonaws.com"
	sourceConfig    = "config.amazonaws.com"
)

// record is what all CloudTrail records have in common; "CloudTrail record
// contents" in the AWS CloudTrail User Guide.
type record struct {
	EventName           text            `json:"eventName"`
	EventSource         text            `json:"eventSource"`
	EventID             text            `json:"eventID"`
	EventTime           text            `json:"eventTime"`
	RequestID           text            `json:"requestID"`
	Region              text            `json:"awsRegion"`
	SourceIP            text            `json:"sourceIPAddress"`
	UserAgent           text            `json:"userAgent"`
	FromConsole         boolean         `json:"sessionCredentialFromConsole"`
	ErrorCode           text            `json:"errorCode"`
	ReadOnly            boolean         `json:"readOnly"`
	RecipientAccountID  account         `json:"recipientAccountId"`
	UserIdentity        identity        `json:"userIdentity"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"`
	AdditionalEventData json.RawMessage `json:"additionalEventData"`
	Resources           many[struct {
		ARN text `json:"ARN"`
	}] `json:"resources"`
}

// bucket is the bucket that the record names beside its parameters, which
// CloudTrail leaves out where they are over 100 KB; empty for none.
func (r record) bucket() string {
	for _, res := range r.Resources {
		if a, err := arn.Parse(string(res.ARN)); err == nil && a.Service == "s3" && !strings.Contains(a.Resource, "/") {
			return a.Resource
		}
	}
	return ""
}

// decoder decodes the records of some API calls.
type decoder struct {
	events  []string // the eventNames
	sources []string // the eventSources that make these calls
	// decode gives the signals, base filled in for each, or why there are
	// none.
	decode func(r record, base remediation.Signal) ([]remediation.Signal, string)
}

// decoders lists every call that is decoded, in no particular order.
func decoders() []decoder {
	return []decoder{
		{[]string{"AuthorizeSecurityGroupIngress"}, []string{sourceEC2}, decodeAuthorize(remediation.Ingress)},
		{[]string{"AuthorizeSecurityGroupEgress"}, []string{sourceEC2}, decodeAuthorize(remediation.Egress)},
		{[]string{"RevokeSecurityGroupIngress"}, []string{sourceEC2}, decodeRevoke(remediation.Ingress)},
		{[]string{"RevokeSecurityGroupEgress"}, []string{sourceEC2}, decodeRevoke(remediation.Egress)},
		{[]string{"ModifySecurityGroupRules"}, []string{sourceEC2}, decodeModify},
		{[]string{"CreateSecurityGroup"}, []string{sourceEC2}, decodeGroup(playbookGroupCreated)},
		{[]string{"DeleteSecurityGroup"}, []string{sourceEC2}, decodeGroup(playbookGroupDeleted)},
		{[]string{"PutBucketAcl", "CreateBucket"}, []string{sourceS3}, decodeBucketACL},
		{[]string{"PutBucketOwnershipControls", "DeleteBucketOwnershipControls"}, []string{sourceS3}, decodeOwnership},
		{[]string{"PutBucketPolicy"}, []string{sourceS3}, decodeBucketPolicy},
		{[]string{"PutBucketPublicAccessBlock"}, []string{sourceS3, sourceS3Control}, decodePutBlock},
		{[]string{"DeleteBucketPublicAccessBlock"}, []string{sourceS3, sourceS3Control}, decodeDeleteBlock},
		{[]string{"PutAccountPublicAccessBlock"}, []string{sourceS3, sourceS3Control}, decodePutBlock},
		{[]string{"DeleteAccountPublicAccessBlock"}, []string{sourceS3, sourceS3Control}, decodeDeleteBlock},
		{[]string{"PutEvaluations"}, []string{sourceConfig}, decodePutEvaluations},
	}
}

// notYet says what a call changes that may open a hole and that no playbook
// answers yet; "" for all others.
func notYet(name string) string {
	switch name {
	case "PutObjectAcl":
		return "an object's ACL, which no playbook answers yet"
	case "ModifyManagedPrefixList":
		return "every group that uses the prefix list, which no playbook answers yet"
	}
	return ""
}

// decodeTrail decodes one CloudTrail record.
func decodeTrail(e event) Result {
	r := lenient[record](e.Detail)
	name := string(r.EventName)
	all := decoders()
	i := slices.IndexFunc(all, func(d decoder) bool { return slices.Contains(d.events, name) })
	if i < 0 {
		if why := notYet(name); why != "" {
			return Result{Kind: name, Skipped: name + " changes " + why}
		}
		return Result{Kind: name, Skipped: "not an event that secbot answers: " + name}
	}
	if why := unusable(r, all[i]); why != "" {
		return Result{Kind: name, Skipped: why}
	}
	sigs, why := all[i].decode(r, baseSignal(e, r))
	return Result{Kind: name, Signals: sigs, Skipped: why}
}

// unusable says why a record changed nothing; "" where it may have.
func unusable(r record, d decoder) string {
	switch code := string(r.ErrorCode); {
	case !slices.Contains(d.sources, string(r.EventSource)):
		return fmt.Sprintf("eventSource %q does not make this call", clip(string(r.EventSource), 60))
	case strings.TrimPrefix(code, "Client.") == "DryRunOperation":
		return "failed call: " + code + ", a dry run changes nothing"
	case code != "":
		return "failed call: " + clip(code, 100) + ", nothing was changed"
	case bool(r.ReadOnly):
		return "read-only call, nothing was changed"
	}
	return ""
}

// baseSignal fills in all that does not depend on the call. The account is the
// one that received the call: it owns the resource, the caller may be another's.
func baseSignal(e event, r record) remediation.Signal {
	return remediation.Signal{
		EventID:   first(r.EventID, e.ID),
		Kind:      string(r.EventName),
		At:        firstTime(r.EventTime, e.Time),
		Actor:     actor(r),
		RequestID: string(r.RequestID),
		Resource: remediation.Ref{
			Account: first(r.RecipientAccountID, e.Account, r.UserIdentity.AccountID),
			Region:  first(r.Region, e.Region),
			ID:      r.bucket(),
		},
	}
}

// bucketSignal is the base of a signal about a bucket; the reason says why
// there is none.
func bucketSignal(base remediation.Signal, bucket text) (remediation.Signal, string) {
	if bucket = text(first(bucket, text(base.Resource.ID))); bucket == "" {
		return base, "it names no bucket"
	}
	if why := unlikelyID(string(bucket)); why != "" {
		return base, "its bucket name " + why
	}
	base.Resource.Kind = remediation.KindBucket
	base.Resource.ID = string(bucket)
	return base, ""
}

// maxID is longer than any bucket name, group id or group name.
const maxID = 255

// unlikelyID says what is wrong with an id that will go into requests to AWS;
// "" where it is fine.
func unlikelyID(id string) string {
	if len(id) > maxID {
		return fmt.Sprintf("is longer than %d bytes", maxID)
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r == '/' || r == unicode.ReplacementChar || unicode.IsControl(r) }) {
		return "has characters that no such name has"
	}
	return ""
}

// single is the one signal of most events.
func single(s remediation.Signal) []remediation.Signal { return []remediation.Signal{s} }

// numbered gives the signals of one event ids of their own, "ID/n", unless
// there is just one. ns are what tells them apart, equal at each delivery.
func numbered(sigs []remediation.Signal, ns []int) {
	if len(sigs) < 2 {
		return
	}
	for i := range sigs {
		if sigs[i].EventID != "" {
			sigs[i].EventID = fmt.Sprintf("%s/%d", sigs[i].EventID, ns[i])
		}
	}
}

// clip cuts s to at most n bytes, so that no event floods logs and answers.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
