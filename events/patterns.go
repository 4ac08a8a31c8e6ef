package events

import (
	"slices"
	"strings"
)

// Pattern is an EventBridge event pattern; "Amazon EventBridge event patterns" in
// its user guide.
type Pattern struct {
	Name string `json:"-" yaml:"-"` // letters alone
	// Source is always AWS itself: nobody else can send as "aws.".
	Source     []Prefix `json:"source" yaml:"source,flow"`
	DetailType []string `json:"detail-type" yaml:"detail-type,flow"`
	Detail     Detail   `json:"detail" yaml:"detail"`
}

// Prefix matches text that begins with it.
type Prefix struct {
	Prefix string `json:"prefix" yaml:"prefix"`
}

// Exists matches where a member is, or is not.
type Exists struct {
	Exists bool `json:"exists" yaml:"exists"`
}

// Detail is what a Pattern wants of an event's detail; empty members want nothing.
type Detail struct {
	EventSource  []string     `json:"eventSource,omitempty" yaml:"eventSource,flow,omitempty"`
	EventName    []string     `json:"eventName,omitempty" yaml:"eventName,omitempty"`
	ErrorCode    []Exists     `json:"errorCode,omitempty" yaml:"errorCode,flow,omitempty"`
	Request      *Evaluations `json:"requestParameters,omitempty" yaml:"requestParameters,omitempty"`
	ResourceType []string     `json:"resourceType,omitempty" yaml:"resourceType,flow,omitempty"`
	NewResult    *Compliance  `json:"newEvaluationResult,omitempty" yaml:"newEvaluationResult,omitempty"`
}

// Evaluations wants one of what a Config rule hands in.
type Evaluations struct {
	Evaluations Compliance `json:"evaluations" yaml:"evaluations"`
}

// Compliance wants a verdict of AWS Config.
type Compliance struct {
	Type     []string `json:"complianceType" yaml:"complianceType,flow"`
	Resource []string `json:"complianceResourceType,omitempty" yaml:"complianceResourceType,flow,omitempty"`
}

// Patterns gives the event patterns of all that Decode makes signals of, and of as
// little else as patterns can tell: failed calls, reads and what complies match
// none. There is one for each service whose calls are decoded, and one for AWS
// Config's own event.
func Patterns() []Pattern {
	var all []Pattern
	for _, d := range decoders() {
		name := "Calls" + title(d.sources[0])
		i := slices.IndexFunc(all, func(p Pattern) bool { return p.Name == name })
		if i < 0 {
			all, i = append(all, Pattern{Name: name, Source: ofAWSAlone(), DetailType: []string{apiCall}, Detail: Detail{ErrorCode: []Exists{{false}}}}), len(all)
		}
		detail := &all[i].Detail
		detail.EventSource = union(detail.EventSource, d.sources)
		detail.EventName = union(detail.EventName, d.events)
		if d.sources[0] == sourceConfig {
			detail.Request = &Evaluations{Compliance{Type: []string{nonCompliant}, Resource: []string{typeBucket}}}
		}
	}
	return append(all, Pattern{
		Name: "Compliance", Source: ofAWSAlone(), DetailType: []string{complianceChange},
		Detail: Detail{ResourceType: []string{typeBucket}, NewResult: &Compliance{Type: []string{nonCompliant}}},
	})
}

func ofAWSAlone() []Prefix { return []Prefix{{"aws."}} }

// title names the service of a CloudTrail event source: ec2.amazonaws.com is Ec2.
func title(source string) string {
	service, _, _ := strings.Cut(source, ".")
	return strings.ToUpper(service[:1]) + service[1:]
}

// union is sorted.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
