package fakeaws

import (
	"net/http"
	"strconv"
)

// organizationPage is how many accounts one answer names: few, as AWS may too.
const organizationPage = 2

// orgAccount is an account of the organisation.
type orgAccount struct{ id, state string }

func (a *AWS) organizationsService() *service {
	ops := map[string]*operation{"ListAccounts": {run: a.listAccounts}}
	return a.jsonService("organizations", "application/x-amz-json-1.1", ops)
}

// AddAccount says that an account belongs to the organisation, of which the
// stand-in's own is the management account. Its state is one of Organizations':
// ACTIVE, SUSPENDED, CLOSED.
func (a *AWS) AddAccount(id, state string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.organization = append(a.organization, orgAccount{id, state})
}

func (a *AWS) listAccounts(x *exchange) (*result, error) {
	in, err := decodeJSON[struct{ NextToken string }](x)
	if err != nil {
		return nil, err
	}
	if len(a.organization) == 0 {
		return nil, bad("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	}
	if x.caller.Account != a.o.Account {
		return nil, failure(http.StatusBadRequest, "AccessDeniedException", "You don't have permissions to access this resource.")
	}
	from := 0
	if in.NextToken != "" {
		if from, err = strconv.Atoi(in.NextToken); err != nil || from < 0 || from > len(a.organization) {
			return nil, bad("InvalidInputException", "You specified an invalid value for the NextToken parameter.")
		}
	}
	type account struct{ Id, Arn, Name, State string } //nolint:revive,staticcheck // as the API has it
	list := []account{}
	for _, m := range a.organization[from:min(from+organizationPage, len(a.organization))] {
		list = append(list, account{m.id, "arn:aws:organizations::" + a.o.Account + ":account/o-sandbox/" + m.id, "account " + m.id, m.state})
	}
	out := map[string]any{"Accounts": list}
	if next := from + len(list); next < len(a.organization) {
		out["NextToken"] = strconv.Itoa(next)
	}
	return &result{body: out}, nil
}
