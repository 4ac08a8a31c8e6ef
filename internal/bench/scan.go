package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
)

const (
	// latency is added to each call of AWS.
	latency = 20 * time.Millisecond
	// rulesPerGroup keeps groups below EC2's quota.
	rulesPerGroup = 10
	// seeders are how many resources are made at once.
	seeders = 8
)

// measureScan is `secbot scan --json` of an account where nothing is fast. How many
// calls it makes, and how many at once, is counted on the other side, so that the
// limit holds for whatever way of reading secbot takes.
func measureScan(ctx context.Context, b *bench) error {
	s, err := b.scan(ctx, "all", 1000, 1000)
	if err != nil {
		return err
	}
	b.report.columns("1,000 groups with 10,000 rules, and 1,000 buckets", "")
	b.report.row("took", seconds(s.took))
	b.report.row("processor time of secbot", seconds(s.busy))
	b.report.row("calls", fmt.Sprint(s.calls))
	b.report.row("at most at once", fmt.Sprint(s.atOnce))
	b.report.row("findings", fmt.Sprint(s.findings))
	fmt.Fprintln(b.report.out)
	b.report.goals()
	b.report.atMost("time ÷ the limit (calls × latency ÷ calls at once)", ratio(s.took, s.limit()), 1.5, "%.2f")
	b.report.atMost("peak memory, in MiB", float64(s.peak)/(1<<20), 128, "%.0f")
	return b.measureGrowth(ctx)
}

// other is another scanner and how it is told to look for what secbot does.
type other struct {
	name, program string
	args          map[string][]string // by what is looked at
}

// others are those that there are programs of. They write what they find to files.
func (b *bench) others() ([]other, error) {
	policies, err := filepath.Abs("internal/bench/custodian.yml")
	if err != nil {
		return nil, err
	}
	custodian := func(policy string) []string {
		return []string{"run", "-p", policy, "-s", "out", "--cache-period", "0", "--region", "us-east-1", policies}
	}
	prowler := func(checks ...string) []string {
		return append([]string{"aws", "--no-banner", "--ignore-exit-code-3", "--scan-unused-services", "--aws-retries-max-attempts", "1", "--region", "us-east-1", "-M", "csv", "-o", "out", "-c"}, checks...)
	}
	all := []other{
		{"Cloud Custodian", b.custodian, map[string][]string{"groups": custodian("groups"), "buckets": custodian("buckets")}},
		{"Prowler", b.prowler, map[string][]string{
			"groups":  prowler("ec2_securitygroup_allow_ingress_from_internet_to_any_port", "ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_22"),
			"buckets": prowler("s3_bucket_public_access", "s3_bucket_policy_public_write_access", "s3_bucket_public_list_acl", "s3_bucket_public_write_acl"),
		}},
	}
	return slices.DeleteFunc(all, func(o other) bool { return o.program == "" }), nil
}

// againstOthers has other scanners look for the same, on the same stand-in.
func (b *bench) againstOthers(ctx context.Context) error {
	others, err := b.others()
	if err != nil || len(others) == 0 {
		return err
	}
	fmt.Fprintln(b.report.out)
	b.report.columns("of 1,000", "", "took", "processor time", "calls", "peak memory")
	var names []string
	var ratios []float64
	for _, c := range []struct {
		of, scope       string
		groups, buckets int
	}{{"groups", "sg", 1000, 0}, {"buckets", "s3", 0, 1000}} {
		own, err := b.scan(ctx, c.scope, c.groups, c.buckets)
		if err != nil {
			return err
		}
		b.report.scan(c.of, "secbot", own)
		for _, o := range others {
			s, err := b.scanWith(ctx, c.groups, c.buckets, o.program, o.args[c.of]...)
			if err != nil {
				return err
			}
			b.report.scan(c.of, o.name, s)
			names, ratios = append(names, o.name+"'s time on the "+c.of+" ÷ secbot's"), append(ratios, ratio(s.took, own.took))
		}
	}
	fmt.Fprintln(b.report.out)
	b.report.goals()
	for i, name := range names {
		b.report.atLeast(name, ratios[i], 10, "%.2f")
	}
	return nil
}

// scan is a row about a scan.
func (r *report) scan(of, by string, s scanned) {
	r.row(of, by, seconds(s.took), seconds(s.busy), fmt.Sprint(s.calls), mib(s.peak))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// measureGrowth is scans of ever more groups.
func (b *bench) measureGrowth(ctx context.Context) error {
	sizes := []int{100, 1000}
	if b.large {
		sizes = append(sizes, 10_000)
	}
	fmt.Fprintln(b.report.out)
	b.report.columns("rules", "took", "processor time", "calls", "processor time for each rule ÷ that of the first", "peak memory")
	var first float64
	for _, groups := range sizes {
		s, err := b.scan(ctx, "sg", groups, 0)
		if err != nil {
			return err
		}
		rules := groups * rulesPerGroup
		each := s.busy.Seconds() / float64(rules)
		if first == 0 {
			first = each
		}
		b.report.row(fmt.Sprint(rules), seconds(s.took), seconds(s.busy), fmt.Sprint(s.calls), fmt.Sprintf("%.2f", each/first), mib(s.peak))
	}
	return b.againstOthers(ctx)
}

// scanned is a scan that has ended.
type scanned struct {
	took     time.Duration
	busy     time.Duration // of processors, which what else runs on the machine changes less
	peak     int64
	calls    int
	atOnce   int
	findings int // lines of standard output
}

// limit is how fast it could be.
func (s scanned) limit() time.Duration {
	return time.Duration(s.calls) * latency / time.Duration(s.atOnce)
}

// scan runs `secbot scan --json`.
func (b *bench) scan(ctx context.Context, scope string, groups, buckets int) (scanned, error) {
	program, err := b.build(ctx, allCommands)
	if err != nil {
		return scanned{}, err
	}
	return b.scanWith(ctx, groups, buckets, program, "scan", scope, "--json")
}

// scanWith runs a program on an account of its own.
func (b *bench) scanWith(ctx context.Context, groups, buckets int, program string, args ...string) (scanned, error) {
	sb, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		return scanned{}, err
	}
	s, err := b.scanOn(ctx, sb, groups, buckets, program, args...)
	return s, errors.Join(err, sb.Close())
}

func (b *bench) scanOn(ctx context.Context, sb *sandbox.Sandbox, groups, buckets int, program string, args ...string) (scanned, error) {
	if err := seed(ctx, sb, groups, buckets); err != nil {
		return scanned{}, err
	}
	slow := &slowed{next: sb.AWS}
	srv := httptest.NewServer(slow)
	defer srv.Close()
	p, err := b.once(ctx, []string{"AWS_ENDPOINT_URL=" + srv.URL, "AWS_REGION=" + sb.AWS.Region(), "AWS_DEFAULT_REGION=" + sb.AWS.Region(),
		"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"}, program, args...)
	if err != nil {
		return scanned{}, err
	}
	return scanned{
		took: p.took, busy: p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), peak: p.most.Load(),
		calls: slow.calls, atOnce: slow.most, findings: bytes.Count(p.out.Bytes(), []byte("\n")),
	}, nil
}

// slowed answers each request a moment late, and counts.
type slowed struct {
	next http.Handler

	mu    sync.Mutex
	calls int
	now   int // requests under way
	most  int // the most of those
}

// ServeHTTP hands the request on, later.
func (s *slowed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls++
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(latency)
	s.next.ServeHTTP(w, r)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
}

// seed makes groups, each with rules of which the first lets the world in by SSH in
// every tenth, and buckets as they are made today.
func seed(ctx context.Context, sb *sandbox.Sandbox, groups, buckets int) error {
	w, err := demo.NewWorld(ctx, sb, nil, &demo.Clock{})
	if err != nil {
		return err
	}
	if err := parallel(groups, func(i int) error { return seedGroup(ctx, w, i) }); err != nil {
		return err
	}
	err = parallel(buckets, func(i int) error {
		_, err := w.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(fmt.Sprint("bench-", i))})
		return err
	})
	sb.AWS.Flush()
	return err
}

func seedGroup(ctx context.Context, w *demo.World, i int) error {
	out, err := w.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String(fmt.Sprint("bench-", i)), Description: aws.String("d")})
	if err != nil {
		return err
	}
	var rules []ec2types.IpPermission
	for n := range rulesPerGroup {
		cidr, port := fmt.Sprintf("10.%d.%d.0/24", i%256, n), int32(8000+n)
		if n == 0 && i%10 == 0 {
			cidr, port = "0.0.0.0/0", 22
		}
		rules = append(rules, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(port), ToPort: aws.Int32(port), IpRanges: []ec2types.IpRange{{CidrIp: &cidr}}})
	}
	_, err = w.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: out.GroupId, IpPermissions: rules})
	return err
}

// parallel calls do for 0 to n-1, some at once.
func parallel(n int, do func(i int) error) error {
	errs := make([]error, seeders)
	var running sync.WaitGroup
	for worker := range seeders {
		running.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += seeders {
				errs[worker] = do(i)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}
