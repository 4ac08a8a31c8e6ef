package fakeaws

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"secbot/internal/sgrule"
)

type ruleXML struct {
	ID          string         `xml:"securityGroupRuleId"`
	ARN         string         `xml:"securityGroupRuleArn"`
	Group       string         `xml:"groupId"`
	Account     string         `xml:"groupOwnerId"`
	Egress      bool           `xml:"isEgress"`
	Protocol    string         `xml:"ipProtocol"`
	From        int32          `xml:"fromPort"`
	To          int32          `xml:"toPort"`
	CIDR4       string         `xml:"cidrIpv4,omitempty"`
	CIDR6       string         `xml:"cidrIpv6,omitempty"`
	PrefixList  string         `xml:"prefixListId,omitempty"`
	Referenced  *referencedXML `xml:"referencedGroupInfo"`
	Description string         `xml:"description,omitempty"`
	Tags        *set[tagXML]   `xml:"tagSet"`
}

type referencedXML struct {
	Group   string `xml:"groupId"`
	Account string `xml:"userId"`
}

func (r *region) ruleXML(g *group, one *rule) ruleXML {
	v := ruleXML{
		ID: one.id, Group: g.id, Account: r.key.account, Egress: one.egress, Protocol: one.protocol,
		From: one.from, To: one.to, CIDR4: one.cidr4, CIDR6: one.cidr6, PrefixList: one.prefixList,
		Description: one.description, Tags: tagsXML(one.tags),
		ARN: "arn:aws:ec2:" + r.key.name + ":" + r.key.account + ":security-group-rule/" + one.id,
	}
	if one.group != "" {
		v.Referenced = &referencedXML{one.group, one.account}
	}
	return v
}

func (a *AWS) describeRules(x *exchange) (*result, error) {
	type owned struct {
		*rule
		in *group
	}
	r := a.here(x)
	groups := r.sorted()
	// EC2 promises no order, so that a group's rules do not stand together.
	var all []owned
	for place, more := 0, true; more; place++ {
		more = false
		for _, g := range groups {
			if place < len(g.rules) {
				all, more = append(all, owned{g.rules[place], g}), true
			}
		}
	}
	if ids := x.form.at("SecurityGroupRuleId").texts(); len(ids) > 0 {
		var named []owned
		for _, id := range ids {
			i := slices.IndexFunc(all, func(o owned) bool { return o.id == id })
			if i < 0 {
				return nil, noRule(id)
			}
			named = append(named, all[i])
		}
		all = named
	}
	all, err := filtered(x, all, func(o owned, name string) ([]string, bool) {
		switch name {
		case "group-id":
			return []string{o.in.id}, true
		case "security-group-rule-id":
			return []string{o.id}, true
		}
		return tagFilter(o.tags, name)
	})
	if err != nil {
		return nil, err
	}
	all, next, err := page(x, all)
	if err != nil {
		return nil, err
	}
	list := set[ruleXML]{}
	for _, o := range all {
		list.Items = append(list.Items, r.ruleXML(o.in, o.rule))
	}
	return reply(next, member{"securityGroupRuleSet", list}), nil
}

func noRule(id string) *Error {
	if !strings.HasPrefix(id, "sgr-") {
		return bad("InvalidSecurityGroupRuleId.Malformed", `Invalid id: "`+id+`" (expecting "sgr-...")`)
	}
	return bad("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '"+id+"' does not exist")
}

func (a *AWS) authorize(x *exchange, egress bool) (*result, error) {
	r := a.here(x)
	g, err := r.find(x.form.text("GroupId"), x.form.text("GroupName"))
	if err != nil {
		return nil, err
	}
	x.Resource = g.id
	added, err := r.requested(x, egress)
	if err != nil {
		return nil, err
	}
	tags, err := specifiedTags(x, "security-group-rule")
	if err != nil {
		return nil, err
	}
	for i, one := range added {
		if slices.ContainsFunc(g.rules, one.same) || slices.ContainsFunc(added[:i], one.same) {
			return nil, bad("InvalidPermission.Duplicate", fmt.Sprintf(`the specified rule "peer: %s, %s, from port: %d, to port: %d, ALLOW" already exists`,
				one.peer(), strings.ToUpper(one.protocol), one.from, one.to))
		}
	}
	if err := withinQuota(g, added, egress); err != nil {
		return nil, err
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	list := set[ruleXML]{}
	var trail []map[string]any
	for _, one := range added {
		one.id, one.tags = a.ids.resource("sgr-"), cloned(tags)
		g.rules = append(g.rules, one)
		list.Items = append(list.Items, r.ruleXML(g, one))
		trail = append(trail, ruleElements(r, g, one))
	}
	return &result{
		body:     members{{"return", true}, {"securityGroupRuleSet", list}},
		elements: map[string]any{"requestId": x.RequestID, "_return": true, "securityGroupRuleSet": items(trail)},
	}, nil
}

func withinQuota(g *group, added []*rule, egress bool) error {
	n := len(added)
	for _, one := range g.rules {
		if one.egress == egress {
			n++
		}
	}
	if n > maxRules {
		return bad("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	return nil
}

func cloned(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// requested reads the rules that a call names: IpPermissions, or the older
// parameters at the top.
func (r *region) requested(x *exchange, egress bool) ([]*rule, error) {
	perms := x.form.at("IpPermissions").items()
	if x.form.has("IpProtocol") || x.form.has("CidrIp") || x.form.has("SourceSecurityGroupName") {
		perms = append(perms, legacyPermission(x.form))
	}
	if len(perms) == 0 {
		return nil, missing("ipPermissions")
	}
	var list []*rule
	for _, p := range perms {
		rules, err := r.expand(p, egress)
		if err != nil {
			return nil, err
		}
		list = append(list, rules...)
	}
	return list, nil
}

// legacyPermission turns the older parameters into a permission.
func legacyPermission(form *node) *node {
	p := &node{}
	for _, name := range []string{"IpProtocol", "FromPort", "ToPort"} {
		if form.has(name) {
			*p.grow(name) = *form.at(name)
		}
	}
	if form.has("CidrIp") {
		*p.grow("IpRanges").grow("1").grow("CidrIp") = *form.at("CidrIp")
	}
	if form.has("SourceSecurityGroupName") {
		*p.grow("Groups").grow("1").grow("GroupName") = *form.at("SourceSecurityGroupName")
	}
	return p
}

// expand makes the rules of one permission.
func (r *region) expand(p *node, egress bool) ([]*rule, error) {
	base, err := protocolAndPorts(p)
	if err != nil {
		return nil, err
	}
	base.egress = egress
	var list []*rule
	add := func(description string, peer func(*rule) error) error {
		one := *base
		one.description = description
		if err := peer(&one); err != nil {
			return err
		}
		list = append(list, &one)
		return nil
	}
	for _, v := range p.at("IpRanges").items() {
		err = cmp.Or(err, add(v.text("Description"), func(o *rule) (err error) { o.cidr4, err = canonical(v.text("CidrIp"), true); return err }))
	}
	for _, v := range p.at("Ipv6Ranges").items() {
		err = cmp.Or(err, add(v.text("Description"), func(o *rule) (err error) { o.cidr6, err = canonical(v.text("CidrIpv6"), false); return err }))
	}
	for _, v := range p.at("PrefixListIds").items() {
		err = cmp.Or(err, add(v.text("Description"), func(o *rule) error { o.prefixList = v.text("PrefixListId"); return nil }))
	}
	for _, v := range p.at("Groups").items() {
		err = cmp.Or(err, add(v.text("Description"), func(o *rule) error { return r.reference(o, v) }))
	}
	if err == nil && len(list) == 0 {
		err = bad("InvalidParameterValue", "A permission names no source or destination.")
	}
	return list, err
}

func (r *region) reference(o *rule, v *node) error {
	o.account = cmp.Or(v.text("UserId"), r.key.account)
	o.group = v.text("GroupId")
	if o.account != r.key.account {
		return nil // a peer's group can't be looked up
	}
	g, err := r.find(v.text("GroupId"), v.text("GroupName"))
	if err != nil {
		return err
	}
	o.group = g.id
	return nil
}

func protocolAndPorts(p *node) (*rule, error) {
	o := &rule{protocol: sgrule.Protocol(p.text("IpProtocol")), from: -1, to: -1}
	if o.protocol == "" {
		return nil, missing("ipProtocol")
	}
	from, err := p.int32("FromPort")
	if err != nil {
		return nil, err
	}
	to, err := p.int32("ToPort")
	if err != nil {
		return nil, err
	}
	switch o.protocol {
	case "tcp", "udp":
		if from == nil || to == nil {
			return nil, bad("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		if *from < 0 || *to > 65535 || *from > *to {
			return nil, bad("InvalidParameterValue", fmt.Sprintf("Invalid TCP/UDP port range (%d:%d)", *from, *to))
		}
		o.from, o.to = *from, *to
	case "icmp", "icmpv6":
		if from != nil {
			o.from = *from
		}
		if to != nil {
			o.to = *to
		}
	case "-1":
	default:
		if n, err := strconv.Atoi(o.protocol); err != nil || n < 0 || n > 255 {
			return nil, bad("InvalidParameterValue", "Invalid value '"+o.protocol+"' for IP protocol. Unknown protocol.")
		}
	}
	return o, nil
}

// canonical gives a CIDR as EC2 stores it: host bits zero.
func canonical(cidr string, v4 bool) (string, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || p.Addr().Is4() != v4 {
		return "", bad("InvalidParameterValue", "CIDR block "+cidr+" is malformed")
	}
	return p.Masked().String(), nil
}

func (a *AWS) revoke(x *exchange, egress bool) (*result, error) {
	r := a.here(x)
	g, err := r.find(x.form.text("GroupId"), x.form.text("GroupName"))
	if err != nil {
		return nil, err
	}
	x.Resource = g.id
	gone, unknown, err := r.toRevoke(x, g, egress)
	if err != nil {
		return nil, err
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	g.rules = slices.DeleteFunc(g.rules, func(one *rule) bool { return slices.Contains(gone, one) })
	list := set[revokedXML]{}
	var trail []map[string]any
	for _, one := range gone {
		list.Items = append(list.Items, revoked(g, one))
		e := ruleElements(r, g, one)
		delete(e, "groupOwnerId")
		trail = append(trail, e)
	}
	return &result{
		body: members{{"return", true}, {"revokedSecurityGroupRuleSet", list}, {"unknownIpPermissionSet", set[permissionXML]{permissions(unknown, egress)}}},
		elements: map[string]any{
			"requestId": x.RequestID, "_return": true,
			"revokedSecurityGroupRuleSet": items(trail), "unknownIpPermissionSet": map[string]any{},
		},
	}, nil
}

type revokedXML struct {
	ID          string `xml:"securityGroupRuleId"`
	Group       string `xml:"groupId"`
	Egress      bool   `xml:"isEgress"`
	Protocol    string `xml:"ipProtocol"`
	From        int32  `xml:"fromPort"`
	To          int32  `xml:"toPort"`
	CIDR4       string `xml:"cidrIpv4,omitempty"`
	CIDR6       string `xml:"cidrIpv6,omitempty"`
	PrefixList  string `xml:"prefixListId,omitempty"`
	Referenced  string `xml:"referencedGroupId,omitempty"`
	Description string `xml:"description,omitempty"`
}

func revoked(g *group, o *rule) revokedXML {
	return revokedXML{o.id, g.id, o.egress, o.protocol, o.from, o.to, o.cidr4, o.cidr6, o.prefixList, o.group, o.description}
}

// toRevoke finds the rules that a call names by id or by what they let through.
// What is not there is an error, except by permission in the default VPC, where
// EC2 says that all went well.
func (r *region) toRevoke(x *exchange, g *group, egress bool) (gone, unknown []*rule, err error) {
	if ids := x.form.at("SecurityGroupRuleId").texts(); len(ids) > 0 {
		for _, id := range ids {
			i := slices.IndexFunc(g.rules, func(o *rule) bool { return o.id == id && o.egress == egress })
			if i < 0 {
				return nil, nil, noRule(id)
			}
			gone = append(gone, g.rules[i])
		}
		return gone, nil, nil
	}
	named, err := r.requested(x, egress)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range named {
		i := slices.IndexFunc(g.rules, n.same)
		switch {
		case i >= 0:
			gone = append(gone, g.rules[i])
		case r.isDefault(g.vpc):
			unknown = append(unknown, n)
		default:
			return nil, nil, bad("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}
	return gone, unknown, nil
}

func (a *AWS) modifyRules(x *exchange) (*result, error) {
	r := a.here(x)
	g, err := r.find(x.form.text("GroupId"), "")
	if err != nil {
		return nil, err
	}
	updates := x.form.at("SecurityGroupRule").items()
	if len(updates) == 0 {
		return nil, missing("SecurityGroupRules")
	}
	changed := slices.Clone(g.rules)
	for _, u := range updates {
		i := slices.IndexFunc(changed, func(o *rule) bool { return o.id == u.text("SecurityGroupRuleId") })
		if i < 0 {
			return nil, noRule(u.text("SecurityGroupRuleId"))
		}
		one, err := r.modified(changed[i], u.at("SecurityGroupRule"))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(changed, func(o *rule) bool { return o.id != one.id && o.same(one) }) {
			return nil, bad("InvalidPermission.Duplicate", "the specified rule already exists")
		}
		changed[i] = one
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	g.rules = changed
	return &result{
		body:     members{{"return", true}},
		elements: map[string]any{"ModifySecurityGroupRulesResponse": map[string]any{"xmlns": ec2Namespace, "requestId": x.RequestID, "return": true}},
	}, nil
}

// modified gives a rule's new values. The kind of peer can't be changed.
func (r *region) modified(old *rule, to *node) (*rule, error) {
	one, err := protocolAndPorts(to)
	if err != nil {
		return nil, err
	}
	one.id, one.egress, one.tags, one.description = old.id, old.egress, old.tags, to.text("Description")
	switch {
	case to.has("CidrIpv4") && old.cidr4 != "":
		one.cidr4, err = canonical(to.text("CidrIpv4"), true)
	case to.has("CidrIpv6") && old.cidr6 != "":
		one.cidr6, err = canonical(to.text("CidrIpv6"), false)
	case to.has("PrefixListId") && old.prefixList != "":
		one.prefixList = to.text("PrefixListId")
	case to.has("ReferencedGroupId") && old.group != "":
		one.group, one.account = to.text("ReferencedGroupId"), old.account
		if one.group != old.group {
			_, err = r.find(one.group, "")
		}
	default:
		err = bad("InvalidParameterValue", "The type of the source or destination of "+old.id+" can't be changed.")
	}
	return one, err
}
