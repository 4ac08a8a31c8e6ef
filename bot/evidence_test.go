package bot

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"secbot/internal/blockkit"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// known is an incident of which everything is known.
func known() *remediation.Incident {
	inc := incident(opened(), step(remediation.StatusFixing, fakeslack.Alice, "it is not meant so"), byPolicy(remediation.StatusFixed))
	f := &inc.Finding
	f.Actor = remediation.Actor{Type: "AssumedRole", ARN: "arn:aws:sts::111122223333:assumed-role/deploy/dana", IssuerARN: "arn:aws:iam::111122223333:role/deploy",
		Account: account, SourceIP: "203.0.113.7", UserAgent: "APN/1.0 HashiCorp/1.0 Terraform/1.14.0", Via: "Terraform"}
	f.Tags = map[string]string{"team": "shop", "env": "prod"}
	f.Rules[0].Tags = map[string]string{"ticket": "OPS-7"}
	f.Rules = append(f.Rules, remediation.Rule{ID: "sgr-0b", Direction: remediation.Ingress, Protocol: "-1", PrefixList: "pl-0abc", Openness: remediation.OpenPrivate})
	f.Was = []remediation.Rule{{ID: "sgr-0a", Direction: remediation.Ingress, Protocol: "tcp", FromPort: port(22), ToPort: port(22), CIDR: "192.0.2.0/24", Description: "office"}}
	f.Grants = []remediation.Grant{{Grantee: "AllUsers", Permission: "READ", Openness: remediation.PublicRead}}
	f.Statements = []remediation.Statement{
		{Sid: "Everybody", JSON: json.RawMessage(`{"Sid":"Everybody","Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::data/*"}`), Openness: remediation.PublicWrite},
		{JSON: json.RawMessage(`{"Effect":"Allow"}`)},
	}
	f.Openness, f.Doubt = []remediation.Openness{remediation.PublicRead}, "AWS says otherwise"
	f.Rest, f.Notes = []string{"tcp 443 from 10.0.0.0/8"}, []string{"No network interface uses the group."}
	inc.Decision.Why = "mode ask: secbot changes nothing unasked"
	inc.Plan.Diff = []remediation.DiffLine{{Op: "-", Text: "tcp 22 from 0.0.0.0/0"}, {Op: " ", Text: "tcp 443 from 10.0.0.0/8"}}
	inc.Outcomes = []remediation.Outcome{{Notes: []string{"The rule had a tag."}}}
	inc.Calls = []remediation.Call{
		{For: remediation.StatusFixing, Action: "ec2:RevokeSecurityGroupIngress", Resource: f.Resource, At: at(2), RequestIDs: []string{"req-1", "req-2"}, Lost: 1},
		{For: remediation.StatusUndoing, Action: "ec2:AuthorizeSecurityGroupIngress", Resource: f.Resource, At: at(3)},
	}
	inc.Decision.Approvals, inc.History[1].Approved = 1, []string{fakeslack.Bob}
	inc.Request = &remediation.Request{Verb: remediation.VerbUndo, By: fakeslack.Dana, At: at(4), Reason: "a release waits", Needed: 1, Approved: []remediation.Approval{{By: fakeslack.Alice, At: at(5)}}}
	inc.Answer = &remediation.ActorAnswer{By: fakeslack.Dana, Yes: true, Reason: "I was testing", At: at(5)}
	inc.Previous, inc.Repeats, inc.Error = "01JQ8Z5N6X7W9V4T3R2P1M0AAA", 2, "The undo was refused."
	return inc
}

// hostileIncident tries to break out of everything that it gets into.
func hostileIncident() *remediation.Incident {
	const evil = "<!channel> `*x*` ``` <https://evil.example|ok> &amp; \u202e"
	inc := known()
	f := &inc.Finding
	f.Name, f.Event, f.EventID, f.Doubt, f.Irreversible = evil, evil, evil, evil, evil
	f.Actor = remediation.Actor{Type: evil, ARN: evil, IssuerARN: evil, Account: evil, SourceIP: evil, UserAgent: strings.Repeat(evil, 40), Via: evil}
	f.Tags = map[string]string{evil: evil}
	f.Rules = slices.Repeat([]remediation.Rule{{ID: evil, Protocol: evil, CIDR: evil, Description: evil, Tags: map[string]string{evil: evil}}}, 300)
	f.Statements = slices.Repeat([]remediation.Statement{
		{Sid: evil, JSON: json.RawMessage(`{"Sid": "` + "<!channel> ``` \u202e" + `", "Principal": {"AWS": [` + strings.Repeat(`"*",`, 2000) + `"*"]}}`)},
		{Sid: evil, JSON: json.RawMessage("``` no JSON\n<!here>\x00")},
	}, 100)
	f.Grants = slices.Repeat([]remediation.Grant{{Grantee: evil, Permission: evil}}, 300)
	f.Rest, f.Notes = slices.Repeat([]string{evil}, 300), slices.Repeat([]string{evil}, 300)
	inc.Error, inc.Decision.Why, inc.Decision.Rule, inc.Previous = evil, evil, evil, evil
	inc.Decision.Approvers = slices.Repeat([]string{evil, fakeslack.Alice}, 100)
	inc.Plan.Diff = slices.Repeat([]remediation.DiffLine{{Op: evil, Text: evil}}, 500)
	inc.Calls = slices.Repeat([]remediation.Call{{Action: evil, RequestIDs: slices.Repeat([]string{evil}, 100)}}, 100)
	inc.Request = &remediation.Request{Verb: evil, By: evil, Reason: evil, Approved: slices.Repeat([]remediation.Approval{{By: evil}}, 200)}
	inc.Answer = &remediation.ActorAnswer{By: evil, Reason: evil}
	inc.History = slices.Repeat([]remediation.Transition{{To: remediation.Status(evil), By: evil, Reason: evil, At: at(1), Approved: slices.Repeat([]string{evil}, 200)}}, 200)
	return inc
}

func TestEvidenceGolden(t *testing.T) {
	scanned := incident(opened())
	scanned.Finding = remediation.Finding{Playbook: "s3-public-policy", Event: "scan", Severity: remediation.SeverityHigh, At: at(0),
		Resource: remediation.Ref{Kind: remediation.KindBucket, Account: account, Region: "us-east-1", ID: "reports"}}
	for name, inc := range map[string]*remediation.Incident{"known": known(), "scanned": scanned, "hostile": hostileIncident()} {
		t.Run(name, func(t *testing.T) {
			view := evidenceModal(view1(inc))
			golden(t, "evidence-"+name, view)
			checkEvidence(t, view1(inc))
		})
	}
}

func checkEvidence(t rapid.TB, v view) {
	t.Helper()
	raw, err := json.Marshal(evidenceModal(v))
	if err != nil {
		t.Fatal(err)
	}
	if err := blockkit.CheckView(raw); err != nil {
		t.Fatalf("Slack would refuse it: %v", err)
	}
	if err := nothingFormatted(raw); err != nil {
		t.Fatal(err)
	}
}

// TestEvidenceTellsAll: nothing that the incident holds is left out.
func TestEvidenceTellsAll(t *testing.T) {
	inc := known()
	v := view1(inc)
	v.names.Accounts = map[string]string{account: "acme-prod"}
	said := string(encoded(t, evidenceModal(v)))
	a := inc.Finding.Actor
	for _, want := range []string{
		inc.ID, inc.Previous, inc.Error, inc.Finding.Event, inc.Finding.EventID, a.Type, a.ARN, a.IssuerARN, a.SourceIP, a.UserAgent, a.Via,
		account, "eu-central-1", "sg-0abc", "web", "env = prod", "team = shop", "public-read", "AWS says otherwise",
		"ingress tcp 22 from 0.0.0.0/0 · sgr-0a · world · high · “ssh for everybody” · ticket=OPS-7", "ingress all traffic from pl-0abc · sgr-0b · private",
		"192.0.2.0/24", "READ to AllUsers · public-read", "Policy statement Everybody · public-write", `\"s3:PutObject\"\n  ],\n  \"Resource\"`,
		"tcp 443 from 10.0.0.0/8", "No network interface", "ask", "rule 2", "mode ask", `"user_id": "` + fakeslack.Bob + `"`, `"usergroup_id": "` + fakeslack.GroupResponders + `"`, fakeslack.ChannelSecurity,
		"- tcp 22 from 0.0.0.0/0\\n  tcp 443", "ec2:RevokeSecurityGroupIngress on sg-0abc · fixing · 2025-04-01 12:02:00 UTC · request req-1, req-2 · lost: 1 answer",
		"ec2:AuthorizeSecurityGroupIngress on sg-0abc · undoing · 2025-04-01 12:03:00 UTC · no answer yet", "The rule had a tag", "it is not meant so", "2 times",
		"acme-prod", "Approvals needed: 1", "a release waits", "Asked by: ", "Approved by: ", " · approved by ", "I was testing", "Answer: yes",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(said, "more") && !strings.Contains(said, "Why not more") {
		t.Error("something was left out")
	}
}

// TestEvidenceCounts: what is cut is counted, and the newest of the history is
// kept.
func TestEvidenceCounts(t *testing.T) {
	inc := hostileIncident()
	inc.History = append(inc.History, step(remediation.StatusFixed, fakeslack.Alice, "the last word"))
	said := string(encoded(t, evidenceModal(view1(inc))))
	for _, want := range []string{"more", "statements more", "more lines", "more before", "the last word"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(said, "mrkdwn") || strings.Contains(said, `"link"`) || strings.Contains(said, "broadcast") || strings.Contains(said, "\u202e") {
		t.Error("Slack would format what comes from outside, or it does not print")
	}
	if !strings.Contains(said, `\\u202e`) {
		t.Error("the JSON of a statement does not show what does not print")
	}
}

// TestEvidenceOfAnything: whatever stands in an incident, Slack takes the modal
// and formats nothing of it.
func TestEvidenceOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkEvidence(t, view{inc: anyIncident(t), meta: remediation.Meta{Title: anyText(t, "title")}})
	})
	checkEvidence(t, view{inc: &remediation.Incident{}})
	for _, filling := range []string{strings.Repeat("x", 5000), strings.Repeat("<\"&", 2000), strings.Repeat("😀", 3000)} {
		huge := hostileIncident()
		f := &huge.Finding
		f.Name, f.Doubt, f.Irreversible, huge.Error, huge.Decision.Why = filling, filling, filling, filling, filling
		f.Actor = remediation.Actor{Type: filling, ARN: filling, IssuerARN: filling, UserAgent: filling}
		f.Rules[0], f.Statements[0].JSON = remediation.Rule{Description: filling, Tags: map[string]string{filling: filling}}, json.RawMessage(filling)
		f.Rules, f.Statements, f.Notes = slices.Repeat(f.Rules[:1], 500), slices.Repeat(f.Statements[:1], 500), slices.Repeat([]string{filling}, 500)
		huge.Plan.Diff = slices.Repeat([]remediation.DiffLine{{Op: "+", Text: filling}}, 500)
		huge.History = slices.Repeat([]remediation.Transition{{To: remediation.StatusOpen, By: filling, Reason: filling}}, 500)
		checkEvidence(t, view1(huge))
	}
}

// TestEvidenceNamesWhoPaused: not by a raw id.
func TestEvidenceNamesWhoPaused(t *testing.T) {
	raw := string(encoded(t, evidenceModal(states()["question-paused"]())))
	if !strings.Contains(raw, `"user_id": "`+fakeslack.Bob+`"`) || strings.Contains(raw, "UTC by "+fakeslack.Bob) || !strings.Contains(raw, `(we \u003cmigrate\u003e)`) {
		t.Errorf("%s", raw)
	}
}
