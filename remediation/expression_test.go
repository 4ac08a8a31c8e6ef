package remediation_test

import (
	"strings"
	"testing"

	"secbot/remediation"
)

// exprRule is a configuration whose only rule has an expression.
func exprRule(t *testing.T, expr string) *remediation.Config {
	t.Helper()
	c, err := remediation.ParseConfig("secbot.yaml", []byte("mode: auto\nrules:\n  - name: mine\n    match:\n      expr: '"+strings.ReplaceAll(expr, "'", "''")+"'\n    then: auto\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func port(n int32) *int32 { return &n }

func exprFinding() remediation.Finding {
	return remediation.Finding{
		Playbook: "sg-rule-added", Severity: remediation.SeverityHigh, Direction: remediation.Ingress, Name: "web",
		Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "eu-central-1", ID: "sg-1"},
		Tags:     map[string]string{"env": "prod"},
		Actor:    remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana", SourceIP: "203.0.113.7"},
		Rules: []remediation.Rule{
			{Direction: remediation.Ingress, Protocol: "tcp", FromPort: port(22), ToPort: port(22), CIDR: "0.0.0.0/0", Openness: remediation.OpenWorld, Description: "temp"},
			{Direction: remediation.Ingress, Protocol: "-1", CIDR: "10.0.0.0/8"},
		},
	}
}

func TestExpressionDecides(t *testing.T) {
	for expr, want := range map[string][]remediation.Action{
		`finding.tags["env"] == "prod"`:                                                 {remediation.ActionAuto},
		`finding.tags["env"] == "dev"`:                                                  {remediation.ActionAsk},
		`finding.rules.exists(r, r.from_port == 22)`:                                    {remediation.ActionAuto, remediation.ActionAsk},
		`finding.rules.all(r, r.from_port == -1 && r.cidr.startsWith("10."))`:           {remediation.ActionAuto, remediation.ActionAsk},
		`"world" in finding.openness`:                                                   {remediation.ActionAuto, remediation.ActionAsk},
		`finding.actor.arn.endsWith(":user/dana") && finding.actor.source_ip != ""`:     {remediation.ActionAuto},
		`finding.account == "111122223333" && finding.region.startsWith("eu-")`:         {remediation.ActionAuto},
		`finding.scan || finding.direction == "egress" || finding.severity == "low"`:    {remediation.ActionAsk},
		`finding.name == "web" && finding.resource == "sg-1" && !("x" in finding.tags)`: {remediation.ActionAuto},
	} {
		parts := exprRule(t, expr).Decide(exprFinding())
		if len(parts) != len(want) {
			t.Errorf("%s: %d parts, want %d: %+v", expr, len(parts), len(want), parts)
			continue
		}
		for i, p := range parts {
			if p.Decision.Action != want[i] {
				t.Errorf("%s: part %d: %s, want %s", expr, i, p.Decision.Action, want[i])
			}
		}
	}
}

// An expression that can't be evaluated never leads to acting, nor to silence.
func TestExpressionThatFailsAsks(t *testing.T) {
	for _, then := range []string{"auto", "ignore", "notify"} {
		c, err := remediation.ParseConfig("secbot.yaml", []byte("mode: auto\nrules:\n  - match: {expr: 'finding.tags[\"owner\"] == \"me\"'}\n    then: "+then+"\n  - then: auto\n"))
		if err != nil {
			t.Fatal(err)
		}
		parts := c.Decide(exprFinding())
		if len(parts) != 1 || parts[0].Decision.Action != remediation.ActionAsk || !strings.Contains(parts[0].Decision.Why, "owner") {
			t.Errorf("then %s: %+v, want one question that says why", then, parts)
		}
	}
}

func TestExpressionOnABucket(t *testing.T) {
	f := remediation.Finding{Playbook: "s3-public-acl", Grants: []remediation.Grant{{Openness: remediation.PublicRead}}}
	for expr, want := range map[string]remediation.Action{
		`"public-read" in finding.openness && finding.rules.size() == 0`: remediation.ActionAuto,
		`has(finding.tags.x)`: remediation.ActionAsk,
	} {
		if parts := exprRule(t, expr).Decide(f); len(parts) != 1 || parts[0].Decision.Action != want {
			t.Errorf("%s: %+v, want %s", expr, parts, want)
		}
	}
}

// The faults are golden files beside the others; these need no file each.
func TestExpressionFaults(t *testing.T) {
	for expr, want := range map[string]string{
		`finding.tag["env"] == "x"`: "undefined field 'tag'",
		`finding.severity = "high"`: "line 1, column 18",
		`finding.severity`:          "not true or false",
		`true &&` + "\n" + `nobody`: "line 2, column 1",
		`finding.rules == 1`:        "no matching overload",
		`[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, finding.rules.all(c, finding.rules.all(d, finding.rules.all(e, a*b*c.from_port*d.from_port*e.from_port > 0)))))`: "too long",
	} {
		_, err := remediation.ParseExpression(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
}

// TestExpressionCostsAreBounded: what passes the estimate is cut off at run
// time where the finding is larger than was assumed.
func TestExpressionCostsAreBounded(t *testing.T) {
	c := exprRule(t, `finding.tags.all(a, finding.tags.all(b, a != b || true))`)
	f := exprFinding()
	for i := range 3000 {
		f.Tags[strings.Repeat("k", i%200)+string(rune('a'+i%26))+strings.Repeat("z", i/200)] = "v"
	}
	if parts := c.Decide(f); parts[0].Decision.Action != remediation.ActionAsk || !strings.Contains(parts[0].Decision.Why, "cost") {
		t.Errorf("%+v, want a question since the cost is too high", parts[0].Decision)
	}
}
