package playbooks_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/aws/smithy-go/middleware"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/playbooks"
	"secbot/remediation/store/memory"
)

// scanned is an AWS of its own, and a secbot with a role that scans it.
type scanned struct {
	*world
	fake *fakeaws.AWS
	cfg  aws.Config // the role's
	env  *awsenv.AWS

	mu   sync.Mutex
	made map[string]int
}

const scanKey = "AKIASCANNER"

func newScanned(t *testing.T) *scanned {
	t.Helper()
	a := fakeaws.New(fakeaws.Options{Region: testRegion})
	a.AddCaller(scanKey, fakeaws.Caller{Role: "secbot"})
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	w := newWorld(t, backend{url: srv.URL, account: a.Account(), enforces: true})
	s := &scanned{world: w, fake: a, cfg: withKey(awsConfig(srv.URL), scanKey), made: map[string]int{}}
	s.cfg.APIOptions = append(s.cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Count", s.count), middleware.After)
	})
	s.env = awsenv.New(s.cfg, awsenv.Member{})
	return s
}

// count counts a call, and not its attempts.
func (s *scanned) count(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	s.mu.Lock()
	s.made[awsmiddleware.GetServiceID(ctx)+" "+awsmiddleware.GetOperationName(ctx)]++
	s.mu.Unlock()
	return next.HandleInitialize(ctx, in)
}

// result is what a scan has told.
type result struct {
	read     int
	findings []remediation.Finding
	failures []string
	err      error
}

func (s *scanned) scan(ctx context.Context, scope string, regions ...string) (r result) {
	policy := remediation.DefaultConfig()
	policy.Regions = regions
	e := remediation.New(remediation.Options{Store: memory.New(), Provider: s.env, Config: policy, Self: s.env.Identity})
	r.read, r.err = e.Scan(ctx, scope, func(f remediation.Finding) { r.findings = append(r.findings, f) }, func(err error) { r.failures = append(r.failures, err.Error()) })
	r.findings = timeless(r.findings)
	return r
}

// timeless are findings in an order of their own, whenever they were found, and by
// which requests.
func timeless(found []remediation.Finding) []remediation.Finding {
	request := regexp.MustCompile(`RequestID: [-0-9a-f]+`)
	for i := range found {
		found[i].At, found[i].Event = time.Time{}, ""
		found[i].Doubt = request.ReplaceAllString(found[i].Doubt, "")
	}
	slices.SortFunc(found, func(a, b remediation.Finding) int {
		return cmp.Or(cmp.Compare(a.Resource.ID, b.Resource.ID), cmp.Compare(a.Playbook, b.Playbook), cmp.Compare(a.Key(), b.Key()))
	})
	return found
}

// calls counts what secbot has asked since the last look.
func (s *scanned) calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := s.made
	s.made = map[string]int{}
	delete(made, "STS GetCallerIdentity") // once a day
	return made
}

// one reads and judges each resource by itself, as a scan could, too.
func (s *scanned) one(t *testing.T) (found []remediation.Finding, read int) {
	t.Helper()
	for _, kind := range []remediation.Kind{remediation.KindAccount, remediation.KindBucket, remediation.KindSecurityGroup} {
		for ref, err := range s.readers[kind].List(s.ctx) {
			if err != nil {
				t.Fatal(err)
			}
			state := must(s.readers[kind].Read(s.ctx, ref))(t)
			read++
			for _, pb := range s.playbooks {
				if pb.Meta().Kind == kind {
					found = append(found, pb.Judge(state, nil)...)
				}
			}
		}
	}
	return timeless(found), read
}

func (s *scanned) group(t *testing.T, name string, rules int) remediation.Ref {
	t.Helper()
	out := must(s.ec2.CreateSecurityGroup(s.ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("d")}))(t)
	ref := remediation.Ref{Kind: remediation.KindSecurityGroup, Account: s.account, Region: testRegion, ID: *out.GroupId}
	var of []ec2types.IpPermission
	for i := range rules {
		of = append(of, ranges("tcp", int32(1000+i), "10.0.0.0/8", "inside"))
	}
	if rules > 0 {
		must(s.ec2.AuthorizeSecurityGroupIngress(s.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &ref.ID, IpPermissions: of}))(t)
	}
	return ref
}

// bucket makes a bucket that nothing blocks.
func (s *scanned) bucket(t *testing.T, name string, ownership types.ObjectOwnership) remediation.Ref {
	t.Helper()
	must(s.s3.CreateBucket(s.ctx, &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: ownership}))(t)
	must(s.s3.DeletePublicAccessBlock(s.ctx, &s3.DeletePublicAccessBlockInput{Bucket: &name}))(t)
	return remediation.Ref{Kind: remediation.KindBucket, Account: s.account, Region: testRegion, ID: name}
}

func (s *scanned) block(t *testing.T, name string, ignore, restrict bool) {
	t.Helper()
	must(s.s3.PutPublicAccessBlock(s.ctx, &s3.PutPublicAccessBlockInput{Bucket: &name,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{IgnorePublicAcls: &ignore, RestrictPublicBuckets: &restrict}}))(t)
}

func (s *scanned) blockAccount(t *testing.T, ignore, restrict bool) {
	t.Helper()
	must(s.clients.S3Control.PutPublicAccessBlock(s.ctx, &s3control.PutPublicAccessBlockInput{AccountId: &s.account,
		PublicAccessBlockConfiguration: &controltypes.PublicAccessBlockConfiguration{IgnorePublicAcls: &ignore, RestrictPublicBuckets: &restrict}}))(t)
}

func collect(looks iter.Seq2[remediation.Look, error]) (of map[string]remediation.Look, errs []error) {
	of = map[string]remediation.Look{}
	for l, err := range looks {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		of[l.Ref.ID] = l
	}
	return of, errs
}

func all(_ context.Context, states []remediation.State) []bool {
	return slices.Repeat([]bool{true}, len(states))
}

// TestCallsForGroups: a call for each thousand groups, and where they are to be
// kept, one for as many of them as have a thousand rules, and two hundred groups at
// most, which is what a filter takes.
func TestCallsForGroups(t *testing.T) {
	for _, c := range []struct {
		groups, rules int // beside the two default groups, of two rules each; with the rule that EC2 gives each
		pages, of     int
	}{
		{0, 0, 1, 1},
		{1, 5, 1, 1},
		{198, 1, 1, 1},
		{199, 1, 1, 2},
		{199, 5, 1, 2},  // 200 groups of 999 rules, one of five
		{198, 6, 1, 2},  // 200 groups of 1,192 rules
		{396, 11, 1, 5}, // 90 groups of 990 rules each time
		{998, 1, 1, 5},
		{999, 1, 2, 6},
	} {
		t.Run(fmt.Sprintf("%d groups of %d rules", c.groups, c.rules), func(t *testing.T) {
			t.Parallel()
			s := newScanned(t)
			for i := range c.groups {
				s.group(t, fmt.Sprint("g", i), c.rules-1)
			}
			scanner := playbooks.Readers(playbooks.NewClients(s.cfg, s.account, testRegion))[remediation.KindSecurityGroup].(remediation.Scanner)
			looks, errs := collect(scanner.Scan(s.ctx, remediation.Looking{Now: time.Now}))
			if len(looks) != c.groups+2 || len(errs) > 0 {
				t.Fatalf("%d looks, errors %v", len(looks), errs)
			}
			if d := gocmp.Diff(map[string]int{"EC2 DescribeSecurityGroups": c.pages}, s.calls()); d != "" {
				t.Errorf("calls (- wanted, + made):\n%s", d)
			}
			looks, errs = collect(scanner.Scan(s.ctx, remediation.Looking{Now: time.Now, Closely: all}))
			if len(looks) != c.groups+2 || len(errs) > 0 {
				t.Fatalf("%d looks, errors %v", len(looks), errs)
			}
			if d := gocmp.Diff(map[string]int{"EC2 DescribeSecurityGroups": c.pages, "EC2 DescribeSecurityGroupRules": c.of}, s.calls()); d != "" {
				t.Errorf("calls (- wanted, + made):\n%s", d)
			}
			checked := 0
			for id, l := range looks {
				if checked++; checked > 50 {
					break
				}
				shown := must(l.State(s.ctx))(t).(*playbooks.GroupState)
				whole := must(scanner.Read(s.ctx, l.Ref))(t).(*playbooks.GroupState)
				shown.Use = whole.Use // nobody keeps it
				if d := gocmp.Diff(whole, shown); d != "" || !l.Close {
					t.Fatalf("%s, close: %v (- read, + scanned):\n%s", id, l.Close, d)
				}
			}
		})
	}
}

// TestCallsForBuckets: what a block or the ownership makes harmless is not asked.
func TestCallsForBuckets(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, s *scanned)
		want    map[string]int
	}{
		"the account blocks": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipObjectWriter)
			s.blockAccount(t, true, true)
		}, map[string]int{}},
		"the bucket blocks": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipObjectWriter)
			s.block(t, "some-bucket", true, true)
		}, map[string]int{"S3 GetPublicAccessBlock": 1}},
		"one flag each": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipObjectWriter)
			s.block(t, "some-bucket", true, false)
			s.blockAccount(t, false, true)
		}, map[string]int{"S3 GetPublicAccessBlock": 1}},
		"ownership enforced": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipBucketOwnerEnforced)
		}, map[string]int{"S3 GetPublicAccessBlock": 1, "S3 GetBucketOwnershipControls": 1, "S3 GetBucketPolicy": 1}},
		"ACLs count": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipObjectWriter)
		}, map[string]int{"S3 GetPublicAccessBlock": 1, "S3 GetBucketOwnershipControls": 1, "S3 GetBucketAcl": 1, "S3 GetBucketPolicy": 1}},
		"ACLs are ignored": {func(t *testing.T, s *scanned) {
			s.bucket(t, "some-bucket", types.ObjectOwnershipObjectWriter)
			s.block(t, "some-bucket", true, false)
		}, map[string]int{"S3 GetPublicAccessBlock": 1, "S3 GetBucketPolicy": 1}},
		"a policy is restricted": {func(t *testing.T, s *scanned) {
			ref := s.bucket(t, "some-bucket", types.ObjectOwnershipBucketOwnerEnforced)
			putPolicy(t, s.world, ref, world1)
			s.block(t, "some-bucket", false, true)
		}, map[string]int{"S3 GetPublicAccessBlock": 1, "S3 GetBucketOwnershipControls": 1}},
		"a policy for a partner": {func(t *testing.T, s *scanned) {
			ref := s.bucket(t, "some-bucket", types.ObjectOwnershipBucketOwnerEnforced)
			putPolicy(t, s.world, ref, partner)
		}, map[string]int{"S3 GetPublicAccessBlock": 1, "S3 GetBucketOwnershipControls": 1, "S3 GetBucketPolicy": 1, "S3 GetBucketPolicyStatus": 1}},
		"more than a page": {func(t *testing.T, s *scanned) {
			for i := range 1001 {
				must(s.s3.CreateBucket(s.ctx, &s3.CreateBucketInput{Bucket: aws.String(fmt.Sprintf("bucket-%04d", i))}))(t)
			}
			s.blockAccount(t, true, true)
		}, map[string]int{"S3 ListBuckets": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScanned(t)
			c.prepare(t, s)
			s.calls()
			if r := s.scan(s.ctx, "s3"); r.err != nil || len(r.failures) > 0 || r.read != 1+len(s.fake.Buckets()) {
				t.Errorf("read %d, failures %v, error %v", r.read, r.failures, r.err)
			}
			// The account is a resource of its own beside its buckets.
			want := map[string]int{"S3 ListBuckets": 1, "S3 Control GetPublicAccessBlock": 2}
			maps.Copy(want, c.want)
			if d := gocmp.Diff(want, s.calls()); d != "" {
				t.Errorf("calls (- wanted, + made):\n%s", d)
			}
		})
	}
}

// TestRegionsOfDefaults: a region in which nothing is open costs one call.
func TestRegionsOfDefaults(t *testing.T) {
	s := newScanned(t)
	regions := []string{"eu-west-1", "us-east-1", "us-west-2"}
	if r := s.scan(s.ctx, "sg", regions...); r.read != 2*len(regions) || len(r.failures) > 0 || r.err != nil {
		t.Errorf("%+v", r)
	}
	if d := gocmp.Diff(map[string]int{"EC2 DescribeSecurityGroups": len(regions)}, s.calls()); d != "" {
		t.Errorf("calls (- wanted, + made):\n%s", d)
	}
}

// TestScanFindsWhatReadsFind: whatever the world, a scan tells the very findings that
// a read of each resource gives.
func TestScanFindsWhatReadsFind(t *testing.T) {
	t.Parallel()
	var total, clean int
	rapid.Check(t, func(r *rapid.T) {
		s := newScanned(t)
		var lists []string
		for i, cidr := range []string{"0.0.0.0/0", "10.0.0.0/8", "0.0.0.0/1"} {
			out := must(s.ec2.CreateManagedPrefixList(s.ctx, &ec2.CreateManagedPrefixListInput{PrefixListName: aws.String(fmt.Sprint("l", i)), AddressFamily: aws.String("IPv4"),
				MaxEntries: aws.Int32(1), Entries: []ec2types.AddPrefixListEntry{{Cidr: &cidr}}}))(t)
			lists = append(lists, *out.PrefixList.PrefixListId)
		}
		for i := range rapid.IntRange(0, 4).Draw(r, "groups") {
			ref := s.group(t, fmt.Sprint("g", i), 0)
			revoke(t, s.world, ref, liveRules(t, s.world, ref)[0]) // what EC2 gives each group
			rules := rapid.SliceOfNDistinct(rapid.Custom(drawRule), 0, 8, func(r remediation.Rule) string {
				return string(r.Direction) + r.Protocol + r.CIDR + r.Group + r.PrefixList
			}).Draw(r, "rules")
			for i := range rules {
				switch {
				case rules[i].Group == "itself":
					rules[i].Group = ref.ID
				case rules[i].PrefixList == "pl-0a0a0a0a":
					rules[i].PrefixList = rapid.SampledFrom(lists).Draw(r, "list")
				}
			}
			again(t, s.world, ref, distinct(rules))
		}
		for i := range rapid.IntRange(0, 4).Draw(r, "buckets") {
			drawBucket(t, r, s, fmt.Sprint("bucket-", i))
		}
		if rapid.Bool().Draw(r, "the account blocks") {
			s.blockAccount(t, rapid.Bool().Draw(r, "ignores"), rapid.Bool().Draw(r, "restricts"))
		}
		want, read := s.one(t)
		got := s.scan(s.ctx, "all")
		if d := gocmp.Diff(want, got.findings); d != "" || got.read != read || len(got.failures) > 0 || got.err != nil {
			r.Fatalf("%d of %d read, failures %v, error %v; findings (- by reads, + by the scan):\n%s", got.read, read, got.failures, got.err, d)
		}
		total += len(want)
		if len(want) <= 1 {
			clean++
		}
	})
	if total == 0 || clean == 0 {
		t.Errorf("%d findings, and %d worlds with none but the account's: the worlds are too much alike", total, clean)
	}
}

// distinct leaves rules out that are the same once their peers are named.
func distinct(rules []remediation.Rule) []remediation.Rule {
	known := map[string]bool{}
	return slices.DeleteFunc(rules, func(r remediation.Rule) bool {
		was := known[r.Key()]
		known[r.Key()] = true
		return was
	})
}

func drawBucket(t *testing.T, r *rapid.T, s *scanned, name string) {
	ref := s.bucket(t, name, types.ObjectOwnershipObjectWriter)
	if grants := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"AllUsers", "AuthenticatedUsers"}), rapid.ID).Draw(r, "grantees"); len(grants) > 0 {
		var of []types.Grant
		for _, g := range grants {
			of = append(of, groupGrant("global/"+g, rapid.SampledFrom([]types.Permission{types.PermissionRead, types.PermissionWrite}).Draw(r, "permission")))
		}
		putACL(t, s.world, ref, of...)
	} else if rapid.Bool().Draw(r, "enforced") {
		must(s.s3.PutBucketOwnershipControls(s.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: &name, OwnershipControls: &types.OwnershipControls{
			Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}}}))(t)
	}
	if statements := rapid.SliceOfDistinct(rapid.SampledFrom([]string{tlsOnly, partner, world1, world2}), rapid.ID).Draw(r, "statements"); len(statements) > 0 {
		putPolicy(t, s.world, ref, statements...)
	}
	if rapid.Bool().Draw(r, "tagged") {
		must(s.s3.PutBucketTagging(s.ctx, &s3.PutBucketTaggingInput{Bucket: &name, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("public"), Value: aws.String("yes")}}}}))(t)
	}
	if rapid.Bool().Draw(r, "website") {
		must(s.s3.PutBucketWebsite(s.ctx, &s3.PutBucketWebsiteInput{Bucket: &name, WebsiteConfiguration: &types.WebsiteConfiguration{IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")}}}))(t)
	}
	if rapid.Bool().Draw(r, "blocks") {
		s.block(t, name, rapid.Bool().Draw(r, "ignores"), rapid.Bool().Draw(r, "restricts"))
	}
}

// open makes a group that is open to the world, a bucket that is by its ACL and one
// that is by its policy.
func (s *scanned) open(t *testing.T) {
	group := s.group(t, "open", 0)
	allow(t, s.world, group, nil, ranges("tcp", 22, "0.0.0.0/0", "debugging"))
	putACL(t, s.world, s.bucket(t, "open-by-acl", types.ObjectOwnershipObjectWriter), groupGrant("global/AllUsers", types.PermissionRead))
	putPolicy(t, s.world, s.bucket(t, "open-by-policy", types.ObjectOwnershipBucketOwnerEnforced), world1)
}

// TestScanDenied: a scan that may not do one thing says so, and tells whatever it
// can see all the same.
func TestScanDenied(t *testing.T) {
	everything := []string{"sg-rule-added open", "s3-account-block-public-access 111122223333", "s3-public-acl open-by-acl", "s3-public-policy open-by-policy"}
	without := func(out ...string) []string {
		return slices.DeleteFunc(slices.Clone(everything), func(f string) bool { return slices.Contains(out, f) })
	}
	for action, want := range map[string][]string{
		"ec2:DescribeSecurityGroups":     without("sg-rule-added open"),
		"ec2:DescribeSecurityGroupRules": everything,
		"s3:ListAllMyBuckets":            without("s3-public-acl open-by-acl", "s3-public-policy open-by-policy"),
		"s3:GetAccountPublicAccessBlock": without("s3-account-block-public-access 111122223333"),
		"s3:GetBucketPublicAccessBlock":  everything,
		"s3:GetBucketOwnershipControls":  everything,
		"s3:GetBucketAcl":                without("s3-public-acl open-by-acl"),
		"s3:GetBucketPolicy":             without("s3-public-policy open-by-policy"),
		"s3:GetBucketPolicyStatus":       everything,
		"s3:GetBucketTagging":            everything,
		"s3:GetBucketWebsite":            everything,
	} {
		t.Run(action, func(t *testing.T) {
			s := newScanned(t)
			s.open(t)
			allowed := slices.DeleteFunc(playbooks.Actions(), func(a string) bool { return a == action })
			s.fake.AddCaller(scanKey, fakeaws.Caller{Role: "secbot", Allowed: allowed})
			r := s.scan(s.ctx, "all")
			var got []string
			for _, f := range r.findings {
				got = append(got, f.Playbook+" "+cmp.Or(f.Name, f.Resource.ID))
			}
			slices.Sort(got)
			if d := gocmp.Diff(slices.Sorted(slices.Values(want)), got); d != "" {
				t.Errorf("findings (- wanted, + told):\n%s", d)
			}
			if said := strings.Join(r.failures, "\n"); !strings.Contains(said, action) || r.err != nil {
				t.Errorf("the failures %v do not name it; error %v", r.failures, r.err)
			}
		})
	}
}

// TestScanThrottled: what is throttled comes later, and nothing is left out.
func TestScanThrottled(t *testing.T) {
	t.Parallel()
	s := newScanned(t)
	s.open(t)
	for i := range 30 {
		s.bucket(t, fmt.Sprint("bucket-", i), types.ObjectOwnershipObjectWriter)
	}
	want, read := s.one(t)
	var mu sync.Mutex
	seen := map[fakeaws.Call]bool{}
	s.fake.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		c.RequestID = ""
		mu.Lock()
		defer mu.Unlock()
		if seen[c] || len(seen)%3 > 0 {
			seen[c] = true
			return nil
		}
		seen[c] = true
		return &fakeaws.Fault{Status: 503, Code: map[string]string{"ec2": "RequestLimitExceeded"}[c.Service] + map[string]string{"s3": "SlowDown", "s3control": "SlowDown"}[c.Service]}
	})
	got := s.scan(s.ctx, "all")
	if d := gocmp.Diff(want, got.findings); d != "" || got.read != read || len(got.failures) > 0 || got.err != nil {
		t.Errorf("%d of %d read, failures %v, error %v; findings (- by reads, + by the scan):\n%s", got.read, read, got.failures, got.err, d)
	}
}

// TestScanCancelled ends with what was found, and blames nobody for the rest.
func TestScanCancelled(t *testing.T) {
	s := newScanned(t)
	s.open(t)
	for i := range 200 {
		s.bucket(t, fmt.Sprint("unread-", i), types.ObjectOwnershipObjectWriter)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var mu sync.Mutex
	blocks := 0
	s.fake.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Action == "GetPublicAccessBlock" && c.Service == "s3" {
			if blocks++; blocks == 40 {
				cancel()
			}
		}
		return nil
	})
	r := s.scan(ctx, "s3")
	if !errors.Is(r.err, context.Canceled) || len(r.failures) > 0 || r.read == 0 || r.read >= 200 {
		t.Errorf("%d read, failures %v, error %v", r.read, r.failures, r.err)
	}
	for _, f := range r.findings {
		if !strings.HasPrefix(f.Resource.ID, "open-by") && f.Playbook != "s3-account-block-public-access" {
			t.Errorf("found %+v", f)
		}
	}
}

// TestChangedAmidAScan: a group whose rules are not those that the list of groups
// showed is left to a read of its own.
func TestChangedAmidAScan(t *testing.T) {
	s := newScanned(t)
	kept, changed, gone := s.group(t, "kept", 3), s.group(t, "changed", 3), s.group(t, "gone", 3)
	scanner := s.readers[remediation.KindSecurityGroup].(remediation.Scanner)
	looks, errs := collect(scanner.Scan(s.ctx, remediation.Looking{Now: time.Now, Closely: func(ctx context.Context, states []remediation.State) []bool {
		allow(t, s.world, changed, nil, ranges("tcp", 22, "0.0.0.0/0", "just now"))
		deleteGroup(t, s.world, gone)
		return all(ctx, states)
	}}))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if !looks[kept.ID].Close || looks[changed.ID].State != nil || looks[gone.ID].State != nil || looks[gone.ID].Ref != gone {
		t.Errorf("looks %+v", looks)
	}
}
