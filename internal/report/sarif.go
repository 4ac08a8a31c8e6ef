package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"secbot/events"
	"secbot/remediation"
)

// The parts of SARIF 2.1.0 (OASIS, errata 01) that a scan has something for.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
		Properties  map[string]any    `json:"properties,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Name       string         `json:"name,omitempty"`
		Short      *sarifText     `json:"shortDescription,omitempty"`
		Full       *sarifText     `json:"fullDescription,omitempty"`
		Help       *sarifText     `json:"help,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Start         string              `json:"startTimeUtc"`
		End           string              `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Kind         string             `json:"kind"`
		Level        string             `json:"level"`
		Baseline     string             `json:"baselineState,omitempty"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"fingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		Logical []sarifLogical `json:"logicalLocations"`
	}
	sarifLogical struct {
		Name      string `json:"name"`
		Qualified string `json:"fullyQualifiedName"`
		Kind      string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// sarif writes one run. Rules are playbooks, and a result's fingerprint is its
// finding's key, so that it is the same in every scan.
func (r *Report) sarif(w io.Writer) error {
	rules := r.sarifRules()
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "secbot", Version: r.Version, Rules: rules}},
		Invocations: []sarifInvocation{r.invocation()},
		Results:     []sarifResult{},
		ColumnKind:  "utf16CodeUnits",
		Properties:  map[string]any{"scope": r.Scope, "resources": r.Read},
	}
	for _, row := range r.everything() {
		i := slices.IndexFunc(rules, func(rule sarifRule) bool { return rule.ID == row.Finding.Playbook })
		run.Results = append(run.Results, r.result(row, i))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// sarifRules are the playbooks, and those of an earlier scan that are none any
// more.
func (r *Report) sarifRules() []sarifRule {
	rules := []sarifRule{}
	for _, m := range r.Metas {
		rule := sarifRule{ID: m.ID, Name: m.Title, Short: &sarifText{Text: cmp.Or(m.Labels.Ask, m.Title)}}
		if m.Labels.Confirm != "" {
			rule.Full = &sarifText{Text: m.Labels.Ask + ". " + m.Labels.Confirm}
		}
		if page, ok := r.Runbook(m.ID); ok {
			rule.Help = &sarifText{Text: page, Markdown: page}
		}
		rule.Properties = map[string]any{"tags": []string{"security", string(m.Kind)}}
		rules = append(rules, rule)
	}
	for _, row := range r.everything() {
		id := row.Finding.Playbook
		if !slices.ContainsFunc(rules, func(rule sarifRule) bool { return rule.ID == id }) {
			rules = append(rules, sarifRule{ID: id})
		}
	}
	return rules
}

// invocation says whether everything could be read.
func (r *Report) invocation() sarifInvocation {
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
	inv := sarifInvocation{Successful: r.Gap() == "", Start: stamp(r.Started), End: stamp(r.Finished)}
	if gap := r.Gap(); gap != "" {
		inv.Notifications = append(inv.Notifications, sarifNotification{"error", message(gap)})
	}
	for _, f := range r.Failures {
		inv.Notifications = append(inv.Notifications, sarifNotification{"error", message("Could not be read: " + f)})
	}
	return inv
}

func (r *Report) result(row Row, rule int) sarifResult {
	f := row.Finding
	text := r.title(f.Playbook) + ": " + resource(f)
	if w := what(f); w != "" {
		text += ": " + w
	}
	for _, n := range remarks(row) {
		text += ". " + n
	}
	out := sarifResult{
		RuleID: f.Playbook, RuleIndex: rule, Kind: "fail", Level: levelOf(f.Severity), Message: message(text),
		Locations:    []sarifLocation{{[]sarifLogical{{events.Printable(f.Resource.ID), events.Printable(cmp.Or(arn(f.Resource), f.Resource.ID)), "resource"}}}},
		Fingerprints: map[string]string{"secbotFinding/v1": cmp.Or(row.Key, shape(f))},
		Properties: map[string]any{"severity": f.Severity, "security-severity": score(f.Severity), "account": f.Resource.Account,
			"region": f.Resource.Region},
	}
	switch row.Change {
	case New, Unchanged:
		out.Baseline = string(row.Change)
	case Gone:
		out.Baseline = "absent"
	case Unknown: // "open": there was not enough to decide by
		out.Baseline, out.Kind, out.Level = "unchanged", "open", "none"
	}
	if row.Ignored() {
		out.Suppressions = []sarifSuppression{{"external", events.Printable("Ignored by the policy: " + row.Decision.Rule)}}
	}
	return out
}

// message is plain text. Braces and brackets would be placeholders and links of
// SARIF's (3.11.5, 3.11.6), also those of a bucket's policy.
func message(s string) sarifText {
	return sarifText{Text: strings.NewReplacer("{", "{{", "}", "}}", `\`, `\\`, "[", `\[`, "]", `\]`).Replace(events.Printable(s))}
}

func levelOf(s remediation.Severity) string {
	switch s {
	case remediation.SeverityCritical, remediation.SeverityHigh:
		return "error"
	case remediation.SeverityMedium:
		return "warning"
	}
	return "note"
}

// score is the middle of what CVSS 3.1 calls so, which is what code scanning of
// GitHub's sorts by.
func score(s remediation.Severity) string {
	switch s {
	case remediation.SeverityCritical:
		return "9.5"
	case remediation.SeverityHigh:
		return "8.0"
	case remediation.SeverityMedium:
		return "5.5"
	}
	return "2.0"
}
