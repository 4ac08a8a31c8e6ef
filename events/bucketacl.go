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

// grantee is the URI of a group; empty for accounts and people.
type grantee string

// UnmarshalJSON takes an object with a URI, or the bare name. It never fails.
func (g *grantee) UnmarshalJSON(raw []byte) error {
	*g = grantee(first(lenient[struct{ URI text }](raw).URI, lenient[text](raw)))
	return nil
}

func decodeBucketACL(r record, base remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[aclRequest](r.RequestParameters)
	sig, why := bucketSignal(base, req.BucketName)
	if why != "" {
		return nil, why
	}
	grants := publicGrants(req)
	sig.Playbooks = []string{playbookACL}
	if len(grants) == 0 && req.BucketName == "" {
		return single(sig), "its ACL can't be read: CloudTrail has left it out"
	}
	if len(grants) == 0 {
		return nil, "nothing public in this ACL"
	}
	sig.Change.Grants = grants
	for _, g := range grants {
		sig.Change.Openness = addOpenness(sig.Change.Openness, g.Openness)
	}
	return single(sig), ""
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
// once.
func publicGrants(req aclRequest) []remediation.Grant {
	var l grantList
	for _, canned := range req.Canned {
		l.canned(canned)
	}
	for _, g := range req.Policy.List.Grants {
		l.add(string(g.Grantee), string(g.Permission))
	}
	l.headers(req.Read, "READ")
	l.headers(req.Write, "WRITE")
	l.headers(req.ReadACP, "READ_ACP")
	l.headers(req.WriteACP, "WRITE_ACP")
	l.headers(req.FullControl, "FULL_CONTROL")
	return l
}

type grantList []remediation.Grant

// canned adds the public grants of a canned ACL; "Canned ACL" in the Amazon S3
// User Guide.
func (l *grantList) canned(name string) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "public-read":
		l.add(allUsers, "READ")
	case "public-read-write":
		l.add(allUsers, "READ")
		l.add(allUsers, "WRITE")
	case "authenticated-read":
		l.add(authenticatedUsers, "READ")
	}
}

// headers adds the grants of one x-amz-grant-… header: grantees as
// uri="…", id="…", separated by commas.
func (l *grantList) headers(values texts, permission string) {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			kind, name, _ := strings.Cut(one, "=")
			if strings.EqualFold(strings.TrimSpace(kind), "uri") {
				l.add(strings.Trim(name, `"' `), permission)
			}
		}
	}
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
