package events

import (
	"encoding/json"
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

// PrintFinding prints a finding to w on one line: as FindingJSON, or for
// people.
func PrintFinding(w io.Writer, f remediation.Finding, asJSON bool) error {
	j := newFindingJSON(f)
	if asJSON {
		return printJSON(w, j)
	}
	_, err := io.WriteString(w, printable(j.text())+"\n")
	return err
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
		rules = append(rules, remediation.Rule{
			Direction: f.Direction, Protocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort,
			CIDR: r.CIDR, PrefixList: r.PrefixList, Group: r.Group,
		}.String())
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
