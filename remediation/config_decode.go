package remediation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"secbot/internal/nearest"
)

// maxConfigFaults bounds how many faults of one file are told.
const maxConfigFaults = 100

// ParseConfig reads a configuration in YAML; file is its name, for messages.
// Empty data give DefaultConfig. Everything unknown, doubled, of a wrong type
// or out of range is refused: the error joins a ConfigError for each fault, in
// the file's order, the first hundred at most. It never returns a Config
// together with an error.
func ParseConfig(file string, data []byte) (*Config, error) {
	d := &configDecoder{file: file}
	c := DefaultConfig()
	c.File = file
	if root := d.document(data); root != nil {
		d.object(root, topScope(), d.topFields(c))
		d.escalations(c)
		d.started(c)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// escalations refuses to escalate to nobody.
func (d *configDecoder) escalations(c *Config) {
	check := func(q Question, line int, s configScope) {
		if q.Escalate > 0 && len(q.To) == 0 {
			d.fault(line, s.path+"escalate", s.at("escalate").words+" names nobody who is told", "add escalate_to: a channel (\"#leads\") or a user's id (U…, W…)")
		}
	}
	check(c.Question, 0, questionScope(0))
	for i, r := range c.Rules {
		if r.Question.Escalate != nil {
			check(c.Question.with(r.Question), r.Line, questionScope(i+1))
		}
	}
}

// configDecoder walks the YAML nodes and collects what is wrong with them.
type configDecoder struct {
	file string
	errs []*ConfigError
}

func (d *configDecoder) fault(line int, key, problem, hint string) {
	d.errs = append(d.errs, &ConfigError{File: d.file, Line: line, Key: key, Problem: problem, Hint: hint})
}

func (d *configDecoder) err() error {
	slices.SortStableFunc(d.errs, func(a, b *ConfigError) int { return a.Line - b.Line })
	faults := slices.CompactFunc(d.errs, func(a, b *ConfigError) bool { return *a == *b })
	if more := len(faults) - maxConfigFaults; more > 0 {
		last := &ConfigError{File: d.file, Problem: fmt.Sprintf("and %d more faults", more)}
		faults = append(faults[:maxConfigFaults:maxConfigFaults], last)
	}
	all := make([]error, len(faults))
	for i, e := range faults {
		all[i] = e
	}
	return errors.Join(all...)
}

// configScope is where a mapping stands, for the paths and words of its members.
type configScope struct {
	path string // before a member's key in a path: "rules[2].match."
	name string // before it in words: "match."
	of   string // after it in words: " of rule 2"
	in   string // the mapping itself: "the match of rule 2"; empty for the file
}

func topScope() configScope    { return configScope{} }
func notifyScope() configScope { return configScope{path: "notify.", name: "notify.", in: "notify"} }
func breakerScope() configScope {
	return configScope{path: "breaker.", name: "breaker.", in: "breaker"}
}

func ruleScope(n int) configScope {
	return configScope{path: fmt.Sprintf("rules[%d].", n), of: fmt.Sprintf(" of rule %d", n), in: fmt.Sprintf("rule %d", n)}
}

func matchScope(n int) configScope {
	return configScope{path: fmt.Sprintf("rules[%d].match.", n), name: "match.",
		of: fmt.Sprintf(" of rule %d", n), in: fmt.Sprintf("the match of rule %d", n)}
}

func questionScope(rule int) configScope {
	if rule == 0 {
		return configScope{path: "question.", name: "question.", in: "question"}
	}
	return configScope{path: fmt.Sprintf("rules[%d].question.", rule), name: "question.",
		of: fmt.Sprintf(" of rule %d", rule), in: fmt.Sprintf("the question of rule %d", rule)}
}

func tagsScope(n int) configScope {
	return configScope{path: fmt.Sprintf("rules[%d].match.tags.", n), name: "match.tags.",
		of: fmt.Sprintf(" of rule %d", n), in: fmt.Sprintf("match.tags of rule %d", n)}
}

// configPlace is one member of a mapping.
type configPlace struct{ path, words string }

func (s configScope) at(key string) configPlace {
	return configPlace{s.path + key, s.name + key + s.of}
}

// inWords gives " in rule 2", or nothing for the file.
func (s configScope) inWords() string {
	if s.in == "" {
		return ""
	}
	return " in " + s.in
}

// configField is one key that a mapping may have.
type configField struct {
	key    string
	decode func(n *yaml.Node, at configPlace)
}

func keysOf(fields []configField) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

func (d *configDecoder) topFields(c *Config) []configField {
	return []configField{
		{"mode", setOne(d, &c.Mode, textNode(parseOneOf("mode", Modes())))},
		{"channel", setOne(d, &c.Channel, textNode(parseChannel))},
		{"responders", setList(d, &c.Responders, textNode(parseResponder))},
		{"regions", setList(d, &c.Regions, textNode(parseRegion))},
		{"members", setList(d, &c.Members, accountNode)},
		{"reconcile", setOne(d, &c.Reconcile, textNode(parseInterval))},
		{"heartbeat", setOne(d, &c.Heartbeat, textNode(parseInterval))},
		{"report", setOne(d, &c.Report, textNode(parseOneOf("day of the report", ReportDays())))},
		{"breaker", func(n *yaml.Node, _ configPlace) { d.object(n, breakerScope(), d.breakerFields(&c.Breaker)) }},
		{"digest", setOne(d, &c.Digest, numberNode(parseMessages))},
		{"question", func(n *yaml.Node, _ configPlace) {
			var q QuestionRule
			d.object(n, questionScope(0), d.questionFields(&q))
			c.Question = c.Question.with(q)
		}},
		{"accounts", func(n *yaml.Node, at configPlace) { c.Accounts = d.accounts(n, at) }},
		{"people", func(n *yaml.Node, at configPlace) { c.People = d.people(n, at) }},
		{"notify", func(n *yaml.Node, _ configPlace) { d.object(n, notifyScope(), d.notifyFields(&c.Notify)) }},
		{"state_machines", func(n *yaml.Node, at configPlace) { c.StateMachines = d.machines(n, at) }},
		{"rules", func(n *yaml.Node, at configPlace) { c.Rules = d.rules(n, at) }},
	}
}

func (d *configDecoder) notifyFields(c *Notify) []configField {
	return []configField{
		{"sns_topic_arn", setOne(d, &c.SNSTopicARN, textNode(parseTopic))},
	}
}

func (d *configDecoder) breakerFields(b *Breaker) []configField {
	return []configField{
		{"fixes", setOne(d, &b.Fixes, numberNode(parseCount))},
		{"overall", setOne(d, &b.Overall, numberNode(parseCount))},
		{"minutes", setOne(d, &b.Window, numberNode(parseMinutes))},
	}
}

func (d *configDecoder) ruleFields(r *PolicyRule, num int) []configField {
	return []configField{
		{"name", setOne(d, &r.Name, textNode(parseLine))},
		{"match", func(n *yaml.Node, _ configPlace) { d.object(n, matchScope(num), d.matchFields(&r.Match, num)) }},
		{"then", setOne(d, &r.Then, textNode(parseOneOf("action", Actions())))},
		{"channel", setOne(d, &r.Channel, textNode(parseChannel))},
		{"approvers", setMany(d, &r.Approvers, textNode(parseResponder))},
		{"approvals", setOne(d, &r.Approvals, numberNode(parseApprovals))},
		{"state_machine", setOne(d, &r.StateMachine, textNode(parseLine))},
		{"question", func(n *yaml.Node, _ configPlace) { d.object(n, questionScope(num), d.questionFields(&r.Question)) }},
	}
}

func (d *configDecoder) questionFields(q *QuestionRule) []configField {
	span := func(dst **time.Duration) func(*yaml.Node, configPlace) {
		return func(n *yaml.Node, at configPlace) {
			*dst = new(time.Duration)
			setOne(d, *dst, textNode(parseSpan))(n, at)
		}
	}
	return []configField{
		{"remind", span(&q.Remind)},
		{"escalate", span(&q.Escalate)},
		{"escalate_to", setMany(d, &q.To, textNode(parseTarget))},
		{"expire", span(&q.Expire)},
	}
}

// accounts decodes a mapping from account ids to names.
func (d *configDecoder) accounts(n *yaml.Node, at configPlace) map[string]string {
	names := map[string]string{}
	d.members(n, configScope{path: "accounts.", name: "accounts.", in: "accounts"}, func(k, v *yaml.Node) {
		if _, f := accountNode(k); f != nil {
			d.fault(k.Line, at.path+"."+shorten(k.Value), "accounts: "+f.problem, f.hint)
			return
		}
		var name string
		setOne(d, &name, textNode(parseLine))(v, configPlace{at.path + "." + k.Value, "the name of account " + k.Value})
		names[k.Value] = name
	})
	return names
}

// people decodes a mapping from patterns of ARNs to Slack users.
func (d *configDecoder) people(n *yaml.Node, at configPlace) []Person {
	var all []Person
	d.members(n, configScope{path: "people.", name: "people.", in: "people"}, func(k, v *yaml.Node) {
		p := Person{Actor: k.Value}
		if _, f := parseGlob(k.Value); f != nil {
			d.fault(k.Line, at.path+"."+shorten(k.Value), "people: "+f.problem, f.hint)
		}
		setOne(d, &p.User, textNode(parseUser))(v, configPlace{at.path + "." + shorten(k.Value), "the user of " + quote(k.Value)})
		all = append(all, p)
	})
	return all
}

func (d *configDecoder) matchFields(m *Match, num int) []configField {
	var severities [][]Severity
	return []configField{
		{"playbook", setMany(d, &m.Playbooks, textNode(parsePlaybook))},
		{"account", setMany(d, &m.Accounts, accountNode)},
		{"region", setMany(d, &m.Regions, textNode(parseRegion))},
		{"resource", setMany(d, &m.Resources, textNode(parseGlob))},
		{"tags", func(n *yaml.Node, at configPlace) { m.Tags = d.tags(n, at, num) }},
		{"severity", func(n *yaml.Node, at configPlace) {
			setMany(d, &severities, textNode(parseSeverities))(n, at)
			m.Severities = slices.Concat(severities...)
		}},
		{"actor", setMany(d, &m.Actors, textNode(parseGlob))},
		{"direction", setMany(d, &m.Directions, textNode(parseOneOf("direction", []Direction{Ingress, Egress})))},
		{"port", setMany(d, &m.Ports, portNode)},
		{"expr", setOne(d, &m.Expr, textNode(parseExpression))},
		{"openness", setMany(d, &m.Openness, textNode(parseOneOf("openness", Opennesses())))},
	}
}

// object decodes a mapping whose keys are fixed.
func (d *configDecoder) object(n *yaml.Node, s configScope, fields []configField) {
	d.members(n, s, func(k, v *yaml.Node) {
		i := slices.IndexFunc(fields, func(f configField) bool { return f.key == k.Value })
		if i < 0 {
			d.unknownKey(k, s, keysOf(fields))
			return
		}
		fields[i].decode(v, s.at(k.Value))
	})
}

// members calls f for each key of a mapping that stands there once and has a
// value.
func (d *configDecoder) members(n *yaml.Node, s configScope, f func(k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(n.Line, strings.TrimSuffix(s.path, "."), cmp.Or(s.in, "the file")+" holds "+kindOf(n),
			"write keys with their values, as key: value")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := s.at(shorten(k.Value))
		first, twice := seen[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode || k.Value == "":
			d.fault(k.Line, at.path, "a key"+s.inWords()+" is "+kindOf(k), "keys are plain text")
		case twice:
			d.fault(k.Line, at.path, fmt.Sprintf("duplicate key %s%s", quote(k.Value), s.inWords()),
				fmt.Sprintf("it is in line %d already; keep one", first))
		case v.ShortTag() == "!!null":
			d.fault(v.Line, at.path, at.words+" has no value", emptyHint(k.Value))
		default:
			f(k, v)
		}
		if !twice {
			seen[k.Value] = k.Line
		}
	}
}

// emptyHint says what may have become of a missing value.
func emptyHint(key string) string {
	switch key {
	case "channel":
		return `YAML takes a bare # for the beginning of a comment; write channel: "#alerts", or leave the key out`
	case "then":
		return "write auto, ask, notify or ignore"
	case "rules":
		return "leave the key out for the built-in rules, or write rules: [] so that everything asks"
	}
	return "write one, or leave the key out"
}

func (d *configDecoder) unknownKey(k *yaml.Node, s configScope, known []string) {
	hint := "known keys: " + strings.Join(known, ", ")
	if k.Value == "<<" {
		hint = "merge keys are not taken here; write the values out"
	} else if home := d.homeOf(k.Value); home != "" {
		hint = "it belongs " + home + ". Known keys here: " + strings.Join(known, ", ")
	} else if near := nearest.Word(k.Value, known); near != "" {
		hint = fmt.Sprintf("did you mean %q? Known keys: %s", near, strings.Join(known, ", "))
	}
	d.fault(k.Line, s.path+shorten(k.Value), fmt.Sprintf("unknown key %s%s", quote(k.Value), s.inWords()), hint)
}

// homeOf says where a known key belongs that was found elsewhere.
func (d *configDecoder) homeOf(key string) string {
	homes := []struct {
		where  string
		fields []configField
	}{
		{"in the match of a rule", d.matchFields(&Match{}, 0)},
		{"in a rule, beside its match", d.ruleFields(&PolicyRule{}, 0)},
		{"under notify", d.notifyFields(&Notify{})},
		{"under breaker", d.breakerFields(&Breaker{})},
		{"under a name in state_machines", d.machineFields(&StateMachine{})},
		{"under question", d.questionFields(&QuestionRule{})},
		{"at the top of the file", d.topFields(&Config{})},
	}
	for _, h := range homes {
		if slices.Contains(keysOf(h.fields), key) {
			return h.where
		}
	}
	return ""
}

func (d *configDecoder) rules(n *yaml.Node, at configPlace) []PolicyRule {
	if n.Kind != yaml.SequenceNode {
		d.fault(n.Line, at.path, "rules holds "+kindOf(n), "write a list: each rule begins with a dash")
		return nil
	}
	rules := make([]PolicyRule, 0, len(n.Content)) // not nil: "rules: []" is no rules, not the built-in ones
	for i, item := range n.Content {
		rules = append(rules, d.rule(item, i+1))
	}
	return rules
}

func (d *configDecoder) rule(n *yaml.Node, num int) PolicyRule {
	r := PolicyRule{Line: n.Line}
	d.object(n, ruleScope(num), d.ruleFields(&r, num))
	if n.Kind == yaml.MappingNode && !hasKey(n, "then") {
		d.fault(n.Line, ruleScope(num).path+"then", fmt.Sprintf("rule %d has no then", num),
			"say what becomes of what it matches: then: auto, ask, notify or ignore")
	}
	return r
}

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// tags decodes a mapping from the keys of tags to patterns.
func (d *configDecoder) tags(n *yaml.Node, at configPlace, num int) map[string][]string {
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.fault(n.Line, at.path, at.words+" is empty", "name a tag, or leave the key out")
	}
	s := tagsScope(num)
	tags := map[string][]string{}
	d.members(n, s, func(k, v *yaml.Node) {
		var globs []string
		setMany(d, &globs, tagNode)(v, s.at(shorten(k.Value)))
		tags[k.Value] = globs
	})
	return tags
}
