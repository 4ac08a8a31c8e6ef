package remediation_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"secbot/remediation"
)

// TestParseConfigFaults compares the messages for each faulty file with the
// .errors file beside it. UPDATE_GOLDEN=1 rewrites those.
func TestParseConfigFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data := readFile(t, path)
			c, err := remediation.ParseConfig("secbot.yaml", data)
			if err == nil || c != nil {
				t.Fatalf("ParseConfig = %v, %v; want an error alone", c, err)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".errors"
			got := err.Error() + "\n"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(readFile(t, golden)), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseConfigComplete(t *testing.T) {
	c, err := remediation.ParseConfig("secbot.yaml", []byte(`
mode: ask
channel: "#cloud-alerts"
responders: [U0ALICE, W0BOB, S0ONCALL]
regions: eu-central-1
members: ["111122223333"]
reconcile: 12h
heartbeat: never
report: friday
breaker: {fixes: 5, overall: never, minutes: 30}
digest: 7
notify:
  sns_topic_arn: arn:aws-us-gov:sns:us-gov-west-1:111122223333:fixes
question:
  remind: 30m
  escalate: 4h
  escalate_to: ["#leads", U0CISO]
  expire: never
accounts: {"012345678901": prod}
people:
  "arn:aws:iam::*:user/dana": U0DANA
rules:
  - name: everything at once
    match:
      playbook: [sg-rule-added, s3-public-acl]
      account: ["012345678901"]
      region: us-gov-west-1
      resource: ["sg-*", "*-public"]
      tags: {env: [prod, "stag*"], public: true}
      severity: [low, ">= high"]
      actor: arn:aws:iam::*:role/deploy
      direction: egress
      port: [22, "80", 8000-8999, all]
      openness: world
    then: notify
    channel: G0QUIET
    approvers: U0CAROL
    approvals: 2
    question: {remind: never, escalate_to: C0SECOND}
  - then: ignore
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &remediation.Config{
		File: "secbot.yaml", Mode: remediation.ModeAsk, Channel: "#cloud-alerts",
		Responders: []string{"U0ALICE", "W0BOB", "S0ONCALL"}, Regions: []string{"eu-central-1"}, Members: []string{"111122223333"}, Reconcile: 12 * time.Hour,
		Breaker: remediation.Breaker{Fixes: 5, Window: 30 * time.Minute}, Digest: 7, Report: "friday",
		Notify:   remediation.Notify{SNSTopicARN: "arn:aws-us-gov:sns:us-gov-west-1:111122223333:fixes"},
		Question: remediation.Question{Remind: 30 * time.Minute, Escalate: 4 * time.Hour, To: []string{"#leads", "U0CISO"}},
		Accounts: map[string]string{"012345678901": "prod"},
		People:   []remediation.Person{{Actor: "arn:aws:iam::*:user/dana", User: "U0DANA"}},
		Rules: []remediation.PolicyRule{{
			Name: "everything at once", Line: 23, Then: remediation.ActionNotify,
			Channel: "G0QUIET", Approvers: []string{"U0CAROL"}, Approvals: 2,
			Question: remediation.QuestionRule{Remind: new(time.Duration), To: []string{"C0SECOND"}},
			Match: remediation.Match{
				Playbooks:  []string{"sg-rule-added", "s3-public-acl"},
				Accounts:   []string{"012345678901"},
				Regions:    []string{"us-gov-west-1"},
				Resources:  []string{"sg-*", "*-public"},
				Tags:       map[string][]string{"env": {"prod", "stag*"}, "public": {"true"}},
				Severities: []remediation.Severity{"low", "high", "critical"},
				Actors:     []string{"arn:aws:iam::*:role/deploy"},
				Directions: []remediation.Direction{"egress"},
				Ports:      []remediation.PortRange{{From: 22, To: 22}, {From: 80, To: 80}, {From: 8000, To: 8999}, {All: true}},
				Openness:   []remediation.Openness{"world"},
			},
		}, {Line: 40, Then: remediation.ActionIgnore}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestParseConfigEmpty(t *testing.T) {
	want := remediation.DefaultConfig()
	want.File = "f"
	for _, text := range []string{"", "\n\n", "# nothing yet\n", "---\n", "---\n# nothing\n...\n", "{}", "null\n", "\xef\xbb\xbf"} {
		c, err := remediation.ParseConfig("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("%q: (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseConfigNoRulesIsNotBuiltin(t *testing.T) {
	c, err := remediation.ParseConfig("f", []byte("rules: []\nresponders: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Rules == nil {
		t.Error("rules: [] gave the built-in rules")
	}
}

func TestConfigErrorIsTyped(t *testing.T) {
	_, err := remediation.ParseConfig("my.yaml", []byte("mode: auto\nrules:\n- then: auto\n- match: {port: ssh}\n  then: ask\n"))
	var fault *remediation.ConfigError
	if !errors.As(err, &fault) {
		t.Fatalf("%v is no ConfigError", err)
	}
	if fault.File != "my.yaml" || fault.Line != 4 || fault.Key != "rules[2].match.port" || fault.Problem == "" || fault.Hint == "" {
		t.Errorf("fault = %+v", fault)
	}
}

func TestParseConfigSize(t *testing.T) {
	full := []byte("# " + strings.Repeat("x", 1<<20-2))
	if _, err := remediation.ParseConfig("f", full); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	_, err := remediation.ParseConfig("f", append(full, 'x'))
	if err == nil || !strings.HasPrefix(err.Error(), "f: the file is over 1 MiB") {
		t.Errorf("1 MiB and a byte: %v", err)
	}
}

func TestParseConfigBoundsItsMessages(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "k%d%s: 1\n", i, strings.Repeat("x", 100))
	}
	_, err := remediation.ParseConfig("f", []byte(b.String()))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "f: and 4900 more faults" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if len(lines[0]) > 300 {
		t.Errorf("a line of %d bytes: %s", len(lines[0]), lines[0])
	}
}

func TestParseConfigDeepNesting(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 100_000), "rules: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)} {
		if _, err := remediation.ParseConfig("f", []byte(text)); err == nil {
			t.Error("deep nesting was taken")
		}
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	_, err := remediation.LoadConfig(filepath.Join(dir, "missing.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}

	path := filepath.Join(dir, "secbot.yaml")
	if err := os.WriteFile(path, []byte("mode: observe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := remediation.LoadConfig(path)
	if err != nil || c.Mode != remediation.ModeObserve || c.File != path {
		t.Errorf("LoadConfig = %+v, %v", c, err)
	}

	if _, err = remediation.LoadConfig(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	// A file where a directory is expected is not "missing" either.
	if _, err = remediation.LoadConfig(filepath.Join(path, "below")); err == nil {
		t.Error("a path through a file gave no error")
	}
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = remediation.LoadConfig(path); err == nil || !strings.Contains(err.Error(), "over 1 MiB") {
		t.Errorf("2 MiB: %v", err)
	}
}

func TestWithDefaults(t *testing.T) {
	c := remediation.DefaultConfig()
	got := c.WithDefaults("C0ENV", []string{"U0ENV"})
	if got.Channel != "C0ENV" || len(got.Responders) != 1 || got.Responders[0] != "U0ENV" {
		t.Errorf("nothing named: %+v", got)
	}
	if c.Channel != "" || c.Responders != nil {
		t.Errorf("the original was changed: %+v", c)
	}
	named := &remediation.Config{Mode: remediation.ModeAsk, Channel: "C0FILE", Responders: []string{"U0FILE"}}
	if diff := cmp.Diff(named, named.WithDefaults("C0ENV", []string{"U0ENV"})); diff != "" {
		t.Errorf("what the file names was replaced: %s", diff)
	}
}

func TestParseResponders(t *testing.T) {
	ids, err := remediation.ParseResponders(" U0ALICE, W0BOB ,,S0ONCALL,")
	if diff := cmp.Diff([]string{"U0ALICE", "W0BOB", "S0ONCALL"}, ids); err != nil || diff != "" {
		t.Errorf("ParseResponders: %v, %s", err, diff)
	}
	if ids, err := remediation.ParseResponders(""); err != nil || len(ids) != 0 {
		t.Errorf("empty: %v, %v", ids, err)
	}
	ids, err = remediation.ParseResponders("U0ALICE,@bob,<!channel>")
	if err == nil || ids != nil || !strings.Contains(err.Error(), `"@bob"`) || !strings.Contains(err.Error(), `"<!channel>"`) {
		t.Errorf("bad ids: %v, %v", ids, err)
	}
	if strings.Contains(err.Error(), "ALICE") {
		t.Errorf("a good id is called bad: %v", err)
	}
}

func TestParseChannel(t *testing.T) {
	for in, want := range map[string]string{"": "", "C0ALERTS\n": "C0ALERTS", "G0ALERTS": "G0ALERTS", "#alerts-2": "#alerts-2", "#größe": "#größe"} {
		if got, err := remediation.ParseChannel(in); err != nil || got != want {
			t.Errorf("ParseChannel(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"alerts", "#Alerts", "#a b", "#", "U0ALICE", "C0 ALERTS", "<!channel>", "#" + strings.Repeat("x", 81)} {
		if got, err := remediation.ParseChannel(in); err == nil || got != "" || !strings.HasPrefix(err.Error(), "SECBOT_CHANNEL: ") {
			t.Errorf("ParseChannel(%q) = %q, %v", in, got, err)
		}
	}
}

func TestCheckPlaybooks(t *testing.T) {
	c, err := remediation.ParseConfig("secbot.yaml", []byte(`rules:
  - match: {playbook: sg-rule-added}
    then: ask
  - match: {playbook: [s3-publc-acl, s3-public-acl]}
    then: auto
`))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"s3-public-acl", "s3-public-policy", "sg-rule-added"}
	want := `secbot.yaml:4: rule 2: there is no playbook "s3-publc-acl": did you mean "s3-public-acl"? It is one of s3-public-acl, s3-public-policy, sg-rule-added`
	if err := c.CheckPlaybooks(known); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := c.CheckPlaybooks(append(known, "s3-publc-acl")); err != nil {
		t.Error(err)
	}
}

// TestConfigurationGuide keeps the guide's complete example complete and
// valid, and every other example valid.
func TestConfigurationGuide(t *testing.T) {
	guide := string(readFile(t, "../docs/configuration.md"))
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(guide, -1)
	if len(examples) != 2 {
		t.Fatalf("%d examples in docs/configuration.md", len(examples))
	}
	for i, m := range examples {
		if _, err := remediation.ParseConfig(fmt.Sprintf("example-%d", i+1), []byte(m[1])); err != nil {
			t.Error(err)
		}
	}
	builtin, err := remediation.ParseConfig("built-in", []byte(examples[1][1]))
	if err != nil {
		t.Fatal(err)
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Line" }, cmp.Ignore())
	if diff := cmp.Diff(remediation.BuiltinRules(), builtin.Rules, ignore); diff != "" {
		t.Errorf("the guide's built-in rules (-real +guide):\n%s", diff)
	}
	keys := "mode channel responders regions members reconcile heartbeat report breaker fixes overall minutes digest notify sns_topic_arn rules name match then approvers " +
		"question remind escalate escalate_to expire accounts people approvals playbook account region resource tags severity actor direction port openness expr"
	for key := range strings.FieldsSeq(keys) {
		if !regexp.MustCompile(`(?m)^[ -]*` + key + ":").MatchString(examples[0][1]) {
			t.Errorf("the complete example lacks %q", key)
		}
	}
	for _, o := range remediation.Opennesses() {
		if !strings.Contains(guide, "`"+string(o)+"`") {
			t.Errorf("the guide lacks openness %q", o)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("rules:\n- {match: {expr: 'finding.rules.exists(r, r.from_port == 22) || finding.tags[\"x\"] == \"y\"'}, then: auto}\n"))
	f.Add([]byte("mode: ask\nrules:\n- {match: {port: [22, all], tags: {a: '*'}}, then: notify}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := remediation.ParseConfig("f", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "f:") || len(line) > 2000 {
					t.Errorf("unusable message %q", line)
				}
			}
			return
		}
		if parts := c.Decide(remediation.Finding{Rules: []remediation.Rule{{Protocol: "-1"}}}); len(parts) != 1 {
			t.Errorf("%d parts of one rule", len(parts))
		}
	})
}
