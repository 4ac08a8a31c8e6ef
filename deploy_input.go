//go:build !lambda

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"secbot/infra"
	"secbot/internal/deploy"
)

// parameterHelp lists what --set takes.
func parameterHelp() string {
	var b strings.Builder
	for _, kind := range []string{"hub", "member"} {
		t, err := deploy.ParseTemplate(template(kind == "member"))
		if err != nil {
			return err.Error() // a test parses both
		}
		fmt.Fprintf(&b, "\nWhat --set takes (%s):\n", kind)
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
			if t.Check(name) == nil && !slices.Contains([]string{"Architecture", "CodeBucket", "CodeKey"}, name) { // which follow from the zip
				fmt.Fprintf(table, "  %s\t%s\n", name, t.Parameters[name].Description)
			}
		}
		_ = table.Flush() // into memory
	}
	return b.String()
}

func template(member bool) string {
	if member {
		return infra.Member()
	}
	return infra.Hub()
}

// assignments reads what --set says.
func assignments(given []string, t *deploy.Template) (map[string]string, error) {
	set := map[string]string{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--set: %q is not of the form NAME=VALUE", text)
		}
		if err := t.Check(name); err != nil {
			return nil, fmt.Errorf("--set: %w", err)
		}
		set[name] = value
	}
	return set, nil
}

// parameters are those of the hub that the environment and --set give.
func (d *deployment) parameters() map[string]string {
	s, set := d.p.settings, map[string]string{}
	for name, value := range map[string]string{
		"Channel": s.Channel, "Responders": s.Responders, "SlackBotToken": s.SlackToken, "SlackSigningSecret": s.SigningSecret,
	} {
		if value != "" {
			set[name] = value
		}
	}
	if s.SlackToken != "" || s.SigningSecret != "" {
		// Functions that run have read the old ones.
		set["SecretsRevision"] = time.Now().UTC().Format(time.RFC3339)
	}
	maps.Copy(set, d.set)
	return set
}

// functions gives the functions' zip, with the policy, and what it is built for.
func (d *deployment) functions() (zip []byte, arch string, err error) {
	path := d.o.zip
	if path == "" {
		if path, err = os.Executable(); err != nil {
			return nil, "", fmt.Errorf("find this program: %w", err)
		}
	}
	program, err := deploy.Program(path)
	if err != nil {
		return nil, "", err
	}
	if arch, err = deploy.Architecture(program); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	policy, err := d.policy()
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	if err := deploy.Zip(&b, program, policy); err != nil {
		return nil, "", err
	}
	return b.Bytes(), arch, nil
}

// policy reads the policy's file, and refuses what the functions would refuse. Empty:
// there is none.
func (d *deployment) policy() ([]byte, error) {
	cfg, err := d.p.settings.config("")
	if err != nil || cfg.File == "" {
		return nil, err
	}
	raw, err := os.ReadFile(cfg.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the policy (SECBOT_CONFIG): %w", err)
	}
	return raw, nil
}
