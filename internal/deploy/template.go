package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"go.yaml.in/yaml/v3"
)

// MaxTemplate is how long a template may be that is handed in as it stands, in bytes;
// "CloudFormation quotas" in its user guide.
const MaxTemplate = 51200

// Template is a CloudFormation template with what is to be known of it.
type Template struct {
	Body       string
	Parameters map[string]Parameter
	Kept       []string // the logical ids of what stays when the stack goes
}

// Parameter is a parameter of a template.
type Parameter struct {
	Default       any      `yaml:"Default"` // nil: one must be given
	Description   string   `yaml:"Description"`
	NoEcho        bool     `yaml:"NoEcho"`
	AllowedValues []string `yaml:"AllowedValues"`
}

// ParseTemplate reads a template.
func ParseTemplate(body string) (*Template, error) {
	var t struct {
		Parameters map[string]Parameter `yaml:"Parameters"`
		Resources  map[string]struct {
			DeletionPolicy string `yaml:"DeletionPolicy"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(body), &t); err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}
	parsed := &Template{Body: body, Parameters: t.Parameters}
	for _, name := range slices.Sorted(maps.Keys(t.Resources)) {
		if strings.HasPrefix(t.Resources[name].DeletionPolicy, "Retain") {
			parsed.Kept = append(parsed.Kept, name)
		}
	}
	return parsed, nil
}

// Check returns an error for a name that is no parameter's, and for a value that
// would be seen in the list of processes and should not.
func (t *Template) Check(name string) error {
	p, ok := t.Parameters[name]
	switch {
	case !ok:
		return fmt.Errorf("there is no parameter %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(t.Parameters)), ", "))
	case p.NoEcho:
		return fmt.Errorf("%s is secret: give it by the environment (`secbot deploy --help`)", name)
	}
	return nil
}

// values gives each parameter its value: what is given, what it has in the stack, or
// its default, which CloudFormation knows. One that has none of them is an error.
func (t *Template) values(given map[string]string, stack *types.Stack) ([]types.Parameter, error) {
	var has, missing []string
	if stack != nil {
		for _, p := range stack.Parameters {
			has = append(has, aws.ToString(p.ParameterKey))
		}
	}
	var all []types.Parameter
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		if value, ok := given[name]; ok {
			all = append(all, types.Parameter{ParameterKey: &name, ParameterValue: &value})
		} else if slices.Contains(has, name) {
			all = append(all, types.Parameter{ParameterKey: &name, UsePreviousValue: aws.Bool(true)})
		} else if t.Parameters[name].Default == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("these parameters have no value yet: %s; `secbot deploy --help` says what they are", strings.Join(missing, ", "))
	}
	return all, nil
}
