package fakeaws

import (
	"net/http"
	"strings"
	"time"
)

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// roleLasts is how long AssumeRole says that its credentials last. The stand-in
// takes them for longer.
const roleLasts = time.Hour

func (a *AWS) stsService() *service {
	ops := map[string]*operation{
		"GetCallerIdentity": {run: callerIdentity},
		"AssumeRole":        {run: a.assumeRole},
	}
	return &service{
		name: "sts", source: "sts.amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) { return queryOperation(x, ops) },
		write:     writeQuery(stsNamespace),
		fail:      failQuery(stsNamespace),
	}
}

func callerIdentity(x *exchange) (*result, error) {
	return &result{body: struct {
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string
	}{x.caller.ARN(), x.caller.principalID(), x.caller.Account}}, nil
}

// Trust is whom a role lets in, as far as its trust policy looks at what was sent.
type Trust struct {
	ExternalID     string // which must be sent; empty: the role lets nobody in
	SourceIdentity string // the same; empty: none is asked for
}

// AddRole says whom a role lets in. Every role that nobody has added lets anybody in.
func (a *AWS) AddRole(arn string, t Trust) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trusts[arn] = t
}

// lets is nil where the role's trust policy allows what was asked.
func (t Trust) lets(x *exchange, role string) error {
	identity := x.form.text("SourceIdentity")
	if t.ExternalID != "" && x.form.text("ExternalId") == t.ExternalID && (t.SourceIdentity == "" || identity == t.SourceIdentity) {
		return nil
	}
	return failure(http.StatusForbidden, "AccessDenied", "User: "+x.caller.ARN()+" is not authorized to perform: sts:AssumeRole on resource: "+role)
}

// assumeRole lets whoever asks have every role but those that AddRole has named.
func (a *AWS) assumeRole(x *exchange) (*result, error) {
	arn, session := x.form.text("RoleArn"), x.form.text("RoleSessionName")
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || !strings.HasPrefix(parts[5], "role/") || len(parts[4]) != 12 {
		return nil, bad("ValidationError", arn+" is invalid")
	}
	if session == "" {
		return nil, bad("ValidationError", "RoleSessionName is missing")
	}
	if t, ok := a.trusts[arn]; ok {
		if err := t.lets(x, arn); err != nil {
			return nil, err
		}
	}
	name := parts[5][strings.LastIndex(parts[5], "/")+1:]
	keyID := "ASIA" + a.ids.upper(16)
	a.addCaller(keyID, Caller{Account: parts[4], Role: name, Session: session})
	type credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	type user struct {
		ARN           string `xml:"Arn"`
		AssumedRoleID string `xml:"AssumedRoleId"`
	}
	c := a.callers[keyID]
	return &result{body: struct {
		Credentials     credentials
		AssumedRoleUser user
	}{
		credentials{keyID, "sandbox", "sandbox", stamp(x.now.Add(roleLasts))},
		user{c.ARN(), c.principalID()},
	}}, nil
}
