package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"secbot/internal/metrics"
)

// written is what a source writes.
func written(s metrics.Source) string {
	var b strings.Builder
	s.WriteMetrics(&b)
	return b.String()
}

// TestText: names, types, help and values stand as Prometheus reads them.
func TestText(t *testing.T) {
	plain := metrics.NewCounter("refusals_total", "What was refused.")
	labelled := metrics.NewCounter("calls_total", "Calls, by\nresult \\ method.", "method", "result")
	seconds := metrics.NewHistogram("took_seconds", "How long.", []float64{0.5, 1, 10}, "who")
	for name, got := range map[string]string{"labelled": written(labelled), "seconds": written(seconds)} {
		if got != "" {
			t.Errorf("%s has counted nothing and writes %q", name, got)
		}
	}
	if got, want := written(plain), "# HELP refusals_total What was refused.\n# TYPE refusals_total counter\nrefusals_total 0\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	labelled.Inc("get", "ok")
	labelled.Inc("get", "ok")
	labelled.Inc("a\"b\\c\nd{e=\"f\"}\xff", "")
	want := `# HELP calls_total Calls, by\nresult \\ method.
# TYPE calls_total counter
calls_total{method="a\"b\\c\nd{e=\"f\"}�",result=""} 1
calls_total{method="get",result="ok"} 2
`
	if got := written(labelled); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, v := range []float64{0.5, 0.75, 3600} {
		seconds.Observe(v, "x")
	}
	want = `# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{who="x",le="0.5"} 1
took_seconds_bucket{who="x",le="1"} 2
took_seconds_bucket{who="x",le="10"} 2
took_seconds_bucket{who="x",le="+Inf"} 3
took_seconds_sum{who="x"} 3601.25
took_seconds_count{who="x"} 3
`
	if got := written(seconds); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestGauge(t *testing.T) {
	g := metrics.NewGauge("silent_seconds", "Since when.", "source")
	var b strings.Builder
	if g.Write(&b); b.Len() != 0 {
		t.Errorf("without a sample it writes %q", b.String())
	}
	g.Write(&b, metrics.Sample{Value: 1.5, Labels: []string{"config"}}, metrics.Sample{Value: 1e9, Labels: []string{"cloudtrail"}})
	want := `# HELP silent_seconds Since when.
# TYPE silent_seconds gauge
silent_seconds{source="config"} 1.5
silent_seconds{source="cloudtrail"} 1e+09
`
	if got := b.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestHandler: what Prometheus' own client says of a process is still there, every
// line is one of the format, and no name has two heads.
func TestHandler(t *testing.T) {
	c := metrics.NewCounter("refusals_total", "What was refused.")
	w := httptest.NewRecorder()
	metrics.Handler(c).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if got := w.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("the content is %q", got)
	}
	text := w.Body.String()
	for _, name := range []string{"go_goroutines", "go_memstats_alloc_bytes", "process_start_time_seconds", "refusals_total"} {
		if !regexp.MustCompile(`(?m)^` + name + ` `).MatchString(text) {
			t.Errorf("there is no %s", name)
		}
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) .+|[a-z_:][a-z0-9_:]*(\{.*\})? [-+.eE0-9]+|[a-z_:][a-z0-9_:]*(\{.*\})? \+?(Inf|NaN))$`)
	heads := map[string]bool{}
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if !line.MatchString(l) {
			t.Errorf("no line of the format: %q", l)
		}
		if strings.HasPrefix(l, "# TYPE") {
			if heads[l] {
				t.Errorf("twice: %q", l)
			}
			heads[l] = true
		}
	}
}
