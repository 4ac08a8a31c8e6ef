package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
)

// scanSandbox is the stand-in for AWS with a folder of the test's own, where scans
// are kept too.
func scanSandbox(t *testing.T) (*sandbox.Sandbox, *demo.World, string) {
	t.Helper()
	sb, w := startSandbox(t)
	dir := t.TempDir()
	t.Setenv("AWS_ENDPOINT_URL", sb.AWSURL)
	t.Setenv("AWS_REGION", sb.AWS.Region())
	t.Setenv("AWS_ACCESS_KEY_ID", demo.EngineerKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("HOME", dir)
	t.Setenv("SECBOT_CONFIG", "")
	t.Chdir(dir)
	return sb, w, dir
}

// publish lets everybody read a bucket, or nobody.
func publish(t *testing.T, w *demo.World, bucket string, acl types.BucketCannedACL) {
	t.Helper()
	if _, err := w.S3.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String(bucket), ACL: acl}); err != nil {
		t.Fatal(err)
	}
}

// deny has AWS refuse to read a bucket's ACL.
func deny(bucket string) func(fakeaws.Call) *fakeaws.Fault {
	return func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "GetBucketAcl" && c.Resource == bucket {
			return &fakeaws.Fault{Status: 403, Code: "AccessDenied", Message: "no"}
		}
		return nil
	}
}

// scanned is a line of --json.
type scanned struct {
	Playbook, Resource, Severity, Change string
	IgnoredBy                            string `json:"ignored_by"`
}

func lines(t *testing.T, out string) []scanned {
	t.Helper()
	var all []scanned
	for line := range strings.Lines(out) {
		var f scanned
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, f)
	}
	return all
}

// changeOf tells what became of a bucket's ACL; empty where it is not told of.
func changeOf(found []scanned, bucket string) string {
	for _, f := range found {
		if f.Playbook == "s3-public-acl" && f.Resource == bucket {
			return f.Change
		}
	}
	return ""
}

// TestScanDiff: since the last scan, and since a file, one bucket is new, one is
// gone, and of one that can't be read nobody says that it was closed.
func TestScanDiff(t *testing.T) {
	sb, w, _ := scanSandbox(t)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	publish(t, w, demo.DataBucket, types.BucketCannedACLPublicRead)
	status, out, errOut := shell(t, "", "scan", "s3", "--json", "--output", "earlier.json", "--diff")
	if status != 0 || out != "" || !strings.Contains(errOut, "no earlier scan") {
		t.Fatalf("the first scan: %d %s %s", status, out, errOut)
	}
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPrivate)
	publish(t, w, demo.UploadBucket, types.BucketCannedACLPublicRead)
	sb.AWS.Fault(deny(demo.DataBucket))
	check := func(name string, out string) {
		t.Helper()
		found := lines(t, out)
		for bucket, want := range map[string]string{demo.SiteBucket: "gone", demo.DataBucket: "unknown", demo.UploadBucket: "new"} {
			if got := changeOf(found, bucket); got != want {
				t.Errorf("%s: %s is %q, want %q", name, bucket, got, want)
			}
		}
	}
	status, out, errOut = shell(t, "", "scan", "s3", "--json", "--diff=earlier.json")
	if status != 1 || !strings.Contains(errOut, "1 read failed") || !strings.Contains(errOut, demo.DataBucket) {
		t.Errorf("since the file: %d %s", status, errOut)
	}
	check("file", out)
	// What was kept by now still has the bucket that could not be read.
	sb.AWS.Fault(nil)
	_, out, _ = shell(t, "", "scan", "s3", "--json", "--diff")
	if got := changeOf(lines(t, out), demo.DataBucket); got != "unchanged" {
		t.Errorf("the bucket that could not be read before is %q: %s", got, out)
	}
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	if status, out, _ := shell(t, "", "scan", "s3", "--diff"); status != 0 || !strings.Contains(out, "1 new, 0 gone") || !strings.Contains(out, "high NEW") {
		t.Errorf("since the last: %d %s", status, out)
	}
	if _, out, errOut := shell(t, "", "scan", "sg", "--diff"); !strings.Contains(errOut, "no earlier scan") || strings.Contains(out, "gone") {
		t.Errorf("another scope: %s %s", out, errOut)
	}
}

// TestScanDeniedListIsNotGone: where the buckets can't be listed, none is gone.
func TestScanDeniedListIsNotGone(t *testing.T) {
	sb, w, _ := scanSandbox(t)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	if status, _, errOut := shell(t, "", "scan", "s3"); status != 0 {
		t.Fatal(errOut)
	}
	sb.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "ListBuckets" {
			return &fakeaws.Fault{Status: 403, Code: "AccessDenied", Message: "no"}
		}
		return nil
	})
	status, out, _ := shell(t, "", "scan", "s3", "--json", "--diff")
	if got := changeOf(lines(t, out), demo.SiteBucket); status != 1 || got != "unknown" {
		t.Errorf("status %d, the bucket is %q: %s", status, got, out)
	}
	sb.AWS.Fault(nil)
	if _, err := w.S3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String(demo.SiteBucket)}); err != nil {
		t.Fatal(err)
	}
	_, out, _ = shell(t, "", "scan", "s3", "--json", "--diff")
	if got := changeOf(lines(t, out), demo.SiteBucket); got != "gone" {
		t.Errorf("the bucket that was deleted is %q: %s", got, out)
	}
}

// TestScanFailOn: 2 where it is found, whether or not all could be read; 1 where not
// all could; what the policy ignores does not count.
func TestScanFailOn(t *testing.T) {
	sb, w, dir := scanSandbox(t)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	expect := func(name string, want int, args ...string) {
		t.Helper()
		if status, out, errOut := shell(t, "", append([]string{"scan", "s3"}, args...)...); status != want {
			t.Errorf("%s: status %d, want %d: %s %s", name, status, want, out, errOut)
		}
	}
	expect("none asked for", 0)
	expect("high", 2, "--fail-on", "high")
	expect("medium", 2, "--fail-on", "medium", "--json")
	expect("critical", 0, "--fail-on", "critical")
	sb.AWS.Fault(deny(demo.DataBucket))
	expect("high, not all read", 2, "--fail-on", "high", "--csv")
	expect("critical, not all read", 1, "--fail-on", "critical", "--sarif")
	sb.AWS.Fault(nil)
	write(t, filepath.Join(dir, "secbot.yaml"), "rules:\n  - name: the site\n    match: {resource: "+demo.SiteBucket+"}\n    then: ignore\n")
	expect("ignored", 0, "--fail-on", "high")
	_, out, _ := shell(t, "", "scan", "s3")
	if _, after, found := strings.Cut(out, "Ignored by the policy:"); !found || !strings.Contains(after, demo.SiteBucket) || !strings.Contains(after, "the site") {
		t.Errorf("what is ignored is not told: %s", out)
	}
	_, out, _ = shell(t, "", "scan", "s3", "--json")
	for _, f := range lines(t, out) {
		if is := f.Resource == demo.SiteBucket; is != (f.IgnoredBy != "") {
			t.Errorf("%+v", f)
		}
	}
}

// TestScanCommandLine: what is wrong is said before AWS is asked.
func TestScanCommandLine(t *testing.T) {
	sb, _, dir := scanSandbox(t)
	var mu sync.Mutex
	calls := 0
	sb.AWS.Fault(func(fakeaws.Call) *fakeaws.Fault { mu.Lock(); defer mu.Unlock(); calls++; return nil })
	write(t, filepath.Join(dir, "torn.json"), "{\n")
	for _, tt := range []struct {
		status int
		errOut string
		args   []string
	}{
		{2, "one format at a time", []string{"--json", "--csv"}},
		{2, "one format at a time", []string{"--html", "--sarif"}},
		{2, `"severe" is no severity`, []string{"--fail-on", "severe"}},
		{1, "torn.json:1", []string{"--diff=torn.json"}},
		{1, "gone.json", []string{"--diff=gone.json"}},
		{1, "--output", []string{"--output", filepath.Join(dir, "no", "such", "folder.csv")}},
		{1, "no file", []string{"--output", dir}},
	} {
		status, out, errOut := shell(t, "", append([]string{"scan"}, tt.args...)...)
		if status != tt.status || !strings.Contains(errOut, tt.errOut) || out != "" {
			t.Errorf("%v: %d %s %s", tt.args, status, out, errOut)
		}
	}
	if calls != 0 {
		t.Errorf("AWS was called %d times", calls)
	}
}

// TestScanFormats: each begins as it should, goes to a file as to the terminal, and
// leaves no other file.
func TestScanFormats(t *testing.T) {
	_, w, dir := scanSandbox(t)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	for flag, begin := range map[string]string{"--json": `{"playbook":`, "--csv": "severity,change,", "--html": "<!doctype html>", "--sarif": "{\n  \"$schema\""} {
		_, out, errOut := shell(t, "", "scan", "s3", flag)
		if !strings.HasPrefix(out, begin) || !strings.Contains(out, demo.SiteBucket) {
			t.Errorf("%s: %.80s", flag, out)
		}
		if strings.ContainsAny(errOut, "\r\x1b▕") {
			t.Errorf("%s: there is a progress bar where no terminal is: %q", flag, errOut)
		}
		write(t, filepath.Join(dir, "report"), "earlier")
		if status, out, errOut := shell(t, "", "scan", "s3", flag, "--output", "report"); status != 0 || out != "" {
			t.Errorf("%s to a file: %d %s %s", flag, status, out, errOut)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "report"))
		if err != nil || !strings.HasPrefix(string(raw), begin) {
			t.Errorf("%s: %.80s, %v", flag, raw, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestScanStopped: what was found until Ctrl-C is told, and that it isn't all.
func TestScanStopped(t *testing.T) {
	sb, w, _ := scanSandbox(t)
	publish(t, w, demo.SiteBucket, types.BucketCannedACLPublicRead)
	if status, _, errOut := shell(t, "", "scan"); status != 0 {
		t.Fatal(errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sb.AWS.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == "DescribeSecurityGroups" {
			for !slices.ContainsFunc(sb.AWS.Calls(), func(c fakeaws.Call) bool { return c.Action == "GetBucketTagging" && c.Resource == demo.SiteBucket }) {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(300 * time.Millisecond) // which a read of a bucket takes by no means
			cancel()
		}
		return nil
	})
	var out, errOut bytes.Buffer
	status := run(ctx, []string{"scan", "--diff", "--fail-on", "low"}, strings.NewReader(""), &out, &errOut)
	if status != 1 || !strings.Contains(errOut.String(), "secbot: the scan was stopped") || !strings.Contains(out.String(), "The scan was stopped") {
		t.Errorf("%d %s %s", status, out.String(), errOut.String())
	}
	if strings.Contains(out.String(), "Could not be read") || strings.Contains(out.String(), "context canceled") {
		t.Errorf("what was stopped is told as if AWS had refused it: %s", out.String())
	}
	if !strings.Contains(out.String(), " 0 gone") || !strings.Contains(out.String(), "not known") {
		t.Errorf("the group that was not looked at: %s", out.String())
	}
}
