package fakeaws

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagsXML(tags map[string]string) *set[tagXML] {
	if len(tags) == 0 {
		return nil
	}
	s := &set[tagXML]{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		s.Items = append(s.Items, tagXML{k, tags[k]})
	}
	return s
}

type groupXML struct {
	Account     string             `xml:"ownerId"`
	ID          string             `xml:"groupId"`
	ARN         string             `xml:"securityGroupArn"`
	Name        string             `xml:"groupName"`
	Description string             `xml:"groupDescription"`
	VPC         string             `xml:"vpcId"`
	In          set[permissionXML] `xml:"ipPermissions"`
	Out         set[permissionXML] `xml:"ipPermissionsEgress"`
	Tags        *set[tagXML]       `xml:"tagSet"`
}

// permissionXML is EC2's older view of rules: those of one protocol and range of
// ports together.
type permissionXML struct {
	Protocol    string       `xml:"ipProtocol"`
	From        *int32       `xml:"fromPort"`
	To          *int32       `xml:"toPort"`
	Groups      set[pairXML] `xml:"groups"`
	Ranges      set[cidrXML] `xml:"ipRanges"`
	Ranges6     set[cidrXML] `xml:"ipv6Ranges"`
	PrefixLists set[listXML] `xml:"prefixListIds"`
}

type pairXML struct {
	Account     string `xml:"userId"`
	Group       string `xml:"groupId"`
	Description string `xml:"description,omitempty"`
}

type cidrXML struct {
	CIDR        string `xml:"cidrIp,omitempty"`
	CIDR6       string `xml:"cidrIpv6,omitempty"`
	Description string `xml:"description,omitempty"`
}

type listXML struct {
	ID          string `xml:"prefixListId"`
	Description string `xml:"description,omitempty"`
}

func (r *region) groupXML(g *group) groupXML {
	return groupXML{
		Account: r.key.account, ID: g.id, Name: g.name, Description: g.description, VPC: g.vpc, Tags: tagsXML(g.tags),
		ARN: "arn:aws:ec2:" + r.key.name + ":" + r.key.account + ":security-group/" + g.id,
		In:  set[permissionXML]{permissions(g.rules, false)}, Out: set[permissionXML]{permissions(g.rules, true)},
	}
}

func permissions(rules []*rule, egress bool) []permissionXML {
	var list []permissionXML
	index := map[string]int{}
	for _, r := range rules {
		if r.egress != egress {
			continue
		}
		key := r.protocol + " " + strconv.Itoa(int(r.from)) + " " + strconv.Itoa(int(r.to))
		i, known := index[key]
		if !known {
			i, index[key] = len(list), len(list)
			list = append(list, permissionXML{Protocol: r.protocol, From: r.port(r.from), To: r.port(r.to)})
		}
		list[i].add(r)
	}
	return list
}

// port leaves the ports of "all traffic" out, as this view does.
func (r *rule) port(p int32) *int32 {
	if r.protocol == "-1" {
		return nil
	}
	return &p
}

func (p *permissionXML) add(r *rule) {
	switch {
	case r.cidr4 != "":
		p.Ranges.Items = append(p.Ranges.Items, cidrXML{CIDR: r.cidr4, Description: r.description})
	case r.cidr6 != "":
		p.Ranges6.Items = append(p.Ranges6.Items, cidrXML{CIDR6: r.cidr6, Description: r.description})
	case r.prefixList != "":
		p.PrefixLists.Items = append(p.PrefixLists.Items, listXML{r.prefixList, r.description})
	default:
		p.Groups.Items = append(p.Groups.Items, pairXML{r.account, r.group, r.description})
	}
}

func (a *AWS) describeGroups(x *exchange) (*result, error) {
	r := a.here(x)
	var found []*group
	ids, names := x.form.at("GroupId").texts(), x.form.at("GroupName").texts()
	for _, id := range ids {
		g, err := r.find(id, "")
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	for _, name := range names {
		g, err := r.find("", name)
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	if len(ids)+len(names) == 0 {
		found = r.sorted()
	}
	found, err := filtered(x, found, r.groupFilter)
	if err != nil {
		return nil, err
	}
	found, next, err := page(x, found)
	if err != nil {
		return nil, err
	}
	list := set[groupXML]{}
	for _, g := range found {
		list.Items = append(list.Items, r.groupXML(g))
	}
	return reply(next, member{"securityGroupInfo", list}), nil
}

func (r *region) groupFilter(g *group, name string) ([]string, bool) {
	switch name {
	case "group-id":
		return []string{g.id}, true
	case "group-name":
		return []string{g.name}, true
	case "vpc-id":
		return []string{g.vpc}, true
	case "owner-id":
		return []string{r.key.account}, true
	case "ip-permission.group-id", "egress.ip-permission.group-id":
		var ids []string
		for _, rule := range g.rules {
			if rule.group != "" && rule.egress == strings.HasPrefix(name, "egress.") {
				ids = append(ids, rule.group)
			}
		}
		return ids, true
	}
	return tagFilter(g.tags, name)
}

func tagFilter(tags map[string]string, name string) ([]string, bool) {
	if name == "tag-key" {
		return slices.Collect(maps.Keys(tags)), true
	}
	key, ok := strings.CutPrefix(name, "tag:")
	if v, has := tags[key]; ok && has {
		return []string{v}, true
	}
	return nil, ok
}

// maxFilterValues is how many values the filters of a request may have.
const maxFilterValues = 200

// filtered keeps what matches every Filter of the request; values gives what a
// thing has for a filter's name, false where there is no such filter.
func filtered[T any](x *exchange, all []T, values func(T, string) ([]string, bool)) ([]T, error) {
	wanted, given := map[string]map[string]bool{}, 0
	for _, f := range x.form.at("Filter").items() {
		of := map[string]bool{}
		for _, v := range f.at("Value").texts() {
			of[v] = true
			given++
		}
		wanted[f.text("Name")] = of
	}
	if given > maxFilterValues {
		return nil, bad("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
	}
	var kept []T
	for _, one := range all {
		matches := true
		for name, of := range wanted {
			has, ok := values(one, name)
			if !ok {
				return nil, bad("InvalidParameterValue", "The filter '"+name+"' is invalid")
			}
			if !slices.ContainsFunc(has, func(v string) bool { return of[v] }) {
				matches = false
			}
		}
		if matches {
			kept = append(kept, one)
		}
	}
	return kept, nil
}

// page cuts a list as MaxResults and NextToken ask.
func page[T any](x *exchange, all []T) ([]T, string, error) {
	start := 0
	if token := x.form.text("NextToken"); token != "" {
		raw, err := base64.URLEncoding.DecodeString(token)
		if err == nil {
			start, err = strconv.Atoi(string(raw))
		}
		if err != nil || start < 0 {
			return nil, "", bad("InvalidNextToken.Malformed", "The token is malformed")
		}
	}
	limit, err := x.form.int32("MaxResults")
	if err != nil {
		return nil, "", err
	}
	all = all[min(start, len(all)):]
	switch {
	case limit == nil:
		return all, "", nil
	case *limit < 5 || *limit > 1000:
		return nil, "", bad("InvalidParameterValue", "Value ( "+strconv.Itoa(int(*limit))+" ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.")
	case len(all) <= int(*limit):
		return all, "", nil
	}
	next := base64.URLEncoding.EncodeToString([]byte(strconv.Itoa(start + int(*limit))))
	return all[:*limit], next, nil
}

func reply(next string, m ...member) *result {
	if next != "" {
		m = append(m, member{"nextToken", next})
	}
	return &result{body: members(m)}
}

func (a *AWS) createGroup(x *exchange) (*result, error) {
	r := a.here(x)
	name, description := x.form.text("GroupName"), x.form.text("GroupDescription")
	vpc := cmp.Or(x.form.text("VpcId"), r.vpcs[0])
	switch {
	case name == "":
		return nil, missing("GroupName")
	case description == "":
		return nil, missing("GroupDescription")
	case strings.HasPrefix(name, "sg-") || len(name) > 255:
		return nil, bad("InvalidParameterValue", "Value ("+name+") for parameter GroupName is invalid. Group names may not be in the format sg-*.")
	case !slices.Contains(r.vpcs, vpc):
		return nil, bad("InvalidVpcID.NotFound", "The vpc ID '"+vpc+"' does not exist")
	}
	for _, g := range r.groups {
		if g.name == name && g.vpc == vpc {
			return nil, bad("InvalidGroup.Duplicate", "The security group '"+name+"' already exists for VPC '"+vpc+"'")
		}
	}
	tags, err := specifiedTags(x, "security-group")
	if err != nil {
		return nil, err
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	g := &group{id: a.ids.resource("sg-"), name: name, description: description, vpc: vpc, tags: tags}
	g.rules = []*rule{{id: a.ids.resource("sgr-"), egress: true, protocol: "-1", from: -1, to: -1, cidr4: "0.0.0.0/0"}}
	r.groups[g.id] = g
	x.Resource = g.id
	return &result{
		body:     members{{"return", true}, {"groupId", g.id}, {"securityGroupArn", r.groupXML(g).ARN}, {"tagSet", tagsXML(tags)}},
		elements: map[string]any{"requestId": x.RequestID, "_return": true, "groupId": g.id},
	}, nil
}

func (a *AWS) deleteGroup(x *exchange) (*result, error) {
	r := a.here(x)
	g, err := r.find(x.form.text("GroupId"), x.form.text("GroupName"))
	if err != nil {
		return nil, err
	}
	if g.name == "default" {
		return nil, bad("CannotDelete", `the specified group: "`+g.id+`" name: "default" cannot be deleted by a user`)
	}
	if a.inUse(r, g) {
		return nil, bad("DependencyViolation", "resource "+g.id+" has a dependent object")
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	delete(r.groups, g.id)
	return &result{
		body:     members{{"return", true}, {"groupId", g.id}},
		elements: map[string]any{"requestId": x.RequestID, "_return": true, "groupId": g.id},
	}, nil
}

func (a *AWS) inUse(r *region, g *group) bool {
	for _, p := range a.parked {
		if p.region == r.key && slices.Contains(p.groups, g.id) {
			return true
		}
	}
	for _, other := range r.groups {
		if other != g && slices.ContainsFunc(other.rules, func(r *rule) bool { return r.group == g.id }) {
			return true
		}
	}
	return false
}

// specifiedTags reads TagSpecification of the kind of resource that the call
// makes.
func specifiedTags(x *exchange, kind string) (map[string]string, error) {
	tags := map[string]string{}
	for _, s := range x.form.at("TagSpecification").items() {
		if s.text("ResourceType") != kind {
			return nil, bad("InvalidParameterValue", "'"+s.text("ResourceType")+"' is not a valid taggable resource type for this operation.")
		}
		for _, t := range s.at("Tag").items() {
			if err := settable(t.text("Key")); err != nil {
				return nil, err
			}
			tags[t.text("Key")] = t.text("Value")
		}
	}
	return tags, nil
}

// settable refuses the tags that only AWS sets: "Tag restrictions" in the EC2 User
// Guide.
func settable(key string) error {
	if strings.HasPrefix(strings.ToLower(key), "aws:") {
		return bad("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
	}
	return nil
}

// SetStack tags a group as AWS does for a CloudFormation stack that made it.
func (a *AWS) SetStack(group, stack string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.regions {
		if g := r.groups[group]; g != nil {
			if g.tags == nil {
				g.tags = map[string]string{}
			}
			g.tags["aws:cloudformation:stack-name"] = stack
		}
	}
}

func (a *AWS) createTags(x *exchange) (*result, error) {
	return a.changeTags(x, func(tags map[string]string, t *node) { tags[t.text("Key")] = t.text("Value") })
}

func (a *AWS) deleteTags(x *exchange) (*result, error) {
	return a.changeTags(x, func(tags map[string]string, t *node) {
		if !t.has("Value") || tags[t.text("Key")] == t.text("Value") {
			delete(tags, t.text("Key"))
		}
	})
}

func (a *AWS) changeTags(x *exchange, change func(map[string]string, *node)) (*result, error) {
	r := a.here(x)
	for _, t := range x.form.at("Tag").items() {
		if err := settable(t.text("Key")); err != nil {
			return nil, err
		}
	}
	var all []*map[string]string
	for _, id := range x.form.at("ResourceId").texts() {
		tags, err := r.tagsOf(id)
		if err != nil {
			return nil, err
		}
		all = append(all, tags)
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	for _, tags := range all {
		if *tags == nil {
			*tags = map[string]string{}
		}
		for _, t := range x.form.at("Tag").items() {
			change(*tags, t)
		}
	}
	return &result{body: members{{"return", true}}, elements: map[string]any{"requestId": x.RequestID, "_return": true}}, nil
}

func (r *region) tagsOf(id string) (*map[string]string, error) {
	if g := r.groups[id]; g != nil {
		return &g.tags, nil
	}
	for _, g := range r.groups {
		for _, one := range g.rules {
			if one.id == id {
				return &one.tags, nil
			}
		}
	}
	return nil, bad("InvalidID", "The ID '"+id+"' is not valid")
}

func (a *AWS) describeRegions(x *exchange) (*result, error) {
	type regionXML struct {
		Name     string `xml:"regionName"`
		Endpoint string `xml:"regionEndpoint"`
		OptIn    string `xml:"optInStatus"`
	}
	list := set[regionXML]{}
	wanted := x.form.at("RegionName").texts()
	for _, name := range regionNames() {
		if len(wanted) == 0 || slices.Contains(wanted, name) {
			list.Items = append(list.Items, regionXML{name, "ec2." + name + ".amazonaws.com", "opt-in-not-required"})
		}
	}
	return reply("", member{"regionInfo", list}), nil
}

func (a *AWS) describeVPCs(x *exchange) (*result, error) {
	type vpcXML struct {
		ID      string `xml:"vpcId"`
		Account string `xml:"ownerId"`
		State   string `xml:"state"`
		CIDR    string `xml:"cidrBlock"`
		Default bool   `xml:"isDefault"`
	}
	r := a.here(x)
	list := set[vpcXML]{}
	ids := x.form.at("VpcId").texts()
	vpcs, err := filtered(x, r.vpcs, func(vpc, name string) ([]string, bool) {
		switch name {
		case "vpc-id":
			return []string{vpc}, true
		case "is-default", "isDefault":
			return []string{strconv.FormatBool(r.isDefault(vpc))}, true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	for _, vpc := range vpcs {
		if len(ids) == 0 || slices.Contains(ids, vpc) {
			list.Items = append(list.Items, vpcXML{vpc, r.key.account, "available", "172.31.0.0/16", r.isDefault(vpc)})
		}
	}
	return reply("", member{"vpcSet", list}), nil
}

func (a *AWS) describeNetworkInterfaces(x *exchange) (*result, error) {
	type inGroup struct {
		ID string `xml:"groupId"`
	}
	type interfaceXML struct {
		ID      string       `xml:"networkInterfaceId"`
		Account string       `xml:"ownerId"`
		Status  string       `xml:"status"`
		Groups  set[inGroup] `xml:"groupSet"`
	}
	r := a.here(x)
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(a.parked)) {
		if a.parked[id].region == r.key {
			ids = append(ids, id)
		}
	}
	ids, err := filtered(x, ids, func(id, name string) ([]string, bool) {
		return a.parked[id].groups, name == "group-id"
	})
	if err != nil {
		return nil, err
	}
	ids, next, err := page(x, ids)
	if err != nil {
		return nil, err
	}
	list := set[interfaceXML]{}
	for _, id := range ids {
		i := interfaceXML{ID: id, Account: r.key.account, Status: "in-use"}
		for _, g := range a.parked[id].groups {
			i.Groups.Items = append(i.Groups.Items, inGroup{g})
		}
		list.Items = append(list.Items, i)
	}
	return reply(next, member{"networkInterfaceSet", list}), nil
}
