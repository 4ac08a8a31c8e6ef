package bot

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour
	// maxIgnore is the longest an ignore with an end may last.
	maxIgnore = 10 * 365 * day
	// minIgnore is the shortest that makes sense.
	minIgnore = time.Minute
)

// parseDuration reads a time from the beginning of words: "7d", "7 days",
// "1w2d", "forever", "for good" (0). It says how many words it used, or what
// is wrong.
func parseDuration(words []string) (d time.Duration, used int, problem string) {
	if len(words) == 0 {
		return 0, 0, "How long? Say 30m, 12h, 7d, 4w or forever."
	}
	if n := forever(words); n > 0 {
		return 0, n, ""
	}
	text, used := words[0], 1
	if _, err := strconv.Atoi(text); err == nil && len(words) > 1 {
		text, used = text+words[1], 2
	}
	d, ok := sumDuration(strings.ToLower(strings.Trim(text, ",.:;")))
	switch {
	case !ok:
		return 0, 0, fmt.Sprintf("%q is no time: say 30m, 12h, 7d, 4w or forever.", cut(strings.Join(words[:used], " "), 40))
	case d < minIgnore:
		return 0, 0, "A minute is the least."
	case d > maxIgnore:
		return 0, 0, "10 years are the most; say forever if it has no end."
	}
	return d, used, ""
}

// forever says how many words mean "without an end".
func forever(words []string) int {
	w := func(i int) string {
		if i >= len(words) {
			return ""
		}
		return strings.ToLower(strings.Trim(words[i], ",.:;"))
	}
	switch {
	case w(0) == "forever", w(0) == "ever", w(0) == "always", w(0) == "permanently", w(0) == "good":
		return 1
	case w(0) == "for" && (w(1) == "good" || w(1) == "ever"):
		return 2
	}
	return 0
}

// units gives the length of a unit of time.
func units(unit string) time.Duration {
	switch unit {
	case "m", "min", "mins", "minute", "minutes":
		return time.Minute
	case "h", "hr", "hrs", "hour", "hours":
		return time.Hour
	case "d", "day", "days":
		return day
	case "w", "wk", "week", "weeks":
		return 7 * day
	case "y", "year", "years":
		return 365 * day
	}
	return 0
}

var durationPart = regexp.MustCompile(`^(\d{1,9})([a-z]+)`)

// sumDuration reads "1d12h". Too much is math.MaxInt64.
func sumDuration(s string) (time.Duration, bool) {
	var sum time.Duration
	for s != "" {
		m := durationPart.FindStringSubmatch(s)
		if m == nil {
			return 0, false
		}
		unit := units(m[2])
		n, err := strconv.ParseInt(m[1], 10, 64)
		if unit == 0 || err != nil {
			return 0, false
		}
		if n > int64(maxIgnore/unit) {
			return math.MaxInt64, true
		}
		if sum += time.Duration(n) * unit; sum > maxIgnore {
			return math.MaxInt64, true
		}
		s = s[len(m[0]):]
	}
	return sum, sum > 0
}

// durationText says a time for people: "7 days", "for good".
func durationText(d time.Duration) string {
	if d == 0 {
		return "for good"
	}
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{7 * day, "week"}, {day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d%u.of == 0 {
			n := int64(d / u.of)
			if n == 1 {
				return "for 1 " + u.name
			}
			return fmt.Sprintf("for %d %ss", n, u.name)
		}
	}
	return "for " + d.String()
}
