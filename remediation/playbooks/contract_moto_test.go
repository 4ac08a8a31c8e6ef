//go:build moto

package playbooks_test

import (
	"testing"

	"secbot/internal/mototest"
)

// motoAccount is the account that moto stands for.
const motoAccount = "123456789012"

// TestContractMoto runs the contract suite against moto, whose EC2 and S3 are
// written by others. moto never calls a policy public and enforces neither
// Block Public Access nor object ownership.
func TestContractMoto(t *testing.T) {
	b := backend{url: mototest.Start(t), account: motoAccount}
	t.Run("readers", func(t *testing.T) { runReaders(t, b) })
	runContract(t, b)
}
