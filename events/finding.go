package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"secbot/remediation"
)

// findingJSON is a finding as replay and scan print it. Members that are
// absent are left out.
type findingJSON struct {
	Playbook  string                `json:"playbook"`
	Account   string                `json:"account,omitempty"`
	Region    string                `json:"region,omitempty"`
	Resource  string                `json:"resource,omitempty"`
	Severity  remediation.Severity  `json:"severity,omitempty"`
	Actor     string                `json:"actor,omitempty"`
	Direction remediation.Direction `json:"direction,omitempty"`
	Rules     []ruleJSON            `json:"rules,omitempty"`
}

type ruleJSON struct {
	Protocol   string `json:"protocol,omitempty"`
	FromPort   *int32 `json:"from_port,omitempty"`
	ToPort     *int32 `json:"to_port,omitempty"`
	CIDR       string `json:"cidr,omitempty"`
	PrefixList string `json:"prefix_list,omitempty"`
	Group      string `json:"group,omitempty"`
}

func (r ruleJSON) rule(d remediation.Direction) remediation.Rule {
	return remediation.Rule{
		Direction: d, Protocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort,
		CIDR: r.CIDR, PrefixList: r.PrefixList, Group: r.Group,
	}
}

// FindingJSON gives a finding in the shape that `secbot replay --json` and
// `secbot scan --json` print: playbook, account, region, resource (the plain
// id), severity, actor (an ARN), direction and rules.
func FindingJSON(f remediation.Finding) any { return newFindingJSON(f) }

func newFindingJSON(f remediation.Finding) findingJSON {
	j := findingJSON{
		Playbook:  f.Playbook,
		Account:   f.Resource.Account,
		Region:    f.Resource.Region,
		Resource:  first(f.Resource.ID, f.Name),
		Severity:  f.Severity,
		Actor:     f.Actor.ARN,
		Direction: f.Direction,
	}
	for _, r := range f.Rules {
		j.Rules = append(j.Rules, ruleJSON{
			Protocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort,
			CIDR: r.CIDR, PrefixList: r.PrefixList, Group: r.Group,
		})
	}
	return j
}

// Beside is what a scan tells beside a finding. Members that are absent are left
// out: a scan that compares with none, and a policy that ignores nothing, add none.
type Beside struct {
	Change    string `json:"change,omitempty"`     // since an earlier scan: new, unchanged, gone or unknown
	IgnoredBy string `json:"ignored_by,omitempty"` // the policy's rule that ignores it
}

type scanLine struct {
	findingJSON
	Beside
}

// PrintScanned prints a finding of a scan to w on one line, as FindingJSON with
// what is told beside it.
func PrintScanned(w io.Writer, f remediation.Finding, b Beside) error {
	return printJSON(w, scanLine{newFindingJSON(f), b})
}

// ParseScanned reads a line that PrintScanned has printed. The finding has what is
// in the line: its resource has no kind, and its rules neither ids nor
// descriptions.
func ParseScanned(line []byte) (remediation.Finding, Beside, error) {
	var l scanLine
	if err := json.Unmarshal(line, &l); err != nil {
		return remediation.Finding{}, Beside{}, fmt.Errorf("no finding as `secbot scan --json` prints it: %w", err)
	}
	if l.Playbook == "" || l.Resource == "" {
		return remediation.Finding{}, Beside{}, errors.New("no finding as `secbot scan --json` prints it: playbook or resource is missing")
	}
	f := remediation.Finding{
		Playbook: l.Playbook, Severity: l.Severity, Actor: remediation.Actor{ARN: l.Actor}, Direction: l.Direction,
		Resource: remediation.Ref{Account: l.Account, Region: l.Region, ID: l.Resource},
	}
	for _, r := range l.Rules {
		f.Rules = append(f.Rules, r.rule(l.Direction))
	}
	return f, l.Beside, nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// text gives the finding for people, on one line.
func (f findingJSON) text() string {
	s := fmt.Sprintf("%s (%s) %s in account %s, %s", f.Playbook, f.Severity, f.Resource, orDash(f.Account), orDash(f.Region))
	if f.Actor != "" {
		s += ", by " + f.Actor
	}
	var rules []string
	for _, r := range f.Rules {
		rules = append(rules, r.rule(f.Direction).String())
	}
	if len(rules) > 0 {
		s += fmt.Sprintf(": %s %s", f.Direction, strings.Join(rules, "; "))
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
