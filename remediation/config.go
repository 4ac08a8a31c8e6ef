package remediation

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxConfigSize bounds secbot.yaml, in bytes.
const maxConfigSize = 1 << 20

// Mode caps every decision.
type Mode string

// The modes, the weakest first.
const (
	ModeObserve Mode = "observe" // tell, never act, never ask
	ModeAsk     Mode = "ask"     // ask at most
	ModeAuto    Mode = "auto"    // as the rules say
)

// Modes lists every mode, the weakest first.
func Modes() []Mode { return []Mode{ModeObserve, ModeAsk, ModeAuto} }

// Config is secbot.yaml. ParseConfig and DefaultConfig make one; a literal
// must set Mode, since any mode but ModeAuto lets nothing be fixed unasked.
type Config struct {
	File       string   // where it was read from, for messages; empty for DefaultConfig
	Mode       Mode     //
	Channel    string   // where messages go unless a rule says otherwise: an id (C…, G…) or a name (#…)
	Responders []string // Slack user (U…, W…) and user group (S…) ids
	Regions    []string // which regions a scan covers; empty: the configured one
	Members    []string // which accounts a scan of the organisation covers, and one from Slack may name; empty: those that AWS Organizations lists
	Notify     Notify   //
	// Reconcile is how often everything is scanned for what no event has told,
	// in whole hours; 0 for never.
	Reconcile time.Duration
	// Heartbeat is after how much time without an event of a source people are
	// told, in whole hours; 0 for never.
	Heartbeat time.Duration
	// Report is the weekday on which a channel gets the statistics.
	Report  ReportDay
	Breaker Breaker
	// Digest is how many new messages a channel gets within a minute; those of
	// further incidents, less than critical ones, become one digest. 0: no bound.
	Digest int
	// Question is how long people have to decide, and who is told where nobody does.
	Question Question
	// Accounts are the names of accounts, by id: what people call them.
	Accounts map[string]string
	// People are the Slack users behind AWS identities.
	People []Person
	// StateMachines are those that rules may have started, and that may ask for
	// approvals, in the file's order.
	StateMachines []StateMachine
	// Rules are tried in order. nil means BuiltinRules; a list without rules
	// means that everything asks.
	Rules []PolicyRule
}

// Question is what becomes of a question that nobody answers. Each time is
// counted from when it was asked.
type Question struct {
	Remind   time.Duration `json:"remind,omitempty"`      // after how long the people who may decide are reminded; 0 for never
	Escalate time.Duration `json:"escalate,omitempty"`    // after how long EscalateTo is told; 0 for never
	To       []string      `json:"escalate_to,omitempty"` // channels (C…, G…, #…) and users (U…, W…)
	Expire   time.Duration `json:"expire,omitempty"`      // after how long it ends, and nothing is changed; 0 for never
}

// QuestionRule is what one rule of the policy says of its questions; nil members
// leave it to the Config.
type QuestionRule struct {
	Remind, Escalate, Expire *time.Duration
	To                       []string
}

// Person is a Slack user and what AWS calls them.
type Person struct {
	Actor string // a glob over the actor's ARN and that of the role behind it
	User  string // U… or W…
}

// Notify says where automatic fixes are published besides Slack.
type Notify struct {
	SNSTopicARN string // a standard topic's; empty for none
}

// PolicyRule is one line of the policy: the first whose Match fits decides.
type PolicyRule struct {
	Name      string // for people; may be empty
	Line      int    // in the file; 0 in the built-in rules
	Match     Match
	Then      Action
	Channel   string   // empty: the Config's
	Approvers []string // empty: the Config's Responders
	Approvals int      // how many of them must approve what one of them asks for; 0: none, whoever decides decides
	Question  QuestionRule
	// StateMachine is the name of the one that is started once a fix is read back,
	// or at once where secbot itself can't act; empty for none.
	StateMachine string
}

// Match says which findings a rule is for. Every member that isn't empty must
// fit, and a member fits if one of its values does. The zero Match fits every
// finding.
type Match struct {
	Playbooks  []string            // ids
	Accounts   []string            // of the resource, 12 digits
	Regions    []string            // of the resource
	Resources  []string            // globs over the plain id
	Tags       map[string][]string // by key, globs over the resource's tag; every key must fit
	Severities []Severity          // of the security-group rule, else of the finding
	Actors     []string            // globs over the actor's ARN and that of the role behind it
	Directions []Direction         // of the security-group rule, else of the finding
	Ports      []PortRange         // of the security-group rule; nothing else has ports
	Openness   []Openness          // of the security-group rule, else of any part of the finding
	Expr       *Expression         // looked at once all others fit; nil for none
}

// PortRange is a range of ports, both ends included. All stands for rules that
// leave every port open, and for nothing narrower; From and To are then 0.
type PortRange struct {
	From, To int32
	All      bool
}

// DefaultConfig is what holds without a file: mode auto, the built-in rules, a
// reconciling scan every six hours, and nobody and no channel named.
func DefaultConfig() *Config {
	return &Config{Mode: ModeAuto, Reconcile: 6 * time.Hour, Heartbeat: 7 * 24 * time.Hour, Breaker: defaultBreaker(), Digest: 20, Report: "monday",
		Question: Question{Remind: time.Hour, Expire: 7 * 24 * time.Hour}}
}

// LoadConfig reads the file at path and parses it. The error satisfies
// errors.Is(err, fs.ErrNotExist) where there is no such file; whether that means
// DefaultConfig is for the caller to say, since who names a policy does not want
// another one in its place.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the configuration (SECBOT_CONFIG): %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the configuration %s (SECBOT_CONFIG must name a file that secbot may read): %w", path, err)
	}
	return ParseConfig(path, data)
}

// WithDefaults gives a copy in which channel and responders stand wherever
// the file names none. It is how SECBOT_CHANNEL and SECBOT_RESPONDERS come in,
// read by ParseChannel and ParseResponders.
func (c *Config) WithDefaults(channel string, responders []string) *Config {
	merged := *c
	if merged.Channel == "" {
		merged.Channel = channel
	}
	if len(merged.Responders) == 0 {
		merged.Responders = slices.Clone(responders)
	}
	return &merged
}

// Cap lowers the mode to m where that lets less be done. It returns an error, and
// changes nothing, where m is no mode.
func (c *Config) Cap(m Mode) error {
	if !slices.Contains(Modes(), m) {
		return fmt.Errorf("%q is no mode: it is %s, %s or %s", m, ModeObserve, ModeAsk, ModeAuto)
	}
	c.Mode = strictest(c.Mode, m)
	return nil
}

// ParseChannel checks the value of SECBOT_CHANNEL: a channel's id or its name
// after a #. Empty is fine and means none.
func ParseChannel(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", nil
	}
	if _, f := parseChannel(s); f != nil {
		return "", fmt.Errorf("SECBOT_CHANNEL: %w", f)
	}
	return s, nil
}

// ParseResponders splits the value of SECBOT_RESPONDERS, Slack user and user
// group ids separated by commas. Its error names every one that is no id.
func ParseResponders(s string) ([]string, error) {
	var ids []string
	var errs []error
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if _, f := parseResponder(part); f != nil {
			errs = append(errs, fmt.Errorf("SECBOT_RESPONDERS: %w", f))
			continue
		}
		ids = append(ids, part)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return ids, nil
}

// CheckPlaybooks returns a ConfigError for every rule that names a playbook
// which is not among known, since such a rule would silently never match.
func (c *Config) CheckPlaybooks(known []string) error {
	var errs []error
	for i, r := range c.Rules {
		for _, id := range r.Match.Playbooks {
			if !slices.Contains(known, id) {
				errs = append(errs, &ConfigError{
					File: c.File, Line: r.Line,
					Key:     fmt.Sprintf("rules[%d].match.playbook", i+1),
					Problem: fmt.Sprintf("rule %d: there is no playbook %q", i+1, id),
					Hint:    choose(id, known),
				})
			}
		}
	}
	return errors.Join(errs...)
}
