package remediation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Actions lists every action, the strongest first.
func Actions() []Action { return []Action{ActionAuto, ActionAsk, ActionNotify, ActionIgnore} }

// Part is a share of a finding with what the policy decided for it.
type Part struct {
	Finding  Finding
	Decision Decision
}

// BuiltinRules is the policy of a configuration that has no rules: ingress
// from everywhere to an administrative port, and a bucket that everybody can
// write to, are fixed; everything else asks.
func BuiltinRules() []PolicyRule {
	return []PolicyRule{
		{
			Name: "admin ports open to the world",
			Match: Match{
				Playbooks:  []string{"sg-rule-added"},
				Directions: []Direction{Ingress},
				Openness:   []Openness{OpenWorld},
				Ports:      adminPorts(),
			},
			Then: ActionAuto,
		},
		{
			Name:  "publicly writable bucket",
			Match: Match{Openness: []Openness{PublicWrite}},
			Then:  ActionAuto,
		},
	}
}

// adminPorts are the ports of remote administration and of databases, as
// registered with IANA or documented by their makers, which nobody opens to
// everybody on purpose. Ports that other programs commonly use too are left
// out, since what they serve may be meant for the world.
func adminPorts() []PortRange {
	port := func(p int32) PortRange { return PortRange{From: p, To: p} }
	return []PortRange{
		{All: true},
		port(22),                 // SSH
		port(3389),               // RDP
		port(1433),               // SQL Server
		port(1521),               // Oracle
		port(3306),               // MySQL, MariaDB, Aurora
		port(5432),               // PostgreSQL, Aurora
		port(5439),               // Redshift
		port(5984),               // CouchDB
		port(6379),               // Redis, Valkey
		port(9042),               // Cassandra
		port(9200),               // Elasticsearch, OpenSearch: HTTP
		port(9300),               // Elasticsearch, OpenSearch: nodes
		port(11211),              // memcached
		{From: 27017, To: 27019}, // MongoDB, DocumentDB
	}
}

// Decide says what becomes of f. It is pure and total. The first rule that
// matches decides, and ask where none does; then a doubt and the mode lower
// what was decided. Each security-group rule of f is decided on its own:
// those with the same decision form one Part, whose Finding holds only them
// and names the others in Rest. There is always at least one Part; the
// strongest actions come first.
func (c *Config) Decide(f Finding) []Part {
	if len(f.Rules) == 0 {
		return []Part{{Finding: f, Decision: c.decide(f, nil)}}
	}
	var parts []Part
	for _, r := range f.Rules {
		d := c.decide(f, &r)
		// Which rule decided, and whether its expression could be evaluated,
		// implies all the rest of the decision.
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Decision.Rule == d.Rule && p.Decision.Why == d.Why })
		if i < 0 {
			i = len(parts)
			parts = append(parts, Part{Finding: f, Decision: d})
			parts[i].Finding.Rules = nil
		}
		parts[i].Finding.Rules = append(parts[i].Finding.Rules, r)
	}
	if len(parts) == 1 {
		return parts
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return a.Decision.Action.rank() - b.Decision.Action.rank() })
	for i := range parts {
		parts[i].Finding.Severity = severityOf(parts[i].Finding)
		parts[i].Finding.Rest = restOf(parts, i)
	}
	return parts
}

// decide says what becomes of one security-group rule of f, or of all of f
// where r is nil.
func (c *Config) decide(f Finding, r *Rule) Decision {
	d := c.firstMatch(f, r)
	if f.Doubt != "" && d.Action == ActionAuto {
		d = d.AtMost(ActionAsk, f.Doubt)
	}
	if f.Irreversible != "" {
		d.Respond = d.Action == ActionAuto && d.StateMachine != "" && c.Mode == ModeAuto
		d = d.AtMost(ActionNotify, f.Irreversible)
	}
	switch c.Mode {
	case ModeAuto:
		return d
	case ModeObserve:
		return d.AtMost(ActionNotify, "mode observe: secbot only tells")
	}
	// A mode that nobody knows must not let anything be changed unasked.
	return d.AtMost(ActionAsk, "mode ask: secbot changes nothing unasked")
}

// NoRule is Decision.Rule where none fits, so that people are asked.
const NoRule = "no rule matched"

func (c *Config) firstMatch(f Finding, r *Rule) Decision {
	rules, builtin := c.Rules, false
	if rules == nil {
		rules, builtin = BuiltinRules(), true
	}
	for i, rule := range rules {
		if !rule.Match.fits(f, r) {
			continue
		}
		fits, err := rule.Match.Expr.fits(f, r)
		if err != nil {
			// Nobody knows whether the rule was meant for this.
			d := rule.decision(i+1, builtin)
			d.Action, d.Why = ActionAsk, err.Error()
			return c.complete(d, rule.Question)
		}
		if !fits {
			continue
		}
		return c.complete(rule.decision(i+1, builtin), rule.Question)
	}
	return c.complete(Decision{Action: ActionAsk, Rule: NoRule}, QuestionRule{})
}

// decision is what the rule itself says; num is its place in the file.
func (r PolicyRule) decision(num int, builtin bool) Decision {
	d := Decision{Action: r.Then, Rule: r.title(num, builtin), Channel: r.Channel, Approvers: r.Approvers, Approvals: r.Approvals, StateMachine: r.StateMachine}
	if d.Action.rank() < 0 {
		d.Action = ActionAsk
	}
	return d
}

// complete fills in what the rule leaves to the configuration.
func (c *Config) complete(d Decision, q QuestionRule) Decision {
	d.Question = c.Question.with(q)
	if d.Channel == "" {
		d.Channel = c.Channel
	}
	if len(d.Approvers) == 0 {
		d.Approvers = c.Responders
	}
	return d
}

// with gives q with what a rule says otherwise.
func (q Question) with(r QuestionRule) Question {
	for _, m := range []struct {
		dst *time.Duration
		src *time.Duration
	}{{&q.Remind, r.Remind}, {&q.Escalate, r.Escalate}, {&q.Expire, r.Expire}} {
		if m.src != nil {
			*m.dst = *m.src
		}
	}
	if r.To != nil {
		q.To = r.To
	}
	return q
}

// Person is the Slack user behind an actor, where the configuration names one.
func (c *Config) Person(a Actor) string {
	for _, p := range c.People {
		if anyGlob([]string{p.Actor}, a.ARN, a.IssuerARN) {
			return p.User
		}
	}
	return ""
}

// title names the rule for people: `rule 2 "admin ports"`.
func (r PolicyRule) title(num int, builtin bool) string {
	switch {
	case builtin:
		return fmt.Sprintf("built-in rule %q", r.Name)
	case r.Name == "":
		return fmt.Sprintf("rule %d", num)
	}
	return fmt.Sprintf("rule %d %q", num, r.Name)
}

// AtMost lowers the action to a where it is stronger, and then adds to Why
// what lowered it.
func (d Decision) AtMost(a Action, why string) Decision {
	if a.rank() < 0 || d.Action.rank() >= a.rank() {
		return d
	}
	d.Action = a
	d.Why = joinText("; ", d.Why, why)
	return d
}

// rank is the place in Actions, 0 for the strongest; -1 for anything else.
func (a Action) rank() int { return slices.Index(Actions(), a) }

// severityOf is the highest severity of f's rules, or f's own where they
// have none.
func severityOf(f Finding) Severity {
	var highest Severity
	for _, r := range f.Rules {
		if r.Severity.Rank() > highest.Rank() {
			highest = r.Severity
		}
	}
	if highest == "" {
		return f.Severity
	}
	return highest
}

// restOf lists what was there before and each rule that is not in part i.
func restOf(parts []Part, i int) []string {
	rest := slices.Clone(parts[i].Finding.Rest) // the parts share what was there before
	for j, other := range parts {
		if j == i {
			continue
		}
		for _, r := range other.Finding.Rules {
			rest = append(rest, r.String()+": "+other.Decision.Action.apart())
		}
	}
	return rest
}

// apart says what becomes of a rule that another part took.
func (a Action) apart() string {
	switch a {
	case ActionAuto:
		return "to be fixed apart"
	case ActionNotify:
		return "told apart, nothing is done"
	case ActionIgnore:
		return "ignored by the policy"
	}
	return "asked apart"
}

// fits says whether m, but for its expression, is for the security-group rule r
// of f, or for f as a whole where r is nil.
func (m Match) fits(f Finding, r *Rule) bool {
	return anyOf(m.Playbooks, f.Playbook) &&
		anyOf(m.Accounts, f.Resource.Account) &&
		anyOf(m.Regions, f.Resource.Region) &&
		anyGlob(m.Resources, f.Resource.ID) &&
		anyGlob(m.Actors, f.Actor.ARN, f.Actor.IssuerARN) &&
		m.fitsTags(f.Tags) &&
		m.fitsPorts(r) &&
		anyOf(m.Severities, severityIn(f, r)) &&
		anyOf(m.Directions, directionIn(f, r)) &&
		m.fitsOpenness(f, r)
}

func severityIn(f Finding, r *Rule) Severity {
	if r == nil || r.Severity == "" {
		return f.Severity
	}
	return r.Severity
}

func directionIn(f Finding, r *Rule) Direction {
	if r == nil || r.Direction == "" {
		return f.Direction
	}
	return r.Direction
}

func (m Match) fitsOpenness(f Finding, r *Rule) bool {
	if r == nil {
		return len(m.Openness) == 0 || f.IsOpen(m.Openness...)
	}
	return anyOf(m.Openness, r.Openness)
}

func (m Match) fitsTags(tags map[string]string) bool {
	for key, globs := range m.Tags {
		value, ok := tags[key]
		if !ok || !slices.ContainsFunc(globs, func(g string) bool { return globMatch(g, value) }) {
			return false
		}
	}
	return true
}

func (m Match) fitsPorts(r *Rule) bool {
	if len(m.Ports) == 0 {
		return true
	}
	return r != nil && slices.ContainsFunc(m.Ports, func(p PortRange) bool { return p.meets(*r) })
}

// meets says whether r lets traffic through to a port of p. A rule for every
// port from 0 or 1 to 65535 leaves all open as much as one without ports.
func (p PortRange) meets(r Rule) bool {
	if r.AllPorts() {
		return true
	}
	if r.Protocol == "icmp" || r.Protocol == "icmpv6" || r.FromPort == nil || r.ToPort == nil {
		return false
	}
	if p.All {
		return *r.FromPort <= 1 && *r.ToPort >= 65535
	}
	return *r.FromPort <= p.To && p.From <= *r.ToPort
}

// anyOf says whether v is in want; everything is in an empty one.
func anyOf[T comparable](want []T, v T) bool { return len(want) == 0 || slices.Contains(want, v) }

// anyGlob says whether a glob matches one of the values that is known, that
// is, not empty. Without globs it is true.
func anyGlob(globs []string, values ...string) bool {
	if len(globs) == 0 {
		return true
	}
	for _, g := range globs {
		if slices.ContainsFunc(values, func(v string) bool { return v != "" && globMatch(g, v) }) {
			return true
		}
	}
	return false
}

// globMatch matches all of s: * stands for any run of characters, none
// included, ? for exactly one, and everything else for itself. It takes time
// in proportion to the product of both lengths at the worst.
func globMatch(glob, s string) bool {
	// Patterns without wildcards are the most.
	if !strings.ContainsAny(glob, "*?") {
		return glob == s
	}
	g, t := []rune(glob), []rune(s)
	i, star, retry := 0, -1, 0
	for j := 0; j < len(t); {
		switch {
		case i < len(g) && g[i] == '*':
			star, retry = i, j
			i++
		case i < len(g) && (g[i] == '?' || g[i] == t[j]):
			i++
			j++
		case star >= 0:
			// Let the last * take one more character.
			retry++
			i, j = star+1, retry
		default:
			return false
		}
	}
	for i < len(g) && g[i] == '*' {
		i++
	}
	return i == len(g)
}
