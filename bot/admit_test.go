package bot

import (
	"context"
	"errors"
	"strings"
	"testing"

	"secbot/internal/sandbox/fakeslack"
)

// The people of an enterprise, beside those of the stand-in.
const (
	enterprise = "E0HOME"
	colleague  = "W0GRACE" // of another workspace of the enterprise
	partner    = "W0PETER" // of another enterprise, here through Slack Connect
)

func grid(o *fakeslack.Options) {
	o.Enterprise = enterprise
	o.Users = fakeslack.DefaultUsers()
	for i := range o.Users {
		if o.Users[i].Team == fakeslack.TeamID {
			o.Users[i].Enterprise = enterprise
		}
	}
	o.Users = append(o.Users,
		fakeslack.User{ID: colleague, Name: "grace", Team: "T0SISTER", Enterprise: enterprise},
		fakeslack.User{ID: partner, Name: "peter", Team: "T0PARTNER", Enterprise: "E0OTHER"})
}

// TestWhoIsAdmitted: guests, people of other workspaces and apps get nothing by
// whichever way; within an enterprise the workspace does not matter.
func TestWhoIsAdmitted(t *testing.T) {
	for name, c := range map[string]struct {
		user string
		says string // empty: admitted
		grid bool
	}{
		"a member":              {user: fakeslack.Alice},
		"a guest":               {user: fakeslack.Guest, says: "Guests can't use secbot"},
		"a stranger":            {user: fakeslack.Stray, says: "Only people of this workspace can use secbot"},
		"grid: a member":        {user: fakeslack.Alice, grid: true},
		"grid: a colleague":     {user: colleague, grid: true},
		"grid: a guest":         {user: fakeslack.Guest, says: "Guests can't use secbot", grid: true},
		"grid: a stranger":      {user: fakeslack.Stray, says: "Only people of this workspace can use secbot", grid: true},
		"grid: of another grid": {user: partner, says: "Only people of this workspace can use secbot", grid: true},
	} {
		t.Run(name, func(t *testing.T) {
			change := []func(*fakeslack.Options){}
			if c.grid {
				change = append(change, grid)
			}
			for way, try := range ways() {
				t.Run(way, func(t *testing.T) { try(t, newRig(t, change...), c.user, c.says) })
			}
		})
	}
}

// ways are all the ways in which people reach secbot. Each fails where somebody is
// served who is to be told says, or the other way round.
func ways() map[string]func(t *testing.T, r *rig, user, says string) {
	click := func(button string) func(*testing.T, *rig, string, string) {
		return func(t *testing.T, r *rig, user, says string) {
			m := r.shown(incident(opened()))
			if _, err := r.slack.Click(t.Context(), user, m.Channel, m.TS, button); err != nil {
				t.Fatal(err)
			}
			r.served(t, user, says, len(r.engine.commands()) > 0 || len(r.slack.Views(user)) > 0)
		}
	}
	return map[string]func(*testing.T, *rig, string, string){
		"a button":   click("fix"),
		"a modal":    click("ignore"),
		"a menu":     click("evidence:" + incidentID),
		"a claim":    func(t *testing.T, r *rig, user, says string) { clickClaim(t, r, user, says) },
		"a form":     submitForm,
		"/secbot":    func(t *testing.T, r *rig, user, says string) { slash(t, r, user, says, "incidents") },
		"/secbot no": func(t *testing.T, r *rig, user, says string) { slash(t, r, user, says, "shwo") },
		"a command":  func(t *testing.T, r *rig, user, says string) { slash(t, r, user, says, "scan") },
		"a mention": func(t *testing.T, r *rig, user, says string) {
			if _, err := r.slack.Mention(t.Context(), user, fakeslack.ChannelSecurity, "", "incidents"); err != nil {
				t.Fatal(err)
			}
			r.served(t, user, says, strings.Contains(r.whisper(user), "No incidents"))
		},
		"the home tab": func(t *testing.T, r *rig, user, says string) {
			if _, err := r.slack.OpenHome(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			if _, shown := r.slack.Home(user); shown != (says == "") {
				t.Errorf("shown: %v", shown)
			}
		},
	}
}

// served holds what came of a try against what was to come.
func (r *rig) served(t *testing.T, user, says string, served bool) {
	t.Helper()
	if served != (says == "") {
		t.Errorf("served: %v", served)
	}
	if says != "" && !strings.Contains(r.whisper(user), says) {
		t.Errorf("told %q, want %q", r.whisper(user), says)
	}
}

func slash(t *testing.T, r *rig, user, says, text string) {
	t.Helper()
	reply, err := r.slack.Command(t.Context(), user, fakeslack.ChannelSecurity, "/secbot", text)
	if err != nil || reply.Message == nil {
		t.Fatalf("%+v %v", reply, err)
	}
	r.served(t, user, says, !strings.Contains(reply.Message.Text, "can use secbot") && !strings.Contains(reply.Message.Text, "can't use secbot"))
	if says != "" && len(r.engine.commands()) > 0 {
		t.Error("it was submitted all the same")
	}
}

// clickClaim presses the button of a direct message, which may have been forwarded.
func clickClaim(t *testing.T, r *rig, user, says string) {
	m := r.shown(incident(opened()))
	ack, err := r.slack.Click(t.Context(), user, m.Channel, m.TS, "ignore")
	if err != nil {
		t.Fatal(err)
	}
	before := len(r.slack.Views(user))
	payload := tampered(t, ack.Payload, func(p map[string]any) { action(p)["action_id"] = "claim" })
	_, err = r.slack.SendInteraction(t.Context(), payload) // its trigger is used up where it was good once
	if err != nil {
		t.Fatal(err)
	}
	r.served(t, user, says, before == 1)
}

// submitForm sends a form that was opened while its user was somebody still.
func submitForm(t *testing.T, r *rig, user, says string) {
	people := r.handler.People
	r.handler.People = nil
	m := r.shown(incident(opened()))
	if _, err := r.slack.Click(t.Context(), user, m.Channel, m.TS, "ignore"); err != nil {
		t.Fatal(err)
	}
	r.handler.People = people
	v := r.slack.Views(user)[0]
	if _, err := r.slack.SubmitView(t.Context(), user, v.ID, map[string][]string{"reason": {"x"}}); err != nil {
		t.Fatal(err)
	}
	r.served(t, user, says, len(r.engine.commands()) > 0)
}

// TestNobodyKnowsWho: where Slack can't be asked nothing is shown. What changes
// something is stored: the engine asks again, and refuses where it can't.
func TestNobodyKnowsWho(t *testing.T) {
	r := newRig(t)
	m := r.shown(incident(opened()))
	r.handler.People = nobodyKnows{}
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "evidence:"+incidentID); err != nil {
		t.Fatal(err)
	}
	if got := r.whisper(fakeslack.Alice); !strings.Contains(got, "users:read") || len(r.slack.Views(fakeslack.Alice)) > 0 {
		t.Errorf("told %q", got)
	}
	reply, err := r.slack.Command(t.Context(), fakeslack.Alice, m.Channel, "/secbot", "incidents")
	if err != nil || !strings.Contains(reply.Message.Text, "nothing to show") {
		t.Errorf("%+v %v", reply.Message, err)
	}
	if _, err := r.slack.Click(t.Context(), fakeslack.Alice, m.Channel, m.TS, "fix"); err != nil || len(r.engine.commands()) != 1 {
		t.Errorf("%v %+v", err, r.engine.commands())
	}
}

type nobodyKnows struct{}

func (nobodyKnows) Outsider(context.Context, string) (string, error) {
	return "", errors.New("slack is down")
}
