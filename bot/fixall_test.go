package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"secbot/internal/blockkit"
	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// TestFixAllFromTheMessage: the whole line from the scan's message by the form to
// the closed door, for a responder and for a stranger.
func TestFixAllFromTheMessage(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	if _, err := l.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "scan sg"); err != nil {
		t.Fatal(err)
	}
	m := l.shows("Fix All…")
	l.click(fakeslack.Mallory, m, "fix_all")
	l.told(fakeslack.Mallory, "You are not one of the people")
	if n := len(l.slack.Views(fakeslack.Mallory)); n != 0 {
		t.Fatalf("a stranger sees %d forms", n)
	}
	l.click(fakeslack.Bob, m, "fix_all")
	form := l.slack.Views(fakeslack.Bob)[0]
	if err := blockkit.CheckView(form.JSON); err != nil {
		t.Fatalf("the form: %v", err)
	}
	// Nothing is ticked: the form stays, and says so.
	sub, err := l.slack.SubmitView(t.Context(), fakeslack.Bob, form.ID, map[string][]string{fixAllInput + "0": {}})
	if err != nil || sub.Errors[fixAllInput+"0"] == "" || !l.gate.isOpen() {
		t.Fatalf("nothing ticked: %+v, %v", sub, err)
	}
	if sub, err = l.slack.SubmitView(t.Context(), fakeslack.Bob, form.ID, nil); err != nil || len(sub.Errors) > 0 {
		t.Fatalf("as it is: %+v, %v", sub, err)
	}
	l.told(fakeslack.Bob, "Reverted 1 of 1.")
	if l.gate.isOpen() {
		t.Error("it is still open")
	}
	if strings.Contains(string(l.shows("*fixed*").Blocks), `"fix_all"`) {
		t.Error("what is fixed can be fixed again")
	}
	l.told(fakeslack.Bob, "Reverted 1 of 1.")
}

// TestFixAllOfWhatIsClosed: the message still offers what was closed in between.
func TestFixAllOfWhatIsClosed(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	if _, err := l.slack.Command(t.Context(), fakeslack.Alice, fakeslack.ChannelSecurity, "/secbot", "scan sg"); err != nil {
		t.Fatal(err)
	}
	m := l.shows("Fix All…")
	l.click(fakeslack.Bob, l.shows("It waits for a decision"), "fix")
	l.shows("Reverted")
	l.click(fakeslack.Bob, m, "fix_all")
	l.told(fakeslack.Bob, "None of these is open any more")
}

// TestFixAllForm: at most a hundred boxes, ten in a group, all ticked, whatever
// stands in the findings.
func TestFixAllForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inc := anyIncident(t)
		var waiting []*remediation.Incident
		n := rapid.IntRange(1, 130).Draw(t, "n")
		for i := range n {
			one := *inc
			one.ID = fmt.Sprintf("%s%03d", incidentID[:23], i)
			waiting = append(waiting, &one)
		}
		form, err := fixAllModal(inc.Finding.Playbook, waiting, besides{mayNot: 2, more: 150}, names(), fixAllMemory{Scan: "s", Channel: "C1", ResponseURL: "https://hooks.slack.com/x"})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		if err := blockkit.CheckView(raw); err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		if err := nothingFormatted(raw); err != nil {
			t.Fatal(err)
		}
		if boxes := strings.Count(string(raw), `"value":"`); boxes != 2*min(n, remediation.MaxTargets) {
			t.Fatalf("%d options and ticks for %d incidents", boxes, n)
		}
	})
}

func TestFixAllGolden(t *testing.T) {
	inc := incident(opened())
	form, err := fixAllModal("sg-rule-added", []*remediation.Incident{inc, inc}, besides{mayNot: 1}, names(), fixAllMemory{Scan: "s"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "modal-fix-all", form)
	// What reaches over all of an account is told, and ticked by hand.
	account := of("s3-account-block-public-access", opened())
	account.inc.Finding.Resource.Kind = remediation.KindAccount
	form, err = fixAllModal(account.meta.ID, []*remediation.Incident{account.inc}, besides{}, Names{Metas: playbooks.Metas()}, fixAllMemory{Scan: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if raw := string(golden(t, "modal-fix-all-account", form)); strings.Contains(raw, "initial_options") || !strings.Contains(raw, "Every public bucket of the account stops being public") {
		t.Errorf("%s", raw)
	}
}

// TestFixAllHostile: what a form or a button names that secbot has not shown leads
// nowhere.
func TestFixAllHostile(t *testing.T) {
	r := newRig(t)
	for value, want := range map[string]string{
		"":                   "does not know that scan",
		"sg-rule-added:none": "does not know that scan",
		strings.Repeat("x", 1999) + ":" + strings.Repeat("y", 30): "does not know that scan",
	} {
		_, _, refusal := r.handler.fixable(context.Background(), fakeslack.Alice, strings.Split(value, ":")[0], value)
		if refusal == nil || !strings.Contains(refusal.Text, want) {
			t.Errorf("%.20q: %+v", value, refusal)
		}
	}
}

// TestFixAllAmongMany: what a scan has found is offered, however much else is open.
func TestFixAllAmongMany(t *testing.T) {
	r := newRig(t)
	store := r.store
	var ids []string
	for i := range 1200 {
		inc := incident(opened())
		inc.ID = fmt.Sprintf("%s%04d", incidentID[:22], i)
		inc.Finding.Resource.ID = fmt.Sprintf("sg-%04d", i)
		inc.Key = inc.Finding.Key()
		inc.CreatedAt = at(i)
		if err := store.Commit(t.Context(), remediation.Write{Incident: inc}); err != nil {
			t.Fatal(err)
		}
		if i < remediation.MaxTargets {
			ids = append(ids, inc.ID)
		}
	}
	r.scan(remediation.ScanRun{ID: "s", Report: &remediation.ScanReport{ID: "s",
		Groups: []remediation.ScanGroup{{Playbook: "sg-rule-added", Open: 1200, Incidents: ids}}}}, nil)
	waiting, not, refusal := r.handler.fixable(t.Context(), fakeslack.Alice, "sg-rule-added", "s")
	if refusal != nil || len(waiting) != remediation.MaxTargets || not.more != 1100 {
		t.Errorf("%d are offered, %+v besides; %+v", len(waiting), not, refusal)
	}
}
