package infra_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/remediation/playbooks"
	"secbot/remediation/store/dynamo"
)

// generated gives the parts of the templates that follow from the code, by the name
// in their "# begin NAME" and "# end NAME".
func generated(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"schema": schema(t), "rules": rules(t, hubRule), "forwards": rules(t, forward),
		"machines":  machines(t),
		"playbooks": statement(t, "Playbooks", playbookActions(), `"*"`),
		"store": statement(t, "Table", only(storeActions(), "dynamodb:"), `[!GetAtt Table.Arn, !Sub "${Table.Arn}/index/*"]`) +
			statement(t, "Rows", only(storeActions(), "s3:"), `!Sub "${Rows.Arn}/*"`) +
			statement(t, "Secret", []string{"secretsmanager:GetSecretValue"}, "!Ref Secret") +
			statement(t, "Key", []string{"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"}, "!GetAtt Key.Arn") +
			statement(t, "Logs", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, `!Sub "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/lambda/${AWS::StackName}-*"`),
	}
}

// playbookActions are those on whatever resource is concerned; notices go to one
// topic, which has a statement of its own.
func playbookActions() []string {
	return slices.DeleteFunc(playbooks.Actions(), func(a string) bool { return a == "sns:Publish" })
}

func storeActions() []string { return dynamo.Actions(dynamo.Options{Bucket: "rows"}) }

func only(actions []string, prefix string) []string {
	return slices.DeleteFunc(actions, func(a string) bool { return !strings.HasPrefix(a, prefix) })
}

func statement(t *testing.T, sid string, actions []string, on string) string {
	t.Helper()
	return fmt.Sprintf("- Sid: %s\n  Effect: Allow\n  Action:\n%s  Resource: %s\n", sid, indent("    ", asYAML(t, actions)), on)
}

// schema is the table's as CreateTable asks for it: both write it alike.
func schema(t *testing.T) string {
	t.Helper()
	raw, err := json.Marshal(dynamo.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return asYAML(t, withoutNull(all)) + asYAML(t, map[string]any{"TimeToLiveSpecification": map[string]any{"AttributeName": dynamo.TimeToLive, "Enabled": true}})
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if v[name] = withoutNull(member); v[name] == nil || v[name] == "" {
				delete(v, name)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	}
	return v
}

// rules makes the rules of each pattern.
func rules(t *testing.T, make func(p events.Pattern, pattern string) string) string {
	t.Helper()
	var b strings.Builder
	for _, p := range events.Patterns() {
		b.WriteString(make(p, indent("      ", asYAML(t, p))))
	}
	return b.String()
}

// machines are the rules and the permissions for state machines.
func machines(t *testing.T) string {
	t.Helper()
	onMachines, onExecutions := awsenv.MachineActions()
	const rule = `%s:
  Type: AWS::Events::Rule
  Condition: HasStateMachines
  Properties:
    Description: %s
    Targets: [{Id: queue, Arn: !GetAtt Queue.Arn, DeadLetterConfig: {Arn: !GetAtt DeadLetters.Arn}}]
    EventPattern:
%s`
	on := func(kind, rest string) string {
		return `!Sub "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:` + kind + `:${StateMachines}` + rest + `"`
	}
	return fmt.Sprintf(rule, "Approvals", "What state machines ask", indent("      ", asYAML(t, events.ApprovalPattern()))+"      account: [!Ref \"AWS::AccountId\"]\n") +
		fmt.Sprintf(rule, "Executions", "Executions that have ended", indent("      ", strings.Replace(asYAML(t, events.ExecutionPattern()), "detail:\n", "detail:\n  stateMachineArn: [{wildcard: "+on("stateMachine", "")+"}]\n", 1))) +
		`MayStateMachines:
  Type: AWS::IAM::Policy
  Condition: HasStateMachines
  Properties:
    PolicyName: state-machines
    Roles: [!Ref WorkerRole]
    PolicyDocument:
      Version: "2012-10-17"
      Statement:
` + indent("        ", statement(t, "StateMachines", onMachines, on("stateMachine", ""))+statement(t, "Executions", onExecutions, on("execution", ":*")))
}

func hubRule(p events.Pattern, pattern string) string {
	const text = `%[1]s:
  Type: AWS::Events::Rule
  Properties:
    Description: %[2]s
%[3]s    Targets: [{Id: queue, Arn: !GetAtt Queue.Arn, DeadLetterConfig: {Arn: !GetAtt DeadLetters.Arn}}]
    EventPattern:
%[4]s`
	return fmt.Sprintf(text, p.Name, "Of this account and region", "", pattern) +
		fmt.Sprintf(text, p.Name+"OfMembers", "Of members and other regions", "    EventBusName: !GetAtt Bus.Name\n", pattern)
}

func forward(p events.Pattern, pattern string) string {
	return fmt.Sprintf(`%s:
  Type: AWS::Events::Rule
  Properties:
    Description: To secbot
    Targets: [{Id: hub, Arn: !Ref HubBusArn, RoleArn: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Name}-forward"}]
    EventPattern:
%s`, p.Name, pattern)
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func indent(by, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}

// TestTemplatesFollowTheCode: rules, permissions and keys of the templates are
// those of the code. UPDATE_GOLDEN=1 writes them anew.
func TestTemplatesFollowTheCode(t *testing.T) {
	part := regexp.MustCompile(`(?ms)^( *)# begin (\w+)\n(.*?)^ *# end \w+\n`)
	parts := generated(t)
	for file, count := range map[string]int{"hub.yaml": 6, "member.yaml": 2} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		got := part.ReplaceAllStringFunc(string(raw), func(old string) string {
			m := part.FindStringSubmatch(old)
			text, ok := parts[m[2]]
			if !ok {
				t.Errorf("%s has a part %q that nothing makes", file, m[2])
			}
			found++
			return m[1] + "# begin " + m[2] + "\n" + indent(m[1], text) + m[1] + "# end " + m[2] + "\n"
		})
		if found != count {
			t.Errorf("%s has %d parts, not %d", file, found, count)
		}
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(raw), got); diff != "" {
			t.Errorf("%s (-is +ought to be); UPDATE_GOLDEN=1 go test ./infra writes it:\n%s", file, diff)
		}
	}
}
