// Package store opens the remediation.Store that a URL names.
package store

import (
	"errors"
	"fmt"
	"strings"

	"secbot/remediation"
	"secbot/remediation/store/bolt"
	"secbot/remediation/store/memory"
)

const (
	schemeBolt   = "bolt://"
	schemeMemory = "memory://"
)

// ErrURL says that a URL names no store.
var ErrURL = errors.New(`not a store's URL; use "bolt://PATH" for a file (bolt://secbot.db, bolt:///var/lib/secbot.db) or "memory://"`)

// Open opens the store that a URL names:
//
//   - bolt://PATH is the file at PATH, which is taken as it stands, relative to
//     the working directory unless it begins with a slash. See bolt.Open for
//     its errors; another process that has it open is waited for one second.
//   - memory:// forgets everything when the process ends.
//
// It returns ErrURL for everything else.
func Open(url string) (remediation.Store, error) {
	if path, ok := Path(url); ok {
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if url == schemeMemory {
		return memory.New(), nil
	}
	return nil, fmt.Errorf("%q: %w", url, ErrURL)
}

// Path gives the path of the file that a store's URL names; "" and false where
// it names none.
func Path(url string) (string, bool) {
	path, ok := strings.CutPrefix(url, schemeBolt)
	if !ok || path == "" {
		return "", false
	}
	return path, true
}
