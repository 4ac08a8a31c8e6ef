package playbooks

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"secbot/remediation"
)

// space is one address family: the range that holds every public address, and
// what in it is not public.
type space struct {
	root     netip.Prefix
	reserved []netip.Prefix
	narrow   float64 // up to so many public addresses a range is narrow
	total    float64 // how many public addresses there are
	spare    float64 // so many public addresses a union may leave out and is the world all the same
}

// ipv4 is the IPv4 space. What is not public is in "IANA IPv4 Special-Purpose
// Address Registry", and multicast (RFC 5771).
func ipv4() space {
	return space{
		root: netip.MustParsePrefix("0.0.0.0/0"),
		reserved: prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
			"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
			"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
		narrow: 1 << 24, // a /8
		total:  3_702_258_432,
		spare:  1 << 24,
	}
}

// ipv6 is the IPv6 space: global unicast, 2000::/3 (RFC 4291), without the
// ranges for documentation (RFC 3849, RFC 9637).
func ipv6() space {
	return space{
		root:     netip.MustParsePrefix("2000::/3"),
		reserved: prefixes("2001:db8::/32", "3fff::/20"),
		narrow:   1 << 96, // a /32
		total:    1<<125 - 1<<108 - 1<<96,
		spare:    1 << 96,
	}
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		list[i] = netip.MustParsePrefix(t)
	}
	return list
}

// spaceOf is the space of a range's family.
func spaceOf(p netip.Prefix) space {
	if p.Addr().Is4() {
		return ipv4()
	}
	return ipv6()
}

// covers reports whether the ranges together hold every public address, or all
// but a few.
func (sp space) covers(ranges []netip.Prefix) bool {
	if !sp.mayCover(ranges) {
		return false
	}
	all := slices.Concat(ranges, sp.reserved)
	whole := func(p netip.Prefix) bool { return holds(p, sp.root) }
	return slices.ContainsFunc(all, whole) || sp.tree(all).covered
}

// mayCover reports whether the ranges, were they all public and apart, are large enough
// to cover the space. Those of most groups are not, and a scan judges many.
func (sp space) mayCover(ranges []netip.Prefix) bool {
	sum := sp.spare
	for _, p := range ranges {
		sum += size(p)
	}
	return sum >= sp.total
}

// size is how many addresses a range has.
func size(p netip.Prefix) float64 { return math.Ldexp(1, p.Addr().BitLen()-p.Bits()) }

// holds reports whether all of inner is in outer.
func holds(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// halves splits a range, which must be of more than one address, in two.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits() + 1
	raw := p.Masked().Addr().AsSlice()
	low = netip.PrefixFrom(p.Masked().Addr(), bits)
	raw[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	upper, _ := netip.AddrFromSlice(raw) // as long as it was
	return low, netip.PrefixFrom(upper, bits)
}

// public counts the public addresses of a range, exactly for IPv4.
func (sp space) public(p netip.Prefix) float64 {
	if holds(p, sp.root) {
		p = sp.root
	}
	if !holds(sp.root, p) {
		return 0
	}
	return count(p, sp.reserved)
}

// count counts the addresses of p that are in none of the ranges.
func count(p netip.Prefix, ranges []netip.Prefix) float64 {
	var inside []netip.Prefix
	for _, r := range ranges {
		if holds(r, p) {
			return 0
		}
		if holds(p, r) {
			inside = append(inside, r)
		}
	}
	if len(inside) == 0 {
		return size(p)
	}
	low, high := halves(p)
	return count(low, inside) + count(high, inside)
}

// publicIn counts the public addresses of all the ranges together.
func (sp space) publicIn(ranges []netip.Prefix) float64 {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	n := 0.0
	var last netip.Prefix
	for _, p := range sorted {
		if last.IsValid() && holds(last, p) {
			continue
		}
		n, last = n+sp.public(p), p
	}
	return n
}

// openness says how far ranges open by themselves.
func (sp space) openness(ranges ...netip.Prefix) remediation.Openness {
	n := sp.publicIn(ranges)
	switch {
	case n == 0:
		return remediation.OpenPrivate
	case sp.covers(ranges):
		return remediation.OpenWorld
	case n > sp.narrow:
		return remediation.OpenWide
	}
	return remediation.OpenNarrow
}

// union reports for each range whether it is part of a smallest set of the
// ranges that holds every public address that any of them holds, where that is
// all or all but a few, smallest in that no member can be left out. A range is, where it has public addresses of its own and holds
// every one together with the ranges that lie apart from it: those around it
// would make it superfluous, and it makes those within it superfluous.
func (sp space) union(ranges []netip.Prefix) []bool {
	part := make([]bool, len(ranges))
	if !sp.mayCover(ranges) {
		return part
	}
	for i, p := range ranges {
		part[i] = holds(p, sp.root)
	}
	tree := sp.tree(slices.Concat(ranges, sp.reserved))
	tree.mark(func(i int) {
		if i < len(ranges) {
			part[i] = sp.public(ranges[i]) > 0
		}
	})
	return part
}

// tree sorts ranges that are smaller than the space, the reserved ones among them,
// into it. Where they leave out no more than it can spare, that counts as covered.
func (sp space) tree(ranges []netip.Prefix) *tree {
	var inside []int
	for i, p := range ranges {
		if !holds(p, sp.root) && holds(sp.root, p) {
			inside = append(inside, i)
		}
	}
	t := treeOf(sp.root, ranges, inside)
	if t.gap <= sp.spare {
		t.fill()
	}
	return t
}

// tree is a part of a space with the ranges that lie in it.
type tree struct {
	own       []int   // the places of those that are all of it
	covered   bool    // the ranges in it hold all of it
	gap       float64 // how many addresses they don't hold
	low, high *tree   // its halves; nil where no range is smaller
}

// treeOf sorts ranges, given by their places, into the halves of p.
func treeOf(p netip.Prefix, ranges []netip.Prefix, inside []int) *tree {
	if len(inside) == 0 {
		return &tree{gap: count(p, nil)}
	}
	var t tree
	var lower, upper []int
	low, high := p, p
	if p.Bits() < p.Addr().BitLen() {
		low, high = halves(p)
	}
	for _, i := range inside {
		switch {
		case ranges[i].Bits() == p.Bits():
			t.own = append(t.own, i)
		case holds(low, ranges[i]):
			lower = append(lower, i)
		default:
			upper = append(upper, i)
		}
	}
	if len(lower)+len(upper) > 0 {
		t.low, t.high = treeOf(low, ranges, lower), treeOf(high, ranges, upper)
	}
	if len(t.own) == 0 {
		t.gap = t.low.gap + t.high.gap
	}
	t.covered = t.gap == 0
	return &t
}

// fill takes what no range holds for covered.
func (t *tree) fill() {
	t.covered = true
	if t.low != nil && len(t.own) == 0 {
		t.low.fill()
		t.high.fill()
	}
}

// mark calls f for each range that covers everything together with what lies
// apart from it. t is a part beside which everything is covered.
func (t *tree) mark(f func(int)) {
	for _, i := range t.own {
		f(i)
	}
	if t.low == nil {
		return
	}
	if t.high.covered {
		t.low.mark(f)
	}
	if t.low.covered {
		t.high.mark(f)
	}
}
