// Package infra holds the CloudFormation templates of secbot, so that the program
// can bring itself up.
package infra

import _ "embed"

var (
	//go:embed hub.yaml
	hub string
	//go:embed member.yaml
	member string
)

// Hub gives the template of where secbot runs: queue, functions, table, secret,
// alarms and the bus to which members send.
func Hub() string { return hub }

// Member gives the template of an account, or another region, that sends its events
// to the hub and lets it in.
func Member() string { return member }
