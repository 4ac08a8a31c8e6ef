package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// countsFile holds what was counted when it was renewed, a line each: benchmark,
// unit, count. Allocations are rounded to whole ones.
const countsFile = "internal/bench/counts.txt"

// tolerance is how much more than written down is let be: what goroutines that run
// besides allocate, and versions of Go, differ by less.
const tolerance = 1.20

// counted are the benchmarks whose counts are held, with a number of turns that is
// the same each time, since the stand-ins' own share grows with it.
func counted() []struct{ pkg, pattern, turns string } {
	return []struct{ pkg, pattern, turns string }{
		{".", "^BenchmarkMitigation$/^(memory|bolt)$", "50x"},
		{".", "^BenchmarkScan$", "3x"},
		{"./bot", "^BenchmarkCommands$", "2000x"},
		{"./remediation/playbooks", "^BenchmarkExposures$", "20x"},
	}
}

// isCount tells units that are counts from those that depend on the machine.
func isCount(unit string) bool { return unit == "allocs/op" || unit == "calls/op" }

// checkCounts counts and fails where a count has grown; with renew it writes them
// down instead.
func checkCounts(ctx context.Context, renew bool) error {
	got := results{}
	for _, c := range counted() {
		all, err := goBenchmarks(ctx, c.pkg, c.pattern, c.turns)
		if err != nil {
			return err
		}
		for name, values := range all {
			got[name] = values
		}
	}
	if renew {
		return os.WriteFile(countsFile, formatCounts(got), 0o644) //nolint:gosec // a file of the repository
	}
	raw, err := os.ReadFile(filepath.FromSlash(countsFile))
	if err != nil {
		return fmt.Errorf("read what was counted before: %w", err)
	}
	want, err := parseCounts(raw)
	if err != nil {
		return err
	}
	fmt.Printf("%s", formatCounts(got))
	return compareCounts(want, got)
}

// compareCounts says every count that has grown by more than tolerance allows, and
// every benchmark that is on one side alone.
func compareCounts(want, got results) error {
	var errs []error
	for name, values := range want {
		for unit, before := range values {
			now, there := got[name][unit]
			switch {
			case !there:
				errs = append(errs, fmt.Errorf("%s no longer counts %s", name, unit))
			case now > before*tolerance:
				errs = append(errs, fmt.Errorf("%s: %.0f %s, which is %.0f %% more than the %.0f of %s", name, now, unit, 100*(now/before-1), before, countsFile))
			}
		}
	}
	for name := range got {
		if want[name] == nil {
			errs = append(errs, fmt.Errorf("%s is not in %s", name, countsFile))
		}
	}
	if errs == nil {
		return nil
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return fmt.Errorf("%w\nIf that is as it should be, `make bench-counts-renew` writes the new counts down; say why in the commit", errors.Join(errs...))
}

func formatCounts(all results) []byte {
	var lines []string
	for name, values := range all {
		for unit, v := range values {
			if isCount(unit) {
				lines = append(lines, fmt.Sprintf("%s %s %.0f\n", name, unit, v))
			}
		}
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

func parseCounts(raw []byte) (results, error) {
	all := results{}
	for sc := bufio.NewScanner(bytes.NewReader(raw)); sc.Scan(); {
		var name, unit string
		var v float64
		if _, err := fmt.Sscan(sc.Text(), &name, &unit, &v); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", countsFile, sc.Text(), err)
		}
		if all[name] == nil {
			all[name] = map[string]float64{}
		}
		all[name][unit] = v
	}
	return all, nil
}
