package main

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"secbot/remediation"
)

// BenchmarkScan reads an account with forty groups and forty buckets, of which one
// group is open, and counts the calls.
func BenchmarkScan(b *testing.B) {
	m := newMitigating(b, "memory")
	for i := range 40 {
		m.newGroup(b)
		if _, err := m.world.S3.CreateBucket(b.Context(), &s3.CreateBucketInput{Bucket: aws.String(fmt.Sprint("bench-", i))}); err != nil {
			b.Fatal(err)
		}
	}
	m.open(b)
	m.edge.reset()
	b.ReportAllocs()
	for b.Loop() {
		found := 0
		_, err := m.app.engine.Scan(b.Context(), "all", func(f remediation.Finding) {
			if f.Resource.Kind == remediation.KindSecurityGroup {
				found++
			}
		}, func(err error) { b.Error(err) })
		if err != nil || found == 0 {
			b.Fatalf("%d findings in groups, %v", found, err)
		}
	}
	b.ReportMetric(float64(m.edge.look().calls)/float64(b.N), "calls/op")
}
