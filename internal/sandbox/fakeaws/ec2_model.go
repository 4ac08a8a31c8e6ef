package fakeaws

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// regionKey is where security groups live.
type regionKey struct{ account, name string }

// region is one account's EC2 in one region.
type region struct {
	key    regionKey
	vpcs   []string // the first is the default VPC
	groups map[string]*group
	lists  map[string]*prefixList
}

type group struct {
	id, name, description, vpc string
	tags                       map[string]string
	rules                      []*rule
}

// rule is one rule of a group: one protocol, range of ports and peer.
type rule struct {
	id          string
	egress      bool
	protocol    string
	from, to    int32 // -1 for all
	cidr4       string
	cidr6       string
	prefixList  string
	group       string // a referenced group's id
	account     string // of the referenced group
	description string
	tags        map[string]string
}

// attachment is a network interface with its groups.
type attachment struct {
	region regionKey
	groups []string
}

// maxRules is EC2's default quota: rules of one direction in one group.
const maxRules = 60

// regionNames are the regions that are enabled.
func regionNames() []string {
	return []string{"ap-southeast-2", "eu-central-1", "eu-west-1", "us-east-1", "us-east-2", "us-west-2"}
}

// here is the region that a request goes to; with the lock held. It is made
// with its default VPC and group the first time.
func (a *AWS) here(x *exchange) *region {
	return a.regionOf(regionKey{x.caller.Account, x.Region})
}

func (a *AWS) regionOf(key regionKey) *region {
	if r := a.regions[key]; r != nil {
		return r
	}
	seed := key.account + "/" + key.name
	r := &region{key: key, vpcs: []string{stableResource("vpc-", seed), stableResource("vpc-", seed+"/second")}, groups: map[string]*group{}, lists: map[string]*prefixList{}}
	for _, vpc := range r.vpcs {
		g := &group{id: stableResource("sg-", vpc+"/default"), name: "default", description: "default VPC security group", vpc: vpc}
		g.rules = []*rule{
			{id: stableResource("sgr-", vpc+"/in"), protocol: "-1", from: -1, to: -1, group: g.id, account: key.account},
			{id: stableResource("sgr-", vpc+"/out"), egress: true, protocol: "-1", from: -1, to: -1, cidr4: "0.0.0.0/0"},
		}
		r.groups[g.id] = g
	}
	a.regions[key] = r
	return r
}

func (r *region) isDefault(vpc string) bool { return vpc == r.vpcs[0] }

// sorted lists the groups by id.
func (r *region) sorted() []*group {
	return slices.SortedFunc(maps.Values(r.groups), func(a, b *group) int { return cmp.Compare(a.id, b.id) })
}

// find gives the group that a request names by id, or by name in the default
// VPC.
func (r *region) find(id, name string) (*group, error) {
	switch {
	case id == "" && name == "":
		return nil, missing("GroupName or GroupId")
	case id != "" && !strings.HasPrefix(id, "sg-"):
		return nil, bad("InvalidGroupId.Malformed", `Invalid id: "`+id+`" (expecting "sg-...")`)
	case id != "":
		if g := r.groups[id]; g != nil {
			return g, nil
		}
		return nil, bad("InvalidGroup.NotFound", "The security group '"+id+"' does not exist")
	}
	for _, g := range r.groups {
		if g.name == name && r.isDefault(g.vpc) {
			return g, nil
		}
	}
	return nil, bad("InvalidGroup.NotFound", "The security group '"+name+"' does not exist in default VPC '"+r.vpcs[0]+"'")
}

// same reports whether two rules let the same through; descriptions and tags
// don't count.
func (r *rule) same(o *rule) bool {
	return r.egress == o.egress && r.protocol == o.protocol && r.from == o.from && r.to == o.to &&
		r.cidr4 == o.cidr4 && r.cidr6 == o.cidr6 && r.prefixList == o.prefixList && r.group == o.group
}

func (r *rule) peer() string { return cmp.Or(r.cidr4, r.cidr6, r.prefixList, r.group) }

// Attach puts a network interface into groups of the own account, so that they
// are in use, and gives its id. region "" is the default one.
func (a *AWS) Attach(regionName string, groups ...string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.ids.resource("eni-")
	a.parked[id] = attachment{regionKey{a.o.Account, cmp.Or(regionName, a.o.Region)}, slices.Clone(groups)}
	return id
}
