package fakeaws

import (
	"net"
	"net/http"
	"strings"
	"time"
)

// Caller is who stands behind an access key id.
type Caller struct {
	Account string // empty: the stand-in's own
	User    string // an IAM user's name
	Role    string // a role's name, for an assumed role; User is ignored then
	Session string // the assumed role's session name
	Root    bool   // the account's root user
	// SourceIP and UserAgent stand in the caller's events instead of the
	// request's own, where set.
	SourceIP  string
	UserAgent string
	// Allowed are the IAM actions that the caller's policies allow, on all
	// resources; nil: all.
	Allowed []string

	keyID string
	since time.Time // when the role was assumed
}

// DefaultUser is the IAM user behind an access key id that nobody added.
const DefaultUser = "sandbox"

// ARN is the caller's ARN as STS tells it.
func (c Caller) ARN() string {
	switch {
	case c.Root:
		return "arn:aws:iam::" + c.Account + ":root"
	case c.Role != "":
		return "arn:aws:sts::" + c.Account + ":assumed-role/" + c.Role + "/" + c.Session
	}
	return "arn:aws:iam::" + c.Account + ":user/" + c.User
}

// RoleARN is the ARN of the role behind an assumed role; empty for others.
func (c Caller) RoleARN() string {
	if c.Role == "" {
		return ""
	}
	return "arn:aws:iam::" + c.Account + ":role/" + c.Role
}

// principalID is made from the name, so that it is the same at each call.
func (c Caller) principalID() string {
	switch {
	case c.Root:
		return c.Account
	case c.Role != "":
		return "AROA" + stableID(c.Account+"/role/"+c.Role, 17) + ":" + c.Session
	}
	return "AIDA" + stableID(c.Account+"/user/"+c.User, 17)
}

// AddCaller says who calls with an access key id. It may be called at any time
// and replaces what was said before.
func (a *AWS) AddCaller(accessKeyID string, c Caller) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addCaller(accessKeyID, c)
}

func (a *AWS) addCaller(accessKeyID string, c Caller) {
	if c.Account == "" {
		c.Account = a.o.Account
	}
	if c.Role == "" && !c.Root && c.User == "" {
		c.User = DefaultUser
	}
	if c.Role != "" && c.Session == "" {
		c.Session = "session"
	}
	c.keyID, c.since = accessKeyID, a.o.Now().UTC()
	a.callers[accessKeyID] = c
}

// callerByKey must be called with the lock held.
func (a *AWS) callerByKey(keyID string) Caller {
	if c, ok := a.callers[keyID]; ok {
		return c
	}
	return Caller{Account: a.o.Account, User: DefaultUser, keyID: keyID}
}

// identify reads the SigV4 credential scope: who calls which service where.
// Requests without one are anonymous; only S3 has those.
func (a *AWS) identify(x *exchange) {
	keyID, region, name := credentialScope(x.req)
	x.Region = region
	if region == "" {
		x.Region = a.o.Region
	}
	if keyID == "" {
		x.anonymous = true
		name = anonymousService(x.req)
	} else {
		a.mu.Lock()
		x.caller = a.callerByKey(keyID)
		a.mu.Unlock()
		x.Caller = x.caller.ARN()
	}
	if name == "s3" && strings.HasPrefix(x.req.URL.Path, s3controlPrefix) {
		name = "s3control"
	}
	x.svc = a.services[name]
	if x.svc == nil {
		x.svc = a.services["s3"]
		if x.req.Method == http.MethodPost && x.req.URL.Path == "/" {
			x.svc = a.services["ec2"]
		}
	}
	x.Service = x.svc.name
}

// credentialScope reads "Credential=KEY/DATE/REGION/SERVICE/aws4_request" from
// the Authorization header, or from a presigned URL.
func credentialScope(r *http.Request) (keyID, region, service string) {
	cred := r.URL.Query().Get("X-Amz-Credential")
	if h := r.Header.Get("Authorization"); h != "" {
		_, rest, _ := strings.Cut(h, "Credential=")
		cred, _, _ = strings.Cut(rest, ",")
	}
	parts := strings.Split(strings.TrimSpace(cred), "/")
	if len(parts) != 5 {
		return "", "", ""
	}
	return parts[0], parts[2], parts[3]
}

func anonymousService(r *http.Request) string {
	if r.Method == http.MethodPost && r.URL.Path == "/" {
		return "ec2"
	}
	return "s3"
}

// callerNow fills in what the caller's events take from the request.
func (x *exchange) callerNow() Caller {
	c := x.caller
	if c.SourceIP == "" {
		c.SourceIP, _, _ = net.SplitHostPort(x.req.RemoteAddr)
	}
	if c.UserAgent == "" {
		c.UserAgent = x.req.UserAgent()
	}
	return c
}
