package fakeslack

import (
	"encoding/json"
	"strings"

	"secbot/internal/blockkit"
)

// View is a modal or a home tab.
type View struct {
	ID, User                    string
	Type                        string // modal or home
	Title, CallbackID, Metadata string // Metadata is private_metadata
	ExternalID                  string
	Hash                        string // changes with each update
	Root, Previous              string // ids; Previous is "" in the lowest modal
	Blocks                      json.RawMessage
	JSON                        json.RawMessage // the whole as payloads have it, without its state

	notifyOnClose bool
	clearOnClose  bool
}

// Buttons lists what can be clicked in the view, in order.
func (v View) Buttons() []Button { return buttons(v.Blocks) }

// trigger is a trigger_id: a person's leave to open a modal.
type trigger struct {
	user    string
	view    bool // it comes from a modal, and another may be pushed on it
	expires int64
	used    bool
}

// newTrigger gives out a trigger id. The caller holds the lock.
func (s *Slack) newTrigger(user string, fromView bool) string {
	id := s.shortID() + "." + s.o.NewID()
	s.triggers.add(id, &trigger{user: user, view: fromView, expires: s.o.Now().Add(triggerLife).UnixMicro()})
	return id
}

// exchange uses a trigger id up.
func (s *Slack) exchange(id string) (*trigger, error) {
	t, ok := s.triggers.get(id)
	switch {
	case !ok:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case s.o.Now().UnixMicro() > t.expires:
		return nil, refuse("expired_trigger_id")
	}
	t.used = true
	return t, nil
}

func (s *Slack) viewsOpen(a args) (object, error) {
	t, err := s.exchange(a["trigger_id"])
	if err != nil {
		return nil, err
	}
	v, err := s.newView(t.user, "modal", a["view"], nil)
	if err != nil {
		return nil, err
	}
	s.stack(t.user, v)
	return s.shown(v)
}

func (s *Slack) viewsPush(a args) (object, error) {
	t, err := s.exchange(a["trigger_id"])
	if err != nil {
		return nil, err
	}
	if !t.view || len(s.stacks[t.user]) == 0 {
		return nil, refuse("invalid_trigger_id")
	}
	v, err := s.newView(t.user, "modal", a["view"], nil)
	if err != nil {
		return nil, err
	}
	if err := s.push(v); err != nil {
		return nil, err
	}
	return s.shown(v)
}

// push puts a modal on top of its user's others.
func (s *Slack) push(v *View) error {
	stack := s.stacks[v.User]
	if len(stack) >= maxStack {
		return refuse("push_limit_reached")
	}
	s.stack(v.User, append(stack, v)...)
	return nil
}

// stack sets a user's modals and links them.
func (s *Slack) stack(user string, views ...*View) {
	s.stacks[user] = views
	for i, v := range views {
		v.Root, v.Previous = views[0].ID, ""
		if i > 0 {
			v.Previous = views[i-1].ID
		}
	}
	s.changed(Change{Kind: ChangeViews, User: user})
}

func (s *Slack) viewsUpdate(a args) (object, error) {
	old, ok := s.findView(a)
	if !ok {
		return nil, refuse("not_found")
	}
	if a["hash"] != "" && a["hash"] != old.Hash {
		return nil, refuse("hash_conflict")
	}
	v, err := s.newView(old.User, old.Type, a["view"], old)
	if err != nil {
		return nil, err
	}
	s.replace(old, v)
	return s.shown(old)
}

// replace makes a view show what another does, under its own id.
func (s *Slack) replace(old, v *View) {
	v.ID, v.Root, v.Previous = old.ID, old.Root, old.Previous
	*old = *v
	kind := ChangeViews
	if old.Type == "home" {
		kind = ChangeHome
	}
	s.changed(Change{Kind: kind, User: old.User})
}

func (s *Slack) findView(a args) (*View, bool) {
	wanted := func(v *View) bool {
		return a["view_id"] != "" && v.ID == a["view_id"] || a["external_id"] != "" && v.ExternalID == a["external_id"]
	}
	for _, v := range s.homes {
		if wanted(v) {
			return v, true
		}
	}
	for _, stack := range s.stacks {
		for _, v := range stack {
			if wanted(v) {
				return v, true
			}
		}
	}
	return nil, false
}

func (s *Slack) viewsPublish(a args) (object, error) {
	if _, ok := s.user(a["user_id"]); !ok {
		return nil, refuse("user_not_found")
	}
	old, published := s.homes[a["user_id"]]
	if published && a["hash"] != "" && a["hash"] != old.Hash {
		return nil, refuse("hash_conflict")
	}
	v, err := s.newView(a["user_id"], "home", a["view"], old)
	if err != nil {
		return nil, err
	}
	if published {
		s.replace(old, v)
		return s.shown(old)
	}
	v.Root = v.ID
	s.homes[v.User] = v
	s.changed(Change{Kind: ChangeHome, User: v.User})
	return s.shown(v)
}

// newView checks a view and gives it its ids. instead is the view that it takes
// the place of, nil for none.
func (s *Slack) newView(user, typ, raw string, instead *View) (*View, error) {
	if faults := blockkit.Faults(blockkit.CheckView([]byte(raw))); len(faults) > 0 {
		code := "invalid_arguments"
		if len(raw) > blockkit.MaxViewSize {
			code = "view_too_large"
		}
		return nil, refuse(code, complaints("/view", faults)...)
	}
	var v struct {
		Type            string
		Title           struct{ Text string }
		Blocks          json.RawMessage
		CallbackID      string `json:"callback_id"`
		PrivateMetadata string `json:"private_metadata"`
		ExternalID      string `json:"external_id"`
		NotifyOnClose   bool   `json:"notify_on_close"`
		ClearOnClose    bool   `json:"clear_on_close"`
	}
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		return nil, refuse("invalid_arguments", "[ERROR] "+err.Error()+" [json-pointer:/view]")
	}
	if v.Type != typ {
		return nil, refuse("invalid_arguments", "[ERROR] must be "+typ+" [json-pointer:/view/type]")
	}
	if v.ExternalID != "" {
		if other, taken := s.findView(args{"external_id": v.ExternalID}); taken && other != instead {
			return nil, refuse("duplicate_external_id")
		}
	}
	blocks, err := s.nameBlocks(v.Blocks)
	if err != nil {
		return nil, err
	}
	return &View{
		ID: "V" + s.shortID(), User: user, Type: typ, Title: v.Title.Text, CallbackID: v.CallbackID, Metadata: v.PrivateMetadata,
		ExternalID: v.ExternalID, Hash: stamp(s.o.Now().UnixMicro()) + "." + s.shortID(), Blocks: blocks, JSON: json.RawMessage(raw),
		notifyOnClose: v.NotifyOnClose, clearOnClose: v.ClearOnClose,
	}, nil
}

// shown is the answer of the views methods.
func (s *Slack) shown(v *View) (object, error) {
	view, err := v.payload(nil)
	return object{"view": view}, err
}

// payload is the view as Slack sends it, with the values in its state.
func (v *View) payload(values object) (object, error) {
	o := object{
		"callback_id": "", "private_metadata": "", "external_id": "", "clear_on_close": false, "notify_on_close": false,
		"close": nil, "submit": nil, "title": object{"type": "plain_text", "text": "View Title", "emoji": false},
	}
	dec := json.NewDecoder(strings.NewReader(string(v.JSON)))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil {
		return nil, err
	}
	if values == nil {
		values = object{}
	}
	o["id"], o["team_id"], o["app_id"], o["bot_id"], o["app_installed_team_id"] = v.ID, TeamID, AppID, BotID, TeamID
	o["hash"], o["root_view_id"], o["previous_view_id"] = v.Hash, v.Root, nil
	if v.Previous != "" {
		o["previous_view_id"] = v.Previous
	}
	o["blocks"], o["state"] = v.Blocks, object{"values": values}
	return o, nil
}
