package fakeaws

// This file writes the requestParameters and responseElements of EC2's events as
// CloudTrail does.

// ruleElements is one rule of a responseElements.
func ruleElements(r *region, g *group, o *rule) map[string]any {
	e := map[string]any{
		"groupOwnerId": r.key.account, "groupId": g.id, "securityGroupRuleId": o.id, "isEgress": o.egress,
		"ipProtocol": o.protocol, "fromPort": o.from, "toPort": o.to,
	}
	for name, v := range map[string]string{"cidrIpv4": o.cidr4, "cidrIpv6": o.cidr6, "prefixListId": o.prefixList, "description": o.description} {
		if v != "" {
			e[name] = v
		}
	}
	if o.group != "" {
		e["referencedGroupId"] = o.group
	}
	return e
}

func groupParams(x *exchange) map[string]any {
	return present(map[string]any{"groupId": x.form.text("GroupId"), "groupName": x.form.text("GroupName")})
}

func createGroupParams(x *exchange) map[string]any {
	return present(map[string]any{
		"groupName": x.form.text("GroupName"), "groupDescription": x.form.text("GroupDescription"), "vpcId": x.form.text("VpcId"),
	})
}

// present drops what is empty.
func present(m map[string]any) map[string]any {
	for k, v := range m {
		if v == "" || v == nil {
			delete(m, k)
		}
	}
	return m
}

// permissionParams are those of Authorize and Revoke.
func permissionParams(x *exchange) map[string]any {
	p := groupParams(x)
	var perms []map[string]any
	for _, n := range x.form.at("IpPermissions").items() {
		perms = append(perms, permissionElements(n))
	}
	p["ipPermissions"] = items(perms)
	for from, to := range map[string]string{"IpProtocol": "ipProtocol", "CidrIp": "cidrIp", "SourceSecurityGroupName": "sourceSecurityGroupName"} {
		if x.form.has(from) {
			p[to] = x.form.text(from)
		}
	}
	for from, to := range map[string]string{"FromPort": "fromPort", "ToPort": "toPort"} {
		if x.form.has(from) {
			p[to] = x.form.number(from)
		}
	}
	var ids []map[string]any
	for _, id := range x.form.at("SecurityGroupRuleId").texts() {
		ids = append(ids, map[string]any{"securityGroupRuleId": id})
	}
	if ids != nil {
		p["securityGroupRuleIds"] = items(ids)
	}
	return p
}

func permissionElements(n *node) map[string]any {
	p := map[string]any{
		"ipProtocol": n.text("IpProtocol"),
		"groups":     items(lists(n.at("Groups"), map[string]string{"GroupId": "groupId", "GroupName": "groupName", "UserId": "userId", "Description": "description"})),
		"ipRanges":   items(lists(n.at("IpRanges"), map[string]string{"CidrIp": "cidrIp", "Description": "description"})),
		"ipv6Ranges": items(lists(n.at("Ipv6Ranges"), map[string]string{"CidrIpv6": "cidrIpv6", "Description": "description"})),
		"prefixListIds": items(lists(n.at("PrefixListIds"),
			map[string]string{"PrefixListId": "prefixListId", "Description": "description"})),
	}
	if n.has("FromPort") {
		p["fromPort"] = n.number("FromPort")
	}
	if n.has("ToPort") {
		p["toPort"] = n.number("ToPort")
	}
	return p
}

// lists turns numbered nodes into objects with CloudTrail's names.
func lists(n *node, names map[string]string) []map[string]any {
	var all []map[string]any
	for _, one := range n.items() {
		o := map[string]any{}
		for from, to := range names {
			if one.has(from) {
				o[to] = one.text(from)
			}
		}
		all = append(all, o)
	}
	return all
}

// modifyParams keeps the API's own names. One rule is an object, several are a
// list.
func modifyParams(x *exchange) map[string]any {
	var rules []map[string]any
	for i, u := range x.form.at("SecurityGroupRule").items() {
		to := u.at("SecurityGroupRule")
		values := map[string]any{}
		for _, name := range []string{"IpProtocol", "CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroupId", "Description"} {
			if to.has(name) {
				values[name] = to.text(name)
			}
		}
		for _, name := range []string{"FromPort", "ToPort"} {
			if to.has(name) {
				values[name] = to.number(name)
			}
		}
		rules = append(rules, map[string]any{"tag": i + 1, "SecurityGroupRuleId": u.text("SecurityGroupRuleId"), "SecurityGroupRule": values})
	}
	req := map[string]any{"GroupId": x.form.text("GroupId"), "SecurityGroupRule": any(rules)}
	if len(rules) == 1 {
		req["SecurityGroupRule"] = rules[0]
	}
	return map[string]any{"ModifySecurityGroupRulesRequest": req}
}

func tagParams(x *exchange) map[string]any {
	var resources []map[string]any
	for _, id := range x.form.at("ResourceId").texts() {
		resources = append(resources, map[string]any{"resourceId": id})
	}
	return map[string]any{
		"resourcesSet": items(resources),
		"tagSet":       items(lists(x.form.at("Tag"), map[string]string{"Key": "key", "Value": "value"})),
	}
}
