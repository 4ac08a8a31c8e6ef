package remediation

import (
	"io"

	"secbot/internal/metrics"
)

// Metrics counts what the engine does. Labels have few values, none from
// outside but the kinds of events that secbot knows.
type Metrics struct {
	signals   *metrics.Counter
	findings  *metrics.Counter
	outcomes  *metrics.Counter
	notices   *metrics.Counter
	refusals  *metrics.Counter
	mitigated *metrics.Histogram
}

// NewMetrics makes the counters.
func NewMetrics() *Metrics {
	return &Metrics{
		signals:  metrics.NewCounter("secbot_signals_total", "Events that were taken in, repeated ones too.", "kind"),
		findings: metrics.NewCounter("secbot_findings_total", "Findings by what the policy decided.", "playbook", "action"),
		outcomes: metrics.NewCounter("secbot_outcomes_total", "Fixes and undos by how they ended.", "playbook", "status"),
		notices:  metrics.NewCounter("secbot_notices_total", "Notices by destination and result.", "to", "result"),
		mitigated: metrics.NewHistogram("secbot_event_to_mitigated_seconds",
			"Time from the change in AWS to the read-back of its fix, where the policy fixes by itself.",
			[]float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600}, "playbook"),
		refusals: metrics.NewCounter("secbot_refusals_total", "Clicks and commands that were refused."),
	}
}

// WriteMetrics implements metrics.Source.
func (m *Metrics) WriteMetrics(w io.Writer) {
	for _, s := range []metrics.Source{m.signals, m.findings, m.outcomes, m.notices, m.refusals, m.mitigated} {
		s.WriteMetrics(w)
	}
}

// found counts what the policy has decided about a finding, once it is stored: an
// event that is taken up again counts once.
func (m *Metrics) found(p Part) {
	m.findings.Inc(p.Finding.Playbook, string(p.Decision.Action))
}

// ended counts a fix or undo that is over.
func (m *Metrics) ended(inc *Incident, r run) {
	m.outcomes.Inc(inc.Finding.Playbook, string(inc.Status))
	m.mitigation(inc, r)
}

// mitigation observes how long the hole was open that secbot has closed by
// itself. What a person decided took as long as the person did.
func (m *Metrics) mitigation(inc *Incident, r run) {
	f := inc.Finding
	if inc.Status == StatusFixed && r.Command == nil && !r.Again && inc.Decision.Action == ActionAuto && !f.At.IsZero() {
		m.mitigated.Observe(max(0, inc.UpdatedAt.Sub(f.At).Seconds()), f.Playbook)
	}
}
