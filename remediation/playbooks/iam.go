package playbooks

import "slices"

// Actions lists the IAM actions that secbot needs, sorted: those that the
// playbooks declare, and those of scans, of AWS Config's rules and of the notice
// of an automatic fix.
func Actions() []string {
	actions := []string{"config:DescribeConfigRules", "sns:Publish"}
	for _, m := range Metas() {
		actions = append(actions, m.Permissions...)
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// PolicyDocument is an IAM policy; "IAM JSON policy element reference".
type PolicyDocument struct {
	Version   string
	Statement []PolicyStatement
}

// PolicyStatement is one statement of an IAM policy.
type PolicyStatement struct {
	Sid, Effect string
	Action      []string
	Resource    []string
}

// IAMPolicy allows the given actions, for secbot's role.
func IAMPolicy(actions []string) PolicyDocument {
	return PolicyDocument{"2012-10-17", []PolicyStatement{{"Secbot", "Allow", actions, []string{"*"}}}}
}

// Allow gives the policy with one statement more.
func (d PolicyDocument) Allow(sid string, actions, on []string) PolicyDocument {
	d.Statement = append(slices.Clip(d.Statement), PolicyStatement{sid, "Allow", actions, on})
	return d
}
