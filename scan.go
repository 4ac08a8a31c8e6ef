//go:build !lambda

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"secbot/bot"
	"secbot/docs"
	"secbot/internal/atomicfile"
	"secbot/internal/awsenv"
	"secbot/internal/coverage"
	"secbot/internal/report"
	"secbot/remediation"
	"secbot/remediation/playbooks"
	"secbot/remediation/store/memory"
)

// lastScan stands for the scan that was kept, where --diff names no file.
const lastScan = "the last scan"

type scanOptions struct {
	scope                  remediation.ScanScope
	json, csv, html, sarif bool
	output, failOn, diff   string
	fix, yes               bool
}

func scanCommand(p *process) *cobra.Command {
	var o scanOptions
	var org bool
	var accounts []string
	c := command("scan [s3|sg|all] [org|ACCOUNT …]", "Look for what is open now. Changes nothing without --fix.", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		if org {
			args = append(args, "org")
		}
		var err error
		if o.scope, err = scanScope(append(args, accounts...)); err != nil {
			return &exitError{status: 2, text: "secbot: " + err.Error()}
		}
		return p.scan(ctx, o)
	})
	c.ValidArgs = []string{"s3", "sg", "all", "org"}
	c.Long = c.Short + `

Prints a table, or one of the formats below. The exit status is 0 where everything
could be read; 1 where something could not, or you stopped it; 2 where --fail-on
finds what it looks for, whether or not the rest could be read.

With --fix it shows what Revert would do about each finding, asks on the terminal, and
has the running server revert what was shown, or does it itself where none runs. Then
1 also says that not all of it was reverted.`
	f := c.Flags()
	f.BoolVar(&org, "org", false, "the same as org: every account of the organisation, which are the members of secbot.yaml, else those that AWS Organizations lists")
	f.StringSliceVar(&accounts, "accounts", nil, "the same as their ids alone: these `accounts`, with commas in between")
	f.BoolVar(&o.json, "json", false, "one JSON object a finding")
	f.BoolVar(&o.csv, "csv", false, "a table for spreadsheets")
	f.BoolVar(&o.html, "html", false, "a page with a chart and the runbooks, in one file")
	f.BoolVar(&o.sarif, "sarif", false, "SARIF 2.1.0, for code scanning and other tools")
	f.StringVar(&o.output, "output", "", "write to `FILE`, which is replaced once all is written")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 2 where there is a finding of `SEVERITY` (critical, high, medium or low) or worse that the policy does not ignore")
	f.StringVar(&o.diff, "diff", "", "tell what is new and gone since the last scan, or since --diff=`FILE` that --json has written")
	f.Lookup("diff").NoOptDefVal = lastScan
	f.BoolVar(&o.fix, "fix", false, "show what Revert would do, ask, and revert what was shown")
	f.BoolVar(&o.yes, "yes", false, "with --fix: do not ask")
	return c
}

// scanScope understands the words of a scan as Slack's command does. The error is
// about a wrong command line.
func scanScope(words []string) (remediation.ScanScope, error) {
	parsed, err := bot.ParseCommand("scan " + strings.Join(words, " "))
	if err != nil {
		return remediation.ScanScope{}, err
	}
	return remediation.ParseScanScope(parsed.Scope)
}

// format is the one that was asked for. The error is about a wrong command line.
func (o scanOptions) format() (report.Format, error) {
	asked := []report.Format{}
	for _, f := range []struct {
		is     bool
		format report.Format
	}{{o.json, report.JSON}, {o.csv, report.CSV}, {o.html, report.HTML}, {o.sarif, report.SARIF}} {
		if f.is {
			asked = append(asked, f.format)
		}
	}
	switch len(asked) {
	case 0:
		return report.Table, nil
	case 1:
		return asked[0], nil
	}
	return "", fmt.Errorf("a scan is written in one format at a time: say --%s or --%s, and --output FILE to keep it", asked[0], asked[1])
}

func (o scanOptions) check() (report.Format, error) {
	format, err := o.format()
	if err != nil {
		return "", err
	}
	if s := remediation.Severity(o.failOn); o.failOn != "" && s.Rank() < 0 {
		return "", fmt.Errorf("--fail-on: %q is no severity; say critical, high, medium or low", o.failOn)
	}
	return format, nil
}

// scan writes the report, and tells by the exit status whether it is everything:
// "nothing found" would be a lie where something could not be read.
func (p *process) scan(ctx context.Context, o scanOptions) error {
	format, err := o.check()
	if err == nil {
		err = p.checkFix(o, format)
	}
	if err != nil {
		return &exitError{status: 2, text: "secbot: " + err.Error()}
	}
	if o.fix {
		if err := p.haveStore(); err != nil {
			return err
		}
	}
	s, err := p.newScanning(ctx, o)
	if err != nil {
		return err
	}
	to, err := p.scanOutput(o.output)
	if err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return errors.Join(err, to.drop())
	}
	if err := s.report.Write(to, format, p.tableOptions(to)); err != nil {
		return errors.Join(err, to.drop())
	}
	if err := to.keep(); err != nil {
		return err
	}
	if !format.TellsFailures() {
		for _, f := range s.report.Failures {
			p.log.Error("could not be read", "error", f)
		}
		if changes := s.report.Changes(); changes != "" {
			p.log.Info("compared", "with", s.report.Since.What, "changes", changes)
		}
	}
	if format != report.Table || o.output != "" {
		p.log.Info("scan finished", "resources", s.report.Read, "failures", len(s.report.Failures))
	}
	return s.ended(ctx)
}

// ended fixes, where that was asked for, and gives the exit status, which is that of
// the scan where the two are at odds.
func (s *scanning) ended(ctx context.Context) error {
	err := s.status(remediation.Severity(s.o.failOn))
	if !s.o.fix || s.report.Interrupted {
		return err
	}
	fixErr := s.fix(ctx)
	var exit *exitError
	if fixErr != nil && errors.As(err, &exit) {
		return &exitError{status: exit.status, text: exit.text + "\nsecbot: " + fixErr.Error()}
	}
	return joined(err, fixErr)
}

// scanning is a scan of the shell.
type scanning struct {
	p      *process
	o      scanOptions
	engine *remediation.Engine
	aws    *awsenv.AWS
	// accounts are those to look at; one that is empty is the own one.
	accounts []string
	policy   *remediation.Config
	watch    *coverage.Watch
	given    *report.Earlier // of --diff=FILE
	report   *report.Report
}

func (p *process) newScanning(ctx context.Context, o scanOptions) (*scanning, error) {
	cfg, _, err := awsenv.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	s := &scanning{p: p, o: o, aws: awsenv.New(cfg, p.settings.member())}
	if s.policy, err = p.settings.config(""); err != nil {
		return nil, err
	}
	metas := playbooks.Metas()
	if o.diff != "" && o.diff != lastScan {
		if s.given, err = report.ReadEarlier(o.diff, metas); err != nil {
			return nil, fmt.Errorf("--diff: %w", err)
		}
	}
	s.watch = &coverage.Watch{Provider: s.aws}
	s.engine = remediation.New(remediation.Options{Store: memory.New(), Provider: s.watch, Config: s.policy, Enrich: s.aws.Enrich, Accounts: s.aws.Accounts, Log: p.log})
	s.accounts = []string{""}
	if o.scope.Organisation || len(o.scope.Accounts) > 0 {
		if s.accounts, err = s.engine.AccountsOf(ctx, o.scope); err != nil {
			var refused *remediation.RefusedError
			if errors.As(err, &refused) {
				return nil, errors.New(refused.Text)
			}
			return nil, plainly(err)
		}
	}
	s.report = &report.Report{Scope: o.scope.String(), Metas: metas, Runbook: docs.Runbook, Page: report.Page, Version: mainVersion()}
	return s, nil
}

// run scans, compares, and keeps what was found.
func (s *scanning) run(ctx context.Context) error {
	progress := func() {}
	found := func() {}
	if isTerminal(s.p.errOut) && os.Getenv("TERM") != "dumb" {
		bar := report.StartProgress(s.p.errOut, s.lists(), time.Now)
		s.watch.Changed, found, progress = bar.Changed, bar.Found, bar.Stop
	}
	err := s.read(ctx, found)
	progress()
	if err != nil {
		return err
	}
	report.Sort(s.report.Rows)
	s.compare(context.WithoutCancel(ctx))
	return nil
}

// lists is how many lists the engine begins with: see remediation.Engine.Scan.
func (s *scanning) lists() int {
	groups := max(len(s.policy.Regions), 1) * len(s.accounts)
	switch s.o.scope.What {
	case "s3":
		return 2 * len(s.accounts)
	case "sg":
		return groups
	}
	return 2*len(s.accounts) + groups
}

// accountsAtOnce is how many accounts are read at the same time.
const accountsAtOnce = 4

// read fills the report. That a person stops it is no error.
func (s *scanning) read(ctx context.Context, found func()) error {
	r := s.report
	var mu sync.Mutex
	var decideErr error
	r.Started = time.Now()
	add := func(f remediation.Finding) {
		mu.Lock()
		defer mu.Unlock()
		parts, err := s.engine.Decide(context.WithoutCancel(ctx), f)
		decideErr = errors.Join(decideErr, err)
		for _, part := range parts {
			r.Rows = append(r.Rows, report.Row{Finding: part.Finding, Key: f.Key(), Decision: part.Decision})
		}
		found()
	}
	failed := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			r.Failures = append(r.Failures, failure(err))
		}
	}
	var reading errgroup.Group
	reading.SetLimit(accountsAtOnce)
	for _, account := range s.accounts {
		reading.Go(func() error {
			read, err := s.engine.ScanAccount(ctx, account, s.o.scope.What, add, failed)
			mu.Lock()
			defer mu.Unlock()
			r.Read += read
			return err
		})
	}
	err := reading.Wait()
	r.Finished = time.Now()
	if r.Interrupted = ctx.Err() != nil; r.Interrupted {
		err = nil
	}
	slices.Sort(r.Failures)
	return errors.Join(err, decideErr)
}

// failure says what could not be read, and why.
func failure(err error) string {
	var of *coverage.Error
	var account *remediation.AccountError
	if errors.As(err, &of) && !errors.As(err, &account) { // which names itself
		return of.What + ": " + plainly(of.Err).Error()
	}
	return plainly(err).Error()
}

// knows reports whether the scan can tell how a resource is now. Where more has
// failed than the reads and lists that are known of, it can't tell at all.
func (s *scanning) knows(ref remediation.Ref) bool {
	return len(s.report.Failures) <= s.watch.Counts().Denied && s.watch.Knows(s.report.Account, ref)
}

// compare marks what is new and gone, where that was asked for, and keeps the scan
// for the next. That it can't be kept is no reason to fail.
func (s *scanning) compare(ctx context.Context) {
	warn := func(err error) {
		if err != nil {
			s.p.log.Warn("comparing scans", "error", err)
		}
	}
	if s.report.Read > 0 { // else AWS did not answer before
		id, err := s.aws.Identity(ctx)
		if s.report.Account = id.Account; id.Account == "" {
			warn(fmt.Errorf("the account is not known: %w", plainly(err)))
		}
	}
	path, pathErr := s.keptAt()
	if pathErr != nil {
		warn(pathErr)
	}
	var last *report.Earlier
	if path != "" {
		var err error
		if last, err = report.ReadLast(path); err != nil && (!errors.Is(err, report.ErrNoEarlier) || s.o.diff == lastScan) {
			warn(err)
		}
		warn(s.report.Keep(path, last, s.knows))
	}
	with := s.given
	if s.o.diff == lastScan {
		with = last
	}
	if with != nil {
		s.report.Compare(with, s.knows)
	}
}

// keptAt is where this account's last scan is kept; empty where the account is not
// known.
func (s *scanning) keptAt() (string, error) {
	if s.report.Account == "" {
		return "", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("the scan is not kept for --diff: %w", err)
	}
	return report.LastPath(filepath.Join(dir, "secbot"), os.Getenv("AWS_ENDPOINT_URL"), s.report.Account, scopeName(s.o.scope)), nil
}

// scopeName is a scope in the name of a file, which must not become too long.
func scopeName(scope remediation.ScanScope) string {
	switch {
	case scope.Organisation:
		return scope.What + "-org"
	case len(scope.Accounts) > 0:
		sum := sha256.Sum256([]byte(scope.String()))
		return scope.What + "-" + hex.EncodeToString(sum[:8])
	}
	return scope.What
}

// status gives the exit status and what is said with it.
func (s *scanning) status(failOn remediation.Severity) error {
	r := s.report
	gap := r.Gap()
	if gap != "" {
		gap = strings.TrimSuffix(strings.ToLower(gap[:1])+gap[1:], ".")
		if len(r.Failures) > 0 && r.Read == 0 {
			gap += ": " + r.Failures[0]
		}
	}
	if n := r.AtLeast(failOn); failOn != "" && n > 0 && !r.Interrupted {
		text := fmt.Sprintf("secbot: --fail-on %s: %d found", failOn, n)
		if gap != "" {
			text += "; " + gap
		}
		return &exitError{status: 2, text: text}
	}
	if gap != "" {
		return &exitError{status: 1, text: "secbot: " + gap}
	}
	return nil
}

// output is where the report goes.
type output struct {
	io.Writer
	file *atomicfile.File // nil: standard output
}

// scanOutput opens the file before the scan begins, which may take long.
func (p *process) scanOutput(path string) (*output, error) {
	if path == "" {
		return &output{Writer: p.out}, nil
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	return &output{Writer: f, file: f}, nil
}

func (o *output) keep() error {
	if o.file == nil {
		return nil
	}
	return o.file.Keep()
}

func (o *output) drop() error {
	if o.file == nil {
		return nil
	}
	return o.file.Drop()
}

// pageWidth is how wide the table is where no terminal says it.
const pageWidth = 140

// tableOptions are for the terminal, if it is one. NO_COLOR is no-color.org's.
func (p *process) tableOptions(to *output) report.Options {
	f, ok := p.out.(*os.File)
	if to.file != nil || !ok || !term.IsTerminal(int(f.Fd())) {
		return report.Options{Width: pageWidth}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = pageWidth
	}
	return report.Options{Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: width}
}

// mainVersion is the version that the Go toolchain has recorded.
func mainVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(info.Main.Version, "(devel)")
	}
	return "(devel)"
}
