package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"secbot/bot"
	"secbot/internal/awsenv"
	"secbot/internal/operator"
	"secbot/remediation"
	"secbot/remediation/store"
)

const (
	// shellPatience is how long the shell waits for what becomes of a command.
	shellPatience = 2 * time.Minute
	// askServerEvery and askTableEvery are how often it asks meanwhile.
	askServerEvery = 100 * time.Millisecond
	askTableEvery  = time.Second
)

// The groups in which help lists the commands.
const (
	groupSlack = "slack" // what can be typed in Slack too
	groupHere  = "here"
)

// withShell adds the commands that can be typed in Slack to those of this machine.
// What is there under the same name stays, and help is cobra's own.
func withShell(p *process, root *cobra.Command) *cobra.Command {
	root.AddGroup(&cobra.Group{ID: groupSlack, Title: "As in Slack, by the running server or else the store:"}, &cobra.Group{ID: groupHere, Title: "Of this machine:"})
	root.SetHelpCommandGroupID(groupHere)
	root.SetCompletionCommandGroupID(groupHere)
	for _, c := range root.Commands() {
		c.GroupID = groupHere
	}
	for _, spec := range bot.Commands() {
		i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == spec.Name })
		switch {
		case i >= 0:
			root.Commands()[i].GroupID = groupSlack
		case spec.Name != "help":
			root.AddCommand(saidCommand(p, spec))
		}
	}
	return root
}

// saidCommand is a command of Slack's at the shell.
func saidCommand(p *process, spec bot.CommandSpec) *cobra.Command {
	c := command(strings.TrimSpace(spec.Name+" "+spec.Usage), spec.Help, understood(spec.Name), func(ctx context.Context, args []string) error {
		return p.ask(ctx, operator.Request{Name: "say", Words: words(spec.Name, args), User: p.user()})
	})
	c.GroupID = groupSlack
	c.Flags().SetInterspersed(false) // a reason may begin a word with a hyphen
	return c
}

// specOf is a command's line in the table of Slack's.
func specOf(name string) bot.CommandSpec {
	all := bot.Commands()
	return all[slices.IndexFunc(all, func(c bot.CommandSpec) bool { return c.Name == name })]
}

func words(name string, args []string) string {
	return strings.Join(append([]string{name}, args...), " ")
}

// understood refuses what the same command would not understand in Slack.
func understood(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		_, err := bot.ParseCommand(words(name, args))
		var usage *bot.UsageError
		if errors.As(err, &usage) && usage.Example != "" {
			return &bot.UsageError{Problem: usage.Problem, Example: "secbot " + usage.Example}
		}
		return err
	}
}

func runbookCommand(p *process) *cobra.Command {
	spec := specOf("runbook")
	return command(spec.Name+" "+spec.Usage, spec.Help, understood(spec.Name), func(ctx context.Context, args []string) error {
		said, err := (&bot.Handler{}).Say(ctx, bot.Typed{Text: words(spec.Name, args)}) // the pages are in the program
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(p.out, said.Text)
		return err
	})
}

// user is what the operating system calls whoever runs this.
func (p *process) user() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid-" + strconv.Itoa(os.Getuid()) // containers have users without a name
}

// asking puts a request to whoever answers.
type asking func(ctx context.Context, req operator.Request) error

// ask answers a shell command: by the running server, else from the store itself.
func (p *process) ask(ctx context.Context, req operator.Request) error {
	if req.Command == "" {
		req.Command = rand.Text() // whoever is asked, and however often: it is one command
	}
	path, ok := store.Path(p.settings.Store)
	if ok {
		server := func(ctx context.Context, req operator.Request) error {
			err := operator.Ask(ctx, path+".sock", req, p.out)
			var broken *operator.BrokenError
			if errors.As(err, &broken) && ctx.Err() == nil {
				return operator.Ask(ctx, path+".sock", req, p.out)
			}
			return err
		}
		err := p.await(ctx, req, server, askServerEvery)
		if !errors.Is(err, operator.ErrNoServer) {
			return err
		}
	}
	if err := p.haveStore(); err != nil {
		return err
	}
	d, end, err := p.desk(ctx, req)
	if err != nil {
		return err
	}
	itself := func(ctx context.Context, req operator.Request) error { return d.Answer(ctx, req, p.out) }
	if ok {
		err = p.unserved(itself(ctx, req))
	} else {
		err = p.await(ctx, req, itself, askTableEvery)
	}
	return errors.Join(err, end())
}

// haveStore returns an error where there is neither a store nor a server that could
// carry commands out.
func (p *process) haveStore() error {
	path, ok := store.Path(p.settings.Store)
	if !ok && !store.Shared(p.settings.Store) {
		return fmt.Errorf("SECBOT_STORE is %s: what a server keeps in its memory can't be asked for at the shell", p.settings.Store)
	}
	if !ok {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no store at %s: set SECBOT_STORE, or run secbot where the server runs", path)
	}
	return nil
}

// unserved says what becomes of a command where there is no server, and of its
// notices.
func (p *process) unserved(err error) error {
	var pending *operator.PendingError
	if errors.As(err, &pending) {
		return errors.New("it is stored, but could not be carried out for the moment: `secbot serve` goes on with it")
	}
	return err
}

// await asks, and where the answer comes later again until it is there.
func (p *process) await(ctx context.Context, req operator.Request, ask asking, every time.Duration) error {
	err := ask(ctx, req)
	var pending *operator.PendingError
	if !errors.As(err, &pending) {
		return err
	}
	fmt.Fprint(p.out, pending.Doing)
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	for errors.As(err, &pending) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer yet, and secbot does not wait for it any longer: the command is stored and will be carried out; `secbot incidents` shows what comes of it (%w)", ctx.Err())
		case <-time.After(every):
		}
		err = ask(ctx, operator.Request{Name: "answer", Command: pending.Command})
	}
	if errors.Is(err, operator.ErrNoServer) {
		return errors.New("the server has ended before it answered: the command is stored and is carried out when it runs again")
	}
	return err
}

// desk answers from the store itself.
func (p *process) desk(ctx context.Context, req operator.Request) (d *operator.Desk, end func() error, err error) {
	if req.Name != "say" && req.Name != "fix found" {
		st, err := store.Open(p.settings.Store, func() (aws.Config, error) {
			cfg, _, err := awsenv.LoadConfig(ctx)
			return cfg, err
		})
		if err != nil {
			return nil, nil, err
		}
		return &operator.Desk{Store: st}, st.Close, nil
	}
	a, err := newApp(ctx, p.settings, p.log, forShell)
	if err != nil {
		return nil, nil, err
	}
	a.told = p.errOut
	return a.desk(), a.store.Close, nil
}

// desk answers shell commands.
func (a *app) desk() *operator.Desk { return &operator.Desk{Store: a.store, Bot: a.bot} }

// carryOut does a command of the shell where no server runs.
func (a *app) carryOut(ctx context.Context, cmd remediation.Command) error {
	fmt.Fprintln(a.told, "No server runs, so that secbot does this by itself; what Slack is to be told waits for `secbot serve`.")
	return a.engine.CarryOut(ctx, cmd)
}
