// Package sgrule brings the parts of security-group rules into one form, so
// that what an event says compares with what EC2 lists.
package sgrule

import (
	"fmt"
	"net/netip"
	"strings"
)

// All is the protocol of rules that let all traffic through.
const All = "-1"

// maxCIDR is longer than any IPv6 range can be written.
const maxCIDR = 64

// Protocol gives a protocol the name under which EC2 lists it: tcp, udp, icmp
// or icmpv6 for those names and for the numbers 6, 17, 1 and 58; -1 for -1 and
// "all"; any other number or name in lower case as it is.
func Protocol(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	switch s {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "58":
		return "icmpv6"
	case "all":
		return All
	}
	return s
}

// CIDR gives an IPv4 or IPv6 range in canonical form: host bits zero, IPv6
// compressed and in lower case. A plain address is the range of that address
// alone. The error says what is wrong with s.
func CIDR(s string) (string, error) {
	if len(s) > maxCIDR {
		return "", fmt.Errorf("a CIDR of %d characters is too long", len(s))
	}
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return "", fmt.Errorf("CIDR %q: %w", s, err)
		}
		return netip.PrefixFrom(addr.WithZone(""), addr.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return "", fmt.Errorf("CIDR %q: %w", s, err)
	}
	return p.Masked().String(), nil
}

// Ports gives a rule's ports in the form that remediation.Rule keeps. protocol
// must come from Protocol.
//
// TCP and UDP keep their range; absent ports or -1 are no range at all, which
// means every port, and a single bound stands for both. For ICMP and ICMPv6
// the two are type and code, where absent means -1, that is all. Every other
// protocol, -1 included, has no ports, whatever the caller wrote: EC2 ignores
// them.
func Ports(protocol string, from, to *int32) (*int32, *int32) {
	switch protocol {
	case "tcp", "udp":
		return portRange(from, to)
	case "icmp", "icmpv6":
		return orAll(from), orAll(to)
	}
	return nil, nil
}

func portRange(from, to *int32) (*int32, *int32) {
	from, to = orNone(from), orNone(to)
	if from == nil {
		from = to
	}
	if to == nil {
		to = from
	}
	return clone(from), clone(to)
}

func orNone(p *int32) *int32 {
	if p == nil || *p < 0 {
		return nil
	}
	return p
}

func orAll(p *int32) *int32 {
	if p == nil {
		all := int32(-1)
		return &all
	}
	return clone(p)
}

func clone(p *int32) *int32 {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
