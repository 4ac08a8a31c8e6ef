package playbooks

import (
	"encoding/json"
	"slices"
	"strings"

	"secbot/internal/s3policy"
	"secbot/remediation"
)

// ownershipEnforced is the object ownership under which ACLs have no effect.
const ownershipEnforced = "BucketOwnerEnforced"

// BucketState is everything of a bucket that decides who may reach it. A nil
// pointer means that nothing is set.
type BucketState struct {
	Bucket       remediation.Ref         `json:"bucket"`
	Ownership    string                  `json:"ownership,omitempty"` // empty: no ownership controls, so ACLs count
	Block        *remediation.BlockFlags `json:"block"`
	AccountBlock *remediation.BlockFlags `json:"account_block"`
	// AccountBlockUnread says why nobody knows the account's block; empty
	// where it was read.
	AccountBlockUnread string            `json:"account_block_unread,omitempty"`
	ACL                ACL               `json:"acl"`
	Policy             *string           `json:"policy"`        // its text, byte for byte
	PolicyPublic       bool              `json:"policy_public"` // S3's own verdict, PolicyStatus.IsPublic
	Website            bool              `json:"website"`       // static website hosting is on
	Tags               map[string]string `json:"tags,omitempty"`
}

// Ref is the bucket that was read.
func (s *BucketState) Ref() remediation.Ref { return s.Bucket }

// ACL is an access control list with all that is needed to put it back. With
// IgnorePublicAcls on, S3 shows it without its public grants.
type ACL struct {
	OwnerID   string     `json:"owner_id"`
	OwnerName string     `json:"owner_name,omitempty"`
	Grants    []ACLGrant `json:"grants"`
}

// ACLGrant is one grant to a group (URI), a canonical user (ID) or an e-mail
// address.
type ACLGrant struct {
	Type       string `json:"type"` // Group, CanonicalUser or AmazonCustomerByEmail
	URI        string `json:"uri,omitempty"`
	ID         string `json:"id,omitempty"`
	Name       string `json:"name,omitempty"`
	Email      string `json:"email,omitempty"`
	Permission string `json:"permission"`
}

// key is what makes two grants the same; names are only shown.
func (g ACLGrant) key() string {
	return strings.Join([]string{g.Type, g.URI, g.ID, g.Email, g.Permission}, "|")
}

// String gives the grant for people.
func (g ACLGrant) String() string {
	who := g.URI[strings.LastIndex(g.URI, "/")+1:]
	for _, s := range []string{g.ID, g.Email} {
		if who == "" {
			who = s
		}
	}
	return "grant " + g.Permission + " to " + who
}

// public gives the grant as one to everybody or to every AWS account; false for
// all others, of which the group LogDelivery is one.
func (g ACLGrant) public() (remediation.Grant, bool) {
	for _, who := range []string{"AllUsers", "AuthenticatedUsers"} {
		if strings.HasSuffix(g.URI, "/groups/global/"+who) {
			return remediation.Grant{Grantee: who, Permission: g.Permission, Openness: grantOpenness(g.Permission)}, true
		}
	}
	return remediation.Grant{}, false
}

// grantOpenness: whoever may write an ACL can give himself the rest.
func grantOpenness(permission string) remediation.Openness {
	if permission == "READ" || permission == "READ_ACP" {
		return remediation.PublicRead
	}
	return remediation.PublicWrite
}

// public lists the public grants, each once.
func (a ACL) public() []remediation.Grant {
	var list []remediation.Grant
	for _, g := range a.Grants {
		if p, ok := g.public(); ok && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// without gives the ACL without the given public grants, all others in order.
func (a ACL) without(remove []remediation.Grant) ACL {
	a.Grants = slices.DeleteFunc(slices.Clone(a.Grants), func(g ACLGrant) bool {
		p, ok := g.public()
		return ok && slices.ContainsFunc(remove, func(r remediation.Grant) bool { return sameGrant(r, p) })
	})
	return a
}

func sameGrant(a, b remediation.Grant) bool {
	return a.Grantee == b.Grantee && a.Permission == b.Permission
}

// equal reports whether two ACLs grant the same, in whatever order S3 lists it.
func (a ACL) equal(b ACL) bool {
	return a.OwnerID == b.OwnerID && slices.Equal(a.keys(), b.keys())
}

func (a ACL) keys() []string {
	keys := make([]string, len(a.Grants))
	for i, g := range a.Grants {
		keys[i] = g.key()
	}
	slices.Sort(keys)
	return keys
}

// lines lists the grants for a diff.
func (a ACL) lines() []string {
	lines := make([]string, len(a.Grants))
	for i, g := range a.Grants {
		lines[i] = g.String()
	}
	return lines
}

// has reports whether a flag is on in the bucket's or the account's block.
func (s *BucketState) has(flag func(remediation.BlockFlags) bool) bool {
	return (s.Block != nil && flag(*s.Block)) || (s.AccountBlock != nil && flag(*s.AccountBlock))
}

// effectiveGrants are the public grants that let somebody in.
func (s *BucketState) effectiveGrants() []remediation.Grant {
	if s.ignoresACLs() || s.Ownership == ownershipEnforced {
		return nil
	}
	return s.ACL.public()
}

// ignoresACLs reports whether a public ACL has no effect.
func (s *BucketState) ignoresACLs() bool {
	return s.has(func(b remediation.BlockFlags) bool { return b.IgnorePublicAcls })
}

// restricted reports whether a public policy has no effect outside the account.
func (s *BucketState) restricted() bool {
	return s.has(func(b remediation.BlockFlags) bool { return b.RestrictPublicBuckets })
}

// effectiveStatements are the public statements that let somebody in. The error
// says that the policy could not be understood.
func (s *BucketState) effectiveStatements() ([]remediation.Statement, error) {
	if s.Policy == nil || s.restricted() {
		return nil, nil
	}
	return s3policy.PublicStatements(json.RawMessage(*s.Policy))
}

// unexplained says why S3 calls the bucket's effective policy public though no
// statement of it could be found to be; empty where that is not so.
func (s *BucketState) unexplained() string {
	if !s.PolicyPublic || s.restricted() {
		return ""
	}
	found, err := s.effectiveStatements()
	switch {
	case err != nil:
		return "S3 says that the bucket's policy is public, and the policy could not be understood: " + err.Error()
	case len(found) == 0:
		return "S3 says that the bucket's policy is public, but no statement of it could be found to be"
	}
	return ""
}

// openness is how far ACL and policy really open the bucket.
func (s *BucketState) openness() []remediation.Openness {
	found := map[remediation.Openness]bool{remediation.PublicRead: s.unexplained() != ""}
	for _, g := range s.effectiveGrants() {
		found[g.Openness] = true
	}
	statements, _ := s.effectiveStatements() // unexplained has told of an error
	for _, st := range statements {
		found[st.Openness] = true
	}
	var list []remediation.Openness
	for _, o := range []remediation.Openness{remediation.PublicRead, remediation.PublicWrite} {
		if found[o] {
			list = append(list, o)
		}
	}
	return list
}

// doubt says what nobody could read of the bucket's surroundings.
func (s *BucketState) doubt() string {
	if s.AccountBlockUnread == "" {
		return ""
	}
	return "the account's Block Public Access is unknown, so the bucket may be closed already: " + s.AccountBlockUnread
}

// notes are what people should know before they close the bucket.
func (s *BucketState) notes() []string {
	var notes []string
	if s.Website {
		notes = append(notes, "static website hosting is on: closing the bucket takes the website down")
	}
	for _, tag := range s.publicTags() {
		notes = append(notes, "it is tagged "+tag+": it may be meant to be public")
	}
	return notes
}

// publicTags are the tags that say that the bucket is public on purpose, sorted.
func (s *BucketState) publicTags() []string {
	var tags []string
	for k, v := range s.Tags {
		if strings.EqualFold(k, "public") && !strings.EqualFold(v, "false") && !strings.EqualFold(v, "no") {
			tags = append(tags, k+"="+v)
		}
	}
	slices.Sort(tags)
	return tags
}

// considered has people decide about a bucket that seems to be meant for the
// public. Nobody means everybody to write.
func considered(f remediation.Finding, s *BucketState) remediation.Finding {
	if slices.Contains(f.Openness, remediation.PublicWrite) {
		return f
	}
	if s.Website {
		f.Doubt = joinText([]string{f.Doubt, "the bucket serves a website, which may be meant for everybody"})
	}
	if tags := s.publicTags(); len(tags) > 0 {
		f.Doubt = joinText([]string{f.Doubt, "the bucket is tagged " + strings.Join(tags, ", ")})
	}
	return f
}
