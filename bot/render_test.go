package bot

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"pgregory.net/rapid"

	"secbot/internal/blockkit"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

func view1(inc *remediation.Incident) view {
	return view{inc: inc, meta: names().meta(inc.Finding.Playbook)}
}

// of is an incident of a real playbook.
func of(playbook string, steps ...remediation.Transition) view {
	inc := incident(steps...)
	inc.Finding.Playbook = playbook
	return view{inc: inc, meta: Names{Metas: append(playbooks.Metas(), remediation.OwnRoleMeta())}.meta(playbook)}
}

func byPolicy(to remediation.Status) remediation.Transition {
	return step(to, remediation.ByItself, "rule 1")
}

func states() map[string]func() view {
	alice, bob := fakeslack.Alice, fakeslack.Bob
	fixedByPolicy := []remediation.Transition{opened(), byPolicy(remediation.StatusFixing), byPolicy(remediation.StatusFixed)}
	until := at(60 * 24)
	return map[string]func() view{
		"question": func() view {
			v := view1(incident(opened()))
			v.inc.Finding.Doubt = "AWS says the policy isn't public, secbot's own look says it is"
			v.inc.Finding.Rest = []string{"tcp 443 from 0.0.0.0/0 – told apart"}
			v.inc.Decision.Why = "the mode is ask"
			return v
		},
		"question-nobody": func() view {
			v := view1(incident(opened()))
			v.inc.Decision.Approvers = nil
			return v
		},
		"question-paused": func() view {
			v := view1(incident(opened()))
			v.inc.Decision.Why, v.inc.Decision.Paused = "secbot is paused since 2025-04-01 11:30 UTC by "+bob+" (we <migrate>)", bob
			return v
		},
		"undone-later": func() view {
			v := view1(incident(append(fixedByPolicy, step(remediation.StatusUndoing, bob, ""), byPolicy(remediation.StatusUndone))...))
			v.later, v.link = incident(opened()), "https://example.slack.com/archives/C0/p1?a=1&b=2"
			v.later.ID = "01JQ8Z5N6X7W9V4T3R2P1M0K9X"
			return v
		},
		"notify": func() view {
			v := view1(incident(opened()))
			v.inc.Decision.Action = remediation.ActionNotify
			return v
		},
		"run-starting":  func() view { return ran(remediation.RunStarting, "") },
		"run-running":   func() view { return ran(remediation.RunRunning, "") },
		"run-succeeded": func() view { return ran(remediation.RunSucceeded, "") },
		"run-failed": func() view {
			return ran(remediation.RunFailed, "failed: States.TaskFailed: <b> *no* such `instance`")
		},
		"run-late": func() view { return ran(remediation.RunLate, "it had not ended by 2025-04-01 13:00 UTC, and goes on") },
		"run-refused": func() view {
			return ran(remediation.RunRefused, "AccessDeniedException: AWS refused SFN StartExecution, for which secbot's role needs states:StartExecution")
		},
		"run-as-response": func() view {
			v := ran(remediation.RunSucceeded, "")
			v.inc = incident(opened())
			v.inc.Run, v.inc.Decision.Action = ran(remediation.RunSucceeded, "").inc.Run, remediation.ActionNotify
			v.inc.Finding.Irreversible = "it is not known what was changed"
			return v
		},
		"fixing-auto": func() view { return view1(incident(fixedByPolicy[:2]...)) },
		"fixing-asked": func() view {
			return view1(incident(opened(), step(remediation.StatusFixing, alice, "")))
		},
		"fixed-auto": func() view {
			v := view1(incident(fixedByPolicy...))
			v.inc.Decision.Action, v.inc.Decision.Rule = remediation.ActionAuto, `rule 1 "admin ports open to the world"`
			v.inc.Finding.Actor.Via = "Terraform"
			return v
		},
		"fixed-asked": func() view {
			return view1(incident(opened(), step(remediation.StatusFixing, alice, ""), byPolicy(remediation.StatusFixed)))
		},
		"fixed-undo-refused": func() view {
			v := view1(incident(append(fixedByPolicy, step(remediation.StatusUndoing, bob, ""), byPolicy(remediation.StatusFixed))...))
			v.inc.Error = "The undo was refused, and the fix still holds: sg-0abc: the state has changed since."
			return v
		},
		"undoing": func() view {
			return view1(incident(append(fixedByPolicy, step(remediation.StatusUndoing, bob, ""))...))
		},
		"undone": func() view {
			v := view1(incident(append(fixedByPolicy, step(remediation.StatusUndoing, bob, ""), byPolicy(remediation.StatusUndone))...))
			v.until = &until
			return v
		},
		"undone-over": func() view {
			return view1(incident(append(fixedByPolicy, step(remediation.StatusUndoing, bob, ""), byPolicy(remediation.StatusUndone))...))
		},
		"allowed-over": func() view {
			return view1(incident(opened(), step(remediation.StatusAllowed, alice, ""), byPolicy(remediation.StatusFixing), byPolicy(remediation.StatusFixed)))
		},
		"failed": func() view {
			v := view1(incident(opened(), step(remediation.StatusFixing, alice, ""), byPolicy(remediation.StatusFailed)))
			v.inc.Error = "UnauthorizedOperation: AWS refused EC2 RevokeSecurityGroupIngress. Allow what `secbot iam-policy` prints to secbot's role, then click Retry."
			return v
		},
		"retrying": func() view {
			return view1(incident(opened(), step(remediation.StatusFixing, alice, ""), byPolicy(remediation.StatusFailed), step(remediation.StatusFixing, bob, "")))
		},
		"ignored": func() view {
			v := view1(incident(opened(), step(remediation.StatusIgnored, alice, "the partner needs it <until> the migration")))
			v.until = &until
			return v
		},
		"ignored-for-good": func() view {
			v := view1(incident(opened(), step(remediation.StatusIgnored, "shell:root", "meant so")))
			v.until = &time.Time{}
			return v
		},
		"reopened": func() view {
			return view1(incident(opened(), step(remediation.StatusIgnored, alice, "x"), step(remediation.StatusOpen, bob, "")))
		},
		"resolved": func() view {
			return view1(incident(opened(), step(remediation.StatusFixing, alice, ""), step(remediation.StatusResolved, remediation.ByItself, "the live state was already safe")))
		},
		"expired": func() view {
			return view1(incident(opened(), step(remediation.StatusExpired, remediation.ByItself, "nobody decided in time; nothing was changed, and it is still as it was found")))
		},
		"allowed": func() view {
			v := view1(incident(opened(), step(remediation.StatusAllowed, alice, "the vendor needs it")))
			v.inc.Until = until
			return v
		},
		"question-answered": func() view {
			v := view1(incident(opened()))
			v.inc.Until, v.names.Accounts = until, map[string]string{account: "prod"}
			v.inc.Answer = &remediation.ActorAnswer{By: fakeslack.Dana, Yes: true, Reason: "for the <vendor>, until Friday", At: at(2)}
			return v
		},
		"question-disowned": func() view {
			v := view1(incident(opened()))
			v.inc.Answer = &remediation.ActorAnswer{By: fakeslack.Dana, At: at(2)}
			return v
		},
		"requested": func() view {
			v := view1(incident(opened()))
			v.inc.Requests = 1
			v.inc.Request = &remediation.Request{Verb: remediation.VerbIgnore, By: alice, At: at(3), Reason: "the partner needs it", For: 24 * time.Hour, Scope: "resource", Needed: 2}
			return v
		},
		"requested-half": func() view {
			v := view1(incident(opened()))
			v.inc.Requests = 1
			v.inc.Request = &remediation.Request{Verb: remediation.VerbFix, By: alice, At: at(3), Needed: 2, Approved: []remediation.Approval{{By: bob, At: at(4)}}}
			return v
		},
		"undo-requested": func() view {
			v := view1(incident(fixedByPolicy...))
			v.inc.Requests = 1
			v.inc.Request = &remediation.Request{Verb: remediation.VerbUndo, By: alice, At: at(3), Needed: 1}
			return v
		},
		"fixed-approved": func() view {
			asked := step(remediation.StatusFixing, alice, "")
			asked.Approved = []string{bob, fakeslack.Dana}
			return view1(incident(opened(), asked, byPolicy(remediation.StatusFixed)))
		},
		"ignored-account": func() view {
			v := view1(incident(opened(), step(remediation.StatusIgnored, alice, "a playground")))
			v.until, v.scope = &until, remediation.ScopeAccount
			return v
		},
		"removed-fixed": func() view {
			v := of("sg-rule-removed", fixedByPolicy...)
			v.inc.Finding.Event, v.inc.Finding.Rules[0].Openness, v.inc.Finding.Rules[0].CIDR = "RevokeSecurityGroupIngress", "", "10.0.0.0/8"
			return v
		},
		"removed-unknown": func() view {
			v := of("sg-rule-removed", opened())
			v.inc.Finding.Event, v.inc.Finding.Rules = "RevokeSecurityGroupIngress", nil
			v.inc.Finding.Irreversible = "it is not known what was removed: secbot had not seen the group before the change, and AWS Config does not know either: it is not recording in this account and region"
			v.inc.Finding.Notes = []string{"revoked by id alone: sgr-0123456789abcdef0"}
			v.inc.Decision.Action, v.inc.Decision.Why = remediation.ActionNotify, v.inc.Finding.Irreversible
			return v
		},
		"modified-by-terraform": func() view {
			v := of("sg-rule-modified", opened())
			v.inc.Finding.Event, v.inc.Finding.Actor.Via = "ModifySecurityGroupRules", "Terraform"
			v.inc.Finding.Was = []remediation.Rule{v.inc.Finding.Rules[0]}
			v.inc.Finding.Notes = []string{`sgr-0a was ingress tcp 8080 from 192.0.2.7/32 "one office"`, "known from secbot's own snapshot of 2026-03-01 10:00 UTC"}
			return v
		},
		"created": func() view {
			v := of("sg-created", opened())
			v.inc.Finding.Event, v.inc.Finding.Rules, v.inc.Finding.Direction = "CreateSecurityGroup", nil, ""
			v.inc.Finding.Severity = remediation.SeverityLow
			return v
		},
		"deleted-fixed": func() view {
			v := of("sg-deleted", fixedByPolicy...)
			v.inc.Finding.Event, v.inc.Finding.Rules, v.inc.Finding.Direction = "DeleteSecurityGroup", nil, ""
			v.inc.Plan.Diff = []remediation.DiffLine{{Op: "+", Text: `group "web" (The web servers)`}, {Op: "+", Text: `ingress tcp 443 from 0.0.0.0/0 "the shop"`}}
			return v
		},
		"account-unblocked": func() view {
			v := of("s3-account-block-public-access", opened())
			v.inc.Finding.Resource = remediation.Ref{Kind: remediation.KindAccount, Account: account, Region: "us-east-1", ID: account}
			v.inc.Finding.Name, v.inc.Finding.Rules, v.inc.Finding.Event = "", nil, "DeleteAccountPublicAccessBlock"
			v.inc.Finding.Openness = []remediation.Openness{remediation.Unblocked}
			return v
		},
		"own-role": func() view {
			v := of(remediation.OwnRolePlaybook, opened())
			v.inc.Finding.Severity, v.inc.Finding.Rules, v.inc.Finding.Event = remediation.SeverityCritical, nil, "RevokeSecurityGroupIngress"
			v.inc.Finding.Actor.ARN = "arn:aws:sts::111122223333:assumed-role/secbot/events"
			v.inc.Finding.Irreversible = "what somebody does with secbot's own credentials can't be judged by secbot"
			v.inc.Finding.Notes = []string{"Its credentials may be stolen."}
			v.inc.Decision.Action, v.inc.Decision.Rule = remediation.ActionNotify, "secbot's own safety"
			return v
		},
		"policy-statement": func() view {
			v := view1(incident(fixedByPolicy...))
			v.inc.Finding = remediation.Finding{
				Playbook: "s3-public-policy", Resource: remediation.Ref{Kind: remediation.KindBucket, Account: account, Region: "us-east-1", ID: "reports"},
				Severity: remediation.SeverityCritical, Event: "scan", At: at(0), Openness: []remediation.Openness{remediation.PublicWrite},
				Statements: []remediation.Statement{{Sid: "Everybody"}, {JSON: json.RawMessage(`{"Effect":"Allow","Principal":"*"}`)}},
				Grants:     []remediation.Grant{{Grantee: "AllUsers", Permission: "READ"}},
				Notes:      []string{"The bucket serves a website."},
			}
			v.meta = names().meta("s3-public-policy")
			v.inc.Previous, v.inc.Repeats = "01JQ8Z5N6X7W9V4T3R2P1M0AAA", 3
			return v
		},
	}
}

// TestEveryStatusIsRendered: a status added to the engine must get a message.
func TestEveryStatusIsRendered(t *testing.T) {
	rendered := map[remediation.Status]bool{}
	for _, make := range states() {
		rendered[make().inc.Status] = true
	}
	for _, s := range remediation.Statuses() {
		if !rendered[s] {
			t.Errorf("no golden of an incident that is %s", s)
		}
	}
}

// ran is a fixed incident for which a state machine was started.
func ran(status remediation.RunStatus, why string) view {
	v := view1(incident(opened(), byPolicy(remediation.StatusFixing), byPolicy(remediation.StatusFixed)))
	const arn = "arn:aws:states:eu-central-1:111122223333:stateMachine:quarantine"
	v.inc.Run = &remediation.MachineRun{Machine: "quarantine", ARN: arn, Name: "secbot-" + incidentID + "-3", Status: status, Error: why, Deadline: at(60)}
	if status != remediation.RunStarting && status != remediation.RunRefused {
		v.inc.Run.Execution, v.inc.Run.StartedAt = remediation.ExecutionARN(arn, v.inc.Run.Name), at(4)
	}
	if v.inc.Run.Over() {
		v.inc.Run.EndedAt = at(9)
	}
	return v
}

func TestIncidentGolden(t *testing.T) {
	for name, make := range states() {
		t.Run(name, func(t *testing.T) {
			m := renderIncident(make())
			checkMessage(t, golden(t, "incident-"+name, m))
		})
	}
}

// TestButtons: which buttons each state has, what they carry, and that at most
// one is styled.
func TestButtons(t *testing.T) {
	want := map[string][]string{
		"question-paused": {"fix", "allow_temporarily", "ignore"}, "undone-later": nil,
		"question": {"fix", "allow_temporarily", "ignore"}, "question-nobody": {"fix", "allow_temporarily", "ignore"},
		"reopened": {"fix", "allow_temporarily", "ignore"}, "question-answered": {"fix", "allow_temporarily", "ignore"}, "question-disowned": {"fix", "allow_temporarily", "ignore"},
		"requested": {"approve", "decline"}, "requested-half": {"approve", "decline"}, "undo-requested": {"approve", "decline"}, "fixed-approved": {"undo"},
		"allowed": {"fix"}, "undone": {"unignore"}, "undone-over": nil, "allowed-over": {"undo"}, "ignored-account": {"unignore"},
		"fixed-auto": {"undo"}, "fixed-asked": {"undo"}, "fixed-undo-refused": {"undo"}, "policy-statement": {"undo"},
		"removed-fixed": {"undo"}, "modified-by-terraform": {"fix", "allow_temporarily", "ignore"}, "run-starting": {"undo"}, "run-running": {"undo"}, "run-succeeded": {"undo"}, "run-failed": {"undo"}, "run-late": {"undo"}, "run-refused": {"undo"},
		"created": {"fix", "allow_temporarily", "ignore"}, "deleted-fixed": {"undo"}, "account-unblocked": {"fix", "allow_temporarily", "ignore"},
		"failed": {"retry", "ignore"}, "ignored": {"unignore"}, "ignored-for-good": {"unignore"},
	}
	for name, make := range states() {
		v := make()
		raw, err := json.Marshal(renderIncident(v).Blocks)
		if err != nil {
			t.Fatal(err)
		}
		var got, choices []string
		styled := 0
		for _, b := range (fakeslack.Message{Version: fakeslack.Version{Blocks: raw}}).Buttons() {
			if b.ActionID == actionMore {
				choices = append(choices, b.Text+" "+b.Value)
				continue
			}
			got = append(got, b.ActionID)
			if len(choices) > 0 {
				t.Errorf("%s: the menu is not the last", name)
			}
			if b.Value != v.inc.ID || b.BlockID != fmt.Sprintf("inc:%s:s%d", v.inc.ID, v.inc.State()) {
				t.Errorf("%s: button %s has the value %q in block %q", name, b.ActionID, b.Value, b.BlockID)
			}
			if b.Style != "" {
				styled++
			}
			if (b.ActionID == "fix" || b.ActionID == "undo") && (b.Confirm == nil || !strings.Contains(b.Confirm.Text, firstChange(v))) {
				t.Errorf("%s: %s does not say in its confirmation what it is about: %+v", name, b.ActionID, b.Confirm)
			}
		}
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s: buttons %v, want %v", name, got, want[name])
		}
		if want := []string{"Show Runbook runbook:" + incidentID, "Show Evidence evidence:" + incidentID}; !slices.Equal(choices, want) {
			t.Errorf("%s: the menu has %q, want %q", name, choices, want)
		}
		if styled > 1 {
			t.Errorf("%s: %d styled buttons", name, styled)
		}
	}
}

// firstChange is how the confirmation's list begins: the resource's name where
// nothing else is known.
func firstChange(v view) string {
	p := painter{view: v, f: v.inc.Finding}
	if len(p.f.Rules)+len(p.f.Grants)+len(p.f.Statements) == 0 {
		return p.name()
	}
	if texts := p.changeTexts(); len(texts) > 0 {
		return texts[0][:12]
	}
	return p.name()
}

func TestNoUndoWithoutOutcome(t *testing.T) {
	for name, change := range map[string]func(*view){
		"not undoable": func(v *view) { v.meta.Undoable = false },
		"no plan":      func(v *view) { v.inc.Plan = nil },
		"no outcome":   func(v *view) { v.inc.Outcomes = nil },
	} {
		v := states()["fixed-auto"]()
		change(&v)
		if strings.Contains(string(encoded(t, renderIncident(v))), `"action_id": "undo"`) {
			t.Errorf("%s: the message offers an undo", name)
		}
	}
}

func TestOtherGoldens(t *testing.T) {
	inc := incident(opened(), step(remediation.StatusIgnored, fakeslack.Alice, "meant so"))
	ref := finding().Resource
	report := remediation.ScanReport{
		ID: "x", By: fakeslack.Alice, Scope: "all", Started: at(0), Finished: at(1), Read: 120, Posted: 1, Open: 13,
		Groups: []remediation.ScanGroup{{Playbook: "sg-rule-added", Severity: remediation.SeverityHigh, Open: 12, Incidents: []string{incidentID},
			Findings: []remediation.ScanFinding{{Finding: finding(), Incident: incidentID, New: true}, {Finding: finding(), Incident: incidentID, Status: remediation.StatusFixed}}},
			{Playbook: "<toy>", Severity: remediation.SeverityLow, Open: 1, Findings: []remediation.ScanFinding{{Finding: finding()}}}},
		Unread: 25, Failures: []string{"read s3-bucket <x>: AccessDenied"},
		Diff: &remediation.ScanDiff{Since: at(0), New: 3, Closed: 2, Unread: 1, Unsure: true,
			Gone: []remediation.Gone{{Playbook: "sg-rule-added", Resource: remediation.Ref{Account: "111122223333", Region: "eu-west-1", Kind: remediation.KindSecurityGroup, ID: "sg-<gone>"}, Name: "web <gone>"}}},
	}
	cancelled := report
	cancelled.CancelledBy, cancelled.Diff = fakeslack.Bob, nil
	running := remediation.ScanRun{ID: "x", By: fakeslack.Alice, Scope: "all", Started: at(0), At: at(1), Read: 120, Found: 3, Failed: 1}
	stopped := running
	stopped.CancelledBy = fakeslack.Bob
	spread := running
	spread.Scope, spread.Gathered = "sg org", &remediation.Gathered{Accounts: 40, Waiting: []string{"444455556666"}, Sum: &remediation.ScanReport{Refused: []string{"222233334444", "333344445555"}}}
	several := remediation.ScanReport{By: fakeslack.Alice, Scope: "all org", Accounts: 40, Started: at(0), Finished: at(1), Groups: []remediation.ScanGroup{}, Read: 9, Unread: 12,
		Failures: []string{"account 222233334444 does not let secbot in <x>"}}
	for i := range 12 {
		several.Refused = append(several.Refused, fmt.Sprintf("2222333344%02d", i))
	}
	for name, m := range map[string]Message{
		"thread": renderThread(remediation.ThreadNote{Text: "What was changed:", Diff: []remediation.DiffLine{
			{Op: "-", Text: "tcp 22 from 0.0.0.0/0 ```<!here>```"}, {Op: " ", Text: "tcp 443 from 0.0.0.0/0"}}}),
		"reply-denied": renderReply(remediation.Reply{Text: (&remediation.DeniedError{By: "U0X", Approvers: []string{"S0RESPOND", "U0BOB"}}).Error(),
			People: []string{"S0RESPOND", "U0BOB"}, Incident: incidentID, Failed: true}),
		"reply-lines": renderReply(remediation.Reply{Text: "As sg-0abc is now:", NamedInLines: []string{"U0BOB"},
			Lines: []string{"sg-rule-added, high – the policy says ask (rule 1; secbot is paused since 2025-04-01 11:30 UTC by U0BOB (<a drill> of U0EVE))"}}),
		"reply-unnamed":         renderReply(remediation.Reply{Text: "incident X is already fixed", People: []string{"U0BOB", "shell:root", "secbot"}}),
		"scan":                  renderScan(report, names()),
		"scan-cancelled":        renderScan(cancelled, names()),
		"scan-running":          renderScanRun(&running, names()),
		"scan-stopped":          renderScanRun(&stopped, names()),
		"scan-accounts-running": renderScanRun(&spread, names()),
		"scan-accounts":         renderScan(several, names()),
		"digest": renderDigest(remediation.Digest{From: at(0), Count: 37,
			Lines: []remediation.DigestLine{{Playbook: "sg-rule-added", Severity: remediation.SeverityHigh, Status: remediation.StatusFixed, Count: 30},
				{Playbook: "s3-public-policy", Severity: remediation.SeverityLow, Status: remediation.StatusOpen, Count: 7}},
			Worst: []remediation.ScanFinding{{Finding: finding(), Incident: incidentID}}}, names()),
		"alert-breaker": renderAlert(remediation.Alert{Title: "Circuit breaker open: account 111122223333", Text: "secbot has fixed 30 things in <account> within 10 minutes.", Breaker: "111122223333"}),
		"alert-people":  renderAlert(remediation.Alert{Title: "Many questions wait for a decision", Text: "More than 3 reminders were due at once.", People: []string{"S0RESPOND", "U0BOB"}}),
		"alert-reset":   renderAlert(remediation.Alert{Title: "Circuit breaker closed: all accounts", Text: "secbot fixes by itself again.", By: fakeslack.Alice}),
		"scan-left": renderScan(remediation.ScanReport{By: fakeslack.Alice, Scope: "all", Started: at(0), Finished: at(1), Read: 9, Ignored: 2, LetBe: 2,
			Left: []remediation.LeftAlone{{Finding: finding(), Incident: incidentID, By: fakeslack.Bob, Until: at(90)}, {Finding: finding(), Incident: incidentID, By: "shell:root"}}}, names()),
		"scan-nothing": renderScan(remediation.ScanReport{By: "shell:root", Scope: "s3", Started: at(0), Finished: at(0), Read: 3}, names()),
		"incidents":    renderIncidents([]*remediation.Incident{inc, incident(opened())}, names(), "1 to 2 of 31. The next: `/secbot incidents page 2`"),
		"ignores": renderIgnores([]*remediation.Suppression{
			{Incident: incidentID, Playbook: "sg-rule-added", Resource: &ref, Until: at(90), By: fakeslack.Alice, Reason: "the <partner>"},
			{Incident: incidentID, Playbook: "sg-rule-added", Resource: &ref, Scope: remediation.ScopeResource, By: "shell:root"},
			{Incident: incidentID, Playbook: "sg-rule-added", Resource: &ref, Scope: remediation.ScopePlaybook, By: fakeslack.Bob},
			{Incident: incidentID, Playbook: "sg-rule-added", Resource: &ref, Scope: remediation.ScopeAccount, By: fakeslack.Bob}}, names()),
		"playbooks": renderPlaybooks(names()),
		"modes": renderModes(remediation.Control{Paused: &remediation.Pause{By: fakeslack.Alice, At: at(3)},
			Modes: map[string]remediation.Mode{"all": "ask", "111122223333": "auto", "toy": "observe"}}, remediation.ModeAuto),
		"modes-none":    renderModes(remediation.Control{}, remediation.ModeAuto),
		"no-incidents":  renderIncidents(nil, names(), ""),
		"show":          renderShow(view1(inc)),
		"help":          help("/secbot"),
		"thread-people": renderThread(remediation.ThreadNote{Text: "Reminder: nobody has decided <since> 12:00.", People: []string{"S0RESPOND", "U0BOB", "C0LEADS", "#leads"}}),
		"pointer":       renderPointer(remediation.Pointer{Title: "Nobody has decided yet", Text: "This has waited <long>.", People: []string{"U0BOB"}}, incident(opened()), names(), "https://example.slack.com/archives/C0/p1?a=1&b=2"),
		"pointer-blind": renderPointer(remediation.Pointer{Title: "Nobody has decided yet", Text: "This has waited."}, incident(opened()), names(), ""),
		"actor":         renderActor(view1(incident(opened()))),
		"actor-fixed":   renderActor(view1(incident(opened(), byPolicy(remediation.StatusFixing), byPolicy(remediation.StatusFixed)))),
		"show-plain":    renderShow(view1(incident(step(remediation.StatusOpen, remediation.ByItself, remediation.NoRule)))),
		"actor-yes":     renderActor(answered(true)),
		"actor-no":      renderActor(answered(false)),
	} {
		t.Run(name, func(t *testing.T) { checkMessage(t, golden(t, name, m)) })
	}
}

// answered is an incident whose actor has said whether it was them.
func answered(yes bool) view {
	v := view1(incident(opened()))
	v.inc.Answer = &remediation.ActorAnswer{By: fakeslack.Dana, Yes: yes, At: at(2)}
	if yes {
		v.inc.Answer.Reason = "for the vendor"
	}
	return v
}

// TestModalGoldens: the forms, within Slack's limits.
func TestModalGoldens(t *testing.T) {
	past := coverage{known: true, by: map[remediation.Scope]int{remediation.ScopeFinding: 1, remediation.ScopeResource: 3, remediation.ScopePlaybook: 12, remediation.ScopeAccount: 40}}
	full := past
	full.more = true
	own := of(remediation.OwnRolePlaybook, opened()).inc
	for name, make := range map[string]func() (slack.ModalViewRequest, error){
		"ignore": func() (slack.ModalViewRequest, error) {
			return ignoreModal(incident(opened()), names(), past, modalMemory{Incident: incidentID})
		},
		"ignore-many": func() (slack.ModalViewRequest, error) {
			return ignoreModal(incident(opened()), names(), full, modalMemory{Incident: incidentID})
		},
		"ignore-unknown": func() (slack.ModalViewRequest, error) {
			return ignoreModal(incident(opened()), names(), coverage{}, modalMemory{Incident: incidentID})
		},
		"ignore-own-role": func() (slack.ModalViewRequest, error) {
			return ignoreModal(own, names(), past, modalMemory{Incident: incidentID})
		},
		"claim": func() (slack.ModalViewRequest, error) {
			return claimModal(incident(opened()), names(), modalMemory{Incident: incidentID})
		},
	} {
		view, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if err := blockkit.CheckView(golden(t, "modal-"+name, view)); err != nil {
			t.Errorf("%s: Slack would refuse it: %v", name, err)
		}
	}
}

func checkMessage(t testing.TB, raw []byte) {
	t.Helper()
	if err := blockkit.CheckMessage(raw); err != nil {
		t.Errorf("Slack would refuse it: %v", err)
	}
}

// hostile are texts that must not get through as they are.
func hostile() []string {
	return []string{"<!channel>", "<!here|x>", "<@U0VICTIM>", "<http://evil.example|click>", "`<!everyone>`", "```", "*a* _b_ ~c~", "&lt;!channel&gt;",
		"@channel", "\u202egnp.exe", "a\nb\x00c", "“”", strings.Repeat("<", 5000), strings.Repeat("é\"\\", 3000), "\xff\xfe", "", "http://evil.example"}
}

func anyText(t *rapid.T, name string) string {
	if rapid.Bool().Draw(t, name+" hostile") {
		return rapid.SampledFrom(hostile()).Draw(t, name)
	}
	return rapid.StringN(0, 200, 2000).Draw(t, name)
}

func anyIncident(t *rapid.T) *remediation.Incident {
	f := remediation.Finding{
		Playbook: anyText(t, "playbook"), Name: anyText(t, "name"), Severity: remediation.Severity(anyText(t, "severity")),
		Resource: remediation.Ref{Kind: remediation.Kind(anyText(t, "kind")), Account: anyText(t, "account"), Region: anyText(t, "region"), ID: anyText(t, "id")},
		Actor:    remediation.Actor{ARN: anyText(t, "arn"), SourceIP: anyText(t, "ip"), Via: anyText(t, "via"), UserAgent: anyText(t, "agent")},
		Tags:     map[string]string{anyText(t, "tag"): anyText(t, "tag's value")},
		Event:    rapid.SampledFrom([]string{"scan", "PutBucketAcl"}).Draw(t, "event"), Doubt: anyText(t, "doubt"), At: at(0),
	}
	texts := func(name string) []string {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return anyText(t, name) }), 0, 60).Draw(t, name)
	}
	f.Notes, f.Rest = texts("notes"), texts("rest")
	for _, s := range texts("rules") {
		f.Rules = append(f.Rules, remediation.Rule{ID: s, Protocol: s, CIDR: s, Description: s, Direction: remediation.Egress, Tags: map[string]string{s: s}})
	}
	for _, s := range texts("statements") {
		f.Statements = append(f.Statements, remediation.Statement{Sid: s, JSON: json.RawMessage(s)}, remediation.Statement{JSON: json.RawMessage(s)})
	}
	for _, s := range texts("grants") {
		f.Grants = append(f.Grants, remediation.Grant{Grantee: s, Permission: s})
	}
	inc := &remediation.Incident{
		ID: incidentID, Finding: f, Error: anyText(t, "error"), Previous: anyText(t, "previous"), Repeats: 2,
		Decision: remediation.Decision{Action: rapid.SampledFrom([]remediation.Action{"ask", "auto", "notify"}).Draw(t, "action"),
			Rule: anyText(t, "rule"), Why: anyText(t, "why"), Approvers: texts("approvers")},
		Plan: &remediation.Plan{}, Outcomes: []remediation.Outcome{{}},
	}
	for _, s := range texts("diff") {
		inc.Plan.Diff = append(inc.Plan.Diff, remediation.DiffLine{Op: s, Text: s})
	}
	for _, s := range texts("history") {
		inc.History = append(inc.History, remediation.Transition{To: remediation.Status(s), By: s, Reason: s})
	}
	for _, s := range texts("calls") {
		inc.Calls = append(inc.Calls, remediation.Call{Action: s, Resource: f.Resource, RequestIDs: []string{s, s}})
	}
	inc.Status = rapid.SampledFrom(remediation.Statuses()).Draw(t, "status")
	inc.History = append(inc.History, remediation.Transition{To: inc.Status, By: anyText(t, "by"), Reason: anyText(t, "reason"), Approved: texts("approved")})
	if rapid.Bool().Draw(t, "requested") {
		inc.Request = &remediation.Request{Verb: remediation.Verb(anyText(t, "verb")), By: anyText(t, "requester"), Reason: anyText(t, "why asked"), Scope: anyText(t, "scope"), Needed: 2,
			Approved: []remediation.Approval{{By: anyText(t, "approver")}}}
	}
	if rapid.Bool().Draw(t, "answered") {
		inc.Answer = &remediation.ActorAnswer{By: anyText(t, "answerer"), Yes: rapid.Bool().Draw(t, "yes"), Reason: anyText(t, "claim")}
	}
	return inc
}

// control matches what Slack takes for a mention, a link or a date.
var control = regexp.MustCompile(`<[^>]*>?`)

// TestNothingFromOutsideIsFormatted: whatever stands in a finding, the message
// keeps Slack's limits, is small, and mentions and links nothing.
func TestNothingFromOutsideIsFormatted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := view{inc: anyIncident(t), meta: remediation.Meta{Title: anyText(t, "title"), Undoable: true,
			Labels: remediation.Labels{Fixed: anyText(t, "fixed"), Ask: anyText(t, "ask"), Confirm: anyText(t, "confirm"), Undo: anyText(t, "undo")}}}
		meta := Names{Metas: []remediation.Meta{v.meta}}
		messages := map[string]Message{
			"incident": renderIncident(v), "show": renderShow(v),
			"list":   renderIncidents([]*remediation.Incident{v.inc, v.inc}, meta, "more"),
			"thread": renderThread(remediation.ThreadNote{Text: v.inc.Error, Diff: v.inc.Plan.Diff}),
			"reply":  renderReply(remediation.Reply{Text: v.inc.Error, People: v.inc.Decision.Approvers, Incident: v.inc.Previous, Failed: true}),
			"scan": renderScan(remediation.ScanReport{By: v.inc.Last().By, Unread: 9, Failures: v.inc.Finding.Notes, Open: 400,
				Groups: slices.Repeat([]remediation.ScanGroup{{Playbook: v.inc.Finding.Playbook, Severity: v.inc.Finding.Severity, Open: 40, Incidents: []string{v.inc.ID},
					Findings: slices.Repeat([]remediation.ScanFinding{{Finding: v.inc.Finding, Incident: v.inc.ID}}, 10)}}, 10),
				Diff: &remediation.ScanDiff{Closed: 40, Gone: slices.Repeat([]remediation.Gone{{Playbook: v.inc.Finding.Playbook, Resource: v.inc.Finding.Resource, Name: v.inc.Finding.Name}}, 10)}}, meta),
			"scanning": renderScanRun(&remediation.ScanRun{ID: "x", By: v.inc.Last().By, CancelledBy: v.inc.Last().By}, meta),
			"actor":    renderActor(v),
			"alert":    renderAlert(remediation.Alert{Title: v.inc.Error, Text: v.inc.Finding.Doubt, By: v.inc.Last().By}),
			"pointer":  renderPointer(remediation.Pointer{Title: v.inc.Error, Text: v.inc.Finding.Doubt, People: v.inc.Decision.Approvers}, v.inc, meta, ""),
			"usage":    usage(v.inc.Error, &UsageError{Problem: "x" + v.inc.Error, Example: v.inc.Error}),
		}
		for name, m := range messages {
			if err := check(m, name); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, m.Text)
			}
		}
	})
}

func check(m Message, name string) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := blockkit.CheckMessage(raw); err != nil {
		return err
	}
	if name == "incident" || name == "scan" {
		if n := m.size(); n >= blockkit.SafeMessageSize {
			return fmt.Errorf("%d characters of JSON", n)
		}
	}
	if n := utf8.RuneCountInString(m.Text); n == 0 || n > maxFallback {
		return fmt.Errorf("a text of %d characters", n)
	}
	return nothingFormatted(raw, m.Text)
}

// nothingFormatted looks at every mrkdwn text of a message's or modal's JSON, and
// at other texts that Slack formats.
func nothingFormatted(raw []byte, also ...string) error {
	var blocks any
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return err
	}
	for _, s := range append(mrkdwnTexts(blocks), also...) {
		for _, c := range control.FindAllString(s, -1) {
			if !strings.HasPrefix(c, "<!date^") || strings.Contains(c[1:], "<") {
				return fmt.Errorf("%q is formatted in %q", c, s)
			}
		}
		if strings.Contains(s, "\u202e") || !utf8.ValidString(s) {
			return fmt.Errorf("%q holds what does not print", s)
		}
	}
	return nil
}

// mrkdwnTexts gives every mrkdwn text, each of which must be verbatim: else
// Slack makes links and mentions of plain text.
func mrkdwnTexts(v any) []string {
	var out []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = append(out, mrkdwnTexts(e)...)
		}
	case map[string]any:
		if v["type"] == "mrkdwn" {
			s, _ := v["text"].(string)
			if v["verbatim"] != true {
				s += "<not verbatim>"
			}
			return append(out, s)
		}
		for _, e := range v {
			out = append(out, mrkdwnTexts(e)...)
		}
	}
	return out
}

// TestHugeIncident: what is too much is left out, counted, and the message
// stays small.
func TestHugeIncident(t *testing.T) {
	for _, filling := range []string{strings.Repeat("x", 5000), strings.Repeat("<\"&", 2000), strings.Repeat("é\"", 3000)} {
		inc := incident(opened())
		inc.Error, inc.Decision.Why, inc.Decision.Rule = filling, filling+"y", filling
		inc.Decision.Approvers = slices.Repeat([]string{"U0123456789ABCDEF"}, 500)
		f := &inc.Finding
		f.Doubt, f.Name, f.Actor.ARN, f.Actor.Via, f.Actor.SourceIP = filling, filling, filling, filling, filling
		f.Rules = slices.Repeat([]remediation.Rule{{Protocol: filling, CIDR: filling, Description: filling}}, 500)
		f.Rest, f.Notes = slices.Repeat([]string{filling}, 500), slices.Repeat([]string{filling}, 500)
		m := renderIncident(view1(inc))
		raw := encoded(t, m)
		checkMessage(t, raw)
		if n := m.size(); n >= blockkit.SafeMessageSize {
			t.Errorf("%.3q…: %d characters", filling, n)
		}
		if !strings.Contains(string(raw), "more") || !strings.Contains(string(raw), `"action_id": "fix"`) {
			t.Errorf("%.3q…: what was left out is not counted, or the buttons are gone:\n%s", filling, raw)
		}
	}
}

func TestCodeSpansHold(t *testing.T) {
	for in, want := range map[string]string{
		"web": "`web`", "a`b <!here>`": "`a'b &lt;!here&gt;'`", "": "–", "\n": "–", strings.Repeat("x", 20): "`xxxxxxxxx…`",
	} {
		if got := code(in, 10+9*strings.Count(in, "!")); got != want {
			t.Errorf("code(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestWellFormedPeopleAreMentioned is the other half of the property above.
func TestWellFormedPeopleAreMentioned(t *testing.T) {
	for in, want := range map[string]string{
		"U0ALICE": "<@U0ALICE>", "W012ABC": "<@W012ABC>", "S0RESPOND": "<!subteam^S0RESPOND>", "shell:root": "root (shell)",
		"shell:<!here>": "&lt;!here&gt; (shell)", "U0<x>": "U0&lt;x&gt;", "u0alice": "u0alice", "secbot": "secbot", "channel": "channel", "U": "U",
		"U0ALICE|x": "U0ALICE|x",
	} {
		if got := mention(in); got != want {
			t.Errorf("mention(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReplyMentionsWholeIDsOnly(t *testing.T) {
	m := renderReply(remediation.Reply{Text: "Ask U0A, U0AB or U0C.", People: []string{"U0A", "U0AB"}})
	if want := "Ask <@U0A>, <@U0AB> or U0C."; m.Text != want {
		t.Errorf("got %q, want %q", m.Text, want)
	}
}

func TestBlockID(t *testing.T) {
	inc := incident(opened(), byPolicy(remediation.StatusFixing))
	id, state := parseBlockID(blockID(inc))
	if id != inc.ID || state == nil || *state != 2 {
		t.Errorf("%q gives %q, %v", blockID(inc), id, state)
	}
	for _, bad := range []string{"", "inc:x", "inc:x:3", "inc:x:s", "inc:x:s-1", "inc:x:sx", "other:x:s1", "inc:x:s1:y", "inc:x:s99999999999999999999"} {
		if _, state := parseBlockID(bad); state != nil {
			t.Errorf("%q gives the state %d", bad, *state)
		}
	}
}
