package remediation

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the engine does. Labels have few values, none from
// outside but the kinds of events that secbot knows.
type Metrics struct {
	signals   *prometheus.CounterVec
	findings  *prometheus.CounterVec
	outcomes  *prometheus.CounterVec
	notices   *prometheus.CounterVec
	refusals  prometheus.Counter
	mitigated *prometheus.HistogramVec
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
		mitigated: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "secbot_event_to_mitigated_seconds",
			Help:    "Time from the change in AWS to the read-back of its fix, where the policy fixes by itself.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600}}, []string{"playbook"}),
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
	return []prometheus.Collector{m.signals, m.findings, m.outcomes, m.notices, m.refusals, m.mitigated}
}

// found counts what the policy has decided about a finding, once it is stored: an
// event that is taken up again counts once.
func (m *Metrics) found(p Part) {
	m.findings.WithLabelValues(p.Finding.Playbook, string(p.Decision.Action)).Inc()
}

// ended counts a fix or undo that is over.
func (m *Metrics) ended(inc *Incident, r run) {
	m.outcomes.WithLabelValues(inc.Finding.Playbook, string(inc.Status)).Inc()
	m.mitigation(inc, r)
}

// mitigation observes how long the hole was open that secbot has closed by
// itself. What a person decided took as long as the person did.
func (m *Metrics) mitigation(inc *Incident, r run) {
	f := inc.Finding
	if inc.Status == StatusFixed && r.Command == nil && !r.Again && inc.Decision.Action == ActionAuto && !f.At.IsZero() {
		m.mitigated.WithLabelValues(f.Playbook).Observe(max(0, inc.UpdatedAt.Sub(f.At).Seconds()))
	}
}
