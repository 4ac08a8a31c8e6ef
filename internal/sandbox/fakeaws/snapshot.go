package fakeaws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// GroupView is a security group as a console shows it.
type GroupView struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Account     string     `json:"account"`
	Region      string     `json:"region"`
	Rules       []RuleView `json:"rules"`
}

// RuleView is one rule of a group.
type RuleView struct {
	ID          string `json:"id"`
	Egress      bool   `json:"egress"`
	Traffic     string `json:"traffic"` // "tcp 22", "tcp 1-1024", "all traffic"
	Peer        string `json:"peer"`    // a CIDR, a prefix list or a group
	World       bool   `json:"world"`   // the peer is 0.0.0.0/0 or ::/0
	Description string `json:"description"`
}

// BucketView is a bucket as a console shows it.
type BucketView struct {
	Name      string   `json:"name"`
	Account   string   `json:"account"`
	Region    string   `json:"region"`
	Ownership string   `json:"ownership"` // empty: no ownership controls
	Block     *Block   `json:"block"`     // the bucket's own; null where there is none
	ACL       []string `json:"acl"`       // grants in effect, as "READ AllUsers" and "FULL_CONTROL owner"
	Policy    string   `json:"policy"`    // empty: none
	// Public says how the world gets in at this moment, Block Public Access
	// considered: "acl", "policy" or both. Empty: it doesn't.
	Public []string `json:"public"`
}

// Groups lists the security groups of the own account, except for the default
// ones, by name.
func (a *AWS) Groups() []GroupView {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []GroupView{}
	for key, r := range a.regions {
		if key.account != a.o.Account {
			continue
		}
		for _, g := range r.groups {
			if g.name != "default" {
				list = append(list, r.view(g))
			}
		}
	}
	slices.SortFunc(list, func(a, b GroupView) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return list
}

func (r *region) view(g *group) GroupView {
	v := GroupView{ID: g.id, Name: g.name, Description: g.description, Account: r.key.account, Region: r.key.name, Rules: []RuleView{}}
	for _, one := range g.rules {
		v.Rules = append(v.Rules, RuleView{
			ID: one.id, Egress: one.egress, Traffic: one.traffic(), Peer: one.peer(),
			World: one.cidr4 == "0.0.0.0/0" || one.cidr6 == "::/0", Description: one.description,
		})
	}
	return v
}

func (r *rule) traffic() string {
	switch {
	case r.protocol == "-1":
		return "all traffic"
	case r.from == r.to && r.from >= 0:
		return fmt.Sprintf("%s %d", r.protocol, r.from)
	case r.from < 0:
		return r.protocol
	}
	return fmt.Sprintf("%s %d-%d", r.protocol, r.from, r.to)
}

// Buckets lists the buckets of the own account by name.
func (a *AWS) Buckets() []BucketView {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []BucketView{}
	for _, name := range slices.Sorted(maps.Keys(a.buckets)) {
		if b := a.buckets[name]; b.account == a.o.Account {
			list = append(list, a.bucketView(b))
		}
	}
	return list
}

func (a *AWS) bucketView(b *bucket) BucketView {
	v := BucketView{Name: b.name, Account: b.account, Region: b.region, Ownership: b.ownership, Policy: string(b.policy), ACL: []string{}, Public: []string{}}
	if b.block != nil {
		block := *b.block
		v.Block = &block
	}
	acl := a.effectiveACL(b)
	for _, g := range acl {
		v.ACL = append(v.ACL, g.Permission+" "+g.who(b))
	}
	if slices.ContainsFunc(acl, Grant.public) {
		v.Public = append(v.Public, "acl")
	}
	// What putPolicy took can be judged.
	if public, err := isPublic(b.policy); b.policy != nil && err == nil && public && !a.blockFor(b).RestrictPublicBuckets {
		v.Public = append(v.Public, "policy")
	}
	return v
}

// who names a grant's grantee in short.
func (g Grant) who(b *bucket) string {
	switch {
	case g.URI != "":
		return g.URI[strings.LastIndexByte(g.URI, '/')+1:]
	case g.Email != "":
		return g.Email
	case g == b.ownerGrant() || g.Canonical == canonicalID(b.account):
		return "owner"
	}
	return "account " + g.Canonical[:min(8, len(g.Canonical))] + "…"
}
