package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"secbot/remediation"
)

// replayLine is what a replay prints about one event. The members named live
// are there only in a replay that looks at AWS.
type replayLine struct {
	File      string        `json:"file"`
	Kind      string        `json:"kind,omitempty"`
	Findings  []findingJSON `json:"findings,omitempty"`
	Skipped   string        `json:"skipped,omitempty"`
	Error     string        `json:"error,omitempty"`
	Live      []liveJSON    `json:"live,omitempty"`
	LiveSafe  string        `json:"live_skipped,omitempty"` // why there is nothing to fix
	LiveError string        `json:"live_error,omitempty"`
}

// liveJSON is a finding of the live state with what the policy says of it.
type liveJSON struct {
	findingJSON
	Action remediation.Action `json:"action"`
	Rule   string             `json:"policy_rule,omitempty"`
	Why    string             `json:"why,omitempty"`
}

func replayLines(ctx context.Context, doc Document, o ReplayOptions) []replayLine {
	if doc.Err != nil {
		return []replayLine{{File: doc.File, Error: doc.Err.Error()}}
	}
	lines := make([]replayLine, 0, len(doc.Results))
	for _, r := range doc.Results {
		line := replayLine{File: doc.File, Kind: r.Kind, Skipped: r.Skipped}
		line.claim(r.Signals, o.Claim)
		if o.Preview != nil {
			line.preview(ctx, r.Signals, o.Preview)
		}
		lines = append(lines, line)
	}
	return lines
}

// claim adds what the playbooks claim from the event alone.
func (l *replayLine) claim(sigs []remediation.Signal, claim func(remediation.Signal) []remediation.Finding) {
	for _, sig := range sigs {
		if sig.ConfigRule != "" {
			l.Skipped = fmt.Sprintf("the name of Config rule %s does not say what it checks: only AWS Config can tell (DescribeConfigRules), which an offline replay does not ask", clip(sig.ConfigRule, maxID))
			continue
		}
		for _, f := range claim(sig) {
			l.Findings = append(l.Findings, newFindingJSON(f))
		}
	}
	switch {
	case len(l.Findings) > 0:
		l.Skipped = ""
	case l.Skipped == "":
		l.Skipped = "the event alone claims nothing: the live state decides (--live)"
	}
}

// preview adds what the live state says and what the policy would do.
func (l *replayLine) preview(ctx context.Context, sigs []remediation.Signal, preview func(context.Context, remediation.Signal) ([]remediation.Part, error)) {
	for _, sig := range sigs {
		parts, err := preview(ctx, sig)
		switch {
		case errors.Is(err, remediation.ErrGone), errors.Is(err, remediation.ErrOtherAccount):
			l.LiveSafe = err.Error()
		case err != nil:
			l.LiveError = err.Error()
		case len(parts) == 0:
			l.LiveSafe = "the live state is safe"
		}
		for _, p := range parts {
			l.Live = append(l.Live, liveJSON{newFindingJSON(p.Finding), p.Decision.Action, p.Decision.Rule, p.Decision.Why})
		}
	}
}

func (l replayLine) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, l)
	}
	_, err := io.WriteString(w, l.text())
	return err
}

// text gives the line for people: one for each finding, one for each thing to
// say beside them.
func (l replayLine) text() string {
	head := Printable(l.File) + ": "
	if l.Kind != "" {
		head += Printable(l.Kind) + ": "
	}
	var b strings.Builder
	say := func(prefix, s string) {
		if s != "" {
			b.WriteString(head + prefix + Printable(s) + "\n")
		}
	}
	for _, f := range l.Findings {
		say("", f.text())
	}
	say("skipped: ", l.Skipped)
	say("error: ", l.Error)
	for _, f := range l.Live {
		say("live: the policy says ", fmt.Sprintf("%s (%s): %s", f.Action, f.Rule, f.text()))
	}
	say("live: ", l.LiveSafe)
	say("live: error: ", l.LiveError)
	return b.String()
}

// Printable replaces what could steer a terminal, or turn text around in it, by
// U+FFFD: control and format characters, tabs and line ends too.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
