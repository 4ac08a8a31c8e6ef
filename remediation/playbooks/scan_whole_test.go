package playbooks_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	gocmp "github.com/google/go-cmp/cmp"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestGroupsReadTogether: groups that are wanted whole are as Read gives them, with
// their interfaces, prefix lists and those that name them, for a call for each thousand
// rules and three for each two hundred groups.
func TestGroupsReadTogether(t *testing.T) {
	s := newScanned(t)
	list := must(s.ec2.CreateManagedPrefixList(s.ctx, &ec2.CreateManagedPrefixListInput{PrefixListName: aws.String("partners"), AddressFamily: aws.String("IPv4"),
		MaxEntries: aws.Int32(1), Entries: []ec2types.AddPrefixListEntry{{Cidr: aws.String("10.0.0.0/8")}}}))(t).PrefixList.PrefixListId
	refs := make([]remediation.Ref, 210)
	for i := range refs {
		refs[i] = s.group(t, fmt.Sprint("g", i), i%4)
		allow(t, s.world, refs[i], nil, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), PrefixListIds: []ec2types.PrefixListId{{PrefixListId: list}}})
		if i > 0 && i%2 == 0 {
			allow(t, s.world, refs[i], nil, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(5432), ToPort: aws.Int32(5432), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &refs[i/3].ID}, {GroupId: &refs[i].ID}}})
		}
		if i%5 == 0 {
			must(s.ec2.AuthorizeSecurityGroupEgress(s.ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &refs[i].ID, IpPermissions: []ec2types.IpPermission{
				{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(53), ToPort: aws.Int32(53), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &refs[i/2].ID}}}}}))(t)
		}
		for range i % 3 {
			s.fake.Attach("", refs[i].ID, refs[i/2].ID)
		}
	}
	scanner := playbooks.Readers(playbooks.NewClients(s.cfg, s.account, testRegion))[remediation.KindSecurityGroup].(remediation.Scanner)
	looks, errs := collect(scanner.Scan(s.ctx, remediation.Looking{Now: time.Now, Whole: func(remediation.State) bool { return true }}))
	if len(looks) != len(refs)+2 || len(errs) > 0 {
		t.Fatalf("%d looks, errors %v", len(looks), errs)
	}
	if d := gocmp.Diff(map[string]int{"EC2 DescribeSecurityGroups": 1 + 2*2, "EC2 DescribeNetworkInterfaces": 2, "EC2 DescribeSecurityGroupRules": 2, "EC2 GetManagedPrefixListEntries": 1}, s.calls()); d != "" {
		t.Errorf("calls (- wanted, + made):\n%s", d)
	}
	used := 0
	for id, l := range looks {
		read := must(scanner.Read(s.ctx, l.Ref))(t).(*playbooks.GroupState)
		if d := gocmp.Diff(read, must(l.State(s.ctx))(t)); d != "" || !l.Whole || !l.Close {
			t.Fatalf("%s, whole: %v (- read, + scanned):\n%s", id, l.Whole, d)
		}
		if read.Use.Interfaces > 0 && len(read.Use.Referring) > 0 && len(read.Lists) > 0 {
			used++
		}
	}
	if used == 0 {
		t.Error("no group has all that a look of its own would show")
	}
}

// TestEmptyFirstPages: a group of which the first pages tell no use is not taken for one
// that nothing uses.
func TestEmptyFirstPages(t *testing.T) {
	s := newScanned(t)
	used, by := s.group(t, "used", 1), s.group(t, "by", 0)
	allow(t, s.world, by, nil, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &used.ID}}})
	s.fake.Attach("", used.ID)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := must(io.ReadAll(r.Body))(t)
		form := must(url.ParseQuery(string(raw)))(t)
		if action := form.Get("Action"); form.Has("Filter.1.Name") && strings.HasPrefix(action, "Describe") && action != "DescribeSecurityGroupRules" && !form.Has("NextToken") {
			fmt.Fprintf(w, `<%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><networkInterfaceSet/><securityGroupInfo/><nextToken>more</nextToken></%[1]sResponse>`, action)
			return
		}
		form.Del("NextToken")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form.Encode())), -1
		s.fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	cfg := s.cfg.Copy()
	cfg.BaseEndpoint = &srv.URL
	reader := playbooks.Readers(playbooks.NewClients(cfg, s.account, testRegion))[remediation.KindSecurityGroup]
	if use := must(reader.Read(s.ctx, used))(t).(*playbooks.GroupState).Use; use.Interfaces != 1 || len(use.Referring) != 1 || use.More {
		t.Errorf("what uses the group: %+v", use)
	}
}
