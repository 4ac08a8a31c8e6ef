package fakeaws

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
)

// Grant is one grant of a bucket's ACL.
type Grant struct {
	Canonical  string // an account's canonical user id, or
	URI        string // a group of AWS's
	Permission string // FULL_CONTROL, READ, WRITE, READ_ACP, WRITE_ACP
	Email      string // instead of Canonical: an account by its address
}

// The groups of AWS's that grants may name.
const (
	allUsers           = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticatedUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	logDelivery        = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

func (g Grant) public() bool { return g.URI == allUsers || g.URI == authenticatedUsers }

func (b *bucket) ownerGrant() Grant {
	return Grant{Canonical: canonicalID(b.account), Permission: "FULL_CONTROL"}
}

type ownerXML struct{ ID string }

type aclXML struct {
	Owner  ownerXML
	Grants []grantXML `xml:"AccessControlList>Grant"`
}

type grantXML struct {
	Grantee    granteeXML
	Permission string
}

const xsi = "http://www.w3.org/2001/XMLSchema-instance"

type granteeXML struct {
	Type string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
	ID   string `xml:",omitempty"`
	URI  string `xml:",omitempty"`
	Mail string `xml:"EmailAddress,omitempty"`
}

// MarshalXML writes the type with the prefix that the SDKs look for.
func (g granteeXML) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	start.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns:xsi"}, Value: xsi}, {Name: xml.Name{Local: "xsi:type"}, Value: g.Type}}
	return e.EncodeElement(struct {
		ID   string `xml:",omitempty"`
		URI  string `xml:",omitempty"`
		Mail string `xml:"EmailAddress,omitempty"`
	}{g.ID, g.URI, g.Mail}, start)
}

// getACL tells the effective ACL: without public grants where they are ignored,
// and the owner's alone where ACLs are off.
func (a *AWS) getACL(_ *exchange, b *bucket) (*result, error) {
	acl := aclXML{Owner: ownerXML{canonicalID(b.account)}}
	for _, g := range a.effectiveACL(b) {
		v := grantXML{granteeXML{Type: "CanonicalUser", ID: g.Canonical, URI: g.URI, Mail: g.Email}, g.Permission}
		switch {
		case g.URI != "":
			v.Grantee.Type = "Group"
		case g.Email != "":
			v.Grantee.Type = "AmazonCustomerByEmail"
		}
		acl.Grants = append(acl.Grants, v)
	}
	return &result{body: s3Named{"AccessControlPolicy", acl}}, nil
}

func (a *AWS) effectiveACL(b *bucket) []Grant {
	if b.ownership == ownerEnforced {
		return []Grant{b.ownerGrant()}
	}
	if a.blockFor(b).IgnorePublicAcls {
		return slices.DeleteFunc(slices.Clone(b.acl), Grant.public)
	}
	return b.acl
}

func (a *AWS) putACL(x *exchange, b *bucket) (*result, error) {
	if b.ownership == ownerEnforced {
		return nil, bad("AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	acl, err := requestedACL(x, b)
	if err != nil {
		return nil, err
	}
	if a.blockFor(b).BlockPublicAcls && slices.ContainsFunc(acl, Grant.public) {
		return nil, accessDenied()
	}
	b.acl = acl
	return &result{}, nil
}

// requestedACL reads an ACL from the canned name, the grant headers or the body;
// exactly one of them.
func requestedACL(x *exchange, b *bucket) ([]Grant, error) {
	canned := x.req.Header.Get("x-amz-acl")
	byHeader, err := headerGrants(x)
	if err != nil {
		return nil, err
	}
	switch {
	case canned != "" && byHeader != nil:
		return nil, bad("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
	case canned != "":
		return cannedACL(canned, b)
	case byHeader != nil:
		return byHeader, nil
	case len(x.body) == 0:
		return nil, bad("MissingSecurityHeader", "Your request was missing a required header")
	}
	return bodyACL(x, b)
}

func bodyACL(x *exchange, b *bucket) ([]Grant, error) {
	var acl aclXML
	if err := xml.Unmarshal(x.body, &acl); err != nil || acl.Owner.ID == "" {
		return nil, bad("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if acl.Owner.ID != canonicalID(b.account) {
		return nil, accessDenied()
	}
	grants := []Grant{}
	for _, g := range acl.Grants {
		one := Grant{Canonical: g.Grantee.ID, URI: g.Grantee.URI, Permission: g.Permission, Email: g.Grantee.Mail}
		if err := one.valid(); err != nil {
			return nil, err
		}
		grants = append(grants, one)
	}
	return grants, nil
}

func (g Grant) valid() error {
	switch {
	case !slices.Contains([]string{"FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"}, g.Permission):
		return bad("MalformedACLError", "The permission "+g.Permission+" is unknown")
	case g.URI != "" && !slices.Contains([]string{allUsers, authenticatedUsers, logDelivery}, g.URI):
		return bad("InvalidArgument", "Invalid group uri")
	case g.URI == "" && g.Canonical == "" && g.Email == "":
		return bad("InvalidArgument", "Invalid id")
	}
	return nil
}

func cannedACL(name string, b *bucket) ([]Grant, error) {
	more := map[string][]Grant{
		"private":            {},
		"public-read":        {{URI: allUsers, Permission: "READ"}},
		"public-read-write":  {{URI: allUsers, Permission: "READ"}, {URI: allUsers, Permission: "WRITE"}},
		"authenticated-read": {{URI: authenticatedUsers, Permission: "READ"}},
		"log-delivery-write": {{URI: logDelivery, Permission: "WRITE"}, {URI: logDelivery, Permission: "READ_ACP"}},
	}
	grants, known := more[name]
	if !known {
		return nil, failure(http.StatusBadRequest, "InvalidArgument", "Invalid canned ACL "+name)
	}
	return append([]Grant{b.ownerGrant()}, grants...), nil
}

// headerGrants reads x-amz-grant-read: uri="…", id="…" and its like; nil where
// there are none.
func headerGrants(x *exchange) ([]Grant, error) {
	var grants []Grant
	for _, h := range []struct{ header, permission string }{
		{"x-amz-grant-full-control", "FULL_CONTROL"},
		{"x-amz-grant-read", "READ"},
		{"x-amz-grant-write", "WRITE"},
		{"x-amz-grant-read-acp", "READ_ACP"},
		{"x-amz-grant-write-acp", "WRITE_ACP"},
	} {
		for _, part := range strings.Split(x.req.Header.Get(h.header), ",") {
			kind, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok {
				continue
			}
			g := Grant{Permission: h.permission}
			switch value = strings.Trim(value, `"`); kind {
			case "uri":
				g.URI = value
			case "id":
				g.Canonical = value
			case "emailAddress":
				g.Email = value
			}
			if err := g.valid(); err != nil {
				return nil, err
			}
			grants = append(grants, g)
		}
	}
	return grants, nil
}

// aclParams are the requestParameters of PutBucketAcl.
func aclParams(x *exchange) map[string]any {
	p := bucketParams("acl")(x)
	for name := range x.req.Header {
		if lower := strings.ToLower(name); lower == "x-amz-acl" || strings.HasPrefix(lower, "x-amz-grant-") {
			p[lower] = x.req.Header.Get(name)
		}
	}
	var acl aclXML
	if len(x.body) == 0 || xml.Unmarshal(x.body, &acl) != nil {
		return p
	}
	var grants []any
	for _, g := range acl.Grants {
		grantee := map[string]any{"xmlns:xsi": xsi, "xsi:type": g.Grantee.Type}
		for name, v := range map[string]string{"URI": g.Grantee.URI, "ID": g.Grantee.ID, "EmailAddress": g.Grantee.Mail} {
			if v != "" {
				grantee[name] = v
			}
		}
		grants = append(grants, map[string]any{"Grantee": grantee, "Permission": g.Permission})
	}
	list := map[string]any{"Grant": any(grants)}
	if len(grants) == 1 {
		list["Grant"] = grants[0] // CloudTrail makes no list of one
	}
	p["AccessControlPolicy"] = map[string]any{"AccessControlList": list, "Owner": map[string]any{"ID": acl.Owner.ID}, "xmlns": s3Namespace}
	return p
}
