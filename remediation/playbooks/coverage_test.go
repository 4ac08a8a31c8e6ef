package playbooks

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"secbot/remediation"
)

func TestOpenness(t *testing.T) {
	for cidr, want := range map[string]remediation.Openness{
		"0.0.0.0/0":          remediation.OpenWorld,
		"0.0.0.0/1":          remediation.OpenWide,
		"8.0.0.0/7":          remediation.OpenWide,
		"8.0.0.0/8":          remediation.OpenNarrow,
		"10.0.0.0/7":         remediation.OpenNarrow, // only 11.0.0.0/8 of it is public
		"8.8.8.8/32":         remediation.OpenNarrow,
		"10.0.0.0/8":         remediation.OpenPrivate,
		"172.16.0.0/12":      remediation.OpenPrivate,
		"100.64.0.0/10":      remediation.OpenPrivate,
		"203.0.113.0/24":     remediation.OpenPrivate,
		"224.0.0.0/3":        remediation.OpenPrivate,
		"192.0.0.0/2":        remediation.OpenWide,
		"::/0":               remediation.OpenWorld,
		"::/1":               remediation.OpenWorld,
		"2000::/3":           remediation.OpenWorld,
		"2000::/4":           remediation.OpenWide,
		"2600::/31":          remediation.OpenWide,
		"2600::/32":          remediation.OpenNarrow,
		"2600::1/128":        remediation.OpenNarrow,
		"2001:db8::/32":      remediation.OpenPrivate,
		"fc00::/7":           remediation.OpenPrivate,
		"8000::/1":           remediation.OpenPrivate,
		"::ffff:0:0/96":      remediation.OpenPrivate,
		"192.168.7.9/32":     remediation.OpenPrivate,
		"169.254.0.0/16":     remediation.OpenPrivate,
		"255.255.255.255/32": remediation.OpenPrivate,
	} {
		p := netip.MustParsePrefix(cidr)
		if got := spaceOf(p).openness(p); got != want {
			t.Errorf("%s is %s, want %s", cidr, got, want)
		}
	}
}

// allBut gives the ranges that hold all of root but its first part of so many bits.
func allBut(root string, bits int) []string {
	var ranges []string
	for p := netip.MustParsePrefix(root); p.Bits() < bits; {
		low, high := halves(p)
		ranges, p = append(ranges, high.String()), low
	}
	return ranges
}

func TestUnion(t *testing.T) {
	for name, tc := range map[string]struct {
		ranges []string
		want   []bool
	}{
		"halves":                {[]string{"0.0.0.0/1", "128.0.0.0/1"}, []bool{true, true}},
		"a half":                {[]string{"0.0.0.0/1"}, []bool{false}},
		"halves and private":    {[]string{"0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1"}, []bool{true, false, true}},
		"half and two quarters": {[]string{"128.0.0.0/2", "0.0.0.0/1", "192.0.0.0/2"}, []bool{true, true, true}},
		"a third half too":      {[]string{"0.0.0.0/1", "0.0.0.0/1", "128.0.0.0/1"}, []bool{true, true, true}},
		"everything and a half": {[]string{"0.0.0.0/0", "0.0.0.0/1"}, []bool{true, false}},
		"superfluous":           {[]string{"0.0.0.0/1", "128.0.0.0/1", "8.8.8.0/24"}, []bool{true, true, false}},
		"without multicast":     {[]string{"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"}, []bool{true, true, true}},
		"IPv6 halves":           {[]string{"2000::/4", "3000::/4"}, []bool{true, true}},
		"all but a /8":          {[]string{"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/4", "208.0.0.0/5", "216.0.0.0/6", "220.0.0.0/7", "222.0.0.0/8"}, []bool{true, true, true, true, true, true, true}},
		"all but a /8 and more": {[]string{"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/4", "208.0.0.0/5", "216.0.0.0/6", "220.0.0.0/7"}, []bool{false, false, false, false, false, false}},
		"all but an IPv6 /32":   {append(allBut("2000::/3", 32), "2600::/64"), append(slices.Repeat([]bool{true}, 29), false)},
	} {
		list := prefixes(tc.ranges...)
		if got := spaceOf(list[0]).union(list); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// small draws a space of 16 addresses with some reserved ranges, and ranges.
func small(t *rapid.T) (space, []netip.Prefix) {
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "host") % 16})
		return netip.PrefixFrom(addr, rapid.IntRange(28, 32).Draw(t, "bits")).Masked()
	})
	sp := space{
		root:     netip.MustParsePrefix("10.0.0.0/28"),
		reserved: rapid.SliceOfN(prefix, 0, 3).Draw(t, "reserved"),
		narrow:   4,
		spare:    float64(rapid.IntRange(0, 4).Draw(t, "spare")),
	}
	return sp, rapid.SliceOfN(prefix, 0, 6).Draw(t, "ranges")
}

// addresses lists the public addresses of the small space that ranges hold, the
// slow way.
func addresses(sp space, ranges []netip.Prefix) int {
	n := 0
	for host := range 16 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(host)})
		in := func(list []netip.Prefix) bool {
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		if in(ranges) && !in(sp.reserved) {
			n++
		}
	}
	return n
}

func TestCoversAsCounted(t *testing.T) { rapid.Check(t, coversAsCounted) }

func FuzzCovers(f *testing.F) { f.Fuzz(rapid.MakeFuzz(coversAsCounted)) }

func coversAsCounted(t *rapid.T) {
	sp, ranges := small(t)
	all := addresses(sp, []netip.Prefix{sp.root})
	if got, want := sp.covers(ranges), float64(all-addresses(sp, ranges)) <= sp.spare; got != want {
		t.Fatalf("covers %v, counted %v", got, want)
	}
	if got, want := sp.publicIn(ranges), float64(addresses(sp, ranges)); got != want {
		t.Fatalf("%v hold %v public addresses, counted %v", ranges, got, want)
	}
	for _, p := range ranges {
		if got, want := sp.public(p), float64(addresses(sp, []netip.Prefix{p})); got != want {
			t.Fatalf("%s holds %v public addresses, counted %v", p, got, want)
		}
	}
}

// TestUnionAsEnumerated compares with all subsets: a range counts where a subset
// that covers everything that all of them do, and of which no member can be left
// out, has it, provided that the space can spare the rest.
func TestUnionAsEnumerated(t *testing.T) { rapid.Check(t, unionAsEnumerated) }

func FuzzUnion(f *testing.F) { f.Fuzz(rapid.MakeFuzz(unionAsEnumerated)) }

func unionAsEnumerated(t *rapid.T) {
	sp, ranges := small(t)
	all := addresses(sp, []netip.Prefix{sp.root})
	if all == 0 {
		t.Skip("nothing is public")
	}
	// What is everything by itself makes nothing else superfluous or needed.
	got := sp.union(ranges)
	whole := func(p netip.Prefix) bool { return p == sp.root }
	for i := len(ranges) - 1; i >= 0; i-- {
		if whole(ranges[i]) {
			if !got[i] {
				t.Fatalf("%v: %s is no part", ranges, ranges[i])
			}
			got = slices.Delete(got, i, i+1)
		}
	}
	ranges = slices.DeleteFunc(ranges, whole)
	if rest := all - addresses(sp, ranges); float64(rest) <= sp.spare {
		all -= rest
	} else {
		all = -1 // which no subset holds
	}
	subset := func(bits int) (list []netip.Prefix) {
		for i, p := range ranges {
			if bits&(1<<i) != 0 {
				list = append(list, p)
			}
		}
		return list
	}
	want := make([]bool, len(ranges))
	for bits := range 1 << len(ranges) {
		if addresses(sp, subset(bits)) != all {
			continue
		}
		smallest := true
		for i := range ranges {
			smallest = smallest && (bits&(1<<i) == 0 || addresses(sp, subset(bits&^(1<<i))) != all)
		}
		for i := range ranges {
			want[i] = want[i] || (smallest && bits&(1<<i) != 0)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v: %v, enumerated %v", ranges, got, want)
	}
}

// drawRule draws a rule of a few protocols, ports and ranges.
func drawRule(d remediation.Direction) *rapid.Generator[remediation.Rule] {
	return rapid.Custom(func(t *rapid.T) remediation.Rule {
		r := remediation.Rule{Direction: d, Protocol: rapid.SampledFrom([]string{"tcp", "udp", "-1", "50"}).Draw(t, "protocol")}
		if r.Protocol == "tcp" || r.Protocol == "udp" {
			from := rapid.SampledFrom([]int32{0, 21, 22, 23, 80, 443, 444}).Draw(t, "from")
			to := rapid.SampledFrom([]int32{22, 80, 443, 445, 65535}).Draw(t, "to")
			r.FromPort, r.ToPort = &from, &to
			if to < from {
				r.ToPort = &from
			}
		}
		r.CIDR = rapid.SampledFrom([]string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2",
			"10.0.0.0/8", "8.8.8.0/24", "2000::/4", "3000::/4", "::/0"}).Draw(t, "cidr")
		return r
	})
}

// TestExposuresPortByPort compares the bands with a look at each port.
func TestExposuresPortByPort(t *testing.T) {
	ports := []int32{0, 1, 21, 22, 23, 24, 79, 80, 81, 442, 443, 444, 445, 446, 3388, 3389, 3390, 65535}
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom([]remediation.Direction{remediation.Ingress, remediation.Egress}).Draw(t, "direction")
		rules := rapid.SliceOfN(drawRule(d), 1, 7).Draw(t, "rules")
		got := exposures(rules, nil)
		for i := range rules {
			want := exposure{Openness: remediation.OpenPrivate, Severity: remediation.SeverityLow}
			for _, protocol := range []string{"tcp", "udp", "50", otherProtocols} {
				for _, port := range ports {
					open, applies := opennessAt(rules, i, protocol, port)
					if applies {
						want.raise(open, bandSeverity(d, open, band{protocol: protocol, from: port, to: port}))
					}
				}
			}
			if got[i].Openness != want.Openness || got[i].Severity != want.Severity {
				t.Fatalf("%s: %s %s, port by port %s %s", rules[i], got[i].Openness, got[i].Severity, want.Openness, want.Severity)
			}
		}
	})
}

// opennessAt is how far rule i opens one port, together with the others there.
func opennessAt(rules []remediation.Rule, i int, protocol string, port int32) (remediation.Openness, bool) {
	applies := func(r remediation.Rule) bool {
		return r.Protocol == "-1" || (r.Protocol == protocol && (r.FromPort == nil || (*r.FromPort <= port && port <= *r.ToPort)))
	}
	if !applies(rules[i]) {
		return "", false
	}
	mine := netip.MustParsePrefix(rules[i].CIDR)
	var ranges []netip.Prefix
	place := 0
	for j, r := range rules {
		p := netip.MustParsePrefix(r.CIDR)
		if p.Addr().Is4() != mine.Addr().Is4() || !applies(r) {
			continue
		}
		if j == i {
			place = len(ranges)
		}
		ranges = append(ranges, p)
	}
	if spaceOf(mine).union(ranges)[place] {
		return remediation.OpenWorld, true
	}
	return spaceOf(mine).openness(mine), true
}

// TestRatedPortsAreThePolicys keeps the ports that make a finding critical the
// ones that the built-in policy fixes by itself.
func TestRatedPortsAreThePolicys(t *testing.T) {
	var policy, rated []string
	for _, p := range remediation.BuiltinRules()[0].Match.Ports {
		if !p.All {
			policy = append(policy, fmt.Sprintf("%d-%d", p.From, p.To))
		}
	}
	for _, p := range ratedPorts() {
		if !p.web {
			rated = append(rated, fmt.Sprintf("%d-%d", p.from, p.to))
		}
	}
	slices.Sort(policy)
	slices.Sort(rated)
	if !slices.Equal(policy, rated) {
		t.Errorf("rated %v, the policy has %v", rated, policy)
	}
}

// TestTotal: the number of public addresses that ranges are compared with.
func TestTotal(t *testing.T) {
	for name, sp := range map[string]space{"IPv4": ipv4(), "IPv6": ipv6()} {
		if n := sp.public(sp.root); n != sp.total {
			t.Errorf("%s has %.0f public addresses, not %.0f", name, n, sp.total)
		}
	}
}
