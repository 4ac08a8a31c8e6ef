package bot

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"secbot/internal/nearest"
	"secbot/remediation"
)

// maxCommandText bounds the text after /secbot, in bytes.
const maxCommandText = 2000

// CommandSpec is one line of the table of commands.
type CommandSpec struct {
	Name  string // the first word
	Usage string // what follows it: "ID for 7d because …"
	Help  string // one line
	Group string // under which help lists it
	parse func(args []string) (Parsed, error)
}

// Parsed is a command as it was typed.
type Parsed struct {
	Name     string           // of the CommandSpec
	Verb     remediation.Verb // what is to be submitted; empty for commands that only read
	Incident string           // the id as typed: whole, or a part of at least 6 characters
	For      time.Duration    // ignore: how long, 0 is for good; allow: how long, 0 is remediation.AllowFor
	Reason   string           // ignore, allow: why
	Scope    string           // scan: as remediation.ParseScanScope takes it; ignore: a remediation.Scope, empty for the narrowest
	Filter   Filter           // incidents: which
	Playbook string           // runbook: whose
}

// UsageError says that a command can't be understood. Its text is meant for
// the person who typed it.
type UsageError struct {
	Problem string
	Example string // what would be right, without the slash command's name
}

// Error gives the problem and an example.
func (e *UsageError) Error() string {
	if e.Example == "" {
		return e.Problem
	}
	return e.Problem + " For example: " + e.Example
}

// exampleID stands for an incident's id in examples.
const exampleID = "01JQ8Z5N6X7W9V4T3R2P1M0K8H"

// The groups of commands.
const (
	groupLook   = "Look"
	groupDecide = "Decide about an incident"
	groupSet    = "Say what secbot may do"
	groupLearn  = "Learn"
)

// Commands is the table of commands, in the order in which help lists them.
func Commands() []CommandSpec {
	return []CommandSpec{
		{"scan", "[s3|sg|all] [org|ACCOUNT …]", "Look for what is open now, here, in some accounts or in all of the organisation.", groupLook, parseScan},
		{"incidents", "[status|severity|playbook|account …] [page N]", "List incidents, the newest first.", groupLook, parseIncidents},
		{"show", "ID", "Show one incident with its history.", groupLook, withID("show", "")},
		{"ignores", "", "List what is ignored or allowed, until when and why.", groupLook, parseNothing("ignores")},
		{"why", "RESOURCE", "Tell what is open at a bucket, security group or account, and what the policy would do.", groupLook, parseWhy},
		{"stats", "", "Show the numbers of the last thirty days; in Slack with their chart.", groupLook, parseVerb("stats", remediation.VerbStats)},
		{"fix", "ID", "Revert the change, or try a failed fix again.", groupDecide, withID("fix", remediation.VerbFix)},
		{"undo", "ID", "Put back what a fix has taken away.", groupDecide, withID("undo", remediation.VerbUndo)},
		{"ignore", "ID [resource|playbook|account] for 7d because …", "Leave it for a while (30m, 12h, 7d, 4w) or forever; with a word, as far as that reaches.", groupDecide, parseIgnore},
		{"unignore", "ID", "Take an ignore back, or ask again about what was undone.", groupDecide, withID("unignore", remediation.VerbUnignore)},
		{"allow", "ID [for 2h] [because …]", "Leave it for some hours, then revert it without asking again.", groupDecide, parseAllow},
		{"approve", "ID", "Agree to what somebody else has asked for.", groupDecide, withID("approve", remediation.VerbApprove)},
		{"decline", "ID", "Drop what somebody has asked for.", groupDecide, withID("decline", remediation.VerbDecline)},
		{"pause", "[because …]", "The kill switch: fix nothing, neither by itself nor by a click.", groupSet, parsePause},
		{"resume", "", "Fix again.", groupSet, parseVerb("resume", remediation.VerbResume)},
		{"mode", "[observe|ask|auto|file] [all|PLAYBOOK|ACCOUNT]", "Show or set the most that secbot may do; file is what secbot.yaml says.", groupSet, parseMode},
		{"reset", "", "Let secbot fix by itself again after the circuit breaker has opened.", groupSet, parseReset},
		{"playbooks", "", "List the playbooks.", groupLearn, parseNothing("playbooks")},
		{"runbook", "PLAYBOOK", "Show what a playbook means, does, and how to do it by hand.", groupLearn, parseRunbook},
		{"whoami", "", "Tell how the policy knows you, and what you may decide.", groupLearn, parseNothing("whoami")},
		{"help", "", "Show this list.", groupLearn, parseHelp},
	}
}

// ParseCommand understands the text after the slash command's name. Empty
// text is help. The error is a *UsageError.
func ParseCommand(text string) (Parsed, error) {
	if len(text) > maxCommandText {
		return Parsed{}, &UsageError{Problem: fmt.Sprintf("That is too long; %d characters are the most.", maxCommandText)}
	}
	words := strings.Fields(clean(text))
	if len(words) > 0 && strings.EqualFold(words[0], "/secbot") {
		words = words[1:] // somebody has typed it twice
	}
	if len(words) == 0 {
		return parseHelp(nil)
	}
	name := strings.ToLower(words[0])
	if name == "help" { // without a look at the table, which is made anew for each
		return parseHelp(nil)
	}
	for _, c := range Commands() {
		if c.Name == name {
			p, err := c.parse(words[1:])
			p.Name = name
			return p, err
		}
	}
	return Parsed{}, unknownCommand(words[0])
}

func unknownCommand(word string) error {
	var names []string
	for _, c := range Commands() {
		names = append(names, c.Name)
	}
	problem := fmt.Sprintf("There is no command %q.", cut(word, 40))
	near := nearest.Word(strings.ToLower(word), names)
	for _, c := range Commands() {
		if c.Name == near {
			return &UsageError{Problem: problem + fmt.Sprintf(" Did you mean %q?", near), Example: c.example()}
		}
	}
	return &UsageError{Problem: problem + " Commands are " + strings.Join(names, ", ") + ".", Example: "help"}
}

// example is the command as it might be typed.
func (c CommandSpec) example() string {
	words := strings.NewReplacer("ID", exampleID, "…", "it is meant so", "[s3|sg|all] [org|ACCOUNT …]", "all", "[status]", "open",
		"[status|severity|playbook|account …] [page N]", "open high", "RESOURCE", "my-bucket", "PLAYBOOK", "sg-rule-added",
		"[observe|ask|auto|file] [all|PLAYBOOK|ACCOUNT]", "ask all", "[resource|playbook|account] ", "", "[for 2h]", "for 2h", "[because …]", "because it is meant so")
	return strings.TrimSpace(c.Name + " " + words.Replace(c.Usage))
}

func parseHelp([]string) (Parsed, error) { return Parsed{Name: "help"}, nil }

func parseReset([]string) (Parsed, error) { return Parsed{Verb: remediation.VerbReset}, nil }

// parseNothing parses commands after which nothing is to follow.
func parseNothing(name string) func([]string) (Parsed, error) { return parseVerb(name, "") }

func parseVerb(name string, verb remediation.Verb) func([]string) (Parsed, error) {
	return func(args []string) (Parsed, error) {
		if len(args) > 0 {
			return Parsed{}, &UsageError{Problem: fmt.Sprintf("Nothing follows %q.", name), Example: name}
		}
		return Parsed{Verb: verb}, nil
	}
}

func parsePause(args []string) (Parsed, error) {
	return Parsed{Verb: remediation.VerbPause, Reason: parseReason(args)}, nil
}

func parseWhy(args []string) (Parsed, error) {
	if len(args) != 1 {
		return Parsed{}, &UsageError{Problem: "\"why\" takes the name of a bucket, the id of a security group (sg-…) or its name in a default VPC, or an account's 12 digits.", Example: "why sg-0123456789abcdef0"}
	}
	return Parsed{Verb: remediation.VerbWhy, Scope: cut(strings.Trim(args[0], "`'\"<>"), 100)}, nil
}

func parseRunbook(args []string) (Parsed, error) {
	if len(args) != 1 {
		return Parsed{}, &UsageError{Problem: "\"runbook\" takes the id of one playbook.", Example: "runbook sg-rule-added"}
	}
	return Parsed{Playbook: cut(strings.ToLower(args[0]), 60)}, nil
}

// parseMode takes nothing, to show the modes, or a mode and what it is for.
func parseMode(args []string) (Parsed, error) {
	if len(args) == 0 {
		return Parsed{}, nil
	}
	known := []string{"file"}
	for _, m := range remediation.Modes() {
		known = append(known, string(m))
	}
	mode := strings.ToLower(args[0])
	problem := ""
	switch {
	case !slices.Contains(known, mode):
		problem = fmt.Sprintf("There is no mode %q; there are %s.", cut(args[0], 40), strings.Join(known, ", "))
		if near := nearest.Word(mode, known); near != "" {
			problem += fmt.Sprintf(" Did you mean %q?", near)
		}
	case len(args) > 2:
		problem = "A mode is for all, one playbook or one account."
	}
	if problem != "" {
		return Parsed{}, &UsageError{Problem: problem, Example: "mode ask all"}
	}
	target := remediation.AllTargets
	if len(args) == 2 {
		target = cut(strings.ToLower(args[1]), 60)
	}
	return Parsed{Verb: remediation.VerbMode, Scope: mode + " " + target}, nil
}

// parseScan takes what is looked at and where, each of which may be left out.
func parseScan(args []string) (Parsed, error) {
	usage := func(problem string) error { return &UsageError{Problem: problem, Example: "scan sg org"} }
	var scope remediation.ScanScope
	for _, arg := range args {
		for word := range strings.SplitSeq(strings.ToLower(arg), ",") {
			switch {
			case word == "":
			case word == "org":
				scope.Organisation = true
			case isAccount(word):
				scope.Accounts = append(scope.Accounts, word)
			case scope.What == "" && slices.Contains([]string{"s3", "sg", "all"}, word):
				scope.What = word
			default:
				return Parsed{}, usage(fmt.Sprintf("A scan can't look at %q, but at s3 (buckets), sg (security groups) or all; of this account, of accounts by their 12 digits, or of the whole organisation (org).", cut(word, 40)))
			}
		}
	}
	if scope.Organisation && len(scope.Accounts) > 0 {
		return Parsed{}, usage("A scan looks at the whole organisation (org) or at the accounts that are named, not both.")
	}
	scope.What = cmp.Or(scope.What, "all")
	return Parsed{Verb: remediation.VerbScan, Scope: scope.String()}, nil
}

func parseIncidents(args []string) (Parsed, error) {
	var p Parsed
	var known []string
	for _, s := range remediation.Statuses() {
		known = append(known, string(s))
	}
	severities := remediation.Severities()
	for i := 0; i < len(args); i++ {
		word := strings.ToLower(strings.Trim(args[i], ","))
		switch {
		case word == "all" || word == "":
		case word == "page":
			n, err := 0, error(nil)
			if i++; i < len(args) {
				n, err = strconv.Atoi(args[i])
			}
			if err != nil || n < 1 || n > maxSearched {
				return Parsed{}, &UsageError{Problem: "After \"page\" comes its number, from 1.", Example: "incidents open page 2"}
			}
			p.Filter.Page = n
		case slices.Contains(known, word):
			p.Filter.Statuses = append(p.Filter.Statuses, remediation.Status(word))
		case slices.Contains(severities, remediation.Severity(word)):
			p.Filter.Severities = append(p.Filter.Severities, remediation.Severity(word))
		case isAccount(word):
			p.Filter.Accounts = append(p.Filter.Accounts, word)
		case playbookWord(word):
			p.Filter.Playbooks = append(p.Filter.Playbooks, word)
		default:
			problem := fmt.Sprintf("There is no status %q; there are %s, and severities, playbooks and accounts may be named too.", cut(word, 40), strings.Join(known, ", "))
			if near := nearest.Word(word, known); near != "" {
				problem += fmt.Sprintf(" Did you mean %q?", near)
			}
			return Parsed{}, &UsageError{Problem: problem, Example: "incidents open"}
		}
	}
	return p, nil
}

// isAccount knows 12 digits.
func isAccount(word string) bool {
	return len(word) == 12 && strings.Trim(word, "0123456789") == ""
}

// playbookWord knows what may be a playbook's id: it has a hyphen, as all have.
func playbookWord(word string) bool {
	return strings.HasPrefix(word, "s3-") || strings.HasPrefix(word, "sg-") && len(word) < 20 || word == remediation.OwnRolePlaybook
}

// withID parses commands that take an id and nothing else.
func withID(name string, verb remediation.Verb) func([]string) (Parsed, error) {
	return func(args []string) (Parsed, error) {
		if len(args) != 1 {
			return Parsed{}, &UsageError{Problem: fmt.Sprintf("%q takes the id of one incident.", name), Example: name + " " + exampleID}
		}
		id, problem := parseID(args[0])
		if problem != "" {
			return Parsed{}, &UsageError{Problem: problem, Example: name + " " + exampleID}
		}
		return Parsed{Verb: verb, Incident: id}, nil
	}
}

// parseID takes an id, or a part of one, out of what people wrap around it, or
// says what is wrong.
func parseID(word string) (id, problem string) {
	id = strings.Trim(word, "`'\"<>#.,")
	if len(id) < minShortID || !isIncidentID(id) {
		return "", fmt.Sprintf("%q is no incident's id: it has 26 letters and digits, of which the last %d are enough.", cut(word, 40), shortID)
	}
	return id, ""
}

// isIncidentID reports whether s may be an incident's id, or a part of one.
func isIncidentID(s string) bool {
	if s == "" || len(s) > maxIDLength {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// parseIgnore takes "ID for 7d because it is meant so". The words "for" and
// "because" may be left out.
func parseIgnore(args []string) (Parsed, error) {
	p := Parsed{Verb: remediation.VerbIgnore}
	if len(args) == 0 {
		return Parsed{}, ignoreUsage("An ignore needs an id, a time and a reason.")
	}
	id, problem := parseID(args[0])
	if problem != "" {
		return Parsed{}, ignoreUsage(problem)
	}
	p.Incident = id
	rest := args[1:]
	if len(rest) > 0 && slices.Contains(remediation.Scopes(), remediation.Scope(strings.ToLower(rest[0]))) {
		p.Scope = strings.ToLower(rest[0])
		rest = rest[1:]
	}
	if len(rest) > 0 && strings.EqualFold(rest[0], "for") {
		rest = rest[1:]
	}
	d, used, problem := parseDuration(rest)
	if problem != "" {
		return Parsed{}, ignoreUsage(problem)
	}
	p.For = d
	p.Reason = parseReason(rest[used:])
	if p.Reason == "" {
		return Parsed{}, ignoreUsage("An ignore needs a reason, so that others can follow it.")
	}
	return p, nil
}

// parseAllow takes "ID for 2h because the vendor needs it", of which the id alone
// is needed.
func parseAllow(args []string) (Parsed, error) {
	usage := func(problem string) error {
		return &UsageError{Problem: problem, Example: "allow " + exampleID + " for 2h because the vendor needs it"}
	}
	p := Parsed{Verb: remediation.VerbAllow}
	if len(args) == 0 {
		return Parsed{}, usage("\"allow\" takes the id of one incident.")
	}
	id, problem := parseID(args[0])
	if problem != "" {
		return Parsed{}, usage(problem)
	}
	p.Incident = id
	rest := args[1:]
	if len(rest) > 0 && strings.EqualFold(rest[0], "for") {
		d, used, problem := parseDuration(rest[1:])
		if problem == "" && (d <= 0 || d > remediation.MaxAllow) {
			problem = fmt.Sprintf("It can be allowed for %d hours at most; what shall stay for longer can be ignored.", int(remediation.MaxAllow.Hours()))
		}
		if problem != "" {
			return Parsed{}, usage(problem)
		}
		p.For, rest = d, rest[1+used:]
	}
	p.Reason = parseReason(rest)
	return p, nil
}

func ignoreUsage(problem string) error {
	return &UsageError{Problem: problem, Example: "ignore " + exampleID + " for 7d because the partner needs it until the migration"}
}

func parseReason(words []string) string {
	if len(words) > 0 {
		switch strings.ToLower(strings.Trim(words[0], ":,-–")) {
		case "because", "reason", "since", "as", "":
			words = words[1:]
		}
	}
	return cut(strings.Join(words, " "), maxReason)
}
