package events

import (
	"encoding/json"
	"slices"
	"strings"

	"secbot/remediation"
)

const playbookACL = "s3-public-acl"

// The two groups of S3 that a public grant names, by the end of their URI.
const (
	allUsers           = "AllUsers"
	authenticatedUsers = "AuthenticatedUsers"
)

// aclRequest is the requestParameters of PutBucketAcl and CreateBucket: a canned ACL, a policy
// in full, or headers that each grant one permission.
type aclRequest struct {
	BucketName text  `json:"bucketName"`
	Canned     texts `json:"x-amz-acl"`
	Policy     struct {
		List struct {
			Grants many[aclGrant] `json:"Grant"`
		} `json:"AccessControlList"`
	} `json:"AccessControlPolicy"`
	Read        texts `json:"x-amz-grant-read"`
	Write       texts `json:"x-amz-grant-write"`
	ReadACP     texts `json:"x-amz-grant-read-acp"`
	WriteACP    texts `json:"x-amz-grant-write-acp"`
	FullControl texts `json:"x-amz-grant-full-control"`
}

type aclGrant struct {
	Grantee    grantee `json:"Grantee"`
	Permission text    `json:"Permission"`
}

// grantee is who a grant is to: a group by its URI, or somebody who is not
// everybody.
type grantee struct {
	uri  string // empty for accounts and people
	read bool   // it is understood who it is
}

// UnmarshalJSON takes an object with a URI, an id or an address, or the bare
// name. It never fails.
func (g *grantee) UnmarshalJSON(raw []byte) error {
	who := lenient[struct{ URI, ID, EmailAddress text }](raw)
	g.uri = first(who.URI, lenient[text](raw))
	g.read = first(text(g.uri), who.ID, who.EmailAddress) != ""
	return nil
}

func decodeBucketACL(r record, base remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[aclRequest](r.RequestParameters)
	sig, why := bucketSignal(base, req.BucketName)
	if why != "" {
		return nil, why
	}
	grants, unread := publicGrants(req)
	if unread == "" && req.BucketName == "" {
		unread = "CloudTrail has left it out"
	}
	if r.EventName == "CreateBucket" && len(grants) == 0 && req.bare() && req.BucketName != "" {
		return nil, "nothing public in this ACL" // a new bucket is its owner's alone
	}
	sig.Playbooks = []string{playbookACL}
	sig.Change.Grants, sig.Change.Unread = grants, unread
	for _, g := range grants {
		sig.Change.Openness = addOpenness(sig.Change.Openness, g.Openness)
	}
	switch {
	case len(grants) > 0:
		return single(sig), ""
	case unread != "":
		return single(sig), "its ACL can't be read: " + unread
	}
	return nil, "nothing public in this ACL"
}

// bare reports whether the request bears no ACL.
func (req aclRequest) bare() bool {
	return len(req.Canned)+len(req.Policy.List.Grants)+len(req.Read)+len(req.Write)+len(req.ReadACP)+len(req.WriteACP)+len(req.FullControl) == 0
}

// ownershipRequest is the requestParameters of PutBucketOwnershipControls.
type ownershipRequest struct {
	BucketName text `json:"bucketName"`
	Controls   struct {
		Rules many[struct {
			Ownership text `json:"ObjectOwnership"`
		}] `json:"Rule"`
	} `json:"OwnershipControls"`
}

// decodeOwnership decodes PutBucketOwnershipControls and its deletion. Both may
// bring an ACL to life that had no effect before, so that the live ACL is looked
// at.
func decodeOwnership(r record, base remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[ownershipRequest](r.RequestParameters)
	sig, why := bucketSignal(base, req.BucketName)
	if why != "" {
		return nil, why
	}
	for _, rule := range req.Controls.Rules {
		if rule.Ownership == "BucketOwnerEnforced" {
			return nil, "with BucketOwnerEnforced ACLs have no effect"
		}
	}
	sig.Playbooks = []string{playbookACL, playbookBlock}
	return single(sig), ""
}

// publicGrants lists the grants to everybody or to every AWS account, each
// once, and says why there may be more.
func publicGrants(req aclRequest) (l grantList, unread string) {
	if req.bare() {
		unread = "it has none that could be recognised"
	}
	for _, canned := range req.Canned {
		if !l.canned(canned) {
			unread = "no canned ACL is called " + clip(canned, 40)
		}
	}
	for _, g := range req.Policy.List.Grants {
		if !g.Grantee.read || grantOpenness(strings.ToUpper(string(g.Permission))) == "" {
			unread = "it does not say to whom or what one of its grants is"
		}
		l.add(g.Grantee.uri, string(g.Permission))
	}
	for _, h := range []struct {
		values     texts
		permission string
	}{{req.Read, "READ"}, {req.Write, "WRITE"}, {req.ReadACP, "READ_ACP"}, {req.WriteACP, "WRITE_ACP"}, {req.FullControl, "FULL_CONTROL"}} {
		if !l.headers(h.values, h.permission) {
			unread = "a header of its grants can't be read"
		}
	}
	return l, unread
}

type grantList []remediation.Grant

// canned adds the public grants of a canned ACL, and is false where S3 knows none
// of that name; "Canned ACL" in the Amazon S3 User Guide.
func (l *grantList) canned(name string) bool {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "private", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write":
	case "public-read":
		l.add(allUsers, "READ")
	case "public-read-write":
		l.add(allUsers, "READ")
		l.add(allUsers, "WRITE")
	case "authenticated-read":
		l.add(authenticatedUsers, "READ")
	default:
		return false
	}
	return true
}

// headers adds the grants of one x-amz-grant-… header: grantees as
// uri="…", id="…", separated by commas. It is false where one is none of those.
func (l *grantList) headers(values texts, permission string) bool {
	understood := true
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			kind, name, _ := strings.Cut(one, "=")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "uri":
				l.add(strings.Trim(name, `"' `), permission)
			case "id", "emailaddress":
			default:
				understood = false
			}
		}
	}
	return understood
}

// add keeps a grant where its grantee is a public group.
func (l *grantList) add(uri, permission string) {
	permission = strings.ToUpper(permission)
	g := remediation.Grant{Grantee: publicGroup(uri), Permission: permission, Openness: grantOpenness(permission)}
	if g.Grantee != "" && g.Openness != "" && !slices.Contains(*l, g) {
		*l = append(*l, g)
	}
}

// publicGroup gives the name of a public group, "" for every other grantee.
// LogDelivery is a group too, but not public.
func publicGroup(uri string) string {
	for _, name := range []string{allUsers, authenticatedUsers} {
		uri = strings.TrimSuffix(strings.TrimSpace(uri), "/")
		if strings.EqualFold(uri, name) || strings.HasSuffix(strings.ToLower(uri), "/groups/global/"+strings.ToLower(name)) {
			return name
		}
	}
	return ""
}

// grantOpenness says how far a permission opens a bucket, "" where S3 knows no
// such permission.
func grantOpenness(permission string) remediation.Openness {
	switch permission {
	case "READ", "READ_ACP":
		return remediation.PublicRead
	case "WRITE", "WRITE_ACP", "FULL_CONTROL":
		return remediation.PublicWrite
	}
	return ""
}

// addOpenness keeps each openness once, in the order of
// remediation.Opennesses.
func addOpenness(list []remediation.Openness, o remediation.Openness) []remediation.Openness {
	if slices.Contains(list, o) {
		return list
	}
	list = append(list, o)
	order := remediation.Opennesses()
	slices.SortFunc(list, func(a, b remediation.Openness) int { return slices.Index(order, a) - slices.Index(order, b) })
	return list
}

// rawObject gives raw where it is a JSON object, also where it is one written
// as a string; nil otherwise.
func rawObject(raw json.RawMessage) json.RawMessage {
	if s := lenient[text](raw); s != "" {
		raw = json.RawMessage(strings.TrimSpace(string(s)))
	}
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return nil
	}
	return raw
}
