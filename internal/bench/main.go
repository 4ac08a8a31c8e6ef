// Command bench measures what docs/performance.md says of secbot: in one run each
// figure, and what it is compared with. It prints tables in Markdown. It is run in
// the root of the repository and builds what it measures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// point is one question, and what answers it.
type point struct {
	name, title string
	measure     func(ctx context.Context, b *bench) error
}

// points are all of them, in the order in which they are measured.
func points() []point {
	return []point{
		{"start", "Starting", measureStart},
		{"size", "The Lambda binary", measureSize},
		{"event", "From an event to the call that mitigates", measureEvent},
		{"slack", "Slack's requests", measureSlack},
		{"talk", "Against the talk's handler", measureTalk},
		{"scan", "A scan, with 20 ms added to each call", measureScan},
		{"throughput", "Events a second", measureThroughput},
	}
}

// bench is what the points share.
type bench struct {
	dir       string // a temporary directory, which goes with the run
	node      string // where make has put the packages and scripts of internal/node
	python    string // a Python that has boto3
	moto      string // moto_server
	custodian string // the program of Cloud Custodian; empty: not compared
	prowler   string // the program of Prowler; empty: not compared
	large     bool   // scan 100,000 rules too
	report    *report
	built     map[string]string // by tags, see build
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == bareCommand {
		return serveBare(ctx, os.Stdout)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	node := flags.String("node", ".bin/node", "the `directory` with the packages and scripts of internal/node")
	python := flags.String("python", "", "the Python `program` that has boto3")
	moto := flags.String("moto", "", "the `program` moto_server")
	custodian := flags.String("custodian", "", "the `program` custodian, to compare scans with")
	prowler := flags.String("prowler", "", "the `program` prowler, to compare scans with")
	large := flags.Bool("large", false, "scan 100,000 rules too")
	renew := flags.Bool("renew", false, "with counts: write down what is counted now")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if slices.Equal(flags.Args(), []string{"counts"}) {
		return checkCounts(ctx, *renew)
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "secbot-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for what is built: %w", err)
	}
	b := &bench{dir: dir, built: map[string]string{}, node: *node, python: *python, moto: *moto, large: *large, custodian: *custodian, prowler: *prowler, report: &report{out: os.Stdout}}
	b.report.machine()
	for _, p := range chosen {
		b.report.section(p.title)
		if err := p.measure(ctx, b); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), os.RemoveAll(dir))
		}
	}
	return os.RemoveAll(dir)
}

// choose gives the points that are named, in their order, and all where none is.
func choose(names []string) ([]point, error) {
	var known []string
	for _, p := range points() {
		known = append(known, p.name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is nothing called %q to measure: say counts alone, or some of %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(points(), func(p point) bool { return len(names) > 0 && !slices.Contains(names, p.name) }), nil
}
