package main

import (
	"context"
	"os"
)

// measureSize is the size of the Lambda bootstrap.
func measureSize(ctx context.Context, b *bench) error {
	bootstrap, err := b.build(ctx, lambdaTags)
	if err != nil {
		return err
	}
	info, err := os.Stat(bootstrap)
	if err != nil {
		return err
	}
	b.report.goals()
	b.report.atMost("size of the bootstrap, stripped, in MB", float64(info.Size())/1e6, 25, "%.1f")
	return nil
}
