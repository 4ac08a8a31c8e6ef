package remediation_test

import (
	"testing"
	"time"

	"secbot/remediation"
)

// TestSuppressedFlags: what was ignored of a block, or put back by an undo, is
// those flags and that openness, or less.
func TestSuppressedFlags(t *testing.T) {
	house := remediation.Ref{Kind: remediation.KindBucket, Account: toyAccount, ID: "b"}
	one := &remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true}
	two := &remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true}
	find := func(b *remediation.BlockFlags, open ...remediation.Openness) remediation.Finding {
		return remediation.Finding{Playbook: "s3-block-public-access", Resource: house, Off: b.Off(), Openness: append([]remediation.Openness{remediation.Unblocked}, open...)}
	}
	ignored := find(two, remediation.PublicRead)
	s := remediation.Suppression{Key: ignored.Key(), Playbook: ignored.Playbook, Resource: &house, Rules: ignored.Changes(), Until: time.Now().Add(time.Hour)}
	for name, c := range map[string]struct {
		f    remediation.Finding
		want bool
	}{
		"the same":             {find(two, remediation.PublicRead), true},
		"fewer flags":          {find(one, remediation.PublicRead), true},
		"less open":            {find(two), true},
		"all flags":            {find(nil, remediation.PublicRead), false},
		"everybody may write":  {find(two, remediation.PublicRead, remediation.PublicWrite), false},
		"nobody says which":    {remediation.Finding{Playbook: ignored.Playbook, Resource: house, Openness: ignored.Openness}, false},
		"another bucket":       {func() remediation.Finding { f := find(two); f.Resource.ID = "c"; return f }(), false},
		"the same of an other": {func() remediation.Finding { f := find(two); f.Playbook = "x"; return f }(), false},
	} {
		if got := s.Matches(c.f, time.Now()); got != c.want {
			t.Errorf("%s: covered %v, want %v", name, got, c.want)
		}
	}
	if find(one).Key() == find(nil).Key() || find(one).Key() == find(one, remediation.PublicWrite).Key() {
		t.Error("findings of other flags, or of another openness, are the same")
	}
}
