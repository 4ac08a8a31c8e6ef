package fakeaws

import "strings"

// prefixList is a managed prefix list.
type prefixList struct {
	id, name, family string
	entries          []listEntryXML
}

type listEntryXML struct {
	CIDR        string `xml:"cidr"`
	Description string `xml:"description,omitempty"`
}

type prefixListXML struct {
	ID      string `xml:"prefixListId"`
	Name    string `xml:"prefixListName"`
	Family  string `xml:"addressFamily"`
	State   string `xml:"state"`
	Owner   string `xml:"ownerId"`
	Version int    `xml:"version"`
}

func createListParams(x *exchange) map[string]any {
	return map[string]any{"CreateManagedPrefixListRequest": map[string]any{
		"PrefixListName": x.form.text("PrefixListName"), "AddressFamily": x.form.text("AddressFamily"),
	}}
}

// createList makes a customer's prefix list.
func (a *AWS) createList(x *exchange) (*result, error) {
	r := a.here(x)
	l := &prefixList{id: a.ids.resource("pl-"), name: x.form.text("PrefixListName"), family: x.form.text("AddressFamily")}
	if l.name == "" || l.family == "" || x.form.text("MaxEntries") == "" {
		return nil, missing("PrefixListName, AddressFamily and MaxEntries")
	}
	for _, e := range x.form.at("Entry").items() {
		cidr, err := canonical(e.text("Cidr"), l.family == "IPv4")
		if err != nil {
			return nil, err
		}
		l.entries = append(l.entries, listEntryXML{cidr, e.text("Description")})
	}
	if err := dry(x); err != nil {
		return nil, err
	}
	r.lists[l.id] = l
	return &result{body: members{{"prefixList", prefixListXML{l.id, l.name, l.family, "create-complete", r.key.account, 1}}}}, nil
}

func (a *AWS) listEntries(x *exchange) (*result, error) {
	id := x.form.text("PrefixListId")
	l := a.here(x).lists[id]
	switch {
	case !strings.HasPrefix(id, "pl-"):
		return nil, bad("InvalidPrefixListId.Malformed", "The prefix list ID '"+id+"' is malformed")
	case l == nil:
		return nil, bad("InvalidPrefixListID.NotFound", "The prefix list ID '"+id+"' does not exist")
	}
	entries, next, err := page(x, l.entries)
	if err != nil {
		return nil, err
	}
	return reply(next, member{"entrySet", set[listEntryXML]{entries}}), nil
}
