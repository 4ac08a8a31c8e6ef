package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// results are the values of Go benchmarks by unit, by the benchmark's name without
// "Benchmark".
type results map[string]map[string]float64

// goBenchmarks runs the benchmarks of a package whose names match a pattern, each
// so many times.
func goBenchmarks(ctx context.Context, pkg, pattern, benchtime string) (results, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", benchtime, "-timeout", "10m", pkg) //nolint:gosec // all of it is written down here
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s %s: %w\n%s", pattern, pkg, err, out)
	}
	return parse(string(out))
}

// parse reads what go test prints: "BenchmarkX/y-2 100 5.3 ns/op 3 allocs/op".
func parse(out string) (results, error) {
	all := results{}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("go test prints %q: %w", line, err)
			}
			values[words[i+1]] = v
		}
		all[benchmarkName(words[0])] = values
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("go test has run no benchmark:\n%s", out)
	}
	return all, nil
}

// benchmarkName cuts "Benchmark" and the number of processors off.
func benchmarkName(s string) string {
	s = strings.TrimPrefix(s, "Benchmark")
	if cut := strings.LastIndexByte(s, '-'); cut > 0 {
		if _, err := strconv.Atoi(s[cut+1:]); err == nil {
			return s[:cut]
		}
	}
	return s
}
