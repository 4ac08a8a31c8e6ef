package memory_test

import (
	"testing"

	"secbot/remediation"
	"secbot/remediation/store/memory"
	"secbot/remediation/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) remediation.Store { return memory.New() })
}
