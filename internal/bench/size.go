package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// measureSize is the size of the Lambda bootstrap, and whose code it is.
func measureSize(ctx context.Context, b *bench) error {
	b.report.goals()
	var deployed int64
	for _, of := range []struct{ arch, what string }{
		{deployedArch, "size of the bootstrap that is deployed unless told otherwise (arm64), stripped, in MB"},
		{"amd64", "the same for amd64"},
	} {
		bootstrap, err := b.buildFor(ctx, of.arch, lambdaTags)
		if err != nil {
			return err
		}
		info, err := os.Stat(bootstrap)
		if err != nil {
			return fmt.Errorf("look at the bootstrap: %w", err)
		}
		if of.arch == deployedArch {
			deployed = info.Size()
		}
		b.report.atMost(of.what, float64(info.Size())/1e6, 25, "%.1f")
	}
	code, err := b.codeSizes(ctx)
	if err != nil {
		return err
	}
	b.codeTable(code, float64(deployed))
	return nil
}

// deployedArch is the processor that infra/hub.yaml wants unless told otherwise.
const deployedArch = "arm64"

// largest is how many dependencies are shown.
const largest = 12

// codeTable shares the file out by code: tables for tracebacks and types grow with it.
func (b *bench) codeTable(code map[string]int64, file float64) {
	var total int64
	names := []string{}
	for name, n := range code {
		total += n
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int { return int(code[y] - code[x]) })
	fmt.Fprintln(b.report.out)
	b.report.columns("of whom", "share of the code", "of the file, in MB")
	for _, name := range names[:min(largest, len(names))] {
		share := ratio(code[name], total)
		b.report.row(name, fmt.Sprintf("%.0f %%", 100*share), fmt.Sprintf("%.1f", share*file/1e6))
	}
}

// codeSizes sums the machine code up by module, in bytes, in the same binary with
// its symbols.
func (b *bench) codeSizes(ctx context.Context) (map[string]int64, error) {
	path := filepath.Join(b.dir, "symbols")
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", lambdaTags, "-ldflags", "-funcalign=16", "-o", path}, small()...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...) //nolint:gosec // a file of its own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+deployedArch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build secbot with symbols: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, "go", "tool", "nm", "-size", path).Output() //nolint:gosec // the same
	if err != nil {
		return nil, fmt.Errorf("read the symbols: %w", err)
	}
	sizes := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line) // address, size, kind, name
		if len(words) < 4 || strings.ToUpper(words[2]) != "T" {
			continue
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the symbols: %q: %w", line, err)
		}
		sizes[owner(words[3])] += n
	}
	return sizes, nil
}

// owner is whom a symbol belongs to: "AWS SDK", "CEL", …, a module, secbot or Go.
func owner(symbol string) string {
	symbol = strings.TrimPrefix(strings.TrimLeft(symbol, "*"), "type:.eq.")
	for _, o := range []struct{ prefix, name string }{
		{"secbot/", "secbot"}, {"main.", "secbot"}, {"github.com/aws/", "the AWS SDK"},
		{"cel.dev/", "CEL, the policy's expressions"}, {"github.com/antlr4-go", "CEL, the policy's expressions"},
		{"google.golang.org/", "protobuf, for CEL"},
	} {
		if strings.HasPrefix(symbol, o.prefix) {
			return o.name
		}
	}
	parts := strings.SplitN(symbol, "/", 4)
	switch {
	case !strings.Contains(parts[0], ".") || strings.HasPrefix(symbol, "vendor/") || len(parts) == 1:
		return "Go's runtime and standard library"
	case strings.HasPrefix(symbol, "github.com/") && len(parts) > 2:
		return strings.Join(parts[:2], "/") + "/" + strings.SplitN(parts[2], ".", 2)[0]
	}
	return parts[0] + "/" + strings.SplitN(parts[1], ".", 2)[0]
}
