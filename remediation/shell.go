package remediation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxShellName bounds the name of somebody at the shell, in characters.
	maxShellName = 32
	// keepShellReply is how long an answer is kept for the shell.
	keepShellReply = time.Hour
)

// ShellUser is who somebody at the shell of secbot's machine is, as Command.By has
// it: "shell:NAME". name is what the operating system calls them; what does not
// print of it is left out, and it is cut to 32 characters.
func ShellUser(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, name)
	if name == "" {
		name = "unknown"
	}
	if runes := []rune(name); len(runes) > maxShellName {
		name = string(runes[:maxShellName])
	}
	return shellPrefix + name
}

// ShellNotifier keeps the answer to a command of the shell as a record of the
// store: the shell may ask another process than the one that carries it out.
type ShellNotifier struct {
	Store interface {
		Commit(ctx context.Context, w Write) error
	}
	Now func() time.Time // time.Now where nil
}

func shellRecord(command string) string { return "shell/" + command }

// Notify keeps the Reply of an OpReply; ErrUndeliverable for anything else. Kept
// twice is kept once.
func (s *ShellNotifier) Notify(ctx context.Context, n Notice) error {
	command, ok := strings.CutPrefix(n.ID, replyID(Command{}))
	if n.Op != OpReply || !ok {
		return fmt.Errorf("%w: the shell is not told of %q", ErrUndeliverable, n.Op)
	}
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	err := s.Store.Commit(ctx, Write{Records: []*Record{{Key: shellRecord(command), Data: n.Payload, At: now, Until: now.Add(keepShellReply)}}})
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("keep the answer for the shell: %w", err)
	}
	return nil
}

// ShellReply reads the answer to a command of the shell; ErrNotFound where there is
// none yet.
func ShellReply(ctx context.Context, store interface {
	Record(ctx context.Context, key string) (*Record, error)
}, command string) (Reply, error) {
	var r Reply
	rec, err := store.Record(ctx, shellRecord(command))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(rec.Data, &r); err != nil {
		return r, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	return r, nil
}

// Submitted reports whether a command of that id is stored, carried out or not.
func Submitted(ctx context.Context, store interface {
	Job(ctx context.Context, id string) (*Job, error)
}, command string) (bool, error) {
	_, err := store.Job(ctx, jobCommand+"/"+command)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether the command is stored: %w", err)
	}
	return true, nil
}

// CarryOut stores a command of the shell and carries it out at once, in a process
// that does nothing else: no other job is begun, and of the notices that come of it
// only the answer for the shell is delivered; the others wait for Run or Drain, and
// so does what fails for the moment. When it returns nil the answer, where there is
// one, can be read by ShellReply.
func (e *Engine) CarryOut(ctx context.Context, cmd Command) error {
	if err := e.Submit(ctx, cmd); err != nil {
		return err
	}
	job, err := e.o.Store.Job(ctx, jobCommand+"/"+cmd.ID)
	if err != nil {
		return fmt.Errorf("read the command that was stored: %w", err)
	}
	if job.Done {
		return nil // it is the same as one that was carried out
	}
	h, err := e.hold(ctx, job)
	if err != nil {
		return fmt.Errorf("take the command that was stored: %w", err)
	}
	e.work(ctx, h)
	n := e.own.notice(replyID(cmd))
	if n == nil {
		return nil
	}
	if err := e.notify(ctx, n); err != nil {
		return fmt.Errorf("keep the answer: %w", err)
	}
	n.Sent, n.UpdatedAt = true, e.now()
	return e.store(ctx, Write{Notices: []*Notice{n}})
}
