package demo

import (
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// Policy is the company's: the built-in rules, and two approvals for the bucket
// with the payroll. It has no weekly report, which would come on one day of seven.
func Policy() *remediation.Config {
	c := remediation.DefaultConfig().WithDefaults(fakeslack.ChannelSecurity, []string{fakeslack.GroupResponders})
	c.Rules = append([]remediation.PolicyRule{{
		Name: "two approvals for the payroll", Match: remediation.Match{Resources: []string{VaultBucket}},
		Then: remediation.ActionAsk, Approvals: 2,
	}}, remediation.BuiltinRules()...)
	c.Report = remediation.ReportNever
	c.Accounts = map[string]string{fakeaws.DefaultAccount: "acme-prod"}
	c.People = []remediation.Person{{Actor: "arn:aws:iam::*:user/dana", User: fakeslack.Dana}}
	return c
}
