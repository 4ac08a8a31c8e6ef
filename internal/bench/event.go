package main

import (
	"context"
	"fmt"
)

// measureEvent is BenchmarkMitigation of the root package.
func measureEvent(ctx context.Context, b *bench) error {
	all, err := goBenchmarks(ctx, ".", "^BenchmarkMitigation$", "200x")
	if err != nil {
		return err
	}
	b.report.goals()
	for _, kind := range []string{"memory", "dynamodb", "bolt"} {
		v := all["Mitigation/"+kind]
		if v == nil {
			return fmt.Errorf("there is no BenchmarkMitigation/%s", kind)
		}
		b.report.atMost(fmt.Sprintf("store in %s, %.0f calls: the median, in ms", kind, v["calls/op"]), v["own-p50-ns"]/1e6, 1, "%.2f")
		b.report.atMost(fmt.Sprintf("store in %s: the 99th percentile, in ms", kind), v["own-p99-ns"]/1e6, 5, "%.2f")
	}
	return nil
}
