package demo

import (
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// Policy is the company's: the built-in rules, and two approvals for the bucket
// with the payroll. It has neither a weekly report nor scans by itself, which would
// come into a tour on one day of seven, or where its clock is let run over midnight.
func Policy() *remediation.Config {
	c := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.GroupResponders})
	c.Rules = append([]remediation.PolicyRule{{
		Name: "two approvals for the payroll", Match: remediation.Match{Resources: []string{VaultBucket}},
		Then: remediation.ActionAsk, Approvals: 2,
	}}, remediation.BuiltinRules()...)
	c.Report, c.Reconcile = remediation.ReportNever, 0
	c.Accounts = map[string]string{fakeaws.DefaultAccount: "acme-prod"}
	c.People = []remediation.Person{{Actor: "arn:aws:iam::*:user/dana", User: fakeslack.Dana}}
	return c
}
