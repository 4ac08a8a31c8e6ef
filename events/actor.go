package events

import (
	"strings"

	"secbot/remediation"
)

const (
	// maxUserAgent is where CloudTrail itself cuts user agents.
	maxUserAgent = 1024
	maxARN       = 2048
)

// identity is CloudTrail's userIdentity; "CloudTrail userIdentity element" in
// the AWS CloudTrail User Guide.
type identity struct {
	Type           text    `json:"type"`
	ARN            text    `json:"arn"`
	UserName       text    `json:"userName"`
	PrincipalID    text    `json:"principalId"`
	AccountID      account `json:"accountId"`
	InvokedBy      text    `json:"invokedBy"`
	SessionContext struct {
		SessionIssuer struct {
			ARN text `json:"arn"`
		} `json:"sessionIssuer"`
	} `json:"sessionContext"`
}

// actor is who made the call. All of it but the account and the ARNs is up to
// the caller.
func actor(r record) remediation.Actor {
	id := r.UserIdentity
	return remediation.Actor{
		Type:      clip(string(id.Type), maxID),
		ARN:       clip(first(id.ARN, id.UserName, id.PrincipalID, id.InvokedBy), maxARN),
		IssuerARN: clip(string(id.SessionContext.SessionIssuer.ARN), maxARN),
		Account:   string(id.AccountID),
		SourceIP:  clip(string(r.SourceIP), maxID),
		UserAgent: clip(string(r.UserAgent), maxUserAgent),
		Via:       via(r),
	}
}

// via names the tool behind a call, for people to read; anybody can forge it.
func via(r record) string {
	const cloudFormation = "cloudformation.amazonaws.com"
	agent := string(r.UserAgent)
	switch {
	case agent == cloudFormation, r.SourceIP == cloudFormation, r.UserIdentity.InvokedBy == cloudFormation:
		return "CloudFormation"
	case strings.Contains(agent, "HashiCorp/1.0 Terraform/"):
		return "Terraform"
	case strings.Contains(agent, "aws-cli/"):
		return "AWS CLI"
	case bool(r.FromConsole), fromConsole(agent):
		return "AWS console"
	}
	return ""
}

// fromConsole knows the user agents that calls of the console have borne over
// the years: the sign-in service, a console's own name, or the browser's.
func fromConsole(agent string) bool {
	for _, part := range []string{"signin.amazonaws.com", "console.amazonaws.com", "console.ec2.amazonaws.com", "S3Console", "EC2Console", "AWSConsole"} {
		if strings.Contains(agent, part) {
			return true
		}
	}
	return strings.HasPrefix(strings.TrimPrefix(agent, "["), "Mozilla/")
}
