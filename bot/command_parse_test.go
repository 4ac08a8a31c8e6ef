package bot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/remediation"
)

func TestParseCommand(t *testing.T) {
	const id = incidentID
	ignore := func(d time.Duration, reason string) Parsed {
		return Parsed{Name: "ignore", Verb: remediation.VerbIgnore, Incident: id, For: d, Reason: reason}
	}
	for text, want := range map[string]Parsed{
		"":                                   {Name: "help"},
		"  HELP ":                            {Name: "help"},
		"scan":                               {Name: "scan", Verb: remediation.VerbScan, Scope: "all"},
		"scan org":                           {Name: "scan", Verb: remediation.VerbScan, Scope: "all org"},
		"scan Org sg":                        {Name: "scan", Verb: remediation.VerbScan, Scope: "sg org"},
		"scan s3 222233334444, 111122223333": {Name: "scan", Verb: remediation.VerbScan, Scope: "s3 222233334444,111122223333"},
		"scan SG":                            {Name: "scan", Verb: remediation.VerbScan, Scope: "sg"},
		"incidents":                          {Name: "incidents"},
		"incidents all":                      {Name: "incidents"},
		"incidents open, fixed":              {Name: "incidents", Filter: Filter{Statuses: []remediation.Status{"open", "fixed"}}},
		"incidents open high 111122223333 sg-rule-added page 2": {Name: "incidents", Filter: Filter{Statuses: []remediation.Status{"open"}, Severities: []remediation.Severity{"high"},
			Accounts: []string{"111122223333"}, Playbooks: []string{"sg-rule-added"}, Page: 2}},
		"ignores":                    {Name: "ignores"},
		"why sg-0123456789abcdef0":   {Name: "why", Verb: remediation.VerbWhy, Scope: "sg-0123456789abcdef0"},
		"pause because of a drill":   {Name: "pause", Verb: remediation.VerbPause, Reason: "of a drill"},
		"pause":                      {Name: "pause", Verb: remediation.VerbPause},
		"resume":                     {Name: "resume", Verb: remediation.VerbResume},
		"mode":                       {Name: "mode"},
		"mode ASK":                   {Name: "mode", Verb: remediation.VerbMode, Scope: "ask all"},
		"mode observe s3-public-acl": {Name: "mode", Verb: remediation.VerbMode, Scope: "observe s3-public-acl"},
		"playbooks":                  {Name: "playbooks"},
		"runbook sg-rule-added":      {Name: "runbook", Playbook: "sg-rule-added"},
		"whoami":                     {Name: "whoami"},
		"show " + id:                 {Name: "show", Incident: id},
		"show `" + id + "`":          {Name: "show", Incident: id},
		"fix 2P1M0K8H":               {Name: "fix", Verb: remediation.VerbFix, Incident: "2P1M0K8H"},
		"undo " + id:                 {Name: "undo", Verb: remediation.VerbUndo, Incident: id},
		"unignore " + id:             {Name: "unignore", Verb: remediation.VerbUnignore, Incident: id},

		"ignore " + id + " for 7d because it is meant so":          ignore(7*day, "it is meant so"),
		"ignore " + id + " 7d it is meant so":                      ignore(7*day, "it is meant so"),
		"ignore " + id + " for 30 minutes, because: x":             ignore(30*time.Minute, "x"),
		"ignore " + id + " for 1w2d because x":                     ignore(9*day, "x"),
		"ignore " + id + " for good because x":                     ignore(0, "x"),
		"ignore " + id + " forever: x":                             ignore(0, "x"),
		"ignore " + id + " for ever because x":                     ignore(0, "x"),
		"ignore " + id + " for 12H because x\x00\ny":               ignore(12*time.Hour, "x y"),
		"ignore " + id + " 4w reason: " + strings.Repeat("é", 600): ignore(28*day, strings.Repeat("é", 499)+"…"),
	} {
		got, err := ParseCommand(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"incdents":                          `Did you mean "incidents"?`,
		"shwo x":                            `Did you mean "show"?`,
		"incidents page":                    "comes its number",
		"incidents page 0":                  "comes its number",
		"incidents opne":                    `Did you mean "open"?`,
		"why":                               "takes the name of a bucket",
		"why a b":                           "takes the name of a bucket",
		"mode asc":                          `Did you mean "ask"?`,
		"mode ask all of it":                "one playbook or one account",
		"runbook":                           "the id of one playbook",
		"resume now":                        "Nothing follows",
		"ignores all":                       "Nothing follows",
		"frobnicate":                        "Commands are scan",
		"scan everything":                   "s3 (buckets)",
		"scan s3 sg":                        "s3 (buckets)",
		"scan 12345":                        "12 digits",
		"scan org 111122223333":             "not both",
		"incidents zzz":                     "there are open, fixing",
		"show":                              "the id of one incident",
		"fix a b":                           "the id of one incident",
		"fix K8H":                           "no incident's id",
		"fix <!channel>":                    "no incident's id",
		"ignore":                            "an id, a time and a reason",
		"ignore " + incidentID:              "How long?",
		"ignore " + incidentID + " because": "is no time",
		"ignore " + incidentID + " for 7d":  "needs a reason",
		"ignore " + incidentID + " for 7d because":               "needs a reason",
		"ignore " + incidentID + " for 11y because x":            "10 years are the most",
		"ignore " + incidentID + " for 999999999w because x":     "10 years are the most",
		"ignore " + incidentID + " for 9999999999999w because x": "is no time",
		"ignore " + incidentID + " for 0m because x":             "is no time",
		"ignore " + incidentID + " for -1d because x":            "is no time",
		strings.Repeat("x", maxCommandText+1):                    "too long",
	} {
		_, err := ParseCommand(text)
		var wrong *UsageError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Problem, says) {
			t.Errorf("%q: %v, want it to say %q", cut(text, 60), err, says)
		}
		if wrong != nil && wrong.Example != "" {
			if _, err := ParseCommand(wrong.Example); err != nil {
				t.Errorf("%q: the example %q is refused: %v", text, wrong.Example, err)
			}
		}
	}
}

// TestParseCommandTakesAnything: no text breaks it, and what it makes of one is
// bounded.
func TestParseCommandTakesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "ignore ", "ignore " + incidentID + " ", "incidents ", "show "}).Draw(t, "start") + rapid.String().Draw(t, "rest")
		p, err := ParseCommand(text)
		var wrong *UsageError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%q: %T", text, err)
		}
		if p.For < 0 || p.For > maxIgnore || len([]rune(p.Reason)) > maxReason || len(p.Incident) > maxIDLength {
			t.Fatalf("%q gives %+v", text, p)
		}
	})
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "for good", time.Hour: "for 1 hour", 24 * time.Hour: "for 1 day", 7 * day: "for 1 week", 9 * day: "for 9 days",
		90 * time.Minute: "for 90 minutes",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestCommandsAreParsed: the table and the parser agree.
func TestCommandsAreParsed(t *testing.T) {
	for _, c := range Commands() {
		text := c.example()
		if p, err := ParseCommand(text); err != nil || p.Name != c.Name {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
		if c.Help == "" {
			t.Errorf("%s has no help", c.Name)
		}
	}
}
