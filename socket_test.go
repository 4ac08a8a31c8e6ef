package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"secbot/internal/sandbox/fakeslack"
)

// TestServeBySocketMode: with an app-level token no signing secret is needed, nor an
// address that Slack can reach; /readyz knows of the connection.
func TestServeBySocketMode(t *testing.T) {
	sb, w := startSandbox(t)
	onEmulators(t, sb)
	t.Setenv("SLACK_SIGNING_SECRET", "")
	t.Setenv("SLACK_APP_TOKEN", sb.Slack.AppToken())
	sb.Slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if c.Method == "apps.connections.open" {
			return &fakeslack.Fault{Error: "invalid_auth"}
		}
		return nil
	})
	s := startServer(t)
	s.eventually(func() error {
		if missing := s.missing(); !strings.Contains(missing, "socket mode: no connection by Socket Mode: invalid_auth") || strings.Contains(missing, "SIGNING") {
			return fmt.Errorf("readyz: %s", missing)
		}
		return nil
	})
	s.stop()
	sb.Slack.Fault(nil)
	s = startServer(t)
	s.eventually(func() error {
		if status, err := s.get("/readyz"); err != nil || status != http.StatusOK {
			return fmt.Errorf("readyz: %d %w: %s", status, err, s.missing())
		}
		return nil
	})
	sb.SetTarget(s.url)
	sb.Slack.SetTarget("http://127.0.0.1:1")
	if err := w.Authorize(t.Context(), 8443, "198.51.100.0/24", "partner"); err != nil {
		t.Fatal(err)
	}
	m := s.messageSays(sb, "Revert Change")
	if _, err := sb.Slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error { return rulesAre(t, w, "443 0.0.0.0/0 the shop") })
	if _, err := sb.Slack.Mention(t.Context(), fakeslack.Alice, m.Channel, m.TS, "incidents"); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.log.String(), sb.Slack.AppToken()) {
		t.Errorf("the app-level token is logged:\n%s", s.log)
	}
}
