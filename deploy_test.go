//go:build !lambda

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"secbot/internal/awsenv"
	"secbot/internal/deploy"
	"secbot/internal/sandbox/fakeaws"
)

// TestDeployRefuses: above all where nobody can be asked.
func TestDeployRefuses(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	for want, args := range map[string][]string{
		"--yes":                 nil,
		"is not of the form":    {"--yes", "--set", "Mode"},
		`no parameter "Moda"`:   {"--yes", "--set", "Moda=ask"},
		"by the environment":    {"--yes", "--set", "SlackBotToken=xoxb-1"},
		"AWS_REGION is not set": {"--yes"},
		"no parameter \"Mode\"": {"--yes", "--member", "--set", "Mode=ask"},
		"say --member too":      {"--yes", "--units", "ou-abcd-11111111"},
		"need one another":      {"--yes", "--member", "--units", "ou-abcd-11111111"},
		"unknown flag: --zone":  {"--zone", "eu-central-1"},
	} {
		t.Setenv("AWS_REGION", "")
		t.Setenv("AWS_CONFIG_FILE", "/nowhere")
		if status, _, errOut := shell(t, "yes\n", append([]string{"deploy"}, args...)...); status == 0 || !strings.Contains(errOut, want) {
			t.Errorf("deploy %q: status %d\n%s", args, status, errOut)
		}
	}
}

// TestDeployHasTimeToUpload: some ten megabytes, over a line of one megabit.
func TestDeployHasTimeToUpload(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, ok := unhurried(cfg.HTTPClient).(*awshttp.BuildableClient)
	if !ok || client.GetTimeout() < 10*time.Minute {
		t.Errorf("the client is %T", unhurried(cfg.HTTPClient))
	}
}

// told runs what comes after a deployment, with the outputs of the stack.
func told(t *testing.T, out deploy.Outputs) (string, error) {
	t.Helper()
	var b strings.Builder
	s := settingsFrom(os.Getenv)
	has := map[string]string{"Mode": "ask", "Channel": s.Channel, "Responders": s.Responders}
	s.Channel, s.Responders = "", "" // of the shell, which need not know them
	d := &deployment{p: &process{settings: s, out: &b}, account: "111122223333"}
	err := d.afterwards(t.Context(), out, has)
	return b.String(), err
}

// TestDeployTellsWhatToDo: at first how the Slack app is made, and once its secrets
// are known whether all is well, as the functions' role and not as the person.
func TestDeployTellsWhatToDo(t *testing.T) {
	p := newPatient(t)
	role := "arn:aws:iam::111122223333:role/secbot-worker"
	out := deploy.Outputs{"Url": p.s.url + "/", "Store": "memory://", "QueueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/q", "WorkerRoleArn": role}
	p.sb.AWS.AddCaller("AKIASECBOT", allowed(nil, "iam:SimulatePrincipalPolicy"))
	p.sb.AWS.AddCaller("AKIAWORKER", fakeaws.Caller{Role: "secbot-worker", Allowed: allowed([]string{"sns:Publish"}).Allowed})
	text, err := told(t, out)
	if err != nil || !strings.Contains(text, p.s.url+"/slack/interactions\n") || !strings.Contains(text, "mode ask") || !strings.Contains(text, role) || !strings.Contains(text, "actions are allowed (by iam:SimulatePrincipalPolicy)") {
		t.Errorf("%v\n%s", err, text)
	}
	p.sb.AWS.AddCaller("AKIAWORKER", fakeaws.Caller{Role: "secbot-worker", Allowed: allowed([]string{"s3:PutBucketAcl"}).Allowed})
	if text, err := told(t, out); err == nil || !strings.Contains(text, "s3:PutBucketAcl is denied") {
		t.Errorf("a role that may too little: %v\n%s", err, text)
	}
	t.Setenv("SLACK_BOT_TOKEN", "")
	if text, err := told(t, out); err != nil || !strings.Contains(text, "secbot manifest --url "+p.s.url) || strings.Contains(text, "FAULT") {
		t.Errorf("before there is an app: %v\n%s", err, text)
	}
}
