package fakeaws

import (
	"encoding/xml"
	"net/http"
)

// s3controlService covers the account's Block Public Access.
func (a *AWS) s3controlService() *service {
	verbs := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}
	ops := map[string]*operation{
		"GetPublicAccessBlock":    {run: a.ownAccount(a.getAccountBlock)},
		"PutPublicAccessBlock":    {event: "PutAccountPublicAccessBlock", params: accountBlockParams, run: a.ownAccount(a.putAccountBlock)},
		"DeletePublicAccessBlock": {event: "DeleteAccountPublicAccessBlock", params: accountParams, run: noContent(a.ownAccount(a.deleteAccountBlock))},
	}
	return &service{
		name: "s3control", source: "s3.amazonaws.com", newID: func() string { return a.ids.upper(16) },
		operation: func(x *exchange) (string, *operation) {
			x.Resource = accountOf(x)
			name := verbs[x.req.Method] + "PublicAccessBlock"
			if x.req.URL.Path != s3controlPrefix+"configuration/publicAccessBlock" {
				return x.req.URL.Path, nil
			}
			return name, ops[name]
		},
		write: writeS3,
		fail: func(x *exchange, err *Error) {
			s3Headers(x)
			writeXML(x, err.Status, "ErrorResponse", "", struct {
				XMLName   xml.Name
				Error     s3Fault
				RequestID string `xml:"RequestId"`
			}{Error: s3Fault{Code: err.Code, Message: err.Message}, RequestID: x.RequestID})
		},
	}
}

func accountOf(x *exchange) string { return x.req.Header.Get("x-amz-account-id") }

func (a *AWS) ownAccount(run func(x *exchange) (*result, error)) func(*exchange) (*result, error) {
	return func(x *exchange) (*result, error) {
		if accountOf(x) != x.caller.Account {
			return nil, accessDenied()
		}
		return run(x)
	}
}

func (a *AWS) getAccountBlock(x *exchange) (*result, error) {
	b := a.blocks[accountOf(x)]
	if b == nil {
		return nil, noBlock()
	}
	return &result{body: s3Named{"PublicAccessBlockConfiguration", *b}}, nil
}

func (a *AWS) putAccountBlock(x *exchange) (*result, error) {
	var block Block
	if err := decodeXML(x, &block); err != nil {
		return nil, err
	}
	a.blocks[accountOf(x)] = &block
	return &result{}, nil
}

func (a *AWS) deleteAccountBlock(x *exchange) (*result, error) {
	delete(a.blocks, accountOf(x))
	return &result{}, nil
}

func accountParams(x *exchange) map[string]any {
	return map[string]any{"Host": x.req.Host, "accountId": accountOf(x), "publicAccessBlock": ""}
}

func accountBlockParams(x *exchange) map[string]any {
	p := accountParams(x)
	p["PublicAccessBlockConfiguration"] = blockElements(x)
	return p
}
