package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"secbot/infra"
)

// granting gives the IAM actions that a role of the hub's template allows, sorted.
func granting(t *testing.T, role string) []string {
	t.Helper()
	var hub struct {
		Resources map[string]struct {
			Properties struct {
				Policies []struct {
					PolicyDocument struct {
						Statement []struct {
							Action yaml.Node `yaml:"Action"`
						} `yaml:"Statement"`
					} `yaml:"PolicyDocument"`
				} `yaml:"Policies"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(infra.Hub()), &hub); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, p := range hub.Resources[role].Properties.Policies {
		for _, s := range p.PolicyDocument.Statement {
			for _, n := range append(s.Action.Content, &s.Action) {
				if n.Kind == yaml.ScalarNode {
					actions = append(actions, n.Value)
				}
			}
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// TestRolesAllowWhatSecbotNeeds: what `secbot iam-policy` prints for this
// installation, no more and no less, and what only functions need.
func TestRolesAllowWhatSecbotNeeds(t *testing.T) {
	want := (&settings{Store: "dynamodb://table?bucket=rows", ExternalID: "there is one", QueueURL: "there is one"}).actions()
	plumbing := func(a string) bool {
		service, _, _ := strings.Cut(a, ":")
		return slices.Contains([]string{"kms", "logs", "secretsmanager"}, service)
	}
	worker, web := granting(t, "WorkerRole"), granting(t, "WebRole")
	got := slices.Concat(worker, web)
	slices.Sort(got)
	got = slices.DeleteFunc(slices.Compact(got), plumbing)
	if !slices.Equal(got, want) {
		t.Errorf("the roles allow\n%q, needed is\n%q", got, want)
	}
	for _, a := range web {
		if service, _, _ := strings.Cut(a, ":"); service == "ec2" || service == "config" || strings.HasPrefix(a, "s3:PutBucket") || strings.HasPrefix(a, "s3:PutAccount") {
			t.Errorf("whoever answers Slack may call %s", a)
		}
	}
}

// TestFunctionsCarryNoDeploy: what only a person at a shell uses is not in the
// program that Lambda starts.
func TestFunctionsCarryNoDeploy(t *testing.T) {
	deps := func(tags string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, ".").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	const sdk = "github.com/aws/aws-sdk-go-v2/service/cloudformation\n"
	if !strings.Contains(deps(""), sdk) || strings.Contains(deps("lambda.norpc,lambda"), sdk) {
		t.Error("the SDK of CloudFormation must be in the one and not in the other")
	}
}
