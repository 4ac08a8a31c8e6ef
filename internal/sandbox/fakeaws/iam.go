package fakeaws

import (
	"net/http"
	"slices"
)

const iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"

func (a *AWS) iamService() *service {
	ops := map[string]*operation{"SimulatePrincipalPolicy": {run: a.simulate}}
	return &service{
		name: "iam", source: "iam.amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) { return queryOperation(x, ops) },
		write:     writeQuery(iamNamespace),
		fail:      failQuery(iamNamespace),
	}
}

type evaluation struct {
	Action   string `xml:"EvalActionName"`
	Resource string `xml:"EvalResourceName"`
	Decision string `xml:"EvalDecision"`
}

// simulate says what a user's or role's policies allow. They allow it on all
// resources, so those don't matter.
func (a *AWS) simulate(x *exchange) (*result, error) {
	source := x.form.text("PolicySourceArn")
	var who *Caller
	for _, c := range a.callers {
		if c.is(source) {
			who = &c
		}
	}
	if x.caller.is(source) {
		who = &x.caller
	}
	if who == nil {
		return nil, failure(http.StatusNotFound, "NoSuchEntity", source+" cannot be found.")
	}
	on := "*"
	if resources := x.form.at("ResourceArns").at("member").texts(); len(resources) > 0 {
		on = resources[0]
	}
	var all []evaluation
	for _, action := range x.form.at("ActionNames").at("member").texts() {
		e := evaluation{Action: action, Resource: on, Decision: "implicitDeny"}
		if who.Allowed == nil || slices.Contains(who.Allowed, action) {
			e.Decision = "allowed"
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, bad("ValidationError", "ActionNames is missing")
	}
	return &result{body: struct {
		Results   []evaluation `xml:"EvaluationResults>member"`
		Truncated bool         `xml:"IsTruncated"`
	}{all, false}}, nil
}

// is reports whether an ARN is that of the caller's own user or role.
func (c Caller) is(arn string) bool {
	if c.Role != "" {
		return c.RoleARN() == arn
	}
	return !c.Root && c.ARN() == arn
}
