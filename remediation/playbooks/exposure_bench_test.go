package playbooks

import (
	"fmt"
	"testing"

	"secbot/remediation"
)

// BenchmarkExposures rates a group that was made to be hard to rate: half of its
// rules cover the world together, and the others begin and end at ports of their
// own.
func BenchmarkExposures(b *testing.B) {
	for _, n := range []int{60, 250, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules := staggered(n)
			for b.Loop() {
				exposures(rules, nil)
			}
		})
	}
}

func staggered(n int) []remediation.Rule {
	var rules []remediation.Rule
	lo, hi := int32(1), int32(65534)
	bits := 0
	for 1<<(bits+1) <= n/2 {
		bits++
	}
	for i := range 1 << bits {
		rules = append(rules, remediation.Rule{Direction: remediation.Ingress, Protocol: "tcp", FromPort: &lo, ToPort: &hi, CIDR: fmt.Sprintf("%d.%d.0.0/%d", (i<<(16-bits))>>8, (i<<(16-bits))&255, bits)})
	}
	for i := range n - 1<<bits {
		f := int32(2 + i*2)
		to := f + 20000
		rules = append(rules, remediation.Rule{Direction: remediation.Ingress, Protocol: "tcp", FromPort: &f, ToPort: &to, CIDR: fmt.Sprintf("8.%d.%d.0/24", i%256, i/256)})
	}
	return rules
}
