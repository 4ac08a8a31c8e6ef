// Package remediation judges risky changes of AWS resources and takes them
// back. It owns the vocabulary (signal, finding, plan, incident), the policy
// that decides, and the engine that acts; it knows neither where events come
// from nor how people are told.
package remediation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Kind names a kind of AWS resource that one Reader reads.
type Kind string

// The kinds of resources that the playbooks know.
const (
	KindBucket        Kind = "s3-bucket"
	KindSecurityGroup Kind = "security-group"
	KindAccount       Kind = "account" // what S3 keeps for an account as a whole
)

// Ref points at one AWS resource.
type Ref struct {
	Kind    Kind   `json:"kind"`
	Account string `json:"account,omitempty"` // 12 digits; empty where unknown
	Region  string `json:"region,omitempty"`
	ID      string `json:"id"` // the plain id: a bucket's name, a group's id
}

// String gives the reference as "kind account/region/id", for logs.
func (r Ref) String() string {
	return fmt.Sprintf("%s %s/%s/%s", r.Kind, r.Account, r.Region, r.ID)
}

// place names the account and region; empty where the account is not known.
func (r Ref) place() string {
	if r.Account == "" {
		return ""
	}
	return r.Account + "/" + r.Region
}

// Severity says how much a finding matters, from SeverityLow to
// SeverityCritical. The zero value is no severity.
type Severity string

// The severities, least first.
const (
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Severities lists every severity, least first.
func Severities() []Severity {
	return []Severity{SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
}

// Rank orders severities: 0 for low to 3 for critical, -1 for anything else.
func (s Severity) Rank() int {
	for i, v := range Severities() {
		if s == v {
			return i
		}
	}
	return -1
}

// Direction of a security-group rule's traffic.
type Direction string

// The two directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Openness says how far a rule, grant or statement opens a resource.
type Openness string

// The kinds of openness, from the least to the most exposed.
const (
	OpenPrivate Openness = "private"      // private addresses, other groups
	OpenNarrow  Openness = "narrow"       // public addresses, no more than a /8 (IPv6: a /32)
	OpenWide    Openness = "wide"         // more than that, less than everybody
	OpenWorld   Openness = "world"        // everybody, alone or as part of a union
	PublicRead  Openness = "public-read"  // a bucket that everybody can read or list
	PublicWrite Openness = "public-write" // a bucket that everybody can write to or take over
	Unblocked   Openness = "unblocked"    // a bucket whose Block Public Access has been loosened
)

// Opennesses lists every openness that the policy may match on.
func Opennesses() []Openness {
	return []Openness{OpenPrivate, OpenNarrow, OpenWide, OpenWorld, PublicRead, PublicWrite, Unblocked}
}

// Rule is one security-group rule: one direction, one protocol, one range of
// ports and exactly one of CIDR, PrefixList or Group.
type Rule struct {
	ID          string            `json:"id,omitempty"` // sgr-…; empty where the event gave none
	Direction   Direction         `json:"direction"`
	Protocol    string            `json:"protocol"` // tcp, udp, icmp, icmpv6, -1 (all) or a number
	FromPort    *int32            `json:"from_port,omitempty"`
	ToPort      *int32            `json:"to_port,omitempty"` // for ICMP the two are type and code
	CIDR        string            `json:"cidr,omitempty"`    // canonical IPv4 or IPv6
	PrefixList  string            `json:"prefix_list,omitempty"`
	Group       string            `json:"group,omitempty"`
	GroupOwner  string            `json:"group_owner,omitempty"` // empty: the own account
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Openness    Openness          `json:"openness,omitempty"` // set by Judge
	Severity    Severity          `json:"severity,omitempty"` // set by Judge; empty: the finding's own counts
}

// AllPorts reports whether the rule leaves the ports open altogether.
func (r Rule) AllPorts() bool {
	return r.Protocol == "-1" || ((r.Protocol == "tcp" || r.Protocol == "udp") && r.FromPort == nil)
}

// IncludesPort reports whether traffic to port p may pass the rule. Rules of
// ICMP have no ports.
func (r Rule) IncludesPort(p int32) bool {
	if r.AllPorts() {
		return true
	}
	if r.Protocol == "icmp" || r.Protocol == "icmpv6" || r.FromPort == nil || r.ToPort == nil {
		return false
	}
	return *r.FromPort <= p && p <= *r.ToPort
}

// Key is the rule's identity: everything that AWS holds unique in a group
// (direction, protocol, ports, peer), neither id nor description.
func (r Rule) Key() string {
	ports := ""
	if r.Protocol != "-1" && r.FromPort != nil && r.ToPort != nil {
		ports = strconv.Itoa(int(*r.FromPort)) + "-" + strconv.Itoa(int(*r.ToPort))
	}
	return strings.Join([]string{string(r.Direction), r.Protocol, ports, r.CIDR, r.PrefixList, r.Group, r.GroupOwner}, "|")
}

// String gives the rule for people, as "tcp 22 from 0.0.0.0/0".
func (r Rule) String() string {
	word := " from "
	if r.Direction == Egress {
		word = " to "
	}
	return r.PortsText() + word + r.Peer()
}

// Peer is the rule's other side: a CIDR, a prefix list or a group.
func (r Rule) Peer() string {
	for _, s := range []string{r.CIDR, r.PrefixList} {
		if s != "" {
			return s
		}
	}
	if r.GroupOwner != "" {
		return r.GroupOwner + "/" + r.Group
	}
	return r.Group
}

// PortsText gives protocol and ports for people: "tcp 22", "tcp 80-90",
// "all traffic".
func (r Rule) PortsText() string {
	switch {
	case r.Protocol == "-1":
		return "all traffic"
	case r.FromPort == nil || r.ToPort == nil:
		return r.Protocol + " all"
	case r.Protocol == "icmp" || r.Protocol == "icmpv6":
		if *r.FromPort == -1 {
			return r.Protocol + " all"
		}
		return fmt.Sprintf("%s type %d code %d", r.Protocol, *r.FromPort, *r.ToPort)
	case *r.FromPort == *r.ToPort:
		return fmt.Sprintf("%s %d", r.Protocol, *r.FromPort)
	}
	return fmt.Sprintf("%s %d-%d", r.Protocol, *r.FromPort, *r.ToPort)
}

// Grant is one grant of a bucket's ACL to everybody or to every AWS account.
type Grant struct {
	Grantee    string   `json:"grantee"`    // AllUsers or AuthenticatedUsers
	Permission string   `json:"permission"` // READ, WRITE, READ_ACP, WRITE_ACP or FULL_CONTROL
	Openness   Openness `json:"openness,omitempty"`
}

// String gives the grant for people.
func (g Grant) String() string { return g.Permission + " to " + g.Grantee }

// Statement is one statement of a bucket's policy, as it stands there.
type Statement struct {
	Sid      string          `json:"sid,omitempty"`
	JSON     json.RawMessage `json:"json"` // the statement's own text
	Openness Openness        `json:"openness,omitempty"`
}

// String gives the statement's JSON.
func (s Statement) String() string { return string(s.JSON) }

// BlockFlags are the four flags of S3's Block Public Access. A missing
// configuration is a nil *BlockFlags, which means that all are off.
type BlockFlags struct {
	BlockPublicAcls       bool `json:"block_public_acls"`
	IgnorePublicAcls      bool `json:"ignore_public_acls"`
	BlockPublicPolicy     bool `json:"block_public_policy"`
	RestrictPublicBuckets bool `json:"restrict_public_buckets"`
}

// All reports whether all four flags are on; false on nil.
func (b *BlockFlags) All() bool {
	return b != nil && b.BlockPublicAcls && b.IgnorePublicAcls && b.BlockPublicPolicy && b.RestrictPublicBuckets
}

// Off names the flags that are off, sorted.
func (b *BlockFlags) Off() []string {
	if b == nil {
		b = &BlockFlags{}
	}
	var off []string
	for _, f := range []struct {
		name string
		on   bool
	}{
		{"BlockPublicAcls", b.BlockPublicAcls}, {"BlockPublicPolicy", b.BlockPublicPolicy},
		{"IgnorePublicAcls", b.IgnorePublicAcls}, {"RestrictPublicBuckets", b.RestrictPublicBuckets},
	} {
		if !f.on {
			off = append(off, f.name)
		}
	}
	return off
}

// Actor is who made a change, as CloudTrail tells it.
type Actor struct {
	Type      string `json:"type,omitempty"` // Root, IAMUser, AssumedRole, …; empty where CloudTrail says none
	ARN       string `json:"arn,omitempty"`
	IssuerARN string `json:"issuer_arn,omitempty"` // the role behind an assumed role
	Account   string `json:"account,omitempty"`
	SourceIP  string `json:"source_ip,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Via       string `json:"via,omitempty"` // Terraform, CloudFormation, AWS console, AWS CLI; empty where unknown
}

// String is the actor's ARN, or "unknown".
func (a Actor) String() string {
	if a.ARN == "" {
		return "unknown"
	}
	return a.ARN
}

// Finding is a risky change or state of one resource for one playbook, with
// all the rules, grants or statements concerned.
type Finding struct {
	Playbook   string            `json:"playbook"`
	Resource   Ref               `json:"resource"`
	Name       string            `json:"name,omitempty"` // what people call the resource
	Severity   Severity          `json:"severity"`
	Actor      Actor             `json:"actor"`
	Event      string            `json:"event,omitempty"`    // the API call or detail type behind it; "scan" for a scan
	EventID    string            `json:"event_id,omitempty"` // which delivery brought it
	At         time.Time         `json:"at"`                 // when the change was made or, in a scan, the resource was read, UTC
	Direction  Direction         `json:"direction,omitempty"`
	Rules      []Rule            `json:"rules,omitempty"`
	Was        []Rule            `json:"was,omitempty"` // what modified rules were before, with the ids of Rules
	Grants     []Grant           `json:"grants,omitempty"`
	Statements []Statement       `json:"statements,omitempty"`
	Openness   []Openness        `json:"openness,omitempty"` // of the resource as a whole, where there are no rules
	Off        []string          `json:"off,omitempty"`      // the flags of Block Public Access that are off, sorted
	Tags       map[string]string `json:"tags,omitempty"`
	Notes      []string          `json:"notes,omitempty"` // what people should know: website hosting, attached interfaces
	Doubt      string            `json:"doubt,omitempty"` // why nothing may be done without a person; empty when certain
	Rest       []string          `json:"rest,omitempty"`  // what the same call did beside this and that is decided apart
	// Irreversible says why secbot can't take the change back, so that people
	// are only told; empty where it can.
	Irreversible string `json:"irreversible,omitempty"`
	// Earlier is the resource before the change, in the playbook's own form,
	// where the live state does not have it any more.
	Earlier json.RawMessage `json:"earlier,omitempty"`
}

// Key is the finding's identity: playbook, resource and canonical change. One
// incident at most is active for a key.
func (f Finding) Key() string {
	parts := []string{f.Playbook, string(f.Resource.Kind), f.Resource.Account, f.Resource.Region, f.Resource.ID}
	change := f.Changes()
	for _, g := range f.Grants {
		change = append(change, g.Grantee+"|"+g.Permission)
	}
	for _, s := range f.Statements {
		sum := sha256.Sum256(canonical(s.JSON))
		change = append(change, hex.EncodeToString(sum[:]))
	}
	sort.Strings(change)
	sum := sha256.Sum256([]byte(strings.Join(append(parts, change...), "\n")))
	return hex.EncodeToString(sum[:16])
}

// Changes are what a suppression of the finding covers, one by one: its rules, and
// the flags of a block that are off with what that opens.
func (f Finding) Changes() []string {
	var parts []string
	for _, r := range f.Rules {
		parts = append(parts, r.Key())
	}
	for _, flag := range f.Off {
		parts = append(parts, "off|"+flag)
	}
	if len(f.Off) > 0 {
		for _, o := range f.Openness {
			parts = append(parts, "open|"+string(o))
		}
	}
	return parts
}

// hasRules reports whether all the rules are among f's, by their content.
func (f Finding) hasRules(rules []Rule) bool {
	for _, r := range rules {
		if !slices.ContainsFunc(f.Rules, func(own Rule) bool { return own.Key() == r.Key() }) {
			return false
		}
	}
	return true
}

// canonical gives equal JSON the same bytes, whatever its spaces, the order of
// its members and its escapes; what is no JSON stays as it is.
func canonical(raw json.RawMessage) []byte {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}

// IsOpen reports whether the finding, or any of its rules, grants and
// statements, has one of the given opennesses.
func (f Finding) IsOpen(want ...Openness) bool {
	for _, w := range want {
		for _, o := range f.opennesses() {
			if o == w {
				return true
			}
		}
	}
	return false
}

func (f Finding) opennesses() []Openness {
	all := append([]Openness(nil), f.Openness...)
	for _, r := range f.Rules {
		all = append(all, r.Openness)
	}
	for _, g := range f.Grants {
		all = append(all, g.Openness)
	}
	for _, s := range f.Statements {
		all = append(all, s.Openness)
	}
	return all
}
