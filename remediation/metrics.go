package remediation

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the engine does. Labels have few values, none from
// outside but the kinds of events that secbot knows.
type Metrics struct {
	signals  *prometheus.CounterVec
	findings *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	notices  *prometheus.CounterVec
	refusals prometheus.Counter
}

// NewMetrics makes the counters; they are seen once registered.
func NewMetrics() *Metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "secbot_" + name, Help: help}, labels)
	}
	return &Metrics{
		signals:  vec("signals_total", "Events that were taken in, repeated ones too.", "kind"),
		findings: vec("findings_total", "Findings by what the policy decided.", "playbook", "action"),
		outcomes: vec("outcomes_total", "Fixes and undos by how they ended.", "playbook", "status"),
		notices:  vec("notices_total", "Notices by destination and result.", "to", "result"),
		refusals: prometheus.NewCounter(prometheus.CounterOpts{Name: "secbot_refusals_total", Help: "Clicks and commands that were refused."}),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.signals, m.findings, m.outcomes, m.notices, m.refusals}
}
