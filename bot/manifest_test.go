package bot

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// onlyKnownMethods holds what was called in a test against the table of scopes. The
// stand-in, which has a table of its own, has granted those alone.
func (r *rig) onlyKnownMethods() {
	known := freeMethods()
	for _, s := range Scopes() {
		known = append(known, s.Methods...)
	}
	known = append(known, "apps.connections.open", "response_url", "upload")
	for _, c := range r.slack.Calls() {
		if !slices.Contains(known, c.Method) {
			r.t.Errorf("%s is called: say in Scopes or freeMethods which scope it needs", c.Method)
		}
	}
}

func TestManifest(t *testing.T) {
	for name, c := range map[string]struct {
		url    string
		socket bool
	}{
		"manifest-http":   {url: "https://secbot.example.com"},
		"manifest-socket": {socket: true},
	} {
		m, err := Manifest(c.url, c.socket)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, m)
		if err := tooLong(m.Features.SlashCommands[0].UsageHint, 1000); err != "" {
			t.Errorf("usage hint: %s", err)
		}
		for what, s := range map[string]struct {
			text string
			most int
		}{
			"name": {m.Display.Name, 35}, "description": {m.Display.Description, 140}, "the bot's name": {m.Features.BotUser.DisplayName, 80},
			"command": {m.Features.SlashCommands[0].Command, 32}, "the command's description": {m.Features.SlashCommands[0].Description, 2000},
		} {
			if err := tooLong(s.text, s.most); err != "" {
				t.Errorf("%s: %s", what, err)
			}
		}
		for _, cmd := range Commands() {
			if !strings.Contains(m.Features.SlashCommands[0].UsageHint, cmd.Name) {
				t.Errorf("%s is not in the usage hint", cmd.Name)
			}
		}
		raw, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "https://") == c.socket {
			t.Errorf("%s: addresses: %s", name, raw)
		}
		sameInYAML(t, raw, m)
	}
}

func tooLong(text string, most int) string {
	if n := utf8.RuneCountInString(text); n == 0 || n > most {
		return text + " is empty or too long"
	}
	return ""
}

// sameInYAML: Slack takes both, and both say the same.
func sameInYAML(t *testing.T, raw []byte, m any) {
	t.Helper()
	var inYAML, inJSON any
	if err := yaml.Unmarshal(raw, &inYAML); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(inYAML)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]*any{string(again): &inYAML, string(encoded(t, m)): &inJSON} {
		*to = nil
		if err := json.Unmarshal([]byte(from), to); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(inJSON, inYAML); diff != "" {
		t.Errorf("JSON and YAML differ (-json +yaml):\n%s", diff)
	}
}

func TestManifestNeedsAnAddress(t *testing.T) {
	for _, url := range []string{"", "http://secbot.example.com", "secbot.example.com", "https://", "https://u:p@h", "https://h/?x=1", "https://h#x", ":"} {
		if m, err := Manifest(url, false); err == nil {
			t.Errorf("%q: %+v", url, m.Settings)
		}
	}
	m, err := Manifest("https://h.example/bots/sec/", false)
	if err != nil || m.Settings.Interactivity.RequestUrl != "https://h.example/bots/sec/slack/interactions" {
		t.Errorf("%+v %v", m, err)
	}
}

// TestScopesAreTheSameEverywhere: the table, the manifest and the README.
func TestScopesAreTheSameEverywhere(t *testing.T) {
	names := ScopeNames()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("not sorted, or twice: %v", names)
	}
	m, err := Manifest("", true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names, m.OAuthConfig.Scopes.Bot); diff != "" {
		t.Error(diff)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`the bot scopes ([^;]*);`).FindSubmatch(readme)
	if list == nil {
		t.Fatal("README.md has no list of the bot scopes")
	}
	var told []string
	for _, s := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(list[1], -1) {
		told = append(told, string(s[1]))
	}
	if diff := cmp.Diff(names, told); diff != "" {
		t.Errorf("README.md (-table +readme):\n%s", diff)
	}
	for _, s := range Scopes() {
		if s.For == "" {
			t.Errorf("%s: for what?", s.Name)
		}
	}
}
