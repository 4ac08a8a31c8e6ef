//go:build !lambda

package store

import (
	"secbot/remediation"
	"secbot/remediation/store/bolt"
)

func openFile(path string) (remediation.Store, error) {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return nil, err
	}
	return s, nil
}
