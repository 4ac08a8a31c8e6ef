package remediation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Verb is what a person asks of an incident. The verbs of buttons are the
// buttons' action ids.
type Verb string

// The verbs.
const (
	VerbFix      Verb = "fix"               // revert the offender's change
	VerbUndo     Verb = "undo"              // take our fix back
	VerbIgnore   Verb = "ignore"            // leave it, for a time and a reason
	VerbUnignore Verb = "unignore"          // take an ignore back
	VerbRetry    Verb = "retry"             // try a failed fix again
	VerbAllow    Verb = "allow_temporarily" // leave it for a while, then close it
	VerbApprove  Verb = "approve"           // agree to what another has asked for
	VerbDecline  Verb = "decline"           // drop what somebody has asked for
	VerbClaim    Verb = "actor_yes"         // say that the change was one's own
	VerbDisown   Verb = "actor_no"          // say that it was not
	VerbScan     Verb = "scan"              // look for what is open now; Incident is empty
	VerbCancel   Verb = "scan_cancel"       // end a scan early; Incident is empty
	VerbFixAll   Verb = "fix_all"           // revert what Targets names; Incident is empty
	VerbPause    Verb = "pause"             // the kill switch: fix nothing; Incident is empty
	VerbResume   Verb = "resume"            // fix again; Incident is empty
	VerbMode     Verb = "mode"              // set a mode; Incident is empty
	VerbWhy      Verb = "why"               // tell what the policy would do about a resource; Incident is empty
	VerbStats    Verb = "stats"             // send the statistics with their picture; Incident is empty
	VerbReset    Verb = "reset"             // close the circuit breaker again; Incident is empty
	VerbTaskYes  Verb = "task_approve"      // approve what a state machine asks; Scope names it, Incident is empty
	VerbTaskNo   Verb = "task_deny"         // deny it; the same
)

// Verbs lists every verb.
func Verbs() []Verb {
	return []Verb{VerbFix, VerbUndo, VerbIgnore, VerbUnignore, VerbRetry, VerbAllow, VerbApprove, VerbDecline, VerbClaim, VerbDisown, VerbScan, VerbCancel, VerbFixAll, VerbPause, VerbResume, VerbMode, VerbWhy, VerbStats, VerbReset, VerbTaskYes, VerbTaskNo}
}

// changes reports whether the verb has AWS changed.
func (v Verb) changes() bool { return v == VerbFix || v == VerbRetry || v == VerbUndo }

// Command is what a person asked for: a click, a slash command or a shell
// command.
type Command struct {
	ID       string        `json:"id"` // equal for repeated deliveries of the same click
	Verb     Verb          `json:"verb"`
	Incident string        `json:"incident,omitempty"`
	State    *int          `json:"state,omitempty"`   // Incident.State(), or Ask.State, of the message that was clicked; nil where nothing was clicked
	Request  int           `json:"request,omitempty"` // approve, decline: Incident.Requests as the person has seen it; 0 where they have not
	By       string        `json:"by"`                // a Slack user id, or "shell:NAME"
	Reason   string        `json:"reason,omitempty"`
	For      time.Duration `json:"for,omitempty"`     // ignore: how long, 0 is for good; allow: how long, 0 is AllowFor
	Scope    string        `json:"scope,omitempty"`   // scan: as ParseScanScope takes it; reset: the breaker's place, empty for all; ignore: a Scope, empty for ScopeFinding; mode: "MODE TARGET"; why: the resource's id; scan_cancel, fix_all: the scan's id
	Targets  []Target      `json:"targets,omitempty"` // fix_all: what is to be reverted
	Left     []string      `json:"left,omitempty"`    // fix_all: what was asked for besides and is not to be fixed any more, and why, plain; it is told alone
	Quiet    bool          `json:"quiet,omitempty"`   // one of several: of its incident's message only the end is shown
	ReplyTo  ReplyTo       `json:"reply_to"`
}

// Target is an incident as somebody has seen it who decides about several at once.
type Target struct {
	Incident string `json:"incident"`
	State    int    `json:"state"` // Incident.State()
}

// MaxTargets is how many incidents one command may be about.
const MaxTargets = 100

// Directory knows the members of Slack's user groups.
type Directory interface {
	// Member reports whether user (U… or W…) is in group (S…). The answer may
	// be some minutes old.
	Member(ctx context.Context, group, user string) (bool, error)
}

// DeniedError says that somebody may not decide. Its text is meant for them.
type DeniedError struct {
	By        string
	Approvers []string
}

// Error says who may, or how to name somebody.
func (e *DeniedError) Error() string {
	if len(e.Approvers) == 0 {
		return "Nobody may decide this yet, so nothing was changed. Name the people who may: `responders` in secbot.yaml, or SECBOT_RESPONDERS (Slack user or user group ids), and start secbot again."
	}
	return "You are not one of the people who may decide this, so nothing was changed. Ask one of the people who may: " + strings.Join(e.Approvers, ", ") + "."
}

// RefusedError is any other reason why a command was not carried out. Text is
// meant for the person; Err, which may be nil, is for the log.
type RefusedError struct {
	Text   string
	People []string // Slack ids of people named in the text
	Err    error
}

// Error gives the text and the cause.
func (e *RefusedError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + " (" + e.Err.Error() + ")"
}

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

func isRefusal(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

// StaleError says that a click came from a message whose incident has moved on.
type StaleError struct {
	Incident *Incident
}

// Error says where the incident stands now, and what can be done.
func (e *StaleError) Error() string {
	return fmt.Sprintf("That button is out of date: incident %s is %s since. Nothing was changed.%s", e.Incident.ID, e.Incident.Status, e.Incident.Status.wayOn(e.Incident.ID))
}
