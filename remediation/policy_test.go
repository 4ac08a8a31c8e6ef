package remediation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/remediation"
)

// sgRule is an ingress rule of tcp; negative ports leave them out.
func sgRule(from, to int32, cidr string, open remediation.Openness) remediation.Rule {
	r := remediation.Rule{Direction: remediation.Ingress, Protocol: "tcp", CIDR: cidr, Openness: open}
	if from >= 0 {
		r.FromPort, r.ToPort = &from, &to
	}
	return r
}

func worldRule(port int32) remediation.Rule {
	return sgRule(port, port, "0.0.0.0/0", remediation.OpenWorld)
}

func groupFinding(rules ...remediation.Rule) remediation.Finding {
	return remediation.Finding{
		Playbook:  "sg-rule-added",
		Resource:  remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "eu-central-1", ID: "sg-0abc"},
		Name:      "web",
		Severity:  remediation.SeverityHigh,
		Direction: remediation.Ingress,
		Actor: remediation.Actor{
			ARN:       "arn:aws:sts::111122223333:assumed-role/deploy/alice",
			IssuerARN: "arn:aws:iam::111122223333:role/deploy",
		},
		Rules: rules,
		Tags:  map[string]string{"env": "prod", "team": "web-shop"},
	}
}

func bucketFinding(open remediation.Openness) remediation.Finding {
	return remediation.Finding{
		Playbook: "s3-public-acl",
		Resource: remediation.Ref{Kind: remediation.KindBucket, Account: "111122223333", Region: "eu-central-1", ID: "assets-public"},
		Severity: remediation.SeverityMedium,
		Grants:   []remediation.Grant{{Grantee: "AllUsers", Permission: "READ", Openness: open}},
	}
}

// parsePolicy makes a configuration of YAML.
func parsePolicy(t *testing.T, text string) *remediation.Config {
	t.Helper()
	c, err := remediation.ParseConfig("secbot.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMatch has one rule that ignores what it matches, so that everything
// else asks.
func TestMatch(t *testing.T) {
	ssh := groupFinding(worldRule(22))
	scan := groupFinding(worldRule(22))
	scan.Actor = remediation.Actor{}
	all := groupFinding(remediation.Rule{Direction: remediation.Ingress, Protocol: "-1", CIDR: "0.0.0.0/0", Openness: remediation.OpenWorld})
	icmp := groupFinding(remediation.Rule{Direction: remediation.Ingress, Protocol: "icmp", FromPort: new(int32), ToPort: new(int32), CIDR: "0.0.0.0/0"})
	egress := worldRule(22)
	egress.Direction = remediation.Egress
	mild := worldRule(22)
	mild.Severity = remediation.SeverityLow
	bucket := bucketFinding(remediation.PublicRead)

	tests := []struct {
		match string
		f     remediation.Finding
		want  bool
	}{
		{`{}`, ssh, true},
		{`{playbook: sg-rule-added}`, ssh, true},
		{`{playbook: [s3-public-acl, sg-rule-added]}`, ssh, true},
		{`{playbook: s3-public-acl}`, ssh, false},
		{`{account: "111122223333"}`, ssh, true},
		{`{account: ["444455556666"]}`, ssh, false},
		{`{region: [us-east-1, eu-central-1]}`, ssh, true},
		{`{region: us-east-1}`, ssh, false},
		{`{resource: sg-0abc}`, ssh, true},
		{`{resource: "sg-*"}`, ssh, true},
		{`{resource: "sg-0ab?"}`, ssh, true},
		{`{resource: "sg-0abc?"}`, ssh, false},
		{`{resource: "*a*c"}`, ssh, true},
		{`{resource: "*a*b"}`, ssh, false},
		{`{resource: "SG-*"}`, ssh, false},
		{`{resource: web}`, ssh, false}, // names are anybody's choice
		{`{resource: ["x*", "*-public"]}`, bucket, true},
		{`{resource: "assets"}`, bucket, false},
		{`{tags: {env: prod}}`, ssh, true},
		{`{tags: {env: "pr*", team: ["db", "web-*"]}}`, ssh, true},
		{`{tags: {env: prod, team: db}}`, ssh, false},
		{`{tags: {owner: "*"}}`, ssh, false},
		{`{tags: {env: "*"}}`, bucket, false},
		{`{severity: high}`, ssh, true},
		{`{severity: [low, medium]}`, ssh, false},
		{`{severity: ">= medium"}`, ssh, true},
		{`{severity: ">=critical"}`, ssh, false},
		{`{severity: high}`, groupFinding(mild), false},
		{`{severity: low}`, groupFinding(mild), true},
		{`{severity: ">= low"}`, remediation.Finding{}, false},
		{`{actor: "arn:aws:iam::*:role/deploy"}`, ssh, true},
		{`{actor: "*:assumed-role/deploy/*"}`, ssh, true},
		{`{actor: "*/Deploy/*"}`, ssh, false},
		{`{actor: "role/deploy"}`, ssh, false},
		{`{actor: "*"}`, scan, false},
		{`{direction: ingress}`, ssh, true},
		{`{direction: egress}`, ssh, false},
		{`{direction: egress}`, groupFinding(egress), true},
		{`{direction: [ingress, egress]}`, bucket, false},
		{`{port: 22}`, ssh, true},
		{`{port: "22"}`, ssh, true},
		{`{port: [80, 20-25]}`, ssh, true},
		{`{port: 23-65535}`, ssh, false},
		{`{port: 23}`, groupFinding(sgRule(20, 25, "0.0.0.0/0", "")), true},
		{`{port: 25-30}`, groupFinding(sgRule(20, 25, "0.0.0.0/0", "")), true},
		{`{port: 26-30}`, groupFinding(sgRule(20, 25, "0.0.0.0/0", "")), false},
		{`{port: 10-19}`, groupFinding(sgRule(20, 25, "0.0.0.0/0", "")), false},
		{`{port: 22}`, all, true},
		{`{port: all}`, all, true},
		{`{port: all}`, ssh, false},
		{`{port: all}`, groupFinding(sgRule(-1, -1, "0.0.0.0/0", "")), true},
		{`{port: all}`, groupFinding(sgRule(0, 65535, "0.0.0.0/0", "")), true},
		{`{port: all}`, groupFinding(sgRule(1, 65535, "0.0.0.0/0", "")), true},
		{`{port: all}`, groupFinding(sgRule(2, 65535, "0.0.0.0/0", "")), false},
		{`{port: all}`, groupFinding(sgRule(0, 65534, "0.0.0.0/0", "")), false},
		{`{port: [0, all]}`, icmp, false},
		{`{port: all}`, bucket, false},
		{`{openness: world}`, ssh, true},
		{`{openness: [wide, narrow]}`, ssh, false},
		{`{openness: public-read}`, bucket, true},
		{`{openness: public-write}`, bucket, false},
		{`{openness: unblocked}`, remediation.Finding{Openness: []remediation.Openness{remediation.Unblocked}}, true},
		{`{playbook: sg-rule-added, account: "111122223333", port: 22}`, ssh, true},
		{`{playbook: sg-rule-added, account: "444455556666", port: 22}`, ssh, false},
	}
	for _, tt := range tests {
		t.Run(tt.match, func(t *testing.T) {
			c := parsePolicy(t, "rules:\n- match: "+tt.match+"\n  then: ignore\n")
			parts := c.Decide(tt.f)
			if len(parts) != 1 {
				t.Fatalf("%d parts", len(parts))
			}
			if got := parts[0].Decision.Action == remediation.ActionIgnore; got != tt.want {
				t.Errorf("matched %v, want %v: %+v", got, tt.want, parts[0].Decision)
			}
		})
	}
}

func TestBuiltinRules(t *testing.T) {
	const (
		admin = `built-in rule "admin ports open to the world"`
		write = `built-in rule "publicly writable bucket"`
		none  = "no rule matched"
	)
	egress := worldRule(22)
	egress.Direction = remediation.Egress
	every := remediation.Rule{Direction: remediation.Ingress, Protocol: "-1", CIDR: "::/0", Openness: remediation.OpenWorld}
	other := groupFinding(worldRule(22))
	other.Playbook = "sg-rule-removed"
	tests := []struct {
		name   string
		f      remediation.Finding
		action remediation.Action
		rule   string
	}{
		{"ssh", groupFinding(worldRule(22)), remediation.ActionAuto, admin},
		{"rdp", groupFinding(worldRule(3389)), remediation.ActionAuto, admin},
		{"postgres", groupFinding(worldRule(5432)), remediation.ActionAuto, admin},
		{"mongodb", groupFinding(worldRule(27018)), remediation.ActionAuto, admin},
		{"everything", groupFinding(every), remediation.ActionAuto, admin},
		{"all tcp", groupFinding(sgRule(0, 65535, "0.0.0.0/0", remediation.OpenWorld)), remediation.ActionAuto, admin},
		{"a range over ssh", groupFinding(sgRule(1, 1023, "0.0.0.0/0", remediation.OpenWorld)), remediation.ActionAuto, admin},
		{"half a union", groupFinding(sgRule(22, 22, "0.0.0.0/1", remediation.OpenWorld)), remediation.ActionAuto, admin},
		{"https", groupFinding(worldRule(443)), remediation.ActionAsk, none},
		{"egress", groupFinding(egress), remediation.ActionAsk, none},
		{"a partner", groupFinding(sgRule(22, 22, "198.51.100.0/24", remediation.OpenNarrow)), remediation.ActionAsk, none},
		{"a removed rule", other, remediation.ActionAsk, none},
		{"writable", bucketFinding(remediation.PublicWrite), remediation.ActionAuto, write},
		{"readable", bucketFinding(remediation.PublicRead), remediation.ActionAsk, none},
		{"unblocked", remediation.Finding{Openness: []remediation.Openness{remediation.Unblocked}}, remediation.ActionAsk, none},
		{"nothing", remediation.Finding{}, remediation.ActionAsk, none},
	}
	c := remediation.DefaultConfig().WithDefaults("C0ENV", []string{"U0ENV"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := []remediation.Part{{Finding: tt.f, Decision: remediation.Decision{
				Action: tt.action, Rule: tt.rule, Channel: "C0ENV", Approvers: []string{"U0ENV"}, Question: c.Question}}}
			if diff := cmp.Diff(want, c.Decide(tt.f)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoRulesAsks(t *testing.T) {
	for _, text := range []string{"rules: []", "rules: [{match: {port: 23}, then: auto}]"} {
		d := parsePolicy(t, text).Decide(groupFinding(worldRule(22)))[0].Decision
		if d.Action != remediation.ActionAsk || d.Rule != "no rule matched" {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

// TestDecideSplits has one call that added rules of four fates.
func TestDecideSplits(t *testing.T) {
	c := parsePolicy(t, `
channel: C0MAIN
responders: [U0MAIN]
rules:
  - name: health checks
    match: {port: 8080}
    then: ignore
  - match: {port: 443}
    then: notify
    channel: "#web"
  - name: admin ports
    match: {port: [22, 3389]}
    then: auto
    approvers: [S0ADMINS]
`)
	severe := func(r remediation.Rule, s remediation.Severity) remediation.Rule { r.Severity = s; return r }
	health, web := worldRule(8080), severe(worldRule(443), remediation.SeverityLow)
	ssh, rdp := severe(worldRule(22), remediation.SeverityHigh), severe(worldRule(3389), remediation.SeverityCritical)
	other := severe(worldRule(9999), remediation.SeverityMedium)
	f := groupFinding(health, ssh, other, web, rdp)
	f.Severity = remediation.SeverityCritical
	// With room behind it, so that parts which share it would show.
	f.Rest = append(make([]string, 0, 16), "tcp 1 from 10.0.0.0/8: was there before")

	type part struct {
		Action    remediation.Action
		Rule      string
		Channel   string
		Approvers []string
		Severity  remediation.Severity
		Rules     []remediation.Rule
		Rest      []string
	}
	var got []part
	for _, p := range c.Decide(f) {
		got = append(got, part{p.Decision.Action, p.Decision.Rule, p.Decision.Channel, p.Decision.Approvers,
			p.Finding.Severity, p.Finding.Rules, p.Finding.Rest})
	}
	const (
		sshApart    = "tcp 22 from 0.0.0.0/0: to be fixed apart"
		rdpApart    = "tcp 3389 from 0.0.0.0/0: to be fixed apart"
		otherApart  = "tcp 9999 from 0.0.0.0/0: asked apart"
		webApart    = "tcp 443 from 0.0.0.0/0: told apart, nothing is done"
		healthApart = "tcp 8080 from 0.0.0.0/0: ignored by the policy"
	)
	before := f.Rest[0]
	main := []string{"U0MAIN"}
	want := []part{
		{"auto", `rule 3 "admin ports"`, "C0MAIN", []string{"S0ADMINS"}, "critical",
			[]remediation.Rule{ssh, rdp}, []string{before, otherApart, webApart, healthApart}},
		{"ask", "no rule matched", "C0MAIN", main, "medium",
			[]remediation.Rule{other}, []string{before, sshApart, rdpApart, webApart, healthApart}},
		{"notify", "rule 2", "#web", main, "low",
			[]remediation.Rule{web}, []string{before, sshApart, rdpApart, otherApart, healthApart}},
		{"ignore", `rule 1 "health checks"`, "C0MAIN", main, "critical", // its rule has no severity of its own
			[]remediation.Rule{health}, []string{before, sshApart, rdpApart, otherApart, webApart}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if len(f.Rest) != 1 || len(f.Rules) != 5 {
		t.Errorf("the finding itself was changed: %+v", f)
	}
}

func TestFirstMatchDecides(t *testing.T) {
	c := parsePolicy(t, `rules:
- match: {resource: sg-0abc}
  then: notify
- match: {port: 22}
  then: auto
`)
	if d := c.Decide(groupFinding(worldRule(22)))[0].Decision; d.Action != remediation.ActionNotify || d.Rule != "rule 1" {
		t.Errorf("%+v", d)
	}
}

func TestModeAndDoubtLower(t *testing.T) {
	const (
		observe = "mode observe: secbot only tells"
		ask     = "mode ask: secbot changes nothing unasked"
		doubt   = "the evaluators disagree"
	)
	tests := []struct {
		mode        remediation.Mode
		then        remediation.Action
		doubt, want string
		why         string
	}{
		{"auto", "auto", "", "auto", ""},
		{"auto", "auto", doubt, "ask", doubt},
		{"auto", "ask", doubt, "ask", ""},
		{"auto", "notify", doubt, "notify", ""},
		{"ask", "auto", "", "ask", ask},
		{"ask", "auto", doubt, "ask", doubt},
		{"ask", "ask", "", "ask", ""},
		{"ask", "notify", "", "notify", ""},
		{"observe", "auto", "", "notify", observe},
		{"observe", "auto", doubt, "notify", doubt + "; " + observe},
		{"observe", "ask", "", "notify", observe},
		{"observe", "notify", "", "notify", ""},
		{"observe", "ignore", "", "ignore", ""},
		{"", "auto", "", "ask", ask},
		{"auto", "explode", "", "ask", ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s/%s", tt.mode, tt.then, tt.doubt), func(t *testing.T) {
			c := &remediation.Config{Mode: tt.mode, Rules: []remediation.PolicyRule{{Then: tt.then}}}
			f := bucketFinding(remediation.PublicWrite)
			f.Doubt = tt.doubt
			d := c.Decide(f)[0].Decision
			if string(d.Action) != tt.want || d.Why != tt.why || d.Rule != "rule 1" {
				t.Errorf("decision = %+v, want %s because %q", d, tt.want, tt.why)
			}
		})
	}
}

func TestAtMost(t *testing.T) {
	d := remediation.Decision{Action: remediation.ActionAuto, Rule: "rule 1", Channel: "C0"}
	got := d.AtMost(remediation.ActionAsk, "a scan never acts")
	want := remediation.Decision{Action: remediation.ActionAsk, Rule: "rule 1", Channel: "C0", Why: "a scan never acts"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, want.AtMost(remediation.ActionAuto, "no reason")); diff != "" {
		t.Errorf("AtMost raised or explained: %s", diff)
	}
}

// The properties.

func drawRule(t *rapid.T, label string) remediation.Rule {
	from := rapid.Int32Range(0, 65535).Draw(t, label+" from")
	to := rapid.Int32Range(from, 65535).Draw(t, label+" to")
	protocol := rapid.SampledFrom([]string{"tcp", "udp", "icmp", "icmpv6", "-1", "47"}).Draw(t, label+" protocol")
	cidr := rapid.SampledFrom([]string{"0.0.0.0/0", "::/0", "203.0.113.0/24", "10.0.0.0/8"}).Draw(t, label+" cidr")
	r := sgRule(from, to, cidr, rapid.SampledFrom(remediation.Opennesses()).Draw(t, label+" openness"))
	r.Protocol = protocol
	if rapid.Bool().Draw(t, label+" without ports") {
		r.FromPort, r.ToPort = nil, nil
	}
	r.Direction = rapid.SampledFrom([]remediation.Direction{"ingress", "egress", ""}).Draw(t, label+" direction")
	r.Severity = rapid.SampledFrom(append(remediation.Severities(), "")).Draw(t, label+" severity")
	return r
}

func drawFinding(t *rapid.T) remediation.Finding {
	f := groupFinding()
	for i := range rapid.IntRange(0, 6).Draw(t, "number of rules") {
		f.Rules = append(f.Rules, drawRule(t, fmt.Sprintf("rule %d", i)))
	}
	f.Playbook = rapid.SampledFrom([]string{"sg-rule-added", "s3-public-acl", ""}).Draw(t, "playbook")
	f.Severity = rapid.SampledFrom(append(remediation.Severities(), "")).Draw(t, "severity")
	f.Openness = rapid.SliceOfN(rapid.SampledFrom(remediation.Opennesses()), 0, 2).Draw(t, "openness")
	f.Doubt = rapid.SampledFrom([]string{"", "", "in doubt"}).Draw(t, "doubt")
	return f
}

func drawMatch(t *rapid.T, label string) remediation.Match {
	var m remediation.Match
	draw := func(member string) bool { return rapid.IntRange(0, 4).Draw(t, label+" has "+member) == 0 }
	if draw("playbook") {
		m.Playbooks = []string{rapid.SampledFrom([]string{"sg-rule-added", "s3-public-acl"}).Draw(t, label+" playbook")}
	}
	if draw("severity") {
		m.Severities = rapid.SliceOfN(rapid.SampledFrom(remediation.Severities()), 1, 3).Draw(t, label+" severity")
	}
	if draw("direction") {
		m.Directions = []remediation.Direction{remediation.Ingress}
	}
	if draw("openness") {
		m.Openness = rapid.SliceOfN(rapid.SampledFrom(remediation.Opennesses()), 1, 3).Draw(t, label+" openness")
	}
	if draw("port") {
		from := rapid.Int32Range(0, 65535).Draw(t, label+" from")
		m.Ports = []remediation.PortRange{{From: from, To: rapid.Int32Range(from, 65535).Draw(t, label+" to")}}
	}
	if draw("resource") {
		m.Resources = []string{rapid.StringOfN(rapid.RuneFrom([]rune("sg-0abc*?")), 1, 8, -1).Draw(t, label+" resource")}
	}
	return m
}

func drawConfig(t *rapid.T) *remediation.Config {
	c := &remediation.Config{Channel: "C0MAIN", Responders: []string{"U0MAIN"}}
	c.Mode = rapid.SampledFrom(remediation.Modes()).Draw(t, "mode")
	if rapid.IntRange(0, 9).Draw(t, "built-in rules") == 0 {
		return c
	}
	c.Rules = []remediation.PolicyRule{}
	for i := range rapid.IntRange(0, 5).Draw(t, "number of policy rules") {
		label := fmt.Sprintf("policy rule %d", i)
		c.Rules = append(c.Rules, remediation.PolicyRule{
			Match:   drawMatch(t, label),
			Then:    rapid.SampledFrom(remediation.Actions()).Draw(t, label+" then"),
			Channel: rapid.SampledFrom([]string{"", "C0OTHER"}).Draw(t, label+" channel"),
		})
	}
	return c
}

func ruleTexts(rules []remediation.Rule) []string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = fmt.Sprint(r.Key(), r.Openness, r.Severity)
	}
	slices.Sort(texts)
	return texts
}

func strength(a remediation.Action) int { return -slices.Index(remediation.Actions(), a) }

func TestPartsPartitionTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, f := drawConfig(t), drawFinding(t)
		parts := c.Decide(f)
		if len(parts) == 0 {
			t.Fatal("no part")
		}
		var all []remediation.Rule
		for i, p := range parts {
			all = append(all, p.Finding.Rules...)
			if len(f.Rules) > 0 && len(p.Finding.Rules) == 0 {
				t.Errorf("part %d has no rules", i)
			}
			if others := len(f.Rules) - len(p.Finding.Rules); len(p.Finding.Rest) != others {
				t.Errorf("part %d names %d of %d other rules", i, len(p.Finding.Rest), others)
			}
			if i > 0 && strength(parts[i-1].Decision.Action) < strength(p.Decision.Action) {
				t.Errorf("part %d (%s) is stronger than the one before", i, p.Decision.Action)
			}
			for _, q := range parts[:i] {
				if cmp.Equal(p.Decision, q.Decision) {
					t.Errorf("two parts with one decision: %+v", p.Decision)
				}
			}
		}
		if diff := cmp.Diff(ruleTexts(f.Rules), ruleTexts(all)); diff != "" {
			t.Errorf("rules lost or doubled (-want +got):\n%s", diff)
		}
	})
}

func TestNoPartIsStrongerThanAllowed(t *testing.T) {
	most := map[remediation.Mode]remediation.Action{
		remediation.ModeObserve: remediation.ActionNotify,
		remediation.ModeAsk:     remediation.ActionAsk,
		remediation.ModeAuto:    remediation.ActionAuto,
	}
	rapid.Check(t, func(t *rapid.T) {
		c, f := drawConfig(t), drawFinding(t)
		for _, p := range c.Decide(f) {
			if !slices.Contains(remediation.Actions(), p.Decision.Action) {
				t.Errorf("action %q", p.Decision.Action)
			}
			if strength(p.Decision.Action) > strength(most[c.Mode]) {
				t.Errorf("%s in mode %s", p.Decision.Action, c.Mode)
			}
			if f.Doubt != "" && p.Decision.Action == remediation.ActionAuto {
				t.Error("auto in doubt")
			}
			if p.Decision.Rule == "" || p.Decision.Channel == "" || len(p.Decision.Approvers) == 0 {
				t.Errorf("incomplete: %+v", p.Decision)
			}
		}
	})
}

// TestALaterRuleChangesNothingDecided appends a rule: only what no rule had
// matched may change.
func TestALaterRuleChangesNothingDecided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, f := drawConfig(t), drawFinding(t)
		if c.Rules == nil {
			c.Rules = remediation.BuiltinRules()
		}
		longer := *c
		longer.Rules = append(slices.Clone(c.Rules), remediation.PolicyRule{
			Match: drawMatch(t, "appended"),
			Then:  rapid.SampledFrom(remediation.Actions()).Draw(t, "appended then"),
		})
		before, after := decisions(c.Decide(f)), decisions(longer.Decide(f))
		for rule, d := range before {
			if !strings.Contains(d.Rule, "no rule matched") && !cmp.Equal(d, after[rule]) {
				t.Errorf("%s: %+v became %+v", rule, d, after[rule])
			}
		}
	})
}

// decisions gives the decision about each rule; rules that are equal in
// everything are decided equally.
func decisions(parts []remediation.Part) map[string]remediation.Decision {
	all := map[string]remediation.Decision{}
	for _, p := range parts {
		if len(p.Finding.Rules) == 0 {
			all[""] = p.Decision
		}
		for _, text := range ruleTexts(p.Finding.Rules) {
			all[text] = p.Decision
		}
	}
	return all
}

// TestRulesAreDecidedAlone decides each rule by itself: company changes
// nothing.
func TestRulesAreDecidedAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, f := drawConfig(t), drawFinding(t)
		together := decisions(c.Decide(f))
		for _, r := range f.Rules {
			alone := f
			alone.Rules = []remediation.Rule{r}
			for text, d := range decisions(c.Decide(alone)) {
				if diff := cmp.Diff(d, together[text]); diff != "" {
					t.Errorf("alone and in company (-alone +company):\n%s", diff)
				}
			}
		}
	})
}

// TestGlobs compares globs with the regular expressions that they stand for,
// by way of the policy.
func TestGlobs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringOfN(rapid.RuneFrom([]rune("ab.é*?")), 1, 8, -1).Draw(t, "glob")
		id := rapid.StringOfN(rapid.RuneFrom([]rune("ab.é")), 1, 8, -1).Draw(t, "id")
		c := &remediation.Config{Mode: remediation.ModeAuto, Rules: []remediation.PolicyRule{
			{Match: remediation.Match{Resources: []string{glob}}, Then: remediation.ActionIgnore}}}
		d := c.Decide(remediation.Finding{Resource: remediation.Ref{ID: id}})[0].Decision
		if got, want := d.Action == remediation.ActionIgnore, naiveGlob([]rune(glob), []rune(id)); got != want {
			t.Errorf("glob %q on %q: %v, want %v", glob, id, got, want)
		}
	})
}

// naiveGlob is the definition of a glob, written down plainly.
func naiveGlob(g, s []rune) bool {
	switch {
	case len(g) == 0:
		return len(s) == 0
	case g[0] == '*':
		return naiveGlob(g[1:], s) || len(s) > 0 && naiveGlob(g, s[1:])
	case len(s) == 0:
		return false
	}
	return (g[0] == '?' || g[0] == s[0]) && naiveGlob(g[1:], s[1:])
}

// TestDeploymentRolesAreExempt by their exact ARN, and nobody by what a caller
// chooses.
func TestDeploymentRolesAreExempt(t *testing.T) {
	c, err := remediation.ParseConfig("f", []byte(`rules: [{match: {actor: "arn:aws:iam::111122223333:role/deploy"}, then: ignore}]`))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		actor  remediation.Actor
		exempt bool
	}{
		"a session of the role": {remediation.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/deploy/run-7", IssuerARN: "arn:aws:iam::111122223333:role/deploy"}, true},
		"a session of its name": {remediation.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/dev/deploy", IssuerARN: "arn:aws:iam::111122223333:role/dev"}, false},
		"a longer name":         {remediation.Actor{IssuerARN: "arn:aws:iam::111122223333:role/deployer"}, false},
		"another account's":     {remediation.Actor{IssuerARN: "arn:aws:iam::444455556666:role/deploy"}, false},
		"Terraform":             {remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana", Via: "Terraform", UserAgent: "HashiCorp/1.0 Terraform/1.9 arn:aws:iam::111122223333:role/deploy"}, false},
		"a user of its name":    {remediation.Actor{ARN: "arn:aws:iam::111122223333:user/deploy"}, false},
	} {
		got := c.Decide(remediation.Finding{Actor: tt.actor})[0].Decision.Action == remediation.ActionIgnore
		if got != tt.exempt {
			t.Errorf("%s: exempt %v", name, got)
		}
	}
}
