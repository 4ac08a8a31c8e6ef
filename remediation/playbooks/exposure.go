package playbooks

import (
	"fmt"
	"net/netip"
	"slices"

	"secbot/remediation"
)

const (
	maxPort = 65535
	// otherProtocols stands for all the protocols that no rule names.
	otherProtocols = ""
)

// exposure is how far one rule opens a group, given the rules beside it.
type exposure struct {
	Openness remediation.Openness
	Severity remediation.Severity
	// World are the rules, by their place, that make the world together with
	// this one on some port, itself among them; none where it is not open to
	// the world there or is so alone.
	World []int
	Alone bool // it is open to the world by itself
}

// band is a range of ports of one protocol in which the same rules apply. For
// ICMP the ports are type*256+code.
type band struct {
	protocol string
	from, to int32
}

// cidrRule is a rule for a range of addresses, or one range of its prefix list.
type cidrRule struct {
	index  int
	prefix netip.Prefix
	band   band
}

// exposures rates rules of one direction, all of one group, with what the prefix
// lists hold that they name. A list that nobody could read is wide.
//
// The ports are cut into bands in which the same rules apply, and each rule is
// rated in each of its bands: by what its range opens alone, or as open to the
// world where it does that together with the other rules of that band. The
// band that matters most decides for the rule.
func exposures(rules []remediation.Rule, lists map[string]PrefixList) []exposure {
	out := make([]exposure, len(rules))
	var families [2][]cidrRule
	for i, r := range rules {
		out[i] = exposure{Openness: remediation.OpenPrivate, Severity: remediation.SeverityLow}
		ranges, unread := rangesOf(r, lists)
		if unread != "" {
			out[i].unread(r)
		}
		for _, p := range ranges {
			family := 0
			if p.Addr().Is6() {
				family = 1
			}
			families[family] = append(families[family], cidrRule{index: i, prefix: p, band: bandOf(r)})
		}
	}
	for _, family := range families {
		rateFamily(rules, family, out)
	}
	return out
}

func prefixesOf(rules []cidrRule) []netip.Prefix {
	list := make([]netip.Prefix, len(rules))
	for i, r := range rules {
		list[i] = r.prefix
	}
	return list
}

// unread rates a rule of which nobody knows whom it lets in.
func (e *exposure) unread(r remediation.Rule) {
	of := []cidrRule{{band: bandOf(r)}}
	for _, b := range bandsOf(of) {
		if len(within(of, b)) > 0 {
			e.raise(remediation.OpenWide, bandSeverity(r.Direction, remediation.OpenWide, b))
		}
	}
}

// bandOf is the band of everything that a rule lets pass.
func bandOf(r remediation.Rule) band {
	b := band{protocol: r.Protocol, from: 0, to: maxPort}
	if r.Protocol == "-1" || r.FromPort == nil || r.ToPort == nil || *r.FromPort < 0 {
		return b
	}
	switch r.Protocol {
	case "tcp", "udp":
		b.from, b.to = *r.FromPort, *r.ToPort
	case "icmp", "icmpv6":
		b.from, b.to = *r.FromPort*256, *r.FromPort*256+255
		if *r.ToPort >= 0 {
			b.from += *r.ToPort
			b.to = b.from
		}
	}
	return b
}

func rateFamily(rules []remediation.Rule, family []cidrRule, out []exposure) {
	if len(family) == 0 {
		return
	}
	sp := spaceOf(family[0].prefix)
	alone := make([]remediation.Openness, len(family))
	ranges := make([]netip.Prefix, len(family))
	for i, c := range family {
		ranges[i] = c.prefix
		if i > 0 && family[i-1].index == c.index {
			alone[i] = alone[i-1] // another range of the same prefix list
			continue
		}
		own := family[i:]
		if n := slices.IndexFunc(own, func(o cidrRule) bool { return o.index != c.index }); n >= 0 {
			own = own[:n]
		}
		alone[i] = sp.openness(prefixesOf(own)...)
	}
	open := func(o remediation.Openness) bool { return o != remediation.OpenPrivate }
	if !slices.ContainsFunc(alone, open) && !sp.mayCover(ranges) {
		return // whatever the band, no rule is more than it is taken for
	}
	unions := map[string][]bool{} // many bands have the same rules
	for _, b := range bandsOf(family) {
		in := within(family, b)
		key := fmt.Sprint(in)
		union, known := unions[key]
		if !known {
			union = sp.union(pick(ranges, in))
			unions[key] = union
		}
		rateBand(rules, family, alone, b, in, union, out)
	}
}

// rateBand raises the exposure of the rules that apply in a band. in are their
// places in family; union says which of them make the world.
func rateBand(rules []remediation.Rule, family []cidrRule, alone []remediation.Openness, b band, in []int, union []bool, out []exposure) {
	var together []int
	for k, i := range in {
		if union[k] && alone[i] != remediation.OpenWorld {
			together = append(together, family[i].index)
		}
	}
	together = slices.Compact(together) // of a prefix list there are many
	for k, i := range in {
		e, open := &out[family[i].index], alone[i]
		if union[k] {
			open = remediation.OpenWorld
		}
		if alone[i] == remediation.OpenWorld {
			e.Alone = true
		} else if union[k] {
			e.World = merge(e.World, together)
		}
		e.raise(open, bandSeverity(rules[family[i].index].Direction, open, b))
	}
}

// merge joins two sorted sets. In most bands they are the same.
func merge(a, b []int) []int {
	if slices.Equal(a, b) {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// raise keeps the higher of two severities, and of equal ones the wider
// openness.
func (e *exposure) raise(open remediation.Openness, severity remediation.Severity) {
	order := remediation.Opennesses()
	switch more := severity.Rank() - e.Severity.Rank(); {
	case more > 0:
		e.Openness, e.Severity = open, severity
	case more == 0 && slices.Index(order, open) > slices.Index(order, e.Openness):
		e.Openness = open
	}
}

// bandsOf cuts the ports of each protocol where a rule, or a port that is rated
// by itself, begins or ends.
func bandsOf(family []cidrRule) []band {
	protocols := []string{otherProtocols, "tcp", "udp"}
	for _, c := range family {
		if c.band.protocol != "-1" && !slices.Contains(protocols, c.band.protocol) {
			protocols = append(protocols, c.band.protocol)
		}
	}
	var bands []band
	for _, protocol := range protocols {
		cuts := []int32{0, maxPort + 1}
		for _, c := range family {
			if c.band.protocol == protocol {
				cuts = append(cuts, c.band.from, c.band.to+1)
			}
		}
		if protocol == "tcp" || protocol == "udp" {
			for _, p := range ratedPorts() {
				cuts = append(cuts, p.from, p.to+1)
			}
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		for i := range len(cuts) - 1 {
			bands = append(bands, band{protocol: protocol, from: cuts[i], to: cuts[i+1] - 1})
		}
	}
	return bands
}

// within lists the rules that apply in all of a band.
func within(family []cidrRule, b band) []int {
	var in []int
	for i, c := range family {
		if (c.band.protocol == "-1" || c.band.protocol == b.protocol) && c.band.from <= b.from && b.to <= c.band.to {
			in = append(in, i)
		}
	}
	return in
}

func pick(ranges []netip.Prefix, places []int) []netip.Prefix {
	list := make([]netip.Prefix, len(places))
	for k, i := range places {
		list[k] = ranges[i]
	}
	return list
}

// ports is a range of ports with what they are for.
type ports struct {
	from, to int32
	web      bool // meant for everybody; otherwise administrative
}

// ratedPorts are the ports that are worse or better than others: remote
// administration and databases, as the built-in policy has them, and the web.
func ratedPorts() []ports {
	one := func(p int32) ports { return ports{from: p, to: p} }
	return []ports{
		{from: 80, to: 80, web: true}, {from: 443, to: 443, web: true},
		one(22), one(3389), one(1433), one(1521), one(3306), one(5432), one(5439), one(5984), one(6379),
		one(9042), one(9200), one(9300), one(11211), {from: 27017, to: 27019},
	}
}

// rated says what a band is for: administration, the web, or neither.
func (b band) rated() (admin, web bool) {
	if b.protocol != "tcp" && b.protocol != "udp" {
		return false, false
	}
	for _, p := range ratedPorts() {
		if p.from <= b.from && b.to <= p.to {
			return !p.web, p.web
		}
	}
	return false, false
}

// bandSeverity rates an openness in a band. Egress to the world is medium only
// as part of a rule for all traffic, which alone reaches protocols that no rule
// names. ICMP carries no sessions, so it counts as the web does.
func bandSeverity(d remediation.Direction, open remediation.Openness, b band) remediation.Severity {
	if d == remediation.Egress {
		if open == remediation.OpenWorld && b.protocol == otherProtocols {
			return remediation.SeverityMedium
		}
		return remediation.SeverityLow
	}
	admin, harmless := b.rated()
	harmless = harmless || b.protocol == "icmp" || b.protocol == "icmpv6"
	switch {
	case open == remediation.OpenWorld && admin:
		return remediation.SeverityCritical
	case open == remediation.OpenWorld && harmless:
		return remediation.SeverityMedium
	case open == remediation.OpenWorld, open == remediation.OpenWide && admin:
		return remediation.SeverityHigh
	case open == remediation.OpenWide, open == remediation.OpenNarrow && admin:
		return remediation.SeverityMedium
	}
	return remediation.SeverityLow
}
