package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Control is what people have set while secbot runs: the kill switch, and modes
// that take the place of the file's. It is kept in the store, so that every
// process knows it.
type Control struct {
	Paused *Pause          `json:"paused,omitempty"` // nil while secbot fixes
	Modes  map[string]Mode `json:"modes,omitempty"`  // by "all", a playbook's id or an account's
}

// Pause is the kill switch: nothing is fixed while it is on, neither by itself nor
// by a click. An undo still is possible, since it takes back what secbot did.
type Pause struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// AllTargets is what a mode is set for that holds everywhere.
const AllTargets = "all"

// controlRecord is the key of the record that holds the Control.
const controlRecord = "control"

// ReadControl reads what people have set; the zero Control where they have set
// nothing.
func ReadControl(ctx context.Context, store interface {
	Record(ctx context.Context, key string) (*Record, error)
}) (Control, error) {
	rec, err := store.Record(ctx, controlRecord)
	if errors.Is(err, ErrNotFound) {
		return Control{}, nil
	}
	if err != nil {
		return Control{}, fmt.Errorf("read whether secbot is paused: %w", err)
	}
	return rec.control()
}

// control is what the record says; the zero Control where there is none.
func (r *Record) control() (c Control, err error) {
	if r == nil {
		return c, nil
	}
	if err := json.Unmarshal(r.Data, &c); err != nil {
		return c, fmt.Errorf("decode %s: %w", controlRecord, err)
	}
	return c, nil
}

// ModeFor is the mode that holds for a playbook and an account: the strictest of
// those that are set for one of them, else the one for all, else the file's.
func (c Control) ModeFor(file Mode, playbook, account string) Mode {
	mode, set := ModeAuto, false
	for _, target := range []string{playbook, account} {
		if m, ok := c.Modes[target]; ok && target != "" {
			mode, set = strictest(mode, m), true
		}
	}
	if set {
		return mode
	}
	if m, ok := c.Modes[AllTargets]; ok {
		return m
	}
	return file
}

// strictest is the mode that lets less be done. One that nobody knows lets nothing
// be done unasked.
func strictest(a, b Mode) Mode {
	rank := func(m Mode) int {
		if i := slices.Index(Modes(), m); i >= 0 {
			return i
		}
		return slices.Index(Modes(), ModeAsk)
	}
	if rank(b) < rank(a) {
		return b
	}
	return a
}

// Decide says what becomes of f by the policy and by what people have set. It is
// Config.Decide where they have set nothing. Where that can't be read nothing is
// decided yet: the error is to be tried again.
func (e *Engine) Decide(ctx context.Context, f Finding) ([]Part, error) {
	control, err := ReadControl(ctx, e.o.Store)
	if err != nil {
		return nil, err
	}
	return e.decideUnder(control, f), nil
}

func (e *Engine) decideUnder(control Control, f Finding) []Part {
	config := *e.o.Config
	config.Mode = control.ModeFor(config.Mode, f.Playbook, f.Resource.Account)
	parts := config.Decide(f)
	if control.Paused != nil {
		for i := range parts {
			d := parts[i].Decision.AtMost(ActionAsk, control.Paused.why())
			if d.Action == ActionAsk {
				d.Paused = control.Paused.By
			}
			d.Respond = false
			parts[i].Decision = d
		}
	}
	return parts
}

// why says in words that secbot is paused.
func (p *Pause) why() string {
	s := fmt.Sprintf("secbot is paused since %s by %s", p.At.Format(stampFormat), p.By)
	if p.Reason != "" {
		s += " (" + p.Reason + ")"
	}
	return s
}

// mayChange returns a *RefusedError while secbot may change nothing about a
// finding: in mode observe, or, unless it takes back a fix, while it is paused.
func (e *Engine) mayChange(ctx context.Context, f Finding, v Verb) error {
	control, err := ReadControl(ctx, e.o.Store)
	if err != nil {
		return err
	}
	if control.ModeFor(e.o.Config.Mode, f.Playbook, f.Resource.Account) == ModeObserve {
		return &RefusedError{Text: "secbot is in mode observe here, in which it changes nothing, so nothing was changed. A responder can set it: /secbot mode ask."}
	}
	if control.Paused != nil && v != VerbUndo {
		return &RefusedError{Text: upperFirst(control.Paused.why()) + ", so nothing was changed. A responder can end that: /secbot resume.", People: []string{control.Paused.By}}
	}
	return nil
}

// setControl changes what people have set, and says so in the channel.
func (e *Engine) setControl(ctx context.Context, h *held, cmd Command) error {
	if err := e.authorise(ctx, cmd, nil); err != nil {
		return e.refuse(ctx, h, cmd, err)
	}
	for try := 1; ; try++ {
		c := &change{e: e, now: e.now()}
		said, err := c.control(ctx, cmd)
		if err != nil {
			return e.refuse(ctx, h, cmd, err)
		}
		c.reply(cmd, Reply{Text: said})
		if c.err != nil {
			return c.err
		}
		if err := h.commit(ctx, c.w, true); !errors.Is(err, ErrConflict) || try == maxConflicts {
			return err
		}
	}
}

// control does what a command sets, and says what holds now.
func (c *change) control(ctx context.Context, cmd Command) (said string, err error) {
	rec, err := c.e.o.Store.Record(ctx, controlRecord)
	if errors.Is(err, ErrNotFound) {
		rec, err = &Record{Key: controlRecord}, nil
	}
	if err != nil {
		return "", fmt.Errorf("read whether secbot is paused: %w", err)
	}
	var is Control
	if len(rec.Data) > 0 {
		if err := json.Unmarshal(rec.Data, &is); err != nil {
			return "", fmt.Errorf("decode %s: %w", controlRecord, err)
		}
	}
	title, what := "", ""
	switch cmd.Verb {
	case VerbPause:
		if is.Paused != nil {
			return "", &RefusedError{Text: "Nothing was changed, the reason neither: " + strings.Replace(is.Paused.why(), "is paused", "is paused already,", 1) + ".", People: []string{is.Paused.By}}
		}
		is.Paused = &Pause{By: cmd.By, At: c.now, Reason: cmd.Reason}
		title, said, what = "Paused: secbot fixes nothing", "Paused. Nothing is fixed until somebody resumes; findings are still told, and fixes can be undone.", "paused"
	case VerbResume:
		if is.Paused == nil {
			return "", &RefusedError{Text: "secbot is not paused."}
		}
		is.Paused = nil
		title, said, what = "Resumed: secbot fixes again", "Resumed. secbot fixes again what the policy and the mode say.", "resumed"
	case VerbMode:
		if said, err = is.set(cmd, c.e.o.Config.Mode); err != nil {
			return "", err
		}
		title, what = "Mode: "+said, "set the mode: "+said
		said = "The mode is now " + said + "."
	}
	if rec.Data, err = json.Marshal(is); err != nil {
		return "", fmt.Errorf("encode %s: %w", controlRecord, err)
	}
	rec.At = c.now
	c.w.Records = append(c.w.Records, rec)
	if err := c.auditOwn(ctx, cmd.By, what, cmd.Reason, is); err != nil {
		return "", err
	}
	text := cmd.Reason
	if cmd.Verb == VerbPause {
		text = joinText(" ", asSentence(text), "Findings are still told, and fixes can be undone. To end it: /secbot resume")
	}
	c.alert("control/"+cmd.ID, Alert{Title: title, Text: text, By: cmd.By})
	return said, nil
}

// set sets the mode that a command names, as "MODE TARGET" in its scope.
func (c *Control) set(cmd Command, file Mode) (said string, err error) {
	mode, target, _ := strings.Cut(cmd.Scope, " ")
	if target == "" {
		target = AllTargets
	}
	if mode == "file" {
		delete(c.Modes, target)
		return fmt.Sprintf("as the file says (%s) for %s", file, target), nil
	}
	if !slices.Contains(Modes(), Mode(mode)) {
		return "", &RefusedError{Text: fmt.Sprintf("There is no mode %q: it is observe, ask, auto, or file for what secbot.yaml says. Nothing was changed.", mode)}
	}
	if c.Modes == nil {
		c.Modes = map[string]Mode{}
	}
	if len(c.Modes) >= maxModes && c.Modes[target] == "" {
		return "", &RefusedError{Text: fmt.Sprintf("There are %d modes already; take one back first (/secbot mode file TARGET). Nothing was changed.", maxModes)}
	}
	c.Modes[target] = Mode(mode)
	return fmt.Sprintf("%s for %s", mode, target), nil
}

// maxModes bounds how many targets have a mode of their own.
const maxModes = 200

// asSentence ends a reason with a full stop; empty stays empty.
func asSentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}
