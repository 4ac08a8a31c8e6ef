// Package metrics counts, and writes what was counted in the text format of
// Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). It is a
// shell around github.com/VictoriaMetrics/metrics, which knows neither labels nor help
// texts. Prometheus' own client would bring protobuf messages and a second reader of
// /proc into every start of the program.
package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	vm "github.com/VictoriaMetrics/metrics"
)

// A Source writes its families of metrics. Of what it has not counted it writes nothing.
type Source interface {
	WriteMetrics(w io.Writer)
}

// family is what is the same for all series of a name.
type family struct {
	name, help, kind string
	labels           []string
}

func (f family) writeHead(w io.Writer) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, helpEscapes().Replace(f.help), f.name, f.kind)
}

// series is the name with labels. That the values are as many as the labels is a
// matter of the program.
func (f family) series(values []string) string {
	if len(values) != len(f.labels) {
		panic(fmt.Sprintf("%s has the labels %q and was given %d values", f.name, f.labels, len(values)))
	}
	if len(values) == 0 {
		return f.name
	}
	var b strings.Builder
	b.WriteString(f.name)
	for i, v := range values {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(f.labels[i] + `="` + valueEscapes().Replace(strings.ToValidUTF8(v, "\uFFFD")) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}

func helpEscapes() *strings.Replacer { return strings.NewReplacer(`\`, `\\`, "\n", `\n`) }

func valueEscapes() *strings.Replacer { return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`) }

// Counter counts by the values of its labels. It may be used by several goroutines.
type Counter struct {
	family
	set *vm.Set
}

// NewCounter makes a counter. One without labels is written as 0 from the beginning.
func NewCounter(name, help string, labels ...string) *Counter {
	c := &Counter{family{name, help, "counter", labels}, vm.NewSet()}
	if len(labels) == 0 {
		c.set.NewCounter(name)
	}
	return c
}

// Inc counts one more. It panics unless there is a value for each label.
func (c *Counter) Inc(values ...string) { c.set.GetOrCreateCounter(c.series(values)).Inc() }

// WriteMetrics implements Source.
func (c *Counter) WriteMetrics(w io.Writer) { c.write(w, c.set) }

// write writes a set, and its head where there is anything in it.
func (f family) write(w io.Writer, set *vm.Set) {
	var b bytes.Buffer
	if set.WritePrometheus(&b); b.Len() > 0 {
		f.writeHead(w)
		_, _ = w.Write(b.Bytes()) // whoever asked has gone when this fails
	}
}

// Histogram counts values by what they are at most, in the unit of its name, and by
// the values of its labels. It may be used by several goroutines.
type Histogram struct {
	family
	bounds []float64
	set    *vm.Set
}

// NewHistogram makes a histogram; bounds rise, and what lies above the last is counted too.
func NewHistogram(name, help string, bounds []float64, labels ...string) *Histogram {
	return &Histogram{family{name, help, "histogram", labels}, bounds, vm.NewSet()}
}

// Observe counts a value; one below 0 is none. It panics unless there is a value for
// each label.
func (h *Histogram) Observe(v float64, values ...string) {
	h.set.GetOrCreatePrometheusHistogramExt(h.series(values), h.bounds).Update(v)
}

// WriteMetrics implements Source.
func (h *Histogram) WriteMetrics(w io.Writer) { h.write(w, h.set) }

// Gauge is a value that is looked up when somebody asks for it.
type Gauge struct{ family }

// NewGauge makes a gauge.
func NewGauge(name, help string, labels ...string) Gauge {
	return Gauge{family{name, help, "gauge", labels}}
}

// Sample is one value of a gauge.
type Sample struct {
	Value  float64
	Labels []string // a value for each label of the gauge
}

// Write writes the samples; nothing where there are none.
func (g Gauge) Write(w io.Writer, samples ...Sample) {
	if len(samples) == 0 {
		return
	}
	g.writeHead(w)
	for _, s := range samples {
		fmt.Fprintf(w, "%s %s\n", g.series(s.Labels), strconv.FormatFloat(s.Value, 'g', -1, 64))
	}
}

// Handler answers with what the sources write, and with what is known of the process
// and of Go's runtime (go_* and process_*).
func Handler(sources ...Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		vm.WriteProcessMetrics(&b)
		for _, s := range sources {
			s.WriteMetrics(&b)
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // the client has gone when this fails
	})
}
