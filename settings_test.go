package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"secbot/remediation"
)

// secrets serves Secrets Manager at the network's edge: what GetSecretValue answers.
func secrets(t *testing.T, held map[string]string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SecretId string } //nolint:revive,staticcheck // AWS calls it that
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
			t.Errorf("an unexpected request: %v %v", r.Header, err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		value, ok := held[in.SecretId]
		answer := map[string]string{"SecretString": value}
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]string{"__type": "ResourceNotFoundException", "message": "Secrets Manager can't find the specified secret."}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", srv.URL)
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

// TestSecretOfSecretsManager: it gives what the environment does not, and nothing
// that is no secret.
func TestSecretOfSecretsManager(t *testing.T) {
	secrets(t, map[string]string{"slack": `{"SLACK_BOT_TOKEN":"xoxb-kept","SLACK_SIGNING_SECRET":"signs","SECBOT_STORE":"memory://"}`})
	s := settingsFrom(func(name string) string {
		return map[string]string{"SECBOT_SECRET": "slack", "SLACK_BOT_TOKEN": "xoxb-environment", "SECBOT_STORE": "dynamodb://t"}[name]
	})
	if err := s.readSecret(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.SlackToken != "xoxb-environment" || s.SigningSecret != "signs" || s.AppToken != "" || s.Store != "dynamodb://t" {
		t.Errorf("%+v", s)
	}
}

// TestFunctionsReadTheirSecretFirst: a function that can't doesn't start, so that
// Lambda starts it again, and what is in the secret is told to nobody.
func TestFunctionsReadTheirSecretFirst(t *testing.T) {
	secrets(t, map[string]string{"torn": `xoxb-42`})
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
	t.Setenv("SECBOT_STORE", "dynamodb://t")
	t.Setenv("SECBOT_LAMBDA", "tick")
	for id, want := range map[string]string{"torn": "JSON object", "nobody": "secretsmanager:GetSecretValue"} {
		t.Setenv("SECBOT_SECRET", id)
		status, _, errOut := shell(t, "")
		if status != 1 || !strings.Contains(errOut, "SECBOT_SECRET") || !strings.Contains(errOut, want) || strings.Contains(errOut, "xoxb-42") {
			t.Errorf("%s: status %d\n%s", id, status, errOut)
		}
	}
}

// TestServeWithoutItsSecret: a server starts all the same, and says what it lacks.
func TestServeWithoutItsSecret(t *testing.T) {
	secrets(t, nil)
	t.Chdir(t.TempDir())
	var log strings.Builder
	a, err := newApp(t.Context(), &settings{Secret: "nobody", Store: "memory://"}, slog.New(slog.NewTextHandler(&log, nil)), forServing)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "SECBOT_SECRET") || !strings.Contains(text, "SLACK_BOT_TOKEN is not set") {
		t.Errorf("it says\n%s", text)
	}
}

// TestModeOfTheEnvironment only ever lets less be done than the policy.
func TestModeOfTheEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		file, env string
		want      remediation.Mode
	}{
		{"auto", "", "auto"}, {"auto", "observe", "observe"}, {"ask", "observe", "observe"}, {"observe", "auto", "observe"}, {"auto", "ask", "ask"}, {"auto", "loud", ""},
	} {
		write(t, "secbot.yaml", "mode: "+c.file+"\n")
		cfg, err := (&settings{Mode: c.env}).config("")
		if (err != nil) != (c.want == "") || err == nil && cfg.Mode != c.want || err != nil && !strings.Contains(err.Error(), "SECBOT_MODE") {
			t.Errorf("%s in the file, %q in the environment: %v %v", c.file, c.env, cfg, err)
		}
	}
}
