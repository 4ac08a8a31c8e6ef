package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"secbot/remediation"
)

// claimAll claims a finding for each playbook that a signal points to.
func claimAll(sig remediation.Signal) []remediation.Finding {
	var found []remediation.Finding
	for _, id := range sig.Playbooks {
		found = append(found, remediation.Finding{
			Playbook: id, Resource: sig.Resource, Name: sig.Change.GroupName, Severity: remediation.SeverityHigh,
			Actor: sig.Actor, Direction: sig.Change.Direction, Rules: sig.Change.Rules, Openness: sig.Change.Openness,
		})
	}
	return found
}

func claimNone(remediation.Signal) []remediation.Finding { return nil }

// replayed replays paths and gives what was printed.
func replayed(t *testing.T, o ReplayOptions, stdin string, paths ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Replay(t.Context(), &out, strings.NewReader(stdin), paths, o)
	return out.String(), err
}

// tree writes files below a new directory and changes into it.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// replayInputs are fixtures as files of a directory, in the order in which
// they are read.
func replayInputs(t *testing.T) map[string]string {
	return map[string]string{
		"events/a/full.json":      fixture(t, "sg-full-eventbridge"),
		"events/a/several.json":   fixture(t, "evaluations-several"),
		"events/b/custom":         fixture(t, "compliance-custom-name"),
		"events/b/sqs.json":       fixture(t, "envelope-sqs-lambda"),
		"events/c.json":           fixture(t, "sg-egress-all"),
		"events/d-name.json":      fixture(t, "sg-name-alone"),
		"events/e-unknown.json":   fixture(t, "unknown-object"),
		"events/f-malformed.json": `{"detail":`,
		"events/g-list.json":      `[]`,
		"events/h.ndjson":         `{"detail-type":"One"}` + "\n" + `{"detail-type":"Two"}` + "\n",
		"events/i-half.ndjson":    `{"detail-type":"One"}` + "\n" + `{"detail-type":`,
	}
}

func TestReplayGolden(t *testing.T) {
	for _, tt := range []struct {
		file string
		json bool
	}{{"testdata/replay.json", true}, {"testdata/replay.txt", false}} {
		t.Run(tt.file, func(t *testing.T) {
			inputs := replayInputs(t)
			golden, err := filepath.Abs(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			tree(t, inputs)
			got, err := replayed(t, ReplayOptions{Claim: claimAll, JSON: tt.json}, "", "events")
			if !errors.Is(err, ErrReplayFailed) {
				t.Errorf("error %v, want ErrReplayFailed", err)
			}
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplayInputs(t *testing.T) {
	const one = `{"detail-type":"One"}`
	line := func(file, kind string) string {
		return `{"file":"` + file + `","kind":"` + kind + `","skipped":"not an event that secbot answers: ` + kind + `"}` + "\n"
	}
	tree(t, map[string]string{"one.json": "\xef\xbb\xbf " + one, "empty.json": ""})
	tests := []struct {
		name  string
		stdin string
		paths []string
		want  string
		fails bool
	}{
		{"one file", "", []string{"one.json"}, line("one.json", "One"), false},
		{"stdin", one, []string{"-"}, line("-", "One"), false},
		{"stdin, several", one + `{"detail-type":"Two"}` + "\n\n" + one, []string{"-"}, line("-", "One") + line("-", "Two") + line("-", "One"), false},
		{"both", one, []string{"one.json", "-"}, line("one.json", "One") + line("-", "One"), false},
		{"empty file", "", []string{"empty.json", "one.json"}, `{"file":"empty.json","error":"` + (&MalformedError{Reason: "it is empty"}).Error() + `"}` + "\n" + line("one.json", "One"), true},
		{"no paths", one, nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := replayed(t, ReplayOptions{Claim: claimAll, JSON: true}, tt.stdin, tt.paths...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if errors.Is(err, ErrReplayFailed) != tt.fails {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReplayReadsOn(t *testing.T) {
	tree(t, map[string]string{"dir/one.json": `{}`})
	if err := os.Symlink("nowhere", "dir/broken"); err != nil {
		t.Fatal(err)
	}
	out, err := replayed(t, ReplayOptions{Claim: claimAll, JSON: true}, "[1]", "missing", "dir", "-")
	if !errors.Is(err, ErrReplayFailed) {
		t.Errorf("error %v", err)
	}
	var got []string
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatal(err)
		}
		_, failed := line["error"]
		got = append(got, line["file"].(string)+map[bool]string{true: " error", false: ""}[failed])
	}
	if diff := cmp.Diff([]string{"missing error", "dir/broken error", "dir/one.json", "- error"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReplayTooLarge(t *testing.T) {
	big := `{"a":"` + strings.Repeat("x", MaxSize) + `"}`
	out, err := replayed(t, ReplayOptions{Claim: claimAll, JSON: true}, big, "-")
	if !errors.Is(err, ErrReplayFailed) || !strings.Contains(out, "too large") {
		t.Errorf("%.200s, %v", out, err)
	}
}

func TestReplayNothingClaimed(t *testing.T) {
	out, err := replayed(t, ReplayOptions{Claim: claimNone, JSON: true}, fixture(t, "sg-private"), "-")
	want := `{"file":"-","kind":"AuthorizeSecurityGroupIngress","skipped":"the event alone claims nothing: the live state decides (--live)"}` + "\n"
	if out != want || err != nil {
		t.Errorf("%s, %v", out, err)
	}
}

// TestReplayCannotSteerTerminals prints an event whose names hold escape
// sequences.
func TestReplayCannotSteerTerminals(t *testing.T) {
	hostile := `{"detail-type":"\u001b[2J\u202e\r\nfake: line"}`
	out, err := replayed(t, ReplayOptions{Claim: claimAll}, hostile, "-")
	if err != nil || strings.ContainsAny(out, "\x1b\r\u202e") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestReplayLive(t *testing.T) {
	safe, gone, down := remediation.Part{}, fmt.Errorf("read: %w", remediation.ErrGone), errors.New("throttled")
	ask := remediation.Part{
		Finding:  remediation.Finding{Playbook: "sg-rule-added", Severity: remediation.SeverityLow},
		Decision: remediation.Decision{Action: remediation.ActionAsk, Rule: "rule 1", Why: "the mode is ask"},
	}
	tests := []struct {
		name   string
		part   remediation.Part
		err    error
		json   string
		text   string
		failed bool
	}{
		{"asked", ask, nil, `"live":[{"playbook":"sg-rule-added","severity":"low","action":"ask","policy_rule":"rule 1","why":"the mode is ask"}]`, "live: the policy says ask (rule 1): sg-rule-added (low)", false},
		{"safe", safe, nil, `"live_skipped":"the live state is safe"`, "live: the live state is safe", false},
		{"gone", safe, gone, `"live_skipped":"read: the resource does not exist"`, "live: read: the resource does not exist", false},
		{"unreadable", safe, down, `"live_error":"throttled"`, "live: error: throttled", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := ReplayOptions{Claim: claimAll, JSON: true, Preview: func(_ context.Context, sig remediation.Signal) ([]remediation.Part, error) {
				if sig.Resource.ID != "sg-0aaa" || tt.part.Finding.Playbook == "" {
					return nil, tt.err
				}
				return []remediation.Part{tt.part}, tt.err
			}}
			got, err := replayed(t, o, fixture(t, "sg-private"), "-")
			if !strings.Contains(got, tt.json) || !strings.Contains(got, `"findings":[`) || errors.Is(err, ErrReplayFailed) != tt.failed {
				t.Errorf("%s, %v", got, err)
			}
			o.JSON = false
			if got, _ = replayed(t, o, fixture(t, "sg-private"), "-"); !strings.Contains(got, tt.text) {
				t.Errorf("%s lacks %q", got, tt.text)
			}
		})
	}
}

func TestReplayStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := Replay(ctx, &out, strings.NewReader("{}"), []string{"-"}, ReplayOptions{Claim: claimAll})
	if !errors.Is(err, context.Canceled) || out.Len() != 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReplayReportsWriteErrors(t *testing.T) {
	err := Replay(t.Context(), brokenWriter{}, strings.NewReader("{}"), []string{"-"}, ReplayOptions{Claim: claimAll, JSON: true})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestFindingJSON(t *testing.T) {
	zero := int32(0)
	f := remediation.Finding{
		Playbook: "sg-rule-added", Name: "web", Severity: remediation.SeverityCritical, Direction: remediation.Ingress,
		Resource: remediation.Ref{Kind: remediation.KindSecurityGroup, Account: "111122223333", Region: "eu-central-1", ID: "sg-0aaa"},
		Rules:    []remediation.Rule{{ID: "sgr-1", Direction: remediation.Ingress, Protocol: "tcp", FromPort: &zero, ToPort: &zero, CIDR: "0.0.0.0/0", Description: "d", Openness: remediation.OpenWorld}},
		Notes:    []string{"n"},
	}
	raw, err := json.Marshal(FindingJSON(f))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"playbook":"sg-rule-added","account":"111122223333","region":"eu-central-1","resource":"sg-0aaa","severity":"critical","direction":"ingress","rules":[{"protocol":"tcp","from_port":0,"to_port":0,"cidr":"0.0.0.0/0"}]}`
	if string(raw) != want {
		t.Errorf("got %s\nwant %s", raw, want)
	}
	var out bytes.Buffer
	if err := PrintScanned(&out, f, Beside{}); err != nil || out.String() != want+"\n" {
		t.Errorf("%s, %v", out.String(), err)
	}
	f.Actor.ARN = "a\x1b[2J"
	const line = "sg-rule-added (critical) sg-0aaa in account 111122223333, eu-central-1, by a\uFFFD[2J: ingress tcp 0 from 0.0.0.0/0"
	if got := Printable(newFindingJSON(f).text()); got != line {
		t.Errorf("%q", got)
	}
	if raw, _ = json.Marshal(FindingJSON(remediation.Finding{Playbook: "s3-public-acl"})); string(raw) != `{"playbook":"s3-public-acl"}` {
		t.Errorf("absent members are there: %s", raw)
	}
}

// TestScannedLines: what is printed is read as it was, whatever is told beside it.
func TestScannedLines(t *testing.T) {
	port := int32(22)
	for name, tt := range map[string]struct {
		finding remediation.Finding
		beside  Beside
	}{
		"group": {remediation.Finding{
			Playbook: "sg-rule-added", Severity: remediation.SeverityHigh, Direction: remediation.Ingress, Actor: remediation.Actor{ARN: "arn:aws:iam::111122223333:user/dana"},
			Resource: remediation.Ref{Account: "111122223333", Region: "eu-central-1", ID: "sg-0aaa"},
			Rules: []remediation.Rule{{Direction: remediation.Ingress, Protocol: "tcp", FromPort: &port, ToPort: &port, CIDR: "::/0"},
				{Direction: remediation.Ingress, Protocol: "-1", PrefixList: "pl-1"}},
		}, Beside{Change: "new"}},
		"bucket": {remediation.Finding{Playbook: "s3-public-acl", Resource: remediation.Ref{ID: "b"}}, Beside{IgnoredBy: "the site"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := PrintScanned(&out, tt.finding, tt.beside); err != nil {
				t.Fatal(err)
			}
			f, b, err := ParseScanned(out.Bytes())
			if err != nil || b != tt.beside {
				t.Errorf("%+v, %v", b, err)
			}
			if diff := cmp.Diff(tt.finding, f); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, line := range []string{"", "[]", "{}", `{"playbook":"s3-public-acl"}`, `{"playbook":1,"resource":"b"}`} {
		if f, _, err := ParseScanned([]byte(line)); err == nil {
			t.Errorf("%s gives %+v", line, f)
		}
	}
}
