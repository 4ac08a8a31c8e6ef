package playbooks_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

func rule(id string, d remediation.Direction, protocol string, from, to int32, cidr string) remediation.Rule {
	r := remediation.Rule{ID: id, Direction: d, Protocol: protocol, CIDR: cidr}
	if protocol != "-1" {
		r.FromPort, r.ToPort = &from, &to
	}
	return r
}

func in(id, protocol string, port int32, cidr string) remediation.Rule {
	return rule(id, remediation.Ingress, protocol, port, port, cidr)
}

func group(rules ...remediation.Rule) *playbooks.GroupState {
	return &playbooks.GroupState{
		Group: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "eu-west-1", ID: "sg-0a1b2c3d"},
		Name:  "web", VPC: "vpc-1", Tags: map[string]string{"env": "prod"}, Rules: rules,
	}
}

// added is the event that added rules, without what only EC2 knows of them.
func added(rules ...remediation.Rule) *remediation.Signal {
	sig := &remediation.Signal{
		EventID: "e-1", Kind: "AuthorizeSecurityGroupIngress", Resource: group().Group, Playbooks: []string{"sg-rule-added"},
		Actor:  remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana"},
		Change: remediation.Change{Direction: remediation.Ingress, Rules: slices.Clone(rules)},
	}
	if len(rules) > 0 && rules[0].Direction == remediation.Egress {
		sig.Kind, sig.Change.Direction = "AuthorizeSecurityGroupEgress", remediation.Egress
	}
	return sig
}

func groupPlaybook() remediation.Playbook {
	env := remediation.Environment{Playbooks: playbooks.All(playbooks.Clients{})}
	return env.Playbook("sg-rule-added")
}

func TestJudgeOneAddedRule(t *testing.T) {
	egress := func(protocol string, from, to int32, cidr string) remediation.Rule {
		return rule("sgr-1", remediation.Egress, protocol, from, to, cidr)
	}
	prefixList := in("sgr-1", "tcp", 22, "")
	prefixList.PrefixList = "pl-1"
	sibling := in("sgr-1", "tcp", 22, "")
	sibling.Group = "sg-0ffff"
	for name, tc := range map[string]struct {
		rule     remediation.Rule
		open     remediation.Openness
		severity remediation.Severity
	}{
		"ssh from the world":      {in("sgr-1", "tcp", 22, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityCritical},
		"ssh from the IPv6 world": {in("sgr-1", "tcp", 22, "::/0"), remediation.OpenWorld, remediation.SeverityCritical},
		"database in the middle":  {rule("sgr-1", remediation.Ingress, "tcp", 5000, 6000, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityCritical},
		"all traffic":             {rule("sgr-1", remediation.Ingress, "-1", 0, 0, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityCritical},
		"all TCP":                 {remediation.Rule{ID: "sgr-1", Direction: remediation.Ingress, Protocol: "tcp", CIDR: "0.0.0.0/0"}, remediation.OpenWorld, remediation.SeverityCritical},
		"some port":               {in("sgr-1", "tcp", 8080, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityHigh},
		"the web":                 {in("sgr-1", "tcp", 443, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityMedium},
		"the web and more":        {rule("sgr-1", remediation.Ingress, "tcp", 443, 444, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityHigh},
		"ping":                    {rule("sgr-1", remediation.Ingress, "icmp", 8, -1, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityMedium},
		"ssh from half of it":     {in("sgr-1", "tcp", 22, "0.0.0.0/1"), remediation.OpenWide, remediation.SeverityHigh},
		"port from half of it":    {in("sgr-1", "tcp", 8080, "0.0.0.0/1"), remediation.OpenWide, remediation.SeverityMedium},
		"ssh from a partner":      {in("sgr-1", "tcp", 22, "8.8.8.0/24"), remediation.OpenNarrow, remediation.SeverityMedium},
		"port from a partner":     {in("sgr-1", "tcp", 8080, "8.8.8.0/24"), remediation.OpenNarrow, remediation.SeverityLow},
		"ssh from the VPN":        {in("sgr-1", "tcp", 22, "10.0.0.0/8"), remediation.OpenPrivate, remediation.SeverityLow},
		"ssh from a list unread":  {prefixList, remediation.OpenWide, remediation.SeverityHigh},
		"ssh from a group":        {sibling, remediation.OpenPrivate, remediation.SeverityLow},
		"everything out":          {egress("-1", 0, 0, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityMedium},
		"mail out":                {egress("tcp", 25, 25, "0.0.0.0/0"), remediation.OpenWorld, remediation.SeverityLow},
		"ssh out to half of it":   {egress("tcp", 22, 22, "0.0.0.0/1"), remediation.OpenWide, remediation.SeverityLow},
	} {
		live := tc.rule
		live.Description, live.Tags = "why", map[string]string{"a": "b"}
		found := groupPlaybook().Judge(group(in("sgr-9", "tcp", 9, "10.1.0.0/16"), live), added(tc.rule))
		if len(found) != 1 || len(found[0].Rules) != 1 {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		f, r := found[0], found[0].Rules[0]
		if r.Openness != tc.open || r.Severity != tc.severity || f.Severity != tc.severity {
			t.Errorf("%s: %s %s (finding %s), want %s %s", name, r.Openness, r.Severity, f.Severity, tc.open, tc.severity)
		}
		if r.Description != "why" || r.ID != "sgr-1" || r.Tags["a"] != "b" {
			t.Errorf("%s: not the live rule: %+v", name, r)
		}
		if f.Name != "web" || f.Tags["env"] != "prod" || f.Direction != tc.rule.Direction || f.EventID != "e-1" || f.Actor.ARN == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestJudgeOnlyWhatTheEventAddedAndIsThere(t *testing.T) {
	ssh, rdp, web := in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-2", "tcp", 3389, "0.0.0.0/0"), in("sgr-3", "tcp", 443, "0.0.0.0/0")
	unnamed := ssh
	unnamed.ID = ""
	narrowed := in("sgr-1", "tcp", 22, "10.0.0.0/8")
	again := in("sgr-7", "tcp", 22, "0.0.0.0/0")
	for name, tc := range map[string]struct {
		live []remediation.Rule
		sig  *remediation.Signal
		want []string
	}{
		"both of two":                  {[]remediation.Rule{ssh, rdp, web}, added(ssh, rdp), []string{"sgr-1", "sgr-2"}},
		"one is gone":                  {[]remediation.Rule{rdp, web}, added(ssh, rdp), []string{"sgr-2"}},
		"all are gone":                 {[]remediation.Rule{web}, added(ssh), nil},
		"the event gave no id":         {[]remediation.Rule{ssh}, added(unnamed), []string{"sgr-1"}},
		"it is otherwise by now":       {[]remediation.Rule{narrowed}, added(ssh), []string{"sgr-1"}},
		"added again by somebody else": {[]remediation.Rule{again}, added(ssh), nil},
		"the event names no rule":      {[]remediation.Rule{ssh}, added(), nil},
	} {
		found := groupPlaybook().Judge(group(tc.live...), tc.sig)
		var got []string
		for _, f := range found {
			for _, r := range f.Rules {
				got = append(got, r.ID)
			}
		}
		if !slices.Equal(got, tc.want) || len(found) > 1 {
			t.Errorf("%s: found %v in %d findings, want %v", name, got, len(found), tc.want)
		}
	}
}

// TestJudgeWhatTheEventDoesNotTell: a rule that could not be read may be the open
// one.
func TestJudgeWhatTheEventDoesNotTell(t *testing.T) {
	ssh, web := in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-3", "tcp", 443, "10.0.0.0/8")
	sig := added(web)
	sig.Change.Unread = `its rules can't be read: "ssh" is no port`
	found := groupPlaybook().Judge(group(ssh, web), sig)
	if len(found) != 2 || found[0].Doubt != "" || found[1].Rules[0].ID != "sgr-1" || !strings.Contains(found[1].Doubt, "no port") || found[1].EventID != "e-1" {
		t.Errorf("found %+v", found)
	}
	if found := groupPlaybook().Judge(group(web), sig); len(found) != 1 {
		t.Errorf("nothing is open, and found is %+v", found)
	}
}

// TestJudgeModifiedUnread: of a modified rule that can't be read, what is open now
// is asked about.
func TestJudgeModifiedUnread(t *testing.T) {
	ssh, web := in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-3", "tcp", 443, "0.0.0.0/0")
	sig := added(web)
	sig.Kind, sig.Change.Unread = "ModifySecurityGroupRules", "a rule has no id"
	found := groupPlaybook().Judge(group(ssh, web), sig)
	if len(found) != 2 || found[0].Rules[0].ID != "sgr-3" || found[1].Rules[0].ID != "sgr-1" || !strings.Contains(found[1].Doubt, "no id") {
		t.Errorf("found %+v", found)
	}
	sig.Change.Rules = nil
	if found := groupPlaybook().Judge(group(ssh), sig); len(found) != 1 || found[0].Doubt == "" {
		t.Errorf("of an event without rules: %+v", found)
	}
}

// TestPrefixLists: a list is as open as what it holds, and wide where nobody may
// look into it.
func TestPrefixLists(t *testing.T) {
	named := in("sgr-1", "tcp", 22, "")
	named.PrefixList = "pl-1"
	half := in("sgr-2", "tcp", 22, "128.0.0.0/1")
	for name, tc := range map[string]struct {
		list    *playbooks.PrefixList
		beside  []remediation.Rule
		want    string // openness and severity; ? for doubt
		scanned int    // findings of a scan
	}{
		"the world":                   {list: &playbooks.PrefixList{CIDRs: []string{"0.0.0.0/0"}}, want: "world critical", scanned: 1},
		"the world in parts":          {list: &playbooks.PrefixList{CIDRs: []string{"0.0.0.0/1", "128.0.0.0/1"}}, want: "world critical", scanned: 1},
		"the world by IPv6":           {list: &playbooks.PrefixList{CIDRs: []string{"10.0.0.0/8", "::/0"}}, want: "world critical", scanned: 1},
		"half of it":                  {list: &playbooks.PrefixList{CIDRs: []string{"0.0.0.0/1"}}, want: "wide high", scanned: 1},
		"the other half of a rule":    {list: &playbooks.PrefixList{CIDRs: []string{"0.0.0.0/1"}}, beside: []remediation.Rule{half}, want: "world critical", scanned: 2},
		"two /8 are more than narrow": {list: &playbooks.PrefixList{CIDRs: []string{"8.0.0.0/8", "9.0.0.0/8"}}, want: "wide high", scanned: 1},
		"the same /8 twice":           {list: &playbooks.PrefixList{CIDRs: []string{"8.0.0.0/8", "8.8.0.0/16"}}, want: "narrow medium"},
		"private":                     {list: &playbooks.PrefixList{CIDRs: []string{"10.0.0.0/8"}}, want: "private low"},
		"nothing":                     {list: &playbooks.PrefixList{}, want: "private low"},
		"unread":                      {list: &playbooks.PrefixList{Unread: "not allowed"}, want: "wide high ?", scanned: 1},
		"nobody has looked":           {want: "wide high ?", scanned: 1},
	} {
		s := group(append([]remediation.Rule{named}, tc.beside...)...)
		if tc.list != nil {
			s.Lists = map[string]playbooks.PrefixList{"pl-1": *tc.list}
		}
		f := groupPlaybook().Judge(s, added(named))[0]
		got := fmt.Sprintf("%s %s", f.Rules[0].Openness, f.Rules[0].Severity)
		if f.Doubt != "" {
			got += " ?"
		}
		if got != tc.want {
			t.Errorf("%s: %s (%s), want %s", name, got, f.Doubt, tc.want)
		}
		scanned := groupPlaybook().Judge(s, nil)
		n := 0
		for _, f := range scanned {
			n += len(f.Rules)
		}
		if n != tc.scanned || tc.scanned == 1 && (scanned[0].Doubt != "") != (f.Doubt != "") {
			t.Errorf("%s: a scan finds %+v, want %d rules", name, scanned, tc.scanned)
		}
	}
}

// TestNamedPeer: an old call's event names another group by its name.
func TestNamedPeer(t *testing.T) {
	live, older := in("sgr-1", "tcp", 22, ""), in("sgr-2", "tcp", 22, "")
	live.Group, older.Group = "sg-0b0b", "sg-0c0c"
	told := in("", "tcp", 22, "")
	told.Group = "bastion"
	s := group(live, older)
	s.Peers = map[string]string{"bastion": "sg-0b0b"}
	if found := groupPlaybook().Judge(s, added(told)); len(found) != 1 || len(found[0].Rules) != 1 || found[0].Rules[0].ID != "sgr-1" || found[0].Doubt != "" {
		t.Errorf("a name that was looked up: %+v", found)
	}
	s.Peers = nil
	if found := groupPlaybook().Judge(s, added(told)); len(found) != 1 || len(found[0].Rules) != 2 || !strings.Contains(found[0].Doubt, "by its name") {
		t.Errorf("a name that was not: %+v", found)
	}
}

func TestJudgeUnionWithLiveRules(t *testing.T) {
	low, high := in("sgr-1", "tcp", 22, "0.0.0.0/1"), rule("sgr-2", remediation.Ingress, "tcp", 0, 65535, "128.0.0.0/1")
	f := groupPlaybook().Judge(group(low, high), added(high))[0]
	if r := f.Rules[0]; r.Openness != remediation.OpenWorld || r.Severity != remediation.SeverityCritical {
		t.Errorf("rule %s is %s %s, but together with the other it opens ssh to the world", r, r.Openness, r.Severity)
	}
	if len(f.Notes) == 0 || !strings.Contains(f.Notes[0], "together with tcp 22 from 0.0.0.0/1") {
		t.Errorf("notes %q", f.Notes)
	}
	out := low
	out.Direction = remediation.Egress
	f = groupPlaybook().Judge(group(out, high), added(high))[0]
	if f.Rules[0].Openness != remediation.OpenWide {
		t.Errorf("egress made ingress %s", f.Rules[0].Openness)
	}
}

func TestScanGroups(t *testing.T) {
	low, high := in("sgr-1", "tcp", 8080, "0.0.0.0/1"), in("sgr-2", "tcp", 8080, "128.0.0.0/1")
	var nearlyAll []remediation.Rule
	var nearlyIDs []string
	for i := 1; i < 224; i++ { // without 8.0.0.0/8, and what is private
		if i != 8 && i != 10 && i != 127 {
			id := fmt.Sprintf("sgr-%03d", i)
			nearlyAll, nearlyIDs = append(nearlyAll, in(id, "tcp", 22, fmt.Sprintf("%d.0.0.0/8", i))), append(nearlyIDs, id)
		}
	}
	for name, tc := range map[string]struct {
		rules []remediation.Rule
		want  []string // the ids of each finding
	}{
		"nothing open":           {[]remediation.Rule{in("sgr-1", "tcp", 22, "10.0.0.0/8"), in("sgr-2", "tcp", 8080, "0.0.0.0/1"), in("sgr-3", "tcp", 22, "8.0.0.0/8")}, nil},
		"ssh from half of it":    {[]remediation.Rule{in("sgr-1", "tcp", 22, "0.0.0.0/1")}, []string{"sgr-1"}},
		"ssh from nearly all":    {nearlyAll, []string{strings.Join(nearlyIDs, " ")}},
		"egress":                 {[]remediation.Rule{rule("sgr-1", remediation.Egress, "-1", 0, 0, "0.0.0.0/0")}, nil},
		"two alone":              {[]remediation.Rule{in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-2", "tcp", 22, "::/0")}, []string{"sgr-1", "sgr-2"}},
		"two together":           {[]remediation.Rule{low, high}, []string{"sgr-1 sgr-2"}},
		"two together, one more": {[]remediation.Rule{low, in("sgr-3", "tcp", 443, "0.0.0.0/0"), high}, []string{"sgr-3", "sgr-1 sgr-2"}},
	} {
		var got []string
		for _, f := range groupPlaybook().Judge(group(tc.rules...), nil) {
			var ids []string
			for _, r := range f.Rules {
				ids = append(ids, r.ID)
			}
			got = append(got, strings.Join(ids, " "))
			if f.Severity.Rank() < remediation.SeverityMedium.Rank() || f.EventID != "" || !f.IsOpen(remediation.OpenWorld, remediation.OpenWide) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestPlanModifiedSince: a rule that keeps its id and has other content is not gone.
func TestPlanModifiedSince(t *testing.T) {
	ssh := in("sgr-1", "tcp", 22, "0.0.0.0/0")
	ssh.Openness = remediation.OpenWorld
	f := remediation.Finding{Playbook: "sg-rule-added", Rules: []remediation.Rule{ssh}}
	for name, tc := range map[string]struct {
		now   remediation.Rule
		takes bool
	}{
		"widened":             {rule("sgr-1", remediation.Ingress, "tcp", 0, 65535, "0.0.0.0/0"), true},
		"another port":        {in("sgr-1", "tcp", 8080, "0.0.0.0/0"), true},
		"narrowed":            {in("sgr-1", "tcp", 22, "10.0.0.0/8"), false},
		"the world otherwise": {in("sgr-1", "tcp", 22, "::/0"), true},
	} {
		p, err := groupPlaybook().Plan(group(tc.now), f)
		var drift *remediation.DriftError
		switch {
		case errors.Is(err, remediation.ErrNothingToDo):
			t.Errorf("%s: it is called safe", name)
		case tc.takes && (err != nil || len(p.Steps) != 1 || !strings.Contains(p.Steps[0].Summary, "sgr-1 ("+tc.now.String())):
			t.Errorf("%s: plan %+v, %v", name, p.Steps, err)
		case !tc.takes && (!errors.As(err, &drift) || len(drift.Diff) == 0):
			t.Errorf("%s: plan %+v, %v, want the drift", name, p.Steps, err)
		}
	}
	// The same for a rule that was modified, and then modified otherwise.
	env := remediation.Environment{Playbooks: playbooks.All(playbooks.Clients{})}
	f = remediation.Finding{Playbook: "sg-rule-modified", Rules: []remediation.Rule{ssh}, Was: []remediation.Rule{in("sgr-1", "tcp", 22, "10.0.0.0/8")}}
	if _, err := env.Playbook("sg-rule-modified").Plan(group(in("sgr-1", "tcp", 3389, "0.0.0.0/0")), f); !errors.Is(err, remediation.ErrDrifted) {
		t.Errorf("modified otherwise: %v", err)
	}
	if _, err := env.Playbook("sg-rule-modified").Plan(group(f.Was[0]), f); !errors.Is(err, remediation.ErrNothingToDo) {
		t.Errorf("modified back: %v", err)
	}
	again := in("sgr-9", "tcp", 22, "0.0.0.0/0")
	again.Description = "added again"
	p, err := env.Playbook("sg-rule-modified").Plan(group(again), f)
	if err != nil || len(p.Steps) != 1 || !strings.Contains(p.Steps[0].Summary, "modify sgr-9 from") {
		t.Errorf("taken away and added again: %+v, %v", p.Steps, err)
	}
}

func TestPlanGroup(t *testing.T) {
	ssh, web := in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-3", "tcp", 443, "0.0.0.0/0")
	out := rule("sgr-4", remediation.Egress, "-1", 0, 0, "0.0.0.0/0")
	f := remediation.Finding{Playbook: "sg-rule-added", Rules: []remediation.Rule{ssh, out}}
	p, err := groupPlaybook().Plan(group(ssh, web, out), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Steps) != 2 || p.Steps[0].Action != "ec2:RevokeSecurityGroupIngress" || p.Steps[1].Action != "ec2:RevokeSecurityGroupEgress" {
		t.Errorf("steps %+v", p.Steps)
	}
	want := []remediation.DiffLine{{Op: "-", Text: "ingress tcp 22 from 0.0.0.0/0"}, {Op: " ", Text: "ingress tcp 443 from 0.0.0.0/0"}, {Op: "-", Text: "egress all traffic to 0.0.0.0/0"}}
	if !slices.Equal(p.Diff, want) {
		t.Errorf("diff %v", p.Diff)
	}
	if _, err := groupPlaybook().Plan(group(web), f); !errors.Is(err, remediation.ErrNothingToDo) {
		t.Errorf("without the rules: %v", err)
	}
	if _, err := groupPlaybook().Plan(bucket(), f); err == nil {
		t.Error("a bucket was taken for a group")
	}
}
