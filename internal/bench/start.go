package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// starts is how often each program is started, by turns, so that what else the
// machine does meets both.
const starts = 40

// heavy is from where on a package's initialisation is shown.
const heavy = 200 * time.Microsecond

// measureStart is a start of secbot against one of Python that does nothing.
func measureStart(ctx context.Context, b *bench) error {
	secbot, err := b.build(ctx, allCommands)
	if err != nil {
		return err
	}
	var own, python, inits []time.Duration
	packages := map[string][]time.Duration{}
	for range starts {
		r, err := b.once(ctx, nil, secbot, "version")
		if err != nil {
			return err
		}
		p, err := b.once(ctx, nil, "python3", "-c", "pass")
		if err != nil {
			return err
		}
		traced, err := b.once(ctx, []string{"GODEBUG=inittrace=1"}, secbot, "version")
		if err != nil {
			return err
		}
		own, python = append(own, r.took), append(python, p.took)
		total := time.Duration(0)
		for name, took := range initTimes(traced.errOut.Bytes()) {
			packages[name] = append(packages[name], took)
			total += took
		}
		inits = append(inits, total)
	}
	b.report.goals()
	b.report.atMost(fmt.Sprintf("`secbot version` (%s) ÷ `python3 -c pass` (%s)", ms(median(own)), ms(median(python))), ratio(median(own), median(python)), 1, "%.2f")
	b.report.atMost("initialisation of all packages, in ms", median(inits).Seconds()*1000, 5, "%.2f")
	b.initialisations(packages)
	return nil
}

// initialisations lists the packages that take the most.
func (b *bench) initialisations(packages map[string][]time.Duration) {
	fmt.Fprintln(b.report.out)
	b.report.columns("package", "initialised in")
	names := []string{}
	for name, took := range packages {
		if median(took) >= heavy {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return int(median(packages[y]) - median(packages[x])) })
	for _, name := range names {
		b.report.row("`"+name+"`", ms(median(packages[name])))
	}
}

// initTimes reads what the Go runtime tells with GODEBUG=inittrace=1, as
// "init NAME @9.7 ms, 0.63 ms clock, 1536 bytes, 1 allocs".
func initTimes(trace []byte) map[string]time.Duration {
	took := map[string]time.Duration{}
	for line := range strings.Lines(string(trace)) {
		words := strings.Fields(line)
		if len(words) < 6 || words[0] != "init" {
			continue
		}
		if ms, err := strconv.ParseFloat(words[4], 64); err == nil {
			took[words[1]] = time.Duration(ms * float64(time.Millisecond))
		}
	}
	return took
}
