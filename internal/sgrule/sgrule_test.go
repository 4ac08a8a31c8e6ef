package sgrule

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestProtocol(t *testing.T) {
	tests := map[string]string{
		"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6",
		"TCP": "tcp", "-1": "-1", "all": "-1", "ALL": "-1",
		"47": "47", "icmpv6": "icmpv6", "": "",
	}
	for in, want := range tests {
		if got := Protocol(in); got != want {
			t.Errorf("Protocol(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCIDR(t *testing.T) {
	tests := []struct{ in, want string }{
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"203.0.113.7/24", "203.0.113.0/24"},
		{"203.0.113.7", "203.0.113.7/32"},
		{" 203.0.113.7/32 ", "203.0.113.7/32"},
		{"2001:DB8:0:0:0:0:0:1/64", "2001:db8::/64"},
		{"0:0:0:0:0:0:0:0/0", "::/0"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"fe80::1%eth0", "fe80::1/128"},
	}
	for _, tt := range tests {
		got, err := CIDR(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("CIDR(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "anywhere", "1.2.3/24", "1.2.3.4/33", "1.2.3.4/-1", "::/129", "010.0.0.0/8", string(make([]byte, 999))} {
		if got, err := CIDR(bad); err == nil {
			t.Errorf("CIDR(%q) = %q, want an error", bad, got)
		}
	}
}

func TestCIDRIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")
		bits := rapid.IntRange(0, 32).Draw(t, "bits")
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), bits)
		once, err := CIDR(p.String())
		if err != nil {
			t.Fatal(err)
		}
		twice, err := CIDR(once)
		if err != nil || once != twice {
			t.Fatalf("CIDR(%q) = %q, %v", once, twice, err)
		}
		if got := netip.MustParsePrefix(once); !got.Contains(p.Addr()) || got.Bits() != bits {
			t.Fatalf("%s became %s", p, got)
		}
	})
}

func TestPorts(t *testing.T) {
	p := func(v int32) *int32 { return &v }
	tests := []struct {
		protocol           string
		from, to           *int32
		wantFrom, wantUpTo *int32
	}{
		{"tcp", p(22), p(23), p(22), p(23)},
		{"tcp", p(0), p(65535), p(0), p(65535)},
		{"tcp", p(22), nil, p(22), p(22)},
		{"udp", nil, p(53), p(53), p(53)},
		{"tcp", nil, nil, nil, nil},
		{"tcp", p(-1), p(-1), nil, nil},
		{"-1", nil, nil, nil, nil},
		{"-1", p(0), p(0), nil, nil},
		{"-1", p(-1), p(-1), nil, nil},
		{"47", p(-1), p(-1), nil, nil},
		{"icmp", p(8), nil, p(8), p(-1)},
		{"icmp", p(8), p(0), p(8), p(0)},
		{"icmpv6", nil, nil, p(-1), p(-1)},
	}
	for _, tt := range tests {
		from, to := Ports(tt.protocol, tt.from, tt.to)
		if diff := cmp.Diff([]*int32{tt.wantFrom, tt.wantUpTo}, []*int32{from, to}); diff != "" {
			t.Errorf("Ports(%s):\n%s", tt.protocol, diff)
		}
	}
}

func TestPortsCopies(t *testing.T) {
	from, to := int32(22), int32(22)
	gotFrom, gotTo := Ports("tcp", &from, &to)
	from, to = 1, 1
	if *gotFrom != 22 || *gotTo != 22 {
		t.Error("the ports are the caller's own variables")
	}
}
