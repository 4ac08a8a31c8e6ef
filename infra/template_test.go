package infra_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"secbot/infra"
	"secbot/internal/deploy"
)

// TestTemplatesAreTaken: CloudFormation takes neither longer ones nor YAML's anchors
// and merges ("Using YAML with CloudFormation" in its user guide).
func TestTemplatesAreTaken(t *testing.T) {
	for name, body := range map[string]string{"hub": infra.Hub(), "member": infra.Member()} {
		if len(body) > deploy.MaxTemplate {
			t.Errorf("%s has %d bytes", name, len(body))
		}
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(body), &root); err != nil {
			t.Fatal(err)
		}
		walk(&root, func(n *yaml.Node) {
			if n.Anchor != "" || n.Kind == yaml.AliasNode || n.Tag == "!!merge" {
				t.Errorf("%s:%d has an anchor, alias or merge", name, n.Line)
			}
		})
	}
}

func walk(n *yaml.Node, visit func(*yaml.Node)) {
	visit(n)
	for _, child := range n.Content {
		walk(child, visit)
	}
}

// TestSecretsAreNotShown: what is secret is NoEcho, and stands in no environment of a
// function.
func TestSecretsAreNotShown(t *testing.T) {
	secret := map[string][]string{infra.Hub(): {"SlackBotToken", "SlackSigningSecret", "ExternalId"}, infra.Member(): {"ExternalId"}}
	for body, names := range secret {
		tmpl, err := deploy.ParseTemplate(body)
		if err != nil {
			t.Fatal(err)
		}
		for name, p := range tmpl.Parameters {
			if p.NoEcho != slices.Contains(names, name) {
				t.Errorf("NoEcho of %s is %v", name, p.NoEcho)
			}
		}
	}
	for name, f := range resources(t, infra.Hub(), "AWS::Lambda::Function") {
		text, err := yaml.Marshal(f.Properties["Environment"])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "SECBOT_SECRET") || strings.Contains(string(text), "Slack") || strings.Contains(string(text), "resolve:") {
			t.Errorf("%s has the environment\n%s", name, text)
		}
	}
}

type resource struct {
	Type           string         `yaml:"Type"`
	DeletionPolicy string         `yaml:"DeletionPolicy"`
	Properties     map[string]any `yaml:"Properties"`
}

// resources are those of one type.
func resources(t *testing.T, body, kind string) map[string]resource {
	t.Helper()
	var all struct {
		Resources map[string]resource `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all.Resources, func(_ string, r resource) bool { return r.Type != kind })
	if len(all.Resources) == 0 {
		t.Fatalf("there is no %s", kind)
	}
	return all.Resources
}

// TestFunctionsFitTheirQueue: what docs/architecture.md asks of functions and queue.
func TestFunctionsFitTheirQueue(t *testing.T) {
	hub := infra.Hub()
	f := resources(t, hub, "AWS::Lambda::Function")
	for name, kind := range map[string]string{"Events": "events", "Tick": "tick", "Web": "http"} {
		text, err := yaml.Marshal(f[name].Properties)
		if err != nil || !strings.Contains(string(text), "SECBOT_LAMBDA: "+kind+"\n") || f[name].Properties["Runtime"] != "provided.al2023" {
			t.Errorf("%s is\n%s", name, text)
		}
	}
	queue, timeout := resources(t, hub, "AWS::SQS::Queue")["Queue"].Properties, f["Events"].Properties["Timeout"].(int)
	if timeout < 60 || queue["VisibilityTimeout"].(int) < 6*timeout || queue["RedrivePolicy"] == nil || f["Tick"].Properties["Timeout"].(int) < 60 {
		t.Errorf("a timeout of %v s, a visibility of %v s", timeout, queue["VisibilityTimeout"])
	}
	if source := resources(t, hub, "AWS::Lambda::EventSourceMapping")["FromQueue"].Properties; !slices.Equal(source["FunctionResponseTypes"].([]any), []any{"ReportBatchItemFailures"}) {
		t.Errorf("the source is %v", source)
	}
	if url := resources(t, hub, "AWS::Lambda::Url")["Url"].Properties; url["InvokeMode"] != "RESPONSE_STREAM" {
		t.Errorf("the function URL is %v", url)
	}
}

// TestWhatStays: the memory, and the key without which nobody can read it.
func TestWhatStays(t *testing.T) {
	tmpl, err := deploy.ParseTemplate(infra.Hub())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tmpl.Kept, []string{"Key", "Rows", "Table", "TrailBucket"}) {
		t.Errorf("%q stay", tmpl.Kept)
	}
}
