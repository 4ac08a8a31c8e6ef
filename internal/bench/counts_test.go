package main

import (
	"os"
	"strings"
	"testing"
)

// TestWorseCountsFail: of counts as they are written down, one that is a little
// more passes, and one that is a fifth more fails and is named.
func TestWorseCountsFail(t *testing.T) {
	raw, err := os.ReadFile("counts.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseCounts(raw)
	if err != nil || len(want) == 0 {
		t.Fatalf("%v, %v", want, err)
	}
	if string(formatCounts(want)) != string(raw) {
		t.Error("counts.txt is not as it is written")
	}
	for name, values := range want {
		for unit, v := range values {
			with := func(n float64) error {
				got, err := parseCounts(raw)
				if err != nil {
					t.Fatal(err)
				}
				got[name][unit] = n
				return compareCounts(want, got)
			}
			for _, n := range []float64{0, v, v * 1.19} {
				if err := with(n); err != nil {
					t.Errorf("%s with %v instead of %v %s: %v", name, n, v, unit, err)
				}
			}
			if err := with(v*1.21 + 1); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), unit) {
				t.Errorf("%s with a fifth more %s: %v", name, unit, err)
			}
			delete(want[name], unit)
			if err := compareCounts(map[string]map[string]float64{name: {unit: v}}, want); err == nil {
				t.Errorf("nobody misses %s of %s", unit, name)
			}
			want[name][unit] = v
		}
	}
	if err := compareCounts(results{}, want); err == nil {
		t.Error("benchmarks that are not written down pass")
	}
}

// TestCountsOfGoTest: what go test prints is read, and only counts are written down.
func TestCountsOfGoTest(t *testing.T) {
	const out = "goos: linux\nBenchmarkMitigation/memory-2   50   4440112 ns/op   12.00 calls/op   2376 own-p50-ns   1458717 B/op   19428 allocs/op\nBenchmarkPlain   7   1 ns/op   0 B/op   3 allocs/op\nPASS\n"
	all, err := parse(out)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(formatCounts(all)), "Mitigation/memory allocs/op 19428\nMitigation/memory calls/op 12\nPlain allocs/op 3\n"; got != want {
		t.Errorf("counts\n%s\nwant\n%s", got, want)
	}
	for _, bad := range []string{"", "PASS\n", "BenchmarkX 1 fast ns/op\n"} {
		if all, err := parse(bad); err == nil {
			t.Errorf("%q gives %v", bad, all)
		}
	}
}
