package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"secbot/bot"
	"secbot/internal/doctor"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

// patient is an installation on the stand-ins that lacks nothing, with its server.
type patient struct {
	t  *testing.T
	sb *sandbox.Sandbox
	s  *instance
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	sb, _ := startSandbox(t)
	onStandIns(t, sb)
	sb.Slack.SetScopes(bot.ScopeNames())
	t.Setenv("SECBOT_RESPONDERS", fakeslack.Alice+","+fakeslack.GroupResponders)
	t.Setenv("SLACK_APP_TOKEN", "")
	p := &patient{t: t, sb: sb, s: startServer(t)}
	t.Setenv("SECBOT_URL", p.s.url)
	return p
}

// examined runs the doctor and gives what it prints, for people and for programs.
func (p *patient) examined(t *testing.T) (status int, text string, results []doctor.Result) {
	t.Helper()
	status, text, _ = shell(t, "", "doctor")
	again, lines, _ := shell(t, "", "doctor", "--json")
	if status != again {
		t.Errorf("status %d, with --json %d", status, again)
	}
	for line := range strings.Lines(lines) {
		var r doctor.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		results = append(results, r)
	}
	return status, text, results
}

// allowed is who may do what secbot needs but what is left out, and what is added.
func allowed(without []string, with ...string) fakeaws.Caller {
	c := granted()
	c.Allowed = slices.DeleteFunc(slices.Clone(c.Allowed), func(a string) bool { return slices.Contains(without, a) })
	c.Allowed = append(c.Allowed, with...)
	return c
}

// TestDoctorFindsNothing: all is well, and each thing was looked at.
func TestDoctorFindsNothing(t *testing.T) {
	p := newPatient(t)
	status, text, results := p.examined(t)
	if status != 0 || strings.Contains(text, "FAULT") {
		t.Errorf("status %d\n%s", status, text)
	}
	for _, want := range []string{"configuration", "store", "bot token", "scopes", "app token", "channel " + fakeslack.ChannelSecurity, "user " + fakeslack.Alice,
		"user group " + fakeslack.GroupResponders, "signing secret", "events", "signed request", "events token", "server", "region", "AWS identity", "permissions"} {
		if !slices.ContainsFunc(results, func(r doctor.Result) bool { return r.Check == want }) {
			t.Errorf("%s was not looked at:\n%s", want, text)
		}
	}
	for _, r := range results {
		if r.Status == doctor.Fault || r.Found == "" || strings.HasSuffix(r.Found, ".") {
			t.Errorf("%+v", r)
		}
	}
	if !strings.Contains(text, "can't be tried without changing something: s3:DeleteBucketPolicy, s3:PutAccountPublicAccessBlock") {
		t.Errorf("it is not said what was not tried:\n%s", text)
	}
	for _, secret := range []string{p.sb.Slack.Token(), p.sb.Slack.Secret(), "bearer"} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret %q is told:\n%s", secret, text)
		}
	}
}

// TestDoctorNamesEachFault plants one at a time.
func TestDoctorNamesEachFault(t *testing.T) {
	p := newPatient(t)
	simulating := []string{"iam:SimulatePrincipalPolicy"}
	env := func(name, value string) func(*testing.T) {
		return func(t *testing.T) { t.Setenv(name, value) }
	}
	aws := func(c fakeaws.Caller) func(*testing.T) {
		return func(t *testing.T) {
			p.sb.AWS.AddCaller("AKIASECBOT", c)
			t.Cleanup(func() { p.sb.AWS.AddCaller("AKIASECBOT", granted()) })
		}
	}
	file := func(text string) func(*testing.T) {
		return func(t *testing.T) {
			write(t, "secbot.yaml", text)
			t.Cleanup(func() {
				if err := os.Remove("secbot.yaml"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for name, c := range map[string]struct {
		plant func(*testing.T)
		check string
		found string
		mend  string
	}{
		"no bot token":        {env("SLACK_BOT_TOKEN", ""), "bot token", "SLACK_BOT_TOKEN is not set", "xoxb-"},
		"bad bot token":       {env("SLACK_BOT_TOKEN", "xoxb-bad"), "bot token", "invalid_auth", "OAuth & Permissions"},
		"Slack out of reach":  {env("SLACK_API_URL", "http://127.0.0.1:1/api/"), "bot token", "could not be asked", "slack.com"},
		"bad app token":       {env("SLACK_APP_TOKEN", "xapp-bad"), "app token", "invalid_auth", "connections:write"},
		"no app token at all": {env("SLACK_APP_TOKEN", "xoxb-sandbox"), "app token", "does not begin with xapp-", "App-Level Tokens"},
		"missing scope": {func(t *testing.T) {
			p.sb.Slack.SetScopes(slices.DeleteFunc(bot.ScopeNames(), func(s string) bool { return s == "usergroups:read" }))
			t.Cleanup(func() { p.sb.Slack.SetScopes(bot.ScopeNames()) })
		}, "scopes", "usergroups:read is missing", "install it again"},
		"not in the channel":         {env("SECBOT_CHANNEL", fakeslack.ChannelRandom), "channel " + fakeslack.ChannelRandom, "not in it", "/invite @secbot"},
		"not in the channel by name": {env("SECBOT_CHANNEL", "#random"), "channel #random", "not in it", "/invite @secbot in #random"},
		"no such channel":            {env("SECBOT_CHANNEL", "C0NOWHERE"), "channel C0NOWHERE", "there is none", "invite secbot"},
		"no channel of that name":    {env("SECBOT_CHANNEL", "#nowhere"), "channel #nowhere", "there is none", "by its id"},
		"no channel named":           {env("SECBOT_CHANNEL", ""), "channels", "SECBOT_CHANNEL is not set", "SECBOT_CHANNEL"},
		"a rule's channel":           {file("mode: ask\nrules:\n  - name: a\n    then: ask\n    channel: \"#random\"\n"), "channel #random", "not in it", "/invite"},
		"archived": {func(t *testing.T) {
			p.sb.Slack.SetChannel(fakeslack.Channel{ID: "C0OLD", Name: "old", Member: true, Archived: true})
			t.Setenv("SECBOT_CHANNEL", "C0OLD")
		}, "channel C0OLD", "archived", "another"},
		"no responders":        {env("SECBOT_RESPONDERS", ""), "responders", "nobody may decide", "SECBOT_RESPONDERS"},
		"unknown responder":    {env("SECBOT_RESPONDERS", "U0NOBODY"), "user U0NOBODY", "there is none", "Copy member ID"},
		"a guest responds":     {env("SECBOT_RESPONDERS", fakeslack.Guest), "user " + fakeslack.Guest, "Guests can't", "full members"},
		"unknown group":        {env("SECBOT_RESPONDERS", "S0NONE"), "user group S0NONE", "there is none", "take it out"},
		"no secret":            {env("SLACK_SIGNING_SECRET", ""), "signing secret", "not set", "App Credentials"},
		"a token as secret":    {env("SLACK_SIGNING_SECRET", "xoxb-1"), "signing secret", "is a token", "App Credentials"},
		"wrong secret":         {env("SLACK_SIGNING_SECRET", "of-another-app"), "signed request", "another one than here", "Signing Secret"},
		"wrong events token":   {env("SECBOT_EVENTS_TOKEN", "other"), "events token", "another one than here", "EventBridge"},
		"no events":            {env("SECBOT_EVENTS_TOKEN", ""), "events", "none can come", "set one of them"},
		"wrong topic":          {env("SECBOT_SNS_TOPICS", "secbot"), "events", "no topic's ARN", "arn:aws:sns"},
		"no server":            {env("SECBOT_URL", "http://127.0.0.1:1"), "server", "can't be reached", "--url"},
		"another server":       {env("SECBOT_URL", p.sb.SlackURL), "signed request", "answers 404", "own address"},
		"wrong configuration":  {file("mode: loud\n"), "configuration", "secbot.yaml:1", "config check"},
		"no such store":        {env("SECBOT_STORE", "postgres://x"), "store", "not a store's URL", "SECBOT_STORE"},
		"no folder for it":     {env("SECBOT_STORE", "bolt:///nowhere/at/all/secbot.db"), "store", "no such file", "SECBOT_STORE"},
		"no table":             {env("SECBOT_STORE", "dynamodb://nowhere"), "store", "", "SECBOT_STORE"},
		"AWS out of reach":     {env("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), "AWS identity", "STS", "AWS_PROFILE"},
		"no region":            {env("AWS_REGION", ""), "region", "AWS_REGION is not set", "AWS_REGION"},
		"denied, simulated":    {aws(allowed([]string{"s3:PutBucketAcl"}, simulating...)), "permissions", "s3:PutBucketAcl is denied (by iam:SimulatePrincipalPolicy)", "iam-policy"},
		"denied, by dry run":   {aws(allowed([]string{"ec2:RevokeSecurityGroupIngress"})), "permissions", "ec2:RevokeSecurityGroupIngress is denied (by dry runs", "iam-policy"},
		"denied, by a read":    {aws(allowed([]string{"s3:GetBucketPolicy"})), "permissions", "s3:GetBucketPolicy is denied (by dry runs and harmless reads)", "iam-policy"},
		"denied, no buckets":   {aws(allowed([]string{"s3:ListAllMyBuckets"})), "permissions", "s3:ListAllMyBuckets is denied", "iam-policy"},
		"denied, account":      {aws(allowed([]string{"s3:GetAccountPublicAccessBlock"})), "permissions", "s3:GetAccountPublicAccessBlock is denied", "iam-policy"},
		"denied, Config":       {aws(allowed([]string{"config:DescribeConfigRules"})), "permissions", "config:DescribeConfigRules is denied", "iam-policy"},
		"denied, describe":     {aws(allowed([]string{"ec2:DescribeSecurityGroups"})), "permissions", "ec2:DescribeSecurityGroups is denied", "iam-policy"},
		"denied, tags by show": {aws(allowed([]string{"ec2:CreateTags"})), "permissions", "ec2:CreateTags is denied", "iam-policy"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no region" {
				t.Setenv("AWS_DEFAULT_REGION", "")
				t.Setenv("HOME", t.TempDir())
			}
			c.plant(t)
			status, text, results := p.examined(t)
			if status != 1 {
				t.Errorf("status %d", status)
			}
			found := slices.ContainsFunc(results, func(r doctor.Result) bool {
				return r.Status == doctor.Fault && r.Check == c.check && strings.Contains(r.Found, c.found) && strings.Contains(r.Mend, c.mend)
			})
			if !found || !strings.Contains(text, "FAULT   "+c.check+": ") {
				t.Errorf("it is not found:\n%s", text)
			}
			for _, r := range results {
				if r.Status == doctor.Fault && r.Check != c.check && !follows(r, c.check) {
					t.Errorf("there is no such fault: %+v", r)
				}
			}
		})
	}
}

// follows reports whether one fault may come of another.
func follows(r doctor.Result, of string) bool {
	switch of {
	case "server", "signed request":
		return slices.Contains([]string{"server", "signed request", "events token"}, r.Check)
	case "signing secret":
		return r.Check == "signed request"
	case "AWS identity":
		return r.Check == "region"
	}
	return false
}

// TestDoctorSimulates: where IAM says what is allowed nothing else is tried.
func TestDoctorSimulates(t *testing.T) {
	p := newPatient(t)
	p.sb.AWS.AddCaller("AKIASECBOT", allowed(nil, "iam:SimulatePrincipalPolicy"))
	before := len(p.sb.AWS.Calls())
	status, text, _ := p.examined(t)
	if status != 0 || !strings.Contains(text, "actions are allowed (by iam:SimulatePrincipalPolicy)") {
		t.Errorf("status %d\n%s", status, text)
	}
	for _, call := range p.sb.AWS.Calls()[before:] {
		if call.Service != "iam" && call.Service != "sts" {
			t.Errorf("%s:%s was called", call.Service, call.Action)
		}
	}
}

// TestDoctorChangesNothing: neither in AWS nor in Slack.
func TestDoctorChangesNothing(t *testing.T) {
	p := newPatient(t)
	before, said := len(p.sb.AWS.Calls()), len(p.sb.Slack.Messages(fakeslack.ChannelSecurity))
	state := snapshot(t, p.sb)
	p.examined(t)
	for _, call := range p.sb.AWS.Calls()[before:] {
		if call.ErrorCode == "" && !strings.HasPrefix(call.Action, "Get") && !strings.HasPrefix(call.Action, "Describe") && !strings.HasPrefix(call.Action, "List") {
			t.Errorf("%s:%s took effect", call.Service, call.Action)
		}
	}
	if got := snapshot(t, p.sb); got != state {
		t.Errorf("AWS was %s, and is %s", state, got)
	}
	if n := len(p.sb.Slack.Messages(fakeslack.ChannelSecurity)); n != said {
		t.Errorf("%d messages were posted", n-said)
	}
}

func snapshot(t *testing.T, sb *sandbox.Sandbox) string {
	t.Helper()
	raw, err := json.Marshal([]any{sb.AWS.Groups(), sb.AWS.Buckets()})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestDoctorWithoutATokenStillLooks: what needs no token is told all the same.
func TestDoctorWithoutATokenStillLooks(t *testing.T) {
	p := newPatient(t)
	t.Setenv("SLACK_BOT_TOKEN", "")
	if _, text, _ := p.examined(t); !strings.Contains(text, "messages go to "+fakeslack.ChannelSecurity) || !strings.Contains(text, fakeslack.Alice) {
		t.Errorf("channel and responders are not told of:\n%s", text)
	}
	t.Setenv("SECBOT_CHANNEL", "")
	t.Setenv("SECBOT_RESPONDERS", "")
	if _, text, _ := p.examined(t); !strings.Contains(text, "FAULT   channels: ") || !strings.Contains(text, "FAULT   responders: ") {
		t.Errorf("their faults are not found:\n%s", text)
	}
}
