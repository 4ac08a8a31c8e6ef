package remediation

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// The shapes of ids. Slack and AWS publish no grammar for most of them, so
// these refuse only what can't be one.
var (
	channelID   = compiled(`^[CG][A-Z0-9]{1,63}$`)
	responderID = compiled(`^[UWS][A-Z0-9]{1,63}$`)
	userID      = compiled(`^[UW][A-Z0-9]{1,63}$`)
	accountID   = compiled(`^[0-9]{12}$`)
	regionName  = compiled(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	playbookID  = compiled(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	topicARN    = compiled(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)
	machineARN  = compiled(`^arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]{1,80}$`)
	portText    = compiled(`^(0|[1-9][0-9]{0,5})(-(0|[1-9][0-9]{0,5}))?$`)
)

// compiled gives a regular expression that is compiled once it is used: every start
// would pay for all of them otherwise, and most need few.
func compiled(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// maxIntervalHours bounds intervals: thirty days.
const maxIntervalHours = 720

// minSpan bounds the times of questions.
const minSpan = 5 * time.Minute

// maxApprovals bounds how many people must approve.
const maxApprovals = 5

// maxMessages bounds the messages of a channel's minute: Slack takes about one a
// second.
const maxMessages = 60

// The bounds of the breaker: what is counted stands in one record.
const (
	maxBreakerFixes   = 1000
	maxBreakerMinutes = 1440
)

// maxText bounds names and globs, in bytes; no ARN is longer.
const maxText = 2048

func parseChannel(s string) (string, *fault) {
	if name, ok := strings.CutPrefix(s, "#"); ok {
		if isChannelName(name) {
			return s, nil
		}
		return "", &fault{quote(s) + " is no channel name", "after the # come at most 80 small letters, digits, - and _"}
	}
	if channelID().MatchString(s) {
		return s, nil
	}
	hint := `write its id (C… or G…, at the foot of the channel's details in Slack) or its name after a #, in quotes, as "#alerts"`
	if isChannelName(s) {
		hint = fmt.Sprintf("did you mean %q? Write the quotes, since a bare # begins a comment", "#"+s)
	}
	return "", &fault{quote(s) + " is no channel", hint}
}

// isChannelName says whether Slack would take s as a channel's name. Letters
// of every script are allowed, capitals are not.
func isChannelName(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= 80 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (!unicode.In(r, unicode.L, unicode.N, unicode.M) || unicode.IsUpper(r))
	})
}

func parseResponder(s string) (string, *fault) {
	if responderID().MatchString(s) {
		return s, nil
	}
	return "", &fault{quote(s) + " is no Slack id",
		"write a user's id (U… or W…: Copy member ID in the profile's menu) or a user group's (S…); names can be changed by anybody who bears them"}
}

func parseRegion(s string) (string, *fault) {
	if regionName().MatchString(s) {
		return s, nil
	}
	return "", &fault{quote(s) + " is no AWS region", `write its short name, as "eu-central-1"`}
}

func parseTopic(s string) (string, *fault) {
	switch {
	case !topicARN().MatchString(s):
		return "", &fault{quote(s) + " is no SNS topic's ARN", `it looks like "arn:aws:sns:eu-central-1:111122223333:NAME"`}
	case strings.HasSuffix(s, ".fifo"):
		// Publish to a FIFO topic needs a MessageGroupId.
		return "", &fault{quote(s) + " is a FIFO topic, which takes no plain messages", "name a standard topic"}
	}
	return s, nil
}

func parseMachine(s string) (string, *fault) {
	if machineARN().MatchString(s) {
		return s, nil
	}
	return "", &fault{quote(s) + " is no state machine's ARN", `it looks like "arn:aws:states:eu-central-1:111122223333:stateMachine:NAME", without a version or alias`}
}

// parseRunTimeout takes a time within which a run has to end.
func parseRunTimeout(s string) (time.Duration, *fault) {
	span, f := parseSpan(s)
	if f == nil && span == 0 {
		return 0, &fault{"a run can't be waited for for ever", fmt.Sprintf("write whole minutes or hours from 5m to %dh", maxIntervalHours)}
	}
	return span, f
}

// parseInterval takes whole hours, as 6h, or never, which is 0.
func parseInterval(s string) (time.Duration, *fault) {
	if s == "never" {
		return 0, nil
	}
	hours, isHours := strings.CutSuffix(s, "h")
	n, err := strconv.ParseUint(hours, 10, 16)
	if !isHours || err != nil || n < 1 || n > maxIntervalHours || hours[0] == '0' {
		return 0, &fault{quote(s) + " is no interval", fmt.Sprintf("write whole hours from 1h to %dh, or never", maxIntervalHours)}
	}
	return time.Duration(n) * time.Hour, nil
}

// parseSpan takes whole minutes or hours, as 30m or 4h, or never, which is 0.
func parseSpan(s string) (time.Duration, *fault) {
	if s == "never" {
		return 0, nil
	}
	unit := time.Hour
	number, isHours := strings.CutSuffix(s, "h")
	if !isHours {
		unit = time.Minute
		number, isHours = strings.CutSuffix(s, "m")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	span := time.Duration(n) * unit
	if !isHours || err != nil || span < minSpan || span > maxIntervalHours*time.Hour || number[0] == '0' {
		return 0, &fault{quote(s) + " is no time", fmt.Sprintf("write whole minutes or hours from 5m to %dh, or never", maxIntervalHours)}
	}
	return span, nil
}

// parseApprovals takes how many people must approve.
func parseApprovals(s string) (int, *fault) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n > maxApprovals {
		return 0, &fault{quote(s) + " is no number of approvals", fmt.Sprintf("write 0 to %d; whoever asks is not counted", maxApprovals)}
	}
	return int(n), nil
}

// parseTarget takes a channel or a user.
func parseTarget(s string) (string, *fault) {
	if userID().MatchString(s) {
		return s, nil
	}
	if _, f := parseChannel(s); f != nil {
		return "", &fault{quote(s) + " is neither a channel nor a user", "write a channel's id (C…, G…) or name (\"#name\"), or a user's id (U…, W…)"}
	}
	return s, nil
}

func parseUser(s string) (string, *fault) {
	if userID().MatchString(s) {
		return s, nil
	}
	return "", &fault{quote(s) + " is no Slack user's id", "write U… or W… (Copy member ID in the profile's menu)"}
}

// parseCount takes a number of fixes, or never, which is 0.
func parseCount(s string) (int, *fault) {
	if s == "never" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > maxBreakerFixes {
		return 0, &fault{quote(s) + " is no number of fixes", fmt.Sprintf("write 1 to %d, or never", maxBreakerFixes)}
	}
	return int(n), nil
}

// parseMessages takes a number of messages, or never, which is 0.
func parseMessages(s string) (int, *fault) {
	if s == "never" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > maxMessages {
		return 0, &fault{quote(s) + " is no number of messages", fmt.Sprintf("write 1 to %d, or never", maxMessages)}
	}
	return int(n), nil
}

func parseMinutes(s string) (time.Duration, *fault) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > maxBreakerMinutes {
		return 0, &fault{quote(s) + " is no number of minutes", fmt.Sprintf("write 1 to %d", maxBreakerMinutes)}
	}
	return time.Duration(n) * time.Minute, nil
}

func parsePlaybook(s string) (string, *fault) {
	if playbookID().MatchString(s) {
		return s, nil
	}
	return "", &fault{quote(s) + " is no playbook id", "`secbot playbooks` lists them"}
}

func parseGlob(s string) (string, *fault) {
	if s == "" {
		return "", &fault{"the pattern is empty", `write text, in which * is any run of characters and ? any one; "*" is everything`}
	}
	return parseLine(s)
}

// parseLine takes one line of plain text.
func parseLine(s string) (string, *fault) {
	switch {
	case s == "" || len(s) > maxText:
		return "", &fault{"the text is empty or too long", fmt.Sprintf("write 1 to %d bytes", maxText)}
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", &fault{quote(s) + " has line ends or control characters in it", "write one plain line"}
	}
	return s, nil
}

// parseOneOf takes one of a fixed list of words.
func parseOneOf[T ~string](noun string, words []T) func(string) (T, *fault) {
	return func(s string) (T, *fault) {
		if slices.Contains(words, T(s)) {
			return T(s), nil
		}
		return "", &fault{quote(s) + " is no " + noun, choose(s, words)}
	}
}

// parseSeverities takes a severity, or ">= high" for it and all above.
func parseSeverities(s string) ([]Severity, *fault) {
	rest, above := strings.CutPrefix(s, ">=")
	v, f := parseOneOf("severity", Severities())(strings.TrimSpace(rest))
	if f != nil {
		f.hint += `, or ">= high" with any of them, in quotes`
		return nil, f
	}
	if above {
		return Severities()[v.Rank():], nil
	}
	return []Severity{v}, nil
}

func parsePorts(s string) (PortRange, *fault) {
	if s == "all" {
		return PortRange{All: true}, nil
	}
	const hint = `write a port (22), a range ("8000-8999"), or all for rules that leave every port open; ports are 0 to 65535`
	if s == "-1" {
		return PortRange{}, &fault{`"-1" is no port`, "did you mean all? Otherwise " + hint}
	}
	if !portText().MatchString(s) {
		return PortRange{}, &fault{quote(s) + " is no port", hint}
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	switch {
	case err1 != nil || err2 != nil:
		return PortRange{}, &fault{quote(s) + " is above 65535", hint}
	case from > to:
		return PortRange{}, &fault{fmt.Sprintf("the range %q runs backwards", s), fmt.Sprintf("did you mean %q?", last+"-"+first)}
	}
	return PortRange{From: int32(from), To: int32(to)}, nil
}
