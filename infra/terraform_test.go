package infra_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"go.yaml.in/yaml/v3"

	"secbot/infra"
)

// parts are the names that a template gives to its parts.
type parts struct {
	Parameters map[string]any `yaml:"Parameters"`
	Outputs    map[string]any `yaml:"Outputs"`
}

func partsOf(t *testing.T, template string) (p parts) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(template), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTerraform: the module is written as terraform fmt writes it, and hands
// the templates parameters that they have and reads outputs that they give.
func TestTerraform(t *testing.T) {
	files, err := filepath.Glob("terraform/*.tf")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q %v", files, err)
	}
	hub, member, parser, named := partsOf(t, infra.Hub()), partsOf(t, infra.Member()), hclparse.NewParser(), 0
	known := map[string]parts{"aws_cloudformation_stack": hub, "aws_cloudformation_stack_set": member}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(raw), string(hclwrite.Format(raw))); diff != "" {
			t.Errorf("%s is not as terraform fmt writes it:\n%s", file, diff)
		}
		f, diags := parser.ParseHCL(raw, file)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, block := range f.Body.(*hclsyntax.Body).Blocks { //nolint:forcetypeassert // ParseHCL gives no other
			if p, ok := known[append(block.Labels, "")[0]]; ok && block.Type == "resource" {
				named += checkParameters(t, block.Body.Attributes["parameters"].Expr, p)
			}
		}
		for _, m := range regexp.MustCompile(`hub\.outputs\["(\w+)"\]`).FindAllStringSubmatch(string(raw), -1) {
			named++
			if hub.Outputs[m[1]] == nil {
				t.Errorf("%s reads the output %s, which the hub does not give", file, m[1])
			}
		}
	}
	if named < 15 {
		t.Errorf("only %d parameters and outputs were found", named)
	}
}

// checkParameters looks at the keys of all objects in an expression.
func checkParameters(t *testing.T, expr hclsyntax.Expression, p parts) (n int) {
	t.Helper()
	diags := hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
		object, ok := node.(*hclsyntax.ObjectConsExpr)
		if !ok {
			return nil
		}
		for _, item := range object.Items {
			n++
			if name := hcl.ExprAsKeyword(item.KeyExpr); p.Parameters[name] == nil {
				t.Errorf("%v: the template has no parameter %q", item.KeyExpr.Range(), name)
			}
		}
		return nil
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return n
}
