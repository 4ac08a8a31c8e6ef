package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the tables that are printed.
type report struct {
	out io.Writer
}

// machine says where the figures come from.
func (r *report) machine() {
	fmt.Fprintf(r.out, "%s, %d cores, %s, %s/%s\n", processor(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// processor is what Linux calls it; elsewhere nobody is asked.
func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}

func (r *report) section(title string) { fmt.Fprintf(r.out, "\n## %s\n\n", title) }

// columns begins a table.
func (r *report) columns(names ...string) {
	r.row(names...)
	r.row(slices.Repeat([]string{"---"}, len(names))...)
}

func (r *report) row(cells ...string) { fmt.Fprintf(r.out, "| %s |\n", strings.Join(cells, " | ")) }

// goals begins a table of figures that are held against a goal.
func (r *report) goals() { r.columns("what", "measured", "goal", "") }

// atMost is a row whose figure should be that or less, atLeast one whose figure
// should be that or more.
func (r *report) atMost(what string, got, goal float64, format string) {
	r.held(what, got, "at most ", goal, format, got <= goal)
}

func (r *report) atLeast(what string, got, goal float64, format string) {
	r.held(what, got, "at least ", goal, format, got >= goal)
}

func (r *report) held(what string, got float64, most string, goal float64, format string, met bool) {
	verdict := "missed"
	if met {
		verdict = "met"
	}
	r.row(what, fmt.Sprintf(format, got), most+fmt.Sprintf(format, goal), verdict)
}

// quantile is the value below which q of them are; of nothing it is zero.
func quantile[T cmp.Ordered](all []T, q float64) T {
	var none T
	if len(all) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median[T cmp.Ordered](all []T) T { return quantile(all, 0.5) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// ratio is how many times b goes into a.
func ratio[T ~int64 | ~float64](a, b T) float64 { return float64(a) / float64(b) }
