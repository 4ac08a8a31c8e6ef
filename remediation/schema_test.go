package remediation

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// schema is a part of docs/secbot.schema.json.
type schema struct {
	Properties           map[string]*schema
	AdditionalProperties any
	Required             []string
	Items                *schema
	AnyOf                []*schema
	Enum                 []string
	Description          string
}

// enum finds the words that a key takes, singly or in a list.
func (s *schema) enum() []string {
	if len(s.Enum) > 0 || len(s.AnyOf) == 0 {
		return s.Enum
	}
	return s.AnyOf[0].enum()
}

// TestSchemaKnowsWhatTheParserKnows: a key or word that only one of them has
// fails.
func TestSchemaKnowsWhatTheParserKnows(t *testing.T) {
	raw, err := os.ReadFile("../docs/secbot.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var top schema
	if err := json.Unmarshal(raw, &top); err != nil {
		t.Fatal(err)
	}
	d := &configDecoder{}
	rule := top.Properties["rules"].Items
	match := rule.Properties["match"]
	machine := &schema{}
	if raw, err := json.Marshal(top.Properties["state_machines"].AdditionalProperties); err != nil || json.Unmarshal(raw, machine) != nil {
		t.Fatal("the schema does not tell what a state machine is", err)
	}
	for name, part := range map[string]struct {
		schema *schema
		fields []configField
	}{
		"file":    {&top, d.topFields(&Config{})},
		"notify":  {top.Properties["notify"], d.notifyFields(&Notify{})},
		"breaker": {top.Properties["breaker"], d.breakerFields(&Breaker{})},
		"machine": {machine, d.machineFields(&StateMachine{})},
		"rule":    {rule, d.ruleFields(&PolicyRule{}, 1)},
		"match":   {match, d.matchFields(&Match{}, 1)},
	} {
		if part.schema.AdditionalProperties != false {
			t.Errorf("%s: the schema lets unknown keys through", name)
		}
		known := keysOf(part.fields)
		for key, s := range part.schema.Properties {
			if !slices.Contains(known, key) {
				t.Errorf("%s: only the schema knows %q", name, key)
			}
			if s.Description == "" {
				t.Errorf("%s: the schema says nothing about %q", name, key)
			}
		}
		for _, key := range known {
			if part.schema.Properties[key] == nil {
				t.Errorf("%s: only the parser knows %q", name, key)
			}
		}
	}
	sameWords(t, "mode", top.Properties["mode"].enum(), Modes())
	sameWords(t, "report", top.Properties["report"].enum(), ReportDays())
	sameWords(t, "then", rule.Properties["then"].enum(), Actions())
	sameWords(t, "direction", match.Properties["direction"].enum(), []Direction{Ingress, Egress})
	sameWords(t, "openness", match.Properties["openness"].enum(), Opennesses())
	if !slices.Equal(rule.Required, []string{"then"}) {
		t.Errorf("a rule requires %v", rule.Required)
	}
}

func sameWords[T ~string](t *testing.T, key string, schema []string, parser []T) {
	t.Helper()
	var words []string
	for _, w := range parser {
		words = append(words, string(w))
	}
	slices.Sort(words)
	slices.Sort(schema)
	if !slices.Equal(words, schema) {
		t.Errorf("%s: the schema takes %v, the parser %v", key, schema, words)
	}
}
