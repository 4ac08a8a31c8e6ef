package playbooks

import "secbot/remediation"

// IntentOf is intentOf, for the tests that see the events of the calls.
func IntentOf(operation string, params any) remediation.Intent { return intentOf(operation, params) }

// Reads is reads.
func Reads(operation string) bool { return reads(operation) }
