// Package store opens the remediation.Store that a URL names.
package store

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"secbot/remediation"
	"secbot/remediation/store/dynamo"
	"secbot/remediation/store/memory"
)

const (
	schemeBolt   = "bolt://"
	schemeMemory = "memory://"
	schemeDynamo = "dynamodb://"
)

// ErrURL says that a URL names no store.
var ErrURL = errors.New(`not a store's URL; use "bolt://PATH" for a file (bolt://secbot.db, bolt:///var/lib/secbot.db), "dynamodb://TABLE" for a table, or "memory://"`)

// Open opens the store that a URL names:
//
//   - bolt://PATH is the file at PATH, which is taken as it stands, relative to
//     the working directory unless it begins with a slash. See bolt.Open for
//     its errors; another process that has it open is waited for one second.
//   - memory:// forgets everything when the process ends.
//   - dynamodb://TABLE is a DynamoDB table of the account and region that
//     config gives, and dynamodb://TABLE?bucket=NAME has an S3 bucket for rows
//     that DynamoDB doesn't take. Opening calls nobody. config is called for
//     these alone.
//
// It returns ErrURL for everything else.
func Open(where string, config func() (aws.Config, error)) (remediation.Store, error) {
	if path, ok := Path(where); ok {
		return openFile(path)
	}
	if where == schemeMemory {
		return memory.New(), nil
	}
	if o, ok := table(where); ok {
		cfg, err := config()
		if err != nil {
			return nil, err
		}
		return dynamo.New(cfg, o), nil
	}
	return nil, fmt.Errorf("%q: %w", where, ErrURL)
}

// Actions are the IAM actions that the store of a URL needs; none where it is not
// in AWS.
func Actions(url string) []string {
	o, ok := table(url)
	if !ok {
		return nil
	}
	return dynamo.Actions(o)
}

// Shared reports whether several processes may use the store of that URL at the
// same time.
func Shared(url string) bool { return strings.HasPrefix(url, schemeDynamo) }

// table reads dynamodb://TABLE?bucket=NAME.
func table(raw string) (dynamo.Options, bool) {
	u, err := url.Parse(raw)
	if err != nil || !strings.HasPrefix(raw, schemeDynamo) || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return dynamo.Options{}, false
	}
	for key := range u.Query() {
		if key != "bucket" {
			return dynamo.Options{}, false
		}
	}
	return dynamo.Options{Table: u.Host, Bucket: u.Query().Get("bucket")}, true
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
