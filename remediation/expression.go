package remediation

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/ext"
)

const (
	// maxExpressionCost bounds what one evaluation may cost, in CEL's units:
	// about one a step. It is a tenth of a second.
	maxExpressionCost = 1_000_000
	// What is assumed of sizes when the cost of an expression is estimated:
	// EC2 allows 60 rules a direction, tags have up to 256 characters.
	assumedItems  = 60
	assumedLength = 256
)

// Expression is a condition of a policy rule in CEL (https://cel.dev), compiled
// and checked. It may be used by several goroutines.
type Expression struct {
	text    string
	program cel.Program
}

// ErrExpression says that an expression could not be evaluated on a finding.
var ErrExpression = errors.New("the rule's expression failed")

// findingView is what an expression sees as "finding".
type findingView struct {
	Playbook  string            `cel:"playbook"`
	Account   string            `cel:"account"`
	Region    string            `cel:"region"`
	Resource  string            `cel:"resource"` // the plain id
	Name      string            `cel:"name"`
	Severity  string            `cel:"severity"`
	Direction string            `cel:"direction"`
	Openness  []string          `cel:"openness"`
	Tags      map[string]string `cel:"tags"`
	Rules     []ruleView        `cel:"rules"` // the security-group rule that is being decided; empty for buckets
	Actor     actorView         `cel:"actor"`
	Scan      bool              `cel:"scan"` // found by a scan, not by an event
}

// ruleView is a security-group rule; ports are -1 where it leaves all open.
type ruleView struct {
	Protocol    string `cel:"protocol"`
	FromPort    int    `cel:"from_port"`
	ToPort      int    `cel:"to_port"`
	CIDR        string `cel:"cidr"`
	PrefixList  string `cel:"prefix_list"`
	Group       string `cel:"group"`
	Description string `cel:"description"`
}

type actorView struct {
	ARN      string `cel:"arn"`
	Type     string `cel:"type"`
	Account  string `cel:"account"`
	SourceIP string `cel:"source_ip"`
	Via      string `cel:"via"`
}

// ParseExpression compiles a CEL expression over the variable finding. The
// error says what is wrong and at which line and column of the text: syntax, a
// name or type that does not exist, a result other than bool, or that an
// evaluation could cost too much.
func ParseExpression(text string) (*Expression, error) {
	env, err := cel.NewEnv(
		ext.NativeTypes(reflect.TypeFor[findingView](), reflect.TypeFor[ruleView](), reflect.TypeFor[actorView](), ext.ParseStructTags(true)),
		cel.Variable("finding", cel.ObjectType("remediation.findingView")),
		ext.Strings(),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, expressionFault(issues)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it gives %s, not true or false", ast.OutputType())
	}
	estimate, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("estimate its cost: %w", err)
	}
	if estimate.Max > maxExpressionCost {
		return nil, errors.New("it may take too long: nest fewer loops")
	}
	program, err := env.Program(ast, cel.CostLimit(maxExpressionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("prepare the expression: %w", err)
	}
	return &Expression{text: text, program: program}, nil
}

// expressionFault is the first of the compiler's complaints, on one line.
func expressionFault(issues *cel.Issues) error {
	for _, e := range issues.Errors() {
		text, _, _ := strings.Cut(e.Message, "\n")
		return fmt.Errorf("line %d, column %d of the expression: %s", e.Location.Line(), e.Location.Column()+1, text)
	}
	return issues.Err()
}

// sizes tells the estimate how big things are.
type sizes struct{}

// EstimateSize bounds every list and map, and every text by its own assumption.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	limit := uint64(assumedLength)
	if k := n.Type().Kind(); k == cel.ListKind || k == cel.MapKind {
		limit = assumedItems
	}
	return &cost.SizeEstimate{Min: 0, Max: limit}
}

// EstimateCallCost leaves calls to CEL's own estimates.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// String gives the expression as it was written.
func (e *Expression) String() string { return e.text }

// Equal says whether both were written alike.
func (e *Expression) Equal(o *Expression) bool {
	return e == o || e != nil && o != nil && e.text == o.text
}

// fits evaluates the expression for the security-group rule r of f, or for f as
// a whole where r is nil. A nil Expression fits. It returns ErrExpression where
// the evaluation fails or costs too much.
func (e *Expression) fits(f Finding, r *Rule) (bool, error) {
	if e == nil {
		return true, nil
	}
	out, _, err := e.program.Eval(map[string]any{"finding": viewOf(f, r)})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	fits, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("%w: it gives %v", ErrExpression, out)
	}
	return fits, nil
}

func viewOf(f Finding, r *Rule) findingView {
	v := findingView{
		Playbook: f.Playbook, Account: f.Resource.Account, Region: f.Resource.Region, Resource: f.Resource.ID, Name: f.Name,
		Severity: string(severityIn(f, r)), Direction: string(directionIn(f, r)), Tags: f.Tags, Scan: f.Event == "scan",
		Actor: actorView{ARN: f.Actor.ARN, Type: f.Actor.Type, Account: f.Actor.Account, SourceIP: f.Actor.SourceIP, Via: f.Actor.Via},
	}
	if r == nil {
		for _, o := range f.opennesses() {
			v.Openness = append(v.Openness, string(o))
		}
		return v
	}
	v.Openness = []string{string(r.Openness)}
	one := ruleView{Protocol: r.Protocol, FromPort: -1, ToPort: -1, CIDR: r.CIDR, PrefixList: r.PrefixList, Group: r.Group, Description: r.Description}
	if r.FromPort != nil && r.ToPort != nil {
		one.FromPort, one.ToPort = int(*r.FromPort), int(*r.ToPort)
	}
	v.Rules = []ruleView{one}
	return v
}

// parseExpression is ParseExpression for the configuration's decoder.
func parseExpression(s string) (*Expression, *fault) {
	const hint = `write a CEL expression over finding, as 'finding.tags["env"] == "prod"'; the guide lists its fields`
	if len(s) > maxText {
		return nil, &fault{fmt.Sprintf("the expression is over %d bytes", maxText), hint}
	}
	e, err := ParseExpression(s)
	if err != nil {
		return nil, &fault{err.Error(), hint}
	}
	return e, nil
}
