package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/slack-go/slack"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"secbot/bot"
)

func manifestCommand(p *process) *cobra.Command {
	var url string
	var socket, asJSON bool
	c := command("manifest", "Print the manifest from which Slack makes secbot's app.", cobra.NoArgs, func(context.Context, []string) error {
		m, err := bot.Manifest(cmp.Or(url, p.settings.URL), socket)
		if err != nil {
			return err
		}
		return printManifest(p.out, m, asJSON)
	})
	c.Long = c.Short + "\n\nAt https://api.slack.com/apps choose Create New App, From a manifest, and paste it."
	c.Flags().StringVar(&url, "url", "", "where Slack reaches secbot, as `https://HOST` (SECBOT_URL)")
	c.Flags().BoolVar(&socket, "socket", false, "use Socket Mode, which needs no public address")
	c.Flags().BoolVar(&asJSON, "json", false, "JSON instead of YAML")
	return c
}

func printManifest(out io.Writer, m *slack.Manifest, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(m)
	}
	enc := yaml.NewEncoder(out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(m), enc.Close()); err != nil {
		return fmt.Errorf("print the manifest: %w", err)
	}
	return nil
}
